//! What holds after every entry, whatever was asked.
//!
//! - Events follow each other without a gap, at the log time of their entry, and mean the same
//!   when they were encoded. Folding them gives the rows of the ledger that decided.
//! - A row that changed is told; it means the same when it was encoded.
//! - What is refused, and what already was, changes nothing but the ledger row and its request.
//! - What is counted is what live holds take at and below, and what was spent of budgets.
//! - Nothing grows over a limit that is enforced, nor under a lock, unless by force.
//! - A clock runs exactly while use is over its line; limits fit those above them.

use std::collections::BTreeMap;

use quorate::codec::batch;
use quorate::codec::event;
use quorate::codec::event::Position;
use quorate::codec::local;
use quorate::codec::rows;
use quorate::codec::view;
use quorate::ledger::Applied;
use quorate::ledger::Body;
use quorate::ledger::Cause;
use quorate::ledger::Event;
use quorate::ledger::Limit;
use quorate::ledger::Quota;
use quorate::ledger::Request;
use quorate::ledger::ResourceId;
use quorate::ledger::ResourceKind;
use quorate::ledger::Scope;
use quorate::ledger::ScopeId;
use quorate::ledger::Stamp;
use quorate::ledger::State;
use quorate::ledger::drift::drift;
use quorate::ledger::event::Overrun;
use quorate::ledger::event::OverrunReason;
use quorate::ledger::event::Touched;
use quorate::ledger::hold::HoldLine;
use quorate::ledger::quota::ClockKind;
use quorate::ledger::rows::Row;
use quorate::ledger::rows::RowKey;
use quorate::ledger::scope::Account;
use quorate::ledger::tree::ChildPolicy;
use quorate::proto::storage::v1 as storage;
use rust_decimal::Decimal;

use crate::harness::event_block;

/// Follows a ledger as others do: by its events, and by the rows that it says have changed.
pub struct Follower {
    by_events: State,
    by_rows: BTreeMap<RowKey, Row>,
    /// What was spent of budgets, where it was taken.
    spent: BTreeMap<(ScopeId, ResourceId), Decimal>,
    /// The framed blocks of the events.
    pub blocks: Vec<Vec<u8>>,
}

impl Follower {
    pub fn of(state: &State) -> Self {
        Self {
            by_events: state.clone(),
            by_rows: state.rows().map(|row| (row.key(), row)).collect(),
            spent: BTreeMap::new(),
            blocks: Vec::new(),
        }
    }

    /// Follows one entry.
    pub fn follow(&mut self, state: &mut State, stamp: Stamp, requests: &[Request], applied: &Applied) {
        let now = stamp.time.max(self.by_events.time());
        let before = self.by_events.revision();
        let position = Position::default();
        let commands = batch::commands(requests);
        let bytes = event::write_entry(&applied.events, requests, &commands, position);
        let block: storage::EventBlock = local::message("an event block", &bytes).expect("a block");
        if !applied.events.is_empty() {
            self.blocks.push(bytes);
        }
        assert_eq!(block.events.len(), applied.events.len());
        for (message, event) in block.events.into_iter().zip(&applied.events) {
            let known = self.by_events.resources();
            let decimals = |id: ResourceId| known.get(id.0 as usize).map(|resource| resource.decimals);
            let decoded = event::decode(message, &decimals).expect("what was encoded can be decoded");
            assert_eq!(decoded, *event, "an event means something else when it is read back");
            assert_eq!(decoded.time, now, "an event has the log time of its entry");
            event_block::note(&decoded);
            self.fold(&decoded);
        }
        check_outcomes(state, before, requests, applied);
        for key in state.take_changed() {
            self.take_row(state, key);
        }
        assert!(state.next_deadline().is_none_or(|deadline| deadline > now), "something due was left");
        assert_eq!(state.next_deadline(), self.by_events.next_deadline(), "a deadline was moved");
        self.check_counters(state);
        check_clocks(state);
        check_places(state);
    }

    /// Folds an event, and looks at what it changed.
    fn fold(&mut self, event: &Event) {
        assert_eq!(event.revision, self.by_events.revision() + 1, "revisions have no gap");
        for touched in &event.touched {
            let row = self.by_events.row(RowKey::Account(touched.scope, touched.resource));
            let before = row.and_then(|row| match row {
                Row::Account(_, account) => Some(account),
                _ => None,
            });
            check_touched(event, touched, before.as_ref());
        }
        let hold = hold_of(event);
        let lines = |state: &State| -> Vec<HoldLine> {
            let hold = hold.and_then(|hold| state.hold(hold));
            hold.map_or_else(Vec::new, |hold| hold.lines.to_vec())
        };
        let before = lines(&self.by_events);
        self.by_events.evolve(event);
        let after = lines(&self.by_events);
        self.spend(&before, &after);
        let changes_nothing = matches!(event.body, Body::Rejected { .. } | Body::Unchanged { .. });
        for key in self.by_events.take_changed() {
            let is_account_of_the_request = matches!(key, RowKey::Ledger | RowKey::Request(_));
            assert!(!changes_nothing || is_account_of_the_request, "{:?} changes {key:?}", event.body);
        }
    }

