//! A state out of its rows, piece by piece, so that nobody has to wait while a large one is put together.
//!
//! Each row is taken in by itself. When all of them are there, the scopes find each other, whatever
//! their numbers: a scope may have a greater number than one below it when it was moved.

use super::evolve::deadline_of;
use super::name::MAX_DEPTH;
use super::name::Path;
use super::promise::limit_of;
use super::rows::BadRows;
use super::rows::Row;
use super::rows::RowKey;
use super::scope::Scope;
use super::scope::ScopeId;
use super::state::Due;
use super::state::State;
use crate::planted::Bug;
use crate::planted::planted;

/// A state that is put together. Requests may be left out: then it is one to read from, which does not
/// know what was decided before.
#[derive(Debug)]
pub struct Loading {
    state: State,
    last: Option<RowKey>,
    rest: Rest,
}

/// What there is to do with the scopes when all rows are there.
#[derive(Debug)]
enum Rest {
    /// From this number on they are to be told to their parents; so many were.
    Names { next: usize, told: usize },
    /// From the roots down they are to be given their paths. Of a level those from `next` on have yet to
    /// be found by theirs, and to pass them on; so many scopes are left, these among them.
    Paths { level: Vec<ScopeId>, next: usize, below: Vec<ScopeId>, depth: usize, left: usize },
    /// What those from this number on promise is to be counted above.
    Promises { next: usize },
}

impl Default for Loading {
    fn default() -> Self {
        Self { state: State::empty(), last: None, rest: Rest::Names { next: 0, told: 0 } }
    }
}

impl Loading {
    /// Takes the next row, in the order of their keys.
    pub fn add(&mut self, row: Row) -> Result<(), BadRows> {
        let key = row.key();
        if self.last.is_none() && key != RowKey::Ledger {
            return Err(BadRows("the ledger row is missing".into()));
        }
        if self.last.is_some_and(|last| last >= key) {
            return Err(BadRows(format!("{key:?} is out of order")));
        }
        self.last = Some(key);
        self.state.load(row)
    }

    /// When there are no more rows: goes on with about so many scopes, and gives the state when it is
    /// done. Not to be called after that.
    pub fn finish_some(&mut self, mut scopes: usize) -> Result<Option<State>, BadRows> {
        if self.last.is_none() {
            return Err(BadRows("there are none".into()));
        }
        while scopes > 0 {
            scopes -= 1;
            let state = &mut self.state;
            match &mut self.rest {
                Rest::Names { next, told } if *next < state.scopes.len() => {
                    *told += usize::from(state.tell_parent(*next)?);
                    *next += 1;
                }
                Rest::Names { told, .. } => {
                    let (level, left) = (state.trees.values().copied().collect(), *told);
                    self.rest = Rest::Paths { level, next: 0, below: Vec::new(), depth: 1, left };
                }
                Rest::Paths { level, next, below, left, .. } if *next < level.len() => {
                    state.pass_path(level[*next], below);
                    *next += 1;
                    *left -= 1;
                }
                Rest::Paths { level, next, below, depth, .. } if !below.is_empty() && *depth < MAX_DEPTH => {
                    *level = std::mem::take(below);
                    *next = 0;
                    *depth += 1;
                }
                Rest::Paths { left: 0, .. } => self.rest = Rest::Promises { next: 0 },
                Rest::Paths { .. } => {
                    return Err(BadRows("some scopes hang in no tree, or too deep in one".into()));
                }
                Rest::Promises { next } if *next < state.scopes.len() => {
                    state.count_promises(*next);
                    *next += 1;
                }
                Rest::Promises { .. } => return Ok(Some(std::mem::replace(state, State::empty()))),
            }
        }
        Ok(None)
    }
}

