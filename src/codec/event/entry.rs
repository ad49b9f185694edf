//! What was asked, from the events that it led to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Corrupt;
use super::WHAT;
use super::array;
use crate::codec::batch::fingerprint_of;
use crate::codec::command;
use crate::codec::command::Logged;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::apply::RefusedClock;
use crate::ledger::apply::Stamp;
use crate::proto::v1;
use crate::proto::v1::event::Body as Message;

/// What led to events that stand at one position of the log: the stamp and the requests, without those
/// that led to none. The commands are taken out of the events; each is what its fingerprint says.
pub fn decode_entry(events: &mut [v1::Event]) -> Result<(Stamp, Vec<Request>), Corrupt> {
    let Some(time) = events.first().map(|first| first.log_time_ms) else {
        return Err(Corrupt::new(WHAT, "an entry without events says nothing"));
    };
    let mut refused = None;
    let mut requests: Vec<Request> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut parts = Vec::new();
    for event in events {
        if event.log_time_ms != time {
            return Err(at(event, "has another log time than the others of its log entry"));
        }
        match &event.body {
            Some(Message::TimeRefused(body)) => {
                refused = Some(RefusedClock { clock: body.clock_ms, node: body.node_id });
            }
            _ if event.request_id.is_empty() => {}
            _ => {
                let asked = match (event.command.take(), event.batch.take(), event.part) {
                    (Some(command), None, None) => Logged::One(command),
                    (None, Some(batch), None) => Logged::Batch(batch),
                    (command, None, Some(part)) => {
                        parts.extend(command);
                        if part.index.saturating_add(1) < part.of {
                            continue;
                        }
                        in_parts(std::mem::take(&mut parts), part.of)
                    }
                    _ => return Err(at(event, "does not say what was asked")),
                };
                let request = request(event, asked)?;
                if !seen.insert(request.id) {
                    return Err(at(event, "answers a request that was answered before"));
                }
                requests.push(request);
            }
        }
    }
    if !parts.is_empty() {
        return Err(Corrupt::new(WHAT, "the last events of a request are missing"));
    }
    Ok((Stamp { time, refused }, requests))
}

/// A batch has as many commands as events; a plan and a template are one command.
fn in_parts(mut commands: Vec<v1::BatchCommand>, of: u32) -> Logged {
    use v1::batch_command::Command::ApplyPlan;
    use v1::batch_command::Command::ApplyTemplate;
    let is_document =
        |command: &v1::BatchCommand| matches!(command.command, Some(ApplyPlan(_) | ApplyTemplate(_)));
    if commands.len() == 1 && (of > 1 || commands.iter().all(is_document)) {
        return Logged::One(commands.remove(0));
    }
    Logged::Batch(v1::BatchRequest { atomic: true, commands, ..Default::default() })
}

fn request(event: &v1::Event, asked: Logged) -> Result<Request, Corrupt> {
    let id = uuid::Uuid::parse_str(&event.request_id).map_err(|error| Corrupt::new(WHAT, error))?;
    let recorded = array(&event.fingerprint, WHAT, "fingerprint")?;
    let (fingerprint, asked) = fingerprint_of(asked);
    if fingerprint != recorded {
        return Err(at(event, "its fingerprint is not that of its command"));
    }
    let command = command::decode_logged(asked).map_err(|error| at(event, &error.to_string()))?;
    Ok(Request {
        id: RequestId::from_bytes(id.into_bytes()).map_err(|problem| Corrupt::new(WHAT, problem))?,
        fingerprint: recorded,
        actor: Arc::from(event.actor.as_str()),
        reason: Arc::from(event.reason.as_str()),
        command,
    })
}

fn at(event: &v1::Event, problem: &str) -> Corrupt {
    Corrupt::new(WHAT, format!("event {}: {problem}", event.revision))
}
