//! What a client is told.

use std::num::NonZeroU64;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::Revision;
use super::hold::HoldId;
use super::rejection::Blocking;
use super::rejection::Rejection;

/// What was done, or why nothing was.
pub type Verdict = Result<Grant, Box<Rejection>>;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The revision of its event, the last one of several. For an id that was refused unseen, the
    /// last revision there is.
    pub revision: Revision,
    /// Whether it was decided before and this is a repeat.
    pub replayed: bool,
    /// What was decided.
    pub verdict: Verdict,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The short answer.
    pub what: Granted,
    /// What most answers have nothing of.
    details: Option<Arc<Details>>,
}

/// The short answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// A hold was made or renewed.
    Hold {
        /// Which.
        hold: HoldId,
        /// When it dies, in log time.
        expires_at: Option<NonZeroU64>,
    },
    /// A quota or a template now has this version.
    Version(u64),
    /// Done, with nothing more to tell.
    Done,
}

/// What most answers have nothing of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Of a partial reservation that did not get everything: what each line got.
    pub granted: Option<Box<[Decimal]>>,
    /// Limits that were gone over, or are about to matter.
    pub warnings: Vec<Blocking>,
    /// Of a batch, a plan or a template: what each part did.
    pub parts: Vec<Grant>,
}

const NO_DETAILS: &Details = &Details { granted: None, warnings: Vec::new(), parts: Vec::new() };

impl Grant {
    /// An answer.
    pub fn new(what: Granted, details: Details) -> Self {
        Self { what, details: (details != *NO_DETAILS).then(|| Arc::new(details)) }
    }

    /// An answer without details.
    #[inline]
    pub fn plain(what: Granted) -> Self {
        Self { what, details: None }
    }

    /// Whether there is nothing more to tell.
    pub fn is_plain(&self) -> bool {
        self.details.is_none()
    }

    /// What there is to say besides the short answer.
    pub fn details(&self) -> &Details {
        self.details.as_deref().unwrap_or(NO_DETAILS)
    }

    /// How many things it names, beyond one.
    pub(super) fn items(&self) -> usize {
        self.details.as_deref().map_or(0, |details| {
            let parts: usize = details.parts.iter().map(|part| 1 + part.items()).sum();
            details.granted.as_ref().map_or(0, |granted| granted.len()) + details.warnings.len() + parts
        })
    }
}
