//! Wishes become commands.

use std::sync::Arc;

use quorate::ledger::Labels;
use quorate::ledger::Name;
use quorate::ledger::Path;
use quorate::ledger::Resource;
use quorate::ledger::ResourceKind;
use quorate::ledger::command::*;
use quorate::ledger::hold::Tags;
use quorate::ledger::quota::PolicyField;
use quorate::ledger::tree::Schema;
use rust_decimal::Decimal;

use crate::model::Item;
use crate::model::Planned;
use crate::model::World;
use crate::model::is_within;
use crate::model::lineage;
use crate::model::parent;
use crate::wish::At;
use crate::wish::DEEP;
use crate::wish::Guess;
use crate::wish::LimitWish;
use crate::wish::PolicyWish;
use crate::wish::ScopeWish;
use crate::wish::Wish;

pub fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

pub fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// Of dust, which has 18 decimals, no more than 79 billion can be counted: it is asked for in
/// billions, so that this is met.
pub fn number(resource: &str, text: &str) -> Decimal {
    let number = Decimal::from_str_exact(text).expect("a number");
    if resource == "dust" { number * Decimal::from(10_000_000_000u64) } else { number }
}

fn labels(which: u8) -> Labels {
    let pairs = [("cost", "1"), ("owner", "x"), ("cost", "2")];
    let pair = pairs[usize::from(which)..].iter().take(2 - usize::from(which).min(1));
    let pairs = pair.map(|(key, value)| ((*key).to_string(), (*value).to_string()));
    Labels::new("labels", pairs).expect("labels")
}

fn schema(text: &str) -> Schema {
    Schema::parse(text).expect("a schema")
}

fn resource(text: &str, other: bool) -> Option<Resource> {
    let (decimals, kind) = match text {
        "tokens" => (2, ResourceKind::Budget),
        "memory_gb" => (3, ResourceKind::Capacity),
        _ => (18, ResourceKind::Capacity),
    };
    let unit = if other {
        "other"
    } else if text == "memory_gb" {
        "GB"
    } else {
        "piece"
    };
    Resource::new(name(text), unit, decimals, kind).ok()
}

fn limit(resource: &str, wish: LimitWish) -> Option<NewLimit> {
    Some(match wish {
        LimitWish::Amount(text) => NewLimit::amount("limit", number(resource, text)).ok()?,
        LimitWish::Unlimited => NewLimit::Unlimited,
        LimitWish::Inherit => NewLimit::Inherit,
    })
}

fn policy(resource: &str, wish: &PolicyWish) -> Option<NewPolicy> {
    let number = |text: &str| number(resource, text);
    let policy = NewPolicy {
        limit: limit(resource, wish.limit)?,
        soft: wish.soft.map(|(soft, _)| number(soft)),
        grace_ms: wish.soft.map_or(wish.grace_alone_ms, |(_, grace_ms)| grace_ms),
        burst: wish.burst.map(|(burst, _)| number(burst)),
        max_burst_ms: wish.burst.filter(|_| !wish.burst_alone).map(|(_, max_burst_ms)| max_burst_ms),
        overcommit: wish.overcommit.map(|ratio| Decimal::from_str_exact(ratio).expect("a ratio")),
        enforcement: wish.enforcement,
        on_reduce: wish.on_reduce,
        default_ttl_ms: wish.ttl.0,
        max_ttl_ms: wish.ttl.1,
        allow_transfer: wish.allow_transfer,
    };
    policy.checked("policy.").ok()
}

impl World {
    fn planned(&self, wish: &ScopeWish) -> Option<PlannedScope> {
        let root = !wish.path.contains('/');
        let mut quotas: Vec<PlannedQuota> = Vec::new();
        for (resource, wish) in &wish.quotas {
            if !quotas.iter().any(|quota| quota.resource.as_str() == *resource) {
                quotas.push(PlannedQuota { resource: name(resource), policy: policy(resource, wish)? });
            }
        }
        Some(PlannedScope {
            path: path(wish.path),
            kind: wish.kind.map(name),
            labels: wish.labels.map(labels),
            schema: wish.schema.filter(|_| root).map(schema),
            child_policy: wish.child_policy.filter(|_| root),
            template: wish.template.map(name),
            quotas,
        })
    }

