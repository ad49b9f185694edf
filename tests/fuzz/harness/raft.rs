//! What the engines of two nodes send each other.

use std::fmt::Debug;

use prost::Message;
use quorate::codec::Corrupt;
use quorate::proto::peer::v1 as peer;
use quorate::raft::wire;

use super::kind;
use super::seen;

/// How many kinds there are.
pub const KINDS: usize = 7;

/// Decodes one as its receiver does.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = kind(bytes, KINDS) else {
        return;
    };
    match kind {
        0 => message(bytes, wire::decode_append, wire::encode_append),
        1 => message(bytes, wire::decode_append_result, wire::encode_append_result),
        2 => message(bytes, wire::decode_vote_request, wire::encode_vote_request),
        3 => message(bytes, wire::decode_vote_reply, wire::encode_vote_reply),
        4 => message(bytes, wire::decode_transfer, wire::encode_transfer),
        5 => message(bytes, wire::decode_transfer_reply, wire::encode_transfer_reply),
        _ => header(bytes),
    }
}

/// What is decoded has no equality of its own: what it shows of itself stands for it.
fn message<M: Message + Default + PartialEq + Debug, T: Debug>(
    bytes: &[u8],
    decode: impl Fn(M) -> Result<T, Corrupt>,
    encode: impl Fn(&T) -> M,
) {
    let Ok(message) = M::decode(bytes) else {
        return;
    };
    match decode(message) {
        Ok(decoded) => {
            let encoded = encode(&decoded);
            let bytes = encoded.encode_to_vec();
            seen::understood(std::any::type_name::<M>(), &bytes);
            let again = decode(M::decode(bytes.as_slice()).expect("a message"));
            let again = again.expect("what was encoded can be decoded");
            let (decoded, shown) = (format!("{decoded:?}"), format!("{again:?}"));
            assert_eq!(shown, decoded, "a message means something else when it is encoded again");
            assert_eq!(encode(&again), encoded, "equal messages have equal bytes");
        }
        Err(corrupt) => seen::note(seen::problem(&corrupt)),
    }
}

/// What comes before the files of a snapshot.
fn header(bytes: &[u8]) {
    let Ok(message) = peer::SnapshotHeader::decode(bytes) else {
        return;
    };
    let encode = |header: &peer::SnapshotHeader| {
        let vote = wire::decode_vote(header.vote)?;
        let last = wire::decode_log_id(header.last_log_id)?;
        let membership = wire::decode_stored_membership(header.last_membership.clone())?;
        Ok(peer::SnapshotHeader {
            vote: Some(wire::encode_vote(&vote)),
            last_log_id: last.map(wire::encode_log_id),
            last_membership: Some(wire::encode_stored_membership(&membership)),
            files: header.files.clone(),
        })
    };
    match encode(&message) {
        Ok(encoded) => {
            seen::understood("header", &encoded.encode_to_vec());
            assert_eq!(encode(&encoded), Ok::<_, Corrupt>(encoded.clone()), "a header means something else");
        }
        Err(corrupt) => seen::note(seen::problem(&corrupt)),
    }
}
