//! What the production store does with real files: who may use them, what a crash may leave, what
//! damage looks like.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use quorate::store::Durability;
use quorate::store::Opened;
use quorate::store::Space;
use quorate::store::Store;
use quorate::store::StoreError;
use quorate::store::rocks::RocksStore;
use rocksdb::DB;
use tempfile::TempDir;

use crate::support::*;

/// A node's data directory.
struct Node {
    dir: TempDir,
}

impl Node {
    fn new() -> Self {
        Self { dir: temp_dir() }
    }

    /// A closed node with 100 flushed batches, and 100 entries in its log.
    async fn with_data() -> Self {
        let node = Self::new();
        let opened = node.open();
        for number in 0..100 {
            opened.state.write(numbered(number)).unwrap();
            let entry = put(Space::Entries, key(number), vec![7; 1_000]);
            submit(&opened.log, entry, Durability::Lazy).await.unwrap().unwrap();
        }
        opened.state.flush().await.unwrap();
        node
    }

    fn path(&self, within: &str) -> PathBuf {
        self.dir.path().join("data").join(within)
    }

    fn try_open(&self) -> Result<Opened, StoreError> {
        RocksStore::new(self.path("")).open()
    }

    fn open(&self) -> Opened {
        self.try_open().expect("the store opens")
    }

    fn refusal(&self) -> String {
        self.try_open().err().expect("the store does not open").to_string()
    }

    /// The only file of the live state or the log whose name ends so.
    fn file(&self, within: &str, suffix: &str) -> PathBuf {
        let names = names_in(&self.path(within));
        let mut found = names.iter().filter(|name| name.ends_with(suffix));
        let name = found.next().unwrap_or_else(|| panic!("no {suffix} in {names:?}"));
        assert_eq!(found.next(), None, "more than one {suffix} in {names:?}");
        self.path(within).join(name)
    }
}

const LIVE: &str = "state/generation-1";

fn flip_byte(path: &Path, position: usize) {
    let mut content = fs::read(path).unwrap();
    content[position] ^= 0xFF;
    fs::write(path, content).unwrap();
}

fn truncate(path: &Path, size: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}

fn assert_says(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} does not say {expected:?}");
}

// Who may use the directory.

#[test]
fn a_second_open_says_that_the_directory_is_in_use() {
    let node = Node::new();
    let opened = node.open();
    assert_says(&node.refusal(), "another process is using");
    drop(opened);
    node.open();
}

#[test]
fn the_directory_is_in_use_while_anything_of_it_is_held() {
    let node = Node::new();
    let Opened { log, state, .. } = node.open();
    let snapshot = state.snapshot().unwrap();
    let receiver = state.receive(Vec::new()).unwrap();
    drop(log);
    node.refusal();
    drop(state);
    node.refusal();
    drop(snapshot);
    node.refusal();
    drop(receiver);
    node.open();
}

#[test]
fn a_database_opened_by_another_program_is_in_use() {
    let node = Node::new();
    drop(node.open());
    let columns = ["default", "meta", "entries"];
    let _other = DB::open_cf(&rocksdb::Options::default(), node.path("log"), columns).unwrap();
    assert_says(&node.refusal(), "another process is using");
}

