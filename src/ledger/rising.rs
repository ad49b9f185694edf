//! An ordered map for keys that mostly come in rising order: revisions, request ids, deadlines.
//!
//! Entries lie sorted in chunks, and the chunks in a row. A new greatest key goes to the end of the
//! last chunk, and a key that is a little late finds its place a few steps from the end, where a
//! search begins: neither needs a way down from the root of a tree. Anything else costs a binary
//! search, and now and then the moving of a part of the row. How large a chunk is (`MOST`) is the
//! owner's choice: the row is as much shorter as chunks are larger.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// The entries of one chunk, ascending; never empty.
#[derive(Debug, Clone)]
struct Chunk<K, V> {
    /// The key of its last entry: the row of chunks is searched without looking into them.
    last: K,
    entries: Vec<(K, V)>,
}

/// The map, in chunks of at most `MOST` entries.
#[derive(Debug, Clone)]
pub(super) struct Rising<K, V, const MOST: usize = 256> {
    chunks: VecDeque<Chunk<K, V>>,
    len: usize,
}

/// Where an entry is, or would be.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: usize,
    entry: usize,
}

impl<K, V, const MOST: usize> Default for Rising<K, V, MOST> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }
}

/// How entries are spread over chunks means nothing.
impl<K: Copy + Ord, V: PartialEq, const MOST: usize> PartialEq for Rising<K, V, MOST> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Copy + Ord, V: Eq, const MOST: usize> Eq for Rising<K, V, MOST> {}

