//! The verbs of what is reserved: commit, release, renew, resize, and showing it.
//!
//! Knows nothing of how a reservation is made.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::arguments;
use super::output::table;
use super::output::text_or_dash;
use super::pages::Extent;
use super::pages::Page;
use super::preview::Preview;
use super::preview::Told;
use super::read::ReadArgs;
use super::reserve::warnings;
use super::times::span;
use super::times::utc;
use super::times::utc_and_distance;
use crate::client::tell::hold_state;
use crate::client::v1;

#[derive(Debug, Args)]
pub(super) struct HoldName {
    /// The number that the reservation was given
    hold: u64,
}

#[derive(Debug, Args)]
pub struct CommitArgs {
    #[command(flatten)]
    name: HoldName,
    /// SCOPE:RESOURCE=AMOUNT: how much of which lines [default: all that is held]
    #[arg(value_name = "LINE", value_parser = arguments::hold_line)]
    lines: Vec<v1::HoldAmount>,
    /// Keep held what is not committed, instead of giving it back
    #[arg(long, requires = "lines")]
    keep_rest: bool,
    #[command(flatten)]
    pub(super) preview: Preview,
}

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    name: HoldName,
    /// SCOPE:RESOURCE=AMOUNT: how much of which lines [default: all that is live]
    #[arg(value_name = "LINE", value_parser = arguments::hold_line)]
    lines: Vec<v1::HoldAmount>,
    #[command(flatten)]
    pub(super) preview: Preview,
}

#[derive(Debug, Args)]
pub struct RenewArgs {
    #[command(flatten)]
    name: HoldName,
    /// How long it lives from now on, such as 10m
    #[arg(value_name = "DURATION", value_parser = span)]
    ttl: u64,
    #[command(flatten)]
    pub(super) preview: Preview,
}

#[derive(Debug, Args)]
pub struct ResizeArgs {
    #[command(flatten)]
    name: HoldName,
    /// SCOPE:RESOURCE=AMOUNT: what the line takes afterwards, held and committed together
    #[arg(required = true, value_name = "LINE", value_parser = arguments::hold_line)]
    lines: Vec<v1::HoldAmount>,
    #[command(flatten)]
    pub(super) preview: Preview,
}

#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Show one hold, live or closed not long ago
    Get(GetHoldArgs),
    /// Show live holds, the oldest first
    List(ListHoldsArgs),
}

#[derive(Debug, Args)]
pub struct GetHoldArgs {
    #[command(flatten)]
    name: HoldName,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Args)]
pub struct ListHoldsArgs {
    /// With a line at or below this scope [default: any]
    #[arg(default_value = "", hide_default_value = true)]
    scope: String,
    /// For this job
    #[arg(long, default_value = "", hide_default_value = true)]
    job: String,
    /// For this consumer
    #[arg(long, default_value = "", hide_default_value = true)]
    consumer: String,
    /// With this label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
}

impl CommitArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { name: HoldName { hold }, lines, keep_rest, preview } = self;
        let message = v1::CommitRequest {
            hold_id: hold,
            lines,
            r#final: keep_rest.then_some(false),
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.commit(context.request_id, message).await?;
        context.output.show(&response, |response| {
            let told = Told::from(response);
            let over = warnings(&response.warnings, response.warnings_omitted);
            format!("{}{over}", preview.sentence(&format!("committed: hold {hold}"), &told).trim_end())
        })?;
        Ok(())
    }
}

impl ReleaseArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { name: HoldName { hold }, lines, preview } = self;
        let part = if lines.is_empty() { "" } else { "a part of " };
        let validate_only = preview.is_wanted();
        let message = v1::ReleaseRequest { hold_id: hold, lines, validate_only, ..Default::default() };
        let response = context.client.release(context.request_id, message).await?;
        context.output.show(&response, |response| {
            let told = Told::from(response);
            preview.sentence(&format!("released: {part}hold {hold}"), &told)
        })?;
        Ok(())
    }
}

impl RenewArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { name: HoldName { hold }, ttl, preview } = self;
        let response = if preview.is_wanted() {
            context.client.preview_renew(hold, ttl).await?
        } else {
            context.client.renew(context.request_id, hold, ttl).await?
        };
        let now_ms = context.now_ms();
        context.output.show(&response, |response| {
            let until = utc_and_distance(response.expires_at_ms, now_ms);
            let told = Told::from(response);
            preview.sentence(&format!("renewed: hold {hold} until {until}"), &told)
        })?;
        Ok(())
    }
}

