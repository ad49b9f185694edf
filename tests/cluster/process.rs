//! A node as a process: how it stops, what it needs.

use crate::harness::Cluster;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
use crate::load;
use crate::load::Load;

/// An empty node must be cheap to keep.
const EMPTY_NODE_KB: u64 = 45_000;

async fn stops_cleanly_on(signal: &str) {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 41);
    for at in 0..3 {
        load.progress(50).await;
        let ended = cluster.nodes[at].stop(signal).await;
        assert_eq!(ended.code(), Some(0), "SIG{signal} under load: {ended}\n{}", cluster.nodes[at].log());
        load.progress(50).await;
        cluster.start_node(at);
        cluster.leader().await;
    }
    load.stop().await;
    let end = cluster.converge().await;
    for node in &mut cluster.nodes {
        let ended = node.stop(signal).await;
        assert_eq!(ended.code(), Some(0), "SIG{signal} at rest: {ended}\n{}", node.log());
        assert!(node.log().contains("stopped"), "{}", node.log());
    }
    // Alone, without anybody to tell it: what a node shows now is what it kept.
    for at in 0..3 {
        cluster.start_node(at);
        let alone = eventually("the node answers", async || cluster.nodes[at].status(true).await).await;
        assert_eq!((alone.revision, alone.digest), end);
        cluster.nodes[at].kill();
    }
    for at in 0..3 {
        cluster.start_node(at);
    }
    assert_eq!(cluster.converge().await, end);
    history.check(&cluster.client(0), &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_cleanly_on_sigterm_and_has_everything_when_it_starts_again() {
    stops_cleanly_on("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_cleanly_on_sigint_and_has_everything_when_it_starts_again() {
    stops_cleanly_on("INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_node_keeps_everything_over_a_kill() {
    let mut cluster = Cluster::form(Settings { nodes: 1, ..Settings::default() }).await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 42);
    load.progress(100).await;
    cluster.nodes[0].kill();
    cluster.start_node(0);
    load.progress(100).await;
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&cluster.client(0), &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_needs_little_memory() {
    let cluster = Cluster::of_three().await;
    cluster.converge().await;
    for node in &cluster.nodes {
        let resident = node.process().resident_kb();
        assert!(resident < EMPTY_NODE_KB, "node {} has {resident} kB resident", node.id);
    }
}
