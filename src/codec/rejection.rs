//! Rejections: why a command is not carried out.

use prost::Message;
use rust_decimal::Decimal;

use super::Corrupt;
use super::command::name;
use super::command::path;
use super::hold::decode_state;
use super::hold::encode_state;
use super::number;
use super::policy::decode_lock;
use super::policy::encode_lock;
use super::required;
use crate::ledger::Lock;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::Rejection;
use crate::ledger::rejection::BelowUse;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Mismatch;
use crate::ledger::rejection::QuotaName;
use crate::ledger::rejection::Rule;
use crate::ledger::rejection::Taken;
use crate::ledger::rejection::TooSmall;
use crate::proto::v1;
use crate::proto::v1::rejection as message;
use crate::proto::v1::rejection::Reason;

const WHAT: &str = "a rejection";

/// What `Exists` calls a scope and a resource.
const SCOPE: &str = "scope";
const RESOURCE: &str = "resource";

/// The message of a rejection.
pub fn encode(rejection: &Rejection) -> v1::Rejection {
    let reason = match rejection {
        Rejection::Malformed(Malformed { field, problem }) => {
            Reason::Malformed(message::Malformed { field: field.clone(), problem: problem.clone() })
        }
        Rejection::UnknownScopes(scopes) => {
            Reason::UnknownScopes(message::UnknownScopes { scopes: all(scopes, ToString::to_string) })
        }
        Rejection::UnknownResources(resources) => Reason::UnknownResources(message::UnknownResources {
            resources: all(resources, ToString::to_string),
        }),
        Rejection::UnknownQuotas(quotas) => {
            Reason::UnknownQuotas(message::UnknownQuotas { quotas: all(quotas, encode_quota) })
        }
        Rejection::UnknownHold(hold_id) => Reason::UnknownHold(message::UnknownHold { hold_id: *hold_id }),
        Rejection::UnknownTemplate(template) => {
            Reason::UnknownTemplate(message::UnknownTemplate { template: template.to_string() })
        }
        Rejection::UnknownSchedule { quota, id } => Reason::UnknownSchedule(message::UnknownSchedule {
            quota: Some(encode_quota(quota)),
            schedule_id: *id,
        }),
        Rejection::ScopeExists(path) => {
            Reason::Exists(message::Exists { what: SCOPE.into(), name: path.to_string() })
        }
        Rejection::ResourceExists(name) => {
            Reason::Exists(message::Exists { what: RESOURCE.into(), name: name.to_string() })
        }
        Rejection::HoldClosed { hold, state, revision } => Reason::HoldClosed(message::HoldClosed {
            hold_id: *hold,
            state: encode_state(*state).into(),
            closed_at_revision: *revision,
        }),
        Rejection::HoldTooSmall { hold, lines } => Reason::HoldTooSmall(message::HoldTooSmall {
            hold_id: *hold,
            lines: all(lines, encode_too_small),
        }),
        Rejection::HasChildren { path, children } => {
            Reason::HasChildren(message::HasChildren { scope: path.to_string(), children: *children })
        }
        Rejection::InUse(taken) => Reason::InUse(message::InUse { taken: all(taken, encode_taken) }),
        Rejection::OnLoan(transfers) => Reason::OnLoan(message::OnLoan { transfer_ids: transfers.clone() }),
        Rejection::Locked(locks) => Reason::Locked(message::Locked { locks: all(locks, encode_locked) }),
        rejection => encode_conflict(rejection),
    };
    v1::Rejection { reason: Some(reason), omitted: 0 }
}

