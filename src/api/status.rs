//! The one map from rejections to gRPC statuses, and what clients are told of everything else.
//!
//! Every rejection carries three details: `google.rpc.ErrorInfo` (a reason for programs, with the
//! revision when the ledger decided it), the `google.rpc` message its code asks for, and `quorate.v1.Rejection` with
//! everything there is to say.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use tonic::Code;
use tonic::Status;
use tonic_types::ErrorDetails;
use tonic_types::StatusExt as _;

use crate::codec::rejection::encode_within;
use crate::ledger::HoldState;
use crate::ledger::Malformed;
use crate::ledger::Rejection;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Mismatch;
use crate::ledger::rejection::QuotaName;
use crate::node::Error;
use crate::node::ErrorKind;

const DOMAIN: &str = "quorate";
const REJECTION: &str = "type.googleapis.com/quorate.v1.Rejection";

/// Bounds of what an answer says. It travels in HTTP/2 headers, of which clients take as little as
/// 8 KiB, in base64.
const MAX_REJECTION: usize = 2_048;
const MAX_VIOLATIONS: usize = 3;
const MAX_TEXT: usize = 384;

/// When a client without an answer should ask again.
const RETRY: Duration = Duration::from_millis(100);

/// Bad input.
pub(super) fn malformed(error: &Malformed) -> Status {
    let rejection = Rejection::Malformed(error.clone());
    let mut details = ErrorDetails::with_bad_request_violation(&error.field, shortened(&error.problem));
    details.set_error_info(reason(&rejection), DOMAIN, HashMap::new());
    with_rejection(Code::InvalidArgument, &rejection, details)
}

/// What the ledger decided against.
pub(super) fn rejected(rejection: &Rejection, revision: u64, replayed: bool) -> Status {
    let mut details = match rejection {
        Rejection::Denied(blocking) => quota_failure(blocking),
        Rejection::Malformed(error) => {
            ErrorDetails::with_bad_request_violation(&error.field, shortened(&error.problem))
        }
        _ => ErrorDetails::new(),
    };
    let metadata = HashMap::from([
        ("revision".to_owned(), revision.to_string()),
        ("replayed".to_owned(), replayed.to_string()),
    ]);
    details.set_error_info(reason(rejection), DOMAIN, metadata);
    with_rejection(code(rejection), rejection, details)
}

/// What could not be done, or not be known.
pub(super) fn failed(error: Error) -> Status {
    let details = match error.kind {
        ErrorKind::Unavailable => ErrorDetails::with_retry_info(Some(RETRY)),
        ErrorKind::Refused => ErrorDetails::with_error_info("REFUSED", DOMAIN, HashMap::new()),
        ErrorKind::Invalid => ErrorDetails::with_error_info("INVALID", DOMAIN, HashMap::new()),
        ErrorKind::Fault => ErrorDetails::with_error_info("FAULT", DOMAIN, HashMap::new()),
    };
    Status::with_error_details(error.kind.code(), error.problem, details)
}

fn with_rejection(code: Code, rejection: &Rejection, details: ErrorDetails) -> Status {
    let standard = Status::with_error_details(code, shortened(&explain(rejection)), details);
    let mut full =
        tonic_types::pb::Status::decode(standard.details()).expect("the details were encoded one line above");
    // The message stands in the status already.
    full.message.clear();
    full.details.push(prost_types::Any {
        type_url: REJECTION.to_owned(),
        value: encode_within(rejection, MAX_REJECTION).encode_to_vec(),
    });
    Status::with_details(code, standard.message(), Bytes::from(full.encode_to_vec()))
}

/// The first blocking quotas; all of them are in the event.
fn quota_failure(blocking: &[Blocking]) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    for blocking in blocking.iter().take(MAX_VIOLATIONS) {
        let subject = shortened(&format!("{}:{}", blocking.quota.scope, blocking.quota.resource));
        details.add_quota_failure_violation(subject, shortened(&explain_blocking(blocking)));
    }
    details
}

/// Text of bounded length.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn code(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::Malformed(_) => Code::InvalidArgument,
        Rejection::UnknownScopes(_)
        | Rejection::UnknownResources(_)
        | Rejection::UnknownQuotas(_)
        | Rejection::UnknownHold(_) => Code::NotFound,
        Rejection::ScopeExists(_) | Rejection::ResourceExists(_) => Code::AlreadyExists,
        Rejection::HoldClosed { .. }
        | Rejection::Locked(_)
        | Rejection::LimitConflict { .. }
        | Rejection::RequestIdReused { .. }
        | Rejection::RequestIdExpired { .. } => Code::FailedPrecondition,
        Rejection::VersionMismatch(_) | Rejection::SequenceMismatch(_) => Code::Aborted,
        Rejection::Denied(_) => Code::ResourceExhausted,
        Rejection::Uncountable(_) => Code::OutOfRange,
    }
}

