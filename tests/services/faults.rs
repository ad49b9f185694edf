//! Stores that fail while a node runs: it ends with an error that says what failed, acknowledges nothing
//! on top of it, and has everything it acknowledged when it starts after the repair.

use std::sync::Mutex;

use bytes::Bytes;
use quorate::store::Batch;
use quorate::store::Done;
use quorate::store::Durability;
use quorate::store::Health;
use quorate::store::LogStore;
use quorate::store::Medium;
use quorate::store::Op;
use quorate::store::Opened;
use quorate::store::Read;
use quorate::store::Received;
use quorate::store::Snapshot;
use quorate::store::SnapshotFile;
use quorate::store::SnapshotReceiver;
use quorate::store::Space;
use quorate::store::StateStore;
use quorate::store::StoreError;
use quorate::store::StoreFuture;
use quorate::store::VisitAll;

use super::*;

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Append,
    ReadLog,
    WriteEvents,
    WriteRows,
    WriteViews,
    Flush,
    ReadEvents,
    ReadViews,
    Visit,
    Snapshot,
    Look,
}

const PROBLEM: &str = "the medium is scratched";

/// What fails at the moment.
#[derive(Clone, Default)]
struct Broken(Arc<Mutex<Option<Step>>>);

impl Broken {
    fn set(&self, step: Option<Step>) {
        *self.0.lock().expect("not poisoned") = step;
    }

    fn check(&self, step: Step) -> Result<(), StoreError> {
        if *self.0.lock().expect("not poisoned") == Some(step) {
            return Err(StoreError::new("use what is broken", PROBLEM));
        }
        Ok(())
    }

    fn check_read(&self, space: Space) -> Result<(), StoreError> {
        match space {
            Space::Events => self.check(Step::ReadEvents),
            Space::Views => self.check(Step::ReadViews),
            Space::Entries => self.check(Step::ReadLog),
            Space::Meta | Space::Rows => Ok(()),
        }
    }

    fn check_write(&self, batch: &Batch) -> Result<(), StoreError> {
        for op in &batch.ops {
            let (Op::Put(space, ..) | Op::Delete(space, ..) | Op::DeleteRange(space, ..)) = op;
            match space {
                Space::Events => self.check(Step::WriteEvents)?,
                Space::Rows => self.check(Step::WriteRows)?,
                Space::Views => self.check(Step::WriteViews)?,
                Space::Meta | Space::Entries => {}
            }
        }
        Ok(())
    }
}

/// Stores of which a step fails while it is broken.
struct Fragile {
    disk: Arc<Disk>,
    broken: Broken,
}

impl Store for Fragile {
    fn open(&self) -> Result<Opened, StoreError> {
        let Opened { log, state, medium } = SimulatedStore::new(Arc::clone(&self.disk)).open()?;
        Ok(Opened {
            log: Arc::new(FragilePart { inner: log, broken: self.broken.clone() }),
            state: Arc::new(FragilePart { inner: state, broken: self.broken.clone() }),
            medium: Arc::new(FragilePart { inner: medium, broken: self.broken.clone() }),
        })
    }
}

struct FragilePart<S: ?Sized> {
    broken: Broken,
    inner: Arc<S>,
}

impl<S: Read + ?Sized> Read for FragilePart<S> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.broken.check_read(space)?;
        self.inner.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.broken.check_read(space)?;
        self.inner.scan(space, from, to, visit)
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.broken.check_read(space)?;
        self.inner.last(space, from, to)
    }
}

impl LogStore for FragilePart<dyn LogStore> {
    fn submit(&self, batch: Batch, durability: Durability, done: Done) {
        match self.broken.check(Step::Append) {
            Ok(()) => self.inner.submit(batch, durability, done),
            Err(error) => done(Err(error)),
        }
    }
}

impl StateStore for FragilePart<dyn StateStore> {
    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.broken.check_write(&batch)?;
        self.inner.write(batch)
    }

    fn flush(&self) -> StoreFuture<()> {
        let (checked, flushed) = (self.broken.check(Step::Flush), self.inner.flush());
        Box::pin(async move {
            checked?;
            flushed.await
        })
    }

    fn visit_all(&self, space: Space, visit: VisitAll) -> StoreFuture<()> {
        match self.broken.check(Step::Visit) {
            Ok(()) => self.inner.visit_all(space, visit),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.broken.check(Step::Snapshot)?;
        self.inner.snapshot()
    }

    fn receive(&self, files: Vec<SnapshotFile>) -> Result<Box<dyn SnapshotReceiver>, StoreError> {
        self.inner.receive(files)
    }

    fn install(&self, received: Received) -> Result<(), StoreError> {
        self.inner.install(received)
    }
}

impl Medium for FragilePart<dyn Medium> {
    fn health(&self) -> Result<Health, StoreError> {
        self.broken.check(Step::Look)?;
        self.inner.health()
    }
}

/// A node on stores that can be broken.
struct Subject {
    disk: Arc<Disk>,
    broken: Broken,
    bench: Bench,
}

impl Subject {
    async fn new() -> Self {
        let (disk, broken) = (Disk::new(3), Broken::default());
        let mut bench = Self::start(&disk, &broken).await;
        bench.plant().await;
        Self { disk, broken, bench }
    }

    async fn start(disk: &Arc<Disk>, broken: &Broken) -> Bench {
        let store = Fragile { disk: Arc::clone(disk), broken: broken.clone() };
        Bench::on(4 << 20, Arc::new(SystemClock), Box::new(store)).await
    }

