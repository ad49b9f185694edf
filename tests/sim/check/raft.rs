//! S6: what Raft promises, looked at on the disks of the nodes while they run.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::codec::keys;
use quorate::codec::local;
use quorate::raft::types::LogId;
use quorate::raft::types::Vote;
use quorate::raft::wire;
use quorate::store::Space;
use quorate::store::simulated::Disk;
use serde::de::DeserializeOwned;

use super::Verdict;

/// What is on the disk of one node.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Durable; the others need not be.
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// By index.
    entries: BTreeMap<u64, (LogId, Bytes)>,
}

impl Look {
    pub fn at(disk: &Disk) -> Self {
        let entries = disk.content(Space::Entries).into_iter().map(|(_, bytes)| {
            let entry = local::message("an entry", &bytes).expect("an entry");
            let log_id = wire::decode_entry(entry).expect("an entry").log_id;
            (log_id.index, (log_id, bytes))
        });
        Self {
            vote: record(disk.durable(Space::Meta), keys::VOTE),
            purged: record(disk.content(Space::Meta), keys::PURGED),
            committed: record(disk.content(Space::Meta), keys::COMMITTED),
            entries: entries.collect(),
        }
    }
}

/// The term in which a node leads, or has led last, as far as the owner of a disk has heard.
pub fn term_led_by(node: usize, disk: &Disk) -> Option<u64> {
    let vote: Vote = record(disk.durable(Space::Meta), keys::VOTE)?;
    (vote.committed && vote.leader_id.node_id == node as u64 + 1).then_some(vote.leader_id.term)
}

fn record<T: DeserializeOwned>(records: Vec<(Vec<u8>, Bytes)>, key: &[u8]) -> Option<T> {
    let (_, bytes) = records.into_iter().find(|(found, _)| found == key)?;
    Some(local::decode("a record of the log", &bytes).expect("a record"))
}

/// What was seen so far.
#[derive(Default)]
pub struct Raft {
    votes: BTreeMap<usize, Vote>,
    /// Entries that some node knew to be committed.
    committed: BTreeMap<u64, (LogId, Bytes)>,
}

impl Raft {
    /// Looks at all nodes at one moment.
    pub fn add(&mut self, looks: &BTreeMap<usize, Look>) -> Verdict {
        for (node, look) in looks {
            self.check_vote(*node, look)?;
            check_order(*node, look)?;
            self.add_committed(*node, look)?;
        }
        let mut left = looks.iter();
        while let Some((one, look)) = left.next() {
            left.clone().try_for_each(|(other, others)| check_matching((*one, look), (*other, others)))?;
        }
        self.check_leaders(looks)
    }

    /// A durable vote is never taken back.
    fn check_vote(&mut self, node: usize, look: &Look) -> Verdict {
        let Some(vote) = &look.vote else {
            return Ok(());
        };
        if let Some(before) = self.votes.insert(node, *vote)
            && vote.partial_cmp(&before).is_none_or(std::cmp::Ordering::is_lt)
        {
            return Err(format!("node {} took back its vote {before} for {vote}", node + 1));
        }
        Ok(())
    }

    /// What a node knows to be committed stays as it is, for ever and everywhere.
    fn add_committed(&mut self, node: usize, look: &Look) -> Verdict {
        let Some(committed) = look.committed else {
            return Ok(());
        };
        for (index, (log_id, bytes)) in look.entries.range(..=committed.index) {
            let (known, same) = self.committed.entry(*index).or_insert_with(|| (*log_id, bytes.clone()));
            if known != log_id || same != bytes {
                return Err(format!("node {} has {log_id} committed where {known} was", node + 1));
            }
        }
        Ok(())
    }

    /// Who leads has everything that was committed: it is elected by those who have it.
    fn check_leaders(&self, looks: &BTreeMap<usize, Look>) -> Verdict {
        let votes = looks.iter().filter_map(|(node, look)| Some((look.vote?, node, look)));
        let leaders =
            votes.filter(|(vote, node, _)| vote.committed && vote.leader_id.node_id == **node as u64 + 1);
        // One with an older vote may not know yet that it was followed by another.
        let Some((vote, node, look)) =
            leaders.max_by_key(|(vote, ..)| (vote.leader_id.term, vote.leader_id.node_id))
        else {
            return Ok(());
        };
        let from = look.purged.map_or(0, |purged| purged.index + 1);
        for (index, (log_id, _)) in self.committed.range(from..) {
            // Its own it may still have in memory alone, when the others have written them.
            let is_older = (log_id.leader_id.term, log_id.leader_id.node_id)
                < (vote.leader_id.term, vote.leader_id.node_id);
            let has = look.entries.get(index).map(|(log_id, _)| log_id);
            if is_older && has != Some(log_id) {
                return Err(format!(
                    "node {} leads with {vote} and has {has:?} where {log_id} is committed",
                    node + 1
                ));
            }
        }
        Ok(())
    }
}

