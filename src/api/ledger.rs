//! Reserving and giving back.

use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::Streaming;

use super::Api;
use super::batch::Results;
use super::call::Caller;
use super::status;
use crate::codec::command::Message;
use crate::proto::v1;
use crate::proto::v1::ledger_server::Ledger;

#[tonic::async_trait]
impl Ledger for Api {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        if request.get_ref().mode == i32::from(v1::Mode::Check) {
            return self.check(request).await;
        }
        self.run(request, Message::Reserve).await
    }

    async fn check(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut message = request.into_inner();
        if message.mode == i32::from(v1::Mode::Check) {
            message.set_mode(v1::Mode::Strict);
        }
        let done = self.preview(&caller, Message::Reserve(message)).await;
        done.map(|done| Response::new(done.into())).map_err(|failure| status::of(&failure))
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        self.run(request, Message::Commit).await
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        self.run(request, Message::Release).await
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        self.run(request, Message::Renew).await
    }

    async fn resize(
        &self,
        request: Request<v1::ResizeRequest>,
    ) -> Result<Response<v1::ResizeResponse>, Status> {
        self.run(request, Message::Resize).await
    }

    async fn batch(&self, request: Request<v1::BatchRequest>) -> Result<Response<v1::BatchResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.run_batch(&caller, request.into_inner()).await.map(Response::new)
    }

    type SubmitStream = Results;

    async fn submit(
        &self,
        request: Request<Streaming<v1::BatchCommand>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.run_stream(caller, request.into_inner())))
    }
}
