//! Evolving: the one place that changes state. It folds events and decides nothing.
//!
//! An event that does not fit the state means that the two have parted (corruption, or a bug):
//! the process must not go on, so this panics instead of guessing.
//!
//! Whoever changes a row says so *before* the change ([`State::mark`]): while a change may have to
//! be taken back, that keeps what the row was.

use std::sync::Arc;

use super::LogTime;
use super::event::Body;
use super::event::Cause;
use super::event::Event;
use super::event::EventLine;
use super::event::HoldAfter;
use super::event::Overrun;
use super::event::OverrunReason;
use super::event::Reserved;
use super::event::Touched;
use super::event::TransferSide;
use super::hold::Closing;
use super::hold::Hold;
use super::hold::HoldId;
use super::hold::HoldLine;
use super::hold::HoldState;
use super::labels::Labels;
use super::name::Name;
use super::name::Path;
use super::outcome::Details;
use super::outcome::Grant;
use super::outcome::Granted;
use super::outcome::Verdict;
use super::quota::Limit;
use super::quota::Planned;
use super::quota::Quota;
use super::quota::Scheduled;
use super::request::Decided;
use super::request::Fingerprint;
use super::request::RequestId;
use super::resource::ResourceId;
use super::rows::RowKey;
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

impl State {
    /// Folds the next event into the state, and remembers the request it answers.
    ///
    /// # Panics
    ///
    /// When the event is not the next one or names what is not there.
    pub fn evolve(&mut self, event: &Event) {
        self.fold(event);
        let Cause::Request { id, fingerprint, .. } = &event.cause else {
            return;
        };
        let verdict = match (event.part, event.verdict()) {
            (None, verdict) => verdict,
            (Some(part), grant) => {
                self.parts.push(grant.expect("a part of several was carried out"));
                if part.index + 1 < part.of {
                    return;
                }
                Ok(combined(std::mem::take(&mut self.parts)))
            }
        };
        self.remember(*id, *fingerprint, verdict);
    }

    /// Folds the next event into a state that is only read from: what was decided about requests is
    /// not remembered, nor which rows changed.
    ///
    /// # Panics
    ///
    /// As [`State::evolve`].
    pub fn follow(&mut self, event: &Event) {
        self.fold(event);
        self.changed.clear();
    }

    /// Folds the next event into the state and nothing else.
    pub(super) fn fold(&mut self, event: &Event) {
        assert_eq!(event.revision, self.revision + 1, "events are folded without a gap");
        assert!(event.time >= self.time, "log time never goes back");
        self.mark(RowKey::Ledger);
        self.revision = event.revision;
        self.time = event.time;
        // The policy first: the clocks of what was touched are those of the new policy.
        self.fold_body(event);
        for touched in &event.touched {
            self.touch(touched);
        }
    }

    /// Remembers what was decided about a request whose last event was just folded.
    pub(super) fn remember(&mut self, id: RequestId, fingerprint: Fingerprint, verdict: Verdict) {
        assert!(self.undo.is_none(), "a request is remembered when nothing is taken back any more");
        let decided = Decided { fingerprint, revision: self.revision, verdict };
        let changed = &mut self.changed;
        changed.note(RowKey::Request(id));
        self.requests.insert(id, decided, self.time, |forgotten| changed.note(RowKey::Request(forgotten)));
    }

    /// Says that a row is about to change.
    fn mark(&mut self, key: RowKey) {
        if self.undo.is_some() {
            let before = self.row(key);
            self.undo.get_or_insert_default().push((key, before));
        }
        // Every event changes the ledger row: it stands there already, but for the first one.
        if key != RowKey::Ledger || self.changed.is_empty() {
            self.changed.note(key);
        }
    }

    fn touch(&mut self, touched: &Touched) {
        self.change_account(touched.scope, touched.resource, |account| {
            assert_eq!(touched.sequence, account.sequence + 1, "a sequence rises by one per event");
            account.used = touched.used;
            account.held = touched.held;
            account.sequence = touched.sequence;
            if let Some(quota) = account.quota.as_mut()
                && quota.clocks() != touched.clocks
            {
                quota.live_mut().clocks = touched.clocks;
                quota.tidy();
            }
        });
    }

