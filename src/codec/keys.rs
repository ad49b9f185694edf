//! Every key in the stores of a node. Numbers are big-endian, so that byte order is their order.
//!
//! | store | space | key | value |
//! |---|---|---|---|
//! | log | Meta | `identity` | format byte, then bincode: cluster and node id |
//! | log | Meta | `signing-key` | format byte, then the 32 secret bytes of the node's key |
//! | log | Meta | `vote` | format byte, then bincode of the vote |
//! | log | Meta | `committed` | format byte, then bincode of the last committed log id |
//! | log | Meta | `purged` | format byte, then bincode of the last purged log id |
//! | log | Entries | index, 8 bytes | format byte, then `quorate.storage.v1.Entry` |
//! | state | Meta | `applied` | format byte, then `quorate.storage.v1.Applied` |
//! | state | Meta | `checkpoint` | format byte, then the revision of the rows, 8 bytes |
//! | state | Events | first revision, 8 bytes | format byte, then `quorate.storage.v1.EventBlock` |
//! | state | Rows | tag, then as below | format byte, then `quorate.storage.v1.Record` |
//! | state | Views | 1, revision in 8 bytes | format byte, then how many rows this keyframe has, 8 bytes |
//! | state | Views | 1, revision in 8 bytes, key of a record | a record of this keyframe, as in Rows |
//!
//! | tag | rows | rest of the key |
//! |---|---|---|
//! | 1 | ledger | – |
//! | 2 | resource | number, 4 bytes |
//! | 3 | template | number, 4 bytes |
//! | 4 | scope | number, 4 bytes |
//! | 5 | account | scope, 4 bytes; resource, 4 bytes |
//! | 6 | transfer | revision that made it, 8 bytes |
//! | 7 | up to eight holds | the revisions that created them, without the last three bits; 8 bytes |
//! | 8 | closed hold | revision that closed it, 8 bytes |
//! | 9 | up to 16 requests | their ids, without the last four bits; 16 bytes |
//!
//! Tags are never used again for something else. Holds and requests come by the thousand, and each key costs
//! more than what is stored under it: so those that stand together share one, as the requests of a batch do,
//! whose ids are numbered. Not too many: when one of them changes, all are written.

use std::ops::RangeInclusive;

use crate::ledger::HoldId;
use crate::ledger::RequestId;
use crate::ledger::Revision;
use crate::ledger::rows::RowKey;

/// Who this node is.
pub const IDENTITY: &[u8] = b"identity";
/// What this node signs with.
pub const SIGNING_KEY: &[u8] = b"signing-key";
/// The last vote.
pub const VOTE: &[u8] = b"vote";
/// The last committed log id this node knew of.
pub const COMMITTED: &[u8] = b"committed";
/// The last purged log id.
pub const PURGED: &[u8] = b"purged";
/// How far the state has come.
pub const APPLIED: &[u8] = b"applied";
/// The revision of the rows.
pub const CHECKPOINT: &[u8] = b"checkpoint";

/// The first byte of every value: the version of its format.
pub const FORMAT: u8 = 1;

