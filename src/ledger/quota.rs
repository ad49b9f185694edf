//! The policy on one (scope, resource), and what runs on it by itself: clocks and a schedule.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::LogTime;
use super::Revision;
use super::amount::Amount;
use crate::planted::Bug;
use crate::planted::planted;

/// Most changes and overrides that wait on one quota.
pub const MAX_SCHEDULED: usize = 32;

/// The greatest overcommit ratio.
pub const MAX_OVERCOMMIT: Decimal = Decimal::from_parts(1000, 0, 0, false, 0);

/// Most decimals of an overcommit ratio.
pub const OVERCOMMIT_DECIMALS: u32 = 4;

/// The longest duration a policy or a hold may name: 100 years, in milliseconds.
pub const MAX_DURATION_MS: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// A ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most this much.
    Amount(Amount),
    /// No ceiling, said explicitly.
    Unlimited,
    /// No ceiling of its own: the ancestors decide.
    Inherit,
}

/// What happens to a request that goes over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// It is denied.
    #[default]
    Enforce,
    /// It is granted; the client is warned, and it is counted and recorded.
    Warn,
    /// It is granted and the client is told nothing; it is counted and recorded.
    Shadow,
    /// It is granted; nobody looks at the limit.
    Off,
}

/// What happens when a limit is lowered below what is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReduce {
    /// The change is refused.
    Refuse,
    /// The change is made, and nothing is admitted that makes the overrun larger.
    #[default]
    Freeze,
    /// As freeze, and the event says how much is to be given back.
    Drain,
}

/// What an administrator says about one (scope, resource).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The hard limit.
    pub limit: Limit,
    /// Everything else; most quotas say nothing else, and then there is no box.
    terms: Option<Box<Terms>>,
}

/// What a policy may say besides its limit. The default says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// The warning line; it becomes the ceiling when grace ends.
    pub soft: Option<Amount>,
    /// How long use may stay over soft before soft becomes the ceiling; for ever when absent.
    pub grace_ms: Option<u64>,
    /// The ceiling above hard for a while.
    pub burst: Option<Amount>,
    /// How long use may stay over hard.
    pub max_burst_ms: Option<u64>,
    /// Multiplies the hard limit; 1 or more.
    pub overcommit: Option<Decimal>,
    /// What happens to a request over the limit.
    pub enforcement: Enforcement,
    /// What happens when the limit is lowered below what is taken.
    pub on_reduce: OnReduce,
    /// The time to live of a hold that names none.
    pub default_ttl_ms: Option<u64>,
    /// The longest time to live a hold may name; without a default it is the default too.
    pub max_ttl_ms: Option<u64>,
    /// Whether children may pass limits to each other.
    pub allow_transfer: bool,
}

const NO_TERMS: &Terms = &Terms {
    soft: None,
    grace_ms: None,
    burst: None,
    max_burst_ms: None,
    overcommit: None,
    enforcement: Enforcement::Enforce,
    on_reduce: OnReduce::Freeze,
    default_ttl_ms: None,
    max_ttl_ms: None,
    allow_transfer: false,
};

impl Policy {
    /// A policy. The combination has been checked, or is that of a stored policy.
    pub fn new(limit: Limit, terms: Terms) -> Self {
        Self { limit, terms: (terms != *NO_TERMS).then(|| Box::new(terms)) }
    }

    /// What it says besides its limit.
    #[inline]
    pub fn terms(&self) -> &Terms {
        self.terms.as_deref().unwrap_or(NO_TERMS)
    }

    /// Whether it says anything besides its limit.
    #[inline]
    pub fn has_terms(&self) -> bool {
        self.terms.is_some()
    }

    /// The same terms with another limit.
    pub fn with_limit(&self, limit: Limit) -> Self {
        Self { limit, terms: self.terms.clone() }
    }

    /// This policy with some fields replaced by those of another one; all when none are named.
    pub fn changed(&self, new: &Self, fields: Option<&[PolicyField]>) -> Self {
        let Some(fields) = fields else { return new.clone() };
        let mut limit = self.limit;
        let mut terms = self.terms().clone();
        let from = new.terms();
        for field in fields {
            match field {
                PolicyField::Limit => limit = new.limit,
                PolicyField::Soft => terms.soft = from.soft,
                PolicyField::Grace => terms.grace_ms = from.grace_ms,
                PolicyField::Burst => terms.burst = from.burst,
                PolicyField::MaxBurst => terms.max_burst_ms = from.max_burst_ms,
                PolicyField::Overcommit => terms.overcommit = from.overcommit,
                PolicyField::Enforcement => terms.enforcement = from.enforcement,
                PolicyField::OnReduce => terms.on_reduce = from.on_reduce,
                PolicyField::DefaultTtl => terms.default_ttl_ms = from.default_ttl_ms,
                PolicyField::MaxTtl => terms.max_ttl_ms = from.max_ttl_ms,
                PolicyField::AllowTransfer => terms.allow_transfer = from.allow_transfer,
            }
        }
        Self::new(limit, terms)
    }

