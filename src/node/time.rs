//! Believed time: what the leader takes for the time of day and stamps into log entries. The one
//! place that does.
//!
//! Rules see log time alone, so a leader with a wrong clock would end holds early or late for
//! everyone. Therefore its clock is not simply believed:
//!
//! - When a node begins to lead it asks other voters for their clocks, and begins with the middle
//!   one of all that are known.
//! - From there time is counted by the monotonic clock, which nobody can set. The own clock is
//!   followed while it stays within a bound of that count, so that what time servers correct is
//!   corrected here too.
//! - A clock beyond the bound, ahead or behind, is *refused*: time goes on by the count. The next
//!   entry records the refusal in the ledger, once until the clock is back within the bound.
//! - Stamped time never goes back.
//!
//! [`Timekeeper`] judges and knows nothing of clocks, nodes and networks; below it is what reads
//! and asks them.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio::time::timeout_at;

use super::Node;
use crate::ledger::LogTime;
use crate::ledger::apply::RefusedClock;
use crate::ledger::apply::Stamp;
use crate::planted::Bug;
use crate::planted::planted;
use crate::raft::Member;
use crate::raft::NodeId;

/// How long a new leader may take to ask for the clocks of others.
const ASK: Duration = Duration::from_millis(300);

/// The count is drawn toward the own clock this often, …
const CORRECTION: Duration = Duration::from_secs(60);

/// … by at most one part in so many of the time between: more than any two oscillators differ by,
/// and too little for a clock that was set to move the count.
const LARGEST_DRIFT: u128 = 1_000;

/// Judges what time it is while this node leads.
#[derive(Debug)]
struct Timekeeper {
    /// How far the own clock may be from the count, in milliseconds.
    bound: u64,
    reign: Option<Reign>,
}

/// One time of leading.
#[derive(Debug)]
struct Reign {
    term: u64,
    /// The count: it stood here …
    base: LogTime,
    /// … at this moment of the monotonic clock.
    since: Duration,
    /// The latest time that was read.
    latest: LogTime,
    refusal: Refusal,
}

/// What is to be said of the own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// It is followed.
    None,
    /// It is refused, and no entry says so yet.
    Untold,
    /// It is refused, and an entry that says so was proposed.
    Told,
}

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    time: LogTime,
    /// Something about the own clock that was not so at the last reading.
    news: Option<News>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// It is refused from now on.
    Refused,
    /// It is followed again.
    Followed,
}

impl Timekeeper {
    fn new(bound: u64) -> Self {
        Self { bound, reign: None }
    }

