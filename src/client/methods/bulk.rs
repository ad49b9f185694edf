//! Many commands in one call, and commands for as long as a stream is open.

use bytes::Bytes;
use futures_util::Stream;
use prost::Message as _;
use tonic::Status;
use tonic::Streaming;
use tonic::codegen::http::uri::PathAndQuery;
use uuid::Uuid;

use super::call;
use super::encoded;
use crate::client::Client;
use crate::client::ClientError;
use crate::client::identity::number_commands;
use crate::client::rejection_of;
use crate::client::retry::Repeat;
use crate::client::retry::was_not_reached;
use crate::client::retry::words;
use crate::proto::v1::*;

impl Client {
    /// Many commands in one call: all or nothing when the message is `atomic`, each on its own
    /// otherwise. What is atomic can be asked for with `validate_only`, and needs no id then.
    ///
    /// An atomic batch is identified by `request_id`. In an independent one it is the base of the
    /// ids of those commands that have none, by their position: the same message under the same id
    /// is the same batch, and each command takes effect once however often it is sent.
    pub async fn batch(
        &self,
        request_id: Uuid,
        mut message: BatchRequest,
    ) -> Result<BatchResponse, ClientError> {
        if message.atomic && message.validate_only {
            return call!(self, Repeat::Read, ledger.batch, message);
        }
        if message.atomic {
            message.request_id = request_id.to_string();
        } else {
            number_commands(request_id, 0, &mut message.commands);
        }
        self.batch_encoded(request_id, message.encode_to_vec().into()).await
    }

    /// [`Client::batch`] for a message that is encoded already: a `BatchRequest` that is no question, with
    /// a request id wherever one belongs. `request_id` is the one that an unknown outcome is told with.
    pub async fn batch_encoded(
        &self,
        request_id: Uuid,
        message: Bytes,
    ) -> Result<BatchResponse, ClientError> {
        // Thousands of commands are encoded once and not for each try.
        let path = PathAndQuery::from_static("/quorate.v1.Ledger/Batch");
        let send = |channel, request| encoded::unary(channel, path.clone(), request);
        self.call(Repeat::Command(request_id), message, send).await
    }

    /// Opens a stream of commands to one node. Each command carries its own request id.
    ///
    /// The stream is not repeated: when it ends early, open another and send every command again
    /// that has no result yet. Those that were decided before say so.
    pub async fn submit(
        &self,
        commands: impl Stream<Item = BatchCommand> + Send + 'static,
    ) -> Result<Submission, ClientError> {
        let nodes = &self.inner.nodes;
        let node = nodes.current();
        let request = self.request_without_deadline(commands);
        match super::ledger(nodes.channel(node)).submit(request).await {
            Ok(response) => Ok(Submission { results: response.into_inner(), client: self.clone(), node }),
            Err(status) => Err(self.broken(node, status)),
        }
    }

    fn broken(&self, node: usize, status: Status) -> ClientError {
        if let Some(rejection) = rejection_of(&status) {
            return ClientError::Rejected { status, rejection: Some(Box::new(rejection)) };
        }
        let nodes = &self.inner.nodes;
        let last = format!("{}: {}", nodes.address(node), words(&status));
        nodes.turn_from(node);
        if was_not_reached(&status) {
            ClientError::Unavailable { last }
        } else {
            ClientError::Unknown { request_id: None, last }
        }
    }
}

/// The results of a stream of commands, in the order of the commands.
#[derive(Debug)]
pub struct Submission {
    results: Streaming<BatchResult>,
    client: Client,
    node: usize,
}

impl Submission {
    /// The next result; none when the commands have ended and all results were given.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unknown`] when the stream broke: what became of the commands without a result
    /// is learned by sending them again.
    pub async fn next(&mut self) -> Result<Option<BatchResult>, ClientError> {
        self.results.message().await.map_err(|status| self.client.broken(self.node, status))
    }
}
