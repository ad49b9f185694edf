//! The other ledger in the terms of the model.

use std::num::NonZeroU64;

use quorate::ledger::Amount;
use quorate::ledger::Body;
use quorate::ledger::Event;
use quorate::ledger::Limit;
use quorate::ledger::Rejection;
use quorate::ledger::ResourceId;
use quorate::ledger::State;
use quorate::ledger::event::Overrun;
use quorate::ledger::hold;
use quorate::ledger::outcome::Verdict;
use quorate::ledger::quota;
use quorate::ledger::rows::Row;
use quorate::ledger::scope::ScopeId;
use quorate::ledger::template;

use super::number::ratio;
use super::tree::kind_of;
use super::tree::labels_of;
use super::tree::levels_of;
use super::world::*;

/// What a ledger and the model must agree on, of the rows of the ledger.
pub fn seen(state: &State, rows: &[Row]) -> (World, Counters) {
    let mut world = World {
        revision: state.revision(),
        compacted_at: state.compacted_at(),
        time: state.time(),
        ..World::default()
    };
    let mut counters = Counters::new();
    for row in rows {
        match row {
            Row::Ledger { next_scope, .. } => world.next_scope = next_scope.0,
            Row::Resource(_, resource) => world.kinds.push(kind_of(resource)),
            Row::Template(_, template) => world.templates.push(template_of(state, template)),
            Row::Scope { id, kind, labels, rules, template, .. } => {
                let rules = rules.as_ref().map(|rules| Rules {
                    levels: levels_of(&rules.schema),
                    child_policy: rules.child_policy,
                });
                let template = template.as_ref().map(|applied| {
                    let versions = applied.quotas.iter();
                    let versions =
                        versions.map(|(id, version)| (state.resource(*id).name.to_string(), *version));
                    (applied.template.to_string(), applied.version, versions.collect())
                });
                let (kind, labels) = (kind.to_string(), labels_of(labels));
                let node = Node { number: id.0, kind, labels, rules, template };
                world.scopes.insert(state.scope(*id).path.to_string(), node);
            }
            Row::Account(id, account) => {
                let place = place(state, *id, account.resource);
                if !account.taken().is_zero() {
                    counters.insert(place.clone(), (account.used.units(), account.held.units()));
                }
                if let Some(quota) = &account.quota {
                    world.quotas.insert(place.clone(), quota_of(quota));
                }
                let touches = Touches { sequence: account.sequence, version: account.version };
                world.accounts.insert(place, touches);
            }
            Row::Transfer(loan) => {
                let path = |id| state.scope(id).path.to_string();
                let transfer = Transfer {
                    from: path(loan.from),
                    to: path(loan.to),
                    resource: state.resource(loan.resource).name.to_string(),
                    amount: loan.amount.units(),
                    until: loan.until,
                };
                world.transfers.insert(loan.id, transfer);
            }
            Row::Hold(hold) => {
                world.holds.insert(hold.id, hold_of(state, hold));
            }
            Row::Closed(closing) => {
                world.closed.insert(closing.hold, (closing.state, closing.revision));
            }
            Row::Request(..) => {}
        }
    }
    world.templates.sort_by(|a, b| a.name.cmp(&b.name));
    (world, counters)
}

impl World {
    /// What of it the other ledger can be seen to have, too.
    pub fn visible(&self) -> Self {
        let mut world = self.clone();
        world.templates.sort_by(|a, b| a.name.cmp(&b.name));
        (world.now, world.log) = (0, Vec::new());
        world.consumed.clear();
        world
    }
}

pub fn place(state: &State, scope: ScopeId, resource: ResourceId) -> Place {
    (state.scope(scope).path.to_string(), state.resource(resource).name.to_string())
}

pub fn cap_of(limit: Limit) -> Cap {
    match limit {
        Limit::Amount(amount) => Cap::Amount(amount.units()),
        Limit::Unlimited => Cap::Unlimited,
        Limit::Inherit => Cap::Inherit,
    }
}

pub fn policy_of(policy: &quota::Policy) -> Policy {
    let terms = policy.terms();
    Policy {
        cap: cap_of(policy.limit),
        soft: terms.soft.map(Amount::units),
        grace_ms: terms.grace_ms,
        burst: terms.burst.map(Amount::units),
        max_burst_ms: terms.max_burst_ms,
        overcommit: terms.overcommit.map(ratio),
        enforcement: terms.enforcement,
        on_reduce: terms.on_reduce,
        default_ttl_ms: terms.default_ttl_ms,
        max_ttl_ms: terms.max_ttl_ms,
        allow_transfer: terms.allow_transfer,
    }
}