    /// The hard limit times the overcommit ratio; `None` when it is no amount.
    pub fn effective(&self) -> Option<Amount> {
        self.effective_of(self.limit)
    }

    /// What another limit would come to under the same terms.
    pub fn effective_of(&self, limit: Limit) -> Option<Amount> {
        let Limit::Amount(hard) = limit else {
            return None;
        };
        Some(match self.terms.as_deref() {
            Some(Terms { overcommit: Some(ratio), .. }) => hard.times(*ratio),
            _ => hard,
        })
    }
}

/// A part of a policy that can be changed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the field of Terms with its name, or the limit")]
pub enum PolicyField {
    Limit,
    Soft,
    Grace,
    Burst,
    MaxBurst,
    Overcommit,
    Enforcement,
    OnReduce,
    DefaultTtl,
    MaxTtl,
    AllowTransfer,
}

impl PolicyField {
    /// All of them, with their names in the protocol.
    pub const ALL: [(Self, &str); 11] = [
        (Self::Limit, "limit"),
        (Self::Soft, "soft"),
        (Self::Grace, "grace_ms"),
        (Self::Burst, "burst"),
        (Self::MaxBurst, "max_burst_ms"),
        (Self::Overcommit, "overcommit"),
        (Self::Enforcement, "enforcement"),
        (Self::OnReduce, "on_reduce"),
        (Self::DefaultTtl, "default_ttl_ms"),
        (Self::MaxTtl, "max_ttl_ms"),
        (Self::AllowTransfer, "allow_transfer"),
    ];
}

/// Why a quota admits nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Shown to everyone who is refused.
    pub reason: Arc<str>,
    /// Who locked it.
    pub actor: Arc<str>,
}

/// A time that runs while use is over a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// When use first exceeded the line.
    pub since: LogTime,
    /// Whether the time is up: recorded by an event.
    pub ended: bool,
}

/// Which clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClockKind {
    /// Runs while use is over soft.
    Grace,
    /// Runs while use is over the effective limit.
    Burst,
}

/// Both clocks of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clocks {
    /// Runs while use is over soft.
    pub grace: Option<Clock>,
    /// Runs while use is over the effective limit.
    pub burst: Option<Clock>,
}

/// Something that will happen to a quota by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The revision of the event that scheduled it.
    pub id: Revision,
    /// When it takes effect.
    pub start: LogTime,
    /// What happens then.
    pub plan: Planned,
    /// Why; "" when nobody said.
    pub reason: Arc<str>,
    /// Who scheduled it.
    pub actor: Arc<str>,
}

/// What a schedule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Changes the policy for good.
    Change {
        /// What it says then.
        policy: Policy,
        /// Which fields of it are changed, ascending; the others are as they are then. All when
        /// absent.
        fields: Option<Box<[PolicyField]>>,
    },
    /// Replaces the limit for a while.
    Override {
        /// The hard limit meanwhile.
        limit: Limit,
        /// When the limit of the policy is back; not part of the while.
        end: LogTime,
        /// Whether it has begun: recorded by an event.
        active: bool,
    },
}

/// What runs on a quota by itself; most quotas have nothing of it, and then there is no box.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// While use is over a line.
    pub clocks: Clocks,
    /// How many requests it would have denied, under WARN or SHADOW.
    pub would_deny: u64,
    /// By their ids.
    pub schedule: Vec<Scheduled>,
}

/// The policy on one (scope, resource), with what runs on it. Its version is kept by the account:
/// it goes on rising when a quota is deleted and made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// What was said about it.
    pub policy: Policy,
    /// Present while locked.
    pub lock: Option<Box<Lock>>,
    pub(super) live: Option<Box<Live>>,
}

/// The ceiling at one time, and the rule it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// No more than this may be taken.
    pub amount: Amount,
    /// Why.
    pub rule: super::rejection::Rule,
}

impl Quota {
    /// A quota on which nothing runs.
    pub fn new(policy: Policy) -> Self {
        Self { policy, lock: None, live: None }
    }

    /// A quota as it was stored.
    pub fn restore(policy: Policy, lock: Option<Lock>, live: Live) -> Self {
        Self { policy, lock: lock.map(Box::new), live: (live != Live::default()).then(|| Box::new(live)) }
    }

    /// Whether what goes over it is denied.
    #[inline]
    pub fn is_enforced(&self) -> bool {
        self.policy.terms().enforcement == Enforcement::Enforce
    }

    /// Whether it says what is allowed, and does not leave that to its ancestors.
    #[inline]
    pub fn governs(&self) -> bool {
        self.hard() != Limit::Inherit
    }

    /// The clocks.
    #[inline]
    pub fn clocks(&self) -> Clocks {
        self.live.as_deref().map_or_else(Clocks::default, |live| live.clocks)
    }

    /// How many requests it would have denied, under WARN or SHADOW.
    pub fn would_deny(&self) -> u64 {
        self.live.as_deref().map_or(0, |live| live.would_deny)
    }

    /// What is going to happen to it, by id.
    pub fn schedule(&self) -> &[Scheduled] {
        self.live.as_deref().map_or(&[], |live| &live.schedule)
    }

