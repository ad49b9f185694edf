//! Why there is no room, and when there will be.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::Context;
use super::State;
use super::charge::Charge;
use super::quota_name;
use crate::ledger::LogTime;
use crate::ledger::amount::Amount;
use crate::ledger::amount::number_of;
use crate::ledger::hold::HoldId;
use crate::ledger::quota::Limit;
use crate::ledger::quota::Planned;
use crate::ledger::quota::Policy;
use crate::ledger::quota::Quota;
use crate::ledger::quota::Scheduled;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Rule;
use crate::ledger::resource::ResourceId;
use crate::ledger::resource::ResourceKind;
use crate::ledger::scope::ScopeId;
use crate::ledger::state::Due;

/// How many deadlines are looked at to tell when there will be room. A denial must not cost more
/// the more holds there are.
const DEADLINES: usize = 256;

/// How many lines of holds one command looks at for all that it explains.
const LINES: usize = 4096;

/// How much a command may still look at.
pub(super) struct Effort(Cell<usize>);

impl Default for Effort {
    fn default() -> Self {
        Self(Cell::new(LINES))
    }
}

impl Effort {
    /// Takes so much of it, if there is as much.
    fn take(&self, lines: usize) -> bool {
        let left = self.0.get().checked_sub(lines);
        self.0.set(left.unwrap_or_default());
        left.is_some()
    }
}

/// What a charge over a limit is told; `None` when its numbers have too many digits.
pub(super) fn blocking(
    cx: Context<'_>,
    charge: &Charge<'_>,
    rule: Rule,
    limit: Amount,
    hold: Option<HoldId>,
    effort: Option<&Effort>,
) -> Option<Blocking> {
    let (used, held) = charge.counters(cx.state);
    let growth = charge.change.growth();
    let number = |units: i128| number_of(units, limit.scale()).map(|number| number.normalize());
    // Whoever is only warned has what was asked for.
    let fits_at = effort.and_then(|effort| fits_at(cx, charge, rule, hold, effort));
    // If everything that can come back came back: what is committed of a budget never does.
    let room = match cx.state.resource(charge.resource).kind {
        ResourceKind::Capacity => limit.units(),
        ResourceKind::Budget => limit.units() - used.units(),
    };
    let room = room - hold.map_or(0, |hold| kept(cx, charge, hold));
    Some(Blocking {
        quota: quota_name(cx.state, charge.scope, charge.resource),
        rule,
        limit: limit.number(),
        used: used.number(),
        held: held.number(),
        requested: number(growth)?,
        shortfall: number(used.units() + held.units() + growth - limit.units())?,
        waiting_can_help: growth <= room || fits_at.is_some(),
        fits_at,
    })
}

/// What the hold that is to grow takes already and keeps meanwhile.
fn kept(cx: Context<'_>, charge: &Charge<'_>, hold: HoldId) -> i128 {
    let hold = cx.state.hold(hold).expect("a hold that grows is live");
    let kind = cx.state.resource(charge.resource).kind;
    let lines = hold.lines.iter().filter(|line| line.resource == charge.resource);
    lines
        .filter(|line| cx.state.is_within(line.scope, charge.scope.id))
        .map(|line| match kind {
            ResourceKind::Capacity => line.live().units(),
            // What is committed of a budget counts as used already.
            ResourceKind::Budget => line.held.units(),
        })
        .sum()
}

/// What time does to the room at one account.
#[derive(Default)]
struct Moment {
    /// Units that expiring holds give back.
    freed: i128,
    /// Units by which transfers that go back change the limit.
    limit: i128,
}

