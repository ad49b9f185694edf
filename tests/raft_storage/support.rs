//! Stores to put the adapters on, and short words for what the engine does with them.

use std::sync::Arc;

use futures_util::FutureExt as _;
use openraft::EntryPayload;
use openraft::Membership;
use openraft::entry::RaftEntry as _;
use openraft::storage::IOFlushed;
use openraft::storage::RaftLogStorage as _;
use openraft::storage::RaftStateMachine as _;
use openraft::type_config::TypeConfigExt as _;
use quorate::codec::batch;
use quorate::codec::digest::StateDigest;
use quorate::ledger::Command;
use quorate::ledger::Labels;
use quorate::ledger::Name;
use quorate::ledger::Path;
use quorate::ledger::command::Commit;
use quorate::ledger::command::CreateScope;
use quorate::ledger::command::Line;
use quorate::ledger::command::NewLimit;
use quorate::ledger::command::NewPolicy;
use quorate::ledger::command::Release;
use quorate::ledger::command::Reserve;
use quorate::ledger::command::SetQuota;
use quorate::raft::Applied;
use quorate::raft::Log;
use quorate::raft::Member;
use quorate::raft::OpenBlock;
use quorate::raft::Payload;
use quorate::raft::StateMachine;
use quorate::raft::TypeConfig;
use quorate::raft::types::Entry;
use quorate::raft::types::LogId;
use quorate::raft::types::StoredMembership;
use quorate::raft::wire;
use quorate::store::Opened;
use quorate::store::Space;
use quorate::store::StateStore;
use quorate::store::Store;
use quorate::store::rocks::RocksStore;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;
use tempfile::TempDir;

use crate::requests::request;
use crate::requests::request_id;

/// One node's storage, which can be opened again and again.
pub struct Subject {
    make: fn() -> Self,
    store: Box<dyn Store>,
    /// Removed at the end of the test.
    _dir: Option<TempDir>,
}

impl Subject {
    pub fn rocks() -> Self {
        let dir = temp_dir();
        let store = RocksStore::new(dir.path().join("data"));
        Self { make: Self::rocks, store: Box::new(store), _dir: Some(dir) }
    }

    pub fn simulated() -> Self {
        Self { make: Self::simulated, store: Box::new(SimulatedStore::new(Disk::new(23))), _dir: None }
    }

    /// The storage of another node.
    pub fn same_kind_as(other: &Self) -> Self {
        (other.make)()
    }

    pub fn open(&self) -> Opened {
        self.store.open().expect("the store opens")
    }

    pub fn open_log(&self) -> Log {
        Log::open(self.open().log).expect("the log opens")
    }

    pub fn open_state(&self) -> Arc<Applied> {
        Applied::open(self.open().state).expect("the state opens")
    }
}

/// Makes a test of each function below for each implementation.
macro_rules! on_both_stores {
    ($($name:ident,)*) => {
        mod rocks {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::Subject::rocks()).await })*
        }
        mod simulated {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::Subject::simulated()).await })*
        }
    };
}
pub(crate) use on_both_stores;

/// A folder on a real disk: a RAM disk has no sync to test.
pub fn temp_dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made")
}

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: openraft::alias::LeaderIdOf::<TypeConfig> { term, node_id: 1 }, index }
}

pub fn blank(term: u64, index: u64) -> Entry {
    Entry::new(log_id(term, index), EntryPayload::Blank)
}

pub fn normal(term: u64, index: u64, payload: impl Into<bytes::Bytes>) -> Entry {
    Entry::new(log_id(term, index), EntryPayload::Normal(Payload(payload.into())))
}

/// A change from one voter to three, as it stands in the log while both sets vote.
pub fn joint_membership(term: u64, index: u64) -> Entry {
    let member = |id: u64| Member {
        client_address: format!("node-{id}:7101"),
        peer_address: format!("node-{id}:7201"),
        verifier_key: String::new(),
    };
    let nodes: std::collections::BTreeMap<u64, Member> = (1..=4).map(|id| (id, member(id))).collect();
    let membership = Membership::new(vec![[1].into(), [1, 2, 3].into()], nodes).expect("a membership");
    Entry::new(log_id(term, index), EntryPayload::Membership(membership))
}

/// Hands entries to the log, and returns where it will be heard that they are on disk.
pub async fn start_append(
    log: &mut Log,
    entries: Vec<Entry>,
) -> openraft::type_config::alias::OneshotReceiverOf<TypeConfig, Result<(), std::io::Error>> {
    let (sender, receiver) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await.expect("the append is accepted");
    receiver
}

