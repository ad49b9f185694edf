//! What readers see of the state.

use std::num::NonZeroU64;

use super::command::encode_child_policy;
use super::command::encode_labels;
use super::command::encode_resource;
use super::hold;
use super::policy;
use super::rejection;
use crate::ledger::Hold;
use crate::ledger::Resource;
use crate::ledger::ResourceId;
use crate::ledger::Scope;
use crate::ledger::State;
use crate::ledger::drift::Drift;
use crate::ledger::hold::Closing;
use crate::ledger::holders::Holder;
use crate::ledger::quota::ClockKind;
use crate::ledger::scope::Account;
use crate::ledger::template::Template;
use crate::proto::v1;

/// A resource.
pub fn resource(resource: &Resource) -> v1::Resource {
    encode_resource(resource)
}

/// A scope.
pub fn scope(scope: &Scope) -> v1::Scope {
    let rules = scope.rules.as_deref();
    let child_policy =
        rules.map_or(v1::ChildPolicy::Unspecified, |rules| encode_child_policy(rules.child_policy));
    v1::Scope {
        path: scope.path.to_string(),
        kind: scope.kind.to_string(),
        children: scope.children.len() as u64,
        labels: encode_labels(&scope.labels),
        schema: rules.map(|rules| rules.schema.to_string()).unwrap_or_default(),
        child_policy: child_policy.into(),
        template: scope.template.as_deref().map(|applied| v1::AppliedTemplate {
            name: applied.template.to_string(),
            version: applied.version,
        }),
    }
}

/// A quota with its counters; `None` when none is set there.
pub fn quota(state: &State, scope: &Scope, resource: ResourceId) -> Option<v1::Quota> {
    let account = scope.account(resource)?;
    let quota = account.quota.as_ref()?;
    let clocks = quota.clocks();
    let clock = |clock: Option<_>, kind| clock.map(|clock| policy::encode_clock(clock, quota.ends(kind)));
    Some(v1::Quota {
        scope: scope.path.to_string(),
        resource: state.resource(resource).name.to_string(),
        policy: Some(policy::encode(&quota.policy)),
        version: account.version,
        sequence: account.sequence,
        lock: quota.lock.as_deref().map(policy::encode_lock),
        counters: Some(counters(state, account)),
        grace: clock(clocks.grace, ClockKind::Grace),
        burst: clock(clocks.burst, ClockKind::Burst),
        schedule: quota.schedule().iter().map(policy::encode_scheduled).collect(),
        would_deny: quota.would_deny(),
        loans: loans(state, scope, resource),
    })
}

fn counters(state: &State, account: &Account) -> v1::Counters {
    let ceiling = account.quota.as_ref().and_then(|quota| quota.ceiling(state.time()));
    v1::Counters {
        used: account.used.to_string(),
        held: account.held.to_string(),
        available: account.available().map(|amount| amount.to_string()),
        over_by: account.over_by().map(|amount| amount.to_string()),
        effective_limit: account.limit().map(|amount| amount.to_string()),
        ceiling: ceiling.map(|ceiling| ceiling.amount.to_string()),
        ceiling_rule: ceiling
            .map_or(v1::Rule::Unspecified, |ceiling| rejection::encode_rule(ceiling.rule))
            .into(),
    }
}

fn loans(state: &State, scope: &Scope, resource: ResourceId) -> Vec<v1::Loan> {
    let loan = |transfer: &crate::ledger::transfer::Transfer| v1::Loan {
        transfer_id: transfer.id,
        from: state.scope(transfer.from).path.to_string(),
        to: state.scope(transfer.to).path.to_string(),
        amount: transfer.amount.to_string(),
        until_ms: transfer.until,
    };
    state.loans(scope.id, resource).map(loan).collect()
}

/// A live hold.
pub fn hold(state: &State, live: &Hold) -> v1::Hold {
    let lines = live.lines.iter().map(|line| v1::HoldLine {
        scope: state.scope(line.scope).path.to_string(),
        resource: state.resource(line.resource).name.to_string(),
        held: line.held.to_string(),
        used: line.used.to_string(),
    });
    let (job, consumer, labels) = hold::encode_tags(live.tags.as_deref());
    v1::Hold {
        hold_id: live.id,
        state: hold::encode_state(live.state()).into(),
        lines: lines.collect(),
        created_at_ms: live.created_at,
        revision: live.revision,
        actor: live.actor.to_string(),
        expires_at_ms: live.expires_at.map_or(0, NonZeroU64::get),
        job,
        consumer,
        labels,
    }
}

/// A closed hold, of which little is remembered.
pub fn closed_hold(closing: &Closing) -> v1::Hold {
    v1::Hold {
        hold_id: closing.hold,
        state: hold::encode_state(closing.state).into(),
        revision: closing.revision,
        ..Default::default()
    }
}

/// Who takes of a quota.
pub fn holder(state: &State, holder: &Holder) -> v1::Holder {
    let hold = state.hold(holder.hold).expect("a holder is a live hold");
    let (job, consumer, _) = hold::encode_tags(hold.tags.as_deref());
    v1::Holder {
        hold_id: hold.id,
        actor: hold.actor.to_string(),
        job,
        consumer,
        held: holder.held.to_string(),
        used: holder.used.to_string(),
        expires_at_ms: hold.expires_at.map_or(0, NonZeroU64::get),
    }
}

/// A template.
pub fn template(state: &State, template: &Template) -> v1::Template {
    let quotas = template.quotas.iter().map(|(resource, policy)| v1::ResourcePolicy {
        resource: state.resource(*resource).name.to_string(),
        policy: Some(policy::encode(policy)),
    });
    v1::Template {
        name: template.name.to_string(),
        version: template.version,
        description: template.description.clone(),
        quotas: quotas.collect(),
    }
}

/// How a scope differs from its template.
pub fn drift(state: &State, drift: &Drift) -> v1::Drift {
    let quotas = drift.quotas.iter().map(|quota| v1::QuotaDrift {
        resource: state.resource(quota.resource).name.to_string(),
        template: quota.template.as_ref().map(policy::encode),
        actual: quota.actual.as_ref().map(policy::encode),
        changed_since: quota.changed_since,
    });
    v1::Drift {
        scope: state.scope(drift.scope).path.to_string(),
        template: drift.template.to_string(),
        applied_version: drift.applied,
        current_version: drift.current,
        quotas: quotas.collect(),
    }
}
