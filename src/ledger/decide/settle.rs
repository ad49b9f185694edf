//! What becomes of a hold: commit, release, renew, resize, expire.
//!
//! Each says what the lines of the hold are afterwards; what follows for the accounts is the same
//! for all of them.

use super::Context;
use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::Admission;
use super::charge::Admitted;
use super::charge::Change;
use super::charge::admit;
use super::charge::charges;
use super::charge::check_locks;
use super::quota_name;
use super::reserve::check_governed;
use super::reserve::check_known;
use super::reserve::expiry;
use super::reserve::push_once;
use super::unchanged;
use crate::ledger::amount::Amount;
use crate::ledger::command::Commit;
use crate::ledger::command::HoldAmount;
use crate::ledger::command::Release;
use crate::ledger::command::Renew;
use crate::ledger::command::Resize;
use crate::ledger::event::Body;
use crate::ledger::event::EventLine;
use crate::ledger::event::HoldAfter;
use crate::ledger::hold::Hold;
use crate::ledger::hold::HoldId;
use crate::ledger::hold::HoldLine;
use crate::ledger::hold::HoldState;
use crate::ledger::rejection::Malformed;
use crate::ledger::rejection::QuotaName;
use crate::ledger::rejection::TooSmall;
use crate::ledger::resource::ResourceId;
use crate::ledger::resource::ResourceKind;
use crate::ledger::scope::Scope;
use crate::planted::Bug;
use crate::planted::planted;

/// What a line of a hold is to become, in units.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part {
    held: i128,
    used: i128,
}

impl Part {
    fn of(line: &HoldLine) -> Self {
        Self { held: line.held.units(), used: line.used.units() }
    }

    /// Less of it: first of what is held, then of what is committed.
    fn less(self, amount: i128) -> Self {
        let held = self.held.min(amount);
        Self { held: self.held - held, used: self.used - (amount - held) }
    }
}

pub(super) fn commit(cx: Context<'_>, command: &Commit) -> Decided {
    let named = find_lines(cx.state, &command.lines)?;
    let hold = alive(cx, command.hold)?;
    check_held(hold)?;
    let mut parts: Vec<Part> = hold.lines.iter().map(Part::of).collect();
    if named.is_empty() {
        for part in &mut parts {
            *part = Part { held: 0, used: part.used + part.held };
        }
    } else {
        let positions = positions(cx.state, hold, &named, |_, _| true)?;
        if command.is_final {
            let rest = (0..parts.len()).filter(|position| !positions.contains(position));
            rest.for_each(|position| parts[position].held = 0);
        }
        for (position, named) in positions.into_iter().zip(&named) {
            let Part { held, used } = parts[position];
            let amount = named.amount.units();
            let rest = if command.is_final { 0 } else { (held - amount).max(0) };
            parts[position] = Part { held: rest, used: used + amount };
        }
    }
    let admitted = check_growth(cx, hold, &parts)?;
    if planted(Bug::PartialCommitLosesRest) {
        parts.iter_mut().for_each(|part| part.held = 0);
    }
    let all = hold.lines.iter().map(Part::of).zip(&parts);
    let plain =
        all.clone().all(|(before, after)| *after == Part { held: 0, used: before.used + before.held });
    let after = if plain { None } else { Some(hold_after(cx.state, hold, &parts)) };
    let body = Body::Committed { hold: hold.id, after, overruns: admitted.overruns };
    Ok(Decision { body, touched: admitted.touched })
}

pub(super) fn release(cx: Context<'_>, command: &Release) -> Decided {
    let named = find_lines(cx.state, &command.lines)?;
    let hold = alive(cx, command.hold)?;
    let mut parts: Vec<Part> = hold.lines.iter().map(Part::of).collect();
    if named.is_empty() {
        parts.fill(Part { held: 0, used: 0 });
    } else {
        let positions = positions(cx.state, hold, &named, |asked, live| asked <= live)?;
        for (position, named) in positions.into_iter().zip(&named) {
            parts[position] = parts[position].less(named.amount.units());
        }
    }
    let admitted = check_growth(cx, hold, &parts)?;
    let after = Some(hold_after(cx.state, hold, &parts)).filter(|after| !after.lines.is_empty());
    Ok(Decision { body: Body::Released { hold: hold.id, after }, touched: admitted.touched })
}

pub(super) fn renew(cx: Context<'_>, command: &Renew) -> Decided {
    let hold = alive(cx, command.hold)?;
    check_held(hold)?;
    let all = hold.lines.iter().map(|line| (line.scope, line.resource, Change { used: 0, held: 1 }));
    let charges = charges(cx.state, all);
    let quotas = charges
        .iter()
        .filter_map(|charge| charge.quota().map(|quota| (charge.scope, charge.resource, quota)));
    let expires_at = expiry(cx, quotas, Some(command.ttl_ms))?.expect("a time to live has an end");
    Ok(Decision::plain(Body::Renewed { hold: hold.id, expires_at }))
}

pub(super) fn resize(cx: Context<'_>, command: &Resize) -> Decided {
    let named = find_lines(cx.state, &command.lines)?;
    let hold = alive(cx, command.hold)?;
    let mut parts: Vec<Part> = hold.lines.iter().map(Part::of).collect();
    let before = parts.clone();
    let state = hold.state();
    for (position, named) in positions(cx.state, hold, &named, |_, _| true)?.into_iter().zip(&named) {
        let Part { held, used } = parts[position];
        let more = named.amount.units() - held - used;
        parts[position] = match (more > 0, state) {
            (false, _) => parts[position].less(-more),
            (true, HoldState::Held) => Part { held: held + more, used },
            (true, _) => Part { held, used: used + more },
        };
    }
    if parts == before {
        return Ok(unchanged("Resize", 0));
    }
    let admitted = check_growth(cx, hold, &parts)?;
    let after = hold_after(cx.state, hold, &parts);
    let body = Body::Resized { hold: hold.id, after, overruns: admitted.overruns };
    Ok(Decision { body, touched: admitted.touched })
}

