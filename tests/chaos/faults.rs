//! How each kind of fault is made, and unmade.

use std::fs;
use std::time::Duration;

use quorate::client::Client;
use rand::RngExt as _;
use tokio::time::Instant;

use crate::arena::Arena;
use crate::behind::leave_behind;
use crate::damage;
use crate::harness::Node;
use crate::harness::eventually;
use crate::kind::Kind;

/// Longer than any election takes, so that what can go on does.
const LONG_MS: u64 = 2_000;
const SHORT_MS: u64 = 300;

/// A node that meets a full disk and is still there after so long does not end.
const REFUSING: Duration = Duration::from_secs(5);

/// The words with which a node refuses data that is damaged.
const REFUSALS: [&str; 2] = ["damaged", "must be replaced"];

impl Arena {
    /// Says what was done, and the longest time without a grant.
    pub async fn inflict(&mut self, kind: Kind) -> (String, Duration) {
        match kind {
            Kind::KillLeader | Kind::KillFollower => self.kill_one(kind).await,
            Kind::KillAll => self.kill_all(kind).await,
            Kind::PauseLeader | Kind::PauseFollower => self.pause(kind).await,
            Kind::CutLeader
            | Kind::CutFollower
            | Kind::DeafLeader
            | Kind::DeafFollower
            | Kind::MuteLeader
            | Kind::MuteFollower
            | Kind::CutLink => self.cut(kind).await,
            Kind::Loss => self.lose(kind).await,
            Kind::Delay => self.slow_down(kind).await,
            Kind::FullLeader | Kind::FullFollower => self.fill(kind).await,
            Kind::TornWal | Kind::FlippedWal | Kind::FlippedTable | Kind::FlippedManifest => {
                self.damage(kind).await
            }
            Kind::Snapshot => self.leave_behind().await,
            Kind::Transfer => self.transfer(kind).await,
            Kind::Replace => self.lose_disk().await,
            Kind::Upgrade => self.upgrade(kind).await,
        }
    }

    async fn kill_one(&mut self, kind: Kind) -> (String, Duration) {
        let at = self.victim(kind).await;
        self.pulse.watch();
        self.kill(at);
        // Without a leader long enough for an election; a follower comes back at once, or later.
        let short = !kind.strikes_leader() && self.random.random_bool(0.8);
        let lasts = self.about(if short { SHORT_MS } else { LONG_MS / 2 });
        let gap = self.last(kind, lasts).await;
        self.cluster.start_node(at);
        (format!("node {}", self.cluster.nodes[at].id), gap)
    }

    async fn kill_all(&mut self, kind: Kind) -> (String, Duration) {
        self.pulse.watch();
        for at in 0..self.cluster.nodes.len() {
            self.kill(at);
        }
        let lasts = self.about(SHORT_MS);
        self.last(kind, lasts).await;
        for at in 0..self.cluster.nodes.len() {
            self.cluster.start_node(at);
        }
        self.progress().await;
        ("all nodes; the gap is until they serve again".to_owned(), self.pulse.longest())
    }

    async fn pause(&mut self, kind: Kind) -> (String, Duration) {
        let at = self.victim(kind).await;
        self.pulse.watch();
        self.cluster.nodes[at].signal("STOP");
        let lasts = self.about(LONG_MS);
        let gap = self.last(kind, lasts).await;
        self.cluster.nodes[at].signal("CONT");
        (format!("node {}", self.cluster.nodes[at].id), gap)
    }

    async fn cut(&mut self, kind: Kind) -> (String, Duration) {
        let at = self.victim(kind).await;
        let leader = self.cluster.leader().await;
        let others = (0..self.cluster.nodes.len()).filter(|other| *other != at);
        let pairs: Vec<_> = others
            .flat_map(|other| match kind {
                Kind::DeafLeader | Kind::DeafFollower => vec![(other, at)],
                Kind::MuteLeader | Kind::MuteFollower => vec![(at, other)],
                Kind::CutLink if other != leader => vec![],
                _ => vec![(at, other), (other, at)],
            })
            .collect();
        self.pulse.watch();
        self.network().cut(&pairs);
        let lasts = self.about(LONG_MS);
        let gap = self.last(kind, lasts).await;
        let lost = self.mend();
        (format!("node {}, {lost} packets lost", self.cluster.nodes[at].id), gap)
    }

