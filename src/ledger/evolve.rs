//! Evolving: the one place that changes state. It folds events and decides nothing.
//!
//! An event that does not fit the state means that the two have parted (corruption, or a bug):
//! the process must not go on, so this panics instead of guessing.

use super::event::Body;
use super::event::Event;
use super::event::Touched;
use super::hold::Closing;
use super::hold::Hold;
use super::hold::HoldLine;
use super::hold::HoldState;
use super::quota::Quota;
use super::request::Decided;
use super::resource::ResourceId;
use super::rows::RowKey;
use super::scope::Scope;
use super::scope::ScopeId;
use super::state::State;

impl State {
    /// Folds the next event into the state.
    ///
    /// # Panics
    ///
    /// When the event is not the next one or names what is not there.
    pub fn evolve(&mut self, event: &Event) {
        assert_eq!(event.revision, self.revision + 1, "events are folded without a gap");
        assert!(event.time >= self.time, "log time never goes back");
        self.revision = event.revision;
        self.time = event.time;
        self.changed.push(RowKey::Ledger);
        for touched in &event.touched {
            self.touch(touched);
        }
        self.fold_body(event);
        self.remember(event);
    }

    fn touch(&mut self, touched: &Touched) {
        let decimals = self.resource(touched.resource).decimals;
        let account = self.scope_mut(touched.scope).account_mut(touched.resource, decimals);
        assert_eq!(touched.sequence, account.sequence + 1, "a sequence rises by one per event");
        account.used = touched.used;
        account.held = touched.held;
        account.sequence = touched.sequence;
        self.changed.push(RowKey::Account(touched.scope, touched.resource));
    }

    fn fold_body(&mut self, event: &Event) {
        match &event.body {
            Body::ScopeCreated { scope, path, kind } => self.create_scope(*scope, path, kind),
            Body::ResourceRegistered { id, resource } => {
                assert_eq!(self.add_resource(resource.clone()), *id, "resources are numbered in order");
                self.changed.push(RowKey::Resource(*id));
            }
            Body::QuotaSet { scope, resource, limit, version, .. } => {
                let (limit, version) = (*limit, *version);
                self.change_quota(*scope, *resource, |quota| {
                    quota.limit = limit;
                    quota.version = version;
                });
            }
            Body::QuotaLocked { scope, resource, lock, version } => {
                self.change_quota(*scope, *resource, |quota| {
                    quota.lock = Some(lock.clone());
                    quota.version = *version;
                });
            }
            Body::QuotaUnlocked { scope, resource, version } => {
                self.change_quota(*scope, *resource, |quota| {
                    quota.lock = None;
                    quota.version = *version;
                });
            }
            Body::Reserved { lines } => {
                let lines = lines
                    .iter()
                    .map(|line| HoldLine { scope: line.scope, resource: line.resource, amount: line.amount })
                    .collect();
                let hold = Hold {
                    id: event.revision,
                    state: HoldState::Held,
                    lines,
                    created_at: event.time,
                    revision: event.revision,
                    actor: event.actor.clone(),
                };
                self.holds.insert(hold.id, hold);
                self.changed.push(RowKey::Hold(event.revision));
            }
            Body::Committed(id) => {
                let hold = self.holds.get_mut(id).expect("a committed hold is live");
                hold.state = HoldState::Committed;
                hold.revision = event.revision;
                self.changed.push(RowKey::Hold(*id));
            }
            Body::Released(id) => {
                self.holds.remove(id).expect("a released hold is live");
                self.changed.push(RowKey::Hold(*id));
                self.changed.push(RowKey::Closed(event.revision));
                let closing = Closing { hold: *id, state: HoldState::Released, revision: event.revision };
                if let Some(forgotten) = self.closed.insert(closing) {
                    self.changed.push(RowKey::Closed(forgotten));
                }
            }
            Body::Rejected { .. } | Body::Unchanged { .. } => {}
        }
    }

    fn create_scope(&mut self, id: ScopeId, path: &super::Path, kind: &super::Name) {
        assert_eq!(id, self.next_scope(), "scopes are numbered in order");
        let parent = path
            .parent()
            .map(|parent| self.scope_at(&parent).expect("the parent of a new scope is there").id);
        let siblings = match parent {
            Some(parent) => &mut self.scope_mut(parent).children,
            None => &mut self.trees,
        };
        siblings.insert(path.name().into(), id);
        self.scopes.push(Some(Scope {
            id,
            path: path.clone(),
            kind: kind.clone(),
            parent,
            children: Default::default(),
            accounts: Vec::new(),
        }));
        self.changed.push(RowKey::Scope(id));
    }

    /// Changes a quota, making it first when the event is its first. The account row is marked by
    /// `touch`: every policy event touches its own quota.
    fn change_quota(&mut self, scope: ScopeId, resource: ResourceId, change: impl FnOnce(&mut Quota)) {
        let decimals = self.resource(resource).decimals;
        let account = self.scope_mut(scope).account_mut(resource, decimals);
        let quota = account
            .quota
            .get_or_insert_with(|| Box::new(Quota { limit: super::Limit::Inherit, version: 0, lock: None }));
        change(quota);
    }

    fn remember(&mut self, event: &Event) {
        let decided =
            Decided { fingerprint: event.fingerprint, revision: event.revision, verdict: event.verdict() };
        let changed = &mut self.changed;
        changed.push(RowKey::Request(event.request));
        self.requests
            .insert(event.request, decided, event.time, |forgotten| changed.push(RowKey::Request(forgotten)));
    }
}
