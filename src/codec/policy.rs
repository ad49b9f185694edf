//! Policies: as clients say them, and as they are stored.
//!
//! There is one message for both. What a client says becomes a [`NewPolicy`], checked number by
//! number, with the field named in the error; what was stored becomes a [`Policy`] at the scale of
//! its resource. Whether the parts of a policy fit together is the ledger's business.

use super::Corrupt;
use super::event::Decimals;
use super::event::amount_at_scale;
use super::event::decode_amount;
use super::mask;
use super::number;
use super::required;
use crate::ledger::Limit;
use crate::ledger::Lock;
use crate::ledger::Malformed;
use crate::ledger::Policy;
use crate::ledger::ResourceId;
use crate::ledger::as_said;
use crate::ledger::command::NewLimit;
use crate::ledger::command::NewPolicy;
use crate::ledger::quota::Clock;
use crate::ledger::quota::Enforcement;
use crate::ledger::quota::OnReduce;
use crate::ledger::quota::Planned;
use crate::ledger::quota::Scheduled;
use crate::ledger::quota::Terms;
use crate::proto::v1;

const WHAT: &str = "a policy";

/// Reads a policy that must say its limit; `field` names it in errors.
pub fn decode_new(field: &str, message: Option<&v1::Policy>) -> Result<NewPolicy, Malformed> {
    let message = message.ok_or_else(|| Malformed::new(field, "is missing"))?;
    let limit = decode_new_limit(&format!("{field}.limit"), message.limit.as_ref())?;
    Ok(NewPolicy { limit, ..decode_new_terms(field, message)? })
}

/// Reads everything but the limit of a policy; `field` names it in errors.
pub(super) fn decode_new_terms(field: &str, message: &v1::Policy) -> Result<NewPolicy, Malformed> {
    let decimal = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => number::parse(&format!("{field}.{name}"), text).map(Some),
    };
    let duration = |milliseconds: u64| (milliseconds != 0).then_some(milliseconds);
    let enforcement = decode_enforcement(message.enforcement).ok_or_else(|| {
        Malformed::new(format!("{field}.enforcement"), "is not one of those that are known")
    })?;
    let on_reduce = decode_on_reduce(message.on_reduce)
        .ok_or_else(|| Malformed::new(format!("{field}.on_reduce"), "is not one of those that are known"))?;
    let policy = NewPolicy {
        limit: NewLimit::default(),
        soft: decimal("soft", &message.soft)?,
        grace_ms: duration(message.grace_ms),
        burst: decimal("burst", &message.burst)?,
        max_burst_ms: duration(message.max_burst_ms),
        overcommit: decimal("overcommit", &message.overcommit)?,
        enforcement,
        on_reduce,
        default_ttl_ms: duration(message.default_ttl_ms),
        max_ttl_ms: duration(message.max_ttl_ms),
        allow_transfer: message.allow_transfer,
    };
    policy.checked(&format!("{field}."))
}

/// The message of a policy as a client says it.
pub fn encode_new(policy: &NewPolicy) -> v1::Policy {
    let decimal = |number: Option<_>| number.map(number::write).unwrap_or_default();
    v1::Policy {
        limit: Some(encode_new_limit(policy.limit)),
        soft: decimal(policy.soft),
        grace_ms: policy.grace_ms.unwrap_or_default(),
        burst: decimal(policy.burst),
        max_burst_ms: policy.max_burst_ms.unwrap_or_default(),
        overcommit: decimal(policy.overcommit),
        enforcement: encode_enforcement(policy.enforcement).into(),
        on_reduce: encode_on_reduce(policy.on_reduce).into(),
        default_ttl_ms: policy.default_ttl_ms.unwrap_or_default(),
        max_ttl_ms: policy.max_ttl_ms.unwrap_or_default(),
        allow_transfer: policy.allow_transfer,
    }
}

/// The message of a policy as it is stored.
pub fn encode(policy: &Policy) -> v1::Policy {
    encode_new(&as_said(policy))
}

