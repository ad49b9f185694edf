//! How the disk is, and whether RocksDB has met something on it that it told nobody.
//!
//! Knows nothing of how much room is enough.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Weak;

use rustix::fs::statvfs;

use super::explain::failed;
use super::log::RocksLog;
use super::state::RocksState;
use crate::store::Health;
use crate::store::Medium;
use crate::store::StoreError;

const LOOK: &str = "look at the disk";

/// Looks at stores that it does not keep open.
pub(super) struct Disk {
    pub(super) data_dir: PathBuf,
    pub(super) log: Weak<RocksLog>,
    pub(super) state: Weak<RocksState>,
}

impl Medium for Disk {
    fn health(&self) -> Result<Health, StoreError> {
        let mut holds_up_writes = false;
        if let Some(log) = self.log.upgrade() {
            holds_up_writes |= log.engine().check(LOOK)?;
        }
        if let Some(state) = self.state.upgrade() {
            holds_up_writes |= state.check(LOOK)?;
        }
        // Either may be on a disk of its own.
        let folders = ["log", "state"].map(|folder| self.data_dir.join(folder));
        let free_bytes = free_bytes(&folders[0])?.min(free_bytes(&folders[1])?);
        Ok(Health { free_bytes, holds_up_writes })
    }
}

/// What is left for somebody without privileges.
fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let found = statvfs(path).map_err(|error| failed(LOOK, path)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
