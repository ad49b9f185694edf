//! Lets go of old events: the leader says up to which one, by its settings and as an event for all nodes;
//! each node then removes them from its disk, when nothing of its own needs them any more.

use std::error::Error;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;

use super::Node;
use crate::codec::batch::fingerprint;
use crate::codec::block;
use crate::codec::keys;
use crate::ledger::Command;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::planted::Bug;
use crate::planted::planted;
use crate::projection;
use crate::projection::views::Views;
use crate::raft::Written;
use crate::store::Batch;
use crate::store::Space;

/// How often is looked whether there is something to do.
const LOOK: Duration = Duration::from_secs(5);

/// How long one decision may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many events go at once…
const MANY: u64 = 1_000;

/// … or so many when it has been long since the last time. Fewer never go: what says that they went is an
/// event itself.
const SOME: u64 = 16;
const LONG: Duration = Duration::from_secs(3_600);

/// Who is said to have asked for it.
const ACTOR: &str = "quorate";

/// How long events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Milliseconds of log time; `None` for ever.
    pub max_age_ms: Option<u64>,
    /// How many; `None` for all.
    pub max_count: Option<u64>,
}

/// Looks until the node is gone.
pub(super) async fn run(node: Weak<Node>) {
    let mut last: Option<Instant> = None;
    loop {
        sleep(LOOK).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        let is_long_ago = last.is_none_or(|last| last.elapsed() >= LONG);
        match node.let_go(is_long_ago).await {
            Ok(true) => last = Some(Instant::now()),
            Ok(false) => {}
            // Another leader, or this one later, does it.
            Err(error) => tracing::debug!(%error, "old events were not let go"),
        }
        if let Err(error) = node.remove_events().await {
            // It is reported: the process ends.
            node.broken("remove old events", &error);
        }
    }
}

impl Node {
    /// As the leader: has events let go of that are too old or too many. Whether some were.
    async fn let_go(&self, is_long_ago: bool) -> Result<bool, super::Error> {
        let Retention { max_age_ms, max_count } = self.parts.retention;
        if !self.parts.raft.is_leader() || (max_age_ms, max_count) == (None, None) {
            return Ok(false);
        }
        let Some(now) = self.believed_time().await else {
            return Ok(false);
        };
        let (newest, horizon) = {
            let state = self.state();
            (state.revision(), state.compacted_at())
        };
        let by_count = max_count.map_or(0, |count| newest.saturating_sub(count));
        let by_age = match max_age_ms {
            Some(age) => self.last_before(now.saturating_sub(age), horizon, newest).await?,
            None => 0,
        };
        let through = by_count.max(by_age).min(newest);
        let many = through.saturating_sub(horizon);
        if many < SOME || many < MANY && !is_long_ago {
            return Ok(false);
        }
        let command = Command::CompactEvents(through);
        let random = u128::from(self.parts.rng.next_u64()) << 64 | u128::from(self.parts.rng.next_u64());
        let request = Request {
            id: RequestId::made_at(now, random),
            fingerprint: fingerprint(&command),
            actor: Arc::from(ACTOR),
            reason: Arc::from("the settings say how long events are kept"),
            command,
        };
        self.decide(request, Instant::now() + PATIENCE).await?;
        Ok(true)
    }

    /// Removes what was let go of from the disk, once rows and projections are past it.
    async fn remove_events(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let generation = self.parts.applied.generation();
        let horizon = self.state().compacted_at();
        if horizon == 0 || self.parts.applied.removed_through()? >= horizon || !generation.is_multiple_of(2) {
            return Ok(());
        }
        let store = self.parts.applied.store();
        for projection in projection::all() {
            let about = projection.about();
            let written = Views::new(&**store, about).revision()?;
            if self.is_catching_up(about.name) || written.is_none_or(|written| written < horizon) {
                return Ok(());
            }
        }
        self.parts.applied.checkpoint()?;
        if self.parts.applied.checkpointed()? < horizon {
            return Ok(());
        }
        // So that the past after the horizon can be read.
        self.parts.applied.keyframe(1).await?;
        // The block with the first event that stays, stays whole.
        let mut first_kept = None;
        self.parts.applied.blocks(horizon + 1, &mut |found| {
            first_kept = Some(found.to_vec());
            false
        })?;
        let Some(first_kept) = first_kept else {
            return Ok(());
        };
        let events = block::events(&first_kept)?;
        let Some(first) = events.first() else {
            return Ok(());
        };
        let end = keys::block(block::event(first)?.revision + u64::from(planted(Bug::RemovedTooFar)));
        if store.last(Space::Events, &keys::block(0), &end)?.is_none() {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete_range(Space::Events, keys::block(0), end);
        match self.parts.applied.write_views(generation, batch)? {
            Written::Done => {
                tracing::info!(through = horizon, "old events were removed");
                self.parts.applied.drop_keyframes().await?;
            }
            // The next look does it.
            Written::Busy(_) | Written::Gone => {}
        }
        Ok(())
    }
}
