//! What every store must do.

use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use quorate::store::Batch;
use quorate::store::Durability;
use quorate::store::Received;
use quorate::store::SnapshotFile;
use quorate::store::Space;

use crate::support::*;

/// Makes a test of each function below for each implementation.
macro_rules! contract {
    ($($name:ident,)*) => {
        mod rocks {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::Subject::rocks()).await })*
        }
        mod simulated {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::Subject::simulated()).await })*
        }
    };
}

contract! {
    callbacks_come_in_the_order_of_submission_when_their_batch_is_visible,
    an_acknowledged_append_is_there_after_reopening,
    after_one_failed_batch_every_later_one_fails,
    a_later_change_of_a_batch_wins,
    a_batch_that_cannot_be_written_has_no_effect_at_all,
    a_scan_visits_a_range_in_order_until_told_to_stop,
    a_scan_sees_one_moment_although_its_visitor_writes,
    the_last_key_of_a_range_is_the_greatest_that_was_not_removed,
    a_range_delete_removes_its_start_and_spares_its_end,
    a_range_that_is_the_wrong_way_round_is_empty,
    flushed_state_is_there_after_reopening,
    without_a_flush_only_a_prefix_of_the_writes_survives,
    a_snapshot_is_not_changed_by_later_writes,
    a_snapshot_can_be_read_from_any_offset,
    an_installed_snapshot_replaces_everything_and_survives_reopening,
    snapshots_are_installed_one_after_the_other,
    a_half_received_snapshot_leaves_no_trace,
    a_file_name_that_is_not_plain_is_refused,
    a_file_announced_twice_is_refused,
    a_file_of_another_size_than_announced_is_refused,
    files_out_of_order_are_refused,
    what_no_receiver_has_sealed_is_not_installed,
}

async fn callbacks_come_in_the_order_of_submission_when_their_batch_is_visible(subject: Subject) {
    let opened = subject.open();
    let heard = Arc::new(Mutex::new(Vec::new()));
    for number in 0..200 {
        let durability = if number % 3 == 0 { Durability::Synced } else { Durability::Lazy };
        let (log, heard) = (Arc::clone(&opened.log), Arc::clone(&heard));
        let done = move |result: Result<(), _>| {
            result.expect("the append succeeds");
            let seen = log.get(Space::Entries, &key(number)).expect("the log can be read");
            heard.lock().unwrap().push((number, seen.is_some()));
        };
        opened.log.submit(put(Space::Entries, key(number), "entry"), durability, Box::new(done));
    }
    append(&opened.log, Batch::default()).await.expect("an empty batch is a barrier");
    let expected: Vec<(usize, bool)> = (0..200).map(|number| (number, true)).collect();
    assert_eq!(*heard.lock().unwrap(), expected);
}

async fn an_acknowledged_append_is_there_after_reopening(subject: Subject) {
    let opened = subject.open();
    let mut batch = put(Space::Entries, key(1), "entry");
    batch.put(Space::Meta, "vote", "mine");
    append(&opened.log, batch).await.expect("the append succeeds");
    drop(opened);

    let log = subject.open().log;
    assert_eq!(log.get(Space::Entries, &key(1)).unwrap(), Some(Bytes::from("entry")));
    assert_eq!(log.get(Space::Meta, b"vote").unwrap(), Some(Bytes::from("mine")));
}

async fn after_one_failed_batch_every_later_one_fails(subject: Subject) {
    let log = subject.open().log;
    append(&log, put(Space::Entries, key(1), "entry")).await.expect("the append succeeds");
    let first = append(&log, put(Space::Rows, key(2), "the log has no rows")).await;
    let second = append(&log, put(Space::Entries, key(3), "entry")).await;
    assert_eq!(
        first.expect_err("the space is refused").to_string(),
        second.expect_err("nothing may follow a failure").to_string()
    );
    assert_eq!(log.get(Space::Entries, &key(3)).unwrap(), None);
}