/// `purged ≤ committed ≤ last`, and no entry is missing or out of order between.
fn check_order(node: usize, look: &Look) -> Verdict {
    let node = node + 1;
    let last = look.entries.values().next_back().map(|(log_id, _)| *log_id).max(look.purged);
    if let Some(committed) = look.committed
        && last.is_none_or(|last| last < committed)
    {
        return Err(format!("node {node} has saved that {committed} is committed, its log ends at {last:?}"));
    }
    let ids: Vec<LogId> = look.entries.values().map(|(log_id, _)| *log_id).collect();
    for pair in ids.windows(2) {
        if pair[0].index + 1 != pair[1].index || pair[0] >= pair[1] {
            return Err(format!("in the log of node {node} {} follows {}", pair[1], pair[0]));
        }
    }
    match (look.purged, ids.first()) {
        (Some(purged), Some(first)) if first.index > purged.index + 1 => {
            Err(format!("the log of node {node} begins with {first}, and is purged up to {purged} only"))
        }
        _ => Ok(()),
    }
}

/// Two entries of one leader at one index are the same, and so is all before them.
fn check_matching((one, look): (usize, &Look), (other, others): (usize, &Look)) -> Verdict {
    let mut same_after = false;
    for (index, (log_id, bytes)) in look.entries.iter().rev() {
        let Some((others_id, others_bytes)) = others.entries.get(index) else {
            continue;
        };
        let is_same = log_id == others_id;
        if same_after && !is_same {
            return Err(format!(
                "nodes {} and {} agree after index {index}, where they have {log_id} and {others_id}",
                one + 1,
                other + 1
            ));
        }
        if is_same && bytes != others_bytes {
            return Err(format!("nodes {} and {} have two entries called {log_id}", one + 1, other + 1));
        }
        same_after |= is_same;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;
    use quorate::raft::TypeConfig;

    use super::*;

    type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

    fn log_id(term: u64, node: u64, index: u64) -> LogId {
        LogId::new(LeaderId::new(term, node).to_committed(), index)
    }

    fn vote(term: u64, node: u64) -> Vote {
        let mut vote = Vote::new(term, node);
        vote.committed = true;
        vote
    }

    /// A log with entries 1 to 4, of which 3 are known to be committed; the last two are of term 2.
    fn look() -> Look {
        let entries = [(1, 1), (1, 2), (2, 3), (2, 4)]
            .map(|(term, index)| (index, (log_id(term, 1, index), Bytes::from(format!("{term} {index}")))));
        Look {
            vote: Some(vote(2, 1)),
            purged: None,
            committed: Some(log_id(2, 1, 3)),
            entries: entries.into(),
        }
    }

    fn looks() -> BTreeMap<usize, Look> {
        [(0, look()), (1, look()), (2, Look { vote: Some(vote(1, 1)), ..Look::default() })].into()
    }

    #[track_caller]
    fn assert_caught(spoil: impl FnOnce(&mut BTreeMap<usize, Look>), problem: &str) {
        let mut raft = Raft::default();
        let mut looks = looks();
        assert_eq!(raft.add(&looks), Ok(()));
        assert_eq!(raft.add(&looks), Ok(()));
        spoil(&mut looks);
        let verdict = raft.add(&looks).expect_err("it is caught");
        assert!(verdict.contains(problem), "{verdict}");
    }

    #[test]
    fn every_kind_of_wrong_is_caught() {
        let at = |looks: &mut BTreeMap<usize, Look>, index: u64, entry: (LogId, &'static str)| {
            let entry = (entry.0, Bytes::from(entry.1));
            looks.get_mut(&1).expect("it is there").entries.insert(index, entry);
        };
        assert_caught(|looks| looks.get_mut(&0).expect("it is there").vote = Some(vote(1, 2)), "took back");
        assert_caught(|looks| at(looks, 4, (log_id(2, 1, 4), "x")), "two entries");
        assert_caught(|looks| at(looks, 2, (log_id(1, 2, 2), "1 2")), "where");
        assert_caught(
            |looks| {
                let look = looks.get_mut(&1).expect("it is there");
                look.committed = None;
                look.entries.insert(2, (log_id(1, 2, 2), Bytes::from("1 2")));
            },
            "agree after",
        );
        assert_caught(
            |looks| {
                let look = looks.get_mut(&1).expect("it is there");
                look.entries.insert(3, (log_id(3, 1, 3), Bytes::from("3 3")));
                look.entries.remove(&4);
                look.committed = Some(log_id(3, 1, 3));
            },
            "committed where",
        );
        assert_caught(
            |looks| {
                looks.get_mut(&1).expect("it is there").entries.remove(&3);
            },
            "follows",
        );
        assert_caught(
            |looks| {
                let look = looks.get_mut(&1).expect("it is there");
                look.entries.clear();
                look.entries.insert(1, (log_id(1, 1, 1), Bytes::from("1 1")));
            },
            "its log ends",
        );
        assert_caught(
            |looks| {
                let look = looks.get_mut(&1).expect("it is there");
                look.purged = Some(log_id(1, 1, 1));
                look.entries.remove(&1);
                look.entries.remove(&2);
            },
            "purged up to",
        );
        assert_caught(
            |looks| looks.get_mut(&2).expect("it is there").vote = Some(vote(3, 3)),
            "is committed",
        );
    }

    #[test]
    fn a_log_that_was_purged_is_none_that_is_wrong() {
        let mut looks = looks();
        let look = looks.get_mut(&0).expect("it is there");
        look.purged = Some(log_id(1, 1, 2));
        look.entries.retain(|index, _| *index > 2);
        assert_eq!(Raft::default().add(&looks), Ok(()));
    }
}
