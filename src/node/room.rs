//! Room on the disks. A disk that fills up stops its node, and with it whatever else needs the disk to be
//! repaired; so before it is full a node stops to decide what takes or adds, and goes on with what gives
//! back.
//!
//! It is the leader that decides, so its disk counts. One that is nearly full hands the leadership to a
//! node with room, if a majority has room. Nor does a leader with room go on when fewer than a majority
//! have: the disks of the others would fill up with what it decides.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::ledger::Request;
use crate::proto::v1;
use crate::raft::NodeId;
use crate::store::Health;

/// How often a node looks at its disk.
const LOOK: Duration = Duration::from_secs(1);

/// How often a leader asks the others how theirs are. While something is refused for lack of room it asks as
/// often as it looks at its own: what was repaired is known soon.
const ASK: Duration = Duration::from_secs(5);

/// How long what one has said holds: an answer that is missed now and then changes nothing.
const HOLDS: Duration = Duration::from_secs(15);

/// How often a leader without room tries to hand over, and how long it may take.
const HAND_OVER: Duration = Duration::from_secs(10);
const HANDING_OVER: Duration = Duration::from_secs(5);

/// There is room again when this part of the reserve is free besides it: what is freed by and by does not
/// open and close the node with every command.
const MORE: u64 = 8;

/// A disk, as its node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk {
    node: NodeId,
    free_bytes: u64,
    is_nearly_full: bool,
}

/// What a node knows of room.
pub(super) struct Room {
    reserve_bytes: u64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    health: Health,
    is_nearly_full: bool,
    /// The disk for whose sake nothing is decided that takes more: as far as this node leads.
    short: Option<Disk>,
}

/// What is told of the disk of a node.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub free_bytes: u64,
    pub is_nearly_full: bool,
    pub problem: Option<String>,
}

