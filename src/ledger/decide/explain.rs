//! Why there is no room, and when there will be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::Context;
use super::State;
use super::charge::Charge;
use super::quota_name;
use crate::ledger::LogTime;
use crate::ledger::amount::Amount;
use crate::ledger::amount::number_of;
use crate::ledger::hold::HoldId;
use crate::ledger::hold::HoldLine;
use crate::ledger::quota::Limit;
use crate::ledger::quota::Planned;
use crate::ledger::quota::Policy;
use crate::ledger::quota::PolicyField;
use crate::ledger::quota::Quota;
use crate::ledger::quota::Scheduled;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Rule;
use crate::ledger::resource::ResourceId;
use crate::ledger::resource::ResourceKind;
use crate::ledger::scope::ScopeId;

/// How many of the holds that expire next are looked at to tell when there will be room. A denial
/// must not cost more the more holds there are.
const DEADLINES: usize = 256;

/// How many of their lines, of what was denied.
const LINES: usize = 1024;

/// What a charge over a limit is told; `None` when its numbers have too many digits. When there will
/// be room is said by [`with_times`].
pub(super) fn blocking(
    cx: Context<'_>,
    charge: &Charge<'_>,
    rule: Rule,
    limit: Amount,
    hold: Option<HoldId>,
) -> Option<Blocking> {
    let (used, held) = charge.counters(cx.state);
    let growth = charge.change.growth();
    let number = |units: i128| number_of(units, limit.scale()).map(|number| number.normalize());
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
        waiting_can_help: growth <= room,
        fits_at: None,
    })
}

