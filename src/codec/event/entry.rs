//! What was asked, from the events that it led to.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost::Message;

use super::Corrupt;
use super::Position;
use super::WHAT;
use super::array;
use super::stored::Happened;
use super::stored::Stored;
use crate::codec::batch::fingerprint_of;
use crate::codec::batch::fingerprint_of_encoded;
use crate::codec::command;
use crate::codec::command::Logged;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::Revision;
use crate::ledger::apply::RefusedClock;
use crate::ledger::apply::Stamp;
use crate::proto::v1;

/// An event as it is stored, with the request that it answers alone. Finding that out takes most of the
/// time of reading a log entry back, and can be done for each event by itself.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// As it is stored.
    pub bytes: Vec<u8>,
    /// Its position.
    pub revision: Revision,
    /// Where its command stands in the Raft log.
    pub position: Position,
    /// What is wrong with it is told when its log entry is read.
    request: Result<Option<Request>, Corrupt>,
}

impl Recorded {
    /// An event from its bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let event = Stored::new(&bytes)?;
        let request = match event.command {
            Some(command)
                if event.part.is_none() && event.batch.is_none() && !event.request_id.is_empty() =>
            {
                request(&event, Asked::One(command)).map(Some)
            }
            _ => Ok(None),
        };
        let (revision, position) = (event.revision, event.position);
        Ok(Self { bytes, revision, position, request })
    }
}

/// What led to events that stand at one position of the log: the stamp and the requests, without those
/// that led to none. Each command is what its fingerprint says. The requests are taken out of the events.
pub fn decode_entry(events: &mut [Recorded]) -> Result<(Stamp, Vec<Request>), Corrupt> {
    let mut time = None;
    let mut refused = None;
    let mut requests: Vec<Request> = Vec::with_capacity(events.len());
    let mut seen = BTreeSet::new();
    let mut parts: Vec<&[u8]> = Vec::new();
    for recorded in events {
        let event = Stored::new(&recorded.bytes)?;
        if *time.get_or_insert(event.time) != event.time {
            return Err(at(&event, "has another log time than the others of its log entry"));
        }
        if event.request_id.is_empty() {
            let happened = event.happened().map_err(|corrupt| at(&event, &corrupt.to_string()))?;
            if let Happened::TimeRefused(body) = happened {
                refused = Some(RefusedClock { clock: body.clock_ms, node: body.node_id });
            }
            continue;
        }
        let request = match std::mem::replace(&mut recorded.request, Ok(None))? {
            Some(request) => request,
            None => match (event.command, event.batch, event.part) {
                (None, Some(batch), None) => request(&event, Asked::Batch(message(&event, batch)?))?,
                (command, None, Some(part)) => {
                    parts.extend(command);
                    if part.index.saturating_add(1) < part.of {
                        continue;
                    }
                    request(&event, in_parts(&event, &std::mem::take(&mut parts), part.of)?)?
                }
                _ => return Err(at(&event, "does not say what was asked")),
            },
        };
        if !seen.insert(request.id) {
            return Err(at(&event, "answers a request that was answered before"));
        }
        requests.push(request);
    }
    if !parts.is_empty() {
        return Err(Corrupt::new(WHAT, "the last events of a request are missing"));
    }
    let time = time.ok_or_else(|| Corrupt::new(WHAT, "an entry without events says nothing"))?;
    Ok((Stamp { time, refused }, requests))
}

/// What was asked.
enum Asked<'a> {
    /// As it is encoded.
    One(&'a [u8]),
    Batch(v1::BatchRequest),
}

/// A batch has as many commands as events; a plan and a template are one command.
fn in_parts<'a>(event: &Stored<'_>, commands: &[&'a [u8]], of: u32) -> Result<Asked<'a>, Corrupt> {
    use v1::batch_command::Command::ApplyPlan;
    use v1::batch_command::Command::ApplyTemplate;
    let messages = commands.iter().map(|command| message(event, command));
    let messages: Vec<v1::BatchCommand> = messages.collect::<Result<_, _>>()?;
    let is_document =
        |command: &v1::BatchCommand| matches!(command.command, Some(ApplyPlan(_) | ApplyTemplate(_)));
    Ok(match *commands {
        [command] if of > 1 || messages.iter().all(is_document) => Asked::One(command),
        _ => Asked::Batch(v1::BatchRequest { atomic: true, commands: messages, ..Default::default() }),
    })
}

fn message<T: Message + Default>(event: &Stored<'_>, bytes: &[u8]) -> Result<T, Corrupt> {
    T::decode(bytes).map_err(|error| at(event, &error.to_string()))
}

fn request(event: &Stored<'_>, asked: Asked<'_>) -> Result<Request, Corrupt> {
    let id = uuid::Uuid::parse_str(event.request_id).map_err(|error| Corrupt::new(WHAT, error))?;
    let (fingerprint, asked) = match asked {
        Asked::One(command) => (fingerprint_of_encoded(command), Logged::One(message(event, command)?)),
        Asked::Batch(batch) => (fingerprint_of(Logged::Batch(batch.clone())), Logged::Batch(batch)),
    };
    if fingerprint != array(event.fingerprint, WHAT, "fingerprint")? {
        return Err(at(event, "its fingerprint is not that of its command"));
    }
    let command = command::decode_logged(asked).map_err(|error| at(event, &error.to_string()))?;
    Ok(Request {
        id: RequestId::from_bytes(id.into_bytes()).map_err(|problem| Corrupt::new(WHAT, problem))?,
        fingerprint,
        actor: Arc::from(event.actor),
        reason: Arc::from(event.reason),
        command,
    })
}

fn at(event: &Stored<'_>, problem: &str) -> Corrupt {
    Corrupt::new(WHAT, format!("event {}: {problem}", event.revision))
}
