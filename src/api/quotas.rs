//! Scopes, resources and the policy on them.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::Granted;
use super::decide;
use super::page;
use super::status;
use crate::codec::command;
use crate::codec::view;
use crate::ledger::Grant;
use crate::ledger::Rejection;
use crate::proto::v1;
use crate::proto::v1::quotas_server::Quotas;

impl From<Granted> for v1::QuotaChangeResponse {
    fn from(granted: Granted) -> Self {
        let Grant::Version(version) = granted.grant else {
            unreachable!("a granted change of policy has a version");
        };
        Self { version, revision: granted.revision, replayed: granted.replayed }
    }
}

#[tonic::async_trait]
impl Quotas for Api {
    async fn create_scope(
        &self,
        request: Request<v1::CreateScopeRequest>,
    ) -> Result<Response<v1::CreateScopeResponse>, Status> {
        let granted = decide!(self, request, CreateScope);
        Ok(Response::new(v1::CreateScopeResponse { revision: granted.revision, replayed: granted.replayed }))
    }

    async fn register_resource(
        &self,
        request: Request<v1::RegisterResourceRequest>,
    ) -> Result<Response<v1::RegisterResourceResponse>, Status> {
        let granted = decide!(self, request, RegisterResource);
        Ok(Response::new(v1::RegisterResourceResponse {
            revision: granted.revision,
            replayed: granted.replayed,
        }))
    }

    async fn set_quota(
        &self,
        request: Request<v1::SetQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        let granted = decide!(self, request, SetQuota);
        Ok(Response::new(granted.into()))
    }

    async fn adjust_quota(
        &self,
        request: Request<v1::AdjustQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        let granted = decide!(self, request, AdjustQuota);
        Ok(Response::new(granted.into()))
    }

    async fn lock_quota(
        &self,
        request: Request<v1::LockQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        let granted = decide!(self, request, LockQuota);
        Ok(Response::new(granted.into()))
    }

    async fn unlock_quota(
        &self,
        request: Request<v1::UnlockQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        let granted = decide!(self, request, UnlockQuota);
        Ok(Response::new(granted.into()))
    }

    async fn get_scope(
        &self,
        request: Request<v1::GetScopeRequest>,
    ) -> Result<Response<v1::GetScopeResponse>, Status> {
        self.linearize(&request).await?;
        let path =
            command::path("path", &request.get_ref().path).map_err(|error| status::malformed(&error))?;
        let state = self.node.state();
        let revision = state.revision();
        match state.scope_at(&path) {
            Some(scope) => {
                Ok(Response::new(v1::GetScopeResponse { scope: Some(view::scope(scope)), revision }))
            }
            None => Err(status::rejected(&Rejection::UnknownScopes(vec![path]), revision, false)),
        }
    }

    async fn list_scopes(
        &self,
        request: Request<v1::ListScopesRequest>,
    ) -> Result<Response<v1::ListScopesResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        self.linearize(&request).await?;
        let request = request.into_inner();
        let state = self.node.state();
        let scopes = page::scopes(&state, &request.path, &request.page_token)?;
        let (scopes, next_page_token) =
            page::take(scopes, size, |scope| view::scope(scope), |scope| scope.path.to_string());
        Ok(Response::new(v1::ListScopesResponse { scopes, next_page_token, revision: state.revision() }))
    }

    async fn list_resources(
        &self,
        request: Request<v1::ListResourcesRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        self.linearize(&request).await?;
        let state = self.node.state();
        let resources = state.resources().iter().map(command::encode_resource).collect();
        Ok(Response::new(v1::ListResourcesResponse { resources, revision: state.revision() }))
    }
}
