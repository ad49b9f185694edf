//! The types the consensus engine is made with.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use super::runtime::Runtime;
use crate::ledger::Outcome;

/// The number of a node; never used again after the node is gone.
pub type NodeId = u64;

openraft::declare_raft_types!(
    /// The consensus engine of this program. A leader is named by its term *and* its node: one term
    /// may see several leaders, each with a greater node id than the one before, and the order of
    /// log ids is that of (term, node, index). That resolves split votes without another round.
    pub TypeConfig:
        D = Payload,
        R = Reply,
        NodeId = NodeId,
        Node = Member,
        AsyncRuntime = Runtime,
);

/// A log id.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// A log entry.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
/// A membership and where it stands in the log.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot contains.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// What a log entry carries: an encoded batch of requests. It passes through untouched.
#[derive(Clone, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

/// What applying an entry led to: one outcome per request. It never leaves the process, so there
/// is nothing to serialize.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reply {
    /// In the order of the requests.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
}

/// Where a node is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `host:port` for clients.
    pub client_address: String,
    /// `host:port` for the other nodes.
    pub peer_address: String,
    /// The key it signs with, which is kept with its data: without that data it is not this member.
    /// Empty while it is none.
    pub verifier_key: String,
}
