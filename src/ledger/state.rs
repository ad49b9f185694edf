//! The whole state that rules need, and how it is looked up.
//!
//! Everything is ordered: no walk over it depends on addresses or hashes. It changes in `evolve`
//! and when rows are loaded or put back (`rows`), nowhere else.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::LogTime;
use super::Revision;
use super::changed::Changed;
use super::hold::ClosedHolds;
use super::hold::Closing;
use super::hold::Hold;
use super::hold::HoldId;
use super::index::PathIndex;
use super::name::Name;
use super::name::Path;
use super::outcome::Grant;
use super::request::Decided;
use super::request::RequestId;
use super::request::RequestTable;
use super::resource::Resource;
use super::resource::ResourceId;
use super::resource::catalogue;
use super::rising::Rising;
use super::rows::Row;
use super::rows::RowKey;
use super::rows::TemplateId;
use super::scope::Scope;
use super::scope::ScopeId;
use super::template;
use super::template::Template;
use super::transfer::Transfer;
use super::tree::TreeRules;

/// How many kinds are kept to be shared.
const KINDS_SHARED: usize = 64;

/// The ledger at one revision. Two states are equal when their rows are.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) revision: Revision,
    pub(super) time: LogTime,
    /// Events up to here were let go of.
    pub(super) compacted_at: Revision,
    pub(super) resources: Vec<Resource>,
    pub(super) resource_ids: BTreeMap<Name, ResourceId>,
    pub(super) templates: Vec<Arc<Template>>,
    pub(super) template_ids: BTreeMap<Name, TemplateId>,
    /// By number. A number is never used again: boxed, so that what is gone leaves little behind.
    pub(super) scopes: Vec<Option<Box<Scope>>>,
    pub(super) trees: BTreeMap<Box<str>, ScopeId>,
    /// Kinds met before, of which there are few: many scopes share their texts. They decide nothing,
    /// so that they are not taken back with a change.
    kinds: BTreeSet<Name>,
    /// Follows from the scopes.
    pub(super) paths: PathIndex,
    pub(super) transfers: BTreeMap<Revision, Transfer>,
    /// Both sides of each transfer; follows from them.
    pub(super) loans: BTreeSet<(ScopeId, ResourceId, Revision)>,
    /// Boxed: a hold that is closed moves those after it in its chunk.
    pub(super) holds: Rising<HoldId, Box<Hold>>,
    pub(super) closed: ClosedHolds,
    pub(super) requests: RequestTable,
    /// What is promised directly below a scope: the sum of the first limits on every way down, in
    /// units; follows from the rows of quotas. Nothing is not kept.
    pub(super) promised: BTreeMap<(ScopeId, ResourceId), i128>,
    /// When something is due on quotas and transfers; follows from their rows.
    pub(super) policy_deadlines: BTreeSet<(LogTime, Due)>,
    /// When holds expire; follows from their rows.
    pub(super) hold_deadlines: Rising<(LogTime, HoldId), ()>,
    /// What the parts of a request did whose last part has not been folded yet.
    pub(super) parts: Vec<Grant>,
    /// Rows changed since they were last taken.
    pub(super) changed: Changed,
    /// While a change may have to be taken back: what rows were before, in the order of change.
    pub(super) undo: Option<Vec<(RowKey, Option<Row>)>>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Something on a quota: a clock or its schedule.
    Quota(ScopeId, ResourceId),
    /// A transfer goes back.
    Transfer(Revision),
}

impl Default for State {
    fn default() -> Self {
        let mut state = Self::empty();
        for resource in catalogue() {
            let id = state.add_resource(resource);
            state.changed.note(RowKey::Resource(id));
        }
        let shipped = template::shipped(|name| {
            let name = Name::parse(name).expect("a resource has a name");
            let id = state.resource_id(&name).expect("tiers speak of resources of the catalogue");
            (id, state.resource(id).decimals)
        });
        for template in shipped {
            let id = state.add_template(Arc::new(template));
            state.changed.note(RowKey::Template(id));
        }
        // No checkpoint has written these yet.
        state.changed.note(RowKey::Ledger);
        state
    }
}

