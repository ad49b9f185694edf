//! One function per subject, from bytes to a verdict: it returns, or it panics. `tests/fuzz` runs
//! them under plain tests, `fuzz/` under cargo-fuzz.
//!
//! The contract of a decoder: whatever the bytes are, it says what they mean or that they mean
//! nothing. It never panics, it takes no more memory than what it was given is worth, and what it
//! understood is encoded to something that means the same. The contract of the ledger is in
//! `sequence`.
//!
//! | harness | bytes |
//! |---|---|
//! | `log_batch` | the payload of a log entry |
//! | `event_block` | a framed block of events |
//! | `export` | a line of an export in JSON |
//! | `row` | a framed row of the state |
//! | `state` | all rows of a state |
//! | `record` | what else a node keeps for itself; the first byte says what |
//! | `raft` | what the engines of two nodes send each other; the first byte says what |
//! | `relay` | what nodes send each other on behalf of clients; the first byte says what |
//! | `command` | a message of a client; the first byte says which |
//! | `text` | numbers, names, paths, labels; the first byte says which |
//! | `document` | a document of the command line; the first byte says which |
//! | `sequence` | commands, and time that passes |

pub mod command;
pub mod document;
pub mod event_block;
pub mod export;
pub mod log_batch;
pub mod raft;
pub mod record;
pub mod relay;
pub mod row;
pub mod seen;
pub mod sequence;
pub mod state;
pub mod text;

use quorate::ledger::ResourceId;

/// How many decimals resources have, where bytes speak of resources of no ledger.
pub fn decimals(resource: ResourceId) -> Option<u8> {
    const DECIMALS: [u8; 6] = [6, 0, 3, 2, 18, 3];
    DECIMALS.get(resource.0 as usize).copied()
}

/// The first byte, which says what the others are.
fn kind(bytes: &[u8], kinds: usize) -> Option<(usize, &[u8])> {
    bytes.split_first().map(|(kind, rest)| (usize::from(*kind) % kinds, rest))
}
