//! What goes wrong during a run, and when: the faults of its shape, one after the other, each a short
//! script of what is done to the cluster.

mod clocks;
mod script;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::check::progress::Lasted;
use crate::cluster::Cluster;
use crate::operator::Operator;
use crate::trace;
pub use clocks::Clocks;
pub use clocks::WRONG_BY;
use script::Action;
use script::Script;

/// How long the cluster is left alone after a fault.
const QUIET_MS: std::ops::Range<u64> = 200..1_500;

/// How many times longer than usual a slow disk takes: up to 90 ms, less than a heartbeat.
pub const SLOW: u32 = 30;

/// One kind of fault. Whom it meets is decided when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    LeaderLosesPower,
    FollowerLosesPower,
    AllLosePower,
    /// Some node loses its power while another is cut off: no majority of three.
    PowerLossDuringPartition,
    /// A follower that is sent a snapshot loses its power on the way.
    PowerLossDuringCatchUp,
    /// The process ends, the machine does not: what was written is there, synced or not.
    LeaderIsKilled,
    FollowerIsKilled,
    AllAreKilled,
    /// It ends as soon as others hear that it leads, and is started again each time.
    LeaderBreaksAgain,
    LeaderIsIsolated,
    FollowerIsIsolated,
    /// It sends, and hears nothing.
    LeaderIsDeaf,
    /// It hears, and nobody hears it.
    LeaderIsMute,
    FollowerIsDeaf,
    /// Two on one side, the rest on the other, the leader on either.
    Split,
    /// What it sends and is sent arrives only afterwards.
    LeaderPauses,
    FollowerPauses,
    LinksLoseMessages,
    LinksAreSlow,
    LeaderDiskIsSlow,
    FollowerDiskIsSlow,
    /// A sync fails, and what it was for may be on the disk or not.
    LeaderSyncFails,
    FollowerSyncFails,
    LeaderDiskIsFull,
    FollowerDiskIsFull,
    /// There is room for what gives back alone.
    LeaderDiskIsNearlyFull,
    AllDisksAreNearlyFull,
    /// One bit of what a node has stored is another one.
    BitFlips,
    /// A node comes back with an empty disk.
    DiskIsLost,
    /// Two nodes join while a follower is down, and leave while the leader changes.
    MembersChange,
    LeadershipMoves,
    /// What a leader has sent to a follower arrives once more, later.
    AppendsArriveAgain,
    /// … and what a candidate has sent.
    VotesArriveAgain,
    /// A node makes a projection anew from the events, and ends over it, or just before or after.
    RebuildIsInterrupted,
}

impl Fault {
    pub const ALL: [Self; 34] = [
        Self::LeaderLosesPower,
        Self::FollowerLosesPower,
        Self::AllLosePower,
        Self::PowerLossDuringPartition,
        Self::PowerLossDuringCatchUp,
        Self::LeaderIsKilled,
        Self::FollowerIsKilled,
        Self::AllAreKilled,
        Self::LeaderBreaksAgain,
        Self::LeaderIsIsolated,
        Self::FollowerIsIsolated,
        Self::LeaderIsDeaf,
        Self::LeaderIsMute,
        Self::FollowerIsDeaf,
        Self::Split,
        Self::LeaderPauses,
        Self::FollowerPauses,
        Self::LinksLoseMessages,
        Self::LinksAreSlow,
        Self::LeaderDiskIsSlow,
        Self::FollowerDiskIsSlow,
        Self::LeaderSyncFails,
        Self::FollowerSyncFails,
        Self::LeaderDiskIsFull,
        Self::FollowerDiskIsFull,
        Self::LeaderDiskIsNearlyFull,
        Self::AllDisksAreNearlyFull,
        Self::BitFlips,
        Self::DiskIsLost,
        Self::MembersChange,
        Self::LeadershipMoves,
        Self::AppendsArriveAgain,
        Self::VotesArriveAgain,
        Self::RebuildIsInterrupted,
    ];

    /// Whether a majority is well and connected while it lasts, so that it can go on.
    fn leaves_a_majority(self) -> bool {
        match self {
            Self::LeaderLosesPower
            | Self::FollowerLosesPower
            | Self::LeaderIsKilled
            | Self::FollowerIsKilled
            | Self::LeaderBreaksAgain
            | Self::LeaderIsIsolated
            | Self::FollowerIsIsolated
            | Self::LeaderIsDeaf
            | Self::LeaderIsMute
            | Self::FollowerIsDeaf
            | Self::Split
            | Self::LeaderPauses
            | Self::FollowerPauses
            | Self::LeaderDiskIsSlow
            | Self::FollowerDiskIsSlow
            | Self::LeaderSyncFails
            | Self::FollowerSyncFails
            | Self::LeaderDiskIsFull
            | Self::FollowerDiskIsFull
            | Self::LeaderDiskIsNearlyFull
            | Self::BitFlips
            | Self::DiskIsLost
            | Self::RebuildIsInterrupted => true,
            Self::AllLosePower
            | Self::PowerLossDuringPartition
            | Self::PowerLossDuringCatchUp
            | Self::AllAreKilled
            | Self::AllDisksAreNearlyFull
            | Self::LinksLoseMessages
            | Self::LinksAreSlow
            | Self::MembersChange
            | Self::LeadershipMoves
            | Self::AppendsArriveAgain
            | Self::VotesArriveAgain => false,
        }
    }

