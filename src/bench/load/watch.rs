//! Reservations, and those who watch them: how long each takes from when it should have begun until it
//! has reached somebody who watches.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Asker;
use crate::bench::BenchError;
use crate::bench::meter::Meter;
use crate::bench::meter::Outcome;
use crate::bench::meter::Outcomes;
use crate::bench::tree::Tree;
use crate::client::Client;
use crate::client::Watcher;
use crate::client::v1;
use crate::client::v1::event::Body;
use crate::client::v1::watch_request::Start;
use crate::client::v1::watch_response::Item;

/// How long a watch is silent at most: so long is waited at the end, too.
const BOOKMARK_MS: u32 = 200;

/// When each reservation should have begun: its job is its number.
#[derive(Debug, Default)]
pub(super) struct Begun {
    due: Mutex<Vec<Instant>>,
    /// The last that was acknowledged.
    revision: AtomicU64,
}

impl Begun {
    fn add(&self, due: Instant) -> usize {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(due);
        all.len() - 1
    }

    fn due(&self, number: usize) -> Option<Instant> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).get(number).copied()
    }
}

/// All who watch; they go on until they have seen the last that was acknowledged.
pub(super) struct Watchers {
    tasks: JoinSet<()>,
    last: watch::Sender<Option<u64>>,
    begun: Arc<Begun>,
}

impl Watchers {
    /// Begins to watch: returns when all of them have begun.
    pub(super) async fn begin(
        count: usize,
        clients: &[Client],
        tree: &Tree,
        meter: &Arc<Meter>,
        begun: &Arc<Begun>,
    ) -> Result<Self, BenchError> {
        let (last, known) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let filter = v1::EventFilter { scope: tree.root().to_owned(), ..Default::default() };
            let mut watcher = clients[number % clients.len()].watch(v1::WatchRequest {
                start: Some(Start::Now(true)),
                filter: Some(filter),
                bookmark_interval_ms: BOOKMARK_MS,
                ..Default::default()
            });
            watcher.next().await.map_err(BenchError::client("watch the tree"))?;
            tasks.spawn(follow(watcher, known.clone(), Arc::clone(meter), Arc::clone(begun)));
        }
        Ok(Self { tasks, last, begun: Arc::clone(begun) })
    }

    /// Waits until everybody has seen everything. Each gives up by itself when there is no node.
    pub(super) async fn end(mut self) {
        self.last.send_replace(Some(self.begun.revision.load(Ordering::Relaxed)));
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn follow(
    mut watcher: Watcher,
    mut last: watch::Receiver<Option<u64>>,
    meter: Arc<Meter>,
    begun: Arc<Begun>,
) {
    loop {
        let is_over = last.borrow().is_some_and(|last| watcher.revision() >= Some(last));
        if is_over {
            return;
        }
        let message = tokio::select! {
            message = watcher.next() => message,
            _ = last.changed() => continue,
        };
        match message {
            Ok(v1::WatchResponse { item: Some(Item::Events(v1::WatchedEvents { events })), .. }) => {
                let jobs = events.iter().filter_map(|event| match &event.body {
                    Some(Body::Reserved(reserved)) => reserved.job.parse().ok(),
                    _ => None,
                });
                for due in jobs.filter_map(|job| begun.due(job)) {
                    meter.note(due, Outcomes::of_one(Outcome::Done));
                }
            }
            Ok(_) => {}
            Err(error) => {
                meter.trouble(|| format!("a watch: {error}"));
                return;
            }
        }
    }
}

impl Asker {
    /// Reserves for those who watch. What they see is counted there; only what they never will is
    /// counted here.
    pub(super) async fn be_watched(mut self, begun: Arc<Begun>) {
        let template = self.tree.reserve(0);
        while let Some(due) = self.course.next().await {
            let mut message = template.clone();
            message.lines[0].scope = self.tree.leaf(self.draw.pick(&mut self.random));
            message.job = begun.add(due).to_string();
            match self.client.reserve(self.ids.next(due), message).await {
                Ok(response) => {
                    begun.revision.fetch_max(response.revision, Ordering::Relaxed);
                }
                Err(error) => {
                    self.meter.trouble(|| error.to_string());
                    self.meter.note(due, Outcomes::of_one(Outcome::of_error(&error)));
                }
            }
        }
    }
}