impl State {
    fn load(&mut self, row: Row) -> Result<(), BadRows> {
        match row {
            Row::Ledger { revision, time, next_scope, request_floor, compacted_at } => {
                self.revision = revision;
                self.compacted_at = compacted_at;
                self.time = time;
                self.scopes = vec![None; next_scope.0 as usize];
                self.requests.restore(request_floor);
            }
            Row::Resource(id, resource) => {
                if self.add_resource(resource) != id {
                    return Err(BadRows(format!("resource {} is out of order", id.0)));
                }
            }
            Row::Template(id, template) => {
                if self.add_template(template) != id {
                    return Err(BadRows(format!("template {} is out of order", id.0)));
                }
            }
            Row::Scope { .. } => self.load_scope(row)?,
            Row::Account(id, account) => {
                let deadline = deadline_of(&account);
                self.move_policy_deadline(Due::Quota(id, account.resource), None, deadline);
                let scope = self.loaded_scope(id)?;
                // In the order of their resources, because the rows are.
                scope.accounts.reserve_exact(1);
                scope.accounts.push(account);
            }
            Row::Transfer(transfer) => self.put_transfer(transfer),
            Row::Hold(hold) if planted(Bug::DeadlinesLostByRestart) => {
                self.holds.insert(hold.id, Box::new(hold));
            }
            Row::Hold(hold) => self.put_hold(hold),
            Row::Closed(closing) => self.closed.insert(closing),
            Row::Request(id, decided) => self.requests.load(id, decided),
        }
        Ok(())
    }

    /// Takes in a scope without its place: that follows when all of them are there.
    pub(super) fn load_scope(&mut self, row: Row) -> Result<(), BadRows> {
        let Row::Scope { id, name, parent, kind, labels, rules, template } = row else {
            unreachable!("only rows of scopes are loaded here");
        };
        if parent.is_none() != rules.is_some() {
            return Err(BadRows(format!("scope {}: a root has rules, and only a root", id.0)));
        }
        let path = Path::parse(&name).map_err(|error| BadRows(format!("scope {} {error}", id.0)))?;
        if path.parent().is_some() {
            return Err(BadRows(format!("scope {} has a path for a name", id.0)));
        }
        let kind = self.shared_kind(kind);
        let slot = self
            .scopes
            .get_mut(id.0 as usize)
            .ok_or_else(|| BadRows(format!("scope {} is beyond the last", id.0)))?;
        *slot = Some(Box::new(Scope {
            id,
            path,
            kind,
            parent,
            children: Default::default(),
            labels,
            rules: rules.map(Box::new),
            template: template.map(Box::new),
            accounts: Default::default(),
        }));
        Ok(())
    }

    /// Makes a scope a child of its parent, or a tree. False when its number is of none.
    fn tell_parent(&mut self, number: usize) -> Result<bool, BadRows> {
        let Some(scope) = self.scopes[number].as_deref() else {
            return Ok(false);
        };
        let (id, name, parent) = (scope.id, scope.path.name().into(), scope.parent);
        let siblings = match parent {
            Some(parent) => &mut self.loaded_scope(parent)?.children,
            None => &mut self.trees,
        };
        if siblings.insert(name, id).is_some() {
            return Err(BadRows(format!("scope {} has the name of a sibling", id.0)));
        }
        Ok(true)
    }

    /// Lets a scope be found by its path, and makes those of its children, which are below.
    fn pass_path(&mut self, id: ScopeId, below: &mut Vec<ScopeId>) {
        let path = self.scope(id).path.clone();
        self.paths.insert(&path, id);
        let first = below.len();
        below.extend(self.scope(id).children.values());
        for child in &below[first..] {
            let scope = self.scope_mut(*child);
            scope.path = path.child(scope.path.name());
        }
    }

    /// Counts above a scope what it promises.
    fn count_promises(&mut self, number: usize) {
        let promise_of = |state: &Self, account: usize| {
            let scope = state.scopes[number].as_deref()?;
            let account = scope.accounts.get(account)?;
            Some((scope.parent, account.resource, limit_of(Some(account))))
        };
        let mut account = 0;
        while let Some((parent, resource, limit)) = promise_of(self, account) {
            self.promise_more(parent, resource, limit.unwrap_or_default());
            account += 1;
        }
    }

    fn loaded_scope(&mut self, id: ScopeId) -> Result<&mut Scope, BadRows> {
        self.scopes
            .get_mut(id.0 as usize)
            .and_then(Option::as_deref_mut)
            .ok_or_else(|| BadRows(format!("scope {} is missing", id.0)))
    }
}
