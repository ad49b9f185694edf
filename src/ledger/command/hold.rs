//! Commands on holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::policy::check_duration;
use crate::ledger::amount::MAX_AMOUNT;
use crate::ledger::hold::HoldId;
use crate::ledger::hold::Tags;
use crate::ledger::labels::Labels;
use crate::ledger::labels::check_text;
use crate::ledger::name::Name;
use crate::ledger::name::Path;
use crate::ledger::rejection::Malformed;

/// Most lines of one reservation.
pub const MAX_LINES: usize = 64;

/// How strictly a reservation is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything that is asked for, or nothing.
    #[default]
    Strict,
    /// What fits, in the order of the lines, each down to its minimum; or nothing.
    Partial,
    /// Over the limits if need be; recorded as forced.
    Force,
}

/// Takes lines at every scope of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    lines: Vec<Line>,
    /// How strictly it is meant.
    pub mode: Mode,
    /// Whether it is final at once: an allocation in one step.
    pub commit: bool,
    /// How long it lives; the quotas may set a default.
    pub ttl_ms: Option<u64>,
    /// To find it by.
    pub tags: Option<Arc<Tags>>,
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
    /// The least to be granted, of a partial reservation; the whole amount when absent.
    pub minimum: Option<Decimal>,
    /// The sequence the quota of this line must have.
    pub if_sequence: Option<u64>,
}

impl Reserve {
    /// A strict reservation that lives until it is resolved.
    pub fn new(lines: Vec<Line>) -> Result<Self, Malformed> {
        Self::with(lines, Mode::Strict, false, None, None)
    }

    /// Checks a reservation: 1 to 64 lines of one tree, amounts in range, and that what is asked
    /// for makes sense together.
    pub fn with(
        mut lines: Vec<Line>,
        mode: Mode,
        commit: bool,
        ttl_ms: Option<u64>,
        tags: Option<Arc<Tags>>,
    ) -> Result<Self, Malformed> {
        check_count(lines.len())?;
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
            let Some(minimum) = line.minimum else { continue };
            let malformed = |problem: &str| Err(Malformed::new(field("minimum"), problem));
            if mode != Mode::Partial {
                return malformed("is for reservations of mode PARTIAL");
            }
            if let Err(problem) = check_amount(minimum) {
                return malformed(problem);
            }
            if minimum > line.amount {
                return malformed("is more than the amount");
            }
        }
        if let Some(ttl) = ttl_ms {
            check_duration("ttl_ms", ttl)?;
            if commit {
                return Err(Malformed::new("ttl_ms", "is for holds; what is committed does not expire"));
            }
        }
        for line in &mut lines {
            line.amount = line.amount.normalize();
            // A minimum that is the amount says nothing.
            line.minimum = line.minimum.map(|least| least.normalize()).filter(|least| *least != line.amount);
        }
        Ok(Self { lines, mode, commit, ttl_ms, tags: tags.filter(|tags| **tags != Tags::default()) })
    }

    /// What is asked for.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

impl Tags {
    /// Checks what a client attaches to a hold; "" says nothing.
    pub fn new(job: &str, consumer: &str, labels: Labels) -> Result<Self, Malformed> {
        let text = |field: &str, text: &str| -> Result<Option<Arc<str>>, Malformed> {
            check_text(text).map_err(|problem| Malformed::new(field, problem))?;
            Ok((!text.is_empty()).then(|| text.into()))
        };
        Ok(Self { job: text("job", job)?, consumer: text("consumer", consumer)?, labels })
    }
}

/// How much of one (scope, resource) of a hold is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldAmount {
    /// Where, as reserved.
    pub scope: Path,
    /// What.
    pub resource: Name,
    /// How much; over 0, at most 10^18.
    pub amount: Decimal,
}

/// Makes a hold final: held becomes used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Which.
    pub hold: HoldId,
    /// How much of which lines; all that is held when empty. More than is held needs room.
    pub lines: Vec<HoldAmount>,
    /// Whether what is not committed is given back; otherwise it stays held.
    pub is_final: bool,
}

impl Commit {
    /// Of all that is held.
    pub fn all(hold: HoldId) -> Self {
        Self { hold, lines: Vec::new(), is_final: true }
    }

    /// Checks a commit.
    pub fn new(hold: HoldId, lines: Vec<HoldAmount>, is_final: bool) -> Result<Self, Malformed> {
        if lines.is_empty() && !is_final {
            return Err(Malformed::new(
                "final",
                "is false, but without lines all is committed and nothing stays held",
            ));
        }
        Ok(Self { hold, lines: check_lines(lines)?, is_final })
    }
}

/// Gives back what is live of a hold: first what is held, then what is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub hold: HoldId,
    /// How much of which lines; all that is live when empty.
    pub lines: Vec<HoldAmount>,
}

impl Release {
    /// Of all that is live.
    pub fn all(hold: HoldId) -> Self {
        Self { hold, lines: Vec::new() }
    }

    /// Checks a release.
    pub fn new(hold: HoldId, lines: Vec<HoldAmount>) -> Result<Self, Malformed> {
        Ok(Self { hold, lines: check_lines(lines)? })
    }
}

/// Moves the end of a hold: it lives so long from log time now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renew {
    /// Which.
    pub hold: HoldId,
    /// How long from now.
    pub ttl_ms: u64,
}

impl Renew {
    /// Checks a renewal.
    pub fn new(hold: HoldId, ttl_ms: u64) -> Result<Self, Malformed> {
        check_duration("ttl_ms", ttl_ms)?;
        Ok(Self { hold, ttl_ms })
    }
}

/// Changes how much a hold takes. More needs room; less is always possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// Which.
    pub hold: HoldId,
    /// How much each of these lines takes afterwards, held and committed together.
    pub lines: Vec<HoldAmount>,
}

impl Resize {
    /// Checks a resizing.
    pub fn new(hold: HoldId, lines: Vec<HoldAmount>) -> Result<Self, Malformed> {
        check_count(lines.len())?;
        Ok(Self { hold, lines: check_lines(lines)? })
    }
}

fn check_count(lines: usize) -> Result<(), Malformed> {
    if lines == 0 || lines > MAX_LINES {
        return Err(Malformed::new("lines", format!("has {lines}; 1 to {MAX_LINES} are allowed")));
    }
    Ok(())
}

/// Lines of a hold are told apart by scope and resource, so none may be named twice.
fn check_lines(mut lines: Vec<HoldAmount>) -> Result<Vec<HoldAmount>, Malformed> {
    if !lines.is_empty() {
        check_count(lines.len())?;
    }
    let mut seen = BTreeSet::new();
    for (position, line) in lines.iter().enumerate() {
        check_amount(line.amount)
            .map_err(|problem| Malformed::new(format!("lines[{position}].amount"), problem))?;
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
    Ok(lines)
}

pub(super) fn check_amount(amount: Decimal) -> Result<(), &'static str> {
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
