//! The payload of a log entry: requests with the log time of the leader.

use std::sync::Arc;

use prost::Message as _;
use sha2::Digest as _;
use sha2::Sha256;

use super::Corrupt;
use super::array;
use super::command;
use super::required;
use crate::ledger::Command;
use crate::ledger::Fingerprint;
use crate::ledger::LogTime;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::proto::storage::v1 as storage;

const WHAT: &str = "a batch of the log";

/// Tells repeats of a command from other commands: the start of the SHA-256 of its canonical
/// encoding. Who asks is no part of it.
pub fn fingerprint(command: &Command) -> Fingerprint {
    let message = storage::Request { command: Some(command::encode(command)), ..Default::default() };
    let digest = Sha256::digest(message.encode_to_vec());
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&digest[..16]);
    fingerprint
}

/// The message of a request.
pub fn encode_request(request: &Request) -> storage::Request {
    storage::Request {
        request_id: request.id.to_bytes().to_vec(),
        fingerprint: request.fingerprint.to_vec(),
        actor: request.actor.to_string(),
        command: Some(command::encode(&request.command)),
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
        command: command::decode(command).map_err(Corrupt::from_malformed(WHAT))?,
    })
}

/// How many bytes a request takes in a log entry.
pub fn size(request: &Request) -> usize {
    encode_request(request).encoded_len()
}

/// Requests as the payload of one log entry.
pub fn encode(time: LogTime, requests: &[Request]) -> Vec<u8> {
    let requests = requests.iter().map(encode_request).collect();
    storage::Batch { log_time_ms: time, requests }.encode_to_vec()
}

/// The requests of a log entry.
pub fn decode(bytes: &[u8]) -> Result<(LogTime, Vec<Request>), Corrupt> {
    let batch = storage::Batch::decode(bytes).map_err(|error| Corrupt::new(WHAT, error))?;
    let requests = batch.requests.into_iter().map(decode_request).collect::<Result<_, _>>()?;
    Ok((batch.log_time_ms, requests))
}
