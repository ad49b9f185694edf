//! What came back, and how long it took: counts, a histogram, and both over time.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;
use tonic::Code;

use crate::client::ClientError;
use crate::client::tell;
use crate::client::v1;

/// The longest latency that is told from longer ones: an hour, in nanoseconds.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Three digits are kept of each latency.
const DIGITS: u8 = 3;

/// What became of commands, or of reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Granted, or otherwise done.
    pub done: u64,
    /// Granted in part.
    pub partial: u64,
    /// Denied: no room, or locked.
    pub denied: u64,
    /// Refused for another reason.
    pub refused: u64,
    /// No answer says what became of it.
    pub unknown: u64,
    /// It reached no node.
    pub unsent: u64,
    /// It should have begun, at the rate that was wanted, and there was nobody free to begin it.
    pub late: u64,
}

impl Outcomes {
    /// What brought what was asked for, or a part of it.
    pub fn useful(&self) -> u64 {
        self.done + self.partial
    }

    /// Everything that was asked for.
    pub fn all(&self) -> u64 {
        self.useful() + self.denied + self.refused + self.unknown + self.unsent + self.late
    }

    pub(super) fn of_one(outcome: Outcome) -> Self {
        let mut outcomes = Self::default();
        outcomes.count(outcome);
        outcomes
    }

    pub(super) fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Done => &mut self.done,
            Outcome::Partial => &mut self.partial,
            Outcome::Denied => &mut self.denied,
            Outcome::Refused => &mut self.refused,
            Outcome::Unknown => &mut self.unknown,
            Outcome::Unsent => &mut self.unsent,
            Outcome::Late => &mut self.late,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.partial += other.partial;
        self.denied += other.denied;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.unsent += other.unsent;
        self.late += other.late;
    }
}

/// What became of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Partial,
    Denied,
    Refused,
    Unknown,
    Unsent,
    Late,
}

impl Outcome {
    pub(super) fn of_reserve(response: &v1::ReserveResponse) -> Self {
        match response.outcome() {
            v1::Outcome::Partial => Self::Partial,
            v1::Outcome::Granted | v1::Outcome::Unspecified => Self::Done,
        }
    }

    pub(super) fn of_error(error: &ClientError) -> Self {
        match error {
            ClientError::Rejected { rejection: Some(rejection), .. } if tell::is_denial(rejection) => {
                Self::Denied
            }
            ClientError::Rejected { .. } | ClientError::Invalid { .. } => Self::Refused,
            ClientError::Unknown { .. } => Self::Unknown,
            ClientError::Unavailable { .. } => Self::Unsent,
        }
    }

    /// Of one command among many.
    pub(super) fn of_result(result: &v1::BatchResult) -> Self {
        use v1::batch_result::Result as Answer;
        match (&result.result, Code::from_i32(result.code)) {
            (Some(Answer::Reserve(response)), Code::Ok) => Self::of_reserve(response),
            (_, Code::Ok) => Self::Done,
            (Some(Answer::Rejection(rejection)), _) if tell::is_denial(rejection) => Self::Denied,
            _ if result.reason.is_empty() && result.code != Code::InvalidArgument as i32 => Self::Unknown,
            _ => Self::Refused,
        }
    }
}

/// A part of the time that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// When it ended, since the measurement began.
    pub end: Duration,
    /// How long it was.
    pub length: Duration,
    /// What brought what was asked for.
    pub useful: u64,
    /// Of the calls that ended in it; zero when none did.
    pub p50: Duration,
    /// The same.
    pub p99: Duration,
}

/// What all who ask write down.
#[derive(Debug)]
pub(super) struct Meter(Mutex<Notes>);

#[derive(Debug)]
struct Notes {
    begin: Instant,
    end: Instant,
    last: Instant,
    outcomes: Outcomes,
    calls: u64,
    latency: Histogram<u64>,
    series: Series,
    problem: Option<String>,
}

/// What a meter has seen in the end.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) length: Duration,
    pub(super) outcomes: Outcomes,
    pub(super) calls: u64,
    pub(super) latency: Histogram<u64>,
    pub(super) intervals: Vec<Interval>,
    pub(super) problem: Option<String>,
}

