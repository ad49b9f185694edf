//! What holds of the ledger alone, whatever the model says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate::ledger::Body;
use quorate::ledger::Cause;
use quorate::ledger::Event;
use quorate::ledger::HoldId;
use quorate::ledger::Limit;
use quorate::ledger::ResourceId;
use quorate::ledger::ResourceKind;
use quorate::ledger::Scope;
use quorate::ledger::ScopeId;
use quorate::ledger::State;
use quorate::ledger::event::EventLine;
use quorate::ledger::event::Overrun;
use quorate::ledger::event::Reserved;
use quorate::ledger::event::TransferSide;
use quorate::ledger::quota::ClockKind;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::tree::ChildPolicy;
use rust_decimal::Decimal;

use crate::model::digits;
use crate::model::variant;

type Lines = BTreeMap<(ScopeId, ResourceId), (i128, i128)>;

fn scopes(state: &State) -> impl Iterator<Item = &Scope> {
    state.trees().flat_map(|tree| state.subtree(tree.id))
}

/// The counters of an event are those before it and the changes that it names.
pub fn check_changes(before: &State, event: &Event) -> Result<(), TestCaseError> {
    for touched in &event.touched {
        let scope = before.scope(touched.scope);
        prop_assert_eq!(&before.resource(touched.resource).name, &touched.name);
        if !matches!(event.body, Body::ScopeMoved { .. }) {
            prop_assert_eq!(&scope.path, &touched.path);
        }
        let account = scope.account(touched.resource);
        let (used, held) = account.map_or((0, 0), |account| (account.used.units(), account.held.units()));
        let decimals = before.resource(touched.resource).decimals.into();
        let units = |change: Decimal| digits(change, decimals).expect("a change can be counted");
        prop_assert_eq!(touched.used.units(), used + units(touched.used_change));
        prop_assert_eq!(touched.held.units(), held + units(touched.held_change));
    }
    if let Body::QuotaSet { scope, resource, previous, .. } = &event.body {
        let quota = before.scope(*scope).quota(*resource);
        prop_assert_eq!(quota.map(|quota| &quota.policy), previous.as_ref());
    }
    Ok(())
}

/// What a hold takes at most changes where it goes, not how much of it there is: what its lines win
/// and lose is what is counted at the root, but for budgets, which keep what was used.
pub fn check_split(before: &State, event: &Event) -> Result<(), TestCaseError> {
    let (hold, after) = match &event.body {
        Body::Reserved(Reserved { lines, .. }) => (event.revision, Some(lines.as_slice())),
        Body::Committed { hold, after, .. } => (*hold, after.as_ref().map(|after| after.lines.as_slice())),
        Body::Released { hold, after } | Body::Expired { hold, after } => {
            (*hold, Some(after.as_ref().map_or(&[][..], |after| &after.lines)))
        }
        Body::Resized { hold, after, .. } => (*hold, Some(after.lines.as_slice())),
        _ => return Ok(()),
    };
    let (was, is) = (lines_before(before, hold), after.map(lines_of));
    // Without lines, everything that was held is used.
    let is = is.unwrap_or_else(|| was.iter().map(|(at, (held, used))| (*at, (0, held + used))).collect());
    let mut changes: BTreeMap<ResourceId, (i128, i128)> = BTreeMap::new();
    for at in was.keys().chain(is.keys().filter(|at| !was.contains_key(at))) {
        let of = |lines: &Lines| lines.get(at).copied().unwrap_or_default();
        let ((held, used), (held_now, used_now)) = (of(&was), of(&is));
        let is_budget = before.resource(at.1).kind == ResourceKind::Budget;
        let change = changes.entry(at.1).or_default();
        change.0 += held_now - held;
        change.1 += if is_budget { (used_now - used).max(0) } else { used_now - used };
    }
    changes.retain(|_, change| *change != (0, 0));
    let mut counted: BTreeMap<ResourceId, (i128, i128)> = BTreeMap::new();
    for touched in event.touched.iter().filter(|touched| touched.path.parent().is_none()) {
        let decimals = before.resource(touched.resource).decimals.into();
        let units = |change: Decimal| digits(change, decimals).expect("a change can be counted");
        counted.insert(touched.resource, (units(touched.held_change), units(touched.used_change)));
    }
    counted.retain(|_, change| *change != (0, 0));
    prop_assert_eq!(changes, counted, "lines and counters of {:#?}", event);
    Ok(())
}

