//! The suite that comes with the consensus engine.

use std::path::PathBuf;

use openraft::StorageError;
use openraft::testing::log::StoreBuilder;
use openraft::testing::log::Suite;
use quorate::raft::Applied;
use quorate::raft::Log;
use quorate::raft::StateMachine;
use quorate::raft::TypeConfig;
use quorate::store::Opened;
use quorate::store::Store as _;
use quorate::store::rocks::RocksStore;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;

use crate::support::temp_dir;

/// Makes the adapters on empty stores.
fn adapters(opened: Opened) -> (Log, StateMachine) {
    let log = Log::open(opened.log).expect("an empty log opens");
    let applied = Applied::open(opened.state).expect("an empty state opens");
    (log, StateMachine(applied))
}

/// The folder is removed when the suite has done with it.
struct OnRocks(PathBuf);

impl StoreBuilder<TypeConfig, Log, StateMachine, tempfile::TempDir> for OnRocks {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir_in(&self.0).expect("a folder can be made");
        let opened = RocksStore::new(dir.path().join("data")).open().expect("the store opens");
        let (log, state_machine) = adapters(opened);
        Ok((dir, log, state_machine))
    }
}

struct OnSimulated;

impl StoreBuilder<TypeConfig, Log, StateMachine> for OnSimulated {
    async fn build(&self) -> Result<((), Log, StateMachine), StorageError<TypeConfig>> {
        let (log, state_machine) =
            adapters(SimulatedStore::new(Disk::new(5)).open().expect("the store opens"));
        Ok(((), log, state_machine))
    }
}

#[tokio::test]
async fn the_adapters_on_rocksdb_pass_the_suite_of_the_engine() {
    let dir = temp_dir();
    Suite::test_all(OnRocks(dir.path().to_owned())).await.expect("the suite passes");
}

#[tokio::test]
async fn the_adapters_on_the_simulated_store_pass_the_suite_of_the_engine() {
    Suite::test_all(OnSimulated).await.expect("the suite passes");
}
