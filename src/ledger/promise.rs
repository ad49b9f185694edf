//! What is promised below a scope: the sum of the limits below it, kept as they change, so that a
//! limit is compared with its siblings at once, however many they are.
//!
//! On every way down from a scope only the first limit counts that is an amount: what lies below
//! that is promised by it, not by the scope. Limits are those of policies, never of overrides.

use super::resource::ResourceId;
use super::scope::Account;
use super::scope::ScopeId;
use super::state::State;

/// The effective limit that an account promises, in units, if it is an amount.
pub(super) fn limit_of(account: Option<&Account>) -> Option<i128> {
    account?.quota.as_ref()?.policy.effective().map(super::Amount::units)
}

impl State {
    /// What is promised directly below a scope, in units.
    pub(super) fn promised_below(&self, scope: ScopeId, resource: ResourceId) -> i128 {
        self.promised.get(&(scope, resource)).copied().unwrap_or_default()
    }

    /// What a scope takes of what is promised above it: its limit, or what is promised below it.
    pub(super) fn promise(&self, scope: ScopeId, resource: ResourceId) -> i128 {
        let own = limit_of(self.scope(scope).account(resource));
        own.unwrap_or_else(|| self.promised_below(scope, resource))
    }

    /// Counts, from a scope up to the first limit, that so much more is promised.
    pub(super) fn promise_more(&mut self, scope: Option<ScopeId>, resource: ResourceId, more: i128) {
        let mut next = scope.filter(|_| more != 0);
        while let Some(id) = next {
            let promised = self.promised.entry((id, resource)).or_default();
            *promised += more;
            if *promised == 0 {
                self.promised.remove(&(id, resource));
            }
            let scope = self.scope(id);
            next = scope.parent.filter(|_| limit_of(scope.account(resource)).is_none());
        }
    }

    /// Counts everything that a scope promises below another one as much more, or less.
    pub(super) fn promise_all(&mut self, scope: ScopeId, above: Option<ScopeId>, sign: i128) {
        let mut resources: Vec<ResourceId> =
            self.scope(scope).accounts.iter().map(|account| account.resource).collect();
        let of_scope = (scope, ResourceId(0))..=(scope, ResourceId(u32::MAX));
        resources.extend(self.promised.range(of_scope).map(|((_, resource), _)| *resource));
        resources.sort_unstable();
        resources.dedup();
        for resource in resources {
            let promise = self.promise(scope, resource);
            self.promise_more(above, resource, sign * promise);
        }
    }
}
