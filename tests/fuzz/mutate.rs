//! Makes other inputs from known ones, without knowing what they mean: it flips, cuts, repeats and
//! splices. Of protobuf it knows the form, so that a change deep inside leaves the rest readable.

use rand::Rng as _;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Most bytes of an input.
const MOST_BYTES: usize = 16 << 10;

/// How deep fields are looked at within fields.
const MOST_DEPTH: usize = 12;

/// Numbers at which something often changes.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    3,
    7,
    16,
    64,
    127,
    128,
    255,
    8192,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Texts that mean something somewhere.
const TEXTS: [&str; 48] = [
    "",
    "a",
    "acme",
    "acme/ml",
    "a/x",
    "a/",
    "/",
    "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q",
    "memory_gb",
    "cost_usd",
    "Memory",
    "0",
    "-0",
    "-1",
    "1",
    "16",
    "0.5",
    "0.25",
    "00.10",
    ".5",
    "5.",
    "1e3",
    "0.000000000000000001",
    "0.0000000000000000000000000001",
    "1000000000000000000",
    "1000000000000000001",
    "79228162514264337593543950335",
    "79228162514264337593543950336",
    "1.0001",
    "1000",
    "free",
    "organization/team/user",
    "limit",
    "soft",
    "grace_ms",
    "burst",
    "allow_transfer",
    "prod",
    "ä\u{2028}\u{1F600}",
    "\0",
    "\n",
    "018bcfe5-6800-7000-8000-000000000001",
    "scope",
    "resource",
    "null",
    "true",
    "AA==",
    "18446744073709551616",
];

/// What is between the words of a document.
const MARKS: [&str; 20] = [
    "\n", "  ", ": ", "- ", "{", "}", "[", "]", ",", "\"", "'", "#", "&a ", "*a", "|\n", "---\n", "!!str ",
    "~", "\\", ":",
];

/// The form of the inputs of a harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any bytes.
    Bytes,
    /// A protobuf message after so many other bytes.
    Message(usize),
    /// Text after one other byte.
    Text,
}

