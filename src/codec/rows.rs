//! Rows of the state, and the records in which they are stored: most are alone in theirs, holds and
//! requests stand together (see `keys`).

use std::num::NonZeroU64;
use std::sync::Arc;

use super::Corrupt;
use super::array;
use super::command::decode_resource;
use super::command::encode_labels;
use super::command::encode_resource;
use super::command::labels;
use super::command::name;
use super::event::Decimals;
use super::event::decode_amount;
use super::event::decode_rules;
use super::event::decode_template;
use super::event::decode_versions;
use super::event::encode_rules;
use super::event::encode_template;
use super::event::encode_versions;
use super::fields::Fields;
use super::fields::Writer;
use super::hold;
use super::hold::write_tags;
use super::keys;
use super::keys::FORMAT;
use super::local;
use super::policy;
use super::required;
use super::verdict;
use crate::ledger::Hold;
use crate::ledger::Quota;
use crate::ledger::RequestId;
use crate::ledger::ResourceId;
use crate::ledger::ScopeId;
use crate::ledger::State;
use crate::ledger::hold::Closing;
use crate::ledger::hold::HoldLine;
use crate::ledger::quota::Clocks;
use crate::ledger::quota::Live;
use crate::ledger::request::Decided;
use crate::ledger::rows::Row;
use crate::ledger::rows::RowKey;
use crate::ledger::rows::TemplateId;
use crate::ledger::scope::Account;
use crate::ledger::template;
use crate::ledger::transfer::Transfer;
use crate::proto::storage::v1 as storage;
use crate::proto::storage::v1::row::Row as Message;

const WHAT: &str = "rows of the state";
const EMPTY: &str = "a record has none";

/// The field of `Record` with its rows.
const ROWS: u32 = 1;

/// The fields of `Row` with a hold and with a request.
const HOLD: u32 = 7;
const REQUEST: u32 = 9;

/// About so many bytes such a row has.
const USUAL: usize = 96;

/// The record with a row of a state as it is now; `None` when there is nothing in it.
pub fn record_of(state: &State, key: RowKey) -> Option<Vec<u8>> {
    match key {
        // Each reservation makes one of both: they are written as they stand there, without a copy.
        RowKey::Hold(id) => {
            let beside = keys::holds_beside(id);
            let holds = state.holds_from(*beside.start()).take_while(|hold| hold.id <= *beside.end());
            record(holds, write_hold_row)
        }
        RowKey::Request(id) => {
            let beside = keys::requests_beside(id);
            let requests = state.decided_from(*beside.start()).take_while(|(id, _)| id <= beside.end());
            record(requests, |bytes, (id, decided)| write_request_row(bytes, id, decided))
        }
        key => state.row(key).map(|row| encode([&row])),
    }
}

fn record<T>(rows: impl Iterator<Item = T>, write: impl Fn(&mut Writer<'_>, T) + Copy) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(8 * USUAL);
    bytes.push(FORMAT);
    rows.for_each(|row| Writer(&mut bytes).message(ROWS, |bytes| write(bytes, row)));
    (bytes.len() > 1).then_some(bytes)
}

fn write_hold_row(bytes: &mut Writer<'_>, hold: &Hold) {
    bytes.message(HOLD, |bytes| write_hold(bytes, hold));
}

fn write_request_row(bytes: &mut Writer<'_>, id: RequestId, decided: &Decided) {
    bytes.message(REQUEST, |bytes| write_request(bytes, id, decided));
}

/// The record of rows that have one key.
pub fn encode<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    rows.into_iter().for_each(|row| Writer(&mut bytes).message(ROWS, |bytes| write_row(bytes, row)));
    bytes
}