    /// A time as a client names it; 0 would name none.
    fn offset(&self, offset: i64) -> u64 {
        self.now.saturating_add_signed(offset).max(1)
    }

    /// `None` when the command would not even be well-formed.
    pub fn command(&self, wish: &Wish) -> Option<Command> {
        Some(match wish {
            Wish::Create(wish) => {
                let planned = self.planned(wish)?;
                let labels = planned.labels.unwrap_or_default();
                let scope = CreateScope::new(
                    planned.path,
                    planned.kind,
                    labels,
                    planned.schema,
                    planned.child_policy,
                );
                Command::CreateScope(scope.ok()?)
            }
            Wish::Deepen => {
                let scopes = lineage(DEEP).into_iter().map(|at| PlannedScope {
                    path: path(&at),
                    kind: None,
                    labels: None,
                    schema: None,
                    child_policy: None,
                    template: None,
                    quotas: Vec::new(),
                });
                let plan = Plan { scopes: scopes.collect(), ..Plan::default() };
                Command::ApplyPlan(plan.checked().ok()?)
            }
            Wish::Update { at, labels: new, schema: text, child_policy } => {
                let at = self.at(*at);
                let root = parent(&at).is_none();
                let rules = text.filter(|_| root).map(schema);
                let child_policy = child_policy.filter(|_| root);
                Command::UpdateScope(UpdateScope::new(path(&at), new.map(labels), rules, child_policy).ok()?)
            }
            Wish::Move { from, below, name, force } => {
                // What has room nowhere, what has no room below, or just something.
                let has_children = |path: &str| self.scopes.keys().any(|scope| parent(scope) == Some(path));
                let is_used = |path: &str| {
                    let mut parts = self.holds.values().flat_map(|hold| &hold.parts);
                    parts.any(|part| is_within(&part.place.0, path))
                };
                let from = self.at_of(*from, |path| {
                    let is_deep = matches!(below, At::Deepest);
                    parent(path).is_some() && (!is_deep || has_children(path)) && (!*force || is_used(path))
                });
                let is_limited = |path: &str| self.quotas.keys().any(|place| place.0 == path);
                let below = self.at_of(*below, |path| {
                    lineage(path)[0] == lineage(&from)[0]
                        && !is_within(path, &from)
                        && (!*force || is_limited(path))
                });
                let last = from.rsplit('/').next().expect("a path has a last segment");
                let to = Path::parse(&format!("{below}/{}", name.unwrap_or(last))).ok()?;
                Command::MoveScope(MoveScope::new(path(&from), to, *force).ok()?)
            }
            Wish::Delete { at, recursive } => {
                let is_lent = |path: &str| *recursive && !self.loans(path).is_empty();
                let path = path(&self.at_of(*at, is_lent));
                Command::DeleteScope(DeleteScope { path, recursive: *recursive })
            }
            Wish::Compact(age) => Command::CompactEvents(self.revision.saturating_add_signed(-age)),
            Wish::Register(text, other) => Command::RegisterResource(resource(text, *other)?),
            Wish::PutTemplate { name: text, long, quotas, guess } => {
                let description = if *long { "for many" } else { "" };
                let if_version = self.guessed_template(text, *guess);
                Command::PutTemplate(put_template(text, description, quotas, if_version)?)
            }
            Wish::ApplyTemplate { at, name: text, guess } => {
                let if_template_version = self.guessed_template(text, *guess);
                let scope = path(&self.at(*at));
                Command::ApplyTemplate(ApplyTemplate { scope, template: name(text), if_template_version })
            }
            Wish::Plan { resource: catalogue, template, scopes: wishes } => {
                let resources = catalogue.iter().filter_map(|(text, other)| resource(text, *other));
                let templates = template.iter().filter_map(|(text, policy)| {
                    put_template(text, "", std::slice::from_ref(&("memory_gb", policy.clone())), None)
                });
                let mut scopes: Vec<PlannedScope> = Vec::new();
                for wish in wishes {
                    let planned = self.planned(wish)?;
                    if !scopes.iter().any(|scope| scope.path == planned.path) {
                        scopes.push(planned);
                    }
                }
                let plan = Plan { resources: resources.collect(), templates: templates.collect(), scopes };
                Command::ApplyPlan(plan.checked().ok()?)
            }
            Wish::Batch(wishes) => {
                let commands = wishes.iter().filter_map(|wish| self.command(wish));
                let is_single = |command: &Command| !matches!(command, Command::ApplyTemplate(_));
                Command::Batch(Batch::new(commands.filter(is_single).collect()).ok()?)
            }
            wish => self.quota_command(wish).or_else(|| self.hold_command(wish))?,
        })
    }

