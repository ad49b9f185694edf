//! Linearizable reads of quotas and holds.

use std::cmp::Ordering;

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::page;
use super::status;
use crate::codec::command;
use crate::codec::view;
use crate::ledger::Hold;
use crate::ledger::Malformed;
use crate::ledger::Path;
use crate::ledger::Rejection;
use crate::ledger::ResourceId;
use crate::ledger::State;
use crate::ledger::hold::Tags;
use crate::ledger::rejection::QuotaName;
use crate::proto::v1;
use crate::proto::v1::query_server::Query;

/// The last quota of the page before: "path:resource number"; `None` for the first page.
fn quota_token(token: &str) -> Result<Option<(Path, ResourceId)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    token
        .rsplit_once(':')
        .and_then(|(path, resource)| {
            let path = command::path("page_token", path).ok()?;
            Some(Some((path, ResourceId(resource.parse().ok()?))))
        })
        .ok_or_else(|| status::malformed(&Malformed::new("page_token", "is not one this server gave")))
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
        self.linearize(&request).await?;
        let state = self.node.state();
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
        self.linearize(&request).await?;
        let request = request.into_inner();
        let state = self.node.state();
        let after = quota_token(&request.page_token)?;
        let quotas = page::scopes(&state, &request.scope, "")?
            .flat_map(|scope| scope.accounts().iter().map(move |account| (scope, account)))
            .filter(|(_, account)| account.quota.is_some())
            .skip_while(|(scope, account)| {
                after.as_ref().is_some_and(|(path, resource)| {
                    // Segment by segment: that is the order of the walk.
                    match scope.path.segments().cmp(path.segments()) {
                        Ordering::Less => true,
                        Ordering::Equal => account.resource <= *resource,
                        Ordering::Greater => false,
                    }
                })
            });
        let (quotas, next_page_token) = page::take(
            quotas,
            size,
            |(scope, account)| {
                view::quota(&state, scope, account.resource).expect("only accounts with a quota are listed")
            },
            |(scope, account)| format!("{}:{}", scope.path, account.resource.0),
        );
        Ok(Response::new(v1::ListQuotasResponse { quotas, next_page_token, revision: state.revision() }))
    }

    async fn get_hold(
        &self,
        request: Request<v1::GetHoldRequest>,
    ) -> Result<Response<v1::GetHoldResponse>, Status> {
        self.linearize(&request).await?;
        let id = request.into_inner().hold_id;
        let state = self.node.state();
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
            token => token.parse::<u64>().ok().and_then(|last| last.checked_add(1)).ok_or_else(|| {
                status::malformed(&Malformed::new("page_token", "is not one this server gave"))
            })?,
        };
        self.linearize(&request).await?;
        let state = self.node.state();
        if let Some(path) = &filter.within
            && state.scope_at(path).is_none()
        {
            let rejection = Rejection::UnknownScopes(vec![path.clone()]);
            return Err(status::rejected(&rejection, state.revision()));
        }
        let holds = state.holds_from(from).filter(|hold| filter.passes(&state, hold));
        let (holds, next_page_token) =
            page::take(holds, size, |hold| view::hold(&state, hold), |hold| hold.id.to_string());
        Ok(Response::new(v1::ListHoldsResponse { holds, next_page_token, revision: state.revision() }))
    }
}