/// What is against what else there is: versions, rules of a policy, limits, room.
fn encode_conflict(rejection: &Rejection) -> Reason {
    match rejection {
        Rejection::VersionMismatch(mismatch) => Reason::VersionMismatch(message::VersionMismatch {
            quota: Some(encode_quota(&mismatch.quota)),
            expected: mismatch.expected,
            actual: mismatch.actual,
        }),
        Rejection::TemplateVersionMismatch { template, expected, actual } => {
            Reason::TemplateVersionMismatch(message::TemplateVersionMismatch {
                template: template.to_string(),
                expected: *expected,
                actual: *actual,
            })
        }
        Rejection::SequenceMismatch(found) => {
            Reason::SequenceMismatch(message::SequenceMismatch { found: all(found, encode_sequence) })
        }
        Rejection::SchemaConflict { path, problem } => Reason::SchemaConflict(message::SchemaConflict {
            scope: path.to_string(),
            problem: problem.clone(),
        }),
        Rejection::ScheduleConflict { quota, problem } => {
            Reason::ScheduleConflict(message::ScheduleConflict {
                quota: Some(encode_quota(quota)),
                problem: problem.clone(),
            })
        }
        Rejection::TransferNotAllowed(quota) => {
            Reason::TransferNotAllowed(message::TransferNotAllowed { quota: Some(encode_quota(quota)) })
        }
        Rejection::TtlTooLong { quota, maximum_ms, asked_ms } => Reason::TtlTooLong(message::TtlTooLong {
            quota: Some(encode_quota(quota)),
            maximum_ms: *maximum_ms,
            asked_ms: *asked_ms,
        }),
        Rejection::LimitConflict { quota, other, problem } => Reason::LimitConflict(message::LimitConflict {
            quota: Some(encode_quota(quota)),
            other: Some(encode_quota(other)),
            problem: problem.clone(),
        }),
        Rejection::BelowUse(BelowUse { taken, limit, over_by }) => Reason::BelowUse(message::BelowUse {
            taken: Some(encode_taken(taken)),
            limit: number::write(*limit),
            over_by: number::write(*over_by),
        }),
        Rejection::Denied(blocking) => {
            Reason::Denied(message::Denied { blocking: all(blocking, encode_blocking) })
        }
        Rejection::Uncountable(quotas) => {
            Reason::Uncountable(message::Uncountable { quotas: all(quotas, encode_quota) })
        }
        Rejection::RequestIdReused { first } => {
            Reason::RequestIdReused(message::RequestIdReused { first_revision: *first })
        }
        Rejection::RequestIdExpired { oldest_accepted_ms } => {
            Reason::RequestIdExpired(message::RequestIdExpired { oldest_accepted_ms: *oldest_accepted_ms })
        }
        Rejection::PartFailed { index, command, rejection } => {
            Reason::PartFailed(Box::new(message::PartFailed {
                index: *index,
                command: command.to_string(),
                rejection: Some(Box::new(encode(rejection))),
            }))
        }
        _ => unreachable!("it is no conflict"),
    }
}

/// Cuts the message of a rejection to about `bytes`: an answer travels in headers, which are small.
/// At least the first thing it names is kept; `omitted` says how many are not. Holders go first.
pub fn shorten(rejection: &mut v1::Rejection, bytes: usize) {
    let bytes = bytes.saturating_sub(AROUND);
    let omitted = match &mut rejection.reason {
        Some(Reason::UnknownScopes(reason)) => cut(&mut reason.scopes, bytes, String::len),
        Some(Reason::UnknownResources(reason)) => cut(&mut reason.resources, bytes, String::len),
        Some(Reason::UnknownQuotas(reason)) => cut_messages(&mut reason.quotas, bytes),
        Some(Reason::Uncountable(reason)) => cut_messages(&mut reason.quotas, bytes),
        Some(Reason::HoldTooSmall(reason)) => cut_messages(&mut reason.lines, bytes),
        Some(Reason::InUse(reason)) => cut_messages(&mut reason.taken, bytes),
        Some(Reason::OnLoan(reason)) => cut(&mut reason.transfer_ids, bytes, |_| MAX_VARINT),
        Some(Reason::Locked(reason)) => cut_messages(&mut reason.locks, bytes),
        Some(Reason::SequenceMismatch(reason)) => cut_messages(&mut reason.found, bytes),
        Some(Reason::Denied(reason)) => cut_blocking(&mut reason.blocking, bytes),
        Some(Reason::PartFailed(reason)) => {
            if let Some(rejection) = reason.rejection.as_deref_mut() {
                shorten(rejection, bytes.saturating_sub(reason.command.len()));
            }
            0
        }
        _ => 0,
    };
    rejection.omitted += omitted;
}

/// Most bytes of a number.
const MAX_VARINT: usize = 10;