    fn quota_command(&self, wish: &Wish) -> Option<Command> {
        Some(match wish {
            Wish::Set { target, policy: new, mask, at, guess } => {
                let place = self.place_at(*target);
                let chosen = |mask: &u16| -> Vec<PolicyField> {
                    let fields = PolicyField::ALL.iter().enumerate();
                    fields.filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, (field, _))| *field).collect()
                };
                let fields = mask.as_ref().map(chosen).filter(|fields| !fields.is_empty());
                let mut policy = policy(&place.1, new)?;
                // As much as fits now, so that it no longer fits when something above is lowered.
                if let (Some(_), Guess::None, Some(above)) = (at, guess, self.limited_above(&place)) {
                    let most = self.base(&above).expect("it is limited");
                    // With what is overcommitted it may be more than anybody may ask for.
                    let limit = NewLimit::amount("limit", self.number(most, &place.1)).ok()?;
                    policy = NewPolicy { limit, ..NewPolicy::default() };
                }
                if let Some(fields) = &fields {
                    policy = only(fields, &policy);
                }
                Command::SetQuota(SetQuota {
                    scope: path(&place.0),
                    resource: name(&place.1),
                    policy,
                    fields,
                    effective_at: at.map(|at| self.offset(at)),
                    if_version: self.guessed(&place, *guess),
                })
            }
            Wish::Adjust { target, amount, negative, guess } => {
                // Lowered where somebody below counts on it in time to come.
                let is_change = |item: &Item| matches!(item.plan, Planned::Change(..));
                let counts_on = |path: &str| {
                    let place = (path.to_string(), target.1.to_string());
                    self.quotas.iter().any(|(below, quota)| {
                        quota.schedule.iter().any(is_change)
                            && self.limited_above(below).as_ref() == Some(&place)
                    })
                };
                let place = if *negative {
                    (self.at_of(target.0, counts_on), target.1.to_string())
                } else {
                    self.quota_at(*target, |_| true)
                };
                let delta = number(&place.1, amount);
                let delta = if *negative { -delta } else { delta };
                let if_version = self.guessed(&place, *guess);
                let adjust = AdjustQuota::new(path(&place.0), name(&place.1), delta, if_version);
                Command::AdjustQuota(adjust.ok()?)
            }
            Wish::DeleteQuota { target, lent, guess } => {
                let mut place = self.quota_at(*target, |_| true);
                if let Some(loan) = self.transfers.values().next().filter(|_| *lent) {
                    place = (loan.to.clone(), loan.resource.clone());
                }
                let if_version = self.guessed(&place, *guess);
                Command::DeleteQuota(DeleteQuota {
                    scope: path(&place.0),
                    resource: name(&place.1),
                    if_version,
                })
            }
            Wish::Lock { target, audit, guess } => {
                let place = self.quota_at(*target, |_| true);
                let reason = if *audit { "audit" } else { "incident" };
                let if_version = self.guessed(&place, *guess);
                let lock = LockQuota::new(path(&place.0), name(&place.1), reason, if_version);
                Command::LockQuota(lock.ok()?)
            }
            Wish::Unlock { target, guess } => {
                let place = self.quota_at(*target, |quota| quota.lock.is_some());
                let if_version = self.guessed(&place, *guess);
                Command::UnlockQuota(UnlockQuota {
                    scope: path(&place.0),
                    resource: name(&place.1),
                    if_version,
                })
            }
            Wish::Override { target, limit: new, start, length, guess } => {
                let place = self.quota_at(*target, |_| true);
                // What would begin in the past begins when the last one ends.
                let ends = self.quotas.get(&place).into_iter().flat_map(|quota| &quota.schedule);
                let ends = ends.filter_map(|item| match item.plan {
                    Planned::Override { end, .. } => Some(end),
                    Planned::Change(..) => None,
                });
                let last = ends.max().filter(|_| start.is_some_and(|start| start < 0));
                let start = last.or(start.map(|start| self.offset(start)));
                let end = start.unwrap_or(0).max(self.now).saturating_add_signed(*length);
                let (new, if_version) = (limit(&place.1, *new)?, self.guessed(&place, *guess));
                let (scope, resource) = (path(&place.0), name(&place.1));
                let replaced = OverrideQuota::new(scope, resource, new, start, end, "event", if_version);
                Command::OverrideQuota(replaced.ok()?)
            }
            Wish::Cancel { target, which, guess } => {
                let place = self.quota_at(*target, |quota| !quota.schedule.is_empty());
                let schedule = self.quotas.get(&place).map(|quota| &quota.schedule);
                let id = schedule.and_then(|items| Some(items.get(which % items.len().max(1))?.id));
                // Where nothing is scheduled, a loan, from either of its sides.
                let loan = self.transfers.iter().nth(which % self.transfers.len().max(1));
                let (place, id) = match (id, loan) {
                    (None, Some((id, loan))) => {
                        let side = if which % 2 == 0 { &loan.from } else { &loan.to };
                        ((side.clone(), loan.resource.clone()), *id)
                    }
                    (id, _) => (place, id.unwrap_or(1)),
                };
                Command::CancelSchedule(CancelSchedule {
                    scope: path(&place.0),
                    resource: name(&place.1),
                    id,
                    if_version: self.guessed(&place, *guess),
                })
            }
            Wish::Transfer { from, to, amount, until, guesses } => {
                let has_quota =
                    |path: &str| self.quotas.contains_key(&(path.to_string(), from.1.to_string()));
                let siblings = |from: &str| {
                    let siblings = self.scopes.keys().filter(|scope| parent(scope) == parent(from));
                    let mut siblings: Vec<&String> = siblings.filter(|scope| *scope != from).collect();
                    siblings.sort_by_key(|sibling| !has_quota(sibling));
                    siblings
                };
                let is_apt = |path: &str| {
                    let is_paired = siblings(path).first().is_some_and(|sibling| has_quota(sibling));
                    parent(path).is_some_and(has_quota) && has_quota(path) && is_paired
                };
                let from = (self.at_of(from.0, is_apt), from.1.to_string());
                let siblings = siblings(&from.0);
                let to = if *to < 2 { &0 } else { to };
                let to = siblings.get(to % siblings.len().max(1))?;
                let to = ((*to).clone(), from.1.clone());
                let transfer = TransferQuota::new(
                    name(&from.1),
                    path(&from.0),
                    path(&to.0),
                    number(&from.1, amount),
                    until.map(|until| self.offset(until)),
                    self.guessed(&from, guesses.0),
                    self.guessed(&to, guesses.1),
                );
                Command::TransferQuota(transfer.ok()?)
            }
            _ => return None,
        })
    }

    fn hold_command(&self, wish: &Wish) -> Option<Command> {
        Some(match wish {
            Wish::Reserve { lines, mode, commit, ttl_ms, tagged } => {
                let mut asked = Vec::new();
                for wish in lines {
                    let place = self.limited_at(wish.target);
                    let amount = number(&place.1, wish.amount);
                    let minimum = wish.minimum.map(|least| number(&place.1, least));
                    asked.push(Line {
                        scope: path(&place.0),
                        resource: name(&place.1),
                        amount,
                        minimum: minimum.filter(|least| *mode == Mode::Partial && *least <= amount),
                        if_sequence: match wish.guess {
                            Guess::None => None,
                            Guess::Right => Some(self.sequence(&place)),
                            Guess::Number(number) => Some(number),
                        },
                    });
                }
                // Labels or none: with them a command goes another way through the log.
                let is_plain = asked.len().is_multiple_of(2);
                let labels = if is_plain { Labels::default() } else { labels(1) };
                let tags = Tags::new("job", if is_plain { "anna" } else { "" }, labels).expect("tags");
                let tags = tagged.then(|| Arc::new(tags));
                Command::Reserve(Reserve::with(asked, *mode, *commit, *ttl_ms, tags).ok()?)
            }
            Wish::Commit { hold, lines, is_final } => {
                let hold = self.picked(*hold);
                let lines = self.named_lines(hold, lines);
                let is_final = *is_final || lines.is_empty();
                Command::Commit(Commit::new(hold, lines, is_final).ok()?)
            }
            Wish::Release { hold, lines } => {
                let hold = self.picked(*hold);
                Command::Release(Release::new(hold, self.named_lines(hold, lines)).ok()?)
            }
            Wish::Renew { hold, ttl_ms } => Command::Renew(Renew::new(self.picked(*hold), *ttl_ms).ok()?),
            Wish::Resize { hold, lines } => {
                let hold = self.picked(*hold);
                Command::Resize(Resize::new(hold, self.named_lines(hold, lines)).ok()?)
            }
            _ => return None,
        })
    }
}

