//! The state machine: applies log entries to the ledger and writes what happened.
//!
//! Each entry becomes one atomic write of its events together with how far the state has come;
//! then the client gets its outcomes, then everyone who waits for progress is told. The rows of
//! the state follow every now and then ([`Applied::checkpoint`]).

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::TryStreamExt as _;
use openraft::EntryPayload;
use openraft::OptionalSend;
use openraft::Snapshot;
use openraft::storage::EntryResponder;
use openraft::storage::RaftStateMachine;
use tokio::sync::watch;

use super::events::visit_blocks;
use super::fresh::Fresh;
use super::fresh::FreshEvents;
use super::recovery;
use super::recovery::Recovered;
use super::recovery::RecoveryError;
use super::snapshot;
use super::snapshot::Builder;
use super::snapshot::SnapshotData;
use super::types::Entry;
use super::types::LogId;
use super::types::Reply;
use super::types::SnapshotMeta;
use super::types::StoredMembership;
use super::types::TypeConfig;
use super::wire;
use crate::codec::batch;
use crate::codec::event;
use crate::codec::keys;
use crate::codec::local;
use crate::codec::rows;
use crate::ledger;
use crate::ledger::Event;
use crate::ledger::LogTime;
use crate::ledger::Outcome;
use crate::ledger::Request;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::planted::Bug;
use crate::planted::planted;
use crate::proto::storage::v1 as storage;
use crate::store;
use crate::store::Batch;
use crate::store::Op;
use crate::store::Space;
use crate::store::StateStore;
use crate::store::StoreError;

/// Rows are written at the latest when this many changes have come together: those of some 8,000
/// reservations. Commands and reads wait while they are written, so it is not many at a time; but an account
/// that many of them touch is written once, so it is not few.
const CHANGES_PER_CHECKPOINT: usize = 25_000;

/// How far the state has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The last applied log index; `None` before the first.
    pub index: Option<u64>,
    /// The last event.
    pub revision: Revision,
    /// The log time of the last entry: what comes is not older.
    pub time: LogTime,
}

/// What became of a batch of views.
#[derive(Debug)]
pub enum Written {
    /// It is written.
    Done,
    /// Nothing was written: try again.
    Busy(Batch),
    /// Nothing was written: everything has been replaced since.
    Gone,
}

/// What has been applied on this node; shared by the state machine, which alone writes, and
/// everyone who reads.
pub struct Applied {
    store: Arc<dyn StateStore>,
    current: RwLock<Recovered>,
    progress: watch::Sender<Progress>,
    /// The newest events, for whoever folds them.
    pub(super) fresh: FreshEvents,
    /// The newest snapshot of this run.
    snapshot: Mutex<Option<(SnapshotMeta, SnapshotData)>>,
    /// Raised before a snapshot replaces everything, and after: odd in between.
    generation: AtomicU64,
    /// Held by whoever writes, and while everything is replaced, so that rows of the old state never
    /// get into the new store. True once a write or a replacement has failed: what is in memory and
    /// what is stored have then parted, and nothing may be written any more.
    broken: Mutex<bool>,
    /// Held by those who read stored rows in several steps: rows are not written meanwhile.
    pub(super) rows: tokio::sync::RwLock<()>,
    /// The clock of this node, which applying must not know of.
    #[cfg(feature = "planted-bugs")]
    pub local_clock: std::sync::OnceLock<Arc<dyn crate::clock::Clock>>,
}

impl Applied {
    /// Recovers what a store holds.
    pub fn open(store: Arc<dyn StateStore>) -> Result<Arc<Self>, RecoveryError> {
        let recovered = recovery::recover(&*store)?;
        let progress = progress_of(&recovered);
        Ok(Arc::new(Self {
            store,
            current: RwLock::new(recovered),
            progress: watch::Sender::new(progress),
            fresh: FreshEvents::default(),
            snapshot: Mutex::new(None),
            generation: AtomicU64::new(0),
            broken: Mutex::new(false),
            rows: tokio::sync::RwLock::new(()),
            #[cfg(feature = "planted-bugs")]
            local_clock: Default::default(),
        }))
    }

