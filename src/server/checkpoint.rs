//! Writes the rows of the state every now and then, and makes the state durable. An idle node
//! writes nothing.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::raft::Applied;
use crate::store::StoreError;

/// Goes on until the store fails.
pub(super) async fn run(applied: &Applied, interval: Duration) -> StoreError {
    let mut due = tokio::time::interval(interval);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Err(error) = checkpoint(applied).await {
            return error;
        }
    }
}

/// The last one before the node stops, so that the next start has nothing to fold.
pub(super) async fn finish(applied: &Applied) -> Result<(), StoreError> {
    applied.checkpoint()?;
    applied.store().flush().await
}

async fn checkpoint(applied: &Applied) -> Result<(), StoreError> {
    if applied.checkpoint()? {
        applied.store().flush().await?;
    }
    Ok(())
}
