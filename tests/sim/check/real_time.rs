//! S1, as the log shows it: commands are in it in an order that agrees with real time.

use std::time::Duration;

use quorate::client::v1::Event;
use uuid::Uuid;

use super::Verdict;
use super::is_by_time;
use super::operations;
use crate::workload::Operation;

/// What was answered before another was first sent also comes before it.
pub fn check(events: &[Event], history: &[Operation]) -> Verdict {
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
