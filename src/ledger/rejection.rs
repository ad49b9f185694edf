//! Why a command is not carried out. Deterministic: the same on every node and for every repeat.
//!
//! Order of precedence, over all commands:
//!
//! 1. replay: a decided request returns its first outcome (`RequestIdReused`, `RequestIdExpired`)
//! 2. `Malformed`
//! 3. `UnknownScopes`, `UnknownResources`, `UnknownQuotas`, `UnknownHold`, `Exists`
//! 4. `HoldClosed`
//! 5. `Locked`
//! 6. `VersionMismatch`, `SequenceMismatch`
//! 7. `LimitConflict`, `Uncountable`, `Denied`
//!
//! Of one kind everything is reported, not just the first: all unknown scopes, all locks, every
//! (scope, resource) that has no room.

use rust_decimal::Decimal;

use super::LogTime;
use super::Revision;
use super::hold::HoldId;
use super::hold::HoldState;
use super::name::Name;
use super::name::Path;
use super::quota::Lock;

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// Bad input that only the ledger could see: it depends on the catalogue.
    Malformed(Malformed),
    /// Scopes that are not there.
    UnknownScopes(Vec<Path>),
    /// Resources that nobody registered.
    UnknownResources(Vec<Name>),
    /// No quota other than INHERIT on the path; UNLIMITED must be said.
    UnknownQuotas(Vec<QuotaName>),
    /// No such hold, or closed too long ago to tell.
    UnknownHold(HoldId),
    /// The scope is there already.
    ScopeExists(Path),
    /// The resource is there already.
    ResourceExists(Name),
    /// The hold is past this step of its life.
    HoldClosed {
        /// The hold.
        hold: HoldId,
        /// Where it is now.
        state: HoldState,
        /// The event that brought it there.
        revision: Revision,
    },
    /// Quotas on the path are locked.
    Locked(Vec<(QuotaName, Lock)>),
    /// The policy changed since the client read it.
    VersionMismatch(Mismatch),
    /// The counters changed since the client read them.
    SequenceMismatch(Vec<Mismatch>),
    /// The limit does not fit its place in the tree.
    LimitConflict {
        /// The quota to be changed.
        quota: QuotaName,
        /// The quota it would not fit with; itself when it is at fault alone.
        other: QuotaName,
        /// Why, for people.
        problem: String,
    },
    /// No room: every blocking (scope, resource), from the root down.
    Denied(Vec<Blocking>),
    /// Together with what is taken already, the amount has more digits than can be counted exactly.
    Uncountable(Vec<QuotaName>),
    /// The id was used for another command.
    RequestIdReused {
        /// The event of that command.
        first: Revision,
    },
    /// The id is too old to know whether it was decided.
    RequestIdExpired {
        /// Ids made from this time on are accepted.
        oldest_accepted_ms: LogTime,
    },
}

impl Rejection {
    /// How many things it names, beyond one.
    pub(super) fn items(&self) -> usize {
        match self {
            Self::UnknownScopes(items) => items.len(),
            Self::UnknownResources(items) => items.len(),
            Self::UnknownQuotas(items) | Self::Uncountable(items) => items.len(),
            Self::Locked(items) => items.len(),
            Self::SequenceMismatch(items) => items.len(),
            Self::Denied(items) => items.len(),
            Self::Malformed(_)
            | Self::UnknownHold(_)
            | Self::ScopeExists(_)
            | Self::ResourceExists(_)
            | Self::HoldClosed { .. }
            | Self::VersionMismatch(_)
            | Self::LimitConflict { .. }
            | Self::RequestIdReused { .. }
            | Self::RequestIdExpired { .. } => 0,
        }
    }
}

/// Bad input: which field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Malformed {
    /// As in the protocol: "lines[1].amount".
    pub field: String,
    /// Reads after the field.
    pub problem: String,
}

impl Malformed {
    /// A problem of a field.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }
}

/// A quota by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaName {
    /// Where.
    pub scope: Path,
    /// Of what.
    pub resource: Name,
}

/// What was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Of which quota.
    pub quota: QuotaName,
    /// What the client expected.
    pub expected: u64,
    /// What is true.
    pub actual: u64,
}

/// Which rule blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The hard limit.
    HardLimit,
}

/// One (scope, resource) without room for what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocking {
    /// Where, and of what.
    pub quota: QuotaName,
    /// The rule.
    pub rule: Rule,
    /// The limit.
    pub limit: Decimal,
    /// Committed use.
    pub used: Decimal,
    /// Reserved use.
    pub held: Decimal,
    /// What all lines of the request together ask here.
    pub requested: Decimal,
    /// used + held + requested − limit.
    pub shortfall: Decimal,
    /// False when the request exceeds the limit itself or, of a budget, what is not yet spent of it.
    pub waiting_can_help: bool,
}
