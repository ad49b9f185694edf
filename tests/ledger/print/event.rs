//! What happened, for people.

use std::fmt::Write;

use quorate::ledger::event::EventLine;
use quorate::ledger::event::HoldAfter;
use quorate::ledger::event::Overrun;
use quorate::ledger::event::OverrunReason;
use quorate::ledger::event::Touched;
use quorate::ledger::event::TransferSide;
use quorate::ledger::quota::ClockKind;
use quorate::ledger::scope::Account;
use quorate::ledger::*;

use super::super::Result;
use super::counters;
use super::joined;
use super::labelled;
use super::limit;
use super::outcome::blocked;
use super::outcome::explain;
use super::place;
use super::policy_text;
use super::ruled;
use super::scheduled;
use super::tagged;
use super::time;

pub fn event(output: &mut String, state: &State, event: &Event) -> Result<()> {
    let part = event.part.map_or(String::new(), |part| format!(", part {} of {}", part.index + 1, part.of));
    let time = if event.cause == Cause::Time { " by time" } else { "" };
    writeln!(output, "event {}{time}{part}: {}", event.revision, body(state, event))?;
    if let Body::QuotaTransferred { from, to, resource, .. } = &event.body {
        writeln!(output, "    {}", side(state, from, *resource))?;
        writeln!(output, "    {}", side(state, to, *resource))?;
    }
    if let Body::ScheduleFailed { rejection, .. } = &event.body {
        let (head, lines) = explain(rejection);
        writeln!(output, "    {head}: {}", lines.join("; "))?;
    }
    for overrun in overruns(&event.body) {
        writeln!(output, "    {}", over(state, overrun))?;
    }
    for touched in &event.touched {
        let account = state.scope(touched.scope).account(touched.resource).expect("it was touched just now");
        check_touched(touched, account);
        writeln!(output, "    {}", counters(state, touched.scope, account, event.time))?;
    }
    Ok(())
}

/// What the event says is what the state has now.
fn check_touched(touched: &Touched, account: &Account) {
    let clocks = account.quota.as_ref().map(Quota::clocks).unwrap_or_default();
    assert_eq!((touched.used, touched.held), (account.used, account.held));
    assert_eq!((touched.sequence, touched.clocks), (account.sequence, clocks));
}

fn overruns(body: &Body) -> &[Overrun] {
    match body {
        Body::Reserved(reserved) => &reserved.overruns,
        Body::Committed { overruns, .. } | Body::Resized { overruns, .. } => overruns,
        Body::ScopeMoved { overruns, .. } => overruns,
        _ => &[],
    }
}

/// The client has read of all but SHADOW in the warnings.
fn over(state: &State, overrun: &Overrun) -> String {
    let place = place(state, overrun.scope, overrun.resource);
    match overrun.reason {
        OverrunReason::Warn => format!("granted by WARN of {place}"),
        OverrunReason::Forced => format!("granted by force at {place}"),
        OverrunReason::Soft => format!("over the soft limit of {place}"),
        OverrunReason::Shadow => format!("granted by SHADOW of {}", blocked(&overrun.blocking)),
    }
}

fn body(state: &State, event: &Event) -> String {
    match &event.body {
        Body::ScopeCreated { scope, path, kind, labels, rules } => {
            format!("scope {} made: {path}, {kind}{}{}", scope.0, labelled(labels), ruled(rules.as_ref()))
        }
        Body::ScopeUpdated { path, labels, rules, .. } => {
            format!("scope {path} updated{}{}", labelled(labels), ruled(rules.as_ref()))
        }
        Body::ScopeMoved { scope, from, to, forced, .. } => {
            let force = if *forced { " by force" } else { "" };
            format!("scope {} moved{force}: {from} → {to}", scope.0)
        }
        Body::ScopeDeleted { scope, path, below } => {
            let below = joined(below, |scope| scope.0.to_string());
            let below = if below.is_empty() { below } else { format!(", with {below}") };
            format!("scope {} deleted: {path}{below}", scope.0)
        }
        Body::ResourceRegistered { id, resource } => format!(
            "resource {} registered: {} in {}, {} decimals, {:?}",
            id.0, resource.name, resource.unit, resource.decimals, resource.kind
        ),
        Body::TemplatePut { template } => {
            format!("template {} is now version {}", template.name, template.version)
        }
        Body::TemplateApplied { path, template, version, quotas, .. } => {
            let versions = joined(quotas, |(id, version)| format!("{} {version}", state.resource(*id).name));
            format!("template {template} version {version} applied to {path}; quota versions: {versions}")
        }
        Body::TimeRefused { clock, node } => {
            format!("the clock of node {node} was not believed: it said {}", time(*clock))
        }
        Body::EventsCompacted { through, previous } => {
            format!("events up to {through} removed; up to {previous} they were before")
        }
        Body::Rejected { command, .. } => format!("{command} rejected"),
        Body::Unchanged { command, version } => format!("{command} changed nothing, version {version}"),
        Body::Reserved(_)
        | Body::Committed { .. }
        | Body::Released { .. }
        | Body::Expired { .. }
        | Body::Renewed { .. }
        | Body::Resized { .. } => hold_body(event),
        _ => policy_body(state, event),
    }
}

