//! What readers see of the state.

use super::event::limit_message;
use super::rejection;
use crate::ledger::Hold;
use crate::ledger::ResourceId;
use crate::ledger::Scope;
use crate::ledger::State;
use crate::ledger::hold::Closing;
use crate::proto::v1;

/// A scope.
pub fn scope(scope: &Scope) -> v1::Scope {
    v1::Scope {
        path: scope.path.to_string(),
        kind: scope.kind.to_string(),
        children: scope.children.len() as u64,
    }
}

/// A quota with its counters; `None` when none is set there.
pub fn quota(state: &State, scope: &Scope, resource: ResourceId) -> Option<v1::Quota> {
    let account = scope.account(resource)?;
    let quota = account.quota.as_deref()?;
    Some(v1::Quota {
        scope: scope.path.to_string(),
        resource: state.resource(resource).name.to_string(),
        limit: Some(limit_message(quota.limit)),
        version: quota.version,
        sequence: account.sequence,
        lock: quota.lock.as_ref().map(rejection::encode_lock),
        counters: Some(v1::Counters {
            used: account.used.to_string(),
            held: account.held.to_string(),
            available: account.available().map(|amount| amount.to_string()),
            over_by: account.over_by().map(|amount| amount.to_string()),
        }),
    })
}

/// A live hold.
pub fn hold(state: &State, hold: &Hold) -> v1::Hold {
    let lines = hold.lines.iter().map(|line| v1::Line {
        scope: state.scope(line.scope).path.to_string(),
        resource: state.resource(line.resource).name.to_string(),
        amount: line.amount.to_string(),
        if_sequence: None,
    });
    v1::Hold {
        hold_id: hold.id,
        state: rejection::encode_hold_state(hold.state).into(),
        lines: lines.collect(),
        created_at_ms: hold.created_at,
        revision: hold.revision,
        actor: hold.actor.to_string(),
    }
}

/// A closed hold, of which little is remembered.
pub fn closed_hold(closing: &Closing) -> v1::Hold {
    v1::Hold {
        hold_id: closing.hold,
        state: rejection::encode_hold_state(closing.state).into(),
        revision: closing.revision,
        ..Default::default()
    }
}
