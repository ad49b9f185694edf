//! Watching one node, and finding events on it.

use quorate::proto::v1::watch_request::Start;
use quorate::proto::v1::watch_response::Item;
use tokio::task::JoinSet;
use tonic::Streaming;

use super::*;

/// A watch as it comes.
struct Watch(Streaming<v1::WatchResponse>);

impl Watch {
    async fn next(&mut self) -> v1::WatchResponse {
        self.0.message().await.expect("no failure").expect("a watch does not end")
    }

    /// The next events, up to the first message of another kind.
    async fn events(&mut self) -> (Vec<v1::Event>, v1::WatchResponse) {
        let mut events = Vec::new();
        loop {
            let message = self.next().await;
            match message.item {
                Some(Item::Events(more)) => {
                    assert_eq!(
                        more.events.last().map(|event| event.revision <= message.revision),
                        Some(true)
                    );
                    events.extend(more.events);
                }
                _ => return (events, message),
            }
        }
    }

    /// The revisions of the next events, at least so many.
    async fn revisions(&mut self, count: usize) -> Vec<u64> {
        let mut revisions = Vec::new();
        while revisions.len() < count {
            if let Some(Item::Events(more)) = self.next().await.item {
                revisions.extend(more.events.iter().map(|event| event.revision));
            }
        }
        revisions
    }
}

fn from(revision: u64) -> v1::WatchRequest {
    v1::WatchRequest { start: Some(Start::FromRevision(revision)), ..Default::default() }
}

fn now() -> v1::WatchRequest {
    v1::WatchRequest { start: Some(Start::Now(true)), ..Default::default() }
}

fn of_scope(path: &str) -> Option<v1::EventFilter> {
    Some(v1::EventFilter { scope: path.into(), ..Default::default() })
}

fn of_kind(kind: &str) -> Option<v1::EventFilter> {
    Some(v1::EventFilter { kinds: vec![kind.into()], ..Default::default() })
}

/// More than there is ever room for.
const TOO_MUCH: &str = "2000000";

/// Many reservations in one call, with labels of about so many bytes each.
fn batch(commands: u64, bytes: usize) -> v1::BatchRequest {
    let name = |part: usize| format!("{part:02}{}", "x".repeat(61));
    let labels: std::collections::BTreeMap<_, _> =
        (0..bytes / 126).map(|part| (name(part), name(part))).collect();
    let reserve = |tag| {
        let labels = labels.clone();
        command(tag, Command::Reserve(v1::ReserveRequest { labels, ..reserve("1") }))
    };
    v1::BatchRequest { commands: (0..commands).map(reserve).collect(), ..Default::default() }
}

impl Bench {
    async fn watch(&mut self, request: v1::WatchRequest) -> Watch {
        Watch(self.events.watch(request).await.expect("a watch").into_inner())
    }

    /// Raises the limits: there is room for many.
    async fn make_room(&mut self) {
        for path in ["acme", "acme/ml"] {
            let policy = v1::Policy { limit: limit("1000000"), ..Default::default() };
            self.quotas.set_quota(set_quota(path, policy)).await.expect("a quota");
        }
    }

    async fn refused_watch(&mut self, request: v1::WatchRequest) -> Status {
        self.events.watch(request).await.expect_err("refused")
    }

    async fn list(&mut self, request: v1::ListEventsRequest) -> v1::ListEventsResponse {
        self.events.list_events(request).await.expect("a page").into_inner()
    }

    async fn all(&mut self) -> Vec<v1::Event> {
        let (mut events, mut from_revision) = (Vec::new(), 0);
        loop {
            let request = v1::ListEventsRequest { from_revision, page_size: 1_000, ..Default::default() };
            let page = self.list(request).await;
            events.extend(page.events);
            from_revision = page.next_revision;
            if from_revision > page.revision {
                return events;
            }
        }
    }
}

