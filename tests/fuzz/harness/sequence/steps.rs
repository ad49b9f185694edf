//! Commands out of bytes: few names and many of them that fit together, so that what is asked for
//! meets what is there.

use std::sync::Arc;

use quorate::ledger::Command;
use quorate::ledger::Labels;
use quorate::ledger::Name;
use quorate::ledger::Path;
use quorate::ledger::Resource;
use quorate::ledger::ResourceKind;
use quorate::ledger::State;
use quorate::ledger::command::AdjustQuota;
use quorate::ledger::command::ApplyTemplate;
use quorate::ledger::command::Batch;
use quorate::ledger::command::CancelSchedule;
use quorate::ledger::command::Commit;
use quorate::ledger::command::CreateScope;
use quorate::ledger::command::DeleteQuota;
use quorate::ledger::command::DeleteScope;
use quorate::ledger::command::HoldAmount;
use quorate::ledger::command::Line;
use quorate::ledger::command::LockQuota;
use quorate::ledger::command::Mode;
use quorate::ledger::command::MoveScope;
use quorate::ledger::command::NewLimit;
use quorate::ledger::command::NewPolicy;
use quorate::ledger::command::OverrideQuota;
use quorate::ledger::command::Plan;
use quorate::ledger::command::PlannedQuota;
use quorate::ledger::command::PlannedScope;
use quorate::ledger::command::PutTemplate;
use quorate::ledger::command::Release;
use quorate::ledger::command::Renew;
use quorate::ledger::command::Reserve;
use quorate::ledger::command::Resize;
use quorate::ledger::command::SetQuota;
use quorate::ledger::command::TemplateQuota;
use quorate::ledger::command::TransferQuota;
use quorate::ledger::command::UnlockQuota;
use quorate::ledger::command::UpdateScope;
use quorate::ledger::hold::Tags;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::quota::PolicyField;
use quorate::ledger::tree::ChildPolicy;
use quorate::ledger::tree::Schema;
use rust_decimal::Decimal;

use super::source::Source;

const PATHS: [&str; 10] = ["a", "a/x", "a/y", "a/x/p", "a/x/q", "a/y/p", "a/y/q", "a/x/p/s", "b", "a/p"];

/// Some have a short list of their own, so that most commands are about few of them.
const RESOURCES: [&str; 8] =
    ["memory_gb", "memory_gb", "memory_gb", "memory_gb", "cost_usd", "cost_usd", "dust", "nothing"];

const TEMPLATES: [&str; 4] = ["small", "large", "free", "none"];

/// Numbers at which something changes: decimals, what can be counted, the greatest limit.
const NUMBERS: [&str; 12] = [
    "0",
    "0.5",
    "0.001",
    "0.0001",
    "2.5",
    "1000",
    "999999999999999999",
    "1000000000000000000",
    "1000000000000000001",
    "79228162514.264337593543950335",
    "0.000000000000000001",
    "39614081257",
];

/// In milliseconds.
const SPANS: [u64; 9] = [1, 500, 1000, 2000, 3000, 10_000, 600_000, 3_600_000, 90_000_000];

const CHILD_POLICIES: [ChildPolicy; 3] =
    [ChildPolicy::EachWithinParent, ChildPolicy::SumWithinParent, ChildPolicy::Unchecked];

/// What each byte asks for; what happens most often stands here most often.
const KINDS: [Kind; 32] = {
    use Kind::*;
    [
        Reserve,
        Reserve,
        Reserve,
        Reserve,
        Reserve,
        Commit,
        Commit,
        Release,
        Release,
        Renew,
        Resize,
        Resize,
        SetQuota,
        SetQuota,
        SetQuota,
        SetQuota,
        PatchQuota,
        AdjustQuota,
        DeleteQuota,
        LockQuota,
        UnlockQuota,
        OverrideQuota,
        CancelSchedule,
        TransferQuota,
        CreateScope,
        UpdateScope,
        MoveScope,
        DeleteScope,
        PutTemplate,
        ApplyTemplate,
        ApplyPlan,
        Batch,
    ]
};

#[derive(Clone, Copy)]
enum Kind {
    Reserve,
    Commit,
    Release,
    Renew,
    Resize,
    SetQuota,
    PatchQuota,
    AdjustQuota,
    DeleteQuota,
    LockQuota,
    UnlockQuota,
    OverrideQuota,
    CancelSchedule,
    TransferQuota,
    CreateScope,
    UpdateScope,
    MoveScope,
    DeleteScope,
    PutTemplate,
    ApplyTemplate,
    ApplyPlan,
    Batch,
}

