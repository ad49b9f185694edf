//! After a failed write what is in memory and what is stored have parted: nothing more is written.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::stream;
use openraft::RaftSnapshotBuilder as _;
use openraft::storage::RaftStateMachine as _;
use quorate::raft::Applied;
use quorate::raft::StateMachine;
use quorate::store::Batch;
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

use crate::support::*;

/// A store whose writes fail while it is told so, as on a disk that is full for a while.
struct Flaky {
    store: Arc<dyn StateStore>,
    fails: AtomicBool,
}

impl Read for Flaky {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.store.scan(space, from, to, visit)
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.store.last(space, from, to)
    }
}

impl StateStore for Flaky {
    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::new("write", "no space left"));
        }
        self.store.write(batch)
    }

    fn flush(&self) -> StoreFuture<()> {
        self.store.flush()
    }

    fn visit_all(&self, space: Space, visit: VisitAll) -> StoreFuture<()> {
        self.store.visit_all(space, visit)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }

    fn receive(&self, files: Vec<SnapshotFile>) -> Result<Box<dyn SnapshotReceiver>, StoreError> {
        self.store.receive(files)
    }

    fn install(&self, received: Received) -> Result<(), StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::new("install", "no space left"));
        }
        self.store.install(received)
    }
}

#[tokio::test]
async fn after_one_failed_write_nothing_is_written_even_if_it_would_work_again() {
    let subject = Subject::simulated();
    let flaky = Arc::new(Flaky { store: subject.open().state, fails: AtomicBool::new(false) });
    let applied = Applied::open(flaky.clone()).expect("the state opens");
    let mut history = history(20);
    let rest = history.split_off(10);
    apply(&applied, history).await;
    let before = keys_of(&*flaky.store, Space::Events);

    flaky.fails.store(true, Ordering::Relaxed);
    let mut machine = StateMachine(Arc::clone(&applied));
    let mut rest = rest.into_iter().map(|entry| Ok((entry, None)));
    let failed = machine.apply(stream::iter([rest.next().expect("an entry")])).await;
    assert!(failed.expect_err("the write fails").to_string().contains("no space left"));

    flaky.fails.store(false, Ordering::Relaxed);
    for refused in [
        machine
            .apply(stream::iter([rest.next().expect("an entry")]))
            .await
            .map_err(|error| error.to_string()),
        applied.checkpoint().map(drop).map_err(|error| error.to_string()),
    ] {
        assert!(refused.expect_err("nothing is written any more").contains("an earlier write has failed"));
    }
    assert_eq!(keys_of(&*flaky.store, Space::Events), before);
    assert_eq!(keys_of(&*flaky.store, Space::Rows), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn after_a_snapshot_that_could_not_be_installed_nothing_is_written() {
    let source = Subject::simulated().open_state();
    apply(&source, history(20)).await;
    let built =
        StateMachine(source).get_snapshot_builder().await.build_snapshot().await.expect("it is built");

    let subject = Subject::simulated();
    let flaky = Arc::new(Flaky { store: subject.open().state, fails: AtomicBool::new(false) });
    let applied = Applied::open(flaky.clone()).expect("the state opens");
    apply(&applied, history(5)).await;
    flaky.flush().await.expect("it works still");
    let before = summary(&applied).await;
    flaky.fails.store(true, Ordering::Relaxed);
    let mut machine = StateMachine(Arc::clone(&applied));
    let failed = machine.install_snapshot(&built.meta, built.snapshot).await;
    assert!(failed.expect_err("the install fails").to_string().contains("no space left"));

    flaky.fails.store(false, Ordering::Relaxed);
    let mut next = history(6).split_off(5).into_iter().map(|entry| Ok((entry, None)));
    let refused = machine.apply(stream::iter([next.next().expect("an entry")])).await;
    assert!(refused.expect_err("nothing is written").to_string().contains("an earlier write has failed"));
    // What is stored is what was there before.
    drop((machine, applied, flaky));
    assert_eq!(summary(&subject.open_state()).await, before);
}
