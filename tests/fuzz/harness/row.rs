//! A row of the state.

use quorate::codec::keys;
use quorate::codec::rows;

use super::decimals;
use super::seen;

/// Decodes it as a restart does.
pub fn run(bytes: &[u8]) {
    let row = match rows::decode(bytes, &decimals) {
        Ok(row) => row,
        Err(corrupt) => return seen::note(seen::problem(&corrupt)),
    };
    let encoded = rows::encode(&row);
    seen::understood("row", &encoded[1..]);
    let again = rows::decode(&encoded, &decimals).expect("what was encoded can be decoded");
    assert_eq!(again, row, "a row means something else when it is encoded again");
    assert_eq!(rows::encode(&again), encoded, "equal rows have equal bytes");
    let key = keys::row(row.key());
    let (first, end) = keys::ROWS;
    assert!(first < key.as_slice() && key.as_slice() < end, "{:?} lies outside the rows", row.key());
}
