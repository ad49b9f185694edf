//! What differs from one seed to the next besides chance: how large the cluster is, its timing, what goes
//! wrong, and what clients do.

use std::time::Duration;

use quorate::config::RaftSettings;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use crate::cluster::HOSTS;
use crate::faults::Fault;

/// How many faults one run has.
const FAULTS: std::ops::RangeInclusive<usize> = 6..=8;

/// How many nodes with new ids one run has at most: clients know only the first ones, and some of those
/// have to stay.
const NEW_HOSTS: usize = 2;

/// The shape of a run.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many nodes form the cluster.
    pub nodes: usize,
    /// Of every node.
    pub raft: RaftSettings,
    /// How long a message takes.
    pub latency: (Duration, Duration),
    /// What goes wrong, one after the other.
    pub faults: Vec<Fault>,
    /// How long clients rest between two commands, in milliseconds.
    pub pause_ms: std::ops::Range<u64>,
    /// How many of a hundred commands are sent twice, at two nodes at once.
    pub twice: u32,
    /// How many work.
    pub clients: usize,
    pub watchers: usize,
    /// Whether old events are let go of.
    pub lets_go: bool,
}

impl Shape {
    /// Everything follows from the seed.
    pub fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x5AFE);
        let nodes = if random.random_ratio(1, 4) { 5 } else { 3 };
        let heartbeat_ms = random.random_range(60..=120);
        let election_timeout_min_ms = random.random_range(200..=400);
        let snapshot_after_entries = random.random_range(30..=300);
        let raft = RaftSettings {
            heartbeat_ms,
            election_timeout_min_ms,
            election_timeout_max_ms: election_timeout_min_ms + random.random_range(100..=250),
            // Small, so that nodes that were away are sent snapshots.
            snapshot_after_entries,
            keep_entries: random.random_range(1..=snapshot_after_entries / 2),
            checkpoint_interval_ms: random.random_range(200..=1_500),
            // As few as are worth it, mostly.
            keyframe_after_events: if random.random_ratio(3, 4) { 1 } else { random.random_range(2..200) },
        };
        let latency = (
            Duration::from_millis(random.random_range(1..=3)),
            Duration::from_millis(random.random_range(4..=12)),
        );
        let fastest = random.random_range(2..10);
        Self {
            nodes,
            raft,
            latency,
            faults: faults(nodes, &mut random),
            pause_ms: fastest..random.random_range(40..90),
            twice: random.random_range(0..15),
            clients: random.random_range(2..=5),
            watchers: random.random_range(8..=50),
            lets_go: random.random_ratio(3, 4),
        }
    }
}

fn faults(nodes: usize, random: &mut SmallRng) -> Vec<Fault> {
    let mut all = Fault::ALL.to_vec();
    all.shuffle(random);
    let spare = HOSTS.len() - nodes;
    let mut spent = 0;
    all.retain(|fault| {
        let hosts = fault.new_hosts();
        let fits = spent + hosts <= spare.min(NEW_HOSTS);
        spent += if fits { hosts } else { 0 };
        fits
    });
    all.truncate(random.random_range(FAULTS));
    all
}
