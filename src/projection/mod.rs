//! Read models: what is made of the event stream besides the state itself.
//!
//! Each projection is one file: what it keeps, how it folds an event, and how it answers. It has a
//! revision of its own up to which it is written, and fills itself from old events; one whose form has
//! changed is made anew. What they keep lies in the space `Views` of the state store, so a snapshot
//! brings it along.
//!
//! | file | subject |
//! |---|---|
//! | `runner` | folds events into all projections, and writes what they made of them |
//! | `views` | what a projection reads and writes |
//! | `proofs` | the Merkle tree over the events |
//! | `usage` | what was taken over time |
//! | `history` | the events of a quota, a hold, a job |
//! | `holders` | who takes how much |
//! | `denials` | what was not carried out, and why |
//!
//! The ledger waits for nothing here but the moment in which one projection is written: events are folded
//! after they were written. It knows nothing of Raft, threads, or who asks.

pub mod denials;
pub mod history;
pub mod holders;
pub mod proofs;
pub mod runner;
#[cfg(test)]
mod tests;
pub mod usage;
pub mod views;

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::Corrupt;
use crate::codec::event::stored::Happened;
use crate::codec::event::stored::Stored;
use crate::codec::event::stored::Touched;
use crate::ledger::Revision;
use crate::planted::Bug;
use crate::planted::planted;
use crate::store::Batch;
use crate::store::StateStore;
use crate::store::StoreError;
use views::ViewBatch;
use views::Views;

/// A projection could not go on: a fault of this node.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The engine failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What is stored cannot be understood.
    #[error("{0}; this node's data is damaged: replace the node")]
    Corrupt(#[from] Corrupt),
}

/// What a projection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// What people call it.
    pub name: &'static str,
    /// What it is for, in a line.
    pub purpose: &'static str,
    /// Where it keeps its records: the first byte of their keys. Never changed, never reused.
    pub number: u8,
    /// Of the form of its records. What has another version is made anew.
    pub version: u32,
    /// Whether it would be wrong, or know less than it knew, if it was made anew of the events that are left
    /// when old ones were removed.
    pub needs_all_events: bool,
}

/// An event on its way into projections.
pub struct Folded<'a> {
    /// As it is stored, which is what is proven.
    pub bytes: &'a [u8],
    /// What it says.
    pub stored: Stored<'a>,
    /// What it touched.
    pub touched: &'a [Touched<'a>],
    /// What was decided.
    pub happened: Happened<'a>,
}

/// A fold of the event stream.
pub trait Projection: Send {
    /// What it is.
    fn about(&self) -> About;

    /// Takes up what is written; all that was folded and not written is forgotten.
    fn load(&mut self, views: &Views<'_>) -> Result<(), ProjectionError>;

    /// Folds the next event.
    fn fold(&mut self, views: &Views<'_>, event: &Folded<'_>) -> Result<(), ProjectionError>;

    /// Adds what changed since the last time to a batch that will be written.
    fn write(&mut self, views: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError>;

    /// Clears what is written so that it can be made anew from the events after `horizon`, which are all that
    /// are sure to be there. Returns the revision it has come to afterwards.
    fn clear(
        &mut self,
        _views: &Views<'_>,
        batch: &mut ViewBatch<'_>,
        horizon: Revision,
    ) -> Result<Revision, ProjectionError> {
        if !planted(Bug::RebuildOnTop) {
            batch.clear();
        }
        Ok(horizon)
    }
}

/// All projections.
pub fn all() -> Vec<Box<dyn Projection>> {
    vec![
        Box::<proofs::Proofs>::default(),
        Box::<usage::Usage>::default(),
        Box::<history::History>::default(),
        Box::<holders::Holders>::default(),
        Box::<denials::Denials>::default(),
    ]
}

/// Where events come from and views go.
pub trait Journal: Send + Sync + 'static {
    /// Raised when everything is replaced.
    fn generation(&self) -> u64;

    /// The last event there is.
    fn head(&self) -> Revision;

    /// Events up to here may be removed at any time.
    fn let_go(&self) -> Revision;

    /// Events up to here are not stored any more.
    fn horizon(&self) -> Result<Revision, StoreError>;

    /// Visits the event blocks from the one with an event on until `visit` returns false.
    fn blocks(&self, from: Revision, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError>;

    /// The blocks of some of the newest events from a revision on, until they have so many bytes, if they
    /// need not be read. They are given once.
    fn fresh(&self, from: Revision, bytes: usize) -> Vec<Bytes>;

    /// Writes views made from a generation; see [`Written`].
    fn write(&self, generation: u64, batch: Batch) -> Result<Written, StoreError>;

    /// Where views are read.
    fn store(&self) -> &Arc<dyn StateStore>;
}

/// What became of a batch of views.
#[derive(Debug)]
pub enum Written {
    /// It is written.
    Done,
    /// Nothing was written: try again later.
    Busy(Batch),
    /// Nothing was written: everything was replaced.
    Gone,
}
