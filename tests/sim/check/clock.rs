//! The clock of a quota and the ceiling that follows from it, worked out from what is taken and from
//! log time.

use quorate::client::v1;
use quorate::client::v1::ClockKind;
use quorate::client::v1::Rule;
use quorate::client::v1::Touched;

use crate::quotas::CLOCKED;
use crate::quotas::Clocked;
use crate::quotas::ROOT;

/// One clock, whether it runs or not.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub quota: &'static Clocked,
    /// When use went over the line.
    since: Option<u64>,
}

/// What an event did to a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Began,
    Stopped,
    /// It goes on, or still stands.
    None,
}

impl Clock {
    /// Those of all quotas that have one; they stand.
    pub fn all() -> [Self; CLOCKED.len()] {
        CLOCKED.each_ref().map(|quota| Self { quota, since: None })
    }

    /// Whether an event that touched this touched its quota.
    pub fn is_of(&self, touched: &Touched) -> bool {
        touched.scope == ROOT && touched.resource == self.quota.resource
    }

    /// When its time is up, or was, in log time.
    pub fn end(&self) -> Option<u64> {
        Some(self.since? + self.quota.length_ms)
    }

    /// What is taken has become so much at a log time.
    pub fn turn(&mut self, taken: u64, now: u64) -> Turn {
        let over = taken > self.quota.line;
        match (self.since, over) {
            (None, true) => {
                self.since = Some(now);
                Turn::Began
            }
            (Some(_), false) => {
                self.since = None;
                Turn::Stopped
            }
            (None, false) | (Some(_), true) => Turn::None,
        }
    }

    /// How an event must show it that happened at a log time.
    pub fn shown(&self, now: u64) -> Option<v1::Clock> {
        let (since_ms, end) = (self.since?, self.end()?);
        Some(v1::Clock { since_ms, ends_at_ms: 0, ended: now >= end })
    }

    /// How an event shows it.
    pub fn shown_by(&self, touched: &Touched) -> Option<v1::Clock> {
        match self.quota.kind {
            ClockKind::Grace => touched.grace,
            ClockKind::Burst => touched.burst,
            ClockKind::Unspecified => unreachable!("every clock is of a kind"),
        }
    }

    /// The most that may be taken at a log time, and the rule that says so.
    pub fn ceiling(&self, now: u64) -> (u64, Rule) {
        let ended = self.end().is_some_and(|end| now >= end);
        match (self.quota.kind, ended) {
            (ClockKind::Grace, true) => (self.quota.line, Rule::SoftLimit),
            (ClockKind::Grace, false) => (self.quota.above, Rule::HardLimit),
            (ClockKind::Burst, true) => (self.quota.line, Rule::BurstEnded),
            (ClockKind::Burst, false) => (self.quota.above, Rule::BurstLimit),
            (ClockKind::Unspecified, _) => unreachable!("every clock is of a kind"),
        }
    }
}
