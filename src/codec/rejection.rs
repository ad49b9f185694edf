//! Rejections and verdicts.

use prost::Message as _;
use rust_decimal::Decimal;

use super::Corrupt;
use super::command::name;
use super::command::path;
use super::number;
use super::required;
use crate::ledger::Grant;
use crate::ledger::HoldState;
use crate::ledger::Lock;
use crate::ledger::Malformed;
use crate::ledger::Rejection;
use crate::ledger::outcome::Verdict;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Mismatch;
use crate::ledger::rejection::QuotaName;
use crate::ledger::rejection::Rule;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;
use crate::proto::v1::rejection as message;
use crate::proto::v1::rejection::Reason;

const WHAT: &str = "a rejection";

/// What `Exists` calls a scope and a resource.
const SCOPE: &str = "scope";
const RESOURCE: &str = "resource";

/// The message of a verdict.
pub fn encode_verdict(verdict: &Verdict) -> storage::Verdict {
    use storage::verdict::Verdict as Message;
    let verdict = match verdict {
        Ok(Grant::Hold(hold)) => Message::HoldId(*hold),
        Ok(Grant::Version(version)) => Message::Version(*version),
        Ok(Grant::Done) => Message::Done(storage::verdict::Done {}),
        Err(rejection) => Message::Rejection(encode(rejection)),
    };
    storage::Verdict { verdict: Some(verdict) }
}

/// A verdict from its message.
pub fn decode_verdict(message: storage::Verdict) -> Result<Verdict, Corrupt> {
    use storage::verdict::Verdict as Message;
    Ok(match required(message.verdict, "a verdict", "the verdict")? {
        Message::HoldId(hold) => Ok(Grant::Hold(hold)),
        Message::Version(version) => Ok(Grant::Version(version)),
        Message::Done(_) => Ok(Grant::Done),
        Message::Rejection(rejection) => Err(Box::new(decode(rejection)?)),
    })
}

/// The message of a rejection.
pub fn encode(rejection: &Rejection) -> v1::Rejection {
    let reason = match rejection {
        Rejection::Malformed(Malformed { field, problem }) => {
            Reason::Malformed(message::Malformed { field: field.clone(), problem: problem.clone() })
        }
        Rejection::UnknownScopes(scopes) => Reason::UnknownScopes(message::UnknownScopes {
            scopes: scopes.iter().map(ToString::to_string).collect(),
        }),
        Rejection::UnknownResources(resources) => Reason::UnknownResources(message::UnknownResources {
            resources: resources.iter().map(ToString::to_string).collect(),
        }),
        Rejection::UnknownQuotas(quotas) => Reason::UnknownQuotas(message::UnknownQuotas {
            quotas: quotas.iter().map(encode_quota_name).collect(),
        }),
        Rejection::UnknownHold(hold_id) => Reason::UnknownHold(message::UnknownHold { hold_id: *hold_id }),
        Rejection::ScopeExists(path) => {
            Reason::Exists(message::Exists { what: SCOPE.into(), name: path.to_string() })
        }
        Rejection::ResourceExists(name) => {
            Reason::Exists(message::Exists { what: RESOURCE.into(), name: name.to_string() })
        }
        Rejection::HoldClosed { hold, state, revision } => Reason::HoldClosed(message::HoldClosed {
            hold_id: *hold,
            state: encode_hold_state(*state).into(),
            closed_at_revision: *revision,
        }),
        Rejection::Locked(locks) => {
            Reason::Locked(message::Locked { locks: locks.iter().map(encode_locked).collect() })
        }
        Rejection::VersionMismatch(Mismatch { quota, expected, actual }) => {
            Reason::VersionMismatch(message::VersionMismatch {
                quota: Some(encode_quota_name(quota)),
                expected: *expected,
                actual: *actual,
            })
        }
        Rejection::SequenceMismatch(found) => Reason::SequenceMismatch(message::SequenceMismatch {
            found: found.iter().map(encode_sequence).collect(),
        }),
        Rejection::LimitConflict { quota, other, problem } => Reason::LimitConflict(message::LimitConflict {
            quota: Some(encode_quota_name(quota)),
            other: Some(encode_quota_name(other)),
            problem: problem.clone(),
        }),
        Rejection::Denied(blocking) => {
            Reason::Denied(message::Denied { blocking: blocking.iter().map(encode_blocking).collect() })
        }
        Rejection::Uncountable(quotas) => Reason::Uncountable(message::Uncountable {
            quotas: quotas.iter().map(encode_quota_name).collect(),
        }),
        Rejection::RequestIdReused { first } => {
            Reason::RequestIdReused(message::RequestIdReused { first_revision: *first })
        }
        Rejection::RequestIdExpired { oldest_accepted_ms } => {
            Reason::RequestIdExpired(message::RequestIdExpired { oldest_accepted_ms: *oldest_accepted_ms })
        }
    };
    v1::Rejection { reason: Some(reason), omitted: 0 }
}

