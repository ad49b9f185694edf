//! The event stream: a page of it, or all that comes.

use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use prost::Message as _;
use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::page;
use super::status;
use crate::codec::command;
use crate::codec::event::filter::Filter;
use crate::ledger::Malformed;
use crate::ledger::Revision;
use crate::node::deadline::deadline;
use crate::node::watch::Item;
use crate::node::watch::Message;
use crate::node::watch::NoEvents;
use crate::node::watch::Start;
use crate::node::watch::Wanted;
use crate::node::watch::Watcher;
use crate::proto::v1;
use crate::proto::v1::events_server::Events;
use crate::proto::v1::watch_response;

/// How long a watch may be silent when its client does not say, in milliseconds.
const DEFAULT_BOOKMARK_MS: u32 = 5_000;

/// How long it may be silent if it does.
const BOOKMARK_MS: std::ops::RangeInclusive<u32> = 100..=600_000;

/// How many events are read at once for a page.
const READ: usize = 1_000;

/// What a watch says.
pub(super) type Watched = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Events for Api {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let filter = filter(request.get_ref().filter.clone())?;
        let revision = self.reach(&request, request.get_ref().read).await?;
        let (from_revision, omit_commands) =
            (request.get_ref().from_revision, request.get_ref().omit_commands);
        let compacted_at = self.node.compacted_at();
        let from = if from_revision == 0 { compacted_at + 1 } else { from_revision };
        if from <= compacted_at {
            return Err(status::no_events(&NoEvents::Compacted { at: compacted_at }));
        }
        // Log time never goes back: what is before the time that is wanted is passed over at once.
        let first =
            self.node.first_at(filter.from_ms(), from, revision, deadline(&request, DEFAULT_TIMEOUT)).await;
        let from = first.map_err(|error| status::no_events(&error))?;
        let page = self.page(from..revision.saturating_add(1), size, &filter, omit_commands).await;
        let (events, next_revision) = page.map_err(|error| status::no_events(&error))?;
        Ok(Response::new(v1::ListEventsResponse { events, next_revision, revision, compacted_at }))
    }

    type WatchStream = Watched;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Watched>, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        let wanted = wanted(request.into_inner())?;
        let watcher = self.node.watch(wanted, deadline).await;
        let watcher = watcher.map_err(|error| status::no_events(&error))?;
        Ok(Response::new(Box::pin(messages(watcher))))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.checkpoint(request).await
    }

    async fn get_proof(
        &self,
        request: Request<v1::GetProofRequest>,
    ) -> Result<Response<v1::GetProofResponse>, Status> {
        self.proof(request).await
    }

    async fn export_events(
        &self,
        request: Request<v1::ExportEventsRequest>,
    ) -> Result<Response<v1::ExportEventsResponse>, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        let v1::ExportEventsRequest { from_revision, to_revision } = request.into_inner();
        let page = self.node.export(from_revision, to_revision, deadline).await;
        let page = page.map_err(|error| status::no_events(&error))?;
        Ok(Response::new(v1::ExportEventsResponse {
            first_revision: page.first,
            block: page.block.into(),
            next_revision: page.next.unwrap_or(0),
            end_revision: page.end,
        }))
    }

    async fn compact_events(
        &self,
        request: Request<v1::CompactEventsRequest>,
    ) -> Result<Response<v1::CompactEventsResponse>, Status> {
        self.run(request, command::Message::CompactEvents).await
    }
}

impl Api {
    /// Wanted events of a range of revisions, and where the next page begins. A bounded number is looked at.
    async fn page(
        &self,
        range: Range<Revision>,
        size: usize,
        filter: &Filter,
        omit_commands: bool,
    ) -> Result<(Vec<v1::Event>, Revision), NoEvents> {
        let Range { start: from, end } = range;
        let (mut page, mut bytes, mut next) = (Vec::new(), 0, from);
        // Each that is looked at may be the last that is wanted.
        let most = if filter.is_all() { size.min(READ) } else { READ };
        while page.len() < size && bytes < page::MOST_BYTES && next - from < page::MOST_LOOKED_AT as u64 {
            let read = self.node.events_from(next, most).await?;
            if read.is_empty() {
                break;
            }
            for mut event in read {
                // Of the past, or what came after it was looked how far this node is.
                if page.len() == size || bytes >= page::MOST_BYTES || event.revision >= end {
                    return Ok((page, next));
                }
                if filter.is_past(event.log_time_ms) {
                    return Ok((page, end.max(event.revision + 1)));
                }
                next = event.revision + 1;
                if filter.passes(&event) {
                    if omit_commands {
                        (event.command, event.batch) = (None, None);
                    }
                    bytes += event.encoded_len();
                    page.push(event);
                }
            }
        }
        Ok((page, next))
    }
}

fn filter(message: Option<v1::EventFilter>) -> Result<Filter, Status> {
    Filter::decode(message).map_err(|error| status::malformed(&error))
}

fn wanted(request: v1::WatchRequest) -> Result<Wanted, Status> {
    use v1::watch_request::Start as Message;
    let malformed = |field, problem: String| status::malformed(&Malformed::new(field, problem));
    let start = match request.start {
        Some(Message::FromRevision(0)) => {
            return Err(malformed("from_revision", "is 0; revisions begin with 1".to_owned()));
        }
        Some(Message::FromRevision(from)) => Start::Revision(from),
        Some(Message::Now(true)) => Start::Now,
        Some(Message::Snapshot(true)) => Start::Snapshot,
        Some(Message::Now(false) | Message::Snapshot(false)) | None => {
            let problem = "says not where to begin: give from_revision, now or snapshot";
            return Err(malformed("start", problem.to_owned()));
        }
    };
    let interval = match request.bookmark_interval_ms {
        0 => DEFAULT_BOOKMARK_MS,
        interval if BOOKMARK_MS.contains(&interval) => interval,
        interval => {
            let (least, most) = (BOOKMARK_MS.start(), BOOKMARK_MS.end());
            let problem = format!("is {interval}; {least} to {most} is allowed, and 0 for the default");
            return Err(malformed("bookmark_interval_ms", problem));
        }
    };
    Ok(Wanted {
        start,
        filter: filter(request.filter)?,
        omit_commands: request.omit_commands,
        bookmark_interval: Duration::from_millis(interval.into()),
    })
}

/// All that a watcher says, up to the error that ends it. Each is made when the connection has room for
/// it, and a watcher is gone with its connection.
fn messages(watcher: Watcher) -> impl Stream<Item = Result<v1::WatchResponse, Status>> {
    stream::unfold(Some(watcher), |watcher| async move {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(message) => Some((Ok(encode(message)), Some(watcher))),
            Err(error) => Some((Err(status::no_events(&error)), None)),
        }
    })
}

fn encode(message: Message) -> v1::WatchResponse {
    use watch_response::Item as Encoded;
    let item = match message.item {
        Item::Events(events) => Encoded::Events(v1::WatchedEvents { events }),
        Item::Bookmark(log_time_ms) => Encoded::Bookmark(v1::Bookmark { log_time_ms }),
        Item::CaughtUp(log_time_ms) => Encoded::CaughtUp(v1::CaughtUp { log_time_ms }),
        Item::FellBehind(newest_revision) => Encoded::FellBehind(v1::FellBehind { newest_revision }),
        Item::Snapshot(part) => Encoded::Snapshot(part),
        Item::SnapshotEnd(log_time_ms) => Encoded::SnapshotEnd(v1::SnapshotEnd { log_time_ms }),
    };
    v1::WatchResponse { revision: message.revision, item: Some(item) }
}
