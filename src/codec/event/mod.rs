//! Events: one form for the disk, the stream and the wire.
//!
//! | file | subject |
//! |---|---|
//! | `tree` | what happened to scopes, resources and templates |
//! | `policy` | what happened to quotas |
//! | `hold` | what happened to holds |
//! | `write` | the events of one log entry, with what was asked, as they are stored |
//! | `stored` | events as they are stored, looked into |
//! | `entry` | what was asked, from the events that it led to |
//! | `filter`, `names` | which events a reader wants; what an event names |

mod entry;
pub mod filter;
mod hold;
mod names;
mod policy;
pub mod stored;
mod tree;
mod write;

use std::sync::Arc;

use rust_decimal::Decimal;

use super::Corrupt;
use super::array;
use super::command::name;
use super::command::path;
use super::number;
use super::policy::decode_clock;
use super::policy::encode_clock;
use super::rejection;
use super::required;
use crate::ledger::Amount;
use crate::ledger::Body;
use crate::ledger::Cause;
use crate::ledger::Event;
use crate::ledger::RequestId;
use crate::ledger::ResourceId;
use crate::ledger::ScopeId;
use crate::ledger::event::Part;
use crate::ledger::event::Touched;
use crate::ledger::quota::Clocks;
use crate::proto::v1;
use crate::proto::v1::event::Body as Message;
pub use entry::Recorded;
pub use entry::decode_entry;
pub(super) use tree::decode_rules;
pub(super) use tree::decode_template;
pub(super) use tree::decode_versions;
pub(super) use tree::encode_rules;
pub(super) use tree::encode_template;
pub(super) use tree::encode_versions;
#[cfg(test)]
pub(super) use write::Unwritten;
#[cfg(test)]
pub(super) use write::write;
pub use write::write_entry;

const WHAT: &str = "an event";

/// How many decimals a resource has; `None` when there is no such resource.
pub type Decimals<'a> = &'a dyn Fn(ResourceId) -> Option<u8>;

/// Where a command stands in the Raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The term of its leader.
    pub term: u64,
    /// The index of its entry.
    pub index: u64,
}

/// The message of an event.
pub fn encode(event: &Event, position: Position) -> v1::Event {
    let (request_id, fingerprint, actor) = match &event.cause {
        Cause::Request { id, fingerprint, actor } => {
            (id.to_string(), fingerprint.to_vec(), actor.to_string())
        }
        Cause::Time => Default::default(),
    };
    v1::Event {
        revision: event.revision,
        log_time_ms: event.time,
        raft_term: position.term,
        raft_index: position.index,
        request_id,
        fingerprint,
        actor,
        touched: event.touched.iter().map(encode_touched).collect(),
        part: event.part.map(|part| v1::Part { index: part.index, of: part.of }),
        body: Some(encode_body(event)),
        ..Default::default()
    }
}

/// An event as it is read by those who do not want to know what was asked.
pub fn without_commands(event: &v1::Event) -> v1::Event {
    v1::Event {
        revision: event.revision,
        log_time_ms: event.log_time_ms,
        raft_term: event.raft_term,
        raft_index: event.raft_index,
        request_id: event.request_id.clone(),
        fingerprint: event.fingerprint.clone(),
        actor: event.actor.clone(),
        touched: event.touched.clone(),
        part: event.part,
        reason: event.reason.clone(),
        command: None,
        batch: None,
        body: event.body.clone(),
    }
}

/// An event from its message.
pub fn decode(message: v1::Event, decimals: Decimals<'_>) -> Result<Event, Corrupt> {
    let cause = if message.request_id.is_empty() {
        Cause::Time
    } else {
        let id = uuid::Uuid::parse_str(&message.request_id).map_err(|error| Corrupt::new(WHAT, error))?;
        Cause::Request {
            id: RequestId::from_bytes(id.into_bytes()).map_err(|problem| Corrupt::new(WHAT, problem))?,
            fingerprint: array(&message.fingerprint, WHAT, "fingerprint")?,
            actor: Arc::from(message.actor),
        }
    };
    let touched = message.touched.into_iter().map(|touched| decode_touched(touched, decimals));
    Ok(Event {
        revision: message.revision,
        time: message.log_time_ms,
        cause,
        part: message.part.map(|part| Part { index: part.index, of: part.of }),
        touched: touched.collect::<Result<_, _>>()?,
        body: decode_body(required(message.body, WHAT, "the body")?, message.revision, decimals)?,
    })
}

fn encode_body(event: &Event) -> Message {
    match &event.body {
        Body::ScopeCreated { .. }
        | Body::ScopeUpdated { .. }
        | Body::ScopeMoved { .. }
        | Body::ScopeDeleted { .. }
        | Body::ResourceRegistered { .. }
        | Body::TemplatePut { .. }
        | Body::TemplateApplied { .. } => tree::encode(&event.body),
        Body::QuotaSet { .. }
        | Body::QuotaDeleted { .. }
        | Body::QuotaLocked { .. }
        | Body::QuotaUnlocked { .. }
        | Body::QuotaScheduled { .. }
        | Body::ScheduleCancelled { .. }
        | Body::ScheduleFailed { .. }
        | Body::OverrideSwitched { .. }
        | Body::ClockEnded { .. }
        | Body::QuotaTransferred { .. }
        | Body::TransferReturned { .. } => policy::encode(&event.body),
        Body::Reserved(_)
        | Body::Committed { .. }
        | Body::Released { .. }
        | Body::Expired { .. }
        | Body::Renewed { .. }
        | Body::Resized { .. } => hold::encode(&event.body, event.revision),
        Body::TimeRefused { clock, node } => {
            Message::TimeRefused(v1::TimeRefused { clock_ms: *clock, node_id: *node })
        }
        Body::EventsCompacted { through, previous } => {
            Message::EventsCompacted(v1::EventsCompacted { through_revision: *through, previous: *previous })
        }
        Body::Rejected { command, rejection } => Message::Rejected(v1::Rejected {
            command: command.to_string(),
            rejection: Some(rejection::encode(rejection)),
        }),
        Body::Unchanged { command, version } => {
            Message::Unchanged(v1::Unchanged { command: command.to_string(), version: *version })
        }
    }
}

