//! The Merkle tree over the encoded events (RFC 6962), kept as tiles: node hashes in runs of 256 at every
//! eighth level. Everything else of the tree follows from those.
//!
//! | key | value |
//! |---|---|
//! | level, 1 byte; number of the tile, 8 bytes | up to 256 hashes: nodes (8 × level, 256 × number + …) |
//!
//! Tiles stay when events are removed: whatever was once shown to be in the ledger stays provable.

use super::About;
use super::Folded;
use super::Projection;
use super::ProjectionError;
use super::views::ViewBatch;
use super::views::Views;
use crate::codec::Corrupt;
use crate::codec::merkle;
use crate::codec::merkle::Edge;
use crate::codec::merkle::Hash;
use crate::codec::merkle::Nodes;
use crate::ledger::Revision;
use crate::planted::Bug;
use crate::planted::planted;
use crate::store::StateStore;

/// What it is.
pub const ABOUT: About = About {
    name: "proofs",
    purpose: "the Merkle tree over all events: checkpoints and proofs",
    number: 0x10,
    version: 1,
    needs_all_events: false,
};

const WHAT: &str = "a tile of the event tree";

/// Hashes in a full tile, and as a power of two.
const WIDTH: usize = 1 << HEIGHT;
const HEIGHT: u32 = 8;

/// Bytes of a hash.
const HASH: usize = 32;

/// Levels of tiles that a tree can have.
const LEVELS: u8 = 8;

/// The tile with a node of its level, and how many come before it in the tile.
fn place(node: u64) -> (u64, usize) {
    (node >> HEIGHT, usize::try_from(node % (1 << HEIGHT)).expect("a tile has few hashes"))
}

fn key(level: u8, tile: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&tile.to_be_bytes());
    key
}

/// A tile that is not full: the last of its level.
#[derive(Debug, Default)]
struct Growing {
    number: u64,
    hashes: Vec<u8>,
    changed: bool,
}

/// The fold: only the last tile of each level is in memory.
#[derive(Debug, Default)]
pub struct Proofs {
    levels: Vec<Growing>,
    /// Full tiles that are not written yet.
    full: Vec<(u8, u64, Vec<u8>)>,
}

impl Proofs {
    fn push(&mut self, level: u8, hash: &Hash) {
        if self.levels.len() == usize::from(level) {
            self.levels.push(Growing::default());
        }
        let growing = &mut self.levels[usize::from(level)];
        growing.hashes.extend_from_slice(&hash.0);
        if planted(Bug::LeafOutOfOrder) && level == 0 {
            growing.hashes.rotate_right(HASH);
        }
        growing.changed = true;
        if growing.hashes.len() < WIDTH * HASH {
            return;
        }
        let hashes = std::mem::take(&mut growing.hashes);
        let above = top_of(&hashes);
        self.full.push((level, growing.number, hashes));
        growing.number += 1;
        growing.changed = false;
        self.push(level + 1, &above);
    }
}

/// The node above all hashes of a full tile.
fn top_of(hashes: &[u8]) -> Hash {
    let mut nodes: Vec<Hash> = hashes.chunks_exact(HASH).map(hash).collect();
    while nodes.len() > 1 {
        nodes = nodes.chunks_exact(2).map(|pair| merkle::parent(&pair[0], &pair[1])).collect();
    }
    nodes[0]
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(bytes.try_into().expect("a hash has 32 bytes"))
}

impl Projection for Proofs {
    fn about(&self) -> About {
        ABOUT
    }

    fn load(&mut self, views: &Views<'_>) -> Result<(), ProjectionError> {
        *self = Self::default();
        let size = views.revision()?.unwrap_or(0);
        for level in 0..LEVELS {
            let nodes = size >> (u32::from(level) * HEIGHT);
            if nodes == 0 {
                break;
            }
            let (number, present) = place(nodes);
            let hashes = if present == 0 { Vec::new() } else { tile(views, level, number, present)? };
            self.levels.push(Growing { number, hashes, changed: false });
        }
        Ok(())
    }

    fn fold(&mut self, _: &Views<'_>, event: &Folded<'_>) -> Result<(), ProjectionError> {
        self.push(0, &merkle::leaf(event.bytes));
        Ok(())
    }

