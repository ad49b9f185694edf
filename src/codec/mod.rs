//! Stable encodings: what goes into the log, onto the disk and over the wire, and back.
//!
//! Messages of clients are checked here on their way in: what comes out is a well-formed command
//! or a [`Malformed`] that names the field. Bytes from the log or the disk go through the same
//! functions, but there a problem is [`Corrupt`]: a fault of this node.
//!
//! What is read by people is here too: `tell` says a rejection in words, for nodes and for clients.
//!
//! Knows nothing of rules, transport or storage engines.

pub mod batch;
pub mod block;
pub mod command;
pub mod digest;
pub mod event;
mod fields;
mod hold;
pub mod json;
pub mod keys;
pub mod local;
mod mask;
pub mod merkle;
pub mod note;
pub mod number;
pub mod plan;
pub mod policy;
pub mod rejection;
pub mod rows;
pub mod tell;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod view;

use std::fmt;

use crate::ledger::Malformed;

/// Bytes that should have been written by this program cannot be understood: a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be decoded: {problem}")]
pub struct Corrupt {
    what: &'static str,
    problem: String,
}

impl Corrupt {
    /// A thing and what is wrong with it.
    pub fn new(what: &'static str, problem: impl fmt::Display) -> Self {
        Self { what, problem: problem.to_string() }
    }

    /// For `map_err` over things that are bad input when they come from a client.
    fn from_malformed(what: &'static str) -> impl Fn(Malformed) -> Self {
        move |malformed| Self::new(what, malformed)
    }
}

impl From<Corrupt> for std::io::Error {
    fn from(corrupt: Corrupt) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, corrupt)
    }
}

/// A field that a message must have.
fn required<T>(value: Option<T>, what: &'static str, field: &'static str) -> Result<T, Corrupt> {
    value.ok_or_else(|| Corrupt::new(what, format!("{field} is missing")))
}

/// Bytes of a fixed length.
fn array<const N: usize>(bytes: &[u8], what: &'static str, field: &'static str) -> Result<[u8; N], Corrupt> {
    bytes
        .try_into()
        .map_err(|_| Corrupt::new(what, format!("{field} has {} bytes instead of {N}", bytes.len())))
}