/// About how many bytes there are around the things that a rejection names.
const AROUND: usize = 32;

/// Keeps the first items that together take about `bytes`, at least one. Returns how many go.
fn cut<T>(items: &mut Vec<T>, bytes: usize, size: impl Fn(&T) -> usize) -> u32 {
    let mut taken = 0;
    let fitting = items.iter().take_while(|item| {
        // A tag and a length come before each.
        taken += size(item) + 3;
        taken <= bytes
    });
    let kept = fitting.count().max(1).min(items.len());
    let gone = items.len() - kept;
    items.truncate(kept);
    u32::try_from(gone).unwrap_or(u32::MAX)
}

fn cut_messages<T: Message>(items: &mut Vec<T>, bytes: usize) -> u32 {
    cut(items, bytes, Message::encoded_len)
}

/// Cuts blocking quotas to about `bytes`, at least one, their holders first. Returns how many go.
pub fn cut_blocking(blocking: &mut Vec<v1::Blocking>, bytes: usize) -> u32 {
    let holders: Vec<_> =
        blocking.iter_mut().map(|blocking| std::mem::take(&mut blocking.largest_holders)).collect();
    let gone = cut_messages(blocking, bytes);
    let taken: usize = blocking.iter().map(|blocking| blocking.encoded_len() + 3).sum();
    let mut left = bytes.saturating_sub(taken);
    for (blocking, holders) in blocking.iter_mut().zip(holders) {
        for holder in holders {
            let size = holder.encoded_len() + 3;
            if size > left {
                return gone;
            }
            left -= size;
            blocking.largest_holders.push(holder);
        }
    }
    gone
}

/// A rejection from its message.
pub fn decode(rejection: v1::Rejection) -> Result<Rejection, Corrupt> {
    Ok(match required(rejection.reason, WHAT, "the reason")? {
        Reason::Malformed(reason) => Rejection::Malformed(Malformed::new(reason.field, reason.problem)),
        Reason::UnknownScopes(reason) => {
            Rejection::UnknownScopes(each(&reason.scopes, |text| decode_path(text))?)
        }
        Reason::UnknownResources(reason) => {
            Rejection::UnknownResources(each(&reason.resources, |text| decode_name(text))?)
        }
        Reason::UnknownQuotas(reason) => Rejection::UnknownQuotas(each(&reason.quotas, decode_quota)?),
        Reason::UnknownHold(reason) => Rejection::UnknownHold(reason.hold_id),
        Reason::UnknownTemplate(reason) => Rejection::UnknownTemplate(decode_name(&reason.template)?),
        Reason::UnknownSchedule(reason) => {
            Rejection::UnknownSchedule { quota: decode_its(reason.quota)?, id: reason.schedule_id }
        }
        Reason::Exists(reason) => match reason.what.as_str() {
            SCOPE => Rejection::ScopeExists(decode_path(&reason.name)?),
            RESOURCE => Rejection::ResourceExists(decode_name(&reason.name)?),
            other => return Err(Corrupt::new(WHAT, format!("{other:?} cannot exist"))),
        },
        Reason::HoldClosed(reason) => Rejection::HoldClosed {
            hold: reason.hold_id,
            state: decode_state(reason.state)?,
            revision: reason.closed_at_revision,
        },
        Reason::HoldTooSmall(reason) => {
            Rejection::HoldTooSmall { hold: reason.hold_id, lines: each(&reason.lines, decode_too_small)? }
        }
        Reason::HasChildren(reason) => {
            Rejection::HasChildren { path: decode_path(&reason.scope)?, children: reason.children }
        }
        Reason::InUse(reason) => Rejection::InUse(each(&reason.taken, decode_taken)?),
        Reason::OnLoan(reason) => Rejection::OnLoan(reason.transfer_ids),
        Reason::Locked(reason) => Rejection::Locked(each(&reason.locks, decode_locked)?),
        reason => decode_conflict(reason)?,
    })
}