    /// The one way to change an account: keeps its deadline.
    fn change_account(&mut self, scope: ScopeId, resource: ResourceId, change: impl FnOnce(&mut Account)) {
        self.mark(RowKey::Account(scope, resource));
        let decimals = self.resource(resource).decimals;
        let account = self.scope_mut(scope).account_mut(resource, decimals);
        let before = deadline_of(account);
        change(account);
        let after = deadline_of(account);
        self.move_policy_deadline(Due::Quota(scope, resource), before, after);
    }

    /// As [`State::change_account`], for what may change a policy: keeps what is promised above.
    fn change_policy(&mut self, scope: ScopeId, resource: ResourceId, change: impl FnOnce(&mut Account)) {
        let before = self.promise(scope, resource);
        self.change_account(scope, resource, change);
        let after = self.promise(scope, resource);
        let parent = self.scope(scope).parent;
        self.promise_more(parent, resource, after - before);
    }

    pub(super) fn move_policy_deadline(&mut self, due: Due, before: Option<LogTime>, after: Option<LogTime>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.policy_deadlines.remove(&(before, due));
        }
        if let Some(after) = after {
            self.policy_deadlines.insert((after, due));
        }
    }

    fn fold_body(&mut self, event: &Event) {
        match &event.body {
            Body::ScopeCreated { scope, path, kind, labels, rules } => {
                self.create_scope(*scope, path, kind, labels, rules.as_ref());
            }
            Body::ScopeUpdated { scope, labels, rules, .. } => {
                self.mark(RowKey::Scope(*scope));
                let scope = self.scope_mut(*scope);
                scope.labels = labels.clone();
                scope.rules = rules.clone().map(Box::new);
            }
            Body::ScopeMoved { scope, to, overruns, .. } => {
                self.mark(RowKey::Scope(*scope));
                self.place_scope(*scope, to);
                self.count_overruns(overruns);
            }
            Body::ScopeDeleted { scope, below, .. } => {
                for id in below.iter().rev().chain([scope]) {
                    self.delete_scope(*id);
                }
            }
            Body::ResourceRegistered { id, resource } => {
                self.mark(RowKey::Resource(*id));
                assert_eq!(self.add_resource(resource.clone()), *id, "resources are numbered in order");
            }
            Body::TemplatePut { template } => self.put_template(template),
            Body::TemplateApplied { scope, template, version, quotas, .. } => {
                self.mark(RowKey::Scope(*scope));
                self.scope_mut(*scope).template = Some(Box::new(template::Applied {
                    template: template.clone(),
                    version: *version,
                    quotas: quotas.clone(),
                }));
            }
            Body::Reserved(reserved) => self.reserve(event, reserved),
            Body::Committed { hold, after, overruns } => {
                self.commit(*hold, after.as_ref(), event.revision);
                self.count_overruns(overruns);
            }
            Body::Released { hold, after } => {
                self.settle(event, *hold, after.as_ref(), HoldState::Released);
            }
            Body::Expired { hold, after } => {
                self.settle(event, *hold, after.as_ref(), HoldState::Expired);
            }
            Body::Renewed { hold, expires_at } => {
                self.change_hold(*hold, event.revision, |hold| hold.expires_at = Some(*expires_at));
            }
            Body::Resized { hold, after, overruns } => {
                self.settle(event, *hold, Some(after), HoldState::Held);
                self.count_overruns(overruns);
            }
            Body::EventsCompacted { through, .. } => self.compacted_at = *through,
            Body::TimeRefused { .. } | Body::Rejected { .. } | Body::Unchanged { .. } => {}
            _ => self.fold_policy(event),
        }
    }

    fn fold_policy(&mut self, event: &Event) {
        match &event.body {
            Body::QuotaSet { scope, resource, policy, version, scheduled, .. } => {
                self.change_policy(*scope, *resource, |account| {
                    account.version = *version;
                    match account.quota.as_mut() {
                        Some(quota) => quota.policy = policy.clone(),
                        None => account.quota = Some(Quota::new(policy.clone())),
                    }
                    if let Some(id) = scheduled {
                        drop_scheduled(account, *id);
                    }
                });
            }
            Body::QuotaDeleted { scope, resource, version, .. } => {
                self.change_policy(*scope, *resource, |account| {
                    account.version = *version;
                    account.quota = None;
                });
            }
            Body::QuotaLocked { scope, resource, lock, version } => {
                self.change_quota(*scope, *resource, *version, |quota| {
                    quota.lock = Some(Box::new(lock.clone()));
                });
            }
            Body::QuotaUnlocked { scope, resource, version } => {
                self.change_quota(*scope, *resource, *version, |quota| quota.lock = None);
            }
            Body::QuotaScheduled { scope, resource, item, version, .. } => {
                self.change_policy(*scope, *resource, |account| schedule(account, item, *version));
            }
            Body::ScheduleCancelled { scope, resource, id, version, .. }
            | Body::ScheduleFailed { scope, resource, id, version, .. } => {
                self.change_policy(*scope, *resource, |account| {
                    account.version = *version;
                    drop_scheduled(account, *id);
                });
            }
            Body::OverrideSwitched { scope, resource, id, active, version, .. } => {
                self.change_policy(*scope, *resource, |account| {
                    account.version = *version;
                    if *active { activate(account, *id) } else { drop_scheduled(account, *id) }
                });
            }
            Body::QuotaTransferred { from, to, resource, amount, until } => {
                self.set_limit(*resource, from);
                self.set_limit(*resource, to);
                if let Some(until) = until {
                    self.mark(RowKey::Transfer(event.revision));
                    self.put_transfer(Transfer {
                        id: event.revision,
                        from: from.scope,
                        to: to.scope,
                        resource: *resource,
                        amount: *amount,
                        until: *until,
                    });
                }
            }
            Body::TransferReturned { id, from, to, resource, .. } => {
                for side in [from, to].into_iter().flatten() {
                    self.set_limit(*resource, side);
                }
                self.mark(RowKey::Transfer(*id));
                self.drop_transfer(*id);
            }
            // That the clock has ended stands in what was touched.
            Body::ClockEnded { .. } => {}
            body => unreachable!("{body:?} is no change of policy"),
        }
    }

    fn create_scope(
        &mut self,
        id: ScopeId,
        path: &Path,
        kind: &Name,
        labels: &Labels,
        rules: Option<&TreeRules>,
    ) {
        assert_eq!(id, self.next_scope(), "scopes are numbered in order");
        self.mark(RowKey::Scope(id));
        let parent = path
            .parent()
            .map(|parent| self.scope_at(&parent).expect("the parent of a new scope is there").id);
        let siblings = match parent {
            Some(parent) => &mut self.scope_mut(parent).children,
            None => &mut self.trees,
        };
        siblings.insert(path.name().into(), id);
        self.paths.insert(path, id);
        let kind = self.shared_kind(kind.clone());
        self.scopes.push(Some(Box::new(Scope {
            id,
            path: path.clone(),
            kind,
            parent,
            children: Default::default(),
            labels: labels.clone(),
            rules: rules.cloned().map(Box::new),
            template: None,
            accounts: Default::default(),
        })));
    }

    /// Hangs a scope, which has a parent, where a path says, with everything below it.
    pub(super) fn place_scope(&mut self, id: ScopeId, path: &Path) {
        let scope = self.scope(id);
        let (name, parent) = (scope.path.name().to_owned(), scope.parent.expect("a root stays where it is"));
        self.promise_all(id, Some(parent), -1);
        self.scope_mut(parent).children.remove(name.as_str());
        let above = path.parent().expect("a root stays where it is");
        let above = self.scope_at(&above).expect("the new parent of a scope is there").id;
        self.scope_mut(above).children.insert(path.name().into(), id);
        self.scope_mut(id).parent = Some(above);
        self.promise_all(id, Some(above), 1);
        self.change_path(id, path.clone());
        let below: Vec<ScopeId> = self.subtree(id).skip(1).map(|scope| scope.id).collect();
        // Parents come before their children.
        for id in below {
            let scope = self.scope(id);
            let parent = self.scope(scope.parent.expect("what lies below has a parent"));
            let path = parent.path.child(scope.path.name());
            self.change_path(id, path);
        }
    }

    fn change_path(&mut self, id: ScopeId, path: Path) {
        let before = self.scope(id).path.clone();
        self.paths.remove(&before, id);
        self.paths.insert(&path, id);
        self.scope_mut(id).path = path;
    }

    fn delete_scope(&mut self, id: ScopeId) {
        // Marked before the scope: put back after it.
        let resources: Vec<ResourceId> =
            self.scope(id).accounts.iter().map(|account| account.resource).collect();
        for resource in resources {
            self.mark(RowKey::Account(id, resource));
        }
        self.mark(RowKey::Scope(id));
        self.drop_scope(id);
    }

    pub(super) fn drop_scope(&mut self, id: ScopeId) {
        self.promise_all(id, self.scope(id).parent, -1);
        let scope = self.scopes[id.0 as usize].take().expect("a deleted scope is there");
        assert!(scope.children.is_empty(), "what lies below was deleted first");
        for account in &scope.accounts {
            self.move_policy_deadline(Due::Quota(id, account.resource), deadline_of(account), None);
        }
        let siblings = match scope.parent {
            Some(parent) => &mut self.scope_mut(parent).children,
            None => &mut self.trees,
        };
        siblings.remove(scope.path.name());
        self.paths.remove(&scope.path, id);
    }

    fn put_template(&mut self, template: &Arc<Template>) {
        match self.template_ids.get(&template.name).copied() {
            Some(id) => {
                self.mark(RowKey::Template(id));
                self.templates[id.0 as usize] = template.clone();
            }
            None => {
                self.mark(RowKey::Template(self.next_template()));
                self.add_template(template.clone());
            }
        }
    }

    fn change_quota(
        &mut self,
        scope: ScopeId,
        resource: ResourceId,
        version: u64,
        change: impl FnOnce(&mut Quota),
    ) {
        self.change_policy(scope, resource, |account| {
            account.version = version;
            change(account.quota.as_mut().expect("a changed quota is there"));
        });
    }

    fn set_limit(&mut self, resource: ResourceId, side: &TransferSide) {
        self.change_quota(side.scope, resource, side.version, |quota| {
            quota.policy = quota.policy.with_limit(Limit::Amount(side.limit));
        });
    }

    pub(super) fn put_transfer(&mut self, transfer: Transfer) {
        self.move_policy_deadline(Due::Transfer(transfer.id), None, Some(transfer.until));
        for side in [transfer.from, transfer.to] {
            self.loans.insert((side, transfer.resource, transfer.id));
        }
        self.transfers.insert(transfer.id, transfer);
    }

    pub(super) fn drop_transfer(&mut self, id: super::Revision) {
        let transfer = self.transfers.remove(&id).expect("a transfer that goes back is there");
        self.move_policy_deadline(Due::Transfer(id), Some(transfer.until), None);
        for side in [transfer.from, transfer.to] {
            self.loans.remove(&(side, transfer.resource, id));
        }
    }

    fn count_overruns(&mut self, overruns: &[Overrun]) {
        for overrun in overruns {
            if matches!(overrun.reason, OverrunReason::Warn | OverrunReason::Shadow) {
                self.change_account(overrun.scope, overrun.resource, |account| {
                    let quota = account.quota.as_mut().expect("a limit that was overrun is there");
                    quota.live_mut().would_deny += 1;
                });
            }
        }
    }

    fn reserve(&mut self, event: &Event, reserved: &Reserved) {
        let Cause::Request { actor, .. } = &event.cause else {
            unreachable!("nothing is reserved by time");
        };
        self.mark(RowKey::Hold(event.revision));
        self.put_hold(Hold {
            id: event.revision,
            lines: lines(&reserved.lines),
            created_at: event.time,
            expires_at: reserved.expires_at,
            revision: event.revision,
            actor: actor.clone(),
            tags: reserved.tags.clone(),
        });
        self.count_overruns(&reserved.overruns);
    }

    fn commit(&mut self, id: HoldId, after: Option<&HoldAfter>, revision: u64) {
        self.change_hold(id, revision, |hold| match after {
            Some(after) => become_after(hold, after),
            None => {
                for line in &mut hold.lines {
                    line.used = line.live();
                    line.held = line.held.saturating_sub(line.held);
                }
                hold.expires_at = None;
            }
        });
    }

    /// A hold becomes what an event says, or is closed when nothing is left.
    fn settle(&mut self, event: &Event, id: HoldId, after: Option<&HoldAfter>, closed: HoldState) {
        if let Some(after) = after {
            return self.change_hold(id, event.revision, |hold| become_after(hold, after));
        }
        self.mark(RowKey::Hold(id));
        if closed != HoldState::Released || !planted(Bug::ReleaseTwice) {
            self.drop_hold(id);
        }
        if let Some(forgotten) = self.closed.next_forgotten() {
            self.mark(RowKey::Closed(forgotten));
            self.closed.remove(forgotten);
        }
        self.mark(RowKey::Closed(event.revision));
        self.closed.insert(Closing { hold: id, state: closed, revision: event.revision });
    }

    fn change_hold(&mut self, id: HoldId, revision: u64, change: impl FnOnce(&mut Hold)) {
        if !planted(Bug::ChangedRowNotSaved) {
            self.mark(RowKey::Hold(id));
        }
        let hold = self.holds.get_mut(id).expect("a changed hold is live");
        let before = hold.expires_at;
        change(hold);
        hold.revision = revision;
        let after = hold.expires_at;
        if before != after {
            if let Some(before) = before {
                self.hold_deadlines.remove((before.get(), id));
            }
            if let Some(after) = after {
                self.hold_deadlines.insert((after.get(), id), ());
            }
        }
    }

    pub(super) fn put_hold(&mut self, hold: Hold) {
        if let Some(end) = hold.expires_at {
            self.hold_deadlines.insert((end.get(), hold.id), ());
        }
        self.holds.insert(hold.id, Box::new(hold));
    }

    pub(super) fn drop_hold(&mut self, id: HoldId) {
        let hold = self.holds.remove(id).expect("a closed hold was live");
        if let Some(end) = hold.expires_at {
            self.hold_deadlines.remove((end.get(), id));
        }
    }
}

