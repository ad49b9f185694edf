//! The state with which a watch may begin: as of one revision, in parts, parents before children. It is
//! taken from a copy, so nothing waits for the reader.

use std::sync::Arc;

use crate::codec::event::filter::Filter;
use crate::codec::view;
use crate::ledger::HoldId;
use crate::ledger::LogTime;
use crate::ledger::ResourceId;
use crate::ledger::Revision;
use crate::ledger::Scope;
use crate::ledger::ScopeId;
use crate::ledger::State;
use crate::proto::v1;

/// The most things of one part, and the most that are looked at for it.
const MOST: usize = 1_000;
const MOST_LOOKED_AT: usize = 10_000;

/// A part ends with the thing with which it has so many bytes.
const MOST_BYTES: usize = 256 << 10;

/// What is left to be said of a state.
pub(super) struct Opening {
    state: Arc<State>,
    next: Next,
}

/// Where the next part begins.
enum Next {
    Resources,
    /// Scopes with their quotas, the next one last; `None` before the first.
    Scopes(Vec<ScopeId>),
    Holds(HoldId),
    Done,
}

/// A part in the making.
#[derive(Default)]
struct Part {
    snapshot: v1::Snapshot,
    things: usize,
    bytes: usize,
    looked_at: usize,
}

impl Part {
    fn is_full(&self) -> bool {
        self.things >= MOST || self.looked_at >= MOST_LOOKED_AT || self.bytes >= MOST_BYTES
    }

    fn count(&mut self, thing: &impl prost::Message) {
        self.things += 1;
        self.bytes += thing.encoded_len();
    }
}

impl Opening {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, next: Next::Resources }
    }

    /// The revision that it shows.
    pub(super) fn revision(&self) -> Revision {
        self.state.revision()
    }

    /// Its log time.
    pub(super) fn time(&self) -> LogTime {
        self.state.time()
    }

    /// The next part of what is wanted, which may be empty; nothing when all was said.
    pub(super) fn part(&mut self, filter: &Filter) -> Option<v1::Snapshot> {
        let mut part = Part::default();
        match std::mem::replace(&mut self.next, Next::Done) {
            Next::Resources => {
                let resources = self.state.resources().iter();
                let wanted = resources.filter(|resource| filter.wants_resource(resource.name.as_str()));
                part.snapshot.resources = wanted.map(view::resource).collect();
                self.next = Next::Scopes(self.tops(filter));
            }
            Next::Scopes(mut left) => {
                while let Some(id) = left.pop_if(|_| !part.is_full()) {
                    let scope = self.state.scope(id);
                    left.extend(scope.children.values().rev());
                    self.add_scope(&mut part, scope, filter);
                }
                self.next = if left.is_empty() { Next::Holds(0) } else { Next::Scopes(left) };
            }
            Next::Holds(from) => {
                for hold in self.state.holds_from(from) {
                    if part.is_full() {
                        self.next = Next::Holds(hold.id);
                        break;
                    }
                    part.looked_at += 1;
                    let is_wanted = hold.lines.iter().any(|line| {
                        filter.wants_scope(&self.state.scope(line.scope).path)
                            && filter.wants_resource(self.state.resource(line.resource).name.as_str())
                    });
                    if is_wanted {
                        let hold = view::hold(&self.state, hold);
                        part.count(&hold);
                        part.snapshot.holds.push(hold);
                    }
                }
            }
            Next::Done => return None,
        }
        Some(part.snapshot)
    }

    /// The scopes with which the walk begins, the first one last.
    fn tops(&self, filter: &Filter) -> Vec<ScopeId> {
        match filter.scope() {
            Some(path) => self.state.scope_at(path).map(|scope| scope.id).into_iter().collect(),
            None => {
                let mut trees: Vec<_> = self.state.trees_from("").map(|tree| tree.id).collect();
                trees.reverse();
                trees
            }
        }
    }

    fn add_scope(&self, part: &mut Part, scope: &Scope, filter: &Filter) {
        part.looked_at += 1;
        let message = view::scope(scope);
        part.count(&message);
        part.snapshot.scopes.push(message);
        let resources: Vec<ResourceId> = scope.accounts().iter().map(|account| account.resource).collect();
        for resource in resources {
            if filter.wants_resource(self.state.resource(resource).name.as_str())
                && let Some(quota) = view::quota(&self.state, scope, resource)
            {
                part.count(&quota);
                part.snapshot.quotas.push(quota);
            }
        }
    }
}
