//! Rows of the state.

use super::Corrupt;
use super::array;
use super::command::decode_resource;
use super::command::encode_resource;
use super::command::name;
use super::event::Decimals;
use super::event::decode_amount;
use super::event::decode_limit;
use super::event::limit_message;
use super::local;
use super::rejection;
use super::required;
use crate::ledger::Hold;
use crate::ledger::Quota;
use crate::ledger::RequestId;
use crate::ledger::ResourceId;
use crate::ledger::ScopeId;
use crate::ledger::hold::Closing;
use crate::ledger::hold::HoldLine;
use crate::ledger::request::Decided;
use crate::ledger::rows::Row;
use crate::ledger::scope::Account;
use crate::proto::storage::v1 as storage;
use crate::proto::storage::v1::row::Row as Message;

const WHAT: &str = "a row of the state";

/// The value of a row.
pub fn encode(row: &Row) -> Vec<u8> {
    let message = match row {
        Row::Ledger { revision, time, next_scope, request_floor } => Message::Ledger(storage::LedgerRow {
            revision: *revision,
            log_time_ms: *time,
            next_scope_id: next_scope.0,
            request_floor: request_floor.to_bytes().to_vec(),
        }),
        Row::Resource(id, resource) => Message::Resource(storage::ResourceRow {
            resource_id: id.0,
            resource: Some(encode_resource(resource)),
        }),
        Row::Scope { id, name, parent, kind } => Message::Scope(storage::ScopeRow {
            scope_id: id.0,
            name: name.clone(),
            parent_id: parent.map(|parent| parent.0),
            kind: kind.to_string(),
        }),
        Row::Account(scope, account) => Message::Account(encode_account(*scope, account)),
        Row::Hold(hold) => Message::Hold(encode_hold(hold)),
        Row::Closed(closing) => Message::ClosedHold(storage::ClosedHoldRow {
            revision: closing.revision,
            hold_id: closing.hold,
            state: rejection::encode_hold_state(closing.state).into(),
        }),
        Row::Request(id, decided) => Message::Request(storage::RequestRow {
            request_id: id.to_bytes().to_vec(),
            fingerprint: decided.fingerprint.to_vec(),
            revision: decided.revision,
            verdict: Some(rejection::encode_verdict(&decided.verdict)),
        }),
    };
    local::framed(&storage::Row { row: Some(message) })
}

/// A row from its value.
pub fn decode(bytes: &[u8], decimals: Decimals<'_>) -> Result<Row, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    let message: storage::Row = local::message(WHAT, bytes)?;
    Ok(match required(message.row, WHAT, "the row")? {
        Message::Ledger(row) => Row::Ledger {
            revision: row.revision,
            time: row.log_time_ms,
            next_scope: ScopeId(row.next_scope_id),
            request_floor: RequestId::floor_from_bytes(array(&row.request_floor, WHAT, "request_floor")?),
        },
        Message::Resource(row) => Row::Resource(
            ResourceId(row.resource_id),
            decode_resource(&required(row.resource, WHAT, "resource")?).map_err(malformed)?,
        ),
        Message::Scope(row) => Row::Scope {
            id: ScopeId(row.scope_id),
            name: row.name,
            parent: row.parent_id.map(ScopeId),
            kind: name("kind", &row.kind).map_err(malformed)?,
        },
        Message::Account(row) => Row::Account(ScopeId(row.scope_id), decode_account(row, decimals)?),
        Message::Hold(row) => Row::Hold(decode_hold(row, decimals)?),
        Message::ClosedHold(row) => Row::Closed(Closing {
            hold: row.hold_id,
            state: rejection::decode_hold_state(row.state)?,
            revision: row.revision,
        }),
        Message::Request(row) => Row::Request(
            RequestId::from_bytes(array(&row.request_id, WHAT, "request_id")?)
                .map_err(|problem| Corrupt::new(WHAT, problem))?,
            Decided {
                fingerprint: array(&row.fingerprint, WHAT, "fingerprint")?,
                revision: row.revision,
                verdict: rejection::decode_verdict(required(row.verdict, WHAT, "verdict")?)?,
            },
        ),
    })
}

fn encode_account(scope: ScopeId, account: &Account) -> storage::AccountRow {
    storage::AccountRow {
        scope_id: scope.0,
        resource_id: account.resource.0,
        used: account.used.to_string(),
        held: account.held.to_string(),
        sequence: account.sequence,
        quota: account.quota.as_deref().map(|quota| storage::QuotaRow {
            limit: Some(limit_message(quota.limit)),
            version: quota.version,
            lock: quota.lock.as_ref().map(rejection::encode_lock),
        }),
    }
}

fn decode_account(row: storage::AccountRow, decimals: Decimals<'_>) -> Result<Account, Corrupt> {
    let resource = ResourceId(row.resource_id);
    let quota = match row.quota {
        Some(quota) => Some(Box::new(Quota {
            limit: decode_limit(&required(quota.limit, WHAT, "limit")?, resource, decimals)?,
            version: quota.version,
            lock: quota.lock.map(rejection::decode_lock),
        })),
        None => None,
    };
    Ok(Account {
        resource,
        used: decode_amount(WHAT, &row.used, resource, decimals)?,
        held: decode_amount(WHAT, &row.held, resource, decimals)?,
        sequence: row.sequence,
        quota,
    })
}

fn encode_hold(hold: &Hold) -> storage::HoldRow {
    let lines = hold.lines.iter().map(|line| storage::HoldLine {
        scope_id: line.scope.0,
        resource_id: line.resource.0,
        amount: line.amount.to_string(),
    });
    storage::HoldRow {
        hold_id: hold.id,
        state: rejection::encode_hold_state(hold.state).into(),
        lines: lines.collect(),
        created_at_ms: hold.created_at,
        revision: hold.revision,
        actor: hold.actor.to_string(),
    }
}

fn decode_hold(row: storage::HoldRow, decimals: Decimals<'_>) -> Result<Hold, Corrupt> {
    let lines = row.lines.iter().map(|line| {
        let resource = ResourceId(line.resource_id);
        let amount = decode_amount(WHAT, &line.amount, resource, decimals)?;
        Ok(HoldLine { scope: ScopeId(line.scope_id), resource, amount })
    });
    Ok(Hold {
        id: row.hold_id,
        state: rejection::decode_hold_state(row.state)?,
        lines: lines.collect::<Result<_, Corrupt>>()?,
        created_at: row.created_at_ms,
        revision: row.revision,
        actor: row.actor.into(),
    })
}
