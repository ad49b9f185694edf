//! What goes wrong on the command line: its exit code, its words for people, its JSON for scripts.
//!
//! Knows nothing of the verb that failed.

use std::io;

use serde_json::json;
use thiserror::Error;
use tonic::Code;
use uuid::Uuid;

use super::output::json_value;
use super::output::one_line;
use crate::audit::AuditError;
use crate::bench::BenchError;
use crate::client::ClientError;
use crate::client::code_name;
use crate::client::tell;
use crate::client::v1;
use crate::client::v1::rejection::Reason;

pub(super) const ERROR: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const DENIED: u8 = 3;
pub(super) const CONFLICT: u8 = 4;
pub(super) const DIFFERS: u8 = 5;

/// Why a verb did not do what it was told.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
    /// What was to be verified does not fit.
    #[error("it does not verify: {0}")]
    Audit(AuditError),
    /// Nothing could be measured.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The answer was shown, and it says itself what is wrong.
    #[error("exit code {0}")]
    Answered(u8),
}

impl Failure {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Rejected { status, rejection }) => {
                rejected_code(status.code(), rejection.as_deref())
            }
            Self::Client(ClientError::Unknown { .. } | ClientError::Unavailable { .. }) => ERROR,
            Self::Output(_) | Self::Audit(_) | Self::Bench(_) => ERROR,
            Self::Answered(code) => *code,
            Self::Client(ClientError::Invalid { .. }) | Self::Usage(_) => USAGE,
        }
    }

    /// For standard error: what is wrong, and what can be done. Ends with a line break, unless there
    /// is nothing left to say.
    pub(super) fn explain(&self, invocation: &[String], now_ms: u64) -> String {
        match self {
            Self::Answered(_) => String::new(),
            Self::Client(ClientError::Rejected { rejection: Some(rejection), .. }) => {
                explain(rejection, now_ms)
            }
            Self::Client(ClientError::Unknown { request_id: Some(request_id), last }) => {
                let input = if reads_input(invocation) { " with the same input" } else { "" };
                format!(
                    "unknown: no answer says what became of the command; it may have happened or may yet \
                     ({last})\n\
                     request id: {request_id}\n\
                     to learn the outcome, repeat the command{input}; it takes effect at most once:\n  {}\n",
                    repeat(invocation, *request_id)
                )
            }
            Self::Client(ClientError::Unknown { request_id: None, last }) => format!(
                "unknown: no answer says what became of the change; it may have happened or may yet \
                 ({last})\n\
                 to learn the outcome: quorate cluster status\n"
            ),
            Self::Client(ClientError::Unavailable { .. }) => {
                format!("error: {self}\ncheck that the cluster runs, or name its nodes with --endpoints\n")
            }
            other => format!("error: {other}\n"),
        }
    }

    /// One JSON object that says the same to scripts; none when the answer said it.
    pub(super) fn json(&self) -> Option<String> {
        if matches!(self, Self::Answered(_)) {
            return None;
        }
        let mut error = json!({ "code": self.code(), "message": self.to_string(), "rejection": null });
        match self {
            Self::Client(ClientError::Rejected { rejection: Some(rejection), .. }) => {
                // Without the details there is still the code and the message.
                error["rejection"] = json_value(rejection.as_ref()).unwrap_or_default();
            }
            Self::Client(ClientError::Unknown { request_id: Some(request_id), .. }) => {
                error["request_id"] = json!(request_id.to_string());
            }
            _ => {}
        }
        if let Self::Client(ClientError::Rejected { status, .. }) = self {
            error["message"] = json!(status.message());
        }
        Some(json!({ "error": error }).to_string())
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Client(ClientError::Rejected { status, .. }) => code_name(status.code()),
            Self::Client(ClientError::Unknown { .. }) => "UNKNOWN_OUTCOME",
            Self::Client(ClientError::Unavailable { .. }) => code_name(Code::Unavailable),
            Self::Client(ClientError::Invalid { .. }) | Self::Usage(_) => code_name(Code::InvalidArgument),
            Self::Audit(_) => "DOES_NOT_VERIFY",
            Self::Output(_) | Self::Bench(_) | Self::Answered(_) => code_name(Code::Internal),
        }
    }
}

