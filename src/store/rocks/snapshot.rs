//! Snapshots as folders of files: reading those of a checkpoint, and taking in those that another
//! node sends.
//!
//! Knows nothing of what the files hold, nor how one becomes the live state.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;
use bytes::BytesMut;

use super::engine::Engine;
use super::engine::Instance;
use super::explain::failed;
use super::folder::DirectoryLock;
use super::folder::TemporaryFolder;
use super::folder::sync_folder;
use super::options::Shared;
use super::state::on_a_thread;
use crate::store::Received;
use crate::store::Snapshot;
use crate::store::SnapshotFile;
use crate::store::SnapshotReceiver;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::store::transfer::Transfer;

const LIST: &str = "list the files of a snapshot";
const READ: &str = "read a snapshot";
const RECEIVE: &str = "receive a snapshot";

/// A checkpoint, removed with its last handle.
pub(super) struct Checkpointed {
    folder: TemporaryFolder,
    files: Vec<SnapshotFile>,
    shared: Shared,
    lock: Arc<DirectoryLock>,
    /// Set when all of it was read, and was right.
    verified: Arc<OnceLock<()>>,
}

impl Checkpointed {
    /// The checkpoint that was made in `folder`.
    pub(super) fn new(
        folder: TemporaryFolder,
        shared: Shared,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder.path()).map_err(failed(LIST, folder.path()))? {
            let entry = entry.map_err(failed(LIST, folder.path()))?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(failed(LIST, &path))?;
            if !metadata.is_file() {
                continue;
            }
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| StoreError::new(LIST, format!("{name:?} is not valid UTF-8")))?;
            files.push(SnapshotFile { name, size: metadata.len() });
        }
        files.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Self { folder, files, shared, lock, verified: Arc::default() })
    }
}

impl Snapshot for Checkpointed {
    fn files(&self) -> &[SnapshotFile] {
        &self.files
    }

    fn read(&self, file: usize, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let Some(SnapshotFile { name, size }) = self.files.get(file) else {
            let problem = format!("there is no file {file}, only {}", self.files.len());
            return Err(StoreError::new(READ, problem));
        };
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let path = self.folder.path().join(name);
        let mut data = BytesMut::zeroed(length.min(left));
        // Opened for each read: a snapshot has hundreds of files and may be kept for long.
        let opened = File::open(&path).map_err(failed(READ, &path))?;
        opened.read_exact_at(&mut data, offset).map_err(failed(READ, &path))?;
        Ok(data.freeze())
    }

    fn verify(&self) -> StoreFuture<()> {
        let (path, shared) = (self.folder.path().to_owned(), self.shared.clone());
        let (lock, verified) = (Arc::clone(&self.lock), Arc::clone(&self.verified));
        if verified.get().is_some() {
            return Box::pin(std::future::ready(Ok(())));
        }
        on_a_thread(READ, "snapshot-verify", move || {
            Engine::open_to_read(&path, Instance::State, &shared, lock)?.read_all()?;
            verified.get_or_init(|| ());
            Ok(())
        })
    }
}

/// A folder that is being filled.
pub(super) struct Receiver {
    folder: TemporaryFolder,
    transfer: Transfer,
    /// The file that was last appended to, and its position.
    open: Option<(usize, File)>,
}

impl Receiver {
    pub(super) fn start(
        path: PathBuf,
        files: Vec<SnapshotFile>,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let transfer = Transfer::new(files)?;
        fs::create_dir(&path).map_err(failed(RECEIVE, &path))?;
        let folder = TemporaryFolder::of(path, lock);
        for file in transfer.files() {
            let path = folder.path().join(&file.name);
            File::create_new(&path).map_err(failed(RECEIVE, &path))?;
        }
        Ok(Self { folder, transfer, open: None })
    }

    fn path_of(&self, file: usize) -> PathBuf {
        self.folder.path().join(&self.transfer.files()[file].name)
    }

    /// Ends work on the open file. Its own handle syncs it: the error of an earlier write reaches
    /// the handle that wrote, and need not reach one opened later.
    fn close(&mut self) -> Result<(), StoreError> {
        match self.open.take() {
            None => Ok(()),
            Some((position, file)) => file.sync_all().map_err(failed(RECEIVE, &self.path_of(position))),
        }
    }
}

impl SnapshotReceiver for Receiver {
    fn append(&mut self, file: usize, data: &[u8]) -> Result<(), StoreError> {
        self.transfer.accept(file, data.len())?;
        let path = self.path_of(file);
        if self.open.as_ref().is_none_or(|(position, _)| *position != file) {
            self.close()?;
            let opened = File::options().append(true).open(&path).map_err(failed(RECEIVE, &path))?;
            self.open = Some((file, opened));
        }
        let (_, opened) = self.open.as_mut().expect("opened just above");
        opened.write_all(data).map_err(failed(RECEIVE, &path))
    }

    fn finish(mut self: Box<Self>) -> Result<Received, StoreError> {
        self.transfer.check_complete()?;
        self.close()?;
        for (position, file) in self.transfer.files().iter().enumerate() {
            let path = self.path_of(position);
            let on_disk = fs::metadata(&path).map_err(failed(RECEIVE, &path))?.len();
            if on_disk != file.size {
                let found = io::Error::other(format!("{on_disk} bytes on disk instead of {}", file.size));
                return Err(failed(RECEIVE, &path)(found));
            }
            // Those without bytes were never opened to be appended to.
            if file.size == 0 {
                File::open(&path).and_then(|file| file.sync_all()).map_err(failed(RECEIVE, &path))?;
            }
        }
        sync_folder(RECEIVE, self.folder.path())?;
        Ok(Received(Box::new(Sealed(self.folder))))
    }
}

/// A complete received snapshot.
pub(super) struct Sealed(pub(super) TemporaryFolder);
