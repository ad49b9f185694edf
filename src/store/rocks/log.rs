//! The log store: one thread that writes, many that wait for it.
//!
//! All batches that arrive while the disk is busy are written together and synced once (group
//! commit). Knows nothing of what an entry is.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;

use bytes::Bytes;
use rocksdb::WriteOptions;

use super::engine::Engine;
use super::engine::room_for;
use crate::store::Batch;
use crate::store::Done;
use crate::store::Durability;
use crate::store::LogStore;
use crate::store::Read;
use crate::store::Space;
use crate::store::StoreError;

const APPEND: &str = "append to the log";

/// No more batches are merged into one write once it is this large: a sync of more takes so long
/// that those who wait for the first batch would feel it.
const GROUP_BYTES: usize = 8 << 20;

struct Job {
    batch: Batch,
    durability: Durability,
    done: Done,
}

pub(super) struct RocksLog {
    engine: Arc<Engine>,
    // Both are there until the store is dropped.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl RocksLog {
    pub(super) fn start(engine: Engine) -> Result<Self, StoreError> {
        let engine = Arc::new(engine);
        let (queue, jobs) = mpsc::channel();
        #[allow(clippy::disallowed_methods)] // The one writer of this log; blocking is its work.
        let writer = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn({
                let engine = Arc::clone(&engine);
                move || run(&engine, &jobs)
            })
            .map_err(|error| StoreError::new("start the log writer", error))?;
        Ok(Self { engine, queue: Some(queue), writer: Some(writer) })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl LogStore for RocksLog {
    fn submit(&self, batch: Batch, durability: Durability, done: Done) {
        let queue = self.queue.as_ref().expect("only drop takes the queue");
        if let Err(mpsc::SendError(job)) = queue.send(Job { batch, durability, done }) {
            (job.done)(Err(StoreError::new(APPEND, "the log writer has panicked")));
        }
    }
}

impl Read for RocksLog {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.engine.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.engine.scan(space, from, to, visit)
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.engine.last(space, from, to)
    }
}

impl Drop for RocksLog {
    fn drop(&mut self) {
        // Without a sender the writer finishes its queue and ends.
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // A callback may own the last handle; then this is the writer, which cannot wait for
            // itself, and it holds the engine open until it has ended.
            if writer.thread().id() != thread::current().id() && writer.join().is_err() {
                tracing::error!("the log writer has panicked");
            }
        }
    }
}

fn run(engine: &Engine, jobs: &mpsc::Receiver<Job>) {
    let mut failure = None;
    while let Ok(first) = jobs.recv() {
        let (result, callbacks) = match &failure {
            None => write_group(engine, first, jobs),
            // What a failed sync left on disk is unknown: nothing may follow it.
            Some(error) => (Err(StoreError::clone(error)), vec![first.done]),
        };
        if let Err(error) = &result {
            failure = Some(error.clone());
        }
        for done in callbacks {
            done(result.clone());
        }
    }
}

/// Writes `first` and what else is waiting as one, and returns whom to tell how it went.
fn write_group(
    engine: &Engine,
    first: Job,
    jobs: &mpsc::Receiver<Job>,
) -> (Result<(), StoreError>, Vec<Done>) {
    let mut group = room_for(&first.batch);
    let mut synced = false;
    let mut callbacks = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        callbacks.push(job.done);
        if let Err(error) = engine.merge(&mut group, &job.batch) {
            return (Err(error), callbacks);
        }
        synced |= job.durability == Durability::Synced;
        next = if group.size_in_bytes() < GROUP_BYTES { jobs.try_recv().ok() } else { None };
    }
    let mut options = WriteOptions::default();
    options.set_sync(synced);
    let result = engine.write(group, &options).and_then(|()| engine.check_background(APPEND));
    (result, callbacks)
}
