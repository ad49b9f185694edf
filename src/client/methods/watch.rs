//! The event stream as it comes, on whichever node has it, for as long as somebody asks for more.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::timeout;
use tonic::Status;
use tonic::Streaming;

use crate::client::Client;
use crate::client::ClientError;
use crate::client::rejection_of;
use crate::client::retry::FIRST_PAUSE;
use crate::client::retry::LONGEST_PAUSE;
use crate::client::retry::may_go_better_elsewhere;
use crate::client::retry::words;
use crate::planted::Bug;
use crate::planted::planted;
use crate::proto::v1::watch_request::Start;
use crate::proto::v1::watch_response::Item;
use crate::proto::v1::*;

/// What a node takes for the longest silence when it is not told, in milliseconds.
const DEFAULT_BOOKMARK_MS: u32 = 5_000;

/// How much longer than twice the longest silence a node may be silent before it is taken for dead.
const SLACK: Duration = Duration::from_secs(1);

impl Client {
    /// Watches events as the message says. Connects when the first message is asked for: a watch from
    /// `now` begins with that, and is sure to have begun when [`Watcher::next`] first returns.
    pub fn watch(&self, request: WatchRequest) -> Watcher {
        Watcher::new(self.clone(), request)
    }
}

/// Events as they come. When a node is lost it goes on at the next, after what it has handed out:
/// nothing is handed out twice, out of order, or left out.
#[derive(Debug)]
pub struct Watcher {
    client: Client,
    /// Where it would begin now, and what is wanted.
    request: WatchRequest,
    connection: Option<Connection>,
    position: Position,
    /// How long a node may be silent.
    patience: Duration,
    pause: Duration,
}

#[derive(Debug)]
struct Connection {
    node: usize,
    messages: Streaming<WatchResponse>,
}

impl Watcher {
    fn new(client: Client, request: WatchRequest) -> Self {
        let interval = match request.bookmark_interval_ms {
            0 => DEFAULT_BOOKMARK_MS,
            interval => interval,
        };
        let position = Position::of(&request);
        let patience = Duration::from_millis(interval.into()) * 2 + SLACK;
        Self { client, request, connection: None, position, patience, pause: FIRST_PAUSE }
    }

    /// Everything wanted up to here was handed out; none while that is not known yet.
    pub fn revision(&self) -> Option<u64> {
        self.position.seen
    }

