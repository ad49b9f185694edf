//! Holds: reservations, and what becomes of them.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::LogTime;
use super::Revision;
use super::amount::Amount;
use super::labels::Labels;
use super::resource::ResourceId;
use super::rising::Rising;
use super::scope::ScopeId;

/// How many closed holds are remembered, so that a second release is told from an unknown hold.
pub const CLOSED_HOLDS_KEPT: usize = 100_000;

/// A hold is named by the revision that created it.
pub type HoldId = Revision;

/// Where a hold is in its life: HELD → COMMITTED → RELEASED, HELD → RELEASED, or HELD → EXPIRED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// Reserved; a part of it may be committed already.
    Held,
    /// Final: an allocation.
    Committed,
    /// Given back.
    Released,
    /// Given back because its time was up.
    Expired,
}

/// A live reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The revision that created it.
    pub id: HoldId,
    /// What it takes, in the order of the request, each (scope, resource) once. None is empty.
    pub lines: Box<[HoldLine]>,
    /// When it was reserved.
    pub created_at: LogTime,
    /// From when on what is held of it is dead; lives until resolved when absent.
    pub expires_at: Option<NonZeroU64>,
    /// The revision of its last change.
    pub revision: Revision,
    /// Who reserved it.
    pub actor: Arc<str>,
    /// To find it by.
    pub tags: Option<Arc<Tags>>,
}

/// What a client attached to a hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags {
    /// The job it is for.
    pub job: Option<Arc<str>>,
    /// Who consumes it.
    pub consumer: Option<Arc<str>>,
    /// Anything else.
    pub labels: Labels,
}

/// One part of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldLine {
    /// Where it is taken; all ancestors are charged too.
    pub scope: ScopeId,
    /// What is taken.
    pub resource: ResourceId,
    /// How much is held.
    pub held: Amount,
    /// How much is committed.
    pub used: Amount,
}

impl HoldLine {
    /// Held and committed together.
    #[inline]
    pub fn live(&self) -> Amount {
        self.held.checked_add(self.used).expect("the accounts of the line counted more than this sum")
    }

    /// Whether nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.held.is_zero() && self.used.is_zero()
    }
}

impl Hold {
    /// Held while anything of it is; then committed.
    pub fn state(&self) -> HoldState {
        if self.lines.iter().any(|line| !line.held.is_zero()) {
            HoldState::Held
        } else {
            HoldState::Committed
        }
    }

    /// Whether what is held of it is dead at a time.
    #[inline]
    pub fn is_expired(&self, now: LogTime) -> bool {
        self.expires_at.is_some_and(|end| now >= end.get())
    }
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
    by_hold: Rising<HoldId, Closing>,
    /// In the order of closing, to forget the oldest first.
    by_revision: Rising<Revision, HoldId>,
}

impl ClosedHolds {
    pub(super) fn get(&self, hold: HoldId) -> Option<&Closing> {
        self.by_hold.get(hold)
    }

    pub(super) fn at(&self, revision: Revision) -> Option<&Closing> {
        self.by_hold.get(*self.by_revision.get(revision)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Closing> {
        self.by_revision.iter().filter_map(|(_, hold)| self.by_hold.get(*hold))
    }

    /// The one that is forgotten next, if there is no room for another.
    pub(super) fn next_forgotten(&self) -> Option<Revision> {
        let oldest = self.by_revision.first().map(|(revision, _)| revision);
        oldest.filter(|_| self.by_revision.len() >= CLOSED_HOLDS_KEPT)
    }

    pub(super) fn insert(&mut self, closing: Closing) {
        self.by_hold.insert(closing.hold, closing);
        self.by_revision.insert(closing.revision, closing.hold);
    }

    pub(super) fn remove(&mut self, revision: Revision) {
        if let Some(hold) = self.by_revision.remove(revision) {
            self.by_hold.remove(hold);
        }
    }
}