    /// Breaks a step, does what needs it until the node ends, and returns the holds that were granted
    /// after it broke.
    async fn breaks(&mut self, step: Step) -> Vec<u64> {
        self.broken.set(Some(step));
        let mut granted = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while !self.bench.node.is_finished() {
            assert!(Instant::now() < deadline, "the node goes on without {step:?}");
            match self.bench.ledger.reserve(with_deadline(reserve("1"))).await {
                Ok(answer) => granted.push(answer.into_inner().hold_id),
                Err(status) => assert_ne!(status.code(), Code::ResourceExhausted, "{status:?}"),
            }
            match step {
                // What it answers is of no interest: it may have ended.
                Step::Snapshot => drop(self.bench.cluster.take_snapshot(v1::TakeSnapshotRequest {}).await),
                Step::Visit => {
                    let status = v1::StatusRequest { digest: true, local: true };
                    drop(self.bench.cluster.status(with_deadline(status)).await);
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        granted
    }

    async fn ended(&mut self) -> String {
        let ended = (&mut self.bench.node).await.expect("no panic");
        ended.expect_err("a node does not go on with a broken store").to_string()
    }
}

fn with_deadline<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::from_secs(1));
    request
}

async fn stops_and_starts_again(step: Step) {
    let mut subject = Subject::new().await;
    let policy = |path| set_quota(path, v1::Policy { limit: limit("1000000"), ..Default::default() });
    for path in ["acme", "acme/ml"] {
        subject.bench.quotas.set_quota(policy(path)).await.expect("a quota");
    }
    let mut holds = Vec::new();
    for _ in 0..5 {
        holds.push(subject.bench.ledger.reserve(reserve("1")).await.expect("room").into_inner().hold_id);
    }
    let granted = subject.breaks(step).await;
    let said = subject.ended().await;
    assert!(said.contains("use what is broken") && said.contains(PROBLEM), "{step:?}: {said}");
    assert!(said.contains("the node stops rather than serve on top of it"), "{step:?}: {said}");
    if matches!(step, Step::Append | Step::WriteEvents) {
        assert_eq!(granted, [0; 0], "{step:?}: acknowledged on top of a failure");
    }
    holds.extend(granted);

    // A power failure on top of it: nothing rests on what only the process knew.
    subject.disk.crash();
    subject.broken.set(None);
    subject.bench = Subject::start(&subject.disk, &subject.broken).await;
    for hold_id in holds {
        let request = v1::GetHoldRequest { hold_id, ..Default::default() };
        let found = subject.bench.query.get_hold(request).await.unwrap_or_else(|status| {
            panic!("{step:?}: hold {hold_id} was acknowledged and is gone: {status:?}")
        });
        assert_eq!(found.into_inner().hold.map(|hold| hold.hold_id), Some(hold_id));
    }
    subject.bench.ledger.reserve(reserve("1")).await.expect("room");
}

macro_rules! stops_without {
    ($($name:ident: $step:ident,)*) => {
        $(#[tokio::test] async fn $name() { stops_and_starts_again(Step::$step).await })*
    };
}

stops_without! {
    a_node_that_cannot_append_stops: Append,
    a_node_that_cannot_write_events_stops: WriteEvents,
    a_node_that_cannot_write_rows_stops: WriteRows,
    a_node_that_cannot_write_what_is_made_of_events_stops: WriteViews,
    a_node_that_cannot_flush_stops: Flush,
    a_node_that_cannot_read_its_events_stops: ReadEvents,
    a_node_that_cannot_read_what_is_made_of_events_stops: ReadViews,
    a_node_that_cannot_read_all_of_its_state_stops: Visit,
    a_node_that_cannot_take_a_snapshot_stops: Snapshot,
    a_node_that_cannot_look_at_its_disk_stops: Look,
}

#[tokio::test]
async fn a_node_that_cannot_read_its_log_does_not_start() {
    let subject = Subject::new().await;
    let Subject { disk, broken, bench } = subject;
    bench.stop.send(()).expect("the node runs");
    bench.node.await.expect("no panic").expect("without a fault");
    for step in [Step::ReadLog, Step::ReadEvents] {
        broken.set(Some(step));
        let store = Fragile { disk: Arc::clone(&disk), broken: broken.clone() };
        let error = run_alone(Box::new(store)).await.expect_err("it cannot read").to_string();
        assert!(error.contains("use what is broken: the medium is scratched"), "{step:?}: {error}");
    }
    broken.set(None);
    Subject::start(&disk, &broken).await.ledger.reserve(reserve("1")).await.expect("room");
}

#[tokio::test]
async fn a_node_whose_disk_is_full_stops_and_has_all_it_acknowledged_when_there_is_room_again() {
    let mut subject = Subject::new().await;
    let hold_id = subject.bench.ledger.reserve(reserve("1")).await.expect("room").into_inner().hold_id;
    subject.disk.set_free_bytes(0);
    let deadline = Instant::now() + PATIENCE;
    // Nothing is left even of the reserve: what gives back is too much, too.
    while !subject.bench.node.is_finished() {
        assert!(Instant::now() < deadline, "the node goes on with a full disk");
        let release = v1::ReleaseRequest { request_id: id(), hold_id, ..Default::default() };
        subject.bench.ledger.release(with_deadline(release)).await.expect_err("it cannot be written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = subject.ended().await;
    assert!(said.contains("append to the log: the disk is full: make room on it"), "{said}");
    subject.disk.set_free_bytes(1 << 40);
    subject.bench = Subject::start(&subject.disk, &subject.broken).await;
    let release = v1::ReleaseRequest { request_id: id(), hold_id, ..Default::default() };
    subject.bench.ledger.release(release).await.expect("there is room again");
}