/// The key of a log entry.
pub fn entry(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The key of an event block.
pub fn block(first: Revision) -> [u8; 8] {
    first.to_be_bytes()
}

/// The index or revision in a key of 8 bytes.
pub fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// How many of the last bits of a hold's number its key leaves out, wherever holds lie together.
pub const HOLD_BITS: u32 = 3;

/// How many of the last bits of a request id its key leaves out.
const REQUEST_BITS: u32 = 4;

/// The key of the record with a row.
pub fn record(key: RowKey) -> Vec<u8> {
    let (tag, rest): (u8, &[&[u8]]) = match &key {
        RowKey::Ledger => (1, &[]),
        RowKey::Resource(id) => (2, &[&id.0.to_be_bytes()]),
        RowKey::Template(id) => (3, &[&id.0.to_be_bytes()]),
        RowKey::Scope(id) => (4, &[&id.0.to_be_bytes()]),
        RowKey::Account(scope, resource) => (5, &[&scope.0.to_be_bytes(), &resource.0.to_be_bytes()]),
        RowKey::Transfer(id) => (6, &[&id.to_be_bytes()]),
        RowKey::Hold(id) => (7, &[&(id >> HOLD_BITS).to_be_bytes()]),
        RowKey::Closed(revision) => (8, &[&revision.to_be_bytes()]),
        RowKey::Request(id) => (9, &[&(u128::from_be_bytes(id.to_bytes()) >> REQUEST_BITS).to_be_bytes()]),
    };
    let mut bytes = Vec::with_capacity(1 + rest.iter().map(|part| part.len()).sum::<usize>());
    bytes.push(tag);
    rest.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// The numbers of the holds that lie in the record with one.
pub fn holds_beside(id: HoldId) -> RangeInclusive<HoldId> {
    let others = (1 << HOLD_BITS) - 1;
    id & !others..=id | others
}

/// The ids of the requests that lie in the record with one.
pub fn requests_beside(id: RequestId) -> RangeInclusive<RequestId> {
    let others = (1 << REQUEST_BITS) - 1;
    let id = u128::from_be_bytes(id.to_bytes());
    let of = |id: u128| RequestId::floor_from_bytes(id.to_be_bytes());
    of(id & !others)..=of(id | others)
}

/// Before the first and after the last record.
pub const ROWS: (&[u8], &[u8]) = (&[0], &[0xFF]);

/// Before the first requests: these are the last records.
pub const REQUESTS: &[u8] = &[9];

/// What the keys of keyframes begin with, among the views.
const KEYFRAME: u8 = 1;

/// Before the first and after the last keyframe.
pub const KEYFRAMES: (&[u8], &[u8]) = (&[KEYFRAME], &[KEYFRAME + 1]);

/// The key of a keyframe, before those of its records.
pub fn keyframe(revision: Revision) -> Vec<u8> {
    let mut bytes = vec![KEYFRAME];
    bytes.extend_from_slice(&revision.to_be_bytes());
    bytes
}

/// The revision of a keyframe in its key, or in that of one of its records; and whether it is that of a
/// record.
pub fn keyframe_of(key: &[u8]) -> Option<(Revision, bool)> {
    let (revision, row) = key.strip_prefix(&[KEYFRAME])?.split_first_chunk()?;
    Some((Revision::from_be_bytes(*revision), !row.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ResourceId;
    use crate::ledger::ScopeId;
    use crate::ledger::rows::TemplateId;

    #[test]
    fn records_have_the_same_order_as_their_rows() {
        let request = |time: u8| RequestId::floor_from_bytes([time; 16]);
        let ordered = [
            RowKey::Ledger,
            RowKey::Resource(ResourceId(0)),
            RowKey::Resource(ResourceId(256)),
            RowKey::Template(TemplateId(1)),
            RowKey::Scope(ScopeId(1)),
            RowKey::Scope(ScopeId(0x0100_0000)),
            RowKey::Account(ScopeId(1), ResourceId(2)),
            RowKey::Account(ScopeId(2), ResourceId(1)),
            RowKey::Transfer(7),
            RowKey::Hold(1),
            RowKey::Hold(1 << 40),
            RowKey::Closed(2),
            RowKey::Request(request(1)),
            RowKey::Request(request(200)),
        ];
        assert!(ordered.is_sorted());
        assert!(ordered.map(record).is_sorted());
        for key in ordered.map(record) {
            assert!(ROWS.0 < key.as_slice() && key.as_slice() < ROWS.1);
        }
        assert!(
            ordered
                .map(|key| (key, record(key)))
                .iter()
                .all(|(key, bytes)| { matches!(key, RowKey::Request(_)) == (bytes.as_slice() >= REQUESTS) })
        );
    }

    #[test]
    fn those_that_stand_together_share_a_record() {
        for id in [0, 7, 8, 12_345, Revision::MAX] {
            let beside = holds_beside(id);
            assert!(beside.contains(&id) && beside.end() - beside.start() == 7);
            for other in [*beside.start(), *beside.end()] {
                assert_eq!(record(RowKey::Hold(other)), record(RowKey::Hold(id)));
            }
            let outside = [beside.start().checked_sub(1), beside.end().checked_add(1)];
            for other in outside.into_iter().flatten() {
                assert_ne!(record(RowKey::Hold(other)), record(RowKey::Hold(id)));
            }
        }
        let request = |random| RequestId::made_at(1_000, random);
        let id = request(0xABC5);
        let beside = requests_beside(id);
        for other in [request(0xABC0), request(0xABCF)] {
            assert!(beside.contains(&other));
            assert_eq!(record(RowKey::Request(other)), record(RowKey::Request(id)));
        }
        for other in [request(0xABBF), request(0xABD0), RequestId::made_at(1_001, 0xABC5)] {
            assert!(!beside.contains(&other));
            assert_ne!(record(RowKey::Request(other)), record(RowKey::Request(id)));
        }
    }

    #[test]
    fn the_records_of_a_keyframe_come_after_it_and_before_the_next() {
        let of = |revision, key| [keyframe(revision), record(key)].concat();
        let ordered = [
            KEYFRAMES.0.to_vec(),
            keyframe(0),
            keyframe(255),
            of(255, RowKey::Ledger),
            of(255, RowKey::Closed(u64::MAX)),
            keyframe(256),
            of(Revision::MAX, RowKey::Closed(u64::MAX)),
            KEYFRAMES.1.to_vec(),
        ];
        assert!(ordered.is_sorted());
        assert_eq!(keyframe_of(&ordered[2]), Some((255, false)));
        assert_eq!(keyframe_of(&ordered[3]), Some((255, true)));
        assert_eq!(keyframe_of(KEYFRAMES.1), None);
        assert_eq!(keyframe_of(&keyframe(7)[..8]), None);
    }
}
