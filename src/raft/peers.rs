//! Connections to the other nodes: made once, kept, and introduced on every call.
//!
//! A peer that stops answering is noticed by HTTP/2 keepalive within a second, whatever the call;
//! without it a connection that a partition has cut stays wedged long after the partition ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::Request;
use tonic::Status;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::transport::Endpoint;
use tonic::transport::Uri;
use tower::service_fn;

use super::fault::Faults;
use super::types::Member;
use super::types::NodeId;
use crate::net::Net;

/// Largest message between nodes. An append holds at most a few batches, each bounded; this only
/// stops nonsense.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// How often an idle connection is probed, and how long the answer may take.
pub const KEEPALIVE: Duration = Duration::from_millis(500);

/// How much may be under way on one connection.
pub const WINDOW_BYTES: u32 = 16 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

const CLUSTER: &str = "quorate-cluster";
const FROM: &str = "quorate-from";
const TO: &str = "quorate-to";
const KEY: &str = "quorate-key";

/// What a connection is for. Each purpose has its own, so that a large transfer delays no
/// heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Log entries, votes and transfers of leadership.
    Replication,
    /// Heartbeats.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// What clients asked of this node and another has to do.
    Relay,
}

/// A connection that introduces itself.
pub type PeerChannel = InterceptedService<Channel, Introduce>;

/// The connections of this node to the others.
pub struct Peers {
    net: Arc<dyn Net>,
    cluster: String,
    me: NodeId,
    channels: Mutex<BTreeMap<(String, Purpose), Channel>>,
}

impl Peers {
    /// None yet; they are made when they are needed.
    pub fn new(net: Arc<dyn Net>, cluster: &str, me: NodeId) -> Arc<Self> {
        Arc::new(Self { net, cluster: cluster.to_owned(), me, channels: Mutex::default() })
    }

    /// The connection to a node for a purpose. It connects with the first call.
    pub fn channel(&self, to: NodeId, member: &Member, purpose: Purpose) -> Result<PeerChannel, Status> {
        let address = member.peer_address.as_str();
        let mut channels = self.channels.lock().expect("nothing panics while it holds the connections");
        let channel = match channels.get(&(address.to_owned(), purpose)) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.connect(address)?;
                channels.insert((address.to_owned(), purpose), channel.clone());
                channel
            }
        };
        let introduce = Introduce {
            cluster: metadata(&self.cluster)?,
            from: self.me.into(),
            to: to.into(),
            key: metadata(&member.verifier_key)?,
        };
        Ok(InterceptedService::new(channel, introduce))
    }

    fn connect(&self, address: &str) -> Result<Channel, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
            Status::invalid_argument(format!("{address:?} is no address of a node: {error}"))
        })?;
        let net = Arc::clone(&self.net);
        let address = address.to_owned();
        let connector = service_fn(move |_: Uri| {
            let net = Arc::clone(&net);
            let address = address.clone();
            async move { net.connect(&address).await.map(TokioIo::new) }
        });
        Ok(endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect_with_connector_lazy(connector))
    }
}

fn metadata(text: &str) -> Result<MetadataValue<tonic::metadata::Ascii>, Status> {
    text.parse().map_err(|_| Status::invalid_argument(format!("{text:?} cannot be told to another node")))
}

/// Says on every call who calls, and whom it takes the other to be.
#[derive(Debug, Clone)]
pub struct Introduce {
    cluster: MetadataValue<tonic::metadata::Ascii>,
    from: MetadataValue<tonic::metadata::Ascii>,
    to: MetadataValue<tonic::metadata::Ascii>,
    /// Empty when the other is no member yet.
    key: MetadataValue<tonic::metadata::Ascii>,
}

impl Interceptor for Introduce {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, self.cluster.clone());
        metadata.insert(FROM, self.from.clone());
        metadata.insert(TO, self.to.clone());
        metadata.insert(KEY, self.key.clone());
        Ok(request)
    }
}

/// Refuses calls from another cluster, and calls that are meant for another node: an address may
/// have been given to somebody else.
///
/// A call that is meant for this node with other data is a fault. What the other nodes count on was
/// lost with that data, votes and entries: under its id this node could help to elect a leader that
/// lacks what was acknowledged.
#[derive(Debug, Clone)]
pub struct Recognize {
    cluster: Arc<str>,
    me: NodeId,
    key: Arc<str>,
    faults: Faults,
}

impl Recognize {
    /// For this node, which signs with the key of this name.
    pub fn new(cluster: &str, me: NodeId, key: &str, faults: Faults) -> Self {
        Self { cluster: cluster.into(), me, key: key.into(), faults }
    }
}

impl Interceptor for Recognize {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let said =
            |key| request.metadata().get(key).and_then(|value| value.to_str().ok()).unwrap_or("nobody");
        if said(CLUSTER) != &*self.cluster {
            return Err(Status::unavailable(format!(
                "this node belongs to cluster {:?}, the call comes from {:?}",
                self.cluster,
                said(CLUSTER)
            )));
        }
        if said(TO) != self.me.to_string() {
            return Err(Status::unavailable(format!(
                "this is node {}, the call from node {} is meant for node {}",
                self.me,
                said(FROM),
                said(TO)
            )));
        }
        let key = request.metadata().get(KEY).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !key.is_empty() && key != &*self.key {
            let me = self.me;
            let problem = format!(
                "node {} knows node {me} with other data than this: the data that node {me} joined the cluster \
                 with was lost, and with it what others count on, so its id cannot be used again; remove it \
                 (quorate cluster remove {me}) and add a node with a new id, or bring the lost data directory \
                 back; see docs/operations.md",
                said(FROM)
            );
            self.faults.report(&problem);
            return Err(Status::unavailable(problem));
        }
        Ok(request)
    }
}
