//! Overrides, changes to come, and clocks: what happens to a quota by itself.

use std::sync::Arc;

use super::Context;
use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::touched_by_policy;
use super::find;
use super::place::Limits;
use super::policy::limit_at_scale;
use super::quota::check_combination;
use super::quota::check_version;
use super::quota::drained;
use super::quota::existing;
use super::quota::policy_set;
use super::quota::reduced;
use super::quota::version_of;
use super::quota_name;
use super::transfer;
use crate::ledger::LogTime;
use crate::ledger::command::CancelSchedule;
use crate::ledger::command::OverrideQuota;
use crate::ledger::event::Body;
use crate::ledger::quota::ClockKind;
use crate::ledger::quota::Clocks;
use crate::ledger::quota::Limit;
use crate::ledger::quota::MAX_SCHEDULED;
use crate::ledger::quota::Planned;
use crate::ledger::quota::Policy;
use crate::ledger::quota::Quota;
use crate::ledger::quota::Scheduled;
use crate::ledger::rejection::Malformed;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Scope;
use crate::ledger::scope::ScopeId;

/// Schedules a change of the policy, which would make it `after` if it came now: what would not fit
/// now is refused now.
pub(super) fn change(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    plan: Planned,
    after: &Policy,
    start: LogTime,
) -> Decided {
    let present = scope.quota(resource);
    check_count(cx.state, scope, resource)?;
    if !cx.places_later {
        Limits { state: cx.state, resource, replaced: &[(scope.id, Some(after))] }.check(scope)?;
    }
    let inherit = Quota::new(Policy::new(Limit::Inherit, Default::default()));
    let item = Scheduled {
        id: cx.state.revision() + 1,
        start,
        plan,
        reason: Arc::from(""),
        actor: Arc::clone(cx.actor),
    };
    let body = Body::QuotaScheduled {
        scope: scope.id,
        resource,
        item,
        version: version_of(scope, resource) + 1,
        drain: None,
    };
    let touched = touched_by_policy(cx, scope, resource, Some(present.unwrap_or(&inherit)));
    Ok(Decision { body, touched: vec![touched] })
}

/// Replaces a limit for a while.
pub(super) fn replace(cx: Context<'_>, command: &OverrideQuota) -> Decided {
    let malformed = Rejection::Malformed;
    let limit = match cx.state.resource_id(&command.resource) {
        Some(resource) => {
            limit_at_scale(cx.state, resource, "limit.amount", command.limit).map(Some).map_err(malformed)?
        }
        None => None,
    };
    if command.end <= cx.now {
        return Err(malformed(Malformed::new(
            "end_ms",
            format!("is {}, and it is {} already", command.end, cx.now),
        )));
    }
    let (scope, resource) = find(cx.state, &command.scope, &command.resource)?;
    let limit = limit.expect("the resource was found just now");
    let quota = existing(cx.state, scope, resource)?;
    check_version(cx.state, scope, resource, command.if_version)?;
    let start = command.start.unwrap_or(cx.now).max(cx.now);
    check_count(cx.state, scope, resource)?;
    check_overlap(cx.state, scope, resource, start, command.end)?;
    let replaced = quota.policy.with_limit(limit);
    check_above(cx, scope, resource, &replaced)?;
    let active = start <= cx.now;
    let item = Scheduled {
        id: cx.state.revision() + 1,
        start,
        plan: Planned::Override { limit, end: command.end, active },
        reason: command.reason.clone(),
        actor: Arc::clone(cx.actor),
    };
    let mut after = quota.clone();
    after.live_mut().schedule.push(item.clone());
    let drain = match active {
        true => reduced(cx.state, scope, resource, after.effective(), quota.policy.terms().on_reduce)?,
        false => None,
    };
    let version = version_of(scope, resource) + 1;
    let body = Body::QuotaScheduled { scope: scope.id, resource, item, version, drain };
    Ok(Decision { body, touched: vec![touched_by_policy(cx, scope, resource, Some(&after))] })
}

/// Takes back what was scheduled; what is active ends, and what is lent goes back.
pub(super) fn cancel(cx: Context<'_>, command: &CancelSchedule) -> Decided {
    let (scope, resource) = find(cx.state, &command.scope, &command.resource)?;
    let quota = existing(cx.state, scope, resource)?;
    if cx.state.loans(scope.id, resource).any(|transfer| transfer.id == command.id) {
        check_version(cx.state, scope, resource, command.if_version)?;
        return Ok(transfer::back(cx, command.id, Some(scope.id)));
    }
    if !quota.schedule().iter().any(|item| item.id == command.id) {
        let quota = quota_name(cx.state, scope, resource);
        return Err(Rejection::UnknownSchedule { quota, id: command.id });
    }
    check_version(cx.state, scope, resource, command.if_version)?;
    let mut after = quota.clone();
    after.live_mut().schedule.retain(|item| item.id != command.id);
    let drain = reduced(cx.state, scope, resource, after.effective(), quota.policy.terms().on_reduce)?;
    let body = Body::ScheduleCancelled {
        scope: scope.id,
        resource,
        id: command.id,
        version: version_of(scope, resource) + 1,
        drain,
    };
    Ok(Decision { body, touched: vec![touched_by_policy(cx, scope, resource, Some(&after))] })
}

