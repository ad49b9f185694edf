//! Where commands wait: how many may, and how many of one actor.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::timeout_at;

use super::MAX_COMMANDS;
use crate::codec::batch;
use crate::ledger::Outcome;
use crate::ledger::Request;
use crate::node::Error;
use crate::node::ErrorKind;

/// How many commands may wait or be under way. A client that finds it full is told so at once.
pub(super) const QUEUE: usize = 65_536;

/// How many bytes of the log they may take.
pub(super) const QUEUE_BYTES: usize = 64 << 20;

/// One actor may take this part of it: whatever one sends, there is room for others.
pub(super) const SHARE: usize = 2;

/// Most bytes of commands that one caller has in the queue at a time, unless one alone is larger: what
/// is sent at once waits in parts, since only this node knows what the log makes of it.
pub(super) const GROUP_BYTES: usize = 8 << 20;

/// Most bytes of one command in the log.
pub(super) const MAX_COMMAND_BYTES: usize = 4 << 20;

/// What became of a group.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::node) struct Decided {
    /// Of its first commands, in order; of all of them when there is no error. An error here is that there
    /// is no room for the command: it was not tried, and those after it were.
    pub outcomes: Vec<Result<Outcome, Error>>,
    /// Why the others have no outcome. `Unavailable` means that they may be tried again.
    pub error: Option<Error>,
}

impl From<Vec<Result<Outcome, Error>>> for Decided {
    fn from(outcomes: Vec<Result<Outcome, Error>>) -> Self {
        Self { outcomes, error: None }
    }
}

impl From<Error> for Decided {
    fn from(error: Error) -> Self {
        Self { outcomes: Vec::new(), error: Some(error) }
    }
}

/// What was decided so far, of the first commands of a group. The caller has it, too: when its
/// deadline passes, what is decided is decided.
#[derive(Clone, Default)]
pub(super) struct Outcomes(Arc<Mutex<Vec<Result<Outcome, Error>>>>);

impl Outcomes {
    pub(super) fn extend(&self, outcomes: impl Iterator<Item = Result<Outcome, Error>>) {
        self.lock().extend(outcomes);
    }

    /// All of them; what comes later nobody waits for.
    fn take(&self) -> Vec<Result<Outcome, Error>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Result<Outcome, Error>>> {
        self.0.lock().expect("nothing panics while it holds the outcomes")
    }
}

/// Commands of one caller that wait for their outcomes.
pub(in crate::node) struct Pending {
    /// Those without an outcome.
    pub(super) requests: VecDeque<Arc<Prepared>>,
    pub(super) outcomes: Outcomes,
    pub(super) deadline: Instant,
    /// It comes from another node that took this one for the leader, or is of use to a leader only:
    /// not to be sent on.
    pub(super) stays: bool,
    pub(super) reply: oneshot::Sender<Decided>,
    /// Its place in the queue, given back when it is answered.
    pub(super) _room: Option<Room>,
}

impl Pending {
    /// Who sends it; nobody, when it has no commands.
    pub(super) fn actor(&self) -> Arc<str> {
        self.requests.front().map_or_else(|| Arc::from(""), |first| Arc::clone(&first.request.actor))
    }

    pub(super) fn answer(self, error: Option<Error>) {
        assert!(error.is_some() || self.requests.is_empty(), "every command of a group has an outcome");
        // A caller whose deadline has passed no longer listens.
        drop(self.reply.send(Decided { outcomes: self.outcomes.take(), error }));
    }
}

/// What is taken of the queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) commands: usize,
    pub(super) bytes: usize,
    /// Commands and bytes of each actor that has some.
    by_actor: BTreeMap<Arc<str>, (usize, usize)>,
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Room {
    actor: Arc<str>,
    commands: usize,
    bytes: usize,
    taken: Arc<Mutex<Taken>>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.commands -= self.commands;
        taken.bytes -= self.bytes;
        if let Some((commands, bytes)) = taken.by_actor.get_mut(&self.actor) {
            *commands -= self.commands;
            *bytes -= self.bytes;
            if *commands == 0 {
                taken.by_actor.remove(&self.actor);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().expect("nothing panics while it counts")
}

/// Where commands wait.
pub(in crate::node) struct Queue {
    groups: mpsc::UnboundedSender<Pending>,
    pub(super) taken: Arc<Mutex<Taken>>,
}

pub(in crate::node) fn queue() -> (Queue, mpsc::UnboundedReceiver<Pending>) {
    let (groups, receiver) = mpsc::unbounded_channel();
    (Queue { groups, taken: Arc::default() }, receiver)
}

/// A request with its bytes in the log, which are made once.
#[derive(Debug)]
pub(in crate::node) struct Prepared {
    pub request: Request,
    pub(in crate::node) bytes: Vec<u8>,
}

impl From<Request> for Prepared {
    fn from(request: Request) -> Self {
        Self { bytes: batch::encoded(&request), request }
    }
}

/// Refuses a command that no log entry has room for.
pub(in crate::node) fn check_size(request: &[u8]) -> Result<(), Error> {
    match request.len() {
        size if size <= MAX_COMMAND_BYTES => Ok(()),
        size => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "the command takes {size} bytes; a log entry has room for {MAX_COMMAND_BYTES}, \
                 so divide it into several"
            ),
        )),
    }
}

