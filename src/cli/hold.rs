//! The verbs of reservations: reserve, commit, release, and what is held.
//!
//! Knows nothing of policy: a denial is put into words elsewhere.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::arguments;
use super::output::replayed;
use super::output::table;
use super::output::text_or_dash;
use super::output::utc;
use super::pages::Extent;
use super::pages::Page;
use super::rejection::hold_state;
use crate::client::v1;

#[derive(Debug, Args)]
pub struct ReserveArgs {
    /// SCOPE:RESOURCE=AMOUNT[@SEQUENCE], such as acme/ml:memory_gb=16; with @SEQUENCE only if the
    /// quota is still at that sequence
    #[arg(required = true, value_name = "LINE", value_parser = arguments::line)]
    lines: Vec<v1::Line>,
}

#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The number that the reservation was given
    hold: u64,
}

#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Show one hold, live or closed not long ago
    Get(HoldArgs),
    /// Show the live holds at and below a scope, or all of them
    List(ListHoldsArgs),
}

#[derive(Debug, Args)]
pub struct ListHoldsArgs {
    /// Where to begin [default: all trees]
    #[arg(default_value = "", hide_default_value = true)]
    scope: String,
    #[command(flatten)]
    extent: Extent,
}

impl ReserveArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let response = context.client.reserve(context.request_id, self.lines).await?;
        context.output.show(&response, granted)?;
        Ok(())
    }
}

impl HoldArgs {
    pub(super) async fn commit(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let response = context.client.commit(context.request_id, self.hold).await?;
        context.output.show(&response, |response| {
            let v1::CommitResponse { revision, replayed: again } = response;
            format!("committed: hold {} at revision {revision}{}", self.hold, replayed(*again))
        })?;
        Ok(())
    }

    pub(super) async fn release(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let response = context.client.release(context.request_id, self.hold).await?;
        context.output.show(&response, |response| {
            let v1::ReleaseResponse { revision, replayed: again } = response;
            format!("released: hold {} at revision {revision}{}", self.hold, replayed(*again))
        })?;
        Ok(())
    }
}

impl HoldCommand {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Get(HoldArgs { hold }) => {
                let response = context.client.get_hold(hold).await?;
                context.output.show(&response, |response| holds(response.hold.as_slice()))?;
                Ok(())
            }
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl ListHoldsArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (client, scope) = (&context.client, self.scope.as_str());
        let page = |size, token: String| async move {
            let response = client.list_holds(scope, size, &token).await?;
            let v1::ListHoldsResponse { holds, next_page_token, revision } = response;
            Ok(Page { items: holds, next_token: next_page_token, revision })
        };
        let listing = self.extent.collect(page).await?;
        let cut = self.extent.cut(&listing);
        let response = v1::ListHoldsResponse {
            holds: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context.output.show(&response, |response| holds(&response.holds))?;
        context.output.note_cut(cut);
        Ok(())
    }
}

fn granted(response: &v1::ReserveResponse) -> String {
    let v1::ReserveResponse { hold_id, revision, replayed: again } = response;
    format!("granted: hold {hold_id} at revision {revision}{}", replayed(*again))
}

fn holds(holds: &[v1::Hold]) -> String {
    table(&["#hold", "state", "created", "actor", "#revision", "lines"], holds.iter().map(hold_row))
}

fn hold_row(hold: &v1::Hold) -> Vec<String> {
    let lines: Vec<String> =
        hold.lines.iter().map(|line| format!("{}:{}={}", line.scope, line.resource, line.amount)).collect();
    vec![
        hold.hold_id.to_string(),
        hold_state(hold.state()).to_owned(),
        utc(hold.created_at_ms),
        text_or_dash(&hold.actor),
        hold.revision.to_string(),
        text_or_dash(&lines.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_one_sentence_that_says_when_it_is_a_repeat() {
        let first = v1::ReserveResponse { hold_id: 17, revision: 17, replayed: false };
        assert_eq!(granted(&first), "granted: hold 17 at revision 17");
        let again = v1::ReserveResponse { replayed: true, ..first };
        assert_eq!(granted(&again), "granted: hold 17 at revision 17 (replayed)");
    }

    #[test]
    fn a_hold_shows_its_lines_as_they_are_written() {
        let line = |scope: &str| v1::Line {
            scope: scope.into(),
            resource: "gpu".into(),
            amount: "2".into(),
            if_sequence: None,
        };
        let hold = v1::Hold {
            hold_id: 17,
            state: v1::HoldState::Held.into(),
            lines: vec![line("acme/ml"), line("acme/web")],
            created_at_ms: 0,
            revision: 17,
            actor: String::new(),
        };
        let row = hold_row(&hold);
        assert_eq!(
            row,
            ["17", "held", "1970-01-01T00:00:00.000Z", "-", "17", "acme/ml:gpu=2 acme/web:gpu=2"]
        );
    }
}
