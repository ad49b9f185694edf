//! The events of a node, read from its store. Nothing is locked meanwhile: applying goes on.

use std::io;
use std::ops::Range;

use super::Applied;
use super::fresh::Fresh;
use crate::codec::Corrupt;
use crate::codec::block;
use crate::codec::keys;
use crate::ledger::Revision;
use crate::proto::v1;
use crate::store::Space;
use crate::store::StateStore;
use crate::store::StoreError;

/// A page of events ends with the one that reaches this many bytes: a thousand readers that take
/// nothing more have one each on its way.
const PAGE_BYTES: usize = 256 << 10;

const WHAT: &str = "the event stream";

impl Applied {
    /// Events from a revision on, in order and without a gap: at most `limit`, and fewer when they are
    /// large. They begin later when those before were removed. What is left of the block in which they
    /// end stays in `open`.
    pub fn events(
        &self,
        from: Revision,
        limit: usize,
        open: &mut OpenBlock,
    ) -> Result<Vec<v1::Event>, io::Error> {
        let mut page = Page { from, limit, events: Vec::new(), bytes: 0, is_ended: false };
        if open.has(from) {
            page.add(&open.block)?;
        }
        let mut problem = None;
        if !page.is_full() {
            self.blocks(page.next(), &mut |block| {
                match page.add(block) {
                    Ok(Some(left)) => *open = OpenBlock { left, block: block.to_vec() },
                    Ok(None) => {}
                    Err(corrupt) => problem = Some(corrupt),
                }
                problem.is_none() && !page.is_full()
            })?;
        }
        problem.map_or(Ok(page.events), |corrupt| Err(corrupt.into()))
    }

    /// Takes some of the newest log entries from the one whose events begin with a revision on, until they
    /// have so many bytes: nothing when they were taken before, or are too many to be kept. They are in
    /// the store, too.
    pub fn take_fresh(&self, from: Revision, bytes: usize) -> Vec<Fresh> {
        self.fresh.take(from, bytes)
    }

    /// Events up to here are not stored any more. That is at most what was let go of, and less until
    /// this node has removed it.
    pub fn removed_through(&self) -> Result<Revision, StoreError> {
        let mut first = None;
        self.store().scan(Space::Events, &keys::block(0), &keys::block(Revision::MAX), &mut |key, _| {
            first = keys::number(key);
            false
        })?;
        Ok(first.map_or_else(|| self.read().revision(), |first| first.saturating_sub(1)))
    }
}

/// Visits the event blocks from the one with the event `from` on, in order, until `visit` returns false.
pub(super) fn visit_blocks(
    store: &dyn StateStore,
    from: Revision,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), StoreError> {
    // The block that contains `from` may begin before it. It is large, and read once.
    let first = store.last(Space::Events, &keys::block(0), &keys::block(from.saturating_add(1)))?;
    let mut next = keys::block(0).to_vec();
    if let Some((key, block)) = first {
        if !visit(&block) {
            return Ok(());
        }
        next = key.to_vec();
        next.push(0);
    }
    store.scan(Space::Events, &next, &keys::block(Revision::MAX), &mut |_, block| visit(block))
}

/// The block in which the last page ended. Most often the next begins there, and a block may be far
/// larger than a page: it is not read and decompressed for each.
#[derive(Debug, Default)]
pub struct OpenBlock {
    /// The events that are left of it.
    left: Range<Revision>,
    block: Vec<u8>,
}

impl OpenBlock {
    /// Forgets it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn has(&self, revision: Revision) -> bool {
        self.left.contains(&revision)
    }
}

struct Page {
    from: Revision,
    limit: usize,
    events: Vec<v1::Event>,
    bytes: usize,
    is_ended: bool,
}

impl Page {
    /// The revision that it goes on with.
    fn next(&self) -> Revision {
        self.events.last().map_or(self.from, |last| last.revision + 1)
    }

    fn is_full(&self) -> bool {
        self.is_ended || self.events.len() >= self.limit || self.bytes >= PAGE_BYTES
    }

    /// Adds what is wanted of a block, and tells what was left. It may have thousands of events: those
    /// before are passed over.
    fn add(&mut self, block: &[u8]) -> Result<Option<Range<Revision>>, Corrupt> {
        let records = block::events(block)?;
        let Some(first) = records.first() else {
            return Err(Corrupt::new(WHAT, "a block has no events"));
        };
        let first = block::event(first)?.revision;
        let (next, end) = (self.next(), first + records.len() as u64);
        if first > next && !self.events.is_empty() {
            // What lies between was removed, or is missing: whoever asks for it next is told.
            self.is_ended = true;
            return Ok(None);
        }
        let passed_over = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
        for (record, revision) in records.into_iter().zip(first..).skip(passed_over) {
            if self.is_full() {
                return Ok(Some(revision..end));
            }
            let event = block::event(record)?;
            if event.revision != revision {
                let problem = format!("{} stands where {revision} should", event.revision);
                return Err(Corrupt::new(WHAT, problem));
            }
            self.bytes += record.len();
            self.events.push(event);
        }
        Ok(None)
    }
}
