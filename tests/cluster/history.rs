//! What clients sent and what they were told: noted here, judged in `witness`.
//!
//! Of a command there is kept what tells it from others and what the answers were, so that a history
//! of millions fits into memory.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::new_request_id;
use quorate::client::request_id_of;
use quorate::client::v1;
use quorate::client::v1::batch_command::Command as BatchCommand;
use quorate::client::v1::batch_result::Result as Part;
use quorate::codec::batch::fingerprint;
use quorate::codec::command;
use quorate::codec::command::Message;
use quorate::ledger;
use quorate::ledger::Command;
use quorate::ledger::Fingerprint;
use quorate::ledger::Granted;
use quorate::ledger::HoldId;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::witness::Witness;

/// What a client was told about a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub revision: u64,
    pub replayed: bool,
    pub verdict: Result<Granted, v1::Rejection>,
}

/// What a client saw of one command.
#[derive(Debug, Clone)]
pub struct Seen {
    pub fingerprint: Fingerprint,
    /// The highest revision that any client had been told of before it was first sent.
    pub after: u64,
    pub answers: Vec<Answer>,
}

/// What came of one call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The highest revision that any client had been told of before the call.
    pub after: u64,
    pub told: Told,
}

/// All commands of one test.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    seen: Mutex<BTreeMap<Uuid, Seen>>,
    /// The highest revision that a client was told of.
    known: AtomicU64,
    acknowledged: AtomicUsize,
    unknown: AtomicUsize,
    repeated: AtomicUsize,
}

/// Line of a reservation.
pub fn line(scope: &str, resource: &str, amount: impl ToString) -> v1::Line {
    v1::Line {
        scope: scope.to_owned(),
        resource: resource.to_owned(),
        amount: amount.to_string(),
        ..Default::default()
    }
}

pub fn amount(limit: impl ToString) -> v1::Limit {
    v1::Limit { limit: Some(v1::limit::Limit::Amount(limit.to_string())) }
}

pub fn reserve(lines: Vec<v1::Line>) -> Command {
    let message = v1::ReserveRequest { lines, ..Default::default() };
    command::decode(Message::Reserve(message)).expect("a reservation")
}

pub fn create_scope(path: &str) -> Command {
    let message = v1::CreateScopeRequest { path: path.to_owned(), ..Default::default() };
    command::decode(Message::CreateScope(message)).expect("a scope")
}

pub fn set_quota(scope: &str, resource: &str, limit: impl ToString) -> Command {
    let message = v1::SetQuotaRequest {
        scope: scope.to_owned(),
        resource: resource.to_owned(),
        policy: Some(v1::Policy { limit: Some(amount(limit)), ..Default::default() }),
        ..Default::default()
    };
    command::decode(Message::SetQuota(message)).expect("a quota")
}

/// A reservation that ends by itself so many milliseconds after it was made.
pub fn reserve_for(ttl_ms: u64, lines: Vec<v1::Line>) -> Command {
    let message = v1::ReserveRequest { lines, ttl_ms: Some(ttl_ms), ..Default::default() };
    command::decode(Message::Reserve(message)).expect("a reservation")
}

pub fn commit(hold: HoldId) -> Command {
    Command::Commit(ledger::command::Commit::all(hold))
}

pub fn release(hold: HoldId) -> Command {
    Command::Release(ledger::command::Release::all(hold))
}

/// Sends a command and says what it led to; an error is no decision of the ledger.
async fn send(client: &Client, id: Uuid, command: &Command) -> Result<Told, ClientError> {
    let granted = match command::encode(command) {
        Message::CreateScope(message) => client
            .create_scope(id, message)
            .await
            .map(|reply| (reply.revision, reply.replayed, Granted::Done)),
        Message::SetQuota(message) => client
            .set_quota(id, message)
            .await
            .map(|reply| (reply.revision, reply.replayed, Granted::Version(reply.version))),
        Message::Reserve(message) => client.reserve(id, message).await.map(|reply| {
            let expires_at = NonZeroU64::new(reply.expires_at_ms);
            (reply.revision, reply.replayed, Granted::Hold { hold: reply.hold_id, expires_at })
        }),
        Message::Commit(message) => {
            client.commit(id, message).await.map(|reply| (reply.revision, reply.replayed, Granted::Done))
        }
        Message::Release(message) => {
            client.release(id, message).await.map(|reply| (reply.revision, reply.replayed, Granted::Done))
        }
        other => unreachable!("no test sends {other:?}"),
    };
    match granted {
        Ok((revision, replayed, grant)) => Ok(Told { revision, replayed, verdict: Ok(grant) }),
        Err(ClientError::Rejected { status, rejection: Some(rejection) }) => {
            let details = status.get_error_details();
            let info = details.error_info().expect("every rejection has an ErrorInfo");
            Ok(Told {
                revision: info.metadata["revision"].parse().expect("a revision"),
                replayed: info.metadata["replayed"] == "true",
                verdict: Err(*rejection),
            })
        }
        Err(error) => Err(error),
    }
}

