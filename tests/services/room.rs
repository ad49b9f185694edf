//! A node whose disk is nearly full, or full.

use tonic_types::ErrorDetails;

use super::*;

/// Of the settings, when they say nothing.
const RESERVE: u64 = 1 << 30;

/// A node, and how much is free on its disk.
struct Narrow {
    bench: Bench,
    disk: Arc<Disk>,
}

impl Narrow {
    async fn new() -> Self {
        let disk = Disk::new(1);
        let mut bench = Bench::start(4 << 20, Arc::new(SystemClock), Arc::clone(&disk)).await;
        bench.plant().await;
        Self { bench, disk }
    }

    async fn status(&mut self) -> v1::NodeStatus {
        let status = self.bench.cluster.status(v1::StatusRequest::default()).await.expect("a status");
        status.into_inner().nodes.pop().expect("a node")
    }

    /// So much is free from now on; returns what the node says once it has seen it.
    async fn free(&mut self, bytes: u64) -> v1::NodeStatus {
        self.disk.set_free_bytes(bytes);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if status.disk_free_bytes == bytes {
                return status;
            }
            assert!(Instant::now() < deadline, "the node does not look at its disk");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn held(&mut self, amount: &str) -> u64 {
        self.bench.ledger.reserve(reserve(amount)).await.expect("room").into_inner().hold_id
    }
}

fn amount(amount: &str) -> Vec<v1::HoldAmount> {
    vec![v1::HoldAmount { scope: "acme/ml".into(), resource: "instances".into(), amount: amount.into() }]
}

fn resize(hold_id: u64, to: &str) -> v1::ResizeRequest {
    v1::ResizeRequest { request_id: id(), hold_id, lines: amount(to), ..Default::default() }
}

fn release(hold_id: u64) -> v1::ReleaseRequest {
    v1::ReleaseRequest { request_id: id(), hold_id, ..Default::default() }
}

fn scope(path: &str) -> v1::CreateScopeRequest {
    v1::CreateScopeRequest { request_id: id(), path: path.into(), ..Default::default() }
}

#[track_caller]
fn assert_no_room<T: std::fmt::Debug>(result: Result<tonic::Response<T>, Status>) {
    let status = result.expect_err("there is no room for it");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "DISK_NEARLY_FULL"));
}

#[tokio::test]
async fn a_refusal_says_whose_disk_how_much_is_left_and_what_to_do() {
    let mut narrow = Narrow::new().await;
    let roomy = narrow.status().await;
    assert!(!roomy.disk_nearly_full && roomy.problem.is_empty(), "{roomy:?}");
    let status = narrow.free(5 << 20).await;
    assert!(status.disk_nearly_full && status.problem.contains("with 5 MiB free: make room"), "{status:?}");
    let refused = narrow.bench.ledger.reserve(reserve("1")).await.expect_err("no room");
    let details: ErrorDetails = refused.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!((info.metadata["node_id"].as_str(), info.metadata["free_bytes"].as_str()), ("1", "5242880"));
    assert!(details.retry_info().is_some_and(|retry| retry.retry_delay.is_some()), "{details:?}");
    assert!(quorate::client::rejection_of(&refused).is_none(), "the ledger has not decided it");
    let said = "the disk of node 1 is nearly full, with 5 MiB free: nothing was decided; make room on it";
    assert!(refused.message().starts_with(said), "{refused:?}");
}

#[tokio::test]
async fn what_is_refused_for_lack_of_room_leaves_no_trace_and_may_be_repeated_under_its_id() {
    let mut narrow = Narrow::new().await;
    narrow.free(RESERVE - 1).await;
    let before = narrow.bench.revision().await;
    let asked = reserve("3");
    assert_no_room(narrow.bench.ledger.reserve(asked.clone()).await);
    assert_no_room(narrow.bench.quotas.create_scope(scope("acme/web")).await);
    let policy = v1::Policy { limit: limit("4"), ..Default::default() };
    assert_no_room(narrow.bench.quotas.set_quota(set_quota("acme/ml", policy)).await);
    assert_eq!(narrow.bench.revision().await, before);

    // A little more than the reserve is not enough again.
    assert!(narrow.free(RESERVE + RESERVE / 8 - 1).await.disk_nearly_full);
    assert_no_room(narrow.bench.ledger.reserve(asked.clone()).await);
    let status = narrow.free(RESERVE + RESERVE / 8).await;
    assert!(!status.disk_nearly_full && status.problem.is_empty(), "{status:?}");
    let granted = narrow.bench.ledger.reserve(asked).await.expect("room").into_inner();
    assert_eq!((granted.revision, granted.replayed), (before + 1, false));
}

