//! Bytes as a source of choices.

/// What is left of the bytes. When none are left, every choice is the first one.
pub struct Source<'a>(pub &'a [u8]);

impl Source<'_> {
    /// Whether nothing is left to choose by.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// One of some things.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// True for one of so many bytes.
    pub fn one_in(&mut self, bytes: u8) -> bool {
        self.byte() % bytes == bytes - 1
    }
}
