//! Writes the rows of the state every now and then, and makes the state durable; and keeps copies of
//! them, to read the past from. An idle node writes nothing.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::raft::Applied;
use crate::raft::recovery::RecoveryError;
use crate::store::StoreError;

/// Goes on until the store fails. A keyframe is not made before there are so many events since the last.
pub(super) async fn run(applied: &Applied, interval: Duration, keyframe_events: u64) -> RecoveryError {
    let mut due = tokio::time::interval(interval);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Err(error) = checkpoint(applied, keyframe_events).await {
            return error;
        }
    }
}

/// The last one before the node stops, so that the next start has nothing to fold.
pub(super) async fn finish(applied: &Applied) -> Result<(), StoreError> {
    applied.checkpoint()?;
    applied.store().flush().await
}

async fn checkpoint(applied: &Applied, keyframe_events: u64) -> Result<(), RecoveryError> {
    if applied.checkpoint()? {
        applied.store().flush().await?;
        if applied.keyframe(keyframe_events).await? {
            applied.drop_keyframes().await?;
        }
    }
    Ok(())
}
