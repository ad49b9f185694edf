//! How much larger a node is with quotas than without.
//!
//! Nodes are restarted before they are looked at, with the quotas and without: what a node has left
//! over from its work is not what it keeps.

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
use super::meter::histogram;
use super::spawn::Cluster;
use super::tree::Tree;

/// For how long nodes are looked at: the least that they have meanwhile is what they keep.
const SETTLE: Duration = Duration::from_secs(3);

/// How often.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(
    plan: &Plan,
    cluster: &mut Cluster,
    observer: &dyn Observer,
) -> Result<Report, BenchError> {
    let start = Instant::now();
    let before = Usage::of(std::process::id()).unwrap_or_default();
    let empty = restarted(cluster, observer).await?;
    let tree = Tree::new(plan.shape, plan.payload, plan.ttl);
    let leader = cluster.leader().await?;
    tree.plant(&cluster.client_from(leader, &plan.client)?, observer).await?;
    cluster.wait_until_level().await?;
    let worked = resident(cluster, observer).await;
    let full = restarted(cluster, observer).await?;
    let growth = |after: &[u64]| {
        let grown = after.iter().zip(&empty).map(|(after, empty)| after.saturating_sub(*empty));
        grown.max().unwrap_or_default() as f64 / f64::from(1 << 20)
    };
    let megabytes =
        |bytes: &[u64]| bytes.iter().copied().max().unwrap_or_default() as f64 / f64::from(1 << 20);
    let figure = |name, value| Figure { name, value, unit: "MB" };
    let figures = vec![
        figure("an empty node", megabytes(&empty)),
        figure("more with the quotas, after a restart", growth(&full)),
        figure("more with the quotas, just after making them", growth(&worked)),
        Figure { name: "quotas", value: tree.scopes() as f64, unit: "" },
    ];
    let nodes = (0..cluster.size()).map(|at| NodeUse {
        address: cluster.endpoints()[at].clone(),
        is_leader: false,
        usage: cluster.pid_of(at).and_then(Usage::of),
    });
    Ok(Report {
        facts: vec![("work", plan.work.words()), ("tree", tree.words())],
        measured: start.elapsed(),
        throughput_of: None,
        outcomes: Outcomes { done: tree.scopes() as u64, ..Outcomes::default() },
        calls: 0,
        latency_of: "",
        latency: histogram(),
        figures,
        intervals: Vec::new(),
        nodes: nodes.collect(),
        generator: Usage::of(std::process::id()).unwrap_or_default().since(before),
        problem: None,
        notes: vec!["of the nodes the one that grew most".to_owned()],
    })
}

/// Restarts all nodes, and looks at what is resident then, in bytes.
async fn restarted(cluster: &mut Cluster, observer: &dyn Observer) -> Result<Vec<u64>, BenchError> {
    let size = cluster.size();
    observer.begins("restarting nodes", size as u64);
    (0..size).for_each(|at| cluster.kill(at));
    for at in 0..size {
        cluster.start_node(at)?;
    }
    for at in 0..size {
        cluster.wait_until_answering(at).await?;
        observer.at(at as u64 + 1, "");
    }
    cluster.wait_until_level().await?;
    Ok(resident(cluster, observer).await)
}

async fn resident(cluster: &Cluster, observer: &dyn Observer) -> Vec<u64> {
    let looks = SETTLE.as_millis() / LOOK.as_millis();
    observer.begins("looking at memory", u64::try_from(looks).unwrap_or_default());
    let mut least = vec![u64::MAX; cluster.size()];
    for look in 1..=looks {
        tokio::time::sleep(LOOK).await;
        for (at, least) in least.iter_mut().enumerate() {
            if let Some(usage) = cluster.pid_of(at).and_then(Usage::of) {
                *least = usage.memory.min(*least);
            }
        }
        observer.at(u64::try_from(look).unwrap_or_default(), "");
    }
    least
}
