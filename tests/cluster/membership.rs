//! Who belongs to the cluster, and who leads it.

use quorate::client::Client;
use quorate::client::ClientError;
use tonic::Code;

use crate::harness::Cluster;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
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
