//! The simulated cluster: nodes that run `quorate::server::run` on simulated disks, and what can be done
//! to them.

use std::cell::Cell;
use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use futures_util::future::LocalBoxFuture;
use quorate::client::v1;
use quorate::codec::keys;
use quorate::codec::local;
use quorate::config;
use quorate::config::ClientSettings;
use quorate::config::Config;
use quorate::config::LogSettings;
use quorate::config::PeerSettings;
use quorate::config::RaftSettings;
use quorate::server;
use quorate::store::Space;
use quorate::store::Store as _;
use quorate::store::simulated::Defect;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;
use tokio::task::JoinSet;
use turmoil::Sim;

use crate::check::raft::Look;
use crate::check::raft::Raft;
use crate::check::raft::term_led_by;
use crate::check::stops::Stops;
use crate::net::SeededRng;
use crate::net::SettableClock;
use crate::net::SimulatedNet;
use crate::shape::Shape;
use crate::trace;

/// Every host that a node may run on, by number from 0. The first ones form the cluster; the others are
/// there for nodes that are added.
pub const HOSTS: [&str; 7] = ["node-1", "node-2", "node-3", "node-4", "node-5", "node-6", "node-7"];

/// The host of everybody who uses the cluster.
const ALL_CLIENTS: &str = "clients";

/// What one of them does.
pub type Work = LocalBoxFuture<'static, turmoil::Result>;

/// The name of the cluster.
pub const CLUSTER: &str = "simulated";

const CLIENT_PORT: u16 = 7101;
const PEER_PORT: u16 = 7201;

/// 2026-01-01; the simulation begins here whenever it is run.
pub const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// How long a run may take in simulated time, faults and healing included.
const LONGEST: Duration = Duration::from_secs(240);

/// How far the clock of a leader may be from what time it must be.
pub const MAX_CLOCK_STEP: Duration = Duration::from_secs(1);

/// Clocks that nobody set wrong are at most this far ahead.
pub const SKEW_MS: u64 = 400;

/// Far less than what nodes keep free.
const LITTLE_BYTES: u64 = 1 << 20;

/// How soon a node is started again, by whatever looks after processes.
const START: Duration = Duration::from_millis(300);

/// The hosts of the present members, in the order in which they came.
pub type Members = Rc<RefCell<Vec<usize>>>;

/// How a node is reached.
pub fn member(node: usize) -> v1::Member {
    let name = HOSTS[node];
    v1::Member {
        node_id: node as u64 + 1,
        client_address: format!("{name}:{CLIENT_PORT}"),
        peer_address: format!("{name}:{PEER_PORT}"),
        ..Default::default()
    }
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

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// There is no such machine yet.
    Unused,
    Node,
    /// It is gone for good.
    Retired,
}

struct Host {
    disk: Arc<Disk>,
    clock: Arc<SettableClock>,
    role: Role,
    stops: Stops,
    /// Its disk has been tampered with, or is another one.
    is_damaged: bool,
    /// How many operations of its disk had failed when its process began.
    errors: u64,
    /// It has stopped, and somebody starts it again.
    starts_at: Option<Duration>,
}

/// Nodes that have stopped by themselves, and what they said.
type Stopped = Rc<RefCell<Vec<(usize, String)>>>;

/// A cluster under simulation.
pub struct Cluster {
    pub sim: Sim<'static>,
    seed: u64,
    raft: RaftSettings,
    /// How many nodes form the cluster.
    first: usize,
    hosts: Vec<Host>,
    members: Members,
    restarts: Restarts,
    stopped: Stopped,
    raft_seen: Raft,
    /// A node that ends whenever it leads, and the term in which it did so last.
    breaks_as_leader: Option<(usize, u64)>,
    broken_leaders: u64,
    torn: u64,
    slowest_message: Duration,
}

