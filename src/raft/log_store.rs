//! The Raft log on a [`LogStore`].
//!
//! Appends, votes, truncations and purges all go through the one queue of the store, so none
//! overtakes another, and the callback of an append comes after its sync. The newest entries stay
//! in memory: they are read again for applying and for every follower, and an entry must be
//! readable before it is on disk.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::Bound;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use openraft::LogState;
use openraft::OptionalSend;
use openraft::RaftLogReader;
use openraft::storage::IOFlushed;
use openraft::storage::RaftLogStorage;
use tokio::sync::oneshot;

use super::types::Entry;
use super::types::LogId;
use super::types::TypeConfig;
use super::types::Vote;
use super::wire;
use crate::codec::Corrupt;
use crate::codec::keys;
use crate::codec::local;
use crate::planted::Bug;
use crate::planted::planted;
use crate::store::Batch;
use crate::store::Durability;
use crate::store::LogStore;
use crate::store::Space;
use crate::store::StoreError;

/// How many bytes of entries stay in memory, not counting those that are not yet on disk.
const CACHE_BYTES: usize = 16 << 20;

/// How many bytes one limited read returns at most, unless its first entry alone is larger.
const READ_BYTES: usize = 4 << 20;

const WHAT: &str = "a log entry";

/// The Raft log of this node. Clones share it.
#[derive(Clone)]
pub struct Log {
    store: Arc<dyn LogStore>,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// What of `committed` has been handed to the store.
    committed_saved: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The newest entries, without a gap up to `last`.
    cache: BTreeMap<u64, Cached>,
    cached_bytes: usize,
    /// Entries up to here are on disk, so the cache may forget them.
    written: u64,
}

#[derive(Clone)]
struct Cached {
    entry: Entry,
    bytes: usize,
}

impl Log {
    /// Opens the log that is in a store.
    pub fn open(store: Arc<dyn LogStore>) -> Result<Self, OpenError> {
        let meta = |key| store.get(Space::Meta, key);
        let vote = meta(keys::VOTE)?.map(|bytes| local::decode("the vote", &bytes)).transpose()?;
        let committed =
            meta(keys::COMMITTED)?.map(|bytes| local::decode("the committed log id", &bytes)).transpose()?;
        let purged: Option<LogId> =
            meta(keys::PURGED)?.map(|bytes| local::decode("the purged log id", &bytes)).transpose()?;
        let newest = store.last(Space::Entries, &keys::entry(0), &keys::entry(u64::MAX))?;
        let newest = newest.map(|(_, bytes)| decode(&bytes)).transpose()?.map(|entry| entry.log_id);
        let last = newest.max(purged);
        check_beginning(&*store, purged)?;
        Ok(Self {
            store,
            shared: Arc::new(Mutex::new(Shared {
                vote,
                committed,
                committed_saved: committed,
                purged,
                last,
                cache: BTreeMap::new(),
                cached_bytes: 0,
                written: last.map_or(0, |last| last.index),
            })),
        })
    }

    /// Where it ends, with what is not yet on disk.
    pub fn last_index(&self) -> Option<u64> {
        self.shared().last.map(|last| last.index)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nothing panics while it holds the log")
    }

