//! Events as they are stored: what is exported is what is proven.

use tokio::time::Instant;

use super::Error;
use super::ErrorKind;
use super::Node;
use super::watch::NoEvents;
use crate::codec::block;
use crate::ledger::Revision;
use crate::projection::ProjectionError;
use crate::proto::v1;

/// A page ends with the event with which it has so many bytes.
const PAGE_BYTES: usize = 1 << 20;

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
        let page = self.read_page(first, to);
        let page = page.map_err(|error| self.broken("read events", &error))?;
        // What was removed meanwhile is not there.
        page.ok_or_else(|| NoEvents::Compacted { at: self.compacted_at() })
    }

    fn read_page(&self, first: Revision, to: Revision) -> Result<Option<Page>, ProjectionError> {
        let end = match self.block_with(to)? {
            Some((first, count)) => first + count - 1,
            None => return Ok(None),
        };
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        self.parts.applied.blocks(first, &mut |block| {
            bytes += block.len();
            blocks.push(block.to_vec());
            bytes < PAGE_BYTES
        })?;
        let mut page = Page { first, block: Vec::new(), next: None, end };
        let mut next = first;
        for block in &blocks {
            for event in block::events(block)? {
                // Only the first is looked into: the others follow it.
                if next == first && page.block.is_empty() {
                    let revision = block::event(event)?.revision;
                    if revision < first {
                        continue;
                    }
                    if revision > first {
                        return Ok(None);
                    }
                }
                if next > end || page.block.len() >= PAGE_BYTES {
                    break;
                }
                block::push(event, &mut page.block);
                next += 1;
            }
        }
        page.next = (next <= end).then_some(next);
        Ok((next > first).then_some(page))
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

    /// The first revision and the number of events of the block with an event.
    fn block_with(&self, revision: Revision) -> Result<Option<(Revision, u64)>, ProjectionError> {
        let mut found = None;
        self.parts.applied.blocks(revision, &mut |block| {
            found = Some(block.to_vec());
            false
        })?;
        let Some(found) = found else {
            return Ok(None);
        };
        let events = block::events(&found)?;
        let first = events.first().map(|event| block::event(event)).transpose()?;
        let found = first.map(|first| (first.revision, events.len() as u64));
        Ok(found.filter(|(first, count)| (*first..first + count).contains(&revision)))
    }
}
