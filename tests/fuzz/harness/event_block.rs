//! Events: on the disk, in the stream and on the wire they have one form.

use prost::Message as _;
use quorate::codec::event;
use quorate::codec::event::Position;
use quorate::codec::local;
use quorate::codec::rejection;
use quorate::codec::verdict;
use quorate::ledger::Body;
use quorate::ledger::Event;
use quorate::ledger::Rejection;
use quorate::ledger::quota::Clock;
use quorate::ledger::rejection::Blocking;
use quorate::proto::storage::v1 as storage;
use quorate::proto::v1;

use super::decimals;
use super::seen;

/// Decodes a block as it is read from the disk, event by event.
pub fn run(bytes: &[u8]) {
    match local::message::<storage::EventBlock>("an event block", bytes) {
        Ok(block) => block.events.into_iter().for_each(one),
        Err(corrupt) => seen::note(seen::problem(&corrupt)),
    }
}

fn one(message: v1::Event) {
    let position = Position { term: message.raft_term, index: message.raft_index };
    let event = match event::decode(message, &decimals) {
        Ok(event) => event,
        Err(corrupt) => return seen::note(seen::problem(&corrupt)),
    };
    let encoded = event::encode(&event, position);
    seen::understood("event", &encoded.encode_to_vec());
    assert_eq!((encoded.raft_term, encoded.raft_index), (position.term, position.index));
    let again = event::decode(encoded.clone(), &decimals).expect("what was encoded can be decoded");
    assert_eq!(again, event, "an event means something else when it is encoded again");
    assert_eq!(event::encode(&again, position), encoded, "equal events have equal messages");
    let told = event.verdict();
    let again = verdict::decode(verdict::encode(&told)).expect("a verdict");
    assert_eq!(again, told, "a verdict means something else when it is encoded again");
    if let Body::Rejected { rejection, .. } = &event.body {
        for bytes in [0, 40, 400] {
            shorten(rejection::encode(rejection), bytes);
        }
    }
}

/// A rejection that is cut for the wire stays a rejection of the same kind.
fn shorten(whole: v1::Rejection, bytes: usize) {
    let mut short = whole.clone();
    rejection::shorten(&mut short, bytes);
    let kind = |rejection: &v1::Rejection| rejection.reason.as_ref().map(std::mem::discriminant);
    assert_eq!(kind(&short), kind(&whole), "a rejection became another when it was shortened");
}

/// A reason, and what of it is told.
fn reason(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Denied(blocking) => {
            let of =
                |blocking: &Blocking| (blocking.rule, blocking.fits_at.is_some(), blocking.waiting_can_help);
            format!("Denied {:?}", blocking.first().map(of))
        }
        Rejection::LimitConflict { quota, other, .. } => {
            format!("LimitConflict {}", other.scope.is_within(&quota.scope))
        }
        Rejection::PartFailed { rejection, .. } => format!("PartFailed {}", seen::variant(rejection)),
        rejection => seen::variant(rejection),
    }
}

/// Takes note of what happened.
pub fn note(event: &Event) {
    for touched in &event.touched {
        let ended = |clock: Option<Clock>| clock.map(|clock| clock.ended);
        let clocks = (ended(touched.clocks.grace), ended(touched.clocks.burst));
        seen::note(format!("{} {clocks:?}", seen::variant(&event.body)));
    }
    let body = seen::variant(&event.body);
    seen::note(match &event.body {
        Body::Rejected { command, rejection } => {
            format!("{body} {command} {}", reason(rejection))
        }
        Body::Reserved(reserved) => {
            let overrun = reserved.overruns.first().map(|overrun| (overrun.reason, overrun.blocking.rule));
            format!("{body} {overrun:?} {} {}", reserved.committed, reserved.granted.is_some())
        }
        Body::Committed { after, overruns, .. } => {
            format!("{body} {} {}", after.is_some(), overruns.is_empty())
        }
        Body::Released { after, .. } | Body::Expired { after, .. } => format!("{body} {}", after.is_some()),
        Body::QuotaSet { drain, scheduled, previous, .. } => {
            format!("{body} {} {} {}", drain.is_some(), scheduled.is_some(), previous.is_some())
        }
        _ => format!("{body} {}", event.part.is_some()),
    });
}
