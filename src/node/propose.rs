//! Proposing: the commands that arrive while earlier ones are on their way to disk become one log
//! entry. No timer delays a lone command.

use std::sync::Weak;
use std::time::Duration;

use openraft::errors::RaftError;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::Error;
use super::Node;
use crate::codec::batch;
use crate::ledger::Outcome;
use crate::ledger::Request;
use crate::raft::Payload;

/// How many commands may wait. A client that finds it full is told so at once.
const QUEUE: usize = 65_536;

/// Most commands in one log entry.
const MAX_COMMANDS: usize = 8_192;

/// A log entry is closed when it has this many bytes.
const MAX_BYTES: usize = 1 << 20;

/// How many log entries may be under way: one on its way to disk while the next is replicated.
const IN_FLIGHT: usize = 2;

/// How long one attempt to have an entry decided may take. After that its commands are tried again
/// from the beginning, perhaps with another leader: a leader that is cut off never answers.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A command that waits for its outcome.
pub(super) struct Pending {
    request: Request,
    deadline: Instant,
    /// It comes from another node that took this one for the leader: not to be sent on.
    relayed: bool,
    reply: oneshot::Sender<Result<Outcome, Error>>,
}

impl Pending {
    fn answer(self, result: Result<Outcome, Error>) {
        // A caller whose deadline has passed no longer listens.
        drop(self.reply.send(result));
    }
}

/// Where commands wait.
pub(super) struct Queue(mpsc::Sender<Pending>);

pub(super) fn queue() -> (Queue, mpsc::Receiver<Pending>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Queue(sender), receiver)
}

impl Queue {
    /// Has a command proposed once. `Unavailable` means that it may be tried again.
    pub(super) async fn propose(
        &self,
        request: Request,
        deadline: Instant,
        relayed: bool,
    ) -> Result<Outcome, Error> {
        let (reply, outcome) = oneshot::channel();
        let id = request.id;
        self.0.try_send(Pending { request, deadline, relayed, reply }).map_err(|_| {
            Error::unavailable(format!("{QUEUE} commands are waiting; this node is overloaded"))
        })?;
        match timeout_at(deadline, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::unavailable("this node is stopping")),
            Err(_) => Err(Error::unavailable(format!(
                "no decision in time: whether the command takes effect is unknown; \
                 repeat it with the same request_id {id} to find out"
            ))),
        }
    }
}

/// Gathers and carries until the node is gone.
pub(super) async fn run(node: Weak<Node>, mut waiting: mpsc::Receiver<Pending>) {
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() >= IN_FLIGHT {
            under_way.join_next().await;
        }
        let mut gathered = Vec::new();
        tokio::select! {
            _ = under_way.join_next(), if !under_way.is_empty() => continue,
            received = waiting.recv_many(&mut gathered, MAX_COMMANDS) => {
                if received == 0 {
                    return;
                }
            }
        }
        let Some(node) = node.upgrade() else {
            return;
        };
        under_way.spawn(async move { node.carry(gathered).await });
    }
}

impl Node {
    /// Proposes commands when this node leads, and hands them to the leader otherwise.
    async fn carry(&self, gathered: Vec<Pending>) {
        let now = Instant::now();
        let mut alive = Vec::with_capacity(gathered.len());
        for pending in gathered {
            if pending.deadline > now {
                alive.push(pending);
            } else {
                pending
                    .answer(Err(Error::unavailable("the deadline passed before the command was proposed")));
            }
        }
        if self.parts.raft.is_leader() {
            for entry in split(alive) {
                self.propose_entry(entry).await;
            }
            return;
        }
        // A relayed command that finds no leader here goes back: it is never sent on.
        let (relayed, own): (Vec<_>, Vec<_>) = alive.into_iter().partition(|pending| pending.relayed);
        for pending in relayed {
            pending.answer(Err(self.no_leader()));
        }
        for entry in split(own) {
            self.relay_entry(entry).await;
        }
    }

    async fn propose_entry(&self, pending: Vec<Pending>) {
        let requests: Vec<Request> = pending.iter().map(|pending| pending.request.clone()).collect();
        // The clock may have been set back, or this leader's may be behind the last one's.
        let time = self.parts.clock.now_ms().max(self.parts.applied.log_time());
        let payload = Payload(batch::encode(time, &requests).into());
        // Whether an entry without an answer will be committed is not known: asking again will tell.
        let error = match timeout(ATTEMPT, self.parts.raft.client_write(payload)).await {
            Ok(Ok(response)) => return answer_all(pending, response.data.outcomes),
            Ok(Err(RaftError::Fatal(fatal))) => Error::unavailable(format!("this node is stopping: {fatal}")),
            Ok(Err(RaftError::APIError(error))) => {
                Error::unavailable(format!("this node does not lead: {error}"))
            }
            Err(_) => {
                Error::unavailable(format!("no majority of nodes stored the command within {ATTEMPT:?}"))
            }
        };
        pending.into_iter().for_each(|pending| pending.answer(Err(error.clone())));
    }

    async fn relay_entry(&self, pending: Vec<Pending>) {
        let requests: Vec<Request> = pending.iter().map(|pending| pending.request.clone()).collect();
        match self.forward(&requests, Instant::now() + ATTEMPT).await {
            Ok(outcomes) => answer_all(pending, outcomes),
            Err(error) => pending.into_iter().for_each(|pending| pending.answer(Err(error.clone()))),
        }
    }

    /// Decides commands that another node relayed to this one as the leader.
    pub(super) async fn decide_relayed(
        &self,
        requests: Vec<Request>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Error> {
        let decisions = requests.into_iter().map(|request| self.proposals.propose(request, deadline, true));
        futures_util::future::try_join_all(decisions).await
    }
}

fn answer_all(pending: Vec<Pending>, outcomes: Vec<Outcome>) {
    assert_eq!(pending.len(), outcomes.len(), "every command of an entry has one outcome");
    for (pending, outcome) in pending.into_iter().zip(outcomes) {
        pending.answer(Ok(outcome));
    }
}

/// Cuts commands into log entries of bounded size, in order.
fn split(pending: Vec<Pending>) -> Vec<Vec<Pending>> {
    let mut entries: Vec<Vec<Pending>> = Vec::new();
    let mut bytes = MAX_BYTES;
    for pending in pending {
        let size = batch::size(&pending.request);
        match entries.last_mut() {
            Some(entry) if bytes + size <= MAX_BYTES => {
                bytes += size;
                entry.push(pending);
            }
            _ => {
                bytes = size;
                entries.push(vec![pending]);
            }
        }
    }
    entries
}
