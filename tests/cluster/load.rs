//! Clients that keep reserving, committing and releasing while something happens to the cluster.
//!
//! Each sends one command at a time, sometimes the same one twice over two nodes at once, and
//! repeats what stayed unknown until it knows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use quorate::client::Client;
use quorate::client::new_request_id;
use quorate::ledger::Command;
use quorate::ledger::Granted;
use quorate::ledger::HoldId;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use crate::harness::Cluster;
use crate::harness::eventually;
use crate::history::History;
use crate::history::Told;
use crate::history::commit;
use crate::history::create_scope;
use crate::history::line;
use crate::history::release;
use crate::history::reserve;
use crate::history::set_quota;

const CLIENTS: u64 = 6;

/// How often a command whose outcome stayed unknown is repeated.
const TRIES: usize = 4;

/// Scopes with their limits: tight enough that many reservations are denied.
pub const TREE: [(&str, u32); 4] =
    [("acme", 60), ("acme/ml", 40), ("acme/ml/alice", 25), ("acme/ml/bob", 25)];

pub const RESOURCE: &str = "memory_gb";

/// Makes the tree with its limits.
pub async fn plant(history: &History, client: &Client) {
    for (path, limit) in TREE {
        history.granted(client, create_scope(path)).await;
        history.granted(client, set_quota(path, RESOURCE, limit)).await;
    }
}

/// A reservation of one or two lines somewhere in the tree.
pub fn random_reservation(random: &mut StdRng) -> Command {
    let mut amount = || format!("{}.{}", random.random_range(1..12u32), random.random_range(0..10u32));
    let (first, second) = (amount(), amount());
    let at = random.random_range(0..TREE.len());
    let mut lines = vec![line(TREE[at].0, RESOURCE, first)];
    if random.random_bool(0.3) {
        let other = (at + random.random_range(1..TREE.len())) % TREE.len();
        lines.push(line(TREE[other].0, RESOURCE, second));
    }
    reserve(lines)
}

/// Clients at work.
pub struct Load {
    history: History,
    enough: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn start(cluster: &Cluster, history: &History, seed: u64) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let first = usize::try_from(number).expect("few clients");
            let worker = Worker {
                client: cluster.client(first),
                other: cluster.client(first + 1),
                history: history.clone(),
                random: StdRng::seed_from_u64(seed * CLIENTS + number),
                holds: Vec::new(),
            };
            clients.spawn(worker.work(Arc::clone(&enough)));
        }
        Self { history: history.clone(), enough, clients }
    }

    /// Waits until so many more commands were acknowledged.
    pub async fn progress(&self, commands: usize) {
        let goal = self.history.acknowledged() + commands;
        eventually("commands are acknowledged", async || (self.history.acknowledged() >= goal).then_some(()))
            .await;
    }

    /// Lets every client finish what it has begun.
    pub async fn stop(mut self) {
        self.enough.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client of the load");
        }
    }
}

struct Worker {
    client: Client,
    other: Client,
    history: History,
    random: StdRng,
    holds: Vec<HoldId>,
}

impl Worker {
    async fn work(mut self, enough: Arc<AtomicBool>) {
        while !enough.load(Ordering::Relaxed) {
            let command = self.next();
            let told = self.carry_through(command).await;
            if let Ok(Granted::Hold { hold, .. }) = told.verdict {
                self.holds.push(hold);
            }
        }
    }

    fn next(&mut self) -> Command {
        if self.holds.is_empty() || self.random.random_bool(0.5) {
            return random_reservation(&mut self.random);
        }
        let at = self.random.random_range(0..self.holds.len());
        if self.random.random_bool(0.3) {
            return commit(self.holds[at]);
        }
        release(self.holds.swap_remove(at))
    }

    async fn carry_through(&mut self, command: Command) -> Told {
        let id = new_request_id();
        let twice = self.random.random_bool(0.1);
        // The client itself waits and turns to other nodes.
        for _ in 0..TRIES {
            let one = self.history.repeat(&self.client, id, command.clone());
            let told = if twice {
                let (one, two) = tokio::join!(one, self.history.repeat(&self.other, id, command.clone()));
                one.or(two)
            } else {
                one.await
            };
            if let Ok(told) = told {
                return told;
            }
        }
        panic!("{command:?} got no outcome in {TRIES} tries");
    }
}
