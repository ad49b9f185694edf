//! Snapshots: copies of the state store at exactly one log entry.

use std::io;
use std::sync::Arc;

use openraft::RaftSnapshotBuilder;
use openraft::Snapshot;

use super::types::SnapshotMeta;
use super::types::TypeConfig;
use crate::planted::Bug;
use crate::planted::planted;
use crate::store;
use crate::store::Received;
use crate::store::StateStore;
use crate::store::StoreError;

/// The data of a snapshot: made here, or received from another node.
#[derive(Clone)]
pub enum SnapshotData {
    /// A copy of this node's store.
    Made(Arc<dyn store::Snapshot>),
    /// Complete and durable, waiting to be installed.
    Received(Arc<Received>),
}

/// How much is copied at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Takes over a snapshot made by another store of this process, as if it had been received.
pub fn copy(from: &dyn store::Snapshot, to: &dyn StateStore) -> Result<Received, StoreError> {
    let mut receiver = to.receive(from.files().to_vec())?;
    for (position, file) in from.files().iter().enumerate() {
        let mut offset = 0;
        while offset < file.size {
            let chunk = from.read(position, offset, CHUNK_BYTES)?;
            offset += chunk.len() as u64;
            receiver.append(position, &chunk)?;
        }
    }
    receiver.finish()
}

/// A snapshot already taken: the copy has to be made between two entries, before building starts.
///
/// Once it is built the log behind it may be purged, so building makes the state durable: what the
/// state has not flushed then, no log could bring back.
pub struct Builder {
    pub(super) store: Arc<dyn StateStore>,
    pub(super) meta: SnapshotMeta,
    pub(super) taken: Result<Arc<dyn store::Snapshot>, StoreError>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        let snapshot = SnapshotData::Made(self.taken.clone()?);
        if !planted(Bug::PurgePastFlushed) {
            self.store.flush().await?;
        }
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}