    async fn lose(&mut self, kind: Kind) -> (String, Duration) {
        let percent = self.random.random_range(5..30);
        self.pulse.watch();
        self.network().lose(percent);
        let lasts = self.about(LONG_MS);
        let gap = self.last(kind, lasts).await;
        let lost = self.mend();
        (format!("{percent} of 100 packets between all nodes, {lost} in all"), gap)
    }

    async fn slow_down(&mut self, kind: Kind) -> (String, Duration) {
        let delay = Duration::from_millis(self.random.random_range(5..50));
        self.pulse.watch();
        self.network().slow_down(delay).await;
        let lasts = self.about(LONG_MS);
        let gap = self.last(kind, lasts).await;
        let pieces = self.mend();
        (format!("{delay:?} each way between all nodes, {pieces} pieces"), gap)
    }

    fn network(&mut self) -> &mut crate::network::Network {
        self.ground.network.as_mut().expect("kinds that need a network are left out without one")
    }

    /// Ends what is wrong with the network; nothing would show that nothing was.
    fn mend(&mut self) -> u64 {
        let touched = self.network().mend();
        assert!(touched > 0, "the fault in the network touched nothing");
        touched
    }

    async fn fill(&mut self, kind: Kind) -> (String, Duration) {
        let at = self.victim(kind).await;
        let before = self.cluster.nodes[at].log().len();
        self.pulse.watch();
        let mut said = None;
        let (node, ground) = (&mut self.cluster.nodes[at], &self.ground);
        let ended = eventually("the node meets its full disk", async || {
            ground.fill(at);
            if let Some(status) = node.ended() {
                return Some(Some(status));
            }
            // One that refuses what needs space, and does not end of it.
            let said = says_full(&node.log()[before..]).then(|| *said.get_or_insert_with(Instant::now));
            said.is_some_and(|said| said.elapsed() > REFUSING).then_some(None)
        })
        .await;
        let said = node.log()[before..].to_owned();
        assert!(says_full(&said), "node {} does not say why it ended: {said}", node.id);
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(1), "node {} ended on a full disk with {status}", node.id);
        }
        let gap = self.last(kind, Duration::ZERO).await;
        self.ground.empty(at);
        let id = self.cluster.nodes[at].id;
        if self.cluster.nodes[at].is_up() {
            return (format!("node {id} refused"), gap);
        }
        self.cluster.start_node(at);
        (format!("node {id} stopped with a message"), gap)
    }

    async fn damage(&mut self, kind: Kind) -> (String, Duration) {
        let at = self.random.random_range(0..self.cluster.nodes.len());
        if kind == Kind::FlippedTable {
            // There may not be a table yet.
            let client = self.cluster.nodes[at].client();
            eventually("the state is written", async || client.take_snapshot().await.ok()).await;
        }
        self.pulse.watch();
        self.kill(at);
        let lasts = self.about(SHORT_MS);
        let gap = self.last(kind, lasts).await;
        let done = damage::inflict(kind, &self.cluster.nodes[at].data_dir, &mut self.random);
        println!("            node {}: {done}", self.cluster.nodes[at].id);
        let begin = Instant::now();
        let refused = self.starts_or_refuses(at).await;
        println!("            {:.1} s until it was right or had ended", begin.elapsed().as_secs_f64());
        if refused || kind == Kind::FlippedTable {
            // A table that is not read until later may refuse then.
            self.replace(at).await;
        }
        let what = if refused { "refused and replaced" } else { "started and right" };
        (format!("{what}: {done}"), gap)
    }

    /// Starts a damaged node. It must come to what the others have, or end with a message that says
    /// what is wrong and what to do.
    async fn starts_or_refuses(&mut self, at: usize) -> bool {
        let before = self.cluster.nodes[at].log().len();
        let goal = self.applied_by_others(at).await;
        self.cluster.start_node(at);
        let node = &mut self.cluster.nodes[at];
        let ended = eventually("a damaged node catches up or ends", async || {
            if let Some(status) = node.ended() {
                return Some(Some(status));
            }
            (node.status(false).await?.applied_index >= goal).then_some(None)
        })
        .await;
        let Some(status) = ended else { return false };
        let said = node.log()[before..].to_owned();
        assert_eq!(status.code(), Some(1), "a damaged node ended with {status}: {said}");
        for word in REFUSALS {
            assert!(said.contains(word), "a damaged node does not say {word:?}: {said}");
        }
        true
    }

    async fn applied_by_others(&self, at: usize) -> u64 {
        let mut most = 0;
        for node in self.cluster.nodes.iter().filter(|node| node.id != self.cluster.nodes[at].id) {
            let status = eventually("the others answer", async || node.status(false).await).await;
            most = most.max(status.applied_index);
        }
        most
    }

    async fn leave_behind(&mut self) -> (String, Duration) {
        self.pulse.watch();
        let load = &self.work.as_ref().expect("there is work").load;
        let at = leave_behind(&mut self.cluster, load, Node::kill).await;
        self.kills += 1;
        let gap = self.pulse.longest();
        self.cluster.start_node(at);
        (format!("node {}, past what the others keep of the log", self.cluster.nodes[at].id), gap)
    }

    async fn transfer(&mut self, kind: Kind) -> (String, Duration) {
        let at = self.victim(kind).await;
        let to = self.cluster.nodes[at].id;
        self.pulse.watch();
        let client = self.cluster.client(at);
        eventually("the leadership is moved", async || client.transfer_leadership(to).await.ok()).await;
        let gap = self.last(kind, Duration::from_millis(SHORT_MS)).await;
        (format!("to node {to}"), gap)
    }

    /// One node at a time, so that there are nodes of both versions most of the time.
    async fn upgrade(&mut self, kind: Kind) -> (String, Duration) {
        let at = self.random.random_range(0..self.cluster.nodes.len());
        self.pulse.watch();
        let node = &mut self.cluster.nodes[at];
        let status = node.stop("TERM").await;
        assert!(status.success(), "node {} was asked to end, and ended with {status}", node.id);
        let now =
            self.versions.iter().position(|version| version == node.program()).expect("it is one of them");
        let next = (now + 1) % self.versions.len();
        node.run_as(self.versions[next].clone());
        self.cluster.start_node(at);
        let gap = self.last(kind, Duration::ZERO).await;
        (
            format!("node {} to version {} of {}", self.cluster.nodes[at].id, next + 1, self.versions.len()),
            gap,
        )
    }

    async fn lose_disk(&mut self) -> (String, Duration) {
        let at = self.random.random_range(0..self.cluster.nodes.len());
        self.pulse.watch();
        self.kill(at);
        let (old, new) = self.replace(at).await;
        (format!("node {old} by node {new}"), self.pulse.longest())
    }

    /// As docs/operations.md says: remove the node, wipe its disk, add one with a new id.
    async fn replace(&mut self, at: usize) -> (u64, u64) {
        if self.cluster.nodes[at].is_up() {
            self.kill(at);
        }
        let old = self.cluster.nodes[at].id;
        let client = self.cluster.client(at + 1);
        eventually("the node is removed", async || removed(&client, old).await).await;
        drop(fs::remove_dir_all(&self.cluster.nodes[at].data_dir));
        self.last_id += 1;
        let new = self.last_id;
        let node = self.cluster.nodes[at].successor(new);
        node.write_config(&self.cluster.name, &[], &self.cluster.settings);
        let member = node.member();
        self.cluster.nodes[at] = node;
        self.cluster.start_node(at);
        let node = &self.cluster.nodes[at];
        eventually("the new node answers", async || node.status(false).await).await;
        eventually("the new node is added", async || match client.add_node(member.clone()).await {
            Ok(_) => Some(()),
            Err(error) => error.to_string().contains("is a member already").then_some(()),
        })
        .await;
        eventually("the new node is promoted", async || client.promote_node(new).await.ok()).await;
        (old, new)
    }
}

async fn removed(client: &Client, id: u64) -> Option<()> {
    match client.remove_node(id).await {
        Ok(_) => Some(()),
        Err(error) => error.to_string().contains("is not a member").then_some(()),
    }
}

/// Of a log: whether it leads whoever reads it to the full disk, on which there may be no room to say more.
fn says_full(log: &str) -> bool {
    log.contains("disk is full") || log.contains("No space left")
}
