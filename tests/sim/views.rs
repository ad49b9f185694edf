//! S4 and S7, for what is made of the events besides usage: the history of each quota, the denials, and who
//! holds how much, as each node tells them, follow from the events; and every projection has come to their end.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use quorate::client::Client;
use quorate::client::v1::Event;
use quorate::client::v1::GetDenialsRequest;
use quorate::client::v1::GetHistoryRequest;
use quorate::client::v1::ListHoldersRequest;
use quorate::client::v1::QuotaName;
use quorate::client::v1::event::Body;
use quorate::client::v1::get_history_request::Of;
use quorate::client::v1::rejection::Reason;
use quorate::codec::view;
use quorate::ledger::ResourceKind;
use quorate::ledger::State;
use rust_decimal::Decimal;
use tokio::time::Duration;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::archive::horizon;
use crate::check::Verdict;
use crate::check::fold;
use crate::quotas::ROOT;
use crate::quotas::SCOPES;

/// More holders than there are.
const ALL: u32 = 1_000;

/// Of a page of history: there are more events of most quotas.
const PAGE: u32 = 100;

/// How long projections may take to write what they have folded, and how often they are asked.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(150);

/// By rule, scope and resource: how often, and the last one with its log time.
type Denials = BTreeMap<(i32, String, String), (u64, u64, u64)>;

/// By consumer and actor, of which one is empty: what is used and what is held.
type Holders = BTreeMap<(String, String), (Decimal, Decimal)>;

/// Checks what a node tells of the events.
pub async fn check_views(events: &[Event], node: &Client) -> Verdict {
    check_ends(node).await?;
    for (scope, resource) in quotas(events) {
        check_history(events, (scope, resource), node).await?;
    }
    let shown = shown_denials(node).await?;
    let expected = denials(events);
    if shown != expected {
        return Err(format!("the denials are {shown:?}, they must be {expected:?}"));
    }
    let state = state(events)?;
    for root in state.trees() {
        for resource in state.resources().iter().filter(|it| it.kind != ResourceKind::Budget) {
            let (scope, resource) = (root.path.to_string(), resource.name.to_string());
            let shown = shown_holders(node, &scope, &resource).await?;
            let expected = holders(&state, &scope, &resource)?;
            if shown != expected {
                return Err(format!(
                    "the holders of {resource} in {scope} are {shown:?}, they must be {expected:?}"
                ));
            }
        }
    }
    Ok(())
}

/// No projection is behind the events, or being made.
async fn check_ends(node: &Client) -> Verdict {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = node.list_projections().await.map_err(words)?.projections;
        let Some(late) = all.into_iter().find(|projection| projection.lag > 0 || projection.rebuilding)
        else {
            return Ok(());
        };
        if Instant::now() > deadline {
            return Err(format!("nothing happens any more, and yet there is {late:?}"));
        }
        sleep(PAUSE).await;
    }
}

/// Those that events touch, without those elsewhere, whose scopes move and vanish.
fn quotas(events: &[Event]) -> BTreeSet<(&str, &str)> {
    let touched = events.iter().flat_map(|event| &event.touched);
    let here = touched.filter(|touched| SCOPES.iter().any(|(path, _)| touched.scope == *path));
    here.map(|touched| (touched.scope.as_str(), touched.resource.as_str())).collect()
}

async fn check_history(events: &[Event], (scope, resource): (&str, &str), node: &Client) -> Verdict {
    let quota = QuotaName { scope: scope.to_owned(), resource: resource.to_owned() };
    let mut message = GetHistoryRequest { of: Some(Of::Quota(quota)), page_size: PAGE, ..Default::default() };
    let mut shown = Vec::new();
    let told = loop {
        let page = node.get_history(message.clone()).await.map_err(words)?;
        shown.extend(page.events);
        if page.next_page_token.is_empty() {
            break page.compacted_at;
        }
        message.page_token = page.next_page_token;
    };
    let horizon = horizon(events);
    if told != horizon {
        return Err(format!("a history says that events are gone up to {told}, and it is {horizon}"));
    }
    let is_of_it = |event: &&Event| {
        event.touched.iter().any(|touched| touched.scope == scope && touched.resource == resource)
    };
    let expected = events.iter().filter(|event| event.revision > horizon).filter(is_of_it);
    if shown.iter().eq(expected.clone()) {
        return Ok(());
    }
    let revisions =
        |events: &mut dyn Iterator<Item = &Event>| events.map(|it| it.revision).collect::<Vec<_>>();
    Err(format!(
        "the history of {resource} at {scope} is {:?}, it must be {:?}",
        revisions(&mut shown.iter()),
        revisions(&mut expected.clone())
    ))
}

