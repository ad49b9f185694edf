//! Watchers for tests: what each wants, what it saw, and whether that is what it must have seen.
//!
//! What an event concerns is worked out from its text, so that the filters of the server are not
//! judged by themselves.

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::Watcher;
use quorate::client::v1::Event;
use quorate::client::v1::EventFilter;
use quorate::client::v1::WatchRequest;
use quorate::client::v1::WatchResponse;
use quorate::client::v1::WatchedEvents;
use quorate::client::v1::event::Body;
use quorate::client::v1::watch_request::Start;
use quorate::client::v1::watch_response::Item;
use tonic_types::StatusExt as _;

/// How long a watch may be silent, in milliseconds.
const BOOKMARK_MS: u32 = 300;

/// The things that the clients of a test use.
pub struct World {
    pub scopes: &'static [&'static str],
    pub resources: &'static [&'static str],
    pub actors: &'static [&'static str],
}

/// The request of the watcher with this number: all ways to begin, with and without filters.
pub fn request(number: usize, world: &World) -> WatchRequest {
    let pick = |names: &[&'static str]| names[number / 10 % names.len()].to_owned();
    let kinds = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let none = EventFilter::default;
    let filter = match number % 10 {
        0 | 1 => None,
        2 => Some(EventFilter { scope: pick(world.scopes), ..none() }),
        3 => Some(EventFilter { resource: pick(world.resources), ..none() }),
        4 => Some(EventFilter { kinds: kinds(&["reserved", "expired"]), ..none() }),
        5 => Some(EventFilter { kinds: kinds(&["rejected"]), scope: pick(world.scopes), ..none() }),
        6 => Some(EventFilter { actor: pick(world.actors), ..none() }),
        7 => Some(EventFilter { hold_id: 20 + number as u64, ..none() }),
        8 => Some(EventFilter { kinds: kinds(&["released", "committed", "renewed"]), ..none() }),
        _ => Some(EventFilter { scope: pick(world.scopes), resource: pick(world.resources), ..none() }),
    };
    let start = if number % 3 == 1 { Start::Now(true) } else { Start::FromRevision(1) };
    WatchRequest {
        start: Some(start),
        filter,
        bookmark_interval_ms: BOOKMARK_MS,
        omit_commands: number % 4 == 3,
    }
}

/// One watcher with what it has seen.
pub struct Watch {
    number: usize,
    request: WatchRequest,
    client: Client,
    watcher: Watcher,
    /// Everything after this must have been seen; none while it has not begun.
    after: Option<u64>,
    /// What had been removed when it came there: what follows the first revision up to the second.
    removed: Vec<(u64, u64)>,
    seen: Vec<Event>,
}

impl Watch {
    pub fn new(client: &Client, number: usize, world: &World) -> Self {
        let request = request(number, world);
        let watcher = client.watch(request.clone());
        let after = match request.start {
            Some(Start::FromRevision(from)) => Some(from - 1),
            _ => None,
        };
        let client = client.clone();
        Self { number, request, client, watcher, after, removed: Vec::new(), seen: Vec::new() }
    }

    /// How far it has come; none when it has not begun.
    pub fn revision(&self) -> Option<u64> {
        self.watcher.revision()
    }

    /// Takes one message, or finds that no node has one at the moment. When what comes next was removed, it
    /// goes on behind that; returns up to where it was removed then.
    pub async fn step(&mut self) -> Result<Option<u64>, String> {
        let WatchResponse { revision, item } = match self.watcher.next().await {
            Ok(message) => message,
            Err(ClientError::Unavailable { .. }) => return Ok(None),
            Err(error) => return self.skip(&error).map(Some),
        };
        let events = match item {
            Some(Item::Events(WatchedEvents { events })) => events,
            _ => Vec::new(),
        };
        let first = events.first().map_or(revision, |event| event.revision - 1);
        self.after.get_or_insert(first);
        self.seen.extend(events);
        Ok(None)
    }

    /// Goes on behind what was removed, if that is what stands in the way.
    fn skip(&mut self, error: &ClientError) -> Result<u64, String> {
        let failed = || format!("watcher {}: {error}", self.number);
        let through = removed_through(error).ok_or_else(failed)?;
        let seen = self.watcher.revision().filter(|seen| *seen < through).ok_or_else(failed)?;
        self.removed.push((seen, through));
        let request = WatchRequest { start: Some(Start::FromRevision(through + 1)), ..self.request.clone() };
        self.watcher = self.client.watch(request);
        Ok(through)
    }

    /// Whether it saw of all events exactly those that it must have seen; tells how many.
    pub fn check(&self, all: &[Event]) -> Result<usize, String> {
        let after = self.after.ok_or_else(|| format!("watcher {} has not begun", self.number))?;
        let is_let_go = |through: u64| {
            all.iter().any(|event| {
                matches!(&event.body, Some(Body::EventsCompacted(it)) if it.through_revision == through)
            })
        };
        if let Some((_, through)) = self.removed.iter().find(|(_, through)| !is_let_go(*through)) {
            return Err(format!("watcher {} was told that events are gone up to {through}", self.number));
        }
        let is_removed = |event: &Event| {
            self.removed.iter().any(|(seen, through)| (seen + 1..=*through).contains(&event.revision))
        };
        let expected = all
            .iter()
            .filter(|event| event.revision > after && !is_removed(event))
            .filter(|event| self.request.filter.as_ref().is_none_or(|filter| is_wanted(event, filter)))
            .map(|event| match self.request.omit_commands {
                true => Event { command: None, batch: None, ..event.clone() },
                false => event.clone(),
            });
        let expected: Vec<Event> = expected.collect();
        if self.seen == expected {
            return Ok(expected.len());
        }
        let revisions = |events: &[Event]| events.iter().map(|event| event.revision).collect::<Vec<_>>();
        Err(format!(
            "watcher {} of {:?} saw {:?} after {after}, and should have seen {:?}",
            self.number,
            self.request,
            revisions(&self.seen),
            revisions(&expected)
        ))
    }
}

/// Up to where events are gone, if that is what an error says.
fn removed_through(error: &ClientError) -> Option<u64> {
    let ClientError::Rejected { status, .. } = error else {
        return None;
    };
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.reason == "EVENTS_COMPACTED")?;
    info.metadata.get("compacted_at")?.parse().ok()
}

fn is_wanted(event: &Event, filter: &EventFilter) -> bool {
    let text = format!("{event:?}");
    let says = |name: &str| text.contains(&format!("\"{name}\""));
    let scope = &filter.scope;
    let body = format!("{:?}", event.body);
    // "quota_set" is written "Some(QuotaSet(" there.
    let is_of = |kind: &String| body.to_lowercase().starts_with(&format!("some({}(", kind.replace('_', "")));
    (scope.is_empty() || says(scope) || text.contains(&format!("\"{scope}/")))
        && (filter.resource.is_empty() || says(&filter.resource))
        && (filter.kinds.is_empty() || filter.kinds.iter().any(is_of))
        && (filter.actor.is_empty() || event.actor == filter.actor)
        && (filter.hold_id == 0
            || [',', ' '].iter().any(|end| text.contains(&format!("hold_id: {}{end}", filter.hold_id))))
}
