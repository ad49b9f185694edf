//! The past: what is put together of rows, keyframes and events is what there was then.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use openraft::storage::RaftSnapshotBuilder as _;
use openraft::storage::RaftStateMachine as _;
use quorate::codec::batch;
use quorate::codec::event;
use quorate::codec::keys;
use quorate::ledger::Command;
use quorate::ledger::Labels;
use quorate::ledger::Path;
use quorate::ledger::RequestId;
use quorate::ledger::ResourceId;
use quorate::ledger::State;
use quorate::ledger::command::CreateScope;
use quorate::ledger::command::DeleteScope;
use quorate::ledger::rows::Row;
use quorate::raft::Applied;
use quorate::raft::OpenBlock;
use quorate::raft::StateMachine;
use quorate::raft::keyframe;
use quorate::raft::past::PastError;
use quorate::raft::snapshot::SnapshotData;
use quorate::raft::types::Entry;
use quorate::raft::types::SnapshotMeta;
use quorate::store::Batch;
use quorate::store::Space;
use quorate::store::StateStore;
use tokio::task::yield_now;

use crate::requests::request;
use crate::requests::request_id;
use crate::support::*;

on_both_stores! {
    every_revision_is_as_it_was_then,
    the_past_is_the_same_after_reopening,
    the_past_goes_with_a_snapshot,
    of_an_earlier_state_a_later_one_is_made,
    a_time_names_the_last_revision_that_was_decided_by_then,
    a_keyframe_is_made_when_there_are_events_enough_for_it,
    a_keyframe_that_was_not_completed_is_none,
    a_keyframe_that_lacks_a_row_is_damage,
    what_was_removed_is_refused_with_what_can_be_had,
    what_was_let_go_of_and_is_still_there_leads_on,
    rows_stay_as_they_are_while_the_past_is_made_of_them,
    a_snapshot_that_is_installed_in_the_middle_is_not_mixed_with_what_was_there,
}

const LENGTH: u64 = 1_500;

/// Of the revisions every so many is looked at: also some in the middle of an entry.
const STEP: usize = 41;

/// All that is to be seen of a state: what it remembers of requests nobody reads.
fn seen(state: &State) -> Vec<Row> {
    let without_floor = |row| match row {
        Row::Ledger { revision, time, next_scope, .. } => {
            Row::Ledger { revision, time, next_scope, request_floor: RequestId::default(), compacted_at: 0 }
        }
        row => row,
    };
    state.rows().filter(|row| !matches!(row, Row::Request(..))).map(without_floor).collect()
}

/// What there was after some of the revisions, by folding all events from the first on.
fn folded(applied: &Applied) -> BTreeMap<u64, Vec<Row>> {
    let mut state = State::default();
    let mut all = BTreeMap::from([(0, seen(&state))]);
    let events = applied.events(1, usize::MAX, &mut OpenBlock::default()).expect("the events can be read");
    for message in events {
        let decimals =
            |id: ResourceId| state.resources().get(id.0 as usize).map(|resource| resource.decimals);
        let event = event::decode(message, &decimals).expect("an event");
        state.evolve(&event);
        if event.revision.is_multiple_of(STEP as u64) {
            all.insert(event.revision, seen(&state));
        }
    }
    all
}

async fn past(applied: &Applied, revision: u64) -> Vec<Row> {
    seen(&applied.past(revision, None).await.expect("it can be had"))
}

/// Applies the history entry by entry, with checkpoints and keyframes on the way. Returns what there
/// was after some of them.
async fn live(applied: &Arc<Applied>) -> BTreeMap<u64, Vec<Row>> {
    let mut recorded = BTreeMap::new();
    for (number, entry) in (1..).zip(history(LENGTH)) {
        apply(applied, vec![entry]).await;
        if number % STEP == 0 {
            recorded.insert(applied.read().revision(), seen(&applied.read()));
        }
        if number % 50 == 0 && number < 1_450 {
            assert!(applied.checkpoint().unwrap(), "there was something to write");
            applied.keyframe(1).await.unwrap();
        }
    }
    assert!(keyframes(&**applied.store()).len() >= 3, "there are keyframes to read from");
    recorded
}

