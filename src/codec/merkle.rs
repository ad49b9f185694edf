//! The Merkle tree over the encoded events, as RFC 6962 (section 2.1) defines it: leaf n is the event
//! with revision n + 1.
//!
//! Nodes are named by level and index: node (l, i) covers the leaves from i × 2^l on, 2^l of them. Only
//! complete ones have a name; everything else follows from them. Checking a proof is the business of
//! `ct-merkle`, which shares nothing with this.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ct_merkle::ConsistencyProof;
use ct_merkle::InclusionProof;
use ct_merkle::RootHash;
use sha2::Digest as _;
use sha2::Sha256;

/// A SHA-256 hash; in Base64 when it is shown, as in checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a leaf.
pub fn leaf(event: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(event).finalize().into())
}

/// The hash of what is above two nodes.
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the tree without leaves.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// Where the hashes of complete nodes come from.
pub trait Nodes {
    /// Why there is none.
    type Error;

    /// The hash of node (`level`, `index`).
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root over the first `size` leaves.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 { Ok(empty_root()) } else { range(nodes, 0, size) }
}

/// The hash over the leaves `from..to`, of which there is at least one; `from` is a multiple of the
/// smallest power of two that is not less than their number.
fn range<N: Nodes>(nodes: &N, from: u64, to: u64) -> Result<Hash, N::Error> {
    let count = to - from;
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        return nodes.node(level, from >> level);
    }
    let middle = from + left_of(count);
    Ok(parent(&range(nodes, from, middle)?, &range(nodes, middle, to)?))
}

