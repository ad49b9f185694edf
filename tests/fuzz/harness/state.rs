//! All records of a state, as a checkpoint has them.

use quorate::codec::Corrupt;
use quorate::codec::local;
use quorate::codec::rows;
use quorate::ledger::ResourceId;
use quorate::ledger::State;
use quorate::ledger::rows::Row;
use quorate::proto::storage::v1 as storage;

use super::seen;

/// Most scopes that a state of this harness may have had: each takes room, gone or not.
const MOST_SCOPES: u32 = 10_000;

/// The records in one message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Records {
    /// In the order of their keys.
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<storage::Record>,
}

/// Loads them as a restart does: they make a state that has exactly these rows, or none.
pub fn run(bytes: &[u8]) {
    let Ok(message) = <Records as prost::Message>::decode(bytes) else {
        return;
    };
    let rows = match decode(&message) {
        Ok(rows) => rows,
        Err(corrupt) => return seen::note(seen::problem(&corrupt)),
    };
    let is_large = |row: &Row| matches!(row, Row::Ledger { next_scope, .. } if next_scope.0 > MOST_SCOPES);
    if rows.iter().any(is_large) {
        return;
    }
    match State::from_rows(rows.iter().cloned()) {
        Ok(state) => {
            seen::understood("state", bytes);
            assert!(state.rows().eq(rows), "a state has other rows than those it was loaded from");
        }
        Err(problem) => seen::note(seen::problem(&problem)),
    }
}

fn decode(message: &Records) -> Result<Vec<Row>, Corrupt> {
    let mut decimals: Vec<u8> = Vec::new();
    let mut all = Vec::new();
    for record in &message.records {
        let known = |id: ResourceId| decimals.get(id.0 as usize).copied();
        for row in rows::decode(&local::framed(record), &known)? {
            if let Row::Resource(_, resource) = &row {
                decimals.push(resource.decimals);
            }
            all.push(row);
        }
    }
    Ok(all)
}
