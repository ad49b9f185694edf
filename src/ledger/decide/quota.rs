//! Limits and locks.

use std::sync::Arc;

use super::Context;
use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::touched_by_policy;
use super::find;
use super::place::Limits;
use super::policy;
use super::quota_name;
use super::schedule;
use super::unchanged;
use crate::ledger::Revision;
use crate::ledger::amount::Amount;
use crate::ledger::amount::MAX_AMOUNT;
use crate::ledger::command::AdjustQuota;
use crate::ledger::command::DeleteQuota;
use crate::ledger::command::LockQuota;
use crate::ledger::command::SetQuota;
use crate::ledger::command::UnlockQuota;
use crate::ledger::event::Body;
use crate::ledger::quota::Limit;
use crate::ledger::quota::Lock;
use crate::ledger::quota::OnReduce;
use crate::ledger::quota::Planned;
use crate::ledger::quota::Policy;
use crate::ledger::quota::PolicyField;
use crate::ledger::quota::Quota;
use crate::ledger::rejection::BelowUse;
use crate::ledger::rejection::Malformed;
use crate::ledger::rejection::Mismatch;
use crate::ledger::rejection::Taken;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Account;
use crate::ledger::scope::Scope;

pub(super) fn set(cx: Context<'_>, command: &SetQuota) -> Decided {
    let SetQuota { policy: new, fields, .. } = command;
    let new = match cx.state.resource_id(&command.resource) {
        Some(resource) if fields.is_some() => Some(policy::at_scale(cx.state, resource, new)),
        Some(resource) => Some(policy::resolve(cx.state, resource, new)),
        None => None,
    };
    let new = new.transpose().map_err(Rejection::Malformed)?;
    let (scope, resource) = find(cx.state, &command.scope, &command.resource)?;
    let new = new.expect("the resource was found just now");
    let present = scope.quota(resource);
    if let Some(fields) = fields
        && present.is_none()
        && !fields.contains(&PolicyField::Limit)
    {
        return Err(Rejection::UnknownQuotas(vec![quota_name(cx.state, scope, resource)]));
    }
    check_version(cx.state, scope, resource, command.if_version)?;
    let inherit = Policy::new(Limit::Inherit, Default::default());
    let before = present.map_or(&inherit, |quota| &quota.policy);
    let after = before.changed(&new, fields.as_deref());
    if fields.is_some() {
        policy::check(&after).map_err(Rejection::Malformed)?;
    }
    match command.effective_at.filter(|start| *start > cx.now) {
        Some(start) => {
            // Of a part of a policy nothing is kept but that part: the rest is as it is then.
            let policy = inherit.changed(&new, fields.as_deref());
            let plan = Planned::Change { policy, fields: fields.as_deref().map(Into::into) };
            schedule::change(cx, scope, resource, plan, &after, start)
        }
        None => change_policy(cx, scope, resource, after),
    }
}

pub(super) fn adjust(cx: Context<'_>, command: &AdjustQuota) -> Decided {
    if let Some(resource) = cx.state.resource_id(&command.resource) {
        let decimals = cx.state.resource(resource).decimals;
        Amount::new(command.delta.abs(), decimals)
            .map_err(|error| Rejection::Malformed(Malformed::new("delta", error)))?;
    }
    let (scope, resource) = find(cx.state, &command.scope, &command.resource)?;
    let quota = existing(cx.state, scope, resource)?;
    check_version(cx.state, scope, resource, command.if_version)?;
    let conflict = |problem: String| conflict(cx.state, scope, resource, problem);
    let Limit::Amount(limit) = quota.policy.limit else {
        return Err(conflict("is not an amount that could be added to or taken from; set it instead".into()));
    };
    let Some(number) = limit.number().checked_add(command.delta).filter(|sum| *sum <= MAX_AMOUNT) else {
        return Err(conflict(format!("is {limit}; adding {} goes beyond 10^18", command.delta)));
    };
    if number.is_sign_negative() && !number.is_zero() {
        return Err(conflict(format!("is {limit}; taking {} would make it negative", command.delta.abs())));
    }
    let limit = Amount::new(number, cx.state.resource(resource).decimals)
        .map_err(|error| conflict(format!("would be {number}, which {error}")))?;
    let new = quota.policy.with_limit(Limit::Amount(limit));
    check_combination(cx.state, scope, resource, &new)?;
    change_policy(cx, scope, resource, new)
}