/// What is against what else there is.
fn decode_conflict(reason: Reason) -> Result<Rejection, Corrupt> {
    Ok(match reason {
        Reason::VersionMismatch(reason) => {
            Rejection::VersionMismatch(decode_mismatch(reason.quota, reason.expected, reason.actual)?)
        }
        Reason::TemplateVersionMismatch(reason) => Rejection::TemplateVersionMismatch {
            template: decode_name(&reason.template)?,
            expected: reason.expected,
            actual: reason.actual,
        },
        Reason::SequenceMismatch(reason) => Rejection::SequenceMismatch(each(&reason.found, |found| {
            decode_mismatch(found.quota.clone(), found.expected, found.actual)
        })?),
        Reason::SchemaConflict(reason) => {
            Rejection::SchemaConflict { path: decode_path(&reason.scope)?, problem: reason.problem }
        }
        Reason::ScheduleConflict(reason) => {
            Rejection::ScheduleConflict { quota: decode_its(reason.quota)?, problem: reason.problem }
        }
        Reason::TransferNotAllowed(reason) => Rejection::TransferNotAllowed(decode_its(reason.quota)?),
        Reason::TtlTooLong(reason) => Rejection::TtlTooLong {
            quota: decode_its(reason.quota)?,
            maximum_ms: reason.maximum_ms,
            asked_ms: reason.asked_ms,
        },
        Reason::LimitConflict(reason) => Rejection::LimitConflict {
            quota: decode_its(reason.quota)?,
            other: decode_its(reason.other)?,
            problem: reason.problem,
        },
        Reason::BelowUse(reason) => Rejection::BelowUse(BelowUse {
            taken: decode_taken(&required(reason.taken, WHAT, "taken")?)?,
            limit: decode_number(&reason.limit)?,
            over_by: decode_number(&reason.over_by)?,
        }),
        Reason::Denied(reason) => Rejection::Denied(each(&reason.blocking, decode_blocking)?),
        Reason::Uncountable(reason) => Rejection::Uncountable(each(&reason.quotas, decode_quota)?),
        Reason::RequestIdReused(reason) => Rejection::RequestIdReused { first: reason.first_revision },
        Reason::RequestIdExpired(reason) => {
            Rejection::RequestIdExpired { oldest_accepted_ms: reason.oldest_accepted_ms }
        }
        Reason::PartFailed(reason) => Rejection::PartFailed {
            index: reason.index,
            command: reason.command.into(),
            rejection: Box::new(decode(*required(reason.rejection, WHAT, "rejection")?)?),
        },
        _ => unreachable!("it is no conflict"),
    })
}

fn all<T, M>(items: &[T], encode: impl Fn(&T) -> M) -> Vec<M> {
    items.iter().map(encode).collect()
}

fn each<M, T>(messages: &[M], decode: impl Fn(&M) -> Result<T, Corrupt>) -> Result<Vec<T>, Corrupt> {
    messages.iter().map(decode).collect()
}

fn decode_path(text: &str) -> Result<Path, Corrupt> {
    path("scope", text).map_err(Corrupt::from_malformed(WHAT))
}

fn decode_name(text: &str) -> Result<Name, Corrupt> {
    name("name", text).map_err(Corrupt::from_malformed(WHAT))
}

fn decode_number(text: &str) -> Result<Decimal, Corrupt> {
    number::parse("a number", text).map_err(Corrupt::from_malformed(WHAT))
}

/// What each line of a partial reservation got; `None` when nothing is said.
pub(super) fn decode_granted(texts: &[String]) -> Result<Option<Box<[Decimal]>>, Corrupt> {
    if texts.is_empty() {
        return Ok(None);
    }
    each(texts, |text| decode_number(text)).map(|granted| Some(granted.into()))
}

fn encode_quota(quota: &QuotaName) -> v1::QuotaName {
    v1::QuotaName { scope: quota.scope.to_string(), resource: quota.resource.to_string() }
}

fn decode_quota(message: &v1::QuotaName) -> Result<QuotaName, Corrupt> {
    Ok(QuotaName { scope: decode_path(&message.scope)?, resource: decode_name(&message.resource)? })
}

fn decode_its(message: Option<v1::QuotaName>) -> Result<QuotaName, Corrupt> {
    decode_quota(&required(message, WHAT, "a quota")?)
}

fn encode_too_small(line: &TooSmall) -> message::TooSmall {
    message::TooSmall {
        quota: Some(encode_quota(&line.quota)),
        asked: number::write(line.asked),
        live: number::write(line.live),
    }
}

