//! What a client is told, for people.

use std::fmt::Display;
use std::fmt::Write;

use quorate::ledger::rejection::Blocking;
use quorate::ledger::rejection::Mismatch;
use quorate::ledger::rejection::QuotaName;
use quorate::ledger::rejection::Rule;
use quorate::ledger::rejection::Taken;
use quorate::ledger::*;

use super::super::Result;
use super::super::arguments::duration_text;
use super::ALIKE;
use super::joined;
use super::time;

pub fn outcomes(output: &mut String, outcomes: &[Outcome]) -> Result<()> {
    for outcome in outcomes {
        let replayed = if outcome.replayed { " (replayed)" } else { "" };
        match &outcome.verdict {
            Ok(grant) => {
                writeln!(output, "{}{replayed}", granted(grant))?;
                for line in &grant.details().warnings {
                    writeln!(output, "    warning: {}", blocked(line))?;
                }
                for part in grant.details().parts.iter().filter(|_| grant.details().parts.len() <= ALIKE) {
                    writeln!(output, "    {}", granted(part))?;
                    for line in &part.details().warnings {
                        writeln!(output, "        warning: {}", blocked(line))?;
                    }
                }
            }
            Err(rejection) => {
                let (head, lines) = explain(rejection);
                writeln!(output, "{head}{replayed}")?;
                for line in lines {
                    writeln!(output, "    {line}")?;
                }
            }
        }
    }
    Ok(())
}

fn granted(grant: &Grant) -> String {
    let details = grant.details();
    let word = if details.granted.is_some() { "partly granted" } else { "granted" };
    let mut text = match grant.what {
        Granted::Hold { hold, expires_at: None } => format!("{word}: hold {hold}"),
        Granted::Hold { hold, expires_at: Some(end) } => {
            format!("{word}: hold {hold} until {}", time(end.get()))
        }
        Granted::Version(version) => format!("{word}: version {version}"),
        Granted::Done => format!("{word}: done"),
    };
    if let Some(lines) = &details.granted {
        let _ = write!(text, "; the lines got {}", joined(lines.iter(), ToString::to_string));
    }
    if !details.parts.is_empty() {
        let _ = write!(text, " in {} parts", details.parts.len());
    }
    text
}