/// What is held goes back, since its time is up.
pub(super) fn expire(cx: Context<'_>, id: HoldId) -> Decision {
    let hold = cx.state.hold(id).expect("a deadline is that of a live hold");
    let parts: Vec<Part> = hold.lines.iter().map(|line| Part { held: 0, ..Part::of(line) }).collect();
    let admitted = check_growth(cx, hold, &parts).expect("nothing stands against giving back");
    let after = Some(hold_after(cx.state, hold, &parts)).filter(|after| !after.lines.is_empty());
    Decision { body: Body::Expired { hold: id, after }, touched: admitted.touched }
}

/// A hold that is there and whose time is not up.
fn alive<'a>(cx: Context<'a>, id: HoldId) -> Result<&'a Hold, Rejection> {
    let Some(hold) = cx.state.hold(id) else {
        return Err(match cx.state.closing(id) {
            Some(closing) => {
                Rejection::HoldClosed { hold: id, state: closing.state, revision: closing.revision }
            }
            None => Rejection::UnknownHold(id),
        });
    };
    let late = if planted(Bug::ExpiredHoldLives) { 500 } else { 0 };
    if hold.is_expired(cx.now.saturating_sub(late)) {
        return Err(Rejection::HoldClosed { hold: id, state: HoldState::Expired, revision: hold.revision });
    }
    Ok(hold)
}

/// Something of a hold must still be held.
fn check_held(hold: &Hold) -> Result<(), Rejection> {
    match hold.state() {
        HoldState::Held => Ok(()),
        state => Err(Rejection::HoldClosed { hold: hold.id, state, revision: hold.revision }),
    }
}

/// A line that is meant, its names found.
struct Named<'a> {
    scope: &'a Scope,
    resource: ResourceId,
    amount: Amount,
}

fn find_lines<'a>(state: &'a State, lines: &[HoldAmount]) -> Result<Vec<Named<'a>>, Rejection> {
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
        let amount = Amount::new(line.amount, state.resource(resource).decimals).map_err(|error| {
            Rejection::Malformed(Malformed::new(format!("lines[{position}].amount"), error))
        })?;
        if let Some(scope) = scope {
            found.push(Named { scope, resource, amount });
        }
    }
    check_known(unknown_scopes, unknown_resources)?;
    Ok(found)
}

/// Where in a hold the named lines are. All that it does not have, or has too little of, are told.
fn positions(
    state: &State,
    hold: &Hold,
    named: &[Named<'_>],
    enough: impl Fn(i128, i128) -> bool,
) -> Result<Vec<usize>, Rejection> {
    let mut positions = Vec::with_capacity(named.len());
    let mut too_small = Vec::new();
    for named in named {
        let position = hold
            .lines
            .iter()
            .position(|line| line.scope == named.scope.id && line.resource == named.resource);
        let live = position.map(|position| hold.lines[position].live());
        match (position, live) {
            (Some(position), Some(live)) if enough(named.amount.units(), live.units()) => {
                positions.push(position);
            }
            _ => too_small.push(TooSmall {
                quota: quota_name(state, named.scope, named.resource),
                asked: named.amount.number(),
                live: live.map_or(Default::default(), Amount::number),
            }),
        }
    }
    if too_small.is_empty() {
        Ok(positions)
    } else {
        Err(Rejection::HoldTooSmall { hold: hold.id, lines: too_small })
    }
}

/// The accounts after the lines of a hold have become these; what grows needs a quota, no lock and
/// room.
fn check_growth(cx: Context<'_>, hold: &Hold, parts: &[Part]) -> Result<Admitted, Rejection> {
    let change = |(line, part): (&HoldLine, &Part)| {
        let before = Part::of(line);
        let used = match cx.state.resource(line.resource).kind {
            // What is consumed stays consumed.
            ResourceKind::Budget => (part.used - before.used).max(0),
            ResourceKind::Capacity => part.used - before.used,
        };
        (line.scope, line.resource, Change { used, held: part.held - before.held })
    };
    let changes: Vec<_> = hold.lines.iter().zip(parts).map(change).collect();
    let growing = changes.iter().filter(|(.., change)| change.growth() > 0);
    check_governed(cx.state, growing.map(|(scope, resource, _)| (cx.state.scope(*scope), *resource)))?;
    let charges = charges(cx.state, changes.into_iter());
    check_locks(cx.state, &charges)?;
    admit(cx, &charges, Admission { force: false, hold: Some(hold.id) })
}

/// A hold with other lines. They are counted at their accounts, so that they can be counted.
fn hold_after(state: &State, hold: &Hold, parts: &[Part]) -> HoldAfter {
    let lines: Vec<EventLine> = hold
        .lines
        .iter()
        .zip(parts)
        .filter(|(_, part)| part.held + part.used > 0)
        .map(|(line, part)| {
            let amount = |units| line.held.of_units(units).expect("the account counts more than this");
            let QuotaName { scope: path, resource: name } =
                quota_name(state, state.scope(line.scope), line.resource);
            EventLine {
                scope: line.scope,
                path,
                resource: line.resource,
                name,
                held: amount(part.held),
                used: amount(part.used),
            }
        })
        .collect();
    let held = lines.iter().any(|line| !line.held.is_zero());
    HoldAfter { lines, expires_at: hold.expires_at.filter(|_| held) }
}
