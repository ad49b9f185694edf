//! The verb that measures a cluster.
//!
//! Knows how a measurement is asked for, and how it is shown. What is measured, and how, is
//! [`crate::bench`].

mod arguments;
mod progress;
mod show;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;
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
  quorate bench unary --rate 5000 --clients 64 --warm-up 5s --output json

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
    /// Reads of a quota
    Read {
        #[command(flatten)]
        consistency: Consistency,
    },
}

/// How new answers must be.
#[derive(Debug, Clone, Copy, Args)]
struct Consistency {
    /// How new an answer must be: 'linearizable', 'at-least=REVISION' or 'max-lag=DURATION'
    #[arg(long, value_name = "HOW", default_value = "linearizable", value_parser = arguments::consistency)]
    consistency: Read,
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
    /// Leaves of the tree
    #[arg(long, global = true, value_name = "COUNT", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    scopes: u32,
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
        let report = tokio::select! {
            report = bench::measure(&plan, observer) => report,
            signal = stop() => Err(BenchError::Plan(format!("stopped by {}: nothing was measured", signal?))),
        };
        bar.end();
        let report = report?;
        show::show(&report, output)?;
        verdict(&report)
    }

    fn plan(&self, global: &Global) -> Result<Plan, Failure> {
        let common = &self.common;
        let Common { depth, scopes, .. } = *common;
        if depth == 1 && scopes != 1 {
            let problem = "--depth 1 is a root alone: give --scopes 1 with it, or --depth 2 and more";
            return Err(Failure::Usage(problem.to_owned()));
        }
        let (work, clients, target) = match self.mode {
            Mode::Unary => (Work::Unary, 64, Target::Leader),
            Mode::Batch { size } => (Work::Batch { size: size.into() }, 1, Target::Leader),
            Mode::Stream { window } => (Work::Stream { window: window.into() }, 64, Target::Leader),
            Mode::Read { consistency } => (Work::Read { read: consistency.consistency }, 64, Target::All),
        };
        let target = match common.to {
            None => target,
            Some(To::Leader) => Target::Leader,
            Some(To::All) => Target::All,
        };
        let place = match common.spawn {
            None => Place::Running(global.endpoints.clone()),
            Some(nodes) => Place::Spawn { nodes, directory: common.data_dir.clone(), keep: common.keep },
        };
        let warm_up = match (common.warm_up, common.count) {
            (Some(given), _) => given,
            (None, Some(_)) => Duration::ZERO,
            (None, None) => common.duration / 5,
        };
        Ok(Plan {
            place,
            work,
            shape: Shape { depth: depth.into(), leaves: scopes as usize },
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
}

/// A measurement of nothing is no success.
fn verdict(report: &Report) -> Result<(), Failure> {
    if report.outcomes.useful() > 0 {
        return Ok(());
    }
    let problem = report.problem.clone().unwrap_or_else(|| "no call was answered in time".to_owned());
    Err(BenchError::Plan(format!("nothing of what was asked for was done: {problem}")).into())
}

/// Waits until somebody wants the program to end, and says how.
async fn stop() -> Result<&'static str, BenchError> {
    let handler = |kind| signal(kind).map_err(BenchError::machine("listen for", "signals"));
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    let mut hang_up = handler(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hang_up.recv() => "SIGHUP",
    })
}
