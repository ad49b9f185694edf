//! Those who watch events as they come: whatever happens to the nodes, each sees every event that it
//! wants once, in order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use quorate::client::Client;
use quorate::client::new_request_id;
use quorate::client::v1;
use quorate::client::v1::batch_command::Command;
use quorate::client::v1::events_client::EventsClient;
use quorate::client::v1::watch_request::Start;
use quorate::client::v1::watch_response::Item;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::behind::SMALL_LOG;
use crate::behind::leave_behind;
use crate::harness::Cluster;
use crate::harness::Node;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
use crate::history::all_events;
use crate::history::create_scope;
use crate::history::events_after;
use crate::history::line;
use crate::history::set_quota;
use crate::load;
use crate::load::Load;
use crate::watching::Watch;
use crate::watching::World;

const WATCHERS: usize = 50;

const PROGRESS: usize = 200;

const WORLD: World = World {
    scopes: &["acme/ml", "acme/ml/alice", "acme/ml/bob"],
    resources: &[load::RESOURCE],
    actors: &["nobody"],
};

/// Watchers at work.
struct Watchers {
    /// Up to where each has to come; 0 while that is not known.
    end: watch::Sender<u64>,
    tasks: JoinSet<Result<Watch, String>>,
    /// How far each has come.
    seen: Arc<Vec<AtomicU64>>,
}

impl Watchers {
    fn start(count: usize, client: impl Fn(usize) -> Client) -> Self {
        let end = watch::Sender::new(0);
        let mut tasks = JoinSet::new();
        let progress: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        for number in 0..count {
            let mut watch = Watch::new(&client(number), number, &WORLD);
            let mut end = end.subscribe();
            let progress = Arc::clone(&progress);
            tasks.spawn(async move {
                loop {
                    let (last, seen) = (*end.borrow_and_update(), watch.revision());
                    if last > 0 && seen >= Some(last) {
                        return Ok(watch);
                    }
                    watch.step().await?;
                    progress[number].store(watch.revision().unwrap_or(0), Ordering::Relaxed);
                }
            });
        }
        Self { end, tasks, seen: progress }
    }

