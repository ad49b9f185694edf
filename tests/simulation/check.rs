//! What must hold of a run: the invariants S2 to S7, checked on the events that the cluster has in
//! the end, on what clients were told, and on what the nodes said of themselves on the way. What
//! must hold of time is in `expiry`.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::client::v1::Event;
use quorate::client::v1::NodeStatus;
use quorate::client::v1::event::Body;
use quorate::client::v1::rejection::Reason;
use uuid::Uuid;

use crate::workload::Asked;
use crate::workload::LENT;
use crate::workload::Operation;
use crate::workload::SCOPES;
use crate::workload::Told;

/// What is wrong, in words.
pub type Verdict = Result<(), String>;

/// Checks events against what clients asked and were told. Every operation must have been
/// answered, so nothing may be left over on either side.
pub fn check_history(events: &[Event], history: &[Operation]) -> Verdict {
    check_stream(events)?;
    check_once(events, history)?;
    check_real_time(events, history)?;
    let mut ledger = Ledger::default();
    let by_id = operations(history);
    events.iter().try_for_each(|event| match by_id.get(event.request_id.as_str()) {
        Some(operation) => ledger.replay(event, operation),
        None => ledger.replay_time(event),
    })
}

/// Whether nobody asked for an event: it was time.
fn is_by_time(event: &Event) -> bool {
    event.request_id.is_empty()
}

fn operations(history: &[Operation]) -> BTreeMap<String, &Operation> {
    history.iter().map(|operation| (operation.request_id.to_string(), operation)).collect()
}

/// S6 and S7: revisions are 1, 2, 3, … in the order of the log, and log time never goes back.
fn check_stream(events: &[Event]) -> Verdict {
    for (event, revision) in events.iter().zip(1..) {
        if event.revision != revision {
            return Err(format!("revision {} stands where {revision} should", event.revision));
        }
    }
    for pair in events.windows(2) {
        let revision = pair[1].revision;
        if pair[0].log_time_ms > pair[1].log_time_ms {
            return Err(format!("log time goes back at revision {revision}"));
        }
        // Log ids are ordered by leader, and a term may have several leaders, of which each takes
        // over from one with a smaller number: the term alone is never smaller than before.
        if pair[0].raft_term > pair[1].raft_term || pair[0].raft_index > pair[1].raft_index {
            return Err(format!("revision {revision} stands before {} in the log", pair[0].revision));
        }
    }
    Ok(())
}

/// S2 and S3: every answered command has exactly one event, which says what its client was told.
fn check_once(events: &[Event], history: &[Operation]) -> Verdict {
    let mut left = operations(history);
    for event in events.iter().filter(|event| !is_by_time(event)) {
        let operation = left.remove(&event.request_id).ok_or_else(|| {
            format!("revision {}: {} took effect twice, or nobody asked", event.revision, event.request_id)
        })?;
        let rejected = match &event.body {
            Some(Body::Rejected(rejected)) => rejected.rejection.as_ref().and_then(|it| it.reason.as_ref()),
            _ => None,
        };
        let agrees = match operation.told {
            Told::Granted { revision, hold } => {
                let done = !matches!(event.body, Some(Body::Rejected(_)));
                done && revision == event.revision && hold.is_none_or(|hold| hold == event.revision)
            }
            Told::Denied => matches!(rejected, Some(Reason::Denied(_))),
            Told::Closed => matches!(rejected, Some(Reason::HoldClosed(_))),
            Told::TooLate => matches!(rejected, Some(Reason::ScheduleConflict(_) | Reason::Malformed(_))),
        };
        if !agrees {
            return Err(format!("{operation:?} is not what happened at revision {}", event.revision));
        }
    }
    match left.values().next() {
        Some(lost) => Err(format!("lost: {lost:?}")),
        None => Ok(()),
    }
}

