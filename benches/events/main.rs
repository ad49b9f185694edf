//! What is done with events once they are decided: watched, exported, verified, replayed, summed up. By
//! one node in this process with a real disk, over loopback.
//!
//! `cargo bench --bench events`. The node first decides reservations through three levels. A watch goes
//! from the first event on until it has caught up: everything is read, decoded, filtered, encoded, sent
//! and decoded again. Export, verify and replay are those of the program, from its start to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientOptions;
use quorate::client::new_request_id;
use quorate::client::v1;
use quorate::client::v1::batch_command::Command;
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
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Commands per call.
const COMMANDS: u64 = 8_000;

/// Scopes below the root, and below each of them.
const TEAMS: u64 = 100;
const USERS: u64 = 99;

#[tokio::main]
async fn main() {
    // `cargo test --bench events` only looks whether it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (calls, rounds) = if quick { (2, 1) } else { (125, 3) };
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
        disk: Default::default(),
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
    let endpoint = client.clone();
    let client = Client::new(&[client], options).expect("a client");
    let events = decide(&client, calls).await;
    println!("{events} events on the disk of a node, one watcher, {rounds} rounds");
    for (name, filter) in [("watch all", None), ("watch one of 100 scopes", Some("acme/team1"))] {
        let mut best = Duration::MAX;
        let mut bytes = 0;
        for _ in 0..rounds {
            let began = Instant::now();
            bytes = watch(&client, filter).await;
            best = best.min(began.elapsed());
        }
        let seconds = best.as_secs_f64();
        println!(
            "{name:>24}: {:>9.0} events/s, {:.1} MB/s",
            events as f64 / seconds,
            bytes as f64 / seconds / 1e6
        );
    }
    audit(folder.path(), &endpoint, events, rounds).await;
    usage(&client, rounds * 10).await;
    stop.send(()).expect("the node runs");
    node.await.expect("no panic").expect("no fault");
    let state = size_of(&folder.path().join("data").join("state"));
    println!(
        "{:>24}: {:>9.1} bytes of state per event, with live holds and projections",
        "disk",
        state as f64 / events as f64
    );
}

/// Has the program export all events, and verify and replay what it wrote.
async fn audit(folder: &Path, endpoint: &str, events: u64, rounds: usize) {
    for form in ["jsonl", "protobuf"] {
        let file = folder.join(form).to_str().expect("UTF-8").to_owned();
        let export = ["events", "export", "--form", form, "-o", &file];
        for words in [&export[..], &["verify", &file], &["replay", "--from", &file]] {
            let mut best = Duration::MAX;
            for _ in 0..rounds {
                let began = Instant::now();
                let program = tokio::process::Command::new(env!("CARGO_BIN_EXE_quorate"))
                    .args(words)
                    .args(["--endpoints", endpoint, "--timeout", "60s"])
                    .stdout(std::process::Stdio::null())
                    .status();
                assert!(program.await.expect("it starts").success(), "{words:?}");
                best = best.min(began.elapsed());
            }
            let name = format!("{} {form}", words.iter().find(|word| **word != "events").expect("a verb"));
            println!("{name:>24}: {:>9.0} events/s", events as f64 / best.as_secs_f64());
        }
    }
}

/// Sums up a tree of ten thousand scopes.
async fn usage(client: &Client, rounds: usize) {
    let message = |depth| v1::GetUsageRequest { scope: "acme".into(), depth, ..Default::default() };
    for (name, depth) in [("usage, two levels", Some(1)), ("usage, first page", None)] {
        let mut best = Duration::MAX;
        for _ in 0..rounds {
            let began = Instant::now();
            let page = client.get_usage(message(depth)).await.expect("the usage");
            best = best.min(began.elapsed());
            assert_eq!(page.sums[0].counts.as_ref().expect("counts").scopes, 1 + TEAMS + TEAMS * USERS);
        }
        println!(
            "{name:>24}: {:>9.2} ms over {} scopes",
            best.as_secs_f64() * 1e3,
            1 + TEAMS + TEAMS * USERS
        );
    }
}

/// The bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| if path.is_dir() { size_of(&path) } else { path.metadata().expect("a file").len() })
        .sum()
}

/// Makes a tree and reserves in it; returns how many events there are.
async fn decide(client: &Client, calls: u64) -> u64 {
    while client.initialize().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let teams = (0..TEAMS).map(|team| format!("acme/team{team}"));
    let users = (0..TEAMS).flat_map(|team| (0..USERS).map(move |user| format!("acme/team{team}/user{user}")));
    let paths: Vec<String> = std::iter::once("acme".to_owned()).chain(teams).chain(users).collect();
    let scope = |path: &String| {
        let scope = v1::CreateScopeRequest { path: path.clone(), ..Default::default() };
        v1::BatchCommand { tag: 0, command: Some(Command::CreateScope(scope)) }
    };
    let quota = |path: &String| {
        let limit = v1::Limit { limit: Some(v1::limit::Limit::Amount("10000000".into())) };
        let quota = v1::SetQuotaRequest {
            scope: path.clone(),
            resource: "instances".into(),
            policy: Some(v1::Policy { limit: Some(limit), ..Default::default() }),
            ..Default::default()
        };
        v1::BatchCommand { tag: 0, command: Some(Command::SetQuota(quota)) }
    };
    let users = paths[1 + TEAMS as usize..].to_vec();
    let reserve = |tag: u64| {
        // So that neighbours are not of one team.
        let user = &users[(tag * 7_919 % users.len() as u64) as usize];
        let line = v1::Line {
            scope: user.clone(),
            resource: "instances".into(),
            amount: "1".into(),
            ..Default::default()
        };
        let job = format!("train-{}", tag % 1_000);
        let reserve = v1::ReserveRequest { lines: vec![line], job, ..Default::default() };
        v1::BatchCommand { tag, command: Some(Command::Reserve(reserve)) }
    };
    let tree: Vec<_> = paths.iter().map(scope).chain(paths.iter().map(quota)).collect();
    let reserves: Vec<_> = (0..calls * COMMANDS).map(reserve).collect();
    for commands in tree.chunks(COMMANDS as usize).chain(reserves.chunks(COMMANDS as usize)) {
        let batch = v1::BatchRequest { commands: commands.to_vec(), ..Default::default() };
        let answer = client.batch(new_request_id(), batch).await.expect("decided");
        assert!(answer.results.iter().all(|result| result.code == 0), "all are carried out");
    }
    (tree.len() + reserves.len()) as u64
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