pub(super) fn delete(cx: Context<'_>, command: &DeleteQuota) -> Decided {
    let (scope, resource) = find(cx.state, &command.scope, &command.resource)?;
    let quota = existing(cx.state, scope, resource)?;
    let loans: Vec<Revision> = cx.state.loans(scope.id, resource).map(|transfer| transfer.id).collect();
    if !loans.is_empty() {
        return Err(Rejection::OnLoan(loans));
    }
    check_version(cx.state, scope, resource, command.if_version)?;
    if !cx.places_later {
        Limits { state: cx.state, resource, replaced: &[(scope.id, None)] }.check(scope)?;
    }
    let body = Body::QuotaDeleted {
        scope: scope.id,
        resource,
        version: version_of(scope, resource) + 1,
        previous: quota.policy.clone(),
    };
    Ok(Decision { body, touched: vec![touched_by_policy(cx, scope, resource, None)] })
}

pub(super) fn lock(cx: Context<'_>, command: &LockQuota) -> Decided {
    let (scope, resource) = find(cx.state, &command.scope, &command.resource)?;
    let quota = existing(cx.state, scope, resource)?;
    check_version(cx.state, scope, resource, command.if_version)?;
    let version = version_of(scope, resource);
    if quota.lock.is_some() {
        return Ok(unchanged("LockQuota", version));
    }
    let lock = Lock { reason: command.reason.clone(), actor: Arc::clone(cx.actor) };
    let body = Body::QuotaLocked { scope: scope.id, resource, lock, version: version + 1 };
    Ok(Decision { body, touched: vec![touched_by_policy(cx, scope, resource, Some(quota))] })
}

pub(super) fn unlock(cx: Context<'_>, command: &UnlockQuota) -> Decided {
    let (scope, resource) = find(cx.state, &command.scope, &command.resource)?;
    let quota = existing(cx.state, scope, resource)?;
    check_version(cx.state, scope, resource, command.if_version)?;
    let version = version_of(scope, resource);
    if quota.lock.is_none() {
        return Ok(unchanged("UnlockQuota", version));
    }
    let body = Body::QuotaUnlocked { scope: scope.id, resource, version: version + 1 };
    Ok(Decision { body, touched: vec![touched_by_policy(cx, scope, resource, Some(quota))] })
}

/// Makes a policy that of a quota, if it fits its place and what is taken.
fn change_policy(cx: Context<'_>, scope: &Scope, resource: ResourceId, new: Policy) -> Decided {
    if !cx.places_later {
        Limits { state: cx.state, resource, replaced: &[(scope.id, Some(&new))] }.check(scope)?;
    }
    let drain = reduce(cx, scope, resource, &new, new.terms().on_reduce)?;
    Ok(policy_set(cx, scope, resource, new, drain, None))
}

/// A quota gets a policy, of its own accord or by its schedule.
pub(super) fn policy_set(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    new: Policy,
    drain: Option<Amount>,
    scheduled: Option<Revision>,
) -> Decision {
    let mut quota = scope.quota(resource).cloned().unwrap_or_else(|| Quota::new(new.clone()));
    let previous = scope.quota(resource).map(|quota| quota.policy.clone());
    quota.policy = new.clone();
    let touched = touched_by_policy(cx, scope, resource, Some(&quota));
    let body = Body::QuotaSet {
        scope: scope.id,
        resource,
        policy: new,
        version: version_of(scope, resource) + 1,
        previous,
        drain,
        scheduled,
    };
    Decision { body, touched: vec![touched] }
}

