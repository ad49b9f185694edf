//! Commands on scopes and resources.

use super::encode_labels;
use super::labels;
use super::name;
use super::path;
use crate::ledger::Command;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Resource;
use crate::ledger::ResourceKind;
use crate::ledger::command::CreateScope;
use crate::ledger::command::DeleteScope;
use crate::ledger::command::MoveScope;
use crate::ledger::command::UpdateScope;
use crate::ledger::tree::ChildPolicy;
use crate::ledger::tree::Schema;
use crate::proto::v1;

pub(super) fn create_scope(message: v1::CreateScopeRequest) -> Result<Command, Malformed> {
    CreateScope::new(
        path("path", &message.path)?,
        kind("kind", &message.kind)?,
        labels("labels", message.labels)?,
        schema("schema", &message.schema)?,
        child_policy("child_policy", message.child_policy)?,
    )
    .map(Command::CreateScope)
}

pub(super) fn encode_create_scope(command: &CreateScope) -> v1::CreateScopeRequest {
    v1::CreateScopeRequest {
        path: command.path.to_string(),
        kind: encode_kind(command.kind.as_ref()),
        labels: encode_labels(&command.labels),
        schema: encode_schema(command.schema.as_ref()),
        child_policy: encode_said_child_policy(command.child_policy).into(),
        ..Default::default()
    }
}

pub(super) fn update_scope(message: v1::UpdateScopeRequest) -> Result<Command, Malformed> {
    UpdateScope::new(
        path("path", &message.path)?,
        message.labels.map(|said| labels("labels", said.labels)).transpose()?,
        schema("schema", &message.schema)?,
        child_policy("child_policy", message.child_policy)?,
    )
    .map(Command::UpdateScope)
}

pub(super) fn encode_update_scope(command: &UpdateScope) -> v1::UpdateScopeRequest {
    v1::UpdateScopeRequest {
        path: command.path.to_string(),
        labels: command.labels.as_ref().map(|labels| v1::Labels { labels: encode_labels(labels) }),
        schema: encode_schema(command.schema.as_ref()),
        child_policy: encode_said_child_policy(command.child_policy).into(),
        ..Default::default()
    }
}

pub(super) fn move_scope(message: &v1::MoveScopeRequest) -> Result<Command, Malformed> {
    MoveScope::new(path("path", &message.path)?, path("to", &message.to)?, message.force)
        .map(Command::MoveScope)
}

pub(super) fn encode_move_scope(command: &MoveScope) -> v1::MoveScopeRequest {
    v1::MoveScopeRequest {
        path: command.from.to_string(),
        to: command.to.to_string(),
        force: command.force,
        ..Default::default()
    }
}

pub(super) fn delete_scope(message: &v1::DeleteScopeRequest) -> Result<Command, Malformed> {
    let path = path("path", &message.path)?;
    Ok(Command::DeleteScope(DeleteScope { path, recursive: message.recursive }))
}

pub(super) fn encode_delete_scope(command: &DeleteScope) -> v1::DeleteScopeRequest {
    v1::DeleteScopeRequest {
        path: command.path.to_string(),
        recursive: command.recursive,
        ..Default::default()
    }
}

pub(super) fn register_resource(message: &v1::RegisterResourceRequest) -> Result<Command, Malformed> {
    let resource = message.resource.as_ref().ok_or_else(|| Malformed::new("resource", "is missing"))?;
    decode_resource(resource).map(Command::RegisterResource)
}

pub(super) fn encode_register_resource(resource: &Resource) -> v1::RegisterResourceRequest {
    v1::RegisterResourceRequest { resource: Some(encode_resource(resource)), ..Default::default() }
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

pub(in crate::codec) fn decode_resource(message: &v1::Resource) -> Result<Resource, Malformed> {
    let kind = match v1::ResourceKind::try_from(message.kind) {
        Ok(v1::ResourceKind::Capacity) => ResourceKind::Capacity,
        Ok(v1::ResourceKind::Budget) => ResourceKind::Budget,
        Ok(v1::ResourceKind::Unspecified) | Err(_) => {
            return Err(Malformed::new("resource.kind", "is missing; say CAPACITY or BUDGET"));
        }
    };
    Resource::new(name("resource.name", &message.name)?, &message.unit, message.decimals, kind)
}

/// Reads what a level is called; "" says nothing.
pub(in crate::codec) fn kind(field: &str, text: &str) -> Result<Option<Name>, Malformed> {
    if text.is_empty() { Ok(None) } else { name(field, text).map(Some) }
}

pub(in crate::codec) fn encode_kind(kind: Option<&Name>) -> String {
    kind.map(ToString::to_string).unwrap_or_default()
}

/// Reads the levels of a tree; "" says nothing.
pub(in crate::codec) fn schema(field: &str, text: &str) -> Result<Option<Schema>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    Schema::parse(text).map(Some).map_err(|error| Malformed::new(field, error.problem))
}

pub(in crate::codec) fn encode_schema(schema: Option<&Schema>) -> String {
    schema.map(ToString::to_string).unwrap_or_default()
}

/// Reads how limits nest; UNSPECIFIED says nothing.
pub(in crate::codec) fn child_policy(field: &str, message: i32) -> Result<Option<ChildPolicy>, Malformed> {
    match v1::ChildPolicy::try_from(message) {
        Ok(v1::ChildPolicy::Unspecified) => Ok(None),
        Ok(_) => Ok(decode_child_policy(message)),
        Err(_) => Err(Malformed::new(field, "is not one of those that are known")),
    }
}

pub(in crate::codec) fn encode_said_child_policy(policy: Option<ChildPolicy>) -> v1::ChildPolicy {
    policy.map_or(v1::ChildPolicy::Unspecified, encode_child_policy)
}

/// The message of how limits nest.
pub(in crate::codec) fn encode_child_policy(policy: ChildPolicy) -> v1::ChildPolicy {
    match policy {
        ChildPolicy::EachWithinParent => v1::ChildPolicy::EachWithinParent,
        ChildPolicy::SumWithinParent => v1::ChildPolicy::SumWithinParent,
        ChildPolicy::Unchecked => v1::ChildPolicy::Unchecked,
    }
}

/// How limits nest, from its message; `None` when nothing is said.
pub(in crate::codec) fn decode_child_policy(message: i32) -> Option<ChildPolicy> {
    match v1::ChildPolicy::try_from(message).ok()? {
        v1::ChildPolicy::Unspecified => None,
        v1::ChildPolicy::EachWithinParent => Some(ChildPolicy::EachWithinParent),
        v1::ChildPolicy::SumWithinParent => Some(ChildPolicy::SumWithinParent),
        v1::ChildPolicy::Unchecked => Some(ChildPolicy::Unchecked),
    }
}
