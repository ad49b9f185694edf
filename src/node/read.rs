//! Linearizable reads: the log index that a read must have applied, asked of the leader once for
//! all who wait.

use std::sync::Weak;
use std::time::Duration;

use openraft::ReadPolicy;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::ledger::LogTime;
use crate::planted::Bug;
use crate::planted::planted;

/// How many reads may wait.
const QUEUE: usize = 65_536;

/// How long one question to the leader may take; then it is asked anew, of whoever leads then.
const ATTEMPT: Duration = Duration::from_secs(1);

/// From where on a read shows everything that was acknowledged before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadPoint {
    /// The log index that must have been applied.
    pub(super) index: u64,
    /// What the leader believed the time to be.
    pub(super) time: LogTime,
    /// When the leader was asked: of what was acknowledged before, nothing is missing.
    pub(super) asked: Instant,
}

/// A read that waits for its index.
pub(super) struct Waiting {
    /// It comes from another node that took this one for the leader.
    relayed: bool,
    reply: oneshot::Sender<Result<ReadPoint, Error>>,
}

/// Where reads wait.
pub(super) struct Queue(mpsc::Sender<Waiting>);

pub(super) fn queue() -> (Queue, mpsc::Receiver<Waiting>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Queue(sender), receiver)
}

impl Queue {
    /// What a read must have applied that begins now.
    pub(super) async fn read_index(&self, deadline: Instant, relayed: bool) -> Result<ReadPoint, Error> {
        let (reply, index) = oneshot::channel();
        self.0.try_send(Waiting { relayed, reply }).map_err(|_| {
            let problem = format!("{QUEUE} reads are waiting; this node is overloaded: try again later");
            Error::new(ErrorKind::Overloaded, problem)
        })?;
        match timeout_at(deadline, index).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::unavailable("this node is stopping")),
            Err(_) => Err(Error::unavailable("no majority of nodes confirmed the leader in time; try again")),
        }
    }
}

/// Asks once for all reads that came while the last question was under way.
pub(super) async fn run(node: Weak<Node>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut gathered = Vec::new();
    while waiting.recv_many(&mut gathered, QUEUE).await > 0 {
        let Some(node) = node.upgrade() else {
            return;
        };
        let (relayed, own): (Vec<_>, Vec<_>) = gathered.drain(..).partition(|waiting| waiting.relayed);
        if node.reign().is_some() {
            let index = node.read_index_as_leader().await;
            own.into_iter().chain(relayed).for_each(|waiting| waiting.answer(index.clone()));
            continue;
        }
        relayed.into_iter().for_each(|waiting| waiting.answer(Err(node.no_leader())));
        if !own.is_empty() {
            let index = node.ask_read_index(Instant::now() + ATTEMPT).await;
            own.into_iter().for_each(|waiting| waiting.answer(index.clone()));
        }
    }
}

impl Waiting {
    fn answer(self, index: Result<ReadPoint, Error>) {
        // A caller whose deadline has passed no longer listens.
        drop(self.reply.send(index));
    }
}

impl Node {
    /// Confirms by a majority that this node still leads.
    async fn read_index_as_leader(&self) -> Result<ReadPoint, Error> {
        let asked = Instant::now();
        if planted(Bug::ReadIndexWithoutMajority) {
            let index = self.progress.borrow().index.unwrap_or_default();
            return Ok(ReadPoint { index, time: self.believed_time().await.unwrap_or_default(), asked });
        }
        let confirmed = self.parts.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match timeout(ATTEMPT, confirmed).await {
            Ok(Ok(linearizer)) => {
                let index = linearizer.read_log_id().index();
                // Whoever leads no longer is not asked again for that: log time will do.
                let time = self.believed_time().await.unwrap_or_default();
                Ok(ReadPoint { index, time, asked })
            }
            Ok(Err(error)) => {
                Err(Error::unavailable(format!("this node could not confirm that it leads: {error}")))
            }
            Err(_) => Err(Error::unavailable("no majority of nodes confirmed the leader in time; try again")),
        }
    }

    /// The read index, for another node that took this one for the leader.
    pub(super) async fn read_index_relayed(&self, deadline: Instant) -> Result<ReadPoint, Error> {
        self.reads.read_index(deadline, true).await
    }
}
