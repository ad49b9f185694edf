//! Many seeds, each in a process of its own, a few at a time, and what they have met together.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::archive::Removals;
use crate::deadlines::spans::Spans;
use crate::faults::Fault;
use crate::reads::Met;

/// The environment of one run, …
pub const SEED: &str = "QUORATE_SIMULATION_SEED";
pub const SCENARIO: &str = "QUORATE_SIMULATION_SCENARIO";
pub const TRACE: &str = "QUORATE_SIMULATION_TRACE";

/// … and of a sweep: the first seed, how many at most, for how long at most, and of how many of them a
/// second run must be the same.
const FIRST: &str = "QUORATE_SIMULATION_FIRST";
const SEEDS: &str = "QUORATE_SIMULATION_SEEDS";
const MINUTES: &str = "QUORATE_SIMULATION_MINUTES";
const TWICE: &str = "QUORATE_SIMULATION_TWICE";

/// How often a sweep says how far it is.
const REPORT: Duration = Duration::from_secs(20);

/// So few runs need not meet everything.
const FEW: u64 = 40;

/// What a sweep of many seeds is to do.
pub struct Plan {
    first: u64,
    seeds: u64,
    minutes: Option<u64>,
    twice: u64,
}

impl Plan {
    /// `None` unless something asks for one.
    pub fn of_the_environment() -> Option<Self> {
        let number = |name| {
            let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
            Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; it must be a number")))
        };
        let (seeds, minutes) = (number(SEEDS), number(MINUTES));
        if seeds.is_none() && minutes.is_none() {
            return None;
        }
        Some(Self {
            first: number(FIRST).unwrap_or_default(),
            seeds: seeds.unwrap_or(u64::MAX / 2),
            minutes,
            twice: number(TWICE).unwrap_or_default(),
        })
    }

    /// Runs until the seeds or the minutes are over, and tells what was met.
    pub async fn carry_out(self) -> Result<(), String> {
        let deadline = self.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
        let seeds = self.first..self.first + self.seeds;
        let sweep = Sweep::run(seeds, |now| deadline.is_some_and(|deadline| now > deadline)).await;
        print!("{sweep}");
        sweep.check()?;
        for seed in self.first..self.first + self.twice {
            twice(seed).await?;
        }
        if self.twice > 0 {
            println!("{} seeds were run twice, and gave the same trace", self.twice);
        }
        Ok(())
    }
}

/// What was met by the seeds so far.
pub struct Sweep {
    began: Instant,
    seeds: u64,
    failures: BTreeMap<u64, String>,
    spans: Spans,
    met: Met,
    removals: Removals,
    /// Sums of what runs say of themselves in numbers.
    sums: BTreeMap<String, u64>,
    injected: BTreeMap<String, u64>,
    /// Runs in which a fault found nobody to meet: they do not count.
    incomplete: u64,
}

impl Sweep {
    /// Runs seeds, as many at once as there are processors, until one fails or `is_over`.
    pub async fn run(seeds: std::ops::Range<u64>, is_over: impl Fn(Instant) -> bool) -> Self {
        let began = Instant::now();
        let mut sweep = Self {
            began,
            seeds: 0,
            failures: BTreeMap::new(),
            spans: Spans::default(),
            met: Met::default(),
            removals: Removals::default(),
            sums: BTreeMap::new(),
            injected: Fault::ALL.iter().map(|fault| (format!("{fault:?}"), 0)).collect(),
            incomplete: 0,
        };
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let dir = tempfile::tempdir().expect("a folder can be made");
        let mut runs = JoinSet::new();
        let mut next = seeds.start;
        let mut reported = began;
        loop {
            while runs.len() < at_once
                && next < seeds.end
                && sweep.failures.is_empty()
                && !is_over(Instant::now())
            {
                let trace = dir.path().join(next.to_string());
                runs.spawn(async move { (next, one(next, &trace).await, trace) });
                next += 1;
            }
            let Some(ended) = runs.join_next().await else {
                return sweep;
            };
            let (seed, result, trace) = ended.expect("a run is waited for");
            sweep.add(seed, result, &trace);
            if reported.elapsed() > REPORT {
                reported = Instant::now();
                println!("{} seeds in {:.0} s", sweep.seeds, began.elapsed().as_secs_f64());
            }
        }
    }

