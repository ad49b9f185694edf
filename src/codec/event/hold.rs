//! What happened to holds.

use std::num::NonZeroU64;

use super::Decimals;
use super::Message;
use super::WHAT;
use super::decode_amount;
use crate::codec::Corrupt;
use crate::codec::command::name;
use crate::codec::command::path;
use crate::codec::hold::decode_tags;
use crate::codec::hold::encode_tags;
use crate::codec::number;
use crate::codec::rejection;
use crate::codec::required;
use crate::ledger::Body;
use crate::ledger::ResourceId;
use crate::ledger::Revision;
use crate::ledger::ScopeId;
use crate::ledger::event::EventLine;
use crate::ledger::event::HoldAfter;
use crate::ledger::event::Overrun;
use crate::ledger::event::OverrunReason;
use crate::ledger::event::Reserved;
use crate::proto::v1;

pub(super) fn encode(body: &Body, revision: Revision) -> Message {
    match body {
        Body::Reserved(reserved) => Message::Reserved(encode_reserved(reserved, revision)),
        Body::Committed { hold, after, overruns } => Message::Committed(v1::Committed {
            hold_id: *hold,
            after: after.as_ref().map(encode_after),
            overruns: encode_overruns(overruns),
        }),
        Body::Released { hold, after } => {
            Message::Released(v1::Released { hold_id: *hold, after: after.as_ref().map(encode_after) })
        }
        Body::Expired { hold, after } => {
            Message::Expired(v1::Expired { hold_id: *hold, after: after.as_ref().map(encode_after) })
        }
        Body::Renewed { hold, expires_at } => {
            Message::Renewed(v1::Renewed { hold_id: *hold, expires_at_ms: expires_at.get() })
        }
        Body::Resized { hold, after, overruns } => Message::Resized(v1::Resized {
            hold_id: *hold,
            after: Some(encode_after(after)),
            overruns: encode_overruns(overruns),
        }),
        _ => unreachable!("the body is of another family"),
    }
}

pub(super) fn decode(message: Message, revision: Revision, decimals: Decimals<'_>) -> Result<Body, Corrupt> {
    let after = |after: Option<v1::HoldAfter>| after.map(|after| decode_after(after, decimals)).transpose();
    Ok(match message {
        Message::Reserved(body) => Body::Reserved(decode_reserved(body, revision, decimals)?),
        Message::Committed(body) => Body::Committed {
            hold: body.hold_id,
            after: after(body.after)?,
            overruns: decode_overruns(body.overruns)?,
        },
        Message::Released(body) => Body::Released { hold: body.hold_id, after: after(body.after)? },
        Message::Expired(body) => Body::Expired { hold: body.hold_id, after: after(body.after)? },
        Message::Renewed(body) => Body::Renewed {
            hold: body.hold_id,
            expires_at: required(NonZeroU64::new(body.expires_at_ms), WHAT, "expires_at_ms")?,
        },
        Message::Resized(body) => Body::Resized {
            hold: body.hold_id,
            after: decode_after(required(body.after, WHAT, "after")?, decimals)?,
            overruns: decode_overruns(body.overruns)?,
        },
        _ => unreachable!("the body is of another family"),
    })
}

fn encode_reserved(reserved: &Reserved, revision: Revision) -> v1::Reserved {
    let (job, consumer, labels) = encode_tags(reserved.tags.as_deref());
    let granted = reserved.granted.iter().flatten().map(|amount| number::write(*amount));
    v1::Reserved {
        hold_id: revision,
        lines: reserved.lines.iter().map(encode_line).collect(),
        committed: reserved.committed,
        forced: reserved.forced,
        expires_at_ms: reserved.expires_at.map_or(0, NonZeroU64::get),
        job,
        consumer,
        labels,
        granted: granted.collect(),
        overruns: encode_overruns(&reserved.overruns),
    }
}

