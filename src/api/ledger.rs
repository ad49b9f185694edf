//! Reserving and giving back.

use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use crate::codec::command;
use crate::ledger::Grant;
use crate::proto::storage::v1::request::Command as Message;
use crate::proto::v1;
use crate::proto::v1::ledger_server::Ledger;

#[tonic::async_trait]
impl Ledger for Api {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let granted = self
            .decide(request, |mut message| {
                let id = std::mem::take(&mut message.request_id);
                (id, command::decode(Message::Reserve(message)))
            })
            .await?;
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
        let granted = self
            .decide(request, |mut message| {
                let id = std::mem::take(&mut message.request_id);
                (id, command::decode(Message::Commit(message)))
            })
            .await?;
        Ok(Response::new(v1::CommitResponse { revision: granted.revision, replayed: granted.replayed }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let granted = self
            .decide(request, |mut message| {
                let id = std::mem::take(&mut message.request_id);
                (id, command::decode(Message::Release(message)))
            })
            .await?;
        Ok(Response::new(v1::ReleaseResponse { revision: granted.revision, replayed: granted.replayed }))
    }
}
