//! Snapshots in memory: one file per space, each a row of lengths, keys and values.
//!
//! Knows nothing of the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

use super::medium::Table;
use super::medium::Tables;
use crate::store::Received;
use crate::store::STATE_SPACES;
use crate::store::Snapshot;
use crate::store::SnapshotFile;
use crate::store::SnapshotReceiver;
use crate::store::Space;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::store::transfer::Transfer;

const RECEIVE: &str = "receive a snapshot";

/// A copy of the state.
pub(super) struct MemorySnapshot {
    files: Vec<SnapshotFile>,
    contents: Vec<Bytes>,
}

impl MemorySnapshot {
    pub(super) fn of(tables: &Tables) -> Self {
        let contents: Vec<Bytes> = tables.values().map(|table| encode(table)).collect();
        let files = tables
            .keys()
            .zip(&contents)
            .map(|(space, content)| SnapshotFile { name: file_name(*space), size: content.len() as u64 })
            .collect();
        Self { files, contents }
    }
}

impl Snapshot for MemorySnapshot {
    fn files(&self) -> &[SnapshotFile] {
        &self.files
    }

    fn read(&self, file: usize, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let Some(content) = self.contents.get(file) else {
            let problem = format!("there is no file {file}, only {}", self.files.len());
            return Err(StoreError::new("read a snapshot", problem));
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        Ok(content.slice(from..from.saturating_add(length).min(content.len())))
    }

    /// What was damaged was found when it was copied, or is found by who takes it in.
    fn verify(&self) -> StoreFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Files that are being filled.
pub(super) struct Receiver {
    transfer: Transfer,
    contents: Vec<BytesMut>,
}

impl Receiver {
    pub(super) fn start(files: Vec<SnapshotFile>) -> Result<Self, StoreError> {
        let contents = vec![BytesMut::new(); files.len()];
        Ok(Self { transfer: Transfer::new(files)?, contents })
    }
}

impl SnapshotReceiver for Receiver {
    fn append(&mut self, file: usize, data: &[u8]) -> Result<(), StoreError> {
        self.transfer.accept(file, data.len())?;
        self.contents[file].extend_from_slice(data);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Received, StoreError> {
        self.transfer.check_complete()?;
        let names = self.transfer.files().iter().map(|file| file.name.as_str());
        let mut contents: BTreeMap<&str, BytesMut> = names.zip(self.contents).collect();
        let mut tables = Tables::new();
        for space in STATE_SPACES {
            let name = file_name(space);
            let content = contents.remove(name.as_str());
            let table = content.and_then(|content| decode(content.freeze()));
            let table = table
                .ok_or_else(|| StoreError::new(RECEIVE, format!("file {name:?} is missing or damaged")))?;
            tables.insert(space, Arc::new(table));
        }
        Ok(Received(Box::new(Sealed(tables))))
    }
}

/// A complete received snapshot.
pub(super) struct Sealed(pub(super) Tables);

fn file_name(space: Space) -> String {
    format!("{space:?}").to_lowercase()
}

fn encode(table: &Table) -> Bytes {
    let mut content = BytesMut::new();
    for (key, value) in table {
        for part in [key.as_slice(), value] {
            content.put_u64(part.len() as u64);
            content.put_slice(part);
        }
    }
    content.freeze()
}

/// None when the content is not what `encode` makes.
fn decode(mut content: Bytes) -> Option<Table> {
    let mut table = Table::new();
    while content.has_remaining() {
        let key = take_part(&mut content)?;
        let value = take_part(&mut content)?;
        table.insert(key.to_vec(), value);
    }
    Some(table)
}

fn take_part(content: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(content.try_get_u64().ok()?).ok()?;
    (length <= content.len()).then(|| content.split_to(length))
}