fn write_row(bytes: &mut Writer<'_>, row: &Row) {
    let message = match row {
        Row::Hold(hold) => return write_hold_row(bytes, hold),
        Row::Request(id, decided) => return write_request_row(bytes, *id, decided),
        Row::Ledger { revision, time, next_scope, request_floor, compacted_at } => {
            Message::Ledger(storage::LedgerRow {
                revision: *revision,
                log_time_ms: *time,
                next_scope_id: next_scope.0,
                request_floor: request_floor.to_bytes().to_vec(),
                compacted_at: *compacted_at,
            })
        }
        Row::Resource(id, resource) => Message::Resource(storage::ResourceRow {
            resource_id: id.0,
            resource: Some(encode_resource(resource)),
        }),
        Row::Template(id, template) => Message::Template(storage::TemplateRow {
            template_id: id.0,
            template: Some(encode_template(template)),
        }),
        Row::Scope { id, name, parent, kind, labels, rules, template } => Message::Scope(storage::ScopeRow {
            scope_id: id.0,
            name: name.clone(),
            parent_id: parent.map(|parent| parent.0),
            kind: kind.to_string(),
            labels: encode_labels(labels),
            rules: rules.as_ref().map(encode_rules),
            template: template.as_ref().map(|applied| storage::AppliedTemplate {
                template: applied.template.to_string(),
                version: applied.version,
                quotas: encode_versions(&applied.quotas),
            }),
        }),
        Row::Account(scope, account) => Message::Account(encode_account(*scope, account)),
        Row::Transfer(transfer) => Message::Transfer(storage::TransferRow {
            transfer_id: transfer.id,
            from_scope_id: transfer.from.0,
            to_scope_id: transfer.to.0,
            resource_id: transfer.resource.0,
            amount: transfer.amount.to_string(),
            until_ms: transfer.until,
        }),
        Row::Closed(closing) => Message::ClosedHold(storage::ClosedHoldRow {
            revision: closing.revision,
            hold_id: closing.hold,
            state: hold::encode_state(closing.state).into(),
        }),
    };
    bytes.fields(&storage::Row { row: Some(message) });
}

/// The rows of a record, each as its message, without looking into them; there is at least one.
pub fn split(record: &[u8]) -> Result<Vec<&[u8]>, Corrupt> {
    let mut rows = Vec::new();
    let mut fields = Fields::new(WHAT, local::payload(WHAT, record)?);
    while let Some(field) = fields.next() {
        if let (ROWS, value) = field? {
            rows.push(fields.bytes(value)?);
        }
    }
    if rows.is_empty() {
        return Err(Corrupt::new(WHAT, EMPTY));
    }
    Ok(rows)
}

/// The rows of a record; there is at least one.
pub fn decode(bytes: &[u8], decimals: Decimals<'_>) -> Result<Vec<Row>, Corrupt> {
    let record: storage::Record = local::message(WHAT, bytes)?;
    if record.rows.is_empty() {
        return Err(Corrupt::new(WHAT, EMPTY));
    }
    record.rows.into_iter().map(|row| decode_row(row, decimals)).collect()
}

fn decode_row(message: storage::Row, decimals: Decimals<'_>) -> Result<Row, Corrupt> {
    Ok(match required(message.row, WHAT, "the row")? {
        Message::Ledger(row) => Row::Ledger {
            revision: row.revision,
            time: row.log_time_ms,
            next_scope: ScopeId(row.next_scope_id),
            request_floor: RequestId::floor_from_bytes(array(&row.request_floor, WHAT, "request_floor")?),
            compacted_at: row.compacted_at,
        },
        Message::Resource(row) => Row::Resource(
            ResourceId(row.resource_id),
            decode_resource(&required(row.resource, WHAT, "resource")?)
                .map_err(Corrupt::from_malformed(WHAT))?,
        ),
        Message::Template(row) => Row::Template(
            TemplateId(row.template_id),
            Arc::new(decode_template(required(row.template, WHAT, "template")?, decimals)?),
        ),
        Message::Scope(row) => decode_scope(row)?,
        Message::Account(row) => Row::Account(ScopeId(row.scope_id), decode_account(row, decimals)?),
        Message::Transfer(row) => {
            let resource = ResourceId(row.resource_id);
            Row::Transfer(Transfer {
                id: row.transfer_id,
                from: ScopeId(row.from_scope_id),
                to: ScopeId(row.to_scope_id),
                resource,
                amount: decode_amount(WHAT, &row.amount, resource, decimals)?,
                until: row.until_ms,
            })
        }
        Message::Hold(row) => Row::Hold(decode_hold(row, decimals)?),
        Message::ClosedHold(row) => Row::Closed(Closing {
            hold: row.hold_id,
            state: hold::decode_state(row.state)?,
            revision: row.revision,
        }),
        Message::Request(row) => Row::Request(
            RequestId::from_bytes(array(&row.request_id, WHAT, "request_id")?)
                .map_err(|problem| Corrupt::new(WHAT, problem))?,
            Decided {
                fingerprint: array(&row.fingerprint, WHAT, "fingerprint")?,
                revision: row.revision,
                verdict: verdict::decode(required(row.verdict, WHAT, "verdict")?)?,
            },
        ),
    })
}

