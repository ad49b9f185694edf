//! Events as they are stored: what is exported is what is proven.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::MutexGuard;

use bytes::Bytes;
use tokio::time::Instant;
use tokio::time::timeout_at;

use super::Error;
use super::ErrorKind;
use super::Node;
use super::watch::NoEvents;
use crate::codec::Corrupt;
use crate::codec::block;
use crate::codec::event::stored::Stored;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::projection::ProjectionError;
use crate::proto::v1;

/// A page ends with the event with which it has so many bytes.
const PAGE_BYTES: usize = 1 << 20;

/// How long to wait before something is read again that was being replaced.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(10);

/// A page of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The first revision in it.
    pub first: Revision,
    /// An encoded `EventBlock`.
    pub block: Vec<u8>,
    /// The revision to go on with; `None` when there is no more.
    pub next: Option<Revision>,
    /// The last revision of the whole export.
    pub end: Revision,
}

/// The events of a log entry.
#[derive(Debug)]
struct Block {
    revisions: Range<Revision>,
    bytes: Bytes,
}

impl Block {
    fn new(bytes: Bytes) -> Result<Self, Corrupt> {
        let events = block::events(&bytes)?;
        let first = events.first().ok_or_else(|| Corrupt::new("an event block", "it has no events"))?;
        let first = Stored::new(first)?.revision;
        Ok(Self { revisions: first..first + events.len() as u64, bytes })
    }

    /// Its events from one on that it has.
    fn events_from(&self, first: Revision) -> Result<Vec<&[u8]>, Corrupt> {
        let mut events = block::events(&self.bytes)?;
        let before = usize::try_from(first - self.revisions.start).unwrap_or(usize::MAX);
        events.drain(..before.min(events.len()));
        Ok(events)
    }
}

/// What the last page was cut from: most often the next begins there, and a block may be far larger than a
/// page. It is not read and decompressed for each. What happened stays what it is, so that this is never
/// old; one block stays when an export is broken off.
#[derive(Debug, Default)]
pub(super) struct Exporting(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    block: Option<Block>,
    /// An event, and the last of its log entry.
    end: Option<(Revision, Revision)>,
}

impl Exporting {
    fn take(&self, revision: Revision) -> Option<Block> {
        self.lock().block.take_if(|block| block.revisions.contains(&revision))
    }

    fn keep(&self, block: Option<Block>) {
        self.lock().block = block;
    }

    fn end_of(&self, revision: Revision) -> Option<Revision> {
        self.lock().end.filter(|(of, _)| *of == revision).map(|(_, end)| end)
    }

    fn ends(&self, revision: Revision, end: Option<Revision>) {
        self.lock().end = end.map(|end| (revision, end));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics while it holds what is exported")
    }
}

impl Node {
    /// A page of the events from `from` (0 for the first there is) to the end of the log entry with
    /// `to` (0 for everything acknowledged before the call).
    pub async fn export(&self, from: Revision, to: Revision, deadline: Instant) -> Result<Page, NoEvents> {
        if to == 0 || to > self.state().revision() {
            self.linearize(deadline).await?;
        }
        let (newest, horizon) = {
            let state = self.state();
            (state.revision(), state.compacted_at())
        };
        let first = if from == 0 { horizon + 1 } else { from };
        let to = if to == 0 { newest } else { to };
        if to > newest {
            let problem = format!("to_revision is {to}; the last event is {newest}");
            return Err(Error::new(ErrorKind::Invalid, problem).into());
        }
        if first <= horizon {
            return Err(NoEvents::Compacted { at: horizon });
        }
        if first > to {
            return Ok(Page { first, block: Vec::new(), next: None, end: to });
        }
        loop {
            let generation = self.parts.applied.generation();
            let page = self.read_page(first, to);
            let at = self.compacted_at();
            match page {
                Ok(Some(page)) => return Ok(page),
                _ if self.is_replaced_since(generation) => self.rest(deadline).await?,
                // What was removed meanwhile is not there.
                Ok(None) if first <= at => return Err(NoEvents::Compacted { at }),
                Ok(None) => {
                    return Err(self.broken("read events", &format!("event {first} is missing")).into());
                }
                Err(error) => return Err(self.broken("read events", &error).into()),
            }
        }
    }

    /// Whether everything is being replaced by a snapshot, or was since a generation.
    pub(super) fn is_replaced_since(&self, generation: u64) -> bool {
        !generation.is_multiple_of(2) || self.parts.applied.generation() != generation
    }

    /// Waits a moment for a snapshot to be in place.
    pub(super) async fn rest(&self, deadline: Instant) -> Result<(), Error> {
        if Instant::now() >= deadline {
            return Err(Error::unavailable(
                "a snapshot is being installed here; ask another node or try again",
            ));
        }
        tokio::time::sleep(SETTLE).await;
        Ok(())
    }

