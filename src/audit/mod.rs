//! Offline: what can be shown of a ledger from an export of its events alone, without any node.
//!
//! | file | subject |
//! |---|---|
//! | `export` | the records of an export, as JSON lines or protobuf |
//! | `replay` | decides everything again, from the first event on |
//! | `verify` | whether an export is what was decided, and signed |
//!
//! Knows nothing of nodes, networks, or how a result is shown.

pub mod export;
pub mod replay;
#[cfg(test)]
mod tests;
pub mod verify;

/// Something in an export does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// It cannot be read.
    #[error("{what} {number}: {problem}")]
    Unreadable {
        /// "line" or "record".
        what: &'static str,
        /// From 1.
        number: u64,
        /// What is wrong.
        problem: String,
    },
    /// An event does not fit: the first one that does not.
    #[error("event {revision}: {problem}")]
    Event {
        /// Its revision.
        revision: u64,
        /// What is wrong.
        problem: String,
    },
    /// All events fit each other, but not what was signed.
    #[error("{0}")]
    Checkpoint(String),
}

impl AuditError {
    fn event(revision: u64, problem: impl ToString) -> Self {
        Self::Event { revision, problem: problem.to_string() }
    }
}
