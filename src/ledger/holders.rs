//! Who takes most: an answer to "why is there no room".
//!
//! Reads every live hold. Nothing of it is part of a decision.

use std::cmp::Reverse;

use super::amount::Amount;
use super::hold::Hold;
use super::hold::HoldId;
use super::resource::ResourceId;
use super::scope::ScopeId;
use super::state::State;

/// What one hold takes of a resource at or below a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The hold.
    pub hold: HoldId,
    /// Reserved and not committed.
    pub held: Amount,
    /// Committed.
    pub used: Amount,
}

impl Holder {
    fn live(&self) -> Amount {
        self.held.checked_add(self.used).expect("the account counted more than this sum")
    }
}

impl State {
    /// For each of some quotas the `count` holds that take most of its resource at or below its
    /// scope, the largest first; of equal ones the oldest.
    pub fn largest_holders(&self, quotas: &[(ScopeId, ResourceId)], count: usize) -> Vec<Vec<Holder>> {
        let mut largest: Vec<Vec<Holder>> = vec![Vec::with_capacity(count + 1); quotas.len()];
        for hold in self.holds_from(0) {
            for ((scope, resource), largest) in quotas.iter().zip(&mut largest) {
                if let Some(holder) = self.holder(hold, *scope, *resource) {
                    let position =
                        largest.partition_point(|other| Reverse(other.live()) <= Reverse(holder.live()));
                    if position < count {
                        largest.insert(position, holder);
                        largest.truncate(count);
                    }
                }
            }
        }
        largest
    }

    /// What a hold takes of a resource at or below a scope, if anything.
    fn holder(&self, hold: &Hold, scope: ScopeId, resource: ResourceId) -> Option<Holder> {
        let sum =
            |before: Amount, more| before.checked_add(more).expect("the account counted more than this sum");
        let lines = hold.lines.iter().filter(|line| line.resource == resource);
        lines
            .filter(|line| self.is_within(line.scope, scope))
            .map(|line| Holder { hold: hold.id, held: line.held, used: line.used })
            .reduce(|all, next| Holder {
                held: sum(all.held, next.held),
                used: sum(all.used, next.used),
                ..all
            })
    }
}
