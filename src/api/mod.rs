//! The public gRPC services: decode, have the node do it, encode.
//!
//! Bad input is refused here with the field named, before anything is proposed. The one map from
//! rejections to statuses is `status`.

mod cluster;
mod events;
mod ledger;
mod page;
mod query;
mod quotas;
mod status;

use std::sync::Arc;
use std::time::Duration;

use tonic::Request;
use tonic::Status;
use tonic::service::Routes;

use crate::codec::batch::fingerprint;
use crate::codec::command;
use crate::ledger::Command;
use crate::ledger::Grant;
use crate::ledger::Malformed;
use crate::ledger::Outcome;
use crate::node::Node;
use crate::node::deadline::deadline;
use crate::proto::v1;

/// How long a call may take when its client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most characters of an actor.
const MAX_ACTOR: usize = 128;

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
    routes.routes()
}

/// Answers clients.
#[derive(Clone)]
struct Api {
    node: Arc<Node>,
}

/// What a granted command says of itself.
struct Granted {
    grant: Grant,
    revision: u64,
    replayed: bool,
}

/// Has the command of a message decided; `$variant` names it as the log does.
macro_rules! decide {
    ($api:expr, $request:expr, $variant:ident) => {
        $api.decide($request, |mut message| {
            let id = std::mem::take(&mut message.request_id);
            let message = crate::proto::storage::v1::request::Command::$variant(message);
            (id, crate::codec::command::decode(message))
        })
        .await?
    };
}
use decide;

impl Api {
    /// Has a command decided; `decode` takes it and its request id out of the message.
    async fn decide<T>(
        &self,
        request: Request<T>,
        decode: impl FnOnce(T) -> (String, Result<Command, Malformed>),
    ) -> Result<Granted, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        let actor = actor(&request)?;
        let (id, command) = decode(request.into_inner());
        let id = command::request_id(&id).map_err(|error| status::malformed(&error))?;
        let command = command.map_err(|error| status::malformed(&error))?;
        let request =
            crate::ledger::Request { id, fingerprint: fingerprint(&command), actor: actor.into(), command };
        let outcome = self.node.decide(request, deadline).await.map_err(status::failed)?;
        let Outcome { revision, replayed, verdict } = outcome;
        match verdict {
            Ok(grant) => Ok(Granted { grant, revision, replayed }),
            Err(rejection) => Err(status::rejected(&rejection, revision, replayed)),
        }
    }

    /// Waits until the state shows everything acknowledged before the call.
    async fn linearize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.node.linearize(deadline(request, DEFAULT_TIMEOUT)).await.map_err(status::failed)
    }
}

fn actor<T>(request: &Request<T>) -> Result<String, Status> {
    let Some(value) = request.metadata().get(v1::ACTOR_KEY) else {
        return Ok(String::new());
    };
    // As bytes: metadata takes a tab for printable.
    let printable = value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~'));
    let problem = match value.to_str() {
        Ok(actor) if printable && actor.len() <= MAX_ACTOR => return Ok(actor.to_owned()),
        Ok(actor) if printable => {
            format!("has {} characters; at most {MAX_ACTOR} are allowed", actor.len())
        }
        _ => "has characters that are not printable ASCII".to_owned(),
    };
    Err(status::malformed(&Malformed::new(v1::ACTOR_KEY, problem)))
}