#[tokio::test]
async fn a_watch_brings_what_was_and_then_what_comes() {
    let mut bench = Bench::new().await;
    let mut watch = bench.watch(from(1)).await;
    let (events, told) = watch.events().await;
    assert_eq!(events, bench.all().await);
    let Some(Item::CaughtUp(v1::CaughtUp { log_time_ms })) = told.item else { panic!("{told:?}") };
    let last = events.last().expect("events");
    assert!((told.revision, log_time_ms) >= (last.revision, last.log_time_ms));
    for _ in 0..3 {
        let hold = bench.ledger.reserve(reserve("1")).await.expect("room").into_inner();
        assert_eq!(watch.revisions(1).await, [hold.revision]);
    }
}

#[tokio::test]
async fn a_watch_from_now_on_begins_after_what_was_acknowledged() {
    let mut bench = Bench::new().await;
    let before = bench.revision().await;
    let mut watch = bench.watch(now()).await;
    let told = watch.next().await;
    assert_eq!((told.revision, matches!(told.item, Some(Item::CaughtUp(_)))), (before, true), "{told:?}");
    bench.ledger.reserve(reserve("11")).await.expect_err("no room");
    assert_eq!(watch.revisions(1).await, [before + 1], "a denial is an event");
}

#[tokio::test]
async fn a_watch_may_begin_in_the_middle_of_a_log_entry() {
    let mut bench = Bench::new().await;
    bench.make_room().await;
    let first = bench.revision().await + 1;
    bench.ledger.batch(batch(2_500, 0)).await.expect("decided");
    for begin in [first, first + 1, first + 999, first + 1_000, first + 2_499] {
        let mut watch = bench.watch(from(begin)).await;
        let (events, told) = watch.events().await;
        let revisions: Vec<u64> = events.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (begin..first + 2_500).collect::<Vec<_>>());
        assert_eq!(told.revision, first + 2_499);
    }
}

#[tokio::test]
async fn a_watch_that_cannot_begin_there_says_why() {
    let mut bench = Bench::new().await;
    let newest = bench.revision().await;
    let beyond = bench.refused_watch(from(newest + 2)).await;
    assert_eq!((beyond.code(), reason(&beyond).as_str()), (Code::OutOfRange, "REVISION_NOT_REACHED"));
    let info = beyond.get_error_details();
    assert_eq!(info.error_info().expect("an ErrorInfo").metadata["newest"], newest.to_string());
    // The next one is the first to come.
    let mut watch = bench.watch(from(newest + 1)).await;
    assert!(matches!(watch.next().await.item, Some(Item::CaughtUp(_))));

    let field = |status: &Status| match rejection(status).reason {
        Some(v1::rejection::Reason::Malformed(malformed)) => malformed.field,
        other => panic!("{other:?}"),
    };
    let kinds = vec!["reserve".to_owned()];
    for (request, name) in [
        (v1::WatchRequest::default(), "start"),
        (v1::WatchRequest { start: Some(Start::Now(false)), ..Default::default() }, "start"),
        (from(0), "from_revision"),
        (v1::WatchRequest { bookmark_interval_ms: 99, ..now() }, "bookmark_interval_ms"),
        (v1::WatchRequest { bookmark_interval_ms: 600_001, ..now() }, "bookmark_interval_ms"),
        (v1::WatchRequest { filter: of_scope("a//b"), ..now() }, "filter.scope"),
        (
            v1::WatchRequest { filter: Some(v1::EventFilter { kinds, ..Default::default() }), ..now() },
            "filter.kinds[0]",
        ),
    ] {
        let refused = bench.refused_watch(request).await;
        assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, name));
    }
    let refused = bench.refused_watch(v1::WatchRequest { filter: of_kind("reserve"), ..now() }).await;
    assert!(refused.message().ends_with("time_refused rejected unchanged events_compacted"), "{refused:?}");
}

/// All parts of the state with which a watch begins, and the revision of which it is.
async fn snapshot(watch: &mut Watch) -> (v1::Snapshot, u64) {
    let mut all = v1::Snapshot::default();
    loop {
        let message = watch.next().await;
        match message.item {
            Some(Item::Snapshot(part)) => {
                all.resources.extend(part.resources);
                all.scopes.extend(part.scopes);
                all.quotas.extend(part.quotas);
                all.holds.extend(part.holds);
            }
            Some(Item::SnapshotEnd(_)) => return (all, message.revision),
            other => panic!("{other:?} in the state"),
        }
    }
}

