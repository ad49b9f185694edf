//! What happened to quotas.

use super::Decimals;
use super::Message;
use super::WHAT;
use super::decode_amount;
use super::decode_optional;
use super::encode_optional;
use crate::codec::Corrupt;
use crate::codec::policy;
use crate::codec::rejection;
use crate::codec::required;
use crate::ledger::Body;
use crate::ledger::Policy;
use crate::ledger::ResourceId;
use crate::ledger::ScopeId;
use crate::ledger::event::TransferSide;
use crate::ledger::quota::ClockKind;
use crate::proto::v1;

pub(super) fn encode(body: &Body) -> Message {
    match body {
        Body::QuotaSet { scope, resource, policy, version, previous, drain, scheduled } => {
            Message::QuotaSet(v1::QuotaSet {
                scope_id: scope.0,
                resource_id: resource.0,
                policy: Some(policy::encode(policy)),
                version: *version,
                previous: previous.as_ref().map(policy::encode),
                drain: encode_optional(*drain),
                schedule_id: scheduled.unwrap_or_default(),
            })
        }
        Body::QuotaDeleted { scope, resource, version, previous } => {
            Message::QuotaDeleted(v1::QuotaDeleted {
                scope_id: scope.0,
                resource_id: resource.0,
                version: *version,
                previous: Some(policy::encode(previous)),
            })
        }
        Body::QuotaLocked { scope, resource, lock, version } => Message::QuotaLocked(v1::QuotaLocked {
            scope_id: scope.0,
            resource_id: resource.0,
            lock: Some(policy::encode_lock(lock)),
            version: *version,
        }),
        Body::QuotaUnlocked { scope, resource, version } => Message::QuotaUnlocked(v1::QuotaUnlocked {
            scope_id: scope.0,
            resource_id: resource.0,
            version: *version,
        }),
        body => encode_timed(body),
    }
}

/// What was scheduled, and what time did.
fn encode_timed(body: &Body) -> Message {
    match body {
        Body::QuotaScheduled { scope, resource, item, version, drain } => {
            Message::QuotaScheduled(v1::QuotaScheduled {
                scope_id: scope.0,
                resource_id: resource.0,
                item: Some(policy::encode_scheduled(item)),
                version: *version,
                drain: encode_optional(*drain),
            })
        }
        Body::ScheduleCancelled { scope, resource, id, version, drain } => {
            Message::ScheduleCancelled(v1::ScheduleCancelled {
                scope_id: scope.0,
                resource_id: resource.0,
                schedule_id: *id,
                version: *version,
                drain: encode_optional(*drain),
            })
        }
        Body::ScheduleFailed { scope, resource, id, rejection, version } => {
            Message::ScheduleFailed(v1::ScheduleFailed {
                scope_id: scope.0,
                resource_id: resource.0,
                schedule_id: *id,
                rejection: Some(rejection::encode(rejection)),
                version: *version,
            })
        }
        Body::OverrideSwitched { scope, resource, id, active, limit, version, drain } => {
            Message::OverrideSwitched(v1::OverrideSwitched {
                scope_id: scope.0,
                resource_id: resource.0,
                schedule_id: *id,
                active: *active,
                limit: Some(policy::encode_limit(*limit)),
                version: *version,
                drain: encode_optional(*drain),
            })
        }
        Body::ClockEnded { scope, resource, clock } => Message::ClockEnded(v1::ClockEnded {
            scope_id: scope.0,
            resource_id: resource.0,
            clock: encode_clock_kind(*clock).into(),
        }),
        Body::QuotaTransferred { from, to, resource, amount, until } => {
            Message::QuotaTransferred(v1::QuotaTransferred {
                from: Some(encode_side(from)),
                to: Some(encode_side(to)),
                resource_id: resource.0,
                amount: amount.to_string(),
                until_ms: until.unwrap_or_default(),
            })
        }
        Body::TransferReturned { id, from, to, resource, lent, given, received, asked } => {
            Message::TransferReturned(v1::TransferReturned {
                transfer_id: *id,
                from: from.as_ref().map(encode_side),
                to: to.as_ref().map(encode_side),
                resource_id: resource.0,
                lent: lent.to_string(),
                given: given.to_string(),
                received: received.to_string(),
                asked_scope_id: asked.map(|scope| scope.0),
            })
        }
        _ => unreachable!("the body is of another family"),
    }
}

pub(super) fn decode(message: Message, decimals: Decimals<'_>) -> Result<Body, Corrupt> {
    let policy = |message: Option<v1::Policy>, resource| -> Result<Policy, Corrupt> {
        policy::decode(&required(message, WHAT, "policy")?, resource, decimals)
    };
    Ok(match message {
        Message::QuotaSet(body) => {
            let resource = ResourceId(body.resource_id);
            let previous = body.previous.as_ref();
            Body::QuotaSet {
                scope: ScopeId(body.scope_id),
                resource,
                policy: policy(body.policy, resource)?,
                version: body.version,
                previous: previous
                    .map(|previous| policy::decode(previous, resource, decimals))
                    .transpose()?,
                drain: decode_optional(&body.drain, resource, decimals)?,
                scheduled: (body.schedule_id != 0).then_some(body.schedule_id),
            }
        }
        Message::QuotaDeleted(body) => {
            let resource = ResourceId(body.resource_id);
            Body::QuotaDeleted {
                scope: ScopeId(body.scope_id),
                resource,
                version: body.version,
                previous: policy(body.previous, resource)?,
            }
        }
        Message::QuotaLocked(body) => Body::QuotaLocked {
            scope: ScopeId(body.scope_id),
            resource: ResourceId(body.resource_id),
            lock: policy::decode_lock(required(body.lock, WHAT, "lock")?),
            version: body.version,
        },
        Message::QuotaUnlocked(body) => Body::QuotaUnlocked {
            scope: ScopeId(body.scope_id),
            resource: ResourceId(body.resource_id),
            version: body.version,
        },
        message => decode_timed(message, decimals)?,
    })
}

