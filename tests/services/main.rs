//! The services of one node, over real sockets: what its answers say.

mod export;
mod faults;
mod room;
mod usage;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream;
use prost::Message as _;
use quorate::clock::Clock;
use quorate::clock::SystemClock;
use quorate::config::ClientSettings;
use quorate::config::Config;
use quorate::config::LogSettings;
use quorate::config::Member;
use quorate::config::PeerSettings;
use quorate::config::RaftSettings;
use quorate::net::TcpNet;
use quorate::proto::v1;
use quorate::proto::v1::batch_command::Command;
use quorate::proto::v1::cluster_client::ClusterClient;
use quorate::proto::v1::events_client::EventsClient;
use quorate::proto::v1::ledger_client::LedgerClient;
use quorate::proto::v1::query_client::QueryClient;
use quorate::proto::v1::quotas_client::QuotasClient;
use quorate::rng::Rng as _;
use quorate::rng::SystemRng;
use quorate::server;
use quorate::server::ServerError;
use quorate::store::Store;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Code;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

/// How long a node may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node with a tree "acme/ml" and 10 instances for each of its scopes.
struct Bench {
    ledger: LedgerClient<Channel>,
    quotas: QuotasClient<Channel>,
    query: QueryClient<Channel>,
    events: EventsClient<Channel>,
    cluster: ClusterClient<Channel>,
    /// Tells the node to stop; it also does when this is dropped.
    stop: oneshot::Sender<()>,
    node: JoinHandle<Result<(), ServerError>>,
}

/// The clock of the machine, set forward by so many milliseconds.
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.0.load(Ordering::Relaxed)
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

fn id() -> String {
    let random = u128::from(SystemRng.next_u64()) << 64 | u128::from(SystemRng.next_u64());
    let bits = u128::from(SystemClock.now_ms()) << 80 | 7 << 76 | 0b10 << 62 | random >> 66;
    uuid::Uuid::from_u128(bits).to_string()
}

fn limit(amount: &str) -> Option<v1::Limit> {
    Some(v1::Limit { limit: Some(v1::limit::Limit::Amount(amount.into())) })
}

fn set_quota(scope: &str, policy: v1::Policy) -> v1::SetQuotaRequest {
    v1::SetQuotaRequest {
        request_id: id(),
        scope: scope.into(),
        resource: "instances".into(),
        policy: Some(policy),
        ..Default::default()
    }
}

fn reserve(amount: &str) -> v1::ReserveRequest {
    let line = v1::Line {
        scope: "acme/ml".into(),
        resource: "instances".into(),
        amount: amount.into(),
        ..Default::default()
    };
    v1::ReserveRequest { request_id: id(), lines: vec![line], ..Default::default() }
}