/// How many commands at the front of those that are left were sent before, and may have been decided then.
#[derive(Debug, Default)]
pub(in crate::node) struct Attempts(usize);

impl Attempts {
    /// How many there are.
    pub(in crate::node) fn count(&self) -> usize {
        self.0
    }

    /// Takes in what became of so many commands; returns why the others have no outcome.
    pub(in crate::node) fn after(
        &mut self,
        sent: usize,
        decided: usize,
        error: Option<Error>,
    ) -> Option<Error> {
        match error {
            // That was no attempt. What came of those before is not known: they are worth another one.
            Some(error) if error.kind == ErrorKind::Overloaded => {
                Some(if self.0 > 0 { error.after_an_attempt() } else { error })
            }
            error => {
                self.0 = self.0.max(sent) - decided;
                error
            }
        }
    }
}

/// How many of these commands, at least one, are proposed together.
pub(in crate::node) fn group_of(requests: &VecDeque<Arc<Prepared>>) -> usize {
    let mut bytes = 0;
    let fitting = requests.iter().take(MAX_COMMANDS).take_while(|request| {
        bytes += request.bytes.len();
        bytes <= GROUP_BYTES
    });
    fitting.count().max(1)
}

impl Queue {
    /// Has commands proposed once, in order.
    pub(in crate::node) async fn propose(
        &self,
        requests: VecDeque<Arc<Prepared>>,
        deadline: Instant,
        relayed: bool,
    ) -> Decided {
        let Some(first) = requests.front() else {
            return Decided { outcomes: Vec::new(), error: None };
        };
        let (id, lone) = (first.request.id, requests.len() == 1);
        let bytes = requests.iter().map(|request| request.bytes.len()).sum();
        let room = match self.admit(&first.request.actor, requests.len(), bytes) {
            Ok(room) => room,
            Err(error) => return error.into(),
        };
        self.enqueue(requests, deadline, relayed, Some(room), || {
            let which = if lone { format!(" {id}") } else { String::new() };
            format!(
                "no decision in time: whether the command takes effect is unknown; repeat it with the \
                 same request_id{which} to find out"
            )
        })
        .await
    }

    /// Has log time go on, on a leader. No queue is too full for it: there is one at a time.
    pub(in crate::node) async fn tick(&self, deadline: Instant) -> Result<(), Error> {
        let why = || "no majority of nodes stored the tick in time".to_owned();
        let decided = self.enqueue(VecDeque::new(), deadline, true, None, why).await;
        decided.error.map_or(Ok(()), Err)
    }

    async fn enqueue(
        &self,
        requests: VecDeque<Arc<Prepared>>,
        deadline: Instant,
        stays: bool,
        room: Option<Room>,
        too_late: impl FnOnce() -> String,
    ) -> Decided {
        let stopping = || Error::unavailable("this node is stopping").into();
        let (reply, decided) = oneshot::channel();
        let outcomes = Outcomes::default();
        let pending = Pending { requests, outcomes: outcomes.clone(), deadline, stays, reply, _room: room };
        if self.groups.send(pending).is_err() {
            return stopping();
        }
        match timeout_at(deadline, decided).await {
            Ok(Ok(decided)) => decided,
            Ok(Err(_)) => stopping(),
            Err(_) => Decided { outcomes: outcomes.take(), error: Some(Error::unavailable(too_late())) },
        }
    }

    /// Room for all of a group, or for nothing of it.
    pub(super) fn admit(&self, actor: &Arc<str>, commands: usize, bytes: usize) -> Result<Room, Error> {
        let (most, most_bytes) = (QUEUE / SHARE, QUEUE_BYTES / SHARE);
        if commands > most || bytes > most_bytes {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "{commands} commands of {bytes} bytes are too much at once; send at most {most} \
                     of {most_bytes} bytes together"
                ),
            ));
        }
        let mut taken = lock(&self.taken);
        let (own, own_bytes) = taken.by_actor.get(actor).copied().unwrap_or_default();
        let waiting = |whose: &str, commands: usize, bytes: usize| {
            let kilobytes = bytes >> 10;
            Error::new(
                ErrorKind::Overloaded,
                format!(
                    "{commands} commands{whose} of {kilobytes} kB are waiting; this node is overloaded: \
                     send less at once, or try again later"
                ),
            )
        };
        if taken.commands + commands > QUEUE || taken.bytes + bytes > QUEUE_BYTES {
            return Err(waiting("", taken.commands, taken.bytes));
        }
        if own + commands > most || own_bytes + bytes > most_bytes {
            return Err(waiting(&format!(" of actor {actor:?}"), own, own_bytes));
        }
        taken.commands += commands;
        taken.bytes += bytes;
        taken.by_actor.insert(Arc::clone(actor), (own + commands, own_bytes + bytes));
        Ok(Room { actor: Arc::clone(actor), commands, bytes, taken: Arc::clone(&self.taken) })
    }
}
