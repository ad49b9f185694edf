//! Reserving and giving back.

use uuid::Uuid;

use super::call;
use super::command;
use super::command_or_question;
use crate::client::Client;
use crate::client::ClientError;
use crate::client::retry::Repeat;
use crate::proto::v1::*;

impl Client {
    /// Takes all lines and all their ancestors, or nothing; other modes say what else may happen.
    pub async fn reserve(
        &self,
        request_id: Uuid,
        mut message: ReserveRequest,
    ) -> Result<ReserveResponse, ClientError> {
        command!(self, request_id, ledger.reserve, message)
    }

    /// What `reserve` would answer now, a denial included. Nothing is taken: a read.
    pub async fn check(&self, message: ReserveRequest) -> Result<ReserveResponse, ClientError> {
        call!(self, Repeat::Read, ledger.check, message)
    }

    /// Makes a hold final, or a part of it.
    pub async fn commit(
        &self,
        request_id: Uuid,
        mut message: CommitRequest,
    ) -> Result<CommitResponse, ClientError> {
        command_or_question!(self, request_id, ledger.commit, message)
    }

    /// Gives back what is live of a hold, or a part of it.
    pub async fn release(
        &self,
        request_id: Uuid,
        mut message: ReleaseRequest,
    ) -> Result<ReleaseResponse, ClientError> {
        command_or_question!(self, request_id, ledger.release, message)
    }

    /// Lets a hold live for `ttl_ms` from log time now.
    pub async fn renew(
        &self,
        request_id: Uuid,
        hold_id: u64,
        ttl_ms: u64,
    ) -> Result<RenewResponse, ClientError> {
        let mut message = RenewRequest { hold_id, ttl_ms, ..Default::default() };
        command!(self, request_id, ledger.renew, message)
    }

    /// Changes how much a hold takes: each line to the amount given, the others stay.
    pub async fn resize(
        &self,
        request_id: Uuid,
        hold_id: u64,
        lines: Vec<HoldAmount>,
    ) -> Result<ResizeResponse, ClientError> {
        let mut message = ResizeRequest { hold_id, lines, ..Default::default() };
        command!(self, request_id, ledger.resize, message)
    }

    /// What [`Client::renew`] would do now. Nothing is done: a read.
    pub async fn preview_renew(&self, hold_id: u64, ttl_ms: u64) -> Result<RenewResponse, ClientError> {
        let message = RenewRequest { hold_id, ttl_ms, validate_only: true, ..Default::default() };
        call!(self, Repeat::Read, ledger.renew, message)
    }

    /// What [`Client::resize`] would do now. Nothing is done: a read.
    pub async fn preview_resize(
        &self,
        hold_id: u64,
        lines: Vec<HoldAmount>,
    ) -> Result<ResizeResponse, ClientError> {
        let message = ResizeRequest { hold_id, lines, validate_only: true, ..Default::default() };
        call!(self, Repeat::Read, ledger.resize, message)
    }
}