    /// How many nodes with new ids it takes.
    pub fn new_hosts(self) -> usize {
        match self {
            Self::BitFlips | Self::DiskIsLost => 1,
            Self::MembersChange => 2,
            _ => 0,
        }
    }
}

/// The faults of one run.
pub struct Faults {
    random: SmallRng,
    to_come: VecDeque<Fault>,
    /// What is left of the one that is under way.
    script: VecDeque<(Duration, Action)>,
    /// When the next action is due.
    due: Duration,
    operator: Rc<Operator>,
    /// How often each was injected; nothing for one that found nobody to meet.
    injected: BTreeMap<Fault, u64>,
    /// The errors that disks had told of when the present fault began.
    errors: u64,
    /// … and how many leaders had been ended.
    broken_leaders: u64,
    current: Option<(Fault, Duration)>,
    lasted: Vec<Lasted>,
}

impl Faults {
    /// Those of a shape, in their order.
    pub fn new(seed: u64, begin: Duration, faults: &[Fault], operator: Rc<Operator>) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            to_come: faults.iter().copied().collect(),
            script: VecDeque::new(),
            due: begin,
            operator,
            injected: faults.iter().map(|fault| (*fault, 0)).collect(),
            errors: 0,
            broken_leaders: 0,
            current: None,
            lasted: Vec::new(),
        }
    }

    /// Whether the cluster will be left alone from now on.
    pub fn are_over(&self) -> bool {
        self.to_come.is_empty() && self.script.is_empty() && self.current.is_none()
    }

    /// Those that were to come and met nobody.
    pub fn missed(&self) -> Vec<Fault> {
        self.injected.iter().filter(|(_, count)| **count == 0).map(|(fault, _)| *fault).collect()
    }

    /// Those that were injected.
    pub fn injected(&self) -> Vec<Fault> {
        self.injected.iter().filter(|(_, count)| **count > 0).map(|(fault, _)| *fault).collect()
    }

    /// Those during which a majority could go on.
    pub fn with_majority(&self) -> Vec<Lasted> {
        self.lasted.iter().filter(|lasted| lasted.fault.leaves_a_majority()).copied().collect()
    }

    /// Does what is due.
    pub fn step(&mut self, now: Duration, cluster: &mut Cluster, leader: usize) {
        if now < self.due || self.are_over() {
            return;
        }
        let Some((_, action)) = self.script.front() else {
            self.end(now, cluster);
            self.begin(now, cluster, leader);
            return;
        };
        if *action == Action::AwaitOperator && !self.operator.is_idle() {
            return;
        }
        let (_, action) = self.script.pop_front().expect("looked at above");
        action.take(cluster, &self.operator);
        self.wait(now);
    }

    fn wait(&mut self, now: Duration) {
        let next = self.script.front().map(|(after, _)| *after);
        self.due = now + next.unwrap_or_else(|| Duration::from_millis(self.random.random_range(QUIET_MS)));
    }

    fn end(&mut self, now: Duration, cluster: &mut Cluster) {
        if let Some((fault, from)) = self.current.take() {
            self.lasted.push(Lasted { fault, from, to: now });
            trace::line(format_args!("fault: {fault:?} is over"));
            let is_of_a_disk = matches!(
                fault,
                Fault::LeaderSyncFails
                    | Fault::FollowerSyncFails
                    | Fault::LeaderDiskIsFull
                    | Fault::FollowerDiskIsFull
            );
            let has_met = match fault {
                Fault::LeaderBreaksAgain => cluster.broken_leaders() > self.broken_leaders,
                _ => !is_of_a_disk || cluster.disk_errors() > self.errors,
            };
            if has_met {
                *self.injected.entry(fault).or_default() += 1;
            }
            self.due = now;
        }
    }

    fn begin(&mut self, now: Duration, cluster: &mut Cluster, leader: usize) {
        let Some(fault) = self.to_come.pop_front() else {
            return;
        };
        trace::line(format_args!("fault: {fault:?}"));
        self.errors = cluster.disk_errors();
        self.broken_leaders = cluster.broken_leaders();
        self.current = Some((fault, now));
        self.script = Script { leader, cluster, random: &mut self.random }.of(fault);
        self.due = now;
    }
}
