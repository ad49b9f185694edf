//! Where scopes are found by their paths, in one step however deep and wide the tree is.
//!
//! A table of open addressing: a slot holds the hash of a path and the number of its scope; the
//! path itself is the scope's. It is only asked for one path at a time and never walked, so that
//! the order of its slots is nowhere to be seen.

use std::hash::DefaultHasher;
use std::hash::Hasher;

use super::name::Path;
use super::scope::ScopeId;

/// A slot in which nothing is.
const EMPTY: Slot = Slot { hash: 0, id: u32::MAX };

/// The fewest slots of a table that is not empty.
const FEWEST: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    hash: u32,
    id: u32,
}

/// Scopes by path.
#[derive(Debug, Clone, Default)]
pub(super) struct PathIndex {
    /// A power of two, or none.
    slots: Vec<Slot>,
    used: usize,
}

impl PathIndex {
    /// The scope that is found under a path; `is_at` says whether a scope has it.
    #[inline]
    pub(super) fn get(&self, path: &Path, is_at: impl Fn(ScopeId) -> bool) -> Option<ScopeId> {
        self.find(hash(path), is_at)
    }

    #[inline]
    fn find(&self, hash: u32, is_at: impl Fn(ScopeId) -> bool) -> Option<ScopeId> {
        if self.slots.is_empty() {
            return None;
        }
        let mut position = self.home(hash);
        loop {
            let slot = self.slots[position];
            if slot == EMPTY {
                return None;
            }
            if slot.hash == hash && is_at(ScopeId(slot.id)) {
                return Some(ScopeId(slot.id));
            }
            position = self.after(position);
        }
    }

    /// The scope that is probably found under a path with a hash: its hash is the same.
    #[inline]
    pub(super) fn guess(&self, hash: u32) -> Option<ScopeId> {
        self.find(hash, |_| true)
    }

    /// Whether there is anything where a search for a hash begins.
    #[inline]
    pub(super) fn peek(&self, hash: u32) -> bool {
        self.slots.get(hash as usize & self.slots.len().wrapping_sub(1)).is_some_and(|slot| *slot != EMPTY)
    }

    /// Adds a scope under a path under which there is none.
    pub(super) fn insert(&mut self, path: &Path, id: ScopeId) {
        assert!(id.0 != u32::MAX, "the last number marks an empty slot");
        // At most three quarters full: ways stay short.
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.put(Slot { hash: hash(path), id: id.0 });
        self.used += 1;
    }

    /// Removes a scope from under its path.
    pub(super) fn remove(&mut self, path: &Path, id: ScopeId) {
        let hash = hash(path);
        let mut hole = self.home(hash);
        while self.slots[hole] != (Slot { hash, id: id.0 }) {
            assert!(self.slots[hole] != EMPTY, "what is removed is there");
            hole = self.after(hole);
        }
        self.used -= 1;
        // What comes after moves up, unless that would bring it before its home.
        let mut position = hole;
        loop {
            position = self.after(position);
            let slot = self.slots[position];
            if slot == EMPTY {
                self.slots[hole] = EMPTY;
                return;
            }
            let mask = self.slots.len() - 1;
            let from_home = position.wrapping_sub(self.home(slot.hash)) & mask;
            let from_hole = position.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = position;
            }
        }
    }

    fn grow(&mut self) {
        let slots = vec![EMPTY; (self.slots.len() * 2).max(FEWEST)];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot != EMPTY {
                self.put(slot);
            }
        }
    }

    fn put(&mut self, slot: Slot) {
        let mut position = self.home(slot.hash);
        while self.slots[position] != EMPTY {
            position = self.after(position);
        }
        self.slots[position] = slot;
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn after(&self, position: usize) -> usize {
        (position + 1) & (self.slots.len() - 1)
    }
}

/// The same in every process: which slots are taken decides nothing, but ways should be as long
/// everywhere.
pub(super) fn hash(path: &Path) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_str().as_bytes());
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_index_finds_what_a_map_finds(steps in prop::collection::vec((0..300u32, any::<bool>()), 1..800)) {
            let paths: Vec<Path> =
                (0..300).map(|number| Path::parse(&format!("org/team{number}")).expect("a path")).collect();
            let mut index = PathIndex::default();
            let mut map = BTreeMap::new();
            for (number, add) in steps {
                let path = &paths[number as usize];
                if add && map.insert(path, number).is_none() {
                    index.insert(path, ScopeId(number));
                } else if !add && map.remove(path).is_some() {
                    index.remove(path, ScopeId(number));
                }
                for (number, path) in (0..).zip(&paths) {
                    let found = index.get(path, |id| &paths[id.0 as usize] == path);
                    prop_assert_eq!(found, map.get(path).map(|_| ScopeId(number)));
                }
            }
            prop_assert_eq!(index.used, map.len());
        }
    }
}
