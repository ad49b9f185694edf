//! Clients that work while faults happen: those of the cluster tests, some that send many commands at
//! once, some that probe each node for grants, and readers.
//!
//! All of them repeat what stayed unknown until they know.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientOptions;
use quorate::client::new_request_id;
use quorate::ledger::Command;
use quorate::ledger::Granted;
use quorate::ledger::HoldId;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::gaps::Pulse;
use crate::harness::Cluster;
use crate::harness::Node;
use crate::history::History;
use crate::history::commit;
use crate::history::create_scope;
use crate::history::line;
use crate::history::release;
use crate::history::reserve;
use crate::history::reserve_for;
use crate::history::set_quota;
use crate::load;
use crate::load::Load;
use crate::reads::Reads;

/// How many clients send many commands at once, and how many.
const BULK_CLIENTS: u64 = 2;
const BATCH: usize = 256;

/// Scopes of their own, with enough room that most of what they ask for is granted.
const BULK_SCOPES: [&str; 4] = ["bulk/a", "bulk/b", "bulk/c", "bulk/d"];
const BULK_LIMIT: u32 = 40_000;

const PROBE: &str = "probe";

/// How many clients probe one node, and how long each pauses between two reservations.
const PROBES_PER_NODE: usize = 2;
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// What they take ends by itself.
const PROBE_TTL_MS: u64 = 2_000;

/// How long one node may take for one answer to a probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// How long those who send many commands pause between two batches while they hold back.
const BULK_PAUSE: Duration = Duration::from_secs(2);

const READ_PAUSE: Duration = Duration::from_millis(10);

/// Makes the scopes and quotas of all clients; returns what there is to read.
pub async fn plant(history: &History, client: &Client) -> Vec<String> {
    load::plant(history, client).await;
    let bulk = BULK_SCOPES.map(|scope| (scope, BULK_LIMIT));
    for (scope, limit) in [("bulk", 3 * BULK_LIMIT), (PROBE, 1_000_000)].into_iter().chain(bulk) {
        history.granted(client, create_scope(scope)).await;
        history.granted(client, set_quota(scope, load::RESOURCE, limit)).await;
    }
    let scopes = load::TREE.iter().map(|(scope, _)| *scope).chain(BULK_SCOPES).chain(["bulk", PROBE]);
    scopes.map(str::to_owned).collect()
}

pub struct Work {
    /// The clients of the cluster tests.
    pub load: Load,
    others: JoinSet<()>,
    enough: Arc<AtomicBool>,
    hold_back: Arc<AtomicBool>,
}

impl Work {
    pub fn start(cluster: &Cluster, history: &History, pulse: &Pulse, reads: &Reads, seed: u64) -> Self {
        let [enough, hold_back] = [false; 2].map(|set| Arc::new(AtomicBool::new(set)));
        let mut others = JoinSet::new();
        let mut seeds = StdRng::seed_from_u64(seed);
        for first in 0..BULK_CLIENTS {
            let bulk = Bulk {
                client: cluster.client(usize::try_from(first).expect("few clients")),
                history: history.clone(),
                random: StdRng::seed_from_u64(seeds.random()),
                holds: Vec::new(),
            };
            others.spawn(bulk.work(Arc::clone(&enough), Arc::clone(&hold_back)));
        }
        for node in &cluster.nodes {
            for _ in 0..PROBES_PER_NODE {
                let client = probing(node);
                others.spawn(probe(client, history.clone(), pulse.clone(), Arc::clone(&enough)));
            }
            let (reads, random) = (reads.clone(), StdRng::seed_from_u64(seeds.random()));
            others.spawn(read(probing(node), history.clone(), reads, random, Arc::clone(&enough)));
        }
        Self { load: Load::start(cluster, history, seed), others, enough, hold_back }
    }

    /// Whether those who send many commands at once do so only now and then.
    pub fn hold_back(&self, set: bool) {
        self.hold_back.store(set, Ordering::Relaxed);
    }

    /// Lets every client finish what it has begun.
    pub async fn stop(mut self) {
        self.enough.store(true, Ordering::Relaxed);
        self.load.stop().await;
        while let Some(ended) = self.others.join_next().await {
            ended.expect("a client");
        }
    }

    /// Ends with the first client that does: none may while there is work.
    pub fn check(&mut self) {
        if let Some(ended) = self.others.try_join_next() {
            ended.expect("a client");
        }
    }
}

/// A client of one node alone.
fn probing(node: &Node) -> Client {
    let options =
        ClientOptions { timeout: PROBE_PATIENCE, try_timeout: PROBE_PATIENCE, ..ClientOptions::default() };
    Client::new(&[node.client_address()], options).expect("a client")
}

/// The node that it asks may be away for long, so it asks until it knows.
async fn probe(client: Client, history: History, pulse: Pulse, enough: Arc<AtomicBool>) {
    while !enough.load(Ordering::Relaxed) {
        let command = reserve_for(PROBE_TTL_MS, vec![line(PROBE, load::RESOURCE, 1)]);
        let id = new_request_id();
        loop {
            if let Ok(told) = history.repeat(&client, id, command.clone()).await {
                assert!(told.verdict.is_ok(), "there is room for every probe: {told:?}");
                pulse.beat();
                break;
            }
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

async fn read(client: Client, history: History, reads: Reads, mut random: StdRng, enough: Arc<AtomicBool>) {
    while !enough.load(Ordering::Relaxed) {
        reads.ask(&client, &history, &mut random).await;
        tokio::time::sleep(READ_PAUSE).await;
    }
}

/// A client that sends many commands at once, each on its own.
struct Bulk {
    client: Client,
    history: History,
    random: StdRng,
    holds: Vec<HoldId>,
}

impl Bulk {
    async fn work(mut self, enough: Arc<AtomicBool>, hold_back: Arc<AtomicBool>) {
        while !enough.load(Ordering::Relaxed) {
            if hold_back.load(Ordering::Relaxed) {
                tokio::time::sleep(BULK_PAUSE).await;
            }
            let mut open: Vec<(Uuid, Command)> =
                (0..BATCH).map(|_| (new_request_id(), self.next())).collect();
            while !open.is_empty() {
                // An error says nothing of any of them.
                let Ok(told) = self.history.repeat_all(&self.client, &open).await else { continue };
                for told in told.iter().flatten() {
                    if let Ok(Granted::Hold { hold, .. }) = told.verdict {
                        self.holds.push(hold);
                    }
                }
                let mut told = told.into_iter();
                open.retain(|_| told.next().expect("one each").is_none());
            }
        }
    }

    fn next(&mut self) -> Command {
        // Some of the holds have ended by themselves meanwhile: then it is rejected.
        if self.holds.is_empty() || self.random.random_bool(0.52) {
            let scope = BULK_SCOPES[self.random.random_range(0..BULK_SCOPES.len())];
            let lines = vec![line(scope, load::RESOURCE, self.random.random_range(1..10u32))];
            return match self.random.random_bool(0.1) {
                true => reserve_for(self.random.random_range(500..5_000), lines),
                false => reserve(lines),
            };
        }
        let at = self.random.random_range(0..self.holds.len());
        if self.random.random_bool(0.1) {
            commit(self.holds[at])
        } else {
            release(self.holds.swap_remove(at))
        }
    }
}
