//! One reader of the stream: how far it has seen, and what to say next.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout_at;

use super::Head;
use super::NoEvents;
use super::Opening;
use super::Wanted;
use super::tail::Found;
use crate::codec::event;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::node::Error;
use crate::node::Node;
use crate::proto::v1;

/// The most events of one message.
const MOST: usize = 1_000;

/// A message ends before the event with which it would have more bytes, unless that is its first. A
/// connection that takes nothing more has one of its messages on its way.
const MOST_BYTES: usize = 256 << 10;

/// One thing to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Everything wanted up to here has been said, with this. Never goes back.
    pub revision: Revision,
    /// What is said.
    pub item: Item,
}

/// What a watcher says.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// In order, without gap or repeat.
    Events(Vec<v1::Event>),
    /// Nothing wanted happened. What comes is not older than this.
    Bookmark(LogTime),
    /// All that was there has been said. What comes is not older than this.
    CaughtUp(LogTime),
    /// Events come faster than they are taken; the newest of this node.
    FellBehind(Revision),
    /// A part of the state.
    Snapshot(v1::Snapshot),
    /// The state is complete; its log time.
    SnapshotEnd(LogTime),
}

/// One reader. It costs nothing while nobody asks it for the next message.
pub struct Watcher {
    node: Arc<Node>,
    wanted: Wanted,
    head: watch::Receiver<Head>,
    /// Everything up to here has been looked at.
    seen: Revision,
    /// Log time of that, as far as it is known.
    time: LogTime,
    /// Whether it takes from the tail; from the disk otherwise.
    joined: bool,
    /// When something was said last.
    spoke: Instant,
    /// The state, until all of it was said.
    opening: Option<Opening>,
}

impl Watcher {
    pub(super) fn new(node: Arc<Node>, seen: Revision, wanted: Wanted) -> Self {
        let head = node.watches.head.subscribe();
        Self { node, wanted, head, seen, time: 0, joined: false, spoke: Instant::now(), opening: None }
    }

    /// A watcher that tells a state first, and then what came after it.
    pub(super) fn opened(node: Arc<Node>, opening: Opening, wanted: Wanted) -> Self {
        let mut watcher = Self::new(node, opening.revision(), wanted);
        watcher.opening = Some(opening);
        watcher
    }

    /// Waits for the next thing to say. After an error there is nothing more.
    pub async fn next(&mut self) -> Result<Message, NoEvents> {
        loop {
            let head = *self.head.borrow_and_update();
            if head.stopping {
                return Err(Error::unavailable("this node is stopping; go on at another one").into());
            }
            if self.opening.is_some() {
                return Ok(self.open().await);
            }
            let said = if self.joined { self.take_from_tail(head) } else { self.read_from_disk().await? };
            if let Some(item) = said {
                return Ok(self.say(item));
            }
            let until = self.spoke + self.wanted.bookmark_interval;
            let waited = if self.joined && self.seen >= head.revision {
                self.time = self.time.max(head.time);
                timeout_at(until, self.head.changed()).await
            } else {
                // Nothing of much was wanted: others shall run, and the reader hear of it in time.
                tokio::task::yield_now().await;
                Ok(Ok(()))
            };
            if waited.is_err() || Instant::now() >= until {
                return Ok(self.say(Item::Bookmark(self.time)));
            }
        }
    }

    /// The next part of the state, or its end.
    async fn open(&mut self) -> Message {
        let opening = self.opening.as_mut().expect("it was looked at just now");
        let (part, time) = (opening.part(&self.wanted.filter), opening.time());
        // A part takes a thread of the runtime for some milliseconds.
        tokio::task::yield_now().await;
        match part {
            Some(part) => self.say(Item::Snapshot(part)),
            None => {
                (self.opening, self.time) = (None, time);
                self.say(Item::SnapshotEnd(time))
            }
        }
    }

    fn say(&mut self, item: Item) -> Message {
        self.spoke = Instant::now();
        Message { revision: self.seen, item }
    }

    /// What is new in the tail; none when nothing of it is wanted.
    fn take_from_tail(&mut self, head: Head) -> Option<Item> {
        let found = {
            let mut tail = self.node.watches.tail();
            let found = tail.after_revision(self.seen, MOST, MOST_BYTES);
            if matches!(found, Found::Gone) {
                tail.leave();
                self.joined = false;
            }
            found
        };
        let Found::Events(found) = found else {
            return Some(Item::FellBehind(self.node.newest().max(head.revision)));
        };
        self.look_at(found.last().map(|last| &*last.event));
        let wanted = found.iter().filter(|found| self.wanted.filter.passes(&found.event));
        let events: Vec<_> = wanted
            .map(|found| {
                if self.wanted.omit_commands {
                    event::without_commands(&found.event)
                } else {
                    v1::Event::clone(&found.event)
                }
            })
            .collect();
        (!events.is_empty()).then_some(Item::Events(events))
    }

    /// The next page from the disk, or that there is no more; none when nothing of it is wanted.
    async fn read_from_disk(&mut self) -> Result<Option<Item>, NoEvents> {
        let progress = *self.node.progress.borrow();
        if self.seen >= progress.revision && self.node.watches.tail().join(self.seen) {
            self.joined = true;
            if self.seen == progress.revision {
                self.time = self.time.max(progress.time);
            }
            return Ok(Some(Item::CaughtUp(self.time)));
        }
        let mut events = self.node.events_from(self.seen + 1, MOST).await?;
        self.look_at(events.last());
        events.retain(|event| self.wanted.filter.passes(event));
        if self.wanted.omit_commands {
            for event in &mut events {
                (event.command, event.batch) = (None, None);
            }
        }
        Ok((!events.is_empty()).then_some(Item::Events(events)))
    }

    fn look_at(&mut self, last: Option<&v1::Event>) {
        if let Some(last) = last {
            (self.seen, self.time) = (last.revision, last.log_time_ms);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.joined {
            self.node.watches.tail().leave();
        }
    }
}
