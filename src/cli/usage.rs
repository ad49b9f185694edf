//! The verbs of usage: what is taken, by whom, since when, and what was not granted.
//!
//! Knows nothing of how it is counted.

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use super::Context;
use super::Failure;
use super::event_text::line;
use super::output::or_dash;
use super::output::table;
use super::output::text_or_dash;
use super::pages::Extent;
use super::pages::Page;
use super::quota::QuotaName;
use super::read::ReadArgs;
use super::times;
use super::times::utc;
use crate::client::v1;
use crate::client::v1::get_history_request::Of;

#[derive(Debug, Subcommand)]
pub enum UsageCommand {
    /// Show what is taken at and below a scope, with the sums of all of it
    Tree(TreeArgs),
    /// Show what was taken of a quota by minute, hour or day
    Series(SeriesArgs),
    /// Show who takes most of a quota, at and below its scope
    Holders(HoldersArgs),
    /// Show how often commands were not carried out, and why
    Denials(DenialsArgs),
    /// Show what a client of one scope may know: what it may take, takes, and can take
    View(ViewArgs),
}

#[derive(Debug, Args)]
pub struct TreeArgs {
    /// Such as acme/ml [default: all trees]
    scope: Option<String>,
    /// Only this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only scopes at most so many levels below
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Args)]
pub struct SeriesArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// How long each period is; minutes are kept for two days, hours for 90 days
    #[arg(long, value_enum, default_value_t = Period::Hour)]
    by: Period,
    /// How far back, such as 24h [default: 60 periods]
    #[arg(long, value_name = "DURATION", value_parser = times::span)]
    last: Option<u64>,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Period {
    Minute,
    Hour,
    Day,
}

#[derive(Debug, Args)]
pub struct HoldersArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Args)]
pub struct DenialsArgs {
    /// At and below this scope [default: everywhere]
    scope: Option<String>,
    /// How far back, in whole hours, such as 24h [default: from the beginning]
    #[arg(long, value_name = "DURATION", value_parser = times::span)]
    last: Option<u64>,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Args)]
pub struct ViewArgs {
    /// Such as acme/ml
    scope: String,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Of a quota: its policy, and everything that was taken or given back there
    Quota(HistoryOfQuota),
    /// Of a hold
    Hold(HistoryOfHold),
    /// Of all holds of a job
    Job(HistoryOfJob),
}

#[derive(Debug, Args)]
pub struct HistoryOfQuota {
    #[command(flatten)]
    quota: QuotaName,
    #[command(flatten)]
    how: HistoryArgs,
}

#[derive(Debug, Args)]
pub struct HistoryOfHold {
    /// Its number
    hold: u64,
    #[command(flatten)]
    how: HistoryArgs,
}

#[derive(Debug, Args)]
pub struct HistoryOfJob {
    /// As it was given to reserve
    job: String,
    #[command(flatten)]
    how: HistoryArgs,
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct HistoryArgs {
    /// Begin with the last event
    #[arg(long)]
    newest_first: bool,
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Subcommand)]
pub enum ProjectionCommand {
    /// Show what the node makes of the events, and how far it is behind
    List,
    /// Have the node make one anew from the events, while it serves
    Rebuild(RebuildArgs),
}

#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// As `quorate projection list` shows it
    name: String,
}

impl UsageCommand {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Tree(arguments) => arguments.run(context).await,
            Self::Series(arguments) => arguments.run(context).await,
            Self::Holders(arguments) => arguments.run(context).await,
            Self::Denials(arguments) => arguments.run(context).await,
            Self::View(arguments) => arguments.run(context).await,
        }
    }
}

