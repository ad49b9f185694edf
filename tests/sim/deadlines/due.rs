//! Deadlines in log time. Each ends at the first entry at or after its time: exactly once, not before,
//! and no later, whoever leads and whatever was restarted meanwhile.

use std::collections::BTreeMap;

use quorate::client::v1::ClockKind;
use quorate::client::v1::Event;
use quorate::client::v1::Rejected;
use quorate::client::v1::event::Body;
use quorate::client::v1::limit;
use quorate::client::v1::rejection::Reason;
use quorate::client::v1::scheduled::Plan;
use quorate::ledger::transfer::MAX_LOANS;

use crate::check::Verdict;
use crate::check::clock::Clock;
use crate::check::clock::Turn;
use crate::check::elsewhere;
use crate::quotas::CLOCKED;
use crate::workload::Asked;
use crate::workload::Operation;

/// What a deadline is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A hold expires.
    Hold,
    /// An override begins, …
    Begin,
    /// … and ends.
    Override,
    /// A loan goes back.
    Loan,
    /// A scheduled change is made.
    Change,
    /// Use has been over a soft limit for its grace.
    Grace,
    /// Use has been over a limit for the time of its burst.
    Burst,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Hold, Self::Begin, Self::Override, Self::Loan, Self::Change, Self::Grace, Self::Burst];
}

/// A deadline from its making to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    pub kind: Kind,
    /// The event that made it.
    pub made: u64,
    /// In log time.
    pub at: u64,
    /// How long after the event that made it; `None` when the client said when it is.
    pub length_ms: Option<u64>,
    /// `None` when the events end before.
    pub end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub revision: u64,
    /// Otherwise it has lost its meaning by then: a hold was released, use is back under a line.
    pub by_time: bool,
}

/// All deadlines of a run, in the order in which they ended.
pub fn deadlines(events: &[Event], asked: &BTreeMap<String, &Operation>) -> Result<Vec<Deadline>, String> {
    let mut walk =
        Walk { pending: BTreeMap::new(), clocks: Clock::all(), ended: Vec::new(), entry: Entry::default() };
    let elsewhere = elsewhere(events, asked);
    for event in events {
        walk.entry.enter(event);
        if elsewhere.contains(&event.revision) {
            continue;
        }
        let asked = asked.get(&event.request_id).map(|operation| &operation.asked);
        walk.step(event, asked).map_err(|problem| format!("revision {}: {problem}", event.revision))?;
    }
    let last = events.last().map_or(0, |event| event.log_time_ms);
    match walk.pending.values().find(|deadline| deadline.at <= last) {
        Some(left) => Err(format!("it never ended: {left:?}")),
        None => {
            walk.ended.extend(walk.pending.into_values());
            Ok(walk.ended)
        }
    }
}

/// What something pending is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Hold(u64),
    /// Until when the override is to last.
    Override(u64, u64),
    Loan(u64),
    /// What the limit is to be.
    Change(u64, u64),
    Clock(&'static str),
}

struct Walk {
    pending: BTreeMap<Key, Deadline>,
    clocks: [Clock; CLOCKED.len()],
    ended: Vec<Deadline>,
    entry: Entry,
}

/// The log entry that an event is of.
#[derive(Default)]
struct Entry {
    index: u64,
    time: u64,
    /// The log time of the one before that had events.
    before: u64,
    /// What time did in it last: first to quotas, then to holds, each in the order of their times.
    last: (bool, u64),
}

impl Entry {
    fn enter(&mut self, event: &Event) {
        if event.raft_index != self.index {
            *self = Self { index: event.raft_index, time: 0, before: self.time, last: (false, 0) };
        }
        self.time = event.log_time_ms;
    }
}

