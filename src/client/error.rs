//! What can come of a call besides an answer, and what in a gRPC status tells one from the other.
//!
//! Knows nothing of retrying or of how an error is shown.

use prost::Message;
use thiserror::Error;
use tonic::Code;
use tonic::Status;
use tonic_types::pb;
use uuid::Uuid;

use crate::proto::v1::ERROR_DOMAIN as DOMAIN;
use crate::proto::v1::Rejection;

/// The reason of a node that has too much to do.
const OVERLOADED: &str = "OVERLOADED";

/// The end of the type URL under which a rejection lies in the details of a status.
const REJECTION_TYPE: &str = "/quorate.v1.Rejection";
const ERROR_INFO_TYPE: &str = "/google.rpc.ErrorInfo";

/// Why a call brought no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The cluster decided against it; asking again with the same request_id brings the same. Without a
    /// rejection nothing was decided, and what stood in the way may pass: a disk that is nearly full.
    #[error("{}: {}", code_name(status.code()), status.message())]
    Rejected {
        /// As the node sent it.
        status: Status,
        /// The reason, when the ledger gave one.
        rejection: Option<Box<Rejection>>,
    },

    /// The deadline passed after a node may have received the command, or what came back does not
    /// say what became of it: it may have happened, or may yet. A repeat with the same request_id
    /// tells.
    #[error("the outcome is unknown: {last}")]
    Unknown {
        /// The retry identity; absent for a stream, whose commands have their own, and for changes
        /// of the cluster, which have none and whose outcome `Cluster.Status` shows.
        request_id: Option<Uuid>,
        /// What the last node asked said or failed with.
        last: String,
    },

    /// No node answered and nothing was changed by this call: it was a read, or the command
    /// never left this machine.
    #[error("no node answered: {last}")]
    Unavailable {
        /// What the last node asked said or failed with.
        last: String,
    },

    /// Something given to the client is not well formed.
    #[error("{what} {text:?}: {problem}")]
    Invalid {
        /// What was given: "endpoint", "actor".
        what: String,
        /// As it was given.
        text: String,
        /// What is wrong with it and what to write.
        problem: String,
    },
}

/// The rejection in the details of a status, if there is one.
pub fn rejection_of(status: &Status) -> Option<Rejection> {
    let details = details(status);
    let found = details.iter().find(|any| any.type_url.ends_with(REJECTION_TYPE))?;
    Rejection::decode(found.value.as_slice()).ok()
}

/// Whether a node of Quorate says it about the call, and not a proxy, or this side of the connection
/// about the answer: a status has a code in either case, but only the first has these details.
pub(super) fn is_told_by_quorate(status: &Status) -> bool {
    rejection_of(status).is_some() || error_info(status).is_some()
}

/// Whether a node says that it has too much to do to try it.
pub(super) fn is_overloaded(status: &Status) -> bool {
    error_info(status).is_some_and(|info| info.reason == OVERLOADED)
}

/// What a node of Quorate says about the reason.
fn error_info(status: &Status) -> Option<pb::ErrorInfo> {
    let is_info = |any: &prost_types::Any| any.type_url.ends_with(ERROR_INFO_TYPE);
    let infos = details(status).into_iter().filter(is_info);
    infos.filter_map(|any| pb::ErrorInfo::decode(&*any.value).ok()).find(|info| info.domain == DOMAIN)
}

/// Details that cannot be read leave the code and the message, which say the same in less detail:
/// nothing is gained by hiding those behind an error of decoding.
fn details(status: &Status) -> Vec<prost_types::Any> {
    pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default()
}

/// The name of a gRPC code as the specification writes it: "RESOURCE_EXHAUSTED".
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
