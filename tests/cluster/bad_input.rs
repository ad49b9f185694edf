//! Calls that make no sense get an answer that says so, and change nothing.

use std::future::Future;

use quorate::client::new_request_id;
use quorate::client::rejection_of;
use quorate::client::v1;
use quorate::client::v1::ledger_client::LedgerClient;
use quorate::client::v1::query_client::QueryClient;
use quorate::client::v1::quotas_client::QuotasClient;
use tonic::Code;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use crate::harness::Cluster;
use crate::harness::Settings;
use crate::history::History;
use crate::history::amount;
use crate::history::create_scope;
use crate::history::line;
use crate::history::release;
use crate::history::reserve;
use crate::history::set_quota;

/// Whole units only.
const WHOLE: &str = "instances";

/// One tree with something in it, and every way to call a node.
struct Bench {
    cluster: Cluster,
    history: History,
    ledger: LedgerClient<Channel>,
    quotas: QuotasClient<Channel>,
    query: QueryClient<Channel>,
    hold: u64,
    released: u64,
}

impl Bench {
    async fn new(settings: Settings) -> Self {
        let cluster = Cluster::form(settings).await;
        let history = History::default();
        let client = cluster.client(0);
        for (path, limit) in [("acme", 100), ("acme/ml", 10), ("other", 10)] {
            history.granted(&client, create_scope(path)).await;
            history.granted(&client, set_quota(path, WHOLE, limit)).await;
        }
        history.granted(&client, create_scope("empty")).await;
        let mut holds = Vec::new();
        for _ in 0..2 {
            holds.push(history.held(&client, reserve(vec![line("acme/ml", WHOLE, 4)])).await);
        }
        history.granted(&client, release(holds[1])).await;
        // A follower: what it refuses by itself and what the leader refuses must look the same.
        let channel = cluster.nodes[cluster.follower().await].channel();
        Self {
            cluster,
            history,
            ledger: LedgerClient::new(channel.clone()),
            quotas: QuotasClient::new(channel.clone()),
            query: QueryClient::new(channel),
            hold: holds[0],
            released: holds[1],
        }
    }

    async fn reserve(&self, lines: Vec<v1::Line>) -> Result<Response<v1::ReserveResponse>, Status> {
        self.ledger
            .clone()
            .reserve(v1::ReserveRequest { request_id: id(), lines, ..Default::default() })
            .await
    }

    async fn create_scope(&self, path: &str) -> Result<Response<v1::ScopeChangeResponse>, Status> {
        let request = v1::CreateScopeRequest { request_id: id(), path: path.into(), ..Default::default() };
        self.quotas.clone().create_scope(request).await
    }

    async fn set_quota(&self, scope: &str, limit: v1::Limit, if_version: Option<u64>) -> QuotaChange {
        let request = v1::SetQuotaRequest {
            request_id: id(),
            scope: scope.into(),
            resource: WHOLE.into(),
            policy: Some(v1::Policy { limit: Some(limit), ..Default::default() }),
            if_version,
            ..Default::default()
        };
        self.quotas.clone().set_quota(request).await
    }

    async fn adjust(&self, delta: &str) -> QuotaChange {
        let request = v1::AdjustQuotaRequest {
            request_id: id(),
            scope: "acme".into(),
            resource: WHOLE.into(),
            delta: delta.into(),
            ..Default::default()
        };
        self.quotas.clone().adjust_quota(request).await
    }

    /// Everything there is but the revision: scopes, quotas with versions, sequences and counters,
    /// holds, resources.
    async fn contents(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let client = self.cluster.client(0);
        (
            client
                .list_scopes(v1::ListScopesRequest { page_size: 1_000, ..Default::default() })
                .await
                .expect("scopes")
                .scopes,
            client.list_quotas("", 1_000, "").await.expect("quotas").quotas,
            client
                .list_holds(v1::ListHoldsRequest { page_size: 1_000, ..Default::default() })
                .await
                .expect("holds")
                .holds,
            client.list_resources(1_000, "").await.expect("resources").resources,
        )
    }

    async fn revision(&self) -> u64 {
        self.cluster.client(0).list_quotas("", 1, "").await.expect("quotas").revision
    }

    /// Refused before anything was proposed: the message and the details name the field.
    async fn malformed<T>(
        &self,
        field: &str,
        problem: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) {
        let before = self.revision().await;
        self.misfit(field, problem, call).await;
        assert_eq!(self.revision().await, before, "{field} {problem} was proposed");
    }

