//! What a crash does to the simulated store, and that the same seed does the same again.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate::store::Batch;
use quorate::store::Durability;
use quorate::store::Opened;
use quorate::store::Space;
use quorate::store::Store;
use quorate::store::simulated::Disk;
use quorate::store::simulated::SimulatedStore;

use crate::support::*;

const SEEDS: u64 = 50;

fn open(disk: &Arc<Disk>) -> Opened {
    SimulatedStore::new(Arc::clone(disk)).open().expect("the store opens")
}

/// How many of the entries 0, 1, 2, … are in the log. Panics when there is a hole.
fn entries(opened: &Opened) -> usize {
    let mut count = 0;
    let visit = &mut |found: &[u8], _: &[u8]| {
        assert_eq!(found, key(count), "a hole in the log");
        count += 1;
        true
    };
    opened.log.scan(Space::Entries, b"", &[0xFF; 9], visit).expect("the log can be scanned");
    count
}

fn entry(number: usize) -> Batch {
    put(Space::Entries, key(number), "entry")
}

/// Ten synced entries, then ten of which nobody has heard, then a crash: how many survive?
async fn crash_of_the_log(seed: u64) -> usize {
    let disk = Disk::new(seed);
    let opened = open(&disk);
    for number in 0..10 {
        append(&opened.log, entry(number)).await.expect("the append succeeds");
    }
    let mut lost = Vec::new();
    for number in 10..15 {
        lost.push(submit(&opened.log, entry(number), Durability::Synced));
    }
    // The writer begins with these five; the others wait behind them.
    tokio::task::yield_now().await;
    for number in 15..20 {
        lost.push(submit(&opened.log, entry(number), Durability::Synced));
    }
    disk.crash();
    for outcome in lost {
        outcome.await.expect_err("the callback of a lost batch is never called");
    }
    entries(&open(&disk))
}

#[tokio::test]
async fn a_crash_takes_only_a_suffix_of_the_log_that_nobody_was_told_of() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let survived = crash_of_the_log(seed).await;
        assert!((10..=20).contains(&survived), "seed {seed}: {survived} of 20 survived");
        seen.insert(survived);
    }
    assert!(seen.len() > 5, "crashes are all alike: {seen:?}");
}

#[tokio::test]
async fn what_was_written_without_a_sync_may_be_lost_to_the_power_but_not_to_a_kill() {
    let mut after_power_loss = BTreeSet::new();
    for seed in 0..SEEDS {
        let killed = Disk::new(seed);
        let unplugged = Disk::new(seed);
        for disk in [&killed, &unplugged] {
            let opened = open(disk);
            append(&opened.log, entry(0)).await.expect("the append succeeds");
            let lazy = submit(&opened.log, entry(1), Durability::Lazy);
            lazy.await.expect("the callback is called").expect("the write succeeds");
        }
        unplugged.crash();
        assert_eq!(entries(&open(&killed)), 2, "seed {seed}");
        after_power_loss.insert(entries(&open(&unplugged)));
    }
    assert_eq!(after_power_loss, BTreeSet::from([1, 2]));
}

#[tokio::test]
async fn a_synced_batch_takes_the_lazy_ones_before_it_to_disk() {
    for seed in 0..SEEDS {
        let disk = Disk::new(seed);
        let opened = open(&disk);
        let lazy = submit(&opened.log, entry(0), Durability::Lazy);
        lazy.await.expect("the callback is called").expect("the write succeeds");
        append(&opened.log, entry(1)).await.expect("the append succeeds");
        disk.crash();
        assert_eq!(entries(&open(&disk)), 2, "seed {seed}");
    }
}

