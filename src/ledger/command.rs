//! What can be asked of the ledger. A command that exists is well-formed: whatever can be checked
//! without the state was checked when it was made.

use std::collections::BTreeSet;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::amount::MAX_AMOUNT;
use super::hold::HoldId;
use super::name::Name;
use super::name::Path;
use super::rejection::Malformed;
use super::resource::Resource;

/// Most lines of one reservation.
pub const MAX_LINES: usize = 64;

/// Most characters of a lock's reason.
pub const MAX_REASON: usize = 256;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a scope.
    CreateScope(CreateScope),
    /// Adds to the catalogue.
    RegisterResource(Resource),
    /// Makes a quota or replaces its limit.
    SetQuota(SetQuota),
    /// Adds to or takes from a limit.
    AdjustQuota(AdjustQuota),
    /// Admits nothing new until unlocked.
    LockQuota(LockQuota),
    /// Ends a lock.
    UnlockQuota(UnlockQuota),
    /// Takes all lines or nothing.
    Reserve(Reserve),
    /// Makes a hold final.
    Commit(HoldId),
    /// Gives back what is live of a hold.
    Release(HoldId),
}

impl Command {
    /// Its name, as in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateScope(_) => "CreateScope",
            Self::RegisterResource(_) => "RegisterResource",
            Self::SetQuota(_) => "SetQuota",
            Self::AdjustQuota(_) => "AdjustQuota",
            Self::LockQuota(_) => "LockQuota",
            Self::UnlockQuota(_) => "UnlockQuota",
            Self::Reserve(_) => "Reserve",
            Self::Commit(_) => "Commit",
            Self::Release(_) => "Release",
        }
    }
}

/// Makes a scope below an existing one, or a new tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateScope {
    /// Where.
    pub path: Path,
    /// What this level is called.
    pub kind: Name,
}

/// A limit as a client names it, not yet at the scale of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewLimit {
    /// 0 to 10^18.
    Amount(Decimal),
    /// No ceiling.
    Unlimited,
    /// The ancestors decide.
    Inherit,
}

impl NewLimit {
    /// Checks an amount as a limit.
    pub fn amount(number: Decimal) -> Result<Self, Malformed> {
        if number.is_sign_negative() && !number.is_zero() {
            return Err(Malformed::new("limit.amount", "is negative; a limit is 0 or more"));
        }
        if number > MAX_AMOUNT {
            return Err(Malformed::new("limit.amount", "is over 10^18"));
        }
        Ok(Self::Amount(number.normalize()))
    }
}

/// Makes a quota or replaces its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetQuota {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
    /// The ceiling.
    pub limit: NewLimit,
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
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return Err(Malformed::new("reason", format!("must have 1 to {MAX_REASON} characters")));
        }
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

/// Takes all lines, at every scope of their paths, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    lines: Vec<Line>,
}

/// One part of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where; all ancestors are charged too.
    pub scope: Path,
    /// What.
    pub resource: Name,
    /// How much; over 0, at most 10^18.
    pub amount: Decimal,
    /// The sequence the quota of this line must have.
    pub if_sequence: Option<u64>,
}

impl Reserve {
    /// Checks lines: 1 to 64, of one tree, no (scope, resource) twice, amounts in range.
    pub fn new(mut lines: Vec<Line>) -> Result<Self, Malformed> {
        if lines.is_empty() || lines.len() > MAX_LINES {
            return Err(Malformed::new(
                "lines",
                format!("has {}; 1 to {MAX_LINES} are allowed", lines.len()),
            ));
        }
        let mut seen = BTreeSet::new();
        for (position, line) in lines.iter().enumerate() {
            let field = |name: &str| format!("lines[{position}].{name}");
            check_amount(line.amount).map_err(|problem| Malformed::new(field("amount"), problem))?;
            if line.scope.tree() != lines[0].scope.tree() {
                return Err(Malformed::new(
                    field("scope"),
                    format!(
                        "is in tree {:?}; all lines must be in {:?}",
                        line.scope.tree(),
                        lines[0].scope.tree()
                    ),
                ));
            }
            if !seen.insert((&line.scope, &line.resource)) {
                return Err(Malformed::new(
                    format!("lines[{position}]"),
                    format!("names {} of {} a second time", line.resource, line.scope),
                ));
            }
        }
        for line in &mut lines {
            line.amount = line.amount.normalize();
        }
        Ok(Self { lines })
    }

    /// What is asked for.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

fn check_amount(amount: Decimal) -> Result<(), &'static str> {
    if amount.is_zero() {
        Err("is zero; it must be more")
    } else if amount.is_sign_negative() {
        Err("is negative; it must be more than zero")
    } else if amount > MAX_AMOUNT {
        Err("is over 10^18")
    } else {
        Ok(())
    }
}
