//! Nodes that were away for so long that the log they need is gone.

use crate::behind::PROGRESS;
use crate::behind::SMALL_LOG;
use crate::behind::leave_behind;
use crate::harness::Cluster;
use crate::harness::Node;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
use crate::load;
use crate::load::Load;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_was_purged_comes_back_by_snapshot_while_others_write() {
    let settings = Settings { raft: SMALL_LOG, ..Settings::default() };
    let mut cluster = Cluster::form(settings).await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 21);
    let away = leave_behind(&mut cluster, &load, Node::kill).await;
    cluster.start_node(away);
    load.progress(PROGRESS).await;
    cluster.leader().await;
    load.progress(PROGRESS).await;
    load.stop().await;
    let end = cluster.converge().await;
    // The events of the time it was away came with the snapshot: its own answer has them.
    history.check(&cluster.nodes[away].client(), &end).await;

    cluster.nodes[away].kill();
    cluster.start_node(away);
    assert_eq!(cluster.converge().await, end, "what was installed is durable");
    history.check(&cluster.nodes[away].client(), &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_restarted_after_a_purge_still_has_a_snapshot_to_send() {
    let settings = Settings { raft: SMALL_LOG, ..Settings::default() };
    let mut cluster = Cluster::form(settings).await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 22);
    let away = leave_behind(&mut cluster, &load, Node::kill).await;
    load.stop().await;
    for at in (0..3).filter(|at| *at != away) {
        cluster.nodes[at].kill();
        cluster.start_node(at);
    }
    cluster.leader().await;
    cluster.start_node(away);
    let end = cluster.converge().await;
    history.check(&cluster.nodes[away].client(), &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_paused_past_a_purge_takes_a_snapshot_without_a_restart() {
    let settings = Settings { raft: SMALL_LOG, ..Settings::default() };
    let mut cluster = Cluster::form(settings).await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 23);
    let away = leave_behind(&mut cluster, &load, |node| node.signal("STOP")).await;
    cluster.nodes[away].signal("CONT");
    load.progress(PROGRESS).await;
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&cluster.nodes[away].client(), &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_again_and_again_while_it_catches_up_still_comes_back() {
    let settings = Settings { raft: SMALL_LOG, ..Settings::default() };
    let mut cluster = Cluster::form(settings).await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 24);
    let away = leave_behind(&mut cluster, &load, Node::kill).await;
    for progress in 0..10u64 {
        cluster.start_node(away);
        let started = eventually("the node answers", async || cluster.nodes[away].status(false).await).await;
        // At another moment each time: before it hears of the others, during, and after.
        let goal = started.applied_index + progress * 5;
        eventually("the node catches up", async || {
            let status = cluster.nodes[away].status(false).await?;
            (status.applied_index >= goal).then_some(())
        })
        .await;
        cluster.nodes[away].kill();
    }
    cluster.start_node(away);
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&cluster.nodes[away].client(), &end).await;
}
