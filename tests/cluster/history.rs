//! What clients sent and what they were told, against what the cluster says it decided.
//!
//! The judge is a replay: the commands of the test, in the order of the events, through the rules
//! in this process. It must give every event to the last counter, every outcome that a client saw,
//! and the state whose digest the nodes show. The ceilings are checked once more by hand, from the
//! events alone.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::new_request_id;
use quorate::client::v1;
use quorate::client::v1::event::Body;
use quorate::codec::batch::fingerprint;
use quorate::codec::command;
use quorate::codec::digest::StateDigest;
use quorate::codec::event;
use quorate::codec::rejection;
use quorate::ledger;
use quorate::ledger::Command;
use quorate::ledger::Grant;
use quorate::ledger::Request;
use quorate::ledger::RequestId;
use quorate::ledger::State;
use quorate::proto::storage::v1::request::Command as Message;
use rust_decimal::Decimal;
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// What a client was told about a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub revision: u64,
    pub replayed: bool,
    pub verdict: Result<Grant, v1::Rejection>,
}

/// What a client saw of one command.
#[derive(Debug, Clone)]
struct Seen {
    command: Command,
    told: Vec<Told>,
}

/// All commands of one test.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<BTreeMap<Uuid, Seen>>>);

/// Line of a reservation.
pub fn line(scope: &str, resource: &str, amount: impl ToString) -> v1::Line {
    v1::Line {
        scope: scope.to_owned(),
        resource: resource.to_owned(),
        amount: amount.to_string(),
        if_sequence: None,
    }
}

pub fn amount(limit: impl ToString) -> v1::Limit {
    v1::Limit { limit: Some(v1::limit::Limit::Amount(limit.to_string())) }
}

pub fn reserve(lines: Vec<v1::Line>) -> Command {
    let message = v1::ReserveRequest { request_id: String::new(), lines };
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
        limit: Some(amount(limit)),
        ..Default::default()
    };
    command::decode(Message::SetQuota(message)).expect("a quota")
}

