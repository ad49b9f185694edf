//! The public gRPC services: decode, have the node do it, encode.
//!
//! | file | subject |
//! |---|---|
//! | `call` | one command on its way: decoded, decided or only looked at, answered |
//! | `answer` | what was done, as the response of its method |
//! | `ledger`, `batch` | reserving and giving back; many commands at once |
//! | `quotas` | scopes, policies, templates and plans |
//! | `query`, `events`, `cluster` | reads, the event stream, the nodes |
//! | `usage`, `projections` | what is taken; what is made of the events besides |
//! | `proofs` | checkpoints and proofs of the event tree |
//! | `read` | how new an answer must be |
//! | `page`, `walk` | pages of lists; scopes in order, from any place on |
//! | `status` | the one map from rejections to statuses |
//! | `too_large` | messages that are refused before anybody reads them |
//!
//! Bad input is refused here with the field named, before anything is proposed.

mod answer;
mod batch;
mod call;
mod cluster;
mod events;
mod ledger;
mod page;
mod projections;
mod proofs;
mod query;
mod quotas;
mod read;
mod status;
mod too_large;
mod usage;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use tonic::service::Routes;

use crate::node::Node;
use crate::proto::v1;

/// How long a call may take when its client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// All services of a node. Requests over `max_message_bytes` are refused.
pub fn services(node: &Arc<Node>, max_message_bytes: usize) -> Routes {
    let api = Api { node: Arc::clone(node) };
    let mut routes = Routes::builder();
    routes
        .add_service(
            v1::ledger_server::LedgerServer::new(api.clone()).max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            v1::quotas_server::QuotasServer::new(api.clone()).max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            v1::query_server::QueryServer::new(api.clone()).max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            v1::events_server::EventsServer::new(api.clone()).max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            v1::cluster_server::ClusterServer::new(api).max_decoding_message_size(max_message_bytes),
        );
    too_large::explained(routes.routes(), max_message_bytes)
}

/// Answers clients.
#[derive(Clone)]
struct Api {
    node: Arc<Node>,
}
