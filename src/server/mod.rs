//! The composition root: puts the parts of a node together and runs them until it is told to stop
//! or something breaks.
//!
//! `main` and the simulation call the same [`run`]; what differs between them comes in as
//! [`Parts`]. A fault (a failed disk, a damaged record, a broken invariant) ends `run` with an
//! error, and the process with it: nothing is served on top of a fault.

mod checkpoint;
mod listen;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::task::JoinSet;
use tonic_health::server::HealthReporter;

use crate::api;
use crate::clock::Clock;
use crate::codec::note;
use crate::codec::note::NoteSigner;
use crate::config::Config;
use crate::net::Listener;
use crate::net::Net;
use crate::node;
use crate::node::Node;
use crate::node::newcomer;
use crate::node::relay::RelayService;
use crate::node::retention::Retention;
use crate::planted;
use crate::proto::peer::v1::raft_server::RaftServer;
use crate::proto::peer::v1::relay_server::RelayServer;
use crate::proto::v1;
use crate::raft;
use crate::raft::Applied;
use crate::raft::Faults;
use crate::raft::Log;
use crate::raft::Member;
use crate::raft::NodeId;
use crate::raft::Peers;
use crate::raft::Raft;
use crate::raft::StateMachine;
use crate::raft::identity::Identity;
use crate::raft::peers::MAX_MESSAGE_BYTES;
use crate::raft::peers::Recognize;
use crate::raft::service::RaftService;
use crate::rng::Rng;
use crate::store::Opened;
use crate::store::Store;

/// How long the calls of clients may take to end when the node stops.
const DRAIN: Duration = Duration::from_secs(3);

/// What the outside world of a node is made of.
pub struct Parts {
    /// Where it keeps its data.
    pub store: Box<dyn Store>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Its sockets.
    pub net: Arc<dyn Net>,
    /// Randomness that is not replicated.
    pub rng: Arc<dyn Rng>,
}

