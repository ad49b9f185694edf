//! Of two reasons against one command, the one that stands first in the table of
//! `src/ledger/rejection.rs` is told.
//!
//! Each *ladder* is a command against which there are many reasons at once. Rung by rung one of
//! them is taken away, always the one that was told, by a change of the state or of the command;
//! the reasons of all later rungs were there all the time. So a ladder shows the order of every two
//! of its rungs.

mod ladders;

use std::collections::BTreeSet;

use quorate::ledger::Rejection;

use super::coverage::Kinds;
use super::script::Script;
use ladders::EXCEPTIONS;
use ladders::LADDERS;
use ladders::Ladder;

/// All reasons, the first first.
const ORDER: [&str; 30] = [
    "RequestIdReused",
    "RequestIdExpired",
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
    // Not in the table: it wraps one of the others.
    "PartFailed",
    // Nothing stands in the way.
    "granted",
];

/// Runs commands on a script that goes on, and returns what they said. "3 × COMMAND" runs it three
/// times.
fn run(script: &mut Script, commands: &str) -> String {
    let lines: String = commands
        .lines()
        .map(|line| match line.trim().split_once(" × ") {
            Some((times, line)) => format!("{line}\n").repeat(times.parse().expect("a number of times")),
            None => format!("{}\n", line.trim()),
        })
        .collect();
    goldenscript::generate(script, &format!("{lines}---\n")).expect("the commands are those of a script")
}

fn told(script: &Script) -> &'static str {
    let last = script.last.as_ref().expect("a request was made");
    last.verdict.as_ref().err().map_or("granted", |rejection| rejection.kind())
}

/// Goes down a ladder, and sees that each rung tells what it should.
fn go_down(Ladder { of, setup, rungs }: &Ladder) {
    let mut script = Script::default();
    let said = run(&mut script, setup);
    assert!(!said.contains("rejected") && !said.contains("not proposed"), "{of}: the setup says {said}");
    for (expected, commands) in *rungs {
        let said = run(&mut script, commands);
        assert_eq!(told(&script), *expected, "{of}: {said}");
        assert!(said.matches(" rejected\n").count() <= 1, "{of}: more than the last is refused: {said}");
    }
}

#[test]
fn of_two_reasons_the_first_of_the_table_is_told() {
    let rank = |told: &str| ORDER.iter().position(|name| *name == told).expect("a reason of the table");
    for ladder in LADDERS {
        go_down(ladder);
        let ranks = ladder.rungs.iter().map(|(told, _)| rank(told));
        assert!(ranks.is_sorted(), "{}: the rungs are not in the order of the table", ladder.of);
    }
}

#[test]
fn what_depends_on_the_state_is_looked_at_when_that_is_known() {
    EXCEPTIONS.iter().for_each(go_down);
}

#[test]
fn every_reason_stands_on_a_ladder() {
    // The compiler sees to it that this list is whole.
    assert!(Rejection::ALL.iter().all(|kind| ORDER.contains(kind)), "a reason has no place in the order");
    let shown: BTreeSet<&str> = LADDERS.iter().flat_map(|ladder| ladder.rungs).map(|rung| rung.0).collect();
    assert_eq!(shown, BTreeSet::from(ORDER), "what is told, and what can be told");
}

/// The rows of the table in the documentation: what stands in backticks in their second column.
fn documented() -> Vec<String> {
    let source = std::fs::read_to_string("src/ledger/rejection.rs").expect("the source of the ledger");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows = rows.filter(|row| row.starts_with(|c: char| c.is_ascii_digit()));
    let cells = rows.map(|row| row.split(" | ").nth(1).expect("a row has three columns").to_owned());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>()).collect()
}

#[test]
fn the_documented_table_is_the_order_shown_here() {
    let mut expected: Vec<&str> = Vec::new();
    for name in ORDER.into_iter().filter(|name| !["PartFailed", "granted"].contains(name)) {
        let name = if name.starts_with("Unknown") { "Unknown…" } else { name };
        if expected.last() != Some(&name) {
            expected.push(name);
        }
    }
    assert_eq!(documented(), expected);
}
