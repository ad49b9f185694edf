//! Checkpoints and proofs of the event tree; and the nodes compare their trees.
//!
//! Equal events have equal trees, so a node whose tree is another than that of a majority has events
//! that are not those that were decided: it stops rather than serve them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout_at;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::codec::merkle;
use crate::codec::merkle::Hash;
use crate::codec::note;
use crate::codec::note::Checkpoint;
use crate::ledger::Revision;
use crate::planted::Bug;
use crate::planted::planted;
use crate::projection::ProjectionError;
use crate::projection::proofs;
use crate::projection::proofs::Tree;
use crate::raft::Member;
use crate::raft::NodeId;

/// How often the nodes compare their trees.
const COMPARE: Duration = Duration::from_secs(10);

/// How long making a checkpoint may take, whoever waits for it.
const MAKING: Duration = Duration::from_secs(600);

/// How long another node may take to say what its tree is.
const ANSWER: Duration = Duration::from_secs(2);

/// The last checkpoint that was made; made one at a time.
pub(super) type Checkpoints = Arc<Mutex<Option<Checkpoint>>>;

/// A proof, with the tree it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The hashes of the proof, in the order of RFC 6962.
    pub hashes: Vec<Hash>,
    /// The tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// Of an inclusion proof: the hash of the leaf; of a consistency proof: the root of the old tree.
    pub subject: Option<Hash>,
}

/// What is to be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// That an event is in the tree.
    Includes(Revision),
    /// That the tree of this size is its beginning.
    Extends(u64),
    /// Nothing: the right edge of the tree of this size.
    Edge(u64),
}

impl Node {
    /// The public key that checks what this node signs.
    pub fn verifier_key(&self) -> String {
        self.parts.signer.verifier().to_string()
    }

    /// How far the ledger has come: at least everything that was acknowledged anywhere before the call.
    /// Returns the signed note, too.
    pub async fn checkpoint(self: &Arc<Self>, deadline: Instant) -> Result<(Checkpoint, String), Error> {
        self.linearize(deadline).await?;
        let least = self.state().revision();
        let late = || {
            Error::unavailable(
                "the state was not read in that time, which goes on: try again, with more time",
            )
        };
        let lock = Arc::clone(&self.checkpoints).lock_owned();
        let mut last = timeout_at(deadline, lock).await.map_err(|_| late())?;
        // Nothing has happened since, or not much: the last one shows what is asked for.
        let checkpoint = match last.clone().filter(|last| last.size >= least) {
            Some(checkpoint) => checkpoint,
            None => {
                let node = Arc::clone(self);
                // It is made to its end, whoever still waits for it: the next call finds it.
                let making = tokio::spawn(async move {
                    let made = node.make_checkpoint(least, Instant::now() + MAKING).await?;
                    *last = Some(made.clone());
                    Ok(made)
                });
                let made = timeout_at(deadline, making).await.map_err(|_| late())?;
                made.map_err(|error| {
                    Error::new(ErrorKind::Fault, format!("this node is stopping: {error}"))
                })??
            }
        };
        let note = self.parts.signer.sign(&checkpoint.to_string());
        Ok((checkpoint, note))
    }

    async fn make_checkpoint(&self, least: Revision, deadline: Instant) -> Result<Checkpoint, Error> {
        let digested = self.parts.applied.digest(least).await;
        let digested = digested.map_err(|error| self.broken("read the state", &error))?;
        self.projected(proofs::ABOUT.name, digested.revision, deadline).await?;
        let late = u64::from(planted(Bug::CheckpointOfAnotherSize));
        let root = self.with_tree(|tree| tree.root(digested.revision.saturating_sub(late)))?;
        Ok(Checkpoint {
            origin: note::origin(self.cluster()),
            size: digested.revision,
            root,
            time: digested.time,
            state: digested.digest,
        })
    }

    /// A proof about the tree of some size; `None` is what there is.
    pub async fn proof(&self, claim: Claim, size: Option<u64>, deadline: Instant) -> Result<Proof, Error> {
        let size = match size {
            Some(size) if size > self.state().revision() => {
                self.linearize(deadline).await?;
                size
            }
            Some(size) => size,
            None => self.with_tree(|tree| Ok(tree.size()))?,
        };
        let newest = self.state().revision();
        let invalid = |problem: String| Err(Error::new(ErrorKind::Invalid, problem));
        if size > newest {
            return invalid(format!("size is {size}; there are {newest} events"));
        }
        match claim {
            Claim::Includes(revision) if revision == 0 || revision > size => {
                return invalid(format!("revision is {revision}; the tree has the events 1 to {size}"));
            }
            Claim::Extends(old) | Claim::Edge(old) if old > size => {
                return invalid(format!("the old size is {old}, which is more than the size {size}"));
            }
            _ => {}
        }
        self.projected(proofs::ABOUT.name, size, deadline).await?;
        self.with_tree(|tree| {
            let (hashes, subject) = match claim {
                Claim::Includes(revision) => {
                    let index = revision - 1;
                    let leaf = tree.leaves(index, revision)?.first().copied();
                    (merkle::inclusion(tree, index, size)?, leaf)
                }
                Claim::Extends(0) => (Vec::new(), Some(merkle::empty_root())),
                Claim::Extends(old) => (merkle::consistency(tree, old, size)?, Some(tree.root(old)?)),
                Claim::Edge(old) => (tree.edge(old)?.nodes().to_vec(), None),
            };
            Ok(Proof { hashes, size, root: tree.root(size)?, subject })
        })
    }

