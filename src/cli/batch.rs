//! The verb that carries out many commands of a file.
//!
//! Knows how a result reads in one line. Knows nothing of what the commands mean.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use super::Context;
use super::Failure;
use super::document;
use super::failure::rejected_code;
use super::failure::worst;
use super::output::one_line;
use super::output::replayed;
use super::preview::changes;
use super::reserve::granted;
use crate::client::ClientError;
use crate::client::code_name;
use crate::client::number_commands;
use crate::client::tell;
use crate::client::v1;
use crate::client::v1::batch_result::Result as Answer;
use crate::client::v1::rejection::Reason;

/// How many commands of an independent batch are sent at once.
const CHUNK: usize = 1_000;

/// How many bytes they may take together; servers take 4 MiB unless they are told otherwise.
const CHUNK_BYTES: usize = 1 << 20;

/// How many bytes one of them may take on any server.
const COMMAND_BYTES: usize = 4 << 20;

/// What the server says of a command that was not carried out because another was not.
const NOT_APPLIED: &str = "NOT_APPLIED";

const HELP: &str = "\
Each line of the file is one command as JSON, as in the message BatchCommand of
proto/quorate/v1/ledger.proto; empty lines are skipped:

  {\"reserve\": {\"lines\": [{\"scope\": \"acme/ml\", \"resource\": \"vcpus\", \"amount\": 16}]}}
  {\"release\": {\"hold_id\": 17}}
  {\"set_quota\": {\"scope\": \"acme\", \"resource\": \"vcpus\", \"policy\": {\"limit\": 64}}}

Each command is decided on its own, in the order of the file, under its own request id: one in the
file, or one made from --request-id and its position. With --atomic all take effect or none, under
the one request id: a line must not have its own. A command takes at most 4 MiB, and so do all of an
atomic batch together. Repeating a batch under its request id, with the same file, does nothing twice.

One result is shown for each command, in order. The exit code is that of the worst: 1 before 2
before 4 before 3.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct BatchArgs {
    /// The commands, one JSON object per line; '-' is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// All commands take effect or none; at most 8192
    #[arg(long)]
    atomic: bool,
    #[command(flatten)]
    preview: WholePreview,
}

/// Only of a batch as a whole: each command on its own would find what those before it left.
#[derive(Debug, Default, Clone, Copy, Args)]
struct WholePreview {
    /// Say what would be done, or why it would be refused, and change nothing
    #[arg(long, requires = "atomic")]
    preview: bool,
}

impl WholePreview {
    /// Says that nothing was done, and what would be: scripts find it in each result.
    fn note(self, context: &mut Context<'_>, response: &v1::BatchResponse) -> Result<(), Failure> {
        if self.preview && !context.output.is_json() {
            let changes = changes(&response.would_write, response.would_write_omitted);
            let revision = response.revision;
            let text = match changes.as_str() {
                "" => format!("nothing was changed, and nothing would be; at revision {revision}"),
                _ => format!("nothing was changed; at revision {revision} this would be done:\n{changes}"),
            };
            context.output.line(text.trim_end())?;
        }
        Ok(())
    }
}

impl BatchArgs {
    pub(super) fn has_request_id(&self) -> bool {
        !self.preview.preview
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let named = |problem| Failure::Usage(format!("{}, {problem}", self.file.display()));
        let Lines { mut commands, numbers } = lines(&document::text_of(&self.file)?).map_err(named)?;
        let mut shown = Shown::default();
        if self.atomic {
            let message = v1::BatchRequest {
                atomic: true,
                commands: commands.clone(),
                validate_only: self.preview.preview,
                ..Default::default()
            };
            let response = context.client.batch(context.request_id, message).await?;
            show(context, 0, &commands, &response.results, &mut shown)?;
            self.preview.note(context, &response)?;
        } else {
            // Numbered over all chunks, so that a repeat of the file is a repeat of each command.
            number_commands(context.request_id, 0, &mut commands);
            let (mut sent, mut most) = (0, CHUNK);
            while sent < commands.len() {
                let chunk = &commands[sent..sent + chunk(&commands[sent..], most)];
                let message = v1::BatchRequest { commands: chunk.to_vec(), ..Default::default() };
                match context.client.batch(context.request_id, message).await {
                    Ok(response) => {
                        show(context, sent, chunk, &response.results, &mut shown)?;
                        sent += chunk.len();
                        // What comes later may be decided by what is not known yet.
                        if shown.unknown > 0 {
                            shown.not_sent = commands.len() - sent;
                            break;
                        }
                    }
                    // The server takes less than others do: it has read nothing of it.
                    Err(error) if is_too_large(&error) && chunk.len() > 1 => most = chunk.len() / 2,
                    Err(error) if is_too_large(&error) => {
                        let id = context.request_id;
                        let problem = format!(
                            "line {}: {error}; the {sent} commands before it were decided as shown, under \
                             the request id {id}: give it again with the mended file",
                            numbers[sent]
                        );
                        return Err(named(problem));
                    }
                    Err(error) if sent > 0 => {
                        let last = format!("{error}; the first {sent} commands were decided as shown");
                        let request_id = Some(context.request_id);
                        return Err(ClientError::Unknown { request_id, last }.into());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        shown.verdict(context.request_id)
    }
}

/// Whether a server says that it does not take messages as large.
fn is_too_large(error: &ClientError) -> bool {
    let ClientError::Rejected { rejection: Some(rejection), .. } = error else { return false };
    matches!(&rejection.reason, Some(Reason::Malformed(malformed)) if malformed.field == "message")
}

/// How many of these commands are sent next: at least one.
fn chunk(commands: &[v1::BatchCommand], most: usize) -> usize {
    let mut bytes = 0;
    let fitting = commands.iter().take(most).take_while(|command| {
        bytes += command.encoded_len();
        bytes <= CHUNK_BYTES
    });
    fitting.count().max(1)
}

/// What became of the commands that were shown.
#[derive(Default)]
struct Shown {
    codes: Vec<u8>,
    unknown: usize,
    /// How many were not sent, since what became of those before them is unknown.
    not_sent: usize,
}

impl Shown {
    fn add(&mut self, result: &v1::BatchResult) {
        self.codes.push(exit_code(result));
        self.unknown += usize::from(is_unknown(result));
    }

    fn verdict(self, request_id: Uuid) -> Result<(), Failure> {
        if self.unknown > 0 {
            let mut last = format!("{} of {} commands", self.unknown, self.codes.len());
            if self.not_sent > 0 {
                let _ = write!(last, "; {} more were not sent", self.not_sent);
            }
            return Err(ClientError::Unknown { request_id: Some(request_id), last }.into());
        }
        match worst(self.codes) {
            0 => Ok(()),
            code => Err(Failure::Answered(code)),
        }
    }
}

/// The commands of a file, and in which line each is.
#[derive(Debug, Default)]
struct Lines {
    commands: Vec<v1::BatchCommand>,
    numbers: Vec<usize>,
}

fn lines(text: &str) -> Result<Lines, String> {
    let mut lines = Lines::default();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let command: v1::BatchCommand =
            document::parse_json(line).map_err(|problem| format!("line {number}: {problem}"))?;
        if command.command.is_none() {
            return Err(format!("line {number}: there is no command in it"));
        }
        let bytes = command.encoded_len();
        if bytes > COMMAND_BYTES {
            return Err(format!(
                "line {number}: the command takes {bytes} bytes, and at most {COMMAND_BYTES} are possible"
            ));
        }
        lines.commands.push(command);
        lines.numbers.push(number);
    }
    if lines.commands.is_empty() { Err("line 1: there are no commands".to_owned()) } else { Ok(lines) }
}

fn show(
    context: &mut Context<'_>,
    first: usize,
    commands: &[v1::BatchCommand],
    results: &[v1::BatchResult],
    shown: &mut Shown,
) -> Result<(), Failure> {
    let now_ms = context.now_ms();
    for (position, (command, result)) in commands.iter().zip(results).enumerate() {
        shown.add(result);
        context.output.show(result, |result| {
            format!("{:>6}  {}", first + position, one_line(&result_text(command, result, now_ms)))
        })?;
    }
    // Nobody may take silence for success.
    shown.unknown += commands.len().saturating_sub(results.len());
    Ok(())
}

fn exit_code(result: &v1::BatchResult) -> u8 {
    let rejection = match &result.result {
        Some(Answer::Rejection(rejection)) => Some(rejection),
        _ => None,
    };
    match Code::from_i32(result.code) {
        Code::Ok => 0,
        // Why it was not is said by another result.
        _ if result.reason == NOT_APPLIED => 0,
        code => rejected_code(code, rejection),
    }
}

/// Whether nobody knows what became of it.
fn is_unknown(result: &v1::BatchResult) -> bool {
    let known = [Code::Ok as i32, Code::InvalidArgument as i32];
    result.reason.is_empty() && !known.contains(&result.code)
}

fn result_text(command: &v1::BatchCommand, result: &v1::BatchResult, now_ms: u64) -> String {
    match &result.result {
        Some(Answer::Rejection(rejection)) => {
            let reasons = tell::reasons_at(rejection, Some(now_ms));
            format!("{}: {}", tell::label(rejection), reasons.join(" | "))
        }
        Some(Answer::Reserve(response)) => {
            let reserve = match &command.command {
                Some(v1::batch_command::Command::Reserve(reserve)) => reserve.clone(),
                _ => v1::ReserveRequest::default(),
            };
            granted(response, &reserve.lines, reserve.commit, now_ms)
        }
        _ if result.code == Code::Ok as i32 => {
            format!("done at revision {}{}", result.revision, replayed(result.replayed))
        }
        _ if result.reason == NOT_APPLIED => "not done, because of another".to_owned(),
        _ => {
            let code = code_name(Code::from_i32(result.code));
            let again =
                if result.reason.is_empty() { "; its outcome is unknown: repeat the batch" } else { "" };
            format!("{code}: {}{again}", result.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tell::tests::denied;

    fn failed(code: Code, reason: &str) -> v1::BatchResult {
        v1::BatchResult { code: code as i32, reason: reason.into(), ..Default::default() }
    }

    #[test]
    fn each_line_is_a_command() {
        let text =
            "{\"release\": {\"hold_id\": 17}}\n\n{\"tag\": 9, \"renew\": {\"hold_id\": 3, \"ttl_ms\": 5}}\n";
        let Lines { commands, numbers } = lines(text).expect("two commands");
        assert_eq!(numbers, [1, 3]);
        assert_eq!(commands[1].tag, 9);
    }

    #[test]
    fn a_malformed_line_is_named() {
        for (text, problem) in [
            ("{\"release\": {}}\n{\"relase\": {}}", "line 2"),
            ("{\"release\": {}} {}", "line 1"),
            ("{\"tag\": 1}", "line 1: there is no command"),
            ("{}", "line 1: there is no command"),
            ("\n \n", "there are no commands"),
            ("[", "line 1"),
        ] {
            let said = lines(text).expect_err(text);
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn commands_are_sent_in_parts_of_bounded_number_and_bytes_and_one_that_is_too_large_is_named() {
        let reserve = |bytes: usize| format!("{{\"reserve\": {{\"job\": \"{}\"}}}}\n", "x".repeat(bytes));
        let count = |text: String, most| chunk(&lines(&text).expect("commands").commands, most);
        assert_eq!(count(reserve(10).repeat(2_000), CHUNK), CHUNK);
        assert_eq!(count(reserve(10).repeat(2_000), 3), 3);
        assert_eq!(count(reserve(CHUNK_BYTES / 4).repeat(9), CHUNK), 3);
        assert_eq!(count(reserve(CHUNK_BYTES * 2).repeat(2), CHUNK), 1);
        let said = lines(&format!("{}\n{}", reserve(10), reserve(COMMAND_BYTES))).expect_err("too large");
        assert!(said.starts_with("line 3: the command takes 4194"), "{said}");
    }

    #[test]
    fn a_result_is_one_line_with_its_exit_code() {
        let command = v1::BatchCommand::default();
        let done = v1::BatchResult { revision: 7, ..Default::default() };
        assert_eq!((result_text(&command, &done, 0).as_str(), exit_code(&done)), ("done at revision 7", 0));

        let mut refused = failed(Code::ResourceExhausted, "DENIED");
        refused.result = Some(Answer::Rejection(denied()));
        assert!(result_text(&command, &refused, 0).starts_with("denied: acme/ml  memory_gb"));
        assert_eq!(exit_code(&refused), 3);

        let other = failed(Code::Aborted, NOT_APPLIED);
        assert_eq!(
            (result_text(&command, &other, 0).as_str(), exit_code(&other)),
            ("not done, because of another", 0)
        );

        let unknown = failed(Code::Unavailable, "");
        assert!(result_text(&command, &unknown, 0).contains("unknown"));
        assert_eq!(exit_code(&unknown), 1);
    }

    #[test]
    fn a_result_that_nobody_knows_says_how_to_repeat_the_batch() {
        let request_id = crate::client::new_request_id();
        let mut shown = Shown::default();
        shown.add(&v1::BatchResult::default());
        assert!(shown.verdict(request_id).is_ok());
        let mut shown = Shown::default();
        shown.add(&failed(Code::ResourceExhausted, "DENIED"));
        shown.add(&failed(Code::Unavailable, ""));
        let failure = shown.verdict(request_id).expect_err("one is unknown");
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.explain(&[], 0).contains(&request_id.to_string()));
    }
}
