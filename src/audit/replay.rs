//! Decides everything again: each log entry, from the commands that its events carry, by the same rules
//! and on a state that began empty. Whatever comes out must be what is recorded.
//!
//! Entries have to be decided one after the other; what came out of each can be compared with what is
//! recorded by somebody else meanwhile.

use std::fmt;
use std::sync::mpsc::SendError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::AuditError;
use crate::codec::batch;
use crate::codec::block;
use crate::codec::digest::StateDigest;
use crate::codec::event;
use crate::codec::event::Position;
use crate::codec::event::Recorded;
use crate::ledger;
use crate::ledger::Request;
use crate::ledger::ResourceId;
use crate::ledger::Revision;
use crate::ledger::State;

/// What is wrong with an event of which only the bytes differ from what was decided.
pub(super) const UNKNOWN: &str = "it has something in it that this program does not know, so that it cannot be judged: \
                                  use a newer version";

/// More events than one log entry leads to.
const MOST_OF_AN_ENTRY: usize = 1 << 20;

/// About so many events are compared at a time: waking somebody for each of them costs more than comparing.
const COMPARED_AT_ONCE: usize = 2_000;

/// What was decided of one log entry, and what is recorded of it.
#[derive(Debug)]
pub struct Decided {
    recorded: Vec<Recorded>,
    requests: Vec<Request>,
    events: Vec<ledger::Event>,
    position: Position,
}

impl Decided {
    /// Whether both are the same, byte for byte. Who asked and why is taken from the events: no rule looks at
    /// it, so that it is under the signature alone.
    pub fn compare(self) -> Result<(), AuditError> {
        let commands = batch::commands(&self.requests);
        let decided = event::write_entry(&self.events, &self.requests, &commands, self.position);
        let decided = block::events(&decided).expect("it was written just now");
        let mut recorded = self.recorded.iter();
        for (decided, event) in decided.into_iter().zip(&self.events) {
            match recorded.next() {
                Some(recorded) if recorded.bytes == decided => {}
                Some(recorded) => {
                    return Err(AuditError::event(event.revision, difference(&recorded.bytes, decided)));
                }
                None => {
                    let problem = format!("by the rules it happens, and is missing: {}", json(decided));
                    return Err(AuditError::event(event.revision, problem));
                }
            }
        }
        match recorded.next() {
            Some(more) => Err(AuditError::event(more.revision, "by the rules it does not happen")),
            None => Ok(()),
        }
    }
}

type Compare = Box<dyn FnMut(Decided) -> Result<(), AuditError>>;

/// Works with a replay whose comparing is done beside it. The first event that does not fit is told,
/// whoever finds it.
pub fn beside<T>(work: impl FnOnce(Replay) -> Result<T, AuditError>) -> Result<T, AuditError> {
    thread::scope(|scope| {
        // One is compared, one waits, and one grows: what is between the two is bounded.
        let (sender, decided) = sync_channel::<Vec<Decided>>(1);
        let comparing = scope.spawn(move || decided.into_iter().flatten().try_for_each(Decided::compare));
        let mut waiting = Waiting { entries: Vec::new(), events: 0, sender };
        let compare = Box::new(move |decided| waiting.push(decided));
        // The replay is dropped by who works with it, and what waits with it, which ends the comparing.
        let worked = work(Replay { compare, ..Replay::default() });
        comparing.join().expect("comparing does not panic")?;
        worked
    })
}

/// Decided entries on their way to who compares them. The rest goes when this is dropped.
struct Waiting {
    entries: Vec<Decided>,
    events: usize,
    sender: SyncSender<Vec<Decided>>,
}

impl Waiting {
    fn push(&mut self, decided: Decided) -> Result<(), AuditError> {
        // An entry that leads to nothing has what is recorded of it nevertheless.
        self.events += decided.recorded.len().max(decided.events.len());
        self.entries.push(decided);
        if self.events < COMPARED_AT_ONCE {
            return Ok(());
        }
        self.send().map_err(|_| AuditError::Checkpoint("an event before does not fit".to_owned()))
    }

    fn send(&mut self) -> Result<(), SendError<Vec<Decided>>> {
        self.events = 0;
        self.sender.send(std::mem::take(&mut self.entries))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Nobody takes it when something before does not fit, which is what will be told.
        let _ = self.send();
    }
}

