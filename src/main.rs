//! The program: hands what the command line says to the one that does it.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use quorate::cli;
use quorate::cli::Command;
use quorate::clock::SystemClock;
use quorate::config;
use quorate::config::Config;
use quorate::config::StartArgs;
use quorate::net::TcpNet;
use quorate::planted;
use quorate::rng::SystemRng;
use quorate::server;
use quorate::store::rocks::RocksStore;
use quorate::telemetry;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if planted::POSSIBLE {
        return fail(
            "this program was built with planted bugs, for the simulation; build it without: cargo build --release",
        );
    }
    let (global, command) = cli::parse();
    match command {
        Command::Start(arguments) => start(&arguments),
        command => run(global, command),
    }
}

/// The client verbs wait for one call at a time: one thread is enough.
fn run(global: cli::Global, command: Command) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(global, command)),
        Err(error) => fail(&format!("start the runtime: {error}")),
    }
}

fn start(arguments: &StartArgs) -> ExitCode {
    let config = match config::load(arguments) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    if let Err(error) = telemetry::init(&config.log) {
        return fail(&error.to_string());
    }
    abort_on_panic();
    // Without a LIFO slot a task that was just woken can be taken by any worker. Otherwise a worker
    // that is busy with the disk would keep the consensus engine waiting.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores() + LONG_WORK)
        .disable_lifo_slot()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("start the runtime: {error}")),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// How much of what a node does can take long without a pause: applying a large entry, folding its events.
/// Heartbeats must not wait for it, so there are workers for it besides those that the machine has cores for.
const LONG_WORK: usize = 2;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn serve(config: Config) -> Result<(), String> {
    let handler = |kind| signal(kind).map_err(|error| format!("listen for signals: {error}"));
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    let parts = server::Parts {
        store: Box::new(RocksStore::new(config.data_dir.clone())),
        clock: Arc::new(SystemClock),
        net: Arc::new(TcpNet),
        rng: Arc::new(SystemRng),
    };
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    server::run(config, parts, stop).await.map_err(|error| error.to_string())
}

/// A panic is a broken invariant, in whatever task it happens: the node must not go on with the
/// others.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn fail(message: &str) -> ExitCode {
    // There is nowhere left to say it when this cannot be written.
    drop(writeln!(std::io::stderr(), "error: {message}"));
    ExitCode::FAILURE
}