/// Why a node stopped, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It cannot listen where it should.
    #[error("listen on {key} = {address:?}: {source}; is another process using that address?")]
    Bind {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Its data cannot be opened.
    #[error(transparent)]
    Open(#[from] crate::store::StoreError),
    /// The data directory is somebody else's.
    #[error(transparent)]
    Identity(#[from] raft::identity::IdentityError),
    /// Its data was lost.
    #[error(transparent)]
    LostData(#[from] newcomer::LostData),
    /// The log cannot be used.
    #[error("open the log: {0}")]
    Log(#[from] raft::log_store::OpenError),
    /// The state cannot be recovered.
    #[error(transparent)]
    Recovery(#[from] raft::recovery::RecoveryError),
    /// What is made of the events cannot be taken up.
    #[error("take up the projections: {0}")]
    Projections(#[from] crate::projection::ProjectionError),
    /// The consensus engine does not start.
    #[error(transparent)]
    Start(#[from] raft::StartError),
    /// Something broke while it ran.
    #[error("fault: {0}; the node stops rather than serve on top of it")]
    Fault(String),
}

/// Runs a node until `stop` completes or something breaks.
pub async fn run(config: Config, parts: Parts, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
    planted::choose();
    // Before anything is touched: a second process on the same ports ends here.
    let clients = bind(&*parts.net, "client.listen", &config.client.listen).await?;
    let peers = bind(&*parts.net, "peer.listen", &config.peer.listen).await?;

    let Opened { log, state, medium } = parts.store.open()?;
    let identity = Identity { cluster: config.cluster.clone(), node_id: config.node_id };
    let connections = Peers::new(Arc::clone(&parts.net), &config.cluster, config.node_id);
    if !identity.owns(&*log)? {
        newcomer::check(&connections, config.node_id, &members(&config)).await?;
    }
    let secret = match raft::identity::signing_key(&*log)? {
        Some(secret) => secret,
        None => {
            let secret = parts.rng.secret();
            identity.claim(&*log, secret).await?;
            secret
        }
    };
    let signer = NoteSigner::new(note::signer_name(&config.cluster, config.node_id), &secret);
    let applied = Applied::open(state)?;
    #[cfg(feature = "planted-bugs")]
    drop(applied.local_clock.set(Arc::clone(&parts.clock)));
    let log = Log::open(log)?;

    let (faults, mut reports) = raft::fault::faults();
    let raft = raft::start(
        config.node_id,
        &config.cluster,
        &raft_settings(&config),
        Arc::clone(&connections),
        faults.clone(),
        log.clone(),
        StateMachine(Arc::clone(&applied)),
    )
    .await?;

    let mut tasks = JoinSet::new();
    let node = Node::start(
        node::Parts {
            id: config.node_id,
            cluster: config.cluster.clone(),
            members: members(&config),
            raft: raft.clone(),
            applied: Arc::clone(&applied),
            peers: connections,
            faults: faults.clone(),
            clock: parts.clock,
            max_clock_step_ms: config.max_clock_step_ms,
            rng: parts.rng,
            signer,
            retention: Retention {
                max_age_ms: (config.events.max_age_ms > 0).then_some(config.events.max_age_ms),
                max_count: (config.events.max_count > 0).then_some(config.events.max_count),
            },
            medium,
            reserve_bytes: config.disk.reserve_bytes,
        },
        &mut tasks,
    )?;
    announce(&config, &*clients, &*peers);
    tasks.spawn(serve_peers(
        &config,
        peers,
        RaftService::new(raft.clone(), log, Arc::clone(&applied), faults.clone()),
        &node,
        &faults,
    ));
    let (finish, finished) = tokio::sync::oneshot::channel();
    let (health, serving) = serve_clients(&config, clients, &node, finished);
    let mut serving = tokio::spawn(serving);
    tasks.spawn(report_health(raft.clone(), health));

    let result = tokio::select! {
        // What broke says more than what ended because of it.
        biased;
        () = stop => Ok(()),
        fault = reports.first() => Err(ServerError::Fault(fault)),
        fault = broken(&raft) => Err(ServerError::Fault(fault)),
        // Some tasks end with the engine, and may be seen to before it is.
        ended = tasks.join_next() => Err(ServerError::Fault(
            fatal(&raft).unwrap_or_else(|| format!("a task of the node ended: {ended:?}")),
        )),
        fault = checkpoint::run(
            &applied,
            Duration::from_millis(config.raft.checkpoint_interval_ms),
            config.raft.keyframe_after_events,
        ) => Err(ServerError::Fault(fault.to_string())),
        ended = &mut serving => Err(ServerError::Fault(format!("the client server ended: {ended:?}"))),
    };
    let result = match result {
        Ok(()) => {
            tracing::info!("stopping");
            tokio::select! {
                biased;
                fault = reports.first() => Err(ServerError::Fault(fault)),
                fault = broken(&raft) => Err(ServerError::Fault(fault)),
                () = node.hand_over() => Ok(()),
            }
        }
        broke => broke,
    };
    if result.is_ok() {
        // They would go on for ever: told so, their clients go on elsewhere at once.
        node.stop_watches();
        if finish.send(()).is_err() {
            tracing::warn!("the client server had ended already");
        }
        // Calls that are under way get their answer; streams that go on for ever do not hold up.
        drop(tokio::time::timeout(DRAIN, &mut serving).await);
    }
    serving.abort();
    tasks.shutdown().await;
    let stopped = raft.shutdown().await;
    // What broke first is what has to be told.
    result?;
    stopped.map_err(|error| ServerError::Fault(format!("stop the consensus engine: {error}")))?;
    checkpoint::finish(&applied).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(net: &dyn Net, key: &'static str, address: &str) -> Result<Box<dyn Listener>, ServerError> {
    let bound = net.bind(address).await;
    bound.map_err(|source| ServerError::Bind { key, address: address.to_owned(), source })
}

fn raft_settings(config: &Config) -> raft::Settings {
    raft::Settings {
        heartbeat_ms: config.raft.heartbeat_ms,
        election_timeout_min_ms: config.raft.election_timeout_min_ms,
        election_timeout_max_ms: config.raft.election_timeout_max_ms,
        snapshot_after_entries: config.raft.snapshot_after_entries,
        keep_entries: config.raft.keep_entries,
    }
}

fn members(config: &Config) -> Vec<(NodeId, Member)> {
    config
        .members
        .iter()
        .map(|member| {
            let address = Member {
                client_address: member.client_address.clone(),
                peer_address: member.peer_address.clone(),
                // It is asked for when the cluster is formed.
                verifier_key: String::new(),
            };
            (member.node_id, address)
        })
        .collect()
}

fn announce(config: &Config, clients: &dyn Listener, peers: &dyn Listener) {
    let address = |listener: &dyn Listener| listener.address().unwrap_or_else(|error| error.to_string());
    tracing::info!(
        cluster = config.cluster,
        node_id = config.node_id,
        version = env!("CARGO_PKG_VERSION"),
        clients = address(clients),
        peers = address(peers),
        "started"
    );
}

/// The answering side of the peer port.
fn serve_peers(
    config: &Config,
    listener: Box<dyn Listener>,
    raft: RaftService,
    node: &Arc<Node>,
    faults: &Faults,
) -> impl Future<Output = ()> + use<> {
    let recognize = Recognize::new(&config.cluster, config.node_id, &node.verifier_key(), faults.clone());
    let raft = RaftServer::new(raft)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let relay = RelayServer::new(RelayService(Arc::clone(node)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let router = listen::server()
        .add_service(tonic::service::interceptor::InterceptedService::new(raft, recognize.clone()))
        .add_service(tonic::service::interceptor::InterceptedService::new(relay, recognize));
    async move {
        if let Err(error) = router.serve_with_incoming(listen::incoming(listener)).await {
            tracing::error!(%error, "the peer server ended");
        }
    }
}

type Serving = std::pin::Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>> + Send>>;

/// The answering side of the client port, until `finished`.
fn serve_clients(
    config: &Config,
    listener: Box<dyn Listener>,
    node: &Arc<Node>,
    finished: tokio::sync::oneshot::Receiver<()>,
) -> (HealthReporter, Serving) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .build_v1()
        .expect("the descriptors were compiled with the program");
    let router = listen::server()
        .add_routes(api::services(node, config.client.max_message_bytes))
        .add_service(health)
        .add_service(reflection);
    let serving = router.serve_with_incoming_shutdown(listen::incoming(listener), async move {
        // An error means that nobody can say so any more, which comes to the same.
        drop(finished.await);
    });
    (reporter, Box::pin(serving))
}

/// The services whose health is told; "" is the whole server.
const SERVICES: [&str; 6] = [
    "",
    "quorate.v1.Ledger",
    "quorate.v1.Quotas",
    "quorate.v1.Query",
    "quorate.v1.Events",
    "quorate.v1.Cluster",
];

/// Says SERVING while there is a leader to decide commands.
async fn report_health(raft: Raft, reporter: HealthReporter) {
    // Not those that change with every entry.
    let mut metrics = raft.server_metrics();
    let mut told = None;
    loop {
        let led = metrics.borrow_watched().current_leader.is_some();
        if told != Some(led) {
            told = Some(led);
            let status = if led {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            for service in SERVICES {
                reporter.set_service_status(service, status).await;
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Completes when the consensus engine has met a fault.
async fn broken(raft: &Raft) -> String {
    // Not those that change with every entry: this one is woken by what changes seldom, and by the end.
    let mut metrics = raft.server_metrics();
    loop {
        if let Some(fatal) = fatal(raft) {
            return fatal;
        }
        if metrics.changed().await.is_err() {
            return fatal(raft).unwrap_or_else(|| "the consensus engine ended".to_owned());
        }
    }
}

/// The fault that the consensus engine has met.
fn fatal(raft: &Raft) -> Option<String> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    metrics.running_state.as_ref().err().map(ToString::to_string)
}