    fn add(&mut self, seed: u64, result: Result<String, String>, path: &Path) {
        let summary = match result {
            Ok(summary) => summary,
            Err(problem) => {
                self.failures.insert(seed, problem);
                return;
            }
        };
        let trace = std::fs::read_to_string(path).expect("the trace was written");
        std::fs::remove_file(path).expect("the trace can be removed");
        self.spans.add_trace(&trace);
        self.met.add_trace(&trace);
        self.removals.add_trace(&trace);
        for (name, value) in summary.split_whitespace().filter_map(|word| word.split_once('=')) {
            match name {
                "injected" => {
                    for fault in value.split(',').filter(|fault| !fault.is_empty()) {
                        *self.injected.entry(fault.to_owned()).or_default() += 1;
                    }
                }
                "missed" => self.incomplete += u64::from(!value.is_empty()),
                name => {
                    let value: u64 = value.parse().expect("a run tells numbers");
                    *self.sums.entry(name.to_owned()).or_default() += value;
                }
            }
        }
        self.seeds += 1;
    }

    /// Whether all runs have passed, and whether there were enough of everything.
    pub fn check(&self) -> Result<(), String> {
        if let Some((seed, problem)) = self.failures.iter().next() {
            return Err(format!(
                "seed {seed} failed; to see it again: scripts/sim.sh --replay {seed}\n{problem}"
            ));
        }
        if self.seeds < FEW {
            return Ok(());
        }
        let unseen: Vec<_> = self.injected.iter().filter(|(_, count)| **count == 0).collect();
        let words = self.met.missing().into_iter().chain(self.removals.missing());
        let missing: Vec<String> = self.spans.missing().into_iter().chain(words.map(str::to_owned)).collect();
        if unseen.is_empty() && missing.is_empty() {
            return Ok(());
        }
        Err(format!("what these runs are for did not occur in any: {unseen:?} {missing:?}"))
    }
}

impl std::fmt::Display for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.began.elapsed().as_secs_f64();
        let sum = |name: &str| self.sums.get(name).copied().unwrap_or_default();
        let complete = self.seeds - self.incomplete;
        writeln!(f, "{} seeds in {seconds:.0} s, {:.2} seeds/s", self.seeds, self.seeds as f64 / seconds)?;
        writeln!(f, "{complete} of them met every fault of their shape; the others do not count")?;
        writeln!(
            f,
            "{} s of simulated time, {:.0} ticks a seed; {} commands, {} reads, {} small histories, {} events",
            sum("ticks") / 1_000,
            sum("ticks") as f64 / self.seeds.max(1) as f64,
            sum("commands"),
            sum("reads"),
            sum("histories"),
            sum("events"),
        )?;
        writeln!(f, "faults injected:")?;
        for (fault, count) in &self.injected {
            writeln!(f, "  {count:>6} {fault}")?;
        }
        writeln!(f, "  {:>6} batches torn by a loss of power", sum("torn"))
    }
}

/// Runs a seed in a process of its own, which writes its trace. Returns what it says of itself.
async fn one(seed: u64, trace: &Path) -> Result<String, String> {
    process((SEED, &seed.to_string()), trace).await
}

/// The same of a scenario.
pub async fn scenario(name: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().expect("a folder can be made");
    process((SCENARIO, name), &dir.path().join("trace")).await
}

async fn process((name, value): (&str, &str), trace: &Path) -> Result<String, String> {
    let Output { status, stdout, stderr } =
        Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", "the_seed_of_the_environment", "--nocapture"])
            .env(name, value)
            .env(TRACE, trace)
            .kill_on_drop(true)
            .output()
            .await
            .expect("this test can be started again");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    if !status.success() {
        return Err(format!("{status}\n{stdout}\n{stderr}"));
    }
    let summary = stdout.lines().find(|line| line.starts_with("run: "));
    summary.map(str::to_owned).ok_or_else(|| format!("it does not say what it was like:\n{stdout}"))
}

/// Runs a seed twice, and returns its trace if it is the same.
pub async fn twice(seed: u64) -> Result<String, String> {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let paths = ["first", "second"].map(|name| dir.path().join(name));
    let (one, other) = tokio::join!(one(seed, &paths[0]), one(seed, &paths[1]));
    let failed = |problem| format!("seed {seed} failed: {problem}");
    one.and(other).map_err(failed)?;
    let [first, second] = paths.map(|path| std::fs::read_to_string(path).expect("the trace was written"));
    let mut lines = first.lines().zip(second.lines()).zip(1..);
    if let Some(((first, second), number)) = lines.find(|((first, second), _)| first != second) {
        return Err(format!("seed {seed} differs in line {number}:\n{first}\n{second}"));
    }
    if first.len() != second.len() {
        return Err(format!("seed {seed}: one trace goes on after the other has ended"));
    }
    if first.lines().count() < 10_000 {
        return Err(format!("seed {seed}: there is hardly anything to compare"));
    }
    Ok(first)
}
