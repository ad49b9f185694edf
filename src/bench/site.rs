//! The nodes that are asked: where they are, who leads, and which processes they are.

use tokio::time::Instant;

use super::BenchError;
use super::NodeUse;
use super::Target;
use super::process::Usage;
use super::process::listener_at;
use super::spawn::Cluster;
use super::spawn::PATIENCE;
use super::spawn::POLL;
use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::v1::Role;

/// The nodes of a cluster that were named or started.
#[derive(Debug)]
pub(super) struct Site {
    nodes: Vec<Seat>,
    leader: usize,
}

#[derive(Debug)]
struct Seat {
    address: String,
    pid: Option<u32>,
}

impl Site {
    /// Asks who leads. A leader that was not named is not asked for anything else: then the first node
    /// that answers takes its place, and forwards.
    pub(super) async fn find(
        endpoints: &[String],
        cluster: Option<&Cluster>,
        options: &ClientOptions,
    ) -> Result<Self, BenchError> {
        let pid = |address: &str| match cluster {
            Some(cluster) => cluster.pid(address),
            None => listener_at(address),
        };
        let seat = |address: &String| Seat { address: address.trim().to_owned(), pid: pid(address.trim()) };
        let nodes: Vec<Seat> = endpoints.iter().map(seat).collect();
        let deadline = Instant::now() + PATIENCE.min(options.timeout);
        loop {
            let mut follower = None;
            let mut last = None;
            for (number, node) in nodes.iter().enumerate() {
                let options = ClientOptions { timeout: options.try_timeout, ..options.clone() };
                let client = Client::new(std::slice::from_ref(&node.address), options)
                    .map_err(BenchError::client("find the cluster"))?;
                match client.status(false, true).await {
                    Ok(status) => {
                        let is = |role| status.nodes.iter().any(|node| node.role() == role);
                        if is(Role::Leader) {
                            return Ok(Self { nodes, leader: number });
                        }
                        let knows_leader = status.nodes.iter().any(|node| node.leader_id != 0);
                        if knows_leader {
                            follower = follower.or(Some(number));
                        }
                    }
                    Err(error) => last = Some(error),
                }
            }
            if Instant::now() >= deadline {
                return match (follower, last) {
                    (Some(leader), _) => Ok(Self { nodes, leader }),
                    (None, Some(error)) => Err(BenchError::client("find the cluster")(error)),
                    (None, None) => Err(BenchError::NoLeader { seconds: PATIENCE.as_secs() }),
                };
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// A client that begins at the leader, and turns to the others when it is lost.
    pub(super) fn client_of_leader(&self, options: &ClientOptions) -> Result<Client, BenchError> {
        self.client_from(self.leader, options)
    }

    /// Clients with a connection each: so many to each node that is asked.
    pub(super) fn clients(
        &self,
        target: Target,
        connections: usize,
        options: &ClientOptions,
    ) -> Result<Vec<Client>, BenchError> {
        let asked: Vec<usize> = match target {
            Target::Leader => vec![self.leader],
            Target::All => (0..self.nodes.len()).collect(),
        };
        let each = (0..connections).flat_map(|_| asked.iter().copied());
        each.map(|number| self.client_from(number, options)).collect()
    }

    fn client_from(&self, first: usize, options: &ClientOptions) -> Result<Client, BenchError> {
        let (before, after) = self.nodes.split_at(first);
        let endpoints: Vec<String> = after.iter().chain(before).map(|node| node.address.clone()).collect();
        Client::new(&endpoints, options.clone()).map_err(BenchError::client("make a client"))
    }

    /// Who is asked, for people.
    pub(super) fn words(&self, target: Target) -> String {
        match target {
            Target::Leader => format!("the leader, {}", self.nodes[self.leader].address),
            Target::All => format!("all {} nodes alike", self.nodes.len()),
        }
    }

    /// What the nodes have taken so far.
    pub(super) fn usage(&self) -> Vec<NodeUse> {
        let usage = |(number, seat): (usize, &Seat)| NodeUse {
            address: seat.address.clone(),
            is_leader: number == self.leader,
            usage: seat.pid.and_then(Usage::of),
        };
        self.nodes.iter().enumerate().map(usage).collect()
    }
}