    fn read_page(&self, first: Revision, to: Revision) -> Result<Option<Page>, ProjectionError> {
        let Some(end) = self.end_of_entry(to)? else {
            return Ok(None);
        };
        let blocks = self.blocks_from(first)?;
        let mut page = Page { first, block: Vec::with_capacity(PAGE_BYTES), next: None, end };
        let mut next = first;
        for block in &blocks {
            if !block.revisions.contains(&next) {
                // Removed, or missing: whoever asks for it next is told.
                break;
            }
            for event in block.events_from(next)? {
                if next > end || page.block.len() >= PAGE_BYTES {
                    break;
                }
                block::push(event, &mut page.block);
                next += 1;
            }
        }
        page.next = (next <= end).then_some(next);
        self.exporting.keep(blocks.into_iter().find(|block| block.revisions.contains(&next)));
        Ok((next > first).then_some(page))
    }

    /// Blocks from the one with an event on: enough for a page.
    fn blocks_from(&self, first: Revision) -> Result<Vec<Block>, ProjectionError> {
        let mut blocks: Vec<Block> = self.exporting.take(first).into_iter().collect();
        let mut bytes = 0;
        for block in &blocks {
            bytes += block.events_from(first)?.iter().map(|event| event.len()).sum::<usize>();
        }
        if bytes >= PAGE_BYTES {
            return Ok(blocks);
        }
        let from = blocks.last().map_or(first, |block| block.revisions.end);
        let mut read = Vec::new();
        self.parts.applied.blocks(from, &mut |block| {
            bytes += block.len();
            read.push(Bytes::copy_from_slice(block));
            bytes < PAGE_BYTES
        })?;
        for bytes in read {
            let block = Block::new(bytes)?;
            // Behind the last event there is, the last block is found once more.
            if block.revisions.end > from {
                blocks.push(block);
            }
        }
        Ok(blocks)
    }

    /// The last event of the log entry with an event.
    fn end_of_entry(&self, revision: Revision) -> Result<Option<Revision>, ProjectionError> {
        if let Some(end) = self.exporting.end_of(revision) {
            return Ok(Some(end));
        }
        let mut found = None;
        self.parts.applied.blocks(revision, &mut |block| {
            found = Some(Bytes::copy_from_slice(block));
            false
        })?;
        let Some(block) = found.map(Block::new).transpose()? else {
            return Ok(None);
        };
        let end = block.revisions.contains(&revision).then(|| block.revisions.end - 1);
        self.exporting.ends(revision, end);
        Ok(end)
    }

    /// The events with some revisions, in that order. What was removed is left out.
    pub fn events_at(&self, revisions: &[Revision]) -> Result<Vec<v1::Event>, Error> {
        let mut events = Vec::with_capacity(revisions.len());
        // Neighbours often stand in one block.
        let mut block: Vec<v1::Event> = Vec::new();
        for revision in revisions {
            let find = |block: &[v1::Event]| block.iter().find(|event| event.revision == *revision).cloned();
            if let Some(event) = find(&block) {
                events.push(event);
                continue;
            }
            let mut bytes = Vec::new();
            let read = self.parts.applied.blocks(*revision, &mut |found| {
                bytes = found.to_vec();
                false
            });
            read.map_err(|error| self.broken("read events", &error))?;
            if !bytes.is_empty() {
                block = block::decode(&bytes).map_err(|error| self.broken("read events", &error))?;
            }
            events.extend(find(&block));
        }
        Ok(events)
    }

    /// The last event before a time, of those from `after` to `newest`; `after` when there is none.
    pub(super) async fn last_before(
        &self,
        time: LogTime,
        after: Revision,
        newest: Revision,
    ) -> Result<Revision, Error> {
        // Log time never goes back, so the events can be bisected.
        let (mut before, mut rest) = (after, newest + 1);
        while before + 1 < rest {
            let middle = before + (rest - before) / 2;
            let event = self.events_at(&[middle])?.pop();
            if event.is_some_and(|event| event.log_time_ms < time) {
                before = middle;
            } else {
                rest = middle;
            }
            tokio::task::yield_now().await;
        }
        Ok(before)
    }

    /// The first revision from `from` on that is not before a time.
    pub async fn first_at(
        &self,
        time: LogTime,
        from: Revision,
        newest: Revision,
        deadline: Instant,
    ) -> Result<Revision, NoEvents> {
        if time == 0 || from > newest {
            return Ok(from);
        }
        match timeout_at(deadline, self.last_before(time, from - 1, newest)).await {
            Ok(last) => Ok(last? + 1),
            Err(_) => Err(Error::unavailable("the first event of that time was not found in time").into()),
        }
    }
}