    fn write(&mut self, _: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError> {
        for (level, number, hashes) in self.full.drain(..) {
            batch.put(&key(level, number), hashes);
        }
        for (level, growing) in (0..).zip(&mut self.levels) {
            if std::mem::take(&mut growing.changed) {
                batch.put(&key(level, growing.number), growing.hashes.clone());
            }
        }
        Ok(())
    }

    /// Of events that were removed the tiles are all there is: those stay.
    fn clear(
        &mut self,
        views: &Views<'_>,
        batch: &mut ViewBatch<'_>,
        horizon: Revision,
    ) -> Result<Revision, ProjectionError> {
        if horizon == 0 {
            batch.clear();
            return Ok(0);
        }
        if views.revision()?.is_none_or(|written| written < horizon) {
            let problem = format!("it ends before event {horizon}, up to which events were removed");
            return Err(Corrupt::new("the event tree", problem).into());
        }
        for level in 0..LEVELS {
            let nodes = horizon >> (u32::from(level) * HEIGHT);
            let (number, present) = place(nodes);
            if present > 0 {
                let kept = tile(views, level, number, present)?;
                batch.put(&key(level, number), kept);
            } else {
                batch.delete(&key(level, number));
            }
            batch.delete_range(&key(level, number + 1), &key(level + 1, 0));
        }
        Ok(horizon)
    }
}

/// The first hashes of a tile, of which there must be so many.
fn tile(views: &Views<'_>, level: u8, number: u64, present: usize) -> Result<Vec<u8>, ProjectionError> {
    let problem = |problem| Corrupt::new(WHAT, format!("tile {level}/{number} {problem}"));
    let bytes = views.get(&key(level, number))?.ok_or_else(|| problem("is missing"))?;
    if bytes.len() < present * HASH || bytes.len() % HASH != 0 {
        return Err(problem("is too short").into());
    }
    Ok(bytes[..present * HASH].to_vec())
}

/// The tree as it is written.
pub struct Tree<'a> {
    views: Views<'a>,
    size: u64,
}

impl<'a> Tree<'a> {
    /// The tree in a store.
    pub fn open(store: &'a dyn StateStore) -> Result<Self, ProjectionError> {
        let views = Views::new(store, ABOUT);
        let size = views.revision()?.unwrap_or(0);
        Ok(Self { views, size })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over the first `size` leaves.
    pub fn root(&self, size: u64) -> Result<Hash, ProjectionError> {
        merkle::root(self, size)
    }

    /// The right edge of the tree of the first `size` leaves.
    pub fn edge(&self, size: u64) -> Result<Edge, ProjectionError> {
        Edge::of(self, size)
    }

    /// The hashes of the leaves `from..to`.
    pub fn leaves(&self, from: u64, to: u64) -> Result<Vec<Hash>, ProjectionError> {
        let mut leaves = Vec::new();
        let mut next = from;
        while next < to {
            let (number, first) = place(next);
            let last = usize::try_from(to - (number << HEIGHT)).map_or(WIDTH, |last| last.min(WIDTH));
            let hashes = tile(&self.views, 0, number, last)?;
            leaves.extend(hashes.chunks_exact(HASH).skip(first).map(hash));
            next = (number + 1) << HEIGHT;
        }
        Ok(leaves)
    }
}

impl Nodes for Tree<'_> {
    type Error = ProjectionError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, ProjectionError> {
        let (in_tile, above) = (level % HEIGHT, level / HEIGHT);
        let level = u8::try_from(above).expect("a tree has at most 64 levels");
        // The first of the hashes below it in its tile, and their number.
        let (first, count) = (index << in_tile, 1usize << in_tile);
        let (number, offset) = place(first);
        let hashes = tile(&self.views, level, number, offset + count)?;
        let mut nodes: Vec<Hash> = hashes.chunks_exact(HASH).skip(offset).map(hash).collect();
        while nodes.len() > 1 {
            nodes = nodes.chunks_exact(2).map(|pair| merkle::parent(&pair[0], &pair[1])).collect();
        }
        Ok(nodes[0])
    }
}
