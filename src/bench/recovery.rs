//! How long a node takes to serve again that has much to remember.
//!
//! It is killed at once, as a power cut would do it, and then started; it serves when it answers a
//! linearizable read by itself: then it has loaded its state and has caught up with the others.

use std::time::Duration;

use tokio::time::Instant;

use super::BenchError;
use super::Figure;
use super::NodeUse;
use super::Observer;
use super::Outcomes;
use super::Plan;
use super::Report;
use super::Usage;
use super::draw::Draw;
use super::draw::Random;
use super::meter::histogram;
use super::meter::nanoseconds;
use super::spawn::Cluster;
use super::tree::RESOURCE;
use super::tree::Tree;
use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::new_request_id;
use crate::client::v1;
use crate::client::v1::batch_command::Command;
use crate::client::v1::batch_result::Result as Answer;

/// How many commands make the past at once.
const CHUNK: u64 = 4_096;

/// How long a node may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is asked.
const POLL: Duration = Duration::from_millis(2);

/// What a node has to remember.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past {
    pub(super) events: u64,
    pub(super) holds: u64,
}

impl Past {
    /// How much is reserved, and how much of it is released, so that the holds are left.
    fn parts(self) -> (u64, u64) {
        let reserves = (self.events + self.holds).div_ceil(2).min(self.events);
        (reserves, self.events - reserves)
    }
}

pub(super) async fn run(
    plan: &Plan,
    past: Past,
    restarts: u64,
    cluster: &mut Cluster,
    tree: &Tree,
    observer: &dyn Observer,
) -> Result<Report, BenchError> {
    let start = Instant::now();
    let before = Usage::of(std::process::id()).unwrap_or_default();
    let leader = cluster.leader().await?;
    let client = cluster.client_from(leader, &plan.client)?;
    let live = make(past, plan, &client, tree, observer).await?;
    cluster.wait_until_level().await?;
    observer.begins("restarting a node", restarts);
    let mut latency = histogram();
    let mut node = leader;
    for restart in 1..=restarts {
        // Any but the leader, whose loss is another measurement.
        node = (cluster.leader().await? + 1) % cluster.size();
        cluster.kill(node);
        let started = Instant::now();
        cluster.start_node(node)?;
        let served = serves(cluster, node, tree).await?;
        latency.saturating_record(nanoseconds(served - started));
        observer.at(restart, &format!("{:.2} s", (served - started).as_secs_f64()));
        cluster.wait_until_level().await?;
    }
    let mean = latency.mean() / 1e9;
    let usage = cluster.pid_of(node).and_then(Usage::of);
    let nodes = vec![NodeUse { address: cluster.endpoints()[node].clone(), is_leader: false, usage }];
    Ok(Report {
        facts: vec![("work", plan.work.words()), ("tree", tree.words())],
        measured: start.elapsed(),
        throughput_of: None,
        outcomes: Outcomes { done: restarts, ..Outcomes::default() },
        calls: restarts,
        latency_of: "start to first answer",
        latency,
        figures: vec![
            Figure { name: "mean time until it serves", value: mean, unit: "s" },
            Figure { name: "live holds", value: live as f64, unit: "" },
        ],
        intervals: Vec::new(),
        nodes,
        generator: Usage::of(std::process::id()).unwrap_or_default().since(before),
        problem: None,
        notes: Vec::new(),
    })
}

/// Reserves and releases until there are so many events, and so many holds are left.
async fn make(
    past: Past,
    plan: &Plan,
    client: &Client,
    tree: &Tree,
    observer: &dyn Observer,
) -> Result<u64, BenchError> {
    let draw = Draw::new(plan.skew, tree.leaves());
    let mut random = Random::new(plan.seed, 0);
    observer.begins("making the past", past.events);
    // What is released was reserved: both are events.
    let (mut reserves, mut releases) = past.parts();
    let mut live = Vec::new();
    while reserves + releases > 0 {
        let wanted = CHUNK.min(reserves);
        let commands = (0..wanted).map(|_| Command::Reserve(tree.reserve(draw.pick(&mut random))));
        reserves -= send(client, commands, &mut live).await?;
        let wanted = usize::try_from(CHUNK.min(releases)).unwrap_or_default().min(live.len());
        let released: Vec<u64> = live.drain(live.len() - wanted..).collect();
        releases -= send(client, released.into_iter().map(release), &mut Vec::new()).await?;
        observer.at(past.events - reserves - releases, "");
    }
    Ok(live.len() as u64)
}

fn release(hold_id: u64) -> Command {
    Command::Release(v1::ReleaseRequest { hold_id, ..Default::default() })
}

/// Sends commands that must all be carried out, and notes the holds that they make. Says how many there
/// were.
async fn send(
    client: &Client,
    commands: impl Iterator<Item = Command>,
    holds: &mut Vec<u64>,
) -> Result<u64, BenchError> {
    let commands: Vec<_> =
        commands.map(|command| v1::BatchCommand { tag: 0, command: Some(command) }).collect();
    if commands.is_empty() {
        return Ok(0);
    }
    let message = v1::BatchRequest { commands, ..Default::default() };
    let response =
        client.batch(new_request_id(), message).await.map_err(BenchError::client("make the past"))?;
    if let Some(failed) = response.results.iter().find(|result| result.code != 0) {
        return Err(BenchError::Plan(format!("make the past: {}", failed.message)));
    }
    holds.extend(response.results.iter().filter_map(|result| match &result.result {
        Some(Answer::Reserve(reserve)) => Some(reserve.hold_id),
        _ => None,
    }));
    Ok(response.results.len() as u64)
}

/// Waits until a node answers by itself.
async fn serves(cluster: &mut Cluster, node: usize, tree: &Tree) -> Result<Instant, BenchError> {
    let address = cluster.endpoints()[node].clone();
    let timeout = Duration::from_secs(5);
    let options = ClientOptions { timeout, try_timeout: timeout, ..ClientOptions::default() };
    let deadline = Instant::now() + PATIENCE;
    loop {
        cluster.must_run(node)?;
        // A client waits between its tries, which would count: one is made when somebody listens.
        if tokio::net::TcpStream::connect(&address).await.is_ok() {
            let client = Client::new(std::slice::from_ref(&address), options.clone());
            let client = client.map_err(BenchError::client("ask a node that was started"))?;
            if client.get_quota(tree.root(), RESOURCE).await.is_ok() {
                return Ok(Instant::now());
            }
        }
        if Instant::now() >= deadline {
            return Err(cluster.failed(node, format!("does not serve after {PATIENCE:?}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_has_as_many_events_and_leaves_as_many_holds_as_it_is_told() {
        for (events, holds) in [(0, 0), (300, 100), (1_000_000, 100_000), (10, 10), (7, 0), (9, 4)] {
            let (reserves, releases) = Past { events, holds }.parts();
            assert_eq!(reserves + releases, events);
            // An odd event makes one more.
            assert!((holds..=holds + 1).contains(&(reserves - releases)), "{events} {holds}");
        }
    }
}
