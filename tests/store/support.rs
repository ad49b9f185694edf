//! Stores to test, and short words for what the tests do with them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate::store::Batch;
use quorate::store::Durability;
use quorate::store::LogStore;
use quorate::store::Opened;
use quorate::store::Received;
use quorate::store::Snapshot;
use quorate::store::Space;
use quorate::store::StateStore;
use quorate::store::Store;
use quorate::store::StoreError;
use quorate::store::rocks::RocksStore;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// One node's storage, which can be opened again and again.
pub struct Subject {
    make: fn() -> Self,
    store: Box<dyn Store>,
    /// Removed at the end of the test.
    _dir: Option<TempDir>,
}

impl Subject {
    pub fn rocks() -> Self {
        let dir = temp_dir();
        let store = RocksStore::new(dir.path().join("data"));
        Self { make: Self::rocks, store: Box::new(store), _dir: Some(dir) }
    }

    pub fn simulated() -> Self {
        Self { make: Self::simulated, store: Box::new(SimulatedStore::new(Disk::new(17))), _dir: None }
    }

    /// The storage of another node.
    pub fn same_kind_as(other: &Self) -> Self {
        (other.make)()
    }

    pub fn open(&self) -> Opened {
        self.store.open().expect("the store opens")
    }
}

/// A folder on a real disk: a RAM disk has no sync to test.
pub fn temp_dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made")
}

pub fn key(number: usize) -> Vec<u8> {
    (number as u64).to_be_bytes().to_vec()
}

pub fn put(space: Space, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::default();
    batch.put(space, key, value);
    batch
}

/// A batch that writes all spaces of the state, so that a part of it is seen as such.
pub fn numbered(number: usize) -> Batch {
    let mut batch = put(Space::Meta, "applied", key(number));
    batch.put(Space::Rows, key(number), "row");
    batch.put(Space::Events, key(number), "event");
    batch
}

/// How many of the numbered batches 0, 1, 2, … are there. Panics when they are not a prefix of
/// whole ones.
pub fn numbered_prefix(state: &dyn StateStore) -> usize {
    let rows = dump(state, Space::Rows);
    for space in [Space::Rows, Space::Events] {
        let keys: Vec<Vec<u8>> = dump(state, space).into_iter().map(|(key, _)| key).collect();
        let expected: Vec<Vec<u8>> = (0..rows.len()).map(key).collect();
        assert_eq!(keys, expected, "{space:?} is not the same prefix");
    }
    let applied = state.get(Space::Meta, b"applied").expect("meta can be read");
    assert_eq!(applied.map(|value| value.to_vec()), rows.len().checked_sub(1).map(key));
    rows.len()
}

pub fn dump(state: &dyn StateStore, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let all = state.scan(space, b"", &[0xFF; 16], &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        true
    });
    all.expect("the state can be scanned");
    rows
}

pub fn dump_all(state: &dyn StateStore) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    [Space::Meta, Space::Rows, Space::Events].map(|space| dump(state, space)).into()
}

/// Submits, and returns where the outcome will be heard; nothing is heard of a lost batch.
pub fn submit(
    log: &Arc<dyn LogStore>,
    batch: Batch,
    durability: Durability,
) -> oneshot::Receiver<Result<(), StoreError>> {
    let (done, outcome) = oneshot::channel();
    log.submit(batch, durability, Box::new(move |result| drop(done.send(result))));
    outcome
}

pub async fn append(log: &Arc<dyn LogStore>, batch: Batch) -> Result<(), StoreError> {
    submit(log, batch, Durability::Synced).await.expect("the callback is called")
}

/// Carries a snapshot over to another store, as the network would.
pub fn transfer(from: &dyn Snapshot, to: &dyn StateStore) -> Received {
    const CHUNK: usize = 1_000;
    let mut receiver = to.receive(from.files().to_vec()).expect("the snapshot is accepted");
    for (position, file) in from.files().iter().enumerate() {
        let mut offset = 0;
        while offset < file.size {
            let data = from.read(position, offset, CHUNK).expect("the snapshot can be read");
            assert!(!data.is_empty(), "{} ends at {offset} of {}", file.name, file.size);
            receiver.append(position, &data).expect("the bytes are accepted");
            offset += data.len() as u64;
        }
    }
    receiver.finish().expect("the snapshot is complete")
}

/// The names in a folder, sorted.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the entry can be read").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}
