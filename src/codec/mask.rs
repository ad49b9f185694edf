//! Masks: which fields of a policy are meant.

use crate::proto::FieldMask;

use crate::ledger::Malformed;
use crate::ledger::quota::PolicyField;
use crate::proto::v1;

/// The mask that names these fields.
pub(super) fn encode(fields: &[PolicyField]) -> FieldMask {
    let named = PolicyField::ALL.into_iter().filter(|(field, _)| fields.contains(field));
    FieldMask { paths: named.map(|(_, name)| name.to_owned()).collect() }
}

/// The fields that a mask names, ascending; all when it names none.
pub(super) fn decode(what: &str, mask: Option<&FieldMask>) -> Result<Option<Vec<PolicyField>>, Malformed> {
    let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
        return Ok(None);
    };
    let field = |path: &String| {
        let known = PolicyField::ALL.into_iter().find(|(_, name)| name == path);
        known.map(|(field, _)| field).ok_or_else(|| {
            let names: Vec<_> = PolicyField::ALL.into_iter().map(|(_, name)| name).collect();
            let problem = format!("names {path:?}, which is not one of {}", names.join(", "));
            Malformed::new(what, problem)
        })
    };
    let mut fields = mask.paths.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    fields.sort_unstable();
    fields.dedup();
    Ok(Some(fields))
}

/// A policy with nothing said but these fields.
pub(super) fn only(fields: &[PolicyField], said: v1::Policy) -> v1::Policy {
    let mut policy = v1::Policy::default();
    for field in fields {
        match field {
            PolicyField::Limit => policy.limit.clone_from(&said.limit),
            PolicyField::Soft => policy.soft.clone_from(&said.soft),
            PolicyField::Grace => policy.grace_ms = said.grace_ms,
            PolicyField::Burst => policy.burst.clone_from(&said.burst),
            PolicyField::MaxBurst => policy.max_burst_ms = said.max_burst_ms,
            PolicyField::Overcommit => policy.overcommit.clone_from(&said.overcommit),
            PolicyField::Enforcement => policy.enforcement = said.enforcement,
            PolicyField::OnReduce => policy.on_reduce = said.on_reduce,
            PolicyField::DefaultTtl => policy.default_ttl_ms = said.default_ttl_ms,
            PolicyField::MaxTtl => policy.max_ttl_ms = said.max_ttl_ms,
            PolicyField::AllowTransfer => policy.allow_transfer = said.allow_transfer,
        }
    }
    policy
}
