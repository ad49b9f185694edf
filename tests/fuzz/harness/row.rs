//! A record of rows of the state.

use quorate::codec::keys;
use quorate::codec::rows;

use super::decimals;
use super::seen;

/// Decodes it as a restart does.
pub fn run(bytes: &[u8]) {
    let rows = match rows::decode(bytes, &decimals) {
        Ok(rows) => rows,
        Err(corrupt) => return seen::note(seen::problem(&corrupt)),
    };
    let encoded = rows::encode(&rows);
    seen::understood("row", &encoded[1..]);
    let again = rows::decode(&encoded, &decimals).expect("what was encoded can be decoded");
    assert_eq!(again, rows, "rows mean something else when they are encoded again");
    assert_eq!(rows::encode(&again), encoded, "equal rows have equal bytes");
    for row in rows {
        let key = keys::record(row.key());
        let (first, end) = keys::ROWS;
        assert!(first < key.as_slice() && key.as_slice() < end, "{:?} lies outside the rows", row.key());
    }
}