/// A path of the list.
pub fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// How long something takes.
pub fn span(source: &mut Source<'_>) -> u64 {
    source.pick(&SPANS)
}

/// What a ledger begins with, so that not every sequence has to make it: a resource that reaches
/// the end of what can be counted, and mostly a tree with limits.
pub fn furniture(source: &mut Source<'_>) -> Vec<Command> {
    let dust = Resource::new(name("dust"), "mote", 18, ResourceKind::Capacity).expect("a resource");
    let mut commands = vec![Command::RegisterResource(dust)];
    let choice = source.byte();
    if choice.is_multiple_of(8) {
        return commands;
    }
    for text in &PATHS[..7] {
        let rules = (*text == "a").then(|| CHILD_POLICIES[usize::from(choice) % 3]);
        let scope = CreateScope::new(path(text), None, Labels::default(), None, rules).expect("a scope");
        commands.push(Command::CreateScope(scope));
    }
    for (bit, (text, limit)) in (0..).zip([("a", 20), ("a/x", 10), ("a/y", 10), ("a/x/p", 6)]) {
        for resource in ["memory_gb", "cost_usd"] {
            let limit = NewLimit::Amount(Decimal::from(limit));
            let policy = NewPolicy { limit, allow_transfer: true, ..NewPolicy::default() };
            let has_terms = choice & 16 << bit != 0;
            let policy = if has_terms { with_lines(policy) } else { policy };
            commands.push(set(path(text), name(resource), policy, None, None, None));
        }
    }
    commands
}

/// With a warning line below the limit and a burst above, each for a while.
fn with_lines(policy: NewPolicy) -> NewPolicy {
    NewPolicy {
        soft: Some(Decimal::from(4)),
        grace_ms: Some(3000),
        burst: Some(Decimal::from(22)),
        max_burst_ms: Some(2000),
        ..policy
    }
}

fn set(
    scope: Path,
    resource: Name,
    policy: NewPolicy,
    fields: Option<Vec<PolicyField>>,
    effective_at: Option<u64>,
    if_version: Option<u64>,
) -> Command {
    Command::SetQuota(SetQuota { scope, resource, policy, fields, effective_at, if_version })
}

/// Makes commands that are well-formed, of a ledger at a time.
pub struct Asker<'a, 'b> {
    /// What is chosen by.
    pub source: &'a mut Source<'b>,
    /// What there is.
    pub state: &'a State,
    /// Log time.
    pub now: u64,
}

impl Asker<'_, '_> {
    /// A command; `None` when what was chosen is malformed.
    pub fn command(&mut self) -> Option<Command> {
        let kind = self.source.pick(&KINDS);
        self.of_kind(kind)
    }

    fn of_kind(&mut self, kind: Kind) -> Option<Command> {
        Some(match kind {
            Kind::Reserve => Command::Reserve(self.reserve()?),
            Kind::Commit => Command::Commit(self.commit()?),
            Kind::Release => Command::Release(self.release()?),
            Kind::Renew => Command::Renew(Renew::new(self.hold(), span(self.source)).ok()?),
            Kind::Resize => {
                let hold = self.hold();
                Command::Resize(Resize::new(hold, self.amounts(hold)).ok()?)
            }
            Kind::SetQuota => self.set_quota()?,
            Kind::PatchQuota => self.patch_quota()?,
            Kind::AdjustQuota => self.adjust_quota()?,
            Kind::DeleteQuota => {
                let (scope, resource, if_version) = self.quota();
                Command::DeleteQuota(DeleteQuota { scope, resource, if_version })
            }
            Kind::LockQuota => {
                let (scope, resource, if_version) = self.quota();
                Command::LockQuota(LockQuota::new(scope, resource, "audit", if_version).ok()?)
            }
            Kind::UnlockQuota => {
                let (scope, resource, if_version) = self.quota();
                Command::UnlockQuota(UnlockQuota { scope, resource, if_version })
            }
            Kind::OverrideQuota => self.override_quota()?,
            Kind::CancelSchedule => self.cancel_schedule(),
            Kind::TransferQuota => self.transfer_quota()?,
            Kind::CreateScope => self.create_scope()?,
            Kind::UpdateScope => self.update_scope()?,
            Kind::MoveScope => {
                let force = self.source.one_in(3);
                Command::MoveScope(MoveScope::new(self.path(), self.path(), force).ok()?)
            }
            Kind::DeleteScope => {
                let recursive = self.source.one_in(2);
                Command::DeleteScope(DeleteScope { path: self.path(), recursive })
            }
            Kind::PutTemplate => Command::PutTemplate(self.template()?),
            Kind::ApplyTemplate => Command::ApplyTemplate(ApplyTemplate {
                scope: self.path(),
                template: name(self.source.pick(&TEMPLATES)),
                if_template_version: self.version(1),
            }),
            Kind::ApplyPlan => Command::ApplyPlan(self.plan()?),
            Kind::Batch => {
                let count = 1 + self.source.byte() % 4;
                let commands = (0..count).filter_map(|_| self.command()).collect();
                Command::Batch(Batch::new(commands).ok()?)
            }
        })
    }

