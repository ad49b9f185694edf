//! The state as rows: what a checkpoint writes, what a restart loads, what a digest covers.
//!
//! A row is a value of one key; all rows together are the whole state, in one order. This file
//! knows rows, not bytes: their encoding is the codec's.

use std::sync::Arc;

use super::LogTime;
use super::Revision;
use super::evolve::deadline_of;
use super::hold::Closing;
use super::hold::Hold;
use super::hold::HoldId;
use super::labels::Labels;
use super::loading::Loading;
use super::name::Name;
use super::name::Path;
use super::request::Decided;
use super::request::RequestId;
use super::resource::Resource;
use super::resource::ResourceId;
use super::scope::Account;
use super::scope::Scope;
use super::scope::ScopeId;
use super::state::Due;
use super::state::State;
use super::template;
use super::template::Template;
use super::transfer::Transfer;
use super::tree::TreeRules;
use crate::planted::Bug;
use crate::planted::planted;

/// The number of a template, given in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateId(pub u32);

/// Which row. The order of the variants and their fields is the order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// Revision, time and what is counted up; there is one.
    Ledger,
    /// A resource.
    Resource(ResourceId),
    /// A template.
    Template(TemplateId),
    /// A scope, without its use.
    Scope(ScopeId),
    /// Use and quota of a resource at a scope.
    Account(ScopeId, ResourceId),
    /// A transfer that will go back.
    Transfer(Revision),
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
        /// Events up to here were let go of.
        compacted_at: Revision,
    },
    /// Of [`RowKey::Resource`].
    Resource(ResourceId, Resource),
    /// Of [`RowKey::Template`].
    Template(TemplateId, Arc<Template>),
    /// Of [`RowKey::Scope`].
    Scope {
        /// Its number.
        id: ScopeId,
        /// The last segment of its path.
        name: String,
        /// The scope above; it may have a greater number when this one was moved.
        parent: Option<ScopeId>,
        /// What its level is called.
        kind: Name,
        /// To find it by.
        labels: Labels,
        /// Of a root: what holds for its tree.
        rules: Option<TreeRules>,
        /// The template that was last applied to it.
        template: Option<template::Applied>,
    },
    /// Of [`RowKey::Account`].
    Account(ScopeId, Account),
    /// Of [`RowKey::Transfer`].
    Transfer(Transfer),
    /// Of [`RowKey::Hold`].
    Hold(Hold),
    /// Of [`RowKey::Closed`].
    Closed(Closing),
    /// Of [`RowKey::Request`].
    Request(RequestId, Decided),
}

impl Row {
    /// Which row it is.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Ledger { .. } => RowKey::Ledger,
            Self::Resource(id, _) => RowKey::Resource(*id),
            Self::Template(id, _) => RowKey::Template(*id),
            Self::Scope { id, .. } => RowKey::Scope(*id),
            Self::Account(scope, account) => RowKey::Account(*scope, account.resource),
            Self::Transfer(transfer) => RowKey::Transfer(transfer.id),
            Self::Hold(hold) => RowKey::Hold(hold.id),
            Self::Closed(closing) => RowKey::Closed(closing.revision),
            Self::Request(id, _) => RowKey::Request(*id),
        }
    }
}

/// Rows that do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rows do not make a state: {0}")]
pub struct BadRows(pub(super) String);

