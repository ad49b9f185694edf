//! The verbs of the event stream: what the ledger decided, in order, so far or as it goes on.
//!
//! Knows nothing of how each event is put into words.

use clap::Args;
use clap::Subcommand;
use uuid::Uuid;

use super::Context;
use super::Failure;
use super::arguments;
use super::audit;
use super::event_text::line;
use super::read::ReadArgs;
use super::times::Bound;
use crate::client::v1;
use crate::client::v1::watch_request::Start;
use crate::client::v1::watch_response::Item;

/// The most that the server gives at once.
const LARGEST_PAGE: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show events, one per line
    List(ListEventsArgs),
    Export(audit::ExportEventsArgs),
    Checkpoint(audit::CheckpointArgs),
    Prove(audit::ProveArgs),
    Compact(audit::CompactArgs),
    /// Show events as they come, one per line, until it is interrupted
    Tail(TailEventsArgs),
}

#[derive(Debug, Args)]
pub struct ListEventsArgs {
    /// The first revision to show [default: the first there is]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Args)]
pub struct TailEventsArgs {
    /// Begin with this revision [default: with the next event, or with the first since --since]
    #[arg(long, value_name = "N", conflicts_with = "since_start", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Begin with the first event there is
    #[arg(long)]
    since_start: bool,
    /// End when all that was there has been shown, instead of waiting for more
    #[arg(long)]
    until_caught_up: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Which events are shown: those to which everything applies that is given.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only what concerns this scope or one below it, denials of what was asked for there included
    #[arg(long, value_name = "PATH")]
    scope: Option<String>,
    /// Only what concerns this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only events of this kind, such as reserved, rejected or quota_set; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only what this actor asked for (--actor says who you are)
    #[arg(long, value_name = "ACTOR")]
    by: Option<String>,
    /// Only what answers this request
    #[arg(long, value_name = "UUID", value_parser = arguments::request_id)]
    request: Option<Uuid>,
    /// Only from this log time on: UTC like 2026-11-21T12:00:00Z, or how long ago like 2h
    #[arg(long, value_name = "TIME")]
    since: Option<Bound>,
    /// Only before this log time, written the same way
    #[arg(long, value_name = "TIME")]
    until: Option<Bound>,
    /// Only what is about this hold
    #[arg(long, value_name = "HOLD", value_parser = clap::value_parser!(u64).range(1..))]
    hold: Option<u64>,
}

impl FilterArgs {
    fn message(self, now_ms: u64) -> v1::EventFilter {
        v1::EventFilter {
            scope: self.scope.unwrap_or_default(),
            resource: self.resource.unwrap_or_default(),
            kinds: self.kind,
            actor: self.by.unwrap_or_default(),
            request_id: self.request.map(|id| id.to_string()).unwrap_or_default(),
            from_ms: self.since.map_or(0, |bound| bound.ms(now_ms)),
            to_ms: self.until.map_or(0, |bound| bound.ms(now_ms)),
            hold_id: self.hold.unwrap_or_default(),
        }
    }
}

impl EventsCommand {
    pub(super) fn has_request_id(&self) -> bool {
        matches!(self, Self::Compact(arguments) if !arguments.preview.is_wanted())
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::List(arguments) => arguments.run(context).await,
            Self::Export(arguments) => arguments.run(context).await,
            Self::Checkpoint(arguments) => arguments.run(context).await,
            Self::Prove(arguments) => arguments.run(context).await,
            Self::Compact(arguments) => arguments.run(context).await,
            Self::Tail(arguments) => arguments.run(context).await,
        }
    }
}

impl ListEventsArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (mut from, mut missing) = (self.from.unwrap_or_default(), self.limit);
        let filter = self.filter.message(context.now_ms());
        let client = self.read.client(context);
        // Shown page by page: a long history starts to show at once, and needs no memory.
        while missing > 0 && !context.output.is_closed() {
            let page_size = missing.min(LARGEST_PAGE) as u32;
            let message = v1::ListEventsRequest {
                from_revision: from,
                page_size,
                filter: Some(filter.clone()),
                ..Default::default()
            };
            let response = client.find_events(message).await?;
            for event in response.events.iter().take(page_size as usize) {
                context.output.show(event, line)?;
                missing -= 1;
            }
            if response.next_revision > response.revision {
                break;
            }
            from = response.next_revision;
        }
        Ok(())
    }
}

impl TailEventsArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let start = match self.from {
            Some(from) => Start::FromRevision(from),
            None if self.since_start || self.filter.since.is_some() => {
                let there = context.client.list_events(0, 1).await?;
                Start::FromRevision(there.compacted_at + 1)
            }
            None => Start::Now(true),
        };
        let filter = Some(self.filter.message(context.now_ms()));
        let request = v1::WatchRequest { start: Some(start), filter, ..Default::default() };
        let mut watcher = context.client.watch(request);
        while !context.output.is_closed() {
            match watcher.next().await?.item {
                Some(Item::Events(v1::WatchedEvents { events })) => {
                    for event in &events {
                        context.output.show(event, line)?;
                    }
                }
                Some(Item::CaughtUp(_)) if self.until_caught_up => break,
                _ => {}
            }
        }
        Ok(())
    }
}