fn decode_reserved(
    message: v1::Reserved,
    revision: Revision,
    decimals: Decimals<'_>,
) -> Result<Reserved, Corrupt> {
    if message.hold_id != revision {
        return Err(Corrupt::new(WHAT, "a hold is not named by its revision"));
    }
    let lines = message.lines.iter().map(|line| decode_line(line, decimals));
    Ok(Reserved {
        lines: lines.collect::<Result<_, _>>()?,
        committed: message.committed,
        forced: message.forced,
        expires_at: NonZeroU64::new(message.expires_at_ms),
        tags: decode_tags(WHAT, &message.job, &message.consumer, message.labels)?,
        granted: rejection::decode_granted(&message.granted)?,
        overruns: decode_overruns(message.overruns)?,
    })
}

fn encode_line(line: &EventLine) -> v1::EventLine {
    v1::EventLine {
        scope_id: line.scope.0,
        scope: line.path.as_str().to_owned(),
        resource_id: line.resource.0,
        resource: line.name.as_str().to_owned(),
        held: line.held.to_string(),
        used: line.used.to_string(),
    }
}

fn decode_line(message: &v1::EventLine, decimals: Decimals<'_>) -> Result<EventLine, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    let resource = ResourceId(message.resource_id);
    Ok(EventLine {
        scope: ScopeId(message.scope_id),
        path: path("scope", &message.scope).map_err(&malformed)?,
        resource,
        name: name("resource", &message.resource).map_err(&malformed)?,
        held: decode_amount(WHAT, &message.held, resource, decimals)?,
        used: decode_amount(WHAT, &message.used, resource, decimals)?,
    })
}

fn encode_after(after: &HoldAfter) -> v1::HoldAfter {
    v1::HoldAfter {
        lines: after.lines.iter().map(encode_line).collect(),
        expires_at_ms: after.expires_at.map_or(0, NonZeroU64::get),
    }
}

fn decode_after(message: v1::HoldAfter, decimals: Decimals<'_>) -> Result<HoldAfter, Corrupt> {
    let lines = message.lines.iter().map(|line| decode_line(line, decimals));
    Ok(HoldAfter {
        lines: lines.collect::<Result<_, _>>()?,
        expires_at: NonZeroU64::new(message.expires_at_ms),
    })
}

pub(super) fn encode_overruns(overruns: &[Overrun]) -> Vec<v1::Overrun> {
    let overrun = |overrun: &Overrun| v1::Overrun {
        scope_id: overrun.scope.0,
        resource_id: overrun.resource.0,
        blocking: Some(rejection::encode_blocking(&overrun.blocking)),
        reason: encode_reason(overrun.reason).into(),
    };
    overruns.iter().map(overrun).collect()
}

pub(super) fn decode_overruns(messages: Vec<v1::Overrun>) -> Result<Vec<Overrun>, Corrupt> {
    let overrun = |message: v1::Overrun| {
        Ok(Overrun {
            scope: ScopeId(message.scope_id),
            resource: ResourceId(message.resource_id),
            blocking: rejection::decode_blocking(&required(message.blocking, WHAT, "blocking")?)?,
            reason: decode_reason(message.reason)?,
        })
    };
    messages.into_iter().map(overrun).collect()
}

fn encode_reason(reason: OverrunReason) -> v1::OverrunReason {
    match reason {
        OverrunReason::Warn => v1::OverrunReason::Warn,
        OverrunReason::Shadow => v1::OverrunReason::Shadow,
        OverrunReason::Forced => v1::OverrunReason::Forced,
        OverrunReason::Soft => v1::OverrunReason::Soft,
    }
}

fn decode_reason(reason: i32) -> Result<OverrunReason, Corrupt> {
    match v1::OverrunReason::try_from(reason) {
        Ok(v1::OverrunReason::Warn) => Ok(OverrunReason::Warn),
        Ok(v1::OverrunReason::Shadow) => Ok(OverrunReason::Shadow),
        Ok(v1::OverrunReason::Forced) => Ok(OverrunReason::Forced),
        Ok(v1::OverrunReason::Soft) => Ok(OverrunReason::Soft),
        Ok(v1::OverrunReason::Unspecified) | Err(_) => {
            Err(Corrupt::new(WHAT, format!("{reason} is no reason of an overrun")))
        }
    }
}
