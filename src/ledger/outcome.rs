//! What a client is told.

use super::Revision;
use super::hold::HoldId;
use super::rejection::Rejection;

/// What was done, or why nothing was.
pub type Verdict = Result<Grant, Box<Rejection>>;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The revision of its event. For an id that was refused unseen, the last revision there is.
    pub revision: Revision,
    /// Whether it was decided before and this is a repeat.
    pub replayed: bool,
    /// What was decided.
    pub verdict: Verdict,
}

/// What a command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// A hold was made.
    Hold(HoldId),
    /// A quota now has this version.
    Version(u64),
    /// Done, with nothing more to tell.
    Done,
}