fn decode_body(message: Message, revision: u64, decimals: Decimals<'_>) -> Result<Body, Corrupt> {
    match message {
        Message::ScopeCreated(_)
        | Message::ScopeUpdated(_)
        | Message::ScopeMoved(_)
        | Message::ScopeDeleted(_)
        | Message::ResourceRegistered(_)
        | Message::TemplatePut(_)
        | Message::TemplateApplied(_) => tree::decode(message, decimals),
        Message::QuotaSet(_)
        | Message::QuotaDeleted(_)
        | Message::QuotaLocked(_)
        | Message::QuotaUnlocked(_)
        | Message::QuotaScheduled(_)
        | Message::ScheduleCancelled(_)
        | Message::ScheduleFailed(_)
        | Message::OverrideSwitched(_)
        | Message::ClockEnded(_)
        | Message::QuotaTransferred(_)
        | Message::TransferReturned(_) => policy::decode(message, decimals),
        Message::Reserved(_)
        | Message::Committed(_)
        | Message::Released(_)
        | Message::Expired(_)
        | Message::Renewed(_)
        | Message::Resized(_) => hold::decode(message, revision, decimals),
        Message::TimeRefused(body) => Ok(Body::TimeRefused { clock: body.clock_ms, node: body.node_id }),
        Message::EventsCompacted(body) => {
            Ok(Body::EventsCompacted { through: body.through_revision, previous: body.previous })
        }
        Message::Rejected(body) => Ok(Body::Rejected {
            command: body.command.into(),
            rejection: Box::new(rejection::decode(required(body.rejection, WHAT, "rejection")?)?),
        }),
        Message::Unchanged(body) => {
            Ok(Body::Unchanged { command: body.command.into(), version: body.version })
        }
    }
}

fn encode_touched(touched: &Touched) -> v1::Touched {
    let clock = |clock: Option<_>| clock.map(|clock| encode_clock(clock, None));
    v1::Touched {
        scope_id: touched.scope.0,
        scope: touched.path.as_str().to_owned(),
        resource_id: touched.resource.0,
        resource: touched.name.as_str().to_owned(),
        used: touched.used.to_string(),
        held: touched.held.to_string(),
        sequence: touched.sequence,
        used_change: number::write_change(touched.used_change),
        held_change: number::write_change(touched.held_change),
        grace: clock(touched.clocks.grace),
        burst: clock(touched.clocks.burst),
    }
}

fn decode_touched(message: v1::Touched, decimals: Decimals<'_>) -> Result<Touched, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    let resource = ResourceId(message.resource_id);
    let change = |field: &str, text: &str| match text {
        "" => Ok(Decimal::ZERO),
        text => number::parse(field, text).map_err(&malformed),
    };
    Ok(Touched {
        scope: ScopeId(message.scope_id),
        path: path("scope", &message.scope).map_err(&malformed)?,
        resource,
        name: name("resource", &message.resource).map_err(&malformed)?,
        used: decode_amount(WHAT, &message.used, resource, decimals)?,
        held: decode_amount(WHAT, &message.held, resource, decimals)?,
        sequence: message.sequence,
        used_change: change("used_change", &message.used_change)?,
        held_change: change("held_change", &message.held_change)?,
        clocks: Clocks { grace: message.grace.map(decode_clock), burst: message.burst.map(decode_clock) },
    })
}

/// An amount from its text, at the scale of its resource.
pub(super) fn decode_amount(
    what: &'static str,
    text: &str,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Amount, Corrupt> {
    let number = number::parse("an amount", text).map_err(Corrupt::from_malformed(what))?;
    amount_at_scale(what, number, resource, decimals)
}

/// A number as an amount of a resource.
pub(super) fn amount_at_scale(
    what: &'static str,
    number: Decimal,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Amount, Corrupt> {
    let decimals = decimals(resource)
        .ok_or_else(|| Corrupt::new(what, format!("resource {} is unknown", resource.0)))?;
    Amount::new(number, decimals)
        .map_err(|error| Corrupt::new(what, format!("an amount of {number} {error}")))
}

/// The text of an amount that need not be there.
fn encode_optional(amount: Option<Amount>) -> String {
    amount.map(|amount| amount.to_string()).unwrap_or_default()
}

/// An amount that need not be there.
fn decode_optional(
    text: &str,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Option<Amount>, Corrupt> {
    if text.is_empty() { Ok(None) } else { decode_amount(WHAT, text, resource, decimals).map(Some) }
}
