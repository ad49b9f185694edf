//! One RocksDB instance seen as spaces of ordered bytes: opening, reading, writing, and saying in
//! plain words what went wrong.
//!
//! Knows nothing of threads, generations or when something is flushed.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::ColumnFamily;
use rocksdb::DB;
use rocksdb::FlushOptions;
use rocksdb::ReadOptions;
use rocksdb::WriteBatch;
use rocksdb::WriteOptions;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties;

use super::background;
use super::explain;
use super::explain::explain;
use super::explain::explain_open;
use super::folder::DirectoryLock;
use super::options;
use super::options::Shared;
use crate::store::Batch;
use crate::store::LOG_SPACES;
use crate::store::Op;
use crate::store::STATE_SPACES;
use crate::store::Space;
use crate::store::StoreError;

/// Which of the two instances of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instance {
    Log,
    State,
}

impl Instance {
    pub(super) fn spaces(self) -> &'static [Space] {
        match self {
            Self::Log => &LOG_SPACES,
            Self::State => &STATE_SPACES,
        }
    }

    fn open(self) -> &'static str {
        match self {
            Self::Log => "open the log",
            Self::State => "open the state",
        }
    }

    fn read(self) -> &'static str {
        match self {
            Self::Log => "read the log",
            Self::State => "read the state",
        }
    }

    fn write(self) -> &'static str {
        match self {
            Self::Log => "append to the log",
            Self::State => "write the state",
        }
    }

    fn flush(self) -> &'static str {
        match self {
            Self::Log => "flush the log",
            Self::State => "flush the state",
        }
    }
}

/// The name of a space on disk. Never changed, never reused.
pub(super) fn column_name(space: Space) -> &'static str {
    match space {
        Space::Meta => "meta",
        Space::Entries => "entries",
        Space::Rows => "rows",
        Space::Events => "events",
        Space::Views => "views",
    }
}

/// What RocksDB adds to a change, at most: its kind, its column and two lengths.
const BYTES_PER_CHANGE: usize = 16;

/// Room for the changes of a batch: one that grew would be copied again and again.
pub(super) fn room_for(batch: &Batch) -> WriteBatch {
    let bytes = batch.ops.iter().map(|op| match op {
        Op::Put(_, key, value) => key.len() + value.len(),
        Op::Delete(_, key) => key.len(),
        Op::DeleteRange(_, from, to) => from.len() + to.len(),
    });
    // Before the changes stand a sequence number and how many they are.
    WriteBatch::with_capacity_bytes(bytes.map(|bytes| bytes + BYTES_PER_CHANGE).sum::<usize>() + 12)
}

/// An open instance.
pub(super) struct Engine {
    // Closed before the lock is let go: fields are dropped in this order.
    db: DB,
    instance: Instance,
    lock: Arc<DirectoryLock>,
}

impl Engine {
    /// Opens the instance at `path`. Only with `create` may it, or one of its spaces, be missing.
    pub(super) fn open(
        path: &Path,
        instance: Instance,
        create: bool,
        shared: &Shared,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let options = options::instance(instance, create, shared)?;
        let db = DB::open_cf_descriptors(&options, path, options::columns(instance, shared))
            .map_err(|error| StoreError::new(instance.open(), explain_open(path, &error)))?;
        Ok(Self { db, instance, lock })
    }

    /// Opens what is at `path` to be read only: nothing there is changed, added or removed.
    pub(super) fn open_to_read(
        path: &Path,
        instance: Instance,
        shared: &Shared,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let options = options::instance(instance, false, shared)?;
        let columns = options::columns(instance, shared);
        let db = DB::open_cf_descriptors_read_only(&options, path, columns, false)
            .map_err(|error| StoreError::new(instance.open(), explain_open(path, &error)))?;
        Ok(Self { db, instance, lock })
    }

    /// Reads everything there is.
    pub(super) fn read_all(&self) -> Result<(), StoreError> {
        self.instance.spaces().iter().try_for_each(|space| self.scan_all(*space, &mut |_, _| true))
    }

    pub(super) fn lock(&self) -> Arc<DirectoryLock> {
        Arc::clone(&self.lock)
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let action = self.instance.read();
        let column = self.column(action, space)?;
        let value = self.db.get_cf(column, key).map_err(|error| self.failed(action, &error))?;
        Ok(value.map(Bytes::from))
    }