impl Cluster {
    /// Nodes that are about to start.
    pub fn new(seed: u64, shape: &Shape) -> Self {
        quorate::raft::runtime::seed_this_thread(seed);
        let (fastest, slowest) = shape.latency;
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(UNIX_EPOCH + EPOCH)
            .simulation_duration(LONGEST)
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(fastest)
            .max_message_latency(slowest)
            .repair_rate(0.05)
            .tcp_capacity(65_536)
            // A connect that is given up keeps its port, and all clients take theirs from these.
            .ephemeral_ports(10_000..=65_000)
            .enable_random_order()
            .build();
        let host = |node| Host {
            disk: Disk::new(part(seed, node, 0)),
            clock: Arc::default(),
            role: Role::Unused,
            stops: Stops::default(),
            is_damaged: false,
            errors: 0,
            starts_at: None,
        };
        let mut cluster = Self {
            sim,
            seed,
            raft: shape.raft.clone(),
            first: shape.nodes,
            hosts: (0..HOSTS.len()).map(host).collect(),
            members: Rc::new(RefCell::new((0..shape.nodes).collect())),
            restarts: Restarts::default(),
            stopped: Stopped::default(),
            raft_seen: Raft::default(),
            breaks_as_leader: None,
            broken_leaders: 0,
            torn: 0,
            slowest_message: slowest,
        };
        for node in 0..shape.nodes {
            cluster.start(node);
        }
        cluster
    }

    fn start(&mut self, node: usize) {
        let (seed, boots, stopped) = (self.seed, Rc::new(Cell::new(0)), Rc::clone(&self.stopped));
        let (disk, clock) = (Arc::clone(&self.hosts[node].disk), Arc::clone(&self.hosts[node].clock));
        let config = config(node, self.first, self.raft.clone());
        self.sim.host(HOSTS[node], move || {
            boots.set(boots.get() + 1);
            let random = part(seed, node, boots.get());
            run(node, random, config.clone(), Arc::clone(&disk), Arc::clone(&clock), Rc::clone(&stopped))
        });
        self.hosts[node].role = Role::Node;
        let skew = part(seed, node, 0) % SKEW_MS;
        self.set_clock(node, i64::try_from(skew).expect("a small number"));
    }

    /// The first of the hosts that are not used yet.
    pub fn next_hosts(&self, count: usize) -> Vec<usize> {
        (0..HOSTS.len()).filter(|node| self.hosts[*node].role == Role::Unused).take(count).collect()
    }

    /// Starts a node with a new id, which is no member yet.
    pub fn start_new(&mut self) -> usize {
        let node = self.next_hosts(1)[0];
        trace::line(format_args!("start {} as a new node", HOSTS[node]));
        self.start(node);
        node
    }

    /// A node goes for good.
    pub fn retire(&mut self, node: usize) {
        trace::line(format_args!("retire {}", HOSTS[node]));
        self.hosts[node].role = Role::Retired;
        if self.sim.is_host_running(HOSTS[node]) {
            self.sim.crash(HOSTS[node]);
        }
    }

    /// Who the members are, as it goes on.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// What the nodes store on.
    pub fn disks(&self) -> Vec<Arc<Disk>> {
        self.hosts.iter().map(|host| Arc::clone(&host.disk)).collect()
    }

    /// The nodes that lost their power, as it goes on.
    pub fn restarts(&self) -> Restarts {
        Rc::clone(&self.restarts)
    }

    /// How many operations of all disks have failed.
    pub fn disk_errors(&self) -> u64 {
        self.hosts.iter().map(|host| host.disk.errors()).sum()
    }

    /// How many batches had reached a disk in part when the power failed.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// The clock of a node is so much ahead of the real time from now on, or behind.
    pub fn set_clock(&mut self, node: usize, error_ms: i64) {
        trace::line(format_args!("the clock of {} is wrong by {error_ms} ms", HOSTS[node]));
        self.hosts[node].clock.set(error_ms);
    }

