//! The rules of the ledger as scripts: `tests/ledger/*.golden`, one file per subject.
//!
//! Each block of a script is a few commands, and after `---` what the ledger answers: the outcome,
//! the event, and the counters of everything the event touched. After a change of the rules,
//! `UPDATE_GOLDENFILES=1 cargo test --release --test ledger` writes the scripts anew; review them
//! as a diff.
//!
//! # Commands
//!
//! ```text
//! scope PATH kind=NAME
//! resource NAME unit=TEXT decimals=N kind=capacity|budget
//! quota PATH RESOURCE AMOUNT|unlimited|inherit [if_version=N]
//! adjust PATH RESOURCE AMOUNT [if_version=N]         "-5" is quoted
//! lock PATH RESOURCE reason=TEXT [if_version=N]
//! unlock PATH RESOURCE [if_version=N]
//! reserve PATH@RESOURCE=AMOUNT [if_sequence=N] …     if_sequence belongs to the line before it
//! commit HOLD
//! release HOLD
//! wait 1h|1m|1s|1ms                                  log time goes on
//! show PATH RESOURCE                                 counters, without an event
//! ```
//!
//! Each command but the last two may have `as=ACTOR`, `id=NAME` (the request id made at the first
//! use of that name: a second use is a repeat) and `made=1h_ago` or `made=1h_ahead` (how far the
//! clock of the client that made the id is off). A command in parentheses is not shown.
//!
//! Knows nothing of how the server computes fingerprints or encodes anything.

mod requests;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::fmt::Write;

use goldenscript::Argument;
use quorate::ledger::*;
use requests::request;
use requests::request_id;
use rust_decimal::Decimal;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One test per script, named as the sentence that the script shows.
macro_rules! scripts {
    ($($test:ident: $file:literal,)*) => {
        const SCRIPTS: &[&str] = &[$($file),*];

        $(
            #[test]
            fn $test() -> std::io::Result<()> {
                goldenscript::run(&mut Script::default(), concat!("tests/ledger/", $file, ".golden"))
            }
        )*
    };
}

scripts! {
    scopes_form_trees_and_resources_a_catalogue: "scopes_and_resources",
    a_hold_is_reserved_committed_and_released_once_each: "hold_life",
    a_reservation_takes_all_its_lines_at_all_ancestors_or_nothing: "all_or_nothing",
    lines_that_meet_at_an_ancestor_add_up_there: "meeting_lines",
    use_is_counted_with_or_without_a_quota: "use_without_quota",
    unlimited_must_be_said: "unlimited_and_inherit",
    a_limit_of_zero_admits_nothing: "zero_limit",
    a_lowered_limit_freezes_growth_and_admits_release: "lowering",
    a_limit_stays_within_the_limit_above_it: "within_parent",
    an_adjustment_adds_to_or_takes_from_a_limit: "adjust",
    a_lock_stops_what_is_new_and_nothing_else: "lock",
    if_version_lets_one_of_two_administrators_win: "if_version",
    if_sequence_fails_a_writer_who_decided_on_stale_counters: "if_sequence",
    a_budget_is_consumed_by_commit: "budget",
    amounts_are_exact_at_the_decimals_of_their_resource: "decimals",
    a_request_takes_effect_at_most_once: "request_ids",
    of_two_reasons_the_first_in_the_order_of_precedence_is_told: "precedence",
}

#[test]
fn every_script_has_a_test() {
    let files = std::fs::read_dir("tests/ledger").expect("the scripts are there");
    for file in files {
        let path = file.expect("a directory entry").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_string();
        assert!(SCRIPTS.contains(&name.as_str()), "no test runs {}", path.display());
    }
}

/// When every script begins: 2026-01-01.
const BEGIN_MS: u64 = 1_767_225_600_000;

/// A ledger of its own for each script.
struct Script {
    state: State,
    time: LogTime,
    /// Stands for the random part of request ids.
    made: u64,
    named_ids: BTreeMap<String, RequestId>,
}

impl Default for Script {
    fn default() -> Self {
        Self { state: State::default(), time: BEGIN_MS, made: 0, named_ids: BTreeMap::new() }
    }
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Result<String> {
        let arguments = Arguments::new(&command.args);
        match command.name.as_str() {
            "wait" => {
                self.time += duration(arguments.word(0)?)?;
                Ok(format!("time is {}\n", since_begin(self.time)))
            }
            "show" => {
                let (scope, resource) = arguments.quota()?;
                Ok(self.show(&scope, &resource)?)
            }
            name => {
                let command = match parse(name, &arguments)? {
                    Ok(command) => command,
                    Err(malformed) => return Ok(format!("not proposed: {malformed}\n")),
                };
                self.propose(command, &arguments)
            }
        }
    }
}