pub fn template_of(state: &State, template: &template::Template) -> Template {
    let policies = template.quotas.iter();
    let policies = policies.map(|(id, policy)| (state.resource(*id).name.to_string(), policy_of(policy)));
    Template {
        name: template.name.to_string(),
        version: template.version,
        description: template.description.clone(),
        policies: policies.collect(),
    }
}

fn quota_of(quota: &quota::Quota) -> Quota {
    let clock = |clock: quota::Clock| Clock { since: clock.since, ended: clock.ended };
    let item = |item: &quota::Scheduled| Item {
        id: item.id,
        start: item.start,
        plan: match &item.plan {
            quota::Planned::Change { policy, fields } => {
                Planned::Change(policy_of(policy), fields.as_ref().map(|fields| fields.to_vec()))
            }
            quota::Planned::Override { limit, end, active } => {
                Planned::Override { cap: cap_of(*limit), end: *end, active: *active }
            }
        },
        reason: item.reason.to_string(),
        actor: item.actor.to_string(),
    };
    Quota {
        policy: policy_of(&quota.policy),
        lock: quota.lock.as_ref().map(|lock| (lock.reason.to_string(), lock.actor.to_string())),
        grace: quota.clocks().grace.map(clock),
        burst: quota.clocks().burst.map(clock),
        would_deny: quota.would_deny(),
        schedule: quota.schedule().iter().map(item).collect(),
    }
}

fn hold_of(state: &State, hold: &hold::Hold) -> Hold {
    let parts = hold.lines.iter().map(|line| Part {
        place: place(state, line.scope, line.resource),
        held: line.held.units(),
        used: line.used.units(),
    });
    Hold {
        parts: parts.collect(),
        created_at: hold.created_at,
        expires_at: hold.expires_at.map(NonZeroU64::get),
        revision: hold.revision,
        actor: hold.actor.to_string(),
        tags: hold.tags.clone(),
    }
}

/// The name of a variant.
pub fn variant(debug: &impl std::fmt::Debug) -> String {
    let text = format!("{debug:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().into()
}

/// What an event says, as far as the model says it, too.
pub fn happened_of(event: &Event) -> (String, Happened) {
    let drains = match &event.body {
        Body::QuotaSet { drain, .. }
        | Body::QuotaScheduled { drain, .. }
        | Body::ScheduleCancelled { drain, .. }
        | Body::OverrideSwitched { drain, .. } => vec![*drain],
        Body::QuotaTransferred { from, to, .. } => vec![from.drain, to.drain],
        Body::TransferReturned { from, to, .. } => from.iter().chain(to).map(|side| side.drain).collect(),
        _ => Vec::new(),
    };
    let overruns: &[Overrun] = match &event.body {
        Body::Reserved(reserved) => &reserved.overruns,
        Body::Committed { overruns, .. }
        | Body::Resized { overruns, .. }
        | Body::ScopeMoved { overruns, .. } => overruns,
        _ => &[],
    };
    let refused = match &event.body {
        Body::Rejected { rejection, .. } | Body::ScheduleFailed { rejection, .. } => {
            Some(without_texts((**rejection).clone()))
        }
        _ => None,
    };
    let touched = event.touched.iter().map(|at| (at.path.to_string(), at.name.to_string()));
    let happened = Happened {
        kind: "",
        part: event.part.map(|part| (part.index, part.of)),
        touched: touched.collect(),
        drains: drains.into_iter().flatten().map(Amount::number).collect(),
        overruns: overruns.iter().map(|overrun| (overrun.blocking.clone(), overrun.reason)).collect(),
        refused,
    };
    (variant(&event.body), happened)
}

/// A rejection without its texts for people.
pub fn without_texts(mut rejection: Rejection) -> Rejection {
    match &mut rejection {
        Rejection::Malformed(malformed) => malformed.problem.clear(),
        Rejection::SchemaConflict { problem, .. }
        | Rejection::ScheduleConflict { problem, .. }
        | Rejection::LimitConflict { problem, .. } => problem.clear(),
        Rejection::PartFailed { rejection, .. } => **rejection = without_texts((**rejection).clone()),
        _ => {}
    }
    rejection
}

pub fn verdict_of(verdict: &Verdict) -> Verdict {
    verdict.clone().map_err(|rejection| Box::new(without_texts(*rejection)))
}
