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
mod load;
mod meter;
mod process;
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
    /// What came back.
    pub outcomes: Outcomes,
    /// How many calls were answered.
    pub calls: u64,
    /// Of calls, in nanoseconds.
    pub latency: Histogram<u64>,
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
    let (cluster, endpoints) = match &plan.place {
        Place::Running(endpoints) => (None, endpoints.clone()),
        Place::Spawn { nodes, directory, keep } => {
            observer.begins("starting nodes", *nodes);
            let cluster = Cluster::start(*nodes, directory.as_deref(), *keep).await?;
            let endpoints = cluster.endpoints();
            (Some(cluster), endpoints)
        }
    };
    let site = Site::find(&endpoints, cluster.as_ref(), &plan.client).await?;
    let tree = Tree::new(plan.shape, plan.payload, plan.ttl);
    let client = site.client_of_leader(&plan.client)?;
    tree.plant(&client, observer.as_ref()).await?;
    let mut report = load::run(plan, &site, Arc::new(tree), observer).await?;
    if let Some(cluster) = cluster {
        report.notes.extend(cluster.stop());
    }
    Ok(report)
}