/// A stored policy from its message.
pub(super) fn decode(
    message: &v1::Policy,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Policy, Corrupt> {
    let said = decode_new("policy", Some(message)).map_err(Corrupt::from_malformed(WHAT))?;
    let amount = |number| amount_at_scale(WHAT, number, resource, decimals);
    let limit = match said.limit {
        NewLimit::Amount(number) => Limit::Amount(amount(number)?),
        NewLimit::Unlimited => Limit::Unlimited,
        NewLimit::Inherit => Limit::Inherit,
    };
    let terms = Terms {
        soft: said.soft.map(amount).transpose()?,
        grace_ms: said.grace_ms,
        burst: said.burst.map(amount).transpose()?,
        max_burst_ms: said.max_burst_ms,
        overcommit: said.overcommit,
        enforcement: said.enforcement,
        on_reduce: said.on_reduce,
        default_ttl_ms: said.default_ttl_ms,
        max_ttl_ms: said.max_ttl_ms,
        allow_transfer: said.allow_transfer,
    };
    Ok(Policy::new(limit, terms))
}

/// Reads a limit; `field` names it in errors.
pub(super) fn decode_new_limit(field: &str, message: Option<&v1::Limit>) -> Result<NewLimit, Malformed> {
    match message.and_then(|limit| limit.limit.as_ref()) {
        Some(v1::limit::Limit::Amount(text)) => {
            let field = format!("{field}.amount");
            NewLimit::amount(&field, number::parse(&field, text)?)
        }
        Some(v1::limit::Limit::Unlimited(_)) => Ok(NewLimit::Unlimited),
        Some(v1::limit::Limit::Inherit(_)) => Ok(NewLimit::Inherit),
        None => Err(Malformed::new(field, "is missing; say an amount, unlimited or inherit")),
    }
}

/// The message of a limit as a client says it.
pub(super) fn encode_new_limit(limit: NewLimit) -> v1::Limit {
    let limit = match limit {
        NewLimit::Amount(number) => v1::limit::Limit::Amount(number::write(number)),
        NewLimit::Unlimited => v1::limit::Limit::Unlimited(v1::Unlimited {}),
        NewLimit::Inherit => v1::limit::Limit::Inherit(v1::Inherit {}),
    };
    v1::Limit { limit: Some(limit) }
}

/// The message of a limit as it is stored.
pub fn encode_limit(limit: Limit) -> v1::Limit {
    encode_new_limit(match limit {
        Limit::Amount(amount) => NewLimit::Amount(amount.number()),
        Limit::Unlimited => NewLimit::Unlimited,
        Limit::Inherit => NewLimit::Inherit,
    })
}

/// A stored limit from its message.
pub(super) fn decode_limit(
    message: &v1::Limit,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Limit, Corrupt> {
    match required(message.limit.as_ref(), "a limit", "the limit")? {
        v1::limit::Limit::Amount(text) => {
            decode_amount("a limit", text, resource, decimals).map(Limit::Amount)
        }
        v1::limit::Limit::Unlimited(_) => Ok(Limit::Unlimited),
        v1::limit::Limit::Inherit(_) => Ok(Limit::Inherit),
    }
}

/// The message of a lock.
pub(super) fn encode_lock(lock: &Lock) -> v1::Lock {
    v1::Lock { reason: lock.reason.to_string(), actor: lock.actor.to_string() }
}

/// A lock from its message.
pub(super) fn decode_lock(message: v1::Lock) -> Lock {
    Lock { reason: message.reason.into(), actor: message.actor.into() }
}

/// The message of a clock; when it ends follows from the policy, and is told to readers only.
pub(super) fn encode_clock(clock: Clock, ends_at: Option<u64>) -> v1::Clock {
    v1::Clock { since_ms: clock.since, ends_at_ms: ends_at.unwrap_or_default(), ended: clock.ended }
}

/// A clock from its message.
pub(super) fn decode_clock(message: v1::Clock) -> Clock {
    Clock { since: message.since_ms, ended: message.ended }
}

/// The message of something scheduled.
pub(super) fn encode_scheduled(item: &Scheduled) -> v1::Scheduled {
    let plan = match &item.plan {
        Planned::Change { policy, .. } => v1::scheduled::Plan::Change(encode(policy)),
        Planned::Override { limit, end, active } => v1::scheduled::Plan::LimitOverride(v1::LimitOverride {
            limit: Some(encode_limit(*limit)),
            end_ms: *end,
            active: *active,
        }),
    };
    let change_mask = match &item.plan {
        Planned::Change { fields: Some(fields), .. } => Some(mask::encode(fields)),
        Planned::Change { fields: None, .. } | Planned::Override { .. } => None,
    };
    v1::Scheduled {
        change_mask,
        schedule_id: item.id,
        start_ms: item.start,
        plan: Some(plan),
        reason: item.reason.to_string(),
        actor: item.actor.to_string(),
    }
}

/// Something scheduled from its message.
pub(super) fn decode_scheduled(
    message: v1::Scheduled,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<Scheduled, Corrupt> {
    let plan = match required(message.plan, "a schedule", "plan")? {
        v1::scheduled::Plan::Change(policy) => {
            let fields = mask::decode("change_mask", message.change_mask.as_ref())
                .map_err(Corrupt::from_malformed("a schedule"))?;
            let policy = decode(&policy, resource, decimals)?;
            Planned::Change { policy, fields: fields.map(Into::into) }
        }
        v1::scheduled::Plan::LimitOverride(plan) => Planned::Override {
            limit: decode_limit(&required(plan.limit, "a schedule", "limit")?, resource, decimals)?,
            end: plan.end_ms,
            active: plan.active,
        },
    };
    Ok(Scheduled {
        id: message.schedule_id,
        start: message.start_ms,
        plan,
        reason: message.reason.into(),
        actor: message.actor.into(),
    })
}

fn encode_enforcement(enforcement: Enforcement) -> v1::Enforcement {
    match enforcement {
        Enforcement::Enforce => v1::Enforcement::Enforce,
        Enforcement::Warn => v1::Enforcement::Warn,
        Enforcement::Shadow => v1::Enforcement::Shadow,
        Enforcement::Off => v1::Enforcement::Off,
    }
}

fn decode_enforcement(enforcement: i32) -> Option<Enforcement> {
    Some(match v1::Enforcement::try_from(enforcement).ok()? {
        v1::Enforcement::Unspecified => Enforcement::default(),
        v1::Enforcement::Enforce => Enforcement::Enforce,
        v1::Enforcement::Warn => Enforcement::Warn,
        v1::Enforcement::Shadow => Enforcement::Shadow,
        v1::Enforcement::Off => Enforcement::Off,
    })
}

fn encode_on_reduce(on_reduce: OnReduce) -> v1::OnReduce {
    match on_reduce {
        OnReduce::Refuse => v1::OnReduce::Refuse,
        OnReduce::Freeze => v1::OnReduce::Freeze,
        OnReduce::Drain => v1::OnReduce::Drain,
    }
}

fn decode_on_reduce(on_reduce: i32) -> Option<OnReduce> {
    Some(match v1::OnReduce::try_from(on_reduce).ok()? {
        v1::OnReduce::Unspecified => OnReduce::default(),
        v1::OnReduce::Refuse => OnReduce::Refuse,
        v1::OnReduce::Freeze => OnReduce::Freeze,
        v1::OnReduce::Drain => OnReduce::Drain,
    })
}
