//! What is due happens, although nobody asks for anything.

use quorate::client::Client;
use quorate::client::v1;
use quorate::client::v1::event::Body;
use quorate::client::v1::rejection::Reason;
use quorate::codec::command;
use quorate::codec::command::Message;
use quorate::ledger::Command;
use quorate::ledger::HoldId;

use crate::harness::Cluster;
use crate::harness::Node;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
use crate::history::all_events;
use crate::history::amount;
use crate::history::line;
use crate::history::release;
use crate::history::reserve;
use crate::history::reserve_for;
use crate::load;

/// Long enough to kill a leader before it is over.
const TTL_MS: u64 = 1_000;

/// How often an idle cluster is asked something before its log is looked at once more.
const QUESTIONS: usize = 300;

/// The events of a hold that lives for a while, once it has expired: its making and its end.
async fn expired(cluster: &Cluster) -> (v1::Event, v1::Event) {
    eventually("the hold expires", async || {
        let up = cluster.nodes.iter().position(Node::is_up)?;
        let events = all_events(&cluster.client(up)).await;
        let end = events.iter().find(|event| matches!(event.body, Some(Body::Expired(_))))?;
        let begin = events.iter().find(|event| matches!(event.body, Some(Body::Reserved(_))))?;
        Some((begin.clone(), end.clone()))
    })
    .await
}

