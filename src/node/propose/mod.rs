//! Proposing: the commands that arrive while earlier ones are on their way to disk become one log
//! entry. No timer delays a lone command.
//!
//! Commands come in groups: what one caller sends at once stays in order, is admitted as a whole
//! or not at all, and becomes as few entries as possible. A group without commands is a *tick*: it
//! only wants log time to go on, and rides on whatever entry is next.
//!
//! | file | subject |
//! |---|---|
//! | `queue` | where commands wait, and how many may |
//! | `gather` | which become the next entry: actors take turns |

mod gather;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::RaftError;
use tokio::time::Instant;
use tokio::time::timeout;

pub(super) use self::gather::run;
pub(super) use self::queue::Attempts;
pub(super) use self::queue::Decided;
use self::queue::Pending;
pub(super) use self::queue::Prepared;
pub(super) use self::queue::Queue;
pub(super) use self::queue::check_size;
pub(super) use self::queue::group_of;
pub(super) use self::queue::queue;
use super::Error;
use super::ErrorKind;
use super::Node;
use crate::codec::batch;
use crate::ledger::Outcome;
use crate::ledger::Request;
use crate::raft::Payload;

/// Most commands in one log entry.
const MAX_COMMANDS: usize = 8_192;

/// A log entry is closed when it has this many bytes. A command that is larger has one to itself.
const MAX_BYTES: usize = 1 << 20;

/// How long one attempt to have an entry decided may take. After that its commands are tried again
/// from the beginning, perhaps with another leader: a leader that is cut off never answers.
const ATTEMPT: Duration = Duration::from_secs(3);

impl Node {
    /// Proposes commands when this node leads, and hands them to the leader otherwise.
    async fn carry(&self, gathered: VecDeque<Pending>) {
        let now = Instant::now();
        let mut alive = VecDeque::with_capacity(gathered.len());
        for pending in gathered {
            if pending.deadline > now {
                alive.push_back(pending);
            } else {
                let problem = "the deadline passed before the command was proposed";
                pending.answer(Some(Error::unavailable(problem)));
            }
        }
        let leads = self.reign().is_some();
        if !leads {
            // A relayed command that finds no leader here goes back: it is never sent on.
            let (staying, own): (VecDeque<_>, _) = alive.into_iter().partition(|pending| pending.stays);
            staying.into_iter().for_each(|pending| pending.answer(Some(self.no_leader())));
            alive = own;
        }
        while !alive.is_empty() {
            let (entry, counts) = next_entry(&mut alive);
            let decided = if leads {
                // Some group may be there for the entry alone.
                let has_tick = counts.contains(&0);
                self.propose_admitted(entry, has_tick).await.map_or_else(Decided::from, Decided::from)
            } else {
                self.forward(&entry, Instant::now() + ATTEMPT).await
            };
            hand_out(&mut alive, &counts, decided);
        }
    }

    /// Proposes those of the commands for which there is room.
    async fn propose_admitted(
        &self,
        requests: Vec<Arc<Prepared>>,
        has_tick: bool,
    ) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let refusals = self.refusals(requests.iter().map(|prepared| &prepared.request));
        let admitted: Vec<_> = requests
            .into_iter()
            .zip(&refusals)
            .filter_map(|(request, refusal)| refusal.is_none().then_some(request))
            .collect();
        let decided =
            if admitted.is_empty() && !has_tick { Vec::new() } else { self.propose_entry(&admitted).await? };
        assert_eq!(decided.len(), admitted.len(), "each command of an entry has one outcome");
        let mut decided = decided.into_iter();
        let result = |refusal| match refusal {
            Some(error) => Err(error),
            None => Ok(decided.next().expect("counted above")),
        };
        Ok(refusals.into_iter().map(result).collect())
    }

    async fn propose_entry(&self, requests: &[Arc<Prepared>]) -> Result<Vec<Outcome>, Error> {
        let stamp = self.stamp().await.ok_or_else(|| self.no_leader())?;
        let payload =
            Payload(batch::join(&stamp, requests.iter().map(|request| request.bytes.as_slice())).into());
        // Whether an entry without an answer will be committed is not known: asking again will tell.
        let error = match timeout(ATTEMPT, self.parts.raft.client_write(payload)).await {
            Ok(Ok(response)) => return Ok(response.data.outcomes),
            Ok(Err(RaftError::Fatal(fatal))) => Error::unavailable(format!("this node is stopping: {fatal}")),
            Ok(Err(RaftError::APIError(error))) => {
                Error::unavailable(format!("this node does not lead: {error}"))
            }
            Err(_) => {
                Error::unavailable(format!("no majority of nodes stored the command within {ATTEMPT:?}"))
            }
        };
        self.stamp_lost(&stamp).await;
        Err(error)
    }

    /// Decides commands that another node relayed to this one as the leader.
    pub(super) async fn decide_relayed(&self, requests: Vec<Request>, deadline: Instant) -> Decided {
        let requests = requests.into_iter().map(|request| Arc::new(request.into())).collect();
        self.proposals.propose(requests, deadline, true).await
    }
}

/// Takes the commands of the next entry out of the groups, in order, and says how many it took of
/// each of the first groups.
fn next_entry(groups: &mut VecDeque<Pending>) -> (Vec<Arc<Prepared>>, Vec<usize>) {
    let mut entry = Vec::new();
    let mut bytes = 0;
    let mut counts = Vec::new();
    for group in groups {
        let before = entry.len();
        while let Some(size) = group.requests.front().map(|request| request.bytes.len())
            && (entry.is_empty() || entry.len() < MAX_COMMANDS && bytes + size <= MAX_BYTES)
        {
            bytes += size;
            entry.extend(group.requests.pop_front());
        }
        let taken = entry.len() - before;
        if taken > 0 || group.requests.is_empty() {
            counts.push(taken);
        }
        if !group.requests.is_empty() {
            break;
        }
    }
    (entry, counts)
}

/// Gives the groups the outcomes of an entry, and answers those that have all they waited for.
fn hand_out(groups: &mut VecDeque<Pending>, counts: &[usize], decided: Decided) {
    let Decided { outcomes, error } = decided;
    let (taken, found) = (counts.iter().sum::<usize>(), outcomes.len());
    assert!(found == taken || found < taken && error.is_some(), "each command of an entry has one outcome");
    let mut outcomes = outcomes.into_iter();
    let mut complete = 0;
    for (position, (group, count)) in groups.iter_mut().zip(counts).enumerate() {
        let has_all = outcomes.len() >= *count && group.requests.is_empty();
        group.outcomes.extend(outcomes.by_ref().take(*count));
        complete += usize::from(has_all && complete == position);
    }
    // Those before the first that lacks an outcome have all they waited for.
    groups.drain(..complete).for_each(|group| group.answer(None));
    if let Some(error) = error {
        // What keeps an entry from being decided keeps the next one, too. And what comes after a
        // command without an outcome must not be decided before it.
        let own = counts.len() - complete;
        let failed = if error.kind == ErrorKind::Unavailable { groups.len() } else { own };
        groups.drain(..failed).for_each(|group| group.answer(Some(error.clone())));
    }
}
