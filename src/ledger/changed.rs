//! Which rows changed since the last checkpoint.

use super::rows::RowKey;

/// Room is made at once for so many changes at most.
const EXPECTED: usize = 100_000;

/// So many places there are to remember that an account was noted; which of them is its own follows from its
/// numbers.
const RECENT: usize = 32;

/// The rows that changed, in that order. A row may be there more than once, but not for every command: the
/// accounts at the top of a tree change with each.
#[derive(Debug, Clone, Default)]
pub(super) struct Changed {
    keys: Vec<RowKey>,
    /// Where some accounts stand. They do so only if they are found there: the list may have become shorter.
    recent: [u32; RECENT],
}

impl Changed {
    pub(super) fn note(&mut self, key: RowKey) {
        if let RowKey::Account(scope, resource) = key {
            let place = &mut self.recent[(scope.0 ^ resource.0) as usize % RECENT];
            if self.keys.get(*place as usize) == Some(&key) {
                return;
            }
            // What stands too far behind to be told is noted again, that is all.
            *place = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        }
        self.keys.push(key);
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
    }

    /// Forgets what was noted since there were so many.
    pub(super) fn truncate(&mut self, len: usize) {
        self.keys.truncate(len);
    }

    /// All of them, ascending, each once.
    pub(super) fn take(&mut self) -> Vec<RowKey> {
        // As many will come until the next time, or about: room for them is made at once.
        let room = Vec::with_capacity(self.keys.len().min(EXPECTED));
        let mut keys = std::mem::replace(&mut self.keys, room);
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::super::resource::ResourceId;
    use super::super::scope::ScopeId;
    use super::*;

    #[test]
    fn what_was_taken_or_forgotten_is_noted_again() {
        let account = |scope| RowKey::Account(ScopeId(scope), ResourceId(0));
        let root = account(0);
        let other = account(u32::try_from(RECENT).expect("they are few"));
        let mut changed = Changed::default();
        let note = |changed: &mut Changed, keys: &[RowKey]| keys.iter().for_each(|key| changed.note(*key));
        note(&mut changed, &[RowKey::Ledger, root, root, RowKey::Hold(2), root]);
        assert_eq!(changed.len(), 3);
        // The two share a place.
        note(&mut changed, &[other, root, other, RowKey::Hold(1)]);
        assert_eq!(changed.take(), [RowKey::Ledger, root, other, RowKey::Hold(1), RowKey::Hold(2)]);
        note(&mut changed, &[root, other]);
        changed.truncate(1);
        note(&mut changed, &[RowKey::Hold(3), other]);
        assert_eq!(changed.take(), [root, other, RowKey::Hold(3)]);
        assert!(changed.is_empty());
        note(&mut changed, &[other]);
        assert_eq!(changed.take(), [other]);
    }
}