fn keyframes(store: &dyn StateStore) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    while let Some(frame) = keyframe::first(store, found.last().map_or(0, |last| last + 1)).unwrap() {
        found.push(frame.revision);
    }
    found
}

async fn every_revision_is_as_it_was_then(subject: Subject) {
    let applied = subject.open_state();
    let recorded = live(&applied).await;
    let folded = folded(&applied);
    for (revision, expected) in &folded {
        assert!(past(&applied, *revision).await == *expected, "revision {revision}");
    }
    for (revision, expected) in &recorded {
        assert!(past(&applied, *revision).await == *expected, "revision {revision}");
    }
}

async fn the_past_is_the_same_after_reopening(subject: Subject) {
    let applied = subject.open_state();
    live(&applied).await;
    let folded = folded(&applied);
    let frames = keyframes(&**applied.store());
    applied.store().flush().await.unwrap();
    drop(applied);
    let reopened = subject.open_state();
    assert_eq!(keyframes(&**reopened.store()), frames);
    for (revision, expected) in &folded {
        assert!(past(&reopened, *revision).await == *expected, "revision {revision}");
    }
}

async fn snapshot_of(applied: &Arc<Applied>) -> (SnapshotMeta, SnapshotData) {
    let mut builder = StateMachine(Arc::clone(applied)).get_snapshot_builder().await;
    let built = builder.build_snapshot().await.expect("the snapshot is built");
    (built.meta, built.snapshot)
}

async fn install(target: &Arc<Applied>, (meta, data): (SnapshotMeta, SnapshotData)) {
    let installed = StateMachine(Arc::clone(target)).install_snapshot(&meta, data).await;
    installed.expect("it is installed");
}

async fn the_past_goes_with_a_snapshot(subject: Subject) {
    let source = subject.open_state();
    live(&source).await;
    let target_subject = Subject::same_kind_as(&subject);
    let target = target_subject.open_state();
    apply(&target, history(30)).await;
    install(&target, snapshot_of(&source).await).await;
    assert_eq!(keyframes(&**target.store()), keyframes(&**source.store()));
    for (revision, expected) in &folded(&source) {
        assert!(past(&target, *revision).await == *expected, "revision {revision}");
    }
}

async fn of_an_earlier_state_a_later_one_is_made(subject: Subject) {
    let applied = subject.open_state();
    live(&applied).await;
    let folded = folded(&applied);
    // Also one that ends in the middle of an entry.
    let mut state = State::default();
    for (revision, expected) in &folded {
        state = applied.past(*revision, Some(state)).await.expect("it can be had");
        assert!(seen(&state) == *expected, "revision {revision}");
    }
    // One that is later serves for nothing.
    let earlier = applied.past(STEP as u64, Some(state)).await.expect("it can be had");
    assert!(seen(&earlier) == folded[&(STEP as u64)]);
}

async fn a_time_names_the_last_revision_that_was_decided_by_then(subject: Subject) {
    let applied = subject.open_state();
    live(&applied).await;
    let events = applied.events(1, usize::MAX, &mut OpenBlock::default()).unwrap();
    let first = events[0].log_time_ms;
    let last = events.last().unwrap().log_time_ms;
    for time in (first - 2..=last + 2).step_by(STEP).chain([0, last - 1, last, u64::MAX]) {
        let expected = events.iter().filter(|event| event.log_time_ms <= time).count() as u64;
        assert_eq!(applied.revision_at(time).await.unwrap(), expected, "at {time}");
    }
    let empty = Subject::same_kind_as(&subject).open_state();
    assert_eq!(empty.revision_at(first).await.unwrap(), 0);
}

