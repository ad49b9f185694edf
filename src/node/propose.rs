//! Proposing: the commands that arrive while earlier ones are on their way to disk become one log
//! entry. No timer delays a lone command.
//!
//! Commands come in groups: what one caller sends at once stays in order, is admitted as a whole
//! or not at all, and becomes as few entries as possible. A group without commands is a *tick*: it
//! only wants log time to go on, and rides on whatever entry is next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Weak;
use std::time::Duration;

use openraft::errors::RaftError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::codec::batch;
use crate::ledger::Outcome;
use crate::ledger::Request;
use crate::raft::Payload;

/// How many commands may wait or be under way. A client that finds it full is told so at once.
const QUEUE: usize = 65_536;

/// How many bytes of the log they may take.
const QUEUE_BYTES: usize = 64 << 20;

/// Most commands in one log entry.
const MAX_COMMANDS: usize = 8_192;

/// A log entry is closed when it has this many bytes. A command that is larger has one to itself.
const MAX_BYTES: usize = 1 << 20;

/// Most bytes of commands that one caller has in the queue at a time, unless one alone is larger: what
/// is sent at once waits in parts, since only this node knows what the log makes of it.
const GROUP_BYTES: usize = 8 << 20;

/// Most bytes of one command in the log.
const MAX_COMMAND_BYTES: usize = 4 << 20;

/// How many log entries may be under way: one on its way to disk while the next is replicated.
const IN_FLIGHT: usize = 2;

/// While an entry is under way, so many commands are worth another one: each entry costs about as much as
/// fifty of them.
const WORTH_AN_ENTRY: usize = 256;

/// How long fewer commands than that wait at most for the entry that is under way: its leader may be gone.
const LONGEST_GATHER: Duration = Duration::from_millis(10);

/// How long one attempt to have an entry decided may take. After that its commands are tried again
/// from the beginning, perhaps with another leader: a leader that is cut off never answers.
const ATTEMPT: Duration = Duration::from_secs(3);

/// What became of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decided {
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
struct Outcomes(Arc<Mutex<Vec<Result<Outcome, Error>>>>);

