//! Who belongs to the cluster, and who leads it.

use quorate::client::Client;
use quorate::client::ClientError;
use tonic::Code;

use crate::harness::Cluster;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
use crate::history::create_scope;
use crate::load;
use crate::load::Load;

const PROGRESS: usize = 100;

/// What the cluster said to a change that it must refuse.
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Rejected { status, .. }) if status.code() == Code::FailedPrecondition => {
            status.message().to_owned()
        }
        other => panic!("not refused: {other:?}"),
    }
}

async fn wait_for_vote(client: &Client, id: u64, votes: bool) {
    eventually("the members change", async || {
        let status = client.status(false, false).await.ok()?;
        let voters = status.nodes.iter().filter(|node| node.voter);
        let found = voters.filter_map(|node| node.member.as_ref()).any(|member| member.node_id == id);
        (found == votes).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_node_is_added_promoted_made_leader_and_removed_under_load() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    load::plant(&history, &client).await;
    let load = Load::start(&cluster, &history, 31);

    let mut fourth = cluster.node(4);
    fourth.write_config(&cluster.name, &[], &cluster.settings);
    fourth.start();
    let member = fourth.member();
    cluster.nodes.push(fourth);
    eventually("the fourth node answers", async || cluster.nodes[3].status(false).await).await;

    let unknown = refusal(client.promote_node(4).await);
    assert!(unknown.contains("node 4 is not a member"), "{unknown}");
    client.add_node(member.clone()).await.expect("add");
    let again = refusal(client.add_node(member.clone()).await);
    assert!(again.contains("node 4 is a member already"), "{again}");
    let learner = refusal(client.transfer_leadership(4).await);
    assert!(learner.contains("node 4 has no vote"), "{learner}");
    load.progress(PROGRESS).await;
    eventually("the fourth node is promoted", async || client.promote_node(4).await.ok()).await;
    wait_for_vote(&client, 4, true).await;
    load.progress(PROGRESS).await;

    client.transfer_leadership(4).await.expect("transfer");
    assert_eq!(cluster.leader().await, 3);
    load.progress(PROGRESS).await;

    // The leader itself goes: another one takes over.
    client.remove_node(4).await.expect("remove");
    let mut removed = cluster.nodes.pop().expect("four nodes");
    wait_for_vote(&client, 4, false).await;
    cluster.leader().await;
    load.progress(PROGRESS).await;
    removed.kill();
    load.progress(PROGRESS).await;
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_round_under_load() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    load::plant(&history, &client).await;
    let load = Load::start(&cluster, &history, 32);
    for to in [1, 2, 3, 1, 1] {
        client.transfer_leadership(to).await.expect("transfer");
        load.progress(PROGRESS).await;
    }
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 32);
    for _ in 0..2 {
        load.progress(PROGRESS).await;
        let leader = cluster.leader().await;
        assert!(cluster.nodes[leader].stop("TERM").await.success());
        let said = cluster.nodes[leader].log();
        assert!(said.contains("another node leads: this one stops"), "{said}");
        load.progress(PROGRESS).await;
        cluster.start_node(leader);
        cluster.leader().await;
    }
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&cluster.client(0), &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_gets_no_vote() {
    let cluster = Cluster::form(Settings { nodes: 1, ..Settings::default() }).await;
    let client = cluster.client(0);
    let mut nobody = cluster.node(2);
    let message = refusal(client.add_node(nobody.member()).await);
    assert!(message.contains("node 2 does not answer"), "{message}");
    nobody.write_config(&cluster.name, &[], &cluster.settings);
    nobody.start();
    eventually("the node is added", async || client.add_node(nobody.member()).await.ok()).await;
    nobody.kill();
    // With its vote nothing could ever be decided again, not even to take it back.
    let message = refusal(client.promote_node(2).await);
    assert!(message.contains("node 2 does not answer"), "{message}");
    let history = History::default();
    load::plant(&history, &client).await;
    client.remove_node(2).await.expect("remove");
    assert_eq!(client.status(false, false).await.expect("status").nodes.len(), 1);
    history.granted(&client, create_scope("late")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_formed_once() {
    let cluster = Cluster::of_three().await;
    for node in &cluster.nodes {
        let message = refusal(node.client().initialize().await);
        assert!(message.contains("formed already"), "{message}");
    }
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_not_formed_while_a_member_is_down() {
    let mut cluster = Cluster::start(Settings::default()).await;
    cluster.nodes[2].kill();
    let client = cluster.nodes[0].client();
    let message = refusal(client.initialize().await);
    assert!(
        message.contains("node 3 does not answer") && message.contains("start every member"),
        "{message}"
    );
    let status = cluster.nodes[0].status(false).await.expect("it runs");
    assert_eq!((status.term, status.last_log_index), (0, 0), "nothing was begun");
    cluster.start_node(2);
    eventually("the third node answers", async || cluster.nodes[2].status(false).await).await;
    client.initialize().await.expect("form the cluster");
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_members_whose_leader_dies_in_the_middle_can_be_finished() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    load::plant(&history, &client).await;
    let load = Load::start(&cluster, &history, 34);
    let mut fourth = cluster.node(4);
    fourth.write_config(&cluster.name, &[], &cluster.settings);
    fourth.start();
    let member = fourth.member();
    cluster.nodes.push(fourth);
    eventually("the fourth node answers", async || cluster.nodes[3].status(false).await).await;
    client.add_node(member).await.expect("add");
    for votes in [true, false] {
        let leader = cluster.leader_of(3).await;
        let change = tokio::spawn({
            let client = cluster.nodes[leader].client();
            async move { if votes { client.promote_node(4).await } else { client.remove_node(4).await } }
        });
        // Whatever of the change has happened by then.
        load.progress(1).await;
        cluster.nodes[leader].kill();
        drop(change.await.expect("no panic"));
        cluster.start_node(leader);
        cluster.leader_of(3).await;
        finish(&cluster, votes).await;
        load.progress(PROGRESS).await;
    }
    cluster.nodes[3].kill();
    load.progress(PROGRESS).await;
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}

/// Repeats a change until it is done, which the one who began it can no longer tell.
async fn finish(cluster: &Cluster, votes: bool) {
    let client = cluster.client(0);
    eventually("the change is finished", async || {
        let change = if votes { client.promote_node(4).await } else { client.remove_node(4).await };
        match change {
            Ok(_) => Some(()),
            Err(error) if error.to_string().contains("is not a member") && !votes => Some(()),
            Err(error) => {
                eprintln!("not yet: {error}");
                None
            }
        }
    })
    .await;
    wait_for_vote(&client, 4, votes).await;
}
