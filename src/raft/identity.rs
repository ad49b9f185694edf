//! Who a data directory belongs to. The directory of another node or another cluster is refused
//! before anything is read or written on its behalf.

use serde::Deserialize;
use serde::Serialize;

use super::types::NodeId;
use crate::codec::Corrupt;
use crate::codec::keys;
use crate::codec::local;
use crate::store::Batch;
use crate::store::Durability;
use crate::store::LogStore;
use crate::store::Space;
use crate::store::StoreError;

/// The owner of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name of the cluster.
    pub cluster: String,
    /// The number of the node.
    pub node_id: NodeId,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is somebody else's.
    #[error(
        "the data directory belongs to node {} of cluster {:?}, but this is node {} of cluster {:?}; \
         point data_dir at this node's own directory, or at an empty one for a new node",
        .found.node_id, .found.cluster, .expected.node_id, .expected.cluster
    )]
    Foreign {
        /// Whose it is.
        found: Identity,
        /// Who wants it.
        expected: Identity,
    },
    /// The record cannot be read.
    #[error("read whom the data directory belongs to: {0}")]
    Corrupt(#[from] Corrupt),
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Checks that the store is this node's. False when it is nobody's yet.
    pub fn owns(&self, store: &dyn LogStore) -> Result<bool, IdentityError> {
        let Some(bytes) = store.get(Space::Meta, keys::IDENTITY)? else {
            return Ok(false);
        };
        let found: Self = local::decode("the identity of the data directory", &bytes)?;
        if found == *self {
            return Ok(true);
        }
        Err(IdentityError::Foreign { found, expected: self.clone() })
    }

    /// Takes possession of a store that is nobody's yet, durably, with what the node will sign with:
    /// 32 secret bytes.
    pub async fn claim(&self, store: &dyn LogStore, secret: [u8; 32]) -> Result<(), IdentityError> {
        let mut batch = Batch::default();
        batch.put(Space::Meta, keys::IDENTITY, local::encode(self));
        batch.put(Space::Meta, keys::SIGNING_KEY, [&[keys::FORMAT], secret.as_slice()].concat());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        store.submit(batch, Durability::Synced, Box::new(move |result| drop(sender.send(result))));
        let stopped = |_| StoreError::new("claim the data directory", "the store stopped before it was done");
        Ok(receiver.await.map_err(stopped)??)
    }
}

/// What the owner of a store signs with; nothing when it never had a key.
pub fn signing_key(store: &dyn LogStore) -> Result<Option<[u8; 32]>, IdentityError> {
    const WHAT: &str = "the signing key of the node";
    let Some(bytes) = store.get(Space::Meta, keys::SIGNING_KEY)? else {
        return Ok(None);
    };
    let secret = local::payload(WHAT, &bytes)?;
    Ok(Some(secret.try_into().map_err(|_| Corrupt::new(WHAT, "it has not 32 bytes"))?))
}