    /// Submits a batch and waits until it is durable.
    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), io::Error> {
        let (sender, receiver) = oneshot::channel();
        self.store.submit(
            batch,
            durability,
            Box::new(move |result| {
                // Nobody waits any more when the node is shutting down.
                drop(sender.send(result));
            }),
        );
        let gone = |_| io::Error::other("the log store stopped before the write was done");
        receiver.await.map_err(gone)?.map_err(io::Error::from)
    }

    /// Entries of `start..end` that the log has; stops after the one that reaches `budget` bytes.
    fn read(&self, start: u64, end: u64, budget: usize) -> Result<Vec<Entry>, io::Error> {
        // One look at the cache: what is below `cached_from` is on disk, the rest is taken now.
        let (cached_from, cached) = {
            let shared = self.shared();
            let cached_from = shared.cache.keys().next().copied().unwrap_or(u64::MAX).min(end);
            let range = start.max(cached_from)..end;
            (cached_from, take(shared.cache.range(range).map(|(_, cached)| cached), budget))
        };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        if start < cached_from {
            (entries, bytes) = self.read_from_disk(start, cached_from, budget)?;
        }
        for Cached { entry, bytes: size } in cached {
            if bytes >= budget {
                break;
            }
            bytes += size;
            entries.push(entry);
        }
        self.without_gap(entries)
    }

    /// Entries that were truncated between the look at the cache and the one at the disk leave a
    /// gap: what comes after it is no longer in the log. Any other gap is damage.
    fn without_gap(&self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, io::Error> {
        let gap = entries.windows(2).position(|pair| pair[0].log_id.index + 1 != pair[1].log_id.index);
        let Some(before) = gap else {
            return Ok(entries);
        };
        let (left, right) = (entries[before].log_id, entries[before + 1].log_id);
        if self.shared().last >= Some(right) {
            let problem = format!("between {left} and {right} entries are missing");
            return Err(Corrupt::new("the log", problem).into());
        }
        entries.truncate(before + 1);
        Ok(entries)
    }

    /// Everything of `start..end` that the log has must have been found. Where the log begins is
    /// known once something was purged.
    fn check_complete(&self, entries: &[Entry], start: u64, end: u64) -> Result<(), io::Error> {
        let (first, next) = {
            let shared = self.shared();
            let next = end.min(shared.last.map_or(0, |last| last.index + 1));
            (shared.purged.map(|purged| start.max(purged.index + 1)), next)
        };
        let begins = entries.first().map(|entry| entry.log_id.index);
        let ends = entries.last().map(|entry| entry.log_id.index + 1);
        let missing_head =
            first.is_some_and(|first| first < next && begins.is_none_or(|begins| begins > first));
        let missing_tail = start < next && ends.is_some_and(|ends| ends < next);
        if missing_head || missing_tail {
            let problem = format!("entries {start} to {end} were asked for, {begins:?} to {ends:?} found");
            return Err(Corrupt::new("the log", problem).into());
        }
        Ok(())
    }

    fn read_from_disk(&self, start: u64, end: u64, budget: usize) -> Result<(Vec<Entry>, usize), io::Error> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut problem = None;
        self.store.scan(Space::Entries, &keys::entry(start), &keys::entry(end), &mut |_, value| {
            bytes += value.len();
            match decode(value) {
                Ok(entry) => entries.push(entry),
                Err(corrupt) => problem = Some(corrupt),
            }
            problem.is_none() && bytes < budget
        })?;
        match problem {
            Some(corrupt) => Err(corrupt.into()),
            None => Ok((entries, bytes)),
        }
    }
}

/// As many as the budget allows, the one that reaches it included.
fn take<'a>(cached: impl Iterator<Item = &'a Cached>, budget: usize) -> Vec<Cached> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for entry in cached {
        taken.push(entry.clone());
        bytes += entry.bytes;
        if bytes >= budget {
            break;
        }
    }
    taken
}

