//! The state as rows: what a checkpoint writes, what a restart loads, what a digest covers.
//!
//! A row is a value of one key; all rows together are the whole state, in one order. This file
//! knows rows, not bytes: their encoding is the codec's.

use super::LogTime;
use super::Revision;
use super::hold::Closing;
use super::hold::Hold;
use super::hold::HoldId;
use super::name::Name;
use super::name::Path;
use super::request::Decided;
use super::request::RequestId;
use super::resource::Resource;
use super::resource::ResourceId;
use super::scope::Account;
use super::scope::Scope;
use super::scope::ScopeId;
use super::state::State;

/// Which row. The order of the variants and their fields is the order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// Revision, time and what is counted up; there is one.
    Ledger,
    /// A resource.
    Resource(ResourceId),
    /// A scope, without its use.
    Scope(ScopeId),
    /// Use and quota of a resource at a scope.
    Account(ScopeId, ResourceId),
    /// A live hold.
    Hold(HoldId),
    /// A closed hold, by the revision that closed it.
    Closed(Revision),
    /// A decided request.
    Request(RequestId),
}

/// The content of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of [`RowKey::Ledger`].
    Ledger {
        /// The last event.
        revision: Revision,
        /// The last log time.
        time: LogTime,
        /// The number the next scope gets.
        next_scope: ScopeId,
        /// The greatest forgotten request id.
        request_floor: RequestId,
    },
    /// Of [`RowKey::Resource`].
    Resource(ResourceId, Resource),
    /// Of [`RowKey::Scope`].
    Scope {
        /// Its number.
        id: ScopeId,
        /// The last segment of its path.
        name: String,
        /// The scope above.
        parent: Option<ScopeId>,
        /// What its level is called.
        kind: Name,
    },
    /// Of [`RowKey::Account`].
    Account(ScopeId, Account),
    /// Of [`RowKey::Hold`].
    Hold(Hold),
    /// Of [`RowKey::Closed`].
    Closed(Closing),
    /// Of [`RowKey::Request`].
    Request(RequestId, Decided),
}

impl Row {
    /// The key it is stored under.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Ledger { .. } => RowKey::Ledger,
            Self::Resource(id, _) => RowKey::Resource(*id),
            Self::Scope { id, .. } => RowKey::Scope(*id),
            Self::Account(scope, account) => RowKey::Account(*scope, account.resource),
            Self::Hold(hold) => RowKey::Hold(hold.id),
            Self::Closed(closing) => RowKey::Closed(closing.revision),
            Self::Request(id, _) => RowKey::Request(*id),
        }
    }
}

/// Rows that do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rows do not make a state: {0}")]
pub struct BadRows(String);

impl State {
    /// The rows that changed since the last call, ascending, each once.
    pub fn take_changed(&mut self) -> Vec<RowKey> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// How many changes wait to be taken; an upper bound of the rows.
    pub fn changed_count(&self) -> usize {
        self.changed.len()
    }

    /// One row as it is now; `None` when it is gone.
    pub fn row(&self, key: RowKey) -> Option<Row> {
        match key {
            RowKey::Ledger => Some(self.ledger_row()),
            RowKey::Resource(id) => {
                self.resources.get(id.0 as usize).map(|resource| Row::Resource(id, resource.clone()))
            }
            RowKey::Scope(id) => self.scopes.get(id.0 as usize)?.as_ref().map(scope_row),
            RowKey::Account(id, resource) => {
                let scope = self.scopes.get(id.0 as usize)?.as_ref()?;
                scope.account(resource).map(|account| Row::Account(id, account.clone()))
            }
            RowKey::Hold(id) => self.holds.get(&id).cloned().map(Row::Hold),
            RowKey::Closed(revision) => self.closed.at(revision).copied().map(Row::Closed),
            RowKey::Request(id) => self.requests.get(id).cloned().map(|decided| Row::Request(id, decided)),
        }
    }

