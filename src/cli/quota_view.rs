//! How quotas are shown: one with everything there is to say, many as a table.
//!
//! Knows nothing of how they are changed.

use clap::Args;

use super::Context;
use super::Failure;
use super::output::fields;
use super::output::or_dash;
use super::output::table;
use super::pages::Extent;
use super::pages::Page;
use super::policy;
use super::policy::change_text;
use super::policy::limit_text;
use super::quota::QuotaName;
use super::read::ReadArgs;
use super::times::distance;
use super::times::span_text;
use super::times::utc_and_distance;
use crate::client::tell::lock_text;
use crate::client::tell::rule_text;
use crate::client::v1;
use crate::client::v1::scheduled::Plan;

#[derive(Debug, Args)]
pub struct GetQuotaArgs {
    #[command(flatten)]
    name: QuotaName,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Args)]
pub struct ListQuotasArgs {
    /// Where to begin [default: all trees]
    #[arg(default_value = "", hide_default_value = true)]
    scope: String,
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    read: ReadArgs,
}

impl GetQuotaArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { name: QuotaName { scope, resource }, read } = self;
        let response = read.client(context).get_quota(&scope, &resource).await?;
        let now_ms = context.now_ms();
        context.output.show(&response, |response| match &response.quota {
            Some(quota) => read.told(&details(quota, now_ms), response.revision),
            None => String::new(),
        })?;
        Ok(())
    }
}

impl ListQuotasArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (client, scope) = (&self.read.client(context), self.scope.as_str());
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
        let now_ms = context.now_ms();
        context.output.show(&response, |response| {
            self.read.told(&quotas(&response.quotas, now_ms), response.revision)
        })?;
        context.output.note_cut(cut);
        Ok(())
    }
}

/// Everything there is to say of one quota.
pub(super) fn details(quota: &v1::Quota, now_ms: u64) -> String {
    let none = v1::Policy::default();
    let policy = quota.policy.as_ref().unwrap_or(&none);
    let counters = quota.counters.clone().unwrap_or_default();
    let mut rows = vec![
        ("quota", format!("{} {}", quota.scope, quota.resource)),
        ("limit", limit_row(policy, &counters)),
        ("ceiling", ceiling_row(&counters)),
        ("used", counters.used.clone()),
        ("held", counters.held.clone()),
        ("available", or_dash(counters.available.as_ref())),
        ("over by", or_dash(counters.over_by.as_ref())),
    ];
    let mut said = |name: &'static str, text: Option<String>| rows.extend(text.map(|text| (name, text)));
    let grace = clock_text("grace", quota.grace.as_ref(), now_ms);
    said("soft", policy::soft_text(policy).map(|text| format!("{text}{grace}")));
    let burst = clock_text("burst", quota.burst.as_ref(), now_ms);
    said("burst", policy::burst_text(policy).map(|text| format!("{text}{burst}")));
    said("enforcement", policy::enforcement_text(policy.enforcement()).map(str::to_owned));
    said("would deny", (quota.would_deny > 0).then(|| format!("{} requests so far", quota.would_deny)));
    said("on reduce", policy::on_reduce_text(policy.on_reduce()).map(str::to_owned));
    said("ttl", policy::ttl_text(policy));
    said("transfers", policy.allow_transfer.then(|| "allowed between the scopes below".to_owned()));
    said("lock", quota.lock.as_ref().map(lock_text));
    for item in &quota.schedule {
        said("scheduled", Some(scheduled_text(item, now_ms)));
    }
    for loan in &quota.loans {
        said("loan", Some(loan_text(loan, now_ms)));
    }
    said("version", Some(quota.version.to_string()));
    said("sequence", Some(quota.sequence.to_string()));
    fields(&rows)
}

fn limit_row(policy: &v1::Policy, counters: &v1::Counters) -> String {
    let limit = limit_text(policy.limit.as_ref());
    let ratio = match policy.overcommit.as_str() {
        "" => String::new(),
        ratio => format!(" × {ratio}"),
    };
    match &counters.effective_limit {
        Some(effective) if *effective != limit || !ratio.is_empty() => {
            format!("{limit}{ratio}; effective now {effective}")
        }
        _ => limit,
    }
}

fn ceiling_row(counters: &v1::Counters) -> String {
    match &counters.ceiling {
        Some(ceiling) => format!("{ceiling} ({})", rule_text(counters.ceiling_rule())),
        None => "none here".to_owned(),
    }
}