/// The message of a rejection, cut to about `bytes`: an answer travels in headers, which are small.
/// At least the first thing it names is kept; `omitted` says how many are not.
pub fn encode_within(rejection: &Rejection, bytes: usize) -> v1::Rejection {
    let mut full = encode(rejection);
    while full.encoded_len() > bytes && drop_last(&mut full) {
        full.omitted += 1;
    }
    full
}

/// Leaves out the last thing that a rejection names, unless it is the only one.
fn drop_last(rejection: &mut v1::Rejection) -> bool {
    fn pop<T>(items: &mut Vec<T>) -> bool {
        items.len() > 1 && items.pop().is_some()
    }
    match &mut rejection.reason {
        Some(Reason::UnknownScopes(reason)) => pop(&mut reason.scopes),
        Some(Reason::UnknownResources(reason)) => pop(&mut reason.resources),
        Some(Reason::UnknownQuotas(reason)) => pop(&mut reason.quotas),
        Some(Reason::Uncountable(reason)) => pop(&mut reason.quotas),
        Some(Reason::Locked(reason)) => pop(&mut reason.locks),
        Some(Reason::SequenceMismatch(reason)) => pop(&mut reason.found),
        Some(Reason::Denied(reason)) => pop(&mut reason.blocking),
        _ => false,
    }
}

/// A rejection from its message.
pub fn decode(rejection: v1::Rejection) -> Result<Rejection, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    Ok(match required(rejection.reason, WHAT, "the reason")? {
        Reason::Malformed(reason) => Rejection::Malformed(Malformed::new(reason.field, reason.problem)),
        Reason::UnknownScopes(reason) => Rejection::UnknownScopes(
            reason
                .scopes
                .iter()
                .map(|text| path("scope", text))
                .collect::<Result<_, _>>()
                .map_err(malformed)?,
        ),
        Reason::UnknownResources(reason) => Rejection::UnknownResources(
            reason
                .resources
                .iter()
                .map(|text| name("resource", text))
                .collect::<Result<_, _>>()
                .map_err(malformed)?,
        ),
        Reason::UnknownQuotas(reason) => {
            Rejection::UnknownQuotas(reason.quotas.iter().map(decode_quota_name).collect::<Result<_, _>>()?)
        }
        Reason::UnknownHold(reason) => Rejection::UnknownHold(reason.hold_id),
        Reason::Exists(reason) => match reason.what.as_str() {
            SCOPE => Rejection::ScopeExists(path("name", &reason.name).map_err(malformed)?),
            RESOURCE => Rejection::ResourceExists(name("name", &reason.name).map_err(malformed)?),
            other => return Err(Corrupt::new(WHAT, format!("{other:?} cannot exist"))),
        },
        Reason::HoldClosed(reason) => Rejection::HoldClosed {
            hold: reason.hold_id,
            state: decode_hold_state(reason.state)?,
            revision: reason.closed_at_revision,
        },
        Reason::Locked(reason) => {
            Rejection::Locked(reason.locks.into_iter().map(decode_locked).collect::<Result<_, _>>()?)
        }
        Reason::VersionMismatch(reason) => {
            Rejection::VersionMismatch(decode_mismatch(reason.quota, reason.expected, reason.actual)?)
        }
        Reason::SequenceMismatch(reason) => Rejection::SequenceMismatch(
            reason
                .found
                .into_iter()
                .map(|found| decode_mismatch(found.quota, found.expected, found.actual))
                .collect::<Result<_, _>>()?,
        ),
        Reason::LimitConflict(reason) => Rejection::LimitConflict {
            quota: decode_quota_name(&required(reason.quota, WHAT, "quota")?)?,
            other: decode_quota_name(&required(reason.other, WHAT, "other")?)?,
            problem: reason.problem,
        },
        Reason::Denied(reason) => {
            Rejection::Denied(reason.blocking.iter().map(decode_blocking).collect::<Result<_, _>>()?)
        }
        Reason::Uncountable(reason) => {
            Rejection::Uncountable(reason.quotas.iter().map(decode_quota_name).collect::<Result<_, _>>()?)
        }
        Reason::RequestIdReused(reason) => Rejection::RequestIdReused { first: reason.first_revision },
        Reason::RequestIdExpired(reason) => {
            Rejection::RequestIdExpired { oldest_accepted_ms: reason.oldest_accepted_ms }
        }
    })
}