fn policy_body(state: &State, event: &Event) -> String {
    match &event.body {
        Body::QuotaSet { scope, resource, policy, version, previous, drain, scheduled } => {
            let before = previous.as_ref().map_or("no quota".into(), policy_text);
            let scheduled = scheduled.map_or(String::new(), |id| format!(" as scheduled by {id}"));
            let place = place(state, *scope, *resource);
            let now = policy_text(policy);
            format!("quota {place} set{scheduled}: {before} → {now}, version {version}{}", drained(*drain))
        }
        Body::QuotaDeleted { scope, resource, version, previous } => {
            let previous = policy_text(previous);
            format!("quota {} deleted: it was {previous}; version {version}", place(state, *scope, *resource))
        }
        Body::QuotaLocked { scope, resource, lock, version } => format!(
            "quota {} locked by {:?}: {}, version {version}",
            place(state, *scope, *resource),
            lock.actor,
            lock.reason
        ),
        Body::QuotaUnlocked { scope, resource, version } => {
            format!("quota {} unlocked, version {version}", place(state, *scope, *resource))
        }
        Body::QuotaScheduled { scope, resource, item, version, drain } => format!(
            "quota {} scheduled: {}, version {version}{}",
            place(state, *scope, *resource),
            scheduled(item),
            drained(*drain)
        ),
        Body::ScheduleCancelled { scope, resource, id, version, drain } => format!(
            "schedule {id} of {} cancelled, version {version}{}",
            place(state, *scope, *resource),
            drained(*drain)
        ),
        Body::ScheduleFailed { scope, resource, id, version, .. } => {
            format!("schedule {id} of {} failed, version {version}", place(state, *scope, *resource))
        }
        Body::OverrideSwitched { scope, resource, id, active, limit: now, version, drain } => format!(
            "override {id} of {} {}: the limit is {}, version {version}{}",
            place(state, *scope, *resource),
            if *active { "begins" } else { "ends" },
            limit(*now),
            drained(*drain)
        ),
        Body::ClockEnded { scope, resource, clock } => {
            let clock = match clock {
                ClockKind::Grace => "grace",
                ClockKind::Burst => "burst",
            };
            format!("the {clock} of {} is over", place(state, *scope, *resource))
        }
        Body::QuotaTransferred { from, to, amount, until, .. } => {
            let until = until.map_or(String::new(), |until| format!(" until {}", time(until)));
            let (from, to) = (&state.scope(from.scope).path, &state.scope(to.scope).path);
            format!("{amount} transferred from {from} to {to}{until}")
        }
        Body::TransferReturned { id, from, to, resource, lent, given, received, .. } => {
            let side = |one: &Option<TransferSide>, which: &str| match one {
                Some(one) => side(state, one, *resource),
                None => format!("{which} is left alone"),
            };
            format!(
                "transfer {id} of {lent} went back, {given} of it given and {received} received: {}, {}",
                side(from, "its origin"),
                side(to, "its target")
            )
        }
        body => unreachable!("{body:?} is no change of policy"),
    }
}

fn side(state: &State, side: &TransferSide, resource: ResourceId) -> String {
    let place = place(state, side.scope, resource);
    format!("{place} has {} now, version {}{}", side.limit, side.version, drained(side.drain))
}

fn hold_body(event: &Event) -> String {
    match &event.body {
        Body::Reserved(reserved) => {
            let word = if reserved.committed { "reserved and committed" } else { "reserved" };
            let force = if reserved.forced { " by force" } else { "" };
            let lines = joined(&reserved.lines, |line| {
                let amount = if reserved.committed { line.used } else { line.held };
                format!("{} {} {amount}", line.path, line.name)
            });
            let until =
                reserved.expires_at.map_or(String::new(), |end| format!(" until {}", time(end.get())));
            let tags = reserved.tags.as_deref().map_or(String::new(), tagged);
            format!("{word}{force}{until}: {lines}{tags}")
        }
        Body::Committed { hold, after, .. } => format!("hold {hold} committed{}", left(after.as_ref())),
        Body::Released { hold, after } => format!("hold {hold} released{}", left(after.as_ref())),
        Body::Expired { hold, after } => format!("hold {hold} expired{}", left(after.as_ref())),
        Body::Renewed { hold, expires_at } => {
            format!("hold {hold} renewed until {}", time(expires_at.get()))
        }
        Body::Resized { hold, after, .. } => format!("hold {hold} resized{}", left(Some(after))),
        body => unreachable!("{body:?} is not about a hold"),
    }
}

/// What a hold is after an event, if that does not go without saying.
fn left(after: Option<&HoldAfter>) -> String {
    let Some(HoldAfter { lines, expires_at }) = after else {
        return String::new();
    };
    let line =
        |line: &EventLine| format!("{} {} held {} used {}", line.path, line.name, line.held, line.used);
    let until = expires_at.map_or(String::new(), |end| format!(" until {}", time(end.get())));
    format!("; it has{until} {}", joined(lines, line))
}

fn drained(drain: Option<Amount>) -> String {
    drain.map_or(String::new(), |amount| format!(", {amount} to be given back"))
}
