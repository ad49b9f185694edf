//! Reads of projections: usage over time, history, holders, denials; and how the projections are.

use rust_decimal::Decimal;
use tokio::time::Instant;
use tonic::Status;

use super::Api;
use super::page;
use super::status;
use crate::codec::command;
use crate::codec::number;
use crate::ledger::Malformed;
use crate::ledger::ResourceId;
use crate::ledger::Revision;
use crate::ledger::ScopeId;
use crate::projection::About;
use crate::projection::ProjectionError;
use crate::projection::denials;
use crate::projection::history;
use crate::projection::history::Subject;
use crate::projection::holders;
use crate::projection::holders::Holder;
use crate::projection::usage;
use crate::projection::usage::Period;
use crate::proto::v1;
use crate::proto::v1::get_history_request::Of;
use crate::store::StateStore;

/// How many periods are shown when nobody says which.
const PERIODS: u64 = 60;

/// Most periods of one answer.
const MOST_PERIODS: u64 = 1_500;

/// Views that are answered from the state itself, the fold that decides: they are never behind it.
const IN_STATE: [(&str, &str); 2] = [
    ("tree", "what is taken at and below each scope; from the state itself"),
    ("view", "what a client of one scope may know; from the state itself"),
];

/// Most kinds of denials of one answer.
const MOST_DENIALS: usize = 1_000;

/// How many holders are shown when nobody says.
const HOLDERS: usize = 10;

/// Where a page of holders ended: what the last one takes, and who that is.
fn token_of(taken: Decimal, holder: &Holder) -> String {
    let (kind, name) = match holder {
        Holder::Consumer(name) => ("consumer", name),
        Holder::Actor(name) => ("actor", name),
    };
    format!("{}:{kind}:{name}", number::write(taken))
}

fn holder_token(token: &str) -> Result<Option<(Decimal, Holder)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parse = || {
        let (taken, holder) = token.split_once(':')?;
        let (kind, name) = holder.split_once(':')?;
        let holder = match kind {
            "consumer" => Holder::Consumer(name.to_owned()),
            "actor" => Holder::Actor(name.to_owned()),
            _ => return None,
        };
        Some((number::parse("page_token", taken).ok()?, holder))
    };
    parse().map(Some).ok_or_else(page::strange_token)
}

fn malformed(field: &str, problem: impl Into<String>) -> Status {
    status::malformed(&Malformed::new(field, problem.into()))
}

/// What a projection must show, and until when it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub revision: Revision,
    pub deadline: Instant,
}

impl Api {
    async fn read_views<T>(
        &self,
        about: About,
        wanted: Wanted,
        read: impl Fn(&dyn StateStore) -> Result<T, ProjectionError>,
    ) -> Result<(T, Revision), Status> {
        let read = self.node.read_views(about, wanted.revision, wanted.deadline, read).await;
        read.map_err(|error| status::failed(&error))
    }

    /// The numbers of a scope and a resource that exist.
    fn account(&self, scope: &str, resource: &str) -> Result<(ScopeId, ResourceId), Status> {
        let path = command::path("scope", scope).map_err(|error| status::malformed(&error))?;
        let state = self.node.state();
        Ok((page::scope(&state, &path)?.id, page::resource(&state, resource)?))
    }

    pub(super) async fn usage_series(
        &self,
        request: &v1::GetUsageSeriesRequest,
        wanted: Wanted,
    ) -> Result<v1::GetUsageSeriesResponse, Status> {
        let account = self.account(&request.scope, &request.resource)?;
        let period = match request.period() {
            v1::UsagePeriod::Minute => Period::Minute,
            v1::UsagePeriod::Hour | v1::UsagePeriod::Unspecified => Period::Hour,
            v1::UsagePeriod::Day => Period::Day,
        };
        let (now, decimals, used, held) = {
            let state = self.node.state();
            let taken = state.scope(account.0).account(account.1);
            let (used, held) =
                taken.map_or_else(Default::default, |taken| (taken.used.number(), taken.held.number()));
            (state.time(), u32::from(state.resource(account.1).decimals), used, held)
        };
        let (from, to) = match (request.from_ms, request.to_ms) {
            (0, 0) => {
                let end = (now / period.length() + 1) * period.length();
                (end.saturating_sub(PERIODS * period.length()), end)
            }
            (from, 0) => (from, now.saturating_add(1)),
            (from, to) => (from, to),
        };
        if to < from {
            return Err(malformed("to_ms", "is before from_ms"));
        }
        let periods = (to - from).div_ceil(period.length());
        if periods > MOST_PERIODS {
            let problem = format!("asks for {periods} periods; at most {MOST_PERIODS} are given at once");
            return Err(malformed("from_ms", problem));
        }
        let read = |store: &_| usage::series(store, account, period, (from, to), now);
        let (buckets, revision) = self.read_views(usage::ABOUT, wanted, read).await?;
        let bucket = |bucket: usage::Bucket| v1::UsageBucket {
            start_ms: bucket.start,
            last: number::write(bucket.last),
            peak: number::write(bucket.peak),
            average: number::write(bucket.average.trunc_with_scale(decimals + 2)),
        };
        Ok(v1::GetUsageSeriesResponse {
            buckets: buckets.into_iter().map(bucket).collect(),
            used: number::write(used),
            held: number::write(held),
            revision,
        })
    }