#[tokio::test]
async fn the_last_handle_of_the_log_may_be_dropped_by_a_callback() {
    let node = Node::new();
    let Opened { log, state, .. } = node.open();
    drop(state);
    let (done, outcome) = tokio::sync::oneshot::channel();
    let last = Arc::clone(&log);
    let callback = move |result| {
        drop(last);
        drop(done.send(result));
    };
    log.submit(put(Space::Entries, key(1), "entry"), Durability::Synced, Box::new(callback));
    drop(log);
    outcome.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_close_waits_for_all_that_was_submitted() {
    let node = Node::new();
    let log = node.open().log;
    let mut outcomes = Vec::new();
    for number in 0..50 {
        outcomes.push(submit(&log, put(Space::Entries, key(number), "entry"), Durability::Synced));
    }
    drop(log);
    for mut outcome in outcomes {
        outcome.try_recv().expect("it was called before the close ended").unwrap();
    }
    assert!(node.open().log.get(Space::Entries, &key(49)).unwrap().is_some());
}

// What a close and a crash leave.

#[tokio::test]
async fn a_close_makes_nothing_durable_that_was_not_flushed() {
    let node = Node::with_data().await;
    let state = node.open().state;
    state.write(numbered(100)).unwrap();
    drop(state);
    assert_eq!(numbered_prefix(&*node.open().state), 100);
}

#[test]
fn a_flush_that_happens_by_itself_takes_all_spaces_to_the_same_moment() {
    let node = Node::new();
    let state = node.open().state;
    // More than all write buffers of the rows hold: some must have been written to disk.
    for number in 0..160 {
        let mut batch = numbered(number);
        batch.put(Space::Rows, key(number), vec![0; 1 << 20]);
        state.write(batch).unwrap();
    }
    drop(state);
    let survived = numbered_prefix(&*node.open().state);
    assert!(survived > 0, "nothing was flushed");
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_at_open() {
    let node = Node::with_data().await;
    for folder in
        ["state/incoming-7", "state/generation-0", "state/generation-2", "snapshots/3", "snapshots/4.tmp"]
    {
        fs::create_dir(node.path(folder)).unwrap();
        fs::write(node.path(folder).join("000001.sst"), "half").unwrap();
    }
    fs::write(node.path("state/POINTER.new"), "genera").unwrap();
    let opened = node.open();
    assert_eq!(names_in(&node.path("state")), ["POINTER", "generation-1"]);
    assert_eq!(names_in(&node.path("snapshots")), [""; 0]);
    assert_eq!(numbered_prefix(&*opened.state), 100);
}

#[tokio::test]
async fn a_crash_after_the_switch_leaves_the_new_state_live() {
    let node = Node::with_data().await;
    fs::rename(node.path(LIVE), node.path("state/generation-2")).unwrap();
    fs::create_dir(node.path(LIVE)).unwrap();
    fs::write(node.path(LIVE).join("CURRENT"), "the old state").unwrap();
    fs::write(node.path("state/POINTER"), "generation-2\n").unwrap();
    let opened = node.open();
    assert_eq!(names_in(&node.path("state")), ["POINTER", "generation-2"]);
    assert_eq!(numbered_prefix(&*opened.state), 100);
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_is_taken_up_again() {
    let node = Node::new();
    drop(node.open());
    fs::remove_file(node.path("FORMAT")).unwrap();
    fs::remove_file(node.path("state/POINTER")).unwrap();
    fs::remove_dir_all(node.path("log")).unwrap();
    append(&node.open().log, put(Space::Entries, key(1), "entry")).await.unwrap();
    node.open();
}

// Folders come and go with their owners.

#[tokio::test]
async fn folders_go_when_they_are_no_longer_needed() {
    let node = Node::with_data().await;
    let state = node.open().state;
    let snapshot = state.snapshot().unwrap();
    assert_eq!(names_in(&node.path("snapshots")).len(), 1);
    drop(state.receive(snapshot.files().to_vec()).unwrap());
    assert_eq!(names_in(&node.path("state")), ["POINTER", "generation-1"]);

    state.install(transfer(&*snapshot, &*state)).unwrap();
    assert_eq!(names_in(&node.path("state")), ["POINTER", "generation-2"]);
    drop(snapshot);
    assert_eq!(names_in(&node.path("snapshots")), [""; 0]);
}

#[tokio::test]
async fn a_scan_under_way_ends_in_the_state_it_began_in() {
    let node = Node::with_data().await;
    let state = node.open().state;
    let empty_node = Node::new();
    let mut received = Some(transfer(&*empty_node.open().state.snapshot().unwrap(), &*state));
    let mut seen = 0;
    let visit = &mut |_: &[u8], _: &[u8]| {
        if let Some(received) = received.take() {
            state.install(received).unwrap();
            assert_eq!(numbered_prefix(&*state), 0);
        }
        seen += 1;
        true
    };
    state.scan(Space::Rows, b"", &key(1_000), visit).unwrap();
    assert_eq!(seen, 100);
    assert_eq!(names_in(&node.path("state")), ["POINTER", "generation-2"]);
}

#[tokio::test]
async fn a_received_snapshot_that_cannot_be_opened_changes_nothing() {
    let node = Node::with_data().await;
    let state = node.open().state;
    let snapshot = state.snapshot().unwrap();
    let manifest = snapshot.files().iter().position(|file| file.name.starts_with("MANIFEST")).unwrap();
    let mut receiver = state.receive(snapshot.files().to_vec()).unwrap();
    for (position, file) in snapshot.files().iter().enumerate() {
        let mut data = snapshot.read(position, 0, file.size as usize).unwrap().to_vec();
        if position == manifest {
            data[20] ^= 0xFF;
        }
        receiver.append(position, &data).unwrap();
    }
    let error = state.install(receiver.finish().unwrap()).expect_err("the manifest is damaged");
    assert_says(&error.to_string(), "install a snapshot: what was received is unusable");
    assert_eq!(names_in(&node.path("state")), ["POINTER", "generation-1"]);
    state.write(numbered(100)).unwrap();
    assert_eq!(numbered_prefix(&*state), 101);
    drop((state, snapshot));
    assert_eq!(numbered_prefix(&*node.open().state), 100);
}

#[tokio::test]
async fn a_received_snapshot_that_lacks_a_space_is_refused() {
    let node = Node::new();
    let state = node.open().state;
    let other = temp_dir();
    drop(DB::open_default(other.path()).unwrap());
    let names: Vec<String> =
        names_in(other.path()).into_iter().filter(|name| !["LOCK", "LOG"].contains(&name.as_str())).collect();
    let contents: Vec<Vec<u8>> =
        names.iter().map(|name| fs::read(other.path().join(name)).unwrap()).collect();
    let files = names
        .into_iter()
        .zip(&contents)
        .map(|(name, content)| quorate::store::SnapshotFile { name, size: content.len() as u64 });
    let mut receiver = state.receive(files.collect()).unwrap();
    for (position, content) in contents.iter().enumerate() {
        receiver.append(position, content).unwrap();
    }
    state.install(receiver.finish().unwrap()).expect_err("it has no spaces");
}

// Damage is never taken for absence.

#[tokio::test]
async fn a_flipped_byte_in_a_table_is_an_error_of_every_read_that_meets_it() {
    let node = Node::new();
    let state = node.open().state;
    state.write(put(Space::Rows, key(1), vec![7; 1_000])).unwrap();
    state.flush().await.unwrap();
    drop(state);
    flip_byte(&node.file(LIVE, ".sst"), 30);

    let state = node.open().state;
    let damaged = "is damaged: this node must be replaced";
    assert_says(&state.get(Space::Rows, &key(1)).unwrap_err().to_string(), damaged);
    assert_says(&state.last(Space::Rows, b"", &key(9)).unwrap_err().to_string(), damaged);
    let scanned = state.scan(Space::Rows, b"", &key(9), &mut |_, _| true);
    assert_says(&scanned.unwrap_err().to_string(), damaged);
}

#[tokio::test]
async fn a_snapshot_is_read_before_it_is_sent_and_damage_in_it_is_found() {
    let node = Node::new();
    let state = node.open().state;
    state.write(put(Space::Events, key(1), vec![7; 1_000])).unwrap();
    let snapshot = state.snapshot().unwrap();
    let folders = names_in(&node.path("snapshots"));
    let [folder] = &folders[..] else { panic!("one snapshot, not {folders:?}") };
    let folder = node.path("snapshots").join(folder);
    let before = names_in(&folder);
    snapshot.verify().await.unwrap();
    snapshot.verify().await.unwrap();
    assert_eq!(names_in(&folder), before, "it is as it was");
    for (position, file) in snapshot.files().iter().enumerate() {
        let read = snapshot.read(position, 0, usize::MAX).unwrap();
        assert_eq!(read.len() as u64, file.size, "{}", file.name);
    }

    let snapshot = state.snapshot().unwrap();
    let newest = names_in(&node.path("snapshots")).into_iter().max().expect("there are two");
    let newest = node.path("snapshots").join(newest);
    let table = names_in(&newest).into_iter().find(|name| name.ends_with(".sst")).expect("a table");
    flip_byte(&newest.join(table), 30);
    assert_says(&snapshot.verify().await.unwrap_err().to_string(), "is damaged: this node must be replaced");
}

#[tokio::test]
async fn a_table_that_is_shorter_or_gone_stops_the_open() {
    for size in [Some(0), Some(100), None] {
        let node = Node::new();
        let state = node.open().state;
        state.write(put(Space::Rows, key(1), vec![7; 1_000])).unwrap();
        state.flush().await.unwrap();
        drop(state);
        let table = node.file(LIVE, ".sst");
        match size {
            Some(size) => truncate(&table, size),
            None => fs::remove_file(table).unwrap(),
        }
        assert_says(&node.refusal(), "is damaged: this node must be replaced");
    }
}

#[tokio::test]
async fn a_garbage_manifest_stops_the_open() {
    let node = Node::with_data().await;
    let current = fs::read_to_string(node.path(LIVE).join("CURRENT")).unwrap();
    fs::write(node.path(LIVE).join(current.trim_end()), "garbage").unwrap();
    assert_says(&node.refusal(), "is damaged: this node must be replaced");
}

#[tokio::test]
async fn a_flipped_byte_within_the_log_stops_the_open() {
    let node = Node::with_data().await;
    let wal = node.file("log", ".log");
    let size = fs::metadata(&wal).unwrap().len() as usize;
    flip_byte(&wal, size / 2);
    assert_says(&node.refusal(), "is damaged: this node must be replaced");
}

#[tokio::test]
async fn a_log_whose_last_write_was_torn_ends_before_it() {
    let node = Node::with_data().await;
    let wal = node.file("log", ".log");
    truncate(&wal, fs::metadata(&wal).unwrap().len() - 1);
    let log = node.open().log;
    let (last, _) = log.last(Space::Entries, b"", &key(1_000)).unwrap().unwrap();
    assert_eq!(last, Bytes::from(key(98)));
}

#[tokio::test]
async fn a_part_that_was_lost_is_not_made_anew() {
    for part in ["log", "log/CURRENT", LIVE, "state", "state/POINTER"] {
        let node = Node::with_data().await;
        let path = node.path(part);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        assert_says(&node.refusal(), "this node must be replaced");
    }
}

#[test]
fn a_pointer_that_names_nothing_sensible_stops_the_open() {
    for content in ["", "garbage", "generation-", "generation-x", "../elsewhere", "generation-1/.."] {
        let node = Node::new();
        drop(node.open());
        fs::write(node.path("state/POINTER"), content).unwrap();
        assert_says(&node.refusal(), "POINTER is damaged: this node must be replaced");
    }
}

#[test]
fn a_directory_of_another_format_is_refused() {
    let node = Node::new();
    drop(node.open());
    fs::write(node.path("FORMAT"), "quorate data 1\n").unwrap();
    assert_says(&node.refusal(), "\"quorate data 1\", which this version cannot read");
}

// The disk is watched.

#[tokio::test]
async fn the_free_bytes_are_those_of_the_disk_and_watching_it_keeps_nothing_open() {
    let node = Node::with_data().await;
    let Opened { log, state, medium } = node.open();
    let health = medium.health().unwrap();
    let disk = rustix::fs::statvfs(node.path("")).unwrap();
    let size = disk.f_blocks * disk.f_frsize;
    assert!(health.free_bytes > 0 && health.free_bytes < size, "{health:?} of {size}");
    assert!(!health.holds_up_writes, "{health:?}");
    drop((log, state));
    node.open();
}

#[tokio::test]
async fn a_compaction_that_fails_behind_the_back_of_all_is_an_error_for_who_looks_and_who_flushes() {
    let node = Node::with_data().await;
    let Opened { state, medium, .. } = node.open();
    let tables = names_in(&node.path(LIVE)).into_iter().filter(|name| name.ends_with(".sst"));
    for table in tables.collect::<Vec<_>>() {
        flip_byte(&node.path(LIVE).join(table), 30);
    }
    // A compaction begins when there are some files that have not been compacted.
    let mut number = 100;
    let error = loop {
        assert!(number < 1_000, "no compaction has failed");
        state.write(numbered(number)).unwrap();
        number += 1;
        let flushed = state.flush().await;
        if let Err(error) = medium.health() {
            break error;
        }
        // It may have failed between the two.
        if flushed.is_err() {
            break medium.health().expect_err("it has failed");
        }
    };
    let said = error.to_string();
    assert_says(&said, "look at the disk");
    assert_says(&said, "generation-1 is damaged: this node must be replaced (Corruption: ");
    let flushed = state.flush().await.expect_err("nothing is built on it");
    assert!(flushed.problem.contains("failed") || flushed.problem.contains("is damaged"), "{flushed}");
}
