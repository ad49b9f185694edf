//! What a node keeps for itself besides rows and events.

use std::fmt::Debug;

use prost::Message as _;
use quorate::codec::local;
use quorate::proto::storage::v1 as storage;
use quorate::raft::identity::Identity;
use quorate::raft::types::LogId;
use quorate::raft::types::Vote;
use quorate::raft::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kind;
use super::seen;

/// How many kinds there are.
pub const KINDS: usize = 6;

/// Decodes one as a restart does.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = kind(bytes, KINDS) else {
        return;
    };
    match kind {
        0 => record::<Vote>(bytes),
        1 => record::<Option<LogId>>(bytes),
        2 => record::<LogId>(bytes),
        3 => record::<Identity>(bytes),
        4 => entry(bytes),
        _ => applied(bytes),
    }
}

fn record<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    match local::decode::<T>("a record", bytes) {
        Ok(record) => {
            seen::note(std::any::type_name::<T>().into());
            let again: T = local::decode("a record", &local::encode(&record)).expect("a record");
            assert_eq!(again, record, "a record means something else when it is encoded again");
        }
        Err(corrupt) => seen::note(seen::problem(&corrupt)),
    }
}

fn entry(bytes: &[u8]) {
    let decoded = local::message::<storage::Entry>("a log entry", bytes).and_then(wire::decode_entry);
    let entry = match decoded {
        Ok(entry) => entry,
        Err(corrupt) => return seen::note(seen::problem(&corrupt)),
    };
    let encoded = wire::encode_entry(&entry);
    seen::understood("entry", &encoded.encode_to_vec());
    let again: storage::Entry = local::message("a log entry", &local::framed(&encoded)).expect("a message");
    let again = wire::decode_entry(again).expect("what was encoded can be decoded");
    assert_eq!(format!("{again:?}"), format!("{entry:?}"), "an entry means something else");
    assert_eq!(wire::encode_entry(&again), encoded, "equal entries have equal messages");
}

fn applied(bytes: &[u8]) {
    let Ok(message) = local::message::<storage::Applied>("the applied record", bytes) else {
        return;
    };
    let log_id = wire::decode_log_id(message.log_id);
    let membership = wire::decode_stored_membership(message.membership);
    let (Ok(log_id), Ok(membership)) = (log_id, membership) else {
        return;
    };
    seen::note(format!("applied {}", log_id.is_some()));
    let again = wire::decode_log_id(log_id.map(wire::encode_log_id)).expect("a log id");
    assert_eq!(again, log_id, "a log id means something else when it is encoded again");
    let again = wire::decode_stored_membership(Some(wire::encode_stored_membership(&membership)));
    assert_eq!(again.expect("a membership"), membership, "a membership means something else");
}