/// A state that is made of events.
pub struct Replay {
    state: State,
    /// What becomes of an entry that was decided.
    compare: Compare,
    /// The events of the log entry that may go on, and its position.
    entry: Vec<Recorded>,
    at: Position,
    /// The position of the entry before.
    last: Position,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            state: State::default(),
            compare: Box::new(Decided::compare),
            entry: Vec::new(),
            at: Position::default(),
            last: Position::default(),
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Replay {
    /// The state after the last log entry that is complete.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The digest of the state.
    pub fn digest(&self) -> StateDigest {
        StateDigest::of(&self.state)
    }

    /// Whether an event stands in the log entry of the last one.
    pub fn is_within_entry_of(&self, event: &Recorded) -> bool {
        !self.entry.is_empty() && self.at == event.position
    }

    /// Takes in the next event. What it completes is decided again.
    pub fn push(&mut self, event: Recorded) -> Result<(), AuditError> {
        if !self.entry.is_empty() && self.at != event.position {
            self.finish()?;
        }
        if self.entry.is_empty() {
            if place(event.position) <= place(self.last) {
                let problem = "it stands at a place of the log that is not after that of the event before";
                return Err(AuditError::event(event.revision, problem));
            }
            self.at = event.position;
        }
        if self.entry.len() == MOST_OF_AN_ENTRY {
            let problem =
                format!("more than {MOST_OF_AN_ENTRY} events claim to stand at one place of the log");
            return Err(AuditError::event(event.revision, problem));
        }
        self.entry.push(event);
        Ok(())
    }

    /// The last event that was taken in, if all follow each other.
    fn last_revision(&self) -> Revision {
        self.state.revision() + self.entry.len() as u64
    }

    /// Says that no more events come: the last log entry is complete.
    pub fn finish(&mut self) -> Result<(), AuditError> {
        match self.decide()? {
            Some(decided) => (self.compare)(decided),
            None => Ok(()),
        }
    }

    fn decide(&mut self) -> Result<Option<Decided>, AuditError> {
        let mut recorded = std::mem::take(&mut self.entry);
        if recorded.is_empty() {
            return Ok(None);
        }
        let position = self.at;
        self.last = position;
        let first = self.state.revision() + 1;
        let (stamp, requests) =
            event::decode_entry(&mut recorded).map_err(|corrupt| AuditError::event(first, corrupt))?;
        let events = ledger::apply(&mut self.state, stamp, &requests).events;
        Ok(Some(Decided { recorded, requests, events, position }))
    }

    /// As `finish`, but leaves the state as it was after event `revision` of the last log entry.
    pub fn finish_at(&mut self, revision: Revision) -> Result<(), AuditError> {
        if self.last_revision() <= revision {
            return self.finish();
        }
        let mut before = self.state.clone();
        let events = self.entry.clone();
        // Now, and not by somebody else: only what is compared may be folded.
        self.decide()?.map_or(Ok(()), Decided::compare)?;
        // They are what was decided, so that they can be folded.
        for recorded in events {
            let number = before.revision() + 1;
            if number > revision {
                break;
            }
            let decimals =
                |id: ResourceId| before.resources().get(id.0 as usize).map(|resource| resource.decimals);
            let event = block::event(&recorded.bytes).and_then(|message| event::decode(message, &decimals));
            before.evolve(&event.map_err(|corrupt| AuditError::event(number, corrupt))?);
        }
        self.state = before;
        Ok(())
    }
}

/// By index first: terms may stay, an index rises.
fn place(position: Position) -> (u64, u64) {
    (position.index, position.term)
}

/// What is recorded, and what would be by the rules: the fields that differ.
fn difference(recorded: &[u8], decided: &[u8]) -> String {
    let fields = |event: &[u8]| match block::event(event).map(serde_json::to_value) {
        Ok(Ok(serde_json::Value::Object(fields))) => Ok(fields),
        Ok(Ok(other)) => Err(format!("it is no event: {other}")),
        Ok(Err(error)) => Err(format!("it cannot be shown: {error}")),
        Err(corrupt) => Err(corrupt.to_string()),
    };
    let (recorded, decided) = match (fields(recorded), fields(decided)) {
        (Ok(recorded), Ok(decided)) => (recorded, decided),
        (Err(problem), _) | (_, Err(problem)) => return problem,
    };
    let names: std::collections::BTreeSet<_> = recorded.keys().chain(decided.keys()).collect();
    let text = |value: Option<&serde_json::Value>| match value {
        Some(value) => value.to_string(),
        None => "nothing".to_owned(),
    };
    let differences: Vec<_> = names
        .into_iter()
        .filter(|name| recorded.get(*name) != decided.get(*name))
        .map(|name| {
            format!("{name} is {}, by the rules it is {}", text(recorded.get(name)), text(decided.get(name)))
        })
        .collect();
    if differences.is_empty() { UNKNOWN.to_owned() } else { differences.join("; ") }
}

fn json(event: &[u8]) -> String {
    let message = block::event(event).map(|event| serde_json::to_string(&event));
    match message {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => format!("an event that cannot be shown: {error}"),
        Err(corrupt) => corrupt.to_string(),
    }
}