    fn path(&mut self) -> Path {
        path(self.source.pick(&PATHS))
    }

    fn resource(&mut self) -> Name {
        name(self.source.pick(&RESOURCES))
    }

    /// Mostly small and whole.
    fn number(&mut self) -> Decimal {
        match self.source.byte() {
            small @ 0..=219 => Decimal::from(small % 22),
            large => NUMBERS[usize::from(large) % NUMBERS.len()].parse().expect("a number"),
        }
    }

    /// A condition on a version: mostly none, and mostly one that holds.
    fn version(&mut self, version: u64) -> Option<u64> {
        match self.source.byte() {
            0..=199 => None,
            200..=245 => Some(version),
            _ => Some(version + 1),
        }
    }

    fn quota(&mut self) -> (Path, Name, Option<u64>) {
        let (scope, resource) = (self.path(), self.resource());
        let account = self.state.scope_at(&scope).zip(self.state.resource_id(&resource));
        let account = account.and_then(|(scope, resource)| scope.account(resource));
        let version = self.version(account.map_or(0, |account| account.version));
        (scope, resource, version)
    }

    /// Mostly a live one.
    fn hold(&mut self) -> u64 {
        let choice = usize::from(self.source.byte());
        let live = self.state.holds_from(0).count();
        match choice {
            _ if choice >= 240 || live == 0 => self.state.revision().saturating_sub(choice as u64 % 8),
            _ => self.state.holds_from(0).nth(choice % live).map_or(0, |hold| hold.id),
        }
    }

    fn line(&mut self, mode: Mode) -> Line {
        let (scope, resource, amount) = (self.path(), self.resource(), self.number());
        let minimum = if mode == Mode::Partial && self.source.one_in(2) { Some(Decimal::ONE) } else { None };
        let account = self.state.scope_at(&scope).zip(self.state.resource_id(&resource));
        let sequence = account.and_then(|(scope, resource)| Some(scope.account(resource)?.sequence));
        let if_sequence = self.version(sequence.unwrap_or(0));
        Line { scope, resource, amount, minimum, if_sequence }
    }

    fn reserve(&mut self) -> Option<Reserve> {
        let mode = self.source.pick(&[Mode::Strict, Mode::Strict, Mode::Strict, Mode::Partial, Mode::Force]);
        let count = self.source.pick(&[1, 1, 1, 2, 3]);
        let lines = (0..count).map(|_| self.line(mode)).collect();
        let commit = self.source.one_in(4);
        let ttl = if !commit && self.source.one_in(2) { Some(span(self.source)) } else { None };
        let tags = self.source.one_in(8).then(|| {
            let labels = Labels::new("labels", [("env".into(), "prod".into())]).expect("labels");
            Arc::new(Tags::new("job", "", labels).expect("tags"))
        });
        Reserve::with(lines, mode, commit, ttl, tags).ok()
    }

    /// Amounts of lines, mostly of those that the hold has.
    fn amounts(&mut self, hold: u64) -> Vec<HoldAmount> {
        let there = self.state.hold(hold).map_or(&[][..], |hold| &hold.lines);
        let count = self.source.pick(&[1, 1, 2]);
        let amount = |position: usize| {
            let line = there.get(position).filter(|_| !self.source.one_in(16));
            let (scope, resource) = match line {
                Some(line) => {
                    let scope = self.state.scope(line.scope).path.clone();
                    (scope, self.state.resource(line.resource).name.clone())
                }
                None => (self.path(), self.resource()),
            };
            HoldAmount { scope, resource, amount: self.number() }
        };
        (0..count).map(amount).collect()
    }

    fn commit(&mut self) -> Option<Commit> {
        let hold = self.hold();
        if self.source.one_in(2) {
            return Some(Commit::all(hold));
        }
        let is_final = self.source.one_in(2);
        Commit::new(hold, self.amounts(hold), is_final).ok()
    }

    fn release(&mut self) -> Option<Release> {
        let hold = self.hold();
        if self.source.one_in(2) {
            return Some(Release::all(hold));
        }
        Release::new(hold, self.amounts(hold)).ok()
    }

