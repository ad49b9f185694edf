//! The log: what is there after a restart, what is readable when, and that a hole is no log.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use openraft::storage::RaftLogReader as _;
use openraft::storage::RaftLogStorage as _;
use quorate::codec::keys;
use quorate::raft::Log;
use quorate::raft::types::Entry;
use quorate::raft::types::Vote;
use quorate::store::Batch;
use quorate::store::Done;
use quorate::store::Durability;
use quorate::store::LogStore;
use quorate::store::Read;
use quorate::store::Space;
use quorate::store::StoreError;
use tokio::sync::oneshot;

use crate::support::*;

on_both_stores! {
    an_empty_log_opens_empty,
    a_reopened_log_has_every_record_as_it_was_written,
    a_newer_record_replaces_an_older_one,
    entries_are_readable_before_they_are_on_disk,
    what_is_not_yet_on_disk_stays_readable_beyond_the_limit_of_the_cache,
    only_the_newest_entries_are_read_without_the_disk,
    a_limited_read_ends_when_it_has_enough_bytes,
    a_limited_read_gives_an_entry_that_alone_is_too_large,
    a_limited_read_from_a_purged_entry_is_empty,
    entries_that_replace_truncated_ones_are_there_after_reopening,
    a_log_with_a_hole_is_refused,
    a_log_that_does_not_begin_after_its_purged_part_is_refused,
    a_damaged_record_is_refused,
}

const MEGABYTE: usize = 1 << 20;

fn vote(term: u64) -> Vote {
    Vote { leader_id: log_id(term, 0).leader_id, committed: true }
}

/// All kinds of entries.
fn entries(term: u64, indexes: impl Iterator<Item = u64>) -> Vec<Entry> {
    let entry = |index| match index % 3 {
        0 => blank(term, index),
        1 => joint_membership(term, index),
        _ => normal(term, index, format!("payload {index}")),
    };
    indexes.map(entry).collect()
}

fn large(indexes: impl Iterator<Item = u64>, bytes: usize) -> Vec<Entry> {
    indexes.map(|index| normal(1, index, vec![7; bytes])).collect()
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}

async fn change(log: &dyn LogStore, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    change(&mut batch);
    let (done, outcome) = oneshot::channel();
    log.submit(batch, Durability::Synced, Box::new(move |result| drop(done.send(result))));
    outcome.await.expect("the callback is called").expect("the write succeeds");
}

async fn an_empty_log_opens_empty(subject: Subject) {
    let mut log = subject.open_log();
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (None, None));
    assert_eq!(log.read_vote().await.unwrap(), None);
    assert_eq!(log.read_committed().await.unwrap(), None);
    assert!(log.try_get_log_entries(..).await.unwrap().is_empty());
}

async fn a_reopened_log_has_every_record_as_it_was_written(subject: Subject) {
    let written = entries(2, 0..12);
    let mut log = subject.open_log();
    log.save_vote(&vote(2)).await.unwrap();
    append(&mut log, written[..11].to_vec()).await;
    log.save_committed(Some(log_id(2, 8))).await.unwrap();
    // What is committed goes to disk with the next append.
    append(&mut log, written[11..].to_vec()).await;
    log.purge(log_id(2, 3)).await.unwrap();
    drop(log);

    let mut log = subject.open_log();
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(2)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(2, 8)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(2, 3)));
    assert_eq!(state.last_log_id, Some(log_id(2, 11)));
    assert_eq!(encoded(&log.try_get_log_entries(..).await.unwrap()), encoded(&written[4..]));
}

async fn a_newer_record_replaces_an_older_one(subject: Subject) {
    let mut log = subject.open_log();
    for term in 1..=3 {
        log.save_vote(&vote(term)).await.unwrap();
        log.save_committed(Some(log_id(1, term))).await.unwrap();
        append(&mut log, entries(1, (term - 1) * 10..term * 10)).await;
        log.purge(log_id(1, term)).await.unwrap();
    }
    drop(log);

    let mut log = subject.open_log();
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(3)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 3)));
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(1, 3)));
    assert_eq!(indexes(&log.try_get_log_entries(..).await.unwrap()), (4..30).collect::<Vec<_>>());
}

/// A disk that begins to write when it is told to, and counts how often it is asked to read.
struct Held {
    inner: Arc<dyn LogStore>,
    /// None once it writes.
    queue: Mutex<Option<Vec<(Batch, Durability, Done)>>>,
    scans: AtomicUsize,
}

impl Held {
    fn over(inner: Arc<dyn LogStore>) -> Arc<Self> {
        Arc::new(Self { inner, queue: Mutex::new(Some(Vec::new())), scans: AtomicUsize::new(0) })
    }

