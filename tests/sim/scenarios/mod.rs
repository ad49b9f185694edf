//! Runs that are kept: each is a day on which something went wrong once, or would if somebody forgot why the
//! code is as it is. A seed that fails becomes one of these, with as few faults as show it.

use crate::faults::Fault;
use crate::shape::Shape;

/// A run that is kept.
pub struct Scenario {
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    seed: u64,
    nodes: usize,
    faults: &'static [Fault],
    change: fn(&mut Shape),
}

impl Scenario {
    /// The one of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|scenario| scenario.name == name)
    }

    /// Its seed, or another, and its shape.
    pub fn shape(&self, seed: Option<u64>) -> (u64, Shape) {
        let seed = seed.unwrap_or(self.seed);
        let mut shape = Shape { nodes: self.nodes, faults: self.faults.to_vec(), ..Shape::of(seed) };
        (self.change)(&mut shape);
        (seed, shape)
    }
}

fn as_it_is(_: &mut Shape) {}

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "a_node_on_a_full_disk_shows_no_empty_digest",
        about: "asked for the digest of its state, a node has to write its rows first; when that fails it \
                said that all was well and showed none",
        seed: 6,
        nodes: 3,
        faults: &[Fault::LeaderDiskIsFull, Fault::FollowerDiskIsFull, Fault::LeaderDiskIsFull],
        change: as_it_is,
    },
    Scenario {
        name: "snapshots_are_interrupted_at_every_step",
        about: "a follower that is sent a snapshot loses its power again and again on the way, and comes up \
                with the old state or the new one, never with a part of either",
        seed: 21,
        nodes: 3,
        faults: &[Fault::PowerLossDuringCatchUp; 8],
        change: |shape| {
            shape.raft.snapshot_after_entries = 30;
            shape.raft.keep_entries = 1;
        },
    },
    Scenario {
        name: "disks_lie_after_a_failed_sync",
        about: "what a failed sync was for may be on the disk or not: nobody may have been told of it",
        seed: 22,
        nodes: 3,
        faults: &[
            Fault::LeaderSyncFails,
            Fault::FollowerSyncFails,
            Fault::LeaderSyncFails,
            Fault::FollowerSyncFails,
            Fault::LeaderSyncFails,
        ],
        change: as_it_is,
    },
    Scenario {
        name: "members_come_and_go_while_leaders_fall",
        about: "three nodes become five and three again while one is down and the leader is cut off; then a \
                node is replaced",
        seed: 23,
        nodes: 3,
        faults: &[Fault::MembersChange, Fault::LeadershipMoves, Fault::DiskIsLost],
        change: as_it_is,
    },
    Scenario {
        name: "an_added_node_without_its_data_has_no_vote",
        about: "a node that was added later knows nobody whom it could ask whether its empty disk is as it should \
                be; it began as a new one, and voted under its old id",
        seed: 1,
        nodes: 3,
        faults: &[Fault::DiskIsLost, Fault::LeaderIsKilled, Fault::DiskIsLost],
        change: as_it_is,
    },
    Scenario {
        name: "old_messages_arrive_under_new_leaders",
        about: "appends and votes of leaders that are gone arrive once more, and change nothing",
        seed: 24,
        nodes: 5,
        faults: &[
            Fault::AppendsArriveAgain,
            Fault::LeaderIsKilled,
            Fault::VotesArriveAgain,
            Fault::AppendsArriveAgain,
            Fault::LeaderPauses,
            Fault::AppendsArriveAgain,
        ],
        change: as_it_is,
    },
    Scenario {
        name: "everybody_loses_power_on_slow_disks",
        about: "all nodes lose what was not synced, again and again, while syncs take as long as heartbeats",
        seed: 25,
        nodes: 5,
        faults: &[Fault::AllLosePower; 8],
        change: |shape| shape.raft.checkpoint_interval_ms = 200,
    },
    Scenario {
        name: "who_breaks_as_a_leader_is_not_elected_again_and_again",
        about: "a node with a damaged entry in its log ended as soon as it led, was started again each time, and \
                was the first to stand for election each time: nobody else could lead",
        seed: 26,
        nodes: 3,
        faults: &[Fault::LeaderBreaksAgain; 2],
        change: as_it_is,
    },
];
