//! Trying again what did not work, until a deadline: with pauses that grow, and at once when there is
//! another leader.

use std::time::Duration;

use openraft::alias::VoteOf;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::Instant;
use tokio::time::sleep;

use super::Error;
use super::ErrorKind;
use super::FIRST_PAUSE;
use super::LONGEST_PAUSE;
use super::Node;
use crate::raft::Raft;
use crate::raft::TypeConfig;

/// What has been tried, and until when it may be.
pub(super) struct Retry<'a> {
    node: &'a Node,
    deadline: Instant,
    pause: Duration,
    earlier: Option<Error>,
    /// The vote of the leader under which it was tried; looked at when it fails first, not for each call.
    under: Option<VoteOf<TypeConfig>>,
}

impl<'a> Retry<'a> {
    pub(super) fn until(deadline: Instant, node: &'a Node) -> Self {
        Self { node, deadline, pause: FIRST_PAUSE, earlier: None, under: None }
    }

    /// Waits until the next attempt is worth it, or returns why there is none.
    pub(super) async fn pause(&mut self, error: Error) -> Result<(), Error> {
        if error.kind != ErrorKind::Unavailable {
            return Err(error);
        }
        let pause = self.node.parts.rng.jitter(self.pause);
        let now = Instant::now();
        if now + pause >= self.deadline {
            // That time ran out says less than what kept it from working before.
            return Err(self.earlier.take().filter(|_| now >= self.deadline).unwrap_or(error));
        }
        if self.earlier.replace(error).is_none() {
            self.under = leader_vote(&self.node.parts.raft);
        }
        tokio::select! {
            biased;
            vote = another(&self.node.parts.raft, &self.under) => {
                self.under = Some(vote);
                self.pause = FIRST_PAUSE;
            }
            () = sleep(pause) => self.pause = (self.pause * 2).min(LONGEST_PAUSE),
        }
        Ok(())
    }
}

/// The vote of the leader that this node knows of.
fn leader_vote(raft: &Raft) -> Option<VoteOf<TypeConfig>> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.current_leader.is_some().then_some(metrics.vote)
}

/// Completes when there is a leader, and not under that vote.
async fn another(raft: &Raft, known: &Option<VoteOf<TypeConfig>>) -> VoteOf<TypeConfig> {
    // Not those that change with every entry.
    let mut metrics = raft.server_metrics();
    loop {
        if let Some(vote) = leader_vote(raft).filter(|vote| Some(*vote) != *known) {
            return vote;
        }
        if metrics.changed().await.is_err() {
            // The engine has ended: nobody will lead here again.
            return std::future::pending().await;
        }
    }
}