    pub(super) fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let action = self.instance.read();
        let column = self.column(action, space)?;
        if from >= to {
            return Ok(());
        }
        let mut options = within(from, to);
        // They are read from one end to the other, and what is read often is in memory: the state.
        options.fill_cache(space != Space::Rows);
        self.visit(action, column, options, from, visit)
    }

    /// Visits everything of a space.
    pub(super) fn scan_all(
        &self,
        space: Space,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let action = self.instance.read();
        let mut options = ReadOptions::default();
        // What is read once would push out what is read often.
        options.fill_cache(false);
        self.visit(action, self.column(action, space)?, options, &[], visit)
    }

    fn visit(
        &self,
        action: &'static str,
        column: &ColumnFamily,
        options: ReadOptions,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let mut rows = self.db.raw_iterator_cf_opt(column, options);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !visit(key, value) {
                return Ok(());
            }
            rows.next();
        }
        // An iterator that meets a bad block ends like one that has seen everything.
        rows.status().map_err(|error| self.failed(action, &error))
    }

    pub(super) fn last(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        let action = self.instance.read();
        let column = self.column(action, space)?;
        if from >= to {
            return Ok(None);
        }
        let mut rows = self.db.raw_iterator_cf_opt(column, within(from, to));
        rows.seek_to_last();
        let found =
            rows.item().map(|(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        rows.status().map_err(|error| self.failed(action, &error))?;
        Ok(found)
    }

    /// Adds the changes of `batch` to `merged`.
    pub(super) fn merge(&self, merged: &mut WriteBatch, batch: &Batch) -> Result<(), StoreError> {
        let action = self.instance.write();
        // Many of one space stand together: its column is looked for once.
        let mut last = None;
        let mut column = |space| match last {
            Some((of, column)) if of == space => Ok(column),
            _ => self.column(action, space).inspect(|column| last = Some((space, *column))),
        };
        for op in &batch.ops {
            match op {
                Op::Put(space, key, value) => merged.put_cf(column(*space)?, key, value),
                Op::Delete(space, key) => merged.delete_cf(column(*space)?, key),
                // RocksDB fails the whole write over a range that is the wrong way round.
                Op::DeleteRange(space, from, to) if from >= to => {
                    column(*space)?;
                }
                Op::DeleteRange(space, from, to) => {
                    merged.delete_range_cf(column(*space)?, from, to);
                }
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, merged: WriteBatch, options: &WriteOptions) -> Result<(), StoreError> {
        self.db.write_opt(merged, options).map_err(|error| self.failed(self.instance.write(), &error))
    }

    /// Writes all memtables to disk, up to one moment of all spaces, and waits for it.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let action = self.instance.flush();
        let mut columns = Vec::new();
        for &space in self.instance.spaces() {
            columns.push(self.column(action, space)?);
        }
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&columns, &options).map_err(|error| self.failed(action, &error))?;
        self.check_background(action)
    }

    /// Fails when a flush or a compaction has failed behind the back of the callers. RocksDB would
    /// try again for as long as it can write at all; a node does not build on a disk that failed.
    pub(super) fn check_background(&self, action: &'static str) -> Result<(), StoreError> {
        match self.property(action, properties::BACKGROUND_ERRORS)? {
            0 => Ok(()),
            count => {
                let path = self.db.path();
                let reason = background::reason(path);
                Err(StoreError::new(action, explain::background(path, count, reason.as_deref())))
            }
        }
    }

    /// The same, and whether writes are held up until compactions have caught up.
    pub(super) fn check(&self, action: &'static str) -> Result<bool, StoreError> {
        self.check_background(action)?;
        Ok(self.property(action, properties::IS_WRITE_STOPPED)? > 0)
    }

    fn property(&self, action: &'static str, name: &properties::PropName) -> Result<u64, StoreError> {
        let value = self.db.property_int_value(name).map_err(|error| self.failed(action, &error))?;
        value.ok_or_else(|| StoreError::new(action, format!("RocksDB does not know {name:?}")))
    }

    /// Makes a copy of what is written now as a new folder `path`, sharing the immutable files.
    pub(super) fn checkpoint(&self, action: &'static str, path: &Path) -> Result<(), StoreError> {
        let checkpoint = Checkpoint::new(&self.db).map_err(|error| self.failed(action, &error))?;
        checkpoint.create_checkpoint(path).map_err(|error| self.failed(action, &error))
    }

    fn column(&self, action: &'static str, space: Space) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(column_name(space)).ok_or_else(|| {
            StoreError::new(action, format!("there is no space {space:?} in {}", self.db.path().display()))
        })
    }

    fn failed(&self, action: &'static str, error: &rocksdb::Error) -> StoreError {
        StoreError::new(action, explain(self.db.path(), error))
    }
}

fn within(from: &[u8], to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options
}
