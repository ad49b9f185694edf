//! The state store: writes without a WAL, flushed together, copied by checkpoint, replaced as a
//! whole by an installed snapshot.
//!
//! Knows nothing of rows and events, nor when it is right to flush.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

use bytes::Bytes;
use rocksdb::WriteOptions;
use tokio::sync::oneshot;

use super::engine::Engine;
use super::engine::Instance;
use super::engine::room_for;
use super::explain::failed;
use super::folder::DirectoryLock;
use super::folder::TemporaryFolder;
use super::folder::remove_entries;
use super::folder::sync_folder;
use super::generation;
use super::generation::GenerationId;
use super::options::Shared;
use super::snapshot::Checkpointed;
use super::snapshot::Receiver;
use super::snapshot::Sealed;
use crate::store::Batch;
use crate::store::Read;
use crate::store::Received;
use crate::store::Snapshot;
use crate::store::SnapshotFile;
use crate::store::SnapshotReceiver;
use crate::store::Space;
use crate::store::StateStore;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::store::VisitAll;

const OPEN: &str = "open the state";
const FLUSH: &str = "flush the state";
const VISIT: &str = "read the state";
const SNAPSHOT: &str = "take a snapshot";
const INSTALL: &str = "install a snapshot";

pub(super) struct RocksState {
    live: RwLock<Arc<Generation>>,
    /// Held while a snapshot is installed: there is one next generation.
    installing: Mutex<()>,
    /// Numbers the folders this process makes.
    folders: AtomicU64,
    state_dir: PathBuf,
    snapshots_dir: PathBuf,
    shared: Shared,
    lock: Arc<DirectoryLock>,
}

struct Generation {
    engine: Engine,
    id: GenerationId,
    // Set when another generation has taken over. Readers and flushes may still be at work then,
    // so the folder goes with the last of them, after the engine is closed (fields drop in order).
    replaced: OnceLock<TemporaryFolder>,
}

impl RocksState {
    /// Opens the state below `data_dir`. Only with `create` may there be none yet.
    pub(super) fn open(
        data_dir: &Path,
        create: bool,
        shared: Shared,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let state_dir = data_dir.join("state");
        let snapshots_dir = data_dir.join("snapshots");
        for path in [&state_dir, &snapshots_dir] {
            fs::create_dir_all(path).map_err(failed(OPEN, path))?;
        }
        let pointed = generation::live(&state_dir)?;
        if pointed.is_none() && !create {
            let problem = format!(
                "{} is damaged: this node must be replaced (nothing says which folder is live)",
                state_dir.display()
            );
            return Err(StoreError::new(OPEN, problem));
        }
        let id = pointed.unwrap_or(GenerationId::FIRST);
        let path = state_dir.join(id.to_string());
        let engine = Engine::open(&path, Instance::State, create, &shared, Arc::clone(&lock))?;
        if pointed.is_none() {
            generation::point_to(&state_dir, id)?;
        }
        generation::clear_leftovers(&state_dir, id)?;
        remove_entries("clear old snapshots", &snapshots_dir, |_| true)?;
        let live = RwLock::new(Arc::new(Generation { engine, id, replaced: OnceLock::new() }));
        let (installing, folders) = (Mutex::new(()), AtomicU64::new(1));
        Ok(Self { live, installing, folders, state_dir, snapshots_dir, shared, lock })
    }

    fn guard(&self) -> RwLockReadGuard<'_, Arc<Generation>> {
        self.live.read().expect("nothing panics while it replaces the live generation")
    }

    fn live(&self) -> Arc<Generation> {
        Arc::clone(&self.guard())
    }

    /// As of its engine.
    pub(super) fn check(&self, action: &'static str) -> Result<bool, StoreError> {
        self.live().engine.check(action)
    }

    fn next_folder(&self) -> u64 {
        self.folders.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens the received folder as generation `id`, to which nothing points yet.
    fn open_received(&self, folder: TemporaryFolder, id: GenerationId) -> Result<Engine, StoreError> {
        let path = self.state_dir.join(id.to_string());
        fs::rename(folder.path(), &path).map_err(failed(INSTALL, &path))?;
        folder.keep();
        let renamed = TemporaryFolder::of(path, Arc::clone(&self.lock));
        sync_folder(INSTALL, &self.state_dir)?;
        // Nothing may be created here: a folder that lacks something is not a snapshot.
        let lock = Arc::clone(&self.lock);
        let engine = Engine::open(renamed.path(), Instance::State, false, &self.shared, lock)
            .map_err(|error| StoreError::new(INSTALL, format!("what was received is unusable: {error}")))?;
        renamed.keep();
        Ok(engine)
    }
}

