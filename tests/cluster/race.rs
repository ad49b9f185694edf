//! Many clients at once ask for the same.

use futures_util::future::join_all;
use quorate::ledger::Command;
use quorate::ledger::Granted;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::harness::Cluster;
use crate::history::History;
use crate::history::commit;
use crate::history::create_scope;
use crate::history::line;
use crate::history::release;
use crate::history::reserve;
use crate::history::set_quota;
use crate::load;

const ROUNDS: u64 = 200;
const CLIENTS: usize = 8;

/// Each round all clients reserve at the same moment, each over a node of its own choice; then
/// about half of what was granted is given back or made final.
async fn race(seed: u64, cluster: &Cluster, history: &History, ask: impl Fn(&mut StdRng) -> Command) {
    let mut random = StdRng::seed_from_u64(seed);
    let clients: Vec<_> = (0..CLIENTS).map(|number| cluster.client(number)).collect();
    let mut holds = Vec::new();
    for _ in 0..ROUNDS {
        let asked = clients.iter().map(|client| history.send(client, ask(&mut random)));
        for told in join_all(asked.collect::<Vec<_>>()).await {
            if let Ok(Granted::Hold { hold, .. }) = told.expect("nothing disturbs the cluster").verdict {
                holds.push(hold);
            }
        }
        let mut closing = Vec::new();
        holds.retain(|hold| {
            let keep = random.random_bool(0.5);
            if !keep {
                closing.push(release(*hold));
            } else if random.random_bool(0.1) {
                closing.push(commit(*hold));
            }
            keep
        });
        let closed = closing.into_iter().zip(clients.iter().cycle());
        let closed = closed.map(|(command, client)| history.send(client, command)).collect::<Vec<_>>();
        for told in join_all(closed).await {
            told.expect("nothing disturbs the cluster");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_race_for_one_quota_never_get_more_than_its_limit() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    history.granted(&client, create_scope("solo")).await;
    history.granted(&client, set_quota("solo", "concurrent_gpus", 20)).await;
    let ask =
        |random: &mut StdRng| reserve(vec![line("solo", "concurrent_gpus", random.random_range(1..=8))]);
    race(1, &cluster, &history, ask).await;
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_race_for_a_tree_never_get_more_than_any_limit_on_the_path() {
    let cluster = Cluster::of_three().await;
    let history = History::default();
    let client = cluster.client(0);
    load::plant(&history, &client).await;
    race(2, &cluster, &history, load::random_reservation).await;
    let end = cluster.converge().await;
    history.check(&client, &end).await;
}
