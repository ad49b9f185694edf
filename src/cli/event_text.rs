//! How each event reads in one line.
//!
//! Knows nothing of what follows from an event.

use super::output::one_line;
use super::output::text_or_dash;
use super::policy::change_text;
use super::policy::limit_text;
use super::policy::policy_text;
use super::times::utc;
use crate::client::tell;
use crate::client::tell::over_text;
use crate::client::v1;
use crate::client::v1::event::Body;
use crate::client::v1::scheduled::Plan;

/// One event in one line: revision, time, actor, what happened.
pub(super) fn line(event: &v1::Event) -> String {
    let (time, actor) = (utc(event.log_time_ms), text_or_dash(&event.actor));
    one_line(&format!("{:>8}  {time}  {actor:<12}  {}", event.revision, happened(event)))
}

/// What happened, without when and by whom.
pub(super) fn happened(event: &v1::Event) -> String {
    match &event.body {
        Some(body) => tree_event(body)
            .or_else(|| quota_event(event, body))
            .or_else(|| hold_event(event, body))
            .unwrap_or_else(|| other_event(event, body)),
        None => "something that this program does not know: it is older than the server".to_owned(),
    }
}

fn tree_event(body: &Body) -> Option<String> {
    Some(match body {
        Body::ScopeCreated(created) => {
            let kind = if created.kind.is_empty() { String::new() } else { format!(" ({})", created.kind) };
            let about = about(&created.labels, created.rules.as_ref());
            format!("created scope {}{kind}{about}", created.path)
        }
        Body::ScopeUpdated(updated) => {
            format!("updated scope {}{}", updated.path, about(&updated.labels, updated.rules.as_ref()))
        }
        Body::ScopeMoved(moved) => {
            let over = overruns(&moved.overruns);
            let how = if moved.forced { " by force" } else { "" };
            format!("moved scope {} to {}{how}{over}", moved.from, moved.to)
        }
        Body::ScopeDeleted(deleted) => match deleted.below.len() {
            0 => format!("deleted scope {}", deleted.path),
            below => format!("deleted scope {} and {below} below it", deleted.path),
        },
        Body::ResourceRegistered(registered) => match &registered.resource {
            Some(resource) => format!("registered resource {} in {}", resource.name, resource.unit),
            None => format!("registered resource number {}", registered.resource_id),
        },
        Body::EventsCompacted(compacted) => {
            format!("removed the events up to {}", compacted.through_revision)
        }
        Body::TemplatePut(put) => {
            format!("put template {} version {} of {} quotas", put.name, put.version, put.quotas.len())
        }
        Body::TemplateApplied(applied) => {
            format!("applied template {} version {} to {}", applied.template, applied.version, applied.path)
        }
        _ => return None,
    })
}

