//! What went wrong between the making of a deadline and its end. A run in which nothing did has shown
//! nothing, so this is counted, and over all seeds each kind of deadline must have had each of these
//! in between.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use quorate::client::v1::Event;
use quorate::client::v1::NodeStatus;
use quorate::client::v1::event::Body;

use super::Deadline;
use super::due::Kind;
use crate::cluster::Restart;
use crate::trace;

/// What may lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Between {
    /// It was ended by another leader than the one under which it was made.
    LeaderChange,
    /// Some node lost its power, and started with rows of the state in which it was pending.
    Restart,
    /// Some node was sent a snapshot in which it was pending.
    Snapshot,
    /// The clock of a leader was refused, since it had jumped ahead, …
    ClockAhead,
    /// … or back.
    ClockBehind,
}

impl Between {
    const ALL: [Self; 5] =
        [Self::LeaderChange, Self::Restart, Self::Snapshot, Self::ClockAhead, Self::ClockBehind];
}

/// Snapshots that nodes were sent, by node and last log index.
#[derive(Debug, Default)]
pub struct Installs(BTreeSet<(u64, u64)>);

impl Installs {
    /// Notes what a node says of itself. Only when it is sent a snapshot its log is purged up to the
    /// end of it: of its own it keeps some entries before.
    pub fn note(&mut self, status: &NodeStatus) {
        if status.snapshot_index > 0 && status.snapshot_index == status.purged_index {
            let id = status.member.as_ref().map_or(0, |member| member.node_id);
            self.0.insert((id, status.snapshot_index));
        }
    }
}

/// How many deadlines of each kind had each of these between their making and their end by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans(BTreeMap<(Kind, Between), u64>);

impl Default for Spans {
    fn default() -> Self {
        let cells = Kind::ALL.into_iter().flat_map(|kind| Between::ALL.map(|between| ((kind, between), 0)));
        Self(cells.collect())
    }
}

impl Spans {
    pub fn count(
        deadlines: &[Deadline],
        events: &[Event],
        restarts: &[Restart],
        installs: &Installs,
    ) -> Self {
        let mut spans = Self::default();
        for deadline in deadlines {
            let Some(end) = deadline.end.filter(|end| end.by_time) else {
                continue;
            };
            let between = &events[position(deadline.made)..=position(end.revision)];
            let (first, last) = (&between[0], &between[between.len() - 1]);
            let refused: Vec<bool> = between.iter().filter_map(refused_ahead).collect();
            let restarted = |restart: &Restart| (deadline.made..end.revision).contains(&restart.revision);
            let installed = |(_, index): &(u64, u64)| (first.raft_index..last.raft_index).contains(index);
            for (between, seen) in [
                (Between::LeaderChange, first.raft_term < last.raft_term),
                (Between::Restart, restarts.iter().any(restarted)),
                (Between::Snapshot, installs.0.iter().any(installed)),
                (Between::ClockAhead, refused.contains(&true)),
                (Between::ClockBehind, refused.contains(&false)),
            ] {
                spans.add((deadline.kind, between), u64::from(seen));
            }
        }
        spans
    }

    fn add(&mut self, cell: (Kind, Between), count: u64) {
        *self.0.get_mut(&cell).expect("there is a cell for everything") += count;
    }

    /// Adds what a run wrote into its trace.
    pub fn add_trace(&mut self, trace: &str) {
        for ((kind, between), total) in &mut self.0 {
            let counts = trace.lines().filter_map(|line| line.split_once(&words(*kind, *between)));
            let counts = counts.map(|(_, count)| count.trim().parse::<u64>().expect("a trace has counts"));
            *total += counts.sum::<u64>();
        }
    }

    /// What no deadline of some kind had in between.
    pub fn missing(&self) -> Vec<String> {
        let unseen = self.0.iter().filter(|(_, count)| **count == 0);
        unseen.map(|((kind, between), _)| format!("{kind:?} over {between:?}")).collect()
    }

    /// Writes it into the trace.
    pub fn trace(&self) {
        for ((kind, between), count) in &self.0 {
            trace::line(format_args!("{} {count}", words(*kind, *between)));
        }
    }
}

/// How a trace tells a count.
fn words(kind: Kind, between: Between) -> String {
    format!("deadlines of {kind:?} over {between:?}:")
}

fn position(revision: u64) -> usize {
    usize::try_from(revision - 1).expect("as many events as fit in memory")
}

/// Of an event by which a clock was refused: whether it was ahead.
fn refused_ahead(event: &Event) -> Option<bool> {
    match &event.body {
        Some(Body::TimeRefused(refused)) => Some(refused.clock_ms > event.log_time_ms),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use quorate::client::v1;

    use super::super::due::End;
    use super::*;

    /// Events of one entry each; the fourth refuses a clock that was ahead, the sixth is of another leader.
    fn events() -> Vec<Event> {
        let event = |revision| Event {
            revision,
            log_time_ms: revision * 100,
            raft_index: revision * 10,
            raft_term: 1 + u64::from(revision >= 6),
            ..Default::default()
        };
        let mut events: Vec<Event> = (1..=8).map(event).collect();
        let refused = v1::TimeRefused { clock_ms: 7_200_000, node_id: 1 };
        events[3].body = Some(Body::TimeRefused(refused));
        events
    }

    fn loan(made: u64, revision: u64, by_time: bool) -> Deadline {
        let end = Some(End { revision, by_time });
        Deadline { kind: Kind::Loan, made, at: revision * 100, length_ms: None, end }
    }

    fn count(deadline: Deadline) -> Vec<Between> {
        let mut installs = Installs::default();
        let status =
            |snapshot_index, purged_index| NodeStatus { snapshot_index, purged_index, ..Default::default() };
        installs.note(&status(0, 0));
        installs.note(&status(75, 55));
        installs.note(&status(25, 25));
        let restarts = [Restart { node: 1, revision: 3 }];
        let Spans(cells) = Spans::count(&[deadline], &events(), &restarts, &installs);
        let seen = cells.into_iter().filter(|(_, count)| *count > 0);
        seen.map(|((_, between), _)| between).collect()
    }

    #[test]
    fn what_lies_between_is_counted_and_nothing_else() {
        let all_but_behind =
            [Between::LeaderChange, Between::Restart, Between::Snapshot, Between::ClockAhead];
        assert_eq!(count(loan(1, 8, true)), all_but_behind);
        assert_eq!(count(loan(1, 8, false)), []);
        assert_eq!(count(loan(3, 5, true)), [Between::Restart, Between::ClockAhead]);
        assert_eq!(count(loan(1, 3, true)), [Between::Snapshot]);
        assert_eq!(count(loan(5, 6, true)), [Between::LeaderChange]);
        assert_eq!(count(loan(6, 8, true)), []);
    }

    #[test]
    fn what_no_deadline_had_in_between_is_missed() {
        let mut spans = Spans::default();
        let everything = Kind::ALL.len() * Between::ALL.len();
        assert_eq!(spans.missing().len(), everything);
        spans.add_trace("  10 deadlines of Hold over Restart: 3\n  10 deadlines of Loan over Restart: 0\n");
        assert_eq!(spans.missing().len(), everything - 1);
        assert!(!spans.missing().contains(&"Hold over Restart".to_owned()));
    }
}
