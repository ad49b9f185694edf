//! What must hold of time: no clock that is wrong, no change of leader, no restart and no snapshot
//! moves log time, or the end of anything that ends by itself. The judge of log time is the time of
//! the simulation, which no node can read.
//!
//! | file | subject |
//! |---|---|
//! | `due` | which deadlines there were, and when they ended in log time: exactly |
//! | `spans` | what went wrong between the making and the end of each |
//! | here | when they ended in the time of the simulation |
//!
//! When exactly an event happened nobody sees from outside. But whoever asked for it knows that it
//! was between his sending and his answer; and one who reads all events again and again knows of
//! each that it had happened when he first saw it, and had not when he last did not.

mod due;
pub mod spans;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use quorate::client::v1::Event;
use quorate::client::v1::event::Body;

use crate::check::Verdict;
use crate::cluster::EPOCH;
use crate::cluster::MAX_CLOCK_STEP;
use crate::cluster::SKEW_MS;
use crate::faults::WRONG_BY;
use crate::workload::Operation;
pub use due::Deadline;
use due::deadlines;

/// How far log time may be from the time of the simulation: a clock that is followed may be that
/// far from one that is right, and the right ones differ.
pub const TOLERANCE: Duration = Duration::from_millis(MAX_CLOCK_STEP.as_millis() as u64 + SKEW_MS);

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
/// last look must have seen everything. Returns the deadlines there were.
pub fn check_time(events: &[Event], history: &[Operation], looks: &[Look]) -> Result<Vec<Deadline>, String> {
    let by_id: BTreeMap<String, &Operation> =
        history.iter().map(|operation| (operation.request_id.to_string(), operation)).collect();
    for event in events {
        if let Some(operation) = by_id.get(&event.request_id) {
            check_log_time(event, operation)?;
        }
        check_refusal(event)?;
    }
    let deadlines = deadlines(events, &by_id)?;
    for deadline in &deadlines {
        let made = usize::try_from(deadline.made - 1).expect("as many events as fit in memory");
        let window = Window::of(deadline, by_id.get(&events[made].request_id))?;
        match deadline.end {
            Some(end) => {
                if end.by_time {
                    window.check_early(end.revision, looks)?;
                }
                window.check_late(end.revision, looks)?;
            }
            None => window.check_late(u64::MAX, looks)?,
        }
    }
    Ok(deadlines)
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

/// Only a clock that was set wrong is refused, and that is by an hour at least.
fn check_refusal(event: &Event) -> Verdict {
    let Some(Body::TimeRefused(refused)) = &event.body else {
        return Ok(());
    };
    let wrong_by = Duration::from_millis(refused.clock_ms.abs_diff(event.log_time_ms));
    if wrong_by + TOLERANCE >= WRONG_BY {
        return Ok(());
    }
    Err(format!("revision {} refuses a clock that was wrong by {wrong_by:?} only", event.revision))
}

/// When something must end, in the time of the simulation.
struct Window<'a> {
    deadline: &'a Deadline,
    earliest: Duration,
    latest: Duration,
}

impl<'a> Window<'a> {
    /// Of a deadline, given who asked for what made it.
    fn of(deadline: &'a Deadline, made_by: Option<&&Operation>) -> Result<Self, String> {
        let (first, last) = match deadline.length_ms {
            Some(length_ms) => {
                let length = Duration::from_millis(length_ms);
                let made_by = made_by.ok_or_else(|| format!("nobody asked for {deadline:?}"))?;
                (made_by.invoked + length, made_by.returned + length)
            }
            None => {
                let at = Duration::from_millis(deadline.at).saturating_sub(EPOCH);
                (at, at)
            }
        };
        Ok(Self { deadline, earliest: first.saturating_sub(TOLERANCE), latest: last + TOLERANCE })
    }

    /// It had not ended before its time when somebody saw that it had.
    fn check_early(&self, revision: u64, looks: &[Look]) -> Verdict {
        let seen = looks.iter().find(|look| look.revision >= Some(revision));
        match seen {
            None => Err(format!("revision {revision} was never seen")),
            Some(look) if look.ended < self.earliest => {
                Err(format!("revision {revision} came too early: {look:?}, {self}"))
            }
            Some(_) => Ok(()),
        }
    }

    /// From its time on it does not last long under a leader.
    fn check_late(&self, revision: u64, looks: &[Look]) -> Verdict {
        let mut led_since = None;
        for look in looks {
            let Some(seen) = look.revision else {
                led_since = None;
                continue;
            };
            let begin = *led_since.get_or_insert(look.ended);
            if seen < revision && look.began > self.latest.max(begin) + PROMPT {
                return Err(format!("before revision {revision} it lasted too long: {look:?}, {self}"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {:?} to {:?}", self.deadline, self.earliest, self.latest)
    }
}

#[cfg(test)]
mod tests;
