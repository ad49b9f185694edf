//! The verbs of the cluster: its nodes, who they are to each other, how far each has come.
//!
//! Knows nothing of what the ledger holds.

use clap::Args;
use clap::Subcommand;

use super::Context;
use super::Failure;
use super::output::or_dash;
use super::output::table;
use super::output::text_or_dash;
use crate::client::v1;

/// Enough of a digest for a person to compare.
const DIGEST_SHOWN: usize = 12;

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Form the cluster from the members in the configuration of the node asked: once, on one node
    Init,
    /// Show the nodes and how far each has come
    Status {
        /// Leave out the digests (equal at equal revisions): each node reads its whole state for one
        #[arg(long)]
        no_digest: bool,
    },
    /// Add a node that receives the log and does not vote
    Add(AddArgs),
    /// Give a node a vote, once it has caught up with the log
    Promote(NodeArgs),
    /// Take a node out for good; its id must never be used again
    Remove(NodeArgs),
    /// Make a node the leader
    Transfer(NodeArgs),
    /// Make the node asked take a snapshot now
    Snapshot,
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// Never used in this cluster before
    #[arg(long, value_name = "N")]
    node_id: u64,
    /// host:port for clients
    #[arg(long, value_name = "HOST:PORT")]
    client_address: String,
    /// host:port for the other nodes
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: String,
}

#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The id of the node
    #[arg(value_name = "NODE")]
    node_id: u64,
}

impl ClusterCommand {
    /// Whether the node asked reads or writes its whole state.
    pub(super) fn is_long(&self) -> bool {
        matches!(self, Self::Status { no_digest: false } | Self::Snapshot)
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let client = &context.client;
        let (response, done) = match self {
            Self::Init => {
                let response = client.initialize().await?;
                context.output.show(&response, formed)?;
                return Ok(());
            }
            Self::Status { no_digest } => {
                let response = client.status(!no_digest, false).await?;
                context.output.show(&response, |response| nodes(&response.nodes))?;
                return Ok(());
            }
            Self::Add(AddArgs { node_id, client_address, peer_address }) => {
                let member = v1::Member { node_id, client_address, peer_address, ..Default::default() };
                (client.add_node(member).await?, format!("added: node {node_id}, without a vote"))
            }
            Self::Promote(NodeArgs { node_id }) => {
                (client.promote_node(node_id).await?, format!("promoted: node {node_id} has a vote"))
            }
            Self::Remove(NodeArgs { node_id }) => {
                (client.remove_node(node_id).await?, format!("removed: node {node_id}"))
            }
            Self::Transfer(NodeArgs { node_id }) => {
                (client.transfer_leadership(node_id).await?, format!("transferred: to node {node_id}"))
            }
            Self::Snapshot => {
                let response = client.take_snapshot().await?;
                context.output.show(&response, |response| {
                    format!(
                        "taken: a snapshot on node {} at log index {}",
                        response.node_id, response.snapshot_index
                    )
                })?;
                return Ok(());
            }
        };
        context.output.show(&response, |_| done)?;
        Ok(())
    }
}

fn formed(response: &v1::InitializeResponse) -> String {
    let members: Vec<String> = response.members.iter().map(|member| member.node_id.to_string()).collect();
    format!("formed: a cluster of nodes {}", members.join(", "))
}

fn nodes(nodes: &[v1::NodeStatus]) -> String {
    let headers = [
        "#node",
        "address",
        "role",
        "#term",
        "#revision",
        "#applied",
        "#last log",
        "#lag",
        "#snapshot",
        "#free MiB",
        "digest",
        "problem",
    ];
    // One that was cut off may think that it still leads, at an older term.
    let leaders = nodes.iter().filter(|node| node.role() == v1::Role::Leader);
    let leader = leaders.max_by_key(|node| node.term);
    table(&headers, nodes.iter().map(|node| node_row(node, leader)))
}

fn node_row(node: &v1::NodeStatus, leader: Option<&v1::NodeStatus>) -> Vec<String> {
    let member = node.member.as_ref();
    // Of a node that does not answer nothing is known, and zeros would say otherwise.
    let known = (node.role() != v1::Role::Unreachable).then_some(node);
    let lag = known.zip(leader).map(|(node, leader)| leader.applied_index.saturating_sub(node.applied_index));
    let digest = node.digest.get(..DIGEST_SHOWN).unwrap_or(&node.digest);
    vec![
        or_dash(member.map(|member| member.node_id)),
        or_dash(member.map(|member| &member.client_address)),
        role(node).to_owned(),
        or_dash(known.map(|node| node.term)),
        or_dash(known.map(|node| node.revision)),
        or_dash(known.map(|node| node.applied_index)),
        or_dash(known.map(|node| node.last_log_index)),
        or_dash(lag),
        or_dash(known.map(|node| node.snapshot_index)),
        or_dash(known.map(|node| node.disk_free_bytes >> 20)),
        text_or_dash(digest),
        text_or_dash(&node.problem),
    ]
}

fn role(node: &v1::NodeStatus) -> &'static str {
    match node.role() {
        v1::Role::Unspecified => "-",
        v1::Role::Leader => "leader",
        v1::Role::Follower => "follower",
        v1::Role::Candidate => "candidate",
        v1::Role::Learner => "learner",
        v1::Role::Unreachable => "unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node_id: u64, role: v1::Role, term: u64, applied_index: u64) -> v1::NodeStatus {
        v1::NodeStatus {
            member: Some(v1::Member {
                node_id,
                client_address: format!("host{node_id}:7101"),
                ..Default::default()
            }),
            role: role.into(),
            term,
            applied_index,
            last_log_index: applied_index,
            disk_free_bytes: 5 << 30,
            ..Default::default()
        }
    }

    /// The words of one row; no cell but the last is more than one word.
    fn row(text: &str, number: usize) -> Vec<&str> {
        text.lines().nth(number).expect("a row").split_whitespace().collect()
    }

    #[test]
    fn a_follower_shows_how_far_it_is_behind_the_leader_of_the_highest_term() {
        let all = [
            node(1, v1::Role::Leader, 3, 90),
            node(2, v1::Role::Leader, 4, 120),
            node(3, v1::Role::Follower, 4, 117),
        ];
        let text = nodes(&all);
        assert_eq!(row(&text, 1)[7], "30");
        assert_eq!(row(&text, 2)[7], "0");
        assert_eq!(
            row(&text, 3),
            ["3", "host3:7101", "follower", "4", "0", "117", "117", "3", "0", "5120", "-", "-"]
        );
    }

    #[test]
    fn a_node_that_does_not_answer_shows_its_problem_and_no_numbers() {
        let mut gone = node(2, v1::Role::Unreachable, 0, 0);
        gone.problem = "no answer within 1s".into();
        let text = nodes(&[node(1, v1::Role::Leader, 3, 90), gone]);
        assert_eq!(row(&text, 2)[2..11], ["unreachable", "-", "-", "-", "-", "-", "-", "-", "-"]);
        assert!(text.ends_with("no answer within 1s"), "{text}");
    }

    #[test]
    fn a_digest_is_cut_for_people() {
        let mut one = node(1, v1::Role::Leader, 3, 90);
        one.digest = "0123456789abcdef".into();
        assert_eq!(row(&nodes(&[one]), 1)[10], "0123456789ab");
    }
}
