//! What must hold of a run: the invariants S2 to S7, checked on the events that the cluster has in
//! the end, on what clients were told, and on what the nodes said of themselves on the way. What
//! must hold of time is in `deadlines`.

pub mod clock;
mod counters;
mod proofs;

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::client::v1::Event;
use quorate::client::v1::NodeStatus;
use quorate::client::v1::event::Body;
use quorate::client::v1::rejection::Reason;
use uuid::Uuid;

use crate::workload::Operation;
use crate::workload::Told;
use counters::Ledger;
pub use proofs::check_proofs;

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
mod tests;
