//! Commands: from the messages of clients, into the log, and out of it again.

use rust_decimal::Decimal;

use super::number;
use crate::ledger::Command;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::RequestId;
use crate::ledger::Resource;
use crate::ledger::ResourceKind;
use crate::ledger::command::AdjustQuota;
use crate::ledger::command::CreateScope;
use crate::ledger::command::Line;
use crate::ledger::command::LockQuota;
use crate::ledger::command::NewLimit;
use crate::ledger::command::Reserve;
use crate::ledger::command::SetQuota;
use crate::ledger::command::UnlockQuota;
use crate::proto::storage::v1::request::Command as Message;
use crate::proto::v1;

/// The kind of a scope when the client names none.
const DEFAULT_KIND: &str = "scope";

/// Reads the request id of a client.
pub fn request_id(text: &str) -> Result<RequestId, Malformed> {
    let uuid = uuid::Uuid::parse_str(text)
        .map_err(|error| Malformed::new("request_id", format!("is not a UUID of version 7: {error}")))?;
    RequestId::from_bytes(uuid.into_bytes()).map_err(|problem| Malformed::new("request_id", problem))
}

/// Reads a path; `field` names it in the error.
pub fn path(field: &str, text: &str) -> Result<Path, Malformed> {
    Path::parse(text).map_err(|error| Malformed::new(field, error))
}

/// Reads a name; `field` names it in the error.
pub fn name(field: &str, text: &str) -> Result<Name, Malformed> {
    Name::parse(text).map_err(|error| Malformed::new(field, error))
}

/// A command from its message.
pub fn decode(message: Message) -> Result<Command, Malformed> {
    match message {
        Message::CreateScope(message) => create_scope(&message),
        Message::RegisterResource(message) => register_resource(&message),
        Message::SetQuota(message) => set_quota(&message),
        Message::AdjustQuota(message) => adjust_quota(&message),
        Message::LockQuota(message) => lock_quota(&message),
        Message::UnlockQuota(message) => unlock_quota(&message),
        Message::Reserve(message) => reserve(&message),
        Message::Commit(message) => Ok(Command::Commit(message.hold_id)),
        Message::Release(message) => Ok(Command::Release(message.hold_id)),
    }
}

/// The message of a command, canonical: equal commands have equal messages.
pub fn encode(command: &Command) -> Message {
    let request_id = String::new();
    match command {
        Command::CreateScope(CreateScope { path, kind }) => Message::CreateScope(v1::CreateScopeRequest {
            request_id,
            path: path.to_string(),
            kind: kind.to_string(),
        }),
        Command::RegisterResource(resource) => Message::RegisterResource(v1::RegisterResourceRequest {
            request_id,
            resource: Some(encode_resource(resource)),
        }),
        Command::SetQuota(command) => Message::SetQuota(v1::SetQuotaRequest {
            request_id,
            scope: command.scope.to_string(),
            resource: command.resource.to_string(),
            limit: Some(encode_new_limit(command.limit)),
            if_version: command.if_version,
        }),
        Command::AdjustQuota(command) => Message::AdjustQuota(v1::AdjustQuotaRequest {
            request_id,
            scope: command.scope.to_string(),
            resource: command.resource.to_string(),
            delta: number::write(command.delta),
            if_version: command.if_version,
        }),
        Command::LockQuota(command) => Message::LockQuota(v1::LockQuotaRequest {
            request_id,
            scope: command.scope.to_string(),
            resource: command.resource.to_string(),
            reason: command.reason.to_string(),
            if_version: command.if_version,
        }),
        Command::UnlockQuota(command) => Message::UnlockQuota(v1::UnlockQuotaRequest {
            request_id,
            scope: command.scope.to_string(),
            resource: command.resource.to_string(),
            if_version: command.if_version,
        }),
        Command::Reserve(command) => Message::Reserve(v1::ReserveRequest {
            request_id,
            lines: command.lines().iter().map(encode_line).collect(),
        }),
        Command::Commit(hold_id) => Message::Commit(v1::CommitRequest { request_id, hold_id: *hold_id }),
        Command::Release(hold_id) => Message::Release(v1::ReleaseRequest { request_id, hold_id: *hold_id }),
    }
}

fn create_scope(message: &v1::CreateScopeRequest) -> Result<Command, Malformed> {
    let kind = if message.kind.is_empty() { DEFAULT_KIND } else { &message.kind };
    Ok(Command::CreateScope(CreateScope { path: path("path", &message.path)?, kind: name("kind", kind)? }))
}

fn register_resource(message: &v1::RegisterResourceRequest) -> Result<Command, Malformed> {
    let resource = message.resource.as_ref().ok_or_else(|| Malformed::new("resource", "is missing"))?;
    decode_resource(resource).map(Command::RegisterResource)
}

