//! Events: one form for the disk, the stream and the wire.

use std::sync::Arc;

use super::Corrupt;
use super::array;
use super::command::decode_resource;
use super::command::encode_limit;
use super::command::encode_resource;
use super::command::name;
use super::command::path;
use super::number;
use super::rejection;
use super::required;
use crate::ledger::Amount;
use crate::ledger::Body;
use crate::ledger::Event;
use crate::ledger::Limit;
use crate::ledger::RequestId;
use crate::ledger::ResourceId;
use crate::ledger::ScopeId;
use crate::ledger::event::ReservedLine;
use crate::ledger::event::Touched;
use crate::proto::v1;
use crate::proto::v1::event::Body as Message;

const WHAT: &str = "an event";

/// How many decimals a resource has; `None` when there is no such resource.
pub type Decimals<'a> = &'a dyn Fn(ResourceId) -> Option<u8>;

/// Where a command stands in the Raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The term of its leader.
    pub term: u64,
    /// The index of its entry.
    pub index: u64,
}

/// The message of an event.
pub fn encode(event: &Event, position: Position) -> v1::Event {
    v1::Event {
        revision: event.revision,
        log_time_ms: event.time,
        raft_term: position.term,
        raft_index: position.index,
        request_id: event.request.to_string(),
        fingerprint: event.fingerprint.to_vec(),
        actor: event.actor.to_string(),
        touched: event.touched.iter().map(encode_touched).collect(),
        body: Some(encode_body(event)),
    }
}

/// An event from its message.
pub fn decode(message: v1::Event, decimals: Decimals<'_>) -> Result<Event, Corrupt> {
    let request = uuid::Uuid::parse_str(&message.request_id).map_err(|error| Corrupt::new(WHAT, error))?;
    let touched = message.touched.iter().map(|touched| decode_touched(touched, decimals));
    Ok(Event {
        revision: message.revision,
        time: message.log_time_ms,
        request: RequestId::from_bytes(request.into_bytes())
            .map_err(|problem| Corrupt::new(WHAT, problem))?,
        fingerprint: array(&message.fingerprint, WHAT, "fingerprint")?,
        actor: Arc::from(message.actor),
        touched: touched.collect::<Result<_, _>>()?,
        body: decode_body(required(message.body, WHAT, "the body")?, message.revision, decimals)?,
    })
}