    /// The last event that none of them needs any more.
    fn seen_by_all(&self) -> u64 {
        self.seen.iter().map(|seen| seen.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    /// Waits until all have come to the end, and checks what they saw.
    async fn check(mut self, all: &[v1::Event]) {
        self.end.send_replace(all.len() as u64);
        while let Some(ended) = self.tasks.join_next().await {
            let watch = ended.expect("no panic").expect("no refusal");
            watch.check(all).expect("what it must have seen");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_every_event_once_while_nodes_are_killed_restarted_and_sent_snapshots() {
    let settings = Settings { raft: SMALL_LOG, ..Settings::default() };
    let mut cluster = Cluster::form(settings).await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let clients: Vec<Client> = (0..3).map(|first| cluster.client(first)).collect();
    let watchers = Watchers::start(WATCHERS, |number| clients[number % 3].clone());
    let load = Load::start(&cluster, &history, 31);
    load.progress(PROGRESS).await;

    let leader = cluster.leader().await;
    cluster.nodes[leader].kill();
    load.progress(PROGRESS).await;
    cluster.start_node(leader);
    cluster.leader().await;

    // What all have seen is let go of, and gone from the disks while they go on.
    let before = all_events(&cluster.client(0)).await;
    let through = eventually("all have seen something", async || {
        Some(watchers.seen_by_all().min(before.len() as u64)).filter(|seen| *seen > PROGRESS as u64)
    })
    .await;
    let compact = v1::CompactEventsRequest { through_revision: through, ..Default::default() };
    cluster.client(0).compact_events(new_request_id(), compact).await.expect("they are let go");
    for node in &cluster.nodes {
        let removed = async || node.log().contains("old events were removed").then_some(());
        eventually("old events are removed", removed).await;
    }

    let away = leave_behind(&mut cluster, &load, Node::kill).await;
    cluster.start_node(away);
    load.progress(PROGRESS).await;
    cluster.leader().await;

    // One that takes a snapshot while it goes on, so that its watchers are there all the time.
    let away = leave_behind(&mut cluster, &load, |node| node.signal("STOP")).await;
    cluster.nodes[away].signal("CONT");
    load.progress(PROGRESS).await;

    let leader = cluster.leader().await;
    assert!(cluster.nodes[leader].stop("TERM").await.success(), "watchers do not hold up its end");
    load.progress(PROGRESS).await;
    cluster.start_node(leader);
    load.stop().await;
    cluster.converge().await;
    let rest = events_after(&cluster.client(0), through).await;
    watchers.check(&[&before[..through as usize], &rest].concat()).await;
}

/// Reservations that leave large events.
fn reservations(commands: u64) -> v1::BatchRequest {
    let labels = (0..8).map(|part| (format!("{part}{}", "x".repeat(60)), "y".repeat(60))).collect();
    let reserve =
        v1::ReserveRequest { lines: vec![line("bulk", "instances", 1)], labels, ..Default::default() };
    let command = |tag| v1::BatchCommand { tag, command: Some(Command::Reserve(reserve.clone())) };
    v1::BatchRequest { commands: (0..commands).map(command).collect(), ..Default::default() }
}

async fn of_one() -> (Cluster, Client) {
    let cluster = Cluster::form(Settings { nodes: 1, ..Settings::default() }).await;
    let client = cluster.client(0);
    let history = History::default();
    history.granted(&client, create_scope("bulk")).await;
    history.granted(&client, set_quota("bulk", "instances", 1_000_000)).await;
    (cluster, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_of_one_node_each_see_every_event_once() {
    let (cluster, client) = of_one().await;
    // Over a few connections, each with many streams.
    let clients: Vec<Client> = (0..4).map(|_| cluster.client(0)).collect();
    let watchers = Watchers::start(1_000, |number| clients[number % 4].clone());
    for _ in 0..10 {
        client.batch(new_request_id(), reservations(20)).await.expect("decided");
    }
    watchers.check(&all_events(&client).await).await;
    let resident = cluster.nodes[0].process().resident_kb();
    assert!(resident < 400_000, "{resident} KB for a thousand watchers");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_do_not_read_cost_a_node_no_memory_and_get_everything_later() {
    let (cluster, client) = of_one().await;
    let mut events = EventsClient::new(cluster.nodes[0].channel()).max_decoding_message_size(16 << 20);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let request = v1::WatchRequest { start: Some(Start::Now(true)), ..Default::default() };
        slow.push(events.watch(request).await.expect("a watch").into_inner());
    }
    // They have caught up, and then take nothing more.
    let mut first = 0;
    for watch in &mut slow {
        first = watch.message().await.expect("no failure").expect("a message").revision + 1;
    }
    let before = cluster.nodes[0].process().resident_kb();
    for _ in 0..20 {
        client.batch(new_request_id(), reservations(2_000)).await.expect("decided");
    }
    let grown = cluster.nodes[0].process().resident_kb().saturating_sub(before);
    // 40,000 events of about 3 KB: 120 MB for each of the twenty, if they were kept for them. What the
    // ledger itself has of them is in this bound.
    assert!(grown < 600_000, "{grown} KB more");
    let all = Arc::new(all_events(&client).await);
    let mut readers = JoinSet::new();
    for mut watch in slow {
        let all = Arc::clone(&all);
        readers.spawn(async move {
            let mut seen = Vec::new();
            let mut fell_behind = 0;
            while seen.len() < all.len() + 1 - first as usize {
                match watch.message().await.expect("no failure").expect("a message").item {
                    Some(Item::Events(v1::WatchedEvents { events })) => {
                        seen.extend(events.iter().map(|event| event.revision));
                    }
                    Some(Item::FellBehind(_)) => fell_behind += 1,
                    _ => {}
                }
            }
            assert_eq!(seen, (first..=all.len() as u64).collect::<Vec<_>>());
            assert_eq!(fell_behind, 1, "it is told that it is slow");
        });
    }
    while let Some(ended) = readers.join_next().await {
        ended.expect("it saw all");
    }
}
