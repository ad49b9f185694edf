//! Somebody who keeps all events as they come, for longer than the cluster has to, and lets it let go of what
//! is kept. What is judged in the end is what was kept, and behind it what the nodes still have.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::v1::Event;
use quorate::client::v1::event::Body;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use crate::deadlines::Look;
use crate::net::channels;
use crate::trace;
use crate::workload::User;
use crate::workload::now;

/// How often the events are read on the way.
const LOOK: Duration = Duration::from_millis(40);

/// How long nothing is let go of, in milliseconds.
const REST_MS: std::ops::Range<u64> = 500..8_000;

/// How long one of these rests lasts at most before it is seen whether everything is over.
const NAP: Duration = Duration::from_millis(100);

/// What is kept.
#[derive(Clone, Default)]
pub struct Archive {
    events: Rc<RefCell<Vec<Event>>>,
    looks: Rc<RefCell<Vec<Look>>>,
    /// Up to where the cluster was told that it need not keep events.
    let_go: Rc<Cell<u64>>,
}

impl Archive {
    /// Reads all events as they come, and notes when each was first seen.
    pub async fn keep(self, nodes: Vec<usize>, is_over: impl Fn() -> bool) -> turmoil::Result {
        let (timeout, try_timeout) = (Duration::from_millis(600), Duration::from_millis(200));
        let options = ClientOptions { timeout, try_timeout, seed: Some(1), ..ClientOptions::default() };
        let client = Client::from_channels(channels(&nodes), options)?;
        while !is_over() {
            let began = now();
            let revision = match client.list_events(self.last() + 1, 1_000).await {
                Ok(page) => {
                    self.events.borrow_mut().extend(page.events);
                    Some(self.last())
                }
                Err(ClientError::Unavailable { .. }) => None,
                Err(error) => return Err(format!("{} is kept, and then: {error}", self.last()).into()),
            };
            self.looks.borrow_mut().push(Look { began, ended: now(), revision });
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Lets the cluster let go of some of what is kept, again and again.
    pub async fn let_go(&self, seed: u64, mut user: User, is_over: impl Fn() -> bool) {
        let mut random = SmallRng::seed_from_u64(seed);
        while !is_over() {
            let rest = now() + Duration::from_millis(random.random_range(REST_MS));
            while now() < rest && !is_over() {
                sleep(NAP).await;
            }
            let (before, last) = (self.let_go.get(), self.last());
            if before < last {
                let through = random.random_range(before + 1..=last);
                // Before it is sent: from then on it may happen.
                self.let_go.set(through);
                user.let_go(through).await;
            }
        }
    }

    fn last(&self) -> u64 {
        self.events.borrow().len() as u64
    }

    /// Whether the cluster may have let go of any.
    pub fn has_let_go(&self) -> bool {
        self.let_go.get() > 0
    }

    /// All looks at the events.
    pub fn looks(&self) -> Vec<Look> {
        self.looks.borrow().clone()
    }

    /// All events: those that are kept up to what a node has let go of, and those that it has.
    pub async fn whole(&self, node: &Client) -> Result<Vec<Event>, String> {
        let mut page = node.list_events(0, 200).await.map_err(|error| error.to_string())?;
        let removed = page.compacted_at;
        if removed > self.let_go.get() {
            return Err(format!("a node has let go of the events up to {removed}, which nobody has allowed"));
        }
        let removed = usize::try_from(removed).expect("as many events as fit in memory");
        let kept = self.events.borrow().get(..removed).map(<[Event]>::to_vec);
        let mut whole = kept.ok_or("a node has let go of what nobody has kept")?;
        while !page.events.is_empty() {
            whole.append(&mut page.events);
            page = node.list_events(whole.len() as u64 + 1, 200).await.map_err(|error| error.to_string())?;
        }
        let kept = self.events.borrow();
        if horizon(&whole) != removed as u64 {
            return Err(format!("a node says that {removed} events are gone: its events say another number"));
        }
        if whole.get(removed..kept.len()) != kept.get(removed..) {
            return Err("what was seen on the way is not what there is in the end".to_owned());
        }
        trace::line(format_args!("auditor: {} events, of which a node has let go of {removed}", whole.len()));
        Ok(whole)
    }
}

/// Up to where events were let go of in the end.
pub fn horizon(events: &[Event]) -> u64 {
    let through = |event: &Event| match &event.body {
        Some(Body::EventsCompacted(compacted)) => Some(compacted.through_revision),
        _ => None,
    };
    events.iter().rev().find_map(through).unwrap_or(0)
}

/// What must have come of it in some run, and what there is of it in a trace.
const COME: [(&str, &str); 5] = [
    ("events that were removed from a disk", "old events were removed"),
    ("a watcher that came too late", "goes on behind what was removed"),
    ("a reader that came too late", "and shows Compacted"),
    ("a projection that is made anew", " is made anew"),
    ("a projection that could not be made anew any more", "would be wrong if it was made of the others"),
];

/// How often it came.
#[derive(Debug, Default)]
pub struct Removals(BTreeMap<&'static str, usize>);

impl Removals {
    /// Adds what a run wrote into its trace.
    pub fn add_trace(&mut self, trace: &str) {
        for (what, words) in COME {
            *self.0.entry(what).or_default() += trace.lines().filter(|line| line.contains(words)).count();
        }
    }

    /// What did not come.
    pub fn missing(&self) -> Vec<&'static str> {
        let came = |what: &&str| self.0.get(what).is_some_and(|count| *count > 0);
        COME.iter().map(|(what, _)| *what).filter(|what| !came(what)).collect()
    }
}
