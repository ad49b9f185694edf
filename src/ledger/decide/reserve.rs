//! Reserving: every line at every ancestor, or nothing.

use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::Charge;
use super::charge::charges;
use super::quota::quota_name;
use crate::ledger::amount::Amount;
use crate::ledger::command::Line;
use crate::ledger::command::Reserve;
use crate::ledger::event::Body;
use crate::ledger::event::ReservedLine;
use crate::ledger::event::Touched;
use crate::ledger::quota::Limit;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Malformed;
use crate::ledger::rejection::Mismatch;
use crate::ledger::rejection::Rule;
use crate::ledger::resource::ResourceId;
use crate::ledger::resource::ResourceKind;
use crate::ledger::scope::Account;
use crate::ledger::scope::Scope;

/// A line whose names were found.
struct Found<'a> {
    line: &'a Line,
    scope: &'a Scope,
    resource: ResourceId,
    amount: Amount,
}

pub(super) fn reserve(state: &State, command: &Reserve) -> Decided {
    let lines = find_lines(state, command.lines())?;
    let too_large =
        || Rejection::Malformed(Malformed::new("lines", "add up to more digits than can be counted exactly"));
    let charges = charges(state, lines.iter().map(|found| (found.scope.id, found.resource, found.amount)))
        .ok_or_else(too_large)?;
    check_governed(state, &lines)?;
    check_locks(state, &charges)?;
    check_sequences(state, &lines)?;
    let touched = check_room(state, &charges)?;
    let lines = lines
        .into_iter()
        .map(|found| ReservedLine {
            scope: found.scope.id,
            path: found.line.scope.clone(),
            resource: found.resource,
            name: found.line.resource.clone(),
            amount: found.amount,
        })
        .collect();
    Ok(Decision { body: Body::Reserved { lines }, touched })
}

/// Every account with the charge added to what it holds, if there is room at all of them.
fn check_room(state: &State, charges: &[Charge<'_>]) -> Result<Vec<Touched>, Rejection> {
    let mut touched = Vec::with_capacity(charges.len());
    let mut blocking = Vec::new();
    let mut uncountable = Vec::new();
    for charge in charges {
        let account = charge.account(state);
        let counted = match account.limit() {
            Some(limit) if charge.amount > limit.saturating_sub(account.taken()) => {
                blocked(state, charge, &account, limit).map(|blocked| blocking.push(blocked))
            }
            _ => held_after(&account, charge.amount)
                .map(|held| touched.push(charge.touched(state, account.used, held))),
        };
        if counted.is_none() {
            uncountable.push(quota_name(state, charge.scope, charge.resource));
        }
    }
    if !uncountable.is_empty() {
        Err(Rejection::Uncountable(uncountable))
    } else if !blocking.is_empty() {
        Err(Rejection::Denied(blocking))
    } else {
        Ok(touched)
    }
}

/// What would be held, if that and the sum with what is used can be counted.
fn held_after(account: &Account, amount: Amount) -> Option<Amount> {
    let held = account.held.checked_add(amount)?;
    account.used.checked_add(held)?;
    Some(held)
}

/// Why a charge does not fit a limit; `None` when the shortfall has too many digits.
fn blocked(state: &State, charge: &Charge<'_>, account: &Account, limit: Amount) -> Option<Blocking> {
    let taken = account.taken();
    // Not from used + held + requested: that sum may have too many digits where the limit has not.
    let shortfall =
        charge.amount.saturating_sub(limit.saturating_sub(taken)).checked_add(taken.saturating_sub(limit))?;
    // If everything that can come back came back: what is committed of a budget never does.
    let room = match state.resource(charge.resource).kind {
        ResourceKind::Capacity => limit,
        ResourceKind::Budget => limit.saturating_sub(account.used),
    };
    Some(Blocking {
        quota: quota_name(state, charge.scope, charge.resource),
        rule: Rule::HardLimit,
        limit: limit.number(),
        used: account.used.number(),
        held: account.held.number(),
        requested: charge.amount.number(),
        shortfall: shortfall.number(),
        waiting_can_help: charge.amount <= room,
    })
}

fn find_lines<'a>(state: &'a State, lines: &'a [Line]) -> Result<Vec<Found<'a>>, Rejection> {
    let mut found = Vec::with_capacity(lines.len());
    let mut unknown_scopes = Vec::new();
    let mut unknown_resources = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        let resource = state.resource_id(&line.resource);
        // Malformed comes before unknown, whatever the line.
        let amount = match resource {
            Some(resource) => {
                Some(Amount::new(line.amount, state.resource(resource).decimals).map_err(|error| {
                    Rejection::Malformed(Malformed::new(format!("lines[{position}].amount"), error))
                })?)
            }
            None => {
                push_once(&mut unknown_resources, &line.resource);
                None
            }
        };
        match (state.scope_at(&line.scope), resource, amount) {
            (Some(scope), Some(resource), Some(amount)) => {
                found.push(Found { line, scope, resource, amount });
            }
            (None, _, _) => push_once(&mut unknown_scopes, &line.scope),
            _ => {}
        }
    }
    if !unknown_scopes.is_empty() {
        return Err(Rejection::UnknownScopes(unknown_scopes));
    }
    if !unknown_resources.is_empty() {
        return Err(Rejection::UnknownResources(unknown_resources));
    }
    Ok(found)
}

/// Names may come back in other lines, not only in the next one; there are few.
fn push_once<T: Clone + PartialEq>(names: &mut Vec<T>, name: &T) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

/// Some scope on the path of every line must say what is allowed.
fn check_governed(state: &State, lines: &[Found<'_>]) -> Result<(), Rejection> {
    let ungoverned: Vec<_> = lines
        .iter()
        .filter(|found| {
            !state
                .path_up(found.scope.id)
                .any(|scope| scope.quota(found.resource).is_some_and(|quota| quota.limit != Limit::Inherit))
        })
        .map(|found| quota_name(state, found.scope, found.resource))
        .collect();
    if ungoverned.is_empty() { Ok(()) } else { Err(Rejection::UnknownQuotas(ungoverned)) }
}

fn check_locks(state: &State, charges: &[Charge<'_>]) -> Result<(), Rejection> {
    let locks: Vec<_> = charges
        .iter()
        .filter_map(|charge| {
            let lock = charge.scope.quota(charge.resource)?.lock.clone()?;
            Some((quota_name(state, charge.scope, charge.resource), lock))
        })
        .collect();
    if locks.is_empty() { Ok(()) } else { Err(Rejection::Locked(locks)) }
}

fn check_sequences(state: &State, lines: &[Found<'_>]) -> Result<(), Rejection> {
    let mismatches: Vec<_> = lines
        .iter()
        .filter_map(|found| {
            let expected = found.line.if_sequence?;
            let actual = found.scope.account(found.resource).map_or(0, |account| account.sequence);
            (expected != actual).then(|| Mismatch {
                quota: quota_name(state, found.scope, found.resource),
                expected,
                actual,
            })
        })
        .collect();
    if mismatches.is_empty() { Ok(()) } else { Err(Rejection::SequenceMismatch(mismatches)) }
}
