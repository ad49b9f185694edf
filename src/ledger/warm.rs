//! Warming up: looks at what the next requests are about, all of them at once, before they are
//! decided one after the other.
//!
//! In a large tree each request leads to some scope that the processor has not seen for long, and
//! from there from pointer to pointer: it waits for memory at every step. Here the first steps of
//! many requests are taken together, then their second steps, and so on: the processor then waits
//! for all of them at the same time. It changes nothing and decides nothing; that it is worth its
//! while shows in `benches/ledger.rs`.

use std::hint::black_box;

use super::command::Command;
use super::request::Request;
use super::scope::Scope;
use super::scope::ScopeId;
use super::state::State;

/// How many requests are looked at together: enough to overlap, few enough to be still there when
/// their turn comes.
pub(super) const TOGETHER: usize = 32;

/// Looks at the scopes that requests are about, with their accounts and quotas.
pub(super) fn warm(state: &State, requests: &[Request]) {
    let mut ids: Vec<ScopeId> = Vec::with_capacity(TOGETHER);
    for request in requests {
        match &request.command {
            Command::Reserve(reserve) => {
                ids.extend(reserve.lines().iter().filter_map(|line| state.paths.guess(&line.scope)));
            }
            Command::Commit(commit) => of_hold(state, commit.hold, &mut ids),
            Command::Release(release) => of_hold(state, release.hold, &mut ids),
            _ => {}
        }
    }
    let scopes: Vec<&Scope> =
        ids.iter().filter_map(|id| state.scopes.get(id.0 as usize)?.as_deref()).collect();
    for scope in &scopes {
        black_box((scope.path.as_str().as_bytes().first(), scope.parent));
    }
    for scope in &scopes {
        black_box(scope.accounts.first().map(|account| (account.held, account.quota.is_some())));
    }
    for scope in &scopes {
        let quota = scope.accounts.first().and_then(|account| account.quota.as_deref());
        black_box(quota.map(|quota| quota.policy.limit));
    }
}

fn of_hold(state: &State, hold: u64, ids: &mut Vec<ScopeId>) {
    if let Some(hold) = state.hold(hold) {
        ids.extend(hold.lines.iter().map(|line| line.scope));
    }
}