fn check_expiry(begin: &v1::Event, end: &v1::Event) {
    let Some(Body::Expired(expired)) = &end.body else { panic!("{end:?}") };
    assert_eq!(expired.hold_id, begin.revision);
    assert!(end.log_time_ms >= begin.log_time_ms + TTL_MS, "{begin:?} ended at {end:?}");
    assert!(end.request_id.is_empty(), "nobody asked for {end:?}");
    for (touched, before) in end.touched.iter().zip(&begin.touched) {
        assert_eq!((&*touched.held, &touched.scope), ("0", &before.scope));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_in_a_cluster_of_which_nobody_asks_anything_and_one_entry_is_enough() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.client(1), reserve_for(TTL_MS, lines)).await;
    let (begin, end) = expired(&cluster).await;
    check_expiry(&begin, &end);
    if begin.raft_term == end.raft_term {
        assert_eq!(end.raft_index, begin.raft_index + 1, "what was not due was written, too");
    }
    let state = cluster.converge().await;
    history.check(&cluster.client(2), &state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_although_the_leader_that_granted_it_is_killed() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let leader = cluster.leader().await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.nodes[leader].client(), reserve_for(TTL_MS, lines)).await;
    cluster.nodes[leader].kill();
    let (begin, end) = expired(&cluster).await;
    check_expiry(&begin, &end);
    cluster.start_node(leader);
    let state = cluster.converge().await;
    history.check(&cluster.client(leader), &state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_after_all_nodes_were_down_at_its_end() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.client(0), reserve_for(TTL_MS, lines)).await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    for at in 0..3 {
        cluster.start_node(at);
    }
    cluster.leader().await;
    let (begin, end) = expired(&cluster).await;
    check_expiry(&begin, &end);
    let state = cluster.converge().await;
    history.check(&cluster.client(0), &state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_deadlines_writes_nothing() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let lines = vec![line("acme/ml", load::RESOURCE, 30)];
    history.held(&cluster.client(0), reserve_for(TTL_MS, lines)).await;
    expired(&cluster).await;
    cluster.converge().await;
    let leader = cluster.leader().await;
    let before = cluster.nodes[leader].status(false).await.expect("the leader answers");
    // Each takes a round of messages between the nodes: time passes for all of them.
    let client = cluster.client(leader + 1);
    for _ in 0..QUESTIONS {
        client.get_quota("acme/ml", load::RESOURCE).await.expect("a read");
    }
    let after = cluster.nodes[leader].status(false).await.expect("the leader answers");
    // An election is an entry.
    if before.term == after.term {
        assert_eq!(after.last_log_index, before.last_log_index, "an idle cluster wrote entries");
    }
    assert_eq!(after.revision, before.revision);
}

/// Use may be over `SOFT` that long. Long enough for a cluster to be killed before it is over.
const GRACE_MS: u64 = 6_000;

const SOFT: u32 = 5;

/// A limit at first, and from some time on.
const LIMIT: u32 = 10;
const LATER: u32 = 20;

/// What the quotas with deadlines are of.
const GRACED: &str = "instances";
const CHANGED: &str = "volumes";

fn set_policy(resource: &str, policy: v1::Policy, effective_at_ms: u64) -> Command {
    let message = v1::SetQuotaRequest {
        scope: "acme".to_owned(),
        resource: resource.to_owned(),
        policy: Some(policy),
        effective_at_ms,
        ..Default::default()
    };
    command::decode(Message::SetQuota(message)).expect("a quota")
}

/// Something that will happen by itself: a grace that runs, and a change of a limit at its end.
struct Pending {
    hold: HoldId,
    /// The reservation that went over the soft limit.
    over: v1::Event,
    /// The event that scheduled the change.
    scheduled: v1::Event,
    at_ms: u64,
}

impl Pending {
    async fn make(history: &History, client: &Client) -> Self {
        load::plant(history, client).await;
        let fixed = |limit: u32| v1::Policy { limit: Some(amount(limit)), ..Default::default() };
        let soft = v1::Policy { soft: SOFT.to_string(), grace_ms: GRACE_MS, ..fixed(LIMIT) };
        history.granted(client, set_policy(GRACED, soft, 0)).await;
        history.granted(client, set_policy(CHANGED, fixed(LIMIT), 0)).await;
        let hold = history.held(client, reserve(vec![line("acme/ml", GRACED, SOFT + 1)])).await;
        let over = all_events(client).await.pop().expect("it was reserved");
        let at_ms = over.log_time_ms + GRACE_MS;
        history.granted(client, set_policy(CHANGED, fixed(LATER), at_ms)).await;
        let scheduled = all_events(client).await.pop().expect("it was scheduled");
        assert_eq!((over.revision, scheduled.revision), (hold, hold + 1));
        Self { hold, over, scheduled, at_ms }
    }

    /// Waits until both have happened, and sees that they did so once, at their time, under another
    /// leader than the one under which they were made, and as they were made.
    async fn check(&self, cluster: &Cluster, history: &History) {
        eventually("the grace is over and the limit changes", async || {
            let up = cluster.nodes.iter().position(Node::is_up)?;
            let events = all_events(&cluster.client(up)).await;
            (events.iter().filter(|event| is_end(event)).count() >= 2).then_some(())
        })
        .await;
        let client = cluster.client(0);
        self.check_ceilings(history, &client).await;
        let state = cluster.converge().await;
        let events = history.check(&client, &state).await;
        let ends: Vec<_> = events.iter().filter(|event| is_end(event)).collect();
        let [over, changed] = ends[..] else { panic!("each ends once: {ends:?}") };
        let (Some(Body::ClockEnded(ended)), Some(Body::QuotaSet(set))) = (&over.body, &changed.body) else {
            panic!("the grace was there before the change: {ends:?}");
        };
        assert_eq!(ended.clock(), v1::ClockKind::Grace);
        assert_eq!(set.schedule_id, self.scheduled.revision);
        let since_ms = self.over.log_time_ms;
        assert_eq!(over.touched[0].grace, Some(v1::Clock { since_ms, ends_at_ms: 0, ended: true }));
        for end in [over, changed] {
            assert!(end.log_time_ms >= self.at_ms, "before its time, which was {}: {end:?}", self.at_ms);
            assert!(end.raft_term > self.scheduled.raft_term, "it was over before anything was killed");
            let before = events.iter().rfind(|event| event.raft_index < end.raft_index);
            let before = before.expect("what made it");
            assert!(before.log_time_ms < self.at_ms, "at its time there was {before:?} and not {end:?}");
        }
    }

    /// The soft limit is the ceiling until use is back at it, and the changed limit is one at once.
    async fn check_ceilings(&self, history: &History, client: &Client) {
        let told = history.send(client, reserve(vec![line("acme/ml", GRACED, 1)])).await.expect("an answer");
        let reason = told.verdict.expect_err("its grace is over").reason;
        let Some(Reason::Denied(denied)) = reason else { panic!("{reason:?}") };
        assert_eq!((denied.blocking[0].rule(), &*denied.blocking[0].limit), (v1::Rule::SoftLimit, "5"));
        history.granted(client, release(self.hold)).await;
        history.held(client, reserve(vec![line("acme/ml", GRACED, LIMIT)])).await;
        history.held(client, reserve(vec![line("acme/ml", CHANGED, LATER)])).await;
    }
}

/// What happens to the two quotas although nobody asks.
fn is_end(event: &v1::Event) -> bool {
    event.request_id.is_empty() && matches!(event.body, Some(Body::ClockEnded(_) | Body::QuotaSet(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_and_a_scheduled_change_end_in_time_although_the_leader_is_killed_and_restarted() {
    let mut cluster = Cluster::of_three().await;
    let history = History::default();
    let leader = cluster.leader().await;
    let pending = Pending::make(&history, &cluster.nodes[leader].client()).await;
    cluster.nodes[leader].kill();
    cluster.leader().await;
    cluster.start_node(leader);
    pending.check(&cluster, &history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_and_a_scheduled_change_end_in_time_although_no_log_remembers_them() {
    let settings =
        Settings { raft: "snapshot_after_entries = 10000\nkeep_entries = 1", ..Settings::default() };
    let mut cluster = Cluster::form(settings).await;
    let history = History::default();
    let leader = cluster.leader().await;
    let pending = Pending::make(&history, &cluster.nodes[leader].client()).await;
    // Some entries that may stay in the logs.
    for _ in 0..3 {
        history
            .held(&cluster.nodes[leader].client(), reserve(vec![line("acme/ml", load::RESOURCE, 1)]))
            .await;
    }
    for node in &cluster.nodes {
        eventually("the log is purged past what is pending", async || {
            node.client().take_snapshot().await.ok()?;
            (node.status(false).await?.purged_index >= pending.scheduled.raft_index).then_some(())
        })
        .await;
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    for at in 0..3 {
        cluster.start_node(at);
    }
    cluster.leader().await;
    pending.check(&cluster, &history).await;
}