async fn shown_denials(node: &Client) -> Result<Denials, String> {
    let message = GetDenialsRequest { scope: ROOT.to_owned(), ..Default::default() };
    let denials = node.get_denials(message).await.map_err(words)?.denials;
    if let Some(other) = denials.iter().find(|denial| denial.reason != "denied") {
        return Err(format!("nobody was refused for this here: {other:?}"));
    }
    let of = |it: quorate::client::v1::DenialCount| {
        ((it.rule, it.scope, it.resource), (it.count, it.last_revision, it.last_ms))
    };
    Ok(denials.into_iter().map(of).collect())
}

fn denials(events: &[Event]) -> Denials {
    let mut denials = Denials::new();
    for event in events {
        let Some(Body::Rejected(rejected)) = &event.body else { continue };
        let Some(Reason::Denied(denied)) = rejected.rejection.as_ref().and_then(|it| it.reason.as_ref())
        else {
            continue;
        };
        let here = denied.blocking.iter().filter(|it| SCOPES.iter().any(|(path, _)| it.scope == *path));
        for blocking in here {
            let quota = (blocking.rule, blocking.scope.clone(), blocking.resource.clone());
            let count = denials.entry(quota).or_default();
            *count = (count.0 + 1, event.revision, event.log_time_ms);
        }
    }
    denials
}

async fn shown_holders(node: &Client, scope: &str, resource: &str) -> Result<Holders, String> {
    let (scope, resource) = (scope.to_owned(), resource.to_owned());
    let message = ListHoldersRequest { scope, resource, limit: ALL, ..Default::default() };
    let holders = node.list_holders(message).await.map_err(words)?.holders;
    let of = |it: quorate::client::v1::HolderSum| {
        Ok(((it.consumer, it.actor), (decimal(&it.used)?, decimal(&it.held)?)))
    };
    holders.into_iter().map(of).collect()
}

/// From the live holds, as they are in the end.
fn holders(state: &State, root: &str, resource: &str) -> Result<Holders, String> {
    let mut holders = Holders::new();
    let below = format!("{root}/");
    for hold in state.holds_from(0).map(|hold| view::hold(state, hold)) {
        let holder = match hold.consumer.as_str() {
            "" => (String::new(), hold.actor.clone()),
            consumer => (consumer.to_owned(), String::new()),
        };
        let is_of_it = |scope: &str| scope == root || scope.starts_with(&below);
        for line in hold.lines.iter().filter(|line| line.resource == resource && is_of_it(&line.scope)) {
            let (used, held) = holders.entry(holder.clone()).or_default();
            *used += decimal(&line.used)?;
            *held += decimal(&line.held)?;
        }
    }
    Ok(holders)
}

/// What the events make.
fn state(events: &[Event]) -> Result<State, String> {
    let mut state = State::default();
    events.iter().try_for_each(|event| fold(&mut state, event))?;
    Ok(state)
}

fn decimal(text: &str) -> Result<Decimal, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[test]
fn denials_are_counted_once_for_each_quota_in_the_way() {
    use quorate::client::v1::Blocking;
    use quorate::client::v1::Rejected;
    use quorate::client::v1::Rejection;
    use quorate::client::v1::rejection::Denied;

    let denied = |revision: u64, scopes: &[&str]| {
        let blocking = |scope: &&str| Blocking { scope: (*scope).to_owned(), rule: 1, ..Default::default() };
        let reason = Reason::Denied(Denied { blocking: scopes.iter().map(blocking).collect() });
        let rejection = Some(Rejection { reason: Some(reason), ..Default::default() });
        let body = Some(Body::Rejected(Rejected { rejection, ..Default::default() }));
        Event { revision, log_time_ms: revision * 10, body, ..Default::default() }
    };
    let events = [denied(1, &["acme", "acme/ml"]), denied(2, &["acme"]), denied(3, &["zoo"])];
    let of = |scope: &str| (1, scope.to_owned(), String::new());
    let expected = Denials::from([(of("acme"), (2, 2, 20)), (of("acme/ml"), (1, 1, 10))]);
    assert_eq!(denials(&events), expected);
}