    /// The root over `size` events, or fewer when there are fewer.
    pub(super) fn tree_head(&self, size: u64) -> Result<(u64, Hash), Error> {
        self.with_tree(|tree| {
            let size = size.min(tree.size());
            Ok((size, tree.root(size)?))
        })
    }

    /// Looks at the tree. One that cannot be read is a fault, unless it is being made anew.
    fn with_tree<T>(&self, look: impl FnOnce(&Tree<'_>) -> Result<T, ProjectionError>) -> Result<T, Error> {
        let store = &**self.parts.applied.store();
        let generation = self.parts.applied.generation();
        let tree = Tree::open(store);
        let size = tree.as_ref().map_or(0, Tree::size);
        tree.and_then(|tree| look(&tree)).map_err(|error| {
            let is_settled = !self.is_replaced_since(generation)
                && !self.is_catching_up(proofs::ABOUT.name)
                && Tree::open(store).is_ok_and(|tree| tree.size() == size);
            if is_settled {
                self.broken("read the event tree", &error)
            } else {
                Error::unavailable("the event tree is being made anew; ask another node or try again")
            }
        })
    }

    /// Reports a fault of this node, and what to say to whoever asked.
    pub(super) fn broken(&self, action: &str, error: &dyn std::fmt::Display) -> Error {
        self.parts.faults.report(format!("{action}: {error}"));
        Error::new(ErrorKind::Fault, format!("this node is broken and stops: {action}: {error}"))
    }

    /// Everybody else.
    fn others(&self) -> Vec<(NodeId, Member)> {
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let nodes = metrics.membership_config.nodes().map(|(id, member)| (*id, member.clone()));
        nodes.filter(|(id, _)| *id != self.parts.id).collect()
    }

    /// Asks all other nodes for their trees; stops this one when it is alone against a majority.
    async fn compare_trees(&self) -> Result<(), Error> {
        let own = self.with_tree(|tree| Ok(tree.size()))?;
        let others = self.others();
        let deadline = Instant::now() + ANSWER;
        let asked = others.iter().map(async |(id, member)| {
            let answer = self.ask_tree_head(*id, member, own, deadline).await;
            answer.ok().map(|(size, root)| (*id, size, root))
        });
        // Trees of different sizes are compared at the smaller one.
        let mut different = BTreeMap::new();
        for (id, size, root) in join_all(asked).await.into_iter().flatten() {
            // It may have been begun anew meanwhile.
            let same = |tree: &Tree<'_>| Ok(size > tree.size() || tree.root(size)? == root);
            if size <= own && !self.with_tree(same)? {
                different.insert(id, size);
            }
        }
        let Some(size) = different.values().min().copied() else {
            return Ok(());
        };
        // Whether those that differ agree among each other is seen at one size.
        let asked = others.iter().filter(|(id, _)| different.contains_key(id)).map(async |(id, member)| {
            let answer = self.ask_tree_head(*id, member, size, deadline + ANSWER).await;
            answer.ok().filter(|(at, _)| *at == size).map(|(_, root)| root)
        });
        let mut votes: BTreeMap<Hash, usize> = BTreeMap::new();
        for root in join_all(asked).await.into_iter().flatten() {
            *votes.entry(root).or_default() += 1;
        }
        let majority = others.len().div_ceil(2) + 1;
        let nodes: Vec<_> = different.keys().map(ToString::to_string).collect();
        let nodes = nodes.join(", ");
        if votes.values().any(|count| *count >= majority) {
            let problem = format!(
                "up to event {size} this node has other events than the majority (nodes {nodes}): its data \
                 is damaged or was changed; replace the node"
            );
            return Err(self.broken("compare the event trees", &problem));
        }
        tracing::error!(nodes, size, "the event trees of these nodes differ from that of this one");
        Ok(())
    }
}

/// Compares until the node is gone.
pub(super) async fn compare(node: Weak<Node>) {
    loop {
        sleep(COMPARE).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        if let Err(error) = node.compare_trees().await {
            // It has been reported: the process ends.
            tracing::error!(%error, "the event trees could not be compared");
        }
    }
}