impl State {
    /// An empty ledger without even what is built in: what rows are loaded into.
    pub(super) fn empty() -> Self {
        Self {
            revision: 0,
            time: 0,
            compacted_at: 0,
            resources: Vec::new(),
            resource_ids: BTreeMap::new(),
            templates: Vec::new(),
            template_ids: BTreeMap::new(),
            scopes: Vec::new(),
            trees: BTreeMap::new(),
            kinds: BTreeSet::new(),
            paths: PathIndex::default(),
            transfers: BTreeMap::new(),
            loans: BTreeSet::new(),
            holds: Rising::default(),
            closed: ClosedHolds::default(),
            requests: RequestTable::default(),
            promised: BTreeMap::new(),
            policy_deadlines: BTreeSet::new(),
            hold_deadlines: Rising::default(),
            parts: Vec::new(),
            changed: Changed::default(),
            undo: None,
        }
    }

    pub(super) fn add_resource(&mut self, resource: Resource) -> ResourceId {
        let id = ResourceId(u32::try_from(self.resources.len()).expect("fewer than 2^32 resources"));
        self.resource_ids.insert(resource.name.clone(), id);
        self.resources.push(resource);
        id
    }

    /// A kind with the text that others of its name have, if it was met before.
    pub(super) fn shared_kind(&mut self, kind: Name) -> Name {
        if let Some(known) = self.kinds.get(&kind) {
            return known.clone();
        }
        // Anyone may make up kinds in a tree without levels.
        if self.kinds.len() == KINDS_SHARED {
            self.kinds.clear();
        }
        self.kinds.insert(kind.clone());
        kind
    }

    /// The number that a new template gets.
    pub(super) fn next_template(&self) -> TemplateId {
        TemplateId(u32::try_from(self.templates.len()).expect("fewer than 2^32 templates"))
    }

    pub(super) fn add_template(&mut self, template: Arc<Template>) -> TemplateId {
        let id = self.next_template();
        self.template_ids.insert(template.name.clone(), id);
        self.templates.push(template);
        id
    }

    /// The last event that was folded in.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Events up to here were let go of; 0 for none.
    pub fn compacted_at(&self) -> Revision {
        self.compacted_at
    }

    /// The log time of the last event.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// When something next happens by itself; what is due already counts.
    pub fn next_deadline(&self) -> Option<LogTime> {
        let policy = self.policy_deadlines.first().map(|(time, _)| *time);
        let hold = self.hold_deadlines.first().map(|((time, _), ())| time);
        policy.into_iter().chain(hold).min()
    }

    /// The scope at a path.
    #[inline]
    pub fn scope_at(&self, path: &Path) -> Option<&Scope> {
        let id = self.paths.get(path, |id| self.scope(id).path == *path)?;
        Some(self.scope(id))
    }

    /// A scope by its number, which must be of a scope that is there.
    #[inline]
    pub fn scope(&self, id: ScopeId) -> &Scope {
        self.scopes.get(id.0 as usize).and_then(Option::as_deref).expect("a scope number names a scope")
    }

    #[inline]
    pub(super) fn scope_mut(&mut self, id: ScopeId) -> &mut Scope {
        self.scopes
            .get_mut(id.0 as usize)
            .and_then(Option::as_deref_mut)
            .expect("a scope number names a scope")
    }