impl Walk {
    fn step(&mut self, event: &Event, asked: Option<&Asked>) -> Verdict {
        let (revision, now) = (event.revision, event.log_time_ms);
        match (event.body.as_ref().ok_or("it is empty")?, asked) {
            (Body::Reserved(_), Some(Asked::Reserve { ttl_ms: Some(ttl_ms), .. })) => {
                self.after(Key::Hold(revision), Kind::Hold, event, *ttl_ms);
            }
            (Body::Renewed(_), Some(Asked::Renew { hold, ttl_ms })) => {
                self.leave(Key::Hold(*hold), event)?;
                self.after(Key::Hold(*hold), Kind::Hold, event, *ttl_ms);
            }
            (Body::Committed(_), Some(Asked::Commit(hold)))
            | (Body::Released(_), Some(Asked::Release(hold))) => self.leave(Key::Hold(*hold), event)?,
            (Body::Expired(expired), None) => drop(self.end(Key::Hold(expired.hold_id), event)?),
            (Body::QuotaTransferred(_), Some(Asked::Lend { until_ms })) => {
                self.at(Key::Loan(revision), Kind::Loan, revision, *until_ms);
            }
            (Body::TransferReturned(back), None) => drop(self.end(Key::Loan(back.transfer_id), event)?),
            (Body::ClockEnded(ended), None) => {
                let touched = event.touched.first().ok_or("it touches nothing")?;
                let clock = self.clocks.iter().find(|clock| clock.is_of(touched)).ok_or("it has no clock")?;
                if ended.clock() != clock.quota.kind {
                    return Err("it is another clock".into());
                }
                self.end(Key::Clock(clock.quota.resource), event)?;
            }
            (body, Some(Asked::Override { start_ms, until_ms })) => {
                self.replace(event, body, *start_ms, *until_ms)?;
            }
            (Body::OverrideSwitched(switched), None) => {
                self.switch(event, switched.schedule_id, switched.active)?;
            }
            (body, Some(Asked::Change { limit, at_ms })) => self.change(event, body, *limit, *at_ms)?,
            (Body::QuotaSet(set), None) => {
                let amount = set.policy.as_ref().and_then(|policy| policy.limit.as_ref()?.limit.as_ref());
                let Some(limit::Limit::Amount(amount)) = amount else {
                    return Err("its limit is no amount".into());
                };
                let limit = amount.parse().map_err(|_| "its limit is no number")?;
                self.end(Key::Change(set.schedule_id, limit), event)?;
            }
            (Body::Rejected(rejected), Some(Asked::Lend { until_ms })) if *until_ms > now => {
                let waiting = self.pending.keys().filter(|key| matches!(key, Key::Loan(_))).count();
                let reason = rejected.rejection.as_ref().and_then(|rejection| rejection.reason.as_ref());
                if waiting < MAX_LOANS || !matches!(reason, Some(Reason::ScheduleConflict(_))) {
                    return Err(format!("it was not too late: {rejected:?}"));
                }
            }
            _ => {}
        }
        self.turn_clocks(event)
    }

    /// An override was asked for.
    fn replace(&mut self, event: &Event, body: &Body, start_ms: u64, until_ms: u64) -> Verdict {
        let (revision, now) = (event.revision, event.log_time_ms);
        let start = start_ms.max(now);
        match body {
            Body::QuotaScheduled(scheduled) => {
                let item = scheduled.item.as_ref().ok_or("it schedules nothing")?;
                let Some(Plan::LimitOverride(plan)) = &item.plan else {
                    return Err("it is no override".into());
                };
                if (item.start_ms, plan.end_ms, plan.active) != (start, until_ms, start == now) {
                    return Err(format!("it is not what was asked for: {item:?}"));
                }
                let key = Key::Override(revision, until_ms);
                if plan.active {
                    self.at(key, Kind::Override, revision, until_ms);
                } else {
                    self.at(key, Kind::Begin, revision, start);
                }
                Ok(())
            }
            Body::Rejected(Rejected { rejection: Some(rejection), .. }) => match &rejection.reason {
                Some(Reason::Malformed(_)) if until_ms <= now => Ok(()),
                Some(Reason::ScheduleConflict(_)) if self.overlaps(start, until_ms) => Ok(()),
                reason => Err(format!("nothing stood against it: {reason:?}")),
            },
            _ => Err("it is no answer to an override".into()),
        }
    }

