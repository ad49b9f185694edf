//! Parts of limits between siblings.

use super::Context;
use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::touched_by_policy;
use super::place::Limits;
use super::policy;
use super::quota::below_use;
use super::quota::check_combination;
use super::quota::check_version;
use super::quota::conflict;
use super::quota::drained;
use super::quota::existing;
use super::quota::version_of;
use super::quota_name;
use crate::ledger::Revision;
use crate::ledger::amount::Amount;
use crate::ledger::amount::MAX_AMOUNT;
use crate::ledger::command::TransferQuota;
use crate::ledger::event::Body;
use crate::ledger::event::Touched;
use crate::ledger::event::TransferSide;
use crate::ledger::quota::Limit;
use crate::ledger::quota::Policy;
use crate::ledger::rejection::Malformed;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Scope;
use crate::ledger::scope::ScopeId;
use crate::ledger::transfer::MAX_LOANS;

pub(super) fn transfer(cx: Context<'_>, command: &TransferQuota) -> Decided {
    let state = cx.state;
    let malformed = |field: &str, problem: String| Rejection::Malformed(Malformed::new(field, problem));
    let resource = state.resource_id(&command.resource);
    let amount = match resource {
        Some(resource) => Some(
            Amount::new(command.amount, state.resource(resource).decimals)
                .map_err(|error| malformed("amount", error.to_string()))?,
        ),
        None => None,
    };
    if let Some(until) = command.until.filter(|until| *until <= cx.now) {
        return Err(malformed("until_ms", format!("is {until}, and it is {} already", cx.now)));
    }
    let (from, to) = find_both(cx, command)?;
    let (Some(resource), Some(amount)) = (resource, amount) else {
        return Err(Rejection::UnknownResources(vec![command.resource.clone()]));
    };
    let missing: Vec<_> = [from, to]
        .into_iter()
        .filter(|scope| scope.quota(resource).is_none())
        .map(|scope| quota_name(state, scope, resource))
        .collect();
    if !missing.is_empty() {
        return Err(Rejection::UnknownQuotas(missing));
    }
    check_version(state, from, resource, command.if_from_version)?;
    check_version(state, to, resource, command.if_to_version)?;
    if command.until.is_some() {
        for side in [from, to] {
            check_count(state, side, resource)?;
        }
    }
    let parent = state.scope(from.parent.expect("siblings have a parent"));
    if !parent.quota(resource).is_some_and(|quota| quota.policy.terms().allow_transfer) {
        return Err(Rejection::TransferNotAllowed(quota_name(state, parent, resource)));
    }
    let (lowered, raised) = both_policies(cx, from, to, resource, amount)?;
    let replaced = [(from.id, Some(&lowered)), (to.id, Some(&raised))];
    if !cx.places_later {
        let limits = Limits { state, resource, replaced: &replaced };
        limits.check(from)?;
        limits.check(to)?;
    }
    let account = from.account(resource).expect("a scope with a quota has an account");
    let mut after = existing(state, from, resource)?.clone();
    after.policy = lowered.clone();
    if let Some(limit) = after.effective().filter(|limit| account.taken() > *limit) {
        return Err(below_use(state, from, account, limit));
    }
    let body = Body::QuotaTransferred {
        from: side(from, resource, &lowered, None),
        to: side(to, resource, &raised, None),
        resource,
        amount,
        until: command.until,
    };
    Ok(Decision { body, touched: touched(cx, resource, &[(from, &lowered), (to, &raised)]) })
}

/// There is room for one more that goes back.
fn check_count(state: &State, scope: &Scope, resource: ResourceId) -> Result<(), Rejection> {
    let waiting = state.loans(scope.id, resource).count();
    if waiting < MAX_LOANS {
        return Ok(());
    }
    Err(Rejection::ScheduleConflict {
        quota: quota_name(state, scope, resource),
        problem: format!("has {waiting} transfers waiting to go back, which is the most"),
    })
}

