//! One method per RPC: names the arguments, and says whether the call may be repeated.
//!
//! Knows nothing of nodes, deadlines or failures.

use tonic::transport::Channel;
use uuid::Uuid;

use super::Client;
use super::ClientError;
use super::DECODE_LIMIT_BYTES;
use super::retry::Repeat;
use crate::proto::v1::cluster_client::ClusterClient;
use crate::proto::v1::events_client::EventsClient;
use crate::proto::v1::ledger_client::LedgerClient;
use crate::proto::v1::query_client::QueryClient;
use crate::proto::v1::quotas_client::QuotasClient;
use crate::proto::v1::*;

fn ledger(channel: Channel) -> LedgerClient<Channel> {
    LedgerClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn quotas(channel: Channel) -> QuotasClient<Channel> {
    QuotasClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn query(channel: Channel) -> QueryClient<Channel> {
    QueryClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn events(channel: Channel) -> EventsClient<Channel> {
    EventsClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn cluster(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

/// Sends a message with one method of one stub.
macro_rules! call {
    ($client:expr, $repeat:expr, $stub:ident.$method:ident, $message:expr) => {
        $client
            .call($repeat, $message, |channel, request| async move { $stub(channel).$method(request).await })
            .await
    };
}

/// Reserving and giving back.
impl Client {
    /// Takes all lines and all their ancestors, or nothing.
    pub async fn reserve(&self, request_id: Uuid, lines: Vec<Line>) -> Result<ReserveResponse, ClientError> {
        let message = ReserveRequest { request_id: request_id.to_string(), lines };
        call!(self, Repeat::Command(request_id), ledger.reserve, message)
    }

    /// Makes a hold final.
    pub async fn commit(&self, request_id: Uuid, hold_id: u64) -> Result<CommitResponse, ClientError> {
        let message = CommitRequest { request_id: request_id.to_string(), hold_id };
        call!(self, Repeat::Command(request_id), ledger.commit, message)
    }

    /// Gives back all that is live of a hold.
    pub async fn release(&self, request_id: Uuid, hold_id: u64) -> Result<ReleaseResponse, ClientError> {
        let message = ReleaseRequest { request_id: request_id.to_string(), hold_id };
        call!(self, Repeat::Command(request_id), ledger.release, message)
    }
}

/// Scopes, resources and the policy on them.
impl Client {
    /// Makes one scope below an existing one, or the root of a new tree. Kind "" is "scope".
    pub async fn create_scope(
        &self,
        request_id: Uuid,
        path: &str,
        kind: &str,
    ) -> Result<CreateScopeResponse, ClientError> {
        let message = CreateScopeRequest {
            request_id: request_id.to_string(),
            path: path.to_owned(),
            kind: kind.to_owned(),
        };
        call!(self, Repeat::Command(request_id), quotas.create_scope, message)
    }

    /// Reads one scope.
    pub async fn get_scope(&self, path: &str) -> Result<GetScopeResponse, ClientError> {
        let message = GetScopeRequest { path: path.to_owned() };
        call!(self, Repeat::Read, quotas.get_scope, message)
    }

    /// One page of the scopes at and below `path` ("" for all trees). The first page has the
    /// token ""; size 0 is the server's default.
    pub async fn list_scopes(
        &self,
        path: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListScopesResponse, ClientError> {
        let message =
            ListScopesRequest { path: path.to_owned(), page_size, page_token: page_token.to_owned() };
        call!(self, Repeat::Read, quotas.list_scopes, message)
    }

    /// Adds a resource to the catalogue.
    pub async fn register_resource(
        &self,
        request_id: Uuid,
        resource: Resource,
    ) -> Result<RegisterResourceResponse, ClientError> {
        let message =
            RegisterResourceRequest { request_id: request_id.to_string(), resource: Some(resource) };
        call!(self, Repeat::Command(request_id), quotas.register_resource, message)
    }

    /// The whole catalogue.
    pub async fn list_resources(&self) -> Result<ListResourcesResponse, ClientError> {
        call!(self, Repeat::Read, quotas.list_resources, ListResourcesRequest {})
    }

    /// Makes a quota or replaces its limit; `if_version` 0 demands that there is none yet.
    pub async fn set_quota(
        &self,
        request_id: Uuid,
        scope: &str,
        resource: &str,
        limit: Limit,
        if_version: Option<u64>,
    ) -> Result<QuotaChangeResponse, ClientError> {
        let message = SetQuotaRequest {
            request_id: request_id.to_string(),
            scope: scope.to_owned(),
            resource: resource.to_owned(),
            limit: Some(limit),
            if_version,
        };
        call!(self, Repeat::Command(request_id), quotas.set_quota, message)
    }

    /// Adds the signed decimal `delta` to a limit that is an amount.
    pub async fn adjust_quota(
        &self,
        request_id: Uuid,
        scope: &str,
        resource: &str,
        delta: &str,
        if_version: Option<u64>,
    ) -> Result<QuotaChangeResponse, ClientError> {
        let message = AdjustQuotaRequest {
            request_id: request_id.to_string(),
            scope: scope.to_owned(),
            resource: resource.to_owned(),
            delta: delta.to_owned(),
            if_version,
        };
        call!(self, Repeat::Command(request_id), quotas.adjust_quota, message)
    }

    /// Admits nothing new at or below the scope until unlocked.
    pub async fn lock_quota(
        &self,
        request_id: Uuid,
        scope: &str,
        resource: &str,
        reason: &str,
        if_version: Option<u64>,
    ) -> Result<QuotaChangeResponse, ClientError> {
        let message = LockQuotaRequest {
            request_id: request_id.to_string(),
            scope: scope.to_owned(),
            resource: resource.to_owned(),
            reason: reason.to_owned(),
            if_version,
        };
        call!(self, Repeat::Command(request_id), quotas.lock_quota, message)
    }

    /// Ends a lock.
    pub async fn unlock_quota(
        &self,
        request_id: Uuid,
        scope: &str,
        resource: &str,
        if_version: Option<u64>,
    ) -> Result<QuotaChangeResponse, ClientError> {
        let message = UnlockQuotaRequest {
            request_id: request_id.to_string(),
            scope: scope.to_owned(),
            resource: resource.to_owned(),
            if_version,
        };
        call!(self, Repeat::Command(request_id), quotas.unlock_quota, message)
    }
}

/// Linearizable reads.
impl Client {
    /// One quota with its counters.
    pub async fn get_quota(&self, scope: &str, resource: &str) -> Result<GetQuotaResponse, ClientError> {
        let message = GetQuotaRequest { scope: scope.to_owned(), resource: resource.to_owned() };
        call!(self, Repeat::Read, query.get_quota, message)
    }

    /// One page of the quotas at and below `scope` ("" for all).
    pub async fn list_quotas(
        &self,
        scope: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListQuotasResponse, ClientError> {
        let message =
            ListQuotasRequest { scope: scope.to_owned(), page_size, page_token: page_token.to_owned() };
        call!(self, Repeat::Read, query.list_quotas, message)
    }

    /// One hold, live or closed not long ago.
    pub async fn get_hold(&self, hold_id: u64) -> Result<GetHoldResponse, ClientError> {
        call!(self, Repeat::Read, query.get_hold, GetHoldRequest { hold_id })
    }

    /// One page of the live holds with a line at or below `scope` ("" for all).
    pub async fn list_holds(
        &self,
        scope: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListHoldsResponse, ClientError> {
        let message =
            ListHoldsRequest { scope: scope.to_owned(), page_size, page_token: page_token.to_owned() };
        call!(self, Repeat::Read, query.list_holds, message)
    }
}

/// The event stream.
impl Client {
    /// Events from a revision on, without gaps.
    pub async fn list_events(
        &self,
        from_revision: u64,
        page_size: u32,
    ) -> Result<ListEventsResponse, ClientError> {
        let message = ListEventsRequest { from_revision, page_size };
        call!(self, Repeat::Read, events.list_events, message)
    }
}

/// The nodes and who they are to each other. These calls have no request_id.
impl Client {
    /// Forms the cluster from the members in the configuration of the node asked.
    pub async fn initialize(&self) -> Result<InitializeResponse, ClientError> {
        // A second node that is told so while the first is at it would answer that it is done.
        call!(self, Repeat::Once, cluster.initialize, InitializeRequest {})
    }

    /// What a node knows of itself, the others (unless `local`) and the log.
    pub async fn status(&self, digest: bool, local: bool) -> Result<StatusResponse, ClientError> {
        call!(self, Repeat::Read, cluster.status, StatusRequest { digest, local })
    }

    /// Adds a node that receives the log and does not vote.
    pub async fn add_node(&self, member: Member) -> Result<ClusterChangeResponse, ClientError> {
        let message = AddNodeRequest { member: Some(member) };
        call!(self, Repeat::Change, cluster.add_node, message)
    }

    /// Gives a caught-up node a vote.
    pub async fn promote_node(&self, node_id: u64) -> Result<ClusterChangeResponse, ClientError> {
        call!(self, Repeat::Change, cluster.promote_node, PromoteNodeRequest { node_id })
    }

    /// Takes a node out of the cluster for good.
    pub async fn remove_node(&self, node_id: u64) -> Result<ClusterChangeResponse, ClientError> {
        call!(self, Repeat::Change, cluster.remove_node, RemoveNodeRequest { node_id })
    }

    /// Makes a node the leader.
    pub async fn transfer_leadership(&self, node_id: u64) -> Result<ClusterChangeResponse, ClientError> {
        call!(self, Repeat::Change, cluster.transfer_leadership, TransferLeadershipRequest { node_id })
    }

    /// Makes the node at [`Client::endpoint`] (after the call) take a snapshot and purge its log
    /// behind it.
    pub async fn take_snapshot(&self) -> Result<TakeSnapshotResponse, ClientError> {
        call!(self, Repeat::Once, cluster.take_snapshot, TakeSnapshotRequest {})
    }
}
