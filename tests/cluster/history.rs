//! What clients sent and what they were told, against what the cluster says it decided.
//!
//! The judge is a replay: the commands of the test, entry by entry in the order of the events, and
//! the stamps of the leaders, through the rules in this process. It must give every event to the last
//! counter, every outcome that a client saw, and the state whose digest the nodes show. The ceilings
//! are checked once more by hand, from the events alone.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::Mutex;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::new_request_id;
use quorate::client::v1;
use quorate::client::v1::event::Body;
use quorate::codec::batch::fingerprint;
use quorate::codec::command;
use quorate::codec::command::Message;
use quorate::codec::digest::StateDigest;
use quorate::codec::event;
use quorate::codec::rejection;
use quorate::ledger;
use quorate::ledger::Command;
use quorate::ledger::Granted;
use quorate::ledger::HoldId;
use quorate::ledger::Request;
use quorate::ledger::RequestId;
use quorate::ledger::State;
use quorate::ledger::apply::RefusedClock;
use quorate::ledger::apply::Stamp;
use rust_decimal::Decimal;
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// What a client was told about a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub revision: u64,
    pub replayed: bool,
    pub verdict: Result<Granted, v1::Rejection>,
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
        self.seen().entry(id).or_insert_with(|| Seen { command: command.clone(), told: Vec::new() });
        let told = send(client, id, &command).await?;
        self.seen().get_mut(&id).expect("noted above").told.push(told.clone());
        Ok(told)
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
        let seen = self.seen().clone();
        let mut state = State::default();
        let mut decided = BTreeSet::new();
        for entry in events.chunk_by(|one, next| one.raft_index == next.raft_index) {
            assert_eq!(entry[0].revision, state.revision() + 1, "the event stream has a gap");
            // What was due has no request.
            for event in entry.iter().filter(|event| !event.request_id.is_empty()) {
                let id = request_id(event);
                assert!(decided.insert(id), "{id} took effect a second time at {}", event.revision);
                assert!(seen.contains_key(&id), "nobody sent {id}");
            }
            replay(&mut state, entry, &seen);
        }
        assert_eq!(&StateDigest::of(&state).to_string(), digest, "the nodes came to another state");
        for (id, seen) in seen {
            assert!(seen.told.is_empty() || decided.contains(&id), "{id} was acknowledged and is lost");
        }
        check_ceilings(&events);
        events
    }
}

fn request_id(event: &v1::Event) -> Uuid {
    event.request_id.parse().expect("a UUID")
}

/// Has one log entry decided once more, from its stamp and its commands, and compares.
fn replay(state: &mut State, entry: &[v1::Event], seen: &BTreeMap<Uuid, Seen>) {
    let refused = entry.iter().find_map(|event| match &event.body {
        Some(Body::TimeRefused(refused)) => {
            Some(RefusedClock { clock: refused.clock_ms, node: refused.node_id })
        }
        _ => None,
    });
    let asked: Vec<_> = entry.iter().filter(|event| !event.request_id.is_empty()).collect();
    let requests: Vec<_> = asked
        .iter()
        .map(|event| {
            let command = &seen[&request_id(event)].command;
            Request {
                id: RequestId::from_bytes(request_id(event).into_bytes()).expect("a UUIDv7"),
                fingerprint: fingerprint(command),
                actor: event.actor.as_str().into(),
                reason: event.reason.as_str().into(),
                command: command.clone(),
            }
        })
        .collect();
    let applied = ledger::apply(state, Stamp { time: entry[0].log_time_ms, refused }, &requests);
    let position = event::Position { term: entry[0].raft_term, index: entry[0].raft_index };
    let again = event::encode_entry(&applied.events, &requests, position);
    assert_eq!(again, entry, "the rules give other events");
    for (event, outcome) in asked.iter().zip(applied.outcomes) {
        let id = request_id(event);
        let verdict = outcome.verdict.map(|grant| grant.what);
        let verdict = verdict.map_err(|rejection| rejection::encode(&rejection));
        let mut first = 0;
        for told in &seen[&id].told {
            assert_eq!(
                (told.revision, &told.verdict),
                (outcome.revision, &verdict),
                "a client was told otherwise"
            );
            first += usize::from(!told.replayed);
        }
        assert!(first <= 1, "{id} was told {first} times that it was new");
    }
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

/// No grant may leave a counter above the limit that applied then. Shares no code with the rules.
fn check_ceilings(events: &[v1::Event]) {
    let number = |text: &str| text.parse::<Decimal>().expect("a decimal");
    let mut limits = BTreeMap::new();
    let mut granted = 0;
    for event in events {
        match event.body.as_ref().expect("a body") {
            Body::QuotaSet(v1::QuotaSet { scope_id, resource_id, policy: Some(policy), .. }) => {
                let limit = policy.limit.as_ref().and_then(|limit| limit.limit.as_ref());
                if let Some(v1::limit::Limit::Amount(text)) = limit {
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