/// What a mask does not name is not sent.
fn only(fields: &[PolicyField], asked: &NewPolicy) -> NewPolicy {
    let mut policy = NewPolicy::default();
    for field in fields {
        match field {
            PolicyField::Limit => policy.limit = asked.limit,
            PolicyField::Soft => policy.soft = asked.soft,
            PolicyField::Grace => policy.grace_ms = asked.grace_ms,
            PolicyField::Burst => policy.burst = asked.burst,
            PolicyField::MaxBurst => policy.max_burst_ms = asked.max_burst_ms,
            PolicyField::Overcommit => policy.overcommit = asked.overcommit,
            PolicyField::Enforcement => policy.enforcement = asked.enforcement,
            PolicyField::OnReduce => policy.on_reduce = asked.on_reduce,
            PolicyField::DefaultTtl => policy.default_ttl_ms = asked.default_ttl_ms,
            PolicyField::MaxTtl => policy.max_ttl_ms = asked.max_ttl_ms,
            PolicyField::AllowTransfer => policy.allow_transfer = asked.allow_transfer,
        }
    }
    policy
}

fn put_template(
    text: &str,
    description: &str,
    wishes: &[(&'static str, PolicyWish)],
    if_version: Option<u64>,
) -> Option<PutTemplate> {
    let mut quotas: Vec<TemplateQuota> = Vec::new();
    for (resource, wish) in wishes {
        if !quotas.iter().any(|quota| quota.resource.as_str() == *resource) {
            quotas.push(TemplateQuota { resource: name(resource), policy: policy(resource, wish)? });
        }
    }
    PutTemplate::new(name(text), description.into(), quotas, if_version).ok()
}