/// The exit code of a refusal.
pub(super) fn rejected_code(code: Code, rejection: Option<&v1::Rejection>) -> u8 {
    match code {
        _ if rejection.is_some_and(tell::is_denial) => DENIED,
        Code::InvalidArgument => USAGE,
        Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => CONFLICT,
        _ => ERROR,
    }
}

fn explain(rejection: &v1::Rejection, now_ms: u64) -> String {
    let label = tell::label(rejection);
    let reasons = tell::reasons_at(rejection, Some(now_ms));
    let reasons: Vec<String> = reasons.iter().map(|reason| one_line(reason)).collect();
    match &rejection.reason {
        Some(Reason::Denied(denied)) => {
            let lines: String = reasons.iter().map(|reason| format!("  {reason}\n")).collect();
            format!("{label}: {}\n{lines}", one_line(&tell::denial_headline(denied)))
        }
        _ => reasons.iter().map(|reason| format!("{label}: {reason}\n")).collect(),
    }
}

/// Of several exit codes the one that matters most: an error hides what happened, a usage error
/// has to be repaired, a conflict needs another decision, a denial is an answer.
pub(super) fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |code: &u8| [0, DENIED, CONFLICT, USAGE, ERROR].iter().position(|known| known == code);
    codes.into_iter().max_by_key(rank).unwrap_or_default()
}

/// The command line that repeats this one under the same request id.
fn repeat(invocation: &[String], request_id: Uuid) -> String {
    let given = invocation.iter().any(|word| word == "--request-id" || word.starts_with("--request-id="));
    let mut words = vec!["quorate".to_owned()];
    if !given {
        // In front, where no `--` can turn it into an argument of the verb.
        words.push(format!("--request-id {request_id}"));
    }
    words.extend(invocation.iter().map(|word| quoted(word)));
    words.join(" ")
}

