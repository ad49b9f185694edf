//! How fast one watcher gets what is on the disk of a node: events per second over loopback, from a
//! node in this process with a real disk.
//!
//! `cargo bench --bench watch`. The node first decides the reservations whose events are then watched,
//! from the first on, until the watcher has caught up: everything is read, decoded, filtered, encoded,
//! sent and decoded again.

use std::sync::Arc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientOptions;
use quorate::client::new_request_id;
use quorate::client::v1;
use quorate::client::v1::watch_request::Start;
use quorate::client::v1::watch_response::Item;
use quorate::clock::SystemClock;
use quorate::config::ClientSettings;
use quorate::config::Config;
use quorate::config::LogSettings;
use quorate::config::Member;
use quorate::config::PeerSettings;
use quorate::config::RaftSettings;
use quorate::net::TcpNet;
use quorate::rng::SystemRng;
use quorate::server;
use quorate::store::rocks::RocksStore;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Commands per call.
const COMMANDS: u64 = 8_000;

#[tokio::main]
async fn main() {
    // `cargo test --bench watch` only looks whether it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (calls, rounds) = if quick { (2, 1) } else { (50, 5) };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let [client, peer] = [(); 2].map(|()| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").to_string()
    });
    let member = Member { node_id: 1, client_address: client.clone(), peer_address: peer.clone() };
    let config = Config {
        cluster: "bench".into(),
        node_id: 1,
        data_dir: Default::default(),
        client: ClientSettings { listen: client.clone(), max_message_bytes: 4 << 20 },
        peer: PeerSettings { listen: peer },
        events: Default::default(),
        members: vec![member],
        max_clock_step_ms: 60_000,
        raft: RaftSettings::default(),
        log: LogSettings::default(),
    };
    let parts = server::Parts {
        store: Box::new(RocksStore::new(folder.path().join("data"))),
        clock: Arc::new(SystemClock),
        net: Arc::new(TcpNet),
        rng: Arc::new(SystemRng),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let node = tokio::spawn(server::run(config, parts, async move { drop(stopped.await) }));
    let options = ClientOptions { timeout: Duration::from_secs(60), ..ClientOptions::default() };
    let client = Client::new(&[client], options).expect("a client");
    let events = decide(&client, calls).await;
    println!("{events} events on the disk of a node, one watcher, {rounds} rounds");
    for (name, filter) in [("all", None), ("one scope of four", Some("acme/team1"))] {
        let mut best = Duration::MAX;
        let mut bytes = 0;
        for _ in 0..rounds {
            let began = Instant::now();
            bytes = watch(&client, filter).await;
            best = best.min(began.elapsed());
        }
        let seconds = best.as_secs_f64();
        println!(
            "{name:>18}: {:>9.0} events/s, {:.1} MB/s",
            events as f64 / seconds,
            bytes as f64 / seconds / 1e6
        );
    }
    stop.send(()).expect("the node runs");
    node.await.expect("no panic").expect("no fault");
}

/// Makes a tree and reserves in it; returns how many events there are.
async fn decide(client: &Client, calls: u64) -> u64 {
    while client.initialize().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let paths = ["acme", "acme/team0", "acme/team1", "acme/team2", "acme/team3"];
    for path in paths {
        let scope = v1::CreateScopeRequest { path: path.into(), ..Default::default() };
        client.create_scope(new_request_id(), scope).await.expect("a scope");
        let limit = v1::Limit { limit: Some(v1::limit::Limit::Amount("1000000".into())) };
        let quota = v1::SetQuotaRequest {
            scope: path.into(),
            resource: "instances".into(),
            policy: Some(v1::Policy { limit: Some(limit), ..Default::default() }),
            ..Default::default()
        };
        client.set_quota(new_request_id(), quota).await.expect("a quota");
    }
    let reserve = |tag: u64| {
        let line = v1::Line {
            scope: paths[1 + tag as usize % 4].into(),
            resource: "instances".into(),
            amount: "1".into(),
            ..Default::default()
        };
        let reserve = v1::ReserveRequest { lines: vec![line], ..Default::default() };
        v1::BatchCommand { tag, command: Some(v1::batch_command::Command::Reserve(reserve)) }
    };
    for _ in 0..calls {
        let batch = v1::BatchRequest { commands: (0..COMMANDS).map(reserve).collect(), ..Default::default() };
        client.batch(new_request_id(), batch).await.expect("decided");
    }
    2 * paths.len() as u64 + calls * COMMANDS
}

/// Watches from the first event until it has caught up; returns how many bytes it got.
async fn watch(client: &Client, scope: Option<&str>) -> usize {
    let filter = scope.map(|scope| v1::EventFilter { scope: scope.into(), ..Default::default() });
    let start = Some(Start::FromRevision(1));
    let mut watcher = client.watch(v1::WatchRequest { start, filter, ..Default::default() });
    let mut bytes = 0;
    loop {
        let message = watcher.next().await.expect("a message");
        bytes += prost::Message::encoded_len(&message);
        if matches!(message.item, Some(Item::CaughtUp(_))) {
            return bytes;
        }
    }
}