impl ResizeArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { name: HoldName { hold }, lines, preview } = self;
        let response = if preview.is_wanted() {
            context.client.preview_resize(hold, lines).await?
        } else {
            context.client.resize(context.request_id, hold, lines).await?
        };
        context.output.show(&response, |response| {
            let told = Told::from(response);
            let over = warnings(&response.warnings, response.warnings_omitted);
            format!("{}{over}", preview.sentence(&format!("resized: hold {hold}"), &told).trim_end())
        })?;
        Ok(())
    }
}

impl HoldCommand {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Get(GetHoldArgs { name: HoldName { hold }, read }) => {
                let response = read.client(context).get_hold(hold).await?;
                let now_ms = context.now_ms();
                context.output.show(&response, |response| {
                    read.told(&holds(response.hold.as_slice(), now_ms), response.revision)
                })?;
                Ok(())
            }
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl ListHoldsArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { scope, job, consumer, labels, extent, read } = self;
        let labels = arguments::labels(labels).map_err(Failure::Usage)?;
        let filters = &v1::ListHoldsRequest { scope, job, consumer, labels, ..Default::default() };
        let client = &read.client(context);
        let page = |page_size, page_token: String| async move {
            let message = v1::ListHoldsRequest { page_size, page_token, ..filters.clone() };
            let v1::ListHoldsResponse { holds, next_page_token, revision } =
                client.list_holds(message).await?;
            Ok(Page { items: holds, next_token: next_page_token, revision })
        };
        let listing = extent.collect(page).await?;
        let cut = extent.cut(&listing);
        let response = v1::ListHoldsResponse {
            holds: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        let now_ms = context.now_ms();
        context
            .output
            .show(&response, |response| read.told(&holds(&response.holds, now_ms), response.revision))?;
        context.output.note_cut(cut);
        Ok(())
    }
}

fn holds(holds: &[v1::Hold], now_ms: u64) -> String {
    let headers = ["#hold", "state", "created", "expires", "actor", "#revision", "lines", "for"];
    table(&headers, holds.iter().map(|hold| hold_row(hold, now_ms)))
}

fn hold_row(hold: &v1::Hold, now_ms: u64) -> Vec<String> {
    let expires = match hold.expires_at_ms {
        0 => "-".to_owned(),
        ms => utc_and_distance(ms, now_ms),
    };
    let lines: Vec<String> = hold.lines.iter().map(line_text).collect();
    vec![
        hold.hold_id.to_string(),
        hold_state(hold.state()).to_owned(),
        utc(hold.created_at_ms),
        expires,
        text_or_dash(&hold.actor),
        hold.revision.to_string(),
        text_or_dash(&lines.join(" ")),
        text_or_dash(&purpose(hold)),
    ]
}

/// A line as it is written; where a part is committed, how much.
fn line_text(line: &v1::HoldLine) -> String {
    let v1::HoldLine { scope, resource, held, used } = line;
    match (held.as_str(), used.as_str()) {
        (amount, "0" | "") | ("0" | "", amount) => format!("{scope}:{resource}={amount}"),
        (held, used) => format!("{scope}:{resource}={held} (and {used} committed)"),
    }
}

fn purpose(hold: &v1::Hold) -> String {
    let names = [("job", &hold.job), ("consumer", &hold.consumer)];
    let names = names.into_iter().filter(|(_, name)| !name.is_empty());
    let mut words: Vec<String> = names.map(|(what, name)| format!("{what} {name}")).collect();
    words.extend(hold.labels.iter().map(|(key, value)| format!("{key}={value}")));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(scope: &str, held: &str, used: &str) -> v1::HoldLine {
        v1::HoldLine { scope: scope.into(), resource: "gpu".into(), held: held.into(), used: used.into() }
    }

    #[test]
    fn a_hold_shows_its_lines_as_they_are_written() {
        let hold = v1::Hold {
            hold_id: 17,
            state: v1::HoldState::Held.into(),
            lines: vec![line("acme/ml", "2", "0"), line("acme/web", "2", "1.5")],
            revision: 17,
            expires_at_ms: 600_000,
            job: "train-7".into(),
            labels: [("team".to_owned(), "vision".to_owned())].into(),
            ..Default::default()
        };
        assert_eq!(
            hold_row(&hold, 0),
            [
                "17",
                "held",
                "1970-01-01T00:00:00.000Z",
                "1970-01-01T00:10:00.000Z (in 10 min)",
                "-",
                "17",
                "acme/ml:gpu=2 acme/web:gpu=2 (and 1.5 committed)",
                "job train-7, team=vision"
            ]
        );
    }

    #[test]
    fn what_is_only_committed_is_shown_as_one_amount() {
        assert_eq!(line_text(&line("acme", "0", "3")), "acme:gpu=3");
    }
}
