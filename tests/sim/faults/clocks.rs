//! Clocks that are set wrong, and right again.

use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::cluster::Cluster;
use crate::cluster::SKEW_MS;

/// How long a clock stays as it was set, in milliseconds: longer than a new leader asks for clocks.
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
            // Another one is not wrong before a new leader has asked: it would hear of two.
            return cluster.set_clock(node, small(&mut self.random));
        }
        // Mostly the one that matters.
        let node = if self.random.random_ratio(2, 3) {
            leader
        } else {
            let members = cluster.members().borrow();
            members[self.random.random_range(0..members.len())]
        };
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