    fn let_go(&self) {
        let queued = self.queue.lock().unwrap().take().expect("let go once");
        for (batch, durability, done) in queued {
            self.inner.submit(batch, durability, done);
        }
    }

    fn scans(&self) -> usize {
        self.scans.load(Ordering::Relaxed)
    }
}

impl Read for Held {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.inner.scan(space, from, to, visit)
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.inner.last(space, from, to)
    }
}

impl LogStore for Held {
    fn submit(&self, batch: Batch, durability: Durability, done: Done) {
        match &mut *self.queue.lock().unwrap() {
            Some(queue) => queue.push((batch, durability, done)),
            None => self.inner.submit(batch, durability, done),
        }
    }
}

async fn entries_are_readable_before_they_are_on_disk(subject: Subject) {
    let disk = Held::over(subject.open().log);
    let mut log = Log::open(Arc::clone(&disk) as Arc<dyn LogStore>).unwrap();
    let written = entries(1, 0..6);
    let mut on_disk = start_append(&mut log, written.clone()).await;

    let mut reader = log.get_log_reader().await;
    assert_eq!(encoded(&reader.try_get_log_entries(..).await.unwrap()), encoded(&written));
    assert_eq!(indexes(&reader.limited_get_log_entries(2, 5).await.unwrap()), [2, 3, 4]);
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 5)));
    assert!(!is_done(&mut on_disk), "said to be on disk before it was written");

    disk.let_go();
    on_disk.await.expect("the callback is called").expect("the append succeeds");
    assert!(disk.get(Space::Entries, &keys::entry(5)).unwrap().is_some());
}

async fn what_is_not_yet_on_disk_stays_readable_beyond_the_limit_of_the_cache(subject: Subject) {
    let disk = Held::over(subject.open().log);
    let mut log = Log::open(Arc::clone(&disk) as Arc<dyn LogStore>).unwrap();
    let before = disk.scans();
    let mut on_disk = Vec::new();
    for index in 0..24 {
        on_disk.push(start_append(&mut log, large(index..index + 1, MEGABYTE)).await);
    }
    let all: Vec<u64> = (0..24).collect();
    assert_eq!(indexes(&log.try_get_log_entries(..).await.unwrap()), all);
    assert_eq!(disk.scans(), before, "the disk was asked for what it cannot have");

    disk.let_go();
    for appended in on_disk {
        appended.await.expect("the callback is called").expect("the append succeeds");
    }
    assert_eq!(indexes(&log.try_get_log_entries(..).await.unwrap()), all);
}

async fn only_the_newest_entries_are_read_without_the_disk(subject: Subject) {
    let disk = Held::over(subject.open().log);
    disk.let_go();
    let mut log = Log::open(Arc::clone(&disk) as Arc<dyn LogStore>).unwrap();
    let before = disk.scans();
    for index in 0..24 {
        append(&mut log, large(index..index + 1, MEGABYTE)).await;
    }
    assert_eq!(indexes(&log.try_get_log_entries(10..24).await.unwrap()), (10..24).collect::<Vec<_>>());
    assert_eq!(disk.scans(), before, "14 of the newest 16 MiB are not in memory");
    assert_eq!(indexes(&log.try_get_log_entries(4..24).await.unwrap()), (4..24).collect::<Vec<_>>());
    assert_eq!(disk.scans(), before + 1, "20 MiB are in memory, more than the limit");
    assert_eq!(indexes(&log.try_get_log_entries(0..2).await.unwrap()), [0, 1]);
}

async fn a_limited_read_ends_when_it_has_enough_bytes(subject: Subject) {
    let mut log = subject.open_log();
    append(&mut log, large(0..10, MEGABYTE)).await;
    // The budget is four of these megabytes.
    assert_eq!(indexes(&log.limited_get_log_entries(0, 10).await.unwrap()), [0, 1, 2, 3]);
    assert_eq!(indexes(&log.limited_get_log_entries(7, 9).await.unwrap()), [7, 8]);
    drop(log);

    let mut log = subject.open_log();
    assert_eq!(indexes(&log.limited_get_log_entries(0, 10).await.unwrap()), [0, 1, 2, 3]);
    // Partly on disk, partly in memory.
    append(&mut log, large(10..20, MEGABYTE)).await;
    assert_eq!(indexes(&log.limited_get_log_entries(8, 20).await.unwrap()), [8, 9, 10, 11]);
}

