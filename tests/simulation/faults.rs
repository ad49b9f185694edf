//! What goes wrong during a run, and when: drawn from the seed, one fault after the other.

use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use crate::cluster::Cluster;
use crate::cluster::NODES;
use crate::cluster::SKEW_MS;

/// How long a fault lasts, in milliseconds.
const LASTING_MS: std::ops::Range<u64> = 400..3_000;

/// How long the cluster is left alone afterwards.
const QUIET_MS: std::ops::Range<u64> = 200..2_000;

/// How many times longer than usual a slow disk takes: up to 90 ms, less than a heartbeat.
const SLOW: u32 = 30;

#[derive(Debug, Clone, Copy)]
enum Fault {
    LeaderLosesPower,
    FollowerLosesPower,
    AllLosePower,
    LeaderIsIsolated,
    FollowerIsIsolated,
    LeaderIsDeaf,
    /// Some node loses its power while another is cut off: no majority.
    PowerLossDuringPartition,
}

const ALL: [Fault; 7] = [
    Fault::LeaderLosesPower,
    Fault::FollowerLosesPower,
    Fault::AllLosePower,
    Fault::LeaderIsIsolated,
    Fault::FollowerIsIsolated,
    Fault::LeaderIsDeaf,
    Fault::PowerLossDuringPartition,
];

/// How long a clock stays as it was set, in milliseconds.
const CLOCK_MS: std::ops::Range<u64> = 500..4_000;

/// Nobody would set a clock further than that by mistake: two days.
const HOURS: std::ops::RangeInclusive<i64> = 1..=48;

const HOUR_MS: i64 = 3_600_000;

/// A clock that is set wrong is wrong by that much at least.
pub const WRONG_BY: Duration = Duration::from_hours(1);

/// Clocks that are set during one run. No more than one is wrong by hours at a time: a majority is
/// right, or nobody could know the time.
pub struct Clocks {
    random: SmallRng,
    due: Duration,
    wrong: Option<usize>,
}

impl Clocks {
    pub fn new(seed: u64, begin: Duration) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), due: begin, wrong: None }
    }

    /// Does what is due.
    pub fn step(&mut self, now: Duration, cluster: &mut Cluster, leader: usize) {
        if now < self.due {
            return;
        }
        self.due = now + Duration::from_millis(self.random.random_range(CLOCK_MS));
        let small = |random: &mut SmallRng| i64::from(random.random_range(0..SKEW_MS as u32));
        if let Some(node) = self.wrong.take() {
            cluster.set_clock(node, small(&mut self.random));
        }
        // Mostly the one that matters.
        let node =
            if self.random.random_ratio(2, 3) { leader } else { self.random.random_range(0..NODES.len()) };
        let error_ms = match self.random.random_range(0..5) {
            0 => small(&mut self.random),
            kind => {
                self.wrong = Some(node);
                let hours = self.random.random_range(HOURS) * HOUR_MS;
                if kind <= 2 { hours } else { -hours }
            }
        };
        cluster.set_clock(node, error_ms);
    }
}

/// The faults of one run.
pub struct Faults {
    random: SmallRng,
    to_come: Vec<Fault>,
    /// When the next change is due: a fault begins, or the one that lasts ends.
    due: Duration,
    lasting: bool,
}

impl Faults {
    /// Every fault once, in an order of its own.
    pub fn new(seed: u64, begin: Duration) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut to_come = ALL.to_vec();
        to_come.shuffle(&mut random);
        Self { random, to_come, due: begin, lasting: false }
    }

    /// Whether the cluster will be left alone from now on.
    pub fn are_over(&self) -> bool {
        self.to_come.is_empty() && !self.lasting
    }

    /// Does what is due.
    pub fn step(&mut self, now: Duration, cluster: &mut Cluster, leader: usize) {
        if now < self.due || self.are_over() {
            return;
        }
        let range = if self.lasting { QUIET_MS } else { LASTING_MS };
        self.due = now + Duration::from_millis(self.random.random_range(range));
        self.lasting = !self.lasting;
        if !self.lasting {
            cluster.heal();
            // In half of the cases, so that both are there when the next fault comes.
            cluster.slow_disks(if self.random.random() { 1 } else { SLOW });
            return;
        }
        let fault = self.to_come.pop().expect("they are not over");
        let follower = (leader + self.random.random_range(1..NODES.len())) % NODES.len();
        match fault {
            Fault::LeaderLosesPower => cluster.cut_power(leader),
            Fault::FollowerLosesPower => cluster.cut_power(follower),
            Fault::AllLosePower => (0..NODES.len()).for_each(|node| cluster.cut_power(node)),
            Fault::LeaderIsIsolated => cluster.isolate(leader),
            Fault::FollowerIsIsolated => cluster.isolate(follower),
            Fault::LeaderIsDeaf => cluster.deafen(leader),
            Fault::PowerLossDuringPartition => {
                cluster.isolate(leader);
                cluster.cut_power(follower);
            }
        }
    }
}
