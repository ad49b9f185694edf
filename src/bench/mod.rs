//! The load generator: asks a cluster for as much as it can take, or as much as it is told, and
//! counts what comes back.
//!
//! It is a client like any other and goes through [`crate::client`]: what it measures is what
//! others get. It knows processes (it can start a cluster of its own, and reads what nodes on this
//! machine take), trees of scopes, and histograms. It knows nothing of the command line or of how a
//! report is shown.
//!
//! It shares its machine with nodes more often than not, so it is made to take little of it: one
//! thread, messages that are made ahead, and few connections.

mod course;
mod draw;
mod error;
mod failover;
mod in_process;
mod load;
mod memory;
mod meter;
mod process;
mod pulse;
mod recovery;
mod site;
mod spawn;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::draw::Skew;
pub use self::error::BenchError;
pub use self::meter::Interval;
pub use self::meter::Outcomes;
pub use self::process::Usage;
use self::site::Site;
use self::spawn::Cluster;
pub use self::tree::Shape;
use self::tree::Tree;
use crate::client::ClientOptions;
use crate::client::Read;
use hdrhistogram::Histogram;

/// What is asked for, over and over.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// One reservation per call, each client waiting for its answer.
    Unary,
    /// So many reservations per call.
    Batch {
        /// How many.
        size: usize,
    },
    /// A stream per client with so many reservations under way.
    Stream {
        /// How many.
        window: usize,
    },
    /// The quota of a leaf.
    Read {
        /// How new the answer must be.
        read: Read,
    },
    /// Holds that are reserved, and committed, released or left to expire, in calls.
    Mixed,
    /// Reservations in calls, until each has reached all who watch.
    Watch {
        /// How many watch.
        watchers: usize,
    },
    /// The leader is killed, again and again, while reservations are asked for. Needs nodes that were
    /// started for it.
    Failover {
        /// How often.
        kills: u64,
    },
    /// A node is killed and started that has much to remember. Needs nodes that were started for it.
    Recovery {
        /// How many events it has.
        events: u64,
        /// How many live holds.
        holds: u64,
        /// How often it is started.
        restarts: u64,
    },
    /// How much larger nodes are with the quotas of the tree. Needs nodes that were started for it.
    Memory,
    /// The rules alone, in this process: no log, no disk, no network.
    InProcess {
        /// Commands that are decided together.
        size: usize,
    },
}

/// Where the cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It runs, and these are its nodes.
    Running(Vec<String>),
    /// So many nodes are started on this machine, and stopped at the end.
    Spawn {
        /// How many.
        nodes: u64,
        /// Their data lies in a new directory below this one, or below that for temporary files.
        directory: Option<PathBuf>,
        /// Whether it stays.
        keep: bool,
    },
}

/// Which nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The one that leads when the measurement begins: nothing is forwarded.
    Leader,
    /// All, each by as many clients.
    All,
}

/// A measurement to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub place: Place,
    /// What is asked for.
    pub work: Work,
    /// The scopes.
    pub shape: Shape,
    /// How the leaves are picked.
    pub skew: Skew,
    /// How many ask at once.
    pub clients: usize,
    /// Connections to each node that is asked; never more than clients.
    pub connections: usize,
    /// Which nodes are asked.
    pub target: Target,
    /// How long is asked before it counts.
    pub warm_up: Duration,
    /// How long it counts at most.
    pub duration: Duration,
    /// Ends after so many calls.
    pub count: Option<u64>,
    /// Calls begin at this rate per second, whatever becomes of those before them.
    pub rate: Option<f64>,
    /// What a hold carries along, in bytes.
    pub payload: usize,
    /// How long holds live; for ever when not said.
    pub ttl: Option<Duration>,
    /// Of the random picks.
    pub seed: u64,
    /// Who asks, and how long for an answer.
    pub client: ClientOptions,
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    /// What was measured, in words for people.
    pub facts: Vec<(&'static str, String)>,
    /// How long it was measured.
    pub measured: Duration,
    /// What is meant by throughput; none where there is none to speak of.
    pub throughput_of: Option<&'static str>,
    /// What came back.
    pub outcomes: Outcomes,
    /// How many calls were answered, or whatever the latency is of.
    pub calls: u64,
    /// What the latency is of.
    pub latency_of: &'static str,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
    /// What else was counted.
    pub figures: Vec<Figure>,
    /// How it went over time.
    pub intervals: Vec<Interval>,
    /// What the nodes took while it was measured; none of those that are elsewhere.
    pub nodes: Vec<NodeUse>,
    /// What this process took meanwhile.
    pub generator: Usage,
    /// The first thing that went wrong.
    pub problem: Option<String>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// A number with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// In words.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what; "" when the name says it.
    pub unit: &'static str,
}

/// What a node took.
#[derive(Debug)]
pub struct NodeUse {
    /// Where clients reach it.
    pub address: String,
    /// Whether it led when the measurement began.
    pub is_leader: bool,
    /// None when its process is not on this machine, or not ours to look at.
    pub usage: Option<Usage>,
}

