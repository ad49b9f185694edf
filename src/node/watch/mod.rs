//! Watching: events as they come, for many readers at once.
//!
//! | file | subject |
//! |---|---|
//! | `tail` | the newest events, decoded once for all who watch |
//! | `pump` | fills the tail and wakes who waits, so that the applying of entries has one listener |
//! | `opening` | the state with which a watch may begin |
//! | `watcher` | one reader: a place in the stream, and what to say next |
//!
//! Nothing is kept for a reader but its place. One that is near the head takes from the tail; one that
//! is further behind reads pages from the disk, one reader at a time, so that however many there are
//! and however slow, they cost no more than one.

mod opening;
pub(super) mod pump;
mod tail;
mod watcher;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout_at;

use self::opening::Opening;
use self::tail::Tail;
pub use self::watcher::Item;
pub use self::watcher::Message;
pub use self::watcher::Watcher;
use super::Error;
use super::ErrorKind;
use super::Node;
use crate::codec::event::filter::Filter;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::proto::v1;
use crate::raft::OpenBlock;
use crate::raft::state_machine::Progress;

/// How old the state may be with which a watch begins.
const SHARED: Duration = Duration::from_secs(10);

/// How long to wait while everything is replaced by a snapshot.
const REPLACED: Duration = Duration::from_millis(10);

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With this revision, from 1.
    Revision(Revision),
    /// After everything that was acknowledged before the call.
    Now,
    /// With the state as it is, or was some seconds ago.
    Snapshot,
}

/// What is to be watched.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// From where on.
    pub start: Start,
    /// Which events.
    pub filter: Filter,
    /// Whether events come without what was asked.
    pub omit_commands: bool,
    /// How long nothing may be said.
    pub bookmark_interval: Duration,
}

/// Why there are no events, or no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEvents {
    /// What was asked for has been removed.
    #[error("events up to revision {at} were removed; the first there is has revision {}", at + 1)]
    Compacted {
        /// Everything up to here was removed.
        at: Revision,
    },
    /// What was asked for does not come next.
    #[error("revision {from} was asked for, and the newest there is has revision {newest}")]
    NotReached {
        /// What was asked for.
        from: Revision,
        /// The newest anywhere.
        newest: Revision,
    },
    /// It did not work.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What all watchers of a node share.
pub(super) struct Watches {
    tail: Mutex<Tail>,
    head: watch::Sender<Head>,
    /// Whoever reads pages from the disk takes turns: a page takes a thread of the runtime for some
    /// milliseconds, and Raft needs the others.
    reading: tokio::sync::Mutex<OpenBlock>,
    /// The state with which watches began last, and when it was made.
    shared: tokio::sync::Mutex<Option<(Instant, Weak<State>)>>,
}

/// How far watchers were told to look.
#[derive(Debug, Clone, Copy)]
struct Head {
    revision: Revision,
    /// What comes after that revision is not older.
    time: LogTime,
    /// Whether all watches are to end.
    stopping: bool,
}

impl Watches {
    pub(super) fn new(progress: Progress) -> Self {
        let head = Head { revision: progress.revision, time: progress.time, stopping: false };
        Self {
            tail: Mutex::new(Tail::after(progress.revision)),
            head: watch::Sender::new(head),
            reading: Default::default(),
            shared: Default::default(),
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().expect("nothing panics while it holds the tail")
    }
}

impl Node {
    /// Begins to watch.
    pub async fn watch(self: &Arc<Self>, wanted: Wanted, deadline: Instant) -> Result<Watcher, NoEvents> {
        let seen = match wanted.start {
            Start::Now => {
                self.linearize(deadline).await?;
                self.newest()
            }
            Start::Snapshot => {
                let opening = Opening::new(self.opening_state(deadline).await?);
                return Ok(Watcher::opened(Arc::clone(self), opening, wanted));
            }
            Start::Revision(from) => {
                assert!(from > 0, "revisions begin with 1");
                self.check_start(from, deadline).await?;
                from - 1
            }
        };
        Ok(Watcher::new(Arc::clone(self), seen, wanted))
    }

    /// A state to begin with. It need not be the newest, since every event after it follows: many who
    /// begin at once share one.
    async fn opening_state(&self, deadline: Instant) -> Result<Arc<State>, Error> {
        let Ok(mut shared) = timeout_at(deadline, self.watches.shared.lock()).await else {
            return Err(Error::unavailable("other watches are waiting for the state; try again later"));
        };
        if let Some((made, state)) = &*shared
            && made.elapsed() < SHARED
            && let Some(state) = state.upgrade()
        {
            return Ok(state);
        }
        let state = self.frozen(deadline).await?;
        *shared = Some((Instant::now(), Arc::downgrade(&state)));
        Ok(state)
    }

    /// Ends all watches, and those that begin from now on.
    pub fn stop_watches(&self) {
        self.watches.head.send_modify(|head| head.stopping = true);
    }

    /// The newest revision on this node.
    fn newest(&self) -> Revision {
        self.progress.borrow().revision
    }

    async fn check_start(&self, from: Revision, deadline: Instant) -> Result<(), NoEvents> {
        if from > self.newest() + 1 {
            // This node may be behind.
            self.linearize(deadline).await?;
            let newest = self.newest();
            return if from > newest + 1 { Err(NoEvents::NotReached { from, newest }) } else { Ok(()) };
        }
        let at = self.compacted_at();
        if from <= at { Err(NoEvents::Compacted { at }) } else { Ok(()) }
    }

    /// Events up to this revision were let go of; 0 for none.
    pub fn compacted_at(&self) -> Revision {
        self.parts.applied.compacted_at()
    }

    /// Events from exactly this revision on: at most `limit`, fewer when they are large, and none only
    /// when none is there yet. Lets others run before it returns.
    pub async fn events_from(&self, from: Revision, limit: usize) -> Result<Vec<v1::Event>, NoEvents> {
        loop {
            let generation = self.parts.applied.generation();
            let newest = self.newest();
            let events = {
                let mut open = self.watches.reading.lock().await;
                self.parts.applied.events(from, limit, &mut open)
            };
            let at = self.compacted_at();
            tokio::task::yield_now().await;
            if self.is_replaced_since(generation) {
                // What was read, and what is known of it, are not of one store.
                self.watches.reading.lock().await.clear();
                tokio::time::sleep(REPLACED).await;
                continue;
            }
            let events = events.map_err(|error| self.unreadable(&error))?;
            return match events.first() {
                Some(first) if first.revision == from => Ok(events),
                None if from > newest => Ok(events),
                _ if from <= at => Err(NoEvents::Compacted { at }),
                _ => Err(self.unreadable(&format!("revision {from} is missing")).into()),
            };
        }
    }

    /// That events cannot be read is a fault of this node.
    fn unreadable(&self, error: &dyn std::fmt::Display) -> Error {
        self.parts.faults.report(format!("read events: {error}"));
        Error::new(ErrorKind::Fault, format!("this node cannot read its events and stops: {error}"))
    }
}