/// Whether the command read standard input, which is gone: the line alone does not repeat it.
fn reads_input(invocation: &[String]) -> bool {
    let names = invocation.iter().zip(invocation.iter().skip(1));
    names.into_iter().any(|(name, file)| ["-f", "--file"].contains(&name.as_str()) && file == "-")
        || invocation.iter().any(|word| ["-f-", "-f=-", "--file=-"].contains(&word.as_str()))
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;
    use crate::client::tell::tests::denied;
    use crate::client::tell::tests::quota;
    use crate::client::tell::tests::rejection;

    fn rejected(code: Code, rejection: Option<v1::Rejection>) -> Failure {
        Failure::Client(ClientError::Rejected {
            status: Status::new(code, "said so"),
            rejection: rejection.map(Box::new),
        })
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn denied_and_locked_exit_with_3() {
        assert_eq!(rejected(Code::ResourceExhausted, Some(denied())).exit_code(), 3);
        let locked = rejection(Reason::Locked(v1::rejection::Locked { locks: vec![] }));
        assert_eq!(rejected(Code::FailedPrecondition, Some(locked)).exit_code(), 3);
    }

    #[test]
    fn a_denial_within_a_batch_is_a_denial() {
        let part = v1::rejection::PartFailed { rejection: Some(Box::new(denied())), ..Default::default() };
        let part = rejection(Reason::PartFailed(Box::new(part)));
        assert_eq!(rejected_code(Code::ResourceExhausted, Some(&part)), 3);
    }

    #[test]
    fn the_worst_of_many_is_the_one_that_says_least() {
        assert_eq!(worst([]), 0);
        assert_eq!(worst([0, 3, 0]), 3);
        assert_eq!(worst([3, 4]), 4);
        assert_eq!(worst([4, 2, 3]), 2);
        assert_eq!(worst([2, 1, 4]), 1);
    }

    #[test]
    fn an_overloaded_node_is_not_a_denial() {
        assert_eq!(rejected(Code::ResourceExhausted, None).exit_code(), 1);
    }

    #[test]
    fn conflicts_exit_with_4() {
        let mismatch = v1::rejection::VersionMismatch { quota: quota("acme"), expected: 4, actual: 5 };
        let mismatch = rejection(Reason::VersionMismatch(mismatch));
        assert_eq!(rejected(Code::Aborted, Some(mismatch)).exit_code(), 4);
        assert_eq!(rejected(Code::AlreadyExists, None).exit_code(), 4);
        assert_eq!(rejected(Code::FailedPrecondition, None).exit_code(), 4);
    }

    #[test]
    fn what_the_server_calls_malformed_is_a_usage_error() {
        assert_eq!(rejected(Code::InvalidArgument, None).exit_code(), 2);
        assert_eq!(Failure::Usage("no".into()).exit_code(), 2);
    }

    #[test]
    fn everything_else_exits_with_1() {
        assert_eq!(rejected(Code::NotFound, None).exit_code(), 1);
        assert_eq!(Failure::from(ClientError::Unavailable { last: String::new() }).exit_code(), 1);
        let unknown = ClientError::Unknown { request_id: None, last: String::new() };
        assert_eq!(Failure::from(unknown).exit_code(), 1);
        assert_eq!(Failure::from(io::Error::other("disk full")).exit_code(), 1);
    }

    #[test]
    fn a_denial_explains_itself_line_by_line() {
        assert_eq!(
            rejected(Code::ResourceExhausted, Some(denied())).explain(&[], 0),
            "denied: acme/ml has no room for 16 memory_gb; nothing was done\n  \
             acme/ml  memory_gb  hard limit 20, used 0, held 16, requested 16: short by 12; \
             waiting can help\n"
        );
    }

    #[test]
    fn a_rejection_in_json_keeps_its_details() {
        let json = rejected(Code::ResourceExhausted, Some(denied())).json().expect("something to say");
        let value: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
        assert_eq!(value["error"]["code"], "RESOURCE_EXHAUSTED");
        assert_eq!(value["error"]["message"], "said so");
        assert_eq!(value["error"]["rejection"]["denied"]["blocking"][0]["shortfall"], "12");
    }

    #[test]
    fn an_unknown_outcome_says_how_to_repeat_the_command() {
        let request_id = crate::client::new_request_id();
        let unknown = ClientError::Unknown { request_id: Some(request_id), last: "silence".into() };
        let text = Failure::from(unknown).explain(&words("quota lock acme gpu --reason it's"), 0);
        let line = format!("  quorate --request-id {request_id} quota lock acme gpu --reason 'it'\\''s'\n");
        assert!(text.contains(&format!("request id: {request_id}\n")) && text.ends_with(&line), "{text}");
    }

    #[test]
    fn a_repeat_of_what_was_read_from_standard_input_says_that_it_needs_it() {
        let unknown = ClientError::Unknown { request_id: Some(Uuid::nil()), last: "silence".into() };
        let failure = Failure::from(unknown);
        for line in ["batch -f -", "apply --file - --timeout 1s", "batch -f-", "apply --file=-"] {
            assert!(failure.explain(&words(line), 0).contains("repeat the command with the same input;"));
        }
        assert!(failure.explain(&words("batch -f file"), 0).contains("repeat the command;"));
    }

    #[test]
    fn a_repeat_of_a_repeat_has_one_request_id() {
        let request_id = crate::client::new_request_id();
        let invocation = words(&format!("--request-id={request_id} commit 3"));
        assert_eq!(repeat(&invocation, request_id), format!("quorate --request-id={request_id} commit 3"));
    }
}
