//! The state machine: what a restart makes of what was checkpointed, flushed and lost, and that
//! damage is refused.

use std::sync::Arc;

use quorate::codec::digest::StateDigest;
use quorate::codec::keys;
use quorate::codec::local;
use quorate::ledger::rows::RowKey;
use quorate::proto::storage::v1 as storage;
use quorate::raft::Applied;
use quorate::raft::OpenBlock;
use quorate::store::Batch;
use quorate::store::Space;
use quorate::store::StateStore;
use quorate::store::Store as _;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;

use crate::support::*;

on_both_stores! {
    a_checkpointed_state_is_the_same_after_reopening,
    what_follows_a_checkpoint_is_folded_from_the_events,
    a_state_that_was_never_checkpointed_is_folded_from_the_events,
    an_empty_state_is_the_same_after_a_checkpoint_and_reopening,
    what_is_stored_after_each_checkpoint_is_the_state_and_nothing_else,
    a_state_whose_writes_were_lost_is_the_same_once_the_log_is_applied_again,
    progress_says_how_far_the_state_has_come,
    events_are_listed_from_any_revision,
    a_gap_in_the_events_is_refused,
    an_applied_record_that_disagrees_with_the_events_is_refused,
    events_without_an_applied_record_are_refused,
    a_checkpoint_that_disagrees_with_its_rows_is_refused,
    a_damaged_row_is_refused,
    a_damaged_event_block_is_refused,
}

const LENGTH: u64 = 60;

/// A state with the whole history, of which `checkpointed` entries are in the rows; on disk.
async fn written(subject: &Subject, checkpointed: u64) -> Arc<dyn StateStore> {
    let applied = subject.open_state();
    let mut history = history(LENGTH);
    let rest = history.split_off(usize::try_from(checkpointed).unwrap());
    apply(&applied, history).await;
    assert!(applied.checkpoint().unwrap(), "there was something to write");
    apply(&applied, rest).await;
    applied.store().flush().await.unwrap();
    drop(applied);
    subject.open().state
}

fn write(state: &dyn StateStore, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    change(&mut batch);
    state.write(batch).expect("the write succeeds");
}

fn problem(state: Arc<dyn StateStore>) -> String {
    Applied::open(state).err().expect("it is refused").to_string()
}

async fn a_checkpointed_state_is_the_same_after_reopening(subject: Subject) {
    let state = written(&subject, LENGTH).await;
    let checkpointed = state.get(Space::Meta, keys::CHECKPOINT).unwrap().expect("it was written");
    let expected = summary_after(LENGTH).await;
    assert_eq!(keys::number(&checkpointed[1..]), Some(expected.events.len() as u64));
    assert_eq!(summary(&Applied::open(state).unwrap()).await, expected);
}

async fn what_is_stored_after_each_checkpoint_is_the_state_and_nothing_else(subject: Subject) {
    let applied = subject.open_state();
    let mut shared = 0;
    // Holds and requests come into records that are there already, and go from them.
    for entry in history(LENGTH) {
        apply(&applied, vec![entry]).await;
        let revision = applied.read().revision();
        let stored = applied.digest(revision).await.unwrap();
        assert_eq!((stored.revision, stored.digest), (revision, StateDigest::of(&applied.read())));
        let rows: Vec<RowKey> = applied.read().rows().map(|row| row.key()).collect();
        let mut records: Vec<Vec<u8>> = rows.iter().map(|key| keys::record(*key)).collect();
        records.dedup();
        shared = rows.len() - records.len();
        assert_eq!(keys_of(&**applied.store(), Space::Rows), records, "at revision {revision}");
    }
    assert!(shared > 20, "hardly any rows share a record: {shared}");
    applied.store().flush().await.unwrap();
    drop(applied);
    assert_eq!(summary(&subject.open_state()).await, summary_after(LENGTH).await);
}

async fn what_follows_a_checkpoint_is_folded_from_the_events(subject: Subject) {
    for checkpointed in [1, 20, 31] {
        let subject = Subject::same_kind_as(&subject);
        let state = written(&subject, checkpointed).await;
        let reopened = Applied::open(state).unwrap();
        assert_eq!(summary(&reopened).await, summary_after(LENGTH).await, "of {checkpointed}");
        // The next checkpoint must write what was folded, not only what is new.
        assert!(reopened.checkpoint().unwrap(), "of {checkpointed}");
        reopened.store().flush().await.unwrap();
        drop(reopened);
        assert_eq!(summary(&subject.open_state()).await, summary_after(LENGTH).await, "of {checkpointed}");
    }
}