fn decode_scope(row: storage::ScopeRow) -> Result<Row, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    let template = |applied: storage::AppliedTemplate| {
        Ok::<_, Corrupt>(template::Applied {
            template: name("template", &applied.template).map_err(&malformed)?,
            version: applied.version,
            quotas: decode_versions(&applied.quotas),
        })
    };
    Ok(Row::Scope {
        id: ScopeId(row.scope_id),
        name: row.name,
        parent: row.parent_id.map(ScopeId),
        kind: name("kind", &row.kind).map_err(&malformed)?,
        labels: labels("labels", row.labels).map_err(&malformed)?,
        rules: row.rules.as_ref().map(decode_rules).transpose()?,
        template: row.template.map(template).transpose()?,
    })
}

fn encode_account(scope: ScopeId, account: &Account) -> storage::AccountRow {
    storage::AccountRow {
        scope_id: scope.0,
        resource_id: account.resource.0,
        used: account.used.to_string(),
        held: account.held.to_string(),
        sequence: account.sequence,
        version: account.version,
        quota: account.quota.as_ref().map(encode_quota),
    }
}

fn decode_account(row: storage::AccountRow, decimals: Decimals<'_>) -> Result<Account, Corrupt> {
    let resource = ResourceId(row.resource_id);
    let quota = row.quota.map(|quota| decode_quota(quota, resource, decimals)).transpose()?;
    Ok(Account {
        resource,
        used: decode_amount(WHAT, &row.used, resource, decimals)?,
        held: decode_amount(WHAT, &row.held, resource, decimals)?,
        sequence: row.sequence,
        version: row.version,
        quota,
    })
}

fn encode_quota(quota: &Quota) -> storage::QuotaRow {
    let clock = |clock: Option<_>| clock.map(|clock| policy::encode_clock(clock, None));
    storage::QuotaRow {
        policy: Some(policy::encode(&quota.policy)),
        lock: quota.lock.as_deref().map(policy::encode_lock),
        grace: clock(quota.clocks().grace),
        burst: clock(quota.clocks().burst),
        would_deny: quota.would_deny(),
        schedule: quota.schedule().iter().map(policy::encode_scheduled).collect(),
    }
}

fn decode_quota(
    row: storage::QuotaRow,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Quota, Corrupt> {
    let schedule = row.schedule.into_iter().map(|item| policy::decode_scheduled(item, resource, decimals));
    let live = Live {
        clocks: Clocks {
            grace: row.grace.map(policy::decode_clock),
            burst: row.burst.map(policy::decode_clock),
        },
        would_deny: row.would_deny,
        schedule: schedule.collect::<Result<_, _>>()?,
    };
    let policy = policy::decode(&required(row.policy, WHAT, "policy")?, resource, decimals)?;
    Ok(Quota::restore(policy, row.lock.map(policy::decode_lock), live))
}

fn write_request(bytes: &mut Writer<'_>, id: RequestId, decided: &Decided) {
    bytes.bytes(1, &id.to_bytes());
    bytes.bytes(2, &decided.fingerprint);
    bytes.number(3, decided.revision);
    verdict::write(bytes, 4, &decided.verdict);
}

fn write_hold(bytes: &mut Writer<'_>, hold: &Hold) {
    bytes.number(1, hold.id);
    for line in &hold.lines {
        bytes.message(2, |bytes| {
            bytes.number(1, line.scope.0);
            bytes.number(2, line.resource.0);
            bytes.amount(3, line.held);
            bytes.amount(4, line.used);
        });
    }
    bytes.number(3, hold.created_at);
    bytes.number(4, hold.expires_at.map_or(0, NonZeroU64::get));
    bytes.number(5, hold.revision);
    bytes.text(6, &hold.actor);
    write_tags(bytes, 7, hold.tags.as_deref());
}

fn decode_hold(row: storage::HoldRow, decimals: Decimals<'_>) -> Result<Hold, Corrupt> {
    let lines = row.lines.iter().map(|line| {
        let resource = ResourceId(line.resource_id);
        Ok(HoldLine {
            scope: ScopeId(line.scope_id),
            resource,
            held: decode_amount(WHAT, &line.held, resource, decimals)?,
            used: decode_amount(WHAT, &line.used, resource, decimals)?,
        })
    });
    Ok(Hold {
        id: row.hold_id,
        lines: lines.collect::<Result<_, Corrupt>>()?,
        created_at: row.created_at_ms,
        expires_at: NonZeroU64::new(row.expires_at_ms),
        revision: row.revision,
        actor: row.actor.into(),
        tags: hold::decode_tags(WHAT, &row.job, &row.consumer, row.labels)?,
    })
}
