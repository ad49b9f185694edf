//! How a node comes to miss more than the log of the others still has.

use crate::harness::Cluster;
use crate::harness::Node;
use crate::harness::eventually;
use crate::load::Load;

pub const SMALL_LOG: &str = "snapshot_after_entries = 50\nkeep_entries = 10";

pub const PROGRESS: usize = 100;

/// Kills or pauses a follower and has the others purge every log entry that it would need to catch
/// up.
pub async fn leave_behind(cluster: &mut Cluster, load: &Load, away: impl FnOnce(&mut Node)) -> usize {
    let follower = cluster.follower().await;
    let last = cluster.nodes[follower].status(false).await.expect("it runs").last_log_index;
    away(&mut cluster.nodes[follower]);
    load.progress(PROGRESS).await;
    let cluster = &*cluster;
    eventually("the log is purged past the node that is away", async || {
        load.progress(PROGRESS).await;
        for at in (0..cluster.nodes.len()).filter(|at| *at != follower) {
            let node = &cluster.nodes[at];
            // Refused while the node has lost sight of the leader; then the next round does it.
            node.client().take_snapshot().await.ok()?;
            let status = node.status(false).await?;
            assert!(
                status.purged_index <= status.snapshot_index && status.snapshot_index <= status.applied_index
            );
            if status.purged_index <= last + 1 {
                return None;
            }
        }
        Some(())
    })
    .await;
    follower
}
