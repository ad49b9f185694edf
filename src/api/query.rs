//! Reads of quotas and holds.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::page;
use super::projections::Wanted;
use super::status;
use super::usage;
use crate::codec::command;
use crate::codec::view;
use crate::ledger::Hold;
use crate::ledger::Malformed;
use crate::ledger::Path;
use crate::ledger::Rejection;
use crate::ledger::ResourceId;
use crate::ledger::Scope;
use crate::ledger::State;
use crate::ledger::hold::Tags;
use crate::ledger::rejection::QuotaName;
use crate::ledger::scope::Account;
use crate::node::deadline::deadline;
use crate::proto::v1;
use crate::proto::v1::query_server::Query;
use crate::proto::v1::read::Kind;

/// How far the page before came: a scope, and the number of the resource there, if one was looked at:
/// "path:number" or "path:". `None` for the first page.
fn quota_token(token: &str) -> Result<Option<(Path, Option<ResourceId>)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parse = |(path, resource): (&str, &str)| {
        let path = command::path("page_token", path).ok()?;
        let resource = match resource {
            "" => None,
            number => Some(ResourceId(number.parse().ok()?)),
        };
        Some((path, resource))
    };
    let parsed = token.rsplit_once(':').and_then(parse).map(Some);
    parsed.ok_or_else(page::strange_token)
}

/// The scope, and then what is counted there after a resource.
fn looked_at(scope: &Scope, after: Option<ResourceId>) -> impl Iterator<Item = (&Scope, Option<&Account>)> {
    let accounts = scope.accounts().iter().filter(move |account| Some(account.resource) > after);
    std::iter::once(None).chain(accounts.map(Some)).map(move |account| (scope, account))
}

/// Which holds are wanted: those that pass everything that is said.
struct Filter {
    within: Option<Path>,
    tags: Tags,
}

impl Filter {
    fn of(request: &v1::ListHoldsRequest) -> Result<Self, Malformed> {
        let within = match request.scope.as_str() {
            "" => None,
            path => Some(command::path("scope", path)?),
        };
        let labels = command::labels("labels", request.labels.clone())?;
        Ok(Self { within, tags: Tags::new(&request.job, &request.consumer, labels)? })
    }

    fn passes(&self, state: &State, hold: &Hold) -> bool {
        let within = self
            .within
            .as_ref()
            .is_none_or(|path| hold.lines.iter().any(|line| state.scope(line.scope).path.is_within(path)));
        let is = |wanted: &Option<_>, actual: Option<&_>| wanted.is_none() || wanted.as_ref() == actual;
        let tags = hold.tags.as_deref();
        within
            && is(&self.tags.job, tags.and_then(|tags| tags.job.as_ref()))
            && is(&self.tags.consumer, tags.and_then(|tags| tags.consumer.as_ref()))
            && tags.map_or(self.tags.labels.is_empty(), |tags| tags.labels.include(&self.tags.labels))
    }
}

#[tonic::async_trait]
impl Query for Api {
    async fn get_quota(
        &self,
        request: Request<v1::GetQuotaRequest>,
    ) -> Result<Response<v1::GetQuotaResponse>, Status> {
        let malformed = |error| status::malformed(&error);
        let path = command::path("scope", &request.get_ref().scope).map_err(malformed)?;
        let name = command::name("resource", &request.get_ref().resource).map_err(malformed)?;
        let state = self.view(&request, request.get_ref().read).await?;
        let revision = state.revision();
        let rejected = |rejection| status::rejected(&rejection, revision);
        let scope =
            state.scope_at(&path).ok_or_else(|| rejected(Rejection::UnknownScopes(vec![path.clone()])))?;
        let resource = state
            .resource_id(&name)
            .ok_or_else(|| rejected(Rejection::UnknownResources(vec![name.clone()])))?;
        match view::quota(&state, scope, resource) {
            Some(quota) => Ok(Response::new(v1::GetQuotaResponse { quota: Some(quota), revision })),
            None => {
                let quota = QuotaName { scope: path, resource: name };
                Err(rejected(Rejection::UnknownQuotas(vec![quota])))
            }
        }
    }

