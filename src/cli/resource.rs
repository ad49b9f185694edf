//! The verbs of resources: the catalogue.
//!
//! Knows nothing of quotas.

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use super::Context;
use super::Failure;
use super::output::table;
use super::pages::Extent;
use super::pages::Page;
use super::preview::Preview;
use super::preview::Told;
use super::read::ReadArgs;
use crate::client::v1;

#[derive(Debug, Subcommand)]
pub enum ResourceCommand {
    /// Add a resource to the catalogue, for good
    Register(RegisterArgs),
    /// Show the catalogue
    List(ListResourcesArgs),
}

#[derive(Debug, Args)]
pub struct ListResourcesArgs {
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
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
    #[command(flatten)]
    preview: Preview,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Given back on release: GPUs, memory
    Capacity,
    /// Consumed on commit and not given back: money, GPU hours
    Budget,
}

impl ResourceCommand {
    pub(super) fn has_request_id(&self) -> bool {
        matches!(self, Self::Register(arguments) if !arguments.preview.is_wanted())
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Register(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl ListResourcesArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let client = &self.read.client(context);
        let page = |size, token: String| async move {
            let response = client.list_resources(size, &token).await?;
            let v1::ListResourcesResponse { resources, next_page_token, revision } = response;
            Ok(Page { items: resources, next_token: next_page_token, revision })
        };
        let listing = self.extent.collect(page).await?;
        let cut = self.extent.cut(&listing);
        let response = v1::ListResourcesResponse {
            resources: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context
            .output
            .show(&response, |response| self.read.told(&resources(&response.resources), response.revision))?;
        context.output.note_cut(cut);
        Ok(())
    }
}

impl RegisterArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let kind = match self.kind {
            Kind::Capacity => v1::ResourceKind::Capacity,
            Kind::Budget => v1::ResourceKind::Budget,
        };
        let Self { name, unit, decimals, preview, .. } = self;
        let message = v1::RegisterResourceRequest {
            resource: Some(v1::Resource { name: name.clone(), unit, decimals, kind: kind.into() }),
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.register_resource(context.request_id, message).await?;
        context.output.show(&response, |response| {
            let told = Told::from(response);
            preview.sentence(&format!("registered: resource {name}"), &told)
        })?;
        Ok(())
    }
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
