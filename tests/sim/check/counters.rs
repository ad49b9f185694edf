//! S4: the counters, counted once more, and what may be taken at each time.

use std::collections::BTreeMap;

use quorate::client::v1::Blocking;
use quorate::client::v1::Event;
use quorate::client::v1::Rule;
use quorate::client::v1::event::Body;
use quorate::client::v1::limit;
use quorate::client::v1::rejection::Reason;

use super::Verdict;
use super::clock::Clock;
use crate::quotas::CHANGED;
use crate::quotas::CHANGED_AT_FIRST;
use crate::quotas::CLOCKED;
use crate::quotas::LENT;
use crate::quotas::RESOURCE;
use crate::quotas::ROOT;
use crate::quotas::SCOPES;
use crate::workload::Asked;
use crate::workload::Operation;
use crate::workload::Told;

/// What there must be after the events so far.
pub struct Ledger {
    /// Used and held, by scope and resource.
    counters: BTreeMap<(&'static str, &'static str), (u64, u64)>,
    holds: BTreeMap<u64, Hold>,
    clocks: [Clock; CLOCKED.len()],
    /// The limit of `CHANGED` now.
    changed: u64,
}

/// A live hold.
struct Hold {
    scope: &'static str,
    resource: &'static str,
    amount: u64,
    committed: bool,
    /// In log time; `None` while it lives until it is resolved.
    expires_at: Option<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            counters: BTreeMap::new(),
            holds: BTreeMap::new(),
            clocks: Clock::all(),
            changed: CHANGED_AT_FIRST,
        }
    }
}

impl Ledger {
    pub fn replay(&mut self, event: &Event, operation: &Operation) -> Verdict {
        let wrong = |problem: &str| Err(format!("revision {}: {problem}: {operation:?}", event.revision));
        let no_hold = || format!("revision {}: no such hold: {operation:?}", event.revision);
        match (&operation.asked, &event.body) {
            // When they end is looked at in `deadlines`.
            (Asked::Setup | Asked::Override { .. } | Asked::Lend { .. } | Asked::Elsewhere, _) => {}
            (Asked::LetGo(through), Some(Body::EventsCompacted(it))) if it.through_revision == *through => {}
            (Asked::Change { limit, .. }, Some(Body::QuotaSet(_))) => self.changed = *limit,
            (Asked::Change { .. }, Some(Body::QuotaScheduled(_))) => {}
            (Asked::Change { .. }, Some(Body::Rejected(_))) if operation.told == Told::TooLate => {}
            (Asked::Reserve { scope, resource, amount, ttl_ms }, Some(Body::Reserved(_))) => {
                if let Some(full) = self.full(scope, resource, *amount, event.log_time_ms).first() {
                    return wrong(&format!("granted over {full:?}"));
                }
                let expires_at = ttl_ms.map(|ttl_ms| event.log_time_ms + ttl_ms);
                let hold = Hold { scope, resource, amount: *amount, committed: false, expires_at };
                self.holds.insert(event.revision, hold);
                for (path, _) in path_up(scope) {
                    self.counters.entry((path, resource)).or_default().1 += amount;
                }
            }
            (Asked::Reserve { scope, resource, amount, .. }, Some(Body::Rejected(rejected))) => {
                let told = match rejected.rejection.as_ref().and_then(|rejection| rejection.reason.as_ref()) {
                    Some(Reason::Denied(denied)) => denied.blocking.iter().map(Full::of).collect(),
                    _ => Vec::new(),
                };
                let full = self.full(scope, resource, *amount, event.log_time_ms);
                if full.is_empty() {
                    return wrong("denied although there was room");
                }
                if full != told {
                    return wrong(&format!("denied because of {told:?}, it must be {full:?}"));
                }
            }
            (Asked::Commit(hold), Some(Body::Committed(_))) => {
                let hold =
                    self.holds.get_mut(hold).filter(|hold| !hold.is_dead(event)).ok_or_else(no_hold)?;
                hold.committed = true;
                hold.expires_at = None;
                for (path, _) in path_up(hold.scope) {
                    let (used, held) = self.counters.entry((path, hold.resource)).or_default();
                    *held = held.checked_sub(hold.amount).ok_or_else(no_hold)?;
                    *used += hold.amount;
                }
            }
            (Asked::Renew { hold, ttl_ms }, Some(Body::Renewed(renewed))) => {
                let hold =
                    self.holds.get_mut(hold).filter(|hold| !hold.is_dead(event)).ok_or_else(no_hold)?;
                hold.expires_at = Some(event.log_time_ms + ttl_ms);
                if hold.expires_at != Some(renewed.expires_at_ms) {
                    return wrong("another end than asked for");
                }
            }
            (
                Asked::Commit(hold) | Asked::Release(hold) | Asked::Renew { hold, .. },
                Some(Body::Rejected(_)),
            ) if operation.told == Told::Closed => {
                if self.holds.get(hold).is_some_and(|hold| !hold.is_dead(event)) {
                    return wrong("rejected although the hold is live");
                }
            }
            (Asked::Release(hold), Some(Body::Released(_))) => {
                let hold = self.holds.remove(hold).filter(|hold| !hold.is_dead(event)).ok_or_else(no_hold)?;
                self.give_back(&hold).ok_or_else(no_hold)?;
            }
            _ => return wrong("another kind of event than asked for"),
        }
        self.compare(event)
    }

