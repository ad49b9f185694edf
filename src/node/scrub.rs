//! Reads all stored events again and again, slowly, and compares them with the event tree: damage is
//! found before somebody needs what is damaged.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use super::Error;
use super::Node;
use crate::codec::Corrupt;
use crate::codec::block;
use crate::codec::merkle;
use crate::ledger::Revision;
use crate::projection::ProjectionError;
use crate::projection::proofs;
use crate::projection::proofs::Tree;

/// How much is read at a time.
const PAGE_BYTES: usize = 256 << 10;

/// How long to rest then: some megabytes a second are read.
const REST: Duration = Duration::from_millis(50);

/// How long to rest when there is nothing to compare with yet.
const SHORT_REST: Duration = Duration::from_secs(1);

/// How long to rest when everything was read.
const LONG_REST: Duration = Duration::from_secs(600);

/// Reads until the node is gone.
pub(super) async fn run(node: Weak<Node>) {
    let mut after = 0;
    while let Some(node) = node.upgrade() {
        let rest = match node.scrub(after) {
            Ok(Some(checked)) => {
                after = checked;
                REST
            }
            Ok(None) if after == 0 => SHORT_REST,
            Ok(None) => {
                after = 0;
                LONG_REST
            }
            // It has been reported: the process ends.
            Err(_) => LONG_REST,
        };
        drop(node);
        sleep(rest).await;
    }
}

impl Node {
    /// Checks events after a revision. Returns the last one, or `None` when there are none that are in
    /// the tree already.
    fn scrub(&self, after: Revision) -> Result<Option<Revision>, Error> {
        let generation = self.parts.applied.generation();
        match self.check_page(after) {
            Ok(checked) => Ok(checked),
            // What was read was of two stores, or the tree is being made.
            Err(_) if self.is_replaced_since(generation) || self.is_catching_up(proofs::ABOUT.name) => {
                Ok(Some(after))
            }
            Err(error) => Err(self.broken("check the stored events", &error)),
        }
    }

    fn check_page(&self, after: Revision) -> Result<Option<Revision>, ProjectionError> {
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        self.parts.applied.blocks(after + 1, &mut |block| {
            bytes += block.len();
            blocks.push(block.to_vec());
            bytes < PAGE_BYTES
        })?;
        let tree = Tree::open(&**self.parts.applied.store())?;
        let mut checked = None;
        let mut last_seen = after;
        for block in &blocks {
            let events = block::events(block)?;
            let Some(first) = events.first() else { continue };
            let first = block::event(first)?.revision;
            let last = first + events.len() as u64 - 1;
            if first > last_seen + 1 && first > self.parts.applied.removed_through()? + 1 {
                let problem = format!("the events {} to {} are missing", last_seen + 1, first - 1);
                return Err(Corrupt::new("the event stream", problem).into());
            }
            last_seen = last;
            if last > tree.size() {
                break;
            }
            let leaves = tree.leaves(first - 1, last)?;
            for (revision, (event, leaf)) in (first..).zip(events.iter().zip(leaves)) {
                if merkle::leaf(event) != leaf {
                    let problem = format!("event {revision} is not what it was when it was decided");
                    return Err(Corrupt::new("the event stream", problem).into());
                }
            }
            checked = Some(last);
        }
        Ok(checked.filter(|checked| *checked > after))
    }
}