fn set_quota(message: &v1::SetQuotaRequest) -> Result<Command, Malformed> {
    Ok(Command::SetQuota(SetQuota {
        scope: path("scope", &message.scope)?,
        resource: name("resource", &message.resource)?,
        limit: new_limit(message.limit.as_ref())?,
        if_version: message.if_version,
    }))
}

fn adjust_quota(message: &v1::AdjustQuotaRequest) -> Result<Command, Malformed> {
    AdjustQuota::new(
        path("scope", &message.scope)?,
        name("resource", &message.resource)?,
        number::parse("delta", &message.delta)?,
        message.if_version,
    )
    .map(Command::AdjustQuota)
}

fn lock_quota(message: &v1::LockQuotaRequest) -> Result<Command, Malformed> {
    LockQuota::new(
        path("scope", &message.scope)?,
        name("resource", &message.resource)?,
        &message.reason,
        message.if_version,
    )
    .map(Command::LockQuota)
}

fn unlock_quota(message: &v1::UnlockQuotaRequest) -> Result<Command, Malformed> {
    Ok(Command::UnlockQuota(UnlockQuota {
        scope: path("scope", &message.scope)?,
        resource: name("resource", &message.resource)?,
        if_version: message.if_version,
    }))
}

fn reserve(message: &v1::ReserveRequest) -> Result<Command, Malformed> {
    let lines = message.lines.iter().enumerate().map(|(position, line)| {
        let field = |name: &str| format!("lines[{position}].{name}");
        Ok(Line {
            scope: Path::parse(&line.scope).map_err(|error| Malformed::new(field("scope"), error))?,
            resource: Name::parse(&line.resource)
                .map_err(|error| Malformed::new(field("resource"), error))?,
            amount: number::parse("", &line.amount)
                .map_err(|error| Malformed::new(field("amount"), error.problem))?,
            if_sequence: line.if_sequence,
        })
    });
    Reserve::new(lines.collect::<Result<_, Malformed>>()?).map(Command::Reserve)
}

fn new_limit(message: Option<&v1::Limit>) -> Result<NewLimit, Malformed> {
    match message.and_then(|limit| limit.limit.as_ref()) {
        Some(v1::limit::Limit::Amount(text)) => NewLimit::amount(number::parse("limit.amount", text)?),
        Some(v1::limit::Limit::Unlimited(_)) => Ok(NewLimit::Unlimited),
        Some(v1::limit::Limit::Inherit(_)) => Ok(NewLimit::Inherit),
        None => Err(Malformed::new("limit", "is missing; say an amount, unlimited or inherit")),
    }
}

/// The message of a limit.
pub(super) fn encode_limit(amount: Option<Decimal>, unlimited: bool) -> v1::Limit {
    let limit = match amount {
        Some(number) => v1::limit::Limit::Amount(number::write(number)),
        None if unlimited => v1::limit::Limit::Unlimited(v1::Unlimited {}),
        None => v1::limit::Limit::Inherit(v1::Inherit {}),
    };
    v1::Limit { limit: Some(limit) }
}

fn encode_new_limit(limit: NewLimit) -> v1::Limit {
    match limit {
        NewLimit::Amount(number) => encode_limit(Some(number), false),
        NewLimit::Unlimited => encode_limit(None, true),
        NewLimit::Inherit => encode_limit(None, false),
    }
}

fn encode_line(line: &Line) -> v1::Line {
    v1::Line {
        scope: line.scope.to_string(),
        resource: line.resource.to_string(),
        amount: number::write(line.amount),
        if_sequence: line.if_sequence,
    }
}

/// The message of a resource.
pub fn encode_resource(resource: &Resource) -> v1::Resource {
    let kind = match resource.kind {
        ResourceKind::Capacity => v1::ResourceKind::Capacity,
        ResourceKind::Budget => v1::ResourceKind::Budget,
    };
    v1::Resource {
        name: resource.name.to_string(),
        unit: resource.unit.clone(),
        decimals: u32::from(resource.decimals),
        kind: kind.into(),
    }
}

pub(super) fn decode_resource(message: &v1::Resource) -> Result<Resource, Malformed> {
    let kind = match v1::ResourceKind::try_from(message.kind) {
        Ok(v1::ResourceKind::Capacity) => ResourceKind::Capacity,
        Ok(v1::ResourceKind::Budget) => ResourceKind::Budget,
        Ok(v1::ResourceKind::Unspecified) | Err(_) => {
            return Err(Malformed::new("resource.kind", "is missing; say CAPACITY or BUDGET"));
        }
    };
    Resource::new(name("resource.name", &message.name)?, &message.unit, message.decimals, kind)
}