    /// Whether an override is pending at the same time.
    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.pending.iter().any(|(key, deadline)| match (key, deadline.kind) {
            (Key::Override(_, others), Kind::Begin) => deadline.at < end && start < *others,
            (Key::Override(_, others), _) => start < *others,
            _ => false,
        })
    }

    /// An override begins or ends.
    fn switch(&mut self, event: &Event, id: u64, begins: bool) -> Verdict {
        let mut keys =
            self.pending.keys().filter(|key| matches!(key, Key::Override(other, _) if *other == id));
        let key = *keys.next().ok_or("it has ended already, or never was")?;
        let ended = self.end(key, event)?;
        if begins != (ended.kind == Kind::Begin) {
            return Err(format!("it is the other end of {ended:?}"));
        }
        if let (Key::Override(_, until_ms), true) = (key, begins) {
            self.at(key, Kind::Override, ended.made, until_ms);
        }
        Ok(())
    }

    /// A change was asked for.
    fn change(&mut self, event: &Event, body: &Body, limit: u64, at_ms: u64) -> Verdict {
        let waiting = self.pending.keys().filter(|key| matches!(key, Key::Change(..))).count();
        match body {
            Body::QuotaScheduled(_) if at_ms > event.log_time_ms => {
                self.at(Key::Change(event.revision, limit), Kind::Change, event.revision, at_ms);
                Ok(())
            }
            Body::QuotaSet(_) if at_ms <= event.log_time_ms => Ok(()),
            Body::Rejected(_) if waiting >= quorate::ledger::quota::MAX_SCHEDULED => Ok(()),
            body => Err(format!("it is not what was asked for: {body:?}")),
        }
    }

    fn turn_clocks(&mut self, event: &Event) -> Verdict {
        for touched in &event.touched {
            let Some(position) = self.clocks.iter().position(|clock| clock.is_of(touched)) else {
                continue;
            };
            let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
            let taken = number(&touched.used)? + number(&touched.held)?;
            let clock = &mut self.clocks[position];
            let (quota, turn) = (clock.quota, clock.turn(taken, event.log_time_ms));
            let key = Key::Clock(quota.resource);
            match turn {
                Turn::Began => {
                    let kind = if quota.kind == ClockKind::Grace { Kind::Grace } else { Kind::Burst };
                    self.after(key, kind, event, quota.length_ms);
                }
                Turn::Stopped => self.leave(key, event)?,
                Turn::None => {}
            }
        }
        Ok(())
    }

    /// A deadline is made, so long after an event.
    fn after(&mut self, key: Key, kind: Kind, event: &Event, length_ms: u64) {
        let (made, at) = (event.revision, event.log_time_ms + length_ms);
        self.pending.insert(key, Deadline { kind, made, at, length_ms: Some(length_ms), end: None });
    }

    /// A deadline is made, at a time.
    fn at(&mut self, key: Key, kind: Kind, made: u64, at: u64) {
        self.pending.insert(key, Deadline { kind, made, at, length_ms: None, end: None });
    }

    /// Something ends by time.
    fn end(&mut self, key: Key, event: &Event) -> Result<Deadline, String> {
        let deadline = self.pending.remove(&key).ok_or("it has ended already, or never was")?;
        if event.log_time_ms < deadline.at {
            return Err(format!("it is not its time: {deadline:?}"));
        }
        if self.entry.before >= deadline.at {
            return Err(format!("an entry before was at or after its time: {deadline:?}"));
        }
        let order = (deadline.kind == Kind::Hold, deadline.at);
        if order < self.entry.last {
            return Err(format!("something later has ended before it: {deadline:?}"));
        }
        self.entry.last = order;
        let end = Some(End { revision: event.revision, by_time: true });
        self.ended.push(Deadline { end, ..deadline });
        Ok(deadline)
    }

    /// Something, if it is pending, does not end by time any more.
    fn leave(&mut self, key: Key, event: &Event) -> Verdict {
        let Some(deadline) = self.pending.remove(&key) else {
            return Ok(());
        };
        if event.log_time_ms >= deadline.at {
            return Err(format!("it should have ended by then: {deadline:?}"));
        }
        let end = Some(End { revision: event.revision, by_time: false });
        self.ended.push(Deadline { end, ..deadline });
        Ok(())
    }
}