impl Script {
    fn propose(&mut self, command: Command, arguments: &Arguments) -> Result<String> {
        let id = self.id(arguments)?;
        let request = request(id, arguments.key("as").unwrap_or(""), command);
        let applied = apply(&mut self.state, self.time, std::slice::from_ref(&request));
        let mut output = String::new();
        for outcome in &applied.outcomes {
            self.write_outcome(&mut output, outcome)?;
        }
        for event in &applied.events {
            self.write_event(&mut output, event)?;
        }
        Ok(output)
    }

    fn id(&mut self, arguments: &Arguments) -> Result<RequestId> {
        if let Some(id) = arguments.key("id").and_then(|name| self.named_ids.get(name)) {
            return Ok(*id);
        }
        let time = match arguments.key("made").map(|made| made.rsplit_once('_')) {
            None => self.time,
            Some(Some((text, "ago"))) => self.time - duration(text)?,
            Some(Some((text, "ahead"))) => self.time + duration(text)?,
            Some(_) => return Err("made is like 1h_ago or 1h_ahead".into()),
        };
        self.made += 1;
        let id = request_id(time, self.made);
        if let Some(name) = arguments.key("id") {
            self.named_ids.insert(name.into(), id);
        }
        Ok(id)
    }

    fn show(&self, path: &Path, resource: &Name) -> Result<String> {
        let scope = self.state.scope_at(path).ok_or("no such scope")?;
        let resource = self.state.resource_id(resource).ok_or("no such resource")?;
        Ok(format!("{}\n", self.counters(scope, resource)))
    }

    /// One line on a (scope, resource): counters, then the policy.
    fn counters(&self, scope: &Scope, id: ResourceId) -> String {
        let place = format!("{} {}", scope.path, self.state.resource(id).name);
        let Some(account) = scope.account(id) else {
            return format!("{place}: never touched");
        };
        let mut line =
            format!("{place}: used {}, held {}, sequence {}", account.used, account.held, account.sequence);
        match account.quota.as_deref() {
            None => line.push_str("; no quota"),
            Some(quota) => {
                let _ = write!(line, "; limit {}, version {}", limit(quota.limit), quota.version);
                if let Some(lock) = &quota.lock {
                    let _ = write!(line, ", locked by {:?}: {}", lock.actor, lock.reason);
                }
            }
        }
        if let Some(available) = account.available() {
            let _ = write!(line, "; available {available}");
        }
        if let Some(over_by) = account.over_by().filter(|over_by| !over_by.is_zero()) {
            let _ = write!(line, ", over by {over_by}");
        }
        line
    }

    fn write_outcome(&self, output: &mut String, outcome: &Outcome) -> Result<()> {
        let replayed = if outcome.replayed { " (replayed)" } else { "" };
        match &outcome.verdict {
            Ok(Grant::Hold(hold)) => writeln!(output, "granted: hold {hold}{replayed}")?,
            Ok(Grant::Version(version)) => writeln!(output, "granted: version {version}{replayed}")?,
            Ok(Grant::Done) => writeln!(output, "granted: done{replayed}")?,
            Err(rejection) => {
                let (head, lines) = explain(rejection);
                writeln!(output, "{head}{replayed}")?;
                for line in lines {
                    writeln!(output, "    {line}")?;
                }
            }
        }
        Ok(())
    }

    fn write_event(&self, output: &mut String, event: &Event) -> Result<()> {
        let place = |scope: ScopeId, resource: ResourceId| {
            format!("{} {}", self.state.scope(scope).path, self.state.resource(resource).name)
        };
        let body = match &event.body {
            Body::ScopeCreated { scope, path, kind } => {
                format!("scope {} made: {path}, {kind}", scope.0)
            }
            Body::ResourceRegistered { id, resource } => format!(
                "resource {} registered: {} in {}, {} decimals, {:?}",
                id.0, resource.name, resource.unit, resource.decimals, resource.kind
            ),
            Body::QuotaSet { scope, resource, limit: now, version, previous } => {
                let previous = previous.map_or("no quota".into(), limit);
                format!(
                    "quota {} set: {previous} → {}, version {version}",
                    place(*scope, *resource),
                    limit(*now)
                )
            }
            Body::QuotaLocked { scope, resource, lock, version } => format!(
                "quota {} locked by {:?}: {}, version {version}",
                place(*scope, *resource),
                lock.actor,
                lock.reason
            ),
            Body::QuotaUnlocked { scope, resource, version } => {
                format!("quota {} unlocked, version {version}", place(*scope, *resource))
            }
            Body::Reserved { lines } => {
                let lines: Vec<_> =
                    lines.iter().map(|line| format!("{} {} {}", line.path, line.name, line.amount)).collect();
                format!("reserved: {}", lines.join(", "))
            }
            Body::Committed(hold) => format!("hold {hold} committed"),
            Body::Released(hold) => format!("hold {hold} released"),
            Body::Rejected { command, .. } => format!("{command} rejected"),
            Body::Unchanged { command, version } => format!("{command} changed nothing, version {version}"),
        };
        writeln!(output, "event {}: {body}", event.revision)?;
        for touched in &event.touched {
            writeln!(output, "    {}", self.counters(self.state.scope(touched.scope), touched.resource))?;
        }
        Ok(())
    }
}

