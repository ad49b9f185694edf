//! A whole tree as one document.

use std::collections::BTreeSet;

use super::MAX_BATCH;
use super::policy::NewPolicy;
use super::template::PutTemplate;
use crate::ledger::labels::Labels;
use crate::ledger::name::Name;
use crate::ledger::name::Path;
use crate::ledger::rejection::Malformed;
use crate::ledger::resource::Resource;
use crate::ledger::tree::ChildPolicy;
use crate::ledger::tree::Schema;

/// What there should be. What it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Resources to be registered; one that is registered must be the same.
    pub resources: Vec<Resource>,
    /// Templates; one that says the same already stays at its version.
    pub templates: Vec<PutTemplate>,
    /// Scopes, in any order.
    pub scopes: Vec<PlannedScope>,
}

/// What a scope should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedScope {
    /// Where. The scope above must exist or be in the plan.
    pub path: Path,
    /// What its level is called; of an existing scope it must be the same.
    pub kind: Option<Name>,
    /// All its labels, if said.
    pub labels: Option<Labels>,
    /// The levels of its tree; only at the root.
    pub schema: Option<Schema>,
    /// How limits nest in its tree; only at the root.
    pub child_policy: Option<ChildPolicy>,
    /// The template that is applied to it, unless its present version has been.
    pub template: Option<Name>,
    /// Its quotas; one that is not named stays as it is.
    pub quotas: Vec<PlannedQuota>,
}

/// What a quota should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedQuota {
    /// Of what.
    pub resource: Name,
    /// The whole policy.
    pub policy: NewPolicy,
}

impl Plan {
    /// How many things it names.
    pub fn size(&self) -> usize {
        let quotas: usize = self.scopes.iter().map(|scope| scope.quotas.len()).sum();
        self.resources.len() + self.templates.len() + self.scopes.len() + quotas
    }

    /// Checks a plan: nothing is named twice, and it is not larger than what can be done at once.
    pub fn checked(self) -> Result<Self, Malformed> {
        let size = self.size();
        if size == 0 {
            return Err(Malformed::new("plan", "names nothing"));
        }
        if size > MAX_BATCH {
            let problem =
                format!("names {size} things; at most {MAX_BATCH} can be changed at once: split it");
            return Err(Malformed::new("plan", problem));
        }
        let twice = |field: String, name: &dyn std::fmt::Display| {
            Err(Malformed::new(field, format!("names {name} a second time")))
        };
        let mut resources = BTreeSet::new();
        for (position, resource) in self.resources.iter().enumerate() {
            if !resources.insert(&resource.name) {
                return twice(format!("plan.resources[{position}]"), &resource.name);
            }
        }
        let mut templates = BTreeSet::new();
        for (position, template) in self.templates.iter().enumerate() {
            if !templates.insert(&template.name) {
                return twice(format!("plan.templates[{position}]"), &template.name);
            }
        }
        let mut scopes = BTreeSet::new();
        for (position, scope) in self.scopes.iter().enumerate() {
            if !scopes.insert(&scope.path) {
                return twice(format!("plan.scopes[{position}]"), &scope.path);
            }
            let root = scope.path.parent().is_none();
            if !root && (scope.schema.is_some() || scope.child_policy.is_some()) {
                let field = format!("plan.scopes[{position}]");
                let problem =
                    format!("says schema or child_policy, which are for roots, and {} is none", scope.path);
                return Err(Malformed::new(field, problem));
            }
            let mut quotas = BTreeSet::new();
            for (at, quota) in scope.quotas.iter().enumerate() {
                if !quotas.insert(&quota.resource) {
                    return twice(format!("plan.scopes[{position}].quotas[{at}]"), &quota.resource);
                }
            }
        }
        Ok(self)
    }
}
