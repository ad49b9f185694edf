//! For how long nothing was granted, as all probing clients together saw it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::kind::Kind;

/// Beats with every grant.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Mutex<Beats>>);

#[derive(Debug)]
struct Beats {
    count: u64,
    /// The last beat, or when the watch began.
    last: Instant,
    longest: Duration,
}

impl Pulse {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Beats { count: 0, last: Instant::now(), longest: Duration::ZERO })))
    }

    pub fn beat(&self) {
        let mut beats = self.beats();
        let now = Instant::now();
        beats.longest = beats.longest.max(now - beats.last);
        beats.last = now;
        beats.count += 1;
    }

    /// Forgets all gaps: from here on the longest is looked for.
    pub fn watch(&self) {
        let mut beats = self.beats();
        beats.last = Instant::now();
        beats.longest = Duration::ZERO;
    }

    /// The longest time without a beat since [`Pulse::watch`], the one that lasts included.
    pub fn longest(&self) -> Duration {
        let beats = self.beats();
        beats.longest.max(beats.last.elapsed())
    }

    pub fn count(&self) -> u64 {
        self.beats().count
    }

    fn beats(&self) -> std::sync::MutexGuard<'_, Beats> {
        self.0.lock().expect("no panic while locked")
    }
}

/// The gaps of a run; those of the time without a fault are under none.
#[derive(Debug, Default)]
pub struct Gaps(BTreeMap<Option<Kind>, Vec<Duration>>);

impl Gaps {
    pub fn add(&mut self, kind: Option<Kind>, gap: Duration) {
        self.0.entry(kind).or_default().push(gap);
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.0.get(&Some(kind)).map_or(0, Vec::len)
    }

    /// Of each kind: how many, the median, the 99th of a hundred, the longest.
    pub fn summary(&self) -> Vec<(Option<Kind>, usize, [Duration; 3])> {
        let line = |(kind, gaps): (&Option<Kind>, &Vec<Duration>)| {
            let mut gaps = gaps.clone();
            gaps.sort();
            // The nearest rank: of a few the 99th of a hundred is the longest.
            let rank = |percent: usize| gaps[(gaps.len() * percent).div_ceil(100).max(1) - 1];
            (*kind, gaps.len(), [rank(50), rank(99), rank(100)])
        };
        self.0.iter().map(line).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_gap_is_the_one_that_lasts_too() {
    let pulse = Pulse::new();
    for milliseconds in [5, 40, 10] {
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
        pulse.beat();
    }
    assert_eq!(pulse.longest(), Duration::from_millis(40));
    tokio::time::advance(Duration::from_millis(70)).await;
    assert_eq!(pulse.longest(), Duration::from_millis(70));
    pulse.watch();
    assert_eq!(pulse.longest(), Duration::ZERO, "what was before is forgotten");
    assert_eq!(pulse.count(), 3);
}

#[test]
fn ranks_are_those_of_what_was_measured() {
    let mut gaps = Gaps::default();
    for milliseconds in 1..=200 {
        gaps.add(Some(Kind::KillLeader), Duration::from_millis(milliseconds));
    }
    gaps.add(None, Duration::from_millis(7));
    let ranks = [100, 198, 200].map(Duration::from_millis);
    assert_eq!(gaps.summary()[1], (Some(Kind::KillLeader), 200, ranks));
    assert_eq!(gaps.summary()[0], (None, 1, [7, 7, 7].map(Duration::from_millis)));
    assert_eq!(gaps.count(Kind::KillLeader), 200);
    assert_eq!(gaps.count(Kind::KillAll), 0);
}
