//! The nodes.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::status;
use crate::node::deadline::deadline;
use crate::proto::v1;
use crate::proto::v1::cluster_server::Cluster;

type Changed = Result<Response<v1::ClusterChangeResponse>, Status>;

fn changed(result: Result<(), crate::node::Error>) -> Changed {
    result.map(|()| Response::new(v1::ClusterChangeResponse {})).map_err(|error| status::failed(&error))
}

#[tonic::async_trait]
impl Cluster for Api {
    async fn initialize(
        &self,
        _: Request<v1::InitializeRequest>,
    ) -> Result<Response<v1::InitializeResponse>, Status> {
        let members = self.node.initialize().await.map_err(|error| status::failed(&error))?;
        Ok(Response::new(v1::InitializeResponse { members }))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let request = request.into_inner();
        if !request.local {
            return Ok(Response::new(self.node.status(request.digest).await));
        }
        let nodes = vec![self.node.own_status(request.digest).await];
        Ok(Response::new(v1::StatusResponse { cluster: self.node.cluster().to_owned(), nodes }))
    }

    async fn add_node(&self, request: Request<v1::AddNodeRequest>) -> Changed {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        changed(self.node.add_node(request.into_inner(), deadline).await)
    }

    async fn promote_node(&self, request: Request<v1::PromoteNodeRequest>) -> Changed {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        changed(self.node.promote_node(request.into_inner(), deadline).await)
    }

    async fn remove_node(&self, request: Request<v1::RemoveNodeRequest>) -> Changed {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        changed(self.node.remove_node(request.into_inner(), deadline).await)
    }

    async fn transfer_leadership(&self, request: Request<v1::TransferLeadershipRequest>) -> Changed {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        changed(self.node.transfer_leadership(request.into_inner(), deadline).await)
    }

    async fn take_snapshot(
        &self,
        request: Request<v1::TakeSnapshotRequest>,
    ) -> Result<Response<v1::TakeSnapshotResponse>, Status> {
        let taken = self.node.take_snapshot(deadline(&request, DEFAULT_TIMEOUT)).await;
        let snapshot_index = taken.map_err(|error| status::failed(&error))?;
        Ok(Response::new(v1::TakeSnapshotResponse { node_id: self.node.id(), snapshot_index }))
    }
}