fn lines_before(state: &State, hold: HoldId) -> Lines {
    let lines = state.hold(hold).map(|hold| hold.lines.as_ref()).unwrap_or_default();
    lines.iter().map(|line| ((line.scope, line.resource), (line.held.units(), line.used.units()))).collect()
}

fn lines_of(lines: &[EventLine]) -> Lines {
    lines.iter().map(|line| ((line.scope, line.resource), (line.held.units(), line.used.units()))).collect()
}

/// What is counted at a scope is what live holds take at and below it; of a budget, what was
/// committed once may be more.
pub fn check_use(state: &State) -> Result<(), TestCaseError> {
    let mut taken: BTreeMap<(ScopeId, ResourceId), (i128, i128)> = BTreeMap::new();
    for hold in state.holds_from(0) {
        prop_assert!(hold.expires_at.is_none() || hold.lines.iter().any(|line| !line.held.is_zero()));
        for line in &hold.lines {
            prop_assert!(!line.is_empty(), "hold {} has an empty line", hold.id);
            for scope in state.path_up(line.scope) {
                let (used, held) = taken.entry((scope.id, line.resource)).or_default();
                *used += line.used.units();
                *held += line.held.units();
            }
        }
    }
    for scope in scopes(state) {
        for account in scope.accounts() {
            let (used, held) = taken.remove(&(scope.id, account.resource)).unwrap_or_default();
            prop_assert_eq!(account.held.units(), held);
            match state.resource(account.resource).kind {
                ResourceKind::Capacity => prop_assert_eq!(account.used.units(), used),
                ResourceKind::Budget => prop_assert!(account.used.units() >= used),
            }
        }
    }
    prop_assert!(taken.is_empty(), "holds take what no account counts: {:?}", taken);
    Ok(())
}

/// Over the ceiling of a quota that is enforced, more is taken only by force.
pub fn check_nobody_went_further_over(before: &State, event: &Event) -> Result<(), TestCaseError> {
    let overruns: &[Overrun] = match &event.body {
        Body::Reserved(reserved) => &reserved.overruns,
        Body::ScopeMoved { overruns, .. } => overruns,
        _ => &[],
    };
    for touched in &event.touched {
        let is_more = touched.used_change + touched.held_change > Decimal::ZERO;
        let quota = before.scope(touched.scope).quota(touched.resource).filter(|_| is_more);
        let Some(quota) = quota.filter(|quota| quota.policy.terms().enforcement == Enforcement::Enforce)
        else {
            continue;
        };
        let is_forced = overruns
            .iter()
            .any(|overrun| (overrun.scope, overrun.resource) == (touched.scope, touched.resource));
        let Some(ceiling) = quota.ceiling(event.time).filter(|_| !is_forced) else { continue };
        let taken = touched.used.units() + touched.held.units();
        prop_assert!(taken <= ceiling.amount.units(), "{} went over its limit", touched.path);
    }
    Ok(())
}

/// What one side of a transfer gives and the other receives is what their limits change by.
pub fn check_what_went_back(before: &State, event: &Event) -> Result<(), TestCaseError> {
    let Body::TransferReturned { from, to, resource, lent, given, received, .. } = &event.body else {
        return Ok(());
    };
    let change = |side: &Option<TransferSide>| {
        let side = side.as_ref()?;
        let quota = before.scope(side.scope).quota(*resource)?;
        match quota.policy.limit {
            Limit::Amount(was) => Some(side.limit.units() - was.units()),
            Limit::Unlimited | Limit::Inherit => None,
        }
    };
    prop_assert_eq!(change(to).unwrap_or_default(), -given.units());
    prop_assert_eq!(change(from).unwrap_or_default(), received.units());
    prop_assert!(given <= lent && received <= lent);
    prop_assert!(received <= given || to.is_none());
    Ok(())
}

