//! The command line: verbs over the client, for people and for scripts.
//!
//! It knows how arguments are written, how answers are shown, and the exit codes. It knows
//! nothing of nodes, retries or the rules of the ledger: what was decided, and why, is read from
//! the answers. Starting a node is parsed here and carried out by the program's `main`.

mod arguments;
mod audit;
mod batch;
mod bench;
mod cluster;
mod document;
mod event_text;
mod events;
mod failure;
mod hold;
mod output;
mod pages;
mod plan;
mod policy;
mod preview;
mod quota;
mod quota_view;
mod read;
mod reserve;
mod resource;
mod scope;
mod template;
mod times;
mod usage;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::CommandFactory;
use clap::Parser;
use clap::Subcommand;
use uuid::Uuid;

pub use self::document::command_from_json;
pub use self::document::plan_from_document;
pub use self::document::plan_to_document;
use self::failure::Failure;
pub use self::output::Format;
use self::output::Output;
use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::new_request_id;
use crate::client::request_time_ms;
use crate::config::StartArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  error: not found, more digits than can be counted, no node answered, the outcome is unknown
  2  usage: malformed arguments, or refused as malformed by the server
  3  denied: no room, or locked
  4  conflict: exists already, closed, in use, another version or sequence, limits that do not fit
  5  differs: `diff` found that a document says something else than what is there, or
     `template drift` that a template does

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

    /// Why; recorded in the event of every command
    #[arg(long, global = true, env = "QUORATE_WHY", value_name = "TEXT")]
    pub why: Option<String>,

    /// Repeat an earlier command under its request id (a version 7 UUID): it takes effect once
    #[arg(long, global = true, value_name = "UUID", value_parser = arguments::request_id)]
    pub request_id: Option<Uuid>,

    /// How long to try, such as 10s or 500ms; at most 24h
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        value_parser = times::timeout,
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
    /// Make, move, remove and show scopes, the nodes of the tree
    #[command(subcommand)]
    Scope(scope::ScopeCommand),
    /// Make and show resources, the things that are counted
    #[command(subcommand)]
    Resource(resource::ResourceCommand),
    /// Set, schedule, lock, transfer and show quotas
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// Make, apply and show templates, policies under a name
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// Make everything as a document says, all or nothing
    Apply(plan::ApplyArgs),
    /// Show what apply would change
    Diff(plan::DiffArgs),
    /// Write what is there as a document for apply: YAML, or JSON with --output json
    Export(plan::ExportArgs),
    /// Reserve amounts: all lines or none
    Reserve(Box<reserve::ReserveArgs>),
    /// Make a hold final, or a part of it: held becomes used
    Commit(hold::CommitArgs),
    /// Give back what is live of a hold, or a part of it
    Release(hold::ReleaseArgs),
    /// Let a hold live longer, or shorter, from now on
    Renew(hold::RenewArgs),
    /// Change how much a hold takes
    Resize(hold::ResizeArgs),
    /// Show holds
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Carry out the commands of a file
    Batch(batch::BatchArgs),
    /// Show what the ledger decided, denials included
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Show what is taken, by whom, since when, and what was not granted
    #[command(subcommand)]
    Usage(usage::UsageCommand),
    /// Show the events of a quota, a hold or a job
    #[command(subcommand)]
    History(usage::HistoryCommand),
    /// Show and renew what a node makes of the events
    #[command(subcommand)]
    Projection(usage::ProjectionCommand),
    /// Check an export of events, without any node
    Verify(audit::VerifyArgs),
    /// Rebuild the state from an export of events, without any node
    Replay(audit::ReplayArgs),
    /// Form, show and change the cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Measure what a cluster can do
    Bench(Box<bench::BenchArgs>),
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
            let _ = write!(std::io::stderr(), "{}", failure.explain(&global.invocation, now_ms()));
            if let Some(json) = failure.json().filter(|_| global.output == Format::Json) {
                let _ = output.line(&json);
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

impl Context<'_> {
    /// When the command was first given, which its request id says: a repeat that counts from now
    /// ("+2h") is the same command.
    fn command_ms(&self) -> u64 {
        request_time_ms(self.request_id)
    }

    /// Now, to tell people how far away a time is.
    fn now_ms(&self) -> u64 {
        now_ms()
    }
}

/// Now, by the clock that makes request ids.
fn now_ms() -> u64 {
    request_time_ms(new_request_id())
}

async fn carry_out(global: &Global, command: Command, output: &mut Output) -> Result<(), Failure> {
    if global.request_id.is_some() && !command.has_request_id() {
        let message = "--request-id is for commands that change the ledger: this one has none, leave it out";
        return Err(Failure::Usage(message.to_owned()));
    }
    // These need no node.
    match &command {
        Command::Completions(arguments) => return completions(arguments, output),
        Command::Verify(arguments) => return arguments.run(output),
        Command::Replay(arguments) => return arguments.run(output),
        // This one has its own clients, and may start its own nodes.
        Command::Bench(arguments) => return arguments.run(global, output).await,
        _ => {}
    }
    let options = ClientOptions {
        actor: global.actor.clone(),
        reason: global.why.clone(),
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
        Command::Template(command) => command.run(&mut context).await,
        Command::Apply(arguments) => arguments.run(&mut context).await,
        Command::Diff(arguments) => arguments.run(&mut context).await,
        Command::Export(arguments) => arguments.run(&mut context).await,
        Command::Reserve(arguments) => arguments.run(&mut context).await,
        Command::Commit(arguments) => arguments.run(&mut context).await,
        Command::Release(arguments) => arguments.run(&mut context).await,
        Command::Renew(arguments) => arguments.run(&mut context).await,
        Command::Resize(arguments) => arguments.run(&mut context).await,
        Command::Batch(arguments) => arguments.run(&mut context).await,
        Command::Hold(command) => command.run(&mut context).await,
        Command::Events(command) => command.run(&mut context).await,
        Command::Usage(command) => command.run(&mut context).await,
        Command::History(command) => command.run(&mut context).await,
        Command::Projection(command) => command.run(&mut context).await,
        Command::Cluster(command) => command.run(&mut context).await,
        Command::Start(_)
        | Command::Completions(_)
        | Command::Verify(_)
        | Command::Replay(_)
        | Command::Bench(_) => {
            Err(Failure::Usage("this is not a verb of the client: its caller carries it out".to_owned()))
        }
    }
}