impl History {
    /// Sends a command under a new id. `Err` when its outcome stayed unknown.
    pub async fn send(&self, client: &Client, command: Command) -> Result<Told, ClientError> {
        self.repeat(client, new_request_id(), command).await
    }

    /// Sends a command under an id, which may have been used for it before.
    pub async fn repeat(&self, client: &Client, id: Uuid, command: Command) -> Result<Told, ClientError> {
        let after = self.note_sent(id, &command);
        let told = send(client, id, &command).await.inspect_err(|error| self.note_failure(error, 1))?;
        self.note_told(id, after, told.clone());
        Ok(told)
    }

    /// Sends many commands in one call, each on its own. Nothing is told of those whose outcome
    /// stayed unknown.
    pub async fn repeat_all(
        &self,
        client: &Client,
        commands: &[(Uuid, Command)],
    ) -> Result<Vec<Option<Told>>, ClientError> {
        let mut after = 0;
        let mut batch = v1::BatchRequest::default();
        for (id, command) in commands {
            after = self.note_sent(*id, command);
            let mut message = v1::BatchCommand { tag: 0, command: Some(in_batch(command)) };
            *request_id_of(&mut message).expect("a command") = id.to_string();
            batch.commands.push(message);
        }
        let reply = client.batch(commands[0].0, batch).await;
        let reply = reply.inspect_err(|error| self.note_failure(error, commands.len()))?;
        assert_eq!(reply.results.len(), commands.len());
        let told = commands.iter().zip(reply.results).map(|((id, _), result)| {
            let told = told_of(result);
            match &told {
                Some(told) => self.note_told(*id, after, told.clone()),
                None => _ = self.0.unknown.fetch_add(1, Ordering::Relaxed),
            }
            told
        });
        Ok(told.collect())
    }

    /// The highest revision that a client was told of: what is sent from here on must see it.
    pub fn known(&self) -> u64 {
        self.0.known.load(Ordering::SeqCst)
    }

    /// Notes that a client was told of a revision.
    pub fn note_known(&self, revision: u64) {
        self.0.known.fetch_max(revision, Ordering::SeqCst);
    }

    fn note_sent(&self, id: Uuid, command: &Command) -> u64 {
        let after = self.known();
        let fingerprint = fingerprint(command);
        let mut seen = self.seen();
        let mut repeated = true;
        seen.entry(id).or_insert_with(|| {
            repeated = false;
            Seen { fingerprint, after, answers: Vec::new() }
        });
        self.0.repeated.fetch_add(usize::from(repeated), Ordering::Relaxed);
        after
    }

    fn note_told(&self, id: Uuid, after: u64, told: Told) {
        self.note_known(told.revision);
        let mut seen = self.seen();
        let answers = &mut seen.get_mut(&id).expect("noted when it was sent").answers;
        if answers.is_empty() {
            self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
            // Mostly there is no second one.
            answers.reserve_exact(1);
        }
        answers.push(Answer { after, told });
    }

    fn note_failure(&self, error: &ClientError, commands: usize) {
        if matches!(error, ClientError::Unknown { .. }) {
            self.0.unknown.fetch_add(commands, Ordering::Relaxed);
        }
    }

    /// Sends a command that must be granted.
    pub async fn granted(&self, client: &Client, command: Command) -> (u64, Granted) {
        let told = self.send(client, command.clone()).await;
        match told {
            Ok(Told { revision, verdict: Ok(grant), .. }) => (revision, grant),
            other => panic!("{command:?} led to {other:?}"),
        }
    }

