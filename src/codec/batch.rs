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
use super::fields::Fields;
use super::fields::Writer;
use super::required;
use crate::ledger::Command;
use crate::ledger::Fingerprint;
use crate::ledger::Name;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::apply::RefusedClock;
use crate::ledger::apply::Stamp;
use crate::ledger::command::MAX_BATCH;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;

const WHAT: &str = "a batch of the log";

/// The fields of a request with its command: one, or many.
const ONE: u32 = 16;
const BATCH: u32 = 17;

/// Tells repeats of a command from other commands: the start of the SHA-256 of its canonical
/// encoding. Who asks is no part of it.
pub fn fingerprint(command: &Command) -> Fingerprint {
    match command::write_plain_reserve(command) {
        Some(command) => fingerprint_of_encoded(&command),
        None => fingerprint_of(command::encode_logged(command)),
    }
}

/// The fingerprint of a command in its canonical encoding.
pub(super) fn fingerprint_of(command: Logged) -> Fingerprint {
    let message = storage::Request { command: Some(command), ..Default::default() };
    digest(&message.encode_to_vec())
}

/// The fingerprint of one command that is encoded already.
pub(super) fn fingerprint_of_encoded(command: &[u8]) -> Fingerprint {
    let mut request = Vec::with_capacity(8 + command.len());
    Writer(&mut request).encoded(ONE, command);
    digest(&request)
}

fn digest(request: &[u8]) -> Fingerprint {
    let digest = Sha256::digest(request);
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&digest[..16]);
    fingerprint
}

/// The commands of requests as they stand in a log entry: see [`Decoded::commands`].
pub fn commands(requests: &[Request]) -> Vec<Vec<u8>> {
    let encode = |request: &Request| match command::encode_logged(&request.command) {
        Logged::One(command) => command.encode_to_vec(),
        Logged::Batch(_) => Vec::new(),
    };
    requests.iter().map(encode).collect()
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
    let command = required(message.command, WHAT, "the command")?;
    Ok(Request {
        id: request_id(&message.request_id)?,
        fingerprint: array(&message.fingerprint, WHAT, "fingerprint")?,
        actor: Arc::from(message.actor),
        reason: Arc::from(message.reason),
        command: logged(command)?,
    })
}

/// A request as it stands in a log entry: it is encoded once, however often it is tried.
pub fn encoded(request: &Request) -> Vec<u8> {
    let Some(command) = command::write_plain_reserve(&request.command) else {
        return encode_request(request).encode_to_vec();
    };
    let mut bytes = Vec::with_capacity(command.len() + request.actor.len() + request.reason.len() + 48);
    let mut fields = Writer(&mut bytes);
    fields.bytes(1, &request.id.to_bytes());
    fields.bytes(2, &request.fingerprint);
    fields.text(3, &request.actor);
    fields.text(4, &request.reason);
    fields.encoded(ONE, &command);
    bytes
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

/// What a log entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// What the leader says about time.
    pub stamp: Stamp,
    /// What is asked, in order.
    pub requests: Vec<Request>,
    /// The command of each as it stands there, a `BatchCommand`; nothing of an atomic batch, which has many.
    pub commands: Vec<&'a [u8]>,
}

/// What a log entry says.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Corrupt> {
    let mut stamp = Stamp::from(0);
    let (mut refused_clock, mut refused_node) = (None, 0);
    // Not far too few, as most are, and not too many when few of them are large.
    let usual = (bytes.len() / USUAL).min(MAX_BATCH);
    let (mut requests, mut commands) = (Vec::with_capacity(usual), Vec::with_capacity(usual));
    let mut names = Names::default();
    let mut fields = Fields::new(WHAT, bytes);
    while let Some(field) = fields.next() {
        match field? {
            (1, value) => stamp.time = fields.number(value)?,
            (2, value) => {
                let (request, command) = decode_encoded(fields.bytes(value)?, &mut names)?;
                requests.push(request);
                commands.push(command);
            }
            (3, value) => refused_clock = Some(fields.number(value)?),
            (4, value) => refused_node = fields.number(value)?,
            _ => {}
        }
    }
    stamp.refused = refused_clock.map(|clock| RefusedClock { clock, node: refused_node });
    Ok(Decoded { stamp, requests, commands })
}

/// About so many bytes a request has.
const USUAL: usize = 128;

/// Names that the requests of an entry have in common, mostly: those of the one before.
#[derive(Default)]
struct Names {
    actor: Arc<str>,
    reason: Arc<str>,
    resource: Option<Name>,
}

/// A text that need not be made once more when it is the last one again.
pub(crate) fn again(last: &mut Arc<str>, text: &str) -> Arc<str> {
    if **last != *text {
        *last = Arc::from(text);
    }
    Arc::clone(last)
}

/// A request with its command as it stands there.
fn decode_encoded<'a>(bytes: &'a [u8], names: &mut Names) -> Result<(Request, &'a [u8]), Corrupt> {
    let (mut id, mut fingerprint): (&[u8], &[u8]) = (&[], &[]);
    let (mut actor, mut reason) = ("", "");
    let mut asked = None;
    let mut command: &[u8] = &[];
    let corrupt = |error: prost::DecodeError| Corrupt::new(WHAT, error);
    let mut fields = Fields::new(WHAT, bytes);
    while let Some(field) = fields.next() {
        match field? {
            (1, value) => id = fields.bytes(value)?,
            (2, value) => fingerprint = fields.bytes(value)?,
            (3, value) => actor = fields.text(value)?,
            (4, value) => reason = fields.text(value)?,
            (ONE, value) => {
                command = fields.bytes(value)?;
                asked = Some(match command::read_plain_reserve(command, &mut names.resource) {
                    Some(reserve) => reserve,
                    None => logged(Logged::One(v1::BatchCommand::decode(command).map_err(corrupt)?))?,
                });
            }
            (BATCH, value) => {
                command = &[];
                let batch = v1::BatchRequest::decode(fields.bytes(value)?).map_err(corrupt)?;
                asked = Some(logged(Logged::Batch(batch))?);
            }
            _ => {}
        }
    }
    let request = Request {
        id: request_id(id)?,
        fingerprint: array(fingerprint, WHAT, "fingerprint")?,
        actor: again(&mut names.actor, actor),
        reason: again(&mut names.reason, reason),
        command: required(asked, WHAT, "the command")?,
    };
    Ok((request, command))
}

fn logged(message: Logged) -> Result<Command, Corrupt> {
    command::decode_logged(message).map_err(Corrupt::from_malformed(WHAT))
}

fn request_id(bytes: &[u8]) -> Result<RequestId, Corrupt> {
    RequestId::from_bytes(array(bytes, WHAT, "request_id")?).map_err(|problem| Corrupt::new(WHAT, problem))
}