#[tokio::test]
async fn what_gives_back_is_decided_without_room() {
    let mut narrow = Narrow::new().await;
    let first = reserve("4");
    let hold = narrow.bench.ledger.reserve(first.clone()).await.expect("room").into_inner().hold_id;
    let other = narrow.held("2").await;
    narrow.bench.quotas.create_scope(scope("acme/web")).await.expect("a scope");
    narrow.free(1).await;

    let Bench { ledger, quotas, .. } = &mut narrow.bench;
    // A repeat tells what was decided when there was room.
    let again = ledger.reserve(first).await.expect("decided already").into_inner();
    assert_eq!((again.hold_id, again.replayed), (hold, true));
    assert_no_room(ledger.resize(resize(hold, "5")).await);
    ledger.resize(resize(hold, "3")).await.expect("it gives back 1");
    let renew = v1::RenewRequest { request_id: id(), hold_id: hold, ttl_ms: 60_000, validate_only: false };
    ledger.renew(renew).await.expect("it takes no more");
    let commit = |lines| v1::CommitRequest { request_id: id(), hold_id: hold, lines, ..Default::default() };
    assert_no_room(ledger.commit(commit(amount("4"))).await);
    ledger.commit(commit(Vec::new())).await.expect("held becomes used");
    ledger.release(release(hold)).await.expect("it gives back");
    ledger.release(release(other)).await.expect("it gives back");
    let unknown = ledger.release(release(1)).await.expect_err("there is no such hold");
    assert_eq!(unknown.code(), Code::NotFound);
    let delete = v1::DeleteScopeRequest { request_id: id(), path: "acme/web".into(), ..Default::default() };
    quotas.delete_scope(delete).await.expect("it removes");
    let lock = v1::LockQuotaRequest {
        request_id: id(),
        scope: "acme/ml".into(),
        resource: "instances".into(),
        reason: "inventory".into(),
        ..Default::default()
    };
    quotas.lock_quota(lock).await.expect("it keeps others from taking");
    let quota = narrow.bench.quota("acme").await;
    let counters = quota.counters.expect("counters");
    assert_eq!((counters.used.as_str(), counters.held.as_str()), ("0", "0"));
}

