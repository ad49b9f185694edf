//! What is kept, and how something happens.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use quorate::ledger::HoldState;
use quorate::ledger::Name;
use quorate::ledger::Path;
use quorate::ledger::Rejection;
use quorate::ledger::State;
use quorate::ledger::event::OverrunReason;
use quorate::ledger::hold::Tags;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::quota::PolicyField;
use quorate::ledger::rejection::Blocking;
use quorate::ledger::rejection::QuotaName;
use quorate::ledger::tree::ChildPolicy;
use rust_decimal::Decimal;

use super::seen::template_of;
use super::tree::kind_of;

/// (path, resource).
pub type Place = (String, String);

/// Committed and reserved use, where there is any.
pub type Counters = BTreeMap<Place, (i128, i128)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cap {
    Amount(i128),
    Unlimited,
    #[default]
    Inherit,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    pub cap: Cap,
    pub soft: Option<i128>,
    pub grace_ms: Option<u64>,
    pub burst: Option<i128>,
    pub max_burst_ms: Option<u64>,
    /// In ten-thousandths.
    pub overcommit: Option<i128>,
    pub enforcement: Enforcement,
    pub on_reduce: OnReduce,
    pub default_ttl_ms: Option<u64>,
    pub max_ttl_ms: Option<u64>,
    pub allow_transfer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub since: u64,
    pub ended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Of the named fields; of all when none are named.
    Change(Policy, Option<Vec<PolicyField>>),
    Override {
        cap: Cap,
        end: u64,
        active: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub id: u64,
    pub start: u64,
    pub plan: Planned,
    pub reason: String,
    pub actor: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quota {
    pub policy: Policy,
    /// Reason and actor.
    pub lock: Option<(String, String)>,
    pub grace: Option<Clock>,
    pub burst: Option<Clock>,
    pub would_deny: u64,
    pub schedule: Vec<Item>,
}

/// How often a place was touched, and its policy changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Touches {
    pub sequence: u64,
    pub version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub name: String,
    pub unit: String,
    pub decimals: u32,
    pub budget: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub name: String,
    pub version: u64,
    pub description: String,
    pub policies: BTreeMap<String, Policy>,
}

/// The levels of a tree ("free" without), and how limits nest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub levels: Option<Vec<String>>,
    pub child_policy: ChildPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub number: u32,
    pub kind: String,
    pub labels: BTreeMap<String, String>,
    pub rules: Option<Rules>,
    /// Name, version, and the versions of the quotas it set.
    pub template: Option<(String, u64, BTreeMap<String, u64>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub place: Place,
    pub held: i128,
    pub used: i128,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub parts: Vec<Part>,
    pub created_at: u64,
    pub expires_at: Option<u64>,
    pub revision: u64,
    pub actor: String,
    pub tags: Option<Arc<Tags>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub from: String,
    pub to: String,
    pub resource: String,
    pub amount: i128,
    pub until: u64,
}

/// What an event must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    pub kind: &'static str,
    /// Index and number of parts.
    pub part: Option<(u32, u32)>,
    pub touched: Vec<Place>,
    /// What is to be given back, where it is said.
    pub drains: Vec<Decimal>,
    pub overruns: Vec<(Blocking, OverrunReason)>,
    /// Why something was not done.
    pub refused: Option<Rejection>,
}

impl Happened {
    pub fn new(kind: &'static str) -> Self {
        let (touched, drains, overruns) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, part: None, touched, drains, overruns, refused: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    /// The time of this entry.
    pub now: u64,
    /// The time of the last event.
    pub time: u64,
    pub revision: u64,
    pub compacted_at: u64,
    /// In the order of registration.
    pub kinds: Vec<Kind>,
    /// In the order in which they were made.
    pub templates: Vec<Template>,
    pub scopes: BTreeMap<String, Node>,
    /// The number that the next scope gets.
    pub next_scope: u32,
    pub accounts: BTreeMap<Place, Touches>,
    pub quotas: BTreeMap<Place, Quota>,
    /// What was given back of budgets after it had been committed: it stays used.
    pub consumed: BTreeMap<Place, i128>,
    pub holds: BTreeMap<u64, Hold>,
    /// Their last state, and the revision that brought them there.
    pub closed: BTreeMap<u64, (HoldState, u64)>,
    pub transfers: BTreeMap<u64, Transfer>,
    /// The events of this entry.
    pub log: Vec<Happened>,
}

impl Quota {
    pub fn active_override(&self) -> Option<&Item> {
        self.schedule.iter().find(|item| matches!(item.plan, Planned::Override { active: true, .. }))
    }

    /// The hard limit now: that of the policy, or of the override that replaces it.
    pub fn hard(&self) -> Cap {
        match self.active_override() {
            Some(Item { plan: Planned::Override { cap, .. }, .. }) => *cap,
            _ => self.policy.cap,
        }
    }
}

impl Part {
    pub fn live(&self) -> i128 {
        self.held + self.used
    }
}

impl Hold {
    pub fn is_held(&self) -> bool {
        self.parts.iter().any(|part| part.held > 0)
    }
}

impl World {
    /// An empty ledger begins with what is shipped.
    pub fn furnish(&mut self, empty: &State) {
        self.kinds = empty.resources().iter().map(kind_of).collect();
        self.templates = empty.templates().map(|template| template_of(empty, template)).collect();
    }

