//! Deciding: reads the state, changes nothing, reports everything that is wrong.
//!
//! One file per command family; the steps of each stand in the order of precedence that
//! `rejection` documents.

mod charge;
mod quota;
mod reserve;
mod settle;
mod tree;

use std::sync::Arc;

use super::command::Command;
use super::event::Body;
use super::event::Touched;
use super::name::Name;
use super::name::Path;
use super::rejection::Rejection;
use super::request::Request;
use super::resource::ResourceId;
use super::scope::Scope;
use super::state::State;

/// What is going to happen.
pub(super) struct Decision {
    pub(super) body: Body,
    pub(super) touched: Vec<Touched>,
}

impl Decision {
    /// Something that touches no counters.
    fn plain(body: Body) -> Self {
        Self { body, touched: Vec::new() }
    }
}

type Decided = Result<Decision, Rejection>;

/// Decides one request. The revision it will get is the next one.
pub(super) fn decide(state: &State, request: &Request) -> Decision {
    let decided = match &request.command {
        Command::CreateScope(command) => tree::create_scope(state, command),
        Command::RegisterResource(resource) => tree::register_resource(state, resource),
        Command::SetQuota(command) => quota::set(state, command),
        Command::AdjustQuota(command) => quota::adjust(state, command),
        Command::LockQuota(command) => quota::lock(state, command, &request.actor),
        Command::UnlockQuota(command) => quota::unlock(state, command),
        Command::Reserve(command) => reserve::reserve(state, command),
        Command::Commit(hold) => settle::commit(state, *hold),
        Command::Release(hold) => settle::release(state, *hold),
    };
    decided.unwrap_or_else(|rejection| {
        Decision::plain(Body::Rejected {
            command: Arc::from(request.command.name()),
            rejection: Box::new(rejection),
        })
    })
}

/// The scope and resource a policy command names.
fn find<'a>(state: &'a State, scope: &Path, resource: &Name) -> Result<(&'a Scope, ResourceId), Rejection> {
    let scope = state.scope_at(scope).ok_or_else(|| Rejection::UnknownScopes(vec![scope.clone()]))?;
    let resource =
        state.resource_id(resource).ok_or_else(|| Rejection::UnknownResources(vec![resource.clone()]))?;
    Ok((scope, resource))
}
