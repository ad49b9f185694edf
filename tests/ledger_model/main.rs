//! The ledger against a naive second ledger (`model`), on random log entries.
//!
//! After every entry the two must agree on every answer with all its numbers, on what every event
//! touched, and on everything that is kept: counters, policies, clocks, schedules, holds, transfers,
//! templates. And whatever the model says, these must hold of the ledger alone: use is conserved,
//! nobody gets further over a limit unless somebody allowed it, limits stay within those above, the
//! events alone make the same state, the rows alone make the same state, the rows that are said to
//! have changed are all that changed, a rejection changes nothing, a preview is what then happens,
//! and requests, verdicts, events and rows read back from their encodings as they were.
//!
//! A failure prints the smallest entries that show it. `PROPTEST_RNG_SEED=N` with the number it
//! prints runs the same cases again.
//!
//! | file | subject |
//! |---|---|
//! | `wish`, `random` | what is asked, and at random |
//! | `find`, `command` | wishes as commands |
//! | `pair` | the two side by side |
//! | `rules` | what holds of the ledger alone |
//! | `encoding` | what is written reads back |

mod command;
mod encoding;
mod find;
#[path = "../model/mod.rs"]
mod model;
mod pair;
mod random;
#[path = "../requests/mod.rs"]
mod requests;
mod rules;
mod wish;

use std::cell::RefCell;
use std::collections::BTreeMap;

use pair::Pair;
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest::test_runner::RngSeed;
use proptest::test_runner::TestRunner;
use quorate::ledger::tree::ChildPolicy;

const CASES: u32 = 420;
/// From one on, so that a failure shrinks to the few entries that it needs.
const ENTRIES: std::ops::Range<usize> = 1..260;
const STEPS: u64 = 50_000;
/// How often each of these must occur at least, so that none is tested by accident only.
const FLOOR: u64 = 10;

/// What is counted: rejections, events, and what can be said of them.
const KINDS: [&str; 94] = [
    // Requests as such.
    "Replayed",
    "RequestIdReused",
    "RequestIdExpired",
    // Rejections.
    "Malformed",
    "UnknownScopes",
    "UnknownResources",
    "UnknownQuotas",
    "UnknownHold",
    "UnknownTemplate",
    "UnknownSchedule",
    "ScopeExists",
    "ResourceExists",
    "HoldClosed",
    "HoldTooSmall",
    "HasChildren",
    "InUse",
    "OnLoan",
    "Locked",
    "VersionMismatch",
    "TemplateVersionMismatch",
    "SequenceMismatch",
    "SchemaConflict",
    "ScheduleConflict",
    "TransferNotAllowed",
    "TtlTooLong",
    "LimitConflict",
    "BelowUse",
    "Uncountable",
    "Denied",
    "PartFailed",
    // Events.
    "ScopeCreated",
    "ScopeUpdated",
    "ScopeMoved",
    "ScopeDeleted",
    "ResourceRegistered",
    "QuotaSet",
    "QuotaDeleted",
    "QuotaLocked",
    "QuotaUnlocked",
    "QuotaScheduled",
    "ScheduleCancelled",
    "ScheduleFailed",
    "OverrideSwitched",
    "ClockEnded",
    "QuotaTransferred",
    "TransferReturned",
    "a loan ended by a client",
    "TemplatePut",
    "TemplateApplied",
    "Reserved",
    "Committed",
    "Released",
    "Expired",
    "Renewed",
    "Resized",
    "TimeRefused",
    "Rejected",
    "Unchanged",
    "EventsCompacted",
    // What requests were.
    "of Batch",
    "of ApplyPlan",
    "of ApplyTemplate",
    "mode Strict",
    "mode Partial",
    "mode Force",
    "previewed",
    // What came of them.
    "granted in part",
    "over Warn",
    "over Shadow",
    "over Forced",
    "over Soft",
    "denied HardLimit",
    "denied BurstLimit",
    "denied BurstEnded",
    "denied SoftLimit",
    "denied for ever",
    "denied for now",
    "denied until it fits",
    "drained",
    "expired but for what is used",
    "moved by force",
    "moved to another level",
    "moved too deep",
    "a part committed",
    "committed beyond",
    "grown",
    "shrunk",
    "changed by schedule",
    "override begun",
    "override ended",
    "grace ended",
    "burst ended",
    "released but consumed",
    "transferred for good",
];

#[test]
fn the_ledger_does_what_a_naive_ledger_does() {
    // A seed of its own for every run, told when it fails: nothing is kept in files.
    let seed = match std::env::var("PROPTEST_RNG_SEED") {
        Ok(text) => text.parse().expect("PROPTEST_RNG_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64,
    };
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let counts = RefCell::new((0, BTreeMap::<String, u64>::new()));
    let begin_ms = prop_oneof![6 => Just(1_767_225_600_000), 1 => Just(0)];
    let furnished = prop_oneof![
        1 => Just(None),
        5 => Just(Some(ChildPolicy::EachWithinParent)),
        4 => Just(Some(ChildPolicy::SumWithinParent)),
    ];
    let entries = (begin_ms, furnished, prop::collection::vec(pair::entry(), ENTRIES));
    let result = TestRunner::new(config).run(&entries, |(begin_ms, furnished, entries)| {
        let mut pair = Pair::new(begin_ms, furnished);
        for entry in &entries {
            pair.run(entry)?;
        }
        let (steps, counts) = &mut *counts.borrow_mut();
        *steps += pair.steps;
        for (kind, count) in pair.counts {
            *counts.entry(kind).or_default() += count;
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("PROPTEST_RNG_SEED={seed} fails: {failure}");
    }
    let (steps, counts) = counts.into_inner();
    println!("{steps} steps with seed {seed}: {counts:?}");
    assert!(steps >= STEPS, "only {steps} steps were taken");
    let rare = KINDS.iter().filter(|kind| counts.get(**kind).is_none_or(|count| *count < FLOOR));
    let rare: Vec<_> = rare.map(|kind| (kind, counts.get(*kind))).collect();
    assert!(rare.is_empty(), "some kinds hardly occurred: {rare:?}");
    let other = counts.keys().find(|kind| !KINDS.contains(&kind.as_str()));
    assert_eq!(other, None, "a kind is not in the list of those that must occur");
}
