//! The nodes and who they are to each other. These calls have no request_id.

use super::call;
use crate::client::Client;
use crate::client::ClientError;
use crate::client::retry::Repeat;
use crate::proto::v1::*;

impl Client {
    /// Forms the cluster from the members in the configuration of the node asked.
    pub async fn initialize(&self) -> Result<InitializeResponse, ClientError> {
        // A second node that is told so while the first is at it would answer that it is done.
        call!(self, Repeat::Once, cluster.initialize, InitializeRequest {})
    }

    /// What a node knows of itself, the others (unless `local`) and the log.
    pub async fn status(&self, digest: bool, local: bool) -> Result<StatusResponse, ClientError> {
        call!(self, Repeat::Read, cluster.status, StatusRequest { digest, local })
    }

    /// Adds a node that receives the log and does not vote.
    pub async fn add_node(&self, member: Member) -> Result<ClusterChangeResponse, ClientError> {
        let message = AddNodeRequest { member: Some(member) };
        call!(self, Repeat::Change, cluster.add_node, message)
    }

    /// Gives a caught-up node a vote.
    pub async fn promote_node(&self, node_id: u64) -> Result<ClusterChangeResponse, ClientError> {
        call!(self, Repeat::Change, cluster.promote_node, PromoteNodeRequest { node_id })
    }

    /// Takes a node out of the cluster for good.
    pub async fn remove_node(&self, node_id: u64) -> Result<ClusterChangeResponse, ClientError> {
        call!(self, Repeat::Change, cluster.remove_node, RemoveNodeRequest { node_id })
    }

    /// Makes a node the leader.
    pub async fn transfer_leadership(&self, node_id: u64) -> Result<ClusterChangeResponse, ClientError> {
        call!(self, Repeat::Change, cluster.transfer_leadership, TransferLeadershipRequest { node_id })
    }

    /// Makes the node at [`Client::endpoint`] (after the call) take a snapshot and purge its log
    /// behind it.
    pub async fn take_snapshot(&self) -> Result<TakeSnapshotResponse, ClientError> {
        call!(self, Repeat::Once, cluster.take_snapshot, TakeSnapshotRequest {})
    }
}