/// The first entry on disk must follow what was purged; the log begins at index 0.
fn check_beginning(store: &dyn LogStore, purged: Option<LogId>) -> Result<(), OpenError> {
    let expected = purged.map_or(0, |purged| purged.index + 1);
    let mut first = None;
    store.scan(Space::Entries, &keys::entry(0), &keys::entry(u64::MAX), &mut |key, _| {
        first = Some(keys::number(key));
        false
    })?;
    match first {
        None => Ok(()),
        Some(first) if first == Some(expected) => Ok(()),
        Some(first) => {
            let problem = format!("it begins with entry {first:?} instead of {expected}");
            Err(Corrupt::new("the log", problem).into())
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Entry, Corrupt> {
    wire::decode_entry(local::message(WHAT, bytes)?)
}

impl Shared {
    fn remember(&mut self, entry: Entry, bytes: usize) {
        self.last = Some(entry.log_id);
        self.cached_bytes += bytes;
        self.cache.insert(entry.log_id.index, Cached { entry, bytes });
    }

    /// Forgets the oldest cached entries that are on disk, down to the size of the cache.
    fn shrink(&mut self) {
        while self.cached_bytes > CACHE_BYTES {
            match self.cache.first_entry() {
                Some(oldest) if *oldest.key() <= self.written => {
                    self.cached_bytes -= oldest.remove().bytes;
                }
                _ => break,
            }
        }
    }

    fn forget(&mut self, range: impl Fn(u64) -> bool) {
        let cached_bytes = &mut self.cached_bytes;
        self.cache.retain(|index, cached| {
            let keep = !range(*index);
            if !keep {
                *cached_bytes -= cached.bytes;
            }
            keep
        });
    }
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        if start >= end {
            return Ok(Vec::new());
        }
        let last = self.shared().last.map_or(0, |last| last.index + 1);
        let entries = self.read(start, end, usize::MAX)?;
        self.check_complete(&entries, start, end.min(last))?;
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared().vote)
    }

    /// Returns nothing when the entry at `start` is purged: a gap would be taken for the log.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        if start >= end {
            return Ok(Vec::new());
        }
        let entries = self.read(start, end, READ_BYTES)?;
        match entries.first() {
            Some(first) if first.log_id.index == start => Ok(entries),
            _ => Ok(Vec::new()),
        }
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let shared = self.shared();
        Ok(LogState { last_purged_log_id: shared.purged, last_log_id: shared.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut batch = Batch::default();
        batch.put(Space::Meta, keys::VOTE, local::encode(vote));
        if !planted(Bug::VoteNotSynced) {
            self.write(batch, Durability::Synced).await?;
        }
        self.shared().vote = Some(*vote);
        Ok(())
    }

    /// Only remembered; it goes to disk with the next append. It is a help for restarts, and an
    /// older one is as right as a newer one.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.shared().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = Batch::default();
        {
            let mut shared = self.shared();
            for entry in entries {
                let bytes = local::framed(&wire::encode_entry(&entry));
                let size = bytes.len();
                batch.put(Space::Entries, keys::entry(entry.log_id.index), bytes);
                shared.remember(entry, size);
            }
            let known = if planted(Bug::CommittedAhead) { shared.last } else { shared.committed };
            if let Some(committed) = known
                && known > shared.committed_saved
            {
                shared.committed_saved = known;
                batch.put(Space::Meta, keys::COMMITTED, local::encode(&committed));
            }
        }
        let Some(last) = self.shared().last else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        if planted(Bug::AppendToldAtOnce) {
            callback.io_completed(Ok(()));
            self.store.submit(batch, Durability::Synced, Box::new(drop));
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let done = move |result: Result<(), StoreError>| {
            if result.is_ok() {
                let mut shared = shared.lock().expect("nothing panics while it holds the log");
                shared.written = shared.written.max(last.index);
                shared.shrink();
            }
            callback.io_completed(result.map_err(io::Error::from));
        };
        self.store.submit(batch, Durability::Synced, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let keep = last_log_id.map_or(0, |last| last.index + 1);
        {
            let mut shared = self.shared();
            shared.forget(|index| index >= keep);
            shared.last = last_log_id.min(shared.last).max(shared.purged);
        }
        let mut batch = Batch::default();
        let first = keep.saturating_sub(u64::from(planted(Bug::TruncationTakesMore)));
        batch.delete_range(Space::Entries, keys::entry(first), keys::entry(u64::MAX));
        self.write(batch, Durability::Synced).await?;
        // Earlier appends have called back by now, so this is not raised again by one of them.
        let mut shared = self.shared();
        shared.written = shared.written.min(keep.saturating_sub(1));
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let from = {
            let mut shared = self.shared();
            let from = shared.purged.map_or(0, |purged| purged.index + 1);
            shared.purged = Some(log_id).max(shared.purged);
            shared.last = shared.last.max(shared.purged);
            shared.forget(|index| index <= log_id.index);
            from
        };
        let mut batch = Batch::default();
        batch.put(Space::Meta, keys::PURGED, local::encode(&log_id));
        batch.delete_range(Space::Entries, keys::entry(from), keys::entry(log_id.index + 1));
        // A purge that a power failure undoes leaves entries that nobody needs.
        self.write(batch, Durability::Lazy).await
    }
}

/// Why a log cannot be opened: a fault of this node.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it holds cannot be understood.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}