/// The earliest time at which a charge fits if nothing else happens, as far as it is known.
fn fits_at(
    cx: Context<'_>,
    charge: &Charge<'_>,
    rule: Rule,
    hold: Option<HoldId>,
    effort: &Effort,
) -> Option<LogTime> {
    let quota = charge.quota()?;
    let mut moments: BTreeMap<LogTime, Moment> = BTreeMap::new();
    for (time, freed) in expiries(cx, charge.scope.id, charge.resource, hold, effort) {
        moments.entry(time).or_default().freed += freed;
    }
    for (time, change) in returns(cx.state, charge.scope.id, charge.resource) {
        moments.entry(time.max(cx.now)).or_default().limit += change;
    }
    for item in quota.schedule() {
        moments.entry(item.start.max(cx.now)).or_default();
        if let Planned::Override { end, .. } = item.plan {
            moments.entry(end.max(cx.now)).or_default();
        }
    }
    let (used, held) = charge.counters(cx.state);
    let mut taken = used.units() + held.units() + charge.change.growth();
    let mut moved = 0;
    moments.into_iter().find_map(|(time, moment)| {
        taken -= moment.freed;
        // A change replaces the limit to which was added and from which was taken before.
        let changes =
            |item: &&Scheduled| matches!(item.plan, Planned::Change(_)) && item.start.max(cx.now) == time;
        if quota.schedule().iter().any(|item| changes(&item)) {
            moved = 0;
        }
        moved += moment.limit;
        let fits = limit_then(quota, time, moved, rule).is_none_or(|limit| taken <= limit);
        fits.then_some(time)
    })
}

/// What is given back at and below a scope, by time.
fn expiries(
    cx: Context<'_>,
    scope: ScopeId,
    resource: ResourceId,
    hold: Option<HoldId>,
    effort: &Effort,
) -> impl Iterator<Item = (LogTime, i128)> {
    let next = cx.state.hold_deadlines.iter().take(DEADLINES).filter(move |(_, id)| Some(*id) != hold);
    let live =
        next.map(move |(time, id)| (time, cx.state.hold(*id).expect("a deadline is that of a live hold")));
    live.take_while(|(_, hold)| effort.take(hold.lines.len())).filter_map(move |(time, hold)| {
        let lines = hold.lines.iter().filter(|line| line.resource == resource);
        let freed: i128 =
            lines.filter(|line| cx.state.is_within(line.scope, scope)).map(|line| line.held.units()).sum();
        (freed > 0).then_some(((*time).max(cx.now), freed))
    })
}

/// By how much transfers that go back change the limit of one quota, by time.
fn returns(state: &State, scope: ScopeId, resource: ResourceId) -> impl Iterator<Item = (LogTime, i128)> {
    state.policy_deadlines.iter().take(DEADLINES).filter_map(move |(time, due)| {
        let Due::Transfer(id) = due else { return None };
        let transfer = state.transfers.get(id).expect("a deadline is that of a transfer");
        if transfer.resource != resource {
            return None;
        }
        let has = match state.scope(transfer.to).quota(resource).map(|quota| quota.policy.limit) {
            Some(Limit::Amount(limit)) => transfer.amount.units().min(limit.units()),
            // What has no limit any more gives nothing back, and nothing is asked of it.
            _ if transfer.from == scope => transfer.amount.units(),
            _ => 0,
        };
        if transfer.from == scope {
            Some((*time, has))
        } else if transfer.to == scope {
            Some((*time, -has))
        } else {
            None
        }
    })
}

/// The limit of a quota at a time to come, by its schedule and what transfers move; `None` when
/// nothing limits then. Bursts and graces are left out: they depend on what will be used.
fn limit_then(quota: &Quota, time: LogTime, moved: i128, rule: Rule) -> Option<i128> {
    let mut policy: &Policy = &quota.policy;
    let mut replaced = None;
    let mut changes: Vec<_> = quota.schedule().iter().filter(|item| item.start <= time).collect();
    changes.sort_by_key(|item| (item.start, item.id));
    for item in changes {
        match &item.plan {
            Planned::Change(change) => policy = change,
            Planned::Override { limit, end, .. } if *end > time => replaced = Some(*limit),
            Planned::Override { .. } => {}
        }
    }
    let hard = match replaced.unwrap_or(policy.limit) {
        Limit::Amount(hard) if replaced.is_none() => {
            Limit::Amount(hard.of_units((hard.units() + moved).max(0)).unwrap_or(hard))
        }
        hard => hard,
    };
    let effective = policy.effective_of(hard).map(Amount::units);
    match (rule, policy.terms().soft) {
        (Rule::SoftLimit, Some(soft)) if replaced.is_none() => {
            Some(effective.map_or(soft.units(), |limit| limit.min(soft.units())))
        }
        _ => effective,
    }
}
