//! Folds the events into all projections: those that have come furthest go on with what is new, and
//! those behind (new ones, or ones made anew) catch up page by page in between.
//!
//! What was folded is written when somebody waits for it, when much has come together, or when there is
//! nothing more to fold: one projection after the other, since what is decided waits while one is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::About;
use super::Folded;
use super::Journal;
use super::Projection;
use super::ProjectionError;
use super::Written;
use super::views::ViewBatch;
use super::views::Views;
use crate::codec::Corrupt;
use crate::codec::block;
use crate::codec::event::stored::Stored;
use crate::ledger::Revision;
use crate::store::Batch;

/// A page ends with the block with which it has so many bytes…
const PAGE_BYTES: usize = 256 << 10;

/// … or so many blocks.
const PAGE_BLOCKS: usize = 512;

/// What was folded is written at the latest when it is so many events. The more of them, the more touch the
/// same records, which are then read and written once; but what is decided waits while a projection is
/// written, and longer.
const EVENTS_PER_WRITE: u64 = 65_536;

/// How far a projection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub about: About,
    /// What it shows: the events up to here.
    pub revision: Revision,
    /// Whether it is being made anew, or for the first time, and shows less than it did.
    pub is_catching_up: bool,
}

/// What there is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// More, at once.
    More,
    /// The same again, after a moment: something else is being written.
    Later,
    /// All there is was folded, and is to be written before long.
    Write,
    /// Nothing, until there are new events.
    Idle,
}

struct Slot {
    projection: Box<dyn Projection>,
    /// The last event that was folded, and the last up to which it is written.
    folded: Revision,
    written: Revision,
    /// Whether what is about to be written was all there was then.
    has_all: bool,
    is_catching_up: bool,
}

/// All projections of a node.
pub struct Runner {
    journal: Arc<dyn Journal>,
    slots: Vec<Slot>,
    generation: u64,
    /// The slots that are to be written before anything is folded again.
    to_write: Vec<usize>,
    /// What could not be written yet of the last of them.
    unwritten: Option<Batch>,
    /// Those to be made anew.
    asked: BTreeSet<&'static str>,
}

impl Runner {
    /// Takes up projections where they were.
    pub fn open(
        journal: Arc<dyn Journal>,
        projections: Vec<Box<dyn Projection>>,
    ) -> Result<Self, ProjectionError> {
        let slot =
            |projection| Slot { projection, folded: 0, written: 0, has_all: false, is_catching_up: false };
        let slots = projections.into_iter().map(slot).collect();
        let (to_write, unwritten, asked) = (Vec::new(), None, BTreeSet::new());
        let mut runner = Self { journal, slots, generation: 0, to_write, unwritten, asked };
        runner.load()?;
        Ok(runner)
    }

    /// How far each is.
    pub fn progress(&self) -> Vec<Progress> {
        let progress = |slot: &Slot| Progress {
            about: slot.projection.about(),
            revision: slot.written,
            is_catching_up: slot.is_catching_up,
        };
        self.slots.iter().map(progress).collect()
    }

    /// Has a projection made anew.
    pub fn rebuild(&mut self, name: &'static str) {
        self.asked.insert(name);
        // Nobody shall read it from now on.
        for slot in self.slots.iter_mut().filter(|slot| slot.projection.about().name == name) {
            slot.is_catching_up = true;
        }
    }

    /// Folds a page of events, or writes what was folded: when it is much, or an event up to `wanted`,
    /// for which somebody waits, or it has been long enough (`is_due`).
    pub fn step(&mut self, wanted: Revision, is_due: bool) -> Result<Next, ProjectionError> {
        let generation = self.journal.generation();
        if !generation.is_multiple_of(2) {
            return Ok(Next::Later);
        }
        match self.step_within(wanted, is_due) {
            // What was read was of two generations.
            Err(_) if self.journal.generation() != generation => Ok(Next::Later),
            result => result,
        }
    }

