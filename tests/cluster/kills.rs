//! Nodes that are killed in the middle of a load, and come back.

use quorate::client::new_request_id;

use crate::harness::Cluster;
use crate::history::History;
use crate::history::Told;
use crate::history::line;
use crate::history::reserve;
use crate::load;
use crate::load::Load;

/// How many commands must be acknowledged before, while and after a node is down.
const PROGRESS: usize = 300;

async fn under_load(seed: u64, harm: impl AsyncFnOnce(&mut Cluster, &Load)) {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    load::plant(&history, &client).await;
    let load = Load::start(&cluster, &history, seed);
    load.progress(PROGRESS).await;
    harm(&mut cluster, &load).await;
    load.progress(PROGRESS).await;
    load.stop().await;
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_under_load_takes_no_acknowledged_command_with_it() {
    under_load(11, async |cluster, load| {
        // Twice, so that a node which came back can be the one to lead.
        for _ in 0..2 {
            let leader = cluster.leader().await;
            cluster.nodes[leader].kill();
            load.progress(PROGRESS).await;
            cluster.start_node(leader);
            cluster.leader().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_killed_under_load_comes_back_with_the_state_of_the_others() {
    under_load(12, async |cluster, load| {
        let follower = cluster.follower().await;
        cluster.nodes[follower].kill();
        load.progress(PROGRESS).await;
        cluster.start_node(follower);
        load.progress(PROGRESS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_killed_as_a_whole_under_load_comes_back_with_all_it_acknowledged() {
    under_load(13, async |cluster, load| {
        for _ in 0..2 {
            for node in &mut cluster.nodes {
                node.kill();
            }
            for at in 0..3 {
                cluster.start_node(at);
            }
            load.progress(PROGRESS).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_the_death_of_the_leader_that_answered_gets_the_same_outcome() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let commands = [
        (new_request_id(), reserve(vec![line("acme/ml", load::RESOURCE, 30)])),
        // A denial is an outcome too; after a release the same request would be granted.
        (new_request_id(), reserve(vec![line("acme/ml/bob", load::RESOURCE, 15)])),
    ];
    let leader = cluster.leader().await;
    let client = cluster.nodes[leader].client();
    let mut firsts = Vec::new();
    for (id, command) in &commands {
        let told = history.repeat(&client, *id, command.clone()).await.expect("an answer");
        assert!(!told.replayed);
        firsts.push(told);
    }
    cluster.nodes[leader].kill();
    assert!(firsts[0].verdict.is_ok() && firsts[1].verdict.is_err(), "{firsts:?}");
    let survivors: Vec<_> = cluster.nodes.iter().filter(|node| node.is_up()).collect();
    for node in survivors {
        for ((id, command), first) in commands.iter().zip(&firsts) {
            let again = history.repeat(&node.client(), *id, command.clone()).await.expect("an answer");
            assert_eq!(again, Told { replayed: true, ..first.clone() });
        }
    }
    cluster.start_node(leader);
    let end = cluster.converge().await;
    let client = cluster.nodes[leader].client();
    for ((id, command), first) in commands.iter().zip(&firsts) {
        let again = history.repeat(&client, *id, command.clone()).await.expect("an answer");
        assert_eq!(again, Told { replayed: true, ..first.clone() });
    }
    history.check(&cluster.client(0), &end).await;
}