/// What happens to a quota whose deadline has come: the first thing that is due.
pub(super) fn due(cx: Context<'_>, scope: ScopeId, resource: ResourceId) -> Decision {
    let scope = cx.state.scope(scope);
    let quota = scope.quota(resource).expect("a deadline is that of a quota");
    let deadline = quota.next_deadline().expect("a deadline is that of a quota on which something runs");
    for kind in [ClockKind::Grace, ClockKind::Burst] {
        if runs_out(quota, kind, deadline) {
            return clock_ended(cx, scope, resource, quota, kind);
        }
    }
    let item = quota
        .schedule()
        .iter()
        .find(|item| match item.plan {
            Planned::Override { end, active: true, .. } => end == deadline,
            Planned::Override { .. } | Planned::Change { .. } => item.start == deadline,
        })
        .expect("what is not a clock is scheduled");
    match &item.plan {
        Planned::Change { policy, fields } => {
            let policy = quota.policy.changed(policy, fields.as_deref());
            change_due(cx, scope, resource, quota, item, policy)
        }
        Planned::Override { limit, active, .. } => {
            let switched = if *active { None } else { Some(*limit) };
            switch(cx, scope, resource, quota, item, switched)
        }
    }
}

fn runs_out(quota: &Quota, kind: ClockKind, deadline: LogTime) -> bool {
    let Clocks { grace, burst } = quota.clocks();
    let clock = match kind {
        ClockKind::Grace => grace,
        ClockKind::Burst => burst,
    };
    clock.is_some_and(|clock| !clock.ended) && quota.ends(kind) == Some(deadline)
}

fn clock_ended(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    quota: &Quota,
    clock: ClockKind,
) -> Decision {
    // What is touched says that its time is up, since it is.
    let touched = touched_by_policy(cx, scope, resource, Some(quota));
    Decision { body: Body::ClockEnded { scope: scope.id, resource, clock }, touched: vec![touched] }
}

fn change_due(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    quota: &Quota,
    item: &Scheduled,
    policy: Policy,
) -> Decision {
    let replaced = [(scope.id, Some(&policy))];
    let checked = check_combination(cx.state, scope, resource, &policy)
        .and_then(|()| Limits { state: cx.state, resource, replaced: &replaced }.check(scope));
    if let Err(rejection) = checked {
        let body = Body::ScheduleFailed {
            scope: scope.id,
            resource,
            id: item.id,
            rejection: Box::new(rejection),
            version: version_of(scope, resource) + 1,
        };
        return Decision { body, touched: vec![touched_by_policy(cx, scope, resource, Some(quota))] };
    }
    let mut after = quota.clone();
    after.policy = policy.clone();
    let drain = drained(cx.state, scope, resource, after.effective(), policy.terms().on_reduce);
    policy_set(cx, scope, resource, policy, drain, Some(item.id))
}

/// An override begins (with its limit) or ends.
fn switch(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    quota: &Quota,
    item: &Scheduled,
    begins: Option<Limit>,
) -> Decision {
    let mut after = quota.clone();
    let schedule = &mut after.live_mut().schedule;
    match begins {
        Some(_) => {
            for other in schedule.iter_mut().filter(|other| other.id == item.id) {
                if let Planned::Override { active, .. } = &mut other.plan {
                    *active = true;
                }
            }
        }
        None => schedule.retain(|other| other.id != item.id),
    }
    let on_reduce = quota.policy.terms().on_reduce;
    let body = Body::OverrideSwitched {
        scope: scope.id,
        resource,
        id: item.id,
        active: begins.is_some(),
        limit: after.hard(),
        version: version_of(scope, resource) + 1,
        drain: drained(cx.state, scope, resource, after.effective(), on_reduce),
    };
    Decision { body, touched: vec![touched_by_policy(cx, scope, resource, Some(&after))] }
}

fn check_count(state: &State, scope: &Scope, resource: ResourceId) -> Result<(), Rejection> {
    let waiting = scope.quota(resource).map_or(0, |quota| quota.schedule().len());
    if waiting < MAX_SCHEDULED {
        return Ok(());
    }
    Err(Rejection::ScheduleConflict {
        quota: quota_name(state, scope, resource),
        problem: format!("has {waiting} changes and overrides waiting, which is the most; cancel one"),
    })
}

/// No two overrides of a quota at the same time.
fn check_overlap(
    state: &State,
    scope: &Scope,
    resource: ResourceId,
    start: LogTime,
    end: LogTime,
) -> Result<(), Rejection> {
    let schedule = scope.quota(resource).map_or(&[][..], Quota::schedule);
    let other = schedule.iter().find(|item| match item.plan {
        Planned::Override { end: others, .. } => item.start < end && start < others,
        Planned::Change { .. } => false,
    });
    match other {
        Some(other) => Err(Rejection::ScheduleConflict {
            quota: quota_name(state, scope, resource),
            problem: format!("has override {} at the same time; cancel it or choose another time", other.id),
        }),
        None => Ok(()),
    }
}

/// An override must fit what lies above it; what lies below fits the policy and stays.
fn check_above(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    replaced: &Policy,
) -> Result<(), Rejection> {
    Limits { state: cx.state, resource, replaced: &[(scope.id, Some(replaced))] }.check_above(scope)
}
