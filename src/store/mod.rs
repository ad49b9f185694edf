//! Ordered bytes with atomic batches and snapshots.
//!
//! A node has two stores. The **log** store makes every batch durable before it says so; the
//! **state** store makes writes visible at once and durable later, all of them up to one point or
//! none (`flush`), and can be copied as of one moment (`snapshot`).
//!
//! Knows nothing of Raft, protobuf or the ledger: keys and values are bytes. [`rocks`] is the
//! production implementation, [`simulated`] the one of the deterministic simulation.

pub mod rocks;
pub mod simulated;
mod transfer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// A future that a store completes when the disk is done.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Called exactly once, when a batch is durable or has failed for good.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Is shown each key with its value.
pub type VisitAll = Box<dyn FnMut(&[u8], &[u8]) + Send>;

/// A store failed. This is always a fault of this node: nothing may be served or acknowledged on
/// top of it, so whoever gets one stops the process.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{action}: {problem}")]
pub struct StoreError {
    /// What was being done, as verb and object: "append to the log".
    pub action: &'static str,
    /// What the disk or the engine said.
    pub problem: Arc<str>,
}

impl StoreError {
    /// A failure of `action`, explained by `problem`.
    pub fn new(action: &'static str, problem: impl fmt::Display) -> Self {
        Self { action, problem: problem.to_string().into() }
    }
}

impl From<StoreError> for std::io::Error {
    fn from(error: StoreError) -> Self {
        std::io::Error::other(error)
    }
}

/// The key spaces. Each is ordered on its own; a batch may write several atomically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// Few small records of either store: vote, committed, purge marker, applied.
    Meta,
    /// Raft entries, in the log store.
    Entries,
    /// Rows of the ledger state, in the state store.
    Rows,
    /// Event blocks, in the state store.
    Events,
    /// What projections make of the events, in the state store.
    Views,
}

/// The spaces of a log store. It refuses any other.
pub(crate) const LOG_SPACES: [Space; 2] = [Space::Meta, Space::Entries];

/// The spaces of a state store. It refuses any other.
pub(crate) const STATE_SPACES: [Space; 4] = [Space::Meta, Space::Rows, Space::Events, Space::Views];

/// One change of one key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a value.
    Put(Space, Vec<u8>, Bytes),
    /// Removes a key, there or not.
    Delete(Space, Vec<u8>),
    /// Removes all keys from the first (inclusive) to the second (exclusive); none when they are
    /// the wrong way round.
    DeleteRange(Space, Vec<u8>, Vec<u8>),
}

/// Changes that take effect together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order: a later one wins.
    pub ops: Vec<Op>,
}

impl Batch {
    /// Adds a write.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.ops.push(Op::Put(space, key.into(), value.into()));
    }

    /// Adds a removal.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.ops.push(Op::Delete(space, key.into()));
    }

    /// Adds the removal of `from..to`.
    pub fn delete_range(&mut self, space: Space, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        self.ops.push(Op::DeleteRange(space, from.into(), to.into()));
    }
}

/// Whether a batch must be on disk before its callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The callback comes after the sync.
    Synced,
    /// The callback comes after the write; a power loss may take it, never without taking every
    /// later batch too.
    Lazy,
}

/// Reading, common to both stores. Reads see every completed write. A range that is the wrong way
/// round is empty. What is damaged is an error, never absent.
pub trait Read: Send + Sync + 'static {
    /// The value at `key`.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Visits `from..to` (exclusive) in ascending key order until `visit` returns false.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// The greatest key of `from..to` (exclusive) with its value.
    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError>;
}

/// Where the Raft log is kept.
pub trait LogStore: Read {
    /// Queues a batch. Batches are written in the order of their submission, and `done` is called
    /// in that order too. After one failure every later batch fails: nothing is ever skipped.
    /// A batch is visible to reads no later than when `done` is called.
    fn submit(&self, batch: Batch, durability: Durability, done: Done);
}

/// Where the state and the events are kept.
pub trait StateStore: Read {
    /// Writes atomically. Visible at once, durable only after a later `flush`.
    fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// Completes when everything written before the call is durable. Until then a crash may lose
    /// writes, but only all of those after some point between two writes.
    fn flush(&self) -> StoreFuture<()>;

    /// Has everything of a space visited in the order of its keys, exactly as it is now, without
    /// holding up the caller or whoever writes.
    fn visit_all(&self, space: Space, visit: VisitAll) -> StoreFuture<()>;

    /// A copy of exactly what is written now, which later writes do not change. It is given up
    /// when the last handle is dropped, and it does not survive a restart.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Begins to receive a snapshot of another node. Nothing of it is seen until `install`; an
    /// unfinished one is cleared away at the next start.
    fn receive(&self, files: Vec<SnapshotFile>) -> Result<Box<dyn SnapshotReceiver>, StoreError>;

    /// Replaces everything in this store by a received snapshot, atomically and durably: after a
    /// crash there is either the old content or the new.
    fn install(&self, received: Received) -> Result<(), StoreError>;
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// A plain file name, without folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// A copy of a state store as of one moment.
pub trait Snapshot: Send + Sync + 'static {
    /// Its files.
    fn files(&self) -> &[SnapshotFile];

    /// Up to `length` bytes of the file at position `file` from `offset`; fewer only at its end.
    fn read(&self, file: usize, offset: u64, length: usize) -> Result<Bytes, StoreError>;

    /// Reads everything that it holds, once: damage is found here, by the node whose disk it is, and not
    /// by the one that would take it in. Does nothing when that was done before.
    fn verify(&self) -> StoreFuture<()>;
}

/// Takes in a snapshot, file by file.
pub trait SnapshotReceiver: Send {
    /// Appends to the file at position `file`. Files come in order, each from start to end.
    fn append(&mut self, file: usize, data: &[u8]) -> Result<(), StoreError>;

    /// Checks that every file has its size, makes them durable, and seals the snapshot.
    fn finish(self: Box<Self>) -> Result<Received, StoreError>;
}

/// A complete received snapshot. What it holds is the business of the store that made it.
pub struct Received(pub Box<dyn std::any::Any + Send + Sync>);

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Received")
    }
}

/// How the disk below both stores is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Bytes that can still be written to it.
    pub free_bytes: u64,
    /// Whether writes are held up until what was written before is put in order.
    pub holds_up_writes: bool,
}

/// Watches what both stores are kept on.
pub trait Medium: Send + Sync + 'static {
    /// How it is. What has failed behind the back of those who write is an error.
    fn health(&self) -> Result<Health, StoreError>;
}

/// Both stores of one node.
#[derive(Clone)]
pub struct Opened {
    /// The Raft log.
    pub log: Arc<dyn LogStore>,
    /// The ledger state and its events.
    pub state: Arc<dyn StateStore>,
    /// What they are kept on. Does not keep them open.
    pub medium: Arc<dyn Medium>,
}

/// Opens the stores of a node; what stands behind it (a folder, a simulated disk) is its own
/// matter.
pub trait Store: Send + Sync + 'static {
    /// Opens both, creating them when they are not there.
    fn open(&self) -> Result<Opened, StoreError>;
}
