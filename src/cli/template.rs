//! The verbs of templates: policies on several resources under one name.
//!
//! Knows nothing of how a document is written.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::document::DocumentArgs;
use super::failure::DIFFERS;
use super::output::one_line;
use super::output::table;
use super::pages::Extent;
use super::pages::Page;
use super::policy::policy_text;
use super::preview::Preview;
use super::preview::Told;
use super::preview::was_unchanged;
use super::read::ReadArgs;
use crate::client::v1;

const PUT_HELP: &str = "\
A template is a document like:

  name: small_team
  description: A team that tries things out
  quotas:
    - resource: memory_gb
      policy:
        limit: 64
        burst: 96
        max_burst: 1h

The fields are those of the message PlannedTemplate in proto/quorate/v1/policy.proto. Scopes to which
the template was applied stay as they are; `quorate template drift` shows them.";

#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// Make a template or its next version
    Put(PutArgs),
    /// Show one template
    Get {
        /// Such as startup
        name: String,
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Show all templates
    List(ListTemplatesArgs),
    /// Set the quotas of a scope as a template says; quotas on other resources stay as they are
    Apply(ApplyTemplateArgs),
    /// Show the scopes whose quotas are not what their template says now
    Drift(DriftArgs),
}

#[derive(Debug, Args)]
#[command(after_help = PUT_HELP)]
pub struct PutArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Only if the template is at this version; 0: only if there is none yet
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    #[command(flatten)]
    preview: Preview,
}

#[derive(Debug, Args)]
pub struct ListTemplatesArgs {
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Args)]
pub struct ApplyTemplateArgs {
    /// Such as acme/ml
    scope: String,
    /// Such as startup
    template: String,
    /// Only if the template is at this version
    #[arg(long, value_name = "N")]
    if_template_version: Option<u64>,
    #[command(flatten)]
    preview: Preview,
}

const DRIFT_HELP: &str = "\
Exit codes: 0 no scope differs from its template, 5 some do.";

#[derive(Debug, Args)]
#[command(after_help = DRIFT_HELP)]
pub struct DriftArgs {
    /// Where to begin [default: everything]
    #[arg(default_value = "", hide_default_value = true)]
    scope: String,
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
}

impl TemplateCommand {
    pub(super) fn has_request_id(&self) -> bool {
        match self {
            Self::Put(PutArgs { preview, .. }) | Self::Apply(ApplyTemplateArgs { preview, .. }) => {
                !preview.is_wanted()
            }
            Self::Get { .. } | Self::List(_) | Self::Drift(_) => false,
        }
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Put(arguments) => arguments.run(context).await,
            Self::Get { name, read } => {
                let response = read.client(context).get_template(&name).await?;
                context.output.show(&response, |response| {
                    let text = response.template.as_ref().map(details).unwrap_or_default();
                    read.told(&text, response.revision)
                })?;
                Ok(())
            }
            Self::List(arguments) => arguments.run(context).await,
            Self::Apply(arguments) => arguments.run(context).await,
            Self::Drift(arguments) => arguments.run(context).await,
        }
    }
}

impl PutArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let template: v1::PlannedTemplate = self.document.read()?;
        let name = template.name.clone();
        let message = v1::PutTemplateRequest {
            name: template.name,
            description: template.description,
            quotas: template.quotas,
            if_version: self.if_version.or(template.if_version),
            validate_only: self.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.put_template(context.request_id, message).await?;
        let unchanged = was_unchanged(context, self.preview, response.revision).await;
        context.output.show(&response, |response| {
            let done = format!("put: template {name}, now version {},", response.version);
            let told = Told { unchanged, ..response.into() };
            self.preview.sentence(&done, &told)
        })?;
        Ok(())
    }
}

impl ListTemplatesArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let client = &self.read.client(context);
        let page = |size, token: String| async move {
            let response = client.list_templates(size, &token).await?;
            let v1::ListTemplatesResponse { templates, next_page_token, revision } = response;
            Ok(Page { items: templates, next_token: next_page_token, revision })
        };
        let listing = self.extent.collect(page).await?;
        let cut = self.extent.cut(&listing);
        let response = v1::ListTemplatesResponse {
            templates: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context
            .output
            .show(&response, |response| self.read.told(&templates(&response.templates), response.revision))?;
        context.output.note_cut(cut);
        Ok(())
    }
}