    /// Whether it knows what time it is in a term that this node leads.
    fn reigns(&self, term: u64) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.term == term)
    }

    /// Begins a time of leading at a monotonic moment, given the last log time, the own clock and
    /// those of others.
    fn begin(&mut self, term: u64, moment: Duration, last: LogTime, own: LogTime, others: &[LogTime]) {
        let mut clocks = others.to_vec();
        clocks.push(own);
        clocks.sort_unstable();
        let lower = clocks[(clocks.len() - 1) / 2];
        let higher = clocks[clocks.len() / 2];
        // Of two that disagree one is wrong. One that lies behind what was true already is; otherwise
        // the lower is the lesser evil: time that is behind catches up, time that is ahead stays so.
        let middle = if lower.saturating_add(self.bound) < last { higher } else { lower };
        let middle = if planted(Bug::OwnClockBelieved) { own } else { middle };
        let base = middle.max(last);
        self.reign = Some(Reign { term, base, since: moment, latest: base, refusal: Refusal::None });
    }

    /// What time it is at a monotonic moment, given the last log time and the own clock.
    fn read(&mut self, moment: Duration, last: LogTime, own: LogTime) -> Reading {
        let reign = self.reign.as_mut().expect("a reign has begun");
        let elapsed = moment.saturating_sub(reign.since);
        let mut count = reign.base.saturating_add(millis(elapsed));
        if last > count.saturating_add(self.bound) {
            // Nothing stamped here is that far ahead: it was inherited, and only now applied.
            (reign.base, reign.since, count) = (last, moment, last);
        }
        let follows = own.abs_diff(count) <= self.bound || planted(Bug::LeaderClockFollowed);
        if follows && elapsed >= CORRECTION {
            let drift = u64::try_from(elapsed.as_millis() / LARGEST_DRIFT).unwrap_or(u64::MAX);
            let corrected = own.clamp(count.saturating_sub(drift), count.saturating_add(drift));
            (reign.base, reign.since) = (corrected, moment);
        }
        let news = match (follows, reign.refusal) {
            (false, Refusal::None) => {
                reign.refusal = Refusal::Untold;
                Some(News::Refused)
            }
            (true, Refusal::Untold | Refusal::Told) => {
                reign.refusal = Refusal::None;
                Some(News::Followed)
            }
            _ => None,
        };
        reign.latest = reign.latest.max(last).max(if follows { own } else { count });
        Reading { time: reign.latest, news }
    }

    /// Whether the own clock is refused in this term.
    fn refuses(&self, term: u64) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.term == term && reign.refusal != Refusal::None)
    }

    /// Whether the entry that is about to be proposed is the one to say that the clock is refused.
    fn tell(&mut self) -> bool {
        self.replace(Refusal::Untold, Refusal::Told)
    }

    /// The entry that was to say it may be lost.
    fn untell(&mut self) {
        self.replace(Refusal::Told, Refusal::Untold);
    }

    fn replace(&mut self, from: Refusal, to: Refusal) -> bool {
        match &mut self.reign {
            Some(reign) if reign.refusal == from => {
                reign.refusal = to;
                true
            }
            _ => false,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The clocks of a node, and what it makes of them.
pub(super) struct Time {
    keeper: Mutex<Timekeeper>,
    /// Where monotonic time begins.
    start: Instant,
}

impl Time {
    pub(super) fn new(max_clock_step_ms: u64) -> Self {
        Self { keeper: Mutex::new(Timekeeper::new(max_clock_step_ms)), start: Instant::now() }
    }

    fn moment(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Node {
    /// What the next entry is stamped with; `None` while this node does not lead, or does not know
    /// the time yet.
    pub(super) async fn stamp(&self) -> Option<Stamp> {
        let mut keeper = self.time.keeper.lock().await;
        let (time, clock) = self.read_time(&mut keeper).await?;
        let refused = keeper.tell().then_some(RefusedClock { clock, node: self.parts.id });
        Some(Stamp { time, refused })
    }

    /// An entry with this stamp may not have come into the log.
    pub(super) async fn stamp_lost(&self, stamp: &Stamp) {
        if stamp.refused.is_some() {
            self.time.keeper.lock().await.untell();
        }
    }

    /// What time it is as this node believes; `None` while it does not lead, or does not know yet.
    pub(super) async fn believed_time(&self) -> Option<LogTime> {
        let mut keeper = self.time.keeper.lock().await;
        Some(self.read_time(&mut keeper).await?.0)
    }

    /// Whether this node leads, and does not believe its clock.
    pub(super) async fn refuses_clock(&self) -> bool {
        let Some(term) = self.reign() else { return false };
        let mut keeper = self.time.keeper.lock().await;
        // A leader that has nothing to decide has not looked for a while.
        keeper.reigns(term) && self.read_time(&mut keeper).await.is_some() && keeper.refuses(term)
    }

    /// The believed time, and the own clock.
    async fn read_time(&self, keeper: &mut Timekeeper) -> Option<(LogTime, LogTime)> {
        let term = self.reign()?;
        if !keeper.reigns(term) && !self.begin_reign(keeper, term).await {
            return None;
        }
        let own = self.clock_ms();
        let Reading { time, news } = keeper.read(self.time.moment(), self.parts.applied.log_time(), own);
        match news {
            Some(News::Refused) => tracing::warn!(
                clock_ms = own,
                believed_ms = time,
                max_clock_step_ms = keeper.bound,
                "the clock of this node is refused: it is too far from what time it must be; \
                 time goes on without it; set it right"
            ),
            Some(News::Followed) => {
                tracing::info!(clock_ms = own, "the clock of this node is followed again");
            }
            None => {}
        }
        Some((time, own))
    }

    /// The own clock, right or wrong.
    pub(super) fn clock_ms(&self) -> LogTime {
        self.parts.clock.now_ms()
    }

    /// The term in which this node leads.
    pub(super) fn reign(&self) -> Option<u64> {
        let metrics = self.parts.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.state.is_leader().then_some(metrics.vote.leader_id.term)
    }

    /// Learns what time it is. `false` when too few others told their clocks: the own clock alone is
    /// not believed, and without a majority nothing could be decided anyway.
    async fn begin_reign(&self, keeper: &mut Timekeeper, term: u64) -> bool {
        let deadline = Instant::now() + ASK;
        let ((), others) = join(self.inherit(deadline), self.ask_clocks(keeper.bound, deadline)).await;
        let Some(others) = others else {
            tracing::warn!(term, "too few other nodes tell their clocks; they are asked again");
            return false;
        };
        let moment = self.time.moment();
        // A clock goes on while others are asked.
        let others: Vec<LogTime> =
            others.into_iter().map(|(clock, told)| clock.saturating_add(millis(moment - told))).collect();
        let own = self.clock_ms();
        keeper.begin(term, moment, self.parts.applied.log_time(), own, &others);
        tracing::info!(term, clock_ms = own, ?others, "this node begins to stamp entries");
        true
    }

    /// Waits until everything is applied that was in the log when this node began to lead: the last
    /// log time is the last one then.
    async fn inherit(&self, deadline: Instant) {
        let last = {
            let metrics = self.parts.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.last_log_index
        };
        let mut progress = self.progress.clone();
        // A log that is not applied in time is applied later, and heeded then.
        drop(timeout_at(deadline, progress.wait_for(|progress| progress.index >= last)).await);
    }

    /// The clocks of other voters, each with the monotonic moment at which it was told: of as many
    /// as make a majority with this node when their clocks agree, of all that answer in time when
    /// they do not. `None` when they make no majority.
    async fn ask_clocks(&self, bound: u64, deadline: Instant) -> Option<Vec<(LogTime, Duration)>> {
        let (voters, enough) = {
            let metrics = self.parts.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let membership = &metrics.membership_config;
            let others = membership.voter_ids().filter(|id| *id != self.parts.id);
            let others: Vec<(NodeId, Member)> =
                others.filter_map(|id| Some((id, membership.get_node(&id)?.clone()))).collect();
            (others, membership.voter_ids().count() / 2)
        };
        let mut asked: FuturesUnordered<_> =
            voters.iter().map(|(id, member)| self.ask_clock(*id, member, deadline)).collect();
        let mut clocks = Vec::new();
        while clocks.len() < enough || !self.agree(&clocks, bound) {
            match timeout_at(deadline, asked.next()).await {
                Ok(Some(Ok(clock))) => clocks.push((clock, self.time.moment())),
                Ok(Some(Err(error))) => tracing::debug!(%error, "a voter does not tell its clock"),
                Ok(None) | Err(_) => break,
            }
        }
        (clocks.len() >= enough).then_some(clocks)
    }

    /// Whether all clocks, and the own one, are within the bound of each other.
    fn agree(&self, clocks: &[(LogTime, Duration)], bound: u64) -> bool {
        let own = self.clock_ms();
        let moment = self.time.moment();
        let now = clocks.iter().map(|(clock, told)| clock.saturating_add(millis(moment - *told)));
        let (first, last) = now.fold((own, own), |(first, last), clock| (first.min(clock), last.max(clock)));
        last - first <= bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const BOUND: u64 = 10_000;
    const NOW: LogTime = 1_767_225_600_000;

    fn at(ms: u64) -> Duration {
        Duration::from_secs(77) + Duration::from_millis(ms)
    }

    /// What the time is taken to be when a node begins to lead.
    fn base(last: LogTime, own: LogTime, others: &[LogTime]) -> LogTime {
        let mut keeper = Timekeeper::new(BOUND);
        keeper.begin(1, at(0), last, own, others);
        keeper.reign.expect("it has begun").base
    }

    /// A leader since `NOW`, whose clock was right then.
    fn leader() -> Timekeeper {
        let mut keeper = Timekeeper::new(BOUND);
        keeper.begin(1, at(0), NOW, NOW, &[]);
        keeper
    }

    fn followed(time: LogTime) -> Reading {
        Reading { time, news: None }
    }

    #[test]
    fn the_middle_one_of_three_clocks_is_believed() {
        assert_eq!(base(NOW - 5, NOW, &[NOW + HOUR, NOW + 3]), NOW + 3);
        assert_eq!(base(NOW - 5, NOW, &[NOW - HOUR, NOW + 3]), NOW);
        assert_eq!(base(NOW - 5, NOW + HOUR, &[NOW, NOW - HOUR]), NOW);
        assert_eq!(base(NOW - 5, NOW - HOUR, &[NOW, NOW + 1]), NOW);
    }

    #[test]
    fn of_two_clocks_the_earlier_is_believed_unless_the_ledger_knows_that_it_is_late() {
        assert_eq!(base(NOW - 5, NOW, &[NOW + HOUR]), NOW);
        assert_eq!(base(NOW - 5, NOW + HOUR, &[NOW]), NOW);
        assert_eq!(base(NOW - 5, NOW, &[NOW - HOUR]), NOW);
        assert_eq!(base(NOW - 5, NOW - HOUR, &[NOW]), NOW);
        assert_eq!(base(NOW, NOW - BOUND - 1, &[NOW + 7]), NOW + 7);
        assert_eq!(base(NOW, NOW - BOUND, &[NOW + 7]), NOW, "late by no more than the bound");
        // The same for the middle two of four.
        assert_eq!(base(NOW - 5, NOW - HOUR, &[NOW + HOUR, NOW + 1, NOW]), NOW);
        assert_eq!(base(NOW, NOW - HOUR, &[NOW - HOUR - 1, NOW + 1, NOW + 2]), NOW + 1);
    }

    #[test]
    fn nobody_answers_and_the_own_clock_is_all_there_is() {
        assert_eq!(base(NOW - 5, NOW, &[]), NOW);
        assert_eq!(base(0, NOW, &[]), NOW);
    }

    #[test]
    fn time_never_begins_before_the_last_log_time() {
        assert_eq!(base(NOW, NOW - HOUR, &[]), NOW);
        assert_eq!(base(NOW, NOW - HOUR, &[NOW - HOUR, NOW - HOUR]), NOW);
        let mut keeper = Timekeeper::new(BOUND);
        keeper.begin(1, at(0), NOW, NOW - HOUR, &[NOW - HOUR]);
        let reading = keeper.read(at(500), NOW, NOW - HOUR + 500);
        assert_eq!(reading, Reading { time: NOW + 500, news: Some(News::Refused) });
    }

    #[test]
    fn a_clock_near_the_count_is_followed() {
        let mut keeper = leader();
        assert_eq!(keeper.read(at(10), NOW, NOW + 10), followed(NOW + 10));
        assert_eq!(keeper.read(at(20), NOW + 10, NOW + 20 + BOUND), followed(NOW + 20 + BOUND));
        assert!(!keeper.tell());
    }

    #[test]
    fn a_clock_that_jumps_is_refused_and_time_goes_on_without_it() {
        for jump in [HOUR, 24 * HOUR, BOUND + 1] {
            for own in [NOW + 1_000 + jump, NOW + 1_000 - jump] {
                let mut keeper = leader();
                let reading = keeper.read(at(1_000), NOW, own);
                assert_eq!(reading, Reading { time: NOW + 1_000, news: Some(News::Refused) });
                assert_eq!(keeper.read(at(90_000), NOW, own), followed(NOW + 90_000));
            }
        }
    }

    #[test]
    fn a_refusal_is_told_once_until_the_clock_was_right_again() {
        let mut keeper = leader();
        for episode in 0..3 {
            let elapsed = episode * 10_000;
            let own = NOW + elapsed;
            assert_eq!(keeper.read(at(elapsed), NOW, own + HOUR).news, Some(News::Refused));
            assert!(keeper.tell());
            assert_eq!(keeper.read(at(elapsed), NOW, own - HOUR).news, None);
            assert!(!keeper.tell(), "it was told");
            keeper.untell();
            assert!(keeper.tell(), "what told it was lost");
            assert_eq!(keeper.read(at(elapsed), NOW, own).news, Some(News::Followed));
            assert!(!keeper.tell(), "it is over");
            keeper.untell();
            assert!(!keeper.tell(), "there is nothing left to tell");
        }
    }

    #[test]
    fn a_new_leader_refuses_its_own_clock_when_the_others_agree_on_another_time() {
        let mut keeper = Timekeeper::new(BOUND);
        keeper.begin(4, at(0), NOW - 5, NOW + HOUR, &[NOW, NOW + 1]);
        assert!(keeper.reigns(4) && !keeper.reigns(5));
        let reading = keeper.read(at(2), NOW - 5, NOW + HOUR + 2);
        assert_eq!(reading, Reading { time: NOW + 3, news: Some(News::Refused) });
        assert!(keeper.tell());
    }

    #[test]
    fn time_stands_rather_than_going_back() {
        let mut keeper = leader();
        assert_eq!(keeper.read(at(100), NOW, NOW + 5_100), followed(NOW + 5_100));
        assert_eq!(keeper.read(at(200), NOW, NOW + 200), followed(NOW + 5_100));
        assert_eq!(keeper.read(at(300), NOW + 5_200, NOW + 300), followed(NOW + 5_200));
        assert_eq!(keeper.read(at(6_000), NOW + 5_200, NOW + 6_000), followed(NOW + 6_000));
    }

    #[test]
    fn steps_within_the_bound_do_not_add_up() {
        let mut keeper = leader();
        let mut own = NOW;
        let mut refused = false;
        for step in 0..100 {
            own += 5_000 + 10;
            let reading = keeper.read(at((step + 1) * 10), NOW, own);
            refused |= reading.news == Some(News::Refused);
            assert!(reading.time <= NOW + (step + 1) * 10 + BOUND, "step {step}");
        }
        assert!(refused);
    }

    #[test]
    fn a_clock_that_only_drifts_is_followed_for_ever() {
        for ahead in [true, false] {
            let mut keeper = leader();
            // Five seconds in ten thousand, for a month; looked at every ten minutes.
            for look in 1..=30 * 24 * 6_u64 {
                let elapsed = look * 600_000;
                let drift = elapsed / 2_000;
                let own = if ahead { NOW + elapsed + drift } else { NOW + elapsed - drift };
                assert_eq!(keeper.read(at(elapsed), NOW, own), followed(own), "look {look}");
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_is_not_taken_for_one_that_drifts() {
        let mut keeper = leader();
        let step = BOUND;
        for look in 1..=60 {
            let elapsed = look * 1_000;
            keeper.read(at(elapsed), NOW, NOW + elapsed + step);
        }
        // After a minute the count has come nearer by a thousandth of it.
        let reign = keeper.reign.expect("it has begun");
        assert_eq!((reign.base, reign.since), (NOW + 60_000 + 60, at(60_000)));
    }

    #[test]
    fn a_log_time_that_is_applied_late_moves_the_count() {
        let mut keeper = leader();
        let reading = keeper.read(at(10), NOW + HOUR, NOW + 10);
        assert_eq!(reading, Reading { time: NOW + HOUR, news: Some(News::Refused) });
        assert_eq!(keeper.read(at(1_010), NOW + HOUR, NOW + 1_010), followed(NOW + HOUR + 1_000));
    }

    #[test]
    fn no_clock_makes_it_overflow() {
        for last in [0, NOW, u64::MAX] {
            for own in [0, NOW, u64::MAX] {
                for other in [0, u64::MAX] {
                    let mut keeper = Timekeeper::new(BOUND);
                    keeper.begin(1, at(0), last, own, &[other]);
                    for moment in [at(0), at(HOUR), Duration::MAX] {
                        assert!(keeper.read(moment, last, own).time >= last);
                    }
                }
            }
        }
    }
}
