//! Reservations as most of them are, written for the log and read out of it without a message in between: each
//! node reads each of them, and the message would cost more than what is made of it.
//!
//! What is written and read here is what the message would lead to. Whatever is unusual is left to the message,
//! and so is whatever is wrong: there is one place that says what.

use std::sync::Arc;

use super::hold;
use crate::codec::fields::Fields;
use crate::codec::fields::Writer;
use crate::codec::number;
use crate::ledger::Command;
use crate::ledger::Labels;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::command::Line;
use crate::ledger::command::Mode;
use crate::ledger::command::Reserve;
use crate::ledger::hold::Tags;

const WHAT: &str = "a reservation";

/// The field of `BatchCommand` with a reservation.
const RESERVE: u32 = 16;

/// About so many bytes it has.
const USUAL: usize = 96;

/// A reservation as the bytes of a `BatchCommand`, canonical. `None` when it is something else, or has labels.
pub(in crate::codec) fn write_plain_reserve(command: &Command) -> Option<Vec<u8>> {
    let Command::Reserve(reserve) = command else { return None };
    // Whatever is new in them must be written too: none of it is left out here.
    let Tags { job, consumer, labels } = reserve.tags.as_deref().cloned().unwrap_or_default();
    if labels != Labels::default() {
        return None;
    }
    let mut bytes = Vec::with_capacity(USUAL);
    Writer(&mut bytes).message(RESERVE, |message| {
        for Line { scope, resource, amount, minimum, if_sequence } in reserve.lines() {
            message.message(2, |message| {
                message.text(1, scope.as_str());
                message.text(2, resource.as_str());
                message.decimal(3, *amount);
                if let Some(sequence) = if_sequence {
                    message.chosen(4, *sequence);
                }
                if let Some(minimum) = minimum {
                    message.decimal(5, *minimum);
                }
            });
        }
        message.number(3, u32::try_from(hold::encode_mode(reserve.mode)).expect("modes are few"));
        message.number(4, reserve.commit);
        if let Some(ttl) = reserve.ttl_ms {
            message.chosen(5, ttl);
        }
        message.text(6, job.as_deref().unwrap_or_default());
        message.text(7, consumer.as_deref().unwrap_or_default());
    });
    Some(bytes)
}

/// A reservation from the bytes of a `BatchCommand`. `None` when it is something else, has labels, or is
/// wrong. `resource` is that of the line before: it mostly is the same.
pub(in crate::codec) fn read_plain_reserve(command: &[u8], resource: &mut Option<Name>) -> Option<Command> {
    let mut fields = Fields::new(WHAT, command);
    let Ok((RESERVE, value)) = fields.next()? else { return None };
    let message = fields.bytes(value).ok()?;
    if !fields.rest().is_empty() {
        return None;
    }
    let mut lines = Vec::with_capacity(1);
    let (mut mode, mut commit, mut ttl_ms) = (Mode::Strict, false, None);
    let (mut job, mut consumer) = ("", "");
    let mut fields = Fields::new(WHAT, message);
    while let Some(field) = fields.next() {
        match field.ok()? {
            (2, value) => lines.push(line(fields.bytes(value).ok()?, resource)?),
            (3, value) => mode = hold::mode(i32::try_from(fields.number(value).ok()?).ok()?).ok()?,
            (4, value) => commit = fields.number(value).ok()? != 0,
            (5, value) => ttl_ms = Some(fields.number(value).ok()?),
            (6, value) => job = fields.text(value).ok()?,
            (7, value) => consumer = fields.text(value).ok()?,
            _ => return None,
        }
    }
    let tags = match (job, consumer) {
        ("", "") => None,
        (job, consumer) => Some(Arc::new(Tags::new(job, consumer, Labels::default()).ok()?)),
    };
    Reserve::with(lines, mode, commit, ttl_ms, tags).map(Command::Reserve).ok()
}