pub async fn append(log: &mut Log, entries: Vec<Entry>) {
    start_append(log, entries).await.await.expect("the callback is called").expect("the append succeeds");
}

/// What can be compared of entries.
pub fn encoded(entries: &[Entry]) -> Vec<quorate::proto::storage::v1::Entry> {
    entries.iter().map(wire::encode_entry).collect()
}

/// A ledger's life: scopes, a quota, holds made, denied, committed and released, repeats, blanks
/// and memberships, one entry per index from 0 on.
pub fn history(length: u64) -> Vec<Entry> {
    (0..length).map(entry_of_history).collect()
}

fn entry_of_history(index: u64) -> Entry {
    const START_MS: u64 = 1_767_225_600_000;
    let time = START_MS + index;
    let name = |text| Name::parse(text).expect("a name");
    let path = |text| Path::parse(text).expect("a path");
    let scope = |text| {
        let new = CreateScope::new(path(text), Some(name("team")), Labels::default(), None, None);
        Command::CreateScope(new.expect("a scope"))
    };
    let reserve = |amount: u64| {
        let line = Line {
            scope: path("acme/ml"),
            resource: name("concurrent_gpus"),
            amount: amount.into(),
            minimum: None,
            if_sequence: None,
        };
        Command::Reserve(Reserve::new(vec![line]).expect("a reservation"))
    };
    let commit = |hold| Command::Commit(Commit::all(hold));
    let release = |hold| Command::Release(Release::all(hold));
    let commands = match index {
        0 => return joint_membership(1, 0),
        1 => vec![scope("acme"), scope("acme/ml")],
        2 => vec![Command::SetQuota(SetQuota {
            scope: path("acme"),
            resource: name("concurrent_gpus"),
            policy: NewPolicy { limit: NewLimit::Amount(20.into()), ..NewPolicy::default() },
            fields: None,
            effective_at: None,
            if_version: None,
        })],
        _ => match index % 6 {
            0 => return blank(1, index),
            1 => return joint_membership(1, index),
            2 => vec![reserve(1), reserve(2)],
            3 => vec![reserve(1_000)],
            // Holds are numbered by revision; some of these are live, some never were.
            4 => vec![commit(index), commit(index + 1)],
            _ => vec![release(index - 2), release(index)],
        },
    };
    let id = |position: usize| request_id(time, index * 10 + position as u64);
    let mut requests: Vec<_> = commands
        .into_iter()
        .enumerate()
        .map(|(position, command)| request(id(position), "tester", command))
        .collect();
    // A client that asks twice: no second event.
    requests.push(requests[0].clone());
    normal(1, index, batch::encode(&time.into(), &requests))
}

/// Applies entries as the engine does after they are committed.
pub async fn apply(applied: &Arc<Applied>, entries: Vec<Entry>) {
    let entries = futures_util::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
    StateMachine(Arc::clone(applied)).apply(entries).await.expect("the entries are applied");
}

/// Everything by which two states can differ.
#[derive(Debug, PartialEq)]
pub struct Summary {
    pub digest: StateDigest,
    pub last_applied: Option<LogId>,
    pub membership: StoredMembership,
    pub events: Vec<quorate::proto::v1::Event>,
}

pub async fn summary(applied: &Arc<Applied>) -> Summary {
    let (last_applied, membership) =
        StateMachine(Arc::clone(applied)).applied_state().await.expect("it can be read");
    let digest = StateDigest::of(&applied.read());
    let events = applied.events(1, usize::MAX, &mut OpenBlock::default()).expect("the events can be read");
    assert_eq!(events.len() as u64, applied.read().revision(), "a revision without an event");
    Summary { digest, last_applied, membership, events }
}

/// The state after a prefix of the history, computed on a store of its own.
pub async fn summary_after(length: u64) -> Summary {
    let subject = Subject::simulated();
    let applied = subject.open_state();
    apply(&applied, history(length)).await;
    summary(&applied).await
}

pub fn keys_of(state: &dyn StateStore, space: Space) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let all = state.scan(space, b"", &[0xFF; 20], &mut |key, _| {
        keys.push(key.to_vec());
        true
    });
    all.expect("the state can be scanned");
    keys
}

/// Whether a future is done already.
pub fn is_done<T>(future: impl Future<Output = T>) -> bool {
    future.now_or_never().is_some()
}
