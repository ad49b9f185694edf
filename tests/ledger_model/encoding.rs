//! What is written reads back as it was.

use proptest::prelude::*;
use prost::Message as _;
use quorate::codec::batch;
use quorate::codec::block;
use quorate::codec::event;
use quorate::codec::rows;
use quorate::codec::verdict;
use quorate::ledger::Event;
use quorate::ledger::Request;
use quorate::ledger::ResourceId;
use quorate::ledger::Stamp;
use quorate::ledger::State;
use quorate::ledger::outcome::Verdict;
use quorate::ledger::rows::Row;
use quorate::proto::v1;

pub fn check_requests(stamp: Stamp, requests: &[Request]) -> Result<(), TestCaseError> {
    let encoded = batch::encode(&stamp, requests);
    let decoded = batch::decode(&encoded).expect("what was encoded can be decoded");
    prop_assert_eq!((decoded.stamp, decoded.requests.as_slice()), (stamp, requests));
    prop_assert_eq!(decoded.commands, batch::commands(requests));
    Ok(())
}

pub fn check_verdict(verdict: &Verdict) -> Result<(), TestCaseError> {
    let decoded = verdict::decode(verdict::encode(verdict));
    prop_assert_eq!(decoded.as_ref(), Ok(verdict), "a verdict reads back differently");
    Ok(())
}

/// The events of an entry are stored as their messages say.
pub fn check_block(requests: &[Request], events: &[Event]) -> Result<(), TestCaseError> {
    let commands = batch::commands(requests);
    let position = event::Position { term: 1, index: 2 };
    let stored = event::write_entry(events, requests, &commands, position);
    let mut messages = block::decode(&stored).expect("a block was just written");
    prop_assert_eq!(&block::encode(&messages), &stored, "events are not stored as messages are encoded");
    for (message, event) in messages.iter_mut().zip(events) {
        let mut decided = event::encode(event, position);
        decided.reason.clone_from(&message.reason);
        decided.command.clone_from(&message.command);
        decided.batch.clone_from(&message.batch);
        prop_assert_eq!(&*message, &decided, "an event is stored as another");
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
    let decoded = rows::decode(&rows::encode(row), &decimals(state));
    prop_assert_eq!(decoded.as_ref(), Ok(row), "a row reads back differently");
    Ok(())
}

/// How many decimals resources have, as the codec asks for it.
fn decimals(state: &State) -> impl Fn(ResourceId) -> Option<u8> {
    |id| state.resources().get(id.0 as usize).map(|resource| resource.decimals)
}
