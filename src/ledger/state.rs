//! The whole state that rules need, and how it is looked up.
//!
//! Everything is ordered: no walk over it depends on addresses or hashes. It changes in `evolve`
//! and when rows are loaded (`rows`), nowhere else.

use std::collections::BTreeMap;

use super::LogTime;
use super::Revision;
use super::hold::ClosedHolds;
use super::hold::Closing;
use super::hold::Hold;
use super::hold::HoldId;
use super::name::Name;
use super::name::Path;
use super::request::Decided;
use super::request::RequestId;
use super::request::RequestTable;
use super::resource::Resource;
use super::resource::ResourceId;
use super::resource::catalogue;
use super::rows::RowKey;
use super::scope::Scope;
use super::scope::ScopeId;

/// The ledger at one revision. Two states are equal when their rows are.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) revision: Revision,
    pub(super) time: LogTime,
    pub(super) resources: Vec<Resource>,
    pub(super) resource_ids: BTreeMap<Name, ResourceId>,
    /// By number; a number is never used again.
    pub(super) scopes: Vec<Option<Scope>>,
    pub(super) trees: BTreeMap<Box<str>, ScopeId>,
    pub(super) holds: BTreeMap<HoldId, Hold>,
    pub(super) closed: ClosedHolds,
    pub(super) requests: RequestTable,
    /// Rows changed since they were last taken; may name a row more than once.
    pub(super) changed: Vec<RowKey>,
}

impl Default for State {
    fn default() -> Self {
        let mut state = Self::without_resources();
        for resource in catalogue() {
            let id = state.add_resource(resource);
            state.changed.push(RowKey::Resource(id));
        }
        // No checkpoint has written these yet.
        state.changed.push(RowKey::Ledger);
        state
    }
}

impl State {
    /// An empty ledger without even the built-in resources: what rows are loaded into.
    pub(super) fn without_resources() -> Self {
        Self {
            revision: 0,
            time: 0,
            resources: Vec::new(),
            resource_ids: BTreeMap::new(),
            scopes: Vec::new(),
            trees: BTreeMap::new(),
            holds: BTreeMap::new(),
            closed: ClosedHolds::default(),
            requests: RequestTable::default(),
            changed: Vec::new(),
        }
    }

    pub(super) fn add_resource(&mut self, resource: Resource) -> ResourceId {
        let id = ResourceId(u32::try_from(self.resources.len()).expect("fewer than 2^32 resources"));
        self.resource_ids.insert(resource.name.clone(), id);
        self.resources.push(resource);
        id
    }

    /// The last event that was folded in.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The log time of the last event.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// The scope at a path.
    pub fn scope_at(&self, path: &Path) -> Option<&Scope> {
        let mut segments = path.segments();
        let mut id = self.trees.get(segments.next()?)?;
        for segment in segments {
            id = self.scope(*id).children.get(segment)?;
        }
        Some(self.scope(*id))
    }

    /// A scope by its number, which must be of a scope that is there.
    pub fn scope(&self, id: ScopeId) -> &Scope {
        self.scopes.get(id.0 as usize).and_then(Option::as_ref).expect("a scope number names a scope")
    }

    pub(super) fn scope_mut(&mut self, id: ScopeId) -> &mut Scope {
        self.scopes.get_mut(id.0 as usize).and_then(Option::as_mut).expect("a scope number names a scope")
    }

    /// A scope and its ancestors, from itself up to the root.
    pub fn path_up(&self, id: ScopeId) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self.scope(id)), |scope| scope.parent.map(|parent| self.scope(parent)))
    }

    /// A scope and everything below it, each before its children, children by name.
    pub fn subtree(&self, id: ScopeId) -> impl Iterator<Item = &Scope> {
        let mut stack = vec![id];
        std::iter::from_fn(move || {
            let scope = self.scope(stack.pop()?);
            stack.extend(scope.children.values().rev());
            Some(scope)
        })
    }

    /// The roots of all trees, by name.
    pub fn trees(&self) -> impl Iterator<Item = &Scope> {
        self.trees.values().map(|id| self.scope(*id))
    }

    /// A resource by its number, which must be of a registered resource.
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

    /// A live hold.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// Live holds from an id on, oldest first.
    pub fn holds_from(&self, id: HoldId) -> impl Iterator<Item = &Hold> {
        self.holds.range(id..).map(|(_, hold)| hold)
    }

    /// How a hold ended, if it did so not long ago.
    pub fn closing(&self, id: HoldId) -> Option<&Closing> {
        self.closed.get(id)
    }

    /// What was decided about a request, if it is remembered.
    pub fn decided(&self, id: RequestId) -> Option<&Decided> {
        self.requests.get(id)
    }
}
