//! What must hold of a run: the invariants, one a file, checked on the events that the cluster has in the
//! end, on what clients were told, on what the nodes said of themselves on the way, and on their disks.
//!
//! | file | invariant |
//! |---|---|
//! | `real_time`, `linear` | S1, of commands as the log shows it, and as a search finds it that knows no log; of reads in `../reads/` |
//! | `once` | S2 no acknowledged command is lost, S3 each takes effect once and is answered as it was decided |
//! | `counters`, `clock` | S4 conservation and ceilings, counted once more |
//! | `agreement` | S5 equal digests at equal revision, on every node and at all times |
//! | `raft` | S6 what Raft promises, of the logs on the disks |
//! | `stream`, `proofs` | S7 the stream of events has no gap, its decisions follow, its tree is what nodes sign; of watchers in `../watchers` |
//! | `stops` | S8 who meets a failed or damaged disk stops, and nobody else does |
//! | `progress` | L2 a majority goes on while a fault lasts |
//!
//! That everything heals (L1) `../run` shows, which waits for it. What must hold of time is in
//! `../deadlines/`.

pub mod agreement;
pub mod clock;
mod counters;
pub mod linear;
mod once;
pub mod progress;
pub mod proofs;
pub mod raft;
mod real_time;
pub mod stops;
mod stream;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use quorate::client::v1::Event;
use quorate::client::v1::event::Body;
use quorate::codec::event;
use quorate::ledger::ResourceId;
use quorate::ledger::State;

use crate::workload::Asked;
use crate::workload::Operation;
use counters::Ledger;

/// What is wrong, in words.
pub type Verdict = Result<(), String>;

/// Checks events against what clients asked and were told. Every operation must have been
/// answered, so nothing may be left over on either side.
pub fn check_history(events: &[Event], history: &[Operation]) -> Verdict {
    stream::check(events)?;
    once::check(events, history)?;
    real_time::check(events, history)?;
    let mut ledger = Ledger::default();
    let by_id = operations(history);
    let elsewhere = elsewhere(events, &by_id);
    events.iter().filter(|event| !elsewhere.contains(&event.revision)).try_for_each(|event| {
        match by_id.get(event.request_id.as_str()) {
            Some(operation) => ledger.replay(event, operation),
            None => ledger.replay_time(event),
        }
    })
}

/// Lets an event happen, as it stands in the stream, to the state before it.
pub fn fold(state: &mut State, event: &Event) -> Verdict {
    let decimals = |id: ResourceId| state.resources().get(id.0 as usize).map(|resource| resource.decimals);
    let event = event::decode(event.clone(), &decimals).map_err(|error| error.to_string())?;
    state.evolve(&event);
    Ok(())
}

/// Whether nobody asked for an event: it was time.
fn is_by_time(event: &Event) -> bool {
    event.request_id.is_empty()
}

/// Operations by their ids.
pub fn operations(history: &[Operation]) -> BTreeMap<String, &Operation> {
    history.iter().map(|operation| (operation.request_id.to_string(), operation)).collect()
}

/// The events that came of commands to trees of which nobody keeps account here, at once or by time.
pub fn elsewhere(events: &[Event], by_id: &BTreeMap<String, &Operation>) -> BTreeSet<u64> {
    let mut elsewhere = BTreeSet::new();
    for event in events {
        let is_asked =
            by_id.get(&event.request_id).is_some_and(|operation| operation.asked == Asked::Elsewhere);
        let made = match &event.body {
            _ if !is_by_time(event) => None,
            Some(Body::Expired(expired)) => Some(expired.hold_id),
            Some(Body::OverrideSwitched(switched)) => Some(switched.schedule_id),
            Some(Body::ScheduleFailed(failed)) => Some(failed.schedule_id),
            Some(Body::QuotaSet(set)) => Some(set.schedule_id),
            Some(Body::TransferReturned(returned)) => Some(returned.transfer_id),
            _ => None,
        };
        if is_asked || made.is_some_and(|made| elsewhere.contains(&made)) {
            elsewhere.insert(event.revision);
        }
    }
    elsewhere
}

#[cfg(test)]
mod tests;
