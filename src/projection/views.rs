//! What a projection sees of the store: keys of its own, below its number.

use bytes::Bytes;
use prost::Message;

use super::About;
use super::ProjectionError;
use crate::codec::Corrupt;
use crate::codec::local;
use crate::ledger::Revision;
use crate::store::Batch;
use crate::store::Space;
use crate::store::StateStore;
use crate::store::StoreError;

/// How far a projection has come, under its number alone: format byte, version (4 bytes), revision (8).
const HEADER: &str = "the revision of a projection";

/// The records of one projection.
pub struct Views<'a> {
    store: &'a dyn StateStore,
    about: About,
}

impl<'a> Views<'a> {
    /// Those of the projection with these properties.
    pub fn new(store: &'a dyn StateStore, about: About) -> Self {
        Self { store, about }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        key_below(self.about.number, key)
    }

    /// The record at a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(Space::Views, &self.key(key))
    }

    /// The record at a key, as the message it was written as.
    pub fn message<T: Message + Default>(&self, key: &[u8]) -> Result<Option<T>, ProjectionError> {
        let Some(bytes) = self.get(key)? else {
            return Ok(None);
        };
        Ok(Some(local::message(self.about.name, &bytes)?))
    }

    /// Visits the records of `from..to` in the order of their keys until `visit` returns false.
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let skipped = key_below(self.about.number, &[]).len();
        self.store.scan(Space::Views, &self.key(from), &self.key(to), &mut |key, value| {
            visit(&key[skipped..], value)
        })
    }

    /// The last record of `from..to`.
    pub fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        let skipped = key_below(self.about.number, &[]).len();
        let found = self.store.last(Space::Views, &self.key(from), &self.key(to))?;
        Ok(found.map(|(key, value)| (key.slice(skipped..), value)))
    }

    /// How far the projection is written; `None` when it was never, or in another version.
    pub fn revision(&self) -> Result<Option<Revision>, ProjectionError> {
        let Some(bytes) = self.store.get(Space::Views, &[self.about.number])? else {
            return Ok(None);
        };
        let payload = local::payload(HEADER, &bytes)?;
        let Some((version, revision)) = payload.split_first_chunk() else {
            return Err(Corrupt::new(HEADER, "it is too short").into());
        };
        let revision = <[u8; 8]>::try_from(revision).map_err(|_| Corrupt::new(HEADER, "it is no number"))?;
        let is_current = u32::from_be_bytes(*version) == self.about.version;
        Ok(is_current.then_some(u64::from_be_bytes(revision)))
    }
}

/// Changes of the records of one projection, as a part of a batch.
pub struct ViewBatch<'a> {
    batch: &'a mut Batch,
    about: About,
}

impl<'a> ViewBatch<'a> {
    /// Adds changes of the projection with these properties to a batch.
    pub fn new(batch: &'a mut Batch, about: About) -> Self {
        Self { batch, about }
    }

    /// Writes a record.
    pub fn put(&mut self, key: &[u8], value: impl Into<Bytes>) {
        self.batch.put(Space::Views, key_below(self.about.number, key), value);
    }

    /// Writes a record that is a message.
    pub fn put_message(&mut self, key: &[u8], message: &impl Message) {
        self.put(key, local::framed(message));
    }

    /// Removes a record.
    pub fn delete(&mut self, key: &[u8]) {
        self.batch.delete(Space::Views, key_below(self.about.number, key));
    }

    /// Removes the records of `from..to`.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        let number = self.about.number;
        self.batch.delete_range(Space::Views, key_below(number, from), key_below(number, to));
    }

    /// Removes all records, and that there was anything.
    pub fn clear(&mut self) {
        self.batch.delete_range(Space::Views, [self.about.number], [self.about.number + 1]);
    }

    /// Says how far the projection is written with this batch.
    pub(super) fn reached(&mut self, revision: Revision) {
        let mut value = vec![crate::codec::keys::FORMAT];
        value.extend_from_slice(&self.about.version.to_be_bytes());
        value.extend_from_slice(&revision.to_be_bytes());
        self.batch.put(Space::Views, [self.about.number], value);
    }
}

/// Records lie behind the header: its key is shorter.
fn key_below(number: u8, key: &[u8]) -> Vec<u8> {
    [&[number, 0], key].concat()
}
