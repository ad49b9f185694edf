//! What a ledger answers, for people.
//!
//! | file | subject |
//! |---|---|
//! | `outcome` | what a client is told |
//! | `event` | what happened |
//! | `show` | what can be looked up |
//!
//! What more than one of them speaks of stands here.

mod event;
mod outcome;
mod show;

use std::fmt::Write;

use quorate::ledger::hold::Tags;
use quorate::ledger::quota::Clock;
use quorate::ledger::quota::ClockKind;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::quota::Planned;
use quorate::ledger::quota::PolicyField;
use quorate::ledger::quota::Scheduled;
use quorate::ledger::scope::Account;
use quorate::ledger::tree::ChildPolicy;
use quorate::ledger::tree::TreeRules;
use quorate::ledger::*;

use super::arguments::duration_text;
pub use event::event;
pub use outcome::outcomes;
pub use show::show;

/// When every script begins: 2026-01-01.
pub const BEGIN_MS: u64 = 1_767_225_600_000;

/// A time as the scripts count it: from their beginning.
pub fn time(time: LogTime) -> String {
    let (sign, ms) = if time < BEGIN_MS { ("-", BEGIN_MS - time) } else { ("+", time - BEGIN_MS) };
    let (minutes, seconds, ms) = (ms / 60_000, ms / 1000 % 60, ms % 1000);
    let ms = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!("{sign}{}:{:02}:{seconds:02}{ms}", minutes / 60, minutes % 60)
}

/// A time, and how far it is from now.
fn time_left(at: LogTime, now: LogTime) -> String {
    match at.checked_sub(now) {
        Some(0) => format!("{} (now)", time(at)),
        Some(left) => format!("{} (in {})", time(at), duration_text(left)),
        None => format!("{} ({} ago)", time(at), duration_text(now - at)),
    }
}

pub fn deadline(state: &State, now: LogTime) -> String {
    match state.next_deadline() {
        Some(deadline) => format!("something is due at {}", time_left(deadline, now)),
        None => "nothing is due".into(),
    }
}

/// How many lines of one event or outcome may look alike before they are told as one.
const ALIKE: usize = 24;

/// Tells the first and the last of many outcomes or events of the same kind.
pub fn shortened(output: String) -> String {
    // An item is a line with the indented lines that follow it.
    let mut items: Vec<(String, String)> = Vec::new();
    for line in output.lines() {
        match items.last_mut().filter(|_| line.starts_with(' ')) {
            Some((_, item)) => item.push_str(&format!("\n{line}")),
            None => {
                let kind = line.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect::<String>();
                items.push((kind.replace("##", "#").replace("##", "#").replace("##", "#"), line.to_owned()));
            }
        }
    }
    let mut text = String::new();
    for run in items.chunk_by(|(one, _), (other, _)| one == other) {
        if run.len() <= ALIKE {
            run.iter().for_each(|(_, item)| text.push_str(&format!("{item}\n")));
        } else {
            let (first, last) = (&run[0].1, &run[run.len() - 1].1);
            text.push_str(&format!("{first}\n({} more like these)\n{last}\n", run.len() - 2));
        }
    }
    text
}