/// What was scheduled, and what time did.
fn decode_timed(message: Message, decimals: Decimals<'_>) -> Result<Body, Corrupt> {
    Ok(match message {
        Message::QuotaScheduled(body) => {
            let resource = ResourceId(body.resource_id);
            Body::QuotaScheduled {
                scope: ScopeId(body.scope_id),
                resource,
                item: policy::decode_scheduled(required(body.item, WHAT, "item")?, resource, decimals)?,
                version: body.version,
                drain: decode_optional(&body.drain, resource, decimals)?,
            }
        }
        Message::ScheduleCancelled(body) => {
            let resource = ResourceId(body.resource_id);
            Body::ScheduleCancelled {
                scope: ScopeId(body.scope_id),
                resource,
                id: body.schedule_id,
                version: body.version,
                drain: decode_optional(&body.drain, resource, decimals)?,
            }
        }
        Message::ScheduleFailed(body) => Body::ScheduleFailed {
            scope: ScopeId(body.scope_id),
            resource: ResourceId(body.resource_id),
            id: body.schedule_id,
            rejection: Box::new(rejection::decode(required(body.rejection, WHAT, "rejection")?)?),
            version: body.version,
        },
        Message::OverrideSwitched(body) => {
            let resource = ResourceId(body.resource_id);
            Body::OverrideSwitched {
                scope: ScopeId(body.scope_id),
                resource,
                id: body.schedule_id,
                active: body.active,
                limit: policy::decode_limit(&required(body.limit, WHAT, "limit")?, resource, decimals)?,
                version: body.version,
                drain: decode_optional(&body.drain, resource, decimals)?,
            }
        }
        Message::ClockEnded(body) => Body::ClockEnded {
            scope: ScopeId(body.scope_id),
            resource: ResourceId(body.resource_id),
            clock: decode_clock_kind(body.clock)?,
        },
        Message::QuotaTransferred(body) => {
            let resource = ResourceId(body.resource_id);
            Body::QuotaTransferred {
                from: decode_side(required(body.from, WHAT, "from")?, resource, decimals)?,
                to: decode_side(required(body.to, WHAT, "to")?, resource, decimals)?,
                resource,
                amount: decode_amount(WHAT, &body.amount, resource, decimals)?,
                until: (body.until_ms != 0).then_some(body.until_ms),
            }
        }
        Message::TransferReturned(body) => {
            let resource = ResourceId(body.resource_id);
            let side = |side: Option<_>| side.map(|side| decode_side(side, resource, decimals)).transpose();
            Body::TransferReturned {
                id: body.transfer_id,
                from: side(body.from)?,
                to: side(body.to)?,
                resource,
                lent: decode_amount(WHAT, &body.lent, resource, decimals)?,
                given: decode_amount(WHAT, &body.given, resource, decimals)?,
                received: decode_amount(WHAT, &body.received, resource, decimals)?,
                asked: body.asked_scope_id.map(ScopeId),
            }
        }
        _ => unreachable!("the body is of another family"),
    })
}

fn encode_side(side: &TransferSide) -> v1::TransferSide {
    v1::TransferSide {
        scope_id: side.scope.0,
        limit: side.limit.to_string(),
        version: side.version,
        drain: encode_optional(side.drain),
    }
}

fn decode_side(
    message: v1::TransferSide,
    resource: ResourceId,
    decimals: Decimals<'_>,
) -> Result<TransferSide, Corrupt> {
    Ok(TransferSide {
        scope: ScopeId(message.scope_id),
        limit: decode_amount(WHAT, &message.limit, resource, decimals)?,
        version: message.version,
        drain: decode_optional(&message.drain, resource, decimals)?,
    })
}

fn encode_clock_kind(clock: ClockKind) -> v1::ClockKind {
    match clock {
        ClockKind::Grace => v1::ClockKind::Grace,
        ClockKind::Burst => v1::ClockKind::Burst,
    }
}

fn decode_clock_kind(clock: i32) -> Result<ClockKind, Corrupt> {
    match v1::ClockKind::try_from(clock) {
        Ok(v1::ClockKind::Grace) => Ok(ClockKind::Grace),
        Ok(v1::ClockKind::Burst) => Ok(ClockKind::Burst),
        Ok(v1::ClockKind::Unspecified) | Err(_) => {
            Err(Corrupt::new(WHAT, format!("{clock} is no kind of clock")))
        }
    }
}
