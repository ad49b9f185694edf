//! The simulated disk: what is visible, what is durable, what is on its way between the two, and
//! what a crash leaves of it.
//!
//! Knows nothing of the traits of a store, nor of tokio: it says how long something takes, and
//! others wait.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use bytes::Bytes;

use crate::planted::Bug;
use crate::planted::planted;
use crate::store::Batch;
use crate::store::Done;
use crate::store::Durability;
use crate::store::LOG_SPACES;
use crate::store::Op;
use crate::store::STATE_SPACES;
use crate::store::Space;
use crate::store::StoreError;

/// The content of one space.
pub(super) type Table = BTreeMap<Vec<u8>, Bytes>;

/// The content of a store. A table is copied only when one that is shared is written to.
pub(super) type Tables = BTreeMap<Space, Arc<Table>>;

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

/// A disk that outlives the processes using it.
pub struct Disk {
    inner: Mutex<Inner>,
}

struct Inner {
    random: SplitMix,
    /// How many times longer a sync takes than usual.
    slowness: u32,
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

    /// The power fails. Of what was not synced a random prefix is kept; the process that has the
    /// disk open is dead, and nobody is told of its batches.
    pub fn crash(&self) {
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
        log.lose_power(random);
        state.lose_power(random);
        // Callbacks that are dropped may do anything, also use the disk.
        drop(inner);
        drop(queue);
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
        let Inner { random, log, queue, log_failure, .. } = &mut *inner;
        let mut results = Vec::with_capacity(group.count);
        for Queued { batch, done, .. } in queue.drain(..group.count) {
            let result = match log_failure {
                Some(error) => Err(error.clone()),
                None => log.write(batch),
            };
            if let Err(error) = &result {
                *log_failure = Some(error.clone());
            }
            results.push((done, result));
        }
        if group.latency.is_some() {
            if planted(Bug::SyncFailureHidden) && random.below(20) == 0 {
                log.unsynced.clear();
            }
            let late = if planted(Bug::AcknowledgeBeforeSync) { results.len() as u64 } else { 0 };
            log.sync(log.written - late);
        }
        results
    }

    pub(super) fn write_state(&self, process: ProcessId, batch: Batch) -> Result<(), StoreError> {
        self.enter("write the state", process)?.state.write(batch)
    }

    pub(super) fn start_flush(&self, process: ProcessId) -> Result<Flush, StoreError> {
        let mut inner = self.enter("flush the state", process)?;
        Ok(Flush { upto: inner.state.written, latency: inner.sync_latency() })
    }

    pub(super) fn finish_flush(&self, process: ProcessId, flush: &Flush) -> Result<(), StoreError> {
        self.enter("flush the state", process)?.state.sync(flush.upto);
        Ok(())
    }

    pub(super) fn replace_state(&self, process: ProcessId, tables: Tables) -> Result<(), StoreError> {
        self.enter("install a snapshot", process)?.state.replace(tables);
        Ok(())
    }

    pub(super) fn log_table(&self, process: ProcessId, space: Space) -> Result<Arc<Table>, StoreError> {
        table("read the log", &self.enter("read the log", process)?.log.visible, space)
    }

    pub(super) fn state_table(&self, process: ProcessId, space: Space) -> Result<Arc<Table>, StoreError> {
        table("read the state", &self.enter("read the state", process)?.state.visible, space)
    }

    pub(super) fn state_tables(&self, process: ProcessId) -> Result<Tables, StoreError> {
        Ok(self.enter("take a snapshot", process)?.state.visible.clone())
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

/// What one store has on the disk.
struct Medium {
    writing: &'static str,
    visible: Tables,
    durable: Tables,
    /// The visible batches that are not durable, in order.
    unsynced: VecDeque<Batch>,
    /// How many batches were ever written, those in `unsynced` included.
    written: u64,
}

impl Medium {
    fn new(writing: &'static str, spaces: &[Space]) -> Self {
        let empty: Tables = spaces.iter().map(|&space| (space, Arc::default())).collect();
        Self { writing, visible: empty.clone(), durable: empty, unsynced: VecDeque::new(), written: 0 }
    }

    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        for op in &batch.ops {
            let (Op::Put(space, ..) | Op::Delete(space, ..) | Op::DeleteRange(space, ..)) = op;
            table(self.writing, &self.visible, *space)?;
        }
        apply(&mut self.visible, &batch);
        self.unsynced.push_back(batch);
        self.written += 1;
        Ok(())
    }

    /// Makes the first `upto` batches ever written durable, as far as they are not yet.
    fn sync(&mut self, upto: u64) {
        while self.written - (self.unsynced.len() as u64) < upto {
            let batch = self.unsynced.pop_front().expect("a batch is counted when it is put there");
            apply(&mut self.durable, &batch);
        }
    }

    fn lose_power(&mut self, random: &mut SplitMix) {
        let kept = random.below(self.unsynced.len() as u64 + 1);
        let synced = self.written - self.unsynced.len() as u64;
        self.sync(synced + kept);
        if planted(Bug::TornBatch)
            && let Some(mut torn) = self.unsynced.pop_front()
        {
            torn.ops.truncate(1);
            apply(&mut self.durable, &torn);
        }
        self.unsynced.clear();
        self.visible = self.durable.clone();
    }

    fn replace(&mut self, mut tables: Tables) {
        self.unsynced.clear();
        self.visible = tables.clone();
        if planted(Bug::HalfInstalledSnapshot) {
            tables.insert(Space::Events, Arc::clone(&self.durable[&Space::Events]));
        }
        self.durable = tables;
    }
}

/// Applies a batch whose spaces are known to be there.
fn apply(tables: &mut Tables, batch: &Batch) {
    for op in &batch.ops {
        let (Op::Put(space, ..) | Op::Delete(space, ..) | Op::DeleteRange(space, ..)) = op;
        let table = tables.get_mut(space).expect("the spaces of a batch are checked when it is written");
        let table = Arc::make_mut(table);
        match op {
            Op::Put(_, key, value) => {
                table.insert(key.clone(), value.clone());
            }
            Op::Delete(_, key) => {
                table.remove(key);
            }
            Op::DeleteRange(_, from, to) => {
                let doomed: Vec<Vec<u8>> = range(table, from, to).map(|(key, _)| key.clone()).collect();
                for key in doomed {
                    table.remove(&key);
                }
            }
        }
    }
}

/// `from..to` in ascending order; nothing when the range is the wrong way round.
pub(super) fn range<'a>(
    table: &'a Table,
    from: &[u8],
    to: &[u8],
) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Bytes)> {
    let to = to.max(from);
    table.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
}

fn table(action: &'static str, tables: &Tables, space: Space) -> Result<Arc<Table>, StoreError> {
    let found = tables.get(&space).cloned();
    found.ok_or_else(|| StoreError::new(action, format!("there is no space {space:?}")))
}

/// Random numbers (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`. The bias of the remainder is far below what a simulation sees.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