async fn a_later_change_of_a_batch_wins(subject: Subject) {
    let state = subject.open().state;
    let mut batch = put(Space::Rows, "a", "1");
    batch.delete(Space::Rows, "a");
    batch.put(Space::Rows, "b", "1");
    batch.delete_range(Space::Rows, "b", "c");
    batch.put(Space::Rows, "b", "2");
    state.write(batch).unwrap();
    assert_eq!(dump(&*state, Space::Rows), [(b"b".to_vec(), b"2".to_vec())]);
}

async fn a_batch_that_cannot_be_written_has_no_effect_at_all(subject: Subject) {
    let state = subject.open().state;
    let mut batch = numbered(0);
    batch.put(Space::Entries, "a", "the state has no entries");
    state.write(batch).expect_err("the space is refused");
    assert_eq!(numbered_prefix(&*state), 0);
}

async fn a_scan_visits_a_range_in_order_until_told_to_stop(subject: Subject) {
    let state = subject.open().state;
    for number in [5, 3, 9, 1, 7] {
        state.write(put(Space::Rows, key(number), "row")).unwrap();
    }
    state.write(put(Space::Events, key(4), "another space")).unwrap();
    let mut seen = Vec::new();
    let mut scan = |stop_at: usize| {
        seen.clear();
        let visit = &mut |found: &[u8], _: &[u8]| {
            seen.push(found.to_vec());
            found != key(stop_at)
        };
        state.scan(Space::Rows, &key(3), &key(9), visit).unwrap();
        seen.clone()
    };
    assert_eq!(scan(99), [key(3), key(5), key(7)]);
    assert_eq!(scan(5), [key(3), key(5)]);
}

async fn a_scan_sees_one_moment_although_its_visitor_writes(subject: Subject) {
    let state = subject.open().state;
    for number in [1, 2] {
        state.write(put(Space::Rows, key(number), "row")).unwrap();
    }
    let mut seen = Vec::new();
    let visit = &mut |found: &[u8], _: &[u8]| {
        seen.push(found.to_vec());
        state.write(put(Space::Rows, key(3), "row")).unwrap();
        true
    };
    state.scan(Space::Rows, &key(0), &key(9), visit).unwrap();
    assert_eq!(seen, [key(1), key(2)]);
    assert_eq!(dump(&*state, Space::Rows).len(), 3);
}

async fn the_last_key_of_a_range_is_the_greatest_that_was_not_removed(subject: Subject) {
    let state = subject.open().state;
    for number in 1..=9 {
        state.write(put(Space::Events, key(number), key(number))).unwrap();
    }
    let last = |from, to| {
        let found = state.last(Space::Events, &key(from), &key(to)).unwrap();
        found.map(|(found, value)| {
            assert_eq!(found, value);
            found.to_vec()
        })
    };
    assert_eq!(last(0, 100), Some(key(9)));
    assert_eq!(last(0, 5), Some(key(4)));
    assert_eq!(last(10, 100), None);

    let mut batch = Batch::default();
    batch.delete_range(Space::Events, key(6), key(9));
    batch.delete(Space::Events, key(9));
    state.write(batch).unwrap();
    assert_eq!(last(0, 100), Some(key(5)));
    assert_eq!(last(6, 100), None);
}

async fn a_range_delete_removes_its_start_and_spares_its_end(subject: Subject) {
    let opened = subject.open();
    let mut batch = Batch::default();
    for number in 1..=5 {
        batch.put(Space::Entries, key(number), "entry");
        batch.put(Space::Meta, key(number), "another space");
    }
    append(&opened.log, batch).await.unwrap();
    let mut batch = Batch::default();
    batch.delete_range(Space::Entries, key(2), key(4));
    append(&opened.log, batch).await.unwrap();
    drop(opened);

    let log = subject.open().log;
    let there = |space| -> Vec<usize> {
        (1..=5).filter(|&number| log.get(space, &key(number)).unwrap().is_some()).collect()
    };
    assert_eq!(there(Space::Entries), [1, 4, 5]);
    assert_eq!(there(Space::Meta), [1, 2, 3, 4, 5]);
}

