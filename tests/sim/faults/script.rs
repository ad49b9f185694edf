//! What each fault is made of.

use std::collections::VecDeque;
use std::time::Duration;

use quorate::projection;
use quorate::store::simulated::Defect;
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::Fault;
use super::SLOW;
use crate::cluster::Cluster;
use crate::operator::Operator;
use crate::operator::Task;

/// How long a fault lasts, in milliseconds.
const LASTING_MS: std::ops::Range<u64> = 400..3_000;

/// How long a node is away that is to be sent a snapshot.
const AWAY_MS: std::ops::Range<u64> = 2_000..4_000;

/// When it loses its power after it has come back.
const CATCHING_UP_MS: std::ops::Range<u64> = 5..250;

/// How long a node runs that is to be replaced: long enough to see that it must not.
const REPLACED_MS: std::ops::Range<u64> = 2_000..3_500;

/// How long a node breaks whenever it leads: longer than a majority may take to do without it.
const BREAKING_MS: std::ops::Range<u64> = 6_000..7_000;

/// How long a machine takes to start.
const BOOT: Duration = Duration::from_millis(150);

/// When a node ends that was asked to make a projection anew: before it hears of it, over it, or after it.
const REBUILDING_MS: std::ops::Range<u64> = 0..400;

/// The most that a message takes on slow links.
const SLOW_LINKS: Duration = Duration::from_millis(45);

/// How likely it is that a link fails with a message.
const LOSS: f64 = 0.002;

/// One thing that is done to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    CutPower(usize),
    Kill(usize),
    BreakAsLeader(usize),
    Isolate(usize),
    Deafen(usize),
    Mute(usize),
    Split(Vec<usize>),
    Hold(usize),
    LoseMessages(f64),
    SlowLinks(Option<Duration>),
    SlowDisk(usize, u32),
    SlowDisks(u32),
    Break(usize, Defect),
    NearlyFill(usize),
    FlipBit(usize),
    LoseDisk(usize),
    /// Ends everything that lasts, and starts whoever is down.
    Heal,
    /// Takes a node off for good, and has another take its place.
    Replace(usize),
    Ask(Task),
    Grow(Vec<usize>),
    Retire(Vec<usize>),
    /// Goes on when the operator has nothing left to do.
    AwaitOperator,
}

impl Action {
    pub fn take(self, cluster: &mut Cluster, operator: &Operator) {
        match self {
            Self::CutPower(node) => cluster.cut_power(node),
            Self::Kill(node) => cluster.kill(node),
            Self::BreakAsLeader(node) => cluster.break_as_leader(node),
            Self::Isolate(node) => cluster.isolate(node),
            Self::Deafen(node) => cluster.deafen(node),
            Self::Mute(node) => cluster.mute(node),
            Self::Split(side) => cluster.split(&side),
            Self::Hold(node) => cluster.hold(node),
            Self::LoseMessages(rate) => cluster.lose_messages(rate),
            Self::SlowLinks(latency) => cluster.slow_links(latency),
            Self::SlowDisk(node, times) => cluster.slow_disk(node, times),
            Self::SlowDisks(times) => cluster.slow_disks(times),
            Self::Break(node, defect) => cluster.break_disk(node, defect),
            Self::NearlyFill(node) => cluster.nearly_fill(node),
            Self::FlipBit(node) => cluster.flip_bit(node),
            Self::LoseDisk(node) => cluster.lose_disk(node),
            Self::Heal => cluster.heal(),
            Self::Replace(node) => {
                cluster.retire(node);
                let by = cluster.start_new();
                operator.ask(Task::Replace { node, by });
            }
            Self::Ask(task) => operator.ask(task),
            Self::Grow(nodes) => {
                for node in nodes {
                    let started = cluster.start_new();
                    assert_eq!(started, node, "they are taken in their order");
                    operator.ask(Task::Add(node));
                }
            }
            Self::Retire(nodes) => nodes.into_iter().for_each(|node| cluster.retire(node)),
            Self::AwaitOperator => {}
        }
    }
}

/// Writes scripts.
pub struct Script<'a> {
    pub leader: usize,
    pub cluster: &'a Cluster,
    pub random: &'a mut SmallRng,
}

