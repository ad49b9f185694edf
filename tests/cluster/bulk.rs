//! Many commands of one caller, decided together.

use std::collections::BTreeSet;

use quorate::client::new_request_id;
use quorate::client::v1;
use quorate::client::v1::batch_command::Command;
use quorate::client::v1::event::Body;

use crate::harness::Cluster;
use crate::history::History;
use crate::history::all_events;
use crate::history::create_scope;
use crate::history::line;
use crate::history::set_quota;

const RESOURCE: &str = "instances";

/// The most that one call may ask for.
const COMMANDS: u64 = 8_192;

fn reservations() -> v1::BatchRequest {
    let reserve = |tag| v1::BatchCommand {
        tag,
        command: Some(Command::Reserve(v1::ReserveRequest {
            lines: vec![line("bulk", RESOURCE, 1)],
            ..Default::default()
        })),
    };
    v1::BatchRequest { commands: (0..COMMANDS).map(reserve).collect(), ..Default::default() }
}

fn hold(result: &v1::BatchResult) -> Option<u64> {
    match &result.result {
        Some(v1::batch_result::Result::Reserve(reserved)) => Some(reserved.hold_id),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_batch_is_decided_in_order_in_a_few_entries_whichever_node_it_comes_to() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    history.granted(&cluster.client(0), create_scope("bulk")).await;
    // The last ones of the second batch are one too many.
    history.granted(&cluster.client(0), set_quota("bulk", RESOURCE, COMMANDS * 2 - 5)).await;
    let leader = cluster.leader().await;
    let mut last = 0;
    for (node, denied) in [(leader, 0), (cluster.follower().await, 5)] {
        let client = cluster.nodes[node].client();
        let id = new_request_id();
        let answer = client.batch(id, reservations()).await.expect("an answer");
        let tags: Vec<_> = answer.results.iter().map(|result| result.tag).collect();
        assert_eq!(tags, (0..COMMANDS).collect::<Vec<_>>());
        for result in &answer.results {
            assert_eq!(result.revision, last.max(2) + 1, "they are decided one after the other");
            last = result.revision;
        }
        let granted = answer.results.iter().filter_map(hold).count() as u64;
        assert_eq!(granted, COMMANDS - denied);
        assert!(answer.results[granted as usize..].iter().all(|result| result.reason == "DENIED"));
        let again = client.batch(id, reservations()).await.expect("an answer");
        assert!(again.results.iter().zip(&answer.results).all(|(again, first)| {
            again.replayed && (again.revision, hold(again)) == (first.revision, hold(first))
        }));
    }
    let events = all_events(&cluster.client(0)).await;
    let reserved = events.iter().filter(|event| matches!(event.body, Some(Body::Reserved(_))));
    let entries: BTreeSet<_> = reserved.map(|event| event.raft_index).collect();
    assert!(entries.len() <= 6, "{} commands took {} entries", COMMANDS * 2, entries.len());
    cluster.converge().await;
}
