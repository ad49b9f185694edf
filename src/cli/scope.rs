//! The verbs of scopes: the tree.
//!
//! Knows nothing of quotas.

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use super::Context;
use super::Failure;
use super::arguments;
use super::event_text::child_policy_text;
use super::output::table;
use super::output::text_or_dash;
use super::pages::Extent;
use super::pages::Page;
use super::preview::Preview;
use super::preview::Told;
use super::preview::was_unchanged;
use super::read::ReadArgs;
use super::reserve::warnings;
use crate::client::v1;

#[derive(Debug, Subcommand)]
pub enum ScopeCommand {
    /// Make a scope below an existing one, or the root of a new tree
    Create(CreateScopeArgs),
    /// Change the labels of a scope, or at a root what holds for its tree
    Update(UpdateScopeArgs),
    /// Move a scope with everything below it, within its tree
    Move(MoveScopeArgs),
    /// Remove a scope on which nothing is taken
    Delete(DeleteScopeArgs),
    /// Show one scope
    Get {
        /// Such as acme/ml/alice
        path: String,
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Show the scopes at and below a path, or all of them
    List(ListScopesArgs),
}

/// What holds for a whole tree.
#[derive(Debug, Args)]
pub(super) struct TreeArgs {
    /// Only at a root: the kinds of its levels from the root down, such as organization/team/user;
    /// 'free': any kind at any depth
    #[arg(long, value_name = "KIND/KIND/…", default_value = "", hide_default_value = true)]
    schema: String,
    /// Only at a root: how the limit of a child relates to that of the nearest limited scope above
    #[arg(long, value_enum)]
    child_policy: Option<ChildPolicy>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChildPolicy {
    /// No child's limit is over its parent's; the default of a new tree
    EachWithinParent,
    /// All children together are not over their parent
    SumWithinParent,
    /// Limits are not compared
    Unchecked,
}

#[derive(Debug, Args)]
pub struct CreateScopeArgs {
    /// Such as acme/ml/alice
    path: String,
    /// What this level is called, such as organization, team or user [default: what the schema of
    /// the tree says, or scope]
    #[arg(long, default_value = "", hide_default_value = true)]
    kind: String,
    /// To find it by; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    tree: TreeArgs,
    #[command(flatten)]
    preview: Preview,
}

#[derive(Debug, Args)]
pub struct UpdateScopeArgs {
    /// Such as acme/ml
    path: String,
    /// All its labels from now on; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    /// Take all its labels away
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
    #[command(flatten)]
    tree: TreeArgs,
    #[command(flatten)]
    preview: Preview,
}

#[derive(Debug, Args)]
pub struct MoveScopeArgs {
    /// Where it is now, such as acme/ml/alice
    from: String,
    /// Where it shall be, in the same tree, such as acme/web/alice
    to: String,
    /// Move although there is no room above; it is recorded
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    preview: Preview,
}

#[derive(Debug, Args)]
pub struct DeleteScopeArgs {
    /// Such as acme/ml
    path: String,
    /// Also the scopes below
    #[arg(long)]
    recursive: bool,
    #[command(flatten)]
    preview: Preview,
}

#[derive(Debug, Args)]
pub struct ListScopesArgs {
    /// Where to begin [default: all trees]
    #[arg(default_value = "", hide_default_value = true)]
    path: String,
    /// Only those with this label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
}

impl From<ChildPolicy> for v1::ChildPolicy {
    fn from(given: ChildPolicy) -> Self {
        match given {
            ChildPolicy::EachWithinParent => Self::EachWithinParent,
            ChildPolicy::SumWithinParent => Self::SumWithinParent,
            ChildPolicy::Unchecked => Self::Unchecked,
        }
    }
}

impl TreeArgs {
    /// UNSPECIFIED when nothing was said.
    fn child_policy(&self) -> v1::ChildPolicy {
        self.child_policy.map(v1::ChildPolicy::from).unwrap_or_default()
    }
}

impl ScopeCommand {
    pub(super) fn has_request_id(&self) -> bool {
        match self {
            Self::Get { .. } | Self::List(_) => false,
            Self::Create(CreateScopeArgs { preview, .. })
            | Self::Update(UpdateScopeArgs { preview, .. })
            | Self::Move(MoveScopeArgs { preview, .. })
            | Self::Delete(DeleteScopeArgs { preview, .. }) => !preview.is_wanted(),
        }
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.run(context).await,
            Self::Update(arguments) => arguments.run(context).await,
            Self::Move(arguments) => arguments.run(context).await,
            Self::Delete(arguments) => arguments.run(context).await,
            Self::Get { path, read } => {
                let response = read.client(context).get_scope(&path).await?;
                context.output.show(&response, |response| {
                    read.told(&scopes(response.scope.as_slice()), response.revision)
                })?;
                Ok(())
            }
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl CreateScopeArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { path, kind, labels, tree, preview } = self;
        let done = format!("created: scope {path}");
        let message = v1::CreateScopeRequest {
            path,
            kind,
            labels: arguments::labels(labels).map_err(Failure::Usage)?,
            child_policy: tree.child_policy().into(),
            schema: tree.schema,
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.create_scope(context.request_id, message).await?;
        show(context, preview, &done, &response).await
    }
}

impl UpdateScopeArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { path, labels, no_labels, tree, preview } = self;
        if labels.is_empty() && !no_labels && tree.schema.is_empty() && tree.child_policy.is_none() {
            let problem = "nothing is to be changed: give --label, --no-labels, --schema or --child-policy";
            return Err(Failure::Usage(problem.to_owned()));
        }
        let done = format!("updated: scope {path}");
        let labels = match labels.is_empty() && !no_labels {
            true => None,
            false => Some(v1::Labels { labels: arguments::labels(labels).map_err(Failure::Usage)? }),
        };
        let message = v1::UpdateScopeRequest {
            path,
            labels,
            child_policy: tree.child_policy().into(),
            schema: tree.schema,
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.update_scope(context.request_id, message).await?;
        show(context, preview, &done, &response).await
    }
}

impl MoveScopeArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { from, to, force, preview } = self;
        let done = format!("moved: scope {from} to {to}");
        let message = v1::MoveScopeRequest {
            path: from,
            to,
            force,
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.move_scope(context.request_id, message).await?;
        show(context, preview, &done, &response).await
    }
}

impl DeleteScopeArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { path, recursive, preview } = self;
        let done = format!("deleted: scope {path}");
        let message = v1::DeleteScopeRequest {
            path,
            recursive,
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.delete_scope(context.request_id, message).await?;
        show(context, preview, &done, &response).await
    }
}

