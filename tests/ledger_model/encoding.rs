//! What is written reads back as it was.

use proptest::prelude::*;
use prost::Message as _;
use quorate::codec::batch;
use quorate::codec::block;
use quorate::codec::command;
use quorate::codec::event;
use quorate::codec::keys;
use quorate::codec::local;
use quorate::codec::rows;
use quorate::codec::verdict;
use quorate::ledger::Cause;
use quorate::ledger::Command;
use quorate::ledger::Event;
use quorate::ledger::Request;
use quorate::ledger::ResourceId;
use quorate::ledger::Stamp;
use quorate::ledger::State;
use quorate::ledger::outcome::Verdict;
use quorate::ledger::rows::Row;
use quorate::proto::storage::v1 as storage;
use quorate::proto::v1;

pub fn check_requests(stamp: Stamp, requests: &[Request]) -> Result<(), TestCaseError> {
    let encoded = batch::encode(&stamp, requests);
    let decoded = batch::decode(&encoded).expect("what was encoded can be decoded");
    prop_assert_eq!((decoded.stamp, decoded.requests.as_slice()), (stamp, requests));
    prop_assert_eq!(decoded.commands, batch::commands(requests));
    for request in requests {
        prop_assert_eq!(batch::encoded(request), batch::encode_request(request).encode_to_vec());
    }
    Ok(())
}

pub fn check_verdict(verdict: &Verdict) -> Result<(), TestCaseError> {
    let decoded = verdict::decode(verdict::encode(verdict));
    prop_assert_eq!(decoded.as_ref(), Ok(verdict), "a verdict reads back differently");
    Ok(())
}

/// The message of one command.
fn one(command: &Command) -> v1::BatchCommand {
    v1::BatchCommand { tag: 0, command: Some(command::encode(command)) }
}

/// The events of an entry are stored as their messages say, with what was asked and why.
pub fn check_block(requests: &[Request], events: &[Event]) -> Result<(), TestCaseError> {
    let commands = batch::commands(requests);
    let position = event::Position { term: 1, index: 2 };
    let stored = event::write_entry(events, requests, &commands, position);
    let messages = block::decode(&stored).expect("a block was just written");
    let encoded = local::framed(&storage::EventBlock { events: messages.clone() });
    prop_assert_eq!(&encoded, &stored, "events are not stored as messages are encoded");
    for (message, event) in messages.iter().zip(events) {
        let mut decided = event::encode(event, position);
        let asked = match &event.cause {
            Cause::Request { id, .. } => requests.iter().find(|request| request.id == *id),
            Cause::Time => None,
        };
        decided.reason = asked.map(|request| request.reason.to_string()).unwrap_or_default();
        let is_first = event.part.is_none_or(|part| part.index == 0);
        match asked.map(|request| &request.command) {
            None => {}
            Some(Command::Batch(batch)) if event.part.is_some() => {
                let index = event.part.map_or(0, |part| part.index);
                decided.command = Some(one(&batch.commands()[index as usize]));
            }
            Some(Command::Batch(batch)) => {
                let commands = batch.commands().iter().map(one).collect();
                decided.batch = Some(v1::BatchRequest { atomic: true, commands, ..Default::default() });
            }
            Some(command) if is_first => decided.command = Some(one(command)),
            Some(_) => {}
        }
        prop_assert_eq!(message, &decided, "an event is stored as another");
    }
    Ok(())
}

/// An event reads back as it was written, with no more than the state before it at hand.
pub fn check_event(before: &State, event: &Event) -> Result<(), TestCaseError> {
    let message = event::encode(event, event::Position { term: 1, index: 2 });
    let bytes = message.encode_to_vec();
    let message = v1::Event::decode(bytes.as_slice()).expect("an event was just encoded");
    let decoded = event::decode(message, &decimals(before));
    prop_assert_eq!(decoded.as_ref(), Ok(event), "an event reads back differently");
    Ok(())
}

pub fn check_row(state: &State, row: &Row) -> Result<(), TestCaseError> {
    let decoded = rows::decode(&rows::encode([row]), &decimals(state));
    prop_assert_eq!(decoded.as_deref(), Ok(std::slice::from_ref(row)), "a row reads back differently");
    let record = rows::record_of(state, row.key());
    let decoded = record.as_deref().map(|record| rows::decode(record, &decimals(state)));
    let Some(Ok(together)) = decoded else {
        return Err(TestCaseError::fail(format!("the record of a row cannot be read: {decoded:?}")));
    };
    prop_assert!(together.contains(row), "a row is not in its record");
    prop_assert_eq!(record, Some(rows::encode(&together)), "a record is written in two ways");
    for other in &together {
        prop_assert_eq!(
            keys::record(other.key()),
            keys::record(row.key()),
            "a row is in the record of others"
        );
        let stands = state.row(other.key());
        prop_assert_eq!(stands.as_ref(), Some(other), "a record has rows that are not there");
    }
    Ok(())
}

/// How many decimals resources have, as the codec asks for it.
fn decimals(state: &State) -> impl Fn(ResourceId) -> Option<u8> {
    |id| state.resources().get(id.0 as usize).map(|resource| resource.decimals)
}
