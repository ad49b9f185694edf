//! What becomes of a hold: commit and release.

use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::charges;
use crate::ledger::event::Body;
use crate::ledger::hold::Hold;
use crate::ledger::hold::HoldId;
use crate::ledger::hold::HoldState;
use crate::ledger::resource::ResourceKind;

pub(super) fn commit(state: &State, id: HoldId) -> Decided {
    let hold = live(state, id)?;
    if hold.state != HoldState::Held {
        return Err(Rejection::HoldClosed { hold: id, state: hold.state, revision: hold.revision });
    }
    let touched = hold_charges(state, hold)
        .iter()
        .map(|charge| {
            let account = charge.account(state);
            let held = account.held.checked_sub(charge.amount).expect("a hold is part of what is held");
            let used = account.used.checked_add(charge.amount).expect("the sum was counted when reserved");
            charge.touched(state, used, held)
        })
        .collect();
    Ok(Decision { body: Body::Committed(id), touched })
}

pub(super) fn release(state: &State, id: HoldId) -> Decided {
    let hold = live(state, id)?;
    let touched = hold_charges(state, hold)
        .iter()
        .filter_map(|charge| {
            let account = charge.account(state);
            let kind = state.resource(charge.resource).kind;
            match (hold.state, kind) {
                (HoldState::Committed, ResourceKind::Budget) => None,
                (HoldState::Committed, ResourceKind::Capacity) => {
                    let used = account.used.checked_sub(charge.amount);
                    let used = used.expect("an allocation is part of what is used");
                    Some(charge.touched(state, used, account.held))
                }
                (HoldState::Held | HoldState::Released, _) => {
                    let held = account.held.checked_sub(charge.amount);
                    let held = held.expect("a hold is part of what is held");
                    Some(charge.touched(state, account.used, held))
                }
            }
        })
        .collect();
    Ok(Decision { body: Body::Released(id), touched })
}

fn live(state: &State, id: HoldId) -> Result<&Hold, Rejection> {
    state.hold(id).ok_or_else(|| match state.closing(id) {
        Some(closing) => Rejection::HoldClosed { hold: id, state: closing.state, revision: closing.revision },
        None => Rejection::UnknownHold(id),
    })
}

fn hold_charges<'a>(state: &'a State, hold: &Hold) -> Vec<super::charge::Charge<'a>> {
    charges(state, hold.lines.iter().map(|line| (line.scope, line.resource, line.amount)))
        .expect("the same sums were counted when it was reserved")
}
