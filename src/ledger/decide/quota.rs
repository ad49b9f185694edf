//! Policy: limits and locks.

use std::sync::Arc;

use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::find;
use crate::ledger::amount::Amount;
use crate::ledger::amount::MAX_AMOUNT;
use crate::ledger::command::AdjustQuota;
use crate::ledger::command::LockQuota;
use crate::ledger::command::NewLimit;
use crate::ledger::command::SetQuota;
use crate::ledger::command::UnlockQuota;
use crate::ledger::event::Body;
use crate::ledger::event::Touched;
use crate::ledger::quota::Limit;
use crate::ledger::quota::Lock;
use crate::ledger::quota::Quota;
use crate::ledger::rejection::Malformed;
use crate::ledger::rejection::Mismatch;
use crate::ledger::rejection::QuotaName;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Account;
use crate::ledger::scope::Scope;

pub(super) fn set(state: &State, command: &SetQuota) -> Decided {
    let limit = match state.resource_id(&command.resource) {
        Some(resource) => Some(limit_of(state, command.limit, resource)?),
        None => None,
    };
    let (scope, resource) = find(state, &command.scope, &command.resource)?;
    let limit = limit.expect("the resource was found just now");
    let quota = scope.quota(resource);
    check_version(state, scope, resource, quota.map_or(0, |quota| quota.version), command.if_version)?;
    check_place(state, scope, resource, limit)?;
    Ok(change_limit(state, scope, resource, limit))
}

pub(super) fn adjust(state: &State, command: &AdjustQuota) -> Decided {
    if let Some(resource) = state.resource_id(&command.resource) {
        let decimals = state.resource(resource).decimals;
        Amount::new(command.delta.abs(), decimals).map_err(|error| malformed("delta", error))?;
    }
    let (scope, resource) = find(state, &command.scope, &command.resource)?;
    let quota = existing(state, scope, resource)?;
    check_version(state, scope, resource, quota.version, command.if_version)?;
    let conflict = |problem: String| conflict(state, scope, scope, resource, problem);
    let Limit::Amount(limit) = quota.limit else {
        return Err(conflict("is not an amount that could be added to or taken from; set it instead".into()));
    };
    let Some(number) = limit.number().checked_add(command.delta).filter(|sum| *sum <= MAX_AMOUNT) else {
        return Err(conflict(format!("is {limit}; adding {} goes beyond 10^18", command.delta)));
    };
    if number.is_sign_negative() && !number.is_zero() {
        return Err(conflict(format!("is {limit}; taking {} would make it negative", command.delta.abs())));
    }
    let limit = Amount::new(number, state.resource(resource).decimals)
        .map_err(|error| conflict(format!("would be {number}, which {error}")))?;
    check_place(state, scope, resource, Limit::Amount(limit))?;
    Ok(change_limit(state, scope, resource, Limit::Amount(limit)))
}

pub(super) fn lock(state: &State, command: &LockQuota, actor: &Arc<str>) -> Decided {
    let (scope, resource) = find(state, &command.scope, &command.resource)?;
    let quota = existing(state, scope, resource)?;
    check_version(state, scope, resource, quota.version, command.if_version)?;
    if quota.lock.is_some() {
        return Ok(unchanged("LockQuota", quota));
    }
    let body = Body::QuotaLocked {
        scope: scope.id,
        resource,
        lock: Lock { reason: command.reason.clone(), actor: actor.clone() },
        version: quota.version + 1,
    };
    Ok(policy_change(state, scope, resource, body))
}

pub(super) fn unlock(state: &State, command: &UnlockQuota) -> Decided {
    let (scope, resource) = find(state, &command.scope, &command.resource)?;
    let quota = existing(state, scope, resource)?;
    check_version(state, scope, resource, quota.version, command.if_version)?;
    if quota.lock.is_none() {
        return Ok(unchanged("UnlockQuota", quota));
    }
    let body = Body::QuotaUnlocked { scope: scope.id, resource, version: quota.version + 1 };
    Ok(policy_change(state, scope, resource, body))
}

