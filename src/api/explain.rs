//! Rejections in words: what stood in the way, and what to do about it.

use crate::ledger::HoldState;
use crate::ledger::Rejection;
use crate::ledger::rejection::BelowUse;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Mismatch;
use crate::ledger::rejection::QuotaName;
use crate::ledger::rejection::Rule;
use crate::ledger::rejection::Taken;

/// Why a command was not carried out.
pub(super) fn explain(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Malformed(error) => error.to_string(),
        Rejection::UnknownScopes(scopes) => format!("unknown scope: {}", list(scopes)),
        Rejection::UnknownResources(resources) => {
            format!("unknown resource: {}; register it first", list(resources))
        }
        Rejection::UnknownQuotas(quotas) => {
            let quotas: Vec<_> = quotas.iter().map(quota).collect();
            format!("no quota on {} or above it; set one, UNLIMITED if that is meant", list(&quotas))
        }
        Rejection::UnknownHold(hold) => {
            format!("unknown hold: {hold}; it was never made, or it was closed long ago")
        }
        Rejection::UnknownTemplate(template) => format!("unknown template: {template}"),
        Rejection::UnknownSchedule { quota: name, id } => {
            format!("nothing is scheduled as {id} on {}; it may have ended", quota(name))
        }
        Rejection::ScopeExists(path) => format!("scope {path} is there already"),
        Rejection::ResourceExists(name) => format!("resource {name} is there already"),
        Rejection::HoldClosed { hold, state, revision } => {
            let state = match state {
                HoldState::Held => "was held",
                HoldState::Committed => "was committed",
                HoldState::Released => "was released",
                HoldState::Expired => "expired",
            };
            format!("hold {hold} {state} at revision {revision}")
        }
        Rejection::HoldTooSmall { hold, lines } => {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| {
                    format!("{} is asked of {}, {} is live", line.asked, quota(&line.quota), line.live)
                })
                .collect();
            format!("hold {hold} has less than that: {}", list(&lines))
        }
        Rejection::HasChildren { path, children } => {
            format!("scope {path} has {children} scopes directly below; remove them first, or all together")
        }
        Rejection::InUse(taken) => {
            let taken: Vec<_> = taken.iter().map(explain_taken).collect();
            format!("still in use: {}", list(&taken))
        }
        Rejection::OnLoan(transfers) => {
            format!("a part of the limit has not gone back yet: transfer {}", list(transfers))
        }
        Rejection::Locked(locks) => {
            let locks: Vec<_> = locks
                .iter()
                .map(|(name, lock)| format!("{} by {:?}: {}", quota(name), lock.actor, lock.reason))
                .collect();
            format!("locked: {}", list(&locks))
        }
        rejection => explain_conflict(rejection),
    }
}

/// What is against what else there is.
fn explain_conflict(rejection: &Rejection) -> String {
    match rejection {
        Rejection::VersionMismatch(mismatch) => explain_mismatch("version", mismatch),
        Rejection::TemplateVersionMismatch { template, expected, actual } => {
            format!("template {template} is at version {actual}, not {expected}; read it again")
        }
        Rejection::SequenceMismatch(mismatches) => {
            let mismatches: Vec<_> =
                mismatches.iter().map(|mismatch| explain_mismatch("sequence", mismatch)).collect();
            list(&mismatches)
        }
        Rejection::SchemaConflict { path, problem } => format!("scope {path} {problem}"),
        Rejection::ScheduleConflict { quota: name, problem } => {
            format!("the schedule of {} {problem}", quota(name))
        }
        Rejection::TransferNotAllowed(name) => {
            format!("{} does not let its children pass limits on; set allow_transfer there", quota(name))
        }
        Rejection::TtlTooLong { quota: name, maximum_ms, asked_ms } => {
            format!("a hold on {} lives at most {maximum_ms} ms, not {asked_ms}", quota(name))
        }
        Rejection::LimitConflict { quota: name, problem, .. } => {
            format!("the limit of {} {problem}", quota(name))
        }
        Rejection::BelowUse(BelowUse { taken, limit, over_by }) => {
            format!("{}: a limit of {limit} would be exceeded by {over_by}", explain_taken(taken))
        }
        Rejection::Denied(blocking) => {
            let blocking: Vec<_> = blocking.iter().map(explain_blocking).collect();
            format!("denied: {}", list(&blocking))
        }
        Rejection::Uncountable(quotas) => {
            let quotas: Vec<_> = quotas.iter().map(quota).collect();
            format!("with this, {} would have more digits than can be counted exactly", list(&quotas))
        }
        Rejection::RequestIdReused { first } => {
            format!(
                "this request_id was used for another command, decided at revision {first}; make a new one"
            )
        }
        Rejection::RequestIdExpired { oldest_accepted_ms } => format!(
            "this request_id is too old to know whether it was decided; nothing was done; \
             ids made since {oldest_accepted_ms} ms after 1970 are accepted"
        ),
        Rejection::PartFailed { index, command, rejection } => {
            format!("nothing was done: commands[{index}], {command}: {}", explain(rejection))
        }
        _ => unreachable!("it is no conflict"),
    }
}

/// Why there is no room, with all the numbers.
pub(super) fn explain_blocking(blocking: &Blocking) -> String {
    let rule = match blocking.rule {
        Rule::HardLimit => "hard limit",
        Rule::BurstLimit => "burst limit",
        Rule::BurstEnded => "hard limit, its burst has ended:",
        Rule::SoftLimit => "soft limit",
    };
    let help = match (blocking.fits_at, blocking.waiting_can_help) {
        (Some(time), _) => format!("it fits at {time} ms after 1970 if nothing else happens"),
        (None, true) => "waiting can help".to_owned(),
        (None, false) => "waiting cannot help".to_owned(),
    };
    format!(
        "{}: {rule} {}, used {}, held {}, requested {}: short by {}; {help}",
        quota(&blocking.quota),
        blocking.limit,
        blocking.used,
        blocking.held,
        blocking.requested,
        blocking.shortfall,
    )
}

fn explain_taken(taken: &Taken) -> String {
    format!("{}: used {}, held {}", quota(&taken.quota), taken.used, taken.held)
}

fn explain_mismatch(what: &str, mismatch: &Mismatch) -> String {
    let Mismatch { quota: name, expected, actual } = mismatch;
    format!("{} is at {what} {actual}, not {expected}; read it again", quota(name))
}

fn quota(name: &QuotaName) -> String {
    format!("{} of {}", name.resource, name.scope)
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