async fn a_state_that_was_never_checkpointed_is_folded_from_the_events(subject: Subject) {
    let applied = subject.open_state();
    apply(&applied, history(LENGTH)).await;
    applied.store().flush().await.unwrap();
    drop(applied);
    let reopened = subject.open_state();
    assert!(keys_of(&**reopened.store(), Space::Rows).is_empty());
    assert_eq!(summary(&reopened).await, summary_after(LENGTH).await);
}

async fn an_empty_state_is_the_same_after_a_checkpoint_and_reopening(subject: Subject) {
    let applied = subject.open_state();
    let before = summary(&applied).await;
    assert!(applied.checkpoint().unwrap(), "the built-in resources are to be written");
    assert!(!applied.checkpoint().unwrap(), "nothing has changed since");
    applied.store().flush().await.unwrap();
    drop(applied);
    let reopened = subject.open_state();
    assert_eq!(summary(&reopened).await, before);
    apply(&reopened, history(LENGTH)).await;
    assert_eq!(summary(&reopened).await, summary_after(LENGTH).await);
}

async fn a_state_whose_writes_were_lost_is_the_same_once_the_log_is_applied_again(subject: Subject) {
    let applied = subject.open_state();
    apply(&applied, history(20)).await;
    applied.store().flush().await.unwrap();
    apply(&applied, history(40).split_off(20)).await;
    applied.checkpoint().unwrap();
    apply(&applied, history(LENGTH).split_off(40)).await;
    drop(applied);
    survives_as_a_prefix(subject.open_state(), 20).await;
}

/// Checks that a state is that of some prefix of the history and goes on from there. Returns how
/// long the prefix was.
async fn survives_as_a_prefix(applied: Arc<Applied>, at_least: u64) -> u64 {
    let survived = summary(&applied).await;
    let length = survived.last_applied.map_or(0, |log_id| log_id.index + 1);
    assert!((at_least..=LENGTH).contains(&length), "{length} entries survived");
    assert_eq!(survived, summary_after(length).await, "after {length} entries");
    apply(&applied, history(LENGTH).split_off(usize::try_from(length).unwrap())).await;
    assert_eq!(summary(&applied).await, summary_after(LENGTH).await, "from {length} entries on");
    length
}

#[tokio::test]
async fn whatever_a_power_loss_takes_the_log_makes_up_for() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let disk = Disk::new(seed);
        let open = || {
            let opened = SimulatedStore::new(Arc::clone(&disk)).open().expect("the store opens");
            Applied::open(opened.state).expect("the state opens")
        };
        let applied = open();
        apply(&applied, history(10)).await;
        applied.store().flush().await.unwrap();
        apply(&applied, history(30).split_off(10)).await;
        applied.checkpoint().unwrap();
        apply(&applied, history(LENGTH).split_off(30)).await;
        disk.crash();
        drop(applied);
        seen.insert(survives_as_a_prefix(open(), 10).await);
    }
    assert!(seen.iter().any(|length| *length < 30), "the checkpoint was never lost: {seen:?}");
    assert!(
        seen.iter().any(|length| (30..LENGTH).contains(length)),
        "only the checkpoint survived: {seen:?}"
    );
}

async fn progress_says_how_far_the_state_has_come(subject: Subject) {
    let applied = subject.open_state();
    let progress = applied.progress();
    assert_eq!((progress.borrow().index, progress.borrow().revision), (None, 0));
    apply(&applied, history(10)).await;
    let revision = applied.read().revision();
    assert_eq!((progress.borrow().index, progress.borrow().revision), (Some(9), revision));
    applied.store().flush().await.unwrap();
    drop((progress, applied));
    let progress = subject.open_state().progress();
    assert_eq!((progress.borrow().index, progress.borrow().revision), (Some(9), revision));
}