impl State {
    /// The rows that changed since the last call, ascending, each once.
    pub fn take_changed(&mut self) -> Vec<RowKey> {
        self.changed.take()
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
            RowKey::Template(id) => {
                self.templates.get(id.0 as usize).map(|template| Row::Template(id, template.clone()))
            }
            RowKey::Scope(id) => self.scopes.get(id.0 as usize)?.as_deref().map(scope_row),
            RowKey::Account(id, resource) => {
                let scope = self.scopes.get(id.0 as usize)?.as_deref()?;
                scope.account(resource).map(|account| Row::Account(id, account.clone()))
            }
            RowKey::Transfer(id) => self.transfers.get(&id).copied().map(Row::Transfer),
            RowKey::Hold(id) => self.hold(id).cloned().map(Row::Hold),
            RowKey::Closed(revision) => self.closed.at(revision).copied().map(Row::Closed),
            RowKey::Request(id) => self.requests.get(id).cloned().map(|decided| Row::Request(id, decided)),
        }
    }

    /// All rows, in the order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let resources = (0..).map(ResourceId).zip(&self.resources);
        let templates = (0..).map(TemplateId).zip(&self.templates);
        let scopes = || self.scopes.iter().flatten().map(Box::as_ref);
        std::iter::once(self.ledger_row())
            .chain(resources.map(|(id, resource)| Row::Resource(id, resource.clone())))
            .chain(templates.map(|(id, template)| Row::Template(id, template.clone())))
            .chain(scopes().map(scope_row))
            .chain(scopes().flat_map(|scope| {
                scope.accounts.iter().map(|account| Row::Account(scope.id, account.clone()))
            }))
            .chain(self.transfers.values().copied().map(Row::Transfer))
            .chain(self.holds.iter().map(|(_, hold)| Row::Hold((**hold).clone())))
            .chain(self.closed.iter().copied().map(Row::Closed))
            .chain(self.requests.iter().map(|(id, decided)| Row::Request(id, decided.clone())))
    }

    /// The state that has these rows, which must come in the order of their keys.
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Result<Self, BadRows> {
        let mut loading = Loading::default();
        rows.into_iter().try_for_each(|row| loading.add(row))?;
        let state = loading.finish_some(usize::MAX)?;
        Ok(state.expect("there are not so many scopes"))
    }

    /// Takes back everything since rows began to be kept, last change first.
    pub(super) fn roll_back(&mut self) {
        let undo = self.undo.take().expect("what is taken back was kept");
        for (key, row) in undo.into_iter().rev() {
            self.put_back(key, row);
        }
    }

    /// Makes a row what it was. Rows come back in the reverse order of their changes, so that what
    /// a row needs is there.
    fn put_back(&mut self, key: RowKey, row: Option<Row>) {
        match (key, row) {
            (
                RowKey::Ledger,
                Some(Row::Ledger { revision, time, next_scope, compacted_at, request_floor: _ }),
            ) => {
                // Requests are remembered when nothing is taken back any more.
                self.revision = revision;
                self.time = time;
                self.compacted_at = compacted_at;
                self.scopes.truncate(next_scope.0 as usize);
            }
            (RowKey::Resource(_), None) => {
                let resource = self.resources.pop().expect("a new resource is the last one");
                self.resource_ids.remove(&resource.name);
            }
            (RowKey::Template(_), None) => {
                let template = self.templates.pop().expect("a new template is the last one");
                self.template_ids.remove(&template.name);
            }
            (RowKey::Template(id), Some(Row::Template(_, template))) => {
                self.templates[id.0 as usize] = template;
            }
            (RowKey::Scope(id), None) => self.drop_scope(id),
            (RowKey::Scope(id), Some(row)) => self.put_back_scope(id, row),
            (RowKey::Account(id, resource), row) => self.put_back_account(id, resource, row),
            (RowKey::Transfer(id), None) => self.drop_transfer(id),
            (RowKey::Transfer(_), Some(Row::Transfer(transfer))) => self.put_transfer(transfer),
            (RowKey::Hold(id), row) => {
                if self.hold(id).is_some() {
                    self.drop_hold(id);
                }
                if let Some(Row::Hold(hold)) = row {
                    self.put_hold(hold);
                }
            }
            (RowKey::Closed(revision), None) => self.closed.remove(revision),
            (RowKey::Closed(_), Some(Row::Closed(closing))) => self.closed.insert(closing),
            (key, row) => unreachable!("{key:?} never becomes {row:?} again"),
        }
    }

    fn put_back_scope(&mut self, id: ScopeId, row: Row) {
        let Row::Scope { name, parent, labels, rules, template, .. } = &row else {
            unreachable!("the row of a scope is one");
        };
        let path = match parent {
            Some(parent) => self.scope(*parent).path.child(name),
            None => Path::parse(name).expect("a root has a name"),
        };
        match self.scopes[id.0 as usize].as_mut() {
            Some(scope) => {
                scope.labels = labels.clone();
                scope.rules = rules.clone().map(Box::new);
                scope.template = template.clone().map(Box::new);
                if scope.path != path {
                    self.place_scope(id, &path);
                }
            }
            None => {
                let siblings = match parent {
                    Some(parent) => &mut self.scope_mut(*parent).children,
                    None => &mut self.trees,
                };
                siblings.insert(name.as_str().into(), id);
                self.load_scope(row).expect("the row was made of a scope");
                self.paths.insert(&path, id);
                self.scope_mut(id).path = path;
            }
        }
    }

    fn put_back_account(&mut self, id: ScopeId, resource: ResourceId, row: Option<Row>) {
        let before = self.scope(id).account(resource).and_then(deadline_of);
        let promised_before = self.promise(id, resource);
        let accounts = &mut self.scope_mut(id).accounts;
        let position = accounts.binary_search_by_key(&resource, |account| account.resource);
        let mut after = None;
        match (position, row) {
            (Ok(position), Some(Row::Account(_, account))) => {
                after = deadline_of(&account);
                accounts[position] = account;
            }
            (Err(position), Some(Row::Account(_, account))) => {
                after = deadline_of(&account);
                accounts.insert(position, account);
            }
            (Ok(position), None) => {
                accounts.remove(position);
            }
            (Err(_), _) => {}
            (Ok(_), Some(row)) => unreachable!("{row:?} is no account"),
        }
        self.move_policy_deadline(Due::Quota(id, resource), before, after);
        let promised = self.promise(id, resource);
        let parent = self.scope(id).parent;
        self.promise_more(parent, resource, promised - promised_before);
    }

    fn ledger_row(&self) -> Row {
        Row::Ledger {
            revision: self.revision,
            time: self.time,
            next_scope: self.next_scope(),
            request_floor: self.requests.floor(),
            compacted_at: if planted(Bug::HorizonForgotten) { 0 } else { self.compacted_at },
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
        labels: scope.labels.clone(),
        rules: scope.rules.as_deref().cloned(),
        template: scope.template.as_deref().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_row(id: u32, name: &str, parent: Option<u32>) -> Row {
        Row::Scope {
            id: ScopeId(id),
            name: name.into(),
            parent: parent.map(ScopeId),
            kind: Name::parse("team").expect("a name"),
            labels: Labels::default(),
            rules: parent.is_none().then(TreeRules::default),
            template: None,
        }
    }

    fn account_row(scope: u32, resource: u32) -> Row {
        Row::Account(ScopeId(scope), Account::new(ResourceId(resource), 0))
    }

    /// A ledger of two scopes, with the rows in between left to the caller.
    fn load(rows: impl IntoIterator<Item = Row>) -> Result<State, BadRows> {
        let ledger = Row::Ledger {
            revision: 2,
            time: 1,
            next_scope: ScopeId(2),
            request_floor: RequestId::default(),
            compacted_at: 0,
        };
        let built_in = State::default().rows().skip(1).collect::<Vec<_>>();
        State::from_rows(std::iter::once(ledger).chain(built_in).chain(rows))
    }

    #[test]
    fn rows_in_the_order_of_their_keys_make_a_state() {
        let rows =
            [scope_row(0, "a", None), scope_row(1, "b", Some(0)), account_row(0, 1), account_row(1, 0)];
        let state = load(rows.clone()).expect("a state");
        let built_in = 1 + state.resources().len() + state.templates().count();
        assert!(state.rows().skip(built_in).eq(rows));
    }

    #[test]
    fn a_scope_that_was_moved_may_come_before_its_parent() {
        let rows = [scope_row(0, "a", None), scope_row(1, "c", Some(2)), scope_row(2, "b", Some(0))];
        let ledger = Row::Ledger {
            revision: 3,
            time: 1,
            next_scope: ScopeId(3),
            request_floor: RequestId::default(),
            compacted_at: 0,
        };
        let built_in = State::default().rows().skip(1).collect::<Vec<_>>();
        let state = State::from_rows(std::iter::once(ledger).chain(built_in).chain(rows)).expect("a state");
        assert_eq!(state.scope(ScopeId(1)).path.as_str(), "a/b/c");
    }

    #[test]
    fn a_state_that_is_put_together_in_small_pieces_is_the_same() {
        let rows = [
            scope_row(0, "a", None),
            scope_row(1, "c", Some(2)),
            scope_row(2, "b", Some(0)),
            account_row(1, 0),
        ];
        let ledger = Row::Ledger {
            revision: 4,
            time: 1,
            next_scope: ScopeId(3),
            request_floor: RequestId::default(),
            compacted_at: 0,
        };
        let built_in = State::default().rows().skip(1).collect::<Vec<_>>();
        let mut loading = Loading::default();
        let all = std::iter::once(ledger).chain(built_in).chain(rows);
        all.clone().try_for_each(|row| loading.add(row)).expect("rows in order");
        let mut pieces = 0;
        let state = loop {
            pieces += 1;
            if let Some(state) = loading.finish_some(1).expect("a state") {
                break state;
            }
        };
        assert!(pieces > 3 * 3);
        assert!(state.rows().eq(all));
        for (path, id) in [("a", 0), ("a/b", 2), ("a/b/c", 1)] {
            let path = Path::parse(path).expect("a path");
            assert_eq!(state.scope_at(&path).map(|scope| scope.id), Some(ScopeId(id)), "{path}");
        }
    }

    #[test]
    fn rows_that_do_not_fit_together_are_refused() {
        let (a, b) = (|| scope_row(0, "a", None), || scope_row(1, "b", Some(0)));
        let cases: [(&str, Vec<Row>); 8] = [
            ("a scope twice", vec![a(), a()]),
            ("a scope below itself", vec![a(), scope_row(1, "b", Some(1))]),
            ("two scopes of one name", vec![a(), scope_row(1, "a", None)]),
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
