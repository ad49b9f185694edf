//! The payload of a log entry: requests with what the leader says about time.

use std::sync::Arc;

use prost::Message as _;
use prost::encoding::encode_varint;
use prost::encoding::encoded_len_varint;
use sha2::Digest as _;
use sha2::Sha256;

use super::Corrupt;
use super::array;
use super::command;
use super::command::Logged;
use super::required;
use crate::ledger::Command;
use crate::ledger::Fingerprint;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::apply::RefusedClock;
use crate::ledger::apply::Stamp;
use crate::proto::storage::v1 as storage;

const WHAT: &str = "a batch of the log";

/// Tells repeats of a command from other commands: the start of the SHA-256 of its canonical
/// encoding. Who asks is no part of it.
pub fn fingerprint(command: &Command) -> Fingerprint {
    fingerprint_of(command::encode_logged(command)).0
}

/// The fingerprint of a command in its canonical encoding, which is given back.
pub(super) fn fingerprint_of(command: Logged) -> (Fingerprint, Logged) {
    let message = storage::Request { command: Some(command), ..Default::default() };
    let digest = Sha256::digest(message.encode_to_vec());
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&digest[..16]);
    (fingerprint, message.command.expect("it was put there"))
}

/// The message of a request.
pub fn encode_request(request: &Request) -> storage::Request {
    storage::Request {
        request_id: request.id.to_bytes().to_vec(),
        fingerprint: request.fingerprint.to_vec(),
        actor: request.actor.to_string(),
        reason: request.reason.to_string(),
        command: Some(command::encode_logged(&request.command)),
    }
}

/// A request from its message.
pub fn decode_request(message: storage::Request) -> Result<Request, Corrupt> {
    let id = RequestId::from_bytes(array(&message.request_id, WHAT, "request_id")?)
        .map_err(|problem| Corrupt::new(WHAT, problem))?;
    let command = required(message.command, WHAT, "the command")?;
    Ok(Request {
        id,
        fingerprint: array(&message.fingerprint, WHAT, "fingerprint")?,
        actor: Arc::from(message.actor),
        reason: Arc::from(message.reason),
        command: command::decode_logged(command).map_err(Corrupt::from_malformed(WHAT))?,
    })
}

/// A request as it stands in a log entry: it is encoded once, however often it is tried.
pub fn encoded(request: &Request) -> Vec<u8> {
    encode_request(request).encode_to_vec()
}

/// Field 2 of a `Batch` with a length: what stands before each request.
const REQUEST: u8 = 0x12;

/// Encoded requests as the payload of one log entry.
pub fn join<'a>(stamp: &Stamp, requests: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let head = storage::Batch {
        log_time_ms: stamp.time,
        requests: Vec::new(),
        refused_clock_ms: stamp.refused.map(|refused| refused.clock),
        refused_node: stamp.refused.map_or(0, |refused| refused.node),
    };
    let length = |request: &[u8]| 1 + encoded_len_varint(request.len() as u64) + request.len();
    let mut payload = Vec::with_capacity(head.encoded_len() + requests.clone().map(length).sum::<usize>());
    head.encode_raw(&mut payload);
    for request in requests {
        payload.push(REQUEST);
        encode_varint(request.len() as u64, &mut payload);
        payload.extend_from_slice(request);
    }
    payload
}

/// Requests as the payload of one log entry.
pub fn encode(stamp: &Stamp, requests: &[Request]) -> Vec<u8> {
    let requests: Vec<_> = requests.iter().map(encoded).collect();
    join(stamp, requests.iter().map(Vec::as_slice))
}

/// The stamp and the requests of a log entry.
pub fn decode(bytes: &[u8]) -> Result<(Stamp, Vec<Request>), Corrupt> {
    let batch = storage::Batch::decode(bytes).map_err(|error| Corrupt::new(WHAT, error))?;
    let node = batch.refused_node;
    let refused = batch.refused_clock_ms.map(|clock| RefusedClock { clock, node });
    let requests = batch.requests.into_iter().map(decode_request).collect::<Result<_, _>>()?;
    Ok((Stamp { time: batch.log_time_ms, refused }, requests))
}
