//! The command line: verbs over the client, for people and for scripts.
//!
//! It knows how arguments are written, how answers are shown, and the exit codes. It knows
//! nothing of nodes, retries or the rules of the ledger: what was decided, and why, is read from
//! the answers. Starting a node is parsed here and carried out by the program's `main`.

mod arguments;
mod cluster;
mod events;
mod failure;
mod hold;
mod output;
mod pages;
mod quota;
mod rejection;
mod scope;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::CommandFactory;
use clap::Parser;
use clap::Subcommand;
use uuid::Uuid;

use self::failure::Failure;
pub use self::output::Format;
use self::output::Output;
use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::new_request_id;
use crate::config::StartArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  error: not found, no node answered, the outcome is unknown
  2  usage: malformed arguments, or refused as malformed by the server
  3  denied: no room, or locked
  4  conflict: exists already, closed, another version or sequence, limits that do not fit

Every command that changes something carries a request id. When its outcome is unknown,
repeat it with the --request-id that was printed: it takes effect at most once.";

/// A replicated quota ledger: reserve before you use.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = EXIT_CODES)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The options that every client verb has.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Nodes to talk to; any of them will do
    #[arg(
        long,
        global = true,
        env = "QUORATE_ENDPOINTS",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103"
    )]
    pub endpoints: Vec<String>,

    /// How answers are shown
    #[arg(long, global = true, env = "QUORATE_OUTPUT", value_enum, default_value_t = Format::Table)]
    pub output: Format,

    /// Who asks; recorded in the event of every command [default: $USER]
    #[arg(long, global = true, env = "QUORATE_ACTOR", value_name = "NAME")]
    pub actor: Option<String>,

    /// Repeat an earlier command under its request id (a version 7 UUID): it takes effect once
    #[arg(long, global = true, value_name = "UUID", value_parser = arguments::request_id)]
    pub request_id: Option<Uuid>,

    /// How long to try, such as 10s or 500ms
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        value_parser = arguments::duration,
        default_value = "10s"
    )]
    pub timeout: Duration,

    /// The words of the command line after the name of the program, to show how to repeat it.
    #[arg(skip)]
    pub invocation: Vec<String>,
}

/// What the program is told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node
    Start(StartArgs),
    /// Make and show scopes, the nodes of the tree
    #[command(subcommand)]
    Scope(scope::ScopeCommand),
    /// Make and show resources, the things that are counted
    #[command(subcommand)]
    Resource(scope::ResourceCommand),
    /// Set, lock and show quotas
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// Reserve amounts: all lines or none
    Reserve(hold::ReserveArgs),
    /// Make a hold final: held becomes used
    Commit(hold::HoldArgs),
    /// Give back all that is live of a hold
    Release(hold::HoldArgs),
    /// Show holds
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Show what the ledger decided, denials included
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Form, show and change the cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// Which shell to complete for.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    shell: clap_complete::Shell,
}

/// Reads the command line. Ends the program on `--help`, `--version` and usage errors.
pub fn parse() -> (Global, Command) {
    let CommandLine { mut global, command } = CommandLine::parse();
    global.invocation = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // Completed here and not by clap, so that it is not taken for a value that somebody gave.
    global.actor = global
        .actor
        .or_else(|| std::env::var("USER").ok().filter(|user| user.is_ascii()))
        .filter(|actor| !actor.is_empty());
    (global, command)
}

