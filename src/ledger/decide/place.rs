//! How limits nest: what a limit may be, seen from those above and below it.
//!
//! What counts is the policy, never an override: an override is for a while, and what lies above
//! holds meanwhile anyway.

use super::State;
use super::quota_name;
use crate::ledger::amount::Amount;
use crate::ledger::quota::Limit;
use crate::ledger::quota::Policy;
use crate::ledger::rejection::Rejection;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Scope;
use crate::ledger::scope::ScopeId;
use crate::ledger::tree::ChildPolicy;

/// Limits as they would be: those of the state, with some replaced.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) state: &'a State,
    pub(super) resource: ResourceId,
    /// Scopes whose limit would be another; `None`: as without a quota.
    pub(super) replaced: &'a [(ScopeId, Option<&'a Policy>)],
}

/// What a scope says to those below it.
enum Says {
    Amount(Amount),
    Unlimited,
    Nothing,
}

impl<'a> Limits<'a> {
    fn says(&self, scope: &Scope) -> Says {
        let policy = match self.replaced.iter().find(|(id, _)| *id == scope.id) {
            Some((_, policy)) => *policy,
            None => scope.quota(self.resource).map(|quota| &quota.policy),
        };
        match policy.map(|policy| (policy.limit, policy.effective())) {
            Some((_, Some(effective))) => Says::Amount(effective),
            Some((Limit::Unlimited, _)) => Says::Unlimited,
            _ => Says::Nothing,
        }
    }

    /// The nearest scope above, from one on, whose limit is an amount.
    fn nearest_from(&self, scope: Option<ScopeId>) -> Option<(&'a Scope, Amount)> {
        self.state.path_up(scope?).find_map(|above| match self.says(above) {
            Says::Amount(amount) => Some((above, amount)),
            Says::Unlimited | Says::Nothing => None,
        })
    }

    /// On every way down from a scope the first that says something, but the scope itself.
    fn nearest_below(&self, scope: ScopeId) -> impl Iterator<Item = (&'a Scope, Says)> {
        let limits = *self;
        let below = self.state.subtree_pruned(scope, move |below| {
            below.id == scope || matches!(limits.says(below), Says::Nothing)
        });
        below
            .skip(1)
            .map(move |below| (below, limits.says(below)))
            .filter(|(_, says)| !matches!(says, Says::Nothing))
    }

    /// What would be promised directly below a scope, in units. It cannot overflow: 2^96 units at
    /// most of fewer than 2^31 scopes.
    fn sum_below(&self, scope: ScopeId) -> i128 {
        let changes =
            self.replaced.iter().filter(|(id, _)| self.counts_for(*id, scope)).map(|(id, policy)| {
                let limit = policy.and_then(Policy::effective).map(Amount::units);
                let after = limit.unwrap_or_else(|| self.state.promised_below(*id, self.resource));
                after - self.state.promise(*id, self.resource)
            });
        self.state.promised_below(scope, self.resource) + changes.sum::<i128>()
    }

    /// Whether what a scope promises is promised by another one: there is no limit in between.
    fn counts_for(&self, scope: ScopeId, above: ScopeId) -> bool {
        let mut between = self.state.path_up(scope).skip(1);
        between
            .find(|between| between.id == above || matches!(self.says(between), Says::Amount(_)))
            .is_some_and(|found| found.id == above)
    }

    fn conflict(&self, scope: &Scope, other: &Scope, problem: String) -> Rejection {
        Rejection::LimitConflict {
            quota: quota_name(self.state, scope, self.resource),
            other: quota_name(self.state, other, self.resource),
            problem,
        }
    }

    /// Whether what a scope says fits what lies above and below it.
    pub(super) fn check(&self, scope: &Scope) -> Result<(), Rejection> {
        let rules = self.state.rules(scope.id).child_policy;
        if rules == ChildPolicy::Unchecked {
            return Ok(());
        }
        let above = self.nearest_from(scope.parent);
        if let Some((above, ceiling)) = above {
            self.check_under(scope, above, ceiling)?;
        }
        if let Says::Amount(ceiling) = self.says(scope)
            && self.lowers(scope, ceiling)
        {
            self.check_below(scope, ceiling, rules)?;
        }
        match above {
            Some((above, ceiling)) if rules == ChildPolicy::SumWithinParent => {
                self.check_sum(scope, above, ceiling)
            }
            _ => Ok(()),
        }
    }

    /// Whether a limit is not known to fit what lies below: a lower one that was replaced by it did.
    fn lowers(&self, scope: &Scope, ceiling: Amount) -> bool {
        let replaced = self.replaced.iter().any(|(id, _)| *id == scope.id);
        let present = scope.quota(self.resource).and_then(|quota| quota.policy.effective());
        !replaced || present.is_none_or(|present| ceiling < present)
    }