    /// What of a budget is used and then given back stays spent.
    fn spend(&mut self, before: &[HoldLine], after: &[HoldLine]) {
        for line in before {
            if self.by_events.resource(line.resource).kind == ResourceKind::Capacity {
                continue;
            }
            let same = |other: &&HoldLine| (other.scope, other.resource) == (line.scope, line.resource);
            let used = after.iter().find(same).map_or(Decimal::ZERO, |line| line.used.number());
            let spent = (line.used.number() - used).max(Decimal::ZERO);
            *self.spent.entry((line.scope, line.resource)).or_default() += spent;
        }
    }

    fn take_row(&mut self, state: &State, key: RowKey) {
        let row = state.row(key);
        assert_eq!(row, self.by_events.row(key), "folding the events gives another row");
        let Some(row) = row else {
            self.by_rows.remove(&key);
            return;
        };
        let known = state.resources();
        let decimals = |id: ResourceId| known.get(id.0 as usize).map(|resource| resource.decimals);
        let decoded =
            rows::decode(&rows::encode([&row]), &decimals).expect("what was encoded can be decoded");
        assert_eq!(decoded, std::slice::from_ref(&row), "a row means something else when it is read back");
        self.by_rows.insert(key, row);
    }

    fn check_counters(&self, state: &State) {
        let mut taken: BTreeMap<(ScopeId, ResourceId), (Decimal, Decimal)> = BTreeMap::new();
        let mut count = |scope: ScopeId, resource: ResourceId, held: Decimal, used: Decimal| {
            for scope in state.path_up(scope) {
                let sum = taken.entry((scope.id, resource)).or_default();
                *sum = (sum.0 + held, sum.1 + used);
            }
        };
        for line in state.holds_from(0).flat_map(|hold| &hold.lines) {
            count(line.scope, line.resource, line.held.number(), line.used.number());
        }
        for ((scope, resource), spent) in &self.spent {
            if !spent.is_zero() {
                count(*scope, *resource, Decimal::ZERO, *spent);
            }
        }
        for (scope, account) in accounts(state) {
            let (held, used) = taken.remove(&(scope.id, account.resource)).unwrap_or_default();
            assert_eq!(account.held.number(), held, "held at {}", scope.path);
            assert_eq!(account.used.number(), used, "used at {}", scope.path);
        }
        assert!(taken.is_empty(), "a hold takes what no scope has counted: {taken:?}");
    }

    /// In the end all see the same ledger, and whatever readers ask of it can be answered.
    pub fn check_all(&self, state: &State) {
        assert!(state.rows().eq(self.by_events.rows()), "folding the events gives another state");
        assert!(state.rows().eq(self.by_rows.values().cloned()), "a row changed that was not told");
        let loaded = State::from_rows(state.rows()).expect("the rows of a state make a state");
        assert!(state.rows().eq(loaded.rows()), "loading the rows gives another state");
        assert_eq!(state.next_deadline(), loaded.next_deadline(), "loading the rows moves a deadline");
        for (scope, account) in accounts(state) {
            view::quota(state, scope, account.resource);
            let holders = state.largest_holders(&[(scope.id, account.resource)], 3);
            holders.iter().flatten().for_each(|holder| drop(view::holder(state, holder)));
        }
        for scope in scopes(state) {
            view::scope(scope);
            drift(state, scope.id).iter().for_each(|found| drop(view::drift(state, found)));
        }
        state.holds_from(0).for_each(|hold| drop(view::hold(state, hold)));
        state.templates().for_each(|template| drop(view::template(state, template)));
    }
}

fn scopes(state: &State) -> impl Iterator<Item = &Scope> {
    state.trees().flat_map(|root| state.subtree(root.id))
}

fn accounts(state: &State) -> impl Iterator<Item = (&Scope, &Account)> {
    scopes(state).flat_map(|scope| scope.accounts().iter().map(move |account| (scope, account)))
}

/// The hold that an event is about.
fn hold_of(event: &Event) -> Option<u64> {
    match &event.body {
        Body::Committed { hold, .. }
        | Body::Released { hold, .. }
        | Body::Expired { hold, .. }
        | Body::Renewed { hold, .. }
        | Body::Resized { hold, .. } => Some(*hold),
        _ => None,
    }
}

/// What each client is told is what happened, and is remembered.
fn check_outcomes(state: &State, before: u64, requests: &[Request], applied: &Applied) {
    assert_eq!(applied.outcomes.len(), requests.len(), "every request is answered");
    for (request, outcome) in requests.iter().zip(&applied.outcomes) {
        let of_request =
            |event: &&Event| matches!(&event.cause, Cause::Request { id, .. } if *id == request.id);
        let last = applied.events.iter().rfind(of_request);
        let Some(decided) = state.decided(request.id) else {
            assert!(last.is_none() && outcome.verdict.is_err(), "a decided request is remembered");
            continue;
        };
        if decided.fingerprint == request.fingerprint {
            assert_eq!(outcome.verdict, decided.verdict, "a repeat is told something else");
            assert_eq!(outcome.revision, decided.revision);
            assert_eq!(outcome.replayed, outcome.revision <= before, "a repeat is not told as one");
        }
        if let Some(event) = last.filter(|event| event.part.is_none() && !outcome.replayed) {
            assert_eq!((event.revision, event.verdict()), (outcome.revision, outcome.verdict.clone()));
        }
    }
}

