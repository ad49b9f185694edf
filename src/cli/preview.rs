//! Commands as questions: what a policy command would do, said without doing it.
//!
//! Knows nothing of the command that is asked about.

use clap::Args;

use super::event_text::happened;
use super::output::one_line;
use super::output::replayed;
use crate::client::v1;

#[derive(Debug, Default, Clone, Copy, Args)]
pub(super) struct Preview {
    /// Say what would be done, or why it would be refused, and change nothing
    #[arg(long)]
    preview: bool,
}

impl Preview {
    pub(super) fn is_wanted(self) -> bool {
        self.preview
    }

    /// What was done in one sentence, or what would be done line by line.
    pub(super) fn sentence(
        self,
        done: &str,
        revision: u64,
        again: bool,
        would_write: &[v1::Event],
    ) -> String {
        if !self.preview {
            return format!("{done} at revision {revision}{}", replayed(again));
        }
        format!("nothing was changed; at revision {revision} this would be done:\n{}", changes(would_write))
    }
}

/// Each event as a line of its own.
pub(super) fn changes(events: &[v1::Event]) -> String {
    events.iter().map(|event| format!("  {}\n", one_line(&happened(event)))).collect()
}