    async fn list_quotas(
        &self,
        request: Request<v1::ListQuotasRequest>,
    ) -> Result<Response<v1::ListQuotasResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let state = self.view(&request, request.get_ref().read).await?;
        let request = request.into_inner();
        let (path, resource) = quota_token(&request.page_token)?.unzip();
        // What is left of the scope in which the page before ended, and then those after it.
        let rest = path.as_ref().and_then(|path| state.scope_at(path));
        let rest = rest.into_iter().flat_map(|scope| looked_at(scope, resource.flatten()).skip(1));
        let scopes = page::scopes_after(&state, &request.scope, path.clone())?;
        let (quotas, next_page_token) = page::take(
            rest.chain(scopes.flat_map(|scope| looked_at(scope, None))),
            size,
            |(scope, account)| view::quota(&state, scope, account.as_ref()?.resource),
            |(scope, account)| {
                let resource = account.map(|account| account.resource.0.to_string()).unwrap_or_default();
                format!("{}:{resource}", scope.path)
            },
        );
        Ok(Response::new(v1::ListQuotasResponse { quotas, next_page_token, revision: state.revision() }))
    }

    async fn get_hold(
        &self,
        request: Request<v1::GetHoldRequest>,
    ) -> Result<Response<v1::GetHoldResponse>, Status> {
        let state = self.view(&request, request.get_ref().read).await?;
        let id = request.into_inner().hold_id;
        let revision = state.revision();
        let hold = match (state.hold(id), state.closing(id)) {
            (Some(hold), _) => view::hold(&state, hold),
            (None, Some(closing)) => view::closed_hold(closing),
            (None, None) => return Err(status::rejected(&Rejection::UnknownHold(id), revision)),
        };
        Ok(Response::new(v1::GetHoldResponse { hold: Some(hold), revision }))
    }

    async fn list_holds(
        &self,
        request: Request<v1::ListHoldsRequest>,
    ) -> Result<Response<v1::ListHoldsResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let filter = Filter::of(request.get_ref()).map_err(|error| status::malformed(&error))?;
        let from = match request.get_ref().page_token.as_str() {
            "" => 0,
            token => {
                let last = token.parse::<u64>().ok();
                last.and_then(|last| last.checked_add(1)).ok_or_else(page::strange_token)?
            }
        };
        let state = self.view(&request, request.get_ref().read).await?;
        if let Some(path) = &filter.within
            && state.scope_at(path).is_none()
        {
            let rejection = Rejection::UnknownScopes(vec![path.clone()]);
            return Err(status::rejected(&rejection, state.revision()));
        }
        let (holds, next_page_token) = page::take(
            state.holds_from(from),
            size,
            |hold| filter.passes(&state, hold).then(|| view::hold(&state, hold)),
            |hold| hold.id.to_string(),
        );
        Ok(Response::new(v1::ListHoldsResponse { holds, next_page_token, revision: state.revision() }))
    }

    async fn get_usage(
        &self,
        request: Request<v1::GetUsageRequest>,
    ) -> Result<Response<v1::GetUsageResponse>, Status> {
        let state = self.view(&request, request.get_ref().read).await?;
        Ok(Response::new(usage::usage(&state, request.get_ref())?))
    }

    async fn get_consumer_view(
        &self,
        request: Request<v1::GetConsumerViewRequest>,
    ) -> Result<Response<v1::GetConsumerViewResponse>, Status> {
        let path = command::path("scope", &request.get_ref().scope);
        let path = path.map_err(|error| status::malformed(&error))?;
        let state = self.view(&request, request.get_ref().read).await?;
        Ok(Response::new(usage::consumer_view(&state, &path)?))
    }

    async fn get_usage_series(
        &self,
        request: Request<v1::GetUsageSeriesRequest>,
    ) -> Result<Response<v1::GetUsageSeriesResponse>, Status> {
        let wanted = self.wanted(&request, request.get_ref().read).await?;
        self.usage_series(request.get_ref(), wanted).await.map(Response::new)
    }

    async fn get_history(
        &self,
        request: Request<v1::GetHistoryRequest>,
    ) -> Result<Response<v1::GetHistoryResponse>, Status> {
        let wanted = self.wanted(&request, request.get_ref().read).await?;
        self.history(request.into_inner(), wanted).await.map(Response::new)
    }

    async fn list_holders(
        &self,
        request: Request<v1::ListHoldersRequest>,
    ) -> Result<Response<v1::ListHoldersResponse>, Status> {
        let wanted = self.wanted(&request, request.get_ref().read).await?;
        self.holders(request.get_ref(), wanted).await.map(Response::new)
    }

    async fn get_denials(
        &self,
        request: Request<v1::GetDenialsRequest>,
    ) -> Result<Response<v1::GetDenialsResponse>, Status> {
        let wanted = self.wanted(&request, request.get_ref().read).await?;
        self.denials(request.get_ref(), wanted).await.map(Response::new)
    }

    async fn list_projections(
        &self,
        _: Request<v1::ListProjectionsRequest>,
    ) -> Result<Response<v1::ListProjectionsResponse>, Status> {
        Ok(Response::new(self.projections()))
    }

    async fn rebuild_projection(
        &self,
        request: Request<v1::RebuildProjectionRequest>,
    ) -> Result<Response<v1::RebuildProjectionResponse>, Status> {
        self.rebuild(&request.get_ref().name).await.map(Response::new)
    }
}

impl Api {
    /// What a read wants of a projection.
    async fn wanted<T>(&self, request: &Request<T>, read: Option<v1::Read>) -> Result<Wanted, Status> {
        let deadline = deadline(request, DEFAULT_TIMEOUT);
        let revision = match read.and_then(|read| read.kind) {
            Some(Kind::AtRevision(_) | Kind::AtTimeMs(_)) => {
                let problem = "asks for the past; projections are there as of now only";
                return Err(status::malformed(&Malformed::new("read", problem)));
            }
            // However far the ledger is by now.
            Some(Kind::AtLeast(revision)) => {
                self.reach(request, read).await?;
                revision
            }
            Some(Kind::MaxLagMs(_)) | None => self.reach(request, read).await?,
        };
        Ok(Wanted { revision, deadline })
    }
}
