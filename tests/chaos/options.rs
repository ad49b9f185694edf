//! What a run is asked to do. It comes from the environment: a test takes no words of its own.

use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::kind::Kind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Faults go on for at least so long, until each kind has happened and the goals are reached; and
    /// for at most so long. What comes after them is bounded too.
    pub seconds: u64,
    pub at_most: u64,
    /// The goals: how many processes are killed at least, and how many commands acknowledged.
    pub kills: usize,
    pub operations: usize,
    /// Where all chance comes from.
    pub seed: u64,
    /// These kinds alone; all that the machine can do when not said.
    pub faults: Option<Vec<Kind>>,
    /// No namespaces and no mounts, even where they are possible.
    pub loopback: bool,
    /// The data stays behind, also when all went well.
    pub keep: bool,
    /// What runs in the place of the program: the node for which its end is a loss of power.
    pub power: Option<PathBuf>,
    /// Another version of the program.
    pub other: Option<PathBuf>,
}

const SECONDS: &str = "QUORATE_CHAOS_SECONDS";
const AT_MOST: &str = "QUORATE_CHAOS_AT_MOST";
const KILLS: &str = "QUORATE_CHAOS_KILLS";
const OPERATIONS: &str = "QUORATE_CHAOS_OPERATIONS";
const SEED: &str = "QUORATE_CHAOS_SEED";
const FAULTS: &str = "QUORATE_CHAOS_FAULTS";
const LOOPBACK: &str = "QUORATE_CHAOS_LOOPBACK";
const KEEP: &str = "QUORATE_CHAOS_KEEP";
const POWER: &str = "QUORATE_CHAOS_POWER";
const OTHER: &str = "QUORATE_CHAOS_OTHER";

/// What is allowed for when nobody says how long it may take: ten times what a machine with nothing
/// else to do needs.
const EACH_KIND_SECONDS: u64 = 900;
const KILL_SECONDS: u64 = 10;
const OPERATIONS_PER_SECOND: u64 = 500;

impl Options {
    /// A run of so many seconds with a seed.
    pub fn of(seconds: u64, seed: u64) -> Self {
        let at_most = seconds + EACH_KIND_SECONDS;
        let (kills, operations, loopback, keep) = (0, 0, false, false);
        let (faults, power, other) = (None, None, None);
        Self { seconds, at_most, kills, operations, seed, faults, loopback, keep, power, other }
    }

    pub fn from_environment() -> Self {
        let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str| {
            let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number"));
            text(name).map(parse)
        };
        let count = |name: &str| usize::try_from(number(name).unwrap_or(0)).expect("a count");
        let kind = |name: &str| Kind::named(name).unwrap_or_else(|| panic!("{FAULTS}: no fault {name:?}"));
        let (kills, operations) = (count(KILLS), count(OPERATIONS));
        let seconds = number(SECONDS).unwrap_or(60);
        let goals = kills as u64 * KILL_SECONDS + operations as u64 / OPERATIONS_PER_SECOND;
        Self {
            seconds,
            at_most: number(AT_MOST).unwrap_or(seconds + EACH_KIND_SECONDS + goals),
            kills,
            operations,
            seed: number(SEED).unwrap_or_else(|| u64::from(std::process::id())),
            faults: text(FAULTS).map(|names| names.split(',').map(kind).collect()),
            loopback: text(LOOPBACK).is_some(),
            keep: text(KEEP).is_some(),
            power: text(POWER).map(PathBuf::from),
            other: text(OTHER).map(PathBuf::from),
        }
    }

    /// The same for another process.
    pub fn hand_to(&self, command: &mut Command) {
        for (name, number) in [
            (SECONDS, self.seconds),
            (AT_MOST, self.at_most),
            (KILLS, self.kills as u64),
            (OPERATIONS, self.operations as u64),
            (SEED, self.seed),
        ] {
            command.env(name, number.to_string());
        }
        command.env(FAULTS, self.fault_names());
        for (name, program) in [(POWER, &self.power), (OTHER, &self.other)] {
            command.env(name, program.as_deref().unwrap_or(Path::new("")));
        }
        for (name, said) in [(LOOPBACK, self.loopback), (KEEP, self.keep)] {
            command.env(name, if said { "yes" } else { "" });
        }
    }

    /// The line that runs it again.
    pub fn again(&self) -> String {
        let Self { seconds, at_most, seed, .. } = self;
        let mut line = format!("scripts/chaos.sh --seconds {seconds} --at-most {at_most} --seed {seed}");
        for (flag, goal) in [("--kills", self.kills), ("--operations", self.operations)] {
            if goal > 0 {
                line.push_str(&format!(" {flag} {goal}"));
            }
        }
        if self.faults.is_some() {
            line.push_str(&format!(" --faults {}", self.fault_names()));
        }
        for (flag, said) in [("--loopback", self.loopback), ("--power", self.power.is_some())] {
            if said {
                line.push_str(&format!(" {flag}"));
            }
        }
        // The script names it by its revision.
        if let Some(revision) = self.other.as_deref().and_then(Path::file_name) {
            line.push_str(&format!(" --other {}", revision.display()));
        }
        line
    }

    fn fault_names(&self) -> String {
        let names: Vec<_> = self.faults.iter().flatten().map(|kind| kind.name()).collect();
        names.join(",")
    }
}