impl Script<'_> {
    /// Each action, and how long after the one before it comes.
    pub fn of(mut self, fault: Fault) -> VecDeque<(Duration, Action)> {
        let members = self.cluster.members().borrow().clone();
        let leader = if members.contains(&self.leader) { self.leader } else { members[0] };
        let followers: Vec<usize> = members.iter().copied().filter(|node| *node != leader).collect();
        let follower = followers[self.random.random_range(0..followers.len())];
        match fault {
            Fault::LeaderLosesPower => self.lasting([Action::CutPower(leader)]),
            Fault::FollowerLosesPower => self.lasting([Action::CutPower(follower)]),
            Fault::AllLosePower => self.lasting(members.into_iter().map(Action::CutPower)),
            Fault::PowerLossDuringPartition => {
                self.lasting([Action::Isolate(leader), Action::CutPower(follower)])
            }
            Fault::PowerLossDuringCatchUp => {
                let (away, on_the_way) = (self.ms(AWAY_MS), self.ms(CATCHING_UP_MS));
                [
                    (Duration::ZERO, Action::Isolate(follower)),
                    (away, Action::Heal),
                    (on_the_way, Action::CutPower(follower)),
                    (self.ms(LASTING_MS), Action::Heal),
                ]
                .into()
            }
            Fault::LeaderIsKilled => self.lasting([Action::Kill(leader)]),
            Fault::FollowerIsKilled => self.lasting([Action::Kill(follower)]),
            Fault::AllAreKilled => self.lasting(members.into_iter().map(Action::Kill)),
            Fault::LeaderBreaksAgain => {
                [(Duration::ZERO, Action::BreakAsLeader(leader)), (self.ms(BREAKING_MS), Action::Heal)].into()
            }
            Fault::LeaderIsIsolated => self.lasting([Action::Isolate(leader)]),
            Fault::FollowerIsIsolated => self.lasting([Action::Isolate(follower)]),
            Fault::LeaderIsDeaf => self.lasting([Action::Deafen(leader)]),
            Fault::LeaderIsMute => self.lasting([Action::Mute(leader)]),
            Fault::FollowerIsDeaf => self.lasting([Action::Deafen(follower)]),
            Fault::Split => {
                let mut side = if self.random.random() { vec![leader] } else { vec![follower] };
                side.extend(followers.iter().copied().find(|node| *node != follower));
                self.lasting([Action::Split(side)])
            }
            Fault::LeaderPauses => self.lasting([Action::Hold(leader)]),
            Fault::FollowerPauses => self.lasting([Action::Hold(follower)]),
            Fault::LinksLoseMessages => {
                let mut script = self.lasting([Action::LoseMessages(LOSS)]);
                script.insert(1, (self.ms(LASTING_MS), Action::LoseMessages(0.0)));
                script
            }
            Fault::LinksAreSlow => {
                let mut script = self.lasting([Action::SlowLinks(Some(SLOW_LINKS))]);
                script.push_back((Duration::ZERO, Action::SlowLinks(None)));
                script
            }
            Fault::LeaderDiskIsSlow => self.slow_disk(leader),
            Fault::FollowerDiskIsSlow => self.slow_disk(follower),
            Fault::LeaderSyncFails => self.lasting([Action::Break(leader, Defect::SyncFails)]),
            Fault::FollowerSyncFails => self.lasting([Action::Break(follower, Defect::SyncFails)]),
            Fault::LeaderDiskIsFull => self.lasting([Action::Break(leader, Defect::Full)]),
            Fault::FollowerDiskIsFull => self.lasting([Action::Break(follower, Defect::Full)]),
            Fault::LeaderDiskIsNearlyFull => self.lasting([Action::NearlyFill(leader)]),
            Fault::AllDisksAreNearlyFull => self.lasting(members.into_iter().map(Action::NearlyFill)),
            Fault::BitFlips => {
                let node = if self.random.random() { leader } else { follower };
                self.replaced([Action::FlipBit(node), Action::CutPower(node)], node)
            }
            Fault::DiskIsLost => {
                self.replaced([Action::CutPower(follower), Action::LoseDisk(follower)], follower)
            }
            Fault::MembersChange => self.members_change(leader, follower),
            Fault::LeadershipMoves => {
                let mut script = self.lasting([Action::Ask(Task::Lead(follower))]);
                script.push_back((Duration::ZERO, Action::AwaitOperator));
                script
            }
            Fault::AppendsArriveAgain => {
                let mut script = self.lasting([Action::Ask(Task::RepeatAppends)]);
                script.push_back((Duration::ZERO, Action::AwaitOperator));
                script
            }
            Fault::VotesArriveAgain => {
                // There are votes when there is an election.
                let mut script = self.lasting([Action::Isolate(leader)]);
                script.push_back((Duration::ZERO, Action::Ask(Task::RepeatVotes)));
                script.push_back((Duration::ZERO, Action::AwaitOperator));
                script
            }
            Fault::RebuildIsInterrupted if self.random.random() => self.rebuild(leader, follower),
            Fault::RebuildIsInterrupted => self.rebuild(follower, leader),
        }
    }

    /// A projection is made anew on a node that ends over it, and once more on one that does not.
    fn rebuild(&mut self, node: usize, other: usize) -> VecDeque<(Duration, Action)> {
        let all = projection::all();
        let mut ask = |node| {
            let projection = all[self.random.random_range(0..all.len())].about().name;
            Action::Ask(Task::Rebuild { node, projection })
        };
        let (one, next) = (ask(node), ask(other));
        let end = if self.random.random() { Action::Kill(node) } else { Action::CutPower(node) };
        [
            (Duration::ZERO, one),
            (self.ms(REBUILDING_MS), end),
            (self.ms(LASTING_MS), Action::Heal),
            (Duration::ZERO, Action::AwaitOperator),
            (Duration::ZERO, next),
            (Duration::ZERO, Action::AwaitOperator),
        ]
        .into()
    }

    fn ms(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    /// All at once, healed after a while. Disks are slow afterwards in half of the cases, so that both
    /// are there when the next fault comes.
    fn lasting(&mut self, actions: impl IntoIterator<Item = Action>) -> VecDeque<(Duration, Action)> {
        let mut script: VecDeque<_> = actions.into_iter().map(|action| (Duration::ZERO, action)).collect();
        script.push_back((self.ms(LASTING_MS), Action::Heal));
        let times = if self.random.random() { 1 } else { SLOW };
        script.push_back((Duration::ZERO, Action::SlowDisks(times)));
        script
    }

    /// A sync of it takes longer than an election.
    fn slow_disk(&mut self, node: usize) -> VecDeque<(Duration, Action)> {
        self.lasting([Action::SlowDisk(node, 10 * SLOW)])
    }

    /// The node starts once more as it is, and then another takes its place.
    fn replaced(
        &mut self,
        actions: impl IntoIterator<Item = Action>,
        node: usize,
    ) -> VecDeque<(Duration, Action)> {
        let mut script: VecDeque<_> = actions.into_iter().map(|action| (Duration::ZERO, action)).collect();
        script.push_back((BOOT, Action::Heal));
        script.push_back((self.ms(REPLACED_MS), Action::Replace(node)));
        script.push_back((Duration::ZERO, Action::AwaitOperator));
        script
    }

    fn members_change(&mut self, leader: usize, follower: usize) -> VecDeque<(Duration, Action)> {
        let new = self.cluster.next_hosts(2);
        let mut script: VecDeque<_> = [
            (Duration::ZERO, Action::Grow(new.clone())),
            (self.ms(0..400), Action::CutPower(if self.random.random() { leader } else { follower })),
            (self.ms(LASTING_MS), Action::Heal),
            (Duration::ZERO, Action::AwaitOperator),
        ]
        .into();
        script.extend(new.iter().map(|node| (Duration::ZERO, Action::Ask(Task::Remove(*node)))));
        script.push_back((self.ms(0..400), Action::Isolate(leader)));
        script.push_back((self.ms(LASTING_MS), Action::Heal));
        script.push_back((Duration::ZERO, Action::AwaitOperator));
        script.push_back((Duration::ZERO, Action::Retire(new)));
        script
    }
}