fn quota_event(event: &v1::Event, body: &Body) -> Option<String> {
    let quota = |scope_id, resource_id| quota(event, scope_id, resource_id);
    Some(match body {
        Body::QuotaSet(set) => {
            let policy = set.policy.as_ref().map(policy_text).unwrap_or_default();
            let before = match &set.previous {
                Some(previous) => format!(", before {}", policy_text(previous)),
                None => String::new(),
            };
            let by = if set.schedule_id > 0 {
                format!(", as scheduled by {}", set.schedule_id)
            } else {
                String::new()
            };
            let drain = drain(&set.drain);
            let name = quota(set.scope_id, set.resource_id);
            format!("set {name} to {policy}{before}{by}{drain} (version {})", set.version)
        }
        Body::QuotaDeleted(deleted) => {
            let name = quota(deleted.scope_id, deleted.resource_id);
            let previous = deleted.previous.as_ref().map(policy_text).unwrap_or_default();
            format!("deleted {name}, before {previous} (version {})", deleted.version)
        }
        Body::QuotaLocked(locked) => {
            let name = quota(locked.scope_id, locked.resource_id);
            let reason = locked.lock.as_ref().map_or("", |lock| lock.reason.as_str());
            format!("locked {name}: {reason} (version {})", locked.version)
        }
        Body::QuotaUnlocked(unlocked) => {
            let name = quota(unlocked.scope_id, unlocked.resource_id);
            format!("unlocked {name} (version {})", unlocked.version)
        }
        Body::QuotaScheduled(scheduled) => {
            let name = quota(scheduled.scope_id, scheduled.resource_id);
            let item = scheduled.item.as_ref().map(item).unwrap_or_default();
            let drain = drain(&scheduled.drain);
            format!("scheduled for {name} {item}{drain} (version {})", scheduled.version)
        }
        Body::ScheduleCancelled(cancelled) => {
            let name = quota(cancelled.scope_id, cancelled.resource_id);
            let (number, drain) = (cancelled.schedule_id, drain(&cancelled.drain));
            format!("cancelled what {number} scheduled for {name}{drain} (version {})", cancelled.version)
        }
        Body::ScheduleFailed(failed) => {
            let name = quota(failed.scope_id, failed.resource_id);
            let why = failed.rejection.as_ref().map(|rejection| tell::reasons(rejection).join(" | "));
            let why = why.unwrap_or_default();
            format!(
                "dropped what {} scheduled for {name}: {why} (version {})",
                failed.schedule_id, failed.version
            )
        }
        Body::OverrideSwitched(switched) => {
            let name = quota(switched.scope_id, switched.resource_id);
            let what = if switched.active { "began" } else { "ended" };
            let (limit, drain) = (limit_text(switched.limit.as_ref()), drain(&switched.drain));
            format!(
                "override {} of {name} {what}: limit {limit}{drain} (version {})",
                switched.schedule_id, switched.version
            )
        }
        Body::ClockEnded(ended) => {
            let clock = match ended.clock() {
                v1::ClockKind::Grace => "grace",
                v1::ClockKind::Burst => "burst",
                v1::ClockKind::Unspecified => "time",
            };
            format!("{clock} of {} ended", quota(ended.scope_id, ended.resource_id))
        }
        Body::QuotaTransferred(moved) => {
            let until =
                if moved.until_ms > 0 { format!(" until {}", utc(moved.until_ms)) } else { String::new() };
            let (from, to) =
                (side(event, &moved.from, moved.resource_id), side(event, &moved.to, moved.resource_id));
            format!("transferred {} from {from} to {to}{until}", moved.amount)
        }
        Body::TransferReturned(back) => {
            let (from, to) =
                (side(event, &back.from, back.resource_id), side(event, &back.to, back.resource_id));
            format!(
                "transfer {} of {} went back: {} from {to}, {} to {from}",
                back.transfer_id, back.lent, back.given, back.received
            )
        }
        _ => return None,
    })
}

fn hold_event(event: &v1::Event, body: &Body) -> Option<String> {
    Some(match body {
        Body::Reserved(reserved) => reserved_text(reserved),
        Body::Committed(committed) => {
            format!("committed hold {}{}{}", committed.hold_id, changes(event), overruns(&committed.overruns))
        }
        Body::Released(released) => {
            let part = if released.after.is_some() { "a part of " } else { "" };
            format!("released {part}hold {}{}", released.hold_id, changes(event))
        }
        Body::Expired(expired) => format!("hold {} expired{}", expired.hold_id, changes(event)),
        Body::Renewed(renewed) => {
            format!("renewed hold {} until {}", renewed.hold_id, utc(renewed.expires_at_ms))
        }
        Body::Resized(resized) => {
            format!("resized hold {}{}{}", resized.hold_id, changes(event), overruns(&resized.overruns))
        }
        _ => return None,
    })
}

fn other_event(event: &v1::Event, body: &Body) -> String {
    match body {
        Body::TimeRefused(refused) => format!(
            "did not believe the clock of node {}, which said {}",
            refused.node_id,
            utc(refused.clock_ms)
        ),
        Body::Rejected(rejected) => refused(rejected),
        Body::Unchanged(unchanged) => {
            let version = if unchanged.version > 0 {
                format!(" (version {})", unchanged.version)
            } else {
                String::new()
            };
            format!("{} changed nothing, it was so already{version}", unchanged.command)
        }
        _ => format!("something at revision {}", event.revision),
    }
}