/// What an event says of an account follows from the account before it, and is allowed.
fn check_touched(event: &Event, touched: &Touched, before: Option<&Account>) {
    let number = |before: Option<Decimal>| before.unwrap_or_default();
    let used = number(before.map(|account| account.used.number()));
    let held = number(before.map(|account| account.held.number()));
    assert_eq!(touched.used.number() - used, touched.used_change, "used at {}", touched.path);
    assert_eq!(touched.held.number() - held, touched.held_change, "held at {}", touched.path);
    assert_eq!(touched.sequence, before.map_or(0, |account| account.sequence) + 1);
    let clocks = before.and_then(|account| account.quota.as_ref()).map(Quota::clocks).unwrap_or_default();
    for (before, after) in [(clocks.grace, touched.clocks.grace), (clocks.burst, touched.clocks.burst)] {
        let goes_on = before.zip(after).is_none_or(|(before, after)| before.since == after.since);
        assert!(goes_on, "a clock that runs began at another time: {event:?}");
    }
    if touched.used_change + touched.held_change <= Decimal::ZERO {
        return;
    }
    assert!(matches!(event.cause, Cause::Request { .. }), "time takes something: {event:?}");
    let Some(quota) = before.and_then(|account| account.quota.as_ref()) else {
        return;
    };
    assert!(quota.lock.is_none(), "something grows under a lock: {event:?}");
    let taken = touched.used.number() + touched.held.number();
    let over = quota.ceiling(event.time).is_some_and(|ceiling| taken > ceiling.amount.number());
    if over && quota.is_enforced() {
        let is_here = |overrun: &&Overrun| {
            (overrun.scope, overrun.resource) == (touched.scope, touched.resource)
                && overrun.reason == OverrunReason::Forced
        };
        assert!(overruns(event).iter().any(|overrun| is_here(&overrun)), "over a limit: {event:?}");
    }
}

fn overruns(event: &Event) -> &[Overrun] {
    match &event.body {
        Body::Reserved(reserved) if reserved.forced => &reserved.overruns,
        Body::ScopeMoved { forced: true, overruns, .. } => overruns,
        _ => &[],
    }
}

/// A clock runs exactly while use is over its line, and has ended exactly when its time is up.
fn check_clocks(state: &State) {
    for (scope, account) in accounts(state) {
        let Some(quota) = account.quota.as_ref() else {
            continue;
        };
        let (terms, clocks) = (quota.policy.terms(), quota.clocks());
        let grace = terms.soft.filter(|_| terms.grace_ms.is_some());
        let burst = quota.effective().filter(|_| terms.burst.is_some() && terms.max_burst_ms.is_some());
        let both = [(grace, clocks.grace, ClockKind::Grace), (burst, clocks.burst, ClockKind::Burst)];
        for (line, clock, kind) in both {
            let over = line.is_some_and(|line| account.taken() > line);
            assert_eq!(clock.is_some(), over, "{kind:?} at {}", scope.path);
            if let (Some(clock), Some(end)) = (clock, quota.ends(kind)) {
                assert_eq!(clock.ended, state.time() >= end, "{kind:?} at {}", scope.path);
            }
        }
    }
}

/// Limits of policies fit those above them as their tree says.
fn check_places(state: &State) {
    for root in state.trees() {
        let policy = state.rules(root.id).child_policy;
        if policy == ChildPolicy::Unchecked {
            continue;
        }
        let mut promised: BTreeMap<(ScopeId, ResourceId), Decimal> = BTreeMap::new();
        for scope in state.subtree(root.id) {
            for account in scope.accounts() {
                let Some(quota) = account.quota.as_ref() else {
                    continue;
                };
                let above = state
                    .path_up(scope.id)
                    .skip(1)
                    .find_map(|above| Some((above, above.quota(account.resource)?.policy.effective()?)));
                let Some((above, most)) = above else {
                    continue;
                };
                let place = format!("{} below {}", scope.path, above.path);
                assert!(quota.policy.limit != Limit::Unlimited, "no limit at {place}");
                if let Some(limit) = quota.policy.effective() {
                    assert!(limit <= most, "{limit} of {most} at {place}");
                    let sum = promised.entry((above.id, account.resource)).or_default();
                    *sum += limit.number();
                    let fits = policy != ChildPolicy::SumWithinParent || *sum <= most.number();
                    assert!(fits, "{sum} of {most} are promised by {}", above.path);
                }
            }
        }
    }
}
