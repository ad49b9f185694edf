//! Numbers of clients and numbers of the model.

use quorate::ledger::Rejection;
use quorate::ledger::command::NewLimit;
use quorate::ledger::command::NewPolicy;
use rust_decimal::Decimal;

use super::malformed;
use super::world::Cap;
use super::world::Policy;
use super::world::World;

/// The first number with too many digits to be counted.
pub const UNCOUNTABLE: i128 = 1 << 96;

/// A number in the smallest unit of a resource; `None` when it cannot be counted in that.
pub fn digits(number: Decimal, decimals: u32) -> Option<i128> {
    let number = number.normalize();
    let zeros = decimals.checked_sub(number.scale())?;
    let digits = number.mantissa().checked_mul(10i128.pow(zeros))?;
    (digits.abs() < UNCOUNTABLE).then_some(digits)
}

/// A ratio in ten-thousandths.
pub fn ratio(number: Decimal) -> i128 {
    digits(number, 4).expect("a ratio has at most 4 decimals")
}

impl World {
    /// What clients are told.
    pub fn number(&self, digits: i128, resource: &str) -> Decimal {
        let decimals = self.kind(resource).expect("a resource").decimals;
        Decimal::from_i128_with_scale(digits, decimals).normalize()
    }

    /// The greatest limit, 10^18, as a number of a resource.
    pub fn greatest(&self, resource: &str) -> i128 {
        let decimals = self.kind(resource).expect("a resource").decimals;
        10i128.pow(18 + decimals).min(UNCOUNTABLE - 1)
    }

    /// A number of a client, of a resource that is known.
    pub fn read(&self, number: Decimal, resource: &str, field: &str) -> Result<i128, Rejection> {
        let decimals = self.kind(resource).expect("a resource").decimals;
        digits(number, decimals).ok_or_else(|| malformed(field))
    }

    pub fn read_limit(&self, limit: NewLimit, resource: &str, field: &str) -> Result<Cap, Rejection> {
        Ok(match limit {
            NewLimit::Amount(number) => {
                Cap::Amount(self.read(number, resource, &format!("{field}.amount"))?)
            }
            NewLimit::Unlimited => Cap::Unlimited,
            NewLimit::Inherit => Cap::Inherit,
        })
    }

    /// A policy of a client, its numbers checked one by one.
    pub fn read_policy(&self, policy: &NewPolicy, resource: &str, prefix: &str) -> Result<Policy, Rejection> {
        let read = |name: &str, number: Option<Decimal>| {
            number.map(|number| self.read(number, resource, &format!("{prefix}{name}"))).transpose()
        };
        let (soft, burst) = (read("soft", policy.soft)?, read("burst", policy.burst)?);
        Ok(Policy {
            cap: self.read_limit(policy.limit, resource, &format!("{prefix}limit"))?,
            soft,
            grace_ms: policy.grace_ms,
            burst,
            max_burst_ms: policy.max_burst_ms,
            overcommit: policy.overcommit.map(ratio),
            enforcement: policy.enforcement,
            on_reduce: policy.on_reduce,
            default_ttl_ms: policy.default_ttl_ms,
            max_ttl_ms: policy.max_ttl_ms,
            allow_transfer: policy.allow_transfer,
        })
    }
}

impl Policy {
    /// A hard limit times the overcommit, cut toward zero; `None` when it is no amount.
    pub fn effective_of(&self, cap: Cap) -> Option<i128> {
        let Cap::Amount(hard) = cap else { return None };
        let times = self.overcommit.unwrap_or(10_000);
        Some((hard * times / 10_000).min(UNCOUNTABLE - 1))
    }

    pub fn effective(&self) -> Option<i128> {
        self.effective_of(self.cap)
    }

    /// What of it does not go together.
    pub fn check(&self, prefix: &str) -> Result<(), Rejection> {
        let effective = self.effective();
        let is_amount = matches!(self.cap, Cap::Amount(_));
        let over = |line: Option<i128>, limit: Option<i128>| line.zip(limit).is_some_and(|(a, b)| a > b);
        let ttl_over = self.default_ttl_ms.zip(self.max_ttl_ms).is_some_and(|(ttl, most)| ttl > most);
        let problems = [
            ("soft", self.soft.is_some() && self.cap == Cap::Inherit),
            ("soft", over(self.soft, effective)),
            ("grace_ms", self.grace_ms.is_some() && self.soft.is_none()),
            ("burst", self.burst.is_some() && !is_amount),
            ("burst", over(effective, self.burst)),
            ("max_burst_ms", self.burst.is_some() != self.max_burst_ms.is_some()),
            ("overcommit", self.overcommit.is_some() && !is_amount),
            ("default_ttl_ms", ttl_over),
        ];
        match problems.iter().find(|(_, is_wrong)| *is_wrong) {
            Some((field, _)) => Err(malformed(format!("{prefix}{field}"))),
            None => Ok(()),
        }
    }
}
