//! Commands on templates, and whole plans.

use super::name;
use super::path;
use crate::codec::plan;
use crate::codec::policy;
use crate::ledger::Command;
use crate::ledger::Malformed;
use crate::ledger::command::ApplyTemplate;
use crate::ledger::command::Plan;
use crate::ledger::command::PutTemplate;
use crate::ledger::command::TemplateQuota;
use crate::proto::v1;

pub(super) fn put_template(message: v1::PutTemplateRequest) -> Result<Command, Malformed> {
    let v1::PutTemplateRequest { name, description, quotas, if_version, .. } = message;
    planned_template(v1::PlannedTemplate { name, description, quotas, if_version }).map(Command::PutTemplate)
}

pub(super) fn encode_put_template(command: &PutTemplate) -> v1::PutTemplateRequest {
    let v1::PlannedTemplate { name, description, quotas, if_version } = encode_planned_template(command);
    v1::PutTemplateRequest { name, description, quotas, if_version, ..Default::default() }
}

pub(super) fn apply_template(message: &v1::ApplyTemplateRequest) -> Result<Command, Malformed> {
    Ok(Command::ApplyTemplate(ApplyTemplate {
        scope: path("scope", &message.scope)?,
        template: name("template", &message.template)?,
        if_template_version: message.if_template_version,
    }))
}

pub(super) fn encode_apply_template(command: &ApplyTemplate) -> v1::ApplyTemplateRequest {
    v1::ApplyTemplateRequest {
        scope: command.scope.to_string(),
        template: command.template.to_string(),
        if_template_version: command.if_template_version,
        ..Default::default()
    }
}

pub(super) fn apply_plan(message: v1::ApplyPlanRequest) -> Result<Command, Malformed> {
    let plan = message.plan.ok_or_else(|| Malformed::new("plan", "is missing"))?;
    plan::decode(plan).map(Command::ApplyPlan)
}

pub(super) fn encode_apply_plan(plan: &Plan) -> v1::ApplyPlanRequest {
    v1::ApplyPlanRequest { plan: Some(plan::encode(plan)), ..Default::default() }
}

pub(in crate::codec) fn planned_template(message: v1::PlannedTemplate) -> Result<PutTemplate, Malformed> {
    let quotas = message.quotas.iter().enumerate().map(|(position, quota)| {
        Ok(TemplateQuota {
            resource: name(&format!("quotas[{position}].resource"), &quota.resource)?,
            policy: policy::decode_new(&format!("quotas[{position}].policy"), quota.policy.as_ref())?,
        })
    });
    let quotas = quotas.collect::<Result<_, Malformed>>()?;
    PutTemplate::new(name("name", &message.name)?, message.description, quotas, message.if_version)
}

pub(in crate::codec) fn encode_planned_template(template: &PutTemplate) -> v1::PlannedTemplate {
    let quotas = template.quotas.iter().map(|quota| v1::ResourcePolicy {
        resource: quota.resource.to_string(),
        policy: Some(policy::encode_new(&quota.policy)),
    });
    v1::PlannedTemplate {
        name: template.name.to_string(),
        description: template.description.clone(),
        quotas: quotas.collect(),
        if_version: template.if_version,
    }
}
