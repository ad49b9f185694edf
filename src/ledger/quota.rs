//! The policy on one (scope, resource).

use std::sync::Arc;

use super::amount::Amount;

/// A ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most this much.
    Amount(Amount),
    /// No ceiling, said explicitly.
    Unlimited,
    /// No ceiling of its own: the ancestors decide.
    Inherit,
}

/// Why a quota admits nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Shown to everyone who is refused.
    pub reason: Arc<str>,
    /// Who locked it.
    pub actor: Arc<str>,
}

/// The policy on one (scope, resource).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The ceiling.
    pub limit: Limit,
    /// Raised by every change of the policy; the first is 1.
    pub version: u64,
    /// Present while locked.
    pub lock: Option<Lock>,
}
