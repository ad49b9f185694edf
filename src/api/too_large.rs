//! Messages that are larger than this node takes. They are refused before anybody reads them, by the
//! transport, which says so with a code that a client cannot tell from its own trouble with an answer.
//! Here it becomes what it is: bad input, of which nothing was done.

use tonic::Code;
use tonic::Status;
use tonic::codegen::http::Response;
use tonic::service::Routes;
use tower::util::MapResponseLayer;

use super::status;
use crate::ledger::Malformed;

/// The same services, which say so when a message is too large.
pub(super) fn explained(routes: Routes, max_message_bytes: usize) -> Routes {
    let explain = move |response: Response<_>| match Status::from_header_map(response.headers()) {
        Some(said) if is_too_large(&said) => status(max_message_bytes).into_http(),
        _ => response,
    };
    Routes::from(routes.into_axum_router().layer(MapResponseLayer::new(explain)))
}

/// Whether this is how the transport says it: what the ledger says has details.
fn is_too_large(said: &Status) -> bool {
    said.code() == Code::OutOfRange && said.details().is_empty()
}

fn status(max_message_bytes: usize) -> Status {
    let problem = format!(
        "takes more than {max_message_bytes} bytes, the most that this node reads \
         (client.max_message_bytes): divide it into several"
    );
    status::malformed(&Malformed::new("message", problem))
}