    /// Bad input, whoever found it.
    async fn misfit<T>(
        &self,
        field: &str,
        problem: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) {
        let status = self.refused(Code::InvalidArgument, "MALFORMED", &[field, problem], call).await;
        let details = status.get_error_details();
        let violations = &details.bad_request().expect("a BadRequest").field_violations;
        assert_eq!(violations.len(), 1, "{status:?}");
        assert_eq!(violations[0].field, field, "{status:?}");
        assert!(violations[0].description.contains(problem), "{status:?}");
    }

    /// Refused with this code and reason, in a message that says all of this; nothing changed.
    async fn refused<T>(
        &self,
        code: Code,
        reason: &str,
        said: &[&str],
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Status {
        let before = self.contents().await;
        let Err(status) = call.await else { panic!("{reason} {said:?} was accepted") };
        assert_eq!(status.code(), code, "{status:?}");
        for part in said {
            assert!(status.message().contains(part), "{part:?} is not in {:?}", status.message());
        }
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "quorate"));
        assert!(rejection_of(&status).is_some(), "no Rejection in {status:?}");
        assert_eq!(self.contents().await, before, "{reason} changed something");
        status
    }

    /// What is sent outside the history is no part of it; digests are compared all the same.
    async fn end(self) {
        self.cluster.converge().await;
        assert!(self.history.acknowledged() > 0);
    }
}

type QuotaChange = Result<Response<v1::QuotaChangeResponse>, Status>;

