//! The one map from rejections to gRPC statuses, and what clients are told of everything else.
//!
//! Every rejection carries three details: `google.rpc.ErrorInfo` (a reason for programs, with the
//! revision when the ledger decided it), the `google.rpc` message its code asks for, and
//! `quorate.v1.Rejection` with everything there is to say.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use tonic::Code;
use tonic::Status;
use tonic_types::ErrorDetails;
use tonic_types::StatusExt as _;

use super::call::Failure;
use crate::codec::rejection::encode;
use crate::codec::rejection::encode_blocking;
use crate::codec::rejection::shorten;
use crate::codec::tell;
use crate::ledger::Malformed;
use crate::ledger::Rejection;
use crate::ledger::rejection::Blocking;
use crate::node::Error;
use crate::node::ErrorKind;
use crate::node::watch::NoEvents;
use crate::proto::v1::ERROR_DOMAIN as DOMAIN;

/// The reason of bad input.
const MALFORMED: &str = "MALFORMED";

const REJECTION: &str = "type.googleapis.com/quorate.v1.Rejection";

/// Bounds of what an answer says. It travels in HTTP/2 headers, of which clients take as little as
/// 8 KiB, in base64.
const MAX_REJECTION: usize = 2_048;
const MAX_VIOLATIONS: usize = 3;
const MAX_TEXT: usize = 512;

/// When a client without an answer should ask again.
const RETRY: Duration = Duration::from_millis(100);

/// … and one for which there was no room: somebody has to make it.
const RETRY_FOR_ROOM: Duration = Duration::from_secs(10);

/// What somebody is told who did not get what was asked for.
pub(super) struct Told {
    pub code: Code,
    /// For programs; "" when nothing is known of the command.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What a caller is told, in at most so many characters.
pub(super) fn told(failure: &Failure, characters: usize) -> Told {
    let (code, reason) = match failure {
        Failure::Malformed(_) => (Code::InvalidArgument, MALFORMED),
        Failure::Rejected { rejection, .. } => (code(rejection), reason(rejection)),
        Failure::Failed(error) => (error.kind.code(), failure_reason(error.kind)),
    };
    let message = match failure {
        Failure::Malformed(error) => tell::sentence(&encode(&Rejection::Malformed(error.clone()))),
        Failure::Rejected { rejection, .. } => {
            let mut rejection = encode(rejection);
            // What is not told need not be put into words; a word takes more than what it tells of.
            shorten(&mut rejection, characters);
            tell::sentence(&rejection)
        }
        Failure::Failed(error) => error.problem.clone(),
    };
    Told { code, reason, message: shortened(&message, characters) }
}

/// The status of a failure.
pub(super) fn of(failure: &Failure) -> Status {
    let (rejection, metadata) = match failure {
        Failure::Failed(error) => return failed(error),
        Failure::Malformed(error) => return malformed(error),
        Failure::Rejected { rejection, revision, replayed, .. } => {
            let metadata = HashMap::from([
                ("revision".to_owned(), revision.to_string()),
                ("replayed".to_owned(), replayed.to_string()),
            ]);
            (rejection, metadata)
        }
    };
    let mut details = match innermost(rejection) {
        Rejection::Denied(blocking) => quota_failure(blocking),
        Rejection::Malformed(error) => {
            ErrorDetails::with_bad_request_violation(&error.field, shortened(&error.problem, MAX_TEXT))
        }
        _ => ErrorDetails::new(),
    };
    details.set_error_info(reason(rejection), DOMAIN, metadata);
    with_rejection(failure, details)
}

/// Bad input.
pub(super) fn malformed(error: &Malformed) -> Status {
    let mut details =
        ErrorDetails::with_bad_request_violation(&error.field, shortened(&error.problem, MAX_TEXT));
    let failure = Failure::Malformed(error.clone());
    details.set_error_info(told(&failure, 0).reason, DOMAIN, HashMap::new());
    with_rejection(&failure, details)
}

/// What a reader asked for that is not there.
pub(super) fn rejected(rejection: &Rejection, revision: u64) -> Status {
    of(&Failure::Rejected {
        rejection: Box::new(rejection.clone()),
        holders: Vec::new(),
        revision,
        replayed: false,
    })
}

/// What could not be done, or not be known.
pub(super) fn failed(error: &Error) -> Status {
    let mut details = match failure_reason(error.kind) {
        "" => ErrorDetails::with_retry_info(Some(RETRY)),
        reason => ErrorDetails::with_error_info(reason, DOMAIN, metadata(error.kind)),
    };
    match error.kind {
        ErrorKind::NoRoom { .. } => drop(details.set_retry_info(Some(RETRY_FOR_ROOM))),
        ErrorKind::Overloaded => drop(details.set_retry_info(Some(RETRY))),
        _ => {}
    }
    Status::with_error_details(error.kind.code(), error.problem.clone(), details)
}

/// Why a reader gets no events, or no more.
pub(super) fn no_events(error: &NoEvents) -> Status {
    let (reason, key, value) = match error {
        NoEvents::Failed(error) => return failed(error),
        NoEvents::Compacted { at } => ("EVENTS_COMPACTED", "compacted_at", at),
        NoEvents::NotReached { newest, .. } => ("REVISION_NOT_REACHED", "newest", newest),
    };
    let metadata = HashMap::from([(key.to_owned(), value.to_string())]);
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(Code::OutOfRange, error.to_string(), details)
}

fn failure_reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => "",
        ErrorKind::Overloaded => "OVERLOADED",
        ErrorKind::Refused => "REFUSED",
        ErrorKind::Invalid => "INVALID",
        ErrorKind::Compacted { .. } => "HISTORY_COMPACTED",
        ErrorKind::NotYet => "NOT_YET",
        ErrorKind::NoRoom { .. } => "DISK_NEARLY_FULL",
        ErrorKind::Fault => "FAULT",
    }
}

