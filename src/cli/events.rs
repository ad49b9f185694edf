//! The verbs of the event stream: what the ledger decided, in order.
//!
//! Knows nothing of how each event is put into words.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::event_text::line;
use super::read::ReadArgs;

/// The most that the server gives at once.
const LARGEST_PAGE: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show events, one per line
    List(ListEventsArgs),
}

#[derive(Debug, Args)]
pub struct ListEventsArgs {
    /// The first revision to show
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    read: ReadArgs,
}

impl EventsCommand {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl ListEventsArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let client = self.read.client(context);
        let (mut from, mut missing) = (self.from, self.limit);
        // Shown page by page: a long history starts to show at once, and needs no memory.
        while missing > 0 && !context.output.is_closed() {
            let size = missing.min(LARGEST_PAGE) as u32;
            let response = client.list_events(from, size).await?;
            for event in response.events.iter().take(size as usize) {
                context.output.show(event, line)?;
                missing -= 1;
            }
            if response.events.is_empty() || response.next_revision > response.revision {
                break;
            }
            from = response.next_revision;
        }
        Ok(())
    }
}
