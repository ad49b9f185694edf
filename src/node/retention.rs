//! Lets go of old events: the leader says up to which one, by its settings and as an event for all nodes;
//! each node then removes them from its disk, when nothing of its own needs them any more.

use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;

use super::Error;
use super::Node;
use crate::codec::batch::fingerprint;
use crate::codec::block;
use crate::codec::keys;
use crate::ledger::Command;
use crate::ledger::LogTime;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::Revision;
use crate::projection::ProjectionError;
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
        if let Err(error) = node.remove_events() {
            // It is reported: the process ends.
            node.broken("remove old events", &error);
        }
    }
}

impl Node {
    /// As the leader: has events let go of that are too old or too many. Whether some were.
    async fn let_go(&self, is_long_ago: bool) -> Result<bool, Error> {
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
            Some(age) => self.last_before(now.saturating_sub(age), horizon, newest)?,
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

    /// The last event before a time, of those after `horizon`; `horizon` when there is none.
    fn last_before(&self, time: LogTime, horizon: Revision, newest: Revision) -> Result<Revision, Error> {
        // Log time never goes back, so the events can be bisected.
        let (mut before, mut after) = (horizon, newest + 1);
        while before + 1 < after {
            let middle = before + (after - before) / 2;
            let event = self.events_at(&[middle])?.pop();
            if event.is_some_and(|event| event.log_time_ms < time) {
                before = middle;
            } else {
                after = middle;
            }
        }
        Ok(before)
    }

    /// Removes what was let go of from the disk, once rows and projections are past it.
    fn remove_events(&self) -> Result<(), ProjectionError> {
        let generation = self.parts.applied.generation();
        let horizon = self.state().compacted_at();
        if horizon == 0 || self.projections().iter().any(|projection| projection.revision < horizon) {
            return Ok(());
        }
        self.parts.applied.checkpoint()?;
        if self.parts.applied.checkpointed()? < horizon {
            return Ok(());
        }
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
        let end = keys::block(block::event(first)?.revision);
        let store = self.parts.applied.store();
        if store.last(Space::Events, &keys::block(0), &end)?.is_none() {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete_range(Space::Events, keys::block(0), end);
        match self.parts.applied.write_views(generation, batch)? {
            Written::Done => tracing::info!(through = horizon, "old events were removed"),
            // The next look does it.
            Written::Busy(_) | Written::Gone => {}
        }
        Ok(())
    }
}