    pub(super) async fn history(
        &self,
        request: v1::GetHistoryRequest,
        wanted: Wanted,
    ) -> Result<v1::GetHistoryResponse, Status> {
        let size = page::size(request.page_size)?;
        let from = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse::<Revision>().map_err(|_| page::strange_token())?),
        };
        let subject = match request.of {
            Some(Of::Quota(quota)) => {
                let (scope, resource) = self.account(&quota.scope, &quota.resource)?;
                Subject::Quota(scope, resource)
            }
            Some(Of::HoldId(0)) => return Err(malformed("hold_id", "is 0; holds begin at 1")),
            Some(Of::HoldId(hold)) => Subject::Hold(hold),
            Some(Of::Job(job)) if job.is_empty() => return Err(malformed("job", "is empty")),
            Some(Of::Job(job)) => Subject::Job(job),
            None => return Err(malformed("of", "is missing: say a quota, a hold_id or a job")),
        };
        let compacted_at = self.node.state().compacted_at();
        let from = if request.newest_first {
            from
        } else {
            // What was removed is not there any more.
            Some(from.unwrap_or(0).max(compacted_at)).filter(|from| *from > 0)
        };
        // One more than is shown tells whether there is more.
        let read = |store: &_| history::revisions(store, &subject, request.newest_first, from, size + 1);
        let (found, revision) = self.read_views(history::ABOUT, wanted, read).await?;
        let found: Vec<_> = found.into_iter().filter(|revision| *revision > compacted_at).collect();
        let failed = |error| status::failed(&error);
        let events = self.node.events_at(&found[..found.len().min(size)]).map_err(failed)?;
        // A number that is no hold has no history.
        let is_made = |event: &v1::Event| match (&subject, &event.body) {
            (Subject::Hold(hold), Some(v1::event::Body::Reserved(_))) => event.revision == *hold,
            (Subject::Hold(hold), _) => event.revision != *hold,
            _ => true,
        };
        let last = events.last().map(|event| event.revision);
        let has_more = found.len() > events.len();
        Ok(v1::GetHistoryResponse {
            next_page_token: last.filter(|_| has_more).map(|last| last.to_string()).unwrap_or_default(),
            events: events.into_iter().filter(is_made).collect(),
            revision,
            compacted_at,
        })
    }

    pub(super) async fn holders(
        &self,
        request: &v1::ListHoldersRequest,
        wanted: Wanted,
    ) -> Result<v1::ListHoldersResponse, Status> {
        let limit = match request.limit {
            0 => HOLDERS,
            limit => page::size(limit)?,
        };
        let (_, resource) = self.account(&request.scope, &request.resource)?;
        let path = command::path("scope", &request.scope).map_err(|error| status::malformed(&error))?;
        let after = holder_token(&request.page_token)?;
        let read = |store: &_| holders::largest(store, &path, resource, after.as_ref(), limit);
        let ((holders, has_more), revision) = self.read_views(holders::ABOUT, wanted, read).await?;
        let last = holders.last().filter(|_| has_more);
        let next_page_token =
            last.map(|(holder, amounts)| token_of(amounts.taken(), holder)).unwrap_or_default();
        let holder = |(holder, amounts): (Holder, holders::Amounts)| {
            let (consumer, actor) = match holder {
                Holder::Consumer(consumer) => (consumer, String::new()),
                Holder::Actor(actor) => (String::new(), actor),
            };
            let (used, held) = (number::write(amounts.used), number::write(amounts.held));
            v1::HolderSum { consumer, actor, used, held }
        };
        let holders = holders.into_iter().map(holder).collect();
        Ok(v1::ListHoldersResponse { holders, revision, next_page_token })
    }

    pub(super) async fn denials(
        &self,
        request: &v1::GetDenialsRequest,
        wanted: Wanted,
    ) -> Result<v1::GetDenialsResponse, Status> {
        let within = page::within(&request.scope)?;
        let to = if request.to_ms == 0 { u64::MAX } else { request.to_ms };
        if to < request.from_ms {
            return Err(malformed("to_ms", "is before from_ms"));
        }
        let read = |store: &_| denials::counts(store, within.as_ref(), (request.from_ms, to));
        let (counts, revision) = self.read_views(denials::ABOUT, wanted, read).await?;
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.count));
        let denial = |(kind, count): (denials::Kind, denials::Count)| v1::DenialCount {
            reason: kind.reason,
            rule: kind.rule.into(),
            scope: kind.scope,
            resource: kind.resource,
            count: count.count,
            last_revision: count.last,
            last_ms: count.time,
        };
        let omitted = counts.len().saturating_sub(MOST_DENIALS) as u64;
        let denials = counts.into_iter().take(MOST_DENIALS).map(denial).collect();
        Ok(v1::GetDenialsResponse { denials, revision, omitted })
    }

    pub(super) fn projections(&self) -> v1::ListProjectionsResponse {
        let head = self.node.state().revision();
        let projections = self.node.projections().into_iter().map(|progress| {
            let About { name, purpose, .. } = progress.about;
            v1::Projection {
                name: name.to_owned(),
                purpose: purpose.to_owned(),
                revision: progress.revision,
                lag: head.saturating_sub(progress.revision),
                rebuilding: progress.is_catching_up,
            }
        });
        let in_state = IN_STATE.map(|(name, purpose)| v1::Projection {
            name: name.to_owned(),
            purpose: purpose.to_owned(),
            revision: head,
            ..Default::default()
        });
        v1::ListProjectionsResponse { projections: projections.chain(in_state).collect(), revision: head }
    }

    pub(super) async fn rebuild(&self, name: &str) -> Result<v1::RebuildProjectionResponse, Status> {
        if IN_STATE.iter().any(|(in_state, _)| *in_state == name) {
            let problem =
                format!("{name:?} is answered from the state itself: there is nothing to make anew");
            return Err(malformed("name", problem));
        }
        let rebuilt = self.node.rebuild(name).await;
        rebuilt.map(|()| v1::RebuildProjectionResponse {}).map_err(|error| status::failed(&error))
    }
}