async fn a_range_that_is_the_wrong_way_round_is_empty(subject: Subject) {
    let state = subject.open().state;
    state.write(numbered(0)).unwrap();
    let mut batch = numbered(1);
    batch.delete_range(Space::Rows, key(9), key(0));
    batch.delete_range(Space::Rows, key(0), key(0));
    state.write(batch).unwrap();
    assert_eq!(numbered_prefix(&*state), 2);
    assert_eq!(state.last(Space::Rows, &key(9), &key(0)).unwrap(), None);
    let visit = &mut |_: &[u8], _: &[u8]| panic!("nothing is there to visit");
    state.scan(Space::Rows, &key(9), &key(0), visit).unwrap();
}

async fn flushed_state_is_there_after_reopening(subject: Subject) {
    let state = subject.open().state;
    for number in 0..10 {
        state.write(numbered(number)).unwrap();
    }
    state.flush().await.unwrap();
    drop(state);
    assert_eq!(numbered_prefix(&*subject.open().state), 10);
}

async fn without_a_flush_only_a_prefix_of_the_writes_survives(subject: Subject) {
    let state = subject.open().state;
    for number in 0..10 {
        state.write(numbered(number)).unwrap();
    }
    state.flush().await.unwrap();
    for number in 10..20 {
        state.write(numbered(number)).unwrap();
    }
    assert_eq!(numbered_prefix(&*state), 20);
    drop(state);
    let survived = numbered_prefix(&*subject.open().state);
    assert!((10..=20).contains(&survived), "{survived} of 20 survived, 10 were flushed");
}

async fn a_snapshot_is_not_changed_by_later_writes(subject: Subject) {
    let state = subject.open().state;
    for number in 0..10 {
        state.write(numbered(number)).unwrap();
    }
    let before = dump_all(&*state);
    let snapshot = state.snapshot().unwrap();
    let mut batch = numbered(10);
    batch.put(Space::Rows, key(3), "changed");
    batch.delete_range(Space::Events, key(0), key(5));
    state.write(batch).unwrap();
    state.flush().await.unwrap();

    let received = transfer(&*snapshot, &*state);
    state.install(received).unwrap();
    assert_eq!(dump_all(&*state), before);
}

async fn a_snapshot_can_be_read_from_any_offset(subject: Subject) {
    let state = subject.open().state;
    state.write(numbered(0)).unwrap();
    let snapshot = state.snapshot().unwrap();
    for (position, SnapshotFile { size, .. }) in snapshot.files().iter().enumerate() {
        let whole = snapshot.read(position, 0, usize::MAX).unwrap();
        assert_eq!(whole.len() as u64, *size);
        let middle = size / 2;
        let rest = snapshot.read(position, middle, whole.len()).unwrap();
        assert_eq!(rest, whole.slice(middle as usize..));
        assert_eq!(snapshot.read(position, size + 1, 10).unwrap(), Bytes::new());
    }
    snapshot.read(snapshot.files().len(), 0, 1).expect_err("there is no such file");
}

async fn an_installed_snapshot_replaces_everything_and_survives_reopening(subject: Subject) {
    let other = Subject::same_kind_as(&subject);
    let source = other.open().state;
    for number in 0..10 {
        source.write(numbered(number)).unwrap();
    }
    let target = subject.open().state;
    target.write(put(Space::Rows, "old", "flushed")).unwrap();
    target.flush().await.unwrap();
    target.write(put(Space::Events, "old", "not flushed")).unwrap();
    let received = transfer(&*source.snapshot().unwrap(), &*target);
    assert!(target.get(Space::Rows, b"old").unwrap().is_some(), "receiving is not yet installing");
    target.install(received).unwrap();
    assert_eq!(dump_all(&*target), dump_all(&*source));
    drop(target);

    let target = subject.open().state;
    assert_eq!(dump_all(&*target), dump_all(&*source));
    target.write(numbered(10)).unwrap();
    target.flush().await.unwrap();
    drop(target);
    assert_eq!(numbered_prefix(&*subject.open().state), 11);
}