    /// Reads the state. Nothing may be awaited while the guard lives.
    pub fn read(&self) -> StateGuard<'_> {
        StateGuard(self.current())
    }

    /// The log time of the last entry.
    pub fn log_time(&self) -> LogTime {
        self.current().time
    }

    /// What a request would lead to at a time, or at that of the last entry if that is later: decides
    /// it, lets `look` see the state after it, what was decided and the revision there is, and leaves
    /// everything as it was. Whoever reads or applies waits meanwhile.
    pub fn preview_with<T>(
        &self,
        time: LogTime,
        request: &Request,
        look: impl FnOnce(&State, &ledger::Applied, Revision) -> T,
    ) -> T {
        let mut current = self.current_mut();
        let time = time.max(current.time);
        let revision = current.state.revision();
        ledger::preview_with(&mut current.state, time, request, |state, applied| {
            look(state, applied, revision)
        })
    }

    /// Tells of every step forward.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Where received snapshots go.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Another number whenever everything has been replaced by a snapshot: what was read under the one
    /// before may not be there any more. It is odd while it is being replaced.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Events up to here were removed.
    pub fn compacted_at(&self) -> Revision {
        self.current().state.compacted_at()
    }

    /// Visits the event blocks from the one with the event `from` on, in order, until `visit` returns
    /// false.
    pub fn blocks(&self, from: Revision, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        visit_blocks(&*self.store, from, visit)
    }

    /// Writes what was made of events of a generation, as one. Does not wait: it gives the batch back
    /// when something else is being written.
    pub fn write_views(&self, generation: u64, batch: Batch) -> Result<Written, StoreError> {
        let Ok(mut broken) = self.broken.try_lock() else {
            return Ok(Written::Busy(batch));
        };
        if self.generation() != generation {
            return Ok(Written::Gone);
        }
        self.write(&mut broken, batch)?;
        Ok(Written::Done)
    }

    /// The revision of the rows that are written.
    pub fn checkpointed(&self) -> Result<Revision, StoreError> {
        let corrupt = |problem: &dyn std::fmt::Display| StoreError::new("read the checkpoint", problem);
        let Some(bytes) = self.store.get(Space::Meta, keys::CHECKPOINT)? else {
            return Ok(0);
        };
        let payload = local::payload("the checkpoint", &bytes).map_err(|error| corrupt(&error))?;
        keys::number(payload).ok_or_else(|| corrupt(&"it is no number"))
    }

    /// Writes the rows that changed, if any did. They are durable with the next flush. Does nothing
    /// while a snapshot is being installed: that brings rows of its own. Nor while rows are read.
    pub fn checkpoint(&self) -> Result<bool, StoreError> {
        let Ok(mut broken) = self.broken.try_lock() else {
            return Ok(false);
        };
        let mut current = self.current_mut();
        if current.state.changed_count() == 0 {
            return Ok(false);
        }
        self.write_rows(&mut broken, &mut current)
    }

    /// The one way of writes into the store: after a failure there are no more.
    fn write(&self, broken: &mut bool, batch: Batch) -> Result<(), StoreError> {
        if *broken {
            return Err(StoreError::new("write the state", "an earlier write has failed"));
        }
        let result = self.store.write(batch);
        *broken = result.is_err();
        result
    }

    /// False when rows are being read.
    fn write_rows(&self, broken: &mut bool, current: &mut Recovered) -> Result<bool, StoreError> {
        let Ok(_unread) = self.rows.try_write() else {
            return Ok(false);
        };
        let state = &mut current.state;
        let changed = state.take_changed();
        let mut batch = Batch { ops: Vec::with_capacity(changed.len() / 4) };
        for key in changed {
            let at = keys::record(key);
            // Ascending, so those of one record come one after the other.
            if matches!(batch.ops.last(), Some(Op::Put(_, last, _) | Op::Delete(_, last)) if *last == at) {
                continue;
            }
            match rows::record_of(state, key) {
                Some(record) => batch.put(Space::Rows, at, record),
                None => batch.delete(Space::Rows, at),
            }
        }
        let mut revision = vec![keys::FORMAT];
        revision.extend_from_slice(&state.revision().to_be_bytes());
        batch.put(Space::Meta, keys::CHECKPOINT, revision);
        self.write(broken, batch)?;
        Ok(true)
    }

    fn broken(&self) -> MutexGuard<'_, bool> {
        self.broken.lock().expect("a panic while applying ends the process")
    }

    fn current(&self) -> RwLockReadGuard<'_, Recovered> {
        self.current.read().expect("a panic while applying ends the process")
    }

    fn current_mut(&self) -> RwLockWriteGuard<'_, Recovered> {
        self.current.write().expect("a panic while applying ends the process")
    }

    /// Applies one entry: decide, evolve, write. Returns the outcomes for the client.
    fn apply_entry(&self, entry: Entry) -> Result<Vec<Outcome>, io::Error> {
        let log_id = entry.log_id;
        let mut broken = self.broken();
        let mut current = self.current_mut();
        // That none is left out is seen to where they are read (`Log::check_complete`).
        assert!(Some(log_id) > current.last_applied, "entries are applied in order, each once");
        let mut batch = Batch::default();
        let mut outcomes = Vec::new();
        let mut fresh = None;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                current.membership = StoredMembership::new(Some(log_id), membership);
            }
            EntryPayload::Normal(payload) => {
                let batch::Decoded { mut stamp, requests, commands } = batch::decode(&payload.0)?;
                #[cfg(feature = "planted-bugs")]
                if planted(Bug::ExpiryByLocalClock) {
                    stamp.time = self.local_clock.get().expect("the server tells it").now_ms();
                }
                // Also over entries that lead to no event.
                current.time = current.time.max(stamp.time);
                stamp.time = current.time;
                let applied = ledger::apply(&mut current.state, stamp, &requests);
                fresh = put_events(&mut batch, &applied.events, &requests, &commands, log_id);
                outcomes = applied.outcomes;
            }
        }
        current.last_applied = Some(log_id);
        if planted(Bug::StateInTwoBatches) {
            self.write(&mut broken, std::mem::take(&mut batch))?;
        }
        put_applied(&mut batch, &current);
        self.write(&mut broken, batch)?;
        self.fresh.push(fresh);
        if current.state.changed_count() >= CHANGES_PER_CHECKPOINT {
            self.write_rows(&mut broken, &mut current)?;
        }
        let progress = progress_of(&current);
        drop(current);
        self.progress.send_replace(progress);
        Ok(outcomes)
    }

    /// Replaces everything by a received snapshot. Readers see the old state until the new one is
    /// complete.
    fn install(&self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let received = match data {
            SnapshotData::Made(made) => snapshot::copy(&*made, &*self.store)?,
            SnapshotData::Received(received) => Arc::into_inner(received)
                .ok_or_else(|| io::Error::other("a received snapshot can be installed once only"))?,
        };
        let mut broken = self.broken();
        *broken = true;
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.fresh.clear();
        self.store.install(received)?;
        if planted(Bug::SnapshotWithoutRequests) {
            let mut batch = Batch::default();
            batch.delete_range(Space::Rows, keys::REQUESTS, keys::ROWS.1);
            self.store.write(batch)?;
        }
        let recovered = recovery::recover(&*self.store).map_err(io::Error::other)?;
        if recovered.last_applied != meta.last_log_id && !planted(Bug::SnapshotLabelledLater) {
            let problem = format!(
                "the snapshot was announced at {:?} but contains {:?}",
                meta.last_log_id, recovered.last_applied
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let progress = progress_of(&recovered);
        *self.current_mut() = recovered;
        self.generation.fetch_add(1, Ordering::SeqCst);
        let taken = self.store.snapshot()?;
        *broken = false;
        drop(broken);
        self.keep_snapshot(meta.clone(), SnapshotData::Made(taken));
        self.progress.send_replace(progress);
        Ok(())
    }

    fn keep_snapshot(&self, meta: SnapshotMeta, data: SnapshotData) {
        *self.snapshot.lock().expect("nothing panics while it holds the snapshot") = Some((meta, data));
    }

    /// Copies the store as it is between two entries.
    fn take_snapshot(&self) -> Builder {
        let current = self.current();
        let meta =
            SnapshotMeta { last_log_id: current.last_applied, last_membership: current.membership.clone() };
        let earlier = if planted(Bug::SnapshotLabelledLater) { self.newest_copy() } else { None };
        let taken = earlier.map_or_else(|| self.store.snapshot(), Ok);
        drop(current);
        if let Ok(snapshot) = &taken {
            self.keep_snapshot(meta.clone(), SnapshotData::Made(Arc::clone(snapshot)));
        }
        Builder { store: Arc::clone(&self.store), meta, taken }
    }

    /// The newest snapshot that this node has made, or has made of one that it received.
    fn newest_copy(&self) -> Option<Arc<dyn store::Snapshot>> {
        match &*self.snapshot.lock().expect("nothing panics while it holds the snapshot") {
            Some((_, SnapshotData::Made(copy))) => Some(Arc::clone(copy)),
            _ => None,
        }
    }

    /// A builder that can only say why.
    fn no_snapshot(&self, error: StoreError) -> Builder {
        Builder { store: Arc::clone(&self.store), meta: SnapshotMeta::default(), taken: Err(error) }
    }
}

/// The state, locked for reading.
pub struct StateGuard<'a>(RwLockReadGuard<'a, Recovered>);