#[tokio::test]
async fn a_watch_may_begin_with_the_state_and_goes_on_with_every_event_after_it() {
    let mut bench = Bench::new().await;
    bench.make_room().await;
    for path in ["acme/ml/alice", "acme/web", "acme/ml/bob"] {
        let scope = v1::CreateScopeRequest { request_id: id(), path: path.into(), ..Default::default() };
        bench.quotas.create_scope(scope).await.expect("a scope");
    }
    bench.ledger.batch(batch(2_500, 0)).await.expect("decided");
    let revision = bench.revision().await;
    let begin =
        |filter| v1::WatchRequest { start: Some(Start::Snapshot(true)), filter, ..Default::default() };
    let mut watch = bench.watch(begin(None)).await;
    // What happens while the state is told comes after it.
    let later = bench.ledger.reserve(reserve("1")).await.expect("room").into_inner();
    let (state, at) = snapshot(&mut watch).await;
    assert_eq!((at, state.holds.len()), (revision, 2_500));
    let scopes: Vec<_> = state.scopes.iter().map(|scope| scope.path.as_str()).collect();
    assert_eq!(scopes, ["acme", "acme/ml", "acme/ml/alice", "acme/ml/bob", "acme/web"]);
    let read = Some(v1::Read { kind: Some(v1::read::Kind::AtRevision(at)) });
    let list = v1::ListQuotasRequest { read, ..Default::default() };
    let quotas = bench.query.list_quotas(list).await.expect("quotas").into_inner().quotas;
    assert_eq!(state.quotas, quotas);
    assert!(!state.resources.is_empty());
    assert_eq!(watch.revisions(1).await, [later.revision]);

    // Only a part of it.
    let filter = v1::EventFilter { scope: "acme/web".into(), ..Default::default() };
    let (state, at) = snapshot(&mut bench.watch(begin(Some(filter))).await).await;
    assert!((revision..=later.revision).contains(&at), "{at}");
    assert_eq!((state.holds.len(), state.quotas.len()), (0, 0));
    assert_eq!(state.scopes.iter().map(|scope| scope.path.as_str()).collect::<Vec<_>>(), ["acme/web"]);
    let filter = v1::EventFilter { resource: "memory_gb".into(), ..Default::default() };
    let (state, _) = snapshot(&mut bench.watch(begin(Some(filter))).await).await;
    assert_eq!((state.resources.len(), state.quotas.len(), state.holds.len()), (1, 0, 0));
}

#[tokio::test]
async fn a_filtered_watch_brings_what_passes_and_tells_how_far_it_has_looked() {
    let mut bench = Bench::new().await;
    let request = v1::WatchRequest { filter: of_kind("rejected"), bookmark_interval_ms: 100, ..from(1) };
    let mut watch = bench.watch(request).await;
    let (events, told) = watch.events().await;
    assert!(events.is_empty() && matches!(told.item, Some(Item::CaughtUp(_))), "{told:?}");
    let mut last = bench.ledger.reserve(reserve("1")).await.expect("room").into_inner().revision;
    // Nothing of it is wanted, and yet it is known to have been looked at.
    while watch.next().await.revision < last {}
    bench.ledger.reserve(reserve("10")).await.expect_err("no room");
    last += 1;
    assert_eq!(watch.revisions(1).await, [last]);
    let idle = watch.next().await;
    let Some(Item::Bookmark(v1::Bookmark { log_time_ms })) = idle.item else { panic!("{idle:?}") };
    assert!(idle.revision == last && log_time_ms > 0, "{idle:?}");
}

