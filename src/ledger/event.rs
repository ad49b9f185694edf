//! What happened. Events are the only thing that changes state, and they say everything that is
//! needed to fold them without deciding again.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::LogTime;
use super::Revision;
use super::amount::Amount;
use super::hold::HoldId;
use super::name::Name;
use super::name::Path;
use super::outcome::Grant;
use super::outcome::Verdict;
use super::quota::Limit;
use super::quota::Lock;
use super::rejection::Rejection;
use super::request::Fingerprint;
use super::request::RequestId;
use super::resource::Resource;
use super::resource::ResourceId;
use super::scope::ScopeId;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position.
    pub revision: Revision,
    /// When it was decided.
    pub time: LogTime,
    /// The request it answers.
    pub request: RequestId,
    /// Of the command of that request.
    pub fingerprint: Fingerprint,
    /// Who asked.
    pub actor: Arc<str>,
    /// What was decided.
    pub body: Body,
    /// Every (scope, resource) it changed, with the counters after it, from the root down.
    pub touched: Vec<Touched>,
}

/// A (scope, resource) after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The number of the scope.
    pub scope: ScopeId,
    /// Its path at that time.
    pub path: Path,
    /// The number of the resource.
    pub resource: ResourceId,
    /// Its name.
    pub name: Name,
    /// Committed use after the event.
    pub used: Amount,
    /// Reserved use after the event.
    pub held: Amount,
    /// The sequence after the event.
    pub sequence: u64,
    /// By how much `used` changed.
    pub used_change: Decimal,
    /// By how much `held` changed.
    pub held_change: Decimal,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A scope was made.
    ScopeCreated {
        /// Its number.
        scope: ScopeId,
        /// Its address.
        path: Path,
        /// What its level is called.
        kind: Name,
    },
    /// A resource was added.
    ResourceRegistered {
        /// Its number.
        id: ResourceId,
        /// What it is.
        resource: Resource,
    },
    /// A quota was made or its limit changed.
    QuotaSet {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// The limit now.
        limit: Limit,
        /// The version now.
        version: u64,
        /// The limit before; `None` for a new quota.
        previous: Option<Limit>,
    },
    /// A quota was locked.
    QuotaLocked {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// Why and by whom.
        lock: Lock,
        /// The version now.
        version: u64,
    },
    /// A lock was ended.
    QuotaUnlocked {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// The version now.
        version: u64,
    },
    /// A hold was made; it is named by the revision of this event.
    Reserved {
        /// What it takes.
        lines: Vec<ReservedLine>,
    },
    /// A hold became an allocation.
    Committed(HoldId),
    /// A hold or allocation was given back.
    Released(HoldId),
    /// A command was not carried out.
    Rejected {
        /// The name of the command.
        command: Arc<str>,
        /// Why.
        rejection: Box<Rejection>,
    },
    /// A command asked for what already was. It touches no quota; it is here because its request
    /// id is used up, so that a late repeat cannot undo what came after.
    Unchanged {
        /// The name of the command.
        command: Arc<str>,
        /// The version of the quota.
        version: u64,
    },
}

/// One line of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedLine {
    /// The number of the scope.
    pub scope: ScopeId,
    /// Its path at that time.
    pub path: Path,
    /// The number of the resource.
    pub resource: ResourceId,
    /// Its name.
    pub name: Name,
    /// How much.
    pub amount: Amount,
}

impl Event {
    /// What the client is told: it follows from the event alone.
    pub fn verdict(&self) -> Verdict {
        match &self.body {
            Body::Reserved { .. } => Ok(Grant::Hold(self.revision)),
            Body::QuotaSet { version, .. }
            | Body::QuotaLocked { version, .. }
            | Body::QuotaUnlocked { version, .. }
            | Body::Unchanged { version, .. } => Ok(Grant::Version(*version)),
            Body::ScopeCreated { .. }
            | Body::ResourceRegistered { .. }
            | Body::Committed(_)
            | Body::Released(_) => Ok(Grant::Done),
            Body::Rejected { rejection, .. } => Err(rejection.clone()),
        }
    }
}
