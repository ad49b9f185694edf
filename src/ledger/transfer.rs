//! Parts of limits that were passed to a sibling for a while.

use super::LogTime;
use super::Revision;
use super::amount::Amount;
use super::resource::ResourceId;
use super::scope::ScopeId;

/// Most transfers that wait to go back to or from one quota.
pub const MAX_LOANS: usize = 32;

/// A transfer that will go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The revision that made it.
    pub id: Revision,
    /// Whose limit was lowered, and will be raised again.
    pub from: ScopeId,
    /// Whose limit was raised, and will be lowered again.
    pub to: ScopeId,
    /// Of what.
    pub resource: ResourceId,
    /// By how much.
    pub amount: Amount,
    /// When it goes back.
    pub until: LogTime,
}