/// A limit fits its place when no ancestor's limit is below it and no descendant's is above it:
/// each within its parent.
fn check_place(state: &State, scope: &Scope, resource: ResourceId, limit: Limit) -> Result<(), Rejection> {
    if let Some((above, ceiling)) = nearest_limit_above(state, scope, resource) {
        let problem = match limit {
            Limit::Amount(limit) if limit > ceiling => {
                Some(format!("of {limit} is over the {ceiling} of {}", above.path))
            }
            Limit::Unlimited => {
                Some(format!("may not be UNLIMITED below the {ceiling} of {}; use INHERIT", above.path))
            }
            Limit::Amount(_) | Limit::Inherit => None,
        };
        if let Some(problem) = problem {
            return Err(conflict(state, scope, above, resource, problem));
        }
    }
    let Limit::Amount(ceiling) = limit else {
        return Ok(());
    };
    for below in state.subtree(scope.id).skip(1) {
        let problem = match below.quota(resource).map(|quota| quota.limit) {
            Some(Limit::Amount(limit)) if limit > ceiling => {
                format!("of {ceiling} is under the {limit} of {}; lower that first", below.path)
            }
            Some(Limit::Unlimited) => {
                format!("of {ceiling} is above {}, which is UNLIMITED; set that to INHERIT first", below.path)
            }
            _ => continue,
        };
        return Err(conflict(state, scope, below, resource, problem));
    }
    Ok(())
}

fn nearest_limit_above<'a>(
    state: &'a State,
    scope: &Scope,
    resource: ResourceId,
) -> Option<(&'a Scope, Amount)> {
    state.path_up(scope.id).skip(1).find_map(|above| Some((above, above.account(resource)?.limit()?)))
}

fn limit_of(state: &State, limit: NewLimit, resource: ResourceId) -> Result<Limit, Rejection> {
    match limit {
        NewLimit::Amount(number) => Amount::new(number, state.resource(resource).decimals)
            .map(Limit::Amount)
            .map_err(|error| malformed("limit.amount", error)),
        NewLimit::Unlimited => Ok(Limit::Unlimited),
        NewLimit::Inherit => Ok(Limit::Inherit),
    }
}

fn malformed(field: &str, problem: impl ToString) -> Rejection {
    Rejection::Malformed(Malformed::new(field, problem))
}

fn existing<'a>(state: &State, scope: &'a Scope, resource: ResourceId) -> Result<&'a Quota, Rejection> {
    scope.quota(resource).ok_or_else(|| Rejection::UnknownQuotas(vec![quota_name(state, scope, resource)]))
}

fn check_version(
    state: &State,
    scope: &Scope,
    resource: ResourceId,
    actual: u64,
    expected: Option<u64>,
) -> Result<(), Rejection> {
    match expected {
        Some(expected) if expected != actual => Err(Rejection::VersionMismatch(Mismatch {
            quota: quota_name(state, scope, resource),
            expected,
            actual,
        })),
        _ => Ok(()),
    }
}

fn conflict(state: &State, scope: &Scope, other: &Scope, resource: ResourceId, problem: String) -> Rejection {
    Rejection::LimitConflict {
        quota: quota_name(state, scope, resource),
        other: quota_name(state, other, resource),
        problem,
    }
}

pub(super) fn quota_name(state: &State, scope: &Scope, resource: ResourceId) -> QuotaName {
    QuotaName { scope: scope.path.clone(), resource: state.resource(resource).name.clone() }
}

fn unchanged(command: &'static str, quota: &Quota) -> Decision {
    Decision::plain(Body::Unchanged { command: Arc::from(command), version: quota.version })
}

fn change_limit(state: &State, scope: &Scope, resource: ResourceId, limit: Limit) -> Decision {
    let quota = scope.quota(resource);
    let body = Body::QuotaSet {
        scope: scope.id,
        resource,
        limit,
        version: quota.map_or(0, |quota| quota.version) + 1,
        previous: quota.map(|quota| quota.limit),
    };
    policy_change(state, scope, resource, body)
}

/// A change of policy touches its own quota and leaves the counters as they are.
fn policy_change(state: &State, scope: &Scope, resource: ResourceId, body: Body) -> Decision {
    let definition = state.resource(resource);
    let fresh = Account::new(resource, definition.decimals);
    let account = scope.account(resource).unwrap_or(&fresh);
    let touched = Touched {
        scope: scope.id,
        path: scope.path.clone(),
        resource,
        name: definition.name.clone(),
        used: account.used,
        held: account.held,
        sequence: account.sequence + 1,
        used_change: Default::default(),
        held_change: Default::default(),
    };
    Decision { body, touched: vec![touched] }
}