fn reserved_text(reserved: &v1::Reserved) -> String {
    let line = |line: &v1::EventLine| {
        let amount = if reserved.committed { &line.used } else { &line.held };
        format!("{}:{}={amount}", line.scope, line.resource)
    };
    let lines: Vec<String> = reserved.lines.iter().map(line).collect();
    let how = match (reserved.committed, reserved.forced) {
        (false, false) => "reserved",
        (false, true) => "reserved by force",
        (true, false) => "reserved and committed",
        (true, true) => "reserved and committed by force",
    };
    let part = if reserved.granted.is_empty() { "" } else { " (a part of what was asked for)" };
    let until = match reserved.expires_at_ms {
        0 => String::new(),
        ms => format!(" until {}", utc(ms)),
    };
    let who: Vec<String> = [("job", &reserved.job), ("consumer", &reserved.consumer)]
        .into_iter()
        .filter(|(_, name)| !name.is_empty())
        .map(|(what, name)| format!("{what} {name}"))
        .collect();
    let who = if who.is_empty() { String::new() } else { format!(" for {}", who.join(", ")) };
    let overruns = overruns(&reserved.overruns);
    format!("{how} hold {}: {}{part}{who}{until}{overruns}", reserved.hold_id, lines.join(" "))
}

fn refused(rejected: &v1::Rejected) -> String {
    match &rejected.rejection {
        Some(rejection) => format!(
            "{} {}: {}",
            tell::label(rejection),
            rejected.command,
            tell::reasons(rejection).join(" | ")
        ),
        None => format!("rejected {}", rejected.command),
    }
}

/// Labels and rules of a tree, behind the name of a scope.
fn about(labels: &std::collections::BTreeMap<String, String>, rules: Option<&v1::TreeRules>) -> String {
    let mut words: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if let Some(rules) = rules {
        words.push(format!("schema {}", rules.schema));
        words.extend(child_policy_text(rules.child_policy()).map(str::to_owned));
    }
    if words.is_empty() { String::new() } else { format!(", {}", words.join(", ")) }
}

/// How limits nest, in the words of the command line; none where nothing is said of it.
pub(super) fn child_policy_text(policy: v1::ChildPolicy) -> Option<&'static str> {
    match policy {
        v1::ChildPolicy::Unspecified => None,
        v1::ChildPolicy::EachWithinParent => Some("each-within-parent"),
        v1::ChildPolicy::SumWithinParent => Some("sum-within-parent"),
        v1::ChildPolicy::Unchecked => Some("unchecked"),
    }
}

fn item(item: &v1::Scheduled) -> String {
    let why = if item.reason.is_empty() { String::new() } else { format!(" ({})", item.reason) };
    match &item.plan {
        Some(Plan::Change(policy)) => {
            let change = change_text(policy, item.change_mask.as_ref());
            format!("{change} at {}{why}", utc(item.start_ms))
        }
        Some(Plan::LimitOverride(over)) => format!(
            "an override of limit {} from {} until {}{why}",
            limit_text(over.limit.as_ref()),
            utc(item.start_ms),
            utc(over.end_ms)
        ),
        None => "something".to_owned(),
    }
}

fn side(event: &v1::Event, side: &Option<v1::TransferSide>, resource_id: u32) -> String {
    match side {
        Some(side) => format!(
            "{} (limit {}{}, version {})",
            quota(event, side.scope_id, resource_id),
            side.limit,
            drain(&side.drain),
            side.version
        ),
        None => "one that has no such limit any more".to_owned(),
    }
}

/// How much is to be given back, if that was asked for.
fn drain(amount: &str) -> String {
    if amount.is_empty() { String::new() } else { format!(", {amount} to be given back") }
}

/// Limits that were gone over, and why that was no denial.
fn overruns(overruns: &[v1::Overrun]) -> String {
    let reason = |reason| match reason {
        v1::OverrunReason::Warn => "only warns",
        v1::OverrunReason::Shadow => "only counts",
        v1::OverrunReason::Forced => "forced",
        v1::OverrunReason::Soft => "a warning",
        v1::OverrunReason::Unspecified => "allowed",
    };
    let words = |overrun: &v1::Overrun| {
        let over = overrun.blocking.as_ref().map(over_text).unwrap_or_default();
        format!("; {}: {over}", reason(overrun.reason()))
    };
    overruns.iter().map(words).collect()
}

