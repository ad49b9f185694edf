//! What one store has on a simulated disk: the visible content, the durable one, and the batches between
//! the two.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::random::SplitMix;
use crate::planted::Bug;
use crate::planted::planted;
use crate::store::Batch;
use crate::store::Op;
use crate::store::Space;
use crate::store::StoreError;

/// The content of one space.
pub(super) type Table = BTreeMap<Vec<u8>, Bytes>;

/// The content of a store. A table is copied only when one that is shared is written to.
pub(super) type Tables = BTreeMap<Space, Arc<Table>>;

/// What a loss of power has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Batches that were visible and are gone.
    pub batches: usize,
    /// Whether the first of them had reached the disk in part. It has no use: a batch is there as a
    /// whole, or is not.
    pub torn: bool,
}

/// What one store has on the disk.
pub(super) struct Medium {
    pub(super) writing: &'static str,
    pub(super) visible: Tables,
    pub(super) durable: Tables,
    /// The visible batches that are not durable, in order.
    pub(super) unsynced: VecDeque<Batch>,
    /// What has become unreadable: a store finds by its checksums that it is not what was written.
    pub(super) damaged: BTreeSet<(Space, Vec<u8>)>,
    /// How many batches were ever written, those in `unsynced` included.
    pub(super) written: u64,
}

impl Medium {
    pub(super) fn new(writing: &'static str, spaces: &[Space]) -> Self {
        let empty: Tables = spaces.iter().map(|&space| (space, Arc::default())).collect();
        Self {
            writing,
            visible: empty.clone(),
            durable: empty,
            unsynced: VecDeque::new(),
            damaged: BTreeSet::new(),
            written: 0,
        }
    }

    pub(super) fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        for op in &batch.ops {
            let (Op::Put(space, ..) | Op::Delete(space, ..) | Op::DeleteRange(space, ..)) = op;
            table(self.writing, &self.visible, *space)?;
        }
        if !self.damaged.is_empty() {
            self.damaged.retain(|place| !writes(&batch, place));
        }
        apply(&mut self.visible, &batch);
        self.unsynced.push_back(batch);
        self.written += 1;
        Ok(())
    }

    /// Makes the first `upto` batches ever written durable, as far as they are not yet.
    pub(super) fn sync(&mut self, upto: u64) {
        while self.written - (self.unsynced.len() as u64) < upto {
            let batch = self.unsynced.pop_front().expect("a batch is counted when it is put there");
            apply(&mut self.durable, &batch);
        }
    }

    pub(super) fn lose_power(&mut self, random: &mut SplitMix) -> Lost {
        let lengths: Vec<u64> = self.unsynced.iter().map(length).collect();
        let total: u64 = lengths.iter().sum();
        // The ends are as likely as everything between them.
        let mut left = match random.below(4) {
            0 => 0,
            1 => total,
            _ => random.below(total + 1),
        };
        let mut kept = 0;
        for length in &lengths {
            if left < *length {
                break;
            }
            left -= length;
            kept += 1;
        }
        let lost = Lost { batches: lengths.len() - kept, torn: kept < lengths.len() && left > 0 };
        let synced = self.written - self.unsynced.len() as u64;
        self.sync(synced + kept as u64);
        if planted(Bug::TornBatch)
            && let Some(mut torn) = self.unsynced.pop_front()
        {
            torn.ops.truncate(1);
            apply(&mut self.durable, &torn);
        }
        self.unsynced.clear();
        self.visible = self.durable.clone();
        lost
    }

    /// Flips a bit of one value that is durable and not about to be written again; says which.
    pub(super) fn flip_bit(&mut self, random: &mut SplitMix) -> Option<String> {
        let durable: Vec<(Space, &Vec<u8>, &Bytes)> = self
            .durable
            .iter()
            .flat_map(|(space, table)| table.iter().map(|(key, value)| (*space, key, value)))
            .filter(|(space, key, value)| self.visible[space].get(*key) == Some(*value))
            .collect();
        let position = usize::try_from(random.below(durable.len() as u64 + 1)).ok()?;
        let (space, key, value) = durable.get(position)?;
        let place = format!("a bit of the {} bytes at {} in {space:?}", value.len(), key.escape_ascii());
        let damaged = (*space, (*key).clone());
        self.damaged.insert(damaged);
        Some(place)
    }

    /// Fails when something in a range of keys is damaged.
    pub(super) fn check(
        &self,
        action: &'static str,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<(), StoreError> {
        let is_within = |key: &[u8]| {
            (match from {
                Bound::Included(from) => key >= from,
                Bound::Excluded(from) => key > from,
                Bound::Unbounded => true,
            }) && (match to {
                Bound::Included(to) => key <= to,
                Bound::Excluded(to) => key < to,
                Bound::Unbounded => true,
            })
        };
        let found = self.damaged.iter().find(|(other, key)| *other == space && is_within(key));
        match found {
            None => Ok(()),
            Some((_, key)) => Err(StoreError::new(
                action,
                format!("the checksum at {} in {space:?} is wrong", key.escape_ascii()),
            )),
        }
    }

    pub(super) fn replace(&mut self, mut tables: Tables) {
        self.unsynced.clear();
        self.damaged.clear();
        self.visible = tables.clone();
        if planted(Bug::HalfInstalledSnapshot) {
            tables.insert(Space::Events, Arc::clone(&self.durable[&Space::Events]));
        }
        self.durable = tables;
    }
}

/// Applies a batch whose spaces are known to be there.
fn apply(tables: &mut Tables, batch: &Batch) {
    for op in &batch.ops {
        let (Op::Put(space, ..) | Op::Delete(space, ..) | Op::DeleteRange(space, ..)) = op;
        let table = tables.get_mut(space).expect("the spaces of a batch are checked when it is written");
        let table = Arc::make_mut(table);
        match op {
            Op::Put(_, key, value) => {
                table.insert(key.clone(), value.clone());
            }
            Op::Delete(_, key) => {
                table.remove(key);
            }
            Op::DeleteRange(_, from, to) => {
                let doomed: Vec<Vec<u8>> = range(table, from, to).map(|(key, _)| key.clone()).collect();
                for key in doomed {
                    table.remove(&key);
                }
            }
        }
    }
}

/// `from..to` in ascending order; nothing when the range is the wrong way round.
pub(super) fn range<'a>(
    table: &'a Table,
    from: &[u8],
    to: &[u8],
) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Bytes)> {
    let to = to.max(from);
    table.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
}

pub(super) fn table(action: &'static str, tables: &Tables, space: Space) -> Result<Arc<Table>, StoreError> {
    let found = tables.get(&space).cloned();
    found.ok_or_else(|| StoreError::new(action, format!("there is no space {space:?}")))
}

/// What a batch takes on the disk.
fn length(batch: &Batch) -> u64 {
    let lengths = batch.ops.iter().map(|op| match op {
        Op::Put(_, key, value) => key.len() + value.len(),
        Op::Delete(_, key) => key.len(),
        Op::DeleteRange(_, from, to) => from.len() + to.len(),
    });
    1 + lengths.sum::<usize>() as u64
}

/// Whether a batch writes a value or removes it.
fn writes(batch: &Batch, (space, key): &(Space, Vec<u8>)) -> bool {
    batch.ops.iter().any(|op| match op {
        Op::Put(other, written, _) | Op::Delete(other, written) => other == space && written == key,
        Op::DeleteRange(other, from, to) => other == space && (from..to).contains(&key),
    })
}