    fn limit(&mut self) -> Option<NewLimit> {
        match self.source.byte() % 8 {
            0 => Some(NewLimit::Unlimited),
            1 => Some(NewLimit::Inherit),
            _ => NewLimit::amount("limit", self.number()).ok(),
        }
    }

    /// Mostly nothing but a limit; otherwise any terms.
    fn policy(&mut self) -> Option<NewPolicy> {
        let policy = NewPolicy { limit: self.limit()?, ..NewPolicy::default() };
        let said = self.source.byte();
        if said < 100 {
            return Some(NewPolicy { allow_transfer: said % 2 == 1, ..policy });
        }
        let mut say = |bit: u8| said & 1 << bit != 0 || self.source.one_in(5);
        let [soft, grace, burst, overcommit, default_ttl, max_ttl] = [0, 1, 2, 3, 4, 5].map(&mut say);
        let policy = NewPolicy {
            soft: soft.then(|| self.number()),
            grace_ms: (soft && grace).then(|| span(self.source)),
            burst: burst.then(|| self.number()),
            max_burst_ms: burst.then(|| span(self.source)),
            overcommit: if overcommit {
                self.source.pick(&["1.5", "1.0001", "1000"]).parse().ok()
            } else {
                None
            },
            enforcement: self.source.pick(&[
                Enforcement::Enforce,
                Enforcement::Enforce,
                Enforcement::Warn,
                Enforcement::Shadow,
                Enforcement::Off,
            ]),
            on_reduce: self.source.pick(&[OnReduce::Freeze, OnReduce::Refuse, OnReduce::Drain]),
            default_ttl_ms: default_ttl.then(|| span(self.source)),
            max_ttl_ms: max_ttl.then(|| span(self.source)),
            allow_transfer: self.source.one_in(2),
            ..policy
        };
        policy.checked("policy.").ok()
    }

    /// When something is to happen: mostly in a while.
    fn time(&mut self) -> u64 {
        let span = span(self.source);
        if self.source.one_in(8) { self.now.saturating_sub(span) } else { self.now.saturating_add(span) }
    }

    fn set_quota(&mut self) -> Option<Command> {
        let (scope, resource, if_version) = self.quota();
        let effective_at = if self.source.one_in(4) { Some(self.time()) } else { None };
        Some(set(scope, resource, self.policy()?, None, effective_at, if_version))
    }

    fn patch_quota(&mut self) -> Option<Command> {
        let (scope, resource, if_version) = self.quota();
        let mask = u16::from_be_bytes([self.source.byte(), self.source.byte()]);
        let fields = (0..).zip(PolicyField::ALL).filter(|(bit, _)| mask & 1 << bit != 0);
        let fields: Vec<PolicyField> = fields.map(|(_, (field, _))| field).collect();
        let effective_at = if self.source.one_in(8) { Some(self.time()) } else { None };
        let policy = only(&fields, self.policy()?);
        let fields = (!fields.is_empty()).then_some(fields);
        Some(set(scope, resource, policy, fields, effective_at, if_version))
    }

    fn adjust_quota(&mut self) -> Option<Command> {
        let (scope, resource, if_version) = self.quota();
        let delta = if self.source.one_in(2) { -self.number() } else { self.number() };
        AdjustQuota::new(scope, resource, delta, if_version).ok().map(Command::AdjustQuota)
    }

    fn override_quota(&mut self) -> Option<Command> {
        let (scope, resource, if_version) = self.quota();
        let (limit, start, end) = (self.limit()?, self.time(), self.time());
        let start = (start > self.now && start < end).then_some(start);
        OverrideQuota::new(scope, resource, limit, start, end, "launch", if_version)
            .ok()
            .map(Command::OverrideQuota)
    }

    fn cancel_schedule(&mut self) -> Command {
        let (scope, resource, if_version) = self.quota();
        let choice = usize::from(self.source.byte());
        let quota = self.state.scope_at(&scope).zip(self.state.resource_id(&resource));
        let schedule = quota.and_then(|(scope, resource)| Some(scope.quota(resource)?.schedule()));
        let item = schedule.filter(|items| !items.is_empty()).map(|items| &items[choice % items.len()]);
        let id = item.map_or(self.state.revision(), |item| item.id);
        Command::CancelSchedule(CancelSchedule { scope, resource, id, if_version })
    }

