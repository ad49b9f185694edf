//! What lines cost at every scope of their paths, and whether there is room for it.

use rust_decimal::Decimal;

use super::Context;
use super::State;
use super::explain;
use super::quota_name;
use crate::ledger::amount::Amount;
use crate::ledger::amount::number_of;
use crate::ledger::event::Overrun;
use crate::ledger::event::OverrunReason;
use crate::ledger::event::Touched;
use crate::ledger::hold::HoldId;
use crate::ledger::quota::Clocks;
use crate::ledger::quota::Enforcement;
use crate::ledger::quota::Quota;
use crate::ledger::rejection::Blocking;
use crate::ledger::rejection::Rejection;
use crate::ledger::rejection::Rule;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Account;
use crate::ledger::scope::Scope;
use crate::ledger::scope::ScopeId;
use crate::planted::Bug;
use crate::planted::planted;

/// By how much something changes, in units of its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Change {
    pub(super) used: i128,
    pub(super) held: i128,
}

impl Change {
    pub(super) fn held(amount: Amount) -> Self {
        Self { used: 0, held: amount.units() }
    }

    /// By how much more is taken.
    pub(super) fn growth(self) -> i128 {
        self.used + self.held
    }

    fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// What all lines of one command together change at one (scope, resource).
pub(super) struct Charge<'a> {
    pub(super) scope: &'a Scope,
    /// What is counted there; nothing was ever taken without one.
    pub(super) account: Option<&'a Account>,
    pub(super) resource: ResourceId,
    pub(super) change: Change,
    pub(super) depth: usize,
}

impl<'a> Charge<'a> {
    pub(super) fn new(scope: &'a Scope, resource: ResourceId, change: Change, depth: usize) -> Self {
        Self { scope, account: scope.account(resource), resource, change, depth }
    }

    pub(super) fn quota(&self) -> Option<&'a Quota> {
        self.account?.quota.as_ref()
    }

    /// What is counted before.
    pub(super) fn counters(&self, state: &State) -> (Amount, Amount) {
        match self.account {
            Some(account) => (account.used, account.held),
            None => {
                let zero = Amount::zero(state.resource(self.resource).decimals);
                (zero, zero)
            }
        }
    }

    /// The account after the change; `None` when it cannot be counted exactly.
    fn touched(&self, cx: Context<'_>) -> Option<Touched> {
        let (used, held) = self.counters(cx.state);
        let Change { used: more_used, held: more_held } = self.change;
        let used_after = used.of_units(used.units() + more_used)?;
        let held_after = held.of_units(held.units() + more_held)?;
        let taken = used_after.checked_add(held_after)?;
        let clocks = match self.quota() {
            Some(quota) if quota.policy.has_terms() => quota.clocks_at(taken, cx.now),
            _ => Clocks::default(),
        };
        Some(Touched {
            scope: self.scope.id,
            path: self.scope.path.clone(),
            resource: self.resource,
            name: cx.state.resource(self.resource).name.clone(),
            used: used_after,
            held: held_after,
            sequence: self.account.map_or(0, |account| account.sequence) + 1,
            used_change: number_of(more_used, used.scale())?,
            held_change: number_of(more_held, held.scale())?,
            clocks,
        })
    }
}

/// An account that is touched without a change of what is counted: by a change of its policy,
/// after which the quota is this one.
pub(super) fn touched_by_policy(
    cx: Context<'_>,
    scope: &Scope,
    resource: ResourceId,
    quota: Option<&Quota>,
) -> Touched {
    let definition = cx.state.resource(resource);
    let fresh = Account::new(resource, definition.decimals);
    let account = scope.account(resource).unwrap_or(&fresh);
    Touched {
        scope: scope.id,
        path: scope.path.clone(),
        resource,
        name: definition.name.clone(),
        used: account.used,
        held: account.held,
        sequence: account.sequence + 1,
        used_change: Decimal::ZERO,
        held_change: Decimal::ZERO,
        clocks: quota.map_or_else(Clocks::default, |quota| quota.clocks_at(account.taken(), cx.now)),
    }
}

/// Charges of lines, from the root down, one per (scope, resource) that changes.
pub(super) fn charges(
    state: &State,
    lines: impl ExactSizeIterator<Item = (ScopeId, ResourceId, Change)>,
) -> Vec<Charge<'_>> {
    let single = lines.len() == 1;
    let mut charges: Vec<Charge<'_>> = Vec::with_capacity(8);
    for (scope, resource, change) in lines {
        let start = charges.len();
        charges.extend(state.path_up(scope).map(|scope| Charge::new(scope, resource, change, 0)));
        charges[start..].reverse();
        for (depth, charge) in charges[start..].iter_mut().enumerate() {
            charge.depth = depth;
        }
    }
    if !single {
        merge(&mut charges);
    }
    charges.retain(|charge| !charge.change.is_zero());
    charges
}

