//! What must hold of time: no clock that is wrong, no change of leader and no restart moves log
//! time or the end of a hold, an override or a loan. The judge is the time of the simulation, which no node can read.
//!
//! When exactly an event happened nobody sees from outside. But whoever asked for it knows that it
//! was between his sending and his answer; and one who reads all events again and again knows of
//! each that it had happened when he first saw it, and had not when he last did not.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::client::v1::Event;
use quorate::client::v1::event::Body;

use crate::check::Verdict;
use crate::cluster::EPOCH;
use crate::cluster::MAX_CLOCK_STEP;
use crate::cluster::SKEW_MS;
use crate::workload::Asked;
use crate::workload::Operation;

/// How far log time may be from the time of the simulation: a clock that is followed may be that
/// far from one that is right, and the right ones differ.
const TOLERANCE: Duration = Duration::from_millis(MAX_CLOCK_STEP.as_millis() as u64 + SKEW_MS);

/// How long a leader may take to end what is due: it learns the time, then writes an entry, perhaps
/// to slow disks.
const PROMPT: Duration = Duration::from_millis(1_500);

/// One look at the events.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub began: Duration,
    pub ended: Duration,
    /// The last event; `None` when nobody could tell, so that there may have been no leader.
    pub revision: Option<u64>,
}

/// Checks all events against what clients did and when, and against what was seen on the way. The
/// last look must have seen everything.
pub fn check_time(events: &[Event], history: &[Operation], looks: &[Look]) -> Verdict {
    let by_id: BTreeMap<String, &Operation> =
        history.iter().map(|operation| (operation.request_id.to_string(), operation)).collect();
    let mut deadlines: BTreeMap<u64, Deadline> = BTreeMap::new();
    for event in events {
        let operation = by_id.get(event.request_id.as_str());
        if let Some(operation) = operation {
            check_log_time(event, operation)?;
        }
        match (&event.body, operation.map(|operation| &operation.asked)) {
            (Some(Body::Reserved(_)), Some(Asked::Reserve { ttl_ms: Some(ttl_ms), .. })) => {
                deadlines.insert(event.revision, Deadline::new(operation, *ttl_ms));
            }
            (Some(Body::Renewed(_)), Some(Asked::Renew { hold, ttl_ms })) => {
                deadlines.insert(*hold, Deadline::new(operation, *ttl_ms));
            }
            (Some(Body::Committed(_)), Some(Asked::Commit(hold)))
            | (Some(Body::Released(_)), Some(Asked::Release(hold))) => {
                if let Some(deadline) = deadlines.remove(hold) {
                    deadline.check_late(event.revision, looks)?;
                }
            }
            (Some(Body::QuotaScheduled(_)), Some(Asked::Override { until_ms }))
            | (Some(Body::QuotaTransferred(_)), Some(Asked::Lend { until_ms })) => {
                deadlines.insert(event.revision, Deadline::at(*until_ms));
            }
            _ => {}
        }
        if let Some(ended) = ended(event) {
            let deadline = deadlines.remove(&ended).ok_or_else(|| format!("{ended} had no end"))?;
            deadline.check_early(event.revision, looks)?;
            deadline.check_late(event.revision, looks)?;
        }
    }
    deadlines.values().try_for_each(|deadline| deadline.check_late(u64::MAX, looks))
}

/// What time has ended by an event: a hold, an override or a loan, by the revision that made it.
fn ended(event: &Event) -> Option<u64> {
    match event.body.as_ref()? {
        Body::Expired(expired) => Some(expired.hold_id),
        Body::OverrideSwitched(switched) => Some(switched.schedule_id),
        Body::TransferReturned(returned) => Some(returned.transfer_id),
        _ => None,
    }
}

/// An entry was stamped while somebody waited for it.
fn check_log_time(event: &Event, operation: &Operation) -> Verdict {
    let log_time = Duration::from_millis(event.log_time_ms);
    let (first, last) = (EPOCH + operation.invoked - TOLERANCE, EPOCH + operation.returned + TOLERANCE);
    if (first..=last).contains(&log_time) {
        return Ok(());
    }
    Err(format!(
        "revision {} has log time {log_time:?}, which is not in {first:?}..={last:?}",
        event.revision
    ))
}

/// When a hold must end, in the time of the simulation.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    earliest: Duration,
    latest: Duration,
}

impl Deadline {
    fn new(operation: Option<&&Operation>, ttl_ms: u64) -> Self {
        let operation = operation.expect("it was matched with what was asked");
        let ttl = Duration::from_millis(ttl_ms);
        Self {
            earliest: (operation.invoked + ttl).saturating_sub(TOLERANCE),
            latest: operation.returned + ttl + TOLERANCE,
        }
    }

    /// A time since the Unix epoch.
    fn at(until_ms: u64) -> Self {
        let until = Duration::from_millis(until_ms) - EPOCH;
        Self { earliest: until.saturating_sub(TOLERANCE), latest: until + TOLERANCE }
    }

