//! Event blocks: the events of one log entry, as they are stored. What is proven of an event are its
//! bytes in here, so they are given out as they stand.

use prost::Message as _;
use prost::encoding::decode_varint;
use prost::encoding::encode_varint;

use super::Corrupt;
use super::fields::Writer;
use super::keys::FORMAT;
use super::local;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;

const WHAT: &str = "an event block";

/// Field 1 with a length: what stands before each event.
const EVENT: u8 = 0x0A;

/// About so many bytes an event has.
const USUAL: usize = 400;

/// The beginning of a block: an `EventBlock` with its format.
pub(super) fn begin(events: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(1 + events * USUAL);
    block.push(FORMAT);
    block
}

/// Adds an event to a block: what `write` writes.
pub(super) fn add(block: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    Writer(block).message(1, write);
}

/// The bytes of a block.
#[cfg(test)]
pub fn encode(events: &[v1::Event]) -> Vec<u8> {
    let mut block = begin(events.len());
    events.iter().for_each(|event| add(&mut block, |bytes| event.encode_raw(bytes.0)));
    block
}

/// The encoded events of a block, in order.
pub fn events(block: &[u8]) -> Result<Vec<&[u8]>, Corrupt> {
    split(local::payload(WHAT, block)?)
}

fn split(mut rest: &[u8]) -> Result<Vec<&[u8]>, Corrupt> {
    let mut events = Vec::new();
    while let Some((&tag, after)) = rest.split_first() {
        if tag != EVENT {
            return Err(Corrupt::new(WHAT, format!("{tag} is no tag of an event")));
        }
        rest = after;
        let length = decode_varint(&mut rest).map_err(|error| Corrupt::new(WHAT, error))?;
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        let length = length.ok_or_else(|| Corrupt::new(WHAT, "an event is longer than its block"))?;
        let (event, after) = rest.split_at(length);
        events.push(event);
        rest = after;
    }
    Ok(events)
}

/// Adds an encoded event to what becomes the `EventBlock` of others.
pub fn push(event: &[u8], into: &mut Vec<u8>) {
    into.push(EVENT);
    encode_varint(event.len() as u64, into);
    into.extend_from_slice(event);
}

/// The encoded events of an `EventBlock` as it is sent, without its format.
pub fn sent(block: &[u8]) -> Result<Vec<&[u8]>, Corrupt> {
    split(block)
}

/// One event from its bytes.
pub fn event(bytes: &[u8]) -> Result<v1::Event, Corrupt> {
    v1::Event::decode(bytes).map_err(|error| Corrupt::new("an event", error))
}

/// All events of a block.
pub fn decode(block: &[u8]) -> Result<Vec<v1::Event>, Corrupt> {
    Ok(local::message::<storage::EventBlock>(WHAT, block)?.events)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // Of small numbers.
mod tests {
    use super::*;

    fn numbered(revisions: &[u64]) -> Vec<v1::Event> {
        let event = |revision: &u64| v1::Event {
            revision: *revision,
            actor: "a".repeat(*revision as usize * 100),
            ..v1::Event::default()
        };
        revisions.iter().map(event).collect()
    }

    #[test]
    fn the_events_of_a_block_are_the_bytes_of_its_messages() {
        for revisions in [vec![], vec![1], vec![1, 2, 3]] {
            let events = numbered(&revisions);
            let block = encode(&events);
            assert_eq!(block, local::framed(&storage::EventBlock { events: events.clone() }));
            let raw = super::events(&block).expect("a block");
            let encoded: Vec<_> = events.iter().map(prost::Message::encode_to_vec).collect();
            assert_eq!(raw, encoded);
            assert_eq!(decode(&block), Ok(events.clone()));
            let mut again = Vec::new();
            raw.iter().for_each(|bytes| push(bytes, &mut again));
            assert_eq!(again, block[1..]);
            assert_eq!(sent(&again), Ok(raw.clone()));
            let decoded: Vec<_> = raw.into_iter().map(|bytes| event(bytes).expect("an event")).collect();
            assert_eq!(decoded, events);
        }
    }

    #[test]
    fn a_block_that_is_cut_or_changed_is_corrupt() {
        let block = encode(&numbered(&[1, 2]));
        for cut in 2..block.len() {
            // Between two events a cut cannot be seen here; the revisions that follow tell of it.
            let events = super::events(&block[..cut]);
            assert!(events.is_err() || events.is_ok_and(|events| events.len() == 1), "cut at {cut}");
        }
        let mut changed = block.clone();
        changed[1] = 0x12;
        assert!(super::events(&changed).is_err());
        assert!(super::events(&[]).is_err());
        assert!(super::events(&[9]).is_err());
    }
}