async fn snapshots_are_installed_one_after_the_other(subject: Subject) {
    let state = subject.open().state;
    let mut snapshots = Vec::new();
    for number in 0..4 {
        state.write(numbered(number)).unwrap();
        snapshots.push(state.snapshot().unwrap());
    }
    for (count, snapshot) in snapshots.iter().enumerate().rev() {
        let received = transfer(&**snapshot, &*state);
        state.install(received).unwrap();
        assert_eq!(numbered_prefix(&*state), count + 1);
    }
    drop((state, snapshots));
    assert_eq!(numbered_prefix(&*subject.open().state), 1);
}

async fn a_half_received_snapshot_leaves_no_trace(subject: Subject) {
    let state = subject.open().state;
    state.write(numbered(0)).unwrap();
    state.flush().await.unwrap();
    let snapshot = state.snapshot().unwrap();
    let mut receiver = state.receive(snapshot.files().to_vec()).unwrap();
    let (position, _) = snapshot.files().iter().enumerate().find(|(_, file)| file.size > 0).unwrap();
    receiver.append(position, &snapshot.read(position, 0, 1).unwrap()).unwrap();
    receiver.finish().expect_err("bytes are missing");
    drop((state, snapshot));
    assert_eq!(numbered_prefix(&*subject.open().state), 1);
}

fn announce(name: &str, size: u64) -> SnapshotFile {
    SnapshotFile { name: name.to_owned(), size }
}

async fn a_file_name_that_is_not_plain_is_refused(subject: Subject) {
    let state = subject.open().state;
    for name in ["", ".", "..", "/", "a/b", "a/", "/a", "./a", "../a", "a\0b"] {
        let refused = state.receive(vec![announce("good", 1), announce(name, 1)]);
        let error = refused.err().unwrap_or_else(|| panic!("{name:?} is accepted"));
        assert!(error.to_string().contains("is not a plain file name"), "{error}");
    }
}

async fn a_file_announced_twice_is_refused(subject: Subject) {
    let refused = subject.open().state.receive(vec![announce("a", 1), announce("a", 2)]);
    assert!(refused.err().expect("a duplicate").to_string().contains("announced twice"));
}

async fn a_file_of_another_size_than_announced_is_refused(subject: Subject) {
    let state = subject.open().state;
    let mut receiver = state.receive(vec![announce("a", 3), announce("b", 2)]).unwrap();
    receiver.append(0, b"12").unwrap();
    let error = receiver.append(0, b"34").expect_err("a byte too many");
    assert!(error.to_string().contains("longer than the 3 bytes"), "{error}");
    receiver.append(0, b"3").expect("what was refused does not count");
    receiver.append(1, b"1").unwrap();
    let error = receiver.finish().expect_err("a byte is missing");
    assert!(error.to_string().contains("\"b\" has 1 of 2 bytes"), "{error}");
}

async fn files_out_of_order_are_refused(subject: Subject) {
    let state = subject.open().state;
    let files = vec![announce("a", 2), announce("empty", 0), announce("b", 2)];
    let mut receiver = state.receive(files).unwrap();
    receiver.append(0, b"1").unwrap();
    receiver.append(2, b"1").expect_err("the first is not complete");
    receiver.append(3, b"1").expect_err("there is no fourth");
    receiver.append(0, b"2").unwrap();
    receiver.append(2, b"1").expect("a file without bytes needs none");
    receiver.append(0, b"").expect_err("its turn is over");
    receiver.finish().expect_err("the last is not complete");
}

async fn what_no_receiver_has_sealed_is_not_installed(subject: Subject) {
    let state = subject.open().state;
    state.write(numbered(0)).unwrap();
    state.install(Received(Box::new(()))).expect_err("nothing is in it");
    assert_eq!(numbered_prefix(&*state), 1);
}
