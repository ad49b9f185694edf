//! Reads, and the event stream. All of them may be repeated. They are as new as [`Client::reading`]
//! says, linearizable without it.
//!
//! Of a list each call is one page: the first has the token "", and size 0 is the server's default. A
//! page may be empty and still have a token for the next.

use super::call;
use crate::client::Client;
use crate::client::ClientError;
use crate::client::retry::Repeat;
use crate::proto::v1::*;

/// What the tree, the catalogue and the templates are.
impl Client {
    /// Reads one scope.
    pub async fn get_scope(&self, path: &str) -> Result<GetScopeResponse, ClientError> {
        let message = GetScopeRequest { path: path.to_owned(), read: self.read() };
        call!(self, Repeat::Read, quotas.get_scope, message)
    }

    /// The scopes at and below the path of the message ("" for all trees) that have its labels.
    pub async fn list_scopes(
        &self,
        mut message: ListScopesRequest,
    ) -> Result<ListScopesResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, quotas.list_scopes, message)
    }

    /// The catalogue, in the order of registration.
    pub async fn list_resources(
        &self,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListResourcesResponse, ClientError> {
        let message =
            ListResourcesRequest { page_size, page_token: page_token.to_owned(), read: self.read() };
        call!(self, Repeat::Read, quotas.list_resources, message)
    }

    /// Reads one template.
    pub async fn get_template(&self, name: &str) -> Result<GetTemplateResponse, ClientError> {
        let message = GetTemplateRequest { name: name.to_owned(), read: self.read() };
        call!(self, Repeat::Read, quotas.get_template, message)
    }

    /// All templates, by name.
    pub async fn list_templates(
        &self,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListTemplatesResponse, ClientError> {
        let message =
            ListTemplatesRequest { page_size, page_token: page_token.to_owned(), read: self.read() };
        call!(self, Repeat::Read, quotas.list_templates, message)
    }

    /// The scopes at and below `scope` ("" for all) whose quotas are not what their template says
    /// now.
    pub async fn get_drift(
        &self,
        scope: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<GetDriftResponse, ClientError> {
        let (scope, page_token) = (scope.to_owned(), page_token.to_owned());
        let message = GetDriftRequest { scope, page_size, page_token, read: self.read() };
        call!(self, Repeat::Read, quotas.get_drift, message)
    }

    /// What is there at and below `scope` ("" for everything), at most `depth` levels below it, as a
    /// document.
    pub async fn export_plan(
        &self,
        scope: &str,
        depth: Option<u32>,
    ) -> Result<ExportPlanResponse, ClientError> {
        let message = ExportPlanRequest { scope: scope.to_owned(), depth, read: self.read() };
        call!(self, Repeat::Read, quotas.export_plan, message)
    }
}

/// What is taken.
impl Client {
    /// One quota with its counters.
    pub async fn get_quota(&self, scope: &str, resource: &str) -> Result<GetQuotaResponse, ClientError> {
        let (scope, resource) = (scope.to_owned(), resource.to_owned());
        let message = GetQuotaRequest { scope, resource, read: self.read() };
        call!(self, Repeat::Read, query.get_quota, message)
    }

    /// The quotas at and below `scope` ("" for all).
    pub async fn list_quotas(
        &self,
        scope: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListQuotasResponse, ClientError> {
        let (scope, page_token) = (scope.to_owned(), page_token.to_owned());
        let message = ListQuotasRequest { scope, page_size, page_token, read: self.read() };
        call!(self, Repeat::Read, query.list_quotas, message)
    }

    /// What is taken at and below a scope.
    pub async fn get_usage(&self, mut message: GetUsageRequest) -> Result<GetUsageResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, query.get_usage, message)
    }

    /// What was taken of a quota over time.
    pub async fn get_usage_series(
        &self,
        mut message: GetUsageSeriesRequest,
    ) -> Result<GetUsageSeriesResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, query.get_usage_series, message)
    }

    /// The events of a quota, a hold or a job.
    pub async fn get_history(
        &self,
        mut message: GetHistoryRequest,
    ) -> Result<GetHistoryResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, query.get_history, message)
    }

    /// Who takes most of a quota.
    pub async fn list_holders(
        &self,
        mut message: ListHoldersRequest,
    ) -> Result<ListHoldersResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, query.list_holders, message)
    }

    /// How often commands were not carried out, and why.
    pub async fn get_denials(
        &self,
        mut message: GetDenialsRequest,
    ) -> Result<GetDenialsResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, query.get_denials, message)
    }

    /// What a client of one scope may know.
    pub async fn get_consumer_view(
        &self,
        mut message: GetConsumerViewRequest,
    ) -> Result<GetConsumerViewResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, query.get_consumer_view, message)
    }

    /// What the node that is asked makes of the events.
    pub async fn list_projections(&self) -> Result<ListProjectionsResponse, ClientError> {
        call!(self, Repeat::Read, query.list_projections, ListProjectionsRequest {})
    }

    /// Has the node that is asked make a projection anew.
    pub async fn rebuild_projection(&self, name: &str) -> Result<RebuildProjectionResponse, ClientError> {
        let message = RebuildProjectionRequest { name: name.to_owned() };
        call!(self, Repeat::Once, query.rebuild_projection, message)
    }

    /// One hold, live or closed not long ago.
    pub async fn get_hold(&self, hold_id: u64) -> Result<GetHoldResponse, ClientError> {
        call!(self, Repeat::Read, query.get_hold, GetHoldRequest { hold_id, read: self.read() })
    }

    /// The live holds that pass the filters of the message.
    pub async fn list_holds(&self, mut message: ListHoldsRequest) -> Result<ListHoldsResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, query.list_holds, message)
    }

    /// How far the ledger has come, signed.
    pub async fn checkpoint(&self) -> Result<GetCheckpointResponse, ClientError> {
        call!(self, Repeat::Read, events.get_checkpoint, GetCheckpointRequest {})
    }

    /// What shows that an event is in the tree, or that an old tree is the beginning of a newer one.
    pub async fn proof(&self, message: GetProofRequest) -> Result<GetProofResponse, ClientError> {
        call!(self, Repeat::Read, events.get_proof, message)
    }

    /// A page of events as they are stored.
    pub async fn export_events(
        &self,
        from_revision: u64,
        to_revision: u64,
    ) -> Result<ExportEventsResponse, ClientError> {
        let message = ExportEventsRequest { from_revision, to_revision };
        call!(self, Repeat::Read, events.export_events, message)
    }

    /// Events from a revision on, without gaps.
    pub async fn list_events(
        &self,
        from_revision: u64,
        page_size: u32,
    ) -> Result<ListEventsResponse, ClientError> {
        self.find_events(ListEventsRequest { from_revision, page_size, ..Default::default() }).await
    }

    /// The events that pass the filter of the message. A page may have none and not be the last: that
    /// is the one whose `next_revision` is past its `revision`.
    pub async fn find_events(
        &self,
        mut message: ListEventsRequest,
    ) -> Result<ListEventsResponse, ClientError> {
        message.read = message.read.or(self.read());
        call!(self, Repeat::Read, events.list_events, message)
    }
}
