//! The events of one log entry as they are stored, with what was asked, so that whoever has them alone can
//! decide all of it again.
//!
//! The first event of a request carries its command; of an atomic batch that took effect each event
//! carries its own, since each command of a batch has one event.

use std::num::NonZeroU64;

use super::Position;
use super::encode_body;
use super::hold::encode_overruns;
use crate::codec::block;
use crate::codec::command;
use crate::codec::command::Logged;
use crate::codec::fields::Writer;
use crate::codec::hold::write_tags;
use crate::ledger::Body;
use crate::ledger::Cause;
use crate::ledger::Event;
use crate::ledger::Request;
use crate::ledger::event::EventLine;
use crate::ledger::event::HoldAfter;
use crate::ledger::event::Reserved;
use crate::ledger::event::Touched;
use crate::ledger::quota::Clock;
use crate::proto::v1;

/// The block of the events that an entry led to. `requests` are those of the entry, in their order, with
/// the command of each as it stands there; not every one of them led to an event.
///
/// The commands are copied, and the events written as they are: what a message of an event is made of
/// would take longer to put together than everything that was decided.
pub fn write_entry(
    events: &[Event],
    requests: &[Request],
    commands: &[impl AsRef<[u8]>],
    position: Position,
) -> Vec<u8> {
    let mut requests = requests.iter().zip(commands.iter().map(AsRef::as_ref));
    let mut asked = Unwritten::Nothing;
    let mut reason = "";
    let mut block = block::begin(events.len());
    for event in events {
        if let Cause::Request { id, .. } = &event.cause {
            if event.part.is_none_or(|part| part.index == 0) {
                let answered = requests.find(|(request, _)| request.id == *id);
                let (request, command) = answered.expect("an event answers a request of its entry");
                reason = &request.reason;
                asked = Unwritten::of(request, command, event.part.is_some());
            }
            block::add(&mut block, |bytes| write(bytes, event, position, reason, &mut asked));
        } else {
            block::add(&mut block, |bytes| write(bytes, event, position, "", &mut Unwritten::Nothing));
        }
    }
    if block.capacity() > 2 * block.len() {
        block.shrink_to_fit();
    }
    block
}

/// What was asked and is not written yet.
pub(in crate::codec) enum Unwritten<'a> {
    Nothing,
    One(&'a [u8]),
    Whole(v1::BatchRequest),
    Each(std::vec::IntoIter<v1::BatchCommand>),
}

impl<'a> Unwritten<'a> {
    fn of(request: &Request, command: &'a [u8], took_effect_in_parts: bool) -> Self {
        if !command.is_empty() {
            return Self::One(command);
        }
        match command::encode_logged(&request.command) {
            Logged::One(_) => unreachable!("only a batch has more than one command"),
            Logged::Batch(batch) if took_effect_in_parts => Self::Each(batch.commands.into_iter()),
            Logged::Batch(batch) => Self::Whole(batch),
        }
    }

    /// Writes what belongs to the next event.
    fn write(&mut self, bytes: &mut Writer<'_>) {
        match self {
            Self::Nothing => {}
            Self::Each(commands) => {
                bytes.of(COMMAND, &commands.next().expect("each command of a batch has one event"));
            }
            Self::One(_) | Self::Whole(_) => match std::mem::replace(self, Self::Nothing) {
                Self::One(command) => bytes.encoded(COMMAND, command),
                Self::Whole(batch) => bytes.of(BATCH, &batch),
                Self::Nothing | Self::Each(_) => unreachable!("it was looked at just now"),
            },
        }
    }
}

/// The fields of an event that stand in more than one place here.
const COMMAND: u32 = 11;
const BATCH: u32 = 12;

/// Writes the fields of an event.
pub(in crate::codec) fn write(
    bytes: &mut Writer<'_>,
    event: &Event,
    position: Position,
    reason: &str,
    asked: &mut Unwritten<'_>,
) {
    bytes.number(1, event.revision);
    bytes.number(2, event.time);
    bytes.number(3, position.term);
    bytes.number(4, position.index);
    if let Cause::Request { id, fingerprint, actor } = &event.cause {
        bytes.bytes(5, &id.text());
        bytes.bytes(6, fingerprint);
        bytes.text(7, actor);
    }
    for touched in &event.touched {
        bytes.message(8, |bytes| write_touched(bytes, touched));
    }
    if let Some(part) = event.part {
        bytes.message(9, |bytes| {
            bytes.number(1, part.index);
            bytes.number(2, part.of);
        });
    }
    bytes.text(10, reason);
    asked.write(bytes);
    match &event.body {
        Body::Reserved(reserved) => {
            bytes.message(34, |bytes| write_reserved(bytes, reserved, event.revision));
        }
        Body::Committed { hold, after, overruns } if overruns.is_empty() => {
            bytes.message(35, |bytes| write_change(bytes, *hold, after.as_ref()));
        }
        Body::Released { hold, after } => {
            bytes.message(36, |bytes| write_change(bytes, *hold, after.as_ref()));
        }
        Body::Expired { hold, after } => {
            bytes.message(37, |bytes| write_change(bytes, *hold, after.as_ref()));
        }
        // There are few of them.
        _ => encode_body(event).encode(bytes.0),
    }
}

fn write_touched(bytes: &mut Writer<'_>, touched: &Touched) {
    bytes.number(1, touched.scope.0);
    bytes.text(2, touched.path.as_str());
    bytes.number(3, touched.resource.0);
    bytes.text(4, touched.name.as_str());
    bytes.amount(5, touched.used);
    bytes.amount(6, touched.held);
    bytes.number(7, touched.sequence);
    bytes.change(8, touched.used_change);
    bytes.change(9, touched.held_change);
    for (field, clock) in [(10, touched.clocks.grace), (11, touched.clocks.burst)] {
        if let Some(Clock { since, ended }) = clock {
            bytes.message(field, |bytes| {
                bytes.number(1, since);
                bytes.number(3, ended);
            });
        }
    }
}

fn write_reserved(bytes: &mut Writer<'_>, reserved: &Reserved, revision: u64) {
    bytes.number(1, revision);
    write_lines(bytes, 2, &reserved.lines);
    bytes.number(3, reserved.committed);
    bytes.number(4, reserved.forced);
    bytes.number(5, reserved.expires_at.map_or(0, NonZeroU64::get));
    write_tags(bytes, 6, reserved.tags.as_deref());
    for granted in reserved.granted.iter().flatten() {
        bytes.decimal(9, *granted);
    }
    encode_overruns(&reserved.overruns).iter().for_each(|overrun| bytes.of(10, overrun));
}

fn write_lines(bytes: &mut Writer<'_>, field: u32, lines: &[EventLine]) {
    for line in lines {
        bytes.message(field, |bytes| {
            bytes.number(1, line.scope.0);
            bytes.text(2, line.path.as_str());
            bytes.number(3, line.resource.0);
            bytes.text(4, line.name.as_str());
            bytes.amount(5, line.held);
            bytes.amount(6, line.used);
        });
    }
}

/// What became of a hold: the fields that all have alike.
fn write_change(bytes: &mut Writer<'_>, hold: u64, after: Option<&HoldAfter>) {
    bytes.number(1, hold);
    if let Some(after) = after {
        bytes.message(2, |bytes| {
            write_lines(bytes, 1, &after.lines);
            bytes.number(2, after.expires_at.map_or(0, NonZeroU64::get));
        });
    }
}