/// What stands against denied charges, with when there will be room. Whoever is only warned has what
/// was asked for, and is not told.
pub(super) fn with_times(
    cx: Context<'_>,
    denied: Vec<(&Charge<'_>, Blocking)>,
    hold: Option<HoldId>,
) -> Vec<Blocking> {
    let expiries = Expiries::of(cx, &denied, hold);
    let told = denied.into_iter().map(|(charge, blocking)| {
        let fits_at = fits_at(cx, charge, blocking.rule, &expiries);
        Blocking { fits_at, waiting_can_help: blocking.waiting_can_help || fits_at.is_some(), ..blocking }
    });
    told.collect()
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
fn fits_at(cx: Context<'_>, charge: &Charge<'_>, rule: Rule, expiries: &Expiries) -> Option<LogTime> {
    let quota = charge.quota()?;
    let mut moments: BTreeMap<LogTime, Moment> = BTreeMap::new();
    for (time, freed) in expiries.at(charge) {
        moments.entry(*time).or_default().freed += freed;
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
    let mut coming = Coming::of(quota);
    moments.into_iter().find_map(|(time, moment)| {
        taken -= moment.freed;
        coming.go_on(time, moment.limit);
        coming.limit(time, rule).is_none_or(|limit| taken <= limit).then_some(time)
    })
}

/// What a quota becomes, from moment to moment, by its schedule and by transfers.
struct Coming<'a> {
    quota: &'a Quota,
    policy: Cow<'a, Policy>,
    /// Changes of the policy that are still to come, the next one last.
    changes: Vec<&'a Scheduled>,
    /// Units that transfers have added to the limit, or taken, since it was last changed.
    moved: i128,
}

impl<'a> Coming<'a> {
    fn of(quota: &'a Quota) -> Self {
        let changes = quota.schedule().iter().filter(|item| matches!(item.plan, Planned::Change { .. }));
        let mut changes: Vec<&Scheduled> = changes.collect();
        changes.sort_by_key(|item| std::cmp::Reverse((item.start, item.id)));
        Self { quota, policy: Cow::Borrowed(&quota.policy), changes, moved: 0 }
    }

    /// Goes on to a time at which transfers move the limit by so much: after the changes of that time.
    fn go_on(&mut self, time: LogTime, moved: i128) {
        while let Some(item) = self.changes.pop_if(|item| item.start <= time) {
            if let Planned::Change { policy, fields } = &item.plan {
                self.policy = Cow::Owned(self.policy.changed(policy, fields.as_deref()));
            }
            // It replaces the limit to which was added and from which was taken before.
            if sets_limit(&item.plan) {
                self.moved = 0;
            }
        }
        self.moved += moved;
    }

    /// The limit now that it has come to a time; `None` when nothing limits then. Bursts and graces
    /// are left out: they depend on what will be used.
    fn limit(&self, time: LogTime, rule: Rule) -> Option<i128> {
        let replaced = self.quota.schedule().iter().rev().find_map(|item| match item.plan {
            Planned::Override { limit, end, .. } if item.start <= time && time < end => Some(limit),
            Planned::Override { .. } | Planned::Change { .. } => None,
        });
        let hard = match replaced.unwrap_or(self.policy.limit) {
            Limit::Amount(hard) if replaced.is_none() => {
                Limit::Amount(hard.of_units((hard.units() + self.moved).max(0)).unwrap_or(hard))
            }
            hard => hard,
        };
        let effective = self.policy.effective_of(hard).map(Amount::units);
        match (rule, self.policy.terms().soft) {
            (Rule::SoftLimit, Some(soft)) if replaced.is_none() => {
                Some(effective.map_or(soft.units(), |limit| limit.min(soft.units())))
            }
            _ => effective,
        }
    }
}

/// Whether a change of the policy is one of its limit.
fn sets_limit(plan: &Planned) -> bool {
    match plan {
        Planned::Change { fields, .. } => {
            fields.as_ref().is_none_or(|fields| fields.contains(&PolicyField::Limit))
        }
        Planned::Override { .. } => false,
    }
}

/// What is given back at and below some scopes, by time: gathered in one walk over the holds that
/// expire next, so that a denial costs as much whatever stands against it, and all of it is told.
struct Expiries(BTreeMap<(ScopeId, ResourceId), Vec<(LogTime, i128)>>);

impl Expiries {
    fn of(cx: Context<'_>, denied: &[(&Charge<'_>, Blocking)], hold: Option<HoldId>) -> Self {
        let mut freed: BTreeMap<_, Vec<_>> =
            denied.iter().map(|(charge, _)| ((charge.scope.id, charge.resource), Vec::new())).collect();
        let resources: BTreeSet<ResourceId> = denied.iter().map(|(charge, _)| charge.resource).collect();
        // All lines of a command are in one tree, and so are those of a hold.
        let tree_of = |scope: ScopeId| cx.state.path_up(scope).last().map(|root| root.id);
        let tree = denied.first().and_then(|(charge, _)| tree_of(charge.scope.id));
        let deadlines = cx.state.hold_deadlines.iter().map(|(deadline, ())| deadline);
        let mut lines_left = LINES;
        for (time, id) in deadlines.take(DEADLINES).filter(|(_, id)| Some(*id) != hold) {
            let expiring = cx.state.hold(id).expect("a deadline is that of a live hold");
            if expiring.lines.first().and_then(|line| tree_of(line.scope)) != tree {
                continue;
            }
            let gives = |line: &&HoldLine| !line.held.is_zero() && resources.contains(&line.resource);
            for line in expiring.lines.iter().filter(gives) {
                let Some(left) = lines_left.checked_sub(1) else { return Self(freed) };
                lines_left = left;
                for scope in cx.state.path_up(line.scope) {
                    if let Some(freed) = freed.get_mut(&(scope.id, line.resource)) {
                        freed.push((time.max(cx.now), line.held.units()));
                    }
                }
            }
        }
        Self(freed)
    }

    fn at(&self, charge: &Charge<'_>) -> &[(LogTime, i128)] {
        self.0.get(&(charge.scope.id, charge.resource)).map_or(&[], Vec::as_slice)
    }
}

/// By how much transfers that go back change the limit of one quota, by time.
fn returns(state: &State, scope: ScopeId, resource: ResourceId) -> impl Iterator<Item = (LogTime, i128)> {
    state.loans(scope, resource).map(move |transfer| {
        let has = match state.scope(transfer.to).quota(resource).map(|quota| quota.policy.limit) {
            Some(Limit::Amount(limit)) => transfer.amount.units().min(limit.units()),
            // What has no limit any more gives nothing back, and nothing is asked of it.
            _ if transfer.from == scope => transfer.amount.units(),
            _ => 0,
        };
        (transfer.until, if transfer.from == scope { has } else { -has })
    })
}
