//! The verbs of quotas: the policy on one (scope, resource), and its counters.
//!
//! Knows nothing of reservations.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::arguments;
use super::output::or_dash;
use super::output::replayed;
use super::output::table;
use super::pages::Extent;
use super::pages::Page;
use super::rejection::lock_text;
use crate::client::v1;
use crate::client::v1::limit::Limit;

#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// Make a quota or replace its limit
    Set(SetArgs),
    /// Add to or take from a limit that is an amount
    Adjust(AdjustArgs),
    /// Admit nothing new at or below the scope until unlocked
    Lock(LockArgs),
    /// End a lock
    Unlock(UnlockArgs),
    /// Show one quota with its counters
    Get(QuotaName),
    /// Show the quotas at and below a scope, or all of them
    List(ListQuotasArgs),
}

#[derive(Debug, Args)]
pub struct QuotaName {
    /// Such as acme/ml
    scope: String,
    /// Such as memory_gb
    resource: String,
}

#[derive(Debug, Args)]
pub(super) struct Guard {
    /// Only if the quota is at this version; 0: only if there is none yet
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

#[derive(Debug, Args)]
pub struct SetArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// An amount, 'unlimited', or 'inherit' for no ceiling of its own
    #[arg(value_parser = arguments::limit)]
    limit: v1::Limit,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct AdjustArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// Such as 5 or -2.5
    #[arg(value_parser = arguments::delta, allow_hyphen_values = true)]
    delta: String,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct LockArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// Shown to everyone who is refused
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct UnlockArgs {
    #[command(flatten)]
    quota: QuotaName,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct ListQuotasArgs {
    /// Where to begin [default: all trees]
    #[arg(default_value = "", hide_default_value = true)]
    scope: String,
    #[command(flatten)]
    extent: Extent,
}

impl QuotaCommand {
    pub(super) fn has_request_id(&self) -> bool {
        !matches!(self, Self::Get(_) | Self::List(_))
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (client, request_id) = (&context.client, context.request_id);
        let (response, done) = match self {
            Self::Set(SetArgs { quota: QuotaName { scope, resource }, limit, guard }) => {
                let done = format!("set: {scope} {resource} to {}", limit_text(Some(&limit)));
                (client.set_quota(request_id, &scope, &resource, limit, guard.if_version).await?, done)
            }
            Self::Adjust(AdjustArgs { quota: QuotaName { scope, resource }, delta, guard }) => {
                let done = format!("adjusted: {scope} {resource} by {delta}");
                (client.adjust_quota(request_id, &scope, &resource, &delta, guard.if_version).await?, done)
            }
            Self::Lock(LockArgs { quota: QuotaName { scope, resource }, reason, guard }) => {
                let done = format!("locked: {scope} {resource}");
                (client.lock_quota(request_id, &scope, &resource, &reason, guard.if_version).await?, done)
            }
            Self::Unlock(UnlockArgs { quota: QuotaName { scope, resource }, guard }) => {
                let done = format!("unlocked: {scope} {resource}");
                (client.unlock_quota(request_id, &scope, &resource, guard.if_version).await?, done)
            }
            Self::Get(QuotaName { scope, resource }) => {
                let response = client.get_quota(&scope, &resource).await?;
                context.output.show(&response, |response| quotas(response.quota.as_slice()))?;
                return Ok(());
            }
            Self::List(arguments) => return arguments.run(context).await,
        };
        context.output.show(&response, |response| changed(&done, response))?;
        Ok(())
    }
}

impl ListQuotasArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (client, scope) = (&context.client, self.scope.as_str());
        let page = |size, token: String| async move {
            let response = client.list_quotas(scope, size, &token).await?;
            let v1::ListQuotasResponse { quotas, next_page_token, revision } = response;
            Ok(Page { items: quotas, next_token: next_page_token, revision })
        };
        let listing = self.extent.collect(page).await?;
        let cut = self.extent.cut(&listing);
        let response = v1::ListQuotasResponse {
            quotas: listing.items,
            next_page_token: listing.next_token,
            revision: listing.revision,
        };
        context.output.show(&response, |response| quotas(&response.quotas))?;
        context.output.note_cut(cut);
        Ok(())
    }
}

fn changed(done: &str, response: &v1::QuotaChangeResponse) -> String {
    let v1::QuotaChangeResponse { version, revision, replayed: again } = response;
    format!("{done}, now version {version}, at revision {revision}{}", replayed(*again))
}

/// A limit in the words in which it is given.
pub(super) fn limit_text(limit: Option<&v1::Limit>) -> String {
    match limit.and_then(|limit| limit.limit.as_ref()) {
        Some(Limit::Amount(amount)) => amount.clone(),
        Some(Limit::Unlimited(_)) => "unlimited".to_owned(),
        Some(Limit::Inherit(_)) => "inherit".to_owned(),
        None => "-".to_owned(),
    }
}

fn quotas(quotas: &[v1::Quota]) -> String {
    let headers = [
        "scope",
        "resource",
        "#limit",
        "#used",
        "#held",
        "#available",
        "#over by",
        "#version",
        "#sequence",
        "lock",
    ];
    table(&headers, quotas.iter().map(quota_row))
}

fn quota_row(quota: &v1::Quota) -> Vec<String> {
    let counters = quota.counters.as_ref();
    vec![
        quota.scope.clone(),
        quota.resource.clone(),
        limit_text(quota.limit.as_ref()),
        or_dash(counters.map(|counters| &counters.used)),
        or_dash(counters.map(|counters| &counters.held)),
        or_dash(counters.and_then(|counters| counters.available.as_ref())),
        or_dash(counters.and_then(|counters| counters.over_by.as_ref())),
        quota.version.to_string(),
        quota.sequence.to_string(),
        or_dash(quota.lock.as_ref().map(lock_text)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(limit: Limit, available: Option<&str>) -> v1::Quota {
        v1::Quota {
            scope: "acme/ml".into(),
            resource: "gpu".into(),
            limit: Some(v1::Limit { limit: Some(limit) }),
            version: 2,
            sequence: 9,
            lock: None,
            counters: Some(v1::Counters {
                used: "1.5".into(),
                held: "0".into(),
                available: available.map(str::to_owned),
                over_by: available.map(|_| "0".to_owned()),
            }),
        }
    }

    #[test]
    fn a_quota_without_a_limit_of_its_own_shows_no_room_of_its_own() {
        let row = quota_row(&quota(Limit::Inherit(v1::Inherit {}), None));
        assert_eq!(row, ["acme/ml", "gpu", "inherit", "1.5", "0", "-", "-", "2", "9", "-"]);
    }

    #[test]
    fn a_locked_quota_shows_who_locked_it_and_why() {
        let mut locked = quota(Limit::Amount("20".into()), Some("18.5"));
        locked.lock = Some(v1::Lock { reason: "audit".into(), actor: "alice".into() });
        let text = quotas(&[locked]);
        let line = text.lines().nth(1).expect("a row");
        assert!(line.contains("18.5") && line.ends_with("locked by alice: audit"), "{text}");
    }

    #[test]
    fn a_change_is_one_sentence() {
        let response = v1::QuotaChangeResponse { version: 3, revision: 8, replayed: true };
        assert_eq!(
            changed("locked: acme gpu", &response),
            "locked: acme gpu, now version 3, at revision 8 (replayed)"
        );
    }
}