    /// A scope and its ancestors, from itself up to the root.
    #[inline]
    pub fn path_up(&self, id: ScopeId) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self.scope(id)), |scope| scope.parent.map(|parent| self.scope(parent)))
    }

    /// Whether a scope is another one or lies below it.
    pub fn is_within(&self, id: ScopeId, above: ScopeId) -> bool {
        self.path_up(id).any(|scope| scope.id == above)
    }

    /// A scope and everything below it, each before its children, children by name.
    pub fn subtree(&self, id: ScopeId) -> impl Iterator<Item = &Scope> {
        self.subtree_pruned(id, |_| true)
    }

    /// A subtree without what lies below scopes for which `descend` says no.
    pub(super) fn subtree_pruned(
        &self,
        id: ScopeId,
        descend: impl Fn(&Scope) -> bool,
    ) -> impl Iterator<Item = &Scope> {
        let mut stack = vec![id];
        std::iter::from_fn(move || {
            let scope = self.scope(stack.pop()?);
            if descend(scope) {
                stack.extend(scope.children.values().rev());
            }
            Some(scope)
        })
    }

    /// The roots of all trees, by name.
    pub fn trees(&self) -> impl Iterator<Item = &Scope> {
        self.trees.values().map(|id| self.scope(*id))
    }

    /// As [`State::trees`], from a name on.
    pub fn trees_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Scope> + use<'a> {
        let names = (Bound::Included(name), Bound::Unbounded);
        self.trees.range::<str, _>(names).map(|(_, id)| self.scope(*id))
    }

    /// What holds for the tree of a scope.
    pub fn rules(&self, id: ScopeId) -> &TreeRules {
        let root = self.path_up(id).last().expect("a path has a root");
        root.rules.as_deref().expect("the root of a tree has its rules")
    }

    /// A resource by its number, which must be of a registered resource.
    #[inline]
    pub fn resource(&self, id: ResourceId) -> &Resource {
        self.resources.get(id.0 as usize).expect("a resource number names a resource")
    }

    /// The number of a resource.
    pub fn resource_id(&self, name: &Name) -> Option<ResourceId> {
        self.resource_ids.get(name).copied()
    }

    /// All resources, in the order of registration.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// A template by its name.
    pub fn template(&self, name: &Name) -> Option<&Arc<Template>> {
        self.templates.get(self.template_ids.get(name)?.0 as usize)
    }

    /// All templates, by name.
    pub fn templates(&self) -> impl Iterator<Item = &Arc<Template>> {
        self.template_ids.values().map(|id| &self.templates[id.0 as usize])
    }

    /// The transfers that will go back to or from a quota, oldest first.
    pub fn loans(&self, scope: ScopeId, resource: ResourceId) -> impl Iterator<Item = &Transfer> {
        let of_quota = (scope, resource, Revision::MIN)..=(scope, resource, Revision::MAX);
        self.loans.range(of_quota).map(|(.., id)| &self.transfers[id])
    }

    /// As [`State::loans`], of all resources of a scope.
    pub(super) fn loans_at(&self, scope: ScopeId) -> impl Iterator<Item = &Transfer> {
        let of_scope =
            (scope, ResourceId(u32::MIN), Revision::MIN)..=(scope, ResourceId(u32::MAX), Revision::MAX);
        self.loans.range(of_scope).map(|(.., id)| &self.transfers[id])
    }

    /// A live hold.
    #[inline]
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(id).map(Box::as_ref)
    }

    /// Live holds from an id on, oldest first.
    pub fn holds_from(&self, id: HoldId) -> impl Iterator<Item = &Hold> {
        self.holds.iter_from(id).map(|(_, hold)| &**hold)
    }

    /// How a hold ended, if it did so not long ago.
    pub fn closing(&self, id: HoldId) -> Option<&Closing> {
        self.closed.get(id)
    }

    /// What was decided about a request, if it is remembered.
    pub fn decided(&self, id: RequestId) -> Option<&Decided> {
        self.requests.get(id)
    }

    /// The remembered requests from an id on, ascending.
    pub fn decided_from(&self, id: RequestId) -> impl Iterator<Item = (RequestId, &Decided)> {
        self.requests.iter_from(id)
    }
}
