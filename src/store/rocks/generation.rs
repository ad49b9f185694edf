//! Which folder holds the live state: generations, and the pointer that names one of them.
//!
//! The pointer changes by one atomic rename, so the switch to another generation has either
//! happened or not. Knows nothing of what a generation holds.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::folder::read_file;
use super::folder::remove_entries;
use super::folder::replace_file;
use crate::store::StoreError;

// Not "CURRENT", which is a file of RocksDB with another meaning.
const POINTER: &str = "POINTER";
const POINTER_UNFINISHED: &str = "POINTER.new";
const INCOMING: &str = "incoming-";
const GENERATION: &str = "generation-";

/// The number of a state that was, is or may become the live one. A later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GenerationId(u64);

impl GenerationId {
    pub(super) const FIRST: Self = Self(1);

    pub(super) fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a snapshot is installed less than 2^64 times"))
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{GENERATION}{}", self.0)
    }
}

impl FromStr for GenerationId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = text.strip_prefix(GENERATION).ok_or(())?;
        number.parse().map(Self).map_err(|_| ())
    }
}

/// The folder name for the snapshot that is received as the `number`th of this process.
pub(super) fn incoming(number: u64) -> String {
    format!("{INCOMING}{number}")
}

/// The live generation; None when none was ever made.
pub(super) fn live(state_dir: &Path) -> Result<Option<GenerationId>, StoreError> {
    const ACTION: &str = "find the live state";
    let path = state_dir.join(POINTER);
    let Some(content) = read_file(ACTION, &path)? else {
        return Ok(None);
    };
    match content.trim_end().parse() {
        Ok(id) => Ok(Some(id)),
        Err(()) => {
            let problem = format!(
                "{} is damaged: this node must be replaced (it names {:?})",
                path.display(),
                content.trim_end()
            );
            Err(StoreError::new(ACTION, problem))
        }
    }
}

/// Makes `id` the live one, durably.
pub(super) fn point_to(state_dir: &Path, id: GenerationId) -> Result<(), StoreError> {
    replace_file("switch to the installed state", &state_dir.join(POINTER), &format!("{id}\n"))
}

/// Removes what a crash left: snapshots half received, generations not yet or no longer live.
pub(super) fn clear_leftovers(state_dir: &Path, live: GenerationId) -> Result<(), StoreError> {
    let live = live.to_string();
    remove_entries("clear leftovers of the state", state_dir, |name| {
        name == POINTER_UNFINISHED
            || name.starts_with(INCOMING)
            || (name.starts_with(GENERATION) && name != live)
    })
}
