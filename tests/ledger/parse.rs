//! Commands of scripts as commands of the ledger.

use std::sync::Arc;

use quorate::ledger::command::NewLimit;
use quorate::ledger::command::NewPolicy;
use quorate::ledger::hold::Tags;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::quota::PolicyField;
use quorate::ledger::tree::ChildPolicy;
use quorate::ledger::tree::Schema;
use quorate::ledger::*;

use super::Result;
use super::arguments::Arguments;
use super::arguments::decimal;
use super::arguments::duration;
use super::arguments::name_of;

/// An inner error is what a command refuses when it is made; an outer one, of [`Result`], is a
/// mistake in the script.
type Made<T> = std::result::Result<T, Malformed>;

/// The keys of terms of a policy, with the fields they are.
const TERMS: [(&str, PolicyField); 10] = [
    ("soft", PolicyField::Soft),
    ("grace", PolicyField::Grace),
    ("burst", PolicyField::Burst),
    ("max_burst", PolicyField::MaxBurst),
    ("overcommit", PolicyField::Overcommit),
    ("enforcement", PolicyField::Enforcement),
    ("on_reduce", PolicyField::OnReduce),
    ("default_ttl", PolicyField::DefaultTtl),
    ("max_ttl", PolicyField::MaxTtl),
    ("allow_transfer", PolicyField::AllowTransfer),
];

/// What a client would send.
pub fn command(name: &str, arguments: &Arguments, now: LogTime) -> Result<Made<Command>> {
    match name {
        "scope" | "update_scope" | "move_scope" | "delete_scope" | "resource" => tree(name, arguments),
        "reserve" | "commit" | "release" | "renew" | "resize" => hold(name, arguments),
        "compact" => Ok(Ok(Command::CompactEvents(arguments.word(0)?.parse()?))),
        "template" => Ok(template(arguments)?.map(Command::PutTemplate)),
        "apply_template" => {
            arguments.check_keys(&["if_template_version"])?;
            Ok(Ok(Command::ApplyTemplate(command::ApplyTemplate {
                scope: arguments.path(0)?,
                template: arguments.name(1)?,
                if_template_version: arguments.number("if_template_version")?,
            })))
        }
        _ => quota(name, arguments, now),
    }
}

fn tree(name: &str, arguments: &Arguments) -> Result<Made<Command>> {
    Ok(match name {
        "scope" => {
            let command::PlannedScope { path, kind, labels, schema, child_policy, .. } =
                match scope(arguments)? {
                    Ok(scope) => scope,
                    Err(malformed) => return Ok(Err(malformed)),
                };
            command::CreateScope::new(path, kind, labels.unwrap_or_default(), schema, child_policy)
                .map(Command::CreateScope)
        }
        "update_scope" => {
            let command::PlannedScope { path, labels, schema, child_policy, .. } = match scope(arguments)? {
                Ok(scope) => scope,
                Err(malformed) => return Ok(Err(malformed)),
            };
            command::UpdateScope::new(path, labels, schema, child_policy).map(Command::UpdateScope)
        }
        "move_scope" => {
            arguments.check_keys(&[])?;
            let force = arguments.has_word("force");
            command::MoveScope::new(arguments.path(0)?, arguments.path(1)?, force).map(Command::MoveScope)
        }
        "delete_scope" => {
            arguments.check_keys(&[])?;
            let recursive = arguments.has_word("recursive");
            Ok(Command::DeleteScope(command::DeleteScope { path: arguments.path(0)?, recursive }))
        }
        _ => resource(arguments)?.map(Command::RegisterResource),
    })
}