fn id() -> String {
    new_request_id().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_names_are_refused_with_the_field() {
    let bench = Bench::new(Settings::default()).await;
    let long = "a".repeat(64);
    let deep = vec!["a"; 17].join("/");
    let paths = [
        ("", "empty"),
        ("/", "empty"),
        ("acme/", "empty"),
        ("/acme", "empty"),
        ("acme//ml", "empty"),
        (long.as_str(), "63"),
        (deep.as_str(), "16"),
        ("acme/-x", "begin"),
        ("acme/m l", "' '"),
        ("acme/ünit", "'ü'"),
        ("acme/..", "begin"),
        ("acme\0", "'\\0'"),
    ];
    for (path, problem) in paths {
        bench.malformed("path", problem, bench.create_scope(path)).await;
        bench.malformed("lines[0].scope", problem, bench.reserve(vec![line(path, WHOLE, 1)])).await;
        bench.malformed("scope", problem, bench.set_quota(path, amount(1), None)).await;
        let get = v1::GetQuotaRequest { scope: path.into(), resource: WHOLE.into(), read: None };
        bench.malformed("scope", problem, bench.query.clone().get_quota(get)).await;
    }
    for (resource, problem) in
        [("", "empty"), ("Memory", "lower-case"), ("a-b", "'-'"), (long.as_str(), "63")]
    {
        let lines = vec![line("acme", WHOLE, 1), line("acme", resource, 1)];
        bench.malformed("lines[1].resource", problem, bench.reserve(lines)).await;
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_are_none_are_refused_with_the_field() {
    let bench = Bench::new(Settings::default()).await;
    let nines = "9".repeat(65);
    let amounts = [
        ("0", "zero"),
        ("0.000", "zero"),
        ("-0", "zero"),
        ("-1", "negative"),
        ("1000000000000000001", "10^18"),
        ("99999999999999999999999999999999", "digits"),
        ("0.0000000000000000000000000000001", "digits"),
        (nines.as_str(), "64"),
        ("", "empty"),
        ("NaN", "not a number"),
        ("Infinity", "not a number"),
        ("1e3", "not a number"),
        ("+1", "not a number"),
        ("1,5", "not a number"),
        ("0x10", "not a number"),
        (" 1", "not a number"),
        ("١", "not a number"),
    ];
    for (text, problem) in amounts {
        bench.malformed("lines[0].amount", problem, bench.reserve(vec![line("acme", WHOLE, text)])).await;
    }
    for (text, problem) in [("-1", "negative"), ("1000000000000000001", "10^18"), ("x", "not a number")] {
        bench.malformed("policy.limit.amount", problem, bench.set_quota("acme", amount(text), None)).await;
    }
    for (text, problem) in [("0", "zero"), ("-1000000000000000001", "10^18"), ("--1", "not a number")] {
        bench.malformed("delta", problem, bench.adjust(text)).await;
    }
    let nothing = v1::Limit { limit: None };
    bench.malformed("policy.limit", "missing", bench.set_quota("acme", nothing, None)).await;
    // Only the ledger knows how many decimals a resource has.
    bench.misfit("lines[0].amount", "0", bench.reserve(vec![line("acme", WHOLE, "0.5")])).await;
    bench.misfit("policy.limit.amount", "0", bench.set_quota("acme", amount("0.5"), None)).await;
    bench.misfit("delta", "0", bench.adjust("0.5")).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_that_contradict_themselves_are_refused() {
    let bench = Bench::new(Settings::default()).await;
    bench.malformed("lines", "0", bench.reserve(vec![])).await;
    let many = (0..65).map(|number| line(&format!("acme/n{number}"), WHOLE, 1)).collect();
    bench.malformed("lines", "65", bench.reserve(many)).await;
    let trees = vec![line("acme", WHOLE, 1), line("other", WHOLE, 1)];
    bench.malformed("lines[1].scope", "tree", bench.reserve(trees)).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_there_already_is_named() {
    let bench = Bench::new(Settings::default()).await;
    let missing = ["there is no scope", "acme/nobody"];
    let call = bench.reserve(vec![line("acme/nobody", WHOLE, 1)]);
    bench.refused(Code::NotFound, "UNKNOWN_SCOPE", &missing, call).await;
    let get = v1::GetQuotaRequest { scope: "acme/nobody".into(), resource: WHOLE.into(), read: None };
    bench.refused(Code::NotFound, "UNKNOWN_SCOPE", &missing, bench.query.clone().get_quota(get)).await;
    let call = bench.create_scope("no/body");
    bench.refused(Code::NotFound, "UNKNOWN_SCOPE", &["there is no scope", "no"], call).await;
    let call = bench.reserve(vec![line("acme", "gravity", 1)]);
    bench.refused(Code::NotFound, "UNKNOWN_RESOURCE", &["there is no resource", "gravity"], call).await;
    let call = bench.reserve(vec![line("empty", WHOLE, 1)]);
    bench.refused(Code::NotFound, "UNKNOWN_QUOTA", &["no quota", "empty"], call).await;
    for hold_id in [0, 1, u64::MAX] {
        let message = ["there is no hold", &hold_id.to_string()];
        let commit = v1::CommitRequest { request_id: id(), hold_id, ..Default::default() };
        bench.refused(Code::NotFound, "UNKNOWN_HOLD", &message, bench.ledger.clone().commit(commit)).await;
        let release = v1::ReleaseRequest { request_id: id(), hold_id, ..Default::default() };
        bench.refused(Code::NotFound, "UNKNOWN_HOLD", &message, bench.ledger.clone().release(release)).await;
        let get = v1::GetHoldRequest { hold_id, read: None };
        bench.refused(Code::NotFound, "UNKNOWN_HOLD", &message, bench.query.clone().get_hold(get)).await;
    }
    let call = bench.create_scope("acme/ml");
    bench.refused(Code::AlreadyExists, "SCOPE_EXISTS", &["acme/ml"], call).await;
    let resource = v1::Resource {
        name: WHOLE.into(),
        unit: "x".into(),
        decimals: 0,
        kind: v1::ResourceKind::Capacity.into(),
    };
    let again =
        v1::RegisterResourceRequest { request_id: id(), resource: Some(resource), ..Default::default() };
    let mut quotas = bench.quotas.clone();
    let call = quotas.register_resource(again);
    bench.refused(Code::AlreadyExists, "RESOURCE_EXISTS", &[WHOLE], call).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_late_or_does_not_fit_is_explained() {
    let bench = Bench::new(Settings::default()).await;
    let release = v1::ReleaseRequest { request_id: id(), hold_id: bench.released, ..Default::default() };
    let said = [&*format!("hold {}", bench.released), "released at revision"];
    bench
        .refused(Code::FailedPrecondition, "HOLD_CLOSED", &said, bench.ledger.clone().release(release))
        .await;

    let call = bench.set_quota("acme", amount(90), Some(7));
    let said = ["version 1, not 7", WHOLE, "acme"];
    bench.refused(Code::Aborted, "VERSION_MISMATCH", &said, call).await;
    let call = bench.set_quota("acme", amount(90), Some(0));
    bench.refused(Code::Aborted, "VERSION_MISMATCH", &["version 1, not 0"], call).await;
    let stale = v1::Line { if_sequence: Some(1), ..line("acme/ml", WHOLE, 1) };
    let said = ["sequence", "not 1", WHOLE, "acme/ml"];
    bench.refused(Code::Aborted, "SEQUENCE_MISMATCH", &said, bench.reserve(vec![stale])).await;
    let call = bench.set_quota("acme/ml", amount(101), None);
    bench.refused(Code::FailedPrecondition, "LIMIT_CONFLICT", &["acme/ml", "acme"], call).await;

    let call = bench.reserve(vec![line("acme/ml", WHOLE, 7)]);
    let said = [WHOLE, "acme/ml", "hard limit 10", "held 4", "requested 7", "short by 1", "waiting can help"];
    let status = bench.refused(Code::ResourceExhausted, "DENIED", &said, call).await;
    let details = status.get_error_details();
    let violations = &details.quota_failure().expect("a QuotaFailure").violations;
    assert_eq!(violations.len(), 1, "{status:?}");
    assert_eq!(violations[0].subject, format!("acme/ml:{WHOLE}"));
    assert!(violations[0].description.contains("short by 1"), "{status:?}");
    let call = bench.reserve(vec![line("acme/ml", WHOLE, 101)]);
    let status = bench.refused(Code::ResourceExhausted, "DENIED", &["waiting cannot help"], call).await;
    let details = status.get_error_details();
    assert_eq!(details.quota_failure().expect("a QuotaFailure").violations.len(), 2, "both levels block");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_of_many_lines_fits_into_the_answer_and_is_complete_in_the_event() {
    let bench = Bench::new(Settings::default()).await;
    let client = bench.cluster.client(0);
    let leaves: Vec<String> = (0..60).map(|number| format!("other/{}-{number}", "x".repeat(58))).collect();
    for leaf in &leaves {
        bench.history.granted(&client, create_scope(leaf)).await;
        bench.history.granted(&client, set_quota(leaf, WHOLE, 1)).await;
    }
    let lines = || leaves.iter().map(|leaf| line(leaf, WHOLE, 2)).collect();
    let status = bench.reserve(lines()).await.expect_err("60 lines are too much");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let rejection = rejection_of(&status).expect("a rejection");
    let Some(v1::rejection::Reason::Denied(denied)) = &rejection.reason else { panic!("{rejection:?}") };
    // The root is in the way, too.
    assert!(rejection.omitted > 0);
    assert_eq!(denied.blocking.len() + rejection.omitted as usize, 61);

    let revision = bench.revision().await;
    let events = client.list_events(revision, 1).await.expect("the event").events;
    let Some(v1::event::Body::Rejected(rejected)) = &events[0].body else { panic!("{events:?}") };
    let rejection = rejected.rejection.as_ref().expect("a rejection");
    let Some(v1::rejection::Reason::Denied(denied)) = &rejection.reason else { panic!("{rejection:?}") };
    assert_eq!((denied.blocking.len(), rejection.omitted), (61, 0));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_and_actors_that_will_not_do_are_refused() {
    let bench = Bench::new(Settings::default()).await;
    let release = |request_id: &str| {
        let request =
            v1::ReleaseRequest { request_id: request_id.into(), hold_id: bench.hold, ..Default::default() };
        let mut ledger = bench.ledger.clone();
        async move { ledger.release(request).await }
    };
    let ids = [
        ("", "not a UUID"),
        ("seventeen", "not a UUID"),
        ("67e55044-10b1-426f-9247-bb680e5fe0c8", "version 7"),
        ("00000000-0000-0000-0000-000000000000", "version 7"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", "version 7"),
    ];
    for (text, problem) in ids {
        bench.malformed("request_id", problem, release(text)).await;
    }
    // Made in the year 10889: accepted, it could never be forgotten in order.
    let call = release("ffffffff-ffff-7fff-bfff-ffffffffffff");
    bench.malformed("request_id", "ahead of the ledger", call).await;
    let call = release("01939c2f-0000-7000-8000-000000000000");
    bench.refused(Code::FailedPrecondition, "REQUEST_ID_EXPIRED", &["are forgotten"], call).await;

    let client = bench.cluster.client(0);
    let used = new_request_id();
    let new = v1::CreateScopeRequest { path: "acme/new".into(), ..Default::default() };
    client.create_scope(used, new).await.expect("granted");
    let call = release(&used.to_string());
    bench.refused(Code::FailedPrecondition, "REQUEST_ID_REUSED", &["another command"], call).await;

    let long = "a".repeat(129);
    for (actor, problem) in [(&*long, "129 characters"), ("a\tb", "printable"), ("zoë", "printable")] {
        let mut request =
            Request::new(v1::ReleaseRequest { request_id: id(), hold_id: bench.hold, ..Default::default() });
        let value = MetadataValue::try_from(actor.as_bytes()).expect("metadata");
        request.metadata_mut().insert("quorate-actor", value);
        bench.malformed("quorate-actor", problem, bench.ledger.clone().release(request)).await;
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_and_the_connection_goes_on() {
    let bench = Bench::new(Settings { max_message_bytes: 2_000, ..Settings::default() }).await;
    let before = bench.revision().await;
    let many = (0..60).map(|number| line(&format!("acme/n{number}/{}", "x".repeat(60)), WHOLE, 1)).collect();
    let status = bench.reserve(many).await.expect_err("too large");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("2000"), "{status:?}");
    assert_eq!(bench.revision().await, before);
    let release = v1::ReleaseRequest { request_id: id(), hold_id: bench.hold, ..Default::default() };
    bench.ledger.clone().release(release).await.expect("the same connection still works");
    bench.end().await;
}
