//! Scopes and resources.

use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use crate::ledger::command::CreateScope;
use crate::ledger::event::Body;
use crate::ledger::resource::Resource;
use crate::ledger::resource::ResourceId;

pub(super) fn create_scope(state: &State, command: &CreateScope) -> Decided {
    if let Some(parent) = command.path.parent()
        && state.scope_at(&parent).is_none()
    {
        return Err(Rejection::UnknownScopes(vec![parent]));
    }
    if state.scope_at(&command.path).is_some() {
        return Err(Rejection::ScopeExists(command.path.clone()));
    }
    Ok(Decision::plain(Body::ScopeCreated {
        scope: state.next_scope(),
        path: command.path.clone(),
        kind: command.kind.clone(),
    }))
}

pub(super) fn register_resource(state: &State, resource: &Resource) -> Decided {
    if state.resource_id(&resource.name).is_some() {
        return Err(Rejection::ResourceExists(resource.name.clone()));
    }
    let id = ResourceId(u32::try_from(state.resources().len()).expect("fewer than 2^32 resources"));
    Ok(Decision::plain(Body::ResourceRegistered { id, resource: resource.clone() }))
}