/// Adds up what meets at one (scope, resource).
fn merge(charges: &mut Vec<Charge<'_>>) {
    charges.sort_by_key(|charge| (charge.depth, charge.scope.id, charge.resource));
    charges.dedup_by(|next, kept| {
        let same = next.scope.id == kept.scope.id && next.resource == kept.resource;
        if same {
            kept.change.used += next.change.used;
            kept.change.held += next.change.held;
        }
        same
    });
}

/// What is admitted.
pub(super) struct Admitted {
    pub(super) touched: Vec<Touched>,
    pub(super) overruns: Vec<Overrun>,
}

/// How strictly charges are judged.
#[derive(Clone, Copy)]
pub(super) struct Admission {
    /// Over the limits if need be.
    pub(super) force: bool,
    /// The hold that is changed: that it expires gives it no room.
    pub(super) hold: Option<HoldId>,
}

/// Every account after its charge, if there is room for all that grows. Locks have been checked.
pub(super) fn admit(
    cx: Context<'_>,
    charges: &[Charge<'_>],
    admission: Admission,
) -> Result<Admitted, Rejection> {
    let mut admitted = Admitted { touched: Vec::with_capacity(charges.len()), overruns: Vec::new() };
    let mut denied = Vec::new();
    let mut uncountable = Vec::new();
    for charge in charges {
        let Some(touched) = charge.touched(cx) else {
            // What is over a limit anyway is told so, as long as it can be said by how much.
            match over(cx, charge, admission) {
                Some(Over::Denied(blocking)) => denied.push((charge, blocking)),
                _ => uncountable.push(quota_name(cx.state, charge.scope, charge.resource)),
            }
            continue;
        };
        let is_asked = charge.depth > 0 || !planted(Bug::AncestorUnchecked);
        if charge.change.growth() > 0 && charge.quota().is_some() && is_asked {
            match over(cx, charge, admission) {
                Some(Over::Denied(blocking)) => denied.push((charge, blocking)),
                Some(Over::Granted(overrun)) => admitted.overruns.push(overrun),
                None => {}
            }
        }
        admitted.touched.push(touched);
    }
    if !uncountable.is_empty() {
        Err(Rejection::Uncountable(uncountable))
    } else if !denied.is_empty() {
        Err(Rejection::Denied(explain::with_times(cx, denied, admission.hold)))
    } else {
        Ok(admitted)
    }
}

/// A charge over a ceiling or the warning line.
enum Over {
    Denied(Blocking),
    Granted(Overrun),
}

/// What a charge goes over. `None` also when it cannot be said by how much.
fn over(cx: Context<'_>, charge: &Charge<'_>, admission: Admission) -> Option<Over> {
    let quota = charge.quota()?;
    let (used, held) = charge.counters(cx.state);
    let taken = used.units() + held.units() + charge.change.growth();
    let terms = quota.policy.terms();
    if terms.enforcement == Enforcement::Off {
        return None;
    }
    let blocking = |rule, limit| explain::blocking(cx, charge, rule, limit, admission.hold);
    let granted = |reason, blocking| {
        Over::Granted(Overrun { scope: charge.scope.id, resource: charge.resource, blocking, reason })
    };
    if let Some(ceiling) = quota.ceiling(cx.now).filter(|ceiling| taken > ceiling.amount.units()) {
        let blocking = blocking(ceiling.rule, ceiling.amount)?;
        return Some(match terms.enforcement {
            Enforcement::Shadow => granted(OverrunReason::Shadow, blocking),
            Enforcement::Warn | Enforcement::Off => granted(OverrunReason::Warn, blocking),
            Enforcement::Enforce if admission.force => granted(OverrunReason::Forced, blocking),
            Enforcement::Enforce => Over::Denied(blocking),
        });
    }
    let soft = terms.soft.filter(|soft| taken > soft.units())?;
    if terms.enforcement == Enforcement::Shadow {
        return None;
    }
    Some(granted(OverrunReason::Soft, blocking(Rule::SoftLimit, soft)?))
}

/// What grows must not do so under a lock.
pub(super) fn check_locks(state: &State, charges: &[Charge<'_>]) -> Result<(), Rejection> {
    let mut locks = Vec::new();
    for charge in charges {
        if let Some(lock) = charge.quota().and_then(|quota| quota.lock.as_deref())
            && charge.change.growth() > 0
        {
            locks.push((quota_name(state, charge.scope, charge.resource), lock.clone()));
        }
    }
    if locks.is_empty() { Ok(()) } else { Err(Rejection::Locked(locks)) }
}
