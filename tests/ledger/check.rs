//! What holds after every command of every script, whatever it is about.

use std::collections::BTreeMap;

use quorate::ledger::export::export;
use quorate::ledger::quota::Clock;
use quorate::ledger::quota::ClockKind;
use quorate::ledger::rows::Row;
use quorate::ledger::rows::RowKey;
use quorate::ledger::*;
use rust_decimal::Decimal;

use super::Result;

/// Follows a ledger as others do: by its events, and by the rows that it says have changed.
#[derive(Clone)]
pub struct Replica {
    by_events: State,
    by_rows: BTreeMap<RowKey, Row>,
}

impl Replica {
    pub fn of(state: &mut State) -> Self {
        state.take_changed();
        Self { by_events: state.clone(), by_rows: state.rows().map(|row| (row.key(), row)).collect() }
    }

    /// Folds events one by one; `look` sees the state after each.
    pub fn follow(
        &mut self,
        events: &[Event],
        mut look: impl FnMut(&State, &Event) -> Result<()>,
    ) -> Result<()> {
        for event in events {
            self.by_events.evolve(event);
            look(&self.by_events, event)?;
        }
        Ok(())
    }

    /// Whether all see the same ledger: the one that decides, one that folds the events, one that
    /// takes over the changed rows, and one that is loaded from all rows.
    pub fn check(&mut self, state: &mut State) {
        for key in state.take_changed() {
            match state.row(key) {
                Some(row) => self.by_rows.insert(key, row),
                None => self.by_rows.remove(&key),
            };
        }
        assert!(state.rows().eq(self.by_events.rows()), "folding the events gives another state");
        assert!(state.rows().eq(self.by_rows.values().cloned()), "a row changed that was not told");
        let loaded = State::from_rows(state.rows()).expect("the rows of a state make a state");
        assert!(state.rows().eq(loaded.rows()), "loading the rows gives another state");
        check_counters(state);
        check_clocks(state);
        for other in [&self.by_events, &loaded] {
            assert_eq!(state.next_deadline(), other.next_deadline(), "a deadline was moved");
        }
    }
}

/// What is counted at a scope is what the holds at and below it take; of a budget, what is spent may
/// be more.
fn check_counters(state: &State) {
    let mut taken: BTreeMap<(ScopeId, ResourceId), (Decimal, Decimal)> = BTreeMap::new();
    for hold in state.holds_from(0) {
        for line in &hold.lines {
            for scope in state.path_up(line.scope) {
                let (held, used) = taken.entry((scope.id, line.resource)).or_default();
                *held += line.held.number();
                *used += line.used.number();
            }
        }
    }
    for scope in state.trees().flat_map(|root| state.subtree(root.id)) {
        for account in scope.accounts() {
            let (held, used) = taken.remove(&(scope.id, account.resource)).unwrap_or_default();
            assert_eq!(account.held.number(), held, "held at {}", scope.path);
            match state.resource(account.resource).kind {
                ResourceKind::Capacity => assert_eq!(account.used.number(), used, "used at {}", scope.path),
                ResourceKind::Budget => assert!(account.used.number() >= used, "used at {}", scope.path),
            }
        }
    }
    assert!(taken.is_empty(), "a hold takes what no scope has counted: {taken:?}");
}

/// A clock runs exactly while use is over its line, and has ended exactly when its time is up and
/// all that was due has been done.
fn check_clocks(state: &State) {
    let all_done = state.next_deadline().is_none_or(|deadline| deadline > state.time());
    for scope in state.trees().flat_map(|root| state.subtree(root.id)) {
        for account in scope.accounts() {
            let Some(quota) = account.quota.as_ref() else {
                continue;
            };
            let (terms, clocks) = (quota.policy.terms(), quota.clocks());
            let grace = terms.soft.filter(|_| terms.grace_ms.is_some());
            let burst = quota.effective().filter(|_| terms.burst.is_some());
            for (line, clock, kind) in
                [(grace, clocks.grace, ClockKind::Grace), (burst, clocks.burst, ClockKind::Burst)]
            {
                let over = line.is_some_and(|line| account.taken() > line);
                assert_eq!(clock.is_some(), over, "{kind:?} at {}", scope.path);
                if let (Some(Clock { ended, .. }), Some(end), true) = (clock, quota.ends(kind), all_done) {
                    assert_eq!(ended, state.time() >= end, "{kind:?} at {}", scope.path);
                }
            }
        }
    }
}

/// A ledger exported as a plan: applied to itself it changes nothing, and an empty ledger to which it
/// is applied exports the same.
pub fn check_export(state: &mut State, time: LogTime, request: impl Fn(Command) -> Request) -> Result<()> {
    let exported = export(state, None);
    // A plan does not do more than this at once.
    let Ok(plan) = exported.clone().checked() else {
        return Ok(());
    };
    let request = request(Command::ApplyPlan(plan));
    let itself = preview(state, time, &request);
    match itself.events.as_slice() {
        [Event { body: Body::Unchanged { .. }, .. }] => {}
        events => return Err(format!("its own export changes it: {events:?}").into()),
    }
    let mut other = State::default();
    let applied = apply(&mut other, time, &[request]);
    if let Err(rejection) = &applied.outcomes[0].verdict {
        return Err(format!("an empty ledger refuses the export: {rejection:?}").into());
    }
    assert_eq!(export(&other, None), exported, "what was exported becomes another ledger");
    Ok(())
}
