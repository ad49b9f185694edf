//! The verb that measures a cluster.
//!
//! Knows how a measurement is asked for, and how it is shown. What is measured, and how, is
//! [`crate::bench`].

mod arguments;
mod plot;
mod progress;
mod show;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use self::progress::Bar;
use super::Failure;
use super::Global;
use super::Output;
use super::times::timeout;
use crate::bench;
use crate::bench::BenchError;
use crate::bench::Observer;
use crate::bench::Place;
use crate::bench::Plan;
use crate::bench::Report;
use crate::bench::Shape;
use crate::bench::Skew;
use crate::bench::Target;
use crate::bench::Work;
use crate::client::ClientOptions;
use crate::client::Read;

const HELP: &str = "\
With --spawn 3 it starts three nodes of this program on this machine, with the configuration that
everybody starts with, and removes them at the end. Otherwise it asks the nodes of --endpoints,
and leaves a tree named bench-… behind, with the holds that were made; give them a --ttl there.

One thread asks, from this machine. Latency is that of a call, from when it should have begun: at a
fixed --rate that may be long before it did. Throughput is what was granted or answered; what was
denied, refused or unknown is counted by itself.

Examples:
  quorate bench unary --spawn 3
  quorate bench batch --size 8192 --clients 2 --spawn 3 --duration 30s
  quorate bench stream --window 16 --clients 64 --spawn 3
  quorate bench read --clients 64 --spawn 3
  quorate bench unary --rate 5000 --clients 64 --duration 1m --plot unary.svg --spawn 3
  quorate bench failover --kills 50 --spawn 3
  quorate bench recovery --events 1000000 --holds 100000 --spawn 3
  quorate bench in-process

Exit codes:
  0  measured
  1  nothing was measured: no node answers, or nothing of what was asked for was done
  2  usage";

/// Measure what a cluster can do.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct BenchArgs {
    #[command(subcommand)]
    mode: Mode,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// One reservation per call, each client waiting for its answer
    Unary,
    /// Many reservations per call
    Batch {
        /// Reservations in a call
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=8_192))]
        size: u16,
    },
    /// A stream of reservations per client
    Stream {
        /// Reservations under way on a stream
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4_096))]
        window: u16,
    },
    /// Reads of a quota, one per call
    Read {
        /// How new an answer must be: 'linearizable', 'at-least=REVISION' or 'max-lag=DURATION'
        #[arg(long, value_name = "HOW", default_value = "linearizable", value_parser = arguments::consistency)]
        consistency: Read,
    },
    /// Holds through their life, one call at a time: reserved, and committed, released or left to expire
    Mixed,
    /// Reservations, and how long they take to reach those who watch
    Watch {
        /// How many watch
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        watchers: u16,
    },
    /// Kill the leader, again and again: how long until the next grant; needs --spawn
    Failover {
        /// How often
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        kills: u16,
    },
    /// Kill and start a node with much to remember: how long until it serves; needs --spawn
    Recovery {
        /// Events that it has
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        events: u64,
        /// Holds that are live
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
        holds: u64,
        /// How often it is started
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        restarts: u16,
    },
    /// How much larger nodes are with the quotas of the tree; needs --spawn
    Memory,
    /// The rules alone, in this process: no log, no disk, no network
    InProcess {
        /// Reservations that are decided together
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=8_192))]
        size: u16,
    },
}

/// What all modes are told.
#[derive(Debug, Args)]
struct Common {
    /// Start so many nodes on this machine and measure those, instead of --endpoints
    #[arg(long, global = true, value_name = "NODES", value_parser = clap::value_parser!(u64).range(1..=9))]
    spawn: Option<u64>,
    /// Where started nodes keep their data, in a new directory [default: that for temporary files]
    #[arg(long, global = true, value_name = "DIRECTORY", requires = "spawn")]
    data_dir: Option<PathBuf>,
    /// Leave the data and the logs of started nodes behind
    #[arg(long, global = true, requires = "spawn")]
    keep: bool,
    /// How many ask at once [default: 64; of batch: 1]
    #[arg(long, global = true, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: Option<u32>,
    /// Connections to each node that is asked, shared by the clients
    #[arg(long, global = true, value_name = "COUNT", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=1_024))]
    connections: u16,
    /// Which nodes are asked [default: leader; of read: all]
    #[arg(long, global = true, value_enum)]
    to: Option<To>,
    /// Leaves of the tree [default: 1000; of memory: 10000]
    #[arg(long, global = true, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    scopes: Option<u32>,
    /// Levels of the tree, the root's and that of the leaves included; each has a quota
    #[arg(long, global = true, value_name = "LEVELS", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=16))]
    depth: u8,
    /// How leaves are picked: 'uniform', 'zipf', 'zipf=EXPONENT' or 'hot', which is always the same
    #[arg(long, global = true, default_value = "uniform", value_parser = arguments::skew)]
    skew: Skew,
    /// Bytes of labels on each hold
    #[arg(long, global = true, value_name = "BYTES", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=1_008))]
    payload: u16,
    /// How long each hold lives [default: until it is released]
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout)]
    ttl: Option<Duration>,
    /// How long to ask before it counts [default: a fifth of --duration; none with --count]
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout)]
    warm_up: Option<Duration>,
    /// How long to measure
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout, default_value = "10s")]
    duration: Duration,
    /// End after so many calls, at the latest after --duration
    #[arg(long, global = true, value_name = "CALLS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Calls per second, all clients together [default: as many as are answered]
    #[arg(long, global = true, value_name = "CALLS", value_parser = arguments::rate)]
    rate: Option<f64>,
    /// Draw throughput and latency over time into this SVG file
    #[arg(long, global = true, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Of the random picks: the same seed, the same picks
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// The node that leads: nothing is forwarded
    Leader,
    /// Every node, by as many clients each
    All,
}