    /// Has everybody begin who uses the cluster, on one host: each host takes time in every tick, whatever it
    /// does. The run is over when all of them are.
    pub fn begin(&mut self, clients: Vec<Work>) {
        self.sim.client(ALL_CLIENTS, async move {
            let mut working = JoinSet::new();
            clients.into_iter().for_each(|client| drop(working.spawn_local(client)));
            while let Some(ended) = working.join_next().await {
                ended.expect("a client that panics ends the process")?;
            }
            Ok(())
        });
    }

    /// Nothing passes between a node and the other nodes, in either direction.
    pub fn isolate(&mut self, node: usize) {
        trace::line(format_args!("isolate {}", HOSTS[node]));
        for other in self.others(node) {
            self.sim.partition(HOSTS[node], HOSTS[other]);
        }
    }

    /// A node can send to the other nodes, but hears nothing from them.
    pub fn deafen(&mut self, node: usize) {
        trace::line(format_args!("deafen {}", HOSTS[node]));
        for other in self.others(node) {
            self.sim.partition_oneway(HOSTS[other], HOSTS[node]);
        }
    }

    /// A node hears the other nodes, but cannot send to them.
    pub fn mute(&mut self, node: usize) {
        trace::line(format_args!("mute {}", HOSTS[node]));
        for other in self.others(node) {
            self.sim.partition_oneway(HOSTS[node], HOSTS[other]);
        }
    }

    /// Nothing passes between these nodes and the others.
    pub fn split(&mut self, side: &[usize]) {
        let names: Vec<_> = side.iter().map(|node| HOSTS[*node]).collect();
        trace::line(format_args!("split {} from the others", names.join(", ")));
        for node in side {
            for other in self.others(*node).into_iter().filter(|other| !side.contains(other)) {
                self.sim.partition(HOSTS[*node], HOSTS[other]);
            }
        }
    }

    /// What a node sends and is sent waits, until it is healed.
    pub fn hold(&mut self, node: usize) {
        trace::line(format_args!("hold {}", HOSTS[node]));
        let name = HOSTS[node];
        for other in self.others(node).into_iter().map(|other| HOSTS[other]).chain([ALL_CLIENTS]) {
            self.sim.hold(name, other);
        }
    }

    /// So many of the messages between nodes break their link for a while.
    pub fn lose_messages(&mut self, rate: f64) {
        trace::line(format_args!("links fail with {rate} of the messages"));
        for (one, other) in self.links() {
            self.sim.set_link_fail_rate(HOSTS[one], HOSTS[other], rate);
        }
    }

    /// Messages between nodes take up to so long, or as long as usual.
    pub fn slow_links(&mut self, slowest: Option<Duration>) {
        let slowest = slowest.unwrap_or(self.slowest_message);
        trace::line(format_args!("messages take up to {slowest:?}"));
        for (one, other) in self.links() {
            self.sim.set_link_max_message_latency(HOSTS[one], HOSTS[other], slowest);
        }
    }

    /// Syncs of a disk take so many times longer than usual.
    pub fn slow_disk(&mut self, node: usize, times: u32) {
        trace::line(format_args!("the disk of {} is {times} times slower than usual", HOSTS[node]));
        self.hosts[node].disk.slow_down(times);
    }

    /// The same of all disks.
    pub fn slow_disks(&mut self, times: u32) {
        trace::line(format_args!("disks are {times} times slower than usual"));
        self.hosts.iter().for_each(|host| host.disk.slow_down(times));
    }

    /// A disk fails. Who writes to it has to stop.
    pub fn break_disk(&mut self, node: usize, defect: Defect) {
        trace::line(format_args!("the disk of {} has a defect: {defect:?}", HOSTS[node]));
        let host = &mut self.hosts[node];
        host.disk.set_defect(Some(defect));
        host.stops.allow();
    }

    /// There is so little room left on a disk that its node keeps it for what gives back.
    pub fn nearly_fill(&mut self, node: usize) {
        trace::line(format_args!("the disk of {} is nearly full", HOSTS[node]));
        self.hosts[node].disk.set_free_bytes(LITTLE_BYTES);
    }