    fn transfer_quota(&mut self) -> Option<Command> {
        let pairs = [("a/x", "a/y"), ("a/y", "a/x"), ("a/x/p", "a/x/q"), ("a/y/p", "a/y/q"), ("a/p", "a/x")];
        let (from, to) = self.source.pick(&pairs);
        let (resource, amount) = (self.resource(), self.number());
        let until = if self.source.one_in(2) { Some(self.time()) } else { None };
        TransferQuota::new(resource, path(from), path(to), amount, until, None, None)
            .ok()
            .map(Command::TransferQuota)
    }

    fn labels(&mut self) -> Labels {
        let value = self.source.pick(&["", "eu", "us"]);
        Labels::new("labels", [("region".to_owned(), value.to_owned())]).expect("labels")
    }

    /// What holds for a tree, of a root: mostly nothing is said.
    fn rules(&mut self, root: bool) -> (Option<Schema>, Option<ChildPolicy>) {
        if !root || self.source.one_in(2) {
            return (None, None);
        }
        let schema = self.source.pick(&["free", "org/team/user", "scope", "scope/team/user/key"]);
        let schema = if self.source.one_in(3) { Schema::parse(schema).ok() } else { None };
        (schema, Some(self.source.pick(&CHILD_POLICIES)))
    }

    fn create_scope(&mut self) -> Option<Command> {
        let path = self.path();
        let (schema, child_policy) = self.rules(path.parent().is_none());
        let kind = if self.source.one_in(4) { Some(name(self.source.pick(&["org", "team"]))) } else { None };
        let labels = self.labels();
        CreateScope::new(path, kind, labels, schema, child_policy).ok().map(Command::CreateScope)
    }

    fn update_scope(&mut self) -> Option<Command> {
        let path = self.path();
        let (schema, child_policy) = self.rules(path.parent().is_none());
        let labels = if self.source.one_in(2) { Some(self.labels()) } else { None };
        UpdateScope::new(path, labels, schema, child_policy).ok().map(Command::UpdateScope)
    }

    fn template(&mut self) -> Option<PutTemplate> {
        let template = name(self.source.pick(&TEMPLATES));
        let count = self.source.pick(&[1, 1, 2]);
        let quota = |_| Some(TemplateQuota { resource: self.resource(), policy: self.policy()? });
        let quotas = (0..count).map(quota).collect::<Option<_>>()?;
        let version = self.state.template(&template).map_or(0, |template| template.version);
        PutTemplate::new(template, String::new(), quotas, self.version(version)).ok()
    }

    fn plan(&mut self) -> Option<Plan> {
        let templates =
            if self.source.one_in(3) { self.template().into_iter().collect() } else { Vec::new() };
        let count = 1 + self.source.byte() % 3;
        let scopes = (0..count).map(|_| self.planned_scope()).collect::<Option<_>>()?;
        Plan { resources: Vec::new(), templates, scopes }.checked().ok()
    }

    fn planned_scope(&mut self) -> Option<PlannedScope> {
        let path = self.path();
        let (schema, child_policy) = self.rules(path.parent().is_none());
        let template = if self.source.one_in(3) { Some(name(self.source.pick(&TEMPLATES))) } else { None };
        let count = self.source.pick(&[0, 1, 1, 2]);
        let quota = |_| Some(PlannedQuota { resource: self.resource(), policy: self.policy()? });
        let quotas = (0..count).map(quota).collect::<Option<_>>()?;
        Some(PlannedScope { path, kind: None, labels: None, schema, child_policy, template, quotas })
    }
}

/// A policy with nothing said but these fields.
fn only(fields: &[PolicyField], said: NewPolicy) -> NewPolicy {
    let nothing = NewPolicy::default();
    let keep = |field| fields.is_empty() || fields.contains(&field);
    NewPolicy {
        limit: if keep(PolicyField::Limit) { said.limit } else { nothing.limit },
        soft: said.soft.filter(|_| keep(PolicyField::Soft)),
        grace_ms: said.grace_ms.filter(|_| keep(PolicyField::Grace)),
        burst: said.burst.filter(|_| keep(PolicyField::Burst)),
        max_burst_ms: said.max_burst_ms.filter(|_| keep(PolicyField::MaxBurst)),
        overcommit: said.overcommit.filter(|_| keep(PolicyField::Overcommit)),
        enforcement: if keep(PolicyField::Enforcement) { said.enforcement } else { nothing.enforcement },
        on_reduce: if keep(PolicyField::OnReduce) { said.on_reduce } else { nothing.on_reduce },
        default_ttl_ms: said.default_ttl_ms.filter(|_| keep(PolicyField::DefaultTtl)),
        max_ttl_ms: said.max_ttl_ms.filter(|_| keep(PolicyField::MaxTtl)),
        allow_transfer: said.allow_transfer && keep(PolicyField::AllowTransfer),
    }
}