/// Makes other inputs.
pub struct Mutator {
    rng: StdRng,
}

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    /// A position below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    /// Another input, from one and at times from a second.
    pub fn mutate(&mut self, form: Form, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        // Mostly little is changed, at times much.
        for _ in 0..1 << self.below(6).saturating_sub(2) {
            bytes = match form {
                Form::Message(prefix) if self.below(8) > 0 => self.change_message(prefix, &bytes, other),
                Form::Text if self.below(4) > 0 => self.change_text(&bytes, other),
                _ => self.change_bytes(&bytes, other),
            };
            bytes.truncate(MOST_BYTES);
        }
        bytes
    }

    /// A part of some bytes, as the positions of its ends.
    fn part(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.below(bytes.len() + 1);
        let most = (bytes.len() - start).min(1 << self.below(8));
        (start, start + self.below(most + 1))
    }

    fn change_bytes(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let (start, end) = self.part(&bytes);
        match self.below(10) {
            0 if !bytes.is_empty() => {
                let position = self.below(bytes.len());
                bytes[position] ^= 1 << self.below(8);
            }
            1 | 2 if !bytes.is_empty() => {
                let position = self.below(bytes.len());
                bytes[position] = self.byte();
            }
            3 => drop(bytes.drain(start..end)),
            4 => {
                let part = bytes[start..end].to_vec();
                let at = self.below(bytes.len() + 1);
                bytes.splice(at..at, part);
            }
            5 => bytes.truncate(end),
            6 => {
                let (from, to) = self.part(other);
                bytes.splice(start..end, other[from..to].iter().copied());
            }
            7 => {
                let number = self.number();
                let number = number.to_be_bytes();
                bytes.splice(start..end, number[self.rng.random_range(0..8)..].iter().copied());
            }
            8 => {
                let text = TEXTS[self.below(TEXTS.len())];
                bytes.splice(start..end, text.bytes());
            }
            _ => {
                let byte = self.byte();
                bytes.insert(start, byte);
            }
        }
        bytes
    }

    fn byte(&mut self) -> u8 {
        self.rng.random()
    }

    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.rng.next_u64(),
            1 => self.rng.random_range(0..300),
            _ => NUMBERS[self.below(NUMBERS.len())],
        }
    }

    fn change_text(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let Some((kind, text)) = bytes.split_first() else {
            return self.change_bytes(bytes, other);
        };
        let text = String::from_utf8_lossy(text);
        let mut words = words(&text);
        let other = String::from_utf8_lossy(other);
        let others = self::words(&other);
        let position = self.below(words.len() + 1);
        let end = (position + self.below(4)).min(words.len());
        match self.below(6) {
            0 => drop(words.drain(position..end)),
            1 => {
                let part = words[position..end].to_vec();
                let at = self.below(words.len() + 1);
                words.splice(at..at, part);
            }
            2 => {
                let mark = MARKS[self.below(MARKS.len())];
                words.insert(position, mark);
            }
            3 if !others.is_empty() => {
                let from = self.below(others.len());
                let to = (from + self.below(12)).min(others.len());
                words.splice(position..end, others[from..to].iter().copied());
            }
            _ => {
                let word = TEXTS[self.below(TEXTS.len())];
                words.splice(position..end, [word]);
            }
        }
        std::iter::once(*kind).chain(words.concat().into_bytes()).collect()
    }

    fn change_message(&mut self, prefix: usize, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let (before, message) = bytes.split_at(prefix.min(bytes.len()));
        let fields = parse(message, 0).filter(|fields| !fields.is_empty());
        let Some(mut fields) = fields else {
            return self.change_bytes(bytes, other);
        };
        let donor = parse(other.get(prefix..).unwrap_or_default(), 0).unwrap_or_default();
        // Each field as often as any other, or each on the way down as often as those beside it.
        let mut target = if self.below(2) == 0 { self.below(count(&fields)) } else { self.way_down(&fields) };
        change_field(&mut fields, &mut target, &mut |fields, position| {
            self.change_fields(fields, position, &donor);
        });
        let mut changed = before.to_vec();
        write(&fields, &mut changed);
        changed
    }

    /// How many fields stand before one that is found on the way down.
    fn way_down(&mut self, fields: &[Field]) -> usize {
        let position = self.below(fields.len());
        let before = count(&fields[..position]);
        match &fields[position].value {
            Value::Message(within) if !within.is_empty() && self.below(3) > 0 => {
                before + 1 + self.way_down(within)
            }
            _ => before,
        }
    }

    /// Changes one of some fields.
    fn change_fields(&mut self, fields: &mut Vec<Field>, position: usize, donor: &[Field]) {
        match self.below(10) {
            0 => drop(fields.remove(position)),
            1 => {
                let field = fields[position].clone();
                fields.insert(position, field);
            }
            2 => {
                let other = self.below(fields.len());
                fields.swap(position, other);
            }
            3 => fields[position].tag = 1 + self.rng.random_range(0..20),
            4 | 5 if !donor.is_empty() => {
                let mut same: Vec<&Field> = Vec::new();
                collect(donor, fields[position].tag, &mut same);
                if !same.is_empty() {
                    fields[position] = same[self.below(same.len())].clone();
                }
            }
            _ => self.change_value(&mut fields[position].value),
        }
    }

    fn change_value(&mut self, value: &mut Value) {
        match value {
            Value::Number(number) => {
                *number = match self.below(3) {
                    0 => number.wrapping_add(1),
                    1 => number.wrapping_sub(1),
                    _ => self.number(),
                }
            }
            Value::Fixed(bytes) => bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
            Value::Bytes(bytes) if self.below(3) == 0 => *bytes = self.change_bytes(bytes, &[]),
            Value::Bytes(bytes) => *bytes = TEXTS[self.below(TEXTS.len())].into(),
            Value::Message(fields) if self.below(2) == 0 => {
                fields.push(Field { tag: 1 + self.rng.random_range(0..12), value: Value::Number(1) });
            }
            Value::Message(_) => *value = Value::Bytes(Vec::new()),
        }
    }
}