impl Room {
    pub(super) fn new(reserve_bytes: u64) -> Self {
        Self { reserve_bytes, seen: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while it holds what was seen")
    }

    /// How the disk was when it was looked at last.
    pub(super) fn seen(&self) -> Told {
        let seen = self.lock();
        let Health { free_bytes, holds_up_writes } = seen.health;
        let problem = if seen.is_nearly_full {
            Some(format!("its disk is nearly full, with {} free: make room", mebibytes(free_bytes)))
        } else {
            holds_up_writes.then(|| "its store holds up writes until it has put in order earlier ones".into())
        };
        Told { free_bytes, is_nearly_full: seen.is_nearly_full, problem }
    }

    /// Whether so few bytes are too few, after it was so or not.
    fn is_nearly_full(&self, free_bytes: u64, was: bool) -> bool {
        let more = if was { self.reserve_bytes / MORE } else { 0 };
        free_bytes < self.reserve_bytes.saturating_add(more)
    }

    /// Takes note of what was seen, and says so where it is another than before.
    fn note(&self, health: Health, is_nearly_full: bool, short: Option<Disk>) {
        let before = std::mem::replace(&mut *self.lock(), Seen { health, is_nearly_full, short });
        let (free_bytes, reserve_bytes) = (health.free_bytes, self.reserve_bytes);
        match (before.is_nearly_full, is_nearly_full) {
            (false, true) => tracing::warn!(
                free_bytes,
                reserve_bytes,
                "the disk is nearly full: make room; while this node leads, what takes or adds is refused"
            ),
            (true, false) => tracing::info!(free_bytes, reserve_bytes, "the disk has room again"),
            _ => {}
        }
        match (before.health.holds_up_writes, health.holds_up_writes) {
            (false, true) => tracing::warn!("the store holds up writes until compactions have caught up"),
            (true, false) => tracing::info!("the store takes writes again"),
            _ => {}
        }
        let others = |disk: Option<Disk>| disk.map(|disk| disk.node).filter(|_| !is_nearly_full);
        match (others(before.short), others(short)) {
            (None, Some(node)) => tracing::warn!(
                node,
                "too few disks of the others have room: what takes or adds is refused until this one has"
            ),
            (Some(_), None) => tracing::info!("enough disks of the others have room"),
            _ => {}
        }
    }

    fn short(&self) -> Option<Disk> {
        self.lock().short
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn refusal(disk: Disk) -> Error {
    let Disk { node, free_bytes, .. } = disk;
    Error::new(
        ErrorKind::NoRoom { node, free_bytes },
        format!(
            "the disk of node {node} is nearly full, with {} free: nothing was decided; make room on it or \
             give it more, then repeat the command with the same request_id; what gives back is decided \
             meanwhile",
            mebibytes(free_bytes)
        ),
    )
}

/// Looks until the node is gone.
pub(super) async fn run(node: Weak<Node>) {
    let mut others = Others::default();
    while let Some(node) = node.upgrade() {
        let began = Instant::now();
        let health = match node.parts.medium.health() {
            Ok(health) => health,
            Err(error) => {
                node.parts.faults.report(error);
                return;
            }
        };
        let (was, refuses) = {
            let seen = node.room.lock();
            (seen.is_nearly_full, seen.short.is_some())
        };
        let is_nearly_full = node.room.is_nearly_full(health.free_bytes, was);
        let own = Disk { node: node.parts.id, free_bytes: health.free_bytes, is_nearly_full };
        if node.parts.raft.is_leader() {
            others.ask(&node, refuses || is_nearly_full && !was).await;
            // Before anything is refused: with another leader nothing has to be.
            others.hand_over(&node, own).await;
        }
        node.room.note(health, is_nearly_full, others.short(&node, own));
        drop(node);
        // Whoever does not answer is waited for, and that takes none of the time between two looks.
        sleep_until(began + LOOK).await;
    }
}

/// What a leader knows of the others.
#[derive(Default)]
struct Others {
    asked: Option<Instant>,
    handed_over: Option<Instant>,
    told: BTreeMap<NodeId, (Disk, Instant)>,
}

fn is_due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}

impl Others {
    async fn ask(&mut self, node: &Node, now: bool) {
        if !now && !is_due(self.asked, ASK) {
            return;
        }
        self.asked = Some(Instant::now());
        let statuses = node.statuses_of_others().await;
        let now = Instant::now();
        self.told.retain(|_, (_, at)| now.duration_since(*at) < HOLDS);
        for (id, v1::NodeStatus { disk_free_bytes, disk_nearly_full, .. }) in statuses {
            // One of an older version tells nothing of its disk.
            if disk_free_bytes > 0 || disk_nearly_full {
                let disk = Disk { node: id, free_bytes: disk_free_bytes, is_nearly_full: disk_nearly_full };
                self.told.insert(id, (disk, now));
            }
        }
    }

    /// The disks of the other voters, as far as they are known.
    fn disks(&self, node: &Node) -> Vec<Disk> {
        let voters = node.voters();
        self.told.values().map(|(disk, _)| *disk).filter(|disk| voters.contains(&disk.node)).collect()
    }

    /// Makes another node the leader, if it would be better off.
    async fn hand_over(&mut self, node: &Node, own: Disk) {
        if !own.is_nearly_full || !is_due(self.handed_over, HAND_OVER) {
            return;
        }
        let Some(to) = successor(node.voters().len(), &self.disks(node)) else {
            return;
        };
        self.handed_over = Some(Instant::now());
        let request = v1::TransferLeadershipRequest { node_id: to };
        match node.transfer_as_leader(request, Instant::now() + HANDING_OVER).await {
            Ok(()) => tracing::info!(to, "the disk is nearly full: another node leads, whose disk has room"),
            Err(error) => tracing::debug!(to, %error, "the disk is nearly full, and no other node leads yet"),
        }
    }

    /// The disk for whose sake nothing more can be taken, if this node leads.
    fn short(&self, node: &Node, own: Disk) -> Option<Disk> {
        if own.is_nearly_full {
            return Some(own);
        }
        if !node.parts.raft.is_leader() {
            return None;
        }
        short_of(node.voters().len(), &self.disks(node))
    }
}

fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Who should lead instead of a node without room: the one with the most, if a majority has some.
fn successor(voters: usize, others: &[Disk]) -> Option<NodeId> {
    let with_room = || others.iter().filter(|disk| !disk.is_nearly_full);
    if with_room().count() < majority(voters) {
        return None;
    }
    with_room().max_by_key(|disk| disk.free_bytes).map(|disk| disk.node)
}

/// For a leader that has room: the fullest disk of the others, if fewer than a majority have room, itself
/// included. When none is nearly full it is for other reasons that they are few.
fn short_of(voters: usize, others: &[Disk]) -> Option<Disk> {
    let with_room = 1 + others.iter().filter(|disk| !disk.is_nearly_full).count();
    let full = others.iter().filter(|disk| disk.is_nearly_full);
    full.min_by_key(|disk| disk.free_bytes).filter(|_| with_room < majority(voters)).copied()
}

impl Node {
    /// For each command why it is not proposed now, if it is not. A repeat of one that was decided is, and
    /// gets its outcome.
    pub(super) fn refusals<'a>(
        &self,
        requests: impl ExactSizeIterator<Item = &'a Request>,
    ) -> Vec<Option<Error>> {
        let Some(short) = self.room.short() else {
            return vec![None; requests.len()];
        };
        let state = self.state();
        let is_admitted =
            |request: &Request| state.gives_back(&request.command) || state.decided(request.id).is_some();
        requests.map(|request| (!is_admitted(request)).then(|| refusal(short))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(of: &[(NodeId, u64, bool)]) -> Vec<Disk> {
        let disk = |(node, free_bytes, is_nearly_full): &(NodeId, u64, bool)| Disk {
            node: *node,
            free_bytes: *free_bytes,
            is_nearly_full: *is_nearly_full,
        };
        of.iter().map(disk).collect()
    }

    #[test]
    fn room_is_lost_at_the_reserve_and_found_an_eighth_above_it() {
        let room = Room::new(800);
        assert!(!room.is_nearly_full(800, false));
        assert!(room.is_nearly_full(799, false));
        assert!(room.is_nearly_full(899, true));
        assert!(!room.is_nearly_full(900, true));
        assert!(!Room::new(0).is_nearly_full(0, false), "no reserve is never touched");
        assert!(!Room::new(0).is_nearly_full(0, true));
    }

    #[test]
    fn the_node_with_the_most_room_takes_over_if_a_majority_has_room() {
        assert_eq!(successor(3, &disks(&[(2, 50, false), (3, 70, false)])), Some(3));
        assert_eq!(successor(3, &disks(&[(2, 50, true), (3, 70, false)])), None);
        assert_eq!(successor(3, &disks(&[(3, 70, false)])), None, "node 2 did not answer");
        assert_eq!(
            successor(5, &disks(&[(2, 9, false), (3, 8, false), (4, 7, false), (5, 90, true)])),
            Some(2)
        );
        assert_eq!(successor(1, &[]), None);
    }

    #[test]
    fn a_leader_with_room_is_short_of_it_when_fewer_than_a_majority_have_room() {
        let short = |voters, others: &[_]| short_of(voters, &disks(others)).map(|disk| disk.node);
        assert_eq!(short(1, &[]), None);
        assert_eq!(short(3, &[(2, 5, true), (3, 70, false)]), None);
        assert_eq!(short(3, &[(2, 5, true), (3, 4, true)]), Some(3));
        assert_eq!(short(3, &[(2, 5, true)]), Some(2), "node 3 may be gone for good");
        assert_eq!(short(3, &[]), None, "that there is no majority has other reasons");
        assert_eq!(short(5, &[(2, 5, true), (3, 5, true), (4, 50, false), (5, 50, false)]), None);
    }
}