impl Report {
    /// What was done per second.
    pub fn throughput(&self) -> f64 {
        let seconds = self.measured.as_secs_f64();
        if seconds > 0.0 { self.outcomes.useful() as f64 / seconds } else { 0.0 }
    }
}

/// Is told how far a measurement has come.
pub trait Observer: Send + Sync {
    /// A step begins, with so many parts.
    fn begins(&self, step: &str, parts: u64);
    /// So many parts of it are done.
    fn at(&self, part: u64, note: &str);
}

/// Makes a measurement. When it is given up on the way, nodes that it has started are stopped.
///
/// # Errors
///
/// [`BenchError`] when there is nothing to measure: no node answers or starts, or the tree cannot be
/// made. What goes wrong with single calls is counted in the report.
pub async fn measure(plan: &Plan, observer: Arc<dyn Observer>) -> Result<Report, BenchError> {
    if let Work::InProcess { size } = plan.work {
        return in_process::run(plan, size, observer.as_ref()).await;
    }
    let endpoints = match &plan.place {
        Place::Running(endpoints) => endpoints,
        Place::Spawn { nodes, directory, keep } => {
            observer.begins("starting nodes", *nodes);
            let mut cluster = Cluster::start(*nodes, directory.as_deref(), *keep).await?;
            let report = on_own_nodes(plan, &mut cluster, observer).await;
            let left = cluster.stop();
            return report.map(|mut report| {
                report.notes.extend(left);
                report
            });
        }
    };
    if plan.work.needs_own_nodes() {
        let problem = "this kills nodes: it needs some that are started for it, with --spawn 3";
        return Err(BenchError::Plan(problem.to_owned()));
    }
    let site = Site::find(endpoints, None, &plan.client).await?;
    let tree = plant(plan, &site, observer.as_ref()).await?;
    let mut report = load::run(plan, &site, tree, observer).await?;
    let root = report.facts.iter().find(|(name, _)| *name == "tree").map(|(_, words)| words.as_str());
    report.notes.extend(root.map(|root| format!("left behind on the cluster: {root}, and the holds in it")));
    Ok(report)
}

async fn on_own_nodes(
    plan: &Plan,
    cluster: &mut Cluster,
    observer: Arc<dyn Observer>,
) -> Result<Report, BenchError> {
    if plan.work == Work::Memory {
        return memory::run(plan, cluster, observer.as_ref()).await;
    }
    let site = Site::find(&cluster.endpoints(), Some(cluster), &plan.client).await?;
    let tree = plant(plan, &site, observer.as_ref()).await?;
    match plan.work {
        Work::Failover { kills } => failover::run(plan, kills, cluster, &tree, observer.as_ref()).await,
        Work::Recovery { events, holds, restarts } => {
            let past = recovery::Past { events, holds };
            recovery::run(plan, past, restarts, cluster, &tree, observer.as_ref()).await
        }
        _ => load::run(plan, &site, tree, observer).await,
    }
}

async fn plant(plan: &Plan, site: &Site, observer: &dyn Observer) -> Result<Arc<Tree>, BenchError> {
    let tree = Tree::new(plan.shape, plan.payload, plan.ttl);
    tree.plant(&site.client_of_leader(&plan.client)?, observer).await?;
    Ok(Arc::new(tree))
}

impl Work {
    /// Whether it does to nodes what is not done to those of others.
    pub fn needs_own_nodes(&self) -> bool {
        matches!(self, Self::Failover { .. } | Self::Recovery { .. } | Self::Memory)
    }

    /// For people.
    fn words(&self) -> String {
        match self {
            Self::Unary => "one reservation per call".to_owned(),
            Self::Batch { size } => format!("{size} reservations per call"),
            Self::Stream { window } => format!("a stream of reservations per client, {window} under way"),
            Self::Read { read } => format!("one quota per call, {}", consistency(*read)),
            Self::Mixed => "one reserve, commit or release per call; some holds expire".to_owned(),
            Self::Watch { watchers } => format!("one reservation per call, {watchers} watch"),
            Self::Failover { kills } => format!("the leader is killed {kills} times"),
            Self::Recovery { events, holds, restarts } => {
                format!(
                    "a node with {events} events and {holds} live holds is killed and started {restarts} times"
                )
            }
            Self::Memory => "nodes with the quotas of the tree, and without".to_owned(),
            Self::InProcess { size } => format!("{size} reservations decided together, by the rules alone"),
        }
    }
}

fn consistency(read: Read) -> String {
    match read {
        Read::Linearizable => "linearizable".to_owned(),
        Read::AtLeast(revision) => format!("at least as new as revision {revision}"),
        Read::Stale(lag) => format!("at most {lag:?} old"),
        Read::AtRevision(revision) => format!("at revision {revision}"),
        Read::AtTime(ms) => format!("as at {ms} ms"),
    }
}