/// What a client is told of several parts.
pub(super) fn combined(parts: Vec<Grant>) -> Grant {
    Grant::new(Granted::Done, Details { parts, ..Details::default() })
}

pub(super) fn deadline_of(account: &Account) -> Option<LogTime> {
    account.quota.as_ref().and_then(Quota::next_deadline)
}

fn lines(lines: &[EventLine]) -> Box<[HoldLine]> {
    lines
        .iter()
        .map(|line| HoldLine { scope: line.scope, resource: line.resource, held: line.held, used: line.used })
        .collect()
}

fn become_after(hold: &mut Hold, after: &HoldAfter) {
    hold.lines = lines(&after.lines);
    hold.expires_at = after.expires_at;
}

fn schedule(account: &mut Account, item: &Scheduled, version: u64) {
    account.version = version;
    // A change may be scheduled where there is no quota yet: until then it inherits.
    let inherit = || Quota::new(super::Policy::new(Limit::Inherit, Default::default()));
    let quota = account.quota.get_or_insert_with(inherit);
    quota.live_mut().schedule.push(item.clone());
}

fn drop_scheduled(account: &mut Account, id: super::Revision) {
    let quota = account.quota.as_mut().expect("a quota with a schedule is there");
    quota.live_mut().schedule.retain(|item| item.id != id);
    quota.tidy();
}

fn activate(account: &mut Account, id: super::Revision) {
    let quota = account.quota.as_mut().expect("a quota with a schedule is there");
    for item in &mut quota.live_mut().schedule {
        if let Planned::Override { active, .. } = &mut item.plan {
            *active |= item.id == id;
        }
    }
}
