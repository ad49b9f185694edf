//! The verbs that change the policy on one (scope, resource).
//!
//! Knows nothing of reservations, nor of how a quota is shown.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::arguments;
use super::policy::PolicyArgs;
use super::policy::limit_text;
use super::preview::Preview;
use super::preview::Told;
use super::preview::was_unchanged;
use super::quota_view;
use super::quota_view::GetQuotaArgs;
use super::quota_view::ListQuotasArgs;
use super::times::Moment;
use super::times::utc;
use crate::client::v1;

#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// Make a quota, or change its policy
    Set(Box<SetArgs>),
    /// Add to or take from a limit that is an amount
    Adjust(AdjustArgs),
    /// Remove a quota; what is taken stays counted
    Delete(ChangeArgs),
    /// Admit nothing new at or below the scope until unlocked
    Lock(LockArgs),
    /// End a lock
    Unlock(ChangeArgs),
    /// Replace the limit for a while
    Override(OverrideArgs),
    /// Take back a scheduled change, an override or a transfer that waits; what is active ends at once
    Cancel(CancelArgs),
    /// Pass a part of a limit to another scope below the same one, for good or for a while
    Transfer(TransferArgs),
    /// Show one quota with its counters, clocks and schedule
    Get(GetQuotaArgs),
    /// Show the quotas at and below a scope, or all of them
    List(ListQuotasArgs),
}

#[derive(Debug, Args)]
pub(super) struct QuotaName {
    /// Such as acme/ml
    pub(super) scope: String,
    /// Such as memory_gb
    pub(super) resource: String,
}

#[derive(Debug, Args)]
pub(super) struct Guard {
    /// Only if the quota is at this version; 0: only if there is none yet
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    #[command(flatten)]
    preview: Preview,
}

const SET_EXAMPLES: &str = "\
Examples:
  quorate quota set acme gpu 20
  quorate quota set acme gpu 20 --soft 16 --grace 4h --burst 30 --max-burst 1h
  quorate quota set acme gpu --patch --enforcement warn    # the rest stays as it is
  quorate quota set acme gpu --patch --burst none --max-burst none
  quorate quota set acme gpu 40 --at 2026-12-01T00:00:00Z --preview

Without --patch the policy is replaced: what is not said is not kept. Amounts are decimal, in the
unit of the resource; durations have ms, s, m, h or d.";