    /// What happens although nobody asked: holds end, not before their time, and limits change.
    pub fn replay_time(&mut self, event: &Event) -> Verdict {
        let wrong = |problem: &str| Err(format!("revision {}: {problem}: {event:?}", event.revision));
        match &event.body {
            Some(Body::Expired(expired)) => match self.holds.remove(&expired.hold_id) {
                Some(hold) if hold.is_dead(event) => {
                    if self.give_back(&hold).is_none() {
                        return wrong("less is held than that");
                    }
                }
                _ => return wrong("expired although it is not its time"),
            },
            Some(Body::QuotaSet(set)) => {
                let limit = set.policy.as_ref().and_then(|policy| policy.limit.as_ref()?.limit.as_ref());
                match limit {
                    Some(limit::Limit::Amount(amount)) if set.schedule_id != 0 => {
                        self.changed = amount.parse().map_err(|_| format!("{amount} is no limit"))?;
                    }
                    _ => return wrong("a change that nobody scheduled"),
                }
            }
            // Whether these were due is looked at in `deadlines`.
            Some(
                Body::TimeRefused(_)
                | Body::OverrideSwitched(_)
                | Body::TransferReturned(_)
                | Body::ClockEnded(_),
            ) => {}
            _ => return wrong("nobody asked"),
        }
        self.compare(event)
    }

    fn give_back(&mut self, hold: &Hold) -> Option<()> {
        for (path, _) in path_up(hold.scope) {
            let (used, held) = self.counters.entry((path, hold.resource)).or_default();
            let counter = if hold.committed { used } else { held };
            *counter = counter.checked_sub(hold.amount)?;
        }
        Some(())
    }

    fn taken(&self, scope: &'static str, resource: &'static str) -> u64 {
        let (used, held) = self.counters.get(&(scope, resource)).copied().unwrap_or_default();
        used + held
    }

    /// Every scope that has no room for a reservation, from the root down.
    fn full(&self, scope: &str, resource: &'static str, amount: u64, now: u64) -> Vec<Full> {
        path_up(scope)
            .filter_map(|(path, limit)| {
                let (limit, rule) = self.ceiling(path, limit, resource, now)?;
                let full = Full { scope: path.to_owned(), rule, limit: limit.to_string() };
                (self.taken(path, resource) + amount > limit).then_some(full)
            })
            .collect()
    }

    /// The most that may be taken at a scope, and the rule that says so.
    fn ceiling(&self, path: &str, fixed: u64, resource: &str, now: u64) -> Option<(u64, Rule)> {
        if resource == RESOURCE {
            return Some((fixed, Rule::HardLimit));
        }
        if path != ROOT {
            return None;
        }
        if resource == CHANGED {
            return Some((self.changed, Rule::HardLimit));
        }
        self.clocks.iter().find(|clock| clock.quota.resource == resource).map(|clock| clock.ceiling(now))
    }

    /// What an event shows of all that it touched, against what there must be.
    fn compare(&mut self, event: &Event) -> Verdict {
        for touched in event.touched.iter().filter(|touched| touched.resource != LENT) {
            let place = (touched.scope.as_str(), touched.resource.as_str());
            let found = self.counters.iter().find(|((scope, resource), _)| (*scope, *resource) == place);
            let (used, held) = found.map(|(_, counters)| *counters).unwrap_or_default();
            if (&touched.used, &touched.held) != (&used.to_string(), &held.to_string()) {
                return Err(format!(
                    "revision {}: {} has used {}, held {} instead of {used}, {held}",
                    event.revision, touched.scope, touched.used, touched.held
                ));
            }
            for clock in self.clocks.iter_mut().filter(|clock| clock.is_of(touched)) {
                clock.turn(used + held, event.log_time_ms);
                let (shown, expected) = (clock.shown_by(touched), clock.shown(event.log_time_ms));
                if shown != expected {
                    return Err(format!(
                        "revision {}: the clock is {shown:?}, it must be {expected:?}",
                        event.revision
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A scope without room, and why.
#[derive(Debug, PartialEq, Eq)]
struct Full {
    scope: String,
    rule: Rule,
    limit: String,
}

impl Full {
    fn of(blocking: &Blocking) -> Self {
        let Blocking { scope, limit, .. } = blocking;
        Self { scope: scope.clone(), rule: blocking.rule(), limit: limit.clone() }
    }
}

impl Hold {
    /// Whether it was over at the log time of an event.
    fn is_dead(&self, event: &Event) -> bool {
        self.expires_at.is_some_and(|end| event.log_time_ms >= end)
    }
}

/// The root first: a scope and those above it, with their limits.
fn path_up(scope: &str) -> impl Iterator<Item = (&'static str, u64)> {
    SCOPES.into_iter().filter(move |(path, _)| scope == *path || scope.starts_with(&format!("{path}/")))
}