/// What a clock says, behind what it is about; nothing while it does not run.
fn clock_text(name: &str, clock: Option<&v1::Clock>, now_ms: u64) -> String {
    match clock {
        None => String::new(),
        Some(clock) if clock.ended || clock.ends_at_ms <= now_ms => {
            format!("; {name} ended {}", distance(clock.ends_at_ms.min(now_ms), now_ms))
        }
        Some(clock) => format!("; {name}: {} left", span_text(clock.ends_at_ms - now_ms)),
    }
}

/// One item of a schedule: "number 17, in 2 h: …".
pub(super) fn scheduled_text(item: &v1::Scheduled, now_ms: u64) -> String {
    let start = utc_and_distance(item.start_ms, now_ms);
    let what = match &item.plan {
        Some(Plan::Change(policy)) => {
            format!("{start}: {}", change_text(policy, item.change_mask.as_ref()))
        }
        Some(Plan::LimitOverride(over)) => {
            let limit = limit_text(over.limit.as_ref());
            let end = utc_and_distance(over.end_ms, now_ms);
            match over.active {
                true => format!("active: limit {limit} until {end}"),
                false => format!("{start}: limit {limit} until {end}"),
            }
        }
        None => format!("{start}: something that this program does not know"),
    };
    let why: Vec<&str> =
        [item.reason.as_str(), item.actor.as_str()].into_iter().filter(|t| !t.is_empty()).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    format!("number {}, {what}{why}", item.schedule_id)
}

fn loan_text(loan: &v1::Loan, now_ms: u64) -> String {
    let v1::Loan { transfer_id, from, to, amount, until_ms } = loan;
    format!(
        "{amount} from {from} to {to}, goes back {} (transfer {transfer_id})",
        utc_and_distance(*until_ms, now_ms)
    )
}

fn quotas(quotas: &[v1::Quota], now_ms: u64) -> String {
    let headers = [
        "scope",
        "resource",
        "#limit",
        "#ceiling",
        "#used",
        "#held",
        "#available",
        "#over by",
        "#version",
        "#sequence",
        "notes",
    ];
    table(&headers, quotas.iter().map(|quota| quota_row(quota, now_ms)))
}

fn quota_row(quota: &v1::Quota, now_ms: u64) -> Vec<String> {
    let counters = quota.counters.as_ref();
    vec![
        quota.scope.clone(),
        quota.resource.clone(),
        limit_text(quota.policy.as_ref().and_then(|policy| policy.limit.as_ref())),
        or_dash(counters.and_then(|counters| counters.ceiling.as_ref())),
        or_dash(counters.map(|counters| &counters.used)),
        or_dash(counters.map(|counters| &counters.held)),
        or_dash(counters.and_then(|counters| counters.available.as_ref())),
        or_dash(counters.and_then(|counters| counters.over_by.as_ref())),
        quota.version.to_string(),
        quota.sequence.to_string(),
        or_dash(Some(notes(quota, now_ms)).filter(|notes| !notes.is_empty())),
    ]
}