impl Meter {
    /// Counts what ends between `begin` and `end`, in intervals of this length.
    pub(super) fn new(begin: Instant, end: Instant, interval: Duration) -> Self {
        Self(Mutex::new(Notes {
            begin,
            end,
            last: begin,
            outcomes: Outcomes::default(),
            calls: 0,
            latency: histogram(),
            series: Series::new(begin, interval),
            problem: None,
        }))
    }

    /// Takes note of a call that should have begun at `due`. Counts say what ended in the time that is
    /// measured. Latencies are of what should have begun in it: what is still under way at the end took
    /// long, and would be missing.
    pub(super) fn note(&self, due: Instant, outcomes: Outcomes) {
        self.note_at(due, Instant::now(), outcomes);
    }

    fn note_at(&self, due: Instant, ended: Instant, outcomes: Outcomes) {
        let mut notes = self.notes();
        let latency = nanoseconds(ended - due);
        if due >= notes.begin && due < notes.end {
            notes.latency.saturating_record(latency);
        }
        if ended >= notes.begin && ended < notes.end {
            notes.last = ended;
            notes.calls += 1;
            notes.outcomes.add(outcomes);
            notes.series.add(ended, latency, outcomes.useful());
        } else if due >= notes.begin && due < notes.end {
            // Done too late to be throughput; what failed must not be lost with it.
            notes.outcomes.add(Outcomes { done: 0, partial: 0, ..outcomes });
        }
    }

    /// Takes note of a call that should have begun at `due`, and did not until the end: what it would
    /// have taken at least.
    pub(super) fn late(&self, due: Instant) {
        let mut notes = self.notes();
        if due >= notes.begin && due < notes.end {
            let latency = nanoseconds(notes.end - due);
            notes.latency.saturating_record(latency);
            notes.outcomes.count(Outcome::Late);
        }
    }

    /// Remembers what went wrong first, warm-up included.
    pub(super) fn trouble(&self, problem: impl FnOnce() -> String) {
        let mut notes = self.notes();
        if notes.problem.is_none() {
            notes.problem = Some(problem());
        }
    }

    /// What was counted so far.
    pub(super) fn so_far(&self) -> (u64, Outcomes) {
        let notes = self.notes();
        (notes.calls, notes.outcomes)
    }

