//! The program: hands what the command line says to the one that does it.

use std::io::Write;
use std::process::ExitCode;

use quorate::cli;
use quorate::cli::Command;
use quorate::cli::StartArgs;

fn main() -> ExitCode {
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
        Err(error) => fail(&format!("starting the runtime: {error}")),
    }
}

fn start(arguments: &StartArgs) -> ExitCode {
    fail(&format!("this build has no server to start with {}", arguments.config.display()))
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::FAILURE
}
