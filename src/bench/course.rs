//! When calls begin: one after the other, or at a fixed rate; and when it is enough.
//!
//! At a fixed rate each call has a time at which it should begin, whatever became of those before it,
//! and its latency counts from then. Counted from when it did begin, a cluster that stands still for
//! a second would be asked little meanwhile, and look fast: coordinated omission.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::BenchError;
use super::meter::Meter;
use super::pulse::Pulse;

/// The time of a measurement, shared by all who ask.
#[derive(Debug)]
pub(super) struct Course {
    start: Instant,
    /// When it begins to count.
    begin: Instant,
    end: Instant,
    /// How many calls are enough.
    count: Option<u64>,
    /// How many of them have begun.
    counted: AtomicU64,
    schedule: Option<Schedule>,
}

/// A fixed rate.
#[derive(Debug)]
struct Schedule {
    per_second: f64,
    /// Calls that are due and have not begun. Closed at the end.
    due: Semaphore,
    /// How many have begun.
    begun: AtomicU64,
}

impl Course {
    pub(super) fn new(warm_up: Duration, duration: Duration, count: Option<u64>, rate: Option<f64>) -> Self {
        let start = Instant::now();
        let begin = start + warm_up;
        let schedule =
            rate.map(|per_second| Schedule { per_second, due: Semaphore::new(0), begun: AtomicU64::new(0) });
        Self { start, begin, end: begin + duration, count, counted: AtomicU64::new(0), schedule }
    }

    pub(super) fn begin(&self) -> Instant {
        self.begin
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// Waits for the next call, and says when it should begin; nothing when it is enough.
    pub(super) async fn next(&self) -> Option<Instant> {
        let due = match &self.schedule {
            None => Instant::now(),
            Some(schedule) => {
                schedule.due.acquire().await.ok()?.forget();
                self.due(schedule, schedule.begun.fetch_add(1, Ordering::Relaxed))
            }
        };
        if due >= self.end {
            return None;
        }
        if let Some(count) = self.count
            && due >= self.begin
            && self.counted.fetch_add(1, Ordering::Relaxed) >= count
        {
            // Nothing else will be due for those who wait.
            if let Some(schedule) = &self.schedule {
                schedule.due.close();
            }
            return None;
        }
        Some(due)
    }

    /// When the call of a number should begin.
    fn due(&self, schedule: &Schedule, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / schedule.per_second)
    }

    /// Lets calls begin at the rate that is wanted; without one there is nothing to do. What should have
    /// begun by the end and did not is told to the meter.
    pub(super) async fn keep_pace(&self, meter: &Meter) -> Result<(), BenchError> {
        let Some(schedule) = &self.schedule else { return Ok(()) };
        let machine = || BenchError::machine("set up", "a timer");
        let mut pulse = Pulse::new(schedule.per_second).map_err(machine())?;
        let mut given: u64 = 0;
        while !schedule.due.is_closed() {
            let now = Instant::now().min(self.end);
            let mut fallen_due = 0;
            while self.due(schedule, given) < now {
                given += 1;
                fallen_due += 1;
            }
            schedule.due.add_permits(fallen_due);
            if now == self.end {
                schedule.due.close();
                // Those that began late are waited for by others.
                for number in schedule.begun.load(Ordering::Relaxed)..given {
                    meter.late(self.due(schedule, number));
                }
                break;
            }
            pulse.beat().await.map_err(machine())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(course: &Course) -> Meter {
        Meter::new(course.begin(), course.end(), Duration::from_secs(1))
    }

    #[tokio::test]
    async fn without_a_rate_calls_begin_at_once_until_there_were_enough() {
        let course = Course::new(Duration::ZERO, Duration::from_secs(3_600), Some(3), None);
        for _ in 0..3 {
            assert!(course.next().await.is_some());
        }
        assert_eq!(course.next().await, None);
    }

    #[tokio::test]
    async fn at_a_rate_calls_are_due_at_even_times_however_late_they_begin() {
        let course = Course::new(Duration::ZERO, Duration::from_secs(3_600), Some(50), Some(10_000.0));
        let meter = meter(&course);
        let asking = async {
            let mut due = Vec::new();
            while let Some(next) = course.next().await {
                assert!(next <= Instant::now(), "it does not begin before its time");
                due.push(next);
                // Whoever asks is slow now and then.
                if due.len() == 10 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            due
        };
        let (due, pace) = tokio::join!(asking, course.keep_pace(&meter));
        pace.expect("a timer");
        assert_eq!(due.len(), 50);
        for (number, due) in (0..).zip(due) {
            assert_eq!(due, course.start + Duration::from_micros(100) * number);
        }
    }

    #[tokio::test]
    async fn what_should_have_begun_and_did_not_is_counted_with_what_it_took_at_least() {
        let course = Course::new(Duration::ZERO, Duration::from_millis(50), None, Some(1_000.0));
        let meter = meter(&course);
        // Nobody asks.
        course.keep_pace(&meter).await.expect("a timer");
        assert_eq!(course.next().await, None);
        let measured = meter.finish(false);
        assert_eq!(measured.outcomes.late, 50);
        assert_eq!(measured.latency.len(), 50);
        // The first was due at the beginning, and had not begun at the end.
        let longest = Duration::from_nanos(measured.latency.max());
        assert!((50..51).contains(&longest.as_millis()), "{longest:?}");
        assert!(measured.latency.value_at_quantile(0.5) < 26_000_000);
    }
}
