//! Commands as questions: what a policy command would do, said without doing it.
//!
//! Knows nothing of the command that is asked about.

use clap::Args;

use super::Context;
use super::event_text::happened;
use super::output::one_line;
use super::output::replayed;
use crate::client::v1;
use crate::client::v1::event::Body;

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
    pub(super) fn sentence(self, done: &str, told: &Told<'_>) -> String {
        let Told { revision, replayed: again, unchanged, would_write, omitted } = *told;
        if unchanged {
            // What would be said to have been done, without the word for it.
            let what = done.split_once(": ").map_or(done, |(_, what)| what);
            return format!("nothing to change: {what} at revision {revision}{}", replayed(again));
        }
        if !self.preview {
            return format!("{done} at revision {revision}{}", replayed(again));
        }
        let changes = changes(would_write, omitted);
        format!("nothing was changed; at revision {revision} this would be done:\n{changes}")
    }
}

/// What an answer says of a change, whatever was changed.
pub(super) struct Told<'a> {
    pub(super) revision: u64,
    pub(super) replayed: bool,
    /// Whether it was so already.
    pub(super) unchanged: bool,
    /// Of a preview: what would be done, and how much more.
    pub(super) would_write: &'a [v1::Event],
    pub(super) omitted: u32,
}

/// Answers to changes say the same of them; whether it was so already is asked for by itself.
macro_rules! told {
    ($($response:ident)*) => {
        $(
            impl<'a> From<&'a v1::$response> for Told<'a> {
                fn from(response: &'a v1::$response) -> Self {
                    Self {
                        revision: response.revision,
                        replayed: response.replayed,
                        unchanged: false,
                        would_write: &response.would_write,
                        omitted: response.would_write_omitted,
                    }
                }
            }
        )*
    };
}

told! {
    CommitResponse ReleaseResponse RenewResponse ResizeResponse ScopeChangeResponse
    RegisterResourceResponse QuotaChangeResponse TemplateChangeResponse ApplyTemplateResponse
    CompactEventsResponse
}

/// Whether the event at a revision says that what was asked for was so already.
///
/// When it cannot be read, the sentence says less: the command was done in any case.
pub(super) async fn was_unchanged(context: &Context<'_>, preview: Preview, revision: u64) -> bool {
    // Scripts find it in the events.
    if preview.is_wanted() || context.output.is_json() {
        return false;
    }
    let events = context.client.list_events(revision, 1).await.map(|response| response.events);
    let body = events.ok().and_then(|events| events.into_iter().next()?.body);
    matches!(body, Some(Body::Unchanged(_)))
}

/// Each event as a line of its own, and how many more there are.
pub(super) fn changes(events: &[v1::Event], omitted: u32) -> String {
    let mut lines: String =
        events.iter().map(|event| format!("  {}\n", one_line(&happened(event)))).collect();
    if omitted > 0 {
        lines.push_str(&format!("  and {omitted} more, too much for one answer\n"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_so_already_is_not_told_as_a_change() {
        let told = Told { revision: 8, replayed: false, unchanged: true, would_write: &[], omitted: 0 };
        assert_eq!(
            Preview::default().sentence("locked: acme gpu, now version 3,", &told),
            "nothing to change: acme gpu, now version 3, at revision 8"
        );
    }

    #[test]
    fn what_an_answer_had_no_room_for_is_counted() {
        assert_eq!(changes(&[], 0), "");
        assert_eq!(changes(&[], 7), "  and 7 more, too much for one answer\n");
    }
}