/// How many of `count` leaves, at least two, are on the left: the largest power of two below `count`.
fn left_of(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// What shows that leaf `index` is among the first `size` (RFC 6962, 2.1.1): `index < size`.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    assert!(index < size, "a leaf is in the tree of which it is shown to be in");
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while to - from > 1 {
        let middle = from + left_of(to - from);
        if index < middle {
            path.push(range(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range(nodes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// What shows that the first `old` leaves of the first `size` are what they were when there were no
/// more (RFC 6962, 2.1.2): `0 < old ≤ size`.
pub fn consistency<N: Nodes>(nodes: &N, old: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    assert!(0 < old && old <= size, "only a tree that is not larger is a part of another");
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    // The root of the old tree is known to whoever asks, as long as all that was split off is new.
    let mut known = true;
    while old != to {
        let middle = from + left_of(to - from);
        if old <= middle {
            path.push(range(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range(nodes, from, middle)?);
            from = middle;
            known = false;
        }
    }
    if !known {
        path.push(range(nodes, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether a proof shows that an event with this revision is among the first `size`.
pub fn includes(root: &Hash, size: u64, revision: u64, event: &[u8], proof: &[Hash]) -> bool {
    let Some(index) = revision.checked_sub(1).filter(|index| *index < size) else {
        return false;
    };
    let proof = InclusionProof::<Sha256>::try_from_bytes(concat(proof));
    proof.is_ok_and(|proof| tree(root, size).verify_inclusion(&event, index, &proof).is_ok())
}

/// Whether a proof shows that the tree of the old root is the beginning of that of the new one.
pub fn extends(old: (&Hash, u64), new: (&Hash, u64), proof: &[Hash]) -> bool {
    match (old.1, new.1) {
        // Every tree begins with the empty one, and each with itself; neither needs a proof.
        (0, _) => *old.0 == empty_root() && proof.is_empty(),
        (old_size, new_size) if old_size == new_size => old.0 == new.0 && proof.is_empty(),
        (old_size, new_size) if old_size > new_size => false,
        _ => {
            let proof = ConsistencyProof::<Sha256>::try_from_bytes(concat(proof));
            let (old, new) = (tree(old.0, old.1), tree(new.0, new.1));
            proof.is_ok_and(|proof| new.verify_consistency(&old, &proof).is_ok())
        }
    }
}

fn tree(root: &Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new(root.0.into(), size)
}

fn concat(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

/// The right edge of a tree: enough to go on with it and to know its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// Complete nodes, the largest first: one for each bit of the size.
    nodes: Vec<Hash>,
}

impl Edge {
    /// The edge of a tree of which only the complete nodes are known, the largest first.
    pub fn new(size: u64, nodes: Vec<Hash>) -> Option<Self> {
        (nodes.len() == size.count_ones() as usize).then_some(Self { size, nodes })
    }

    /// Of the first `size` leaves.
    pub fn of<N: Nodes>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        let edge = levels.map(|level| nodes.node(level, (size >> level) - 1));
        Ok(Self { size, nodes: edge.collect::<Result<_, _>>()? })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The complete nodes, the largest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.nodes.pop().expect("there is a node for each bit of the size");
            hash = parent(&left, &hash);
        }
        self.nodes.push(hash);
        self.size += 1;
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let from_the_right = self.nodes.iter().rev().copied();
        from_the_right.reduce(|right, left| parent(&left, &right)).unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // Of small numbers.
mod tests {
    use std::convert::Infallible;

    use ct_merkle::mem_backed_tree::MemoryBackedTree;

    use super::*;

    /// Computes every node from the leaves.
    struct Leaves(Vec<Hash>);

    impl Nodes for Leaves {
        type Error = Infallible;

        fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
            Ok(match level {
                0 => self.0[index as usize],
                _ => parent(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?),
            })
        }
    }

    fn event(index: u64) -> Vec<u8> {
        format!("event {index}").into_bytes()
    }

    /// What somebody else makes of the same leaves.
    fn oracle(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
        let mut tree = MemoryBackedTree::new();
        (0..size).for_each(|index| tree.push(event(index)));
        tree
    }

    const MOST: u64 = 70;

    fn leaves() -> Leaves {
        Leaves((0..MOST).map(|index| leaf(&event(index))).collect())
    }

    #[test]
    fn roots_and_proofs_are_those_of_an_independent_implementation() {
        let leaves = leaves();
        for size in 1..MOST {
            let oracle = oracle(size);
            let root = root(&leaves, size).unwrap();
            assert_eq!(root.0, <[u8; 32]>::from(*oracle.root().as_bytes()), "size {size}");
            for index in 0..size {
                let proof = inclusion(&leaves, index, size).unwrap();
                assert_eq!(concat(&proof), oracle.prove_inclusion(index as usize).as_bytes());
                assert!(includes(&root, size, index + 1, &event(index), &proof));
                assert!(!includes(&root, size, index + 1, &event(index + 1), &proof));
                assert!(!includes(&root, size, index + 2, &event(index), &proof));
            }
            for old in 1..size {
                let proof = consistency(&leaves, old, size).unwrap();
                assert_eq!(concat(&proof), oracle.prove_consistency((size - old) as usize).as_bytes());
                let before = super::root(&leaves, old).unwrap();
                assert!(extends((&before, old), (&root, size), &proof));
                assert!(!extends((&root, old), (&root, size), &proof));
                assert!(!extends((&before, old), (&before, size), &proof));
            }
        }
    }

    #[test]
    fn a_proof_with_anything_changed_shows_nothing() {
        let leaves = leaves();
        let (old, size) = (21, 50);
        let [before, root] = [old, size].map(|size| root(&leaves, size).unwrap());
        let proofs = [inclusion(&leaves, 30, size).unwrap(), consistency(&leaves, old, size).unwrap()];
        for (which, proof) in proofs.iter().enumerate() {
            let shows = |proof: &[Hash]| match which {
                0 => includes(&root, size, 31, &event(30), proof),
                _ => extends((&before, old), (&root, size), proof),
            };
            assert!(shows(proof));
            assert!(!shows(&proof[1..]) && !shows(&[proof.as_slice(), &[root]].concat()) && !shows(&[]));
            for position in 0..proof.len() {
                let mut changed = proof.clone();
                changed[position].0[7] ^= 1;
                assert!(!shows(&changed), "proof {which}, hash {position}");
            }
        }
    }

    #[test]
    fn a_tree_extends_itself_and_the_empty_one_without_proof() {
        let leaves = leaves();
        let root = root(&leaves, 9).unwrap();
        assert!(extends((&root, 9), (&root, 9), &[]));
        assert!(extends((&empty_root(), 0), (&root, 9), &[]));
        assert!(!extends((&root, 0), (&root, 9), &[]));
        assert!(!extends((&root, 9), (&empty_root(), 0), &[]));
        assert!(!includes(&root, 9, 0, &event(0), &[]) && !includes(&empty_root(), 0, 1, &event(0), &[]));
    }

    #[test]
    fn an_edge_grows_into_the_same_roots() {
        let leaves = leaves();
        let mut edge = Edge::default();
        assert_eq!(edge.root(), empty_root());
        for size in 1..MOST {
            edge.push(leaves.0[size as usize - 1]);
            assert_eq!(edge.root(), root(&leaves, size).unwrap(), "size {size}");
            assert_eq!(Edge::of(&leaves, size).unwrap(), edge);
            assert_eq!(Edge::new(size, edge.nodes().to_vec()), Some(edge.clone()));
            assert_eq!(Edge::new(size, edge.nodes()[1..].to_vec()), None);
        }
    }
}
