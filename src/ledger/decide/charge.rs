//! What lines cost at every scope of their paths.

use super::State;
use crate::ledger::amount::Amount;
use crate::ledger::event::Touched;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Account;
use crate::ledger::scope::Scope;
use crate::ledger::scope::ScopeId;

/// What all lines of one command together ask of one (scope, resource).
pub(super) struct Charge<'a> {
    pub(super) scope: &'a Scope,
    pub(super) resource: ResourceId,
    pub(super) amount: Amount,
    depth: usize,
}

impl Charge<'_> {
    /// The account it goes to, fresh when it was never touched.
    pub(super) fn account(&self, state: &State) -> Account {
        match self.scope.account(self.resource) {
            Some(account) => account.clone(),
            None => Account::new(self.resource, state.resource(self.resource).decimals),
        }
    }

    /// The account after it has become `used` and `held`.
    pub(super) fn touched(&self, state: &State, used: Amount, held: Amount) -> Touched {
        let account = self.account(state);
        Touched {
            scope: self.scope.id,
            path: self.scope.path.clone(),
            resource: self.resource,
            name: state.resource(self.resource).name.clone(),
            used,
            held,
            sequence: account.sequence + 1,
            used_change: used.number() - account.used.number(),
            held_change: held.number() - account.held.number(),
        }
    }
}

/// Charges of lines, from the root down, one per (scope, resource). `None` when a sum has too
/// many digits to be exact.
pub(super) fn charges(
    state: &State,
    lines: impl Iterator<Item = (ScopeId, ResourceId, Amount)>,
) -> Option<Vec<Charge<'_>>> {
    let mut charges: Vec<Charge<'_>> = Vec::with_capacity(8);
    for (scope, resource, amount) in lines {
        let path: Vec<&Scope> = state.path_up(scope).collect();
        for (depth, scope) in path.into_iter().rev().enumerate() {
            charges.push(Charge { scope, resource, amount, depth });
        }
    }
    charges.sort_by_key(|charge| (charge.depth, charge.scope.id, charge.resource));
    let mut merged: Vec<Charge<'_>> = Vec::with_capacity(charges.len());
    for charge in charges {
        match merged.last_mut() {
            Some(last) if last.scope.id == charge.scope.id && last.resource == charge.resource => {
                last.amount = last.amount.checked_add(charge.amount)?;
            }
            _ => merged.push(charge),
        }
    }
    Some(merged)
}