    fn step_within(&mut self, wanted: Revision, is_due: bool) -> Result<Next, ProjectionError> {
        if self.generation != self.journal.generation() {
            self.load()?;
        }
        if let Some(slot) = self.to_write.last() {
            return self.write(*slot);
        }
        if !self.start_anew()? {
            return Ok(Next::Later);
        }
        let head = self.journal.head();
        let furthest = self.slots.iter().map(|slot| slot.folded).max().unwrap_or(head);
        let least = self.slots.iter().map(|slot| slot.folded).min().unwrap_or(head);
        // First what is new, for those that are near it.
        if furthest < head {
            self.fold_page(furthest)?;
        }
        if least < furthest {
            self.fold_page(least)?;
        }
        let pending = |slot: &Slot| slot.folded - slot.written;
        let most = self.slots.iter().map(pending).max().unwrap_or(0);
        let is_done = self.slots.iter().all(|slot| slot.folded >= head);
        let waited_for = |slot: &Slot| slot.written < wanted && (is_done || slot.folded >= wanted);
        if most >= EVENTS_PER_WRITE || most > 0 && (is_due || self.slots.iter().any(waited_for)) {
            let has_news = |at: &usize| pending(&self.slots[*at]) > 0;
            self.to_write = (0..self.slots.len()).rev().filter(has_news).collect();
            self.slots.iter_mut().for_each(|slot| slot.has_all = slot.folded >= head);
            return Ok(Next::More);
        }
        Ok(match most {
            _ if !is_done => Next::More,
            0 => Next::Idle,
            _ => Next::Write,
        })
    }

    /// Takes up what the store holds now.
    fn load(&mut self) -> Result<(), ProjectionError> {
        self.generation = self.journal.generation();
        self.to_write.clear();
        self.unwritten = None;
        self.asked.clear();
        let store = Arc::clone(self.journal.store());
        for slot in &mut self.slots {
            let about = slot.projection.about();
            let views = Views::new(&*store, about);
            match views.revision()? {
                Some(revision) => {
                    (slot.folded, slot.written) = (revision, revision);
                    slot.is_catching_up = false;
                    slot.projection.load(&views)?;
                }
                None => {
                    (slot.folded, slot.written) = (0, 0);
                    slot.is_catching_up = true;
                    self.asked.insert(about.name);
                }
            }
        }
        Ok(())
    }

