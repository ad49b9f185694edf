//! The verbs of plans: what there should be, as one document.
//!
//! Knows nothing of YAML or JSON.

use clap::Args;

use super::Context;
use super::Failure;
use super::document;
use super::document::DocumentArgs;
use super::failure::DIFFERS;
use super::output::replayed;
use super::preview::changes;
use super::read::ReadArgs;
use crate::client::v1;

const PLAN_HELP: &str = "\
A plan names resources, templates, scopes and their quotas; what it does not name stays as it is:

  scopes:
    - path: acme
      kind: organization
      template: startup
      quotas:
        - resource: memory_gb
          policy:
            limit: 64
            soft: 48
            grace: 4h
            enforcement: warn

The fields are those of the message Plan in proto/quorate/v1/policy.proto. A limit is an amount,
'unlimited' or 'inherit'; amounts are decimal, in the unit of the resource; lengths of time have ms,
s, m, h or d. `quorate export` writes such a document of what is there.

A template is applied once in each of its versions: a quota that was changed by hand since then
stays as it is, and neither apply nor diff says so. `quorate template drift` shows such quotas, and
`quorate template apply SCOPE TEMPLATE` sets them again.";

#[derive(Debug, Args)]
#[command(after_help = PLAN_HELP)]
pub struct ApplyArgs {
    #[command(flatten)]
    document: DocumentArgs,
}

const DIFF_HELP: &str = "\
Nothing is changed. What is shown is what `quorate apply` would do: no difference from a template
whose present version has been applied. `quorate template drift` shows that.

Exit codes: 0 no difference, 5 there is one; 3 and 4 when applying it would be refused.";

#[derive(Debug, Args)]
#[command(after_help = DIFF_HELP)]
pub struct DiffArgs {
    #[command(flatten)]
    document: DocumentArgs,
}

const EXPORT_HELP: &str = "\
A plan names at most 8192 things. What has more is exported in parts:

  quorate export acme --depth 1     # acme and the scopes directly below
  quorate export acme/ml            # one of them, with all that is below it";

#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub struct ExportArgs {
    /// This scope and what is below, with all resources and templates [default: everything]
    #[arg(default_value = "", hide_default_value = true)]
    scope: String,
    /// Only the scopes at most so many levels below: 0 is the scope itself, or the roots
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    #[command(flatten)]
    read: ReadArgs,
}

impl ApplyArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let message = v1::ApplyPlanRequest { plan: Some(self.document.read()?), ..Default::default() };
        let response = context.client.apply_plan(context.request_id, message).await?;
        context.output.show(&response, |response| {
            let v1::ApplyPlanResponse { changed, revision, replayed: again, .. } = response;
            let what = match changed {
                0 => "nothing to change,".to_owned(),
                1 => "1 change".to_owned(),
                many => format!("{many} changes"),
            };
            format!("applied: {what} at revision {revision}{}", replayed(*again))
        })?;
        Ok(())
    }
}

impl DiffArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let message = v1::ApplyPlanRequest {
            plan: Some(self.document.read()?),
            validate_only: true,
            ..Default::default()
        };
        let response = context.client.apply_plan(context.request_id, message).await?;
        context.output.show(&response, difference)?;
        if response.changed > 0 { Err(Failure::Answered(DIFFERS)) } else { Ok(()) }
    }
}

fn difference(response: &v1::ApplyPlanResponse) -> String {
    let v1::ApplyPlanResponse { changed, revision, would_write, would_write_omitted, .. } = response;
    let lines = changes(would_write, *would_write_omitted);
    match changed {
        0 => format!("no difference, at revision {revision}"),
        many => format!("{many} to change, at revision {revision}:\n{lines}"),
    }
}

impl ExportArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let response = self.read.client(context).export_plan(&self.scope, self.depth).await?;
        let plan = without_defaults(response.plan.unwrap_or_default());
        let text = if context.output.is_json() { document::json(&plan)? } else { document::yaml(&plan)? };
        context.output.raw(text.as_bytes())?;
        Ok(())
    }
}

/// A plan that says nothing of what is so without saying: shorter to read, and the same.
fn without_defaults(mut plan: v1::Plan) -> v1::Plan {
    let templates = plan.templates.iter_mut().flat_map(|template| &mut template.quotas);
    let scopes = plan.scopes.iter_mut().flat_map(|scope| &mut scope.quotas);
    for policy in templates.chain(scopes).filter_map(|quota| quota.policy.as_mut()) {
        if policy.enforcement() == v1::Enforcement::Enforce {
            policy.set_enforcement(v1::Enforcement::Unspecified);
        }
        if policy.on_reduce() == v1::OnReduce::Freeze {
            policy.set_on_reduce(v1::OnReduce::Unspecified);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::v1::event::Body;

    #[test]
    fn an_export_leaves_out_what_is_so_without_saying() {
        let policy = |enforcement: v1::Enforcement, on_reduce: v1::OnReduce| v1::Policy {
            enforcement: enforcement.into(),
            on_reduce: on_reduce.into(),
            ..Default::default()
        };
        let plan = |policy| v1::Plan {
            scopes: vec![v1::PlannedScope {
                quotas: vec![v1::ResourcePolicy { resource: "vcpus".into(), policy: Some(policy) }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let said = plan(policy(v1::Enforcement::Enforce, v1::OnReduce::Freeze));
        assert_eq!(without_defaults(said), plan(v1::Policy::default()));
        let other = plan(policy(v1::Enforcement::Off, v1::OnReduce::Drain));
        assert_eq!(without_defaults(other.clone()), other);
    }

    #[test]
    fn a_difference_is_shown_line_by_line() {
        let created = v1::ScopeCreated { path: "acme".into(), kind: "team".into(), ..Default::default() };
        let event = v1::Event { body: Some(Body::ScopeCreated(created)), ..Default::default() };
        let mut response =
            v1::ApplyPlanResponse { changed: 1, revision: 7, would_write: vec![event], ..Default::default() };
        assert_eq!(difference(&response), "1 to change, at revision 7:\n  created scope acme (team)\n");
        response.changed = 0;
        assert_eq!(difference(&response), "no difference, at revision 7");
    }
}