#[tokio::test]
async fn events_come_without_commands_when_they_are_not_wanted() {
    let mut bench = Bench::new().await;
    let v1::ListEventsResponse { events, .. } =
        bench.list(v1::ListEventsRequest { omit_commands: true, ..Default::default() }).await;
    let all = bench.all().await;
    assert!(all.iter().any(|event| event.command.is_some()));
    let bare = |event: &v1::Event| v1::Event { command: None, batch: None, ..event.clone() };
    let bare: Vec<_> = all.iter().map(bare).collect();
    assert_eq!(events, bare);
    let mut watch = bench.watch(v1::WatchRequest { omit_commands: true, ..from(1) }).await;
    let (watched, _) = watch.events().await;
    assert_eq!(watched, bare);
    // The filter still sees them.
    bench.ledger.reserve(reserve("11")).await.expect_err("no room");
    let request =
        v1::ListEventsRequest { omit_commands: true, filter: of_scope("acme/ml"), ..Default::default() };
    let found = bench.list(request).await.events.pop().expect("the denial");
    assert!(matches!(found.body, Some(v1::event::Body::Rejected(_))) && found.command.is_none(), "{found:?}");
    // … also of what comes.
    let mut coming = bench.watch(v1::WatchRequest { omit_commands: true, ..now() }).await;
    coming.next().await;
    bench.ledger.reserve(reserve("1")).await.expect("room");
    let (mut events, told) = (Vec::new(), coming.next().await);
    if let Some(Item::Events(more)) = told.item {
        events = more.events;
    }
    assert!(events.len() == 1 && events[0].command.is_none(), "{events:?}");
}

#[tokio::test]
async fn a_list_is_filtered_and_looks_at_a_bounded_number_of_events_for_a_page() {
    let mut bench = Bench::new().await;
    bench.make_room().await;
    let first = bench.revision().await + 1;
    for _ in 0..2 {
        bench.ledger.batch(batch(8_000, 0)).await.expect("decided");
    }
    bench.ledger.reserve(reserve(TOO_MUCH)).await.expect_err("no room");
    let (mut pages, mut found, mut from_revision) = (0, Vec::new(), first);
    loop {
        let request =
            v1::ListEventsRequest { from_revision, filter: of_kind("rejected"), ..Default::default() };
        let page = bench.list(request).await;
        assert!(page.next_revision > from_revision && page.compacted_at == 0, "{page:?}");
        found.extend(page.events.iter().map(|event| event.revision));
        (pages, from_revision) = (pages + 1, page.next_revision);
        if from_revision > page.revision {
            break;
        }
    }
    assert_eq!((pages, found), (2, vec![first + 16_000]));
    let request = v1::ListEventsRequest { filter: of_kind("reserved"), page_size: 3, ..Default::default() };
    let page = bench.list(request).await;
    let revisions: Vec<u64> = page.events.iter().map(|event| event.revision).collect();
    assert_eq!((revisions, page.next_revision), (vec![first, first + 1, first + 2], first + 3));
}

