//! The past is the same on every node, whatever became of the node since.

use quorate::client::Read;
use quorate::client::v1;
use quorate::codec::event;
use quorate::codec::view;
use quorate::ledger::ResourceId;
use quorate::ledger::State;

use crate::behind::PROGRESS;
use crate::behind::leave_behind;
use crate::harness::Cluster;
use crate::harness::Node;
use crate::harness::Settings;
use crate::history::History;
use crate::history::all_events;
use crate::load;
use crate::load::Load;

/// Of so many revisions each node is asked.
const ASKED: u64 = 24;

const SMALL: &str = "snapshot_after_entries = 50\nkeep_entries = 10\ncheckpoint_interval_ms = 50\n\
                     keyframe_after_events = 1";

/// All quotas after each event, by folding them one by one.
fn folded(events: &[v1::Event]) -> Vec<Vec<v1::Quota>> {
    let mut state = State::default();
    let quotas = |state: &State| {
        let scopes = state.trees().flat_map(|root| state.subtree(root.id));
        let of = |scope| view::quota(state, scope, state.resource_id(&name()).expect("built in"));
        scopes.filter_map(of).collect()
    };
    let mut all = vec![quotas(&state)];
    for message in events {
        let decimals =
            |id: ResourceId| state.resources().get(id.0 as usize).map(|resource| resource.decimals);
        let event = event::decode(message.clone(), &decimals).expect("an event");
        state.evolve(&event);
        all.push(quotas(&state));
    }
    all
}

fn name() -> quorate::ledger::Name {
    quorate::ledger::Name::parse(load::RESOURCE).expect("a name")
}

/// Asks every node how it was then, at revisions all over its history.
async fn check(cluster: &Cluster, events: &[v1::Event]) {
    let folded = folded(events);
    let last = events.len() as u64;
    for asked in 0..=ASKED {
        // Not in their order: what a node has kept of one serves for the next at times only.
        let revision = last * (asked * 7 % (ASKED + 1)) / ASKED;
        for node in &cluster.nodes {
            let client = node.client().reading(Read::AtRevision(revision));
            let then = client.list_quotas("", 1_000, "").await.expect("its past");
            assert_eq!(then.revision, revision);
            let expected = &folded[usize::try_from(revision).unwrap()];
            assert_eq!(then.quotas, *expected, "node {} at revision {revision}", node.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_the_same_on_every_node_over_kills_and_snapshots() {
    let mut cluster = Cluster::form(Settings { raft: SMALL, ..Settings::default() }).await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(&cluster, &history, 31);
    load.progress(PROGRESS * 3).await;
    let away = leave_behind(&mut cluster, &load, Node::kill).await;
    cluster.start_node(away);
    load.progress(PROGRESS).await;
    load.stop().await;
    let end = cluster.converge().await;
    let events = all_events(&cluster.client(0)).await;
    check(&cluster, &events).await;
    for at in 0..3 {
        cluster.nodes[at].kill();
        cluster.start_node(at);
    }
    assert_eq!(cluster.converge().await, end);
    check(&cluster, &events).await;
    history.check(&cluster.client(0), &end).await;
}