async fn a_limited_read_gives_an_entry_that_alone_is_too_large(subject: Subject) {
    let mut log = subject.open_log();
    append(&mut log, large(0..2, 6 * MEGABYTE)).await;
    assert_eq!(indexes(&log.limited_get_log_entries(0, 2).await.unwrap()), [0]);
    drop(log);
    assert_eq!(indexes(&subject.open_log().limited_get_log_entries(1, 2).await.unwrap()), [1]);
}

async fn a_limited_read_from_a_purged_entry_is_empty(subject: Subject) {
    let mut log = subject.open_log();
    append(&mut log, entries(1, 0..10)).await;
    log.purge(log_id(1, 4)).await.unwrap();
    assert!(log.limited_get_log_entries(4, 10).await.unwrap().is_empty());
    assert_eq!(indexes(&log.limited_get_log_entries(5, 7).await.unwrap()), [5, 6]);
    drop(log);

    let mut log = subject.open_log();
    assert!(log.limited_get_log_entries(0, 10).await.unwrap().is_empty());
    assert_eq!(indexes(&log.limited_get_log_entries(5, 7).await.unwrap()), [5, 6]);
}

async fn entries_that_replace_truncated_ones_are_there_after_reopening(subject: Subject) {
    let mut log = subject.open_log();
    append(&mut log, entries(1, 0..10)).await;
    log.truncate_after(Some(log_id(1, 5))).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 5)));
    append(&mut log, entries(2, 6..8)).await;
    let expected = [entries(1, 0..6), entries(2, 6..8)].concat();
    assert_eq!(encoded(&log.try_get_log_entries(..).await.unwrap()), encoded(&expected));
    drop(log);

    let mut log = subject.open_log();
    assert_eq!(encoded(&log.try_get_log_entries(..).await.unwrap()), encoded(&expected));
    log.truncate_after(Some(log_id(1, 2))).await.unwrap();
    drop(log);
    let mut log = subject.open_log();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 2)));
    log.truncate_after(None).await.unwrap();
    drop(log);
    assert_eq!(subject.open_log().get_log_state().await.unwrap().last_log_id, None);
}

async fn a_log_with_a_hole_is_refused(subject: Subject) {
    let mut log = subject.open_log();
    append(&mut log, entries(1, 0..10)).await;
    drop(log);
    let store = subject.open().log;
    change(&*store, |batch| batch.delete(Space::Entries, keys::entry(5))).await;

    let mut log = Log::open(store).expect("what lies in the middle is not looked at yet");
    assert_eq!(indexes(&log.try_get_log_entries(0..5).await.unwrap()), [0, 1, 2, 3, 4]);
    log.try_get_log_entries(0..10).await.expect_err("entry 5 is missing");
    log.limited_get_log_entries(3, 8).await.expect_err("entry 5 is missing");
}

async fn a_log_that_does_not_begin_after_its_purged_part_is_refused(subject: Subject) {
    let mut log = subject.open_log();
    append(&mut log, entries(1, 0..10)).await;
    log.purge(log_id(1, 2)).await.unwrap();
    drop(log);
    let store = subject.open().log;
    change(&*store, |batch| batch.delete(Space::Entries, keys::entry(3))).await;
    assert!(Log::open(store).is_err(), "entry 3 is neither there nor purged");
}

async fn a_damaged_record_is_refused(subject: Subject) {
    let mut log = subject.open_log();
    log.save_vote(&vote(1)).await.unwrap();
    append(&mut log, entries(1, 0..3)).await;
    log.save_committed(Some(log_id(1, 1))).await.unwrap();
    append(&mut log, entries(1, 3..4)).await;
    log.purge(log_id(1, 0)).await.unwrap();
    drop(log);
    let records = [
        (Space::Meta, keys::VOTE.to_vec()),
        (Space::Meta, keys::COMMITTED.to_vec()),
        (Space::Meta, keys::PURGED.to_vec()),
        (Space::Entries, keys::entry(3).to_vec()),
    ];
    for (space, key) in records {
        let store = subject.open().log;
        let good = store.get(space, &key).unwrap().expect("the record is there");
        let newer_format = [&[quorate::codec::keys::FORMAT + 1], &good[1..]].concat();
        for bad in [Vec::new(), good[..good.len() - 1].to_vec(), newer_format] {
            change(&*store, |batch| batch.put(space, key.clone(), bad.clone())).await;
            assert!(Log::open(Arc::clone(&store)).is_err(), "{space:?} {key:?} is {bad:?}");
        }
        change(&*store, |batch| batch.put(space, key.clone(), good)).await;
    }
    assert_eq!(indexes(&subject.open_log().try_get_log_entries(..).await.unwrap()), [1, 2, 3]);
}