/// A rejection as a heading and a line for each reason.
fn explain(rejection: &Rejection) -> (String, Vec<String>) {
    fn each<T: Display>(items: &[T]) -> Vec<String> {
        items.iter().map(T::to_string).collect()
    }
    fn quota(name: &rejection::QuotaName) -> String {
        format!("{} {}", name.scope, name.resource)
    }
    fn mismatch(found: &rejection::Mismatch) -> String {
        format!("{}: expected {}, is {}", quota(&found.quota), found.expected, found.actual)
    }
    match rejection {
        Rejection::Malformed(malformed) => ("malformed".into(), vec![malformed.to_string()]),
        Rejection::UnknownScopes(paths) => ("unknown scopes".into(), each(paths)),
        Rejection::UnknownResources(names) => ("unknown resources".into(), each(names)),
        Rejection::UnknownQuotas(quotas) => ("unknown quotas".into(), quotas.iter().map(quota).collect()),
        Rejection::UnknownHold(hold) => (format!("unknown hold {hold}"), vec![]),
        Rejection::ScopeExists(path) => (format!("scope {path} exists"), vec![]),
        Rejection::ResourceExists(name) => (format!("resource {name} exists"), vec![]),
        Rejection::HoldClosed { hold, state, revision } => {
            (format!("hold {hold} is {state:?} since revision {revision}"), vec![])
        }
        Rejection::Locked(locks) => (
            "locked".into(),
            locks
                .iter()
                .map(|(name, lock)| format!("{} by {:?}: {}", quota(name), lock.actor, lock.reason))
                .collect(),
        ),
        Rejection::VersionMismatch(found) => ("version mismatch".into(), vec![mismatch(found)]),
        Rejection::SequenceMismatch(found) => {
            ("sequence mismatch".into(), found.iter().map(mismatch).collect())
        }
        Rejection::Uncountable(quotas) => ("uncountable".into(), quotas.iter().map(quota).collect()),
        Rejection::LimitConflict { quota: name, other, problem } => (
            format!("limit conflict of {} with {}", quota(name), quota(other)),
            vec![format!("the limit {problem}")],
        ),
        Rejection::Denied(blocking) => ("denied".into(), blocking.iter().map(blocked).collect()),
        Rejection::RequestIdReused { first } => {
            (format!("request id reused: it was decided at revision {first}"), vec![])
        }
        Rejection::RequestIdExpired { oldest_accepted_ms } => (
            format!("request id expired: accepted when made from {}", since_begin(*oldest_accepted_ms)),
            vec![],
        ),
    }
}

fn blocked(line: &rejection::Blocking) -> String {
    let rejection::Rule::HardLimit = line.rule;
    format!(
        "{} {}: limit {}, used {}, held {}, requested {}, short by {}; waiting {}",
        line.quota.scope,
        line.quota.resource,
        line.limit,
        line.used,
        line.held,
        line.requested,
        line.shortfall,
        if line.waiting_can_help { "can help" } else { "cannot help" },
    )
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::Amount(amount) => amount.to_string(),
        Limit::Unlimited => "UNLIMITED".into(),
        Limit::Inherit => "INHERIT".into(),
    }
}