    /// The override that replaces the limit now.
    pub fn active_override(&self) -> Option<&Scheduled> {
        self.schedule().iter().find(|item| matches!(item.plan, Planned::Override { active: true, .. }))
    }

    /// The hard limit now: that of the policy, or of the override that replaces it.
    #[inline]
    pub fn hard(&self) -> Limit {
        match self.active_override().map(|item| &item.plan) {
            Some(Planned::Override { limit, .. }) => *limit,
            _ => self.policy.limit,
        }
    }

    /// The effective limit now: hard × overcommit.
    pub fn effective(&self) -> Option<Amount> {
        self.policy.effective_of(self.hard())
    }

    /// What may be taken at most, at a time. `None`: nothing here limits.
    #[inline]
    pub fn ceiling(&self, now: LogTime) -> Option<Ceiling> {
        use super::rejection::Rule;
        if self.policy.terms.is_none() && self.live.is_none() {
            // Most quotas: nothing but a limit.
            return match self.policy.limit {
                Limit::Amount(amount) => Some(Ceiling { amount, rule: Rule::HardLimit }),
                Limit::Unlimited | Limit::Inherit => None,
            };
        }
        let hard = self.effective().map(|amount| Ceiling { amount, rule: Rule::HardLimit });
        if self.active_override().is_some() {
            // It says what holds meanwhile, whatever the policy says of bursts and soft limits.
            return hard;
        }
        let terms = self.policy.terms();
        let with_burst = match (hard, terms.burst) {
            (Some(hard), Some(burst)) if burst > hard.amount => {
                if self.has_ended(ClockKind::Burst, now) {
                    Some(Ceiling { rule: Rule::BurstEnded, ..hard })
                } else {
                    Some(Ceiling { amount: burst, rule: Rule::BurstLimit })
                }
            }
            (hard, _) => hard,
        };
        let grace_ended = || self.has_ended(ClockKind::Grace, now);
        match (with_burst, terms.soft) {
            (ceiling, Some(soft)) if grace_ended() && ceiling.is_none_or(|ceiling| soft < ceiling.amount) => {
                Some(Ceiling { amount: soft, rule: Rule::SoftLimit })
            }
            (ceiling, _) => ceiling,
        }
    }

    /// When a clock that runs (or has run out) ends.
    pub fn ends(&self, kind: ClockKind) -> Option<LogTime> {
        let clocks = self.clocks();
        let (clock, length) = match kind {
            ClockKind::Grace => (clocks.grace?, self.policy.terms().grace_ms?),
            ClockKind::Burst => (clocks.burst?, self.policy.terms().max_burst_ms?),
        };
        Some(clock.since.saturating_add(length))
    }

    /// Whether the time of a clock is up, recorded or not.
    fn has_ended(&self, kind: ClockKind, now: LogTime) -> bool {
        let clocks = self.clocks();
        let clock = match kind {
            ClockKind::Grace => clocks.grace,
            ClockKind::Burst => clocks.burst,
        };
        clock.is_some_and(|clock| clock.ended) || self.ends(kind).is_some_and(|end| now >= end)
    }

    /// The clocks after use has become `taken` at a time.
    pub fn clocks_at(&self, taken: Amount, now: LogTime) -> Clocks {
        let terms = self.policy.terms();
        let before = self.clocks();
        let run = |line: Option<Amount>, length: Option<u64>, clock: Option<Clock>| {
            let (line, length) = (line?, length?);
            if taken <= line {
                return None;
            }
            let since = clock.filter(|_| !planted(Bug::GraceBeginsAnew)).map_or(now, |clock| clock.since);
            Some(Clock { since, ended: now >= since.saturating_add(length) })
        };
        Clocks {
            grace: run(terms.soft, terms.grace_ms, before.grace),
            burst: run(terms.burst.and(self.effective()), terms.max_burst_ms, before.burst),
        }
    }

    /// When something next happens to it by itself.
    #[inline]
    pub fn next_deadline(&self) -> Option<LogTime> {
        self.live.as_deref()?;
        let clocks = self.clocks();
        let running =
            |clock: Option<Clock>, kind| clock.filter(|clock| !clock.ended).and_then(|_| self.ends(kind));
        let scheduled = self.schedule().iter().map(|item| match item.plan {
            Planned::Override { active: true, .. } if planted(Bug::OverrideForEver) => LogTime::MAX,
            Planned::Override { end, active: true, .. } => end,
            Planned::Override { .. } | Planned::Change { .. } => item.start,
        });
        scheduled
            .chain(running(clocks.grace, ClockKind::Grace))
            .chain(running(clocks.burst, ClockKind::Burst))
            .min()
    }

    pub(super) fn live_mut(&mut self) -> &mut Live {
        self.live.get_or_insert_default()
    }

    /// Drops the box when nothing runs any more.
    pub(super) fn tidy(&mut self) {
        if self.live.as_deref().is_some_and(|live| *live == Live::default()) {
            self.live = None;
        }
    }
}
