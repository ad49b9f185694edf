//! What there is, as a plan: applied to the same ledger it changes nothing, applied to an empty
//! one it makes the same resources, templates, scopes and policies.
//!
//! What is taken, locked, scheduled or on loan is no part of a plan.

use super::bulk::as_said;
use super::command::Plan;
use super::command::PlannedQuota;
use super::command::PlannedScope;
use super::command::PutTemplate;
use super::command::TemplateQuota;
use super::name::Name;
use super::scope::Scope;
use super::scope::ScopeId;
use super::state::State;
use super::template::Template;

/// All resources and templates, and the scopes at and below one; all scopes without one.
pub fn export(state: &State, within: Option<ScopeId>) -> Plan {
    export_to(state, within, usize::MAX)
}

/// As [`export`], without what is more than so many levels below the scope, or the roots.
pub fn export_to(state: &State, within: Option<ScopeId>, depth: usize) -> Plan {
    Plan {
        resources: state.resources().to_vec(),
        templates: state.templates().map(|template| planned_template(state, template)).collect(),
        scopes: scopes(state, within, depth).map(|scope| planned_scope(state, scope)).collect(),
    }
}

/// Whether such a plan names at most so many things. No more of them are looked at.
pub fn is_at_most(state: &State, within: Option<ScopeId>, depth: usize, most: usize) -> bool {
    let mut things = state.resources().len() + state.templates().count();
    things <= most
        && scopes(state, within, depth).all(|scope| {
            things += 1 + scope.accounts().iter().filter(|account| account.quota.is_some()).count();
            things <= most
        })
}

fn scopes(state: &State, within: Option<ScopeId>, depth: usize) -> impl Iterator<Item = &Scope> {
    let roots: Vec<&Scope> = match within {
        Some(scope) => vec![state.scope(scope)],
        None => state.trees().collect(),
    };
    roots.into_iter().flat_map(move |root| {
        let lowest = root.path.segments().count().saturating_add(depth);
        state.subtree_pruned(root.id, move |scope| scope.path.segments().count() < lowest)
    })
}

fn planned_template(state: &State, template: &Template) -> PutTemplate {
    let quotas = template.quotas.iter().map(|(resource, policy)| TemplateQuota {
        resource: state.resource(*resource).name.clone(),
        policy: as_said(policy),
    });
    PutTemplate {
        name: template.name.clone(),
        description: template.description.clone(),
        quotas: quotas.collect(),
        if_version: None,
    }
}

fn planned_scope(state: &State, scope: &Scope) -> PlannedScope {
    let rules = scope.rules.as_deref();
    let quotas = scope.accounts().iter().filter_map(|account| {
        let quota = account.quota.as_ref()?;
        Some(PlannedQuota {
            resource: state.resource(account.resource).name.clone(),
            policy: as_said(&quota.policy),
        })
    });
    PlannedScope {
        path: scope.path.clone(),
        kind: Some(scope.kind.clone()),
        labels: Some(scope.labels.clone()),
        schema: rules.map(|rules| rules.schema.clone()),
        child_policy: rules.map(|rules| rules.child_policy),
        template: template_in_force(state, scope),
        quotas: quotas.collect(),
    }
}

/// The template of a scope, if applying it anew would make no quota that is not there: not when
/// it has been changed since, and not when one of its quotas was removed.
fn template_in_force(state: &State, scope: &Scope) -> Option<Name> {
    let applied = scope.template.as_deref()?;
    let current = state.template(&applied.template).expect("a template is never removed");
    let all_there = current.quotas.iter().all(|(resource, _)| scope.quota(*resource).is_some());
    (applied.version == current.version && all_there).then(|| applied.template.clone())
}