async fn events_are_listed_from_any_revision(subject: Subject) {
    let applied = subject.open_state();
    apply(&applied, history(LENGTH)).await;
    let all = applied.events(1, usize::MAX, &mut OpenBlock::default()).unwrap();
    for from in 1..=all.len() + 2 {
        for limit in [1, 3, usize::MAX] {
            let expected: Vec<_> = all.iter().skip(from - 1).take(limit).cloned().collect();
            assert_eq!(
                applied.events(from as u64, limit, &mut OpenBlock::default()).unwrap(),
                expected,
                "{limit} from {from}"
            );
        }
    }
}

async fn a_gap_in_the_events_is_refused(subject: Subject) {
    let state = written(&subject, 20).await;
    let blocks = keys_of(&*state, Space::Events);
    let (before, after) = (&blocks[3], &blocks[blocks.len() - 3]);
    // What the rows already contain is not folded again.
    write(&*state, |batch| batch.delete(Space::Events, before.clone()));
    drop(Applied::open(Arc::clone(&state)).expect("it is not needed"));
    write(&*state, |batch| batch.delete(Space::Events, after.clone()));
    assert!(problem(state).contains("the event stream"), "events are missing");
}

async fn an_applied_record_that_disagrees_with_the_events_is_refused(subject: Subject) {
    let state = written(&subject, 20).await;
    let good = state.get(Space::Meta, keys::APPLIED).unwrap().expect("it is there");
    let record: storage::Applied = local::message("the applied record", &good).unwrap();
    for revision in [record.revision - 1, record.revision + 1] {
        let bad = local::framed(&storage::Applied { revision, ..record.clone() });
        write(&*state, |batch| batch.put(Space::Meta, keys::APPLIED, bad));
        assert!(problem(Arc::clone(&state)).contains("the applied record"), "it says {revision}");
    }
    let last = keys_of(&*state, Space::Events).pop().expect("there are events");
    write(&*state, |batch| {
        batch.put(Space::Meta, keys::APPLIED, good);
        batch.delete(Space::Events, last);
    });
    assert!(problem(state).contains("the applied record"), "the last events are missing");
}

async fn events_without_an_applied_record_are_refused(subject: Subject) {
    let state = written(&subject, 20).await;
    write(&*state, |batch| batch.delete(Space::Meta, keys::APPLIED));
    assert!(problem(state).contains("does not say how far it came"));
}

async fn a_checkpoint_that_disagrees_with_its_rows_is_refused(subject: Subject) {
    let state = written(&subject, 20).await;
    let good = state.get(Space::Meta, keys::CHECKPOINT).unwrap().expect("it is there");
    let revision = keys::number(&good[1..]).expect("a number") + 1;
    let bad = [&good[..1], &revision.to_be_bytes()].concat();
    write(&*state, |batch| batch.put(Space::Meta, keys::CHECKPOINT, bad));
    assert!(problem(state).contains("the checkpoint"));
}

async fn a_damaged_row_is_refused(subject: Subject) {
    let state = written(&subject, LENGTH).await;
    for key in keys_of(&*state, Space::Rows) {
        let good = state.get(Space::Rows, &key).unwrap().expect("it is there");
        for bad in [Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], &[0xFF]].concat()] {
            write(&*state, |batch| batch.put(Space::Rows, key.clone(), bad.clone()));
            assert!(Applied::open(Arc::clone(&state)).is_err(), "row {key:?} is {bad:?}");
        }
        write(&*state, |batch| batch.put(Space::Rows, key.clone(), good));
    }
    write(&*state, |batch| batch.delete(Space::Rows, keys::record(RowKey::Ledger)));
    assert!(problem(state).contains("the ledger row is missing"));
}

async fn a_damaged_event_block_is_refused(subject: Subject) {
    let state = written(&subject, 20).await;
    let last = keys_of(&*state, Space::Events).pop().expect("there are events");
    let good = state.get(Space::Events, &last).unwrap().expect("it is there");
    for bad in [Vec::new(), good[..good.len() - 1].to_vec(), [&[9], &good[1..]].concat()] {
        write(&*state, |batch| batch.put(Space::Events, last.clone(), bad.clone()));
        assert!(Applied::open(Arc::clone(&state)).is_err(), "it is {bad:?}");
    }
}