fn metadata(kind: ErrorKind) -> HashMap<String, String> {
    match kind {
        ErrorKind::Compacted { earliest } => [("earliest_revision".to_owned(), earliest.to_string())].into(),
        ErrorKind::NoRoom { node, free_bytes } => HashMap::from([
            ("node_id".to_owned(), node.to_string()),
            ("free_bytes".to_owned(), free_bytes.to_string()),
        ]),
        _ => HashMap::new(),
    }
}

fn with_rejection(failure: &Failure, details: ErrorDetails) -> Status {
    let Told { code, message, .. } = told(failure, MAX_TEXT);
    let standard = Status::with_error_details(code, message, details);
    let mut full =
        tonic_types::pb::Status::decode(standard.details()).expect("the details were encoded one line above");
    // The message stands in the status already.
    full.message.clear();
    let mut rejection = failure.rejection().expect("only what was rejected comes here");
    shorten(&mut rejection, MAX_REJECTION);
    full.details.push(prost_types::Any { type_url: REJECTION.to_owned(), value: rejection.encode_to_vec() });
    Status::with_details(code, standard.message(), Bytes::from(full.encode_to_vec()))
}

/// The first blocking quotas; all of them are in the event.
fn quota_failure(blocking: &[Blocking]) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    for blocking in blocking.iter().take(MAX_VIOLATIONS) {
        let subject = format!("{}:{}", blocking.quota.scope, blocking.quota.resource);
        let description = shortened(&tell::blocking_text(&encode_blocking(blocking), None), MAX_TEXT);
        details.add_quota_failure_violation(shortened(&subject, MAX_TEXT), description);
    }
    details
}

/// What really stood in the way: of several commands, that of the one that failed.
fn innermost(rejection: &Rejection) -> &Rejection {
    match rejection {
        Rejection::PartFailed { rejection, .. } => innermost(rejection),
        rejection => rejection,
    }
}

/// Text of bounded length.
fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
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
        | Rejection::UnknownHold(_)
        | Rejection::UnknownTemplate(_)
        | Rejection::UnknownSchedule { .. } => Code::NotFound,
        Rejection::ScopeExists(_) | Rejection::ResourceExists(_) => Code::AlreadyExists,
        Rejection::HoldClosed { .. }
        | Rejection::HoldTooSmall { .. }
        | Rejection::HasChildren { .. }
        | Rejection::InUse(_)
        | Rejection::OnLoan(_)
        | Rejection::Locked(_)
        | Rejection::SchemaConflict { .. }
        | Rejection::ScheduleConflict { .. }
        | Rejection::TransferNotAllowed(_)
        | Rejection::TtlTooLong { .. }
        | Rejection::LimitConflict { .. }
        | Rejection::BelowUse(_)
        | Rejection::RequestIdReused { .. }
        | Rejection::RequestIdExpired { .. } => Code::FailedPrecondition,
        Rejection::VersionMismatch(_)
        | Rejection::TemplateVersionMismatch { .. }
        | Rejection::SequenceMismatch(_) => Code::Aborted,
        Rejection::Denied(_) => Code::ResourceExhausted,
        Rejection::Uncountable(_) => Code::OutOfRange,
        Rejection::PartFailed { rejection, .. } => code(rejection),
    }
}

fn reason(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::Malformed(_) => MALFORMED,
        Rejection::UnknownScopes(_) => "UNKNOWN_SCOPE",
        Rejection::UnknownResources(_) => "UNKNOWN_RESOURCE",
        Rejection::UnknownQuotas(_) => "UNKNOWN_QUOTA",
        Rejection::UnknownHold(_) => "UNKNOWN_HOLD",
        Rejection::UnknownTemplate(_) => "UNKNOWN_TEMPLATE",
        Rejection::UnknownSchedule { .. } => "UNKNOWN_SCHEDULE",
        Rejection::ScopeExists(_) => "SCOPE_EXISTS",
        Rejection::ResourceExists(_) => "RESOURCE_EXISTS",
        Rejection::HoldClosed { .. } => "HOLD_CLOSED",
        Rejection::HoldTooSmall { .. } => "HOLD_TOO_SMALL",
        Rejection::HasChildren { .. } => "HAS_CHILDREN",
        Rejection::InUse(_) => "IN_USE",
        Rejection::OnLoan(_) => "ON_LOAN",
        Rejection::Locked(_) => "LOCKED",
        Rejection::VersionMismatch(_) => "VERSION_MISMATCH",
        Rejection::TemplateVersionMismatch { .. } => "TEMPLATE_VERSION_MISMATCH",
        Rejection::SequenceMismatch(_) => "SEQUENCE_MISMATCH",
        Rejection::SchemaConflict { .. } => "SCHEMA_CONFLICT",
        Rejection::ScheduleConflict { .. } => "SCHEDULE_CONFLICT",
        Rejection::TransferNotAllowed(_) => "TRANSFER_NOT_ALLOWED",
        Rejection::TtlTooLong { .. } => "TTL_TOO_LONG",
        Rejection::LimitConflict { .. } => "LIMIT_CONFLICT",
        Rejection::BelowUse(_) => "BELOW_USE",
        Rejection::Denied(_) => "DENIED",
        Rejection::Uncountable(_) => "UNCOUNTABLE",
        Rejection::RequestIdReused { .. } => "REQUEST_ID_REUSED",
        Rejection::RequestIdExpired { .. } => "REQUEST_ID_EXPIRED",
        Rejection::PartFailed { rejection, .. } => reason(rejection),
    }
}
