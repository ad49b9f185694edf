//! Folders and small files, changed so that a crash leaves the old or the new: the lock of the
//! data directory, folders that vanish with their owner, durable replacement of a file.
//!
//! Knows nothing of RocksDB.

use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::explain::failed;
use crate::store::StoreError;

/// The right to use a data directory. Whatever touches the directory keeps it alive, so that a
/// second open can never clean away what is still in use.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    pub(super) fn take(data_dir: &Path) -> Result<Arc<Self>, StoreError> {
        const ACTION: &str = "lock the data directory";
        let path = data_dir.join("LOCK");
        let file = File::create(&path).map_err(failed(ACTION, &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Arc::new(Self { _file: file })),
            Err(TryLockError::WouldBlock) => {
                let problem = format!("another process is using the data directory {}", data_dir.display());
                Err(StoreError::new(ACTION, problem))
            }
            Err(TryLockError::Error(error)) => Err(failed(ACTION, &path)(error)),
        }
    }
}

/// A folder that is removed with its owner, unless it is kept.
#[derive(Debug)]
pub(super) struct TemporaryFolder {
    path: PathBuf,
    kept: bool,
    _lock: Arc<DirectoryLock>,
}

impl TemporaryFolder {
    /// Takes charge of the folder at `path`.
    pub(super) fn of(path: PathBuf, lock: Arc<DirectoryLock>) -> Self {
        Self { path, kept: false, _lock: lock }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder up without removing it.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match fs::remove_dir_all(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It only costs space, until the next start clears it away.
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "folder could not be removed"),
        }
    }
}

/// Makes the entries of a folder durable: files created in it, renamed into it, removed from it.
pub(super) fn sync_folder(action: &'static str, path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed(action, path))
}

/// Replaces the file at `path`: after a crash it has its old content or the new one, never a mix.
pub(super) fn replace_file(action: &'static str, path: &Path, content: &str) -> Result<(), StoreError> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh).map_err(failed(action, &fresh))?;
    file.write_all(content.as_bytes()).map_err(failed(action, &fresh))?;
    file.sync_all().map_err(failed(action, &fresh))?;
    fs::rename(&fresh, path).map_err(failed(action, path))?;
    sync_folder(action, path.parent().unwrap_or(Path::new(".")))
}

/// The content of a small text file, or None when it is not there.
pub(super) fn read_file(action: &'static str, path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(action, path)(error)),
    }
}

/// Removes the entries of a folder whose name is `unwanted`.
pub(super) fn remove_entries(
    action: &'static str,
    folder: &Path,
    unwanted: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(failed(action, folder))? {
        let entry = entry.map_err(failed(action, folder))?;
        if !entry.file_name().to_str().is_some_and(&unwanted) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().map_err(failed(action, &path))?.is_dir();
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(failed(action, &path))?;
    }
    Ok(())
}
