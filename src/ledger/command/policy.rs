//! Commands on quotas.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::check_reason;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::ledger::amount::MAX_AMOUNT;
use crate::ledger::name::Name;
use crate::ledger::name::Path;
use crate::ledger::quota::Enforcement;
use crate::ledger::quota::MAX_DURATION_MS;
use crate::ledger::quota::MAX_OVERCOMMIT;
use crate::ledger::quota::OVERCOMMIT_DECIMALS;
use crate::ledger::quota::OnReduce;
use crate::ledger::quota::PolicyField;
use crate::ledger::rejection::Malformed;

/// A limit as a client names it, not yet at the scale of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewLimit {
    /// 0 to 10^18.
    Amount(Decimal),
    /// No ceiling.
    Unlimited,
    /// The ancestors decide.
    #[default]
    Inherit,
}

impl NewLimit {
    /// Checks an amount as a limit; `field` names it in the error.
    pub fn amount(field: &str, number: Decimal) -> Result<Self, Malformed> {
        check_limit(field, number).map(Self::Amount)
    }
}

/// Checks a number that is to be a limit of some kind.
fn check_limit(field: &str, number: Decimal) -> Result<Decimal, Malformed> {
    if number.is_sign_negative() && !number.is_zero() {
        return Err(Malformed::new(field, "is negative; a limit is 0 or more"));
    }
    if number > MAX_AMOUNT {
        return Err(Malformed::new(field, "is over 10^18"));
    }
    Ok(number.normalize())
}

/// A policy as a client names it: the numbers are checked one by one, their combination only when
/// it is complete. `None` says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewPolicy {
    /// The hard limit.
    pub limit: NewLimit,
    /// The warning line.
    pub soft: Option<Decimal>,
    /// How long use may stay over soft.
    pub grace_ms: Option<u64>,
    /// The ceiling above hard for a while.
    pub burst: Option<Decimal>,
    /// How long use may stay over hard.
    pub max_burst_ms: Option<u64>,
    /// Multiplies the hard limit.
    pub overcommit: Option<Decimal>,
    /// What happens to a request over the limit.
    pub enforcement: Enforcement,
    /// What happens when the limit is lowered below what is taken.
    pub on_reduce: OnReduce,
    /// The time to live of a hold that names none.
    pub default_ttl_ms: Option<u64>,
    /// The longest time to live a hold may name.
    pub max_ttl_ms: Option<u64>,
    /// Whether children may pass limits to each other.
    pub allow_transfer: bool,
}

impl NewPolicy {
    /// Checks every number by itself; `prefix` stands before the names of fields in errors.
    pub fn checked(mut self, prefix: &str) -> Result<Self, Malformed> {
        let field = |name: &str| format!("{prefix}{name}");
        self.soft = self.soft.map(|soft| check_limit(&field("soft"), soft)).transpose()?;
        self.burst = self.burst.map(|burst| check_limit(&field("burst"), burst)).transpose()?;
        if let Some(ratio) = self.overcommit {
            let ratio = ratio.normalize();
            if ratio < Decimal::ONE || ratio > MAX_OVERCOMMIT || ratio.scale() > OVERCOMMIT_DECIMALS {
                let problem = format!(
                    "is {ratio}; a ratio is from 1 to {MAX_OVERCOMMIT}, with at most {OVERCOMMIT_DECIMALS} decimals"
                );
                return Err(Malformed::new(field("overcommit"), problem));
            }
            // A ratio of 1 says nothing.
            self.overcommit = (ratio != Decimal::ONE).then_some(ratio);
        }
        let durations = [
            ("grace_ms", self.grace_ms),
            ("max_burst_ms", self.max_burst_ms),
            ("default_ttl_ms", self.default_ttl_ms),
            ("max_ttl_ms", self.max_ttl_ms),
        ];
        for (name, duration) in durations {
            check_duration(&field(name), duration.unwrap_or(1))?;
        }
        Ok(self)
    }
}

/// Checks a duration: at least 1 ms, at most 100 years.
pub(super) fn check_duration(field: &str, duration_ms: u64) -> Result<(), Malformed> {
    match duration_ms {
        0 => Err(Malformed::new(field, "is 0; at least 1 ms is needed")),
        1..=MAX_DURATION_MS => Ok(()),
        _ => Err(Malformed::new(field, format!("is over {MAX_DURATION_MS} ms, which is 100 years"))),
    }
}