/// What happens to what is over when a policy is replaced: refused, or how much is to be given
/// back if that is to be said.
fn reduce(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    new: &Policy,
    on_reduce: OnReduce,
) -> Result<Option<Amount>, Rejection> {
    let hard = scope.quota(resource).and_then(|quota| quota.active_override().map(|_| quota.hard()));
    let after = new.effective_of(hard.unwrap_or(new.limit));
    reduced(cx.state, scope, resource, after, on_reduce)
}

/// As [`reduce`], for a limit that changes in any way.
pub(super) fn reduced(
    state: &State,
    scope: &Scope,
    resource: ResourceId,
    after: Option<Amount>,
    on_reduce: OnReduce,
) -> Result<Option<Amount>, Rejection> {
    let Some((after, account)) = after.zip(scope.account(resource)) else {
        return Ok(None);
    };
    let lowered = account.limit().is_none_or(|before| after < before);
    if !lowered || account.taken() <= after {
        return Ok(None);
    }
    match on_reduce {
        OnReduce::Refuse => Err(below_use(state, scope, account, after)),
        OnReduce::Freeze => Ok(None),
        OnReduce::Drain => Ok(Some(account.taken().saturating_sub(after))),
    }
}

/// How much is to be given back when time changes a limit: time is not refused.
pub(super) fn drained(
    state: &State,
    scope: &Scope,
    resource: ResourceId,
    after: Option<Amount>,
    on_reduce: OnReduce,
) -> Option<Amount> {
    let on_reduce = if on_reduce == OnReduce::Refuse { OnReduce::Freeze } else { on_reduce };
    reduced(state, scope, resource, after, on_reduce).expect("only REFUSE refuses")
}

pub(super) fn below_use(state: &State, scope: &Scope, account: &Account, limit: Amount) -> Rejection {
    Rejection::BelowUse(BelowUse {
        taken: Taken {
            quota: quota_name(state, scope, account.resource),
            used: account.used.number(),
            held: account.held.number(),
        },
        limit: limit.number(),
        over_by: account.taken().saturating_sub(limit).number(),
    })
}

/// A policy that follows from a present one must make sense as well.
pub(super) fn check_combination(
    state: &State,
    scope: &Scope,
    resource: ResourceId,
    new: &Policy,
) -> Result<(), Rejection> {
    policy::check(new).map_err(|error| {
        let problem = format!("would be {}, but {error}", limit_text(new.limit));
        conflict(state, scope, resource, problem)
    })
}

fn limit_text(limit: Limit) -> String {
    match limit {
        Limit::Amount(amount) => amount.to_string(),
        Limit::Unlimited => "UNLIMITED".into(),
        Limit::Inherit => "INHERIT".into(),
    }
}

pub(super) fn existing<'a>(
    state: &State,
    scope: &'a Scope,
    resource: ResourceId,
) -> Result<&'a Quota, Rejection> {
    scope.quota(resource).ok_or_else(|| Rejection::UnknownQuotas(vec![quota_name(state, scope, resource)]))
}

/// The version of a policy, whether a quota is there or was.
pub(super) fn version_of(scope: &Scope, resource: ResourceId) -> u64 {
    scope.account(resource).map_or(0, |account| account.version)
}

pub(super) fn check_version(
    state: &State,
    scope: &Scope,
    resource: ResourceId,
    expected: Option<u64>,
) -> Result<(), Rejection> {
    // Without a quota the version is 0 for whoever asks, whatever was there before.
    let actual = scope.quota(resource).map_or(0, |_| version_of(scope, resource));
    match expected {
        Some(expected) if expected != actual => Err(Rejection::VersionMismatch(Mismatch {
            quota: quota_name(state, scope, resource),
            expected,
            actual,
        })),
        _ => Ok(()),
    }
}

/// A limit that is at fault alone.
pub(super) fn conflict(state: &State, scope: &Scope, resource: ResourceId, problem: String) -> Rejection {
    let quota = quota_name(state, scope, resource);
    Rejection::LimitConflict { other: quota.clone(), quota, problem }
}