fn find_both<'a>(cx: Context<'a>, command: &TransferQuota) -> Result<(&'a Scope, &'a Scope), Rejection> {
    match (cx.state.scope_at(&command.from), cx.state.scope_at(&command.to)) {
        (Some(from), Some(to)) => Ok((from, to)),
        (from, to) => {
            let sides = [(from, &command.from), (to, &command.to)];
            let unknown = sides.into_iter().filter(|(scope, _)| scope.is_none());
            Err(Rejection::UnknownScopes(unknown.map(|(_, path)| path.clone()).collect()))
        }
    }
}

/// The policies of both sides after a transfer.
fn both_policies(
    cx: Context<'_>,
    from: &Scope,
    to: &Scope,
    resource: ResourceId,
    amount: Amount,
) -> Result<(Policy, Policy), Rejection> {
    let state = cx.state;
    let limit_of = |scope: &Scope| -> Result<Amount, Rejection> {
        match existing(state, scope, resource)?.policy.limit {
            Limit::Amount(limit) => Ok(limit),
            Limit::Unlimited | Limit::Inherit => Err(conflict(
                state,
                scope,
                resource,
                "is not an amount of which a part could be passed on".into(),
            )),
        }
    };
    let (has, gets) = (limit_of(from)?, limit_of(to)?);
    let Some(less) = has.checked_sub(amount) else {
        return Err(conflict(
            state,
            from,
            resource,
            format!("is {has}, of which {amount} cannot be passed on"),
        ));
    };
    let Some(more) = gets.checked_add(amount).filter(|more| more.number() <= MAX_AMOUNT) else {
        let problem =
            format!("is {gets}; {amount} more goes beyond 10^18, or beyond what can be counted exactly");
        return Err(conflict(state, to, resource, problem));
    };
    let with = |scope: &Scope, limit| -> Result<Policy, Rejection> {
        let policy = existing(state, scope, resource)?.policy.with_limit(Limit::Amount(limit));
        check_combination(state, scope, resource, &policy)?;
        Ok(policy)
    };
    Ok((with(from, less)?, with(to, more)?))
}

/// A transfer goes back, since its time has come or somebody ends it at one of its sides: as much as
/// the one who got it still has and has not promised to those below it, and as fits where it came
/// from. What else the policies of both say must still make sense. A side without an amount is left
/// alone.
pub(super) fn back(cx: Context<'_>, id: Revision, asked: Option<ScopeId>) -> Decision {
    let state = cx.state;
    let transfer = state.transfers.get(&id).expect("a transfer that goes back is there");
    let resource = transfer.resource;
    let side_of = |scope: ScopeId| Side::of(state.scope(scope), resource);
    let (from, to) = (side_of(transfer.from), side_of(transfer.to));
    let limits = Limits { state, resource, replaced: &[] };
    let least = to.as_ref().map_or(0, |to| limits.least_for_below(to.scope));
    let is_enough = |policy: &Policy| policy.effective().is_some_and(|effective| effective.units() >= least);
    let fits = |units: i128| {
        let lowered = match &to {
            Some(to) => match to.moved(-units).filter(is_enough) {
                Some(lowered) => Some((to.scope.id, lowered)),
                None => return false,
            },
            None => None,
        };
        let replaced: Vec<_> = lowered.iter().map(|(scope, policy)| (*scope, Some(policy))).collect();
        let limits = Limits { replaced: &replaced, ..limits };
        from.as_ref()
            .is_none_or(|from| from.moved(units).is_some_and(|policy| limits.fits_above(from.scope, &policy)))
    };
    let most_there_is = to.as_ref().map_or(transfer.amount, |to| transfer.amount.min(to.limit));
    let step = [&from, &to].into_iter().flatten().map(Side::step).max().unwrap_or(1);
    let units = most(most_there_is.units(), step, fits);
    let none = transfer.amount.saturating_sub(transfer.amount);
    let amount = none.of_units(units).expect("no more goes back than there is");
    let (from, to) = (from.map(|from| from.after(units)), to.map(|to| to.after(-units)));
    let amount_of = |side: &Option<_>| if side.is_some() { amount } else { none };
    let (given, received) = (amount_of(&to), amount_of(&from));
    let sides: Vec<(&Scope, &Policy)> =
        [&from, &to].into_iter().flatten().map(|(scope, policy)| (*scope, policy)).collect();
    let after = |moved: &(&Scope, Policy)| {
        let (scope, policy) = moved;
        let quota = scope.quota(resource).expect("a side with a policy has a quota");
        let hard = quota.active_override().map_or(policy.limit, |_| quota.hard());
        let drain = drained(state, scope, resource, policy.effective_of(hard), policy.terms().on_reduce);
        side(scope, resource, policy, drain)
    };
    let body = Body::TransferReturned {
        id,
        from: from.as_ref().map(after),
        to: to.as_ref().map(after),
        resource,
        lent: transfer.amount,
        given,
        received,
        asked,
    };
    Decision { body, touched: touched(cx, resource, &sides) }
}

