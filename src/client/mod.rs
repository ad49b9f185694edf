//! A typed client of the cluster: one method per RPC, on whichever node answers.
//!
//! It knows the public protocol, which failures can be tried again elsewhere, and for how long.
//! It knows nothing of leaders (every node takes every call and forwards what it cannot decide),
//! of the rules of the ledger, or of how an answer is shown to a person.
//!
//! A command carries a `request_id` made before the first try and kept through all of them, so a
//! repeat returns the first outcome instead of taking effect again.

mod error;
mod identity;
mod methods;
mod nodes;
mod read;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::Ascii;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

pub use self::error::ClientError;
pub use self::error::code_name;
pub use self::error::rejection_of;
pub use self::identity::new_request_id;
pub use self::identity::number_commands;
pub use self::identity::numbered_request_id;
pub use self::identity::request_id_of;
pub use self::identity::request_time_ms;
pub use self::methods::Submission;
pub use self::methods::Watcher;
use self::nodes::Nodes;
pub use self::nodes::channel_settings;
pub use self::read::Read;
use self::retry::Jitter;
/// What a rejection says, in words.
pub use crate::codec::tell;
/// The messages that the methods take and return.
pub use crate::proto::v1;

/// The most that one reply may weigh.
pub const DECODE_LIMIT_BYTES: usize = 16 * 1024 * 1024;

pub use v1::ACTOR_KEY;
pub use v1::REASON_KEY;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Who asks; recorded in the event of every command. Visible ASCII.
    pub actor: Option<String>,
    /// Why; recorded as well. Visible ASCII.
    pub reason: Option<String>,
    /// How long one call may take with all its tries.
    pub timeout: Duration,
    /// How long one node may take before the next is asked.
    pub try_timeout: Duration,
    /// Makes the jitter of the pauses repeatable; random when absent.
    pub seed: Option<u64>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            actor: None,
            reason: None,
            timeout: Duration::from_secs(10),
            try_timeout: Duration::from_secs(3),
            seed: None,
        }
    }
}

/// A client of one cluster. Clones share connections and the choice of node.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    read: Read,
}

#[derive(Debug)]
struct Inner {
    nodes: Nodes,
    actor: Option<MetadataValue<Ascii>>,
    reason: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    try_timeout: Duration,
    jitter: Jitter,
}

impl Client {
    /// A client of the nodes at `endpoints` (`host:port`), any of which it may talk to. Connects
    /// when it is first used, not here.
    ///
    /// # Errors
    ///
    /// [`ClientError::Invalid`] when an endpoint or the actor is not well formed.
    pub fn new(endpoints: &[String], options: ClientOptions) -> Result<Self, ClientError> {
        Self::over(Nodes::new(endpoints)?, options)
    }

    /// A client over channels that the caller made, each with the name to show for its node: for
    /// sockets that are not the operating system's. See [`channel_settings`].
    ///
    /// # Errors
    ///
    /// [`ClientError::Invalid`] when there is no channel or the actor is not well formed.
    pub fn from_channels(
        channels: Vec<(String, Channel)>,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        Self::over(Nodes::from_channels(channels)?, options)
    }

    fn over(nodes: Nodes, options: ClientOptions) -> Result<Self, ClientError> {
        let value = |what, text: Option<&str>| text.map(|text| metadata(what, text)).transpose();
        let actor = value("actor", options.actor.as_deref())?;
        let reason = value("reason", options.reason.as_deref())?;
        #[allow(clippy::disallowed_methods)] // Unless a simulation gives a seed.
        let jitter = Jitter::new(options.seed.unwrap_or_else(rand::random));
        let ClientOptions { timeout, try_timeout, .. } = options;
        let inner = Arc::new(Inner { nodes, actor, reason, timeout, try_timeout, jitter });
        Ok(Self { inner, read: Read::default() })
    }

    /// The node that answered last, and that the next call asks first.
    pub fn endpoint(&self) -> &str {
        let nodes = &self.inner.nodes;
        nodes.address(nodes.current())
    }
}

fn metadata(what: &str, text: &str) -> Result<MetadataValue<Ascii>, ClientError> {
    MetadataValue::try_from(text).map_err(|_| ClientError::Invalid {
        what: what.to_owned(),
        text: text.to_owned(),
        problem: "it travels as gRPC metadata: use visible ASCII characters only".to_owned(),
    })
}
