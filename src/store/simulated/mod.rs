//! The store of the simulation: in memory, without threads, the same for the same seed.
//!
//! A [`Disk`] outlives the node that uses it. What was synced is there after a crash; of the rest
//! a random prefix is, as on a disk that lost its power. Latencies are tokio's time, which a
//! simulation moves as it likes. Knows nothing of files, nor of when a node crashes.

mod disk;
mod medium;
mod random;
mod snapshot;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

pub use self::disk::Defect;
pub use self::disk::Disk;
use self::disk::ProcessId;
use self::disk::Queued;
pub use self::medium::Lost;
use self::medium::Table;
use self::snapshot::MemorySnapshot;
use self::snapshot::Receiver;
use self::snapshot::Sealed;
use super::Batch;
use super::Done;
use super::Durability;
use super::Health;
use super::LogStore;
use super::Medium;
use super::Opened;
use super::Read;
use super::Received;
use super::Snapshot;
use super::SnapshotFile;
use super::SnapshotReceiver;
use super::Space;
use super::StateStore;
use super::Store;
use super::StoreError;
use super::StoreFuture;
use super::VisitAll;

/// A store on a simulated disk.
#[derive(Debug, Clone)]
pub struct SimulatedStore {
    disk: Arc<Disk>,
}

impl SimulatedStore {
    /// A store on `disk`.
    pub fn new(disk: Arc<Disk>) -> Self {
        Self { disk }
    }
}

impl Store for SimulatedStore {
    /// Opens the disk for a new process. One that had it open is dead from now on, as after a
    /// kill: its handles fail, and what it did not hand to the disk is lost.
    fn open(&self) -> Result<Opened, StoreError> {
        let process = self.disk.start_process();
        let log = SimulatedLog { disk: Arc::clone(&self.disk), process };
        let state = SimulatedState { disk: Arc::clone(&self.disk), process };
        let medium = SimulatedMedium { disk: Arc::clone(&self.disk), process };
        Ok(Opened { log: Arc::new(log), state: Arc::new(state), medium: Arc::new(medium) })
    }
}

struct SimulatedMedium {
    disk: Arc<Disk>,
    process: ProcessId,
}

impl Medium for SimulatedMedium {
    fn health(&self) -> Result<Health, StoreError> {
        Ok(Health { free_bytes: self.disk.free_bytes(self.process)?, holds_up_writes: false })
    }
}

struct SimulatedLog {
    disk: Arc<Disk>,
    process: ProcessId,
}

impl LogStore for SimulatedLog {
    /// Must be called within a tokio runtime, where the writing goes on as a task.
    fn submit(&self, batch: Batch, durability: Durability, done: Done) {
        if self.disk.enqueue(self.process, Queued { batch, durability, done }) {
            tokio::spawn(write_queue(Arc::clone(&self.disk), self.process));
        }
    }
}

/// Writes until nothing is queued: what has come while the last group was on its way is the next.
async fn write_queue(disk: Arc<Disk>, process: ProcessId) {
    while let Some(group) = disk.next_group(process) {
        if let Some(latency) = group.latency {
            tokio::time::sleep(latency).await;
        }
        for (done, result) in disk.write_group(process, &group) {
            done(result);
        }
    }
}

impl Read for SimulatedLog {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.disk.log_table(self.process, space, only(key))?.get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        scan(from, to, visit, |from, to| self.disk.log_table(self.process, space, (from, to)))
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        last_of(from, to, |from, to| self.disk.log_table(self.process, space, (from, to)))
    }
}

struct SimulatedState {
    disk: Arc<Disk>,
    process: ProcessId,
}

impl Read for SimulatedState {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.disk.state_table(self.process, space, only(key))?.get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        scan(from, to, visit, |from, to| self.disk.state_table(self.process, space, (from, to)))
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        last_of(from, to, |from, to| self.disk.state_table(self.process, space, (from, to)))
    }
}

impl StateStore for SimulatedState {
    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.disk.write_state(self.process, batch)
    }

    fn flush(&self) -> StoreFuture<()> {
        let started = self.disk.start_flush(self.process);
        let (disk, process) = (Arc::clone(&self.disk), self.process);
        Box::pin(async move {
            let flush = started?;
            tokio::time::sleep(flush.latency).await;
            disk.finish_flush(process, &flush)
        })
    }

    fn visit_all(&self, space: Space, mut visit: VisitAll) -> StoreFuture<()> {
        let table = self.disk.state_table(self.process, space, (Bound::Unbounded, Bound::Unbounded));
        Box::pin(async move {
            table?.iter().for_each(|(key, value)| visit(key, value));
            Ok(())
        })
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(MemorySnapshot::of(&self.disk.state_tables(self.process)?)))
    }

    fn receive(&self, files: Vec<SnapshotFile>) -> Result<Box<dyn SnapshotReceiver>, StoreError> {
        Ok(Box::new(Receiver::start(files)?))
    }

    fn install(&self, received: Received) -> Result<(), StoreError> {
        match received.0.downcast::<Sealed>() {
            Ok(sealed) => self.disk.replace_state(self.process, sealed.0),
            Err(_) => {
                Err(StoreError::new("install a snapshot", "it was received by a store of another kind"))
            }
        }
    }
}

fn only(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Included(key), Bound::Included(key))
}

/// Visits `from..to`. Only what was visited is read, so damage behind it is not noticed.
fn scan(
    from: &[u8],
    to: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    table: impl Fn(Bound<&[u8]>, Bound<&[u8]>) -> Result<Arc<Table>, StoreError>,
) -> Result<(), StoreError> {
    let all = table(Bound::Included(to), Bound::Excluded(to))?;
    let mut next = Bound::Included(from);
    for (key, value) in medium::range(&all, from, to) {
        table(next, Bound::Included(key))?;
        next = Bound::Excluded(key);
        if !visit(key, value) {
            return Ok(());
        }
    }
    Ok(())
}

/// The last of `from..to`, read backwards.
fn last_of(
    from: &[u8],
    to: &[u8],
    table: impl Fn(Bound<&[u8]>, Bound<&[u8]>) -> Result<Arc<Table>, StoreError>,
) -> Result<Option<(Bytes, Bytes)>, StoreError> {
    let all = table(Bound::Included(to), Bound::Excluded(to))?;
    let Some((key, value)) = medium::range(&all, from, to).next_back() else {
        return Ok(None);
    };
    table(Bound::Included(key), Bound::Excluded(to))?;
    Ok(Some((Bytes::copy_from_slice(key), value.clone())))
}