impl BenchArgs {
    pub(super) async fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let plan = self.plan(global)?;
        let bar = Arc::new(Bar::new(std::io::stderr().is_terminal()));
        let observer: Arc<dyn Observer> = Arc::<Bar>::clone(&bar);
        // Before the first node is started, which must not outlive this program.
        let mut stop = Stop::listen()?;
        let report = tokio::select! {
            report = bench::measure(&plan, observer) => report,
            signal = stop.wanted() => {
                Err(BenchError::Plan(format!("stopped by {signal}: nothing was measured")))
            }
        };
        bar.end();
        let report = report?;
        show::show(&report, output)?;
        if let Some(path) = &self.common.plot {
            plot::draw(&report, path)?;
        }
        verdict(&report)
    }

    fn plan(&self, global: &Global) -> Result<Plan, Failure> {
        let common = &self.common;
        let work = self.mode.work();
        let (clients, target) = match work {
            Work::Batch { .. } => (1, Target::Leader),
            Work::Read { .. } => (64, Target::All),
            _ => (64, Target::Leader),
        };
        let leaves = common.scopes.unwrap_or(if work == Work::Memory { 10_000 } else { 1_000 });
        self.check(&work, leaves)?;
        let target = match common.to {
            None => target,
            Some(To::Leader) => Target::Leader,
            Some(To::All) => Target::All,
        };
        let place = match common.spawn {
            None => Place::Running(global.endpoints.clone()),
            Some(nodes) => {
                let directory = common.data_dir.clone();
                Place::Spawn { nodes, directory, keep: common.keep }
            }
        };
        let warm_up = match (common.warm_up, common.count) {
            (Some(given), _) => given,
            (None, Some(_)) => Duration::ZERO,
            (None, None) => common.duration / 5,
        };
        Ok(Plan {
            place,
            work,
            shape: Shape { depth: common.depth.into(), leaves: leaves as usize },
            skew: common.skew,
            clients: common.clients.map_or(clients, |clients| clients as usize),
            connections: common.connections.into(),
            target,
            warm_up,
            duration: common.duration,
            count: common.count,
            rate: common.rate,
            payload: common.payload.into(),
            ttl: common.ttl,
            seed: common.seed,
            client: ClientOptions {
                actor: global.actor.clone(),
                reason: global.why.clone(),
                timeout: global.timeout,
                // What is large takes long when it is asked for by many at once.
                try_timeout: global.timeout,
                seed: None,
            },
        })
    }

    /// What cannot be measured together.
    fn check(&self, work: &Work, leaves: u32) -> Result<(), Failure> {
        let common = &self.common;
        let is_calls = !work.needs_own_nodes() && !matches!(work, Work::InProcess { .. });
        let nodes = common.spawn.unwrap_or_default();
        let problem = match work {
            _ if common.depth == 1 && leaves != 1 => {
                "--depth 1 is a root alone: give --scopes 1 with it, or --depth 2 and more"
            }
            _ if work.needs_own_nodes() && nodes == 0 => {
                "this kills nodes: it needs some that are started for it, give --spawn 3"
            }
            Work::Failover { .. } | Work::Recovery { .. } if nodes < 3 => {
                "with fewer than three nodes nothing goes on when one is killed: give --spawn 3"
            }
            Work::Recovery { events, holds, .. } if holds > events => {
                "each live hold was made by an event: give at least as many --events as --holds"
            }
            Work::InProcess { .. } if nodes > 0 => "in-process needs no nodes: leave --spawn out",
            _ if !is_calls && common.plot.is_some() => {
                "this mode has nothing over time: leave --plot out, or choose one that makes calls"
            }
            _ if !is_calls && common.rate.is_some() => {
                "this mode makes no calls at a rate: leave --rate out, or choose one that does"
            }
            _ => return Ok(()),
        };
        Err(Failure::Usage(problem.to_owned()))
    }
}

impl Mode {
    fn work(&self) -> Work {
        match *self {
            Self::Unary => Work::Unary,
            Self::Batch { size } => Work::Batch { size: size.into() },
            Self::Stream { window } => Work::Stream { window: window.into() },
            Self::Read { consistency } => Work::Read { read: consistency },
            Self::Mixed => Work::Mixed,
            Self::Watch { watchers } => Work::Watch { watchers: watchers.into() },
            Self::Failover { kills } => Work::Failover { kills: kills.into() },
            Self::Recovery { events, holds, restarts } => {
                Work::Recovery { events, holds, restarts: restarts.into() }
            }
            Self::Memory => Work::Memory,
            Self::InProcess { size } => Work::InProcess { size: size.into() },
        }
    }
}

/// A measurement of nothing is no success.
fn verdict(report: &Report) -> Result<(), Failure> {
    if report.outcomes.useful() > 0 {
        return Ok(());
    }
    let problem = report.problem.clone().unwrap_or_else(|| "no call was answered in time".to_owned());
    Err(BenchError::Plan(format!("nothing of what was asked for was done: {problem}")).into())
}

/// Somebody may want the program to end.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    /// From now on a signal does not end the program by itself.
    fn listen() -> Result<Self, BenchError> {
        let handler = |kind| signal(kind).map_err(BenchError::machine("listen for", "signals"));
        Ok(Self {
            interrupt: handler(SignalKind::interrupt())?,
            terminate: handler(SignalKind::terminate())?,
            hang_up: handler(SignalKind::hangup())?,
        })
    }

    /// Waits until somebody does, and says how.
    async fn wanted(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
