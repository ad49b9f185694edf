//! Reserving: at every scope of every line's path, or nothing.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::Context;
use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::Admission;
use super::charge::Change;
use super::charge::Charge;
use super::charge::admit;
use super::charge::charges;
use super::charge::check_locks;
use super::quota_name;
use crate::ledger::amount::Amount;
use crate::ledger::command::Line;
use crate::ledger::command::Mode;
use crate::ledger::command::Reserve;
use crate::ledger::event::Body;
use crate::ledger::event::EventLine;
use crate::ledger::event::Reserved;
use crate::ledger::quota::Quota;
use crate::ledger::rejection::Malformed;
use crate::ledger::rejection::Mismatch;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Scope;
use crate::ledger::scope::ScopeId;

/// A line whose names were found.
struct Found<'a> {
    line: &'a Line,
    scope: &'a Scope,
    resource: ResourceId,
    amount: Amount,
    /// The least to be granted.
    minimum: Amount,
}

pub(super) fn reserve(cx: Context<'_>, command: &Reserve) -> Decided {
    let mut lines = find_lines(cx.state, command.lines())?;
    let mut charged = charges_of(cx.state, &lines, command.commit);
    // Of a single line the charges are its path.
    if lines.len() > 1 || !charged.iter().filter_map(Charge::quota).any(Quota::governs) {
        check_governed(cx.state, lines.iter().map(|found| (found.scope, found.resource)))?;
    }
    check_locks(cx.state, &charged)?;
    check_sequences(cx.state, &lines)?;
    let expires_at = match command.commit {
        true => None,
        false => expiry(cx, charged.iter().filter_map(quota_of), command.ttl_ms)?,
    };
    let mut granted = None;
    if command.mode == Mode::Partial && cut(cx, &mut lines) {
        charged = charges_of(cx.state, &lines, command.commit);
        granted = Some(lines.iter().map(|found| found.amount.number()).collect());
    }
    let force = command.mode == Mode::Force;
    let admitted = admit(cx, &charged, Admission { force, hold: None })?;
    let reserved = Reserved {
        lines: event_lines(lines, command.commit),
        committed: command.commit,
        forced: force,
        expires_at,
        tags: command.tags.clone(),
        granted,
        overruns: admitted.overruns,
    };
    Ok(Decision { body: Body::Reserved(reserved), touched: admitted.touched })
}

fn charges_of<'a>(state: &'a State, lines: &[Found<'_>], commit: bool) -> Vec<Charge<'a>> {
    let change = |amount: Amount| match commit {
        true => Change { used: amount.units(), held: 0 },
        false => Change::held(amount),
    };
    charges(state, lines.iter().map(|found| (found.scope.id, found.resource, change(found.amount))))
}

/// Cuts each line, in order, to what fits after those before it, down to its minimum. A line that
/// does not fit so asks for its minimum: the denial then says what stands against that. Says
/// whether any line was cut.
fn cut(cx: Context<'_>, lines: &mut [Found<'_>]) -> bool {
    let mut given: BTreeMap<(ScopeId, ResourceId), i128> = BTreeMap::new();
    let mut any = false;
    for found in lines {
        let room = cx.state.path_up(found.scope.id).filter_map(|scope| {
            let account = scope.account(found.resource)?;
            let quota = account.quota.as_ref().filter(|quota| quota.is_enforced())?;
            let ceiling = quota.ceiling(cx.now)?;
            let given = given.get(&(scope.id, found.resource)).copied().unwrap_or_default();
            Some(ceiling.amount.units() - account.taken().units() - given)
        });
        let room = room.min().unwrap_or(i128::MAX);
        if room < found.amount.units() {
            let fitting = found.amount.of_units(room).filter(|fitting| *fitting >= found.minimum);
            let cut = fitting.unwrap_or(found.minimum);
            any |= cut != found.amount;
            found.amount = cut;
        }
        for scope in cx.state.path_up(found.scope.id) {
            *given.entry((scope.id, found.resource)).or_default() += found.amount.units();
        }
    }
    any
}

/// What a hold takes: lines of the same (scope, resource) are one.
fn event_lines(lines: Vec<Found<'_>>, commit: bool) -> Vec<EventLine> {
    let mut taken: Vec<EventLine> = Vec::with_capacity(lines.len());
    for found in lines {
        let zero = found.amount.saturating_sub(found.amount);
        let (held, used) = if commit { (zero, found.amount) } else { (found.amount, zero) };
        let same =
            taken.iter_mut().find(|line| line.scope == found.scope.id && line.resource == found.resource);
        if let Some(line) = same {
            let sum = |a: Amount, b: Amount| a.checked_add(b).expect("the account has counted this sum");
            line.held = sum(line.held, held);
            line.used = sum(line.used, used);
            continue;
        }
        taken.push(EventLine {
            scope: found.scope.id,
            path: found.line.scope.clone(),
            resource: found.resource,
            name: found.line.resource.clone(),
            held,
            used,
        });
    }
    taken
}

