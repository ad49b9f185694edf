//! The digest of a state: equal on every node at equal revision.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;
use sha2::Sha256;

use super::Corrupt;
use super::keys::FORMAT;
use super::rows;
use crate::ledger::State;

/// SHA-256 over all rows in order, each with its format byte, which its length before it counts. How they are
/// spread over records makes no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDigest([u8; 32]);

impl StateDigest {
    /// Reads the whole state: linear in its size.
    pub fn of(state: &State) -> Self {
        let mut digest = Self::begin();
        for row in state.rows() {
            digest.add(&rows::encode([&row])).expect("what was encoded can be read");
        }
        digest.finish()
    }
}

impl StateDigest {
    /// Of the rows of a state, in order.
    pub fn begin() -> DigestOfRows {
        DigestOfRows(Sha256::new())
    }
}

/// A digest in the making.
pub struct DigestOfRows(Sha256);

impl DigestOfRows {
    /// Takes in the rows of the next record.
    pub fn add(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        for row in rows::split(record)? {
            self.0.update((1 + row.len() as u64).to_be_bytes());
            self.0.update([FORMAT]);
            self.0.update(row);
        }
        Ok(())
    }

    /// The digest of all of them.
    pub fn finish(self) -> StateDigest {
        StateDigest(self.0.finalize().into())
    }
}

impl FromStr for StateDigest {
    type Err = Corrupt;

    fn from_str(text: &str) -> Result<Self, Corrupt> {
        let bad = || Corrupt::new("the digest of a state", format!("{text:?} is not 64 hexadecimal digits"));
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
