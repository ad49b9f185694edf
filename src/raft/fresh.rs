//! The newest events, handed from who applies entries to who folds events: they need not be read again.
//!
//! What nobody takes in time is forgotten; it is in the store.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;

use bytes::Bytes;

use crate::ledger::Revision;

/// Blocks that take so many bytes together are kept, or one that is larger. An entry of 8,192 reservations
/// makes one of 3 MiB; whoever folds them waits for a processor like everyone else, and may be some behind.
const MAX_BYTES: usize = 16 << 20;

/// The events of one log entry.
#[derive(Debug)]
pub struct Fresh {
    /// The revision of the first.
    pub first: Revision,
    /// As they are stored.
    pub block: Bytes,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Fresh>,
    bytes: usize,
}

/// Log entries that were applied and written, without a gap, the oldest first.
#[derive(Debug, Default)]
pub(super) struct FreshEvents(Mutex<Kept>);

impl FreshEvents {
    /// Adds what was written last.
    pub(super) fn push(&self, entry: Option<Fresh>) {
        let Some(entry) = entry else {
            return;
        };
        let mut kept = self.lock();
        kept.bytes += entry.block.len();
        kept.entries.push_back(entry);
        while kept.bytes > MAX_BYTES && kept.entries.len() > 1 {
            kept.take_oldest();
        }
    }

    /// Takes some from the one that begins with a revision on, until they have so many bytes, and forgets
    /// those before; nothing when it is not there.
    pub(super) fn take(&self, from: Revision, bytes: usize) -> Vec<Fresh> {
        let mut kept = self.lock();
        let Ok(position) = kept.entries.binary_search_by_key(&from, |entry| entry.first) else {
            return Vec::new();
        };
        (0..position).for_each(|_| drop(kept.take_oldest()));
        let least = kept.bytes.saturating_sub(bytes);
        let mut taken = Vec::new();
        while taken.is_empty() || kept.bytes > least {
            let Some(entry) = kept.take_oldest() else { break };
            taken.push(entry);
        }
        taken
    }

    /// Forgets all: everything is replaced.
    pub(super) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics while it holds the newest events")
    }
}

impl Kept {
    fn take_oldest(&mut self) -> Option<Fresh> {
        let oldest = self.entries.pop_front()?;
        self.bytes -= oldest.block.len();
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: Revision, bytes: usize) -> Option<Fresh> {
        Some(Fresh { first, block: vec![0; bytes].into() })
    }

    fn revisions(taken: Vec<Fresh>) -> Vec<Revision> {
        taken.into_iter().map(|entry| entry.first).collect()
    }

    #[test]
    fn they_are_taken_once_from_the_one_that_is_asked_for() {
        let fresh = FreshEvents::default();
        fresh.push(None);
        [1, 5, 6, 9].into_iter().for_each(|first| fresh.push(entry(first, 10)));
        assert!(fresh.take(4, 100).is_empty());
        assert_eq!(revisions(fresh.take(5, 11)), [5, 6]);
        assert!(fresh.take(5, 100).is_empty());
        assert_eq!(revisions(fresh.take(9, 1)), [9]);
        assert!(fresh.take(10, 100).is_empty());
        fresh.push(entry(12, 10));
        fresh.clear();
        assert!(fresh.take(12, 100).is_empty());
    }

    #[test]
    fn those_that_nobody_takes_are_bounded() {
        let fresh = FreshEvents::default();
        (1..=9).for_each(|first| fresh.push(entry(first, MAX_BYTES / 4)));
        assert!(fresh.take(5, 1).is_empty());
        assert_eq!(revisions(fresh.take(6, MAX_BYTES)), [6, 7, 8, 9]);
        fresh.push(entry(10, MAX_BYTES));
        fresh.push(entry(11, 2 * MAX_BYTES));
        assert_eq!(revisions(fresh.take(11, 1)), [11]);
    }
}
