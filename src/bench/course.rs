//! When calls begin: one after the other, or at a fixed rate; and when it is enough.
//!
//! At a fixed rate each call has a time at which it should begin, whatever became of those before it,
//! and its latency counts from then. Counted from when it did begin, a cluster that stands still for
//! a second would be asked little meanwhile, and look fast: coordinated omission.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

/// The time of a measurement, shared by all who ask.
#[derive(Debug)]
pub(super) struct Course {
    start: Instant,
    /// When it begins to count.
    begin: Instant,
    end: Instant,
    /// How many calls are enough.
    count: Option<u64>,
    rate: Option<f64>,
    scheduled: AtomicU64,
    begun: AtomicU64,
}

impl Course {
    pub(super) fn new(warm_up: Duration, duration: Duration, count: Option<u64>, rate: Option<f64>) -> Self {
        let start = Instant::now();
        let begin = start + warm_up;
        Self { start, begin, end: begin + duration, count, rate, scheduled: 0.into(), begun: 0.into() }
    }

    pub(super) fn begin(&self) -> Instant {
        self.begin
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// Waits for the next call, and says when it should begin; nothing when it is enough.
    pub(super) async fn next(&self) -> Option<Instant> {
        let due = match self.rate {
            None => Instant::now(),
            Some(rate) => {
                let number = self.scheduled.fetch_add(1, Ordering::Relaxed);
                let due = self.start + Duration::from_secs_f64(number as f64 / rate);
                if due < self.end {
                    tokio::time::sleep_until(due).await;
                }
                due
            }
        };
        if due >= self.end {
            return None;
        }
        if let Some(count) = self.count
            && due >= self.begin
            && self.begun.fetch_add(1, Ordering::Relaxed) >= count
        {
            return None;
        }
        Some(due)
    }
}