    /// Sends a reservation that must be granted.
    pub async fn held(&self, client: &Client, command: Command) -> HoldId {
        match self.granted(client, command).await {
            (_, Granted::Hold { hold, .. }) => hold,
            other => panic!("a granted reservation makes a hold: {other:?}"),
        }
    }

    /// How many commands have an outcome that a client was told.
    pub fn acknowledged(&self) -> usize {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// How often the outcome of a command was unknown after a call.
    pub fn unknown(&self) -> usize {
        self.0.unknown.load(Ordering::Relaxed)
    }

    /// How often a command was sent that had been sent before.
    pub fn repeated(&self) -> usize {
        self.0.repeated.load(Ordering::Relaxed)
    }

    /// When the last hold ends that a client was told of, in milliseconds since the Unix epoch.
    pub fn last_deadline(&self) -> u64 {
        let seen = self.seen();
        let told = seen.values().flat_map(|seen| &seen.answers).map(|answer| &answer.told.verdict);
        let deadlines = told.filter_map(|verdict| match verdict {
            Ok(Granted::Hold { expires_at, .. }) => expires_at.map(NonZeroU64::get),
            _ => None,
        });
        deadlines.max().unwrap_or(0)
    }

    pub fn seen(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, Seen>> {
        self.0.seen.lock().expect("no panic while locked")
    }

    /// Checks all events of the cluster against what was sent and seen, and that the state at the
    /// end has this revision and digest.
    pub async fn check(&self, client: &Client, end: &(u64, String)) -> Vec<v1::Event> {
        let mut events = Vec::new();
        let judged = self.judge(client, end, |event| {
            events.push(event.clone());
            Ok(())
        });
        if let Err(problem) = judged.await {
            panic!("{problem}");
        }
        events
    }

    /// The same, page by page, with a look at every event: says what is wrong.
    pub async fn judge(
        &self,
        client: &Client,
        end: &(u64, String),
        mut look: impl FnMut(&v1::Event) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut witness = Witness::default();
        // The entry whose last events may be on the next page.
        let mut rest: Vec<v1::Event> = Vec::new();
        let mut next = 1;
        loop {
            let page = client.list_events(next, 1_000).await.map_err(|error| error.to_string())?;
            let is_last = page.events.is_empty();
            next += page.events.len() as u64;
            rest.extend(page.events);
            let open = match rest.last() {
                Some(last) if !is_last => last.raft_index,
                _ => 0,
            };
            let whole = rest.partition_point(|event| open == 0 || event.raft_index < open);
            let later = rest.split_off(whole);
            let seen = self.seen();
            for entry in rest.chunk_by(|one, next| one.raft_index == next.raft_index) {
                witness.entry(entry, &seen)?;
                entry.iter().try_for_each(&mut look)?;
            }
            if is_last {
                return witness.end(end, &seen);
            }
            rest = later;
        }
    }
}

fn in_batch(command: &Command) -> BatchCommand {
    match command::encode(command) {
        Message::Reserve(message) => BatchCommand::Reserve(message),
        Message::Commit(message) => BatchCommand::Commit(message),
        Message::Release(message) => BatchCommand::Release(message),
        other => unreachable!("no test puts {other:?} into a batch"),
    }
}

/// What became of one command of a batch; nothing when that is not known.
fn told_of(result: v1::BatchResult) -> Option<Told> {
    let verdict = match result.result? {
        Part::Reserve(reply) => {
            let expires_at = NonZeroU64::new(reply.expires_at_ms);
            Ok(Granted::Hold { hold: reply.hold_id, expires_at })
        }
        Part::Commit(_) | Part::Release(_) => Ok(Granted::Done),
        Part::Rejection(rejection) => Err(rejection),
        other => unreachable!("no test puts into a batch what leads to {other:?}"),
    };
    Some(Told { revision: result.revision, replayed: result.replayed, verdict })
}

/// Every event, page by page.
pub async fn all_events(client: &Client) -> Vec<v1::Event> {
    events_after(client, 0).await
}

/// Every event after a revision.
pub async fn events_after(client: &Client, revision: u64) -> Vec<v1::Event> {
    let mut events = Vec::new();
    loop {
        let from = revision + events.len() as u64 + 1;
        let page = client.list_events(from, 1_000).await.expect("events");
        if page.events.is_empty() {
            return events;
        }
        events.extend(page.events);
    }
}