fn joined<T>(items: impl IntoIterator<Item = T>, text: impl FnMut(T) -> String) -> String {
    items.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn place(state: &State, scope: ScopeId, resource: ResourceId) -> String {
    format!("{} {}", state.scope(scope).path, state.resource(resource).name)
}

fn labelled(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    format!(", labels {}", joined(labels.iter(), |(key, value)| format!("{key}={value}")))
}

fn tagged(tags: &Tags) -> String {
    let one = |name: &str, text: &Option<std::sync::Arc<str>>| {
        text.as_deref().map_or(String::new(), |text| format!(", {name} {text}"))
    };
    format!("{}{}{}", one("job", &tags.job), one("consumer", &tags.consumer), labelled(&tags.labels))
}

/// The defaults go without saying.
fn ruled(rules: Option<&TreeRules>) -> String {
    let Some(TreeRules { schema, child_policy }) = rules.filter(|rules| **rules != TreeRules::default())
    else {
        return String::new();
    };
    let child_policy = match child_policy {
        ChildPolicy::EachWithinParent => "EACH_WITHIN_PARENT",
        ChildPolicy::SumWithinParent => "SUM_WITHIN_PARENT",
        ChildPolicy::Unchecked => "UNCHECKED",
    };
    format!(", schema {schema}, {child_policy}")
}

/// One line on a (scope, resource): counters, then what limits them now.
fn counters(state: &State, scope: ScopeId, account: &Account, now: LogTime) -> String {
    let place = place(state, scope, account.resource);
    let mut line =
        format!("{place}: used {}, held {}, sequence {}", account.used, account.held, account.sequence);
    let Some(quota) = account.quota.as_ref() else {
        line.push_str("; no quota");
        return line;
    };
    let _ = write!(line, "; limit {}", limit(quota.hard()));
    if let Some(item) = quota.active_override() {
        let _ = write!(line, " by override {}", item.id);
    }
    if let Some((ratio, effective)) = quota.policy.terms().overcommit.zip(account.limit()) {
        let _ = write!(line, " × {ratio} = {effective}");
    }
    let _ = write!(line, ", version {}", account.version);
    if let Some(lock) = &quota.lock {
        let _ = write!(line, ", locked by {:?}: {}", lock.actor, lock.reason);
    }
    if let Some(available) = account.available() {
        let _ = write!(line, "; available {available}");
    }
    if let Some(over_by) = account.over_by().filter(|over_by| !over_by.is_zero()) {
        let _ = write!(line, ", over by {over_by}");
    }
    if quota.would_deny() > 0 {
        let _ = write!(line, "; would have denied {}", quota.would_deny());
    }
    let clocks = quota.clocks();
    for (name, clock, kind) in
        [("grace", clocks.grace, ClockKind::Grace), ("burst", clocks.burst, ClockKind::Burst)]
    {
        if let Some(Clock { since, ended }) = clock {
            let end = quota.ends(kind).map_or("never".into(), |end| time_left(end, now));
            let ends = if ended { "ended" } else { "ends" };
            let _ = write!(line, "; {name} since {} {ends} {end}", time(since));
        }
    }
    line
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::Amount(amount) => amount.to_string(),
        Limit::Unlimited => "UNLIMITED".into(),
        Limit::Inherit => "INHERIT".into(),
    }
}

/// A limit, and in parentheses everything else that a policy says.
fn policy_text(policy: &Policy) -> String {
    let terms = policy.terms();
    let mut said: Vec<String> = Vec::new();
    let mut say =
        |name: &str, value: Option<String>| said.extend(value.map(|value| format!("{name} {value}")));
    say("overcommit", terms.overcommit.map(|ratio| ratio.to_string()));
    say("soft", terms.soft.map(|soft| soft.to_string()));
    say("grace", terms.grace_ms.map(duration_text));
    say("burst", terms.burst.map(|burst| burst.to_string()));
    say("for", terms.max_burst_ms.map(duration_text));
    say("default ttl", terms.default_ttl_ms.map(duration_text));
    say("max ttl", terms.max_ttl_ms.map(duration_text));
    said.extend(match terms.enforcement {
        Enforcement::Enforce => None,
        Enforcement::Warn => Some("WARN".into()),
        Enforcement::Shadow => Some("SHADOW".into()),
        Enforcement::Off => Some("OFF".into()),
    });
    said.extend(match terms.on_reduce {
        OnReduce::Refuse => Some("REFUSE".into()),
        OnReduce::Freeze => None,
        OnReduce::Drain => Some("DRAIN".into()),
    });
    said.extend(terms.allow_transfer.then(|| "children may transfer".into()));
    match said.is_empty() {
        true => limit(policy.limit),
        false => format!("{} ({})", limit(policy.limit), said.join(", ")),
    }
}

fn field_names(fields: &[PolicyField]) -> String {
    let named = PolicyField::ALL.into_iter().filter(|(field, _)| fields.contains(field));
    named.map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

fn scheduled(item: &Scheduled) -> String {
    let why = if item.reason.is_empty() { String::new() } else { format!(", {}", item.reason) };
    let who = if item.actor.is_empty() { String::new() } else { format!(", by {}", item.actor) };
    let what = match &item.plan {
        Planned::Change { policy, fields } => {
            let of = fields.as_ref().map_or(String::new(), |fields| format!(" of {}", field_names(fields)));
            let policy = policy_text(policy);
            // Of a part without the limit only that part is said.
            let policy = if of.is_empty() { &*policy } else { policy.trim_start_matches("INHERIT ") };
            format!("change {}{of} at {} to {policy}", item.id, time(item.start))
        }
        Planned::Override { limit: now, end, active } => format!(
            "override {} from {} to {}, {}, limit {}",
            item.id,
            time(item.start),
            time(*end),
            if *active { "active" } else { "waiting" },
            limit(*now)
        ),
    };
    format!("{what}{why}{who}")
}
