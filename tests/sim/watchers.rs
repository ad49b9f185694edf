//! Who watches: clients that take events as they come, from whichever node has them, through
//! everything that goes wrong. Each must see what it wants once, in order.

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientOptions;
use quorate::client::v1::Event;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::check::Verdict;
use crate::net::channels;
use crate::quotas::CLOCKED;
use crate::quotas::LENT;
use crate::quotas::RESOURCE;
use crate::trace;
use crate::watching::Watch;
use crate::watching::World;

/// One begins this long after the other.
const BEGIN: Duration = Duration::from_millis(250);

const WORLD: World = World {
    scopes: &["acme/ml", "acme/web", "acme"],
    resources: &[RESOURCE, LENT, CLOCKED[0].resource],
    actors: &["client-1", "client-2", "auditor"],
};

/// All of a run.
#[derive(Clone, Default)]
pub struct Watchers {
    /// Up to where each has to come, when that is known.
    end: Rc<Cell<Option<u64>>>,
    watched: Rc<RefCell<Vec<Watch>>>,
    /// How many watch.
    count: usize,
}

impl Watchers {
    pub fn new(count: usize) -> Self {
        Self { count, ..Self::default() }
    }

    /// Watches until the end is known and all have come there.
    pub async fn run(self, seed: u64, nodes: Vec<usize>) -> turmoil::Result {
        // Some begin at each node. Those share connections, or most of what a run does would be to keep
        // them up.
        let clients: Vec<Client> = (0..nodes.len()).map(|first| client(seed, &nodes, first)).collect();
        let mut tasks = JoinSet::new();
        for number in 0..self.count {
            let watch = Watch::new(&clients[number % nodes.len()], number, &WORLD);
            let begin = BEGIN * u32::try_from(number).expect("a small number");
            tasks.spawn_local(self.clone().watch(watch, begin));
        }
        while let Some(ended) = tasks.join_next().await {
            let problem: Result<(), String> = ended?;
            problem?;
        }
        Ok(())
    }

    async fn watch(self, mut watch: Watch, begin: Duration) -> Result<(), String> {
        sleep(begin).await;
        while self.end.get().is_none_or(|end| watch.revision().is_none_or(|revision| revision < end)) {
            if let Some(through) = watch.step().await? {
                trace::line(format_args!("watchers: one goes on behind what was removed, up to {through}"));
            }
        }
        self.watched.borrow_mut().push(watch);
        Ok(())
    }

    /// Tells that there are no more events after this one.
    pub fn end_at(&self, revision: u64) {
        self.end.set(Some(revision));
    }

    pub fn are_done(&self) -> bool {
        self.watched.borrow().len() == self.count
    }

    /// S7, for readers: what was seen is what is there.
    pub fn check(&self, events: &[Event]) -> Verdict {
        for watch in &*self.watched.borrow() {
            let seen = watch.check(events)?;
            trace::line(format_args!("auditor: a watcher saw {seen} events"));
        }
        Ok(())
    }
}

fn client(seed: u64, nodes: &[usize], first: usize) -> Client {
    let mut channels = channels(nodes);
    channels.rotate_left(first);
    let (timeout, try_timeout) = (Duration::from_secs(2), Duration::from_millis(500));
    let seed = Some(seed + first as u64);
    let options = ClientOptions { timeout, try_timeout, seed, ..ClientOptions::default() };
    Client::from_channels(channels, options).expect("the options are right")
}
