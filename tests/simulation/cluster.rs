//! The simulated cluster: three nodes that run `quorate::server::run` on simulated disks, and what
//! can be done to them.

use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use quorate::codec::keys;
use quorate::codec::local;
use quorate::config::ClientSettings;
use quorate::config::Config;
use quorate::config::LogSettings;
use quorate::config::Member;
use quorate::config::PeerSettings;
use quorate::config::RaftSettings;
use quorate::server;
use quorate::store::Space;
use quorate::store::Store as _;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;
use turmoil::Sim;

use crate::net::SeededRng;
use crate::net::SettableClock;
use crate::net::SimulatedNet;
use crate::trace;

/// The nodes, by number from 0: the name of the host, and where clients find it.
pub const NODES: [(&str, &str); 3] =
    [("node-1", "node-1:7101"), ("node-2", "node-2:7101"), ("node-3", "node-3:7101")];

const CLIENT_PORT: u16 = 7101;
const PEER_PORT: u16 = 7201;

/// 2026-01-01; the simulation begins here whenever it is run.
pub const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// How long a run may take in simulated time, faults and healing included.
const LONGEST: Duration = Duration::from_secs(120);

/// How far the clock of a leader may be from what time it must be.
pub const MAX_CLOCK_STEP: Duration = Duration::from_secs(1);

/// Clocks that nobody set wrong are at most this far ahead.
pub const SKEW_MS: u64 = 400;

/// A cluster under simulation.
pub struct Cluster {
    pub sim: Sim<'static>,
    disks: Vec<Arc<Disk>>,
    clocks: Vec<Arc<SettableClock>>,
    clients: Vec<&'static str>,
    restarts: Restarts,
}

/// A node that lost its power, and how far the rows of the state on its disk go: it starts with them,
/// and what came after they cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    pub node: usize,
    pub revision: u64,
}

/// All of a run so far.
pub type Restarts = Rc<RefCell<Vec<Restart>>>;

impl Cluster {
    /// Three nodes that are about to start.
    pub fn new(seed: u64) -> Self {
        quorate::raft::runtime::seed_this_thread(seed);
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(UNIX_EPOCH + EPOCH)
            .simulation_duration(LONGEST)
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(8))
            .tcp_capacity(65_536)
            // A connect that is given up keeps its port.
            .ephemeral_ports(10_000..=65_000)
            .enable_random_order()
            .build();
        let disks: Vec<_> = (0..NODES.len()).map(|node| Disk::new(part(seed, node, 0))).collect();
        let clocks: Vec<_> = (0..NODES.len()).map(|_| Arc::new(SettableClock::default())).collect();
        for (node, (disk, clock)) in disks.iter().zip(&clocks).enumerate() {
            let (disk, clock, boots) = (Arc::clone(disk), Arc::clone(clock), Rc::new(Cell::new(0)));
            sim.host(NODES[node].0, move || {
                boots.set(boots.get() + 1);
                run(seed, node, boots.get(), Arc::clone(&disk), Arc::clone(&clock))
            });
        }
        let mut cluster = Self { sim, disks, clocks, clients: Vec::new(), restarts: Restarts::default() };
        for node in 0..NODES.len() {
            cluster.set_clock(node, i64::try_from(part(seed, node, 0) % SKEW_MS).expect("a small number"));
        }
        cluster
    }

    /// The nodes that lost their power, as it goes on.
    pub fn restarts(&self) -> Restarts {
        Rc::clone(&self.restarts)
    }

    /// The clock of a node is so much ahead of the real time from now on, or behind.
    pub fn set_clock(&mut self, node: usize, error_ms: i64) {
        trace::line(format_args!("the clock of {} is wrong by {error_ms} ms", NODES[node].0));
        self.clocks[node].set(error_ms);
    }

    /// Adds a host that uses the cluster; the run is over when all of these are.
    pub fn client(&mut self, name: &'static str, work: impl Future<Output = turmoil::Result> + 'static) {
        self.sim.client(name, work);
        self.clients.push(name);
    }

    /// Nothing passes between a node and the other nodes, in either direction.
    pub fn isolate(&mut self, node: usize) {
        trace::line(format_args!("isolate {}", NODES[node].0));
        for other in others(node) {
            self.sim.partition(NODES[node].0, NODES[other].0);
        }
    }

    /// A node can send to the other nodes, but hears nothing from them.
    pub fn deafen(&mut self, node: usize) {
        trace::line(format_args!("deafen {}", NODES[node].0));
        for other in others(node) {
            self.sim.partition_oneway(NODES[other].0, NODES[node].0);
        }
    }

    /// Syncs of all disks take so many times longer than usual.
    pub fn slow_disks(&mut self, times: u32) {
        trace::line(format_args!("disks are {times} times slower than usual"));
        self.disks.iter().for_each(|disk| disk.slow_down(times));
    }

    /// The power of a node fails: it loses what was not synced, and nobody is told.
    pub fn cut_power(&mut self, node: usize) {
        trace::line(format_args!("cut the power of {}", NODES[node].0));
        let name = NODES[node].0;
        // Before the crash: the sockets of a crashed host are closed politely.
        others(node).map(|other| NODES[other].0).chain(self.clients.iter().copied()).for_each(|other| {
            self.sim.partition(name, other);
        });
        self.disks[node].crash();
        self.sim.crash(name);
        let revision = revision_of_rows(&self.disks[node]);
        trace::line(format_args!("the rows of {name} go up to revision {revision}"));
        self.restarts.borrow_mut().push(Restart { node, revision });
    }

    /// Ends all partitions, and starts the nodes that are down.
    pub fn heal(&mut self) {
        trace::line(format_args!("heal"));
        for (node, (name, _)) in NODES.iter().enumerate() {
            others(node).map(|other| NODES[other].0).chain(self.clients.iter().copied()).for_each(|other| {
                self.sim.repair(*name, other);
            });
            if !self.sim.is_host_running(*name) {
                self.sim.bounce(*name);
            }
        }
    }
}