/// S1 for commands: what was answered before another was first sent also comes before it.
fn check_real_time(events: &[Event], history: &[Operation]) -> Verdict {
    let by_id = operations(history);
    let mut latest: Option<(Duration, Uuid)> = None;
    for event in events.iter().filter(|event| !is_by_time(event)) {
        let operation = by_id[event.request_id.as_str()];
        if let Some((invoked, other)) = latest
            && operation.returned < invoked
        {
            return Err(format!(
                "{} was answered before {other} was sent, and comes after it",
                event.request_id
            ));
        }
        latest = latest.max(Some((operation.invoked, operation.request_id)));
    }
    Ok(())
}

/// S4: the counters, counted once more.
#[derive(Default)]
struct Ledger {
    /// Used and held, by scope.
    counters: BTreeMap<&'static str, (u64, u64)>,
    holds: BTreeMap<u64, Hold>,
}

/// A live hold.
struct Hold {
    scope: &'static str,
    amount: u64,
    committed: bool,
    /// In log time; `None` while it lives until it is resolved.
    expires_at: Option<u64>,
}

impl Ledger {
    fn replay(&mut self, event: &Event, operation: &Operation) -> Verdict {
        let wrong = |problem: &str| Err(format!("revision {}: {problem}: {operation:?}", event.revision));
        let no_hold = || format!("revision {}: no such hold: {operation:?}", event.revision);
        match (&operation.asked, &event.body) {
            // When they end is looked at in `expiry`.
            (Asked::Setup | Asked::Override { .. } | Asked::Lend { .. }, _) => {}
            (Asked::Reserve { scope, amount, ttl_ms }, Some(Body::Reserved(_))) => {
                let expires_at = ttl_ms.map(|ttl_ms| event.log_time_ms + ttl_ms);
                let hold = Hold { scope, amount: *amount, committed: false, expires_at };
                self.holds.insert(event.revision, hold);
                for (path, limit) in path_up(scope) {
                    let (used, held) = self.counters.entry(path).or_default();
                    *held += amount;
                    if *used + *held > limit {
                        return wrong(&format!("{path} has more than {limit}"));
                    }
                }
            }
            (Asked::Reserve { scope, amount, .. }, Some(Body::Rejected(_))) => {
                let full = path_up(scope).any(|(path, limit)| {
                    let (used, held) = self.counters.get(path).copied().unwrap_or_default();
                    used + held + amount > limit
                });
                if !full {
                    return wrong("denied although there was room");
                }
            }
            (Asked::Commit(hold), Some(Body::Committed(_))) => {
                let hold =
                    self.holds.get_mut(hold).filter(|hold| !hold.is_dead(event)).ok_or_else(no_hold)?;
                hold.committed = true;
                hold.expires_at = None;
                for (path, _) in path_up(hold.scope) {
                    let (used, held) = self.counters.entry(path).or_default();
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

    /// What happens although nobody asked: holds end, not before their time.
    fn replay_time(&mut self, event: &Event) -> Verdict {
        let wrong = |problem: &str| Err(format!("revision {}: {problem}: {event:?}", event.revision));
        match &event.body {
            Some(Body::Expired(expired)) => match self.holds.remove(&expired.hold_id) {
                Some(hold) if hold.is_dead(event) => match self.give_back(&hold) {
                    Some(()) => self.compare(event),
                    None => wrong("less is held than that"),
                },
                _ => wrong("expired although it is not its time"),
            },
            Some(Body::TimeRefused(_) | Body::OverrideSwitched(_) | Body::TransferReturned(_)) => Ok(()),
            _ => wrong("nobody asked"),
        }
    }

    fn give_back(&mut self, hold: &Hold) -> Option<()> {
        for (path, _) in path_up(hold.scope) {
            let (used, held) = self.counters.entry(path).or_default();
            let counter = if hold.committed { used } else { held };
            *counter = counter.checked_sub(hold.amount)?;
        }
        Some(())
    }

    fn compare(&self, event: &Event) -> Verdict {
        for touched in event.touched.iter().filter(|touched| touched.resource != LENT) {
            let (used, held) = self.counters.get(touched.scope.as_str()).copied().unwrap_or_default();
            if (&touched.used, &touched.held) != (&used.to_string(), &held.to_string()) {
                return Err(format!(
                    "revision {}: {} has used {}, held {} instead of {used}, {held}",
                    event.revision, touched.scope, touched.used, touched.held
                ));
            }
        }
        Ok(())
    }
}

impl Hold {
    /// Whether it was over at the log time of an event.
    fn is_dead(&self, event: &Event) -> bool {
        self.expires_at.is_some_and(|end| event.log_time_ms >= end)
    }
}

/// A scope and those above it, with their limits.
fn path_up(scope: &str) -> impl Iterator<Item = (&'static str, u64)> {
    SCOPES.into_iter().filter(move |(path, _)| scope == *path || scope.starts_with(&format!("{path}/")))
}

/// What nodes said of themselves during a run.
#[derive(Default)]
pub struct Observations {
    digests: BTreeMap<u64, (String, u64)>,
}

impl Observations {
    /// S5: equal digests at equal revision; now and ever before.
    pub fn add(&mut self, node: &NodeStatus) -> Verdict {
        let id = node.member.as_ref().map_or(0, |member| member.node_id);
        let (digest, other) = self.digests.entry(node.revision).or_insert_with(|| (node.digest.clone(), id));
        if *digest != node.digest {
            let mine = &node.digest;
            return Err(format!("revision {}: node {id} has {mine}, node {other} {digest}", node.revision));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate::client::v1;

    use super::*;

    /// Events as the ledger would make them, and the clients they belong to.
    #[derive(Default)]
    struct Run {
        events: Vec<Event>,
        history: Vec<Operation>,
    }

    fn rejected(reason: Reason) -> Body {
        let rejection = Some(v1::Rejection { reason: Some(reason), ..Default::default() });
        Body::Rejected(v1::Rejected { rejection, ..Default::default() })
    }

    impl Run {
        fn add(&mut self, asked: Asked, told: Told, body: Body, counters: &[(&str, u64, u64)]) {
            let number = self.events.len() as u64 + 1;
            let time = Duration::from_millis(number * 10);
            let request_id = Uuid::from_u128(u128::from(number));
            let returned = time + Duration::from_millis(5);
            self.history.push(Operation { request_id, asked, told, invoked: time, returned });
            let touched = counters.iter().map(|(scope, used, held)| v1::Touched {
                scope: (*scope).to_owned(),
                used: used.to_string(),
                held: held.to_string(),
                ..Default::default()
            });
            self.events.push(Event {
                revision: number,
                log_time_ms: number * 100,
                request_id: request_id.to_string(),
                touched: touched.collect(),
                body: Some(body),
                ..Default::default()
            });
        }

        fn reserve(&mut self, amount: u64, counters: &[(&str, u64, u64)]) {
            let revision = self.events.len() as u64 + 1;
            let told = Told::Granted { revision, hold: Some(revision) };
            let body = Body::Reserved(v1::Reserved::default());
            let asked = Asked::Reserve { scope: "acme/web", amount, ttl_ms: None };
            self.add(asked, told, body, counters);
        }

        fn deny(&mut self, amount: u64) {
            let asked = Asked::Reserve { scope: "acme/web", amount, ttl_ms: None };
            self.add(asked, Told::Denied, rejected(Reason::Denied(v1::rejection::Denied::default())), &[]);
        }

        /// A hold of 1 that lives for 50 ms, and its end so many milliseconds later.
        fn expire_after(&mut self, ms: u64) {
            let revision = self.events.len() as u64 + 1;
            let told = Told::Granted { revision, hold: Some(revision) };
            let asked = Asked::Reserve { scope: "acme/ml", amount: 1, ttl_ms: Some(50) };
            let body = Body::Reserved(v1::Reserved::default());
            self.add(asked, told, body, &[("acme/ml", 0, 1), ("acme", 0, 3)]);
            let mut event = self.events.last().expect("it was added").clone();
            event.revision += 1;
            event.log_time_ms += ms;
            event.request_id.clear();
            event.body = Some(Body::Expired(v1::Expired { hold_id: revision, ..Default::default() }));
            event.touched.iter_mut().for_each(|touched| touched.held = "0".to_owned());
            event.touched[1].held = "2".to_owned();
            self.events.push(event);
        }

        fn check(&self) -> Verdict {
            check_history(&self.events, &self.history)
        }

        /// Two holds, of which one is committed and then released, a denial, a third that expires, and
        /// a command that came too late.
        fn good() -> Self {
            let mut run = Self::default();
            let done = |revision| Told::Granted { revision, hold: None };
            run.reserve(4, &[("acme/web", 0, 4), ("acme", 0, 4)]);
            run.reserve(2, &[("acme/web", 0, 6), ("acme", 0, 6)]);
            run.deny(1);
            let committed = Body::Committed(v1::Committed::default());
            run.add(Asked::Commit(1), done(4), committed, &[("acme/web", 4, 2), ("acme", 4, 2)]);
            let released = Body::Released(v1::Released::default());
            run.add(Asked::Release(1), done(5), released, &[("acme/web", 0, 2), ("acme", 0, 2)]);
            run.expire_after(50);
            let closed = rejected(Reason::HoldClosed(v1::rejection::HoldClosed::default()));
            run.add(Asked::Commit(6), Told::Closed, closed, &[]);
            run
        }
    }

    #[test]
    fn a_good_run_passes() {
        assert_eq!(Run::good().check(), Ok(()));
    }

    #[track_caller]
    fn assert_caught(spoil: impl FnOnce(&mut Run), problem: &str) {
        let mut run = Run::good();
        spoil(&mut run);
        let verdict = run.check().expect_err("it is caught");
        assert!(verdict.contains(problem), "{verdict}");
    }

    #[test]
    fn every_kind_of_wrong_is_caught() {
        assert_caught(|run| run.events[2].revision = 7, "stands where 3 should");
        assert_caught(|run| run.events[1].log_time_ms = 9, "log time goes back");
        assert_caught(|run| run.events[1].raft_index = 9, "in the log");
        assert_caught(|run| run.events.truncate(7), "lost");
        assert_caught(|run| run.history.truncate(4), "nobody asked");
        assert_caught(
            |run| {
                let mut again = run.events[4].clone();
                (again.revision, again.log_time_ms) = (9, 900);
                run.events.push(again);
            },
            "took effect twice",
        );
        assert_caught(
            |run| run.history[2].told = Told::Granted { revision: 3, hold: Some(3) },
            "not what happened",
        );
        assert_caught(|run| run.history[0].told = Told::Denied, "not what happened");
        assert_caught(|run| run.history[3].invoked = Duration::from_secs(1), "comes after it");
        assert_caught(|run| run.reserve(5, &[]), "more than 6");
        assert_caught(|run| run.deny(4), "there was room");
        assert_caught(|run| run.events[3].touched[0].held = "3".to_owned(), "instead of");
        assert_caught(|run| run.history[3].asked = Asked::Commit(3), "no such hold");
        assert_caught(|run| run.events[6].log_time_ms -= 1, "not its time");
        assert_caught(
            |run| {
                run.events[6].body = Some(Body::Expired(v1::Expired { hold_id: 2, ..Default::default() }));
            },
            "not its time",
        );
        assert_caught(|run| run.events[6].body = run.events[5].body.clone(), "nobody asked");
        assert_caught(|run| run.events[6].touched[0].held = "1".to_owned(), "instead of");
        assert_caught(|run| run.history[6].asked = Asked::Commit(2), "the hold is live");
        assert_caught(|run| run.history[6].told = Told::Denied, "not what happened");
    }

    #[test]
    fn nodes_that_disagree_are_caught() {
        let status = |node_id, digest: &str| NodeStatus {
            member: Some(v1::Member { node_id, ..Default::default() }),
            revision: 4,
            digest: digest.to_owned(),
            ..Default::default()
        };
        let mut seen = Observations::default();
        assert_eq!(seen.add(&status(1, "a")), Ok(()));
        assert_eq!(seen.add(&status(2, "a")), Ok(()));
        assert!(seen.add(&status(3, "b")).is_err(), "two digests at one revision");
    }
}
