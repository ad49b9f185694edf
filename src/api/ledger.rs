//! Reserving and giving back.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::decide;
use crate::ledger::Grant;
use crate::proto::v1;
use crate::proto::v1::ledger_server::Ledger;

#[tonic::async_trait]
impl Ledger for Api {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let granted = decide!(self, request, Reserve);
        let Grant::Hold(hold_id) = granted.grant else {
            unreachable!("a granted reservation makes a hold");
        };
        Ok(Response::new(v1::ReserveResponse {
            hold_id,
            revision: granted.revision,
            replayed: granted.replayed,
        }))
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let granted = decide!(self, request, Commit);
        Ok(Response::new(v1::CommitResponse { revision: granted.revision, replayed: granted.replayed }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let granted = decide!(self, request, Release);
        Ok(Response::new(v1::ReleaseResponse { revision: granted.revision, replayed: granted.replayed }))
    }
}
