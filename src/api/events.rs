//! The event stream.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::page;
use super::status;
use crate::proto::v1;
use crate::proto::v1::events_server::Events;

#[tonic::async_trait]
impl Events for Api {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let revision = self.reach(&request, request.get_ref().read).await?;
        let from = request.into_inner().from_revision.max(1);
        let mut events = self.node.events(from, size).map_err(|error| status::failed(&error))?;
        // Of the past, or what came after it was looked how far this node is.
        events.retain(|event| event.revision <= revision);
        let next_revision = events.last().map_or(from, |event| event.revision + 1);
        Ok(Response::new(v1::ListEventsResponse { events, next_revision, revision, compacted_at: 0 }))
    }
}