/// A quota of which the event tells the numbers only.
fn quota(event: &v1::Event, scope_id: u32, resource_id: u32) -> String {
    let is_it = |touched: &&v1::Touched| touched.scope_id == scope_id && touched.resource_id == resource_id;
    match event.touched.iter().find(is_it) {
        Some(touched) => format!("{}:{}", touched.scope, touched.resource),
        None => format!("scope number {scope_id}, resource number {resource_id}"),
    }
}

/// What an event did to the counters, at the lowest scopes that it touched: above them it is
/// their sum.
fn changes(event: &v1::Event) -> String {
    let is_above = |above: &v1::Touched, below: &v1::Touched| {
        above.resource_id == below.resource_id
            && below.scope.strip_prefix(&above.scope).is_some_and(|rest| rest.starts_with('/'))
    };
    let is_lowest = |touched: &&v1::Touched| !event.touched.iter().any(|other| is_above(touched, other));
    let mut words = String::new();
    for touched in event.touched.iter().filter(is_lowest) {
        let counters = [("used", &touched.used_change), ("held", &touched.held_change)];
        let counters: Vec<String> = counters
            .into_iter()
            .filter(|(_, change)| !change.is_empty())
            .map(|(counter, change)| format!("{counter} {}", signed(change)))
            .collect();
        let lead = if words.is_empty() { ": " } else { ", " };
        words.push_str(&format!("{lead}{}:{} {}", touched.scope, touched.resource, counters.join(" ")));
    }
    words
}

