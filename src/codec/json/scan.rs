//! Texts, numbers and marks in JSON that has no spaces and no escapes.

/// Objects in objects: more than anything has that is exported, and nothing for a stack.
const DEEPEST: usize = 32;

/// As many digits as a number of 64 bits has at most.
const MOST_DIGITS: usize = 20;

/// What is left to be read. `None` is what is not there, or not in this form.
pub(super) struct Scan<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { rest: json, depth: 0 }
    }

    /// Goes into an object.
    pub(super) fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        self.mark(b'{')
    }

    /// … and out of it.
    pub(super) fn leave(&mut self) -> Option<()> {
        self.depth -= 1;
        self.mark(b'}')
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn is_next(&self, mark: u8) -> bool {
        self.rest.first() == Some(&mark)
    }

    /// One of the marks between values.
    pub(super) fn mark(&mut self, mark: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[mark])?;
        Some(())
    }

    /// A text in quotes, as it stands.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        self.mark(b'"')?;
        // Control characters have to be escaped.
        let end = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.mark(b'"')?;
        Some(text)
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Option<u64> {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.rest.split_at(end);
        if matches!(rest[0], b'.' | b'e' | b'E') {
            return None;
        }
        self.rest = rest;
        number(digits)
    }

    /// A whole number in quotes.
    pub(super) fn quoted_number(&mut self) -> Option<u64> {
        number(self.text()?)
    }

    pub(super) fn truth(&mut self) -> Option<bool> {
        for (word, truth) in [(&b"true"[..], true), (b"false", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Some(truth);
            }
        }
        None
    }
}

/// A zero stands before no other digit.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > MOST_DIGITS || digits.len() > 1 && digits[0] == b'0' {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