#[derive(Debug, Args)]
#[command(after_help = SET_EXAMPLES)]
pub struct SetArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// An amount, 'unlimited', or 'inherit' for no ceiling of its own; may be left out with --patch
    #[arg(value_parser = arguments::limit, required_unless_present = "patch")]
    limit: Option<v1::Limit>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Change only what is said here
    #[arg(long)]
    patch: bool,
    /// When it takes effect: UTC like 2026-11-21T12:00:00Z, or from now like +2h [default: at once]
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
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
pub struct ChangeArgs {
    #[command(flatten)]
    quota: QuotaName,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct LockArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// Shown to everyone who is refused; that of a lock that is there already stays
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct OverrideArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// The limit meanwhile: an amount or 'unlimited'
    #[arg(value_parser = arguments::limit_meanwhile)]
    limit: v1::Limit,
    /// When it begins: UTC like 2026-11-21T12:00:00Z, or from now like +2h [default: at once]
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// When the limit of the policy is back
    #[arg(long, value_name = "TIME")]
    until: Moment,
    /// Why, for those who look later
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct CancelArgs {
    #[command(flatten)]
    quota: QuotaName,
    /// The number that `quota get` shows in the schedule, or of a transfer
    id: u64,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
pub struct TransferArgs {
    /// Such as memory_gb
    resource: String,
    /// Whose limit is lowered
    from: String,
    /// Whose limit is raised
    to: String,
    /// How much
    #[arg(value_parser = arguments::amount)]
    amount: String,
    /// When it goes back: UTC like 2026-11-21T12:00:00Z, or from now like +2h [default: never]
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Only if the quota of FROM is at this version
    #[arg(long, value_name = "N")]
    if_from_version: Option<u64>,
    /// Only if the quota of TO is at this version
    #[arg(long, value_name = "N")]
    if_to_version: Option<u64>,
    #[command(flatten)]
    preview: Preview,
}

impl QuotaCommand {
    pub(super) fn has_request_id(&self) -> bool {
        match self {
            Self::Get(_) | Self::List(_) => false,
            Self::Transfer(transfer) => !transfer.preview.is_wanted(),
            Self::Set(set) => !set.guard.preview.is_wanted(),
            Self::Adjust(AdjustArgs { guard, .. })
            | Self::Delete(ChangeArgs { guard, .. })
            | Self::Lock(LockArgs { guard, .. })
            | Self::Unlock(ChangeArgs { guard, .. })
            | Self::Override(OverrideArgs { guard, .. })
            | Self::Cancel(CancelArgs { guard, .. }) => !guard.preview.is_wanted(),
        }
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Set(arguments) => arguments.run(context).await,
            Self::Adjust(arguments) => arguments.run(context).await,
            Self::Delete(arguments) => arguments.delete(context).await,
            Self::Lock(arguments) => arguments.run(context).await,
            Self::Unlock(arguments) => arguments.unlock(context).await,
            Self::Override(arguments) => arguments.run(context).await,
            Self::Cancel(arguments) => arguments.run(context).await,
            Self::Transfer(arguments) => arguments.run(context).await,
            Self::Get(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl SetArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { quota: QuotaName { scope, resource }, limit, policy, patch, at, guard } = self;
        let (policy, fields) = policy.policy(limit);
        if patch && fields.is_empty() {
            return Err(Failure::Usage("--patch changes what is said, and nothing is: add an option".into()));
        }
        let effective_at_ms = at.map_or(0, |at| at.ms(context.command_ms()));
        let when = if at.is_some() { format!(" from {}", utc(effective_at_ms)) } else { String::new() };
        let what = if patch { fields.join(", ") } else { limit_text(policy.limit.as_ref()) };
        let done = match patch {
            true => format!("changed: {scope} {resource} in {what}{when}"),
            false => format!("set: {scope} {resource} to {what}{when}"),
        };
        let message = v1::SetQuotaRequest {
            scope,
            resource,
            policy: Some(policy),
            update_mask: patch.then_some(crate::proto::FieldMask { paths: fields }),
            effective_at_ms,
            if_version: guard.if_version,
            validate_only: guard.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.set_quota(context.request_id, message).await?;
        show(context, guard.preview, &done, &response).await
    }
}

impl AdjustArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { quota: QuotaName { scope, resource }, delta, guard } = self;
        let done = format!("adjusted: {scope} {resource} by {delta}");
        let message = v1::AdjustQuotaRequest {
            scope,
            resource,
            delta,
            if_version: guard.if_version,
            validate_only: guard.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.adjust_quota(context.request_id, message).await?;
        show(context, guard.preview, &done, &response).await
    }
}

impl ChangeArgs {
    async fn delete(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { quota: QuotaName { scope, resource }, guard } = self;
        let done = format!("deleted: {scope} {resource}");
        let message = v1::DeleteQuotaRequest {
            scope,
            resource,
            if_version: guard.if_version,
            validate_only: guard.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.delete_quota(context.request_id, message).await?;
        show(context, guard.preview, &done, &response).await
    }

    async fn unlock(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { quota: QuotaName { scope, resource }, guard } = self;
        let done = format!("unlocked: {scope} {resource}");
        let message = v1::UnlockQuotaRequest {
            scope,
            resource,
            if_version: guard.if_version,
            validate_only: guard.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.unlock_quota(context.request_id, message).await?;
        show(context, guard.preview, &done, &response).await
    }
}

impl LockArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { quota: QuotaName { scope, resource }, reason, guard } = self;
        let done = format!("locked: {scope} {resource}");
        let message = v1::LockQuotaRequest {
            scope,
            resource,
            reason,
            if_version: guard.if_version,
            validate_only: guard.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.lock_quota(context.request_id, message).await?;
        show(context, guard.preview, &done, &response).await
    }
}

impl OverrideArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { quota: QuotaName { scope, resource }, limit, from, until, reason, guard } = self;
        let now_ms = context.command_ms();
        let (start_ms, end_ms) = (from.map_or(0, |from| from.ms(now_ms)), until.ms(now_ms));
        let from = if from.is_some() { format!(" from {}", utc(start_ms)) } else { String::new() };
        let limit_text = limit_text(Some(&limit));
        let done = format!("overridden: {scope} {resource} is {limit_text}{from} until {}", utc(end_ms));
        let message = v1::OverrideQuotaRequest {
            scope,
            resource,
            limit: Some(limit),
            start_ms,
            end_ms,
            reason,
            if_version: guard.if_version,
            validate_only: guard.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.override_quota(context.request_id, message).await?;
        show(context, guard.preview, &done, &response).await
    }
}

impl CancelArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { quota: QuotaName { scope, resource }, id, guard } = self;
        let done = format!("cancelled: number {id} of {scope} {resource}");
        let message = v1::CancelScheduleRequest {
            scope,
            resource,
            schedule_id: id,
            if_version: guard.if_version,
            validate_only: guard.preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.cancel_schedule(context.request_id, message).await?;
        show(context, guard.preview, &done, &response).await
    }
}

impl TransferArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { resource, from, to, amount, until, if_from_version, if_to_version, preview } = self;
        let until_ms = until.map_or(0, |until| until.ms(context.command_ms()));
        let until = if until_ms > 0 { format!(" until {}", utc(until_ms)) } else { String::new() };
        let done = format!("transferred: {amount} {resource} from {from} to {to}{until}");
        let message = v1::TransferQuotaRequest {
            resource,
            from,
            to,
            amount,
            until_ms,
            if_from_version,
            if_to_version,
            validate_only: preview.is_wanted(),
            ..Default::default()
        };
        let response = context.client.transfer_quota(context.request_id, message).await?;
        show(context, preview, &done, &response).await
    }
}

async fn show(
    context: &mut Context<'_>,
    preview: Preview,
    done: &str,
    response: &v1::QuotaChangeResponse,
) -> Result<(), Failure> {
    let now_ms = context.now_ms();
    let unchanged = was_unchanged(context, preview, response.revision).await;
    context.output.show(response, |response| changed(preview, done, response, unchanged, now_ms))?;
    Ok(())
}

fn changed(
    preview: Preview,
    done: &str,
    response: &v1::QuotaChangeResponse,
    unchanged: bool,
    now_ms: u64,
) -> String {
    let v1::QuotaChangeResponse { version, quota, .. } = response;
    let told = Told { unchanged, ..response.into() };
    if !preview.is_wanted() {
        let done = format!("{done}, now version {version},");
        return preview.sentence(&done, &told);
    }
    let after = match quota {
        Some(quota) => format!("and the quota would be:\n{}", quota_view::details(quota, now_ms)),
        None => "and there would be no quota\n".to_owned(),
    };
    format!("{}{after}", preview.sentence(done, &told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_sentence() {
        let response =
            v1::QuotaChangeResponse { version: 3, revision: 8, replayed: true, ..Default::default() };
        assert_eq!(
            changed(Preview::default(), "locked: acme gpu", &response, false, 0),
            "locked: acme gpu, now version 3, at revision 8 (replayed)"
        );
    }
}