/// Does what blocks for as long as the disk takes. What `work` holds is let go before anyone acts on
/// the result: the store is closed then, if this was its last user.
pub(super) fn on_a_thread(
    action: &'static str,
    name: &str,
    work: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> StoreFuture<()> {
    let (finished, waiting) = oneshot::channel();
    #[allow(clippy::disallowed_methods)] // This is why it is on a thread of its own.
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = work();
        // Whoever asked may have gone; it has been done all the same.
        let _ = finished.send(result);
    });
    Box::pin(async move {
        started.map_err(|error| StoreError::new(action, error))?;
        waiting.await.unwrap_or_else(|_| Err(StoreError::new(action, "its thread has panicked")))
    })
}

impl Read for RocksState {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.live().engine.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.live().engine.scan(space, from, to, visit)
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.live().engine.last(space, from, to)
    }
}

impl StateStore for RocksState {
    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        // The guard is kept: a write that returns after a snapshot was installed is in the new state.
        let live = self.guard();
        let mut merged = room_for(&batch);
        live.engine.merge(&mut merged, &batch)?;
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        live.engine.write(merged, &options)
    }

    fn flush(&self) -> StoreFuture<()> {
        let live = self.live();
        on_a_thread(FLUSH, "state-flush", move || live.engine.flush())
    }

    fn visit_all(&self, space: Space, mut visit: VisitAll) -> StoreFuture<()> {
        let live = self.live();
        on_a_thread(VISIT, "state-visit", move || {
            live.engine.scan_all(space, &mut |key, value| {
                visit(key, value);
                true
            })
        })
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let path = self.snapshots_dir.join(self.next_folder().to_string());
        let live = self.live();
        // Flushes by itself, all spaces up to one moment.
        live.engine.checkpoint(SNAPSHOT, &path)?;
        let (folder, lock) = (TemporaryFolder::of(path, live.engine.lock()), live.engine.lock());
        Ok(Arc::new(Checkpointed::new(folder, self.shared.clone(), lock)?))
    }

    fn receive(&self, files: Vec<SnapshotFile>) -> Result<Box<dyn SnapshotReceiver>, StoreError> {
        let path = self.state_dir.join(generation::incoming(self.next_folder()));
        Ok(Box::new(Receiver::start(path, files, Arc::clone(&self.lock))?))
    }

    fn install(&self, received: Received) -> Result<(), StoreError> {
        let Ok(sealed) = received.0.downcast::<Sealed>() else {
            return Err(StoreError::new(INSTALL, "it was received by a store of another kind"));
        };
        let Sealed(folder) = *sealed;
        let _one = self.installing.lock().expect("nothing panics while it installs");
        let id = self.live().id.next();
        let engine = self.open_received(folder, id)?;
        // From here on nothing is removed before the switch is known to be durable: when this
        // fails, the next start finds out which of the two the pointer names.
        generation::point_to(&self.state_dir, id)?;

        let fresh = Arc::new(Generation { engine, id, replaced: OnceLock::new() });
        let old = {
            let mut live = self.live.write().expect("nothing panics while it writes");
            std::mem::replace(&mut *live, fresh)
        };
        let old_path = self.state_dir.join(old.id.to_string());
        let removal = TemporaryFolder::of(old_path, Arc::clone(&self.lock));
        assert!(old.replaced.set(removal).is_ok(), "a generation is replaced once");
        Ok(())
    }
}
