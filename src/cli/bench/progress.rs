//! How far a measurement is, on a terminal; nothing is shown elsewhere.

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

use crate::bench::Observer;

/// A line that is drawn over and over, and gone at the end.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(is_terminal: bool) -> Self {
        // Drawing takes from the processors that are measured.
        const FRAMES: u8 = 4;
        let target = match is_terminal {
            true => ProgressDrawTarget::stderr_with_hz(FRAMES),
            false => ProgressDrawTarget::hidden(),
        };
        Self(ProgressBar::with_draw_target(None, target))
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Observer for Bar {
    fn begins(&self, step: &str, parts: u64) {
        let style = ProgressStyle::with_template("{prefix:>15} {wide_bar} {percent:>3}% {msg}");
        if let Ok(style) = style {
            self.0.set_style(style);
        }
        self.0.reset();
        self.0.set_length(parts);
        self.0.set_message("");
        self.0.set_prefix(step.to_owned());
        self.0.tick();
    }

    fn at(&self, part: u64, note: &str) {
        self.0.set_message(note.to_owned());
        self.0.set_position(part);
    }
}
