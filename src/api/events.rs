//! The event stream.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::page;
use super::status;
use crate::codec::command::Message;
use crate::node::deadline::deadline;
use crate::proto::v1;
use crate::proto::v1::events_server::Events;

#[tonic::async_trait]
impl Events for Api {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        self.linearize(&request).await?;
        let from = request.into_inner().from_revision.max(1);
        let revision = self.node.state().revision();
        let events = self.node.events(from, size).map_err(|error| status::failed(&error))?;
        let next_revision = events.last().map_or(from, |event| event.revision + 1);
        let compacted_at = self.node.state().compacted_at();
        Ok(Response::new(v1::ListEventsResponse { events, next_revision, revision, compacted_at }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.checkpoint(request).await
    }

    async fn get_proof(
        &self,
        request: Request<v1::GetProofRequest>,
    ) -> Result<Response<v1::GetProofResponse>, Status> {
        self.proof(request).await
    }

    async fn export_events(
        &self,
        request: Request<v1::ExportEventsRequest>,
    ) -> Result<Response<v1::ExportEventsResponse>, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        let v1::ExportEventsRequest { from_revision, to_revision } = request.into_inner();
        let page = self.node.export(from_revision, to_revision, deadline).await;
        let page = page.map_err(|error| status::failed(&error))?;
        Ok(Response::new(v1::ExportEventsResponse {
            first_revision: page.first,
            block: page.block.into(),
            next_revision: page.next.unwrap_or(0),
            end_revision: page.end,
        }))
    }

    async fn compact_events(
        &self,
        request: Request<v1::CompactEventsRequest>,
    ) -> Result<Response<v1::CompactEventsResponse>, Status> {
        self.run(request, Message::CompactEvents).await
    }
}
