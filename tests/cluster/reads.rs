//! Any node will do: what was acknowledged by one is seen at once by readers of another.

use std::time::Duration;

use futures_util::future::join_all;
use quorate::client::v1;
use quorate::client::v1::query_client::QueryClient;
use quorate::client::v1::read::Kind;
use quorate::ledger::Granted;
use tonic::Code;

use crate::harness::Cluster;
use crate::harness::Node;
use crate::history::History;
use crate::history::all_events;
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

fn reading(kind: Kind) -> v1::GetQuotaRequest {
    let read = Some(v1::Read { kind: Some(kind) });
    v1::GetQuotaRequest { scope: "acme".to_owned(), resource: RESOURCE.to_owned(), read }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_behind_shows_a_writer_what_he_wrote_or_nothing() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    history.granted(&client, create_scope("acme")).await;
    history.granted(&client, set_quota("acme", RESOURCE, 1_000)).await;
    let behind = cluster.follower().await;
    let mut reader = QueryClient::new(cluster.nodes[behind].channel());
    reader.get_quota(reading(Kind::AtLeast(1))).await.expect("a connection that is there already");
    cluster.nodes[behind].signal("STOP");
    let writer = cluster.client(behind + 1);
    let mut last = 0;
    for _ in 0..30 {
        last = history.granted(&writer, reserve(vec![line("acme", RESOURCE, 1)])).await.0;
    }
    // They lie in its socket when it wakes up, before what it has missed.
    let reads: Vec<_> = (0..20)
        .map(|_| {
            let mut reader = reader.clone();
            tokio::spawn(async move { reader.get_quota(reading(Kind::AtLeast(last))).await })
        })
        .collect();
    cluster.nodes[behind].signal("CONT");
    for read in join_all(reads).await {
        let read = read.expect("no panic").expect("it catches up").into_inner();
        assert!(read.revision >= last, "{} is older than {last}", read.revision);
        assert_eq!(read.quota.expect("a quota").counters.expect("counters").held, "30");
    }
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_answers_what_it_can_know_and_refuses_the_rest() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    history.granted(&client, create_scope("acme")).await;
    history.granted(&client, set_quota("acme", RESOURCE, 1_000)).await;
    let mut written = Vec::new();
    for _ in 0..5 {
        written.push(history.granted(&client, reserve(vec![line("acme", RESOURCE, 1)])).await.0);
    }
    let (first, last) = (written[0], written[4]);
    let events = all_events(&client).await;
    let alone = cluster.follower().await;
    let mut reader = QueryClient::new(cluster.nodes[alone].channel());
    // From here on it knows that it has everything there was.
    reader.get_quota(reading(Kind::MaxLagMs(0))).await.expect("a read");
    for at in (0..3).filter(|at| *at != alone) {
        cluster.nodes[at].signal("STOP");
    }
    let mut ask = async |kind| {
        let mut answer = Err(tonic::Status::cancelled("not asked"));
        // On a busy machine the timer of the client may be faster than the answer: that says nothing.
        for _ in 0..10 {
            let mut request = tonic::Request::new(reading(kind));
            request.set_timeout(Duration::from_secs(2));
            answer = reader.get_quota(request).await.map(|reply| {
                let read = reply.into_inner();
                (read.revision, read.quota.expect("a quota").counters.expect("counters").held)
            });
            if answer.as_ref().is_err_and(|status| status.code() == Code::Cancelled) {
                continue;
            }
            break;
        }
        answer
    };
    for (kind, said) in [
        (Kind::MaxLagMs(0), ""),
        (Kind::MaxLagMs(1), "ms old, and at most 1 ms were allowed"),
        (Kind::AtLeast(last + 1), "has come to revision"),
        (Kind::AtRevision(last + 1), ""),
    ] {
        let refused = ask(kind).await.expect_err("nobody can say");
        assert_eq!(refused.code(), Code::Unavailable, "{kind:?}: {refused}");
        assert!(refused.message().contains(said), "{kind:?}: {refused}");
    }
    let now = (last, "5".to_owned());
    for kind in [Kind::AtLeast(last), Kind::MaxLagMs(3_600_000), Kind::AtRevision(last)] {
        assert_eq!(ask(kind).await.expect("it has all of it"), now, "{kind:?}");
    }
    assert_eq!(ask(Kind::AtRevision(first)).await.expect("its own past"), (first, "1".to_owned()));
    let time = events[usize::try_from(first).unwrap() - 1].log_time_ms;
    let then = events.iter().filter(|event| event.log_time_ms <= time).count() as u64;
    assert!(then < last, "the commands came one after the other");
    assert_eq!(ask(Kind::AtTimeMs(time)).await.expect("its own past").0, then);
    for at in (0..3).filter(|at| *at != alone) {
        cluster.nodes[at].signal("CONT");
    }
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}
