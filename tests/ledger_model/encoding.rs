//! What is written reads back as it was.

use proptest::prelude::*;
use prost::Message as _;
use quorate::codec::batch;
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
    prop_assert_eq!(batch::decode(&encoded), Ok((stamp, requests.to_vec())));
    Ok(())
}

pub fn check_verdict(verdict: &Verdict) -> Result<(), TestCaseError> {
    let decoded = verdict::decode(verdict::encode(verdict));
    prop_assert_eq!(decoded.as_ref(), Ok(verdict), "a verdict reads back differently");
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
