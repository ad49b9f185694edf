//! What an input led to, as short texts: which event, which reason, which problem, which fields of
//! which message. Who drives the harnesses without knowing their coverage keeps the inputs that led
//! to something new.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Debug;
use std::fmt::Display;
use std::fmt::Write as _;

/// Most characters of a text.
const MOST: usize = 60;

thread_local! {
    static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Takes note of something.
pub fn note(text: String) {
    SEEN.with_borrow_mut(|seen| seen.insert(text));
}

/// Takes note of a message that was understood: which fields it has, and which of them twice.
pub fn understood(name: &str, message: &[u8]) {
    let mut path = name.to_owned();
    // What looks like a message within a message may be a text: that does no harm here.
    let _ = fields(&mut path, message, 0);
}

/// How deep fields are looked at within fields.
const MOST_DEPTH: usize = 8;

fn fields(path: &mut String, mut message: &[u8], depth: usize) -> Option<()> {
    let length = path.len();
    let mut last = None;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let within = match key & 7 {
            0 => varint(&mut message).map(|_| None)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (within, rest) = message.split_at_checked(length)?;
                message = rest;
                Some(within)
            }
            _ => return None,
        };
        let again = if last == Some(key) { "+" } else { "" };
        last = Some(key);
        write!(path, " {}{again}", key >> 3).ok()?;
        note(path.clone());
        let is_text = |bytes: &&[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if let Some(within) = within.filter(|within| depth < MOST_DEPTH && !is_text(within)) {
            let _ = fields(path, within, depth + 1);
        }
        path.truncate(length);
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7F) << shift;
        if *first < 0x80 {
            return Some(number);
        }
    }
    None
}

/// What was noted on this thread since the last call.
pub fn take() -> BTreeSet<String> {
    SEEN.take()
}

/// The name of the variant of an enum.
pub fn variant(value: &impl Debug) -> String {
    let mut name = Name(String::new());
    // It stops at the end of the name: that is no error.
    let _ = write!(name, "{value:?}");
    name.0
}

struct Name(String);

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// A problem without what it quotes and counts.
pub fn problem(problem: &impl Display) -> String {
    let text = problem.to_string();
    let plain = text.split('"').step_by(2).flat_map(str::chars);
    plain.filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(MOST).collect()
}