impl<K: Copy + Ord, V, const MOST: usize> Rising<K, V, MOST> {
    /// What two neighbours are joined to at most: there is room for more before they part again. Two
    /// that are not joined have more together, so that no chunk is emptier than three in eight for
    /// long.
    const JOINED: usize = MOST * 3 / 4;

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        let place = self.find(key).ok()?;
        Some(&self.chunks[place.chunk].entries[place.entry].1)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.find(key).ok()?;
        Some(&mut self.chunks[place.chunk].entries[place.entry].1)
    }

    /// The entry with the least key.
    pub(super) fn first(&self) -> Option<(K, &V)> {
        self.chunks.front()?.entries.first().map(|(key, value)| (*key, value))
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.chunks.iter().flat_map(|chunk| &chunk.entries).map(|(key, value)| (*key, value))
    }

    /// Ascending, from a key on.
    pub(super) fn iter_from(&self, key: K) -> impl Iterator<Item = (K, &V)> {
        let (Ok(place) | Err(place)) = self.find(key);
        let chunks = self.chunks.range(place.chunk..);
        chunks.flat_map(|chunk| &chunk.entries).skip(place.entry).map(|(key, value)| (*key, value))
    }

    /// Adds an entry; the value that the key had before is given back.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let mut place = match self.find(key) {
            Ok(place) => {
                let value_there = &mut self.chunks[place.chunk].entries[place.entry].1;
                return Some(std::mem::replace(value_there, value));
            }
            Err(place) => place,
        };
        self.len += 1;
        // What is greater than all comes after the last chunk: there it belongs to that chunk.
        if place.chunk == self.chunks.len() {
            match self.chunks.back() {
                Some(chunk) if chunk.entries.len() < MOST => {
                    place = Place { chunk: place.chunk - 1, entry: chunk.entries.len() };
                }
                _ => {
                    let mut entries = Vec::with_capacity(MOST);
                    entries.push((key, value));
                    self.chunks.push_back(Chunk { last: key, entries });
                    return None;
                }
            }
        } else if self.chunks[place.chunk].entries.len() == MOST {
            place = self.split(place);
        }
        let chunk = &mut self.chunks[place.chunk];
        chunk.entries.insert(place.entry, (key, value));
        chunk.last = chunk.last.max(key);
        None
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let Place { chunk: position, entry } = self.find(key).ok()?;
        let chunk = &mut self.chunks[position];
        let (_, value) = chunk.entries.remove(entry);
        self.len -= 1;
        match chunk.entries.last() {
            Some((last, _)) => {
                chunk.last = *last;
                if chunk.entries.len() < MOST / 2 {
                    self.join(position);
                }
            }
            None => {
                self.chunks.remove(position);
            }
        }
        Some(value)
    }

    /// Makes two of a full chunk and says where in them a place is now.
    fn split(&mut self, place: Place) -> Place {
        let chunk = &mut self.chunks[place.chunk];
        let mut entries = Vec::with_capacity(MOST);
        entries.extend(chunk.entries.drain(MOST / 2..));
        let upper = Chunk { last: chunk.last, entries };
        chunk.last = chunk.entries[MOST / 2 - 1].0;
        self.chunks.insert(place.chunk + 1, upper);
        match place.entry.checked_sub(MOST / 2) {
            Some(entry) if entry > 0 => Place { chunk: place.chunk + 1, entry },
            _ => place,
        }
    }

    /// Joins a chunk with one beside it, if there is one with which it fits.
    fn join(&mut self, position: usize) {
        let size = |position: usize| self.chunks.get(position).map_or(MOST, |chunk| chunk.entries.len());
        let fits = |lower: &usize| size(*lower) + size(*lower + 1) <= Self::JOINED;
        let lower = [position.checked_sub(1), Some(position)].into_iter().flatten().find(fits);
        if let Some(lower) = lower
            && let Some(upper) = self.chunks.remove(lower + 1)
        {
            let chunk = &mut self.chunks[lower];
            chunk.entries.extend(upper.entries);
            chunk.last = upper.last;
        }
    }

    /// Where a key is, or where it would be: before all that is greater.
    fn find(&self, key: K) -> Result<Place, Place> {
        let within = self.chunks_around(key);
        let (mut from, mut size) = (*within.start(), within.end() - within.start());
        while size > 0 {
            let half = size / 2;
            if self.chunks[from + half].last < key {
                from += half + 1;
                size -= half + 1;
            } else {
                size = half;
            }
        }
        let Some(chunk) = self.chunks.get(from) else {
            return Err(Place { chunk: from, entry: 0 });
        };
        match chunk.entries.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(entry) => Ok(Place { chunk: from, entry }),
            Err(entry) => Err(Place { chunk: from, entry }),
        }
    }

    /// Bounds of the first chunk whose last key is not less than a key (its end is one of the
    /// answers): in steps from the end that grow, since what is asked for is mostly new, unless it is
    /// the oldest, which is the next to be forgotten.
    fn chunks_around(&self, key: K) -> RangeInclusive<usize> {
        if self.chunks.front().is_some_and(|chunk| key <= chunk.last) {
            return 0..=0;
        }
        let mut end = self.chunks.len();
        let mut step = 1;
        while let Some(position) = end.checked_sub(step) {
            if self.chunks[position].last < key {
                return position + 1..=end;
            }
            end = position;
            step *= 2;
        }
        0..=end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// The next greater key.
        Rise(u8),
        Insert(u16),
        Remove(u16),
        RemoveFirst(u8),
        /// All but every n-th.
        Thin(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<u8>().prop_map(Step::Rise),
            8 => (0..2000u16).prop_map(Step::Insert),
            8 => (0..2000u16).prop_map(Step::Remove),
            1 => any::<u8>().prop_map(Step::RemoveFirst),
            1 => (2..40u8).prop_map(Step::Thin),
        ];
        prop::collection::vec(step, 1..300)
    }

    const MOST: usize = 16;

    fn check(map: &Rising<u16, u32, MOST>, model: &BTreeMap<u16, u32>) {
        assert!(map.iter().eq(model.iter().map(|(key, value)| (*key, value))));
        assert_eq!(map.len(), model.len());
        assert_eq!(map.first(), model.first_key_value().map(|(key, value)| (*key, value)));
        for chunk in &map.chunks {
            assert_eq!(Some(chunk.last), chunk.entries.last().map(|(key, _)| *key));
            assert!(chunk.entries.len() <= MOST && chunk.entries.capacity() <= MOST);
        }
        // Not much room is wasted, whatever was removed.
        assert!(map.chunks.len() <= 2 + map.len() / (MOST * 3 / 8));
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

        #[test]
        fn it_does_what_a_map_does(steps in steps()) {
            let (mut map, mut model) = (Rising::<u16, u32, MOST>::default(), BTreeMap::new());
            let mut values = 0;
            for step in steps {
                let keys: Vec<u16> = match step {
                    Step::Rise(count) => {
                        let next: u16 = model.last_key_value().map_or(0, |(key, _)| *key + 1);
                        (next..next + u16::from(count)).take_while(|key| *key < 60_000).collect()
                    }
                    Step::Insert(key) | Step::Remove(key) => vec![key],
                    Step::RemoveFirst(count) => model.keys().copied().take(count.into()).collect(),
                    Step::Thin(nth) => model.keys().copied().filter(|key| key % u16::from(nth) != 0).collect(),
                };
                for key in keys {
                    values += 1;
                    prop_assert_eq!(map.get(key), model.get(&key));
                    if matches!(step, Step::Rise(_) | Step::Insert(_)) {
                        prop_assert_eq!(map.insert(key, values), model.insert(key, values));
                    } else {
                        prop_assert_eq!(map.remove(key), model.remove(&key));
                    }
                    prop_assert_eq!(map.get_mut(key), model.get_mut(&key));
                }
                check(&map, &model);
                for from in [0, 1, 500, 1999, u16::MAX] {
                    let after: Vec<_> = map.iter_from(from).collect();
                    let expected: Vec<_> = model.range(from..).map(|(key, value)| (*key, value)).collect();
                    prop_assert_eq!(after, expected);
                }
            }
        }
    }
}
