//! Deciding: reads the state, changes nothing, reports everything that is wrong.
//!
//! | file | subject |
//! |---|---|
//! | `tree` | scopes and resources |
//! | `policy` | what a client says of a quota becomes a policy |
//! | `place` | how limits nest |
//! | `quota` | limits and locks |
//! | `schedule` | overrides, changes to come, and clocks |
//! | `transfer` | parts of limits between siblings |
//! | `template` | templates |
//! | `charge` | what lines cost at every scope of their paths, and whether there is room |
//! | `explain` | why there is none, and when there will be |
//! | `reserve`, `settle` | holds, and what becomes of them |
//!
//! The steps of each stand in the order of precedence that `rejection` documents.

mod charge;
mod explain;
mod place;
mod policy;
mod quota;
mod reserve;
mod schedule;
mod settle;
mod template;
mod transfer;
mod tree;

use std::sync::Arc;

use super::LogTime;
use super::Revision;
use super::command::Command;
use super::event::Body;
use super::event::Touched;
use super::hold::HoldId;
use super::name::Name;
use super::name::Path;
use super::rejection::Malformed;
use super::rejection::QuotaName;
use super::rejection::Rejection;
use super::resource::ResourceId;
use super::scope::Scope;
use super::state::Due;
use super::state::State;
pub(super) use place::check_tree;
pub(super) use place::check_where_it_is;
pub(super) use policy::resolve;
pub(super) use template::applied;

/// What a decision is made from.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) state: &'a State,
    pub(super) now: LogTime,
    /// Who asks; "" for time.
    pub(super) actor: &'a Arc<str>,
    /// Whether how limits nest is looked at later, when several have been changed.
    pub(super) places_later: bool,
}

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

pub(super) type Decided = Result<Decision, Rejection>;

/// Decides one command. The revision it will get is the next one.
pub(super) fn decide(cx: Context<'_>, command: &Command) -> Decided {
    match command {
        Command::CreateScope(command) => tree::create(cx, command),
        Command::UpdateScope(command) => tree::update(cx, command),
        Command::MoveScope(command) => tree::relocate(cx, command),
        Command::DeleteScope(command) => tree::delete(cx, command),
        Command::RegisterResource(resource) => tree::register_resource(cx, resource),
        Command::SetQuota(command) => quota::set(cx, command),
        Command::AdjustQuota(command) => quota::adjust(cx, command),
        Command::DeleteQuota(command) => quota::delete(cx, command),
        Command::LockQuota(command) => quota::lock(cx, command),
        Command::UnlockQuota(command) => quota::unlock(cx, command),
        Command::OverrideQuota(command) => schedule::replace(cx, command),
        Command::CancelSchedule(command) => schedule::cancel(cx, command),
        Command::TransferQuota(command) => transfer::transfer(cx, command),
        Command::PutTemplate(command) => template::put(cx, command),
        Command::Reserve(command) => reserve::reserve(cx, command),
        Command::Commit(command) => settle::commit(cx, command),
        Command::Release(command) => settle::release(cx, command),
        Command::Renew(command) => settle::renew(cx, command),
        Command::Resize(command) => settle::resize(cx, command),
        Command::CompactEvents(through) => compact(cx, *through),
        Command::ApplyTemplate(_) | Command::ApplyPlan(_) | Command::Batch(_) => {
            unreachable!("what is made of commands is taken apart before")
        }
    }
}

/// Lets go of the oldest events. The state does not need them.
fn compact(cx: Context<'_>, through: Revision) -> Decided {
    let (last, previous) = (cx.state.revision(), cx.state.compacted_at());
    if through > last {
        let problem = format!("is {through}; the last event is {last}");
        return Err(Rejection::Malformed(Malformed::new("through_revision", problem)));
    }
    if through <= previous {
        return Ok(unchanged("CompactEvents", 0));
    }
    Ok(Decision::plain(Body::EventsCompacted { through, previous }))
}

/// What happens on a quota or a transfer, since its time has come.
pub(super) fn due(cx: Context<'_>, due: Due) -> Decision {
    match due {
        Due::Quota(scope, resource) => schedule::due(cx, scope, resource),
        Due::Transfer(id) => transfer::back(cx, id, None),
    }
}

/// What happens to a hold, since its time is up.
pub(super) fn expire(cx: Context<'_>, hold: HoldId) -> Decision {
    settle::expire(cx, hold)
}

/// What a command that is not carried out leaves behind.
pub(super) fn rejected(command: &'static str, rejection: Rejection) -> Decision {
    Decision::plain(Body::Rejected { command: Arc::from(command), rejection: Box::new(rejection) })
}

/// What a command leaves behind that asked for what already was.
pub(super) fn unchanged(command: &'static str, version: u64) -> Decision {
    Decision::plain(Body::Unchanged { command: Arc::from(command), version })
}

/// The scope and resource a policy command names.
fn find<'a>(state: &'a State, scope: &Path, resource: &Name) -> Result<(&'a Scope, ResourceId), Rejection> {
    let scope = state.scope_at(scope).ok_or_else(|| Rejection::UnknownScopes(vec![scope.clone()]))?;
    let resource =
        state.resource_id(resource).ok_or_else(|| Rejection::UnknownResources(vec![resource.clone()]))?;
    Ok((scope, resource))
}

pub(super) fn quota_name(state: &State, scope: &Scope, resource: ResourceId) -> QuotaName {
    QuotaName { scope: scope.path.clone(), resource: state.resource(resource).name.clone() }
}