    /// All rows, in the order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let resources = (0..).map(ResourceId).zip(&self.resources);
        let scopes = || self.scopes.iter().flatten();
        std::iter::once(self.ledger_row())
            .chain(resources.map(|(id, resource)| Row::Resource(id, resource.clone())))
            .chain(scopes().map(scope_row))
            .chain(scopes().flat_map(|scope| {
                scope.accounts.iter().map(|account| Row::Account(scope.id, account.clone()))
            }))
            .chain(self.holds.values().cloned().map(Row::Hold))
            .chain(self.closed.iter().copied().map(Row::Closed))
            .chain(self.requests.iter().map(|(id, decided)| Row::Request(*id, decided.clone())))
    }

    /// The state that has these rows, which must come in the order of their keys.
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Result<Self, BadRows> {
        let mut state = Self::without_resources();
        let mut last = None;
        for row in rows {
            let key = row.key();
            if last.is_none() && key != RowKey::Ledger {
                return Err(BadRows("the ledger row is missing".into()));
            }
            if last.is_some_and(|last| last >= key) {
                return Err(BadRows(format!("{key:?} is out of order")));
            }
            last = Some(key);
            state.load(row)?;
        }
        if last.is_some() { Ok(state) } else { Err(BadRows("there are none".into())) }
    }

    fn load(&mut self, row: Row) -> Result<(), BadRows> {
        match row {
            Row::Ledger { revision, time, next_scope, request_floor } => {
                self.revision = revision;
                self.time = time;
                self.scopes = vec![None; next_scope.0 as usize];
                self.requests.restore(request_floor);
            }
            Row::Resource(id, resource) => {
                if self.add_resource(resource) != id {
                    return Err(BadRows(format!("resource {} is out of order", id.0)));
                }
            }
            Row::Scope { id, name, parent, kind } => self.load_scope(id, &name, parent, kind)?,
            Row::Account(id, account) => {
                // In the order of their resources, because the rows are.
                self.loaded_scope(id)?.accounts.push(account);
            }
            Row::Hold(hold) => {
                self.holds.insert(hold.id, hold);
            }
            Row::Closed(closing) => {
                self.closed.insert(closing);
            }
            Row::Request(id, decided) => self.requests.load(id, decided),
        }
        Ok(())
    }

    fn load_scope(
        &mut self,
        id: ScopeId,
        name: &str,
        parent: Option<ScopeId>,
        kind: Name,
    ) -> Result<(), BadRows> {
        let path = match parent {
            Some(parent) => {
                let above = self.loaded_scope(parent)?;
                above.children.insert(name.into(), id);
                above.path.child(name)
            }
            None => {
                self.trees.insert(name.into(), id);
                Path::parse(name).map_err(|error| BadRows(format!("scope {} {error}", id.0)))?
            }
        };
        let slot = self
            .scopes
            .get_mut(id.0 as usize)
            .ok_or_else(|| BadRows(format!("scope {} is beyond the last", id.0)))?;
        *slot = Some(Scope { id, path, kind, parent, children: Default::default(), accounts: Vec::new() });
        Ok(())
    }

    fn loaded_scope(&mut self, id: ScopeId) -> Result<&mut Scope, BadRows> {
        self.scopes
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
            .ok_or_else(|| BadRows(format!("scope {} is missing", id.0)))
    }

    fn ledger_row(&self) -> Row {
        Row::Ledger {
            revision: self.revision,
            time: self.time,
            next_scope: self.next_scope(),
            request_floor: self.requests.floor(),
        }
    }

    pub(super) fn next_scope(&self) -> ScopeId {
        ScopeId(u32::try_from(self.scopes.len()).expect("fewer than 2^32 scopes"))
    }
}

fn scope_row(scope: &Scope) -> Row {
    Row::Scope {
        id: scope.id,
        name: scope.path.name().into(),
        parent: scope.parent,
        kind: scope.kind.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_row(id: u32, name: &str, parent: Option<u32>) -> Row {
        let kind = Name::parse("team").expect("a name");
        Row::Scope { id: ScopeId(id), name: name.into(), parent: parent.map(ScopeId), kind }
    }

    fn account_row(scope: u32, resource: u32) -> Row {
        Row::Account(ScopeId(scope), Account::new(ResourceId(resource), 0))
    }

    /// A ledger of two scopes, with the rows in between left to the caller.
    fn load(rows: impl IntoIterator<Item = Row>) -> Result<State, BadRows> {
        let ledger =
            Row::Ledger { revision: 2, time: 1, next_scope: ScopeId(2), request_floor: RequestId::default() };
        let resources = State::default().rows().skip(1).collect::<Vec<_>>();
        State::from_rows(std::iter::once(ledger).chain(resources).chain(rows))
    }

    #[test]
    fn rows_in_the_order_of_their_keys_make_a_state() {
        let rows =
            [scope_row(0, "a", None), scope_row(1, "b", Some(0)), account_row(0, 1), account_row(1, 0)];
        let state = load(rows.clone()).expect("a state");
        assert!(state.rows().skip(1 + state.resources().len()).eq(rows));
    }

    #[test]
    fn rows_that_do_not_fit_together_are_refused() {
        let (a, b) = (|| scope_row(0, "a", None), || scope_row(1, "b", Some(0)));
        let cases: [(&str, Vec<Row>); 7] = [
            ("a scope twice", vec![a(), a()]),
            ("a scope before its parent", vec![scope_row(0, "b", Some(1)), scope_row(1, "a", None)]),
            ("a scope beyond the last", vec![a(), b(), scope_row(2, "c", Some(0))]),
            ("an account of no scope", vec![a(), account_row(1, 0)]),
            ("an account before another", vec![a(), account_row(0, 1), account_row(0, 0)]),
            ("a second ledger", vec![a(), State::default().ledger_row()]),
            ("a scope after an account", vec![a(), account_row(0, 0), b()]),
        ];
        for (case, rows) in cases {
            assert!(load(rows).is_err(), "{case} was accepted");
        }
        assert!(State::from_rows([]).is_err());
        assert!(State::from_rows(State::default().rows().skip(1)).is_err());
    }
}