fn line(message: &[u8], last: &mut Option<Name>) -> Option<Line> {
    let (mut scope, mut resource, mut amount, mut minimum) = ("", "", "", "");
    let mut if_sequence = None;
    let mut fields = Fields::new(WHAT, message);
    while let Some(field) = fields.next() {
        match field.ok()? {
            (1, value) => scope = fields.text(value).ok()?,
            (2, value) => resource = fields.text(value).ok()?,
            (3, value) => amount = fields.text(value).ok()?,
            (4, value) => if_sequence = Some(fields.number(value).ok()?),
            (5, value) => minimum = fields.text(value).ok()?,
            _ => return None,
        }
    }
    let number = |text| number::parse_of(String::new, text).ok();
    let resource = match last {
        Some(last) if last.as_str() == resource => last.clone(),
        _ => last.insert(Name::parse(resource).ok()?).clone(),
    };
    Some(Line {
        scope: Path::parse(scope).ok()?,
        resource,
        amount: number(amount)?,
        minimum: if minimum.is_empty() { None } else { Some(number(minimum)?) },
        if_sequence,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::codec::batch;
    use crate::codec::command::Message;
    use crate::codec::command::decode;
    use crate::codec::command::encode;
    use crate::codec::command::encode_logged;
    use crate::ledger::RequestId;
    use crate::ledger::Stamp;
    use crate::proto::v1;

    fn encoded(reserve: v1::ReserveRequest) -> Vec<u8> {
        v1::BatchCommand { tag: 0, command: Some(Message::Reserve(reserve)) }.encode_to_vec()
    }

    fn line(scope: &str, amount: &str) -> v1::Line {
        v1::Line { scope: scope.into(), resource: "gpu".into(), amount: amount.into(), ..Default::default() }
    }

    /// Reservations of all kinds that are read here.
    fn plain() -> Vec<Vec<u8>> {
        let one = || vec![line("acme/ml", "2.50")];
        let partial = v1::Line { minimum: "1".into(), if_sequence: Some(0), ..line("acme/ml/anna", "4") };
        let cpu = v1::Line { resource: "cpu".into(), ..line("acme", "7") };
        let all = [
            v1::ReserveRequest { lines: one(), ..Default::default() },
            v1::ReserveRequest {
                lines: vec![line("acme", "1"), cpu, partial],
                mode: 2,
                ..Default::default()
            },
            v1::ReserveRequest { lines: one(), ttl_ms: Some(60_000), ..Default::default() },
            v1::ReserveRequest { lines: one(), commit: true, mode: 4, ..Default::default() },
            v1::ReserveRequest { lines: one(), job: "j-1".into(), ..Default::default() },
            v1::ReserveRequest { lines: one(), consumer: "train".into(), ..Default::default() },
            v1::ReserveRequest {
                lines: vec![line(&["long"; 12].join("/"), "1")],
                job: "j-2".repeat(20),
                consumer: "anna".into(),
                ..Default::default()
            },
        ];
        let mut all: Vec<_> = all.map(encoded).into();
        // Strict, also when it is said; and of what is said twice the last counts.
        let twice = [all[0].as_slice(), &[0x18, 1, 0x28, 7, 0x28, 9]].concat();
        all.push(with_length(twice));
        all
    }

    /// The length of a reservation is that of what follows it.
    fn with_length(mut command: Vec<u8>) -> Vec<u8> {
        command[2] = u8::try_from(command.len() - 3).expect("a short one");
        command
    }

    /// What the message leads to, if it leads to a command.
    fn by_message(bytes: &[u8]) -> Option<Command> {
        decode(v1::BatchCommand::decode(bytes).ok()?.command?).ok()
    }

    #[test]
    fn what_is_read_is_what_the_message_leads_to() {
        let mut resource = None;
        for bytes in plain() {
            let read = read_plain_reserve(&bytes, &mut resource);
            let command = read.unwrap_or_else(|| panic!("{bytes:?} is not read"));
            assert_eq!(Some(&command), by_message(&bytes).as_ref());
            let message = v1::BatchCommand { tag: 0, command: Some(encode(&command)) };
            assert_eq!(write_plain_reserve(&command), Some(message.encode_to_vec()), "{command:?}");
            assert_eq!(batch::fingerprint(&command), batch::fingerprint_of(encode_logged(&command)));
        }
    }

    #[test]
    fn what_is_unusual_or_wrong_is_left_to_the_message() {
        let of = |reserve: v1::ReserveRequest| {
            encoded(v1::ReserveRequest { lines: vec![line("acme", "1")], ..reserve })
        };
        let plain = of(v1::ReserveRequest::default());
        let behind = |more: &[u8]| [plain.as_slice(), more].concat();
        let labels = [("team".to_owned(), "ml".to_owned())].into();
        let unusual = [
            of(v1::ReserveRequest { labels, ..Default::default() }),
            of(v1::ReserveRequest { largest_holders: 1, ..Default::default() }),
            of(v1::ReserveRequest { request_id: "one".into(), ..Default::default() }),
            // A tag, the reservation once more, a field of a newer version, and a mode of more than 32 bits.
            behind(&[8, 1]),
            behind(&plain),
            with_length(behind(&[0x50, 1])),
            with_length(behind(&[0x18, 0x82, 0x80, 0x80, 0x80, 0x10])),
        ];
        for bytes in unusual {
            assert_eq!(read_plain_reserve(&bytes, &mut None), None, "{bytes:?}");
            let command = by_message(&bytes).unwrap_or_else(|| panic!("{bytes:?} is no command"));
            // In an entry, with just these bytes.
            let mut request = Vec::new();
            let mut fields = Writer(&mut request);
            fields.bytes(1, &RequestId::made_at(1, 2).to_bytes());
            fields.bytes(2, &[7; 16]);
            fields.encoded(16, &bytes);
            let entry = batch::join(&Stamp::from(0), std::iter::once(request.as_slice()));
            let decoded = batch::decode(&entry).expect("an entry");
            assert_eq!((&decoded.requests[0].command, decoded.commands[0]), (&command, bytes.as_slice()));
            assert_eq!(write_plain_reserve(&command).is_none(), bytes.windows(4).any(|part| part == b"team"));
        }
        let wrong = [
            encoded(v1::ReserveRequest::default()),
            encoded(v1::ReserveRequest { lines: vec![line("acme", "1e3")], ..Default::default() }),
            encoded(v1::ReserveRequest { lines: vec![line("acme//b", "1")], ..Default::default() }),
            of(v1::ReserveRequest { mode: v1::Mode::Check.into(), ..Default::default() }),
            Vec::new(),
        ];
        for bytes in wrong {
            assert_eq!(read_plain_reserve(&bytes, &mut None), None, "{bytes:?}");
            assert_eq!(by_message(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_are_damaged_are_read_as_the_message_reads_them_or_not_at_all() {
        let mut read = 0;
        for bytes in plain() {
            for position in 0..bytes.len() {
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[position] ^= 1 << bit;
                    if let Some(command) = read_plain_reserve(&damaged, &mut None) {
                        read += 1;
                        assert_eq!(Some(command), by_message(&damaged), "{damaged:?}");
                    }
                }
            }
        }
        assert!(read > 100, "{read} were read: nothing was compared");
    }
}
