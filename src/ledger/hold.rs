//! Holds: reservations, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::LogTime;
use super::Revision;
use super::amount::Amount;
use super::resource::ResourceId;
use super::scope::ScopeId;

/// How many closed holds are remembered, so that a second release is told from an unknown hold.
pub const CLOSED_HOLDS_KEPT: usize = 100_000;

/// A hold is named by the revision that created it.
pub type HoldId = Revision;

/// Where a hold is in its life: HELD → COMMITTED → RELEASED, or HELD → RELEASED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// Reserved.
    Held,
    /// Final: an allocation.
    Committed,
    /// Given back.
    Released,
}

/// A live reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The revision that created it.
    pub id: HoldId,
    /// Held or committed; a released hold is no longer live.
    pub state: HoldState,
    /// What it takes, in the order of the request.
    pub lines: Vec<HoldLine>,
    /// When it was reserved.
    pub created_at: LogTime,
    /// The revision of its last change.
    pub revision: Revision,
    /// Who reserved it.
    pub actor: Arc<str>,
}

/// One part of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldLine {
    /// Where it is taken; all ancestors are charged too.
    pub scope: ScopeId,
    /// What is taken.
    pub resource: ResourceId,
    /// How much.
    pub amount: Amount,
}

/// How a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The hold.
    pub hold: HoldId,
    /// What became of it.
    pub state: HoldState,
    /// The event that closed it.
    pub revision: Revision,
}

/// The most recently closed holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ClosedHolds {
    by_hold: BTreeMap<HoldId, Closing>,
    /// In the order of closing, to forget the oldest first.
    by_revision: BTreeMap<Revision, HoldId>,
}

impl ClosedHolds {
    pub(super) fn get(&self, hold: HoldId) -> Option<&Closing> {
        self.by_hold.get(&hold)
    }

    pub(super) fn at(&self, revision: Revision) -> Option<&Closing> {
        self.by_hold.get(self.by_revision.get(&revision)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Closing> {
        self.by_revision.values().filter_map(|hold| self.by_hold.get(hold))
    }

    /// Remembers a closing; returns the revision of the one that was forgotten for it.
    pub(super) fn insert(&mut self, closing: Closing) -> Option<Revision> {
        self.by_hold.insert(closing.hold, closing);
        self.by_revision.insert(closing.revision, closing.hold);
        if self.by_revision.len() <= CLOSED_HOLDS_KEPT {
            return None;
        }
        let (revision, hold) = self.by_revision.pop_first()?;
        self.by_hold.remove(&hold);
        Some(revision)
    }
}