fn find_lines<'a>(state: &'a State, lines: &'a [Line]) -> Result<Vec<Found<'a>>, Rejection> {
    let mut found = Vec::with_capacity(lines.len());
    let mut unknown_scopes = Vec::new();
    let mut unknown_resources = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        let scope = state.scope_at(&line.scope);
        if scope.is_none() {
            push_once(&mut unknown_scopes, &line.scope);
        }
        let Some(resource) = state.resource_id(&line.resource) else {
            push_once(&mut unknown_resources, &line.resource);
            continue;
        };
        // Malformed comes before unknown, whatever the line.
        let at_scale = |field: &str, number| {
            Amount::new(number, state.resource(resource).decimals).map_err(|error| {
                Rejection::Malformed(Malformed::new(format!("lines[{position}].{field}"), error))
            })
        };
        let amount = at_scale("amount", line.amount)?;
        let minimum = match line.minimum {
            Some(minimum) => at_scale("minimum", minimum)?,
            None => amount,
        };
        if let Some(scope) = scope {
            found.push(Found { line, scope, resource, amount, minimum });
        }
    }
    check_known(unknown_scopes, unknown_resources)?;
    Ok(found)
}

/// All unknown scopes before all unknown resources.
pub(super) fn check_known(
    scopes: Vec<crate::ledger::Path>,
    resources: Vec<crate::ledger::Name>,
) -> Result<(), Rejection> {
    if !scopes.is_empty() {
        return Err(Rejection::UnknownScopes(scopes));
    }
    if !resources.is_empty() {
        return Err(Rejection::UnknownResources(resources));
    }
    Ok(())
}

/// Names may come back in other lines, not only in the next one; there are few.
pub(super) fn push_once<T: Clone + PartialEq>(names: &mut Vec<T>, name: &T) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

/// Some scope on the path of every line must say what is allowed.
pub(super) fn check_governed<'a>(
    state: &State,
    lines: impl Iterator<Item = (&'a Scope, ResourceId)>,
) -> Result<(), Rejection> {
    let governs = |scope: &Scope, resource| scope.quota(resource).is_some_and(Quota::governs);
    let mut ungoverned = Vec::new();
    for (scope, resource) in lines {
        if !state.path_up(scope.id).any(|scope| governs(scope, resource)) {
            push_once(&mut ungoverned, &quota_name(state, scope, resource));
        }
    }
    if ungoverned.is_empty() { Ok(()) } else { Err(Rejection::UnknownQuotas(ungoverned)) }
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

/// A quota with where it is.
pub(super) type Placed<'a> = (&'a Scope, ResourceId, &'a Quota);

fn quota_of<'a>(charge: &Charge<'a>) -> Option<Placed<'a>> {
    charge.quota().map(|quota| (charge.scope, charge.resource, quota))
}

/// When a hold under these quotas (from the root down) dies: after what was asked for, if none of
/// them forbids that, or after the least of their defaults.
pub(super) fn expiry<'a>(
    cx: Context<'_>,
    quotas: impl Iterator<Item = Placed<'a>>,
    asked: Option<u64>,
) -> Result<Option<NonZeroU64>, Rejection> {
    let mut default: Option<u64> = None;
    let mut maximum: Option<(u64, &Scope, ResourceId)> = None;
    for (scope, resource, quota) in quotas {
        let terms = quota.policy.terms();
        let own = terms.default_ttl_ms.or(terms.max_ttl_ms);
        default = default.into_iter().chain(own).min();
        if let Some(most) = terms.max_ttl_ms
            && maximum.is_none_or(|(least, ..)| most < least)
        {
            maximum = Some((most, scope, resource));
        }
    }
    match (asked, maximum) {
        (Some(asked_ms), Some((maximum_ms, scope, resource))) if asked_ms > maximum_ms => {
            let quota = quota_name(cx.state, scope, resource);
            Err(Rejection::TtlTooLong { quota, maximum_ms, asked_ms })
        }
        _ => Ok(asked.or(default).and_then(|ttl| NonZeroU64::new(cx.now.saturating_add(ttl)))),
    }
}