impl TreeArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { scope, resource, depth, extent, read } = self;
        let message = &v1::GetUsageRequest {
            scope: scope.unwrap_or_default(),
            resource: resource.unwrap_or_default(),
            depth,
            ..Default::default()
        };
        let client = &read.client(context);
        let sums = std::cell::RefCell::new(Vec::new());
        let listing = extent
            .collect(|page_size, page_token| {
                let sums = &sums;
                async move {
                    let message = v1::GetUsageRequest { page_size, page_token, ..message.clone() };
                    let response = client.get_usage(message).await?;
                    if !response.sums.is_empty() {
                        sums.replace(response.sums);
                    }
                    let (items, next_token) = (response.usages, response.next_page_token);
                    Ok(Page { items, next_token, revision: response.revision })
                }
            })
            .await?;
        let cut = extent.cut(&listing);
        let response = v1::GetUsageResponse {
            usages: listing.items,
            sums: sums.into_inner(),
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context.output.show(&response, usage_text)?;
        context.output.note_cut(cut);
        Ok(())
    }
}

fn usage_text(response: &v1::GetUsageResponse) -> String {
    let rows = response.usages.iter().map(|usage| {
        vec![
            format!("{}{}", "  ".repeat(usage.depth as usize), usage.scope),
            usage.resource.clone(),
            or_dash(usage.effective_limit.as_ref()),
            usage.used.clone(),
            usage.held.clone(),
            or_dash(usage.available.as_ref()),
            or_dash(usage.utilisation.as_deref().map(percent)),
        ]
    });
    let headers = ["scope", "resource", "#limit", "#used", "#held", "#available", "#taken"];
    let mut text = table(&headers, rows);
    for sum in &response.sums {
        text.push_str(&format!("\n{}: used {}, held {}", sum.resource, sum.used, sum.held));
        if let Some(counts) = &sum.counts {
            let v1::UsageCounts { scopes, quotas, over, idle, .. } = counts;
            text.push_str(&format!(
                "; {scopes} scopes, {quotas} quotas, {over} over their limit, {idle} not used"
            ));
            if !counts.fullest_scope.is_empty() {
                let share = percent(&counts.fullest_utilisation);
                text.push_str(&format!("; fullest: {} at {share}", counts.fullest_scope));
            }
        }
    }
    text
}

/// A share as percent: "0.8333" is 83.33 %.
fn percent(share: &str) -> String {
    match share.parse::<rust_decimal::Decimal>().ok().and_then(|share| share.checked_mul(100.into())) {
        Some(percent) => format!("{} %", percent.normalize()),
        None => share.to_owned(),
    }
}

impl SeriesArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let period = match self.by {
            Period::Minute => v1::UsagePeriod::Minute,
            Period::Hour => v1::UsagePeriod::Hour,
            Period::Day => v1::UsagePeriod::Day,
        };
        let now = context.now_ms();
        let message = v1::GetUsageSeriesRequest {
            scope: self.quota.scope,
            resource: self.quota.resource,
            period: period.into(),
            from_ms: self.last.map_or(0, |last| now.saturating_sub(last)),
            ..Default::default()
        };
        let response = self.read.client(context).get_usage_series(message).await?;
        Ok(context.output.show(&response, |response| {
            let rows = response.buckets.iter().map(|bucket| {
                let amounts = [&bucket.last, &bucket.peak, &bucket.average];
                std::iter::once(utc(bucket.start_ms)).chain(amounts.map(String::clone)).collect()
            });
            let text = table(&["from", "#last", "#peak", "#average"], rows);
            format!("{text}\nnow: used {}, held {}", response.used, response.held)
        })?)
    }
}

impl HoldersArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let QuotaName { scope, resource } = self.quota;
        let message = &v1::ListHoldersRequest { scope, resource, ..Default::default() };
        let client = &self.read.client(context);
        let extent = Extent::up_to(self.limit);
        let listing = extent
            .collect(|limit, page_token| async move {
                let message = v1::ListHoldersRequest { limit, page_token, ..message.clone() };
                let v1::ListHoldersResponse { holders, next_page_token, revision } =
                    client.list_holders(message).await?;
                Ok(Page { items: holders, next_token: next_page_token, revision })
            })
            .await?;
        let cut = extent.cut(&listing);
        let response = v1::ListHoldersResponse {
            holders: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context.output.show(&response, |response| {
            let rows = response.holders.iter().map(|holder| {
                let (consumer, actor) = (text_or_dash(&holder.consumer), text_or_dash(&holder.actor));
                vec![consumer, actor, holder.used.clone(), holder.held.clone()]
            });
            table(&["consumer", "actor", "#used", "#held"], rows)
        })?;
        context.output.note_cut(cut);
        Ok(())
    }
}

