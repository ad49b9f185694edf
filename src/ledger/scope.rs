//! A node of the tree and the use that is counted at it.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::amount::Amount;
use super::labels::Labels;
use super::name::Name;
use super::name::Path;
use super::quota::Quota;
use super::resource::ResourceId;
use super::template;
use super::tree::TreeRules;

/// The number of a scope, given in the order of creation and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(pub u32);

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Its number.
    pub id: ScopeId,
    /// Its address.
    pub path: Path,
    /// What this level is called.
    pub kind: Name,
    /// The scope above; `None` at the root of a tree.
    pub parent: Option<ScopeId>,
    /// The scopes directly below, by their last segment.
    pub children: BTreeMap<Box<str>, ScopeId>,
    /// To find it by.
    pub labels: Labels,
    /// Of a root: what holds for its tree.
    pub rules: Option<Box<TreeRules>>,
    /// The template that was last applied to it.
    pub template: Option<Box<template::Applied>>,
    /// Use by resource, ascending. Most scopes count few resources, and the first lies in the scope
    /// itself: in a large ledger every place more that a decision looks at costs its time.
    pub(super) accounts: SmallVec<[Account; 1]>,
}

impl Scope {
    /// The use of a resource at and below this scope; `None` when it was never touched.
    #[inline]
    pub fn account(&self, resource: ResourceId) -> Option<&Account> {
        let position = self.accounts.binary_search_by_key(&resource, |account| account.resource).ok()?;
        self.accounts.get(position)
    }

    /// The quota on a resource, if one is set.
    #[inline]
    pub fn quota(&self, resource: ResourceId) -> Option<&Quota> {
        self.account(resource)?.quota.as_ref()
    }

    /// All resources that were ever touched here, ascending.
    #[inline]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    #[inline]
    pub(super) fn account_mut(&mut self, resource: ResourceId, decimals: u8) -> &mut Account {
        let position = match self.accounts.binary_search_by_key(&resource, |account| account.resource) {
            Ok(position) => position,
            Err(position) => {
                // Room for what is needed, not for four: there may be a million scopes.
                self.accounts.reserve_exact(1);
                self.accounts.insert(position, Account::new(resource, decimals));
                position
            }
        };
        &mut self.accounts[position]
    }
}

/// Use of one resource at and below one scope, with the quota on it. Counters are kept with or
/// without a quota, so that a quota made later starts from the real use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What is counted.
    pub resource: ResourceId,
    /// Committed use.
    pub used: Amount,
    /// Reserved and not yet committed.
    pub held: Amount,
    /// Raised by every event that touches it.
    pub sequence: u64,
    /// Raised by every change of the policy, the removal of the quota included; 0 before the first.
    pub version: u64,
    /// The policy, if one is set.
    pub quota: Option<Quota>,
}

impl Account {
    pub(super) fn new(resource: ResourceId, decimals: u8) -> Self {
        let zero = Amount::zero(decimals);
        Self { resource, used: zero, held: zero, sequence: 0, version: 0, quota: None }
    }

    /// used + held.
    #[inline]
    pub fn taken(&self) -> Amount {
        self.used.checked_add(self.held).expect("every reservation checked this sum before it was granted")
    }

    /// The effective limit now, when it is an amount.
    pub fn limit(&self) -> Option<Amount> {
        self.quota.as_ref()?.effective()
    }

    /// max(0, effective limit − used − held); `None` without a limit of its own.
    pub fn available(&self) -> Option<Amount> {
        Some(self.limit()?.saturating_sub(self.taken()))
    }

    /// max(0, used + held − effective limit); `None` without a limit of its own.
    pub fn over_by(&self) -> Option<Amount> {
        Some(self.taken().saturating_sub(self.limit()?))
    }
}