    /// Makes one projection anew, if one is to be. False when that has to wait.
    fn start_anew(&mut self) -> Result<bool, ProjectionError> {
        let Some(name) = self.asked.pop_first() else {
            return Ok(true);
        };
        let store = Arc::clone(self.journal.store());
        let (let_go, removed) = (self.journal.let_go(), self.journal.horizon()?);
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.projection.about().name == name) else {
            return Ok(true);
        };
        let about = slot.projection.about();
        let views = Views::new(&*store, about);
        let written = views.revision()?;
        // What it has is of events that are gone, or may be at any time, and it would not have it any more.
        if about.needs_all_events && let_go > 0 && written >= Some(removed) {
            tracing::warn!(name, let_go, "a projection is not made anew: events that it needs were removed");
            slot.is_catching_up = slot.folded < self.journal.head();
            return Ok(true);
        }
        let mut batch = Batch::default();
        let mut cleared = ViewBatch::new(&mut batch, about);
        // What was let go of stays until all projections are past it: not a moment longer.
        let horizon = written.map_or(removed, |written| written.min(let_go).max(removed));
        let reached = slot.projection.clear(&views, &mut cleared, horizon)?;
        cleared.reached(reached);
        // Whatever stands in the way of it: it is cleared before anything is folded into it.
        match self.journal.write(self.generation, batch)? {
            Written::Done => {
                let slot = self.slots.iter_mut().find(|slot| slot.projection.about().name == name);
                let slot = slot.expect("it was there just now");
                (slot.folded, slot.written) = (reached, reached);
                slot.is_catching_up = reached < self.journal.head();
                slot.projection.load(&views)?;
            }
            Written::Busy(_) => {
                self.asked.insert(name);
                return Ok(false);
            }
            Written::Gone => {}
        }
        Ok(true)
    }

    /// Folds what comes after `from` into those that are there.
    fn fold_page(&mut self, from: Revision) -> Result<(), ProjectionError> {
        let store = Arc::clone(self.journal.store());
        let journal = Arc::clone(&self.journal);
        let slots = &mut self.slots;
        let asked = &self.asked;
        let mut here: Vec<(Views<'_>, &mut Slot)> = slots
            .iter_mut()
            .filter(|slot| slot.folded == from && !asked.contains(slot.projection.about().name))
            .map(|slot| (Views::new(&*store, slot.projection.about()), slot))
            .collect();
        if here.is_empty() {
            return Ok(());
        }
        let fresh = journal.fresh(from + 1, PAGE_BYTES);
        if !fresh.is_empty() {
            return fresh.iter().try_for_each(|block| fold_block(&mut here, block));
        }
        // Not while they are visited: folding reads the store too.
        let (mut page, mut bytes) = (Vec::new(), 0);
        journal.blocks(from + 1, &mut |block| {
            bytes += block.len();
            page.push(Bytes::copy_from_slice(block));
            bytes < PAGE_BYTES && page.len() < PAGE_BLOCKS
        })?;
        let result = page.iter().try_for_each(|block| fold_block(&mut here, block));
        if result.is_err() {
            // What comes next may have been removed before it was folded: then it is made anew.
            let removed = journal.horizon()?;
            let behind: Vec<_> = here
                .iter()
                .filter(|(_, slot)| slot.folded < removed)
                .map(|(_, slot)| slot.projection.about().name)
                .collect();
            if !behind.is_empty() {
                behind.into_iter().for_each(|name| self.rebuild(name));
                return Ok(());
            }
        }
        result
    }

    /// Writes what was folded into a slot, the last of those that are to be written.
    fn write(&mut self, at: usize) -> Result<Next, ProjectionError> {
        let slot = &mut self.slots[at];
        let batch = match self.unwritten.take() {
            Some(batch) => batch,
            None => {
                let store = Arc::clone(self.journal.store());
                let about = slot.projection.about();
                let mut batch = Batch::default();
                let mut part = ViewBatch::new(&mut batch, about);
                slot.projection.write(&Views::new(&*store, about), &mut part)?;
                part.reached(slot.folded);
                batch
            }
        };
        match self.journal.write(self.generation, batch)? {
            Written::Done => {
                slot.written = slot.folded;
                // Not if somebody has asked for it to be made anew meanwhile.
                if slot.has_all && !self.asked.contains(slot.projection.about().name) {
                    slot.is_catching_up = false;
                }
                self.to_write.pop();
                Ok(Next::More)
            }
            Written::Busy(batch) => {
                self.unwritten = Some(batch);
                Ok(Next::Later)
            }
            // Everything is taken up anew with the next step.
            Written::Gone => Ok(Next::More),
        }
    }
}

fn fold_block(slots: &mut [(Views<'_>, &mut Slot)], block: &[u8]) -> Result<(), ProjectionError> {
    // One piece of memory for what each of them touched.
    let mut touched = Vec::new();
    for bytes in block::events(block)? {
        let stored = Stored::new(bytes)?;
        touched.clear();
        for account in stored.touched() {
            touched.push(account?);
        }
        let happened = stored.happened()?;
        fold(slots, &Folded { bytes, stored, touched: &touched, happened })?;
    }
    Ok(())
}

fn fold(slots: &mut [(Views<'_>, &mut Slot)], event: &Folded<'_>) -> Result<(), ProjectionError> {
    let revision = event.stored.revision;
    for (views, slot) in slots {
        if revision <= slot.folded {
            continue;
        }
        if revision != slot.folded + 1 {
            let problem = format!("{revision} follows {}", slot.folded);
            return Err(Corrupt::new("the event stream", problem).into());
        }
        slot.projection.fold(views, event)?;
        slot.folded = revision;
    }
    Ok(())
}
