//! When a node that has just started may stand for election: later than the others, if they have lost
//! their leader meanwhile.
//!
//! One that breaks when it leads, over a damaged entry of its log for example, and is started again by
//! whoever watches over it, would otherwise be the first to stand each time: it has heard of no leader yet,
//! and the others wait longest for the one they heard last, which is itself. They would be without a leader
//! for as long as it is started again.

use std::future::pending;
use std::sync::Weak;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::sleep;

use super::Node;

/// Lets the node stand when the others have had time to elect one of themselves.
pub(super) async fn run(node: Weak<Node>) {
    let Some((raft, rest)) = node.upgrade().map(|node| (node.parts.raft.clone(), node.silence())) else {
        return;
    };
    sleep(rest).await;
    raft.runtime_config().elect(true);
    drop(raft);
    pending::<()>().await;
}

impl Node {
    /// How long to let others go first.
    fn silence(&self) -> Duration {
        let is_alone = {
            let metrics = self.parts.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.voter_ids().eq([self.parts.id])
        };
        if is_alone {
            return Duration::ZERO;
        }
        // They stand at the latest so long after the last they heard of a leader; and nodes that start
        // together must not stand together.
        let longest = Duration::from_millis(self.parts.raft.config().election_timeout_max);
        longest * 2 + self.parts.rng.jitter(longest)
    }
}
