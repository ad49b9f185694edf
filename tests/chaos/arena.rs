//! The cluster under work, and what every fault does with it: begin, last, end, heal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use quorate::client::v1::NodeStatus;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::gaps::Gaps;
use crate::gaps::Pulse;
use crate::ground::Ground;
use crate::harness::Cluster;
use crate::harness::eventually;
use crate::history::History;
use crate::kind::Kind;
use crate::kind::Left;
use crate::work::Work;

/// How many grants are progress.
const PROGRESS: u64 = 30;

pub struct Arena {
    pub cluster: Cluster,
    pub ground: Ground,
    pub history: History,
    pub pulse: Pulse,
    pub gaps: Gaps,
    /// Until it has been told that it is enough.
    pub work: Option<Work>,
    pub random: StdRng,
    /// Processes that were killed.
    pub kills: usize,
    /// No id is used twice.
    pub last_id: u64,
    pub begin: Instant,
    /// The versions of the program that nodes run; mostly one.
    pub versions: Vec<PathBuf>,
}

impl Arena {
    /// Makes one thing go wrong, waits until all is well again, and says in a line what happened.
    pub async fn suffer(&mut self, kind: Kind) {
        self.pulse.watch();
        tokio::time::sleep(Duration::from_millis(self.random.random_range(0..200))).await;
        self.gaps.add(None, self.pulse.longest());
        let begin = self.begin.elapsed();
        let (what, gap) = self.inflict(kind).await;
        self.gaps.add(Some(kind), gap);
        self.settle().await;
        self.work.as_mut().expect("there is work").check();
        println!(
            "{:8.1} s  {kind:<16} {:6.1} s  gap {:5} ms  {} acknowledged  {what}",
            begin.as_secs_f64(),
            (self.begin.elapsed() - begin).as_secs_f64(),
            gap.as_millis(),
            self.history.acknowledged(),
        );
    }

    /// The seat that a kind strikes: of the leader, or of some other.
    pub async fn victim(&mut self, kind: Kind) -> usize {
        let leader = self.cluster.leader().await;
        if kind.strikes_leader() {
            return leader;
        }
        let others: Vec<_> = (0..self.cluster.nodes.len()).filter(|at| *at != leader).collect();
        others[self.random.random_range(0..others.len())]
    }

    pub fn kill(&mut self, at: usize) {
        self.cluster.nodes[at].kill();
        self.kills += 1;
    }

    /// The fault lasts at least so long, and until the majority that is left has made progress.
    /// Returns the longest time without a grant meanwhile.
    pub async fn last(&mut self, kind: Kind, at_least: Duration) -> Duration {
        tokio::time::sleep(at_least).await;
        if kind.left() == Left::Majority {
            self.progress().await;
        }
        self.pulse.longest()
    }

    pub async fn progress(&mut self) {
        let goal = self.pulse.count() + PROGRESS;
        let pulse = &self.pulse;
        eventually("something is granted", async || (pulse.count() >= goal).then_some(())).await;
    }

    /// From some milliseconds to as many more.
    pub fn about(&mut self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.random.random_range(milliseconds..2 * milliseconds))
    }

    pub async fn stop_work(&mut self) {
        self.work.take().expect("there is work").stop().await;
    }

    /// Ends the run when a node has ended by itself.
    pub fn nobody_ended(&mut self) {
        for node in &mut self.cluster.nodes {
            if let Some(status) = node.ended() {
                panic!("node {} ended by itself with {status}", node.id);
            }
        }
    }

    /// Waits until all nodes follow one leader and have applied what the log had when it began.
    pub async fn settle(&mut self) {
        let mut goal = None;
        let mut seen = BTreeMap::new();
        let deadline = Instant::now() + Duration::from_secs(90);
        while !self.settled(&mut goal, &mut seen).await {
            if Instant::now() > deadline {
                panic!("not all nodes come to {goal:?}: {seen:#?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.progress().await;
    }

    async fn settled(&mut self, goal: &mut Option<u64>, seen: &mut BTreeMap<u64, NodeStatus>) -> bool {
        self.nobody_ended();
        let mut all = Vec::new();
        for node in &self.cluster.nodes {
            let Some(status) = node.status(false).await else { return false };
            seen.insert(node.id, status.clone());
            all.push(status);
        }
        let first = (all[0].term, all[0].leader_id);
        let leads =
            |status: &NodeStatus| status.member.as_ref().is_some_and(|member| member.node_id == first.1);
        if !all.iter().all(|status| (status.term, status.leader_id) == first) || !all.iter().any(leads) {
            return false;
        }
        let goal =
            *goal.get_or_insert_with(|| all.iter().map(|status| status.last_log_index).max().unwrap_or(0));
        all.iter().all(|status| status.applied_index >= goal)
    }
}