impl std::ops::Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0.state
    }
}

fn progress_of(current: &Recovered) -> Progress {
    Progress {
        index: current.last_applied.map(|log_id: LogId| log_id.index),
        revision: current.state.revision(),
        time: current.time,
    }
}

fn put_events(
    batch: &mut Batch,
    events: &[Event],
    requests: &[Request],
    commands: &[&[u8]],
    log_id: LogId,
) -> Option<Fresh> {
    let first = events.first()?.revision;
    let position = event::Position { term: log_id.leader_id.term, index: log_id.index };
    let block = Bytes::from(event::write_entry(events, requests, commands, position));
    batch.put(Space::Events, keys::block(first), block.clone());
    Some(Fresh { first, block })
}

fn put_applied(batch: &mut Batch, current: &Recovered) {
    let applied = storage::Applied {
        log_id: current.last_applied.map(wire::encode_log_id),
        membership: Some(wire::encode_stored_membership(&current.membership)),
        revision: current.state.revision(),
        log_time_ms: current.time,
    };
    batch.put(Space::Meta, keys::APPLIED, local::framed(&applied));
}

/// What the consensus engine drives.
pub struct StateMachine(pub Arc<Applied>);

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let current = self.0.current();
        Ok((current.last_applied, current.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            if planted(Bug::PublishedBeforeBatch) {
                self.0.progress.send_modify(|progress| progress.index = Some(entry.log_id.index));
                self.0.store.flush().await?;
            }
            let outcomes = self.0.apply_entry(entry)?;
            if let Some(responder) = responder {
                responder.send(Reply { outcomes });
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Most of what a snapshot has to flush is flushed before, on another thread: nothing else
        // is applied meanwhile, but everyone can read, and the engine goes on.
        let flushed = if planted(Bug::PurgePastFlushed) { Ok(()) } else { self.0.store.flush().await };
        match flushed {
            Ok(()) => self.0.take_snapshot(),
            Err(error) => self.0.no_snapshot(error),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        self.0.install(meta, data)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        let snapshot = self.0.snapshot.lock().expect("nothing panics while it holds the snapshot");
        Ok(snapshot.clone().map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}