    /// What is taken everywhere: of every part of every hold, and of what budgets have consumed.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::new();
        let mut count = |(path, resource): &Place, used: i128, held: i128| {
            for above in lineage(path) {
                let (all_used, all_held) = counters.entry((above, resource.clone())).or_default();
                *all_used += used;
                *all_held += held;
            }
        };
        for part in self.holds.values().flat_map(|hold| &hold.parts) {
            count(&part.place, part.used, part.held);
        }
        for (place, used) in &self.consumed {
            count(place, *used, 0);
        }
        counters
    }

    /// Committed and reserved use at and below a place.
    pub fn taken(&self, place: &Place) -> (i128, i128) {
        let (path, resource) = place;
        let is_here = |at: &Place| at.1 == *resource && is_within(&at.0, path);
        let parts = self.holds.values().flat_map(|hold| &hold.parts).filter(|part| is_here(&part.place));
        let (mut used, held) = parts.fold((0, 0), |(used, held), part| (used + part.used, held + part.held));
        used += self.consumed.iter().filter(|(at, _)| is_here(at)).map(|(_, used)| used).sum::<i128>();
        (used, held)
    }

    /// Records what was just done: the places whose use is not what it was `before` are touched,
    /// and those whose policy was changed.
    pub fn happen(&mut self, mut happened: Happened, changed: &[Place], before: &Counters) {
        let after = self.counters();
        let mut touched: BTreeSet<Place> = changed.iter().cloned().collect();
        let of = |counters: &Counters, place| counters.get(place).copied().unwrap_or_default();
        for place in before.keys().chain(after.keys()) {
            if of(before, place) != of(&after, place) {
                touched.insert(place.clone());
            }
        }
        self.revision += 1;
        self.time = self.now;
        happened.touched = self.in_order(touched);
        for place in &happened.touched {
            self.accounts.entry(place.clone()).or_default().sequence += 1;
            let (used, held) = of(&after, place);
            self.run_clocks(place, used + held);
        }
        self.log.push(happened);
    }

    fn run_clocks(&mut self, place: &Place, taken: i128) {
        let now = self.now;
        let effective = self.effective(place);
        let Some(quota) = self.quotas.get_mut(place) else { return };
        let run = |line: Option<i128>, length: Option<u64>, clock: Option<Clock>| {
            let (line, length) = (line?, length?);
            let since = clock.map_or(now, |clock| clock.since);
            (taken > line).then(|| Clock { since, ended: now >= since.saturating_add(length) })
        };
        quota.grace = run(quota.policy.soft, quota.policy.grace_ms, quota.grace);
        let line = quota.policy.burst.and(effective);
        quota.burst = run(line, quota.policy.max_burst_ms, quota.burst);
    }

    /// From the root down; of one depth, older scopes and then older resources first.
    pub fn in_order(&self, places: impl IntoIterator<Item = Place>) -> Vec<Place> {
        let mut places: Vec<Place> = places.into_iter().collect();
        places.sort_by_key(|(path, resource)| {
            (path.matches('/').count(), self.scopes.get(path).map(|node| node.number), self.age(resource))
        });
        places
    }

    /// Its position among the resources.
    pub fn age(&self, resource: &str) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.name == resource)
    }

    pub fn kind(&self, resource: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.name == resource)
    }

    pub fn is_budget(&self, resource: &str) -> bool {
        self.kind(resource).is_some_and(|kind| kind.budget)
    }

    pub fn version(&self, place: &Place) -> u64 {
        self.accounts.get(place).map_or(0, |touches| touches.version)
    }

    pub fn sequence(&self, place: &Place) -> u64 {
        self.accounts.get(place).map_or(0, |touches| touches.sequence)
    }

    /// Its policy was changed: its version now.
    pub fn raise(&mut self, place: &Place) -> u64 {
        let touches = self.accounts.entry(place.clone()).or_default();
        touches.version += 1;
        touches.version
    }

    /// A scope and all below it, each before its children, children by name.
    pub fn subtree(&self, path: &str) -> Vec<String> {
        let mut below: Vec<String> =
            self.scopes.keys().filter(|scope| is_within(scope, path)).cloned().collect();
        below.sort_by_key(|scope| scope.split('/').map(str::to_string).collect::<Vec<_>>());
        below
    }
}

pub fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path and all above it, from the root down.
pub fn lineage(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(position, _)| position).chain([path.len()]);
    ends.map(|end| path[..end].to_string()).collect()
}

pub fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above)
}

/// The places of a resource at a path and above it, from the root down.
pub fn places_up((path, resource): &Place) -> Vec<Place> {
    lineage(path).into_iter().map(|path| (path, resource.clone())).collect()
}

pub fn quota_name((path, resource): &Place) -> QuotaName {
    QuotaName { scope: Path::parse(path).expect("a path"), resource: Name::parse(resource).expect("a name") }
}