impl Outcomes {
    fn extend(&self, outcomes: impl Iterator<Item = Result<Outcome, Error>>) {
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
pub(super) struct Pending {
    /// Those without an outcome.
    requests: VecDeque<Arc<Prepared>>,
    outcomes: Outcomes,
    deadline: Instant,
    /// It comes from another node that took this one for the leader, or is of use to a leader only:
    /// not to be sent on.
    stays: bool,
    reply: oneshot::Sender<Decided>,
    /// Its place in the queue, given back when it is answered.
    _room: Option<Room>,
}

impl Pending {
    fn answer(self, error: Option<Error>) {
        assert!(error.is_some() || self.requests.is_empty(), "every command of a group has an outcome");
        // A caller whose deadline has passed no longer listens.
        drop(self.reply.send(Decided { outcomes: self.outcomes.take(), error }));
    }
}

/// A place in the queue.
struct Room {
    _commands: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// Where commands wait.
pub(super) struct Queue {
    groups: mpsc::UnboundedSender<Pending>,
    commands: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

pub(super) fn queue() -> (Queue, mpsc::UnboundedReceiver<Pending>) {
    let (groups, receiver) = mpsc::unbounded_channel();
    let [commands, bytes] = [QUEUE, QUEUE_BYTES].map(|room| Arc::new(Semaphore::new(room)));
    (Queue { groups, commands, bytes }, receiver)
}

/// A request with its bytes in the log, which are made once.
#[derive(Debug)]
pub(super) struct Prepared {
    pub request: Request,
    bytes: Vec<u8>,
}

impl From<Request> for Prepared {
    fn from(request: Request) -> Self {
        Self { bytes: batch::encoded(&request), request }
    }
}

/// Refuses a command that no log entry has room for.
pub(super) fn check_size(prepared: &Prepared) -> Result<(), Error> {
    match prepared.bytes.len() {
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

/// How many of these commands, at least one, are proposed together.
pub(super) fn group_of(requests: &VecDeque<Arc<Prepared>>) -> usize {
    let mut bytes = 0;
    let fitting = requests.iter().take(MAX_COMMANDS).take_while(|request| {
        bytes += request.bytes.len();
        bytes <= GROUP_BYTES
    });
    fitting.count().max(1)
}

impl Queue {
    /// Has commands proposed once, in order.
    pub(super) async fn propose(
        &self,
        requests: VecDeque<Arc<Prepared>>,
        deadline: Instant,
        relayed: bool,
    ) -> Decided {
        let Some(first) = requests.front() else {
            return Decided { outcomes: Vec::new(), error: None };
        };
        let (id, lone) = (first.request.id, requests.len() == 1);
        let room = match self.admit(requests.len(), requests.iter().map(|request| request.bytes.len()).sum())
        {
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
    pub(super) async fn tick(&self, deadline: Instant) -> Result<(), Error> {
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
    fn admit(&self, commands: usize, bytes: usize) -> Result<Room, Error> {
        if commands > QUEUE || bytes > QUEUE_BYTES {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "{commands} commands of {bytes} bytes are too much at once; send at most {QUEUE} \
                     of {QUEUE_BYTES} bytes together"
                ),
            ));
        }
        let take = |room: &Arc<Semaphore>, wanted: usize| {
            let wanted = u32::try_from(wanted).expect("compared above");
            Arc::clone(room).try_acquire_many_owned(wanted).ok()
        };
        let both = take(&self.commands, commands).zip(take(&self.bytes, bytes));
        both.map(|(commands, bytes)| Room { _commands: commands, _bytes: bytes }).ok_or_else(|| {
            let waiting = QUEUE - self.commands.available_permits();
            let kilobytes = (QUEUE_BYTES - self.bytes.available_permits()) >> 10;
            Error::unavailable(format!(
                "{waiting} commands of {kilobytes} kB are waiting; this node is overloaded: \
                 send less at once, or try again later"
            ))
        })
    }
}

/// Gathers and carries until the node is gone.
pub(super) async fn run(node: Weak<Node>, mut waiting: mpsc::UnboundedReceiver<Pending>) {
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() >= IN_FLIGHT {
            under_way.join_next().await;
        }
        let first = tokio::select! {
            _ = under_way.join_next(), if !under_way.is_empty() => continue,
            first = waiting.recv() => first,
        };
        let (Some(first), Some(node)) = (first, node.upgrade()) else {
            return;
        };
        let mut gathered = Gathered::from(first);
        gathered.take_ready(&mut waiting).await;
        if !under_way.is_empty() {
            // No timer delays a lone command: this is for those that come while others are on their way.
            drop(timeout(LONGEST_GATHER, gathered.take_until(&mut waiting, &mut under_way)).await);
            gathered.take_waiting(&mut waiting);
        }
        let gathered = gathered.groups;
        under_way.spawn(async move { node.carry(gathered).await });
    }
}

/// Groups for the next entries, none in pieces.
struct Gathered {
    groups: VecDeque<Pending>,
    commands: usize,
}

impl From<Pending> for Gathered {
    fn from(first: Pending) -> Self {
        Self { commands: first.requests.len(), groups: VecDeque::from([first]) }
    }
}

impl Gathered {
    fn push(&mut self, pending: Pending) {
        self.commands += pending.requests.len();
        self.groups.push_back(pending);
    }

    /// Takes what waits, up to about as many commands as one entry may have.
    fn take_waiting(&mut self, waiting: &mut mpsc::UnboundedReceiver<Pending>) {
        while self.commands < MAX_COMMANDS
            && let Ok(pending) = waiting.try_recv()
        {
            self.push(pending);
        }
    }

    /// Takes what waits, and lets those go first who are just about to send more: the answers to an entry
    /// go out together, and what follows them comes together.
    async fn take_ready(&mut self, waiting: &mut mpsc::UnboundedReceiver<Pending>) {
        loop {
            self.take_waiting(waiting);
            let before = self.groups.len();
            yield_now().await;
            self.take_waiting(waiting);
            if self.groups.len() == before {
                return;
            }
        }
    }

    /// Takes what comes until it is worth an entry, or one that is under way has come to its end.
    async fn take_until(
        &mut self,
        waiting: &mut mpsc::UnboundedReceiver<Pending>,
        under_way: &mut JoinSet<()>,
    ) {
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

impl Node {
    /// Proposes commands when this node leads, and hands them to the leader otherwise.
    async fn carry(&self, gathered: VecDeque<Pending>) {
        let now = Instant::now();
        let mut alive = VecDeque::with_capacity(gathered.len());
        for pending in gathered {
            if pending.deadline > now {
                alive.push_back(pending);
            } else {
                let problem = "the deadline passed before the command was proposed";
                pending.answer(Some(Error::unavailable(problem)));
            }
        }
        let leads = self.parts.raft.is_leader();
        if !leads {
            // A relayed command that finds no leader here goes back: it is never sent on.
            let (staying, own): (VecDeque<_>, _) = alive.into_iter().partition(|pending| pending.stays);
            staying.into_iter().for_each(|pending| pending.answer(Some(self.no_leader())));
            alive = own;
        }
        while !alive.is_empty() {
            let (entry, counts) = next_entry(&mut alive);
            let decided = if leads {
                // Some group may be there for the entry alone.
                let has_tick = counts.contains(&0);
                self.propose_admitted(entry, has_tick).await.map_or_else(Decided::from, Decided::from)
            } else {
                self.forward(&entry, Instant::now() + ATTEMPT).await
            };
            hand_out(&mut alive, &counts, decided);
        }
    }

    /// Proposes those of the commands for which there is room.
    async fn propose_admitted(
        &self,
        requests: Vec<Arc<Prepared>>,
        has_tick: bool,
    ) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let refusals = self.refusals(requests.iter().map(|prepared| &prepared.request));
        let admitted: Vec<_> = requests
            .into_iter()
            .zip(&refusals)
            .filter_map(|(request, refusal)| refusal.is_none().then_some(request))
            .collect();
        let decided =
            if admitted.is_empty() && !has_tick { Vec::new() } else { self.propose_entry(&admitted).await? };
        assert_eq!(decided.len(), admitted.len(), "each command of an entry has one outcome");
        let mut decided = decided.into_iter();
        let result = |refusal| match refusal {
            Some(error) => Err(error),
            None => Ok(decided.next().expect("counted above")),
        };
        Ok(refusals.into_iter().map(result).collect())
    }

    async fn propose_entry(&self, requests: &[Arc<Prepared>]) -> Result<Vec<Outcome>, Error> {
        let stamp = self.stamp().await.ok_or_else(|| self.no_leader())?;
        let payload =
            Payload(batch::join(&stamp, requests.iter().map(|request| request.bytes.as_slice())).into());
        // Whether an entry without an answer will be committed is not known: asking again will tell.
        let error = match timeout(ATTEMPT, self.parts.raft.client_write(payload)).await {
            Ok(Ok(response)) => return Ok(response.data.outcomes),
            Ok(Err(RaftError::Fatal(fatal))) => Error::unavailable(format!("this node is stopping: {fatal}")),
            Ok(Err(RaftError::APIError(error))) => {
                Error::unavailable(format!("this node does not lead: {error}"))
            }
            Err(_) => {
                Error::unavailable(format!("no majority of nodes stored the command within {ATTEMPT:?}"))
            }
        };
        self.stamp_lost(&stamp).await;
        Err(error)
    }

    /// Decides commands that another node relayed to this one as the leader.
    pub(super) async fn decide_relayed(&self, requests: Vec<Request>, deadline: Instant) -> Decided {
        let requests = requests.into_iter().map(|request| Arc::new(request.into())).collect();
        self.proposals.propose(requests, deadline, true).await
    }
}

/// Takes the commands of the next entry out of the groups, in order, and says how many it took of
/// each of the first groups.
fn next_entry(groups: &mut VecDeque<Pending>) -> (Vec<Arc<Prepared>>, Vec<usize>) {
    let mut entry = Vec::new();
    let mut bytes = 0;
    let mut counts = Vec::new();
    for group in groups {
        let before = entry.len();
        while let Some(size) = group.requests.front().map(|request| request.bytes.len())
            && (entry.is_empty() || entry.len() < MAX_COMMANDS && bytes + size <= MAX_BYTES)
        {
            bytes += size;
            entry.extend(group.requests.pop_front());
        }
        let taken = entry.len() - before;
        if taken > 0 || group.requests.is_empty() {
            counts.push(taken);
        }
        if !group.requests.is_empty() {
            break;
        }
    }
    (entry, counts)
}

/// Gives the groups the outcomes of an entry, and answers those that have all they waited for.
fn hand_out(groups: &mut VecDeque<Pending>, counts: &[usize], decided: Decided) {
    let Decided { outcomes, error } = decided;
    let (taken, found) = (counts.iter().sum::<usize>(), outcomes.len());
    assert!(found == taken || found < taken && error.is_some(), "each command of an entry has one outcome");
    let mut outcomes = outcomes.into_iter();
    let mut complete = 0;
    for (position, (group, count)) in groups.iter_mut().zip(counts).enumerate() {
        let has_all = outcomes.len() >= *count && group.requests.is_empty();
        group.outcomes.extend(outcomes.by_ref().take(*count));
        complete += usize::from(has_all && complete == position);
    }
    // Those before the first that lacks an outcome have all they waited for.
    groups.drain(..complete).for_each(|group| group.answer(None));
    if let Some(error) = error {
        // What keeps an entry from being decided keeps the next one, too. And what comes after a
        // command without an outcome must not be decided before it.
        let own = counts.len() - complete;
        let failed = if error.kind == ErrorKind::Unavailable { groups.len() } else { own };
        groups.drain(..failed).for_each(|group| group.answer(Some(error.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Command;
    use crate::ledger::RequestId;

    fn request(number: u64, bytes: usize) -> Request {
        let bits = u128::from(number) << 80 | 7 << 76 | 0b10 << 62;
        let id = RequestId::from_bytes(bits.to_be_bytes()).expect("a UUIDv7");
        let command = Command::Release(crate::ledger::command::Release::all(1));
        Request { id, fingerprint: [0; 16], actor: "x".repeat(bytes).into(), reason: "".into(), command }
    }

    /// Takes so many bytes.
    fn prepared(number: u64, bytes: usize) -> Arc<Prepared> {
        Arc::new(Prepared { request: request(number, 1), bytes: vec![0; bytes] })
    }

    fn outcome(Prepared { request, .. }: &Prepared) -> Outcome {
        let grant = crate::ledger::Grant::plain(crate::ledger::Granted::Done);
        Outcome { revision: request.id.time_ms(), replayed: false, verdict: Ok(grant) }
    }

    struct Group {
        first: u64,
        commands: u64,
        answer: oneshot::Receiver<Decided>,
    }

    /// Groups of so many commands of so many bytes each; commands are numbered through.
    fn groups(shapes: &[(u64, usize)]) -> (VecDeque<Pending>, Vec<Group>) {
        let mut number = 0;
        let group = |(commands, bytes): &(u64, usize)| {
            let (reply, answer) = oneshot::channel();
            let first = number + 1;
            number += commands;
            let requests = (first..=number).map(|number| prepared(number, *bytes)).collect();
            let deadline = Instant::now() + ATTEMPT;
            let outcomes = Outcomes::default();
            let pending = Pending { requests, outcomes, deadline, stays: false, reply, _room: None };
            (pending, Group { first, commands: *commands, answer })
        };
        shapes.iter().map(group).unzip()
    }

    /// Carries groups, with the results of `decide`; returns how many commands each entry had.
    fn carry(
        groups: &mut VecDeque<Pending>,
        mut decide: impl FnMut(&[Arc<Prepared>]) -> Decided,
    ) -> Vec<usize> {
        let mut entries = Vec::new();
        while !groups.is_empty() {
            let (entry, counts) = next_entry(groups);
            entries.push(entry.len());
            hand_out(groups, &counts, decide(&entry));
        }
        entries
    }

    fn decide(requests: &[Arc<Prepared>]) -> Decided {
        requests.iter().map(|prepared| outcome(prepared)).map(Ok).collect::<Vec<_>>().into()
    }

    fn revisions(decided: &Decided) -> Vec<u64> {
        decided.outcomes.iter().map(|result| result.as_ref().map_or(0, |outcome| outcome.revision)).collect()
    }

    #[track_caller]
    fn assert_decided(group: Group, commands: u64, error: Option<ErrorKind>) {
        let decided = group.answer.blocking_recv().expect("it was answered");
        assert_eq!(revisions(&decided), (group.first..group.first + commands).collect::<Vec<_>>());
        assert_eq!(decided.error.map(|error| error.kind), error);
    }

    #[test]
    fn commands_become_as_few_entries_as_their_number_and_bytes_allow_in_order() {
        for (shapes, entries) in [
            (vec![(1, 10), (3, 10), (2, 10)], vec![6]),
            (vec![(8_192, 10)], vec![8_192]),
            (vec![(8_000, 10), (8_192, 10), (1, 10)], vec![8_192, 8_001]),
            (vec![(3, MAX_BYTES / 2), (1, 10)], vec![2, 2]),
            (vec![(1, 10), (1, MAX_BYTES + 1), (1, 10)], vec![1, 1, 1]),
            (vec![(2, MAX_COMMAND_BYTES)], vec![1, 1]),
            // A tick alone is an entry; with others it is none.
            (vec![(0, 0)], vec![0]),
            (vec![(0, 0), (2, 10), (0, 0)], vec![2]),
            (vec![(0, 0), (1, MAX_BYTES), (1, 10), (0, 0)], vec![1, 1]),
        ] {
            let (mut pending, answers) = groups(&shapes);
            assert_eq!(carry(&mut pending, decide), entries, "{shapes:?}");
            for group in answers {
                let commands = group.commands;
                assert_decided(group, commands, None);
            }
        }
    }

    #[test]
    fn what_follows_a_command_without_an_outcome_is_not_proposed() {
        let (mut pending, mut answers) = groups(&[(1, 10), (3, MAX_BYTES / 2), (1, 10), (0, 0)]);
        let mut attempts = 0;
        let entries = carry(&mut pending, |requests| {
            attempts += 1;
            if attempts == 1 { decide(requests) } else { Error::unavailable("no leader").into() }
        });
        assert_eq!(entries, [2, 2]);
        for (group, decided) in answers.drain(..).zip([1, 1, 0, 0]) {
            let error = (group.first != 1).then_some(ErrorKind::Unavailable);
            assert_decided(group, decided, error);
        }
    }

    #[test]
    fn what_the_leader_has_decided_is_handed_out_though_the_rest_is_not() {
        let (mut pending, mut answers) = groups(&[(1, 10), (3, 10), (1, 10), (0, 0)]);
        let entries = carry(&mut pending, |requests| Decided {
            outcomes: requests[..2].iter().map(|prepared| outcome(prepared)).map(Ok).collect(),
            error: Some(Error::unavailable("the deadline passed")),
        });
        assert_eq!(entries, [5]);
        for (group, decided) in answers.drain(..).zip([1, 1, 0, 0]) {
            let error = (group.first != 1).then_some(ErrorKind::Unavailable);
            assert_decided(group, decided, error);
        }
    }

    #[test]
    fn a_command_without_room_does_not_stand_in_the_way_of_those_around_it() {
        let (mut pending, mut answers) = groups(&[(1, 10), (2, 10), (1, 10)]);
        let no_room = Error::new(ErrorKind::NoRoom { node: 1, free_bytes: 7 }, "nearly full");
        let entries = carry(&mut pending, |requests| {
            let results =
                requests.iter().map(|prepared| outcome(prepared)).map(|outcome| match outcome.revision {
                    2 | 4 => Err(no_room.clone()),
                    _ => Ok(outcome),
                });
            results.collect::<Vec<_>>().into()
        });
        assert_eq!(entries, [4]);
        for (group, expected) in answers.drain(..).zip([vec![1], vec![0, 3], vec![0]]) {
            let decided = group.answer.blocking_recv().expect("it was answered");
            assert_eq!((revisions(&decided), decided.error), (expected, None));
        }
    }

    #[tokio::test]
    async fn what_is_decided_when_the_deadline_passes_is_told() {
        let (queue, mut waiting) = queue();
        let requests = (1..=3).map(|number| prepared(number, MAX_BYTES * 6 / 10)).collect();
        let asked = queue.propose(requests, Instant::now() + Duration::from_millis(50), false);
        let carry = async {
            let mut groups = VecDeque::from([waiting.recv().await.expect("a group")]);
            let (entry, counts) = next_entry(&mut groups);
            hand_out(&mut groups, &counts, decide(&entry));
            assert_eq!((entry.len(), groups.len()), (1, 1), "the others wait for the next entry");
            groups
        };
        let (decided, _waiting) = tokio::join!(asked, carry);
        assert_eq!(revisions(&decided), [1]);
        assert_eq!(decided.error.map(|error| error.kind), Some(ErrorKind::Unavailable));
    }

    #[test]
    fn what_is_sent_at_once_is_proposed_in_parts_of_bounded_bytes() {
        let requests = |bytes, count| (1..=count).map(|number| prepared(number, bytes)).collect();
        assert_eq!(group_of(&requests(10, 5)), 5);
        assert_eq!(group_of(&requests(10, 10_000)), MAX_COMMANDS);
        assert_eq!(group_of(&requests(MAX_COMMAND_BYTES - 1_000, 5)), 2);
        assert_eq!(group_of(&requests(GROUP_BYTES + 1, 2)), 1);
    }

    #[test]
    fn commands_that_make_no_sense_to_the_leader_do_not_stop_the_others() {
        let (mut pending, mut answers) = groups(&[(1, MAX_BYTES), (1, 10)]);
        let mut attempts = 0;
        carry(&mut pending, |requests| {
            attempts += 1;
            if attempts == 1 { Error::new(ErrorKind::Invalid, "nonsense").into() } else { decide(requests) }
        });
        assert_decided(answers.remove(0), 0, Some(ErrorKind::Invalid));
        assert_decided(answers.remove(0), 1, None);
    }

    #[test]
    fn a_group_is_admitted_as_a_whole_or_not_at_all_by_number_and_by_bytes() {
        let (queue, _receiver) = queue();
        let kind = |result: Result<Room, Error>| result.err().map(|error| error.kind);
        let first = queue.admit(QUEUE - 8_192, 1 << 20).expect("there is room");
        let second = queue.admit(8_192, 1 << 20).expect("there is room");
        assert_eq!(kind(queue.admit(1, 1)), Some(ErrorKind::Unavailable));
        drop(second);
        assert_eq!(kind(queue.admit(8_193, 1)), Some(ErrorKind::Unavailable));
        assert_eq!(queue.commands.available_permits(), 8_192, "nothing of it was admitted");
        assert_eq!(kind(queue.admit(1, QUEUE_BYTES)), Some(ErrorKind::Unavailable));
        assert_eq!(queue.commands.available_permits(), 8_192, "nothing of it was admitted");
        drop(first);
        assert_eq!(kind(queue.admit(QUEUE, QUEUE_BYTES)), None);
        assert_eq!(kind(queue.admit(QUEUE + 1, 1)), Some(ErrorKind::Invalid));
        assert_eq!(kind(queue.admit(1, QUEUE_BYTES + 1)), Some(ErrorKind::Invalid));
        assert_eq!(queue.bytes.available_permits(), QUEUE_BYTES, "room is given back");
    }

    #[test]
    fn a_command_larger_than_a_log_entry_may_be_is_refused() {
        assert_eq!(check_size(&request(1, MAX_COMMAND_BYTES - 1_000).into()), Ok(()));
        let error = check_size(&request(1, MAX_COMMAND_BYTES).into()).expect_err("it is too large");
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.problem.contains("4194304"), "{error}");
    }
}