/// Sends a command and says what it led to; an error is no decision of the ledger.
async fn send(client: &Client, id: Uuid, command: &Command) -> Result<Told, ClientError> {
    let granted = match command::encode(command) {
        Message::CreateScope(message) => client
            .create_scope(id, &message.path, &message.kind)
            .await
            .map(|reply| (reply.revision, reply.replayed, Grant::Done)),
        Message::SetQuota(message) => client
            .set_quota(
                id,
                &message.scope,
                &message.resource,
                message.limit.expect("encoded"),
                message.if_version,
            )
            .await
            .map(|reply| (reply.revision, reply.replayed, Grant::Version(reply.version))),
        Message::Reserve(message) => client
            .reserve(id, message.lines)
            .await
            .map(|reply| (reply.revision, reply.replayed, Grant::Hold(reply.hold_id))),
        Message::Commit(message) => client
            .commit(id, message.hold_id)
            .await
            .map(|reply| (reply.revision, reply.replayed, Grant::Done)),
        Message::Release(message) => client
            .release(id, message.hold_id)
            .await
            .map(|reply| (reply.revision, reply.replayed, Grant::Done)),
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
        self.seen().entry(id).or_insert_with(|| Seen { command: command.clone(), told: Vec::new() });
        let told = send(client, id, &command).await?;
        self.seen().get_mut(&id).expect("noted above").told.push(told.clone());
        Ok(told)
    }

    /// Sends a command that must be granted.
    pub async fn granted(&self, client: &Client, command: Command) -> (u64, Grant) {
        let told = self.send(client, command.clone()).await;
        match told {
            Ok(Told { revision, verdict: Ok(grant), .. }) => (revision, grant),
            other => panic!("{command:?} led to {other:?}"),
        }
    }

    /// How many commands have an outcome that a client was told.
    pub fn acknowledged(&self) -> usize {
        self.seen().values().filter(|seen| !seen.told.is_empty()).count()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, Seen>> {
        self.0.lock().expect("no panic while locked")
    }

    /// Checks all events of the cluster against what was sent and seen, and that the state at the
    /// end has this revision and digest.
    pub async fn check(&self, client: &Client, (revision, digest): &(u64, String)) -> Vec<v1::Event> {
        let events = all_events(client).await;
        assert_eq!(events.len() as u64, *revision, "the events end at the revision of the nodes");
        let mut seen = self.seen().clone();
        let mut state = State::default();
        let mut decided = BTreeSet::new();
        for event in &events {
            assert_eq!(event.revision, state.revision() + 1, "the event stream has a gap");
            let id: Uuid = event.request_id.parse().expect("a UUID");
            assert!(decided.insert(id), "{id} took effect a second time at {}", event.revision);
            let seen = seen.get_mut(&id).unwrap_or_else(|| panic!("nobody sent {id}"));
            replay(&mut state, event, id, seen);
        }
        assert_eq!(&StateDigest::of(&state).to_string(), digest, "the nodes came to another state");
        for (id, seen) in seen {
            assert!(seen.told.is_empty() || decided.contains(&id), "{id} was acknowledged and is lost");
        }
        check_ceilings(&events);
        events
    }
}

/// Decides the command of an event once more, and compares.
fn replay(state: &mut State, event: &v1::Event, id: Uuid, seen: &Seen) {
    let request = Request {
        id: RequestId::from_bytes(id.into_bytes()).expect("a UUIDv7"),
        fingerprint: fingerprint(&seen.command),
        actor: event.actor.as_str().into(),
        command: seen.command.clone(),
    };
    let mut applied = ledger::apply(state, event.log_time_ms, &[request]);
    let again = applied.events.pop().unwrap_or_else(|| panic!("no event for {event:?}"));
    let position = event::Position { term: event.raft_term, index: event.raft_index };
    assert_eq!(event::encode(&again, position), *event, "the rules give another event");
    let outcome = applied.outcomes.pop().expect("one request has one outcome");
    let verdict = outcome.verdict.map_err(|rejection| rejection::encode(&rejection));
    let mut first = 0;
    for told in &seen.told {
        assert_eq!(
            (told.revision, &told.verdict),
            (outcome.revision, &verdict),
            "a client was told otherwise"
        );
        first += usize::from(!told.replayed);
    }
    assert!(first <= 1, "{id} was told {first} times that it was new");
}

/// Every event, page by page.
pub async fn all_events(client: &Client) -> Vec<v1::Event> {
    let mut events = Vec::new();
    loop {
        let page = client.list_events(events.len() as u64 + 1, 1_000).await.expect("events");
        if page.events.is_empty() {
            return events;
        }
        events.extend(page.events);
    }
}

/// No grant may leave a counter above the limit that applied then. Shares no code with the rules.
fn check_ceilings(events: &[v1::Event]) {
    let number = |text: &str| text.parse::<Decimal>().expect("a decimal");
    let mut limits = BTreeMap::new();
    let mut granted = 0;
    for event in events {
        match event.body.as_ref().expect("a body") {
            Body::QuotaSet(v1::QuotaSet { scope_id, resource_id, limit: Some(limit), .. }) => {
                if let Some(v1::limit::Limit::Amount(text)) = &limit.limit {
                    limits.insert((*scope_id, *resource_id), number(text));
                } else {
                    limits.remove(&(*scope_id, *resource_id));
                }
            }
            Body::Reserved(_) => {
                granted += 1;
                assert!(!event.touched.is_empty());
                for touched in &event.touched {
                    let taken = number(&touched.used) + number(&touched.held);
                    let Some(limit) = limits.get(&(touched.scope_id, touched.resource_id)) else { continue };
                    assert!(taken <= *limit, "{taken} of {limit} after {event:?}");
                }
            }
            _ => {}
        }
    }
    assert!(granted > 0, "nothing was granted: there was nothing to check");
}
