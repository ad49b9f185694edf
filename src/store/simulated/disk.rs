//! The simulated disk: what is visible, what is durable, what is on its way between the two, and
//! what a crash leaves of it.
//!
//! Knows nothing of the traits of a store, nor of tokio: it says how long something takes, and
//! others wait.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use bytes::Bytes;

use super::medium::Lost;
use super::medium::Medium;
use super::medium::Table;
use super::medium::Tables;
use super::medium::table;
use super::random::SplitMix;
use crate::planted::Bug;
use crate::planted::planted;
use crate::store::Batch;
use crate::store::Done;
use crate::store::Durability;
use crate::store::LOG_SPACES;
use crate::store::STATE_SPACES;
use crate::store::Space;
use crate::store::StoreError;

/// How much is free when nobody said otherwise: what is written takes nothing of it.
const SIZE_BYTES: u64 = 1 << 40;

/// One life of the node on the disk: from an open to the next crash or open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessId(u64);

/// A batch that waits for the log.
pub(super) struct Queued {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    pub(super) done: Done,
}

/// The oldest queued batches, which go to disk together.
pub(super) struct Group {
    count: usize,
    /// How long the sync takes; None when no batch asks for one.
    pub(super) latency: Option<Duration>,
}

/// A flush of the state that has begun.
pub(super) struct Flush {
    upto: u64,
    pub(super) latency: Duration,
}

/// What is wrong with a disk, until it is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Nothing can be written: there is no space left.
    Full,
    /// What is written reaches the disk or does not, and a sync reports an I/O error.
    SyncFails,
}

impl Defect {
    fn error(self, action: &'static str) -> StoreError {
        let problem = match self {
            Self::Full => "the disk is full: make room on it, then start the node again",
            Self::SyncFails => "input/output error",
        };
        StoreError::new(action, problem)
    }
}

/// A disk that outlives the processes using it.
pub struct Disk {
    inner: Mutex<Inner>,
}

struct Inner {
    random: SplitMix,
    /// How many times longer a sync takes than usual.
    slowness: u32,
    defect: Option<Defect>,
    /// How often somebody was told of a defect.
    errors: u64,
    /// How much more fits on it, as far as others are told. With nothing left writes fail.
    free_bytes: u64,
    process: ProcessId,
    log: Medium,
    state: Medium,
    queue: VecDeque<Queued>,
    /// Whether a task is at work on the queue.
    writing: bool,
    /// The first failure of the log, which all later batches share.
    log_failure: Option<StoreError>,
}

