//! Deterministic simulation: the server of production on simulated time, network and disks, under
//! faults that follow from a seed.
//!
//! | file | subject |
//! |---|---|
//! | `sweep` | many seeds, each in a process of its own, and what they have met together |
//! | `run` | one run from its beginning to its end |
//! | `shape` | what differs between runs |
//! | `cluster`, `net` | the nodes, and what they take for the outside world |
//! | `faults/` | what goes wrong, and when |
//! | `scenarios/` | runs that are kept |
//! | `operator`, `repeats` | who changes members and has projections made anew; messages that arrive once more |
//! | `quotas`, `workload` | what clients do, whose quotas are counted once more |
//! | `archive` | who keeps all events, and lets the cluster let go of old ones |
//! | `small` | small histories of one quota |
//! | `zoo` | every other command |
//! | `check/` | what must hold of what was decided |
//! | `deadlines/` | what must hold of time |
//! | `watchers` | who watches events as they come, and must miss none |
//! | `reads/` | what readers ask, and what must hold of what they are told |
//! | `parts` | what is done in parts: all of it or what was asked for, and no more |
//! | `usage`, `views` | what was taken over time; what else is made of the events |
//! | `wall` | the clocks of the machine, stopped |
//! | `trace` | everything that happened, as text |
//!
//! `README.md` beside this file is the manual, and `scripts/sim.sh` runs as many seeds as one likes, or
//! shows one again. Each runs in a process of its own, because some of what libraries draw is drawn once
//! per process.

// Without it tokio throws dice of its own. An exported RUSTFLAGS replaces .cargo/config.toml.
#[cfg(not(tokio_unstable))]
compile_error!("the simulation needs --cfg tokio_unstable; is RUSTFLAGS set?");

mod archive;
mod check;
mod cluster;
mod deadlines;
mod faults;
mod net;
mod operator;
mod parts;
mod quotas;
mod reads;
mod repeats;
mod run;
mod scenarios;
mod shape;
mod small;
mod sweep;
mod trace;
mod usage;
mod views;
mod wall;
mod watchers;
#[path = "../watching/mod.rs"]
mod watching;
mod workload;
mod zoo;

use std::collections::BTreeSet;

use scenarios::Scenario;
use shape::Shape;
use sweep::SCENARIO;
use sweep::SEED;
use sweep::Sweep;

/// A run makes and drops messages more than anything else: it takes less time than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The seeds of the first test, and how many of the second.
const SEEDS: std::ops::Range<u64> = 0..8;
const REPEATED: u64 = 2;

#[tokio::test]
async fn whatever_goes_wrong_no_answer_is_lost_and_all_nodes_agree() {
    let sweep = Sweep::run(SEEDS, |_| false).await;
    sweep.check().unwrap_or_else(|problem| panic!("{problem}"));
}

#[tokio::test]
async fn the_scenarios_that_are_kept_pass() {
    for Scenario { name, about, .. } in scenarios::ALL {
        let summary = sweep::scenario(name).await;
        let summary =
            summary.unwrap_or_else(|problem| panic!("{name}: {problem}\nit is about this: {about}"));
        assert!(summary.ends_with("missed="), "{name} has not met all of its faults: {summary}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_trace() {
    let mut traces = BTreeSet::new();
    for seed in 0..REPEATED {
        traces.insert(sweep::twice(seed).await.unwrap_or_else(|problem| panic!("{problem}")));
    }
    assert_eq!(traces.len() as u64, REPEATED, "different seeds give the same trace");
}

/// As many seeds as the environment says; `scripts/sim.sh` sets it. By itself it has nothing to do.
#[tokio::test]
async fn the_sweep_of_the_environment() {
    if let Some(plan) = sweep::Plan::of_the_environment() {
        plan.carry_out().await.unwrap_or_else(|problem| panic!("{problem}"));
    }
}

/// One seed or scenario, chosen by the environment as the other tests do; by itself it runs one more seed.
#[test]
fn the_seed_of_the_environment() {
    let seed = std::env::var(SEED).ok().map(|seed| seed.parse().expect("the seed is a number"));
    let (seed, shape) = match std::env::var(SCENARIO) {
        Ok(name) => {
            let scenario = Scenario::named(&name);
            scenario.unwrap_or_else(|| panic!("there is no scenario {name:?}")).shape(seed)
        }
        Err(_) => {
            let seed = seed.unwrap_or(SEEDS.end);
            (seed, Shape::of(seed))
        }
    };
    let result = run::run(seed, &shape);
    let trace = trace::take();
    if let Some(path) = trace::wanted_at() {
        std::fs::write(&path, trace).unwrap_or_else(|error| panic!("write the trace to {path}: {error}"));
    }
    match result {
        Ok(summary) => println!("{summary}"),
        Err(problem) => panic!("{problem}"),
    }
}