impl ApplyTemplateArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { scope, template, if_template_version, preview } = self;
        let what = format!("template {template}");
        let place = scope.clone();
        let message = v1::ApplyTemplateRequest {
            scope,
            template,
            if_template_version,
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.apply_template(context.request_id, message).await?;
        let unchanged = was_unchanged(context, preview, response.revision).await;
        context.output.show(&response, |response| {
            let (version, changed) = (response.template_version, response.changed);
            let done = format!("applied: {what} version {version} to {place}, {changed} quotas changed,");
            let told = Told { unchanged, ..response.into() };
            preview.sentence(&done, &told)
        })?;
        Ok(())
    }
}

impl DriftArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (client, scope) = (&self.read.client(context), self.scope.as_str());
        let page = |size, token: String| async move {
            let response = client.get_drift(scope, size, &token).await?;
            let v1::GetDriftResponse { drifts, next_page_token, revision } = response;
            Ok(Page { items: drifts, next_token: next_page_token, revision })
        };
        let listing = self.extent.collect(page).await?;
        let cut = self.extent.cut(&listing);
        let response = v1::GetDriftResponse {
            drifts: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context.output.show(&response, |response| match response.drifts.as_slice() {
            [] => format!("every scope is as its template says, at revision {}", response.revision),
            drifts => {
                let text: String = drifts.iter().map(drift_text).collect();
                self.read.told(&text, response.revision)
            }
        })?;
        context.output.note_cut(cut);
        if response.drifts.is_empty() { Ok(()) } else { Err(Failure::Answered(DIFFERS)) }
    }
}

fn templates(templates: &[v1::Template]) -> String {
    let row = |template: &v1::Template| {
        vec![
            template.name.clone(),
            template.version.to_string(),
            template.quotas.len().to_string(),
            template.description.clone(),
        ]
    };
    table(&["template", "#version", "#quotas", "description"], templates.iter().map(row))
}

fn details(template: &v1::Template) -> String {
    let v1::Template { name, version, description, quotas } = template;
    let row = |quota: &v1::ResourcePolicy| vec![quota.resource.clone(), said(quota.policy.as_ref())];
    let head = one_line(&format!("template {name}, version {version}: {description}"));
    format!("{head}\n{}", table(&["resource", "policy"], quotas.iter().map(row)))
}

fn drift_text(drift: &v1::Drift) -> String {
    let v1::Drift { scope, template, applied_version, current_version, quotas } = drift;
    let versions = match applied_version == current_version {
        true => format!("version {current_version}"),
        false => format!("version {applied_version} was applied, {current_version} is there now"),
    };
    let mut text = format!("{scope}: template {template}, {versions}\n");
    for quota in quotas {
        let (says, is) = (said(quota.template.as_ref()), said(quota.actual.as_ref()));
        let who = if quota.changed_since { "changed here" } else { "the template changed" };
        text.push_str(&format!("  {}  template: {says}; here: {is} ({who})\n", quota.resource));
    }
    text
}

fn said(policy: Option<&v1::Policy>) -> String {
    policy.map_or_else(|| "nothing".to_owned(), policy_text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::policy::tests::amount;

    fn policy(limit: &str) -> Option<v1::Policy> {
        Some(v1::Policy { limit: amount(limit), ..Default::default() })
    }

    #[test]
    fn a_template_shows_each_policy() {
        let template = v1::Template {
            name: "startup".into(),
            version: 2,
            description: "A small team".into(),
            quotas: vec![v1::ResourcePolicy { resource: "vcpus".into(), policy: policy("32") }],
        };
        let text = details(&template);
        assert!(text.starts_with("template startup, version 2: A small team\n"), "{text}");
        assert!(text.ends_with(" vcpus     32"), "{text}");
    }

    #[test]
    fn drift_says_what_differs_and_who_changed() {
        let quota = |resource: &str, template, actual, changed_since| v1::QuotaDrift {
            resource: resource.into(),
            template,
            actual,
            changed_since,
        };
        let drift = v1::Drift {
            scope: "acme".into(),
            template: "startup".into(),
            applied_version: 1,
            current_version: 2,
            quotas: vec![
                quota("vcpus", policy("32"), policy("40"), true),
                quota("memory_gb", policy("64"), None, false),
            ],
        };
        assert_eq!(
            drift_text(&drift),
            "acme: template startup, version 1 was applied, 2 is there now\n  \
             vcpus  template: 32; here: 40 (changed here)\n  \
             memory_gb  template: 64; here: nothing (the template changed)\n"
        );
    }
}
