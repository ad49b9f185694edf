//! Any node will do: what was acknowledged by one is seen at once by readers of another.

use futures_util::future::join_all;
use quorate::client::v1;
use quorate::client::v1::query_client::QueryClient;
use quorate::ledger::Granted;
use tonic::Code;

use crate::harness::Cluster;
use crate::harness::Node;
use crate::history::History;
use crate::history::create_scope;
use crate::history::line;
use crate::history::release;
use crate::history::reserve;
use crate::history::set_quota;

const RESOURCE: &str = "instances";

const ROUNDS: usize = 60;

/// One scope with one writer, who therefore knows what every read must show.
async fn write_and_read(cluster: &Cluster, history: &History, lane: usize) {
    let scope = format!("lane{lane}");
    let clients: Vec<_> = cluster.nodes.iter().map(Node::client).collect();
    history.granted(&clients[0], create_scope(&scope)).await;
    history.granted(&clients[0], set_quota(&scope, RESOURCE, 1_000_000)).await;
    let mut held = 0;
    let mut hold = None;
    for round in lane..lane + ROUNDS {
        let writer = &clients[round % 3];
        let revision = match hold.take() {
            Some(Granted::Hold { hold, .. }) if round % 4 == 0 => {
                held -= 1;
                history.granted(writer, release(hold)).await.0
            }
            _ => {
                held += 1;
                let (revision, grant) =
                    history.granted(writer, reserve(vec![line(&scope, RESOURCE, 1)])).await;
                hold = Some(grant);
                revision
            }
        };
        for distance in 1..3 {
            let reader = &clients[(round + distance) % 3];
            let read = reader.get_quota(&scope, RESOURCE).await.expect("a read");
            assert!(read.revision >= revision, "read {} after {revision} was written", read.revision);
            let counters = read.quota.expect("a quota").counters.expect("counters");
            assert_eq!(counters.held, held.to_string(), "at revision {}", read.revision);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_takes_writes_and_every_other_shows_them_at_once() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    join_all((0..4).map(|lane| write_and_read(&cluster, &history, lane))).await;
    let end = cluster.converge().await;
    history.check(&cluster.client(0), &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_while_others_went_on_serves_nothing_stale() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    history.granted(&client, create_scope("acme")).await;
    history.granted(&client, set_quota("acme", RESOURCE, 1_000)).await;
    for round in 0..3u64 {
        let paused = cluster.leader().await;
        let mut reader = QueryClient::new(cluster.nodes[paused].channel());
        let question =
            || v1::GetQuotaRequest { scope: "acme".to_owned(), resource: RESOURCE.to_owned(), read: None };
        let before = reader.get_quota(question()).await.expect("a read").into_inner();

        cluster.nodes[paused].signal("STOP");
        let others: Vec<_> = (0..3).filter(|at| *at != paused).collect();
        let mut last = 0;
        for at in others.iter().cycle().take(10) {
            let client = cluster.nodes[*at].client();
            last = history.granted(&client, reserve(vec![line("acme", RESOURCE, 1)])).await.0;
        }
        assert!(last > before.revision);

        // They are sent while the shell that wakes it up is started: when it wakes up they lie in
        // its socket, and the first thing it does is to answer them.
        let reads = (0..20).map(|_| {
            let mut reader = reader.clone();
            tokio::spawn(async move { reader.get_quota(question()).await })
        });
        let reads: Vec<_> = reads.collect();
        cluster.nodes[paused].signal("CONT");
        let mut answered = 0;
        for read in join_all(reads).await {
            match read.expect("no panic") {
                Ok(reply) => {
                    let read = reply.into_inner();
                    assert!(read.revision >= last, "{} is stale: {last} was written", read.revision);
                    let counters = read.quota.expect("a quota").counters.expect("counters");
                    assert_eq!(counters.held, ((round + 1) * 10).to_string());
                    answered += 1;
                }
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
        }
        assert!(answered > 0, "a node that is back among the others answers");
    }
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}