#[tokio::test]
async fn large_events_come_in_messages_of_bounded_size() {
    let mut bench = Bench::new().await;
    bench.make_room().await;
    let first = bench.revision().await + 1;
    // About 2 KiB each, twice: as what was asked and as what was done.
    bench.ledger.batch(batch(1_500, 2_000)).await.expect("decided");
    let mut watch = bench.watch(from(first)).await;
    let mut next = first;
    while next < first + 1_500 {
        let message = watch.next().await;
        let Some(Item::Events(v1::WatchedEvents { events })) = message.item.clone() else { continue };
        assert!(message.encoded_len() < (256 << 10) + (16 << 10), "{}", message.encoded_len());
        for event in events {
            assert_eq!(event.revision, next);
            next += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_holds_up_nobody_and_gets_everything_later() {
    let mut bench = Bench::new().await;
    bench.make_room().await;
    let mut slow = bench.watch(now()).await;
    let first = slow.next().await.revision + 1;
    // Far more than a connection and the tail have room for.
    let calls = 16;
    for _ in 0..calls {
        bench.ledger.batch(batch(1_000, 1_000)).await.expect("decided");
    }
    let last = first + calls * 1_000 - 1;
    let (mut next, mut fell_behind) = (first, 0);
    loop {
        let message = slow.next().await;
        match message.item.expect("something") {
            Item::Events(more) => {
                for event in more.events {
                    assert_eq!(event.revision, next);
                    next += 1;
                }
            }
            Item::FellBehind(told) => {
                assert_eq!(told.newest_revision, last);
                fell_behind += 1;
            }
            Item::CaughtUp(_) if message.revision == last => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((next, fell_behind), (last + 1, 1));
    let hold = bench.ledger.reserve(reserve("1")).await.expect("room").into_inner();
    assert_eq!(slow.revisions(1).await, [hold.revision]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_of_one_node_each_see_everything_once() {
    let mut bench = Bench::new().await;
    bench.make_room().await;
    let newest = bench.revision().await;
    let last = newest + 1_000;
    let mut watches = JoinSet::new();
    for number in 0..1_000 {
        // Most wait for what comes; some begin at the beginning.
        let (request, first) = if number % 10 == 0 { (from(1), 1) } else { (now(), newest + 1) };
        let mut watch = bench.watch(request).await;
        // All at once: they share a connection, which has room for only so much that nobody has taken.
        watches.spawn(async move { (first, watch.revisions((last + 1 - first) as usize).await) });
    }
    for _ in 0..20 {
        bench.ledger.batch(batch(50, 0)).await.expect("decided");
    }
    while let Some(ended) = watches.join_next().await {
        let (first, seen) = ended.expect("it goes on");
        assert_eq!(seen, (first..=last).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_watch_that_nobody_reads_any_more_is_given_up() {
    let mut bench = Bench::new().await;
    for _ in 0..50 {
        let mut watch = bench.watch(now()).await;
        watch.next().await;
    }
    // The connection goes on: it has as much room for streams as ever.
    let mut watch = bench.watch(now()).await;
    watch.next().await;
    let hold = bench.ledger.reserve(reserve("1")).await.expect("room").into_inner();
    assert_eq!(watch.revisions(1).await, [hold.revision]);
}

#[tokio::test]
async fn watches_end_when_the_node_stops() {
    let mut bench = Bench::new().await;
    let mut waiting = bench.watch(now()).await;
    waiting.next().await;
    let Bench { stop, node, .. } = bench;
    stop.send(()).expect("the node runs");
    let ended = waiting.0.message().await.expect_err("it is over");
    assert!(ended.code() == Code::Unavailable && ended.message().contains("stopping"), "{ended:?}");
    node.await.expect("no panic").expect("without a fault");
}

#[tokio::test]
async fn what_was_removed_is_not_passed_over_in_silence() {
    let mut bench = Bench::start(4 << 20, Arc::new(SystemClock), Disk::new(1)).await;
    bench.cluster.initialize(v1::InitializeRequest::default()).await.expect("a cluster");
    for path in ["a", "b", "c", "d", "e"] {
        let scope = v1::CreateScopeRequest { request_id: id(), path: path.into(), ..Default::default() };
        bench.quotas.create_scope(scope).await.expect("a scope");
    }
    let compact = v1::CompactEventsRequest { request_id: id(), through_revision: 3, ..Default::default() };
    bench.events.compact_events(compact).await.expect("they are let go");
    let there = bench.all().await;
    assert_eq!(there.first().map(|event| event.revision), Some(4));
    let removed = |status: &Status| {
        let details = status.get_error_details();
        let info = details.error_info().expect("an ErrorInfo");
        (status.code(), info.reason.clone(), info.metadata["compacted_at"].clone())
    };
    let expected = (Code::OutOfRange, "EVENTS_COMPACTED".to_owned(), "3".to_owned());
    for from_revision in [1, 3] {
        assert_eq!(removed(&bench.refused_watch(from(from_revision)).await), expected);
        let request = v1::ListEventsRequest { from_revision, ..Default::default() };
        assert_eq!(removed(&bench.events.list_events(request).await.expect_err("removed")), expected);
    }
    let (events, _) = bench.watch(from(4)).await.events().await;
    assert_eq!(events, there);
    let listed = bench.list(v1::ListEventsRequest::default()).await;
    assert_eq!((listed.events, listed.compacted_at), (there, 3));
}