    /// It had not ended before its time when somebody saw that it had.
    fn check_early(&self, revision: u64, looks: &[Look]) -> Verdict {
        let seen = looks.iter().find(|look| look.revision >= Some(revision));
        match seen {
            None => Err(format!("revision {revision} was never seen")),
            Some(look) if look.ended < self.earliest => {
                Err(format!("revision {revision} ended a hold too early: {look:?}, {self:?}"))
            }
            Some(_) => Ok(()),
        }
    }

    /// From its time on it does not live long under a leader.
    fn check_late(&self, revision: u64, looks: &[Look]) -> Verdict {
        let mut led_since = None;
        for look in looks {
            let Some(seen) = look.revision else {
                led_since = None;
                continue;
            };
            let begin = *led_since.get_or_insert(look.ended);
            if seen < revision && look.began > self.latest.max(begin) + PROMPT {
                return Err(format!("before revision {revision} a hold lived too long: {look:?}, {self:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate::client::v1;
    use uuid::Uuid;

    use super::*;
    use crate::workload::Told;

    const SECOND: Duration = Duration::from_secs(1);

    /// A hold that is reserved at 10 s for 5 s, renewed at 12 s for another 5 s, and expires.
    struct Run {
        events: Vec<Event>,
        history: Vec<Operation>,
        looks: Vec<Look>,
    }

    impl Run {
        fn good() -> Self {
            let mut run = Self { events: Vec::new(), history: Vec::new(), looks: Vec::new() };
            let asked = Asked::Reserve { scope: "acme", amount: 1, ttl_ms: Some(5_000) };
            run.ask(10, asked, Body::Reserved(v1::Reserved::default()));
            run.ask(12, Asked::Renew { hold: 1, ttl_ms: 5_000 }, Body::Renewed(v1::Renewed::default()));
            run.happen(17, Body::Expired(v1::Expired { hold_id: 1, ..Default::default() }));
            for second in 1..30 {
                run.look(second);
            }
            run
        }

        fn happen(&mut self, second: u32, body: Body) {
            let time = EPOCH + second * SECOND;
            self.events.push(Event {
                revision: self.events.len() as u64 + 1,
                log_time_ms: u64::try_from(time.as_millis()).expect("a time"),
                body: Some(body),
                ..Default::default()
            });
        }

        fn ask(&mut self, second: u32, asked: Asked, body: Body) {
            let (invoked, returned) = (second * SECOND, second * SECOND + SECOND / 10);
            self.happen(second, body);
            let event = self.events.last_mut().expect("it has happened");
            let request_id = Uuid::from_u128(u128::from(event.revision));
            event.request_id = request_id.to_string();
            let told = Told::Granted { revision: event.revision, hold: None };
            self.history.push(Operation { request_id, asked, told, invoked, returned });
        }

        /// Sees what has happened by then.
        fn look(&mut self, second: u32) {
            let time = u64::try_from((EPOCH + second * SECOND).as_millis()).expect("a time");
            let revision = self.events.iter().filter(|event| event.log_time_ms <= time).count() as u64;
            let began = second * SECOND;
            self.looks.push(Look { began, ended: began + SECOND / 10, revision: Some(revision) });
        }

        fn check(&self) -> Verdict {
            check_time(&self.events, &self.history, &self.looks)
        }
    }

    #[test]
    fn a_good_run_passes() {
        assert_eq!(Run::good().check(), Ok(()));
    }

    #[test]
    fn a_hold_may_live_on_while_nobody_leads() {
        let mut run = Run::good();
        for look in &mut run.looks[16..24] {
            look.revision = None;
        }
        run.looks[24].revision = Some(2);
        assert_eq!(run.check(), Ok(()));
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
        let hour = 3_600_000;
        assert_caught(|run| run.events[1].log_time_ms += hour, "log time");
        assert_caught(|run| run.events[1].log_time_ms -= hour, "log time");
        // Ended at its first end, although it was renewed.
        assert_caught(|run| run.looks[14].revision = Some(3), "too early");
        assert_caught(|run| run.history[1].invoked += 2 * SECOND, "log time");
        assert_caught(
            |run| run.looks.iter_mut().for_each(|look| look.revision = look.revision.min(Some(2))),
            "never seen",
        );
        assert_caught(
            |run| {
                run.events.truncate(2);
                run.looks.iter_mut().for_each(|look| look.revision = look.revision.min(Some(2)));
            },
            "lived too long",
        );
        assert_caught(
            |run| run.looks[16..25].iter_mut().for_each(|look| look.revision = Some(2)),
            "lived too long",
        );
        // Committed long after its end.
        assert_caught(
            |run| {
                run.events.truncate(2);
                run.ask(25, Asked::Commit(1), Body::Committed(v1::Committed::default()));
                run.looks[16..24].iter_mut().for_each(|look| look.revision = Some(2));
            },
            "lived too long",
        );
    }
}
