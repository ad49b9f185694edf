//! Deterministic simulation: the server of production on simulated time, network and disks, under
//! faults that follow from a seed.
//!
//! | file | subject |
//! |---|---|
//! | `run` | one run from its beginning to its end |
//! | `cluster`, `net` | the nodes, and what they take for the outside world |
//! | `faults` | what goes wrong, and when |
//! | `quotas`, `workload` | what clients do |
//! | `check/` | what must hold of what was decided |
//! | `deadlines/` | what must hold of time |
//! | `watchers` | who watches events as they come, and must miss none |
//! | `reads/` | what readers ask, and what must hold of what they are told |
//! | `parts` | what is done in parts: all of it or what was asked for, and no more |
//! | `usage` | what was taken over time |
//! | `trace` | everything that happened, as text |
//!
//! Each seed runs in a process of its own, because some of what libraries draw is drawn once per
//! process. To see one again:
//!
//! ```text
//! QUORATE_SIMULATION_SEED=7 QUORATE_SIMULATION_TRACE=/tmp/trace \
//!   cargo test --release --test simulation -- --exact the_seed_of_the_environment
//! ```

// Without it tokio throws dice of its own. An exported RUSTFLAGS replaces .cargo/config.toml.
#[cfg(not(tokio_unstable))]
compile_error!("the simulation needs --cfg tokio_unstable; is RUSTFLAGS set?");

mod check;
mod cluster;
mod deadlines;
mod faults;
mod net;
mod parts;
mod quotas;
mod reads;
mod run;
mod trace;
mod usage;
mod watchers;
#[path = "../watching/mod.rs"]
mod watching;
mod workload;

use std::path::Path;
use std::process::Command;
use std::process::Output;

use deadlines::spans::Spans;
use reads::Met;

const SEED: &str = "QUORATE_SIMULATION_SEED";
const TRACE: &str = "QUORATE_SIMULATION_TRACE";

/// How many seeds are run.
const SEEDS: u64 = 12;

/// How many of them are run twice.
const REPEATED: u64 = 4;

#[test]
fn whatever_goes_wrong_no_answer_is_lost_and_all_nodes_agree() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let trace = dir.path().join("trace");
    let (mut spans, mut met) = (Spans::default(), Met::default());
    for seed in REPEATED..SEEDS {
        run_in_a_process(seed, &trace);
        let trace = std::fs::read_to_string(&trace).expect("the trace was written");
        spans.add_trace(&trace);
        met.add_trace(&trace);
    }
    let missing = spans.missing();
    assert!(missing.is_empty(), "what these runs are for did not occur in any: {missing:?} of {spans:?}");
    let missing = met.missing();
    assert!(missing.is_empty(), "readers have not met in any run: {missing:?} of {met:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..REPEATED {
        let [first, second] = ["first", "second"].map(|name| {
            let path = dir.path().join(name);
            run_in_a_process(seed, &path);
            std::fs::read_to_string(path).expect("the trace was written")
        });
        let mut lines = first.lines().zip(second.lines()).zip(1..);
        if let Some(((first, second), number)) = lines.find(|((first, second), _)| first != second) {
            panic!("seed {seed} differs in line {number}:\n{first}\n{second}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}: one trace goes on after the other has ended");
        assert!(first.lines().count() > 10_000, "seed {seed}: there is hardly anything to compare");
        traces.insert(first);
    }
    assert_eq!(traces.len() as u64, REPEATED, "different seeds give the same trace");
}

fn run_in_a_process(seed: u64, trace: &Path) {
    let Output { status, stdout, stderr } =
        Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", "the_seed_of_the_environment", "--nocapture"])
            .env(SEED, seed.to_string())
            .env(TRACE, trace)
            .output()
            .expect("this test can be started again");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(status.success(), "{SEED}={seed}: {status}\n{}\n{}", text(&stdout), text(&stderr));
}

/// One seed, chosen by the environment as the other tests do; by itself it runs one more.
#[test]
fn the_seed_of_the_environment() {
    let seed = std::env::var(SEED).map_or(SEEDS, |seed| seed.parse().expect("the seed is a number"));
    let result = run::run(seed);
    let trace = trace::take();
    if let Ok(path) = std::env::var(TRACE) {
        std::fs::write(path, trace).expect("the trace can be written");
    }
    if let Err(problem) = result {
        panic!("{problem}");
    }
}
