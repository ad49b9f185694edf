//! Commands on templates.

use std::collections::BTreeSet;

use super::check_reason;
use super::policy::NewPolicy;
use crate::ledger::name::Name;
use crate::ledger::name::Path;
use crate::ledger::rejection::Malformed;

/// Most quotas of one template.
pub const MAX_TEMPLATE_QUOTAS: usize = 64;

/// What a template says of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateQuota {
    /// Of what.
    pub resource: Name,
    /// The policy.
    pub policy: NewPolicy,
}

/// Makes a template or its next version. Scopes to which it was applied stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutTemplate {
    /// What it is called.
    pub name: Name,
    /// What it is for, for people.
    pub description: String,
    /// In the order of the client; each resource once.
    pub quotas: Vec<TemplateQuota>,
    /// The version it must have; 0 for "must not exist".
    pub if_version: Option<u64>,
}

impl PutTemplate {
    /// Checks a template.
    pub fn new(
        name: Name,
        description: String,
        quotas: Vec<TemplateQuota>,
        if_version: Option<u64>,
    ) -> Result<Self, Malformed> {
        check_reason(&description, false).map_err(|error| Malformed::new("description", error.problem))?;
        if quotas.is_empty() || quotas.len() > MAX_TEMPLATE_QUOTAS {
            let problem = format!("has {}; 1 to {MAX_TEMPLATE_QUOTAS} are allowed", quotas.len());
            return Err(Malformed::new("quotas", problem));
        }
        let mut seen = BTreeSet::new();
        for (position, quota) in quotas.iter().enumerate() {
            if !seen.insert(&quota.resource) {
                let field = format!("quotas[{position}].resource");
                return Err(Malformed::new(field, format!("names {} a second time", quota.resource)));
            }
        }
        Ok(Self { name, description, quotas, if_version })
    }
}

/// Sets the quotas of a scope as a template says. Quotas on other resources stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyTemplate {
    /// Where.
    pub scope: Path,
    /// Which.
    pub template: Name,
    /// The version the template must have.
    pub if_template_version: Option<u64>,
}