#[tokio::test]
async fn a_crash_takes_only_a_suffix_of_the_state_that_was_not_flushed() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = Disk::new(seed);
        let state = open(&disk).state;
        for number in 0..10 {
            state.write(numbered(number)).unwrap();
        }
        let flush = state.flush();
        for number in 10..20 {
            state.write(numbered(number)).unwrap();
        }
        flush.await.unwrap();
        disk.crash();
        let survived = numbered_prefix(&*open(&disk).state);
        assert!((10..=20).contains(&survived), "seed {seed}: {survived} of 20 survived");
        seen.insert(survived);
    }
    assert!(seen.len() > 5, "crashes are all alike: {seen:?}");
}

#[tokio::test]
async fn a_flush_makes_only_what_was_written_before_it_durable() {
    let least = |flush_at: usize| async move {
        let mut least = usize::MAX;
        for seed in 0..SEEDS {
            let disk = Disk::new(seed);
            let state = open(&disk).state;
            let mut flush = None;
            for number in 0..4 {
                if number == flush_at {
                    flush = Some(state.flush());
                }
                state.write(numbered(number)).unwrap();
            }
            flush.expect("it was begun").await.unwrap();
            disk.crash();
            least = least.min(numbered_prefix(&*open(&disk).state));
        }
        least
    };
    assert_eq!(least(1).await, 1);
    assert_eq!(least(3).await, 3);
}

#[tokio::test]
async fn an_installed_snapshot_survives_a_crash_and_an_overtaken_flush_does_not_harm_it() {
    let other = Subject::simulated();
    let source = other.open().state;
    source.write(numbered(0)).unwrap();
    let disk = Disk::new(3);
    let state = open(&disk).state;
    for number in 0..5 {
        state.write(numbered(number)).unwrap();
    }
    let flush = state.flush();
    state.install(transfer(&*source.snapshot().unwrap(), &*state)).unwrap();
    flush.await.unwrap();
    disk.crash();
    assert_eq!(numbered_prefix(&*open(&disk).state), 1);
}

#[tokio::test]
async fn the_handles_of_a_dead_process_do_nothing() {
    let disk = Disk::new(1);
    let dead = open(&disk);
    dead.state.write(numbered(0)).unwrap();
    let flush = dead.state.flush();
    disk.crash();
    let alive = open(&disk);
    let before = numbered_prefix(&*alive.state);

    flush.await.expect_err("it was not finished");
    dead.state.write(numbered(before)).expect_err("the process is dead");
    dead.state.get(Space::Meta, b"applied").expect_err("the process is dead");
    submit(&dead.log, entry(0), Durability::Synced).await.expect_err("the callback is never called");
    append(&alive.log, entry(0)).await.expect("the append succeeds");
    assert_eq!(numbered_prefix(&*alive.state), before);
}

#[tokio::test]
async fn the_same_seed_loses_the_same() {
    let mut seen = BTreeSet::new();
    for seed in 0..10 {
        let survived = crash_of_the_log(seed).await;
        assert_eq!(survived, crash_of_the_log(seed).await, "seed {seed}");
        seen.insert(survived);
    }
    assert!(seen.len() > 1, "all seeds lose the same");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_takes_nothing_and_has_what_it_had() {
    let disk = Disk::new(5);
    let opened = open(&disk);
    append(&opened.log, entry(0)).await.unwrap();
    disk.set_free_bytes(7);
    assert_eq!(opened.medium.health().unwrap().free_bytes, 7);
    append(&opened.log, entry(1)).await.unwrap();
    disk.set_free_bytes(0);
    let full = "the disk is full: make room on it";
    assert!(append(&opened.log, entry(2)).await.unwrap_err().to_string().contains(full));
    assert!(opened.state.write(numbered(0)).unwrap_err().to_string().contains(full));
    assert!(opened.state.flush().await.unwrap_err().to_string().contains(full));
    disk.set_free_bytes(1 << 30);
    // What failed once is not tried again by the same process.
    append(&opened.log, entry(3)).await.unwrap_err();
    let opened = open(&disk);
    assert_eq!(entries(&opened), 2);
    append(&opened.log, entry(2)).await.unwrap();
}