async fn show(
    context: &mut Context<'_>,
    preview: Preview,
    done: &str,
    response: &v1::ScopeChangeResponse,
) -> Result<(), Failure> {
    let unchanged = was_unchanged(context, preview, response.revision).await;
    context.output.show(response, |response| {
        let told = Told { unchanged, ..response.into() };
        let over = warnings(&response.warnings, response.warnings_omitted);
        format!("{}{over}", preview.sentence(done, &told).trim_end())
    })?;
    Ok(())
}

impl ListScopesArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { path, labels, extent, read } = self;
        let labels = arguments::labels(labels).map_err(Failure::Usage)?;
        let filter = &v1::ListScopesRequest { path, labels, ..Default::default() };
        let client = &read.client(context);
        let page = |page_size, page_token: String| async move {
            let message = v1::ListScopesRequest { page_size, page_token, ..filter.clone() };
            let response = client.list_scopes(message).await?;
            let v1::ListScopesResponse { scopes, next_page_token, revision } = response;
            Ok(Page { items: scopes, next_token: next_page_token, revision })
        };
        let listing = extent.collect(page).await?;
        let cut = extent.cut(&listing);
        let response = v1::ListScopesResponse {
            scopes: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context.output.show(&response, |response| read.told(&scopes(&response.scopes), response.revision))?;
        context.output.note_cut(cut);
        Ok(())
    }
}

fn scopes(scopes: &[v1::Scope]) -> String {
    let headers = ["scope", "kind", "#children", "template", "labels", "tree"];
    table(&headers, scopes.iter().map(scope_row))
}

fn scope_row(scope: &v1::Scope) -> Vec<String> {
    let template = scope.template.as_ref().map(|applied| format!("{} {}", applied.name, applied.version));
    let labels: Vec<String> = scope.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let tree = [Some(scope.schema.as_str()), child_policy_text(scope.child_policy())];
    let tree: Vec<&str> = tree.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    vec![
        scope.path.clone(),
        scope.kind.clone(),
        scope.children.to_string(),
        text_or_dash(&template.unwrap_or_default()),
        text_or_dash(&labels.join(" ")),
        text_or_dash(&tree.join(", ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> v1::Scope {
        v1::Scope {
            path: "acme".into(),
            kind: "organization".into(),
            children: 2,
            labels: [("region".to_owned(), "eu".to_owned()), ("team".to_owned(), "ml".to_owned())].into(),
            schema: "organization/team/user".into(),
            child_policy: v1::ChildPolicy::SumWithinParent.into(),
            template: Some(v1::AppliedTemplate { name: "startup".into(), version: 3 }),
        }
    }

    #[test]
    fn a_scope_shows_its_template_its_labels_and_the_rules_of_its_tree() {
        assert_eq!(
            scope_row(&scope()),
            [
                "acme",
                "organization",
                "2",
                "startup 3",
                "region=eu team=ml",
                "organization/team/user, sum-within-parent"
            ]
        );
        let plain = v1::Scope { path: "acme/ml".into(), kind: "team".into(), ..Default::default() };
        assert_eq!(scope_row(&plain), ["acme/ml", "team", "0", "-", "-", "-"]);
    }
}
