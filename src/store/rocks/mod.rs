//! The production store: two RocksDB instances below one data directory.
//!
//! ```text
//! LOCK                  held by the process that uses the directory
//! FORMAT                the layout; written last when the directory is made
//! log/                  the log: meta, entries; WAL on
//! state/POINTER         names the live generation
//! state/generation-N/   the state: meta, rows, events; no WAL
//! state/incoming-N/     a snapshot that is being received
//! snapshots/N/          a snapshot that is being sent
//! ```
//!
//! Knows nothing of what keys and values mean.

mod background;
mod engine;
mod explain;
mod folder;
mod generation;
mod log;
mod medium;
mod options;
mod snapshot;
mod state;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rocksdb::Env;

use self::engine::Engine;
use self::engine::Instance;
use self::explain::failed;
use self::folder::DirectoryLock;
use self::log::RocksLog;
use self::medium::Disk;
use self::options::Shared;
use self::state::RocksState;
use super::Opened;
use super::Store;
use super::StoreError;

const OPEN: &str = "open the data directory";
const FORMAT: &str = "quorate data 2\n";

/// Keeps a node's data in a directory.
#[derive(Clone)]
pub struct RocksStore {
    data_dir: PathBuf,
    files: Option<Env>,
}

impl RocksStore {
    /// A store in `data_dir`, which is made when it is not there.
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, files: None }
    }

    /// The same on other files than those of the operating system, as far as RocksDB opens them: such as
    /// forget what was not synced.
    #[must_use]
    pub fn on_files(self, files: Env) -> Self {
        Self { files: Some(files), ..self }
    }
}

impl Store for RocksStore {
    fn open(&self) -> Result<Opened, StoreError> {
        let data_dir = &self.data_dir;
        fs::create_dir_all(data_dir).map_err(failed(OPEN, data_dir))?;
        let lock = DirectoryLock::take(data_dir)?;
        let create = !is_complete(data_dir)?;
        let shared = Shared::new(self.files.clone());
        let log = Engine::open(&data_dir.join("log"), Instance::Log, create, &shared, Arc::clone(&lock))?;
        let state = RocksState::open(data_dir, create, shared, lock)?;
        if create {
            complete(data_dir)?;
        }
        let (log, state) = (Arc::new(RocksLog::start(log)?), Arc::new(state));
        let (data_dir, watched) = (data_dir.clone(), (Arc::downgrade(&log), Arc::downgrade(&state)));
        let medium = Arc::new(Disk { data_dir, log: watched.0, state: watched.1 });
        Ok(Opened { log, state, medium })
    }
}

/// Whether the directory has been made to the end. From then on a part that is missing is a part
/// that was lost, and is never made anew: a node that forgot its vote could vote twice.
fn is_complete(data_dir: &Path) -> Result<bool, StoreError> {
    let path = data_dir.join("FORMAT");
    match folder::read_file(OPEN, &path)? {
        None => Ok(false),
        Some(format) if format == FORMAT => Ok(true),
        Some(format) => {
            let problem =
                format!("{} says {:?}, which this version cannot read", path.display(), format.trim_end());
            Err(StoreError::new(OPEN, problem))
        }
    }
}

fn complete(data_dir: &Path) -> Result<(), StoreError> {
    folder::replace_file(OPEN, &data_dir.join("FORMAT"), FORMAT)?;
    // The directory itself may be new.
    let absolute = fs::canonicalize(data_dir).map_err(failed(OPEN, data_dir))?;
    match absolute.parent() {
        Some(parent) => folder::sync_folder(OPEN, parent),
        None => Ok(()),
    }
}
