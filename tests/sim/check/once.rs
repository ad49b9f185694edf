//! S2 and S3: what was acknowledged is there, once, in the name of who asked, and as it was answered.

use quorate::client::v1::Event;
use quorate::client::v1::event::Body;
use quorate::client::v1::rejection::Reason;

use super::Verdict;
use super::is_by_time;
use super::operations;
use crate::workload::Asked;
use crate::workload::Operation;
use crate::workload::Told;

/// Every answered command has taken effect once, and its event says what its client was told.
pub fn check(events: &[Event], history: &[Operation]) -> Verdict {
    let mut left = operations(history);
    let asked: Vec<&Event> = events.iter().filter(|event| !is_by_time(event)).collect();
    // Some commands lead to several events; they are told of the last.
    for events in asked.chunk_by(|one, next| one.request_id == next.request_id) {
        let event = events[events.len() - 1];
        let operation = left.remove(&event.request_id).filter(|operation| {
            events.len() == 1
                || (operation.asked == Asked::Elsewhere && events[0].raft_index == event.raft_index)
        });
        let operation = operation.ok_or_else(|| {
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
            Told::Rejected { revision } => revision == event.revision && rejected.is_some(),
            Told::TooLate => matches!(rejected, Some(Reason::ScheduleConflict(_) | Reason::Malformed(_))),
        };
        if event.actor != operation.actor {
            return Err(format!(
                "revision {} is {}'s, it must be {}'s",
                event.revision, event.actor, operation.actor
            ));
        }
        if !agrees {
            return Err(format!("{operation:?} is not what happened at revision {}", event.revision));
        }
    }
    match left.values().next() {
        Some(lost) => Err(format!("lost: {lost:?}")),
        None => Ok(()),
    }
}
