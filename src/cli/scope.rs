//! The verbs of scopes and resources: the tree and the catalogue.
//!
//! Knows nothing of quotas.

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use super::Context;
use super::Failure;
use super::output::replayed;
use super::output::table;
use super::pages::Extent;
use super::pages::Page;
use crate::client::v1;

#[derive(Debug, Subcommand)]
pub enum ScopeCommand {
    /// Make a scope below an existing one, or the root of a new tree
    Create(CreateScopeArgs),
    /// Show one scope
    Get {
        /// Such as acme/ml/alice
        path: String,
    },
    /// Show the scopes at and below a path, or all of them
    List(ListScopesArgs),
}

#[derive(Debug, Args)]
pub struct CreateScopeArgs {
    /// Such as acme/ml/alice
    path: String,
    /// What this level is called, such as organization, team or user [default: scope]
    #[arg(long, default_value = "", hide_default_value = true)]
    kind: String,
}

#[derive(Debug, Args)]
pub struct ListScopesArgs {
    /// Where to begin [default: all trees]
    #[arg(default_value = "", hide_default_value = true)]
    path: String,
    #[command(flatten)]
    extent: Extent,
}

#[derive(Debug, Subcommand)]
pub enum ResourceCommand {
    /// Add a resource to the catalogue, for good
    Register(RegisterArgs),
    /// Show the catalogue
    List,
}

#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// Such as memory_gb
    name: String,
    /// What one unit is, for people: GB, USD
    #[arg(long)]
    unit: String,
    /// Digits allowed after the decimal point
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=18))]
    decimals: u32,
    /// Whether use comes back
    #[arg(long, value_enum, default_value_t = Kind::Capacity)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Given back on release: GPUs, memory
    Capacity,
    /// Consumed on commit and not given back: money, GPU hours
    Budget,
}

impl ScopeCommand {
    pub(super) fn has_request_id(&self) -> bool {
        matches!(self, Self::Create(_))
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.run(context).await,
            Self::Get { path } => {
                let response = context.client.get_scope(&path).await?;
                context.output.show(&response, |response| scopes(response.scope.as_slice()))?;
                Ok(())
            }
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl CreateScopeArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let response = context.client.create_scope(context.request_id, &self.path, &self.kind).await?;
        context.output.show(&response, |response| {
            let v1::CreateScopeResponse { revision, replayed: again } = response;
            format!("created: scope {} at revision {revision}{}", self.path, replayed(*again))
        })?;
        Ok(())
    }
}

impl ListScopesArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (client, path) = (&context.client, self.path.as_str());
        let page = |size, token: String| async move {
            let response = client.list_scopes(path, size, &token).await?;
            let v1::ListScopesResponse { scopes, next_page_token, revision } = response;
            Ok(Page { items: scopes, next_token: next_page_token, revision })
        };
        let listing = self.extent.collect(page).await?;
        let cut = self.extent.cut(&listing);
        let response = v1::ListScopesResponse {
            scopes: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context.output.show(&response, |response| scopes(&response.scopes))?;
        context.output.note_cut(cut);
        Ok(())
    }
}

impl ResourceCommand {
    pub(super) fn has_request_id(&self) -> bool {
        matches!(self, Self::Register(_))
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Register(arguments) => arguments.run(context).await,
            Self::List => {
                let response = context.client.list_resources().await?;
                context.output.show(&response, |response| resources(&response.resources))?;
                Ok(())
            }
        }
    }
}

impl RegisterArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let kind = match self.kind {
            Kind::Capacity => v1::ResourceKind::Capacity,
            Kind::Budget => v1::ResourceKind::Budget,
        };
        let Self { name, unit, decimals, .. } = self;
        let resource = v1::Resource { name: name.clone(), unit, decimals, kind: kind.into() };
        let response = context.client.register_resource(context.request_id, resource).await?;
        context.output.show(&response, |response| {
            let v1::RegisterResourceResponse { revision, replayed: again } = response;
            format!("registered: resource {name} at revision {revision}{}", replayed(*again))
        })?;
        Ok(())
    }
}

fn scopes(scopes: &[v1::Scope]) -> String {
    let row = |scope: &v1::Scope| vec![scope.path.clone(), scope.kind.clone(), scope.children.to_string()];
    table(&["scope", "kind", "#children"], scopes.iter().map(row))
}

fn resources(resources: &[v1::Resource]) -> String {
    let row = |resource: &v1::Resource| {
        let kind = match resource.kind() {
            v1::ResourceKind::Unspecified => "-",
            v1::ResourceKind::Capacity => "capacity",
            v1::ResourceKind::Budget => "budget",
        };
        vec![resource.name.clone(), resource.unit.clone(), resource.decimals.to_string(), kind.to_owned()]
    };
    table(&["resource", "unit", "#decimals", "kind"], resources.iter().map(row))
}
