//! What happened to scopes, resources and templates.

use std::sync::Arc;

use super::Decimals;
use super::Message;
use super::WHAT;
use super::hold::decode_overruns;
use super::hold::encode_overruns;
use crate::codec::Corrupt;
use crate::codec::command::Labelled;
use crate::codec::command::decode_child_policy;
use crate::codec::command::decode_resource;
use crate::codec::command::encode_child_policy;
use crate::codec::command::encode_labels;
use crate::codec::command::encode_resource;
use crate::codec::command::labels;
use crate::codec::command::name;
use crate::codec::command::path;
use crate::codec::policy;
use crate::codec::required;
use crate::ledger::Body;
use crate::ledger::Labels;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::ResourceId;
use crate::ledger::ScopeId;
use crate::ledger::template::Template;
use crate::ledger::tree::Schema;
use crate::ledger::tree::TreeRules;
use crate::proto::v1;

pub(super) fn encode(body: &Body) -> Message {
    match body {
        Body::ScopeCreated { scope, path, kind, labels, rules } => Message::ScopeCreated(v1::ScopeCreated {
            scope_id: scope.0,
            path: path.to_string(),
            kind: kind.to_string(),
            labels: encode_labels(labels),
            rules: rules.as_ref().map(encode_rules),
        }),
        Body::ScopeUpdated { scope, path, labels, rules } => Message::ScopeUpdated(v1::ScopeUpdated {
            scope_id: scope.0,
            path: path.to_string(),
            labels: encode_labels(labels),
            rules: rules.as_ref().map(encode_rules),
        }),
        Body::ScopeMoved { scope, from, to, forced, overruns } => Message::ScopeMoved(v1::ScopeMoved {
            scope_id: scope.0,
            from: from.to_string(),
            to: to.to_string(),
            forced: *forced,
            overruns: encode_overruns(overruns),
        }),
        Body::ScopeDeleted { scope, path, below } => Message::ScopeDeleted(v1::ScopeDeleted {
            scope_id: scope.0,
            path: path.to_string(),
            below: below.iter().map(|scope| scope.0).collect(),
        }),
        Body::ResourceRegistered { id, resource } => Message::ResourceRegistered(v1::ResourceRegistered {
            resource_id: id.0,
            resource: Some(encode_resource(resource)),
        }),
        Body::TemplatePut { template } => Message::TemplatePut(encode_template(template)),
        Body::TemplateApplied { scope, path, template, version, quotas } => {
            Message::TemplateApplied(v1::TemplateApplied {
                scope_id: scope.0,
                path: path.to_string(),
                template: template.to_string(),
                version: *version,
                quotas: encode_versions(quotas),
            })
        }
        _ => unreachable!("the body is of another family"),
    }
}

pub(super) fn decode(message: Message, decimals: Decimals<'_>) -> Result<Body, Corrupt> {
    Ok(match message {
        Message::ScopeCreated(body) => Body::ScopeCreated {
            scope: ScopeId(body.scope_id),
            path: decode_path(&body.path)?,
            kind: decode_name(&body.kind)?,
            labels: decode_labels(body.labels)?,
            rules: body.rules.as_ref().map(decode_rules).transpose()?,
        },
        Message::ScopeUpdated(body) => Body::ScopeUpdated {
            scope: ScopeId(body.scope_id),
            path: decode_path(&body.path)?,
            labels: decode_labels(body.labels)?,
            rules: body.rules.as_ref().map(decode_rules).transpose()?,
        },
        Message::ScopeMoved(body) => Body::ScopeMoved {
            scope: ScopeId(body.scope_id),
            from: decode_path(&body.from)?,
            to: decode_path(&body.to)?,
            forced: body.forced,
            overruns: decode_overruns(body.overruns)?,
        },
        Message::ScopeDeleted(body) => Body::ScopeDeleted {
            scope: ScopeId(body.scope_id),
            path: decode_path(&body.path)?,
            below: body.below.into_iter().map(ScopeId).collect(),
        },
        Message::ResourceRegistered(body) => Body::ResourceRegistered {
            id: ResourceId(body.resource_id),
            resource: decode_resource(&required(body.resource, WHAT, "resource")?)
                .map_err(Corrupt::from_malformed(WHAT))?,
        },
        Message::TemplatePut(body) => {
            Body::TemplatePut { template: Arc::new(decode_template(body, decimals)?) }
        }
        Message::TemplateApplied(body) => Body::TemplateApplied {
            scope: ScopeId(body.scope_id),
            path: decode_path(&body.path)?,
            template: decode_name(&body.template)?,
            version: body.version,
            quotas: decode_versions(&body.quotas),
        },
        _ => unreachable!("the body is of another family"),
    })
}

/// The message of what holds for a tree.
pub(in crate::codec) fn encode_rules(rules: &TreeRules) -> v1::TreeRules {
    v1::TreeRules {
        schema: rules.schema.to_string(),
        child_policy: encode_child_policy(rules.child_policy).into(),
    }
}

/// What holds for a tree from its message.
pub(in crate::codec) fn decode_rules(message: &v1::TreeRules) -> Result<TreeRules, Corrupt> {
    Ok(TreeRules {
        schema: Schema::parse(&message.schema).map_err(Corrupt::from_malformed(WHAT))?,
        child_policy: required(decode_child_policy(message.child_policy), WHAT, "child_policy")?,
    })
}

/// The message of a template, with its resources by their numbers.
pub(in crate::codec) fn encode_template(template: &Template) -> v1::TemplatePut {
    let quotas = template.quotas.iter().map(|(resource, policy)| v1::TemplatePolicy {
        resource_id: resource.0,
        policy: Some(policy::encode(policy)),
    });
    v1::TemplatePut {
        name: template.name.to_string(),
        version: template.version,
        description: template.description.clone(),
        quotas: quotas.collect(),
    }
}

/// A template from its message.
pub(in crate::codec) fn decode_template(
    message: v1::TemplatePut,
    decimals: Decimals<'_>,
) -> Result<Template, Corrupt> {
    let quotas = message.quotas.into_iter().map(|quota| {
        let resource = ResourceId(quota.resource_id);
        let policy = required(quota.policy, WHAT, "policy")?;
        Ok((resource, policy::decode(&policy, resource, decimals)?))
    });
    Ok(Template {
        name: decode_name(&message.name)?,
        version: message.version,
        description: message.description,
        quotas: quotas.collect::<Result<_, Corrupt>>()?,
    })
}

/// The message of the versions that quotas had.
pub(in crate::codec) fn encode_versions(quotas: &[(ResourceId, u64)]) -> Vec<v1::QuotaVersion> {
    let version = |(resource, version): &(ResourceId, u64)| v1::QuotaVersion {
        resource_id: resource.0,
        version: *version,
    };
    quotas.iter().map(version).collect()
}

/// The versions that quotas had, from their messages.
pub(in crate::codec) fn decode_versions(messages: &[v1::QuotaVersion]) -> Vec<(ResourceId, u64)> {
    messages.iter().map(|quota| (ResourceId(quota.resource_id), quota.version)).collect()
}

fn decode_path(text: &str) -> Result<Path, Corrupt> {
    path("path", text).map_err(Corrupt::from_malformed(WHAT))
}

fn decode_name(text: &str) -> Result<Name, Corrupt> {
    name("name", text).map_err(Corrupt::from_malformed(WHAT))
}

fn decode_labels(message: Labelled) -> Result<Labels, Corrupt> {
    labels("labels", message).map_err(Corrupt::from_malformed(WHAT))
}
