//! The verbs of the event stream: what the ledger decided, in order.
//!
//! Knows how each event reads in one line. Knows nothing of what follows from it.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::output::one_line;
use super::output::text_or_dash;
use super::output::utc;
use super::quota::limit_text;
use super::rejection;
use crate::client::v1;
use crate::client::v1::event::Body;

/// The most that the server gives at once.
const LARGEST_PAGE: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show events, one per line
    List(ListEventsArgs),
}

#[derive(Debug, Args)]
pub struct ListEventsArgs {
    /// The first revision to show
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl EventsCommand {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}

impl ListEventsArgs {
    async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (mut from, mut missing) = (self.from, self.limit);
        // Shown page by page: a long history starts to show at once, and needs no memory.
        while missing > 0 && !context.output.is_closed() {
            let size = missing.min(LARGEST_PAGE) as u32;
            let response = context.client.list_events(from, size).await?;
            for event in response.events.iter().take(size as usize) {
                context.output.show(event, line)?;
                missing -= 1;
            }
            if response.events.is_empty() || response.next_revision > response.revision {
                break;
            }
            from = response.next_revision;
        }
        Ok(())
    }
}

/// One event in one line: revision, time, actor, what happened.
fn line(event: &v1::Event) -> String {
    let happened = match &event.body {
        Some(body) => happened(event, body),
        None => "something that this program does not know: it is older than the server".to_owned(),
    };
    let (time, actor) = (utc(event.log_time_ms), text_or_dash(&event.actor));
    one_line(&format!("{:>8}  {time}  {actor:<12}  {happened}", event.revision))
}

fn happened(event: &v1::Event, body: &Body) -> String {
    match body {
        Body::ScopeCreated(created) if created.kind.is_empty() => format!("created scope {}", created.path),
        Body::ScopeCreated(created) => format!("created scope {} ({})", created.path, created.kind),
        Body::ResourceRegistered(registered) => match &registered.resource {
            Some(resource) => format!("registered resource {} in {}", resource.name, resource.unit),
            None => format!("registered resource number {}", registered.resource_id),
        },
        Body::QuotaSet(set) => {
            let quota = quota(event, set.scope_id, set.resource_id);
            let before = match &set.previous {
                Some(previous) => format!(", before {}", limit_text(Some(previous))),
                None => String::new(),
            };
            format!("set {quota} to {}{before} (version {})", limit_text(set.limit.as_ref()), set.version)
        }
        Body::QuotaLocked(locked) => {
            let quota = quota(event, locked.scope_id, locked.resource_id);
            let reason = locked.lock.as_ref().map_or("", |lock| lock.reason.as_str());
            format!("locked {quota}: {reason} (version {})", locked.version)
        }
        Body::QuotaUnlocked(unlocked) => {
            let quota = quota(event, unlocked.scope_id, unlocked.resource_id);
            format!("unlocked {quota} (version {})", unlocked.version)
        }
        Body::Reserved(reserved) => {
            let line = |line: &v1::ReservedLine| format!("{}:{}={}", line.scope, line.resource, line.amount);
            let lines: Vec<String> = reserved.lines.iter().map(line).collect();
            format!("reserved hold {}: {}", reserved.hold_id, lines.join(" "))
        }
        Body::Committed(committed) => format!("committed hold {}{}", committed.hold_id, changes(event)),
        Body::Released(released) => format!("released hold {}{}", released.hold_id, changes(event)),
        Body::Rejected(rejected) => refused(rejected),
        Body::Unchanged(unchanged) => {
            format!(
                "{} changed nothing, it was so already (version {})",
                unchanged.command, unchanged.version
            )
        }
    }
}

fn refused(rejected: &v1::Rejected) -> String {
    match &rejected.rejection {
        Some(rejection) => format!(
            "{} {}: {}",
            rejection::label(rejection),
            rejected.command,
            rejection::reasons(rejection).join(" | ")
        ),
        None => format!("rejected {}", rejected.command),
    }
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
    use super::super::rejection::tests::denied;
    use super::*;

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
        let reserved_line = v1::ReservedLine {
            scope: "acme/ml".into(),
            resource: "gpu".into(),
            amount: "2".into(),
            ..Default::default()
        };
        let body = Body::Reserved(v1::Reserved { hold_id: 17, lines: vec![reserved_line] });
        assert_eq!(
            line(&event(body)),
            "      17  1970-01-01T00:00:01.000Z  alice         reserved hold 17: acme/ml:gpu=2"
        );
    }

    #[test]
    fn a_commit_shows_the_counters_at_the_lowest_scopes() {
        let mut event = event(Body::Committed(v1::Committed { hold_id: 17 }));
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
        let limit = |amount: &str| Some(v1::Limit { limit: Some(v1::limit::Limit::Amount(amount.into())) });
        let body = v1::QuotaSet {
            scope_id: 1,
            resource_id: 1,
            limit: limit("20"),
            version: 2,
            previous: limit("10"),
        };
        let mut event = event(Body::QuotaSet(body));
        assert!(line(&event).ends_with("set scope number 1, resource number 1 to 20, before 10 (version 2)"));
        event.touched = vec![touched(1, "acme")];
        assert!(line(&event).ends_with("set acme:gpu to 20, before 10 (version 2)"));
    }

    #[test]
    fn a_line_break_in_a_name_does_not_make_two_events_of_one() {
        let mut event = event(Body::Committed(v1::Committed { hold_id: 1 }));
        event.actor = "alice\n      18  forged".into();
        assert_eq!(line(&event).lines().count(), 1);
    }

    #[test]
    fn an_event_from_a_newer_server_is_shown_as_such() {
        let unknown = v1::Event { revision: 1, ..Default::default() };
        assert!(line(&unknown).contains("does not know"));
    }
}
