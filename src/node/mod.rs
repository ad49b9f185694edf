//! One node at work: it proposes commands, forwards what only the leader can do, and answers reads
//! from its own state.
//!
//! | file | subject |
//! |---|---|
//! | `propose` | many callers' commands become one log entry, or one call to the leader |
//! | `time` | what time it is: the stamp of every entry |
//! | `tick` | an entry when something is due and nobody sends a command |
//! | `read` | read index, once for all who wait |
//! | `project` | keeps the projections up to date |
//! | `proofs` | checkpoints and proofs; nodes compare what they have |
//! | `retention` | lets go of old events |
//! | `export` | events as they are stored |
//! | `scrub` | reads what is stored, before somebody needs it |
//! | `watch/` | events as they come, for many readers |
//! | `view` | how new an answer must be, and the state that is |
//! | `past` | states of the past, and which are kept |
//! | `newcomer` | a member whose data is gone |
//! | `cluster` | status, membership, leadership |
//! | `candidacy` | a node that has just started lets others be elected |
//! | `retry` | again, until the deadline |
//! | `room` | disks that are nearly full |
//! | `relay` | what nodes ask of each other on behalf of clients |
//!
//! A request may be sent again at any time: its id makes that safe. So whatever is unclear here
//! (no leader, a leader that is going) is tried again until the caller's deadline, and then
//! reported as *unknown*, never as done or not done.

mod candidacy;
pub mod cluster;
pub mod deadline;
mod export;
pub mod newcomer;
mod past;
mod project;
pub mod proofs;
mod propose;
mod read;
pub mod relay;
pub mod retention;
mod retry;
mod room;
mod scrub;
mod tick;
mod time;
mod view;
pub mod watch;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout_at;

use self::propose::Prepared;
use self::read::ReadPoint;
use self::retention::Retention;
use self::retry::Retry;
pub use self::view::Read;
pub use self::view::View;
use crate::clock::Clock;
use crate::codec::batch;
use crate::codec::note::NoteSigner;
use crate::ledger;
use crate::ledger::LogTime;
use crate::ledger::Outcome;
use crate::ledger::Request;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::planted::Bug;
use crate::planted::planted;
use crate::projection::ProjectionError;
use crate::raft::Applied;
use crate::raft::Faults;
use crate::raft::Member;
use crate::raft::NodeId;
use crate::raft::Peers;
use crate::raft::Raft;
use crate::raft::state_machine::Progress;
use crate::raft::state_machine::StateGuard;
use crate::rng::Rng;
use crate::store::Medium;

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
    /// Too much is waiting already: it was not tried.
    Overloaded,
    /// The cluster is not in a state for this.
    Refused,
    /// What was asked for makes no sense.
    Invalid,
    /// The history does not go back so far.
    Compacted {
        /// The first revision that can be read.
        earliest: Revision,
    },
    /// It has not happened yet.
    NotYet,
    /// A disk is nearly full: what takes or adds was not tried.
    NoRoom {
        /// Whose disk.
        node: NodeId,
        /// What is left on it.
        free_bytes: u64,
    },
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

    /// The refusal of a request of which an earlier attempt had no answer: it holds for the last one alone.
    fn after_an_attempt(self) -> Self {
        Self::unavailable(format!("whether an earlier attempt takes effect is unknown; since then {self}"))
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
    /// How far the clock may be from what time it must be, in milliseconds, to be followed.
    pub max_clock_step_ms: u64,
    /// For jitter.
    pub rng: Arc<dyn Rng>,
    /// Signs checkpoints.
    pub signer: NoteSigner,
    /// How long events are kept, as far as this node has a say.
    pub retention: Retention,
    /// What it keeps its data on.
    pub medium: Arc<dyn Medium>,
    /// With less than this free on it, what takes or adds is not decided.
    pub reserve_bytes: u64,
}

/// One node.
pub struct Node {
    parts: Parts,
    proposals: propose::Queue,
    reads: read::Queue,
    time: time::Time,
    room: room::Room,
    freshness: view::Freshness,
    past: past::Past,
    progress: tokio::sync::watch::Receiver<Progress>,
    watches: watch::Watches,
    exporting: export::Exporting,
    /// One preview at a time.
    previews: Semaphore,
    /// One at a time has log time pass a time: the next may find it done.
    passing: Mutex<()>,
    projections: project::Projections,
    checkpoints: proofs::Checkpoints,
}

impl Node {
    /// Begins to work; the tasks are added to `tasks` and end when the node is dropped.
    pub fn start(parts: Parts, tasks: &mut JoinSet<()>) -> Result<Arc<Self>, ProjectionError> {
        let (proposals, proposed) = propose::queue();
        let (reads, waiting) = read::queue();
        let (past, wanted) = past::Past::new();
        let time = time::Time::new(parts.max_clock_step_ms);
        let room = room::Room::new(parts.reserve_bytes);
        let progress = parts.applied.progress();
        let watches = watch::Watches::new(*progress.borrow());
        let previews = Semaphore::new(1);
        let (projections, worker) = project::open(&parts.applied, &parts.faults)?;
        let node = Arc::new(Self {
            parts,
            proposals,
            reads,
            time,
            room,
            freshness: view::Freshness::default(),
            past,
            progress,
            watches,
            exporting: Default::default(),
            previews,
            passing: Mutex::new(()),
            projections,
            checkpoints: Default::default(),
        });
        tasks.spawn(project::run(worker));
        tasks.spawn(proofs::compare(Arc::downgrade(&node)));
        tasks.spawn(scrub::run(Arc::downgrade(&node)));
        tasks.spawn(retention::run(Arc::downgrade(&node)));
        tasks.spawn(propose::run(Arc::downgrade(&node), proposed));
        tasks.spawn(read::run(Arc::downgrade(&node), waiting));
        tasks.spawn(past::run(Arc::downgrade(&node), wanted));
        tasks.spawn(tick::run(Arc::downgrade(&node)));
        tasks.spawn(candidacy::run(Arc::downgrade(&node)));
        tasks.spawn(watch::pump::run(Arc::downgrade(&node)));
        tasks.spawn(room::run(Arc::downgrade(&node)));
        Ok(node)
    }