/// A rejection as a heading and a line for each reason.
pub fn explain(rejection: &Rejection) -> (String, Vec<String>) {
    fn each<T: Display>(items: &[T]) -> Vec<String> {
        items.iter().map(T::to_string).collect()
    }
    fn mismatch(found: &Mismatch) -> String {
        format!("{}: expected {}, is {}", quota(&found.quota), found.expected, found.actual)
    }
    let head = |text: String| (text, Vec::new());
    match rejection {
        Rejection::Malformed(malformed) => ("malformed".into(), vec![malformed.to_string()]),
        Rejection::UnknownScopes(paths) => ("unknown scopes".into(), each(paths)),
        Rejection::UnknownResources(names) => ("unknown resources".into(), each(names)),
        Rejection::UnknownQuotas(quotas) => ("unknown quotas".into(), quotas.iter().map(quota).collect()),
        Rejection::UnknownHold(hold) => head(format!("unknown hold {hold}")),
        Rejection::UnknownTemplate(name) => head(format!("unknown template {name}")),
        Rejection::UnknownSchedule { quota: name, id } => {
            head(format!("unknown schedule {id} of {}", quota(name)))
        }
        Rejection::ScopeExists(path) => head(format!("scope {path} exists")),
        Rejection::ResourceExists(name) => head(format!("resource {name} exists")),
        Rejection::HoldClosed { hold, state, revision } => {
            head(format!("hold {hold} is {state:?} since revision {revision}"))
        }
        Rejection::HoldTooSmall { hold, lines } => (
            format!("hold {hold} is too small"),
            lines
                .iter()
                .map(|line| format!("{}: asked {}, live {}", quota(&line.quota), line.asked, line.live))
                .collect(),
        ),
        Rejection::HasChildren { path, children } => head(format!("scope {path} has children: {children}")),
        Rejection::InUse(items) => ("in use".into(), items.iter().map(taken).collect()),
        Rejection::OnLoan(transfers) => head(format!("on loan by transfer {}", each(transfers).join(", "))),
        Rejection::Locked(locks) => (
            "locked".into(),
            locks
                .iter()
                .map(|(name, lock)| format!("{} by {:?}: {}", quota(name), lock.actor, lock.reason))
                .collect(),
        ),
        Rejection::VersionMismatch(found) => ("version mismatch".into(), vec![mismatch(found)]),
        Rejection::TemplateVersionMismatch { template, expected, actual } => (
            "template version mismatch".into(),
            vec![format!("{template}: expected {expected}, is {actual}")],
        ),
        Rejection::SequenceMismatch(found) => {
            ("sequence mismatch".into(), found.iter().map(mismatch).collect())
        }
        Rejection::SchemaConflict { path, problem } => {
            ("schema conflict".into(), vec![format!("{path} {problem}")])
        }
        Rejection::ScheduleConflict { quota: name, problem } => {
            ("schedule conflict".into(), vec![format!("{} {problem}", quota(name))])
        }
        Rejection::TransferNotAllowed(name) => head(format!("transfer not allowed by {}", quota(name))),
        Rejection::TtlTooLong { quota: name, maximum_ms, asked_ms } => (
            "time to live too long".into(),
            vec![format!(
                "{} allows {}, asked {}",
                quota(name),
                duration_text(*maximum_ms),
                duration_text(*asked_ms)
            )],
        ),
        Rejection::LimitConflict { quota: name, other, problem } => (
            format!("limit conflict of {} with {}", quota(name), quota(other)),
            vec![format!("the limit {problem}")],
        ),
        Rejection::BelowUse(below) => (
            "below use".into(),
            vec![format!(
                "{}; a limit of {} would be over by {}",
                taken(&below.taken),
                below.limit,
                below.over_by
            )],
        ),
        Rejection::Denied(blocking) => ("denied".into(), blocking.iter().map(blocked).collect()),
        Rejection::Uncountable(quotas) => ("uncountable".into(), quotas.iter().map(quota).collect()),
        Rejection::RequestIdReused { first } => {
            head(format!("request id reused: it was decided at revision {first}"))
        }
        Rejection::RequestIdExpired { oldest_accepted_ms } => {
            head(format!("request id expired: accepted when made from {}", time(*oldest_accepted_ms)))
        }
        Rejection::PartFailed { index, command, rejection } => {
            let (head, lines) = explain(rejection);
            (format!("part {index} ({command}) failed, so nothing was done: {head}"), lines)
        }
    }
}

fn quota(name: &QuotaName) -> String {
    format!("{} {}", name.scope, name.resource)
}

fn taken(taken: &Taken) -> String {
    format!("{}: used {}, held {}", quota(&taken.quota), taken.used, taken.held)
}

pub fn blocked(line: &Blocking) -> String {
    let limit = match line.rule {
        Rule::HardLimit => format!("limit {}", line.limit),
        Rule::BurstLimit => format!("burst limit {}", line.limit),
        Rule::BurstEnded => format!("limit {} (burst ended)", line.limit),
        Rule::SoftLimit => format!("soft limit {}", line.limit),
    };
    let waiting = match (line.fits_at, line.waiting_can_help) {
        (Some(at), true) => format!("fits at {}", time(at)),
        (None, true) => "waiting can help".into(),
        (None, false) => "waiting cannot help".into(),
        (Some(_), false) => unreachable!("what is known to fit later is worth waiting for"),
    };
    format!(
        "{}: {limit}, used {}, held {}, requested {}, short by {}; {waiting}",
        quota(&line.quota),
        line.used,
        line.held,
        line.requested,
        line.shortfall,
    )
}
