//! Plans: everything there should be, as one document.
//!
//! Fields are named in errors from "plan" on. Knows nothing of what there is: that is compared in
//! the ledger.

use super::command::decode_resource;
use super::command::encode_labels;
use super::command::encode_planned_template;
use super::command::encode_resource;
use super::command::labels;
use super::command::name;
use super::command::path;
use super::command::planned_template;
use super::command::tree;
use super::command::within;
use super::policy;
use crate::ledger::Malformed;
use crate::ledger::command::Plan;
use crate::ledger::command::PlannedQuota;
use crate::ledger::command::PlannedScope;
use crate::proto::v1;

/// A plan from its message; fields are named from "plan" on.
pub fn decode(message: v1::Plan) -> Result<Plan, Malformed> {
    let resources = message.resources.iter().enumerate().map(|(position, resource)| {
        decode_resource(resource).map_err(|error| {
            let field = error.field.strip_prefix("resource.").unwrap_or(&error.field).to_owned();
            within(&format!("plan.resources[{position}]"), Malformed { field, ..error })
        })
    });
    let templates = message.templates.into_iter().enumerate().map(|(position, template)| {
        planned_template(template).map_err(|error| within(&format!("plan.templates[{position}]"), error))
    });
    let scopes = message.scopes.into_iter().enumerate().map(|(position, scope)| {
        planned_scope(scope).map_err(|error| within(&format!("plan.scopes[{position}]"), error))
    });
    let plan = Plan {
        resources: resources.collect::<Result<_, _>>()?,
        templates: templates.collect::<Result<_, _>>()?,
        scopes: scopes.collect::<Result<_, _>>()?,
    };
    plan.checked()
}

/// The message of a plan.
pub fn encode(plan: &Plan) -> v1::Plan {
    v1::Plan {
        resources: plan.resources.iter().map(encode_resource).collect(),
        templates: plan.templates.iter().map(encode_planned_template).collect(),
        scopes: plan.scopes.iter().map(encode_planned_scope).collect(),
    }
}

fn planned_scope(message: v1::PlannedScope) -> Result<PlannedScope, Malformed> {
    let quotas = message.quotas.iter().enumerate().map(|(position, quota)| {
        Ok(PlannedQuota {
            resource: name(&format!("quotas[{position}].resource"), &quota.resource)?,
            policy: policy::decode_new(&format!("quotas[{position}].policy"), quota.policy.as_ref())?,
        })
    });
    Ok(PlannedScope {
        path: path("path", &message.path)?,
        kind: tree::kind("kind", &message.kind)?,
        labels: message.labels.map(|said| labels("labels", said.labels)).transpose()?,
        schema: tree::schema("schema", &message.schema)?,
        child_policy: tree::child_policy("child_policy", message.child_policy)?,
        template: tree::kind("template", &message.template)?,
        quotas: quotas.collect::<Result<_, Malformed>>()?,
    })
}

fn encode_planned_scope(scope: &PlannedScope) -> v1::PlannedScope {
    let quotas = scope.quotas.iter().map(|quota| v1::ResourcePolicy {
        resource: quota.resource.to_string(),
        policy: Some(policy::encode_new(&quota.policy)),
    });
    v1::PlannedScope {
        path: scope.path.to_string(),
        kind: tree::encode_kind(scope.kind.as_ref()),
        labels: scope.labels.as_ref().map(|labels| v1::Labels { labels: encode_labels(labels) }),
        schema: tree::encode_schema(scope.schema.as_ref()),
        child_policy: tree::encode_said_child_policy(scope.child_policy).into(),
        template: tree::encode_kind(scope.template.as_ref()),
        quotas: quotas.collect(),
    }
}
