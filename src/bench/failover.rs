//! How long nobody is granted anything after the leader was killed.
//!
//! Clients ask all the time, each beginning at another node, as those of a service would; what counts
//! is when the first of them is granted something that it asked for after the kill.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::BenchError;
use super::Figure;
use super::Observer;
use super::Outcomes;
use super::Plan;
use super::Report;
use super::Usage;
use super::meter::histogram;
use super::meter::nanoseconds;
use super::spawn::Cluster;
use super::tree::Tree;
use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::new_request_id;

/// How long a grant may take: then the cluster does not come back.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(
    plan: &Plan,
    kills: u64,
    cluster: &mut Cluster,
    tree: &Tree,
    observer: &dyn Observer,
) -> Result<Report, BenchError> {
    observer.begins("killing leaders", kills);
    let start = Instant::now();
    let before = Usage::of(std::process::id()).unwrap_or_default();
    let mut latency = histogram();
    let mut outcomes = Outcomes::default();
    for kill in 1..=kills {
        cluster.wait_until_level().await?;
        let leader = cluster.leader().await?;
        // As long as it is all well, they find out who answers.
        let clients = clients(plan, cluster)?;
        first_grant(&clients, tree).await?;
        let killed = Instant::now();
        cluster.kill(leader);
        let granted = first_grant(&clients, tree).await?;
        latency.saturating_record(nanoseconds(granted - killed));
        outcomes.done += 1;
        cluster.start_node(leader)?;
        cluster.wait_until_answering(leader).await?;
        observer.at(kill, &format!("{:.0} ms", (granted - killed).as_secs_f64() * 1e3));
    }
    let mean = latency.mean() / 1e6;
    Ok(Report {
        facts: vec![
            ("work", plan.work.words()),
            ("clients", format!("{}, each beginning at another node", cluster.size())),
            ("tree", tree.words()),
        ],
        measured: start.elapsed(),
        throughput_of: None,
        outcomes,
        calls: kills,
        latency_of: "kill to next grant",
        latency,
        figures: vec![Figure { name: "mean time to the next grant", value: mean, unit: "ms" }],
        intervals: Vec::new(),
        nodes: Vec::new(),
        generator: Usage::of(std::process::id()).unwrap_or_default().since(before),
        problem: None,
        notes: vec![
            "each leader was killed with SIGKILL, and had caught up again before the next".to_owned(),
        ],
    })
}

/// One that begins at each node.
fn clients(plan: &Plan, cluster: &Cluster) -> Result<Vec<Client>, BenchError> {
    let options = ClientOptions { timeout: PATIENCE, ..plan.client.clone() };
    let endpoints = cluster.endpoints();
    let rotated = (0..endpoints.len()).map(|first| [&endpoints[first..], &endpoints[..first]].concat());
    let made = rotated.map(|endpoints| Client::new(&endpoints, options.clone()));
    made.collect::<Result<_, _>>().map_err(BenchError::client("make a client"))
}

/// All ask for something; says when the first is granted it.
async fn first_grant(clients: &[Client], tree: &Tree) -> Result<Instant, BenchError> {
    let mut asking = JoinSet::new();
    for (number, client) in clients.iter().enumerate() {
        let (client, message) = (client.clone(), tree.reserve(number % tree.leaves()));
        asking.spawn(async move { client.reserve(new_request_id(), message).await.map(|_| Instant::now()) });
    }
    let mut failed = None;
    while let Some(answer) = asking.join_next().await {
        match answer {
            // The others are given up: what they ask for may be granted or not.
            Ok(Ok(granted)) => return Ok(granted),
            Ok(Err(error)) => failed = Some(error),
            Err(_) => return Err(BenchError::Plan("a client panicked".to_owned())),
        }
    }
    match failed {
        Some(error) => Err(BenchError::client("reserve after a leader was killed")(error)),
        None => Err(BenchError::Plan("there is no node to ask".to_owned())),
    }
}