/// What a client would send: an outer error is a mistake in the script, an inner one is what the
/// command refuses when it is made.
fn parse(name: &str, arguments: &Arguments) -> Result<std::result::Result<Command, Malformed>> {
    let if_version = arguments.number("if_version")?;
    Ok(match name {
        "scope" => Ok(Command::CreateScope(command::CreateScope {
            path: arguments.path(0)?,
            kind: name_of(arguments.required("kind")?)?,
        })),
        "resource" => {
            let kind = match arguments.required("kind")? {
                "capacity" => ResourceKind::Capacity,
                "budget" => ResourceKind::Budget,
                other => return Err(format!("no kind {other:?}").into()),
            };
            let decimals = arguments.required("decimals")?.parse()?;
            Resource::new(name_of(arguments.word(0)?)?, arguments.required("unit")?, decimals, kind)
                .map(Command::RegisterResource)
        }
        "quota" => {
            let (scope, resource) = arguments.quota()?;
            let limit = match arguments.word(2)? {
                "unlimited" => Ok(command::NewLimit::Unlimited),
                "inherit" => Ok(command::NewLimit::Inherit),
                number => command::NewLimit::amount(decimal(number)?),
            };
            limit.map(|limit| Command::SetQuota(command::SetQuota { scope, resource, limit, if_version }))
        }
        "adjust" => {
            let (scope, resource) = arguments.quota()?;
            command::AdjustQuota::new(scope, resource, decimal(arguments.word(2)?)?, if_version)
                .map(Command::AdjustQuota)
        }
        "lock" => {
            let (scope, resource) = arguments.quota()?;
            command::LockQuota::new(scope, resource, arguments.required("reason")?, if_version)
                .map(Command::LockQuota)
        }
        "unlock" => {
            let (scope, resource) = arguments.quota()?;
            Ok(Command::UnlockQuota(command::UnlockQuota { scope, resource, if_version }))
        }
        "reserve" => command::Reserve::new(arguments.lines()?).map(Command::Reserve),
        "commit" => Ok(Command::Commit(arguments.word(0)?.parse()?)),
        "release" => Ok(Command::Release(arguments.word(0)?.parse()?)),
        other => return Err(format!("no command {other:?}").into()),
    })
}

struct Arguments {
    words: Vec<String>,
    keys: Vec<(String, String)>,
}

impl Arguments {
    fn new(arguments: &[Argument]) -> Self {
        let mut words = Vec::new();
        let mut keys = Vec::new();
        for argument in arguments {
            match argument {
                Argument::Positional(word) => words.push(word.clone()),
                Argument::KeyValue(key, value) => keys.push((key.clone(), value.clone())),
                _ => unreachable!("there are no other arguments"),
            }
        }
        Self { words, keys }
    }

    fn word(&self, position: usize) -> Result<&str> {
        Ok(self.words.get(position).ok_or_else(|| format!("argument {position} is missing"))?)
    }

    fn key(&self, name: &str) -> Option<&str> {
        self.keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str> {
        Ok(self.key(name).ok_or_else(|| format!("{name}= is missing"))?)
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.key(name).map(str::parse).transpose()?)
    }

    fn path(&self, position: usize) -> Result<Path> {
        Ok(Path::parse(self.word(position)?)?)
    }

    fn quota(&self) -> Result<(Path, Name)> {
        Ok((self.path(0)?, name_of(self.word(1)?)?))
    }

    fn lines(&self) -> Result<Vec<command::Line>> {
        let mut lines: Vec<command::Line> = Vec::new();
        for (key, value) in &self.keys {
            if let Some((scope, resource)) = key.split_once('@') {
                let (scope, resource) = (Path::parse(scope)?, name_of(resource)?);
                lines.push(command::Line { scope, resource, amount: decimal(value)?, if_sequence: None });
            } else if key == "if_sequence" {
                lines.last_mut().ok_or("if_sequence= stands after its line")?.if_sequence =
                    Some(value.parse()?);
            }
        }
        Ok(lines)
    }
}

fn name_of(text: &str) -> Result<Name> {
    Ok(Name::parse(text)?)
}

fn decimal(text: &str) -> Result<Decimal> {
    Ok(Decimal::from_str_exact(text)?)
}

fn duration(text: &str) -> Result<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or("a duration has a unit")?;
    let number: u64 = text[..digits].parse()?;
    Ok(number
        * match &text[digits..] {
            "h" => 60 * 60 * 1000,
            "m" => 60 * 1000,
            "s" => 1000,
            "ms" => 1,
            other => return Err(format!("no unit {other:?}").into()),
        })
}

/// A time as the scripts count it: from their beginning.
fn since_begin(time: LogTime) -> String {
    let (sign, ms) = if time < BEGIN_MS { ("-", BEGIN_MS - time) } else { ("+", time - BEGIN_MS) };
    let (minutes, seconds, ms) = (ms / 60_000, ms / 1000 % 60, ms % 1000);
    format!("{sign}{}:{:02}:{seconds:02}.{ms:03}", minutes / 60, minutes % 60)
}