/// What scripts say of a scope, in a plan or by itself.
pub fn scope(arguments: &Arguments) -> Result<Made<command::PlannedScope>> {
    arguments.check_keys(&["kind", "labels", "label.", "schema", "child_policy"])?;
    let said = arguments.labels().next().is_some() || arguments.key("labels") == Some("none");
    let labels = match said.then(|| Labels::new("labels", arguments.labels())).transpose() {
        Ok(labels) => labels,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let schema = match arguments.key("schema").map(Schema::parse).transpose() {
        Ok(schema) => schema,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let child_policy = match arguments.key("child_policy") {
        None => None,
        Some("each") => Some(ChildPolicy::EachWithinParent),
        Some("sum") => Some(ChildPolicy::SumWithinParent),
        Some("unchecked") => Some(ChildPolicy::Unchecked),
        Some(other) => return Err(format!("no child policy {other:?}").into()),
    };
    Ok(Ok(command::PlannedScope {
        path: arguments.path(0)?,
        kind: arguments.key("kind").map(name_of).transpose()?,
        labels,
        schema,
        child_policy,
        template: None,
        quotas: Vec::new(),
    }))
}

pub fn resource(arguments: &Arguments) -> Result<Made<Resource>> {
    arguments.check_keys(&["unit", "decimals", "kind"])?;
    let kind = match arguments.required("kind")? {
        "capacity" => ResourceKind::Capacity,
        "budget" => ResourceKind::Budget,
        other => return Err(format!("no kind {other:?}").into()),
    };
    let decimals = arguments.required("decimals")?.parse()?;
    Ok(Resource::new(arguments.name(0)?, arguments.required("unit")?, decimals, kind))
}

pub fn template(arguments: &Arguments) -> Result<Made<command::PutTemplate>> {
    let mut quotas = Vec::new();
    let own = ["as", "id", "made", "named", "description", "if_version"];
    for (key, value) in arguments.keys().filter(|(key, _)| !own.contains(key)) {
        let prefix = format!("quotas[{}].policy.", quotas.len());
        match policy(&Arguments::of_text(value), 0, &prefix)? {
            Ok(policy) => quotas.push(command::TemplateQuota { resource: name_of(key)?, policy }),
            Err(malformed) => return Ok(Err(malformed)),
        }
    }
    let description = arguments.key("description").unwrap_or("").to_owned();
    Ok(command::PutTemplate::new(arguments.name(0)?, description, quotas, arguments.number("if_version")?))
}

/// A whole policy, its limit at a word.
pub fn policy(arguments: &Arguments, limit_at: usize, prefix: &str) -> Result<Made<NewPolicy>> {
    let mut policy = match terms(arguments)?.checked(prefix) {
        Ok(policy) => policy,
        Err(malformed) => return Ok(Err(malformed)),
    };
    Ok(limit(&format!("{prefix}limit.amount"), arguments.word(limit_at)?)?.map(|limit| {
        policy.limit = limit;
        policy
    }))
}

fn limit(field: &str, text: &str) -> Result<Made<NewLimit>> {
    match text {
        "unlimited" => Ok(Ok(NewLimit::Unlimited)),
        "inherit" => Ok(Ok(NewLimit::Inherit)),
        number => Ok(NewLimit::amount(field, decimal(number)?)),
    }
}

fn terms(arguments: &Arguments) -> Result<NewPolicy> {
    let said = |key: &str| arguments.key(key).filter(|value| *value != "none");
    let number = |key: &str| said(key).map(decimal).transpose();
    let time = |key: &str| said(key).map(duration).transpose();
    Ok(NewPolicy {
        limit: NewLimit::Inherit,
        soft: number("soft")?,
        grace_ms: time("grace")?,
        burst: number("burst")?,
        max_burst_ms: time("max_burst")?,
        overcommit: number("overcommit")?,
        enforcement: match said("enforcement") {
            None | Some("enforce") => Enforcement::Enforce,
            Some("warn") => Enforcement::Warn,
            Some("shadow") => Enforcement::Shadow,
            Some("off") => Enforcement::Off,
            Some(other) => return Err(format!("no enforcement {other:?}").into()),
        },
        on_reduce: match said("on_reduce") {
            None | Some("freeze") => OnReduce::Freeze,
            Some("refuse") => OnReduce::Refuse,
            Some("drain") => OnReduce::Drain,
            Some(other) => return Err(format!("no on_reduce {other:?}").into()),
        },
        default_ttl_ms: time("default_ttl")?,
        max_ttl_ms: time("max_ttl")?,
        allow_transfer: said("allow_transfer") == Some("true"),
    })
}

fn quota(name: &str, arguments: &Arguments, now: LogTime) -> Result<Made<Command>> {
    let if_version = arguments.number("if_version")?;
    let reason = arguments.key("reason").unwrap_or("");
    let known: Vec<&str> = match name {
        "quota" | "patch" => {
            let terms = TERMS.iter().map(|(key, _)| *key);
            terms.chain(["if_version", "effective_in", "limit"]).collect()
        }
        "override" => vec!["if_version", "start_in", "end_in", "reason"],
        "transfer" => vec!["until_in", "if_from_version", "if_to_version"],
        _ => vec!["if_version", "reason"],
    };
    arguments.check_keys(&known)?;
    if name == "transfer" {
        return transfer(arguments, now);
    }
    let (scope, resource) = arguments.quota()?;
    Ok(match name {
        "quota" | "patch" => {
            let (policy, fields) = match name {
                "quota" => (policy(arguments, 2, "policy.")?, None),
                _ => patch(arguments)?,
            };
            let effective_at = arguments.time_in("effective_in", now)?;
            policy.map(|policy| {
                Command::SetQuota(command::SetQuota {
                    scope,
                    resource,
                    policy,
                    fields,
                    effective_at,
                    if_version,
                })
            })
        }
        "adjust" => command::AdjustQuota::new(scope, resource, decimal(arguments.word(2)?)?, if_version)
            .map(Command::AdjustQuota),
        "delete_quota" => Ok(Command::DeleteQuota(command::DeleteQuota { scope, resource, if_version })),
        "lock" => command::LockQuota::new(scope, resource, reason, if_version).map(Command::LockQuota),
        "unlock" => Ok(Command::UnlockQuota(command::UnlockQuota { scope, resource, if_version })),
        "override" => {
            let start = arguments.time_in("start_in", now)?;
            let end = arguments.time_in("end_in", now)?.ok_or("end_in= is missing")?;
            limit("limit.amount", arguments.word(2)?)?.and_then(|limit| {
                command::OverrideQuota::new(scope, resource, limit, start, end, reason, if_version)
                    .map(Command::OverrideQuota)
            })
        }
        "cancel" => Ok(Command::CancelSchedule(command::CancelSchedule {
            scope,
            resource,
            id: arguments.word(2)?.parse()?,
            if_version,
        })),
        other => return Err(format!("no command {other:?}").into()),
    })
}

/// A policy of which only the fields that are named count.
fn patch(arguments: &Arguments) -> Result<(Made<NewPolicy>, Option<Vec<PolicyField>>)> {
    let mut fields: Vec<PolicyField> = TERMS
        .iter()
        .filter(|(key, _)| arguments.key(key).is_some())
        .map(|(_, field)| *field)
        .chain(arguments.key("limit").map(|_| PolicyField::Limit))
        .collect();
    fields.sort();
    let mut policy = terms(arguments)?.checked("policy.");
    if let Some(text) = arguments.key("limit") {
        let limit = limit("policy.limit.amount", text)?;
        policy = policy.and_then(|policy| Ok(NewPolicy { limit: limit?, ..policy }));
    }
    Ok((policy, Some(fields)))
}

fn transfer(arguments: &Arguments, now: LogTime) -> Result<Made<Command>> {
    Ok(command::TransferQuota::new(
        arguments.name(0)?,
        arguments.path(1)?,
        arguments.path(2)?,
        decimal(arguments.word(3)?)?,
        arguments.time_in("until_in", now)?,
        arguments.number("if_from_version")?,
        arguments.number("if_to_version")?,
    )
    .map(Command::TransferQuota))
}

fn hold(name: &str, arguments: &Arguments) -> Result<Made<Command>> {
    if name == "reserve" {
        return reserve(arguments);
    }
    arguments.check_keys(&["@"])?;
    let hold: HoldId = arguments.word(0)?.parse()?;
    let lines = arguments.hold_amounts()?;
    Ok(match name {
        "commit" => command::Commit::new(hold, lines, !arguments.has_word("keep")).map(Command::Commit),
        "release" => command::Release::new(hold, lines).map(Command::Release),
        "resize" => command::Resize::new(hold, lines).map(Command::Resize),
        _ => command::Renew::new(hold, duration(arguments.word(1)?)?).map(Command::Renew),
    })
}

fn reserve(arguments: &Arguments) -> Result<Made<Command>> {
    arguments.check_keys(&["@", "label.", "min", "if_sequence", "ttl", "job", "consumer"])?;
    let labels = match Labels::new("labels", arguments.labels()) {
        Ok(labels) => labels,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let (job, consumer) = (arguments.key("job").unwrap_or(""), arguments.key("consumer").unwrap_or(""));
    let tags = match Tags::new(job, consumer, labels) {
        Ok(tags) => tags,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let mode = match (arguments.has_word("partial"), arguments.has_word("force")) {
        (false, false) => command::Mode::Strict,
        (true, false) => command::Mode::Partial,
        (false, true) => command::Mode::Force,
        (true, true) => return Err("one mode, please".into()),
    };
    let (lines, ttl) = (arguments.lines()?, arguments.duration("ttl")?);
    Ok(command::Reserve::with(lines, mode, arguments.has_word("commit"), ttl, Some(Arc::new(tags)))
        .map(Command::Reserve))
}
