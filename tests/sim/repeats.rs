//! Messages between nodes that arrive once more, long after they were sent, as when a sender repeats what
//! it takes for lost: what a leader or a candidate has on its disk is what it has sent to the others.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use quorate::codec::keys;
use quorate::codec::local;
use quorate::proto::peer::v1::AppendRequest;
use quorate::proto::peer::v1::VoteRequest;
use quorate::proto::peer::v1::raft_client::RaftClient;
use quorate::raft::Peers;
use quorate::raft::peers::PeerChannel;
use quorate::raft::peers::Purpose;
use quorate::raft::types::Entry;
use quorate::raft::types::LogId;
use quorate::raft::types::Vote;
use quorate::raft::wire;
use quorate::store::Space;
use quorate::store::simulated::Disk;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::cluster::CLUSTER;
use crate::cluster::Members;
use crate::cluster::member;
use crate::net::SimulatedNet;
use crate::trace;

/// How many messages are kept before the first is sent again.
const KEPT: usize = 6;

/// How many are sent again, each to some node.
const SENT: usize = 16;

/// Between two of them, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 20..200;

/// The most entries of one append.
const ENTRIES: usize = 8;

const ANSWER: Duration = Duration::from_millis(400);

/// Who repeats.
pub struct Repeater {
    disks: Vec<Arc<Disk>>,
    random: RefCell<SmallRng>,
}

impl Repeater {
    pub fn new(seed: u64, disks: Vec<Arc<Disk>>) -> Self {
        Self { disks, random: RefCell::new(SmallRng::seed_from_u64(seed)) }
    }

    /// Keeps appends of whoever leads, and sends them again in any order.
    pub async fn appends(&self, members: &Members) {
        let mut kept = Vec::new();
        let mut sent = 0;
        while sent < SENT {
            self.pause().await;
            let leaders =
                members.borrow().iter().filter_map(|node| self.append_of(*node)).collect::<Vec<_>>();
            kept.extend(leaders);
            if kept.len() < KEPT {
                continue;
            }
            let ((from, message), to) = self.choose(&kept, members);
            sent += 1;
            if to == from {
                continue;
            }
            trace::line(format_args!("repeat an append of node {} to node {}", from + 1, to + 1));
            let mut client = self.client(from, to);
            let answer = timeout(ANSWER, client.append(message.clone())).await;
            trace::line(format_args!(
                "it is answered {:?}",
                answer.map(|answer| answer.map(tonic::Response::into_inner))
            ));
        }
    }

    /// The same of whoever stands for election.
    pub async fn votes(&self, members: &Members) {
        let mut kept = Vec::new();
        for _ in 0..SENT {
            kept.extend(members.borrow().iter().filter_map(|node| self.vote_of(*node)));
            self.pause().await;
            if kept.is_empty() {
                continue;
            }
            let ((from, message), to) = self.choose(&kept, members);
            if to == from {
                continue;
            }
            trace::line(format_args!("repeat a vote of node {} to node {}", from + 1, to + 1));
            let mut client = self.client(from, to);
            let answer = timeout(ANSWER, client.vote(*message)).await;
            trace::line(format_args!(
                "it is answered {:?}",
                answer.map(|answer| answer.map(tonic::Response::into_inner))
            ));
        }
    }

    async fn pause(&self) {
        let pause = self.random.borrow_mut().random_range(PAUSE_MS);
        sleep(Duration::from_millis(pause)).await;
    }

    fn choose<'a, T>(&self, kept: &'a [(usize, T)], members: &Members) -> ((usize, &'a T), usize) {
        let mut random = self.random.borrow_mut();
        let (from, message) = &kept[random.random_range(0..kept.len())];
        let members = members.borrow();
        ((*from, message), members[random.random_range(0..members.len())])
    }

    /// What a node sends that leads, and some of its entries.
    fn append_of(&self, node: usize) -> Option<(usize, AppendRequest)> {
        let vote = self
            .vote(node)
            .filter(|vote| vote.committed && vote.leader_id.node_id == member(node).node_id)?;
        let entries: Vec<Entry> = self.disks[node]
            .content(Space::Entries)
            .iter()
            .map(|(_, bytes)| {
                wire::decode_entry(local::message("an entry", bytes).expect("an entry")).expect("an entry")
            })
            .collect();
        let first = self.random.borrow_mut().random_range(0..entries.len().max(2) - 1);
        let (before, after) = entries.split_at_checked(first + 1)?;
        let committed: Option<LogId> = self.record(node, keys::COMMITTED);
        Some((
            node,
            AppendRequest {
                vote: Some(wire::encode_vote(&vote)),
                prev_log_id: before.last().map(|entry| wire::encode_log_id(entry.log_id)),
                entries: after.iter().take(ENTRIES).map(wire::encode_entry).collect(),
                leader_commit: committed.map(wire::encode_log_id),
            },
        ))
    }

    /// What a node sends that wants to lead.
    fn vote_of(&self, node: usize) -> Option<(usize, VoteRequest)> {
        let mut vote = self.vote(node).filter(|vote| vote.leader_id.node_id == member(node).node_id)?;
        vote.committed = false;
        let last = self.disks[node].content(Space::Entries).pop()?.1;
        let last = wire::decode_entry(local::message("an entry", &last).ok()?).ok()?;
        let request = VoteRequest {
            vote: Some(wire::encode_vote(&vote)),
            last_log_id: Some(wire::encode_log_id(last.log_id)),
            leadership_transfer: false,
        };
        Some((node, request))
    }

    fn vote(&self, node: usize) -> Option<Vote> {
        self.record(node, keys::VOTE)
    }

    fn record<T: serde::de::DeserializeOwned>(&self, node: usize, key: &[u8]) -> Option<T> {
        let records = self.disks[node].content(Space::Meta);
        let (_, bytes) = records.into_iter().find(|(found, _)| found == key)?;
        local::decode("a record of the log", &bytes).ok()
    }

    fn client(&self, from: usize, to: usize) -> RaftClient<PeerChannel> {
        let peers = Peers::new(Arc::new(SimulatedNet), CLUSTER, member(from).node_id);
        let (to, member) = wire::decode_member(member(to));
        let channel = peers.channel(to, &member, Purpose::Replication);
        RaftClient::new(channel.expect("an address of a node"))
    }
}