fn decode_too_small(message: &message::TooSmall) -> Result<TooSmall, Corrupt> {
    Ok(TooSmall {
        quota: decode_its(message.quota.clone())?,
        asked: decode_number(&message.asked)?,
        live: decode_number(&message.live)?,
    })
}

fn encode_taken(taken: &Taken) -> message::Taken {
    message::Taken {
        quota: Some(encode_quota(&taken.quota)),
        used: number::write(taken.used),
        held: number::write(taken.held),
    }
}

fn decode_taken(message: &message::Taken) -> Result<Taken, Corrupt> {
    Ok(Taken {
        quota: decode_its(message.quota.clone())?,
        used: decode_number(&message.used)?,
        held: decode_number(&message.held)?,
    })
}

fn encode_locked((quota, lock): &(QuotaName, Lock)) -> message::LockedQuota {
    message::LockedQuota { quota: Some(encode_quota(quota)), lock: Some(encode_lock(lock)) }
}

fn decode_locked(message: &message::LockedQuota) -> Result<(QuotaName, Lock), Corrupt> {
    Ok((decode_its(message.quota.clone())?, decode_lock(required(message.lock.clone(), WHAT, "lock")?)))
}

fn encode_sequence(mismatch: &Mismatch) -> message::SequenceFound {
    message::SequenceFound {
        quota: Some(encode_quota(&mismatch.quota)),
        expected: mismatch.expected,
        actual: mismatch.actual,
    }
}

fn decode_mismatch(quota: Option<v1::QuotaName>, expected: u64, actual: u64) -> Result<Mismatch, Corrupt> {
    Ok(Mismatch { quota: decode_its(quota)?, expected, actual })
}

/// The message of a rule.
pub(super) fn encode_rule(rule: Rule) -> v1::Rule {
    match rule {
        Rule::HardLimit => v1::Rule::HardLimit,
        Rule::BurstLimit => v1::Rule::BurstLimit,
        Rule::BurstEnded => v1::Rule::BurstEnded,
        Rule::SoftLimit => v1::Rule::SoftLimit,
    }
}

fn decode_rule(rule: i32) -> Result<Rule, Corrupt> {
    match v1::Rule::try_from(rule) {
        Ok(v1::Rule::HardLimit) => Ok(Rule::HardLimit),
        Ok(v1::Rule::BurstLimit) => Ok(Rule::BurstLimit),
        Ok(v1::Rule::BurstEnded) => Ok(Rule::BurstEnded),
        Ok(v1::Rule::SoftLimit) => Ok(Rule::SoftLimit),
        Ok(v1::Rule::Unspecified) | Err(_) => Err(Corrupt::new(WHAT, format!("{rule} is no rule"))),
    }
}

/// The message of a (scope, resource) without room. Holders are added by who answers.
pub fn encode_blocking(blocking: &Blocking) -> v1::Blocking {
    v1::Blocking {
        scope: blocking.quota.scope.to_string(),
        resource: blocking.quota.resource.to_string(),
        rule: encode_rule(blocking.rule).into(),
        limit: number::write(blocking.limit),
        used: number::write(blocking.used),
        held: number::write(blocking.held),
        requested: number::write(blocking.requested),
        shortfall: number::write(blocking.shortfall),
        waiting_can_help: blocking.waiting_can_help,
        fits_at_ms: blocking.fits_at.unwrap_or_default(),
        largest_holders: Vec::new(),
    }
}

/// A (scope, resource) without room from its message.
pub(super) fn decode_blocking(message: &v1::Blocking) -> Result<Blocking, Corrupt> {
    Ok(Blocking {
        quota: QuotaName { scope: decode_path(&message.scope)?, resource: decode_name(&message.resource)? },
        rule: decode_rule(message.rule)?,
        limit: decode_number(&message.limit)?,
        used: decode_number(&message.used)?,
        held: decode_number(&message.held)?,
        requested: decode_number(&message.requested)?,
        shortfall: decode_number(&message.shortfall)?,
        waiting_can_help: message.waiting_can_help,
        fits_at: (message.fits_at_ms != 0).then_some(message.fits_at_ms),
    })
}
