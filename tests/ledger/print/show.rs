//! What can be looked up, for people.

use std::fmt::Write;

use quorate::ledger::drift::Drift;
use quorate::ledger::drift::QuotaDrift;
use quorate::ledger::drift::drift;
use quorate::ledger::holders::Holder;
use quorate::ledger::rows::Row;
use quorate::ledger::template::Template;
use quorate::ledger::transfer::Transfer;
use quorate::ledger::*;

use super::super::Result;
use super::super::arguments::Arguments;
use super::counters;
use super::deadline;
use super::labelled;
use super::place;
use super::policy_text;
use super::ruled;
use super::scheduled;
use super::tagged;
use super::time;
use super::time_left;

pub fn show(state: &State, now: LogTime, arguments: &Arguments) -> Result<String> {
    let mut output = String::new();
    match arguments.word(0)? {
        "deadline" => writeln!(output, "{}", deadline(state, now))?,
        "transfers" => {
            for row in state.rows() {
                if let Row::Transfer(transfer) = row {
                    writeln!(output, "{}", transferred(state, &transfer, now))?;
                }
            }
            if output.is_empty() {
                writeln!(output, "no transfers")?;
            }
        }
        "template" => {
            let name = arguments.name(1)?;
            let template = state.template(&name).ok_or("no such template")?;
            show_template(&mut output, state, template)?;
        }
        "hold" => show_hold(&mut output, state, arguments.word(1)?.parse()?, now)?,
        "drift" => show_drift(&mut output, state, &arguments.path(1)?)?,
        "holders" => {
            let scope = state.scope_at(&arguments.path(1)?).ok_or("no such scope")?;
            let resource = state.resource_id(&arguments.name(2)?).ok_or("no such resource")?;
            let largest = state.largest_holders(&[(scope.id, resource)], arguments.word(3)?.parse()?);
            for Holder { hold, held, used } in largest.into_iter().flatten() {
                writeln!(output, "hold {hold}: held {held}, used {used}")?;
            }
        }
        "scope" => match state.scope_at(&arguments.path(1)?) {
            Some(scope) => show_scope(&mut output, scope)?,
            None => writeln!(output, "no such scope")?,
        },
        "tree" => match state.scope_at(&arguments.path(1)?) {
            Some(root) => state.subtree(root.id).try_for_each(|scope| show_scope(&mut output, scope))?,
            None => writeln!(output, "no such scope")?,
        },
        _ => {
            let (path, resource) = arguments.quota()?;
            let scope = state.scope_at(&path).ok_or("no such scope")?;
            let resource = state.resource_id(&resource).ok_or("no such resource")?;
            show_quota(&mut output, state, scope, resource, now)?;
        }
    }
    Ok(output)
}

fn show_quota(output: &mut String, state: &State, scope: &Scope, id: ResourceId, now: LogTime) -> Result<()> {
    let Some(account) = scope.account(id) else {
        writeln!(output, "{}: never touched", place(state, scope.id, id))?;
        return Ok(());
    };
    writeln!(output, "{}", counters(state, scope.id, account, now))?;
    let Some(quota) = account.quota.as_ref() else {
        return Ok(());
    };
    if quota.policy.terms() != Policy::new(Limit::Inherit, Default::default()).terms() {
        writeln!(output, "    policy: {}", policy_text(&quota.policy))?;
    }
    for item in quota.schedule() {
        writeln!(output, "    scheduled: {}", scheduled(item))?;
    }
    Ok(())
}

fn show_hold(output: &mut String, state: &State, id: HoldId, now: LogTime) -> Result<()> {
    let Some(hold) = state.hold(id) else {
        match state.closing(id) {
            Some(closing) => {
                writeln!(output, "hold {id}: {:?} since revision {}", closing.state, closing.revision)?;
            }
            None => writeln!(output, "hold {id}: unknown")?,
        }
        return Ok(());
    };
    let until = hold
        .expires_at
        .map_or("until it is resolved".into(), |end| format!("until {}", time_left(end.into(), now)));
    let tags = hold.tags.as_deref().map_or(String::new(), tagged);
    writeln!(
        output,
        "hold {id}: {:?} {until}, made at {} by {:?}, last changed at revision {}{tags}",
        hold.state(),
        time(hold.created_at),
        hold.actor,
        hold.revision
    )?;
    for line in &hold.lines {
        let place = place(state, line.scope, line.resource);
        writeln!(output, "    {place} held {} used {}", line.held, line.used)?;
    }
    Ok(())
}

fn show_scope(output: &mut String, scope: &Scope) -> Result<()> {
    let applied = scope.template.as_deref().map_or(String::new(), |applied| {
        format!(", template {} version {}", applied.template, applied.version)
    });
    let rules = ruled(scope.rules.as_deref());
    writeln!(
        output,
        "scope {}: {}, {}{}{rules}{applied}",
        scope.id.0,
        scope.path,
        scope.kind,
        labelled(&scope.labels)
    )?;
    Ok(())
}

fn show_template(output: &mut String, state: &State, template: &Template) -> Result<()> {
    let Template { name, version, description, quotas } = template;
    writeln!(output, "template {name} version {version}: {description}")?;
    for (resource, policy) in quotas {
        writeln!(output, "    {} {}", state.resource(*resource).name, policy_text(policy))?;
    }
    Ok(())
}

fn transferred(state: &State, transfer: &Transfer, now: LogTime) -> String {
    let (from, to) = (&state.scope(transfer.from).path, &state.scope(transfer.to).path);
    let name = &state.resource(transfer.resource).name;
    let back = time_left(transfer.until, now);
    format!("transfer {}: {name} {} from {from} to {to}, back at {back}", transfer.id, transfer.amount)
}

fn show_drift(output: &mut String, state: &State, path: &Path) -> Result<()> {
    let scope = state.scope_at(path).ok_or("no such scope")?;
    let Some(Drift { template, applied, current, quotas, .. }) = drift(state, scope.id) else {
        writeln!(output, "{path} is as its template says, or has none")?;
        return Ok(());
    };
    writeln!(output, "{path} has template {template} version {applied}; it is at version {current}")?;
    for QuotaDrift { resource, template, actual, changed_since } in quotas {
        let text = |policy: Option<Policy>| policy.as_ref().map_or("no quota".into(), policy_text);
        let by = if changed_since { "the quota was changed" } else { "the template was changed" };
        let name = &state.resource(resource).name;
        writeln!(output, "    {name}: {}, should be {}; {by}", text(actual), text(template))?;
    }
    Ok(())
}