/// How far the rows go that a node will find on its disk.
fn revision_of_rows(disk: &Arc<Disk>) -> u64 {
    let opened = SimulatedStore::new(Arc::clone(disk)).open().expect("a simulated disk can be opened");
    let record = opened.state.get(Space::Meta, keys::CHECKPOINT).expect("a simulated disk can be read");
    record.map_or(0, |record| {
        let payload = local::payload("the checkpoint", &record).expect("a record");
        keys::number(payload).expect("the checkpoint is a number")
    })
}

fn others(node: usize) -> impl Iterator<Item = usize> {
    (0..NODES.len()).filter(move |other| *other != node)
}

/// A seed for one part of a run.
fn part(seed: u64, node: usize, boot: u64) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(node as u64 * 1_009).wrapping_add(boot)
}

fn config(node: usize) -> Config {
    let members = NODES.iter().zip(1..).map(|((name, client_address), node_id)| Member {
        node_id,
        client_address: (*client_address).to_owned(),
        peer_address: format!("{name}:{PEER_PORT}"),
    });
    Config {
        cluster: "simulated".to_owned(),
        node_id: node as u64 + 1,
        data_dir: Default::default(),
        client: ClientSettings { listen: format!("0.0.0.0:{CLIENT_PORT}"), max_message_bytes: 4 << 20 },
        peer: PeerSettings { listen: format!("0.0.0.0:{PEER_PORT}") },
        disk: Default::default(),
        events: Default::default(),
        members: members.collect(),
        max_clock_step_ms: u64::try_from(MAX_CLOCK_STEP.as_millis()).expect("a small number"),
        raft: RaftSettings {
            // Small, so that nodes that were away are sent snapshots.
            snapshot_after_entries: 60,
            keep_entries: 20,
            checkpoint_interval_ms: 700,
            // As few as are worth it.
            keyframe_after_events: 1,
            ..RaftSettings::default()
        },
        log: LogSettings::default(),
    }
}

async fn run(
    seed: u64,
    node: usize,
    boot: u64,
    disk: Arc<Disk>,
    clock: Arc<SettableClock>,
) -> turmoil::Result {
    let parts = server::Parts {
        store: Box::new(SimulatedStore::new(disk)),
        clock,
        net: Arc::new(SimulatedNet),
        rng: Arc::new(SeededRng::new(part(seed, node, boot))),
    };
    server::run(config(node), parts, pending()).await?;
    Ok(())
}