    /// Waits for the next message. It may be given up in between, and asked for again.
    ///
    /// A snapshot that is cut off begins again: parts of it may be handed out twice, those of another
    /// `revision` replace all that came before.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unavailable`] when no node has given one for as long as a call may take; asking
    /// again goes on. [`ClientError::Rejected`] when the request is refused, or what comes next has
    /// been removed meanwhile.
    pub async fn next(&mut self) -> Result<WatchResponse, ClientError> {
        let mut deadline = None;
        loop {
            let lost = match self.try_next().await {
                Ok(message) => {
                    self.pause = FIRST_PAUSE;
                    return Ok(message);
                }
                Err(Lost::Refused(error)) => return Err(error),
                Err(Lost::Node { node, problem }) => (node, problem),
            };
            let (node, problem) = lost;
            self.connection = None;
            let inner = &self.client.inner;
            let last = format!("{}: {problem}", inner.nodes.address(node));
            inner.nodes.turn_from(node);
            let now = Instant::now();
            if now >= *deadline.get_or_insert(now + inner.timeout) {
                return Err(ClientError::Unavailable { last });
            }
            let pause = inner.jitter.shorten(self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_next(&mut self) -> Result<WatchResponse, Lost> {
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        let Connection { node, messages } = self.connection.as_mut().expect("made above");
        let node = *node;
        let lost = |problem| Lost::Node { node, problem };
        let message = match timeout(self.patience, messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Err(lost("it ended the watch".to_owned())),
            Ok(Err(status)) => return Err(Lost::of(node, status)),
            Err(_) => return Err(lost(format!("silent for {:?}", self.patience))),
        };
        self.position.advance(&message).map_err(lost)?;
        if let Some(next) = self.position.next() {
            self.request.start = Some(Start::FromRevision(next));
        }
        Ok(message)
    }

    async fn connect(&self) -> Result<Connection, Lost> {
        let inner = &self.client.inner;
        let node = inner.nodes.current();
        let request = self.client.request_without_deadline(self.request.clone());
        let mut events = super::events(inner.nodes.channel_for_watches(node));
        match timeout(inner.try_timeout, events.watch(request)).await {
            Ok(Ok(response)) => Ok(Connection { node, messages: response.into_inner() }),
            Ok(Err(status)) => Err(Lost::of(node, status)),
            Err(_) => Err(Lost::Node { node, problem: format!("no answer within {:?}", inner.try_timeout) }),
        }
    }
}

/// Why there is no message.
enum Lost {
    /// This node has none, another may.
    Node { node: usize, problem: String },
    /// No node will have any.
    Refused(ClientError),
}

impl Lost {
    fn of(node: usize, status: Status) -> Self {
        if may_go_better_elsewhere(&status) {
            return Self::Node { node, problem: words(&status) };
        }
        let rejection = rejection_of(&status).map(Box::new);
        Self::Refused(ClientError::Rejected { status, rejection })
    }
}

/// How far a watch has come, and what may come next.
#[derive(Debug)]
struct Position {
    seen: Option<u64>,
    /// Whether every event is wanted: then none is missing between two.
    is_all: bool,
    /// Whether the state has begun to come and is not complete.
    in_snapshot: bool,
}

impl Position {
    fn of(request: &WatchRequest) -> Self {
        let seen = match request.start {
            Some(Start::FromRevision(from)) => from.checked_sub(1),
            _ => None,
        };
        let is_all = request.filter.as_ref().is_none_or(|filter| *filter == EventFilter::default());
        Self { seen, is_all, in_snapshot: false }
    }

    /// The revision with which to go on; none to begin again as it was begun.
    fn next(&self) -> Option<u64> {
        self.seen.filter(|_| !self.in_snapshot).map(|seen| seen + 1 + u64::from(planted(Bug::WatchSkips)))
    }

    /// Takes note of a message, or says why it cannot come next. Then nothing is changed.
    fn advance(&mut self, message: &WatchResponse) -> Result<(), String> {
        let mut seen = self.seen;
        match &message.item {
            Some(Item::Snapshot(_)) => {
                self.in_snapshot = true;
                return Ok(());
            }
            Some(Item::Events(WatchedEvents { events })) => {
                for event in events {
                    if let Some(last) = seen
                        && (event.revision <= last || self.is_all && event.revision != last + 1)
                    {
                        return Err(format!("it sent revision {} after {last}", event.revision));
                    }
                    seen = Some(event.revision);
                }
            }
            Some(Item::SnapshotEnd(_)) => seen = Some(message.revision),
            // Also what a newer node may say beyond these.
            Some(Item::Bookmark(_) | Item::CaughtUp(_) | Item::FellBehind(_)) | None => {}
        }
        let is_gap = |seen| message.revision < seen || self.is_all && message.revision != seen;
        if let Some(seen) = seen.filter(|seen| is_gap(*seen)) {
            return Err(format!("it says to have sent everything up to {} after {seen}", message.revision));
        }
        self.in_snapshot = false;
        self.seen = Some(message.revision);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(start: Start, filter: EventFilter) -> Position {
        Position::of(&WatchRequest { start: Some(start), filter: Some(filter), ..Default::default() })
    }

    fn all(start: Start) -> Position {
        position(start, EventFilter::default())
    }

    fn some() -> Position {
        let filter = EventFilter { scope: "acme".into(), ..Default::default() };
        position(Start::FromRevision(5), filter)
    }

    fn events(revisions: &[u64], revision: u64) -> WatchResponse {
        let event = |revision: &u64| Event { revision: *revision, ..Default::default() };
        let events = revisions.iter().map(event).collect();
        WatchResponse { revision, item: Some(Item::Events(WatchedEvents { events })) }
    }

    fn bookmark(revision: u64) -> WatchResponse {
        WatchResponse { revision, item: Some(Item::Bookmark(Bookmark::default())) }
    }

    #[test]
    fn what_was_seen_is_not_asked_for_again() {
        let mut position = all(Start::FromRevision(5));
        assert_eq!(position.next(), Some(5));
        position.advance(&events(&[5, 6, 7], 7)).expect("they come next");
        assert_eq!(position.next(), Some(8));
        position.advance(&bookmark(7)).expect("nothing came");
        assert_eq!(position.next(), Some(8));
    }

    #[test]
    fn a_watch_from_now_on_goes_on_where_its_first_message_began() {
        let mut position = all(Start::Now(true));
        assert_eq!(position.next(), None);
        position.advance(&bookmark(41)).expect("anything may come first");
        assert_eq!(position.next(), Some(42));
        assert!(position.advance(&events(&[44], 44)).is_err());
        let mut position = all(Start::Now(true));
        position.advance(&events(&[17, 18], 18)).expect("anything may come first");
        assert_eq!(position.next(), Some(19));
    }

    #[test]
    fn a_repeat_is_no_message() {
        for mut position in [all(Start::FromRevision(5)), some()] {
            position.advance(&events(&[5, 6], 6)).expect("they come next");
            assert!(position.advance(&events(&[6], 6)).is_err());
            assert!(position.advance(&events(&[8, 7], 8)).is_err());
            assert!(position.advance(&bookmark(5)).is_err());
            assert_eq!(position.next(), Some(7));
        }
    }

    #[test]
    fn without_a_filter_a_gap_is_no_message() {
        let mut position = all(Start::FromRevision(5));
        assert!(position.advance(&events(&[6], 6)).is_err());
        assert!(position.advance(&events(&[5, 7], 7)).is_err());
        assert!(position.advance(&events(&[5], 6)).is_err());
        assert!(position.advance(&bookmark(5)).is_err());
        assert_eq!(position.next(), Some(5));
        let mut position = some();
        position.advance(&events(&[6, 9], 11)).expect("the others are not wanted");
        position.advance(&bookmark(20)).expect("none was wanted");
        assert_eq!(position.next(), Some(21));
    }

    #[test]
    fn a_state_that_is_cut_off_begins_again_and_a_complete_one_does_not() {
        let mut position = all(Start::Snapshot(true));
        let part = WatchResponse { revision: 9, item: Some(Item::Snapshot(Snapshot::default())) };
        position.advance(&part).expect("a part");
        assert_eq!(position.next(), None);
        let end = WatchResponse { revision: 9, item: Some(Item::SnapshotEnd(SnapshotEnd::default())) };
        position.advance(&end).expect("the end");
        assert_eq!(position.next(), Some(10));
    }
}