fn signed(change: &str) -> String {
    if change.starts_with(['-', '+']) { change.to_owned() } else { format!("+{change}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::policy::tests::amount;
    use crate::client::tell::tests::denied;

    fn event(body: Body) -> v1::Event {
        v1::Event {
            revision: 17,
            log_time_ms: 1_000,
            actor: "alice".into(),
            body: Some(body),
            ..Default::default()
        }
    }

    fn touched(scope_id: u32, scope: &str) -> v1::Touched {
        v1::Touched {
            scope_id,
            scope: scope.into(),
            resource_id: 1,
            resource: "gpu".into(),
            used_change: "2".into(),
            held_change: "-2".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_reservation_shows_what_was_reserved() {
        let reserved_line = v1::EventLine {
            scope: "acme/ml".into(),
            resource: "gpu".into(),
            held: "2".into(),
            used: "0".into(),
            ..Default::default()
        };
        let reserved = v1::Reserved { hold_id: 17, lines: vec![reserved_line], ..Default::default() };
        let body = Body::Reserved(reserved);
        assert_eq!(
            line(&event(body)),
            "      17  1970-01-01T00:00:01.000Z  alice         reserved hold 17: acme/ml:gpu=2"
        );
    }

    #[test]
    fn a_commit_shows_the_counters_at_the_lowest_scopes() {
        let mut event = event(Body::Committed(v1::Committed { hold_id: 17, ..Default::default() }));
        event.touched = vec![
            touched(1, "acme"),
            touched(2, "acme/ml"),
            touched(3, "acme/ml/bob"),
            touched(4, "acme/mlops"),
        ];
        let line = line(&event);
        let expected = "committed hold 17: acme/ml/bob:gpu used +2 held -2, acme/mlops:gpu used +2 held -2";
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn a_denial_shows_the_blocking_scope_and_what_is_missing() {
        let body = v1::Rejected { command: "Reserve".into(), rejection: Some(denied()) };
        let line = line(&event(Body::Rejected(body)));
        assert!(
            line.contains("denied Reserve: acme/ml  memory_gb") && line.contains("short by 12"),
            "{line}"
        );
    }

    #[test]
    fn a_quota_is_shown_by_name_with_its_limit_before() {
        let policy = |limit: &str| Some(v1::Policy { limit: amount(limit), ..Default::default() });
        let body = v1::QuotaSet {
            scope_id: 1,
            resource_id: 1,
            policy: policy("20"),
            version: 2,
            previous: policy("10"),
            ..Default::default()
        };
        let mut event = event(Body::QuotaSet(body));
        assert!(line(&event).ends_with("set scope number 1, resource number 1 to 20, before 10 (version 2)"));
        event.touched = vec![touched(1, "acme")];
        assert!(line(&event).ends_with("set acme:gpu to 20, before 10 (version 2)"));
    }

    #[test]
    fn a_line_break_in_a_name_does_not_make_two_events_of_one() {
        let mut event = event(Body::Committed(v1::Committed { hold_id: 1, ..Default::default() }));
        event.actor = "alice\n      18  forged".into();
        assert_eq!(line(&event).lines().count(), 1);
    }

    #[test]
    fn an_event_from_a_newer_server_is_shown_as_such() {
        let unknown = v1::Event { revision: 1, ..Default::default() };
        assert!(line(&unknown).contains("does not know"));
    }

    #[test]
    fn every_kind_of_event_has_words_of_its_own() {
        let item = v1::Scheduled {
            start_ms: 1,
            plan: Some(Plan::Change(v1::Policy { limit: amount("3"), ..Default::default() })),
            ..Default::default()
        };
        let bodies = [
            Body::ScopeCreated(v1::ScopeCreated::default()),
            Body::ScopeUpdated(v1::ScopeUpdated::default()),
            Body::ScopeMoved(v1::ScopeMoved::default()),
            Body::ScopeDeleted(v1::ScopeDeleted { below: vec![1, 2], ..Default::default() }),
            Body::ResourceRegistered(v1::ResourceRegistered::default()),
            Body::QuotaSet(v1::QuotaSet::default()),
            Body::QuotaDeleted(v1::QuotaDeleted::default()),
            Body::QuotaLocked(v1::QuotaLocked::default()),
            Body::QuotaUnlocked(v1::QuotaUnlocked::default()),
            Body::QuotaScheduled(v1::QuotaScheduled { item: Some(item), ..Default::default() }),
            Body::ScheduleCancelled(v1::ScheduleCancelled::default()),
            Body::ScheduleFailed(v1::ScheduleFailed { rejection: Some(denied()), ..Default::default() }),
            Body::OverrideSwitched(v1::OverrideSwitched::default()),
            Body::ClockEnded(v1::ClockEnded { clock: 2, ..Default::default() }),
            Body::QuotaTransferred(v1::QuotaTransferred { until_ms: 9, ..Default::default() }),
            Body::TransferReturned(v1::TransferReturned::default()),
            Body::TemplatePut(v1::TemplatePut::default()),
            Body::TemplateApplied(v1::TemplateApplied::default()),
            Body::Reserved(v1::Reserved { forced: true, expires_at_ms: 1, ..Default::default() }),
            Body::Committed(v1::Committed::default()),
            Body::Released(v1::Released::default()),
            Body::Expired(v1::Expired::default()),
            Body::Renewed(v1::Renewed::default()),
            Body::Resized(v1::Resized::default()),
            Body::TimeRefused(v1::TimeRefused::default()),
            Body::Rejected(v1::Rejected::default()),
            Body::Unchanged(v1::Unchanged::default()),
            Body::EventsCompacted(v1::EventsCompacted::default()),
        ];
        let mut words: Vec<String> = bodies.into_iter().map(|body| happened(&event(body))).collect();
        assert!(words.iter().all(|words| !words.contains("something")), "{words:?}");
        words.sort();
        words.dedup();
        assert_eq!(words.len(), 28, "{words:?}");
    }

    #[test]
    fn a_limit_that_was_gone_over_is_told_with_the_reason() {
        let Some(v1::rejection::Reason::Denied(denied)) = denied().reason else { panic!("a denial") };
        let overrun = v1::Overrun {
            blocking: denied.blocking.into_iter().next(),
            reason: v1::OverrunReason::Forced.into(),
            ..Default::default()
        };
        let reserved = v1::Reserved { hold_id: 9, overruns: vec![overrun], ..Default::default() };
        let line = line(&event(Body::Reserved(reserved)));
        assert!(line.contains("forced: acme/ml  memory_gb") && line.contains("over by 12"), "{line}");
    }
}