/// Words, and what is between them.
fn words(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || "_./".contains(c);
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end =
            if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

/// A field of a protobuf message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    tag: u64,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Number(u64),
    /// Of 4 or 8 bytes.
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    /// Bytes that look like a message.
    Message(Vec<Field>),
}

fn parse(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => Value::Fixed(take(&mut bytes, 8)?.to_vec()),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let payload = take(&mut bytes, length)?;
                let is_text = payload.iter().all(|byte| matches!(byte, b' '..=b'~'));
                let message = if is_text || depth == MOST_DEPTH { None } else { parse(payload, depth + 1) };
                message.map_or_else(|| Value::Bytes(payload.to_vec()), Value::Message)
            }
            5 => Value::Fixed(take(&mut bytes, 4)?.to_vec()),
            _ => return None,
        };
        let tag = key >> 3;
        if !(1..=64).contains(&tag) {
            return None;
        }
        fields.push(Field { tag, value });
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn write(fields: &[Field], bytes: &mut Vec<u8>) {
    for Field { tag, value } in fields {
        let (kind, payload) = match value {
            Value::Number(number) => {
                write_varint(tag << 3, bytes);
                write_varint(*number, bytes);
                continue;
            }
            Value::Fixed(payload) => (if payload.len() == 8 { 1 } else { 5 }, payload.clone()),
            Value::Bytes(payload) => (2, payload.clone()),
            Value::Message(fields) => {
                let mut payload = Vec::new();
                write(fields, &mut payload);
                (2, payload)
            }
        };
        write_varint(tag << 3 | kind, bytes);
        if kind == 2 {
            write_varint(payload.len() as u64, bytes);
        }
        bytes.extend(payload);
    }
}

fn write_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// How many fields there are, those within others included.
fn count(fields: &[Field]) -> usize {
    let within = |field: &Field| match &field.value {
        Value::Message(fields) => count(fields),
        _ => 0,
    };
    fields.iter().map(|field| 1 + within(field)).sum()
}

/// Changes the field that is so many behind the first.
fn change_field(
    fields: &mut Vec<Field>,
    target: &mut usize,
    change: &mut impl FnMut(&mut Vec<Field>, usize),
) -> bool {
    for position in 0..fields.len() {
        if *target == 0 {
            change(fields, position);
            return true;
        }
        *target -= 1;
        if let Value::Message(within) = &mut fields[position].value
            && change_field(within, target, change)
        {
            return true;
        }
    }
    false
}

/// All fields with a tag, those within others included.
fn collect<'a>(fields: &'a [Field], tag: u64, found: &mut Vec<&'a Field>) {
    for field in fields {
        if field.tag == tag {
            found.push(field);
        }
        if let Value::Message(within) = &field.value {
            collect(within, tag, found);
        }
    }
}

#[test]
fn a_message_that_is_only_taken_apart_stays_the_same() {
    let message =
        [0x08, 0x96, 0x01, 0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g', 0x1A, 0x02, 0x08, 0x05];
    let fields = parse(&message, 0).expect("a message");
    assert_eq!(count(&fields), 4);
    let mut written = Vec::new();
    write(&fields, &mut written);
    assert_eq!(written, message);
}

#[test]
fn equal_seeds_make_equal_inputs() {
    let input = |seed| Mutator::new(seed).mutate(Form::Message(1), &[1, 8, 5, 18, 2, 8, 1], &[1, 8, 7]);
    for seed in 0..100 {
        assert_eq!(input(seed), input(seed));
    }
}