fn command(tag: u64, command: Command) -> v1::BatchCommand {
    v1::BatchCommand { tag, command: Some(command) }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn rejection(status: &Status) -> v1::Rejection {
    quorate::client::rejection_of(status).expect("a rejection in the details")
}

fn config(max_message_bytes: usize) -> Config {
    let mut config = configs(1).remove(0);
    config.client.max_message_bytes = max_message_bytes;
    config
}

/// Of nodes that form a cluster.
fn configs(nodes: u64) -> Vec<Config> {
    let address = || format!("127.0.0.1:{}", free_port());
    let member = |node_id| Member { node_id, client_address: address(), peer_address: address() };
    let members: Vec<_> = (1..=nodes).map(member).collect();
    let config = |member: &Member| Config {
        cluster: "bench".into(),
        node_id: member.node_id,
        data_dir: Default::default(),
        client: ClientSettings { listen: member.client_address.clone(), max_message_bytes: 4 << 20 },
        peer: PeerSettings { listen: member.peer_address.clone() },
        disk: Default::default(),
        events: Default::default(),
        members: members.clone(),
        max_clock_step_ms: 60_000,
        raft: RaftSettings::default(),
        log: LogSettings::default(),
    };
    members.iter().map(config).collect()
}

fn parts(store: Box<dyn Store>, clock: Arc<dyn Clock>) -> server::Parts {
    server::Parts { store, clock, net: Arc::new(TcpNet), rng: Arc::new(SystemRng) }
}

/// Runs a node until it ends by itself.
async fn run_alone(store: Box<dyn Store>) -> Result<(), ServerError> {
    server::run(config(4 << 20), parts(store, Arc::new(SystemClock)), std::future::pending()).await
}

impl Bench {
    async fn new() -> Self {
        Self::of(4 << 20).await
    }

    /// One that takes messages of so many bytes.
    async fn of(max_message_bytes: usize) -> Self {
        Self::with(max_message_bytes, Arc::new(SystemClock)).await
    }

    async fn with(max_message_bytes: usize, clock: Arc<dyn Clock>) -> Self {
        let mut bench = Self::start(max_message_bytes, clock, Disk::new(1)).await;
        bench.plant().await;
        bench
    }

    /// Forms the cluster and plants the tree.
    async fn plant(&mut self) {
        let bench = self;
        bench.cluster.initialize(v1::InitializeRequest::default()).await.expect("a cluster");
        for path in ["acme", "acme/ml"] {
            let scope = v1::CreateScopeRequest { request_id: id(), path: path.into(), ..Default::default() };
            bench.quotas.create_scope(scope).await.expect("a scope");
            let policy = v1::Policy { limit: limit("10"), ..Default::default() };
            bench.quotas.set_quota(set_quota(path, policy)).await.expect("a quota");
        }
    }

    /// A node with what is on a disk.
    async fn start(max_message_bytes: usize, clock: Arc<dyn Clock>, disk: Arc<Disk>) -> Self {
        Self::on(max_message_bytes, clock, Box::new(SimulatedStore::new(disk))).await
    }

    /// A node with what is in a store.
    async fn on(max_message_bytes: usize, clock: Arc<dyn Clock>, store: Box<dyn Store>) -> Self {
        Self::of_config(config(max_message_bytes), clock, store).await
    }

    async fn of_config(config: Config, clock: Arc<dyn Clock>, store: Box<dyn Store>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let address = config.client.listen.clone();
        let node = tokio::spawn(server::run(config, parts(store, clock), stopped));
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
        let deadline = Instant::now() + PATIENCE;
        let channel = loop {
            match endpoint.connect().await {
                Ok(channel) => break channel,
                Err(error) => {
                    assert!(Instant::now() < deadline, "the node does not listen: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        Self {
            ledger: LedgerClient::new(channel.clone()),
            quotas: QuotasClient::new(channel.clone()),
            query: QueryClient::new(channel.clone()),
            events: EventsClient::new(channel.clone()).max_decoding_message_size(16 << 20),
            cluster: ClusterClient::new(channel),
            stop,
            node,
        }
    }

    async fn revision(&mut self) -> u64 {
        let request = v1::ListQuotasRequest::default();
        self.query.list_quotas(request).await.expect("quotas").into_inner().revision
    }

    async fn quota(&mut self, scope: &str) -> v1::Quota {
        let request = v1::GetQuotaRequest { scope: scope.into(), resource: "instances".into(), read: None };
        self.query.get_quota(request).await.expect("a quota").into_inner().quota.expect("a quota")
    }
}

#[tokio::test]
async fn the_status_of_a_node_shows_that_its_clock_is_refused() {
    let clock = Arc::new(SetClock(AtomicU64::new(0)));
    let mut bench = Bench::with(4 << 20, Arc::clone(&clock) as Arc<dyn Clock>).await;
    let status = async |bench: &mut Bench| {
        bench.ledger.reserve(reserve("1")).await.expect("room");
        let answer = bench.cluster.status(v1::StatusRequest::default()).await.expect("a status");
        answer.into_inner().nodes.pop().expect("a node")
    };
    let right = status(&mut bench).await;
    assert!(!right.clock_refused && right.problem.is_empty(), "{right:?}");
    clock.0.store(5 * 3_600_000, Ordering::Relaxed);
    let wrong = status(&mut bench).await;
    assert!(wrong.clock_refused && wrong.problem.contains("clock is refused"), "{wrong:?}");
    assert!(wrong.clock_ms - wrong.log_time_ms > 4 * 3_600_000, "{wrong:?}");
    clock.0.store(0, Ordering::Relaxed);
    let right = status(&mut bench).await;
    assert!(!right.clock_refused && right.problem.is_empty(), "{right:?}");
}

#[tokio::test]
async fn a_denial_says_in_words_when_it_fits() {
    let mut bench = Bench::new().await;
    let held = v1::ReserveRequest { ttl_ms: Some(600_000), ..reserve("6") };
    let held = bench.ledger.reserve(held).await.expect("room").into_inner();
    let denied = bench.ledger.reserve(reserve("6")).await.expect_err("no room");
    let at = quorate::client::tell::utc(held.expires_at_ms);
    let said =
        format!("acme/ml  instances  hard limit 10, used 0, held 6, requested 6: short by 2; fits at {at}");
    assert!(denied.message().starts_with("denied: ") && denied.message().contains(&said), "{denied:?}");
    let details = denied.get_error_details();
    let violations = &details.quota_failure().expect("a QuotaFailure").violations;
    assert_eq!((violations.len(), violations[1].description.as_str()), (2, said.as_str()));
}

#[tokio::test]
async fn a_check_answers_as_a_reservation_would_and_leaves_no_trace() {
    let mut bench = Bench::new().await;
    let before = bench.revision().await;
    let asked = v1::ReserveRequest { request_id: String::new(), ..reserve("4") };
    let answer = bench.ledger.check(asked.clone()).await.expect("room").into_inner();
    assert_eq!((answer.hold_id, answer.revision, answer.outcome()), (0, before, v1::Outcome::Granted));
    let by_mode = v1::ReserveRequest { mode: v1::Mode::Check.into(), ..asked };
    assert_eq!(bench.ledger.reserve(by_mode).await.expect("room").into_inner(), answer);
    let denied = bench.ledger.check(reserve("11")).await.expect_err("no room");
    assert_eq!((denied.code(), reason(&denied).as_str()), (Code::ResourceExhausted, "DENIED"));
    assert_eq!(bench.revision().await, before);
}

#[tokio::test]
async fn a_denial_names_the_largest_holders_when_it_is_asked_to() {
    let mut bench = Bench::new().await;
    let mut holds = Vec::new();
    for amount in ["1", "5", "2"] {
        let asked = v1::ReserveRequest { job: format!("job-{amount}"), ..reserve(amount) };
        holds.push(bench.ledger.reserve(asked).await.expect("room").into_inner().hold_id);
    }
    let asked = v1::ReserveRequest { largest_holders: 2, ..reserve("4") };
    let denied = bench.ledger.reserve(asked.clone()).await.expect_err("no room");
    let Some(v1::rejection::Reason::Denied(reason)) = rejection(&denied).reason else { panic!("{denied:?}") };
    assert_eq!(reason.blocking.len(), 2);
    for blocking in reason.blocking {
        assert_eq!((blocking.shortfall.as_str(), blocking.rule()), ("2", v1::Rule::HardLimit));
        let holders: Vec<_> =
            blocking.largest_holders.iter().map(|holder| (holder.hold_id, holder.job.as_str())).collect();
        assert_eq!(holders, [(holds[1], "job-5"), (holds[2], "job-2")]);
    }
    // The number of holders is no part of the command: this is a repeat.
    let repeat = bench.ledger.reserve(v1::ReserveRequest { largest_holders: 0, ..asked }).await;
    let repeat = repeat.expect_err("still denied").get_error_details();
    assert_eq!(repeat.error_info().expect("an ErrorInfo").metadata["replayed"], "true");
}

#[tokio::test]
async fn validate_only_tells_what_would_be_and_does_nothing() {
    let mut bench = Bench::new().await;
    let before = (bench.revision().await, bench.quota("acme/ml").await);
    let policy =
        v1::Policy { limit: limit("8"), overcommit: "1.5".into(), soft: "8".into(), ..Default::default() };
    let change = v1::SetQuotaRequest {
        request_id: String::new(),
        validate_only: true,
        ..set_quota("acme/ml", policy)
    };
    // Over what the parent has.
    let conflict = bench.quotas.set_quota(change.clone()).await.expect_err("12 is over 10");
    assert_eq!((conflict.code(), reason(&conflict).as_str()), (Code::FailedPrecondition, "LIMIT_CONFLICT"));
    let policy = v1::Policy { limit: limit("6"), ..change.policy.clone().expect("a policy") };
    let change = v1::SetQuotaRequest { policy: Some(policy), ..change };
    let answer = bench.quotas.set_quota(change).await.expect("it fits").into_inner();
    assert_eq!((answer.revision, answer.version, answer.would_write.len()), (before.0, 2, 1));
    let event = &answer.would_write[0];
    assert_eq!((event.revision, event.request_id.as_str()), (before.0 + 1, ""));
    let quota = answer.quota.expect("the quota as it would be");
    assert_eq!(quota.counters.expect("counters").effective_limit.as_deref(), Some("9"));
    assert_eq!((bench.revision().await, bench.quota("acme/ml").await), before);
}

#[tokio::test]
async fn scopes_quotas_and_holds_are_found_page_by_page() {
    let mut bench = Bench::new().await;
    let scope = |number: u32| {
        let label = ("even".to_owned(), number.is_multiple_of(2).to_string());
        let policy = Some(v1::Policy { limit: limit("1"), ..Default::default() });
        let quota = |resource: &str| v1::ResourcePolicy { resource: resource.into(), policy: policy.clone() };
        v1::PlannedScope {
            path: format!("acme/ml/{number}"),
            labels: Some(v1::Labels { labels: [label].into() }),
            quotas: vec![quota("instances"), quota("volumes")],
            ..Default::default()
        }
    };
    let plan = Some(v1::Plan { scopes: (10..35).map(scope).collect(), ..Default::default() });
    let plan = v1::ApplyPlanRequest { request_id: id(), plan, validate_only: false };
    bench.quotas.apply_plan(plan).await.expect("scopes");

    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let labels = [("even".to_owned(), "true".to_owned())].into();
        let request = v1::ListScopesRequest {
            path: "acme".into(),
            page_size: 4,
            page_token: token,
            labels,
            read: None,
        };
        let page = bench.quotas.list_scopes(request).await.expect("a page").into_inner();
        assert!(page.scopes.len() <= 4);
        found.extend(page.scopes.into_iter().map(|scope| scope.path));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let even: Vec<_> = (10..35u32)
        .filter(|number| number.is_multiple_of(2))
        .map(|number| format!("acme/ml/{number}"))
        .collect();
    assert_eq!(found, even);

    let (mut quotas, mut token) = (Vec::new(), String::new());
    loop {
        let request =
            v1::ListQuotasRequest { scope: "acme/ml".into(), page_size: 7, page_token: token, read: None };
        let page = bench.query.list_quotas(request).await.expect("a page").into_inner();
        quotas.extend(page.quotas.into_iter().map(|quota| (quota.scope, quota.resource)));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(quotas.len(), 1 + 25 * 2);
    assert!(quotas.is_sorted() && quotas.windows(2).all(|pair| pair[0] != pair[1]), "{quotas:?}");

    for job in ["a", "b", "a", "b", "a"] {
        bench.ledger.reserve(v1::ReserveRequest { job: job.into(), ..reserve("1") }).await.expect("room");
    }
    let (mut holds, mut token) = (0, String::new());
    loop {
        let request =
            v1::ListHoldsRequest { job: "a".into(), page_size: 2, page_token: token, ..Default::default() };
        let page = bench.query.list_holds(request).await.expect("a page").into_inner();
        assert!(page.holds.iter().all(|hold| hold.job == "a"));
        holds += page.holds.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(holds, 3);
    let request =
        v1::ListScopesRequest { path: "acme/ml".into(), page_token: "acme/zoo".into(), ..Default::default() };
    let refused = bench.quotas.list_scopes(request).await.expect_err("a token of another list");
    assert_eq!(reason(&refused), "MALFORMED");
}

#[tokio::test]
async fn what_is_too_large_for_one_plan_is_exported_in_parts() {
    let mut bench = Bench::new().await;
    for below in ["acme", "acme/ml"] {
        let scope = |number| v1::PlannedScope { path: format!("{below}/{number}"), ..Default::default() };
        let plan = Some(v1::Plan { scopes: (0..5_000).map(scope).collect(), ..Default::default() });
        let request = v1::ApplyPlanRequest { request_id: id(), plan, validate_only: false };
        bench.quotas.apply_plan(request).await.expect("scopes");
    }
    let mut export = async |scope: &str, depth| {
        let request = v1::ExportPlanRequest { scope: scope.into(), depth, read: None };
        let exported = bench.quotas.export_plan(request).await;
        exported.map(|exported| exported.into_inner().plan.expect("a plan").scopes)
    };
    for (scope, depth) in [("", None), ("acme", None), ("acme", Some(2))] {
        let refused = export(scope, depth).await.expect_err("too large");
        assert!(refused.message().contains("more than 8192"), "{refused:?}");
    }
    let paths = |scopes: Vec<v1::PlannedScope>| {
        scopes.into_iter().map(|scope| scope.path).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(paths(export("", Some(0)).await.expect("the root")), ["acme".to_owned()].into());
    let upper = export("acme", Some(1)).await.expect("the upper part");
    assert!(!upper[0].quotas.is_empty(), "with its quotas");
    let lower = export("acme/ml", None).await.expect("the lower part");
    let (upper, lower) = (paths(upper), paths(lower));
    assert_eq!((upper.len(), lower.len(), upper.intersection(&lower).count()), (5_002, 5_001, 1));
}

#[tokio::test]
async fn what_an_answer_has_no_room_for_is_counted() {
    let mut bench = Bench::new().await;
    let labels = (0..16).map(|key| (format!("key-{key}"), "x".repeat(63))).collect();
    let labels = Some(v1::Labels { labels });
    let scope = |number| v1::PlannedScope {
        path: format!("acme/{number}"),
        labels: labels.clone(),
        ..Default::default()
    };
    let plan = Some(v1::Plan { scopes: (0..3_000).map(scope).collect(), ..Default::default() });
    let request = v1::ApplyPlanRequest { plan, validate_only: true, ..Default::default() };
    // A client with the usual bound of 4 MiB.
    let answer = bench.quotas.apply_plan(request).await.expect("a difference").into_inner();
    assert_eq!(answer.changed, 3_000);
    assert!(answer.would_write.len() > 1_000 && answer.would_write_omitted > 500, "{answer:?}");
    assert_eq!(answer.would_write.len() as u32 + answer.would_write_omitted, answer.changed);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_bad_input_of_which_nothing_was_done() {
    let mut bench = Bench::new().await;
    let large = v1::ReserveRequest { job: "x".repeat(4 << 20), ..reserve("1") };
    let refused = bench.ledger.reserve(large).await.expect_err("it is too large");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "MALFORMED"));
    assert!(refused.message().contains("4194304 bytes"), "{refused:?}");
}

#[tokio::test]
async fn of_an_independent_batch_each_command_has_its_own_result() {
    let mut bench = Bench::new().await;
    let commands = vec![
        command(7, Command::Reserve(reserve("6"))),
        command(8, Command::Reserve(reserve("x"))),
        v1::BatchCommand { tag: 9, command: None },
        command(10, Command::Reserve(v1::ReserveRequest { largest_holders: 1, ..reserve("6") })),
        command(11, Command::Reserve(reserve("4"))),
    ];
    let batch = v1::BatchRequest { commands, ..Default::default() };
    let results = bench.ledger.batch(batch).await.expect("results").into_inner().results;
    let told: Vec<_> = results.iter().map(|result| (result.tag, result.reason.as_str())).collect();
    assert_eq!(told, [(7, ""), (8, "MALFORMED"), (9, "MALFORMED"), (10, "DENIED"), (11, "")]);
    let field = |result: &v1::BatchResult| match &result.result {
        Some(v1::batch_result::Result::Rejection(v1::Rejection {
            reason: Some(v1::rejection::Reason::Malformed(malformed)),
            ..
        })) => malformed.field.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(field(&results[1]), "commands[1].reserve.lines[0].amount");
    assert_eq!(field(&results[2]), "commands[2]");
    assert_eq!(results[3].code, i32::from(Code::ResourceExhausted));
    assert!(matches!(&results[4].result, Some(v1::batch_result::Result::Reserve(done)) if done.hold_id > 0));
}

#[tokio::test]
async fn an_atomic_batch_is_done_as_a_whole_or_not_at_all() {
    let mut bench = Bench::new().await;
    let part = |amount| {
        command(0, Command::Reserve(v1::ReserveRequest { request_id: String::new(), ..reserve(amount) }))
    };
    let batch =
        |commands| v1::BatchRequest { request_id: id(), atomic: true, commands, ..Default::default() };
    let failing = bench.ledger.batch(batch(vec![part("6"), part("6"), part("1")])).await;
    let results = failing.expect("results").into_inner().results;
    let told: Vec<_> = results.iter().map(|result| result.reason.as_str()).collect();
    assert_eq!(told, ["NOT_APPLIED", "DENIED", "NOT_APPLIED"]);
    let whole = batch(vec![part("6"), part("4")]);
    let done = bench.ledger.batch(whole.clone()).await.expect("results").into_inner();
    let holds: Vec<_> = done.results.iter().map(|result| result.revision).collect();
    assert_eq!(holds, [done.revision - 1, done.revision]);
    for (result, hold) in done.results.iter().zip(holds) {
        assert!(
            matches!(&result.result, Some(v1::batch_result::Result::Reserve(done)) if done.hold_id == hold)
        );
    }
    let again = bench.ledger.batch(whole).await.expect("results").into_inner();
    assert!(again.replayed && again.results.iter().all(|result| result.replayed));
    let named = vec![command(0, Command::Reserve(reserve("1")))];
    let refused = bench.ledger.batch(batch(named)).await.expect_err("a part has no id");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_becomes_of_a_hold_can_be_asked_without_doing_it() {
    let mut bench = Bench::new().await;
    let hold_id = bench.ledger.reserve(reserve("6")).await.expect("room").into_inner().hold_id;
    let before = (bench.revision().await, bench.quota("acme/ml").await);
    let revision = before.0;
    let validate_only = true;
    let amount = |amount: &str| {
        let (scope, resource) = ("acme/ml".into(), "instances".into());
        vec![v1::HoldAmount { scope, resource, amount: amount.into() }]
    };
    let commit = v1::CommitRequest { hold_id, validate_only, ..Default::default() };
    let commit = bench.ledger.commit(commit).await.expect("possible").into_inner();
    assert_eq!((commit.revision, commit.would_write.len()), (revision, 1));
    let release = v1::ReleaseRequest { hold_id, validate_only, ..Default::default() };
    let release = bench.ledger.release(release).await.expect("possible").into_inner();
    assert_eq!((release.revision, release.would_write[0].revision), (revision, revision + 1));
    let renew = v1::RenewRequest { hold_id, ttl_ms: 1_000, validate_only, ..Default::default() };
    let renew = bench.ledger.renew(renew).await.expect("possible").into_inner();
    assert!(renew.expires_at_ms > 0 && renew.would_write.len() == 1);
    let resize = |lines| v1::ResizeRequest { hold_id, lines, validate_only, ..Default::default() };
    assert_eq!(
        bench.ledger.resize(resize(amount("9"))).await.expect("room").into_inner().would_write.len(),
        1
    );
    let denied = bench.ledger.resize(resize(amount("11"))).await.expect_err("no room");
    assert_eq!(reason(&denied), "DENIED");
    assert_eq!((bench.revision().await, bench.quota("acme/ml").await), before);
    let command = Command::Release(v1::ReleaseRequest { hold_id, validate_only, ..Default::default() });
    let batch = v1::BatchRequest { commands: vec![self::command(1, command)], ..Default::default() };
    let results = bench.ledger.batch(batch).await.expect("results").into_inner().results;
    assert_eq!(results[0].reason, "MALFORMED", "not in a batch");
}

#[tokio::test]
async fn an_atomic_batch_can_be_asked_about_as_a_whole() {
    let mut bench = Bench::new().await;
    let before = (bench.revision().await, bench.quota("acme/ml").await);
    let part = |amount| {
        command(4, Command::Reserve(v1::ReserveRequest { request_id: String::new(), ..reserve(amount) }))
    };
    let ask =
        |atomic, commands| v1::BatchRequest { atomic, commands, validate_only: true, ..Default::default() };
    let fits = bench.ledger.batch(ask(true, vec![part("6"), part("4")])).await.expect("results").into_inner();
    assert_eq!((fits.revision, fits.would_write.len()), (before.0, 2));
    for result in &fits.results {
        assert_eq!((result.tag, result.code, result.revision), (4, 0, before.0));
        assert!(matches!(&result.result, Some(v1::batch_result::Result::Reserve(done)) if done.hold_id == 0));
    }
    let denied =
        bench.ledger.batch(ask(true, vec![part("6"), part("6")])).await.expect("results").into_inner();
    let told: Vec<_> = denied.results.iter().map(|result| result.reason.as_str()).collect();
    assert_eq!((told, denied.would_write.len()), (vec!["NOT_APPLIED", "DENIED"], 0));
    assert_eq!((bench.revision().await, bench.quota("acme/ml").await), before);
    let refused = bench.ledger.batch(ask(false, vec![part("1")])).await.expect_err("each on its own");
    assert_eq!(rejection(&refused).reason, {
        let problem = "is for atomic batches; of this one each command would find another state";
        let malformed = v1::rejection::Malformed { field: "validate_only".into(), problem: problem.into() };
        Some(v1::rejection::Reason::Malformed(malformed))
    });
}

#[tokio::test]
async fn a_batch_of_any_size_that_a_message_has_is_decided() {
    let mut bench = Bench::of(64 << 20).await;
    let scope = format!("{0}/{0}", "x".repeat(60));
    let line = v1::Line { scope, resource: "instances".into(), amount: "1".into(), ..Default::default() };
    let reserve = v1::ReserveRequest { lines: vec![line; 64], ..Default::default() };
    // As much as one message may have; with who asks and when it is more than waits in the log at once.
    let commands = (64 << 20) / (reserve.encoded_len() + 64);
    let one =
        |tag| command(tag, Command::Reserve(v1::ReserveRequest { request_id: id(), ..reserve.clone() }));
    let commands = (0..commands as u64).map(one).collect();
    let mut request = tonic::Request::new(v1::BatchRequest { commands, ..Default::default() });
    let actor = "x".repeat(128).parse().expect("an actor");
    request.metadata_mut().insert(v1::ACTOR_KEY, actor);
    let results = bench.ledger.batch(request).await.expect("results").into_inner().results;
    assert!(results.len() > 6_000, "{}", results.len());
    for result in results {
        assert_eq!(result.reason, "UNKNOWN_SCOPE", "{}", result.message);
    }
}

#[tokio::test]
async fn a_preview_refuses_what_no_log_entry_has_room_for() {
    let mut bench = Bench::of(64 << 20).await;
    let labels = (0..16).map(|key| (format!("key-{key}"), "x".repeat(63))).collect();
    let labels = Some(v1::Labels { labels });
    let scope = |number| v1::PlannedScope {
        path: format!("acme/{number}"),
        labels: labels.clone(),
        ..Default::default()
    };
    let plan = Some(v1::Plan { scopes: (0..4_000).map(scope).collect(), ..Default::default() });
    for validate_only in [true, false] {
        let request = v1::ApplyPlanRequest { request_id: id(), plan: plan.clone(), validate_only };
        let refused = bench.quotas.apply_plan(request).await.expect_err("it is too large");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID"));
    }
}

#[tokio::test]
async fn a_stream_answers_its_commands_in_order() {
    let mut bench = Bench::new().await;
    let commands: Vec<_> = (0..50).map(|tag| command(tag, Command::Reserve(reserve("1")))).collect();
    let results = bench.ledger.submit(stream::iter(commands)).await.expect("a stream");
    let mut results = results.into_inner();
    for tag in 0..50 {
        let result = results.message().await.expect("a stream").expect("a result");
        let code = if tag < 10 { Code::Ok } else { Code::ResourceExhausted };
        assert_eq!((result.tag, result.code), (tag, i32::from(code)), "{result:?}");
    }
    assert_eq!(results.message().await.expect("a stream"), None);
}

#[tokio::test]
async fn an_exported_plan_changes_nothing_and_its_difference_is_told() {
    let mut bench = Bench::new().await;
    let apply = v1::ApplyTemplateRequest {
        request_id: id(),
        scope: "acme/ml".into(),
        template: "free".into(),
        ..Default::default()
    };
    let applied = bench.quotas.apply_template(apply).await.expect("applied").into_inner();
    assert_eq!((applied.template_version, applied.changed), (1, 5));
    let drift = v1::GetDriftRequest::default();
    assert_eq!(bench.quotas.get_drift(drift.clone()).await.expect("drift").into_inner().drifts, []);
    let mut plan = {
        let exported = bench.quotas.export_plan(v1::ExportPlanRequest::default()).await;
        exported.expect("a plan").into_inner().plan.expect("a plan")
    };
    let request = |plan: &v1::Plan, validate_only| v1::ApplyPlanRequest {
        request_id: id(),
        plan: Some(plan.clone()),
        validate_only,
    };
    let same = bench.quotas.apply_plan(request(&plan, false)).await.expect("applied").into_inner();
    assert_eq!(same.changed, 0);
    let ml = plan.scopes.iter_mut().find(|scope| scope.path == "acme/ml").expect("a scope");
    let quota = ml.quotas.iter_mut().find(|quota| quota.resource == "instances").expect("a quota");
    quota.policy.as_mut().expect("a policy").limit = limit("9");
    let difference = bench.quotas.apply_plan(request(&plan, true)).await.expect("looked at").into_inner();
    assert_eq!((difference.changed, difference.would_write.len()), (1, 1));
    let done = bench.quotas.apply_plan(request(&plan, false)).await.expect("applied").into_inner();
    assert_eq!(done.changed, 1);
    let drifts = bench.quotas.get_drift(drift).await.expect("drift").into_inner().drifts;
    assert_eq!((drifts.len(), drifts[0].quotas.len()), (1, 1));
    assert!(drifts[0].quotas[0].changed_since, "{drifts:?}");
}

fn at(kind: v1::read::Kind) -> Option<v1::Read> {
    Some(v1::Read { kind: Some(kind) })
}

#[tokio::test]
async fn the_past_is_read_by_revision_and_by_time_and_shows_what_there_was() {
    use v1::read::Kind;
    let mut bench = Bench::new().await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        bench.ledger.reserve(reserve("1")).await.expect("room");
        seen.push((bench.revision().await, bench.quota("acme/ml").await));
    }
    let request = |read| v1::GetQuotaRequest { scope: "acme/ml".into(), resource: "instances".into(), read };
    let events = v1::ListEventsRequest::default();
    let events = bench.events.list_events(events).await.expect("events").into_inner().events;
    for (revision, quota) in &seen {
        let then = bench.query.get_quota(request(at(Kind::AtRevision(*revision)))).await.expect("a quota");
        let then = then.into_inner();
        assert_eq!((then.revision, then.quota.as_ref()), (*revision, Some(quota)));
        // The last that was decided in that millisecond may be a later one.
        let time = events[usize::try_from(*revision).unwrap() - 1].log_time_ms;
        let last = events.iter().filter(|event| event.log_time_ms <= time).count() as u64;
        let then = bench.query.get_quota(request(at(Kind::AtTimeMs(time)))).await.expect("a quota");
        assert_eq!(then.into_inner().revision, last);
    }
    // Before the first event there was nothing.
    for kind in [Kind::AtRevision(0), Kind::AtTimeMs(0)] {
        let read = at(kind);
        let resources = v1::ListResourcesRequest { read, ..Default::default() };
        let resources = bench.quotas.list_resources(resources).await.expect("built in").into_inner();
        assert!(resources.revision == 0 && !resources.resources.is_empty());
        let scopes = v1::ListScopesRequest { read, ..Default::default() };
        assert!(bench.quotas.list_scopes(scopes).await.expect("none").into_inner().scopes.is_empty());
        let refused = bench.query.get_quota(request(read)).await.expect_err("there was no quota");
        assert_eq!(reason(&refused), "UNKNOWN_SCOPE");
    }
    let page = v1::ListEventsRequest { read: at(Kind::AtRevision(seen[0].0)), ..Default::default() };
    let page = bench.events.list_events(page).await.expect("events").into_inner();
    assert_eq!((page.revision, page.events.len() as u64), (seen[0].0, seen[0].0));
}

#[tokio::test]
async fn what_is_yet_to_come_is_an_error_and_so_is_what_a_node_has_not() {
    use v1::read::Kind;
    let mut bench = Bench::new().await;
    let revision = bench.revision().await;
    let request = |kind| v1::ListQuotasRequest { read: at(kind), ..Default::default() };
    let soon = SystemClock.now_ms() + 3_600_000;
    for kind in [Kind::AtRevision(revision + 1), Kind::AtTimeMs(soon)] {
        let refused = bench.query.list_quotas(request(kind)).await.expect_err("it has not happened");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "NOT_YET"), "{refused}");
    }
    let mut hurried = tonic::Request::new(request(Kind::AtLeast(revision + 1)));
    hurried.set_timeout(Duration::from_millis(300));
    let refused = bench.query.list_quotas(hurried).await.expect_err("nobody writes it");
    assert_eq!(refused.code(), Code::Unavailable);
    let said = format!("has come to revision {revision} and not to {}", revision + 1);
    assert!(refused.message().contains(&said), "{refused}");
    for kind in [Kind::AtLeast(0), Kind::AtLeast(revision), Kind::MaxLagMs(0), Kind::MaxLagMs(u64::MAX)] {
        let page = bench.query.list_quotas(request(kind)).await.expect("quotas").into_inner();
        assert_eq!(page.revision, revision, "{kind:?}");
    }
}

#[tokio::test]
async fn a_time_after_the_last_event_is_answered_the_same_for_ever() {
    use v1::read::Kind;
    let mut bench = Bench::new().await;
    let before = bench.revision().await;
    let log = async |bench: &mut Bench| {
        let status = bench.cluster.status(v1::StatusRequest::default()).await.expect("a status");
        let node = status.into_inner().nodes.pop().expect("a node");
        (node.log_time_ms, node.last_log_index)
    };
    // Nothing was decided since, and the clock goes on.
    let (time, written) = log(&mut bench).await;
    let request = v1::ListHoldsRequest { read: at(Kind::AtTimeMs(time)), ..Default::default() };
    let then = loop {
        match bench.query.list_holds(request.clone()).await {
            Ok(then) => break then.into_inner(),
            // It is the very millisecond.
            Err(refused) => assert_eq!(reason(&refused), "NOT_YET"),
        }
    };
    assert!(then.revision == before && then.holds.is_empty());
    assert_eq!(log(&mut bench).await, (time, written + 1), "one entry makes sure that it stays so");
    bench.ledger.reserve(reserve("1")).await.expect("room");
    let again = bench.query.list_holds(request).await.expect("holds").into_inner();
    assert_eq!(again, then);
    assert_eq!(log(&mut bench).await.1, written + 2, "nothing but the reservation was written");
}

#[tokio::test]
async fn every_list_is_read_page_by_page_also_as_it_was() {
    use v1::read::Kind;
    let mut bench = Bench::new().await;
    let whole = v1::ListResourcesRequest { page_size: 1_000, ..Default::default() };
    let whole = bench.quotas.list_resources(whole).await.expect("resources").into_inner();
    assert_eq!(whole.next_page_token, "");
    let resource = |name: &str| v1::RegisterResourceRequest {
        request_id: id(),
        resource: Some(v1::Resource {
            name: name.into(),
            unit: "1".into(),
            kind: v1::ResourceKind::Capacity.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let read = at(Kind::AtRevision(whole.revision));
        let request = v1::ListResourcesRequest { page_size: 3, page_token: token, read };
        let page = bench.quotas.list_resources(request).await.expect("a page").into_inner();
        assert!(page.resources.len() <= 3 && page.revision == whole.revision);
        found.extend(page.resources);
        (token, pages) = (page.next_page_token, pages + 1);
        assert!(pages < 100, "the pages have no end: {found:?}");
        if token.is_empty() {
            break;
        }
        // What comes meanwhile belongs to another time.
        bench.quotas.register_resource(resource(&format!("late{pages}"))).await.expect("registered");
    }
    assert!(pages > 2);
    assert_eq!(found, whole.resources);
    for token in ["x", "-1", "4294967295"] {
        let request = v1::ListResourcesRequest { page_token: token.into(), ..Default::default() };
        let refused = bench.quotas.list_resources(request).await.expect_err("no token");
        assert_eq!(reason(&refused), "MALFORMED", "{token}");
    }
}

#[tokio::test]
async fn every_read_can_be_of_the_past() {
    use v1::read::Kind;
    let mut bench = Bench::new().await;
    let policy = Some(v1::Policy { limit: limit("1"), ..Default::default() });
    let quotas = vec![v1::ResourcePolicy { resource: "instances".into(), policy }];
    let template =
        v1::PutTemplateRequest { request_id: id(), name: "small".into(), quotas, ..Default::default() };
    bench.quotas.put_template(template).await.expect("a template");
    let held = bench.ledger.reserve(reserve("1")).await.expect("room").into_inner();
    let read = at(Kind::AtRevision(held.revision));
    bench.ledger.reserve(reserve("1")).await.expect("room");
    macro_rules! revision {
        ($service:ident.$method:ident, $request:expr) => {
            bench.$service.$method($request).await.expect(stringify!($method)).into_inner().revision
        };
    }
    let (scope, resource, name) = (|| "acme".to_owned(), || "instances".to_owned(), || "small".to_owned());
    let revisions = [
        revision!(query.get_quota, v1::GetQuotaRequest { scope: scope(), resource: resource(), read }),
        revision!(query.list_quotas, v1::ListQuotasRequest { read, ..Default::default() }),
        revision!(query.get_hold, v1::GetHoldRequest { hold_id: held.hold_id, read }),
        revision!(query.list_holds, v1::ListHoldsRequest { read, ..Default::default() }),
        revision!(quotas.get_scope, v1::GetScopeRequest { path: scope(), read }),
        revision!(quotas.list_scopes, v1::ListScopesRequest { read, ..Default::default() }),
        revision!(quotas.list_resources, v1::ListResourcesRequest { read, ..Default::default() }),
        revision!(quotas.get_template, v1::GetTemplateRequest { name: name(), read }),
        revision!(quotas.list_templates, v1::ListTemplatesRequest { read, ..Default::default() }),
        revision!(quotas.get_drift, v1::GetDriftRequest { read, ..Default::default() }),
        revision!(quotas.export_plan, v1::ExportPlanRequest { read, ..Default::default() }),
        revision!(events.list_events, v1::ListEventsRequest { read, ..Default::default() }),
    ];
    assert_eq!(revisions, [held.revision; 12]);
}
