//! Scopes, resources and the policy on them; templates and plans.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::page;
use super::status;
use crate::codec::command;
use crate::codec::command::Message;
use crate::codec::plan;
use crate::codec::view;
use crate::ledger::Malformed;
use crate::ledger::Rejection;
use crate::ledger::ScopeId;
use crate::ledger::State;
use crate::ledger::command::MAX_BATCH;
use crate::ledger::drift::drift;
use crate::ledger::export::export_to;
use crate::ledger::export::is_at_most;
use crate::proto::v1;
use crate::proto::v1::quotas_server::Quotas;

/// The scope at a path of a request; `None` for "".
fn scope_at(state: &State, path: &str) -> Result<Option<ScopeId>, Status> {
    let Some(path) = page::within(path)? else {
        return Ok(None);
    };
    match state.scope_at(&path) {
        Some(scope) => Ok(Some(scope.id)),
        None => Err(status::rejected(&Rejection::UnknownScopes(vec![path]), state.revision())),
    }
}

#[tonic::async_trait]
impl Quotas for Api {
    async fn create_scope(
        &self,
        request: Request<v1::CreateScopeRequest>,
    ) -> Result<Response<v1::ScopeChangeResponse>, Status> {
        self.run(request, Message::CreateScope).await
    }

    async fn update_scope(
        &self,
        request: Request<v1::UpdateScopeRequest>,
    ) -> Result<Response<v1::ScopeChangeResponse>, Status> {
        self.run(request, Message::UpdateScope).await
    }

    async fn move_scope(
        &self,
        request: Request<v1::MoveScopeRequest>,
    ) -> Result<Response<v1::ScopeChangeResponse>, Status> {
        self.run(request, Message::MoveScope).await
    }

    async fn delete_scope(
        &self,
        request: Request<v1::DeleteScopeRequest>,
    ) -> Result<Response<v1::ScopeChangeResponse>, Status> {
        self.run(request, Message::DeleteScope).await
    }

    async fn register_resource(
        &self,
        request: Request<v1::RegisterResourceRequest>,
    ) -> Result<Response<v1::RegisterResourceResponse>, Status> {
        self.run(request, Message::RegisterResource).await
    }