/// What is out of the ordinary.
fn notes(quota: &v1::Quota, now_ms: u64) -> String {
    let mut notes: Vec<String> = quota.lock.iter().map(lock_text).collect();
    let clocks = [("grace", &quota.grace), ("burst", &quota.burst)];
    for (name, clock) in clocks {
        let text = clock_text(name, clock.as_ref(), now_ms);
        notes.extend(text.strip_prefix("; ").map(str::to_owned));
    }
    let enforcement = quota.policy.as_ref().and_then(|policy| policy::enforcement_text(policy.enforcement()));
    notes.extend(enforcement.map(str::to_owned));
    if quota.would_deny > 0 {
        notes.push(format!("would have denied {}", quota.would_deny));
    }
    if !quota.schedule.is_empty() {
        notes.push(format!("{} scheduled", quota.schedule.len()));
    }
    if !quota.loans.is_empty() {
        notes.push(format!("{} on loan", quota.loans.len()));
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::policy::tests::amount;

    const HOUR: u64 = 3_600_000;

    fn quota(limit: Option<v1::Limit>, available: Option<&str>) -> v1::Quota {
        v1::Quota {
            scope: "acme/ml".into(),
            resource: "gpu".into(),
            policy: Some(v1::Policy { limit, ..Default::default() }),
            version: 2,
            sequence: 9,
            counters: Some(v1::Counters {
                used: "1.5".into(),
                held: "0".into(),
                available: available.map(str::to_owned),
                over_by: available.map(|_| "0".to_owned()),
                effective_limit: available.map(|_| "20".to_owned()),
                ceiling: available.map(|_| "20".to_owned()),
                ceiling_rule: v1::Rule::HardLimit.into(),
            }),
            ..Default::default()
        }
    }

    fn value(text: &str, name: &str) -> String {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line[name.len()..].trim().to_owned()
    }

    #[test]
    fn a_quota_without_a_limit_of_its_own_shows_no_room_of_its_own() {
        let row = quota_row(&quota(Some(inherit_limit()), None), 0);
        assert_eq!(row, ["acme/ml", "gpu", "inherit", "-", "1.5", "0", "-", "-", "2", "9", "-"]);
        assert_eq!(value(&details(&quota(Some(inherit_limit()), None), 0), "ceiling"), "none here");
    }

    fn inherit_limit() -> v1::Limit {
        v1::Limit { limit: Some(v1::limit::Limit::Inherit(v1::Inherit {})) }
    }

    #[test]
    fn a_locked_quota_shows_who_locked_it_and_why() {
        let mut locked = quota(amount("20"), Some("18.5"));
        locked.lock = Some(v1::Lock { reason: "audit".into(), actor: "alice".into() });
        let text = quotas(&[locked], 0);
        let line = text.lines().nth(1).expect("a row");
        assert!(line.contains("18.5") && line.ends_with("locked by alice: audit"), "{text}");
    }

    #[test]
    fn clocks_are_read_as_the_time_that_is_left_or_since_they_ended() {
        let mut over = quota(amount("20"), Some("0"));
        let policy = over.policy.as_mut().expect("a policy");
        (policy.soft, policy.grace_ms) = ("16".into(), 24 * HOUR);
        (policy.burst, policy.max_burst_ms) = ("30".into(), HOUR);
        let now_ms = 100 * HOUR;
        let clock = |ends_at_ms, ended| Some(v1::Clock { since_ms: 0, ends_at_ms, ended });
        over.grace = clock(now_ms + 4 * HOUR + 12 * 60_000, false);
        over.burst = clock(now_ms - 600_000, true);
        let text = details(&over, now_ms);
        assert_eq!(value(&text, "soft"), "16 (grace 1 d); grace: 4 h 12 min left");
        assert_eq!(value(&text, "burst"), "30 (at most 1 h); burst ended 10 min ago");
        assert_eq!(notes(&over, now_ms), "grace: 4 h 12 min left; burst ended 10 min ago");
        // Time that is up is up, even before the event that says so.
        over.grace = clock(now_ms, false);
        assert_eq!(value(&details(&over, now_ms), "soft"), "16 (grace 1 d); grace ended now");
    }

    #[test]
    fn an_overcommitted_or_overridden_limit_shows_what_is_effective() {
        let mut over = quota(amount("20"), Some("28.5"));
        over.policy.as_mut().expect("a policy").overcommit = "1.5".into();
        over.counters.as_mut().expect("counters").effective_limit = Some("30".into());
        let text = details(&over, 0);
        assert_eq!(value(&text, "limit"), "20 × 1.5; effective now 30");
        assert_eq!(value(&text, "ceiling"), "20 (hard limit)");
        assert_eq!(value(&details(&quota(amount("20"), Some("1")), 0), "limit"), "20");
    }

    #[test]
    fn a_change_of_a_part_says_only_that_part() {
        let mut item = v1::Scheduled {
            plan: Some(Plan::Change(v1::Policy { soft: "8".into(), ..Default::default() })),
            change_mask: Some(crate::proto::FieldMask { paths: vec!["soft".into(), "grace_ms".into()] }),
            ..Default::default()
        };
        let text = scheduled_text(&item, 0);
        assert!(text.ends_with(": change soft to 8, grace to none"), "{text}");
        item.change_mask = None;
        let text = scheduled_text(&item, 0);
        assert!(text.contains(": change to ") && text.ends_with("soft 8"), "{text}");
    }

    #[test]
    fn what_is_scheduled_says_its_number_its_time_and_why() {
        let mut planned = quota(amount("20"), Some("1"));
        let over = v1::LimitOverride { limit: amount("40"), end_ms: 3 * HOUR, active: true };
        planned.schedule = vec![v1::Scheduled {
            schedule_id: 17,
            start_ms: HOUR,
            plan: Some(Plan::LimitOverride(over)),
            reason: "conference".into(),
            actor: "alice".into(),
            change_mask: None,
        }];
        planned.loans = vec![v1::Loan {
            transfer_id: 9,
            from: "acme/web".into(),
            to: "acme/ml".into(),
            amount: "5".into(),
            until_ms: 2 * HOUR,
        }];
        let text = details(&planned, HOUR);
        assert_eq!(
            value(&text, "scheduled"),
            "number 17, active: limit 40 until 1970-01-01T03:00:00.000Z (in 2 h) (conference, alice)"
        );
        assert_eq!(
            value(&text, "loan"),
            "5 from acme/web to acme/ml, goes back 1970-01-01T02:00:00.000Z (in 1 h) (transfer 9)"
        );
    }
}
