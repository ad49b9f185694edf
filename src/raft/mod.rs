//! Adapters of the consensus engine: the log and the state machine on the stores, the network,
//! and the peer service. No rules live here.
//!
//! The state is flushed lazily. What that rests on: an entry is durable in the log of a quorum
//! before it is applied; the log is purged only up to a snapshot, and a snapshot is flushed; after
//! a restart a node serves reads only through a read index that it has applied again.

mod acknowledged;
pub mod digest;
mod events;
pub mod fault;
pub mod fresh;
pub mod identity;
pub mod keyframe;
pub mod log_store;
pub mod network;
pub mod past;
pub mod peers;
pub mod recovery;
pub mod runtime;
pub mod service;
pub mod snapshot;
pub mod state_machine;
pub mod types;
pub mod wire;

use std::sync::Arc;

pub use events::OpenBlock;
pub use fault::Faults;
pub use log_store::Log;
pub use peers::Peers;
pub use state_machine::Applied;
pub use state_machine::StateMachine;
pub use state_machine::Written;
pub use types::Member;
pub use types::NodeId;
pub use types::Payload;
pub use types::Reply;
pub use types::TypeConfig;

use crate::planted::Bug;
use crate::planted::planted;

/// The consensus engine of this node.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// How the consensus engine is to behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often a leader shows that it lives, in milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a follower stands for election, in milliseconds.
    pub election_timeout_min_ms: u64,
    /// The longest such silence.
    pub election_timeout_max_ms: u64,
    /// A snapshot is taken after this many log entries.
    pub snapshot_after_entries: u64,
    /// How many entries are kept behind a snapshot for followers that lag.
    pub keep_entries: u64,
}

/// Most entries in one append; bytes are capped separately by the log reader.
const MAX_ENTRIES_PER_APPEND: u64 = 1024;

/// How long sending a whole snapshot may take. A receiver that stops answering is noticed by the
/// keepalive of its connection long before.
const SNAPSHOT_TIMEOUT_MS: u64 = 600_000;

/// Starts the consensus engine on recovered stores.
pub async fn start(
    id: NodeId,
    cluster: &str,
    settings: &Settings,
    peers: Arc<Peers>,
    faults: Faults,
    log: Log,
    state_machine: StateMachine,
) -> Result<Raft, StartError> {
    let config = openraft::Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: settings.heartbeat_ms,
        election_timeout_min: settings.election_timeout_min_ms,
        election_timeout_max: settings.election_timeout_max_ms,
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        max_payload_entries: MAX_ENTRIES_PER_APPEND,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(settings.snapshot_after_entries),
        max_in_snapshot_log_to_keep: settings.keep_entries,
        backoff: "20ms 40ms 80ms ...400ms".to_owned(),
        enable_pre_vote: Some(true),
        // The node says when it may stand: others go first.
        enable_elect: planted(Bug::StandsAtOnce),
        // The state is flushed lazily: a restarted leader has to be elected again.
        enable_leader_restore: Some(false),
        // A leader that can send but not receive must fall silent, or nobody replaces it.
        quorum_loss_probe_interval: Some(settings.election_timeout_max_ms * 2),
        ..Default::default()
    };
    let config = config.validate().map_err(|error| StartError::Settings(error.to_string()))?;
    let network = network::Factory::new(peers, faults);
    openraft::Raft::new(id, Arc::new(config), network, log, state_machine)
        .await
        .map_err(|fatal| StartError::Fatal(fatal.to_string()))
}

/// Why the consensus engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict each other.
    #[error("the raft settings are not possible: {0}")]
    Settings(String),
    /// The stores cannot be used.
    #[error("start from the stored log and state: {0}")]
    Fatal(String),
}