impl Command {
    fn has_request_id(&self) -> bool {
        match self {
            Self::Apply(_) => true,
            Self::Commit(hold::CommitArgs { preview, .. })
            | Self::Release(hold::ReleaseArgs { preview, .. })
            | Self::Renew(hold::RenewArgs { preview, .. })
            | Self::Resize(hold::ResizeArgs { preview, .. }) => !preview.is_wanted(),
            Self::Batch(arguments) => arguments.has_request_id(),
            Self::Reserve(arguments) => arguments.has_request_id(),
            Self::Scope(command) => command.has_request_id(),
            Self::Resource(command) => command.has_request_id(),
            Self::Quota(command) => command.has_request_id(),
            Self::Template(command) => command.has_request_id(),
            Self::Events(command) => command.has_request_id(),
            Self::Start(_)
            | Self::Hold(_)
            | Self::Verify(_)
            | Self::Replay(_)
            | Self::Usage(_)
            | Self::History(_)
            | Self::Projection(_)
            | Self::Cluster(_)
            | Self::Bench(_)
            | Self::Diff(_)
            | Self::Export(_)
            | Self::Completions(_) => false,
        }
    }

    /// What reads or writes a whole state may take all the time there is on the first node.
    fn try_timeout(&self, timeout: Duration) -> Duration {
        match self {
            Self::Cluster(command) if command.is_long() => timeout,
            // A checkpoint reads the whole state.
            Self::Events(_) => timeout,
            // What is large may take long.
            Self::Apply(_) | Self::Diff(_) | Self::Export(_) | Self::Batch(_) => timeout,
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
            "commit 17 --keep-rest",
            "batch -f - --preview",
            "quota set acme gpu",
            "quota set acme gpu 5 --at tomorrow",
            "quota override acme gpu 5",
            "renew 17",
            "resize 17",
            "batch",
            "scope update acme --label a=b --no-labels",
            "events list --since tomorrow",
            "events list --request 17",
            "events list --from 0",
            "events tail --from 7 --since-start",
            "scope get acme --at-least 5 --at 5",
            "quota list --max-lag 5s --at-least 3",
            "hold list --at tomorrow",
            "reserve acme:gpu=1 --at-least 3",
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
        assert!(takes("batch -f -") && takes("apply -f plan.yaml") && takes("quota set acme gpu 5"));
        assert!(!takes("quota set acme gpu 5 --preview") && !takes("diff -f plan.yaml"));
        assert!(!takes("reserve acme:gpu=1 --check") && !takes("scope delete acme --preview"));
        assert!(!takes("commit 3 --preview") && !takes("batch -f - --atomic --preview"));
        assert!(!takes("scope list"));
        assert!(!takes("quota get acme gpu"));
        assert!(!takes("cluster transfer 2"));
    }

    #[test]
    fn every_verb_that_reads_can_say_how_new_the_answer_must_be() {
        let verbs = "scope get acme,scope list,resource list,quota get acme gpu,quota list acme,template get a,\
                     template list,template drift,export acme,hold get 3,hold list acme,events list";
        for verb in verbs.split(',') {
            for read in ["--at-least 7", "--max-lag 500ms", "--at 7", "--at -2h", "--at 2026-11-21T12:00:00Z"]
            {
                assert!(parsed(&format!("{verb} {read}")).is_ok(), "{verb} {read}");
            }
        }
    }

    #[test]
    fn a_patch_needs_no_limit() {
        assert!(parsed("quota set acme gpu --patch --soft 5").is_ok());
        assert!(parsed("quota set acme gpu 9 --soft 5 --grace 4h --at +2h").is_ok());
        assert!(parsed("quota override acme gpu unlimited --until +2h").is_ok());
        assert!(parsed("quota transfer gpu acme/a acme/b 5 --until 2026-11-21T12:00:00Z").is_ok());
    }

    #[test]
    fn events_are_filtered_by_what_they_concern() {
        let filter = "--scope acme/ml --resource gpu --kind reserved --kind rejected --by bob --since 2h \
                      --until 2026-11-21T12:00:00Z --hold 7 --actor alice";
        assert!(parsed(&format!("events list --from 3 --limit 5 {filter}")).is_ok());
        assert!(parsed(&format!("events tail --since-start --until-caught-up {filter}")).is_ok());
    }

    #[test]
    fn the_help_names_the_exit_codes() {
        let help = CommandLine::command().render_long_help().to_string();
        assert!(help.contains("3  denied") && help.contains("`template drift`"), "{help}");
    }
}
