//! Checkpoints and proofs: what shows to others what the ledger decided.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::status;
use crate::ledger::Malformed;
use crate::node::deadline::deadline;
use crate::node::proofs::Claim;
use crate::proto::v1;
use crate::proto::v1::get_proof_request::Of;

impl Api {
    pub(super) async fn checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let checkpoint = self.node.checkpoint(deadline(&request, DEFAULT_TIMEOUT)).await;
        let (checkpoint, note) = checkpoint.map_err(|error| status::failed(&error))?;
        Ok(Response::new(v1::GetCheckpointResponse {
            note,
            size: checkpoint.size,
            root: checkpoint.root.0.to_vec(),
            log_time_ms: checkpoint.time,
            state_digest: checkpoint.state.to_string(),
            verifier_key: self.node.verifier_key(),
        }))
    }

    pub(super) async fn proof(
        &self,
        request: Request<v1::GetProofRequest>,
    ) -> Result<Response<v1::GetProofResponse>, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        let v1::GetProofRequest { of, size } = request.into_inner();
        let claim = match of {
            Some(Of::Revision(revision)) => Claim::Includes(revision),
            Some(Of::OldSize(size)) => Claim::Extends(size),
            Some(Of::EdgeSize(size)) => Claim::Edge(size),
            None => {
                let problem = "is missing: say a revision, an old_size or an edge_size";
                return Err(status::malformed(&Malformed::new("of", problem)));
            }
        };
        let size = (size > 0).then_some(size);
        let proof = self.node.proof(claim, size, deadline).await.map_err(|error| status::failed(&error))?;
        let subject =
            |wanted: bool| proof.subject.filter(|_| wanted).map(|hash| hash.0.to_vec()).unwrap_or_default();
        Ok(Response::new(v1::GetProofResponse {
            hashes: proof.hashes.iter().map(|hash| hash.0.to_vec()).collect(),
            size: proof.size,
            root: proof.root.0.to_vec(),
            leaf_hash: subject(matches!(claim, Claim::Includes(_))),
            old_root: subject(matches!(claim, Claim::Extends(_))),
        }))
    }
}