    async fn set_quota(
        &self,
        request: Request<v1::SetQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::SetQuota).await
    }

    async fn adjust_quota(
        &self,
        request: Request<v1::AdjustQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::AdjustQuota).await
    }

    async fn delete_quota(
        &self,
        request: Request<v1::DeleteQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::DeleteQuota).await
    }

    async fn lock_quota(
        &self,
        request: Request<v1::LockQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::LockQuota).await
    }

    async fn unlock_quota(
        &self,
        request: Request<v1::UnlockQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::UnlockQuota).await
    }

    async fn override_quota(
        &self,
        request: Request<v1::OverrideQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::OverrideQuota).await
    }

    async fn cancel_schedule(
        &self,
        request: Request<v1::CancelScheduleRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::CancelSchedule).await
    }

    async fn transfer_quota(
        &self,
        request: Request<v1::TransferQuotaRequest>,
    ) -> Result<Response<v1::QuotaChangeResponse>, Status> {
        self.run(request, Message::TransferQuota).await
    }

    async fn put_template(
        &self,
        request: Request<v1::PutTemplateRequest>,
    ) -> Result<Response<v1::TemplateChangeResponse>, Status> {
        self.run(request, Message::PutTemplate).await
    }

    async fn apply_template(
        &self,
        request: Request<v1::ApplyTemplateRequest>,
    ) -> Result<Response<v1::ApplyTemplateResponse>, Status> {
        self.run(request, Message::ApplyTemplate).await
    }

    async fn apply_plan(
        &self,
        request: Request<v1::ApplyPlanRequest>,
    ) -> Result<Response<v1::ApplyPlanResponse>, Status> {
        self.run(request, Message::ApplyPlan).await
    }

    async fn get_scope(
        &self,
        request: Request<v1::GetScopeRequest>,
    ) -> Result<Response<v1::GetScopeResponse>, Status> {
        let state = self.view(&request, request.get_ref().read).await?;
        let path =
            command::path("path", &request.get_ref().path).map_err(|error| status::malformed(&error))?;
        let revision = state.revision();
        match state.scope_at(&path) {
            Some(scope) => {
                Ok(Response::new(v1::GetScopeResponse { scope: Some(view::scope(scope)), revision }))
            }
            None => Err(status::rejected(&Rejection::UnknownScopes(vec![path]), revision)),
        }
    }

    async fn list_scopes(
        &self,
        request: Request<v1::ListScopesRequest>,
    ) -> Result<Response<v1::ListScopesResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let state = self.view(&request, request.get_ref().read).await?;
        let request = request.into_inner();
        let labels = command::labels("labels", request.labels).map_err(|error| status::malformed(&error))?;
        let scopes = page::scopes(&state, &request.path, &request.page_token)?;
        let (scopes, next_page_token) = page::take(
            scopes,
            size,
            |scope| scope.labels.include(&labels).then(|| view::scope(scope)),
            |scope| scope.path.to_string(),
        );
        Ok(Response::new(v1::ListScopesResponse { scopes, next_page_token, revision: state.revision() }))
    }

    async fn list_resources(
        &self,
        request: Request<v1::ListResourcesRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        // The number of the last resource of the page before.
        let from = match request.get_ref().page_token.as_str() {
            "" => 0,
            token => {
                let last = token.parse::<u32>().ok();
                last.and_then(|last| last.checked_add(1)).ok_or_else(page::strange_token)?
            }
        };
        let state = self.view(&request, request.get_ref().read).await?;
        let (resources, next_page_token) = page::take(
            state.resources().iter().zip(0u32..).skip(from as usize),
            size,
            |(resource, _)| Some(view::resource(resource)),
            |(_, number)| number.to_string(),
        );
        let revision = state.revision();
        Ok(Response::new(v1::ListResourcesResponse { resources, revision, next_page_token }))
    }

    async fn get_template(
        &self,
        request: Request<v1::GetTemplateRequest>,
    ) -> Result<Response<v1::GetTemplateResponse>, Status> {
        let name =
            command::name("name", &request.get_ref().name).map_err(|error| status::malformed(&error))?;
        let state = self.view(&request, request.get_ref().read).await?;
        let revision = state.revision();
        match state.template(&name) {
            Some(template) => {
                let template = Some(view::template(&state, template));
                Ok(Response::new(v1::GetTemplateResponse { template, revision }))
            }
            None => Err(status::rejected(&Rejection::UnknownTemplate(name), revision)),
        }
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let after = match request.get_ref().page_token.as_str() {
            "" => None,
            token => Some(command::name("page_token", token).map_err(|error| status::malformed(&error))?),
        };
        let state = self.view(&request, request.get_ref().read).await?;
        let templates = state
            .templates()
            .skip_while(|template| after.as_ref().is_some_and(|after| template.name <= *after));
        let (templates, next_page_token) = page::take(
            templates,
            size,
            |template| Some(view::template(&state, template)),
            |template| template.name.to_string(),
        );
        let revision = state.revision();
        Ok(Response::new(v1::ListTemplatesResponse { templates, next_page_token, revision }))
    }

    async fn get_drift(
        &self,
        request: Request<v1::GetDriftRequest>,
    ) -> Result<Response<v1::GetDriftResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let state = self.view(&request, request.get_ref().read).await?;
        let request = request.into_inner();
        let scopes = page::scopes(&state, &request.scope, &request.page_token)?;
        let (drifts, next_page_token) = page::take(
            scopes,
            size,
            |scope| drift(&state, scope.id).map(|drift| view::drift(&state, &drift)),
            |scope| scope.path.to_string(),
        );
        Ok(Response::new(v1::GetDriftResponse { drifts, next_page_token, revision: state.revision() }))
    }

    async fn export_plan(
        &self,
        request: Request<v1::ExportPlanRequest>,
    ) -> Result<Response<v1::ExportPlanResponse>, Status> {
        let state = self.view(&request, request.get_ref().read).await?;
        let within = scope_at(&state, &request.get_ref().scope)?;
        let depth = request.get_ref().depth.map_or(usize::MAX, |depth| depth as usize);
        // Counted before anything is copied: the ledger waits meanwhile.
        if !is_at_most(&state, within, depth, MAX_BATCH) {
            let problem = format!(
                "leads to a plan of more than {MAX_BATCH} things, the most that a plan names: export it \
                 with a depth, and what is further down scope by scope"
            );
            return Err(status::malformed(&Malformed::new("scope", problem)));
        }
        let plan = Some(plan::encode(&export_to(&state, within, depth)));
        Ok(Response::new(v1::ExportPlanResponse { plan, revision: state.revision() }))
    }
}