async fn a_keyframe_is_made_when_there_are_events_enough_for_it(subject: Subject) {
    let applied = subject.open_state();
    assert!(!applied.keyframe(1).await.unwrap(), "there are no rows");
    apply(&applied, history(40)).await;
    applied.checkpoint().unwrap();
    let revision = applied.read().revision();
    assert!(!applied.keyframe(revision + 1).await.unwrap());
    assert!(applied.keyframe(revision).await.unwrap());
    assert!(!applied.keyframe(1).await.unwrap(), "nothing has happened since");
    // Four events for each of its rows, however few are asked for.
    let rows = seen(&applied.read()).len() as u64;
    let store = &**applied.store();
    let frame = keyframe::Keyframe { revision, rows };
    assert_eq!(keyframe::newest(store, u64::MAX).unwrap(), Some(frame));
    let mut index = 40;
    while applied.read().revision() - revision < 4 * rows {
        applied.checkpoint().unwrap();
        assert!(!applied.keyframe(1).await.unwrap(), "at revision {}", applied.read().revision());
        apply(&applied, history(index + 1).split_off(usize::try_from(index).unwrap())).await;
        index += 1;
    }
    applied.checkpoint().unwrap();
    assert!(applied.keyframe(1).await.unwrap());
    assert_eq!(keyframes(store), [revision, applied.read().revision()]);
    // What is asked for is before the second.
    assert_eq!(keyframe::newest(store, applied.read().revision() - 1).unwrap(), Some(frame));
    let requests = |key: &Vec<u8>| key.get(9) == Some(&keys::REQUESTS[0]);
    assert!(!keys_of(store, Space::Views).iter().any(requests), "nobody reads requests");
}

fn change(store: &dyn StateStore, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    change(&mut batch);
    store.write(batch).expect("the write succeeds");
}

async fn a_keyframe_that_was_not_completed_is_none(subject: Subject) {
    let applied = subject.open_state();
    live(&applied).await;
    let store = &**applied.store();
    let frames = keyframes(store);
    // A crash before the last of its writes.
    change(store, |batch| batch.delete(Space::Views, keys::keyframe(*frames.last().unwrap())));
    assert_eq!(keyframes(store), frames[..frames.len() - 1]);
    for (revision, expected) in &folded(&applied) {
        assert!(past(&applied, *revision).await == *expected, "revision {revision}");
    }
    // The next one clears away what is left of it.
    applied.checkpoint().unwrap();
    assert!(applied.keyframe(1).await.unwrap());
    let left = |key: &Vec<u8>| keys::keyframe_of(key).unwrap().0 == *frames.last().unwrap();
    assert!(!keys_of(store, Space::Views).iter().any(left));
}

async fn a_keyframe_that_lacks_a_row_is_damage(subject: Subject) {
    let applied = subject.open_state();
    live(&applied).await;
    let store = &**applied.store();
    let frame = keyframes(store)[1];
    let template = [keys::keyframe(frame), vec![8]].concat();
    let (key, _) = store.last(Space::Views, &keys::keyframe(frame), &template).unwrap().expect("a row");
    change(store, |batch| batch.delete(Space::Views, key.to_vec()));
    let error = applied.past(frame + 1, None).await.expect_err("it is refused").to_string();
    assert!(error.contains("a keyframe cannot be decoded"), "{error}");
}

