//! One node at work: it proposes commands, forwards what only the leader can do, and answers
//! linearizable reads from its own state.
//!
//! | file | subject |
//! |---|---|
//! | `propose` | many callers' commands become one log entry, or one call to the leader |
//! | `read` | read index, once for all who wait |
//! | `newcomer` | a member whose data is gone |
//! | `cluster` | status, membership, leadership |
//! | `relay` | what nodes ask of each other on behalf of clients |
//!
//! A request may be sent again at any time: its id makes that safe. So whatever is unclear here
//! (no leader, a leader that is going) is tried again until the caller's deadline, and then
//! reported as *unknown*, never as done or not done.

pub mod cluster;
pub mod deadline;
pub mod newcomer;
mod propose;
mod read;
pub mod relay;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout_at;

use crate::clock::Clock;
use crate::ledger::Outcome;
use crate::ledger::Request;
use crate::ledger::Revision;
use crate::proto::v1;
use crate::raft::Applied;
use crate::raft::Faults;
use crate::raft::Member;
use crate::raft::NodeId;
use crate::raft::Peers;
use crate::raft::Raft;
use crate::raft::state_machine::Progress;
use crate::raft::state_machine::StateGuard;
use crate::rng::Rng;

/// The first pause before something is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Why a node could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    /// Of which kind it is.
    pub kind: ErrorKind,
    /// For people: what, and what to do.
    pub problem: String,
}

/// Kinds of failure that are no decision of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing was decided as far as this node knows; the same request may be sent again.
    Unavailable,
    /// The cluster is not in a state for this.
    Refused,
    /// What was asked for makes no sense.
    Invalid,
    /// This node is broken and about to stop.
    Fault,
}

impl Error {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, problem: impl fmt::Display) -> Self {
        Self { kind, problem: problem.to_string() }
    }

    fn unavailable(problem: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, problem)
    }
}

/// What a node is made of.
pub struct Parts {
    /// Its number.
    pub id: NodeId,
    /// The name of its cluster.
    pub cluster: String,
    /// Who forms the cluster with it.
    pub members: Vec<(NodeId, Member)>,
    /// The consensus engine.
    pub raft: Raft,
    /// What it has applied.
    pub applied: Arc<Applied>,
    /// Its connections.
    pub peers: Arc<Peers>,
    /// Where its faults go.
    pub faults: Faults,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub rng: Arc<dyn Rng>,
}

/// One node.
pub struct Node {
    parts: Parts,
    proposals: propose::Queue,
    reads: read::Queue,
    progress: watch::Receiver<Progress>,
}

impl Node {
    /// Begins to work; the tasks are added to `tasks` and end when the node is dropped.
    pub fn start(parts: Parts, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let (proposals, proposed) = propose::queue();
        let (reads, waiting) = read::queue();
        let progress = parts.applied.progress();
        let node = Arc::new(Self { parts, proposals, reads, progress });
        tasks.spawn(propose::run(Arc::downgrade(&node), proposed));
        tasks.spawn(read::run(Arc::downgrade(&node), waiting));
        node
    }

    /// Its number.
    pub fn id(&self) -> NodeId {
        self.parts.id
    }

    /// Reads the state as this node has it. Nothing may be awaited while the guard lives.
    pub fn state(&self) -> StateGuard<'_> {
        self.parts.applied.read()
    }

    /// Events from a revision on, as `Applied::events`. One that cannot be read is a fault.
    pub fn events(&self, from: Revision, limit: usize) -> Result<Vec<v1::Event>, Error> {
        self.parts.applied.events(from, limit).map_err(|error| {
            self.parts.faults.report(format!("read events: {error}"));
            Error::new(ErrorKind::Fault, format!("this node cannot read its events and stops: {error}"))
        })
    }

    /// Has a request decided, by this node or through the leader, and returns its outcome.
    pub async fn decide(&self, request: Request, deadline: Instant) -> Result<Outcome, Error> {
        self.until(deadline, || self.proposals.propose(request.clone(), deadline, false)).await
    }

    /// Waits until this node's state shows everything that was acknowledged anywhere before the
    /// call.
    pub async fn linearize(&self, deadline: Instant) -> Result<(), Error> {
        let index = self.until(deadline, || self.reads.read_index(deadline, false)).await?;
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| progress.index >= Some(index));
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Fault, "this node is stopping")),
            Err(_) => Err(Error::unavailable(format!(
                "this node has not caught up to log index {index} in time; ask another node or try again"
            ))),
        }
    }

    /// Tries until it works, the deadline passes, or trying again makes no sense.
    async fn until<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let mut pause = FIRST_PAUSE;
        let mut earlier = None;
        loop {
            match attempt().await {
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    let pause_now = self.parts.rng.jitter(pause);
                    let now = Instant::now();
                    if now + pause_now >= deadline {
                        // That time ran out says less than what kept it from working before.
                        return Err(earlier.filter(|_| now >= deadline).unwrap_or(error));
                    }
                    earlier = Some(error);
                    sleep(pause_now).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                result => return result,
            }
        }
    }

    /// The leader this node knows of.
    fn leader(&self) -> Option<(NodeId, Member)> {
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let member = metrics.membership_config.get_node(&leader)?.clone();
        Some((leader, member))
    }

    /// The leader, which must not be this node.
    fn other_leader(&self) -> Result<(NodeId, Member), Error> {
        match self.leader() {
            Some((leader, member)) if leader != self.parts.id => Ok((leader, member)),
            _ => Err(self.no_leader()),
        }
    }

    /// Why there is nobody to decide anything, and what to do about it.
    fn no_leader(&self) -> Error {
        let formed = {
            let metrics = self.parts.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.nodes().next().is_some()
        };
        Error::unavailable(if formed {
            "there is no leader at the moment; one is elected as soon as a majority of nodes is up"
        } else {
            "this node belongs to no cluster yet; when all members run, form it with: quorate cluster init"
        })
    }
}