    /// A bit of what a node has stored is another one.
    pub fn flip_bit(&mut self, node: usize) {
        let place = self.hosts[node].disk.flip_bit().unwrap_or_else(|| "nothing".to_owned());
        trace::line(format_args!("flip on the disk of {}: {place}", HOSTS[node]));
        self.hosts[node].is_damaged = true;
        self.hosts[node].stops.allow();
    }

    /// A node that is down gets an empty disk.
    pub fn lose_disk(&mut self, node: usize) {
        trace::line(format_args!("the disk of {} is lost", HOSTS[node]));
        self.hosts[node].disk.replace();
        let now = self.sim.elapsed();
        self.hosts[node].is_damaged = true;
        self.hosts[node].stops.allow();
        self.hosts[node].stops.demand(now);
    }

    /// The power of a node fails: it loses what was not synced, and nobody is told.
    pub fn cut_power(&mut self, node: usize) {
        trace::line(format_args!("cut the power of {}", HOSTS[node]));
        let name = HOSTS[node];
        // Before the crash: the sockets of a crashed host are closed politely.
        for other in self.others(node).into_iter().map(|other| HOSTS[other]).chain([ALL_CLIENTS]) {
            self.sim.partition(name, other);
        }
        self.lose_unsynced(node);
        self.sim.crash(name);
        self.hosts[node].starts_at = None;
        self.hosts[node].stops.forget();
        let revision = revision_of_rows(&self.hosts[node].disk);
        trace::line(format_args!("the rows of {name} go up to revision {revision}"));
        self.restarts.borrow_mut().push(Restart { node, revision });
    }

    fn lose_unsynced(&mut self, node: usize) {
        let [log, state] = self.hosts[node].disk.crash();
        trace::line(format_args!(
            "it loses {} batches of the log and {} of the state",
            log.batches, state.batches
        ));
        self.torn += u64::from(log.torn) + u64::from(state.torn);
    }

    /// The process of a node ends, not its machine.
    pub fn kill(&mut self, node: usize) {
        trace::line(format_args!("kill {}", HOSTS[node]));
        self.hosts[node].starts_at = None;
        self.hosts[node].stops.forget();
        self.sim.crash(HOSTS[node]);
    }

    /// From now on the process of a node ends as soon as others hear that it leads, and is started again.
    pub fn break_as_leader(&mut self, node: usize) {
        trace::line(format_args!("{} breaks when it leads", HOSTS[node]));
        self.breaks_as_leader = Some((node, 0));
    }

    /// Ends the node that breaks when it leads, if it has begun to.
    fn break_leader(&mut self) {
        let Some((node, last)) = self.breaks_as_leader else { return };
        let others = self.nodes().into_iter().filter(|other| *other != node);
        let heard = others.filter_map(|other| term_led_by(node, &self.hosts[other].disk));
        if let Some(term) = heard.max().filter(|term| *term > last)
            && self.sim.is_host_running(HOSTS[node])
        {
            self.kill(node);
            self.hosts[node].starts_at = Some(self.sim.elapsed() + START);
            self.breaks_as_leader = Some((node, term));
            self.broken_leaders += 1;
        }
    }

    /// How often a leader was ended because it led.
    pub fn broken_leaders(&self) -> u64 {
        self.broken_leaders
    }

    /// Ends all partitions and defects, and starts the nodes that are down.
    pub fn heal(&mut self) {
        trace::line(format_args!("heal"));
        self.breaks_as_leader = None;
        let now = self.sim.elapsed();
        for node in self.nodes() {
            let name = HOSTS[node];
            for other in self.others(node).into_iter().map(|other| HOSTS[other]).chain([ALL_CLIENTS]) {
                self.sim.release(name, other);
                self.sim.repair(name, other);
            }
            let host = &mut self.hosts[node];
            host.disk.make_room();
            if host.disk.set_defect(None).is_some() {
                host.stops.forbid(now);
                if host.disk.errors() > host.errors && host.starts_at.is_none() {
                    host.stops.demand(now);
                }
            }
            if !self.sim.is_host_running(name) {
                host.starts_at = None;
                host.errors = host.disk.errors();
                self.sim.bounce(name);
            }
        }
    }

