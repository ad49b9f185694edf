//! What is taken, seen from above (the roll-up of a subtree) and from inside (what a client of one scope
//! may know).

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::page;
use super::walk::Walk;
use crate::codec::number;
use crate::ledger::Amount;
use crate::ledger::Path;
use crate::ledger::ResourceId;
use crate::ledger::Scope;
use crate::ledger::State;
use crate::ledger::scope::Account;
use crate::proto::v1;
use tonic::Status;

/// Of more scopes than this nothing is counted: the ledger waits meanwhile.
const MOST_COUNTED: usize = 50_000;

/// Digits of a utilisation behind the point.
const UTILISATION_DIGITS: u32 = 4;

/// A page of what is taken at and below a scope.
pub(super) fn usage(state: &State, request: &v1::GetUsageRequest) -> Result<v1::GetUsageResponse, Status> {
    let size = page::size(request.page_size)?;
    let within = page::within(&request.scope)?;
    let resource = wanted(state, &request.resource)?;
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(page::path_token(token)?),
    };
    let top = within.as_ref().map_or(1, depth);
    let deepest = request.depth.map_or(usize::MAX, |depth| top.saturating_add(depth as usize));
    let rows = page::scopes_after(state, &request.scope, after.clone())?
        .filter(|scope| depth(&scope.path) <= deepest);
    // A scope is shown whole: its page may be somewhat longer.
    let (shown, next_page_token) = page::take(
        rows,
        size,
        |scope| {
            let accounts = scope.accounts().iter().filter(|account| is_wanted(account, resource));
            let usages: Vec<_> =
                accounts.map(|account| row(state, scope, account, depth(&scope.path) - top)).collect();
            (!usages.is_empty()).then_some(v1::GetUsageResponse { usages, ..Default::default() })
        },
        |scope| scope.path.to_string(),
    );
    let sums = if after.is_none() { sums(state, within.as_ref(), resource) } else { Vec::new() };
    let usages = shown.into_iter().flat_map(|scope| scope.usages).collect();
    Ok(v1::GetUsageResponse { usages, sums, next_page_token, revision: state.revision() })
}

fn depth(path: &Path) -> usize {
    path.segments().count()
}

/// The resource that is asked for; `None` for every one.
fn wanted(state: &State, name: &str) -> Result<Option<ResourceId>, Status> {
    if name.is_empty() { Ok(None) } else { page::resource(state, name).map(Some) }
}

fn is_wanted(account: &Account, resource: Option<ResourceId>) -> bool {
    resource.is_none_or(|resource| account.resource == resource)
}

fn row(state: &State, scope: &Scope, account: &Account, depth: usize) -> v1::Usage {
    v1::Usage {
        scope: scope.path.to_string(),
        depth: u32::try_from(depth).unwrap_or(u32::MAX),
        resource: state.resource(account.resource).name.to_string(),
        used: account.used.to_string(),
        held: account.held.to_string(),
        effective_limit: account.limit().map(|limit| limit.to_string()),
        available: account.available().map(|available| available.to_string()),
        utilisation: utilisation(account).map(number::write),
    }
}

/// How much of its limit is taken; `None` without a limit or when it is 0.
fn utilisation(account: &Account) -> Option<Decimal> {
    let taken = account.used.number().checked_add(account.held.number())?;
    let share = taken.checked_div(account.limit()?.number())?;
    Some(share.trunc_with_scale(UTILISATION_DIGITS))
}

/// What is taken of each resource at and below a scope, or everywhere.
fn sums(state: &State, within: Option<&Path>, resource: Option<ResourceId>) -> Vec<v1::UsageSum> {
    let tops: Vec<&Scope> = match within {
        Some(path) => state.scope_at(path).into_iter().collect(),
        None => state.trees_from("").collect(),
    };
    let mut taken: BTreeMap<ResourceId, (Decimal, Decimal)> = BTreeMap::new();
    for account in tops.iter().flat_map(|scope| scope.accounts()) {
        if is_wanted(account, resource) {
            let (used, held) = taken.entry(account.resource).or_default();
            *used = used.saturating_add(account.used.number());
            *held = held.saturating_add(account.held.number());
        }
    }
    let mut counts = counted(state, &tops, resource);
    let sum = |(id, (used, held)): (ResourceId, (Decimal, Decimal))| v1::UsageSum {
        resource: state.resource(id).name.to_string(),
        used: number::write(used),
        held: number::write(held),
        counts: counts.as_mut().map(|counts| counts.remove(&id).unwrap_or_default()),
    };
    taken.into_iter().map(sum).collect()
}

/// The quota that is taken most, with its share.
type Fullest<'a> = Option<(Decimal, &'a Scope)>;

fn counted(
    state: &State,
    tops: &[&Scope],
    resource: Option<ResourceId>,
) -> Option<BTreeMap<ResourceId, v1::UsageCounts>> {
    let mut counts: BTreeMap<ResourceId, (v1::UsageCounts, Fullest<'_>)> = BTreeMap::new();
    let mut scopes = 0;
    for scope in tops.iter().flat_map(|top| Walk::whole(state, top)) {
        scopes += 1;
        if scopes > MOST_COUNTED {
            return None;
        }
        for account in scope.accounts().iter().filter(|account| is_wanted(account, resource)) {
            let (count, fullest) = counts.entry(account.resource).or_default();
            if account.quota.is_none() {
                continue;
            }
            count.quotas += 1;
            count.over += u64::from(account.over_by().is_some_and(|over| !over.is_zero()));
            count.idle += u64::from(account.used.is_zero() && account.held.is_zero());
            if let Some(share) = utilisation(account)
                && fullest.is_none_or(|(most, _)| share > most)
            {
                *fullest = Some((share, scope));
            }
        }
    }
    let complete = |(id, (count, fullest)): (ResourceId, (v1::UsageCounts, Fullest<'_>))| {
        let counts = v1::UsageCounts {
            scopes: scopes as u64,
            fullest_scope: fullest.map(|(_, scope)| scope.path.to_string()).unwrap_or_default(),
            fullest_utilisation: fullest.map(|(share, _)| number::write(share)).unwrap_or_default(),
            ..count
        };
        (id, counts)
    };
    Some(counts.into_iter().map(complete).collect())
}

/// What a client of a scope may know.
pub(super) fn consumer_view(state: &State, path: &Path) -> Result<v1::GetConsumerViewResponse, Status> {
    let scope = page::scope(state, path)?;
    let lineage = || std::iter::successors(Some(scope), |scope| scope.parent.map(|id| state.scope(id)));
    let mut resources: Vec<ResourceId> = lineage()
        .flat_map(Scope::accounts)
        .filter(|account| account.quota.is_some())
        .map(|account| account.resource)
        .collect();
    resources.sort_unstable();
    resources.dedup();
    let quotas = resources.into_iter().map(|id| {
        let accounts = || lineage().filter_map(|scope| scope.account(id));
        let least = |amounts: &mut dyn Iterator<Item = Amount>| {
            amounts.min_by_key(|amount| amount.number()).map(|amount| amount.to_string())
        };
        let own = scope.account(id);
        let taken = own.map_or(Decimal::ZERO, |own| own.used.number().saturating_add(own.held.number()));
        let resource = state.resource(id);
        v1::ConsumerQuota {
            resource: resource.name.to_string(),
            unit: resource.unit.clone(),
            limit: least(&mut accounts().filter_map(Account::limit)),
            used: number::write(taken),
            available: least(&mut accounts().filter_map(Account::available)),
        }
    });
    Ok(v1::GetConsumerViewResponse { quotas: quotas.collect(), revision: state.revision() })
}