    /// Whether what a scope says for a while fits what lies above it.
    pub(super) fn check_above(&self, scope: &Scope) -> Result<(), Rejection> {
        let rules = self.state.rules(scope.id).child_policy;
        match self.nearest_from(scope.parent) {
            Some((above, ceiling)) if rules != ChildPolicy::Unchecked => {
                self.check_under(scope, above, ceiling)?;
                if rules == ChildPolicy::SumWithinParent {
                    self.check_sum(scope, above, ceiling)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether what a scope says fits under one limit.
    fn check_under(&self, scope: &Scope, above: &Scope, ceiling: Amount) -> Result<(), Rejection> {
        let problem = match self.says(scope) {
            Says::Amount(limit) if limit > ceiling => {
                format!("of {limit} is over the {ceiling} of {}", above.path)
            }
            Says::Unlimited => {
                format!("may not be UNLIMITED below the {ceiling} of {}; use INHERIT", above.path)
            }
            Says::Amount(_) | Says::Nothing => return Ok(()),
        };
        Err(self.conflict(scope, above, problem))
    }

    /// Whether what lies below a limit fits it.
    fn check_below(&self, scope: &Scope, ceiling: Amount, rules: ChildPolicy) -> Result<(), Rejection> {
        for (below, says) in self.nearest_below(scope.id) {
            let problem = match says {
                Says::Amount(limit) if limit > ceiling => {
                    format!("of {ceiling} is under the {limit} of {}; lower that first", below.path)
                }
                Says::Unlimited => {
                    format!(
                        "of {ceiling} is above {}, which is UNLIMITED; set that to INHERIT first",
                        below.path
                    )
                }
                Says::Amount(_) | Says::Nothing => continue,
            };
            return Err(self.conflict(scope, below, problem));
        }
        match rules {
            ChildPolicy::SumWithinParent => self.check_sum(scope, scope, ceiling),
            ChildPolicy::EachWithinParent | ChildPolicy::Unchecked => Ok(()),
        }
    }

    /// Whether all limits below one together fit it.
    fn check_sum(&self, scope: &Scope, above: &Scope, ceiling: Amount) -> Result<(), Rejection> {
        let sum = self.sum_below(above.id);
        if sum <= ceiling.units() {
            return Ok(());
        }
        let over = match ceiling.of_units(sum) {
            Some(sum) => format!("brings what lies below {} to {sum}, over its {ceiling}", above.path),
            None => format!("brings what lies below {} far over its {ceiling}", above.path),
        };
        Err(self.conflict(scope, above, over))
    }

    /// The least that the effective limit of a scope may be for what lies below it, in units.
    pub(super) fn least_for_below(&self, scope: &Scope) -> i128 {
        let rules = self.state.rules(scope.id).child_policy;
        if rules == ChildPolicy::Unchecked {
            return 0;
        }
        let each = self.nearest_below(scope.id).map(|(_, says)| match says {
            Says::Amount(limit) => limit.units(),
            // Nothing is enough for it.
            Says::Unlimited => i128::MAX,
            Says::Nothing => 0,
        });
        let most = each.max().unwrap_or_default();
        match rules {
            ChildPolicy::SumWithinParent => most.max(self.sum_below(scope.id)),
            ChildPolicy::EachWithinParent | ChildPolicy::Unchecked => most,
        }
    }

    /// Whether a policy of a scope would fit what lies above it. It is not looked at whether it
    /// fits what lies below: it is larger than one that does.
    pub(super) fn fits_above(&self, scope: &Scope, policy: &Policy) -> bool {
        let mut replaced = self.replaced.to_vec();
        replaced.push((scope.id, Some(policy)));
        Limits { state: self.state, resource: self.resource, replaced: &replaced }.check_above(scope).is_ok()
    }
}

/// Whether a quota fits where it is.
pub(in crate::ledger) fn check_where_it_is(
    state: &State,
    scope: ScopeId,
    resource: ResourceId,
) -> Result<(), Rejection> {
    Limits { state, resource, replaced: &[] }.check(state.scope(scope))
}

/// Whether all quotas of a tree fit under its rules.
pub(in crate::ledger) fn check_tree(
    state: &State,
    root: ScopeId,
    rules: ChildPolicy,
) -> Result<(), Rejection> {
    if rules == ChildPolicy::Unchecked {
        return Ok(());
    }
    for scope in state.subtree(root) {
        for account in scope.accounts() {
            let limits = Limits { state, resource: account.resource, replaced: &[] };
            if let Says::Amount(ceiling) = limits.says(scope) {
                limits.check_below(scope, ceiling, rules)?;
            }
        }
    }
    Ok(())
}

/// Whether the limits of a subtree fit below another scope.
pub(super) fn check_below_another(state: &State, moved: &Scope, parent: &Scope) -> Result<(), Rejection> {
    let rules = state.rules(parent.id).child_policy;
    if rules == ChildPolicy::Unchecked {
        return Ok(());
    }
    let mut resources: Vec<ResourceId> = state
        .subtree(moved.id)
        .flat_map(Scope::accounts)
        .filter(|account| account.quota.is_some())
        .map(|account| account.resource)
        .collect();
    resources.sort_unstable();
    resources.dedup();
    for resource in resources {
        let limits = Limits { state, resource, replaced: &[] };
        let Some((above, ceiling)) = limits.nearest_from(Some(parent.id)) else {
            continue;
        };
        let own = (moved, limits.says(moved));
        let first = match own.1 {
            Says::Nothing => limits.nearest_below(moved.id).collect(),
            Says::Amount(_) | Says::Unlimited => vec![own],
        };
        let mut sum = 0;
        for (scope, says) in first {
            match says {
                Says::Amount(limit) if limit > ceiling => {
                    let problem = format!("of {limit} is over the {ceiling} of {}", above.path);
                    return Err(limits.conflict(scope, above, problem));
                }
                Says::Amount(limit) => sum += limit.units(),
                Says::Unlimited => {
                    let problem =
                        format!("may not be UNLIMITED below the {ceiling} of {}; use INHERIT", above.path);
                    return Err(limits.conflict(scope, above, problem));
                }
                Says::Nothing => {}
            }
        }
        // What this limit is the nearest above of already, it counts already.
        let counted = limits.nearest_from(moved.parent).is_some_and(|(now, _)| now.id == above.id);
        let promised = if counted { 0 } else { limits.sum_below(above.id) + sum };
        if rules == ChildPolicy::SumWithinParent && promised > ceiling.units() {
            let problem = format!("brings what lies below {} over its {ceiling}", above.path);
            return Err(limits.conflict(moved, above, problem));
        }
    }
    Ok(())
}
