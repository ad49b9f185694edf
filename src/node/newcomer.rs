//! A member that begins with an empty data directory.
//!
//! Before the cluster is formed that is as it should be. Afterwards it means that the data of this
//! node was lost, and with it votes and entries that others count on: under its old id the node
//! could help to elect a leader that lacks acknowledged commands. So it asks, and does not start.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tonic::Request;

use crate::proto::peer::v1::relay_client::RelayClient;
use crate::proto::v1;
use crate::raft::Member;
use crate::raft::NodeId;
use crate::raft::Peers;
use crate::raft::peers::Purpose;

/// How long another member may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The data of a member was lost.
#[derive(Debug, thiserror::Error)]
#[error(
    "the data directory of node {me} is empty, but node {other} says that the cluster was formed long ago; \
     with its data this node has lost what others count on, so its id cannot be used again: \
     remove it (quorate cluster remove {me}) and add a node with a new id, \
     or bring the lost data directory back; see docs/operations.md"
)]
pub struct LostData {
    me: NodeId,
    other: NodeId,
}

/// Asks the other members whether the cluster was formed before this node had any data.
pub async fn check(peers: &Arc<Peers>, me: NodeId, members: &[(NodeId, Member)]) -> Result<(), LostData> {
    let others = members.iter().filter(|(id, _)| *id != me);
    let formed = join_all(others.map(|(id, member)| has_formed(peers, *id, member))).await;
    match formed.into_iter().flatten().next() {
        Some(other) => Err(LostData { me, other }),
        None => Ok(()),
    }
}

/// The node, if it answers and belongs to a formed cluster. One that does not answer says nothing.
async fn has_formed(peers: &Arc<Peers>, id: NodeId, member: &Member) -> Option<NodeId> {
    let channel = match peers.channel(id, member, Purpose::Relay) {
        Ok(channel) => channel,
        Err(status) => {
            tracing::warn!(node = id, %status, "cannot ask a member whether the cluster is formed");
            return None;
        }
    };
    let request = Request::new(v1::StatusRequest { digest: false, local: true });
    let reply = timeout(ANSWER, async { RelayClient::new(channel).status(request).await }).await;
    let status = reply.ok()?.ok()?.into_inner().nodes.pop()?;
    (status.term > 0).then_some(id)
}
