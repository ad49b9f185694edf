//! The newest events, decoded once for all who watch. What is in here is bounded; a watcher who is
//! further behind than it goes reads from the disk.
//!
//! While nobody is near the head it is empty, and nothing is read for it.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message as _;

use crate::ledger::Revision;
use crate::proto::v1;

/// The most bytes of events, as they are encoded.
const MAX_BYTES: usize = 8 << 20;

/// The most events.
const MAX_EVENTS: usize = 32_768;

/// One event with its size.
#[derive(Debug, Clone)]
pub(super) struct Sized {
    pub(super) event: Arc<v1::Event>,
    pub(super) bytes: usize,
}

/// The newest events up to the head that watchers were told of.
#[derive(Debug)]
pub(super) struct Tail {
    events: VecDeque<Sized>,
    bytes: usize,
    /// The revision that comes next: events up to here were told of.
    next: Revision,
    /// How many watchers wait for it.
    near: usize,
}

/// What a watcher finds.
#[derive(Debug)]
pub(super) enum Found {
    /// These come next; none when nothing is there yet.
    Events(Vec<Sized>),
    /// What comes next is not here any more.
    Gone,
}

impl Tail {
    /// Nothing yet, after a revision.
    pub(super) fn after(head: Revision) -> Self {
        Self { events: VecDeque::new(), bytes: 0, next: head + 1, near: 0 }
    }

    /// Lets a watcher join that has seen everything up to a revision. Whether it could: it must have
    /// seen all that was told of.
    pub(super) fn join(&mut self, seen: Revision) -> bool {
        let is_near = seen + 1 >= self.next;
        self.near += usize::from(is_near);
        is_near
    }

    /// A watcher that had joined is gone, or too far behind.
    pub(super) fn leave(&mut self) {
        self.near = self.near.checked_sub(1).expect("who leaves has joined");
    }

    /// The first revision to be read for a head that moved on; none when nobody wants it, or when so
    /// much came at once that most of it would be dropped again. Then this is empty.
    pub(super) fn wanted(&mut self, head: Revision) -> Option<Revision> {
        let news = (head + 1).saturating_sub(self.next);
        if self.near > 0 && news <= MAX_EVENTS as u64 {
            return Some(self.next);
        }
        self.skip(head);
        None
    }

    /// Drops everything, and goes on after a head.
    pub(super) fn skip(&mut self, head: Revision) {
        self.events.clear();
        self.bytes = 0;
        self.next = self.next.max(head + 1);
    }

    /// Adds what comes next.
    pub(super) fn extend(&mut self, events: Vec<v1::Event>) {
        for event in events {
            assert_eq!(event.revision, self.next, "events come in order, each once");
            self.next += 1;
            let bytes = event.encoded_len();
            self.bytes += bytes;
            self.events.push_back(Sized { event: Arc::new(event), bytes });
            while self.events.len() > 1 && (self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES) {
                self.bytes -= self.events.pop_front().map_or(0, |oldest| oldest.bytes);
            }
        }
    }

    /// What comes after a revision: at most so many, and no more than `most_bytes` unless one alone
    /// has more.
    pub(super) fn after_revision(&self, seen: Revision, most: usize, most_bytes: usize) -> Found {
        let first = self.next - self.events.len() as u64;
        if seen + 1 < first {
            return Found::Gone;
        }
        let passed_over = usize::try_from(seen + 1 - first).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |event: &&Sized| {
            let is_first = bytes == 0;
            bytes += event.bytes;
            is_first || bytes <= most_bytes
        };
        let rest = self.events.range(passed_over.min(self.events.len())..);
        Found::Events(rest.take(most).take_while(fits).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(revisions: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<v1::Event> {
        let actor = "x".repeat(bytes);
        revisions.map(|revision| v1::Event { revision, actor: actor.clone(), ..Default::default() }).collect()
    }

    fn found(tail: &Tail, seen: u64, most: usize, most_bytes: usize) -> Option<Vec<u64>> {
        match tail.after_revision(seen, most, most_bytes) {
            Found::Events(events) => Some(events.iter().map(|sized| sized.event.revision).collect()),
            Found::Gone => None,
        }
    }

    #[test]
    fn a_watcher_takes_what_comes_after_what_it_has_seen() {
        let mut tail = Tail::after(4);
        assert!(tail.join(4));
        assert_eq!(tail.wanted(7), Some(5));
        tail.extend(events(5..=7, 1));
        assert_eq!(found(&tail, 4, 10, 1_000), Some(vec![5, 6, 7]));
        assert_eq!(found(&tail, 4, 2, 1_000), Some(vec![5, 6]));
        assert_eq!(found(&tail, 6, 10, 1_000), Some(vec![7]));
        assert_eq!(found(&tail, 7, 10, 1_000), Some(vec![]));
        // It had read further than was told of.
        assert_eq!(found(&tail, 9, 10, 1_000), Some(vec![]));
        assert_eq!(found(&tail, 3, 10, 1_000), None);
    }

    #[test]
    fn a_message_has_at_least_one_event_however_large() {
        let mut tail = Tail::after(0);
        assert!(tail.join(0));
        tail.extend(events(1..=3, 600));
        assert_eq!(found(&tail, 0, 10, 1_300), Some(vec![1, 2]));
        assert_eq!(found(&tail, 0, 10, 100), Some(vec![1]));
    }

    #[test]
    fn only_who_has_seen_all_that_was_told_of_can_join() {
        let mut tail = Tail::after(9);
        assert!(!tail.join(8) && tail.join(9) && tail.join(10));
    }

    #[test]
    fn without_a_watcher_nothing_is_wanted_and_nothing_kept() {
        let mut tail = Tail::after(0);
        assert_eq!(tail.wanted(5), None);
        assert!(!tail.join(4) && tail.join(5));
        assert_eq!(tail.wanted(6), Some(6));
        tail.extend(events(6..=6, 1));
        tail.leave();
        assert_eq!(tail.wanted(7), None);
        assert_eq!((tail.events.len(), tail.bytes), (0, 0));
        assert_eq!(found(&tail, 5, 10, 1_000), None);
        assert_eq!(found(&tail, 7, 10, 1_000), Some(vec![]));
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let mut tail = Tail::after(0);
        assert!(tail.join(0));
        tail.extend(events(1..=MAX_EVENTS as u64 + 7, 1));
        assert_eq!(tail.events.len(), MAX_EVENTS);
        assert_eq!(found(&tail, 6, 1, 1_000), None);
        assert_eq!(found(&tail, 7, 1, 1_000), Some(vec![8]));
        let next = tail.next;
        tail.extend(events(next..=next + 9, MAX_BYTES / 2));
        assert!(tail.events.len() == 1 && tail.bytes <= MAX_BYTES, "{}", tail.bytes);
        // A single one may be larger than all together.
        let next = tail.next;
        tail.extend(events(next..=next, MAX_BYTES));
        assert_eq!(found(&tail, next - 1, 10, 1), Some(vec![next]));
    }

    #[test]
    fn more_than_it_could_keep_is_not_even_read() {
        let mut tail = Tail::after(0);
        assert!(tail.join(0));
        assert_eq!(tail.wanted(MAX_EVENTS as u64), Some(1));
        assert_eq!(tail.wanted(MAX_EVENTS as u64 + 1), None);
        assert_eq!(found(&tail, 0, 10, 1_000), None);
    }
}