/// One side of a transfer whose limit is an amount.
struct Side<'a> {
    scope: &'a Scope,
    policy: &'a Policy,
    limit: Amount,
}

impl<'a> Side<'a> {
    fn of(scope: &'a Scope, resource: ResourceId) -> Option<Self> {
        let policy = &scope.quota(resource)?.policy;
        match policy.limit {
            Limit::Amount(limit) => Some(Self { scope, policy, limit }),
            Limit::Unlimited | Limit::Inherit => None,
        }
    }

    /// In steps of so many units an overcommit ratio gives whole units: between them what is cut off
    /// goes up and down, and a search would be led astray.
    fn step(&self) -> i128 {
        self.policy.terms().overcommit.map_or(1, |ratio| 10i128.pow(ratio.normalize().scale()))
    }

    /// With so many units more, which it was found that it can have.
    fn after(&self, units: i128) -> (&'a Scope, Policy) {
        (self.scope, self.moved(units).expect("what was tried makes sense"))
    }

    /// Its policy with so many units more, if that makes sense by itself.
    fn moved(&self, units: i128) -> Option<Policy> {
        let limit = self.limit.of_units(self.limit.units() + units)?;
        let policy = self.policy.with_limit(Limit::Amount(limit));
        // What is there now is there, whatever it is.
        let makes_sense = units == 0 || (limit.number() <= MAX_AMOUNT && policy::check(&policy).is_ok());
        makes_sense.then_some(policy)
    }
}

/// All units if they fit, or else the most whole steps of them, at least none.
fn most(all: i128, step: i128, fits: impl Fn(i128) -> bool) -> i128 {
    if fits(all) {
        return all;
    }
    let fits = |steps: i128| fits(steps * step);
    let (mut fitting, mut too_much) = (0, (all + step - 1) / step);
    while too_much - fitting > 1 {
        let middle = fitting + (too_much - fitting) / 2;
        if fits(middle) { fitting = middle } else { too_much = middle }
    }
    fitting * step
}

fn side(scope: &Scope, resource: ResourceId, policy: &Policy, drain: Option<Amount>) -> TransferSide {
    let Limit::Amount(limit) = policy.limit else {
        unreachable!("a part is taken from and added to amounts only");
    };
    TransferSide { scope: scope.id, limit, version: version_of(scope, resource) + 1, drain }
}

/// Both accounts, from the root down.
fn touched(cx: Context<'_>, resource: ResourceId, sides: &[(&Scope, &Policy)]) -> Vec<Touched> {
    let mut touched: Vec<Touched> = sides
        .iter()
        .map(|(scope, policy)| {
            let mut quota = scope.quota(resource).expect("a side with a policy has a quota").clone();
            quota.policy = (*policy).clone();
            touched_by_policy(cx, scope, resource, Some(&quota))
        })
        .collect();
    touched.sort_by_key(|touched| (touched.path.segments().count(), touched.scope));
    touched
}
