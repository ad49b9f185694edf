//! What is due happens, although nobody asks for anything.

use quorate::client::v1;
use quorate::client::v1::event::Body;

use crate::harness::Cluster;
use crate::harness::Node;
use crate::harness::eventually;
use crate::history::History;
use crate::history::all_events;
use crate::history::line;
use crate::history::reserve_for;
use crate::load;

/// Long enough to kill a leader before it is over.
const TTL_MS: u64 = 1_000;

/// How often an idle cluster is asked something before its log is looked at once more.
const QUESTIONS: usize = 300;

/// The events of a hold that lives for a while, once it has expired: its making and its end.
async fn expired(cluster: &Cluster) -> (v1::Event, v1::Event) {
    eventually("the hold expires", async || {
        let up = cluster.nodes.iter().position(Node::is_up)?;
        let events = all_events(&cluster.client(up)).await;
        let end = events.iter().find(|event| matches!(event.body, Some(Body::Expired(_))))?;
        let begin = events.iter().find(|event| matches!(event.body, Some(Body::Reserved(_))))?;
        Some((begin.clone(), end.clone()))
    })
    .await
}

fn check_expiry(begin: &v1::Event, end: &v1::Event) {
    let Some(Body::Expired(expired)) = &end.body else { panic!("{end:?}") };
    assert_eq!(expired.hold_id, begin.revision);
    assert!(end.log_time_ms >= begin.log_time_ms + TTL_MS, "{begin:?} ended at {end:?}");
    assert!(end.request_id.is_empty(), "nobody asked for {end:?}");
    for (touched, before) in end.touched.iter().zip(&begin.touched) {
        assert_eq!((&*touched.held, &touched.scope), ("0", &before.scope));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_in_a_cluster_of_which_nobody_asks_anything_and_one_entry_is_enough() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.client(1), reserve_for(TTL_MS, lines)).await;
    let (begin, end) = expired(&cluster).await;
    check_expiry(&begin, &end);
    if begin.raft_term == end.raft_term {
        assert_eq!(end.raft_index, begin.raft_index + 1, "what was not due was written, too");
    }
    let state = cluster.converge().await;
    history.check(&cluster.client(2), &state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_although_the_leader_that_granted_it_is_killed() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let leader = cluster.leader().await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.nodes[leader].client(), reserve_for(TTL_MS, lines)).await;
    cluster.nodes[leader].kill();
    let (begin, end) = expired(&cluster).await;
    check_expiry(&begin, &end);
    cluster.start_node(leader);
    let state = cluster.converge().await;
    history.check(&cluster.client(leader), &state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_after_all_nodes_were_down_at_its_end() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.client(0), reserve_for(TTL_MS, lines)).await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    for at in 0..3 {
        cluster.start_node(at);
    }
    cluster.leader().await;
    let (begin, end) = expired(&cluster).await;
    check_expiry(&begin, &end);
    let state = cluster.converge().await;
    history.check(&cluster.client(0), &state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_deadlines_writes_nothing() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.client(0), reserve_for(TTL_MS, lines)).await;
    expired(&cluster).await;
    cluster.converge().await;
    let leader = cluster.leader().await;
    let before = cluster.nodes[leader].status(false).await.expect("the leader answers");
    // Each takes a round of messages between the nodes: time passes for all of them.
    let client = cluster.client(leader + 1);
    for _ in 0..QUESTIONS {
        client.get_quota("acme/ml", load::RESOURCE).await.expect("a read");
    }
    let after = cluster.nodes[leader].status(false).await.expect("the leader answers");
    // An election is an entry.
    if before.term == after.term {
        assert_eq!(after.last_log_index, before.last_log_index, "an idle cluster wrote entries");
    }
    assert_eq!(after.revision, before.revision);
}