    /// What was seen, when it is over. It is shorter than it could have been when there was no more to
    /// ask.
    pub(super) fn finish(&self, is_counted: bool) -> Measured {
        let mut notes = self.notes();
        let end = if is_counted { notes.last } else { notes.end };
        notes.series.close(end);
        Measured {
            length: end - notes.begin,
            outcomes: notes.outcomes,
            calls: notes.calls,
            latency: std::mem::replace(&mut notes.latency, histogram()),
            intervals: std::mem::take(&mut notes.series.intervals),
            problem: notes.problem.take(),
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        // Counts are whole whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty histogram of latencies in nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("the bounds fit each other")
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
struct Series {
    begin: Instant,
    interval: Duration,
    intervals: Vec<Interval>,
    useful: u64,
    latency: Histogram<u64>,
}

impl Series {
    fn new(begin: Instant, interval: Duration) -> Self {
        Self { begin, interval, intervals: Vec::new(), useful: 0, latency: histogram() }
    }

    fn add(&mut self, ended: Instant, latency_ns: u64, useful: u64) {
        while ended >= self.next_end() {
            self.end_at(self.next_end());
        }
        self.useful += useful;
        self.latency.saturating_record(latency_ns);
    }

    fn close(&mut self, end: Instant) {
        while end >= self.next_end() {
            self.end_at(self.next_end());
        }
        // A rest says little of a rate.
        if end - self.last_end() >= self.interval / 2 {
            self.end_at(end);
        }
    }

    fn last_end(&self) -> Instant {
        self.begin + self.intervals.last().map_or(Duration::ZERO, |interval| interval.end)
    }

    fn next_end(&self) -> Instant {
        self.last_end() + self.interval
    }

    fn end_at(&mut self, end: Instant) {
        let length = end - self.last_end();
        let quantile = |of| Duration::from_nanos(self.latency.value_at_quantile(of));
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        self.intervals.push(Interval { end: end - self.begin, length, useful: self.useful, p50, p99 });
        self.useful = 0;
        self.latency.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn is_about(latency: u64, expected: Duration) -> bool {
        let (latency, expected) = (latency as f64, expected.as_nanos() as f64);
        (latency / expected - 1.0).abs() < 0.01
    }

    fn one() -> Outcomes {
        Outcomes::of_one(Outcome::Done)
    }

    #[test]
    fn a_cluster_that_stands_still_is_not_fast_because_nobody_asked_it_meanwhile() {
        let begin = Instant::now();
        let meter = Meter::new(begin, begin + 2 * SECOND, SECOND);
        // A call each millisecond, one at a time, each answered at once: but the first takes a second.
        for call in 0..2_000 {
            let due = begin + ms(call);
            meter.note_at(due, due.max(begin + SECOND), one());
        }
        let measured = meter.finish(false);
        let at = |quantile| measured.latency.value_at_quantile(quantile);
        // Only every second call found a cluster that answers, the others waited: 500 ms on average.
        assert!(is_about(at(0.75), ms(500)), "{}", at(0.75));
        assert!(is_about(at(0.99), ms(980)), "{}", at(0.99));
        assert!(is_about(measured.latency.max(), SECOND));
    }

    #[test]
    fn only_what_belongs_to_the_time_that_is_measured_counts() {
        let start = Instant::now();
        let (begin, end) = (start + SECOND, start + 3 * SECOND);
        let meter = Meter::new(begin, end, SECOND);
        meter.note_at(start, start + ms(500), one());
        // Begun in the warm-up and ended behind it: it counts, but says nothing of how long calls take.
        meter.note_at(begin - ms(10), begin + ms(10), one());
        meter.note_at(begin + ms(20), begin + ms(40), Outcomes::of_one(Outcome::Denied));
        // Ended too late to count, and long; what failed is told all the same.
        meter.note_at(end - ms(10), end + ms(500), one());
        meter.note_at(end - ms(10), end + ms(500), Outcomes::of_one(Outcome::Unknown));
        let measured = meter.finish(false);
        assert_eq!(measured.outcomes, Outcomes { done: 1, denied: 1, unknown: 1, ..Outcomes::default() });
        assert_eq!((measured.calls, measured.latency.len()), (2, 3));
        assert!(is_about(measured.latency.max(), ms(510)));
        assert_eq!(measured.length, 2 * SECOND);
    }

    #[test]
    fn intervals_have_no_gaps_and_a_count_ends_with_its_last_call() {
        let begin = Instant::now();
        let meter = Meter::new(begin, begin + 60 * SECOND, SECOND);
        for at in [ms(100), ms(200), ms(3_800)] {
            meter.note_at(begin + at - ms(50), begin + at, one());
        }
        let measured = meter.finish(true);
        assert_eq!(measured.length, ms(3_800));
        let useful: Vec<u64> = measured.intervals.iter().map(|interval| interval.useful).collect();
        assert_eq!(useful, [2, 0, 0, 1]);
        assert_eq!(measured.intervals[1].p99, Duration::ZERO);
        assert_eq!(measured.intervals[3].length, ms(800));
    }

    #[test]
    fn what_is_neither_done_nor_decided_is_told_apart() {
        let unknown = ClientError::Unknown { request_id: None, last: String::new() };
        assert_eq!(Outcome::of_error(&unknown), Outcome::Unknown);
        let unsent = ClientError::Unavailable { last: String::new() };
        assert_eq!(Outcome::of_error(&unsent), Outcome::Unsent);
        let result = |code: Code, reason: &str| v1::BatchResult {
            code: code as i32,
            reason: reason.to_owned(),
            ..Default::default()
        };
        assert_eq!(Outcome::of_result(&result(Code::Ok, "")), Outcome::Done);
        assert_eq!(Outcome::of_result(&result(Code::Unavailable, "")), Outcome::Unknown);
        assert_eq!(Outcome::of_result(&result(Code::NotFound, "UNKNOWN_SCOPE")), Outcome::Refused);
        let denied = v1::rejection::Reason::Denied(v1::rejection::Denied::default());
        let rejection = v1::Rejection { reason: Some(denied), ..Default::default() };
        let denied = v1::BatchResult {
            result: Some(v1::batch_result::Result::Rejection(rejection)),
            ..result(Code::ResourceExhausted, "DENIED")
        };
        assert_eq!(Outcome::of_result(&denied), Outcome::Denied);
    }
}
