//! A line of an export in JSON, which is encoded at once where that can be done.

use prost::Message as _;
use quorate::codec::json;
use quorate::proto::v1;

use super::seen;

/// Reads one in both ways.
pub fn run(bytes: &[u8]) {
    let message = serde_json::from_slice::<v1::ExportRecord>(bytes);
    match (json::record(bytes), message) {
        (Some(encoded), Ok(message)) => {
            seen::understood("record", &encoded);
            assert_eq!(encoded, message.encode_to_vec(), "a record is encoded as another");
        }
        (Some(_), Err(error)) => panic!("what is no record was encoded: {error}"),
        (None, Ok(_)) => seen::note("a record in another form".to_owned()),
        (None, Err(error)) => seen::note(seen::problem(&error)),
    }
}
