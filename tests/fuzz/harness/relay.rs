//! What nodes send each other on behalf of clients, and what clients read of a refusal.

use bytes::Bytes;
use prost::Message as _;
use quorate::client;
use quorate::codec::batch;
use quorate::codec::rejection;
use quorate::codec::verdict;
use quorate::proto::peer::v1 as peer;
use tonic::Code;
use tonic::Status;

use super::kind;
use super::seen;

/// How many kinds there are.
pub const KINDS: usize = 3;

/// Decodes one as its receiver does.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = kind(bytes, KINDS) else {
        return;
    };
    match kind {
        0 => forward(bytes),
        1 => reply(bytes),
        _ => details(bytes),
    }
}

fn forward(bytes: &[u8]) {
    let Ok(message) = peer::ForwardRequest::decode(bytes) else {
        return;
    };
    for message in message.requests {
        match batch::decode_request(message) {
            Ok(request) => {
                let encoded = batch::encode_request(&request);
                seen::understood("request", &encoded.encode_to_vec());
                let again = batch::decode_request(encoded).expect("a request");
                assert_eq!(again, request, "a request means something else when it is encoded again");
            }
            Err(corrupt) => seen::note(seen::problem(&corrupt)),
        }
    }
}

fn reply(bytes: &[u8]) {
    let Ok(message) = peer::ForwardReply::decode(bytes) else {
        return;
    };
    for message in message.outcomes.into_iter().filter_map(|outcome| outcome.verdict) {
        match verdict::decode(message) {
            Ok(told) => {
                let encoded = verdict::encode(&told);
                seen::understood("verdict", &encoded.encode_to_vec());
                let again = verdict::decode(encoded).expect("a verdict");
                assert_eq!(again, told, "a verdict means something else when it is encoded again");
            }
            Err(corrupt) => seen::note(seen::problem(&corrupt)),
        }
    }
}

fn details(bytes: &[u8]) {
    let status = Status::with_details(Code::FailedPrecondition, "", Bytes::copy_from_slice(bytes));
    let Some(message) = client::rejection_of(&status) else {
        return;
    };
    match rejection::decode(message) {
        Ok(decoded) => {
            let encoded = rejection::encode(&decoded);
            seen::understood("details", &encoded.encode_to_vec());
            let again = rejection::decode(encoded).expect("a rejection");
            assert_eq!(again, decoded, "a rejection means something else when it is encoded again");
        }
        Err(corrupt) => seen::note(seen::problem(&corrupt)),
    }
}