async fn what_was_removed_is_refused_with_what_can_be_had(subject: Subject) {
    let applied = subject.open_state();
    live(&applied).await;
    let folded = folded(&applied);
    let frames = keyframes(&**applied.store());
    let removed = frames[1] + 1;
    let mut blocks = keys_of(&**applied.store(), Space::Events);
    blocks.retain(|key| keys::number(key).unwrap() <= removed);
    let kept = keys_of(&**applied.store(), Space::Events)[blocks.len()].clone();
    let compacted_at = keys::number(&kept).unwrap() - 1;
    let time = applied.log_time() + 1;
    let compact = request(request_id(time, 1), "tester", Command::CompactEvents(compacted_at));
    apply(&applied, vec![normal(1, LENGTH + 1, batch::encode(&time.into(), &[compact]))]).await;
    change(&**applied.store(), |batch| batch.delete_range(Space::Events, vec![], kept.clone()));
    applied.store().flush().await.unwrap();
    drop(applied);
    let reopened = subject.open_state();
    assert_eq!(reopened.compacted_at(), compacted_at);
    let earliest = frames.iter().copied().find(|frame| *frame >= compacted_at).expect("a later one");
    for (revision, expected) in &folded {
        match reopened.past(*revision, None).await {
            Ok(state) => assert!(*revision >= earliest && seen(&state) == *expected, "revision {revision}"),
            Err(PastError::Compacted { earliest: told }) => {
                assert!(*revision < earliest && told == earliest, "revision {revision}: {told}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(matches!(reopened.revision_at(0).await, Err(PastError::Compacted { .. })));
    // Of keyframes without the events after them one is left.
    reopened.drop_keyframes().await.unwrap();
    let left: Vec<u64> = frames
        .iter()
        .copied()
        .enumerate()
        .filter(|(position, frame)| {
            *frame >= compacted_at || frames.get(position + 1).is_some_and(|next| *next > compacted_at)
        })
        .map(|(_, frame)| frame)
        .collect();
    assert_eq!(keyframes(&**reopened.store()), left);
    assert!(left.len() < frames.len());
    let later = *folded.keys().find(|revision| **revision >= earliest).unwrap();
    assert!(past(&reopened, later).await == folded[&later]);
}

async fn what_was_let_go_of_and_is_still_there_leads_on(subject: Subject) {
    let applied = subject.open_state();
    live(&applied).await;
    let expected = seen(&applied.read());
    let last = applied.read().revision();
    let time = applied.log_time() + 1;
    let compact = request(request_id(time, 1), "tester", Command::CompactEvents(last));
    apply(&applied, vec![normal(1, LENGTH + 1, batch::encode(&time.into(), &[compact]))]).await;
    assert!(keyframes(&**applied.store()).iter().all(|frame| *frame < last), "only events lead there");
    assert!(past(&applied, last).await == expected);
    assert_eq!(applied.revision_at(time - 1).await.expect("it can be had"), last);
    match applied.past(last - 1, None).await {
        Err(PastError::Compacted { earliest }) => assert_eq!(earliest, last, "and this can be had"),
        other => panic!("{other:?}"),
    }
}

/// As many trees as are read in several steps.
const TREES: u64 = 2_500;

fn trees(index: u64, command: impl Fn(Path) -> Command) -> Entry {
    let request = |number: u64| {
        let path = Path::parse(&format!("tree{number}")).expect("a path");
        request(request_id(1_767_225_600_000, index * 10_000 + number), "tester", command(path))
    };
    let requests: Vec<_> = (0..TREES).map(request).collect();
    normal(1, index, batch::encode(&(1_767_225_600_000 + index).into(), &requests))
}

fn planted() -> Entry {
    trees(0, |path| {
        Command::CreateScope(CreateScope::new(path, None, Labels::default(), None, None).expect("a scope"))
    })
}

fn felled() -> Entry {
    trees(1, |path| Command::DeleteScope(DeleteScope { path, recursive: false }))
}

/// Does something while the past is put together, when the first step is done.
async fn past_while(applied: &Arc<Applied>, revision: u64, done: impl Future<Output = ()>) -> Vec<Row> {
    let over = Cell::new(false);
    let meanwhile = async {
        yield_now().await;
        done.await;
        assert!(!over.get(), "it was done too late to disturb anybody");
    };
    let past = async {
        let state = past(applied, revision).await;
        over.set(true);
        state
    };
    let (state, ()) = tokio::join!(past, meanwhile);
    state
}

async fn rows_stay_as_they_are_while_the_past_is_made_of_them(subject: Subject) {
    let applied = subject.open_state();
    apply(&applied, vec![planted()]).await;
    applied.checkpoint().unwrap();
    let expected = seen(&applied.read());
    let changed = async {
        apply(&applied, vec![felled()]).await;
        assert!(!applied.checkpoint().unwrap(), "rows were written while they were read");
    };
    assert!(past_while(&applied, TREES, changed).await == expected);
    assert!(applied.checkpoint().unwrap(), "they are written later");
    assert!(past(&applied, TREES).await == expected);
}

async fn a_snapshot_that_is_installed_in_the_middle_is_not_mixed_with_what_was_there(subject: Subject) {
    let target = subject.open_state();
    apply(&target, vec![planted()]).await;
    target.checkpoint().unwrap();
    let expected = seen(&target.read());
    let source = Subject::same_kind_as(&subject);
    let source = source.open_state();
    apply(&source, vec![planted(), felled()]).await;
    source.checkpoint().unwrap();
    let snapshot = snapshot_of(&source).await;
    assert!(past_while(&target, TREES, install(&target, snapshot)).await == expected);
    assert_eq!(target.read().revision(), 2 * TREES);
    assert_eq!(target.generation(), 2, "everything was replaced in the middle");
}
