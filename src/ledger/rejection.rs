//! Why a command is not carried out. Deterministic: the same on every node and for every repeat.
//!
//! Order of precedence, over all commands:
//!
//! | | what | why there |
//! |---|---|---|
//! | 1 | replay (`RequestIdReused`, `RequestIdExpired`) | a decided request is not decided again |
//! | 2 | `Malformed` | no state would make it right |
//! | 3 | `Unknown…`, `ScopeExists`, `ResourceExists` | what is named is not there, or already is |
//! | 4 | `HoldClosed`, `HoldTooSmall`, `HasChildren`, `InUse`, `OnLoan` | what is named is past this step |
//! | 5 | `Locked` | somebody forbade it |
//! | 6 | `VersionMismatch`, `TemplateVersionMismatch`, `SequenceMismatch` | the client knows an older state |
//! | 7 | `SchemaConflict`, `ScheduleConflict`, `TransferNotAllowed`, `TtlTooLong` | a rule of the policy |
//! | 8 | `LimitConflict`, then `BelowUse` | limits among themselves, then against use |
//! | 9 | `Uncountable`, then `Denied` | no room |
//!
//! What depends on the state is looked at when that part of the state is known: whether a policy
//! of which only some fields are named makes sense (2) after its version (6), whether a line has a
//! quota to grow under (3) after the hold has that line (4). A plan or a template goes through its
//! parts in their order, and compares limits with each other when all of them are set, so after use.
//!
//! Within a rank the order is as written. Of one kind everything is reported, not just the first:
//! all unknown scopes, all locks, every (scope, resource) that has no room. Of several commands
//! under one request, the first that fails is reported (`PartFailed`).

use std::sync::Arc;

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
    /// No template of this name.
    UnknownTemplate(Name),
    /// Nothing of this number is scheduled on the quota.
    UnknownSchedule {
        /// The quota.
        quota: QuotaName,
        /// What was asked for.
        id: Revision,
    },
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
    /// The hold has less than is meant of these lines.
    HoldTooSmall {
        /// The hold.
        hold: HoldId,
        /// Each line that is too small.
        lines: Vec<TooSmall>,
    },
    /// There are scopes below the one to be removed.
    HasChildren {
        /// The scope.
        path: Path,
        /// How many are directly below.
        children: u64,
    },
    /// Something is taken at or below the scope to be removed.
    InUse(Vec<Taken>),
    /// A part of the limit was passed on or received, and has not gone back. The oldest transfers are
    /// named, at most 32.
    OnLoan(Vec<Revision>),
    /// Quotas on the path are locked.
    Locked(Vec<(QuotaName, Lock)>),
    /// The policy changed since the client read it.
    VersionMismatch(Mismatch),
    /// The template changed since the client read it.
    TemplateVersionMismatch {
        /// Which.
        template: Name,
        /// What the client expected.
        expected: u64,
        /// What is true.
        actual: u64,
    },
    /// The counters changed since the client read them.
    SequenceMismatch(Vec<Mismatch>),
    /// A scope does not fit the levels of its tree.
    SchemaConflict {
        /// The scope.
        path: Path,
        /// Why, for people.
        problem: String,
    },
    /// A schedule does not fit the others on the quota.
    ScheduleConflict {
        /// The quota.
        quota: QuotaName,
        /// Why, for people.
        problem: String,
    },
    /// The scope above does not let its children pass limits to each other.
    TransferNotAllowed(QuotaName),
    /// The hold may not live so long.
    TtlTooLong {
        /// The quota that says so.
        quota: QuotaName,
        /// Its maximum.
        maximum_ms: u64,
        /// What was asked for.
        asked_ms: u64,
    },
    /// The limit does not fit its place in the tree.
    LimitConflict {
        /// The quota to be changed.
        quota: QuotaName,
        /// The quota it would not fit with; itself when it is at fault alone.
        other: QuotaName,
        /// Why, for people.
        problem: String,
    },
    /// More is taken than the limit would be.
    BelowUse(BelowUse),
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
    /// Of several commands under one request, one was not carried out, and so none was.
    PartFailed {
        /// Its position, from 0.
        index: u32,
        /// Its name.
        command: Arc<str>,
        /// Why.
        rejection: Box<Rejection>,
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
            Self::InUse(items) => items.len(),
            Self::OnLoan(items) => items.len(),
            Self::HoldTooSmall { lines, .. } => lines.len(),
            Self::PartFailed { rejection, .. } => 1 + rejection.items(),
            Self::SequenceMismatch(items) => items.len(),
            Self::Denied(items) => items.len(),
            Self::Malformed(_)
            | Self::UnknownHold(_)
            | Self::UnknownTemplate(_)
            | Self::UnknownSchedule { .. }
            | Self::HasChildren { .. }
            | Self::TemplateVersionMismatch { .. }
            | Self::SchemaConflict { .. }
            | Self::ScheduleConflict { .. }
            | Self::TransferNotAllowed(_)
            | Self::TtlTooLong { .. }
            | Self::BelowUse(_)
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
    /// A problem of a field. Both may repeat what a client said, which may be long: they are cut to
    /// what fits into an answer.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self { field: cut(field.into(), MOST_OF_FIELD), problem: cut(problem.to_string(), MOST_OF_PROBLEM) }
    }
}

/// Most characters of the name of a field that is at fault.
const MOST_OF_FIELD: usize = 100;

/// Most characters of what is wrong with it.
const MOST_OF_PROBLEM: usize = 500;

fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most)
        && let Some((last, _)) = text[..end].char_indices().next_back()
    {
        text.truncate(last);
        text.push('…');
    }
    text
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

/// A line of a hold that has less than is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooSmall {
    /// Where, and of what.
    pub quota: QuotaName,
    /// What was asked for.
    pub asked: Decimal,
    /// What is live of it.
    pub live: Decimal,
}

/// What is taken of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where, and of what.
    pub quota: QuotaName,
    /// Committed use.
    pub used: Decimal,
    /// Reserved use.
    pub held: Decimal,
}

/// More is taken than a limit would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BelowUse {
    /// What is taken, and where.
    pub taken: Taken,
    /// The effective limit that was asked for.
    pub limit: Decimal,
    /// used + held − limit.
    pub over_by: Decimal,
}

/// Which rule blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The effective limit: hard × overcommit.
    HardLimit,
    /// The ceiling of a burst.
    BurstLimit,
    /// The effective limit, because the time of a burst is up.
    BurstEnded,
    /// The soft limit: a warning, or a denial because its grace is up.
    SoftLimit,
}

/// One (scope, resource) without room for what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocking {
    /// Where, and of what.
    pub quota: QuotaName,
    /// The rule.
    pub rule: Rule,
    /// The ceiling of that rule.
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
    /// The earliest log time at which it fits if nothing else happens, as far as it is known from
    /// holds that expire, overrides that begin or end and changes that are scheduled.
    pub fits_at: Option<LogTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_said_is_repeated_in_part_when_it_is_long() {
        let long = "ä".repeat(100_000);
        let malformed = Malformed::new(format!("labels[{long}]"), format!("names {long}"));
        assert_eq!(malformed.field.chars().count(), MOST_OF_FIELD);
        assert_eq!(malformed.problem.chars().count(), MOST_OF_PROBLEM);
        assert!(malformed.field.starts_with("labels[ä") && malformed.field.ends_with("ä…"));
        let again = Malformed::new(malformed.field.clone(), malformed.problem.clone());
        assert_eq!(again, malformed);
        let short = Malformed::new("a".repeat(MOST_OF_FIELD), "is long");
        assert_eq!(short.field.len(), MOST_OF_FIELD);
    }
}
