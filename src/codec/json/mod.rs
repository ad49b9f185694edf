//! Events in JSON, as they are exported, to their bytes at once: an audit that makes a message of each,
//! only to have it encoded, takes longer for that than for all it does.
//!
//! | file | subject |
//! |---|---|
//! | `mod` | messages and their fields |
//! | `scan` | texts, numbers and marks in JSON |
//! | `schema` | what fields messages have |
//!
//! It knows little more than the form in which this program writes JSON. Of anything else (spaces, escapes,
//! a field twice, a number in another form) it makes nothing: then a message has to be made, by what knows
//! every form and can say what is wrong. Whatever it makes is what the message would be encoded to.

mod scan;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use smallvec::SmallVec;

use self::scan::Scan;
use self::schema::Field;
use self::schema::Kind;
use self::schema::Schema;
use super::fields::Writer;

/// What an export is made of.
static RECORD: LazyLock<Schema> = LazyLock::new(|| Schema::of("quorate.v1.ExportRecord"));

/// The encoding of an `ExportRecord` that stands in a line of JSON. `None` does not say that it is wrong.
pub fn record(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    // Once for all texts in it.
    std::str::from_utf8(line).ok()?;
    let mut encoded = Vec::with_capacity(line.len());
    let mut scan = Scan::new(line);
    message(&RECORD, schema::ROOT, &mut scan, &mut Writer(&mut encoded))?;
    scan.is_at_end().then_some(encoded)
}

/// A field as it was written: its place among those of its message, and where it begins.
type Parts = SmallVec<[(u32, usize); 16]>;

fn message(schema: &Schema, number: usize, scan: &mut Scan<'_>, to: &mut Writer<'_>) -> Option<()> {
    let fields = &schema.messages[number];
    let begin = to.0.len();
    let (mut parts, mut seen, mut next) = (Parts::new(), 0_u64, 0);
    scan.enter()?;
    let mut is_more = !scan.is_next(b'}');
    while is_more {
        let name = scan.text()?;
        scan.mark(b':')?;
        // They stand in some order, which is about that of the fields.
        let (before, behind) = fields.split_at(next);
        let is_it = |field: &&Field| field.name.as_bytes() == name;
        let field = behind.iter().chain(before).find(is_it)?;
        next = field.next;
        let slot = 1 << field.slot;
        if seen & slot != 0 {
            return None;
        }
        seen |= slot;
        parts.push((field.place, to.0.len()));
        value(schema, field, scan, to)?;
        is_more = scan.mark(b',').is_some();
    }
    scan.leave()?;
    if !parts.is_sorted_by_key(|(place, _)| *place) {
        put_in_order(&parts, begin, to.0);
    }
    Some(())
}

/// Messages are encoded in the order of their numbers, whatever that in JSON is.
fn put_in_order(parts: &Parts, begin: usize, bytes: &mut Vec<u8>) {
    let written = bytes.split_off(begin);
    let ends = parts.iter().skip(1).map(|(_, begin)| *begin).chain([begin + written.len()]);
    let mut pieces: SmallVec<[_; 16]> =
        parts.iter().zip(ends).map(|(&(place, from), to)| (place, from - begin..to - begin)).collect();
    pieces.sort_by_key(|(place, _)| *place);
    for (_, piece) in pieces {
        bytes.extend_from_slice(&written[piece]);
    }
}

fn value(schema: &Schema, field: &Field, scan: &mut Scan<'_>, to: &mut Writer<'_>) -> Option<()> {
    if field.kind == Kind::Labels {
        return labels(field.number, scan, to);
    }
    if !field.is_repeated {
        return single(schema, field, scan, to);
    }
    scan.mark(b'[')?;
    if scan.mark(b']').is_some() {
        return Some(());
    }
    loop {
        single(schema, field, scan, to)?;
        if scan.mark(b',').is_none() {
            return scan.mark(b']');
        }
    }
}

/// Of what has no presence, what is empty or 0 is not there. What is repeated has, in this sense.
fn single(schema: &Schema, field: &Field, scan: &mut Scan<'_>, to: &mut Writer<'_>) -> Option<()> {
    let is_there = |is_empty: bool| field.has_presence || !is_empty;
    let mut number = |value: u64| {
        if is_there(value == 0) {
            to.chosen(field.number, value);
        }
    };
    match &field.kind {
        Kind::Small => number(u32::try_from(scan.number()?).ok()?.into()),
        Kind::Whole => number(scan.quoted_number()?),
        Kind::Bool => number(scan.truth()?.into()),
        Kind::Enum(values) => {
            let name = scan.text()?;
            let (_, value) = values.iter().find(|(known, _)| known.as_bytes() == name)?;
            number(u64::from(*value));
        }
        Kind::Text => {
            let text = scan.text()?;
            if is_there(text.is_empty()) {
                to.encoded(field.number, text);
            }
        }
        Kind::Bytes => {
            let bytes = BASE64_STANDARD.decode(scan.text()?).ok()?;
            if is_there(bytes.is_empty()) {
                to.encoded(field.number, &bytes);
            }
        }
        Kind::Message(inner) => {
            let mut made = None;
            to.message(field.number, |to| made = message(schema, *inner, scan, to));
            made?;
        }
        Kind::Labels | Kind::Other => return None,
    }
    Some(())
}

/// A map from text to text, sorted as messages keep it.
fn labels(number: u32, scan: &mut Scan<'_>, to: &mut Writer<'_>) -> Option<()> {
    scan.mark(b'{')?;
    if scan.mark(b'}').is_some() {
        return Some(());
    }
    let mut last = None;
    loop {
        let key = scan.text()?;
        if last.is_some_and(|last| key <= last) {
            return None;
        }
        last = Some(key);
        scan.mark(b':')?;
        let value = scan.text()?;
        to.message(number, |to| {
            to.bytes(1, key);
            to.bytes(2, value);
        });
        if scan.mark(b',').is_none() {
            return scan.mark(b'}');
        }
    }
}
