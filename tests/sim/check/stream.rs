//! S7: the stream of events has no gap and follows the log.

use quorate::client::v1::Event;

use super::Verdict;

/// Revisions are 1, 2, 3, … in the order of the log, and log time never goes back.
pub fn check(events: &[Event]) -> Verdict {
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
