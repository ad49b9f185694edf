//! Where quotas are not what the template of their scope says.

use super::name::Name;
use super::quota::Policy;
use super::resource::ResourceId;
use super::scope::ScopeId;
use super::state::State;

/// A scope that is not what its template says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The scope.
    pub scope: ScopeId,
    /// The template that was last applied to it.
    pub template: Name,
    /// The version that was applied.
    pub applied: u64,
    /// The version there is now.
    pub current: u64,
    /// By resource, ascending; none when only the versions of the template differ.
    pub quotas: Vec<QuotaDrift>,
}

/// A quota that is not what the template of its scope says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaDrift {
    /// Of what.
    pub resource: ResourceId,
    /// What the template says now; `None` when it says nothing any more.
    pub template: Option<Policy>,
    /// What is there; `None` when no quota is.
    pub actual: Option<Policy>,
    /// Whether the quota has been changed since; otherwise the template was.
    pub changed_since: bool,
}

/// How a scope differs from its template; `None` when it does not, or never got one.
pub fn drift(state: &State, scope: ScopeId) -> Option<Drift> {
    let scope = state.scope(scope);
    let applied = scope.template.as_deref()?;
    let current = state.template(&applied.template).expect("a template is never removed");
    let said = current.quotas.iter().map(|(resource, _)| *resource);
    let was_said = applied.quotas.iter().map(|(resource, _)| *resource);
    let mut resources: Vec<ResourceId> = said.chain(was_said).collect();
    resources.sort_unstable();
    resources.dedup();
    let quotas: Vec<QuotaDrift> = resources
        .into_iter()
        .filter_map(|resource| {
            let template = current.policy(resource);
            let actual = scope.quota(resource).map(|quota| &quota.policy);
            let version = scope.account(resource).map_or(0, |account| account.version);
            let then = applied.quotas.iter().find(|(id, _)| *id == resource).map(|(_, version)| *version);
            (template != actual).then(|| QuotaDrift {
                resource,
                template: template.cloned(),
                actual: actual.cloned(),
                changed_since: then.is_some_and(|then| then != version),
            })
        })
        .collect();
    (applied.version != current.version || !quotas.is_empty()).then(|| Drift {
        scope: scope.id,
        template: applied.template.clone(),
        applied: applied.version,
        current: current.version,
        quotas,
    })
}