impl Disk {
    /// An empty disk. All that is random about it follows from `seed`.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                random: SplitMix(seed),
                slowness: 1,
                defect: None,
                errors: 0,
                free_bytes: SIZE_BYTES,
                process: ProcessId(0),
                log: Medium::new("append to the log", &LOG_SPACES),
                state: Medium::new("write the state", &STATE_SPACES),
                queue: VecDeque::new(),
                writing: false,
                log_failure: None,
            }),
        })
    }

    /// Makes every sync that begins from now on take that many times longer than usual. What is
    /// said before it is durable is then more likely to be caught by a crash.
    pub fn slow_down(&self, times: u32) {
        self.lock().slowness = times;
    }

    /// From now on so much is free, whatever is written. With nothing left every write fails.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.lock().free_bytes = bytes;
    }

    /// As much is free again as nobody could fill.
    pub fn make_room(&self) {
        self.set_free_bytes(SIZE_BYTES);
    }

    /// Something is wrong with the disk from now on, or nothing is any more. Returns what was before.
    pub fn set_defect(&self, defect: Option<Defect>) -> Option<Defect> {
        std::mem::replace(&mut self.lock().defect, defect)
    }

    /// How many operations have failed because of a defect.
    pub fn errors(&self) -> u64 {
        self.lock().errors
    }

    /// Flips one bit of what is durable, wherever it happens to be: whoever reads it is told that it is
    /// damaged, nobody else. Says where, unless there is nothing yet.
    pub fn flip_bit(&self) -> Option<String> {
        let mut inner = self.lock();
        let Inner { random, log, state, .. } = &mut *inner;
        let media = if random.below(2) == 0 { [log, state] } else { [state, log] };
        media.into_iter().find_map(|medium| medium.flip_bit(random))
    }

    /// The disk is replaced by an empty one. The process that had it open is dead.
    pub fn replace(&self) {
        let mut inner = self.lock();
        let queue = inner.end_process();
        inner.log = Medium::new(inner.log.writing, &LOG_SPACES);
        inner.state = Medium::new(inner.state.writing, &STATE_SPACES);
        drop(inner);
        drop(queue);
    }

    /// What is on the disk, seen from outside, for those who judge: also what was not synced. Of the
    /// space that both stores have it is that of the log.
    pub fn content(&self, space: Space) -> Vec<(Vec<u8>, Bytes)> {
        let inner = self.lock();
        let medium = if LOG_SPACES.contains(&space) { &inner.log } else { &inner.state };
        let table = table("look at the disk", &medium.visible, space).expect("every space is on a disk");
        table.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The same of what is durable.
    pub fn durable(&self, space: Space) -> Vec<(Vec<u8>, Bytes)> {
        let inner = self.lock();
        let medium = if LOG_SPACES.contains(&space) { &inner.log } else { &inner.state };
        let table = table("look at the disk", &medium.durable, space).expect("every space is on a disk");
        table.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The power fails. Of what was not synced a random prefix is kept; the process that has the
    /// disk open is dead, and nobody is told of its batches. Says what was lost of the log and of the
    /// state.
    pub fn crash(&self) -> [Lost; 2] {
        let mut inner = self.lock();
        let failed = inner.log_failure.is_some();
        let queue = inner.end_process();
        let Inner { random, log, state, .. } = &mut *inner;
        for queued in queue.iter().take_while(|_| !failed) {
            // A batch that could not have been written ends what may survive.
            if log.write(queued.batch.clone()).is_err() {
                break;
            }
        }
        let lost = [log.lose_power(random), state.lose_power(random)];
        // Callbacks that are dropped may do anything, also use the disk.
        drop(inner);
        drop(queue);
        lost
    }

    pub(super) fn start_process(&self) -> ProcessId {
        let mut inner = self.lock();
        let queue = inner.end_process();
        // What reached the log survives in the operating system; the state was in the process.
        let Inner { random, state, .. } = &mut *inner;
        state.lose_power(random);
        let process = inner.process;
        drop(inner);
        drop(queue);
        process
    }

    /// Queues a batch of the log. True when the caller is to start a writer for the queue.
    pub(super) fn enqueue(&self, process: ProcessId, queued: Queued) -> bool {
        let Ok(mut inner) = self.enter("append to the log", process) else {
            // The dead hear nothing.
            return false;
        };
        inner.queue.push_back(queued);
        !std::mem::replace(&mut inner.writing, true)
    }

    /// What to write next; None ends the writer.
    pub(super) fn next_group(&self, process: ProcessId) -> Option<Group> {
        let mut inner = self.enter("append to the log", process).ok()?;
        if inner.queue.is_empty() {
            inner.writing = false;
            return None;
        }
        let synced = inner.queue.iter().any(|queued| queued.durability == Durability::Synced);
        let latency = synced.then(|| inner.sync_latency());
        Some(Group { count: inner.queue.len(), latency })
    }

    /// Writes a group, and returns whom to tell how it went.
    pub(super) fn write_group(
        &self,
        process: ProcessId,
        group: &Group,
    ) -> Vec<(Done, Result<(), StoreError>)> {
        let Ok(mut inner) = self.enter("append to the log", process) else {
            return Vec::new();
        };
        let full = inner.meet(Defect::Full, "append to the log").err();
        let failed = group.latency.and_then(|_| inner.meet(Defect::SyncFails, "sync the log").err());
        let Inner { random, log, queue, log_failure, .. } = &mut *inner;
        if log_failure.is_none() {
            *log_failure = full;
        }
        let mut results = Vec::with_capacity(group.count);
        for Queued { batch, done, .. } in queue.drain(..group.count) {
            let result = match (log_failure.clone(), failed.clone()) {
                (Some(error), _) => Err(error),
                // What was written before a sync that fails may be there or not.
                (None, Some(error)) => log.write(batch).and(Err(error)),
                (None, None) => log.write(batch),
            };
            if let Err(error) = &result {
                *log_failure = Some(error.clone());
            }
            results.push((done, result));
        }
        if group.latency.is_some() && log_failure.is_none() {
            if planted(Bug::SyncFailureHidden) && random.below(20) == 0 {
                log.unsynced.clear();
            }
            let late = if planted(Bug::AcknowledgeBeforeSync) { results.len() as u64 } else { 0 };
            log.sync(log.written - late);
        }
        results
    }

    pub(super) fn write_state(&self, process: ProcessId, batch: Batch) -> Result<(), StoreError> {
        let mut inner = self.enter("write the state", process)?;
        inner.meet(Defect::Full, "write the state")?;
        inner.state.write(batch)
    }

    pub(super) fn start_flush(&self, process: ProcessId) -> Result<Flush, StoreError> {
        let mut inner = self.enter("flush the state", process)?;
        inner.meet(Defect::Full, "flush the state")?;
        Ok(Flush { upto: inner.state.written, latency: inner.sync_latency() })
    }

    pub(super) fn finish_flush(&self, process: ProcessId, flush: &Flush) -> Result<(), StoreError> {
        let mut inner = self.enter("flush the state", process)?;
        inner.meet(Defect::SyncFails, "flush the state")?;
        inner.state.sync(flush.upto);
        Ok(())
    }

    pub(super) fn replace_state(&self, process: ProcessId, tables: Tables) -> Result<(), StoreError> {
        let mut inner = self.enter("install a snapshot", process)?;
        inner.meet(Defect::Full, "install a snapshot")?;
        inner.meet(Defect::SyncFails, "install a snapshot")?;
        inner.state.replace(tables);
        Ok(())
    }

    pub(super) fn free_bytes(&self, process: ProcessId) -> Result<u64, StoreError> {
        let inner = self.enter("look at the disk", process)?;
        Ok(if inner.is_full() { 0 } else { inner.free_bytes })
    }

    /// A table of the log, to read a range of keys in it. A store does not notice damage elsewhere.
    pub(super) fn log_table(
        &self,
        process: ProcessId,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Arc<Table>, StoreError> {
        let inner = self.enter("read the log", process)?;
        inner.log.check("read the log", space, range.0, range.1)?;
        table("read the log", &inner.log.visible, space)
    }

    /// The same of the state.
    pub(super) fn state_table(
        &self,
        process: ProcessId,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Arc<Table>, StoreError> {
        let inner = self.enter("read the state", process)?;
        inner.state.check("read the state", space, range.0, range.1)?;
        table("read the state", &inner.state.visible, space)
    }

    pub(super) fn state_tables(&self, process: ProcessId) -> Result<Tables, StoreError> {
        let inner = self.enter("take a snapshot", process)?;
        for space in inner.state.visible.keys() {
            inner.state.check("take a snapshot", *space, Bound::Unbounded, Bound::Unbounded)?;
        }
        Ok(inner.state.visible.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the disk")
    }

    fn enter(&self, action: &'static str, process: ProcessId) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.lock();
        if inner.process == process {
            Ok(inner)
        } else {
            Err(StoreError::new(action, "the process that opened this disk has crashed"))
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Inner {
    fn is_full(&self) -> bool {
        self.free_bytes == 0 || self.defect == Some(Defect::Full)
    }

    /// Fails when the disk has this defect.
    fn meet(&mut self, defect: Defect, action: &'static str) -> Result<(), StoreError> {
        let is_met = self.defect == Some(defect) || (defect == Defect::Full && self.is_full());
        if !is_met {
            return Ok(());
        }
        self.errors += 1;
        Err(defect.error(action))
    }

    fn sync_latency(&mut self) -> Duration {
        Duration::from_micros(200 + self.random.below(2_800)) * self.slowness
    }

    /// Forgets what only the process knew, and returns the batches that it had not yet written.
    fn end_process(&mut self) -> VecDeque<Queued> {
        self.process = ProcessId(self.process.0 + 1);
        self.writing = false;
        self.log_failure = None;
        std::mem::take(&mut self.queue)
    }
}
