//! Warming up: looks at what the next requests are about, all of them at once, before they are
//! decided one after the other.
//!
//! In a large tree each request leads to some scope that the processor has not seen for long, and
//! from there from pointer to pointer: it waits for memory at every step. Here the first steps of
//! many requests are taken together, then their second steps, and so on: the processor then waits
//! for all of them at the same time. It changes nothing and decides nothing; that it is worth its
//! while shows in `benches/ledger`.

use std::hint::black_box;

use super::command::Command;
use super::hold::Hold;
use super::index::hash;
use super::request::Request;
use super::scope::Scope;
use super::scope::ScopeId;
use super::state::State;

/// How many requests are looked at together: enough to overlap, few enough to be still there when
/// their turn comes.
pub(super) const TOGETHER: usize = 32;

/// Looks at the scopes that requests are about, with their accounts and quotas.
pub(super) fn warm(state: &State, requests: &[Request]) {
    let mut hashes = Vec::with_capacity(TOGETHER);
    let mut holds: Vec<&Hold> = Vec::with_capacity(TOGETHER);
    for request in requests {
        match &request.command {
            Command::Reserve(reserve) => hashes.extend(reserve.lines().iter().map(|line| hash(&line.scope))),
            Command::Commit(commit) => holds.extend(state.hold(commit.hold)),
            Command::Release(release) => holds.extend(state.hold(release.hold)),
            _ => {}
        }
    }
    // Each step for all of them, and little of it: the processor sees only so far ahead.
    for hash in &hashes {
        black_box(state.paths.peek(*hash));
    }
    let mut ids: Vec<ScopeId> = hashes.iter().filter_map(|hash| state.paths.guess(*hash)).collect();
    for hold in &holds {
        black_box(hold.lines.len());
    }
    ids.extend(holds.iter().flat_map(|hold| hold.lines.iter().map(|line| line.scope)));
    for id in &ids {
        black_box(state.scopes.get(id.0 as usize).is_some_and(Option::is_some));
    }
    let scopes: Vec<&Scope> =
        ids.iter().filter_map(|id| state.scopes.get(id.0 as usize)?.as_deref()).collect();
    for scope in &scopes {
        let account = scope.accounts.first();
        black_box(account.map(|account| (account.used, account.sequence)));
        black_box(account.and_then(|account| account.quota.as_ref()).map(|quota| quota.policy.limit));
        black_box(scope.parent);
    }
    // The text of a path, and the number of its owners in front of it.
    for scope in &scopes {
        black_box(scope.path.as_str().as_bytes().last().copied());
    }
}
