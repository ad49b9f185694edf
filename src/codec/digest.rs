//! The digest of a state: equal on every node at equal revision.

use std::fmt;

use sha2::Digest as _;
use sha2::Sha256;

use super::rows;
use crate::ledger::State;

/// SHA-256 over all rows in order, each preceded by its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDigest([u8; 32]);

impl StateDigest {
    /// Reads the whole state: linear in its size.
    pub fn of(state: &State) -> Self {
        let mut hasher = Sha256::new();
        for row in state.rows() {
            let bytes = rows::encode(&row);
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(&bytes);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
