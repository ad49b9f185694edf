//! Which commands become the next entry: as many as come together without waiting for more, and of each
//! actor its share.
//!
//! Actors take turns by start-time fair queueing: a group starts where the last one of its actor ended, or
//! now, and ends as many commands later; what starts first goes first. So who sends much waits for itself,
//! and who sends little does not wait for it. Groups of one actor stay in their order.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::MAX_COMMANDS;
use super::queue::Pending;
use crate::node::Node;

/// How many log entries may be under way: one on its way to disk while the next is replicated.
const IN_FLIGHT: usize = 2;

/// While an entry is under way, so many commands are worth another one: each entry costs about as much as
/// fifty of them.
const WORTH_AN_ENTRY: usize = 256;

/// How long fewer commands than that wait at most for the entry that is under way: its leader may be gone.
const LONGEST_GATHER: Duration = Duration::from_millis(10);

type Waiting = mpsc::UnboundedReceiver<Pending>;

/// Gathers and carries until the node is gone.
pub(in crate::node) async fn run(node: Weak<Node>, mut waiting: Waiting) {
    let mut under_way = JoinSet::new();
    let mut gathered = Gathered::default();
    loop {
        while under_way.len() >= IN_FLIGHT {
            under_way.join_next().await;
        }
        if gathered.groups.is_empty() {
            tokio::select! {
                _ = under_way.join_next(), if !under_way.is_empty() => continue,
                first = waiting.recv() => match first {
                    Some(first) => gathered.push(first),
                    None => return,
                },
            }
        }
        gathered.take_ready(&mut waiting).await;
        if !under_way.is_empty() {
            // No timer delays a lone command: this is for those that come while others are on their way.
            drop(timeout(LONGEST_GATHER, gathered.take_until(&mut waiting, &mut under_way)).await);
            gathered.take_waiting(&mut waiting);
        }
        let Some(node) = node.upgrade() else {
            return;
        };
        let groups = gathered.next(MAX_COMMANDS);
        under_way.spawn(async move { node.carry(groups).await });
    }
}

/// Groups that wait for an entry, in the order of their starts.
#[derive(Default)]
pub(super) struct Gathered {
    groups: BTreeMap<(u64, u64), Pending>,
    commands: usize,
    /// Where the last group of an actor ends, if that is still to come.
    ends: BTreeMap<Arc<str>, u64>,
    /// Where the last group started that was taken.
    now: u64,
    /// How many came: those that start together keep their order.
    came: u64,
}

impl Gathered {
    pub(super) fn push(&mut self, pending: Pending) {
        let (actor, commands) = (pending.actor(), pending.requests.len());
        let start = self.ends.get(&actor).copied().unwrap_or(0).max(self.now);
        self.ends.insert(actor, start + commands as u64);
        self.came += 1;
        self.commands += commands;
        self.groups.insert((start, self.came), pending);
    }

    /// Takes out groups until they have about so many commands, none in pieces.
    pub(super) fn next(&mut self, commands: usize) -> VecDeque<Pending> {
        let mut taken = VecDeque::new();
        let mut count = 0;
        while count < commands
            && let Some(((start, _), pending)) = self.groups.pop_first()
        {
            self.now = start;
            count += pending.requests.len();
            taken.push_back(pending);
        }
        self.commands -= count;
        let (now, nobody_waits) = (self.now, self.groups.is_empty());
        // Turns are for those who wait together: nobody pays for what was before.
        self.ends.retain(|_, end| !nobody_waits && *end > now);
        taken
    }

    /// Takes what waits. How much that can be is bounded where it is admitted.
    fn take_waiting(&mut self, waiting: &mut Waiting) {
        while let Ok(pending) = waiting.try_recv() {
            self.push(pending);
        }
    }

    /// Takes what waits, and lets those go first who are just about to send more: the answers to an entry
    /// go out together, and what follows them comes together.
    async fn take_ready(&mut self, waiting: &mut Waiting) {
        loop {
            self.take_waiting(waiting);
            let before = self.groups.len();
            yield_now().await;
            self.take_waiting(waiting);
            if self.groups.len() == before || self.commands >= MAX_COMMANDS {
                return;
            }
        }
    }

    /// Takes what comes until it is worth an entry, or one that is under way has come to its end.
    async fn take_until(&mut self, waiting: &mut Waiting, under_way: &mut JoinSet<()>) {
        while self.commands < WORTH_AN_ENTRY {
            tokio::select! {
                _ = under_way.join_next() => return,
                pending = waiting.recv() => match pending {
                    Some(pending) => self.push(pending),
                    None => return,
                },
            }
        }
    }
}