/// The message of a lock.
pub(super) fn encode_lock(lock: &Lock) -> v1::Lock {
    v1::Lock { reason: lock.reason.to_string(), actor: lock.actor.to_string() }
}

pub(super) fn decode_lock(message: v1::Lock) -> Lock {
    Lock { reason: message.reason.into(), actor: message.actor.into() }
}

/// The message of a hold's state.
pub(super) fn encode_hold_state(state: HoldState) -> v1::HoldState {
    match state {
        HoldState::Held => v1::HoldState::Held,
        HoldState::Committed => v1::HoldState::Committed,
        HoldState::Released => v1::HoldState::Released,
    }
}

pub(super) fn decode_hold_state(state: i32) -> Result<HoldState, Corrupt> {
    match v1::HoldState::try_from(state) {
        Ok(v1::HoldState::Held) => Ok(HoldState::Held),
        Ok(v1::HoldState::Committed) => Ok(HoldState::Committed),
        Ok(v1::HoldState::Released) => Ok(HoldState::Released),
        Ok(v1::HoldState::Unspecified) | Err(_) => {
            Err(Corrupt::new("a hold", format!("{state} is no state of a hold")))
        }
    }
}

fn encode_quota_name(quota: &QuotaName) -> v1::QuotaName {
    v1::QuotaName { scope: quota.scope.to_string(), resource: quota.resource.to_string() }
}

fn decode_quota_name(message: &v1::QuotaName) -> Result<QuotaName, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    Ok(QuotaName {
        scope: path("scope", &message.scope).map_err(&malformed)?,
        resource: name("resource", &message.resource).map_err(&malformed)?,
    })
}

fn encode_locked((quota, lock): &(QuotaName, Lock)) -> message::LockedQuota {
    message::LockedQuota { quota: Some(encode_quota_name(quota)), lock: Some(encode_lock(lock)) }
}

fn decode_locked(message: message::LockedQuota) -> Result<(QuotaName, Lock), Corrupt> {
    let quota = decode_quota_name(&required(message.quota, WHAT, "quota")?)?;
    Ok((quota, decode_lock(required(message.lock, WHAT, "lock")?)))
}

fn encode_sequence(mismatch: &Mismatch) -> message::SequenceFound {
    message::SequenceFound {
        quota: Some(encode_quota_name(&mismatch.quota)),
        expected: mismatch.expected,
        actual: mismatch.actual,
    }
}

fn decode_mismatch(quota: Option<v1::QuotaName>, expected: u64, actual: u64) -> Result<Mismatch, Corrupt> {
    Ok(Mismatch { quota: decode_quota_name(&required(quota, WHAT, "quota")?)?, expected, actual })
}

fn encode_blocking(blocking: &Blocking) -> v1::Blocking {
    let Rule::HardLimit = blocking.rule;
    v1::Blocking {
        scope: blocking.quota.scope.to_string(),
        resource: blocking.quota.resource.to_string(),
        rule: v1::Rule::HardLimit.into(),
        limit: number::write(blocking.limit),
        used: number::write(blocking.used),
        held: number::write(blocking.held),
        requested: number::write(blocking.requested),
        shortfall: number::write(blocking.shortfall),
        waiting_can_help: blocking.waiting_can_help,
    }
}

fn decode_blocking(message: &v1::Blocking) -> Result<Blocking, Corrupt> {
    let malformed = Corrupt::from_malformed(WHAT);
    let decimal = |field: &str, text: &str| -> Result<Decimal, Corrupt> {
        number::parse(field, text).map_err(&malformed)
    };
    let rule = match v1::Rule::try_from(message.rule) {
        Ok(v1::Rule::HardLimit) => Rule::HardLimit,
        Ok(v1::Rule::Unspecified) | Err(_) => {
            return Err(Corrupt::new(WHAT, format!("{} is no rule", message.rule)));
        }
    };
    Ok(Blocking {
        quota: QuotaName {
            scope: path("scope", &message.scope).map_err(&malformed)?,
            resource: name("resource", &message.resource).map_err(&malformed)?,
        },
        rule,
        limit: decimal("limit", &message.limit)?,
        used: decimal("used", &message.used)?,
        held: decimal("held", &message.held)?,
        requested: decimal("requested", &message.requested)?,
        shortfall: decimal("shortfall", &message.shortfall)?,
        waiting_can_help: message.waiting_can_help,
    })
}