/// Carries out a client verb, writes its answer, and says how it went.
pub async fn run(global: Global, command: Command) -> ExitCode {
    let mut output = Output::new(global.output, Box::new(std::io::stdout()));
    match carry_out(&global, command, &mut output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The exit code tells what happened even when nobody listens.
            let _ = write!(std::io::stderr(), "{}", failure.explain(&global.invocation));
            if global.output == Format::Json {
                let _ = output.line(&failure.json());
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What a verb needs besides its own arguments.
struct Context<'a> {
    client: Client,
    /// Given, or made for this command.
    request_id: Uuid,
    output: &'a mut Output,
}

async fn carry_out(global: &Global, command: Command, output: &mut Output) -> Result<(), Failure> {
    if global.request_id.is_some() && !command.has_request_id() {
        let message = "--request-id is for commands that change the ledger: this one has none, leave it out";
        return Err(Failure::Usage(message.to_owned()));
    }
    if let Command::Completions(arguments) = &command {
        return completions(arguments, output);
    }
    let options = ClientOptions {
        actor: global.actor.clone(),
        timeout: global.timeout,
        try_timeout: command.try_timeout(global.timeout),
        seed: None,
    };
    let client = Client::new(&global.endpoints, options)?;
    let request_id = global.request_id.unwrap_or_else(new_request_id);
    let mut context = Context { client, request_id, output };
    match command {
        Command::Scope(command) => command.run(&mut context).await,
        Command::Resource(command) => command.run(&mut context).await,
        Command::Quota(command) => command.run(&mut context).await,
        Command::Reserve(arguments) => arguments.run(&mut context).await,
        Command::Commit(arguments) => arguments.commit(&mut context).await,
        Command::Release(arguments) => arguments.release(&mut context).await,
        Command::Hold(command) => command.run(&mut context).await,
        Command::Events(command) => command.run(&mut context).await,
        Command::Cluster(command) => command.run(&mut context).await,
        Command::Start(_) | Command::Completions(_) => {
            Err(Failure::Usage("this is not a verb of the client: its caller carries it out".to_owned()))
        }
    }
}

impl Command {
    fn has_request_id(&self) -> bool {
        match self {
            Self::Reserve(_) | Self::Commit(_) | Self::Release(_) => true,
            Self::Scope(command) => command.has_request_id(),
            Self::Resource(command) => command.has_request_id(),
            Self::Quota(command) => command.has_request_id(),
            Self::Start(_) | Self::Hold(_) | Self::Events(_) | Self::Cluster(_) | Self::Completions(_) => {
                false
            }
        }
    }

    /// What reads or writes a whole state may take all the time there is on the first node.
    fn try_timeout(&self, timeout: Duration) -> Duration {
        match self {
            Self::Cluster(command) if command.is_long() => timeout,
            _ => ClientOptions::default().try_timeout,
        }
    }
}

fn completions(arguments: &CompletionsArgs, output: &mut Output) -> Result<(), Failure> {
    // Into memory first: the generator panics when what it writes to fails.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "quorate", &mut script);
    output.raw(&script)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(std::iter::once("quorate").chain(words.split(' ')))
    }

    #[test]
    fn the_definition_of_the_command_line_has_no_contradictions() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_behind_the_verb() {
        let line = parsed("scope get acme --output json --endpoints a:1,b:2 --timeout 500ms").expect("valid");
        assert_eq!(line.global.output, Format::Json);
        assert_eq!(line.global.endpoints, ["a:1", "b:2"]);
        assert_eq!(line.global.timeout, Duration::from_millis(500));
    }

    #[test]
    fn a_negative_delta_is_not_taken_for_an_option() {
        assert!(parsed("quota adjust acme gpu -2.5").is_ok());
        assert!(parsed("quota adjust acme gpu --if-version 3 -2.5").is_ok());
        assert!(parsed("quota adjust acme gpu -x").is_err());
    }

    #[test]
    fn malformed_arguments_are_usage_errors() {
        for words in [
            "reserve acme/ml",
            "reserve",
            "scope get acme --request-id 67e55044-10b1-426f-9247-bb680e5fe0c8",
            "scope get acme --timeout 10",
            "quota set acme gpu -1",
            "commit seventeen",
        ] {
            let error = parsed(words).expect_err(words);
            assert_eq!(error.exit_code(), 2, "{words}");
        }
    }

    #[test]
    fn only_commands_of_the_ledger_have_a_request_id() {
        let takes = |words| parsed(words).expect(words).command.has_request_id();
        assert!(takes("scope create acme"));
        assert!(takes("quota lock acme gpu --reason audit"));
        assert!(takes("reserve acme:gpu=1"));
        assert!(!takes("scope list"));
        assert!(!takes("quota get acme gpu"));
        assert!(!takes("cluster transfer 2"));
    }

    #[test]
    fn the_help_names_the_exit_codes() {
        let help = CommandLine::command().render_long_help().to_string();
        assert!(help.contains("3  denied") && help.contains("4  conflict"), "{help}");
    }
}
