//! Ticks: what is due happens although nobody sends a command.
//!
//! Everything that is due happens at the beginning of every log entry. So all there is to do is to
//! propose an entry without commands when the next deadline of the state is due by the believed
//! time, on the leader alone, and again while something due is left. With nothing pending nothing
//! is written.

use std::future::pending;
use std::sync::Weak;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::Instant;
use tokio::time::sleep;

use super::FIRST_PAUSE;
use super::LONGEST_PAUSE;
use super::Node;
use crate::planted::Bug;
use crate::planted::planted;

/// The believed time is looked at this often while something is pending: the clock may be set.
const LOOK: Duration = Duration::from_secs(1);

/// … and this often while nothing is.
const IDLE_LOOK: Duration = Duration::from_secs(60);

/// How long to let more come together before the next deadline is looked for again.
const GATHER: Duration = Duration::from_millis(5);

/// How long one tick may wait for its entry.
const PATIENCE: Duration = Duration::from_secs(5);

/// When the next tick is due.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now,
    In(Duration),
    /// Nothing is pending. The time is looked at now and then nevertheless: so small a difference
    /// between clock and count never becomes a large one.
    Idle,
    /// It is for another node to do.
    Never,
}

/// Ticks until the node is gone.
pub(super) async fn run(node: Weak<Node>) {
    let Some((mut progress, mut leadership)) =
        node.upgrade().map(|node| (node.progress.clone(), node.parts.raft.server_metrics()))
    else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    while let Some(node) = node.upgrade() {
        let due = node.next_tick().await;
        if due == Due::Now {
            let done = node.tick().await;
            drop(node);
            if done {
                pause = FIRST_PAUSE;
            } else {
                // Its own entry, if there was one, is no reason to look again at once.
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            continue;
        }
        drop(node);
        let wait = async {
            match due {
                Due::Now => {}
                Due::In(time) => sleep(time.min(LOOK)).await,
                Due::Idle => sleep(IDLE_LOOK).await,
                Due::Never => pending().await,
            }
        };
        tokio::select! {
            changed = progress.changed() => {
                if changed.is_err() {
                    return;
                }
                sleep(GATHER).await;
            }
            changed = leadership.changed() => if changed.is_err() { return },
            () = wait => {}
        }
    }
}

impl Node {
    async fn next_tick(&self) -> Due {
        // Asked for also with nothing pending: a new leader learns the time before the first command
        // needs it.
        let Some(now) = self.believed_time().await else {
            // A leader that does not know the time yet asks again.
            return if self.parts.raft.is_leader() { Due::In(LOOK) } else { Due::Never };
        };
        let now = if planted(Bug::TickByOwnClock) { self.clock_ms() } else { now };
        match self.state().next_deadline() {
            None => Due::Idle,
            Some(deadline) if deadline <= now => Due::Now,
            Some(deadline) => Due::In(Duration::from_millis(deadline - now)),
        }
    }

    /// Proposes a tick. Whether it got anything done.
    async fn tick(&self) -> bool {
        let before = self.state().revision();
        match self.proposals.tick(Instant::now() + PATIENCE).await {
            Ok(()) => self.state().revision() > before,
            Err(error) => {
                tracing::debug!(%error, "a tick was not decided");
                false
            }
        }
    }
}