fn reason(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::Malformed(_) => "MALFORMED",
        Rejection::UnknownScopes(_) => "UNKNOWN_SCOPE",
        Rejection::UnknownResources(_) => "UNKNOWN_RESOURCE",
        Rejection::UnknownQuotas(_) => "UNKNOWN_QUOTA",
        Rejection::UnknownHold(_) => "UNKNOWN_HOLD",
        Rejection::ScopeExists(_) => "SCOPE_EXISTS",
        Rejection::ResourceExists(_) => "RESOURCE_EXISTS",
        Rejection::HoldClosed { .. } => "HOLD_CLOSED",
        Rejection::Locked(_) => "LOCKED",
        Rejection::VersionMismatch(_) => "VERSION_MISMATCH",
        Rejection::SequenceMismatch(_) => "SEQUENCE_MISMATCH",
        Rejection::LimitConflict { .. } => "LIMIT_CONFLICT",
        Rejection::Denied(_) => "DENIED",
        Rejection::Uncountable(_) => "UNCOUNTABLE",
        Rejection::RequestIdReused { .. } => "REQUEST_ID_REUSED",
        Rejection::RequestIdExpired { .. } => "REQUEST_ID_EXPIRED",
    }
}

fn explain(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Malformed(error) => error.to_string(),
        Rejection::UnknownScopes(scopes) => format!("unknown scope: {}", list(scopes)),
        Rejection::UnknownResources(resources) => {
            format!("unknown resource: {}; register it first", list(resources))
        }
        Rejection::UnknownQuotas(quotas) => {
            let quotas: Vec<_> = quotas.iter().map(quota).collect();
            format!("no quota on {} or above it; set one, UNLIMITED if that is meant", list(&quotas))
        }
        Rejection::UnknownHold(hold) => {
            format!("unknown hold: {hold}; it was never made, or it was closed long ago")
        }
        Rejection::ScopeExists(path) => format!("scope {path} is there already"),
        Rejection::ResourceExists(name) => format!("resource {name} is there already"),
        Rejection::HoldClosed { hold, state, revision } => {
            let state = match state {
                HoldState::Held => "held",
                HoldState::Committed => "committed",
                HoldState::Released => "released",
            };
            format!("hold {hold} was {state} at revision {revision}")
        }
        Rejection::Locked(locks) => {
            let locks: Vec<_> = locks
                .iter()
                .map(|(name, lock)| format!("{} by {:?}: {}", quota(name), lock.actor, lock.reason))
                .collect();
            format!("locked: {}", list(&locks))
        }
        Rejection::VersionMismatch(mismatch) => explain_mismatch("version", mismatch),
        Rejection::SequenceMismatch(mismatches) => {
            let mismatches: Vec<_> =
                mismatches.iter().map(|mismatch| explain_mismatch("sequence", mismatch)).collect();
            list(&mismatches)
        }
        Rejection::LimitConflict { quota: name, problem, .. } => {
            format!("the limit of {} {problem}", quota(name))
        }
        Rejection::Denied(blocking) => {
            let blocking: Vec<_> = blocking.iter().map(explain_blocking).collect();
            format!("denied: {}", list(&blocking))
        }
        Rejection::Uncountable(quotas) => {
            let quotas: Vec<_> = quotas.iter().map(quota).collect();
            format!("with this, {} would have more digits than can be counted exactly", list(&quotas))
        }
        Rejection::RequestIdReused { first } => {
            format!(
                "this request_id was used for another command, decided at revision {first}; make a new one"
            )
        }
        Rejection::RequestIdExpired { oldest_accepted_ms } => format!(
            "this request_id is too old to know whether it was decided; nothing was done; \
             ids made since {oldest_accepted_ms} ms after 1970 are accepted"
        ),
    }
}

fn explain_blocking(blocking: &Blocking) -> String {
    let help = if blocking.waiting_can_help { "waiting can help" } else { "waiting cannot help" };
    format!(
        "{}: hard limit {}, used {}, held {}, requested {}: short by {}; {help}",
        quota(&blocking.quota),
        blocking.limit,
        blocking.used,
        blocking.held,
        blocking.requested,
        blocking.shortfall,
    )
}

fn explain_mismatch(what: &str, mismatch: &Mismatch) -> String {
    let Mismatch { quota: name, expected, actual } = mismatch;
    format!("{} is at {what} {actual}, not {expected}; read it again", quota(name))
}

fn quota(name: &QuotaName) -> String {
    format!("{} of {}", name.resource, name.scope)
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