/// Makes a quota or changes its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetQuota {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// What is said about it.
    pub policy: NewPolicy,
    /// Which fields of the policy are changed, ascending; all when absent. A quota that is made
    /// needs at least its limit.
    pub fields: Option<Vec<PolicyField>>,
    /// When it takes effect; at once when absent or past.
    pub effective_at: Option<LogTime>,
    /// The version it must have; 0 for "must not exist".
    pub if_version: Option<u64>,
}

/// Adds to or takes from a limit that is an amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdjustQuota {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// Signed, not zero.
    pub delta: Decimal,
    /// The version it must have.
    pub if_version: Option<u64>,
}

impl AdjustQuota {
    /// Checks an adjustment.
    pub fn new(
        scope: Path,
        resource: Name,
        delta: Decimal,
        if_version: Option<u64>,
    ) -> Result<Self, Malformed> {
        if delta.is_zero() {
            return Err(Malformed::new("delta", "is zero; it must add or take something"));
        }
        if delta.abs() > MAX_AMOUNT {
            return Err(Malformed::new("delta", "is over 10^18"));
        }
        Ok(Self { scope, resource, delta: delta.normalize(), if_version })
    }
}

/// Removes a quota. What is taken stays counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteQuota {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// The version it must have.
    pub if_version: Option<u64>,
}

/// Admits nothing new until unlocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockQuota {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// Shown to everyone who is refused.
    pub reason: Arc<str>,
    /// The version it must have.
    pub if_version: Option<u64>,
}

impl LockQuota {
    /// Checks a lock.
    pub fn new(
        scope: Path,
        resource: Name,
        reason: &str,
        if_version: Option<u64>,
    ) -> Result<Self, Malformed> {
        check_reason(reason, true)?;
        Ok(Self { scope, resource, reason: reason.into(), if_version })
    }
}

/// Ends a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockQuota {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// The version it must have.
    pub if_version: Option<u64>,
}

/// Replaces the limit of a quota for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideQuota {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// The hard limit meanwhile: an amount or none.
    pub limit: NewLimit,
    /// When it begins; at once when absent or past.
    pub start: Option<LogTime>,
    /// When the limit of the policy is back.
    pub end: LogTime,
    /// Why.
    pub reason: Arc<str>,
    /// The version the quota must have.
    pub if_version: Option<u64>,
}

impl OverrideQuota {
    /// Checks an override.
    #[allow(clippy::too_many_arguments, reason = "one per field of the message")]
    pub fn new(
        scope: Path,
        resource: Name,
        limit: NewLimit,
        start: Option<LogTime>,
        end: LogTime,
        reason: &str,
        if_version: Option<u64>,
    ) -> Result<Self, Malformed> {
        if limit == NewLimit::Inherit {
            return Err(Malformed::new("limit", "is INHERIT; an override says an amount or UNLIMITED"));
        }
        if end <= start.unwrap_or(0) {
            return Err(Malformed::new("end_ms", "is not after start_ms"));
        }
        check_reason(reason, false)?;
        Ok(Self { scope, resource, limit, start, end, reason: reason.into(), if_version })
    }
}

/// Takes back a scheduled change or override; one that is active ends at once. A transfer that waits
/// to go back to or from the quota goes back at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelSchedule {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// The revision that scheduled it.
    pub id: Revision,
    /// The version the quota must have.
    pub if_version: Option<u64>,
}

/// Passes a part of a hard limit to a sibling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferQuota {
    /// Of what.
    pub resource: Name,
    /// Whose limit is lowered.
    pub from: Path,
    /// Whose limit is raised.
    pub to: Path,
    /// By how much.
    pub amount: Decimal,
    /// When it goes back; never when absent.
    pub until: Option<LogTime>,
    /// The version the quota of `from` must have.
    pub if_from_version: Option<u64>,
    /// The version the quota of `to` must have.
    pub if_to_version: Option<u64>,
}

impl TransferQuota {
    /// Checks a transfer: between two children of one scope.
    pub fn new(
        resource: Name,
        from: Path,
        to: Path,
        amount: Decimal,
        until: Option<LogTime>,
        if_from_version: Option<u64>,
        if_to_version: Option<u64>,
    ) -> Result<Self, Malformed> {
        super::hold::check_amount(amount).map_err(|problem| Malformed::new("amount", problem))?;
        if from == to {
            return Err(Malformed::new("to", "is the scope the amount is taken from"));
        }
        if from.parent().is_none() || from.parent() != to.parent() {
            return Err(Malformed::new(
                "to",
                format!("{to} is no sibling of {from}; both must have one parent"),
            ));
        }
        Ok(Self { resource, from, to, amount: amount.normalize(), until, if_from_version, if_to_version })
    }
}
