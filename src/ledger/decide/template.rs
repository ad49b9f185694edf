//! Templates.

use std::sync::Arc;

use super::Context;
use super::Decided;
use super::Decision;
use super::Rejection;
use super::policy;
use super::unchanged;
use crate::ledger::command::PutTemplate;
use crate::ledger::event::Body;
use crate::ledger::name::Name;
use crate::ledger::rejection::Malformed;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Scope;
use crate::ledger::template::Template;

pub(super) fn put(cx: Context<'_>, command: &PutTemplate) -> Decided {
    let state = cx.state;
    let mut unknown: Vec<Name> = Vec::new();
    let mut quotas = Vec::with_capacity(command.quotas.len());
    for (position, quota) in command.quotas.iter().enumerate() {
        let Some(resource) = state.resource_id(&quota.resource) else {
            unknown.push(quota.resource.clone());
            continue;
        };
        let policy = policy::resolve(state, resource, &quota.policy).map_err(|error| {
            Rejection::Malformed(Malformed::new(format!("quotas[{position}].{}", error.field), error.problem))
        })?;
        quotas.push((resource, policy));
    }
    if !unknown.is_empty() {
        return Err(Rejection::UnknownResources(unknown));
    }
    quotas.sort_by_key(|(resource, _)| *resource);
    let present = state.template(&command.name);
    let actual = present.map_or(0, |template| template.version);
    if let Some(expected) = command.if_version.filter(|expected| *expected != actual) {
        let template = command.name.clone();
        return Err(Rejection::TemplateVersionMismatch { template, expected, actual });
    }
    let template = Template {
        name: command.name.clone(),
        version: actual + 1,
        description: command.description.clone(),
        quotas,
    };
    match present {
        Some(present) if present.description == template.description && present.quotas == template.quotas => {
            Ok(unchanged("PutTemplate", actual))
        }
        _ => Ok(Decision::plain(Body::TemplatePut { template: Arc::new(template) })),
    }
}

/// Says that a template was applied to a scope, whose quotas are now as it says, but for some of
/// which something else was said.
pub(in crate::ledger) fn applied(scope: &Scope, template: &Template, except: &[ResourceId]) -> Decision {
    let version = |resource: ResourceId| match except.contains(&resource) {
        true => 0,
        false => scope.account(resource).expect("the quotas of a template have been set").version,
    };
    let quotas = template.quotas.iter().map(|(resource, _)| (*resource, version(*resource))).collect();
    Decision::plain(Body::TemplateApplied {
        scope: scope.id,
        path: scope.path.clone(),
        template: template.name.clone(),
        version: template.version,
        quotas,
    })
}