/// Limits nest as the tree says: each within the nearest one above, or their sums.
pub fn check_limits_are_within(state: &State) -> Result<(), TestCaseError> {
    for tree in state.trees() {
        let child_policy = state.rules(tree.id).child_policy;
        if child_policy == ChildPolicy::Unchecked {
            continue;
        }
        for resource in (0..state.resources().len() as u32).map(ResourceId) {
            let mut sums: BTreeMap<ScopeId, i128> = BTreeMap::new();
            for scope in state.subtree(tree.id) {
                let above = state
                    .path_up(scope.id)
                    .skip(1)
                    .find_map(|above| Some((above.id, above.quota(resource)?.policy.effective()?.units())));
                let (Some(quota), Some((above, limit))) = (scope.quota(resource), above) else { continue };
                prop_assert!(quota.policy.limit != Limit::Unlimited, "{} is not limited", scope.path);
                let Some(own) = quota.policy.effective() else { continue };
                let sum = sums.entry(above).or_default();
                *sum += own.units();
                let promised = if child_policy == ChildPolicy::SumWithinParent { *sum } else { own.units() };
                prop_assert!(promised <= limit, "the limit of {} is not within that above", scope.path);
            }
        }
    }
    Ok(())
}

/// What an event is an example of.
pub fn tell(event: &Event, mut tell: impl FnMut(&str)) {
    let body = &event.body;
    tell(&variant(body));
    let overruns: &[Overrun] = match body {
        Body::Reserved(reserved) => &reserved.overruns,
        Body::Committed { overruns, .. } | Body::Resized { overruns, .. } => overruns,
        Body::ScopeMoved { forced, overruns, .. } => {
            if *forced && !overruns.is_empty() {
                tell("moved by force");
            }
            overruns
        }
        _ => &[],
    };
    for overrun in overruns {
        tell(&format!("over {:?}", overrun.reason));
    }
    match body {
        Body::QuotaSet { drain: Some(_), .. }
        | Body::QuotaScheduled { drain: Some(_), .. }
        | Body::ScheduleCancelled { drain: Some(_), .. }
        | Body::OverrideSwitched { drain: Some(_), .. } => tell("drained"),
        Body::TransferReturned { to: Some(to), .. } if to.drain.is_some() => tell("drained"),
        _ => {}
    }
    if matches!(body, Body::TransferReturned { .. }) && event.cause != Cause::Time {
        tell("a loan ended by a client");
    }
    let at_root = event.touched.iter().filter(|touched| touched.path.parent().is_none());
    let growth: Decimal = at_root.map(|touched| touched.used_change + touched.held_change).sum();
    match body {
        Body::Expired { after: Some(_), .. } => tell("expired but for what is used"),
        Body::Released { .. } if event.touched.is_empty() => tell("released but consumed"),
        Body::Committed { after: Some(_), .. } => {
            tell(if growth > Decimal::ZERO { "committed beyond" } else { "a part committed" });
        }
        Body::Resized { .. } => tell(if growth > Decimal::ZERO { "grown" } else { "shrunk" }),
        Body::QuotaSet { scheduled: Some(_), .. } => tell("changed by schedule"),
        Body::OverrideSwitched { active, .. } => {
            tell(if *active { "override begun" } else { "override ended" });
        }
        Body::ClockEnded { clock: ClockKind::Grace, .. } => tell("grace ended"),
        Body::ClockEnded { clock: ClockKind::Burst, .. } => tell("burst ended"),
        Body::QuotaTransferred { until: None, .. } => tell("transferred for good"),
        _ => {}
    }
}