fn encode_body(event: &Event) -> Message {
    match &event.body {
        Body::ScopeCreated { scope, path, kind } => Message::ScopeCreated(v1::ScopeCreated {
            scope_id: scope.0,
            path: path.to_string(),
            kind: kind.to_string(),
        }),
        Body::ResourceRegistered { id, resource } => Message::ResourceRegistered(v1::ResourceRegistered {
            resource_id: id.0,
            resource: Some(encode_resource(resource)),
        }),
        Body::QuotaSet { scope, resource, limit, version, previous } => Message::QuotaSet(v1::QuotaSet {
            scope_id: scope.0,
            resource_id: resource.0,
            limit: Some(limit_message(*limit)),
            version: *version,
            previous: previous.map(limit_message),
        }),
        Body::QuotaLocked { scope, resource, lock, version } => Message::QuotaLocked(v1::QuotaLocked {
            scope_id: scope.0,
            resource_id: resource.0,
            lock: Some(rejection::encode_lock(lock)),
            version: *version,
        }),
        Body::QuotaUnlocked { scope, resource, version } => Message::QuotaUnlocked(v1::QuotaUnlocked {
            scope_id: scope.0,
            resource_id: resource.0,
            version: *version,
        }),
        Body::Reserved { lines } => Message::Reserved(v1::Reserved {
            hold_id: event.revision,
            lines: lines.iter().map(encode_line).collect(),
        }),
        Body::Committed(hold) => Message::Committed(v1::Committed { hold_id: *hold }),
        Body::Released(hold) => Message::Released(v1::Released { hold_id: *hold }),
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
    let malformed = Corrupt::from_malformed(WHAT);
    Ok(match message {
        Message::ScopeCreated(body) => Body::ScopeCreated {
            scope: ScopeId(body.scope_id),
            path: path("path", &body.path).map_err(&malformed)?,
            kind: name("kind", &body.kind).map_err(&malformed)?,
        },
        Message::ResourceRegistered(body) => Body::ResourceRegistered {
            id: ResourceId(body.resource_id),
            resource: decode_resource(&required(body.resource, WHAT, "resource")?).map_err(&malformed)?,
        },
        Message::QuotaSet(body) => {
            let resource = ResourceId(body.resource_id);
            let limit = |message: v1::Limit| decode_limit(&message, resource, decimals);
            Body::QuotaSet {
                scope: ScopeId(body.scope_id),
                resource,
                limit: limit(required(body.limit, WHAT, "limit")?)?,
                version: body.version,
                previous: body.previous.map(limit).transpose()?,
            }
        }
        Message::QuotaLocked(body) => Body::QuotaLocked {
            scope: ScopeId(body.scope_id),
            resource: ResourceId(body.resource_id),
            lock: rejection::decode_lock(required(body.lock, WHAT, "lock")?),
            version: body.version,
        },
        Message::QuotaUnlocked(body) => Body::QuotaUnlocked {
            scope: ScopeId(body.scope_id),
            resource: ResourceId(body.resource_id),
            version: body.version,
        },
        Message::Reserved(body) => {
            if body.hold_id != revision {
                return Err(Corrupt::new(WHAT, "a hold is not named by its revision"));
            }
            let lines = body.lines.iter().map(|line| decode_line(line, decimals));
            Body::Reserved { lines: lines.collect::<Result<_, _>>()? }
        }
        Message::Committed(body) => Body::Committed(body.hold_id),
        Message::Released(body) => Body::Released(body.hold_id),
        Message::Rejected(body) => Body::Rejected {
            command: body.command.into(),
            rejection: Box::new(rejection::decode(required(body.rejection, WHAT, "rejection")?)?),
        },
        Message::Unchanged(body) => Body::Unchanged { command: body.command.into(), version: body.version },
    })
}

fn encode_touched(touched: &Touched) -> v1::Touched {
    v1::Touched {
        scope_id: touched.scope.0,
        scope: touched.path.to_string(),
        resource_id: touched.resource.0,
        resource: touched.name.to_string(),
        used: touched.used.to_string(),
        held: touched.held.to_string(),
        sequence: touched.sequence,
        used_change: number::write_change(touched.used_change),
        held_change: number::write_change(touched.held_change),
    }
}

fn decode_touched(message: &v1::Touched, decimals: Decimals<'_>) -> Result<Touched, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    let resource = ResourceId(message.resource_id);
    let change = |field: &str, text: &str| match text {
        "" => Ok(Default::default()),
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
    })
}

fn encode_line(line: &ReservedLine) -> v1::ReservedLine {
    v1::ReservedLine {
        scope_id: line.scope.0,
        scope: line.path.to_string(),
        resource_id: line.resource.0,
        resource: line.name.to_string(),
        amount: line.amount.to_string(),
    }
}

fn decode_line(message: &v1::ReservedLine, decimals: Decimals<'_>) -> Result<ReservedLine, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    let resource = ResourceId(message.resource_id);
    Ok(ReservedLine {
        scope: ScopeId(message.scope_id),
        path: path("scope", &message.scope).map_err(&malformed)?,
        resource,
        name: name("resource", &message.resource).map_err(&malformed)?,
        amount: decode_amount(WHAT, &message.amount, resource, decimals)?,
    })
}

/// The message of a limit.
pub(super) fn limit_message(limit: Limit) -> v1::Limit {
    match limit {
        Limit::Amount(amount) => encode_limit(Some(amount.number()), false),
        Limit::Unlimited => encode_limit(None, true),
        Limit::Inherit => encode_limit(None, false),
    }
}

pub(super) fn decode_limit(
    message: &v1::Limit,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Limit, Corrupt> {
    match required(message.limit.as_ref(), "a limit", "the limit")? {
        v1::limit::Limit::Amount(text) => {
            decode_amount("a limit", text, resource, decimals).map(Limit::Amount)
        }
        v1::limit::Limit::Unlimited(_) => Ok(Limit::Unlimited),
        v1::limit::Limit::Inherit(_) => Ok(Limit::Inherit),
    }
}

pub(super) fn decode_amount(
    what: &'static str,
    text: &str,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Amount, Corrupt> {
    let decimals = decimals(resource)
        .ok_or_else(|| Corrupt::new(what, format!("resource {} is unknown", resource.0)))?;
    let number = number::parse("an amount", text).map_err(Corrupt::from_malformed(what))?;
    Amount::new(number, decimals).map_err(|error| Corrupt::new(what, format!("an amount of {text} {error}")))
}