impl DenialsArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let now = context.now_ms();
        let message = v1::GetDenialsRequest {
            scope: self.scope.unwrap_or_default(),
            from_ms: self.last.map_or(0, |last| now.saturating_sub(last)),
            ..Default::default()
        };
        let response = self.read.client(context).get_denials(message).await?;
        Ok(context.output.show(&response, |response| {
            let rows = response.denials.iter().map(|denial| {
                let rule = match denial.rule() {
                    v1::Rule::Unspecified => "-".to_owned(),
                    rule => crate::client::tell::rule_text(rule).to_owned(),
                };
                vec![
                    denial.count.to_string(),
                    denial.reason.clone(),
                    rule,
                    text_or_dash(&denial.scope),
                    text_or_dash(&denial.resource),
                    utc(denial.last_ms),
                    denial.last_revision.to_string(),
                ]
            });
            table(&["#count", "reason", "rule", "scope", "resource", "last", "#event"], rows)
        })?)
    }
}

impl ViewArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let client = self.read.client(context);
        let message = v1::GetConsumerViewRequest { scope: self.scope, ..Default::default() };
        let response = client.get_consumer_view(message).await?;
        Ok(context.output.show(&response, |response| {
            let rows = response.quotas.iter().map(|quota| {
                vec![
                    quota.resource.clone(),
                    quota.unit.clone(),
                    quota.limit.clone().unwrap_or_else(|| "unlimited".to_owned()),
                    quota.used.clone(),
                    quota.available.clone().unwrap_or_else(|| "unlimited".to_owned()),
                ]
            });
            table(&["resource", "unit", "#limit", "#used", "#available"], rows)
        })?)
    }
}

impl HistoryCommand {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (of, HistoryArgs { newest_first, extent, read }) = match self {
            Self::Quota(HistoryOfQuota { quota: QuotaName { scope, resource }, how }) => {
                (Of::Quota(v1::QuotaName { scope, resource }), how)
            }
            Self::Hold(HistoryOfHold { hold, how }) => (Of::HoldId(hold), how),
            Self::Job(HistoryOfJob { job, how }) => (Of::Job(job), how),
        };
        let message = &v1::GetHistoryRequest { of: Some(of), newest_first, ..Default::default() };
        let client = &read.client(context);
        let listing = extent
            .collect(|page_size, page_token| async move {
                let message = v1::GetHistoryRequest { page_size, page_token, ..message.clone() };
                let response = client.get_history(message).await?;
                let (items, next_token) = (response.events, response.next_page_token);
                Ok(Page { items, next_token, revision: response.revision })
            })
            .await?;
        for event in &listing.items {
            context.output.show(event, line)?;
        }
        context.output.note_cut(extent.cut(&listing));
        Ok(())
    }
}

impl ProjectionCommand {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::List => {
                let response = context.client.list_projections().await?;
                Ok(context.output.show(&response, |response| {
                    let rows = response.projections.iter().map(|projection| {
                        let state = if projection.rebuilding { "being made" } else { "-" };
                        vec![
                            projection.name.clone(),
                            projection.revision.to_string(),
                            projection.lag.to_string(),
                            state.to_owned(),
                            projection.purpose.clone(),
                        ]
                    });
                    table(&["name", "#revision", "#lag", "state", "what it shows"], rows)
                })?)
            }
            Self::Rebuild(RebuildArgs { name }) => {
                context.client.rebuild_projection(&name).await?;
                let done = v1::RebuildProjectionResponse {};
                Ok(context.output.show(&done, |_| {
                    format!("{name} is being made anew: quorate projection list shows how far it is")
                })?)
            }
        }
    }
}