    /// Ends the hosts whose nodes have stopped by themselves or are to end, and starts them again. Fails if
    /// one has stopped without a reason, or had one and goes on.
    pub fn reap(&mut self) -> Result<(), String> {
        self.break_leader();
        let now = self.sim.elapsed();
        for (node, problem) in self.stopped.take() {
            trace::line(format_args!("{} stops: {problem}", HOSTS[node]));
            self.hosts[node].stops.stop(now, HOSTS[node], &problem)?;
            self.sim.crash(HOSTS[node]);
            // What a sync has failed for may be there, or not.
            self.lose_unsynced(node);
            self.hosts[node].starts_at = Some(now + START);
        }
        for node in self.nodes() {
            let host = &mut self.hosts[node];
            host.stops.go_on(now, HOSTS[node])?;
            if host.starts_at.is_some_and(|time| now >= time) {
                host.starts_at = None;
                host.errors = host.disk.errors();
                trace::line(format_args!("start {} again", HOSTS[node]));
                self.sim.bounce(HOSTS[node]);
            }
        }
        Ok(())
    }

    /// S6, at this moment. What is on a damaged disk says nothing of Raft.
    pub fn look_at_disks(&mut self) -> Result<(), String> {
        let sound = self.nodes().into_iter().filter(|node| !self.hosts[*node].is_damaged);
        let looks = sound.map(|node| (node, Look::at(&self.hosts[node].disk))).collect();
        self.raft_seen.add(&looks)
    }

    fn nodes(&self) -> Vec<usize> {
        (0..HOSTS.len()).filter(|node| self.hosts[*node].role == Role::Node).collect()
    }

    /// All other hosts that there are.
    fn others(&self, node: usize) -> Vec<usize> {
        (0..HOSTS.len()).filter(|other| *other != node && self.hosts[*other].role != Role::Unused).collect()
    }

    fn links(&self) -> Vec<(usize, usize)> {
        let nodes = self.nodes();
        let pairs = nodes.iter().flat_map(|one| nodes.iter().map(move |other| (*one, *other)));
        pairs.filter(|(one, other)| one < other).collect()
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

/// A seed for one part of a run.
fn part(seed: u64, node: usize, boot: u64) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(node as u64 * 1_009).wrapping_add(boot)
}

fn config(node: usize, first: usize, raft: RaftSettings) -> Config {
    let members = (0..first).map(member).map(|member| config::Member {
        node_id: member.node_id,
        client_address: member.client_address,
        peer_address: member.peer_address,
    });
    Config {
        cluster: CLUSTER.to_owned(),
        node_id: member(node).node_id,
        data_dir: Default::default(),
        disk: Default::default(),
        client: ClientSettings { listen: format!("0.0.0.0:{CLIENT_PORT}"), max_message_bytes: 4 << 20 },
        peer: PeerSettings { listen: format!("0.0.0.0:{PEER_PORT}") },
        events: Default::default(),
        // One that is added later knows of none.
        members: if node < first { members.collect() } else { Vec::new() },
        max_clock_step_ms: u64::try_from(MAX_CLOCK_STEP.as_millis()).expect("a small number"),
        raft,
        log: LogSettings::default(),
    }
}

async fn run(
    node: usize,
    random: u64,
    config: Config,
    disk: Arc<Disk>,
    clock: Arc<SettableClock>,
    stopped: Stopped,
) -> turmoil::Result {
    let parts = server::Parts {
        store: Box::new(SimulatedStore::new(disk)),
        clock,
        net: Arc::new(SimulatedNet),
        rng: Arc::new(SeededRng::new(random)),
    };
    let problem = match server::run(config, parts, pending()).await {
        Ok(()) => "nobody told it to".to_owned(),
        Err(error) => error.to_string(),
    };
    stopped.borrow_mut().push((node, problem));
    // The process is about to end: the host is crashed before it does anything else.
    pending().await
}