#[tokio::test]
async fn time_goes_on_without_room() {
    let mut narrow = Narrow::new().await;
    narrow.free(1).await;
    narrow.free(u64::MAX).await;
    let asked = v1::ReserveRequest { ttl_ms: Some(1_500), ..reserve("4") };
    let hold_id = narrow.bench.ledger.reserve(asked).await.expect("room").into_inner().hold_id;
    narrow.free(1).await;
    let deadline = Instant::now() + PATIENCE;
    // Nobody sends a command: it is a tick by which the hold expires.
    while narrow.bench.quota("acme/ml").await.counters.expect("counters").held != "0" {
        assert!(Instant::now() < deadline, "hold {hold_id} does not expire");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_batch_is_refused_line_by_line_and_one_that_is_atomic_as_a_whole() {
    let mut narrow = Narrow::new().await;
    let holds = [narrow.held("1").await, narrow.held("1").await, narrow.held("1").await];
    narrow.free(1).await;
    let ledger = &mut narrow.bench.ledger;
    let mixed = |at: usize, hold| {
        let commands = [
            Command::Reserve(reserve("1")),
            Command::Release(release(hold)),
            Command::CreateScope(scope(&format!("acme/s{at}"))),
        ];
        commands.into_iter().zip(1..).map(|(command_of, tag)| command(tag, command_of)).collect::<Vec<_>>()
    };
    let told = |results: &[v1::BatchResult]| -> Vec<_> {
        results.iter().map(|result| (result.tag, result.code, result.reason.clone())).collect()
    };
    let exhausted = i32::from(Code::ResourceExhausted);
    let no_room = |tag| (tag, exhausted, "DISK_NEARLY_FULL".to_owned());
    let expected = [no_room(1), (2, 0, String::new()), no_room(3)];

    let batch = v1::BatchRequest { commands: mixed(0, holds[0]), ..Default::default() };
    let results = ledger.batch(batch).await.expect("an answer").into_inner().results;
    assert_eq!(told(&results), expected);

    // It is known what became of each, so the stream goes on.
    let mut results = ledger.submit(stream::iter(mixed(1, holds[1]))).await.expect("a stream").into_inner();
    let mut streamed = Vec::new();
    while let Some(result) = results.message().await.expect("the stream goes on") {
        streamed.push(result);
    }
    assert_eq!(told(&streamed), expected);

    let mut atomic = mixed(2, holds[2]);
    for command in &mut atomic {
        match command.command.as_mut().expect("a command") {
            Command::Reserve(request) => request.request_id.clear(),
            Command::Release(request) => request.request_id.clear(),
            Command::CreateScope(request) => request.request_id.clear(),
            other => panic!("{other:?}"),
        }
    }
    let batch =
        v1::BatchRequest { request_id: id(), atomic: true, commands: atomic.clone(), ..Default::default() };
    assert_no_room(ledger.batch(batch.clone()).await);
    let releases = v1::BatchRequest { commands: vec![atomic.swap_remove(1)], ..batch };
    ledger.batch(releases).await.expect("it gives back");
    assert_eq!(narrow.bench.quota("acme").await.counters.expect("counters").held, "0");
}

/// Nodes that form a cluster, each with a disk of its own.
struct Trio {
    nodes: Vec<Bench>,
    disks: Vec<Arc<Disk>>,
}

impl Trio {
    async fn new() -> Self {
        let disks: Vec<_> = (1..=3).map(Disk::new).collect();
        let mut nodes = Vec::new();
        for (config, disk) in configs(3).into_iter().zip(&disks) {
            let store = Box::new(SimulatedStore::new(Arc::clone(disk)));
            nodes.push(Bench::of_config(config, Arc::new(SystemClock), store).await);
        }
        nodes[0].plant().await;
        Self { nodes, disks }
    }

    /// The position of the node that leads, as it sees it itself.
    async fn leader(&mut self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for at in 0..self.nodes.len() {
                let request = v1::StatusRequest { local: true, ..Default::default() };
                let status = self.nodes[at].cluster.status(request).await.expect("a status").into_inner();
                if status.nodes[0].role() == v1::Role::Leader {
                    return at;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reserves on a node until it goes as expected; returns the answers before that.
    async fn reserve_until(
        &mut self,
        at: usize,
        is_expected: impl Fn(&Result<u64, Status>) -> bool,
    ) -> (Vec<Result<u64, Status>>, Result<u64, Status>) {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let answer = self.nodes[at].ledger.reserve(reserve("1")).await;
            let answer = answer.map(|answer| answer.into_inner().hold_id);
            if is_expected(&answer) {
                return (before, answer);
            }
            assert!(Instant::now() < deadline, "{answer:?}");
            before.push(answer);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_leader_without_room_hands_over_and_nothing_is_taken_when_fewer_than_a_majority_have_room() {
    let mut trio = Trio::new().await;
    for path in ["acme", "acme/ml"] {
        let policy = v1::Policy { limit: limit("1000000"), ..Default::default() };
        trio.nodes[0].quotas.set_quota(set_quota(path, policy)).await.expect("a quota");
    }
    let first = trio.leader().await;
    trio.disks[first].set_free_bytes(1);
    let deadline = Instant::now() + PATIENCE;
    let second = loop {
        assert!(Instant::now() < deadline, "node {first} leads on, without room");
        trio.nodes[first].ledger.reserve(reserve("1")).await.expect("a majority has room");
        match trio.leader().await {
            leader if leader != first => break leader,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let hold_id = trio.nodes[first].ledger.reserve(reserve("1")).await.expect("room").into_inner().hold_id;

    // With the next disk no majority would be left. It is said by a follower, too, as the leader says it.
    let third = 3 - first - second;
    trio.disks[third].set_free_bytes(2);
    let is_no_room = |answer: &Result<u64, Status>| answer.is_err();
    let (_, refused) = trio.reserve_until(third, is_no_room).await;
    let refused = refused.expect_err("awaited above");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "DISK_NEARLY_FULL"));
    let metadata = refused.get_error_details().error_info().expect("an ErrorInfo").metadata.clone();
    assert_eq!(
        (metadata["node_id"].clone(), metadata["free_bytes"].as_str()),
        ((first + 1).to_string(), "1")
    );
    trio.nodes[third].ledger.release(release(hold_id)).await.expect("it gives back");
    assert_eq!(trio.leader().await, second, "nobody would be better off");

    trio.disks[first].set_free_bytes(1 << 40);
    let (before, _) = trio.reserve_until(first, Result::is_ok).await;
    assert!(
        before.iter().all(|answer| answer.as_ref().is_err_and(|status| reason(status) == "DISK_NEARLY_FULL"))
    );
}
