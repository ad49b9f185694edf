//! How limits nest.

use quorate::ledger::Rejection;
use quorate::ledger::tree::ChildPolicy;

use super::world::Cap;
use super::world::Place;
use super::world::World;
use super::world::is_within;
use super::world::lineage;
use super::world::quota_name;

impl World {
    pub fn child_policy(&self, path: &str) -> ChildPolicy {
        let root = &lineage(path)[0];
        let rules = self.scopes.get(root).and_then(|node| node.rules.as_ref());
        rules.map(|rules| rules.child_policy).expect("a tree has rules")
    }

    /// The effective limit of the policy at a place, whatever overrides it now.
    pub fn base(&self, place: &Place) -> Option<i128> {
        self.quotas.get(place)?.policy.effective()
    }

    /// The effective limit at a place now.
    pub fn effective(&self, place: &Place) -> Option<i128> {
        let quota = self.quotas.get(place)?;
        quota.policy.effective_of(quota.hard())
    }

    /// The nearest limit that is an amount above a place.
    pub fn limited_above(&self, (path, resource): &Place) -> Option<Place> {
        let above = lineage(path).into_iter().rev().skip(1);
        above.map(|above| (above, resource.clone())).find(|above| self.base(above).is_some())
    }

    /// On each way down from a place, the first limit that is an amount; all of them together.
    pub fn promised_below(&self, place: &Place) -> i128 {
        let below = self.subtree(&place.0).into_iter().skip(1).map(|path| (path, place.1.clone()));
        let nearest = below.filter(|below| self.limited_above(below).as_ref() == Some(place));
        nearest.filter_map(|below| self.base(&below)).sum()
    }

    /// The place with which the limit of a place does not go together by itself: above, and below
    /// too unless `only_above`.
    fn misfit_alone(&self, place: &Place, only_above: bool) -> Option<Place> {
        let cap = self.quotas.get(place)?.policy.cap;
        let own = self.base(place);
        if self.child_policy(&place.0) == ChildPolicy::Unchecked || cap == Cap::Inherit {
            return None;
        }
        let above = self.limited_above(place);
        let limit = above.as_ref().and_then(|above| self.base(above));
        if limit.is_some_and(|limit| own.is_none_or(|own| own > limit)) {
            return above;
        }
        let below = self.subtree(&place.0).into_iter().skip(1).map(|path| (path, place.1.clone()));
        let mut below = below.filter(|_| own.is_some() && !only_above);
        below.find(|below| {
            let is_next = self.limited_above(below).as_ref() == Some(place);
            let policy = self.quotas.get(below).filter(|_| is_next).map(|quota| &quota.policy);
            policy.is_some_and(|policy| policy.cap == Cap::Unlimited || policy.effective() > own)
        })
    }

    /// The place with which the limit of a place does not go together.
    pub fn misfit(&self, place: &Place, only_above: bool) -> Option<Place> {
        if let Some(other) = self.misfit_alone(place, only_above) {
            return Some(other);
        }
        if self.child_policy(&place.0) != ChildPolicy::SumWithinParent || !self.quotas.contains_key(place) {
            return None;
        }
        let is_over = |place: &Place| Some(self.promised_below(place)) > self.base(place);
        if !only_above && self.base(place).is_some() && is_over(place) {
            return Some(place.clone());
        }
        self.limited_above(place).filter(is_over)
    }

    pub fn check_place(&self, place: &Place, only_above: bool) -> Result<(), Rejection> {
        match self.misfit(place, only_above) {
            Some(other) => Err(limit_conflict(place, &other)),
            None => Ok(()),
        }
    }

    /// Every limit of a tree.
    pub fn check_tree(&self, root: &str) -> Result<(), Rejection> {
        for scope in self.subtree(root) {
            for kind in &self.kinds {
                self.check_place(&(scope.clone(), kind.name.clone()), false)?;
            }
        }
        Ok(())
    }

    /// What was moved with a scope, against what is above it now.
    pub fn check_moved(&self, path: &str) -> Result<(), Rejection> {
        for kind in &self.kinds {
            let top = (path.to_string(), kind.name.clone());
            for scope in self.subtree(path) {
                let place = (scope, kind.name.clone());
                if let Some(other) = self.misfit_alone(&place, true) {
                    return Err(limit_conflict(&place, &other));
                }
            }
            let is_over = |place: &Place| Some(self.promised_below(place)) > self.base(place);
            if self.child_policy(path) == ChildPolicy::SumWithinParent
                && let Some(above) = self.limited_above(&top).filter(is_over)
            {
                return Err(limit_conflict(&top, &above));
            }
        }
        Ok(())
    }

    /// Transfers that name a scope at or below a path.
    pub fn loans(&self, path: &str) -> Vec<u64> {
        let names = |end: &String| is_within(end, path);
        let on_loan = self.transfers.iter().filter(|(_, loan)| names(&loan.from) || names(&loan.to));
        on_loan.map(|(id, _)| *id).collect()
    }
}

pub fn limit_conflict(place: &Place, other: &Place) -> Rejection {
    Rejection::LimitConflict { quota: quota_name(place), other: quota_name(other), problem: String::new() }
}