    /// Its number.
    pub fn id(&self) -> NodeId {
        self.parts.id
    }

    /// Reads the state as this node has it. Nothing may be awaited while the guard lives.
    pub fn state(&self) -> StateGuard<'_> {
        self.parts.applied.read()
    }

    /// What a request would lead to now, after everything that was acknowledged anywhere before the
    /// call, at the time that the leader believes. `look` sees the state after it, what was
    /// decided and the revision there is; then everything is as it was before.
    pub async fn preview_with<T>(
        &self,
        request: &Request,
        deadline: Instant,
        look: impl FnOnce(&State, &ledger::Applied, Revision) -> T,
    ) -> Result<T, Error> {
        // What it could not do is no answer to what it would do.
        propose::check_size(&batch::encoded(request))?;
        let time = self.linearize(deadline).await?;
        // While one is looked at nothing is applied on this node: they take turns, so that entries
        // come in between.
        let turn = self.previews.acquire();
        let Ok(Ok(_turn)) = timeout_at(deadline, turn).await else {
            return Err(Error::unavailable(
                "too many previews are waiting; try again later, or another node",
            ));
        };
        Ok(self.parts.applied.preview_with(time, request, look))
    }

    /// Has a request decided, by this node or through the leader, and returns its outcome.
    pub async fn decide(&self, request: Request, deadline: Instant) -> Result<Outcome, Error> {
        let mut results = self.decide_all(vec![request], deadline).await;
        results.pop().expect("every request has a result")
    }

    /// Has requests decided in their order, together as far as possible; returns one result for
    /// each. The first that is not decided is the last that was tried, except that a request which
    /// can never be decided, or for which there is no room, does not stand in the way of those after
    /// it.
    pub async fn decide_all(&self, requests: Vec<Request>, deadline: Instant) -> Vec<Result<Outcome, Error>> {
        let requests: Vec<Prepared> = requests.into_iter().map(Prepared::from).collect();
        let refused: Vec<Option<Error>> =
            requests.iter().map(|request| propose::check_size(&request.bytes).err()).collect();
        let possible = requests.into_iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let mut left: VecDeque<Arc<Prepared>> = possible.map(|(request, _)| Arc::new(request)).collect();
        let mut outcomes = Vec::with_capacity(left.len());
        let mut retry = Retry::until(deadline, self);
        let mut attempts = propose::Attempts::default();
        let undecided = loop {
            if left.is_empty() {
                break None;
            }
            // What is sent again has the same ids, and what was decided is not sent again.
            let group: VecDeque<_> = left.iter().take(propose::group_of(&left)).cloned().collect();
            let sent = group.len();
            let propose::Decided { outcomes: decided, error } =
                self.proposals.propose(group, deadline, false).await;
            left.drain(..decided.len());
            let before = attempts.count();
            let error = attempts.after(sent, decided.len(), error);
            outcomes.extend(decided.into_iter().enumerate().map(|(position, result)| match result {
                Err(refused) if position < before => Err(refused.after_an_attempt()),
                result => result,
            }));
            match error {
                None => retry = Retry::until(deadline, self),
                Some(error) => {
                    if let Err(error) = retry.pause(error).await {
                        break Some(error);
                    }
                }
            }
        };
        let mut outcomes = outcomes.into_iter();
        let result = |refused| match refused {
            Some(error) => Err(error),
            None => outcomes.next().unwrap_or_else(|| {
                Err(undecided.clone().expect("all are decided or refused, or one is not"))
            }),
        };
        refused.into_iter().map(result).collect()
    }

    /// Waits until this node's state shows everything that was acknowledged anywhere before the
    /// call. Returns what the leader believed the time to be.
    pub async fn linearize(&self, deadline: Instant) -> Result<LogTime, Error> {
        if planted(Bug::ReadWithoutReadIndex) {
            return Ok(self.parts.applied.log_time());
        }
        let ReadPoint { index, time, asked } =
            self.until(deadline, || self.reads.read_index(deadline, false)).await?;
        let is_applied =
            |progress: &Progress| progress.index >= Some(index) || planted(Bug::ReadBeforeApplied);
        self.wait_for(is_applied, deadline, |progress| {
            let here = progress.index.map_or_else(|| "nothing".to_owned(), |index| index.to_string());
            format!(
                "this node has applied {here} and not log index {index} in time; ask another node or try again"
            )
        })
        .await?;
        self.freshness.note(if planted(Bug::FreshnessFromAnswer) { Instant::now() } else { asked });
        Ok(time)
    }

    /// Tries until it works, the deadline passes, or trying again makes no sense.
    async fn until<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let mut retry = Retry::until(deadline, self);
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// The leader this node knows of.
    fn leader(&self) -> Option<(NodeId, Member)> {
        // Whoever is woken by another leader finds it here: these come before those that change with every
        // entry.
        let metrics = self.parts.raft.server_metrics();
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
            let metrics = self.parts.raft.server_metrics();
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
