//! What a client says of a quota becomes a policy: numbers at the scale of the resource, and a
//! combination that makes sense.

use rust_decimal::Decimal;

use super::State;
use crate::ledger::amount::Amount;
use crate::ledger::command::NewLimit;
use crate::ledger::command::NewPolicy;
use crate::ledger::quota::Limit;
use crate::ledger::quota::Policy;
use crate::ledger::quota::Terms;
use crate::ledger::rejection::Malformed;
use crate::ledger::resource::ResourceId;

/// The numbers of a policy at the scale of a resource; their combination is not looked at.
pub(super) fn at_scale(state: &State, resource: ResourceId, new: &NewPolicy) -> Result<Policy, Malformed> {
    let amount = |field: &str, number: Option<Decimal>| {
        number.map(|number| at_scale_of(state, resource, field, number)).transpose()
    };
    let terms = Terms {
        soft: amount("policy.soft", new.soft)?,
        grace_ms: new.grace_ms,
        burst: amount("policy.burst", new.burst)?,
        max_burst_ms: new.max_burst_ms,
        overcommit: new.overcommit,
        enforcement: new.enforcement,
        on_reduce: new.on_reduce,
        default_ttl_ms: new.default_ttl_ms,
        max_ttl_ms: new.max_ttl_ms,
        allow_transfer: new.allow_transfer,
    };
    Ok(Policy::new(limit_at_scale(state, resource, "policy.limit.amount", new.limit)?, terms))
}

/// A limit at the scale of a resource.
pub(super) fn limit_at_scale(
    state: &State,
    resource: ResourceId,
    field: &str,
    limit: NewLimit,
) -> Result<Limit, Malformed> {
    Ok(match limit {
        NewLimit::Amount(number) => Limit::Amount(at_scale_of(state, resource, field, number)?),
        NewLimit::Unlimited => Limit::Unlimited,
        NewLimit::Inherit => Limit::Inherit,
    })
}

fn at_scale_of(
    state: &State,
    resource: ResourceId,
    field: &str,
    number: Decimal,
) -> Result<Amount, Malformed> {
    Amount::new(number, state.resource(resource).decimals).map_err(|error| Malformed::new(field, error))
}

/// A whole policy, checked.
pub(in crate::ledger) fn resolve(
    state: &State,
    resource: ResourceId,
    new: &NewPolicy,
) -> Result<Policy, Malformed> {
    let policy = at_scale(state, resource, new)?;
    check(&policy)?;
    Ok(policy)
}

/// Checks that what a policy says makes sense together.
pub(super) fn check(policy: &Policy) -> Result<(), Malformed> {
    let terms = policy.terms();
    let effective = policy.effective();
    let wrong = |field: &str, problem: String| Err(Malformed::new(format!("policy.{field}"), problem));
    if let Some(soft) = terms.soft {
        if policy.limit == Limit::Inherit {
            return wrong("soft", "is for a limit of its own, not for INHERIT".into());
        }
        if let Some(effective) = effective.filter(|effective| soft > *effective) {
            return wrong("soft", format!("is {soft}, over the effective limit of {effective}"));
        }
    } else if terms.grace_ms.is_some() {
        return wrong("grace_ms", "is for a soft limit, and there is none".into());
    }
    match (terms.burst, effective) {
        (Some(_), None) => return wrong("burst", "is for a limit that is an amount".into()),
        (Some(burst), Some(effective)) if burst < effective => {
            return wrong("burst", format!("is {burst}, under the effective limit of {effective}"));
        }
        _ => {}
    }
    match (terms.burst, terms.max_burst_ms) {
        (Some(_), None) => {
            return wrong("max_burst_ms", "is missing; a burst must say how long it may last".into());
        }
        (None, Some(_)) => return wrong("max_burst_ms", "is for a burst, and there is none".into()),
        _ => {}
    }
    if terms.overcommit.is_some() && effective.is_none() {
        return wrong("overcommit", "is for a limit that is an amount".into());
    }
    match (terms.default_ttl_ms, terms.max_ttl_ms) {
        (Some(default), Some(maximum)) if default > maximum => {
            wrong("default_ttl_ms", format!("is {default}, over max_ttl_ms of {maximum}"))
        }
        _ => Ok(()),
    }
}
