//! The answering side of Raft between nodes.

use std::sync::Arc;

use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::stream;
use openraft::Snapshot;
use sha2::Digest as _;
use sha2::Sha256;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::Streaming;
use tonic::metadata::MetadataMap;

use super::Log;
use super::Raft;
use super::acknowledged;
use super::fault::Faults;
use super::snapshot::SnapshotData;
use super::state_machine::Applied;
use super::types::SnapshotMeta;
use super::types::Vote;
use super::wire;
use crate::codec::Corrupt;
use crate::proto::peer::v1 as peer;
use crate::proto::peer::v1::raft_server;
use crate::store::Received;
use crate::store::SnapshotFile;
use crate::store::SnapshotReceiver;
use crate::store::StoreError;

/// Answers the consensus engines of the other nodes.
pub struct RaftService {
    raft: Raft,
    log: Log,
    applied: Arc<Applied>,
    faults: Faults,
}

impl RaftService {
    /// For this node.
    pub fn new(raft: Raft, log: Log, applied: Arc<Applied>, faults: Faults) -> Self {
        Self { raft, log, applied, faults }
    }

    /// What this node has acknowledged must be in its log. If it is not, others count on entries and votes
    /// that are gone, as after the loss of all data.
    fn check_log(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let (Some(told), last) = (acknowledged::told(metadata), self.log.last_index()) else {
            return Ok(());
        };
        if last.is_some_and(|last| last >= told) {
            return Ok(());
        }
        let last = last.map_or("is empty".to_owned(), |last| format!("ends with entry {last}"));
        let problem = format!(
            "this node's data is damaged: its log {last}, but it has acknowledged entry {told}; the disk has \
             lost what was synced, and this node must be replaced; see docs/operations.md"
        );
        self.faults.report(&problem);
        Err(stopped(problem))
    }

    /// The disk of this node failed while it took in a snapshot.
    fn broken(&self, error: &StoreError) -> Status {
        self.faults.report(error);
        stopped(error)
    }
}

fn bad(corrupt: Corrupt) -> Status {
    Status::invalid_argument(corrupt.to_string())
}

/// The engine has stopped; the node is about to.
fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node is stopping: {error}"))
}

type AppendReplies = std::pin::Pin<Box<dyn Stream<Item = Result<peer::AppendReply, Status>> + Send>>;

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    type StreamAppendStream = AppendReplies;

    async fn stream_append(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> Result<Response<AppendReplies>, Status> {
        self.check_log(request.metadata())?;
        // A broken message or connection ends the requests; the sender sees the stream end and
        // starts another.
        let requests = stream::unfold(request.into_inner(), |mut messages| async move {
            let decoded = match messages.message().await {
                Ok(message) => wire::decode_append(message?).map_err(bad),
                Err(status) => Err(status),
            };
            match decoded {
                Ok(request) => Some((request, messages)),
                Err(status) => {
                    tracing::debug!(%status, "an append stream ended");
                    None
                }
            }
        });
        // The stream of the engine borrows nothing, but the handle has to live as long as it.
        let raft = self.raft.clone();
        let replies = raft.stream_append(requests).map(|result| match result {
            Ok(result) => Ok(wire::encode_append_result(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn append(
        &self,
        request: Request<peer::AppendRequest>,
    ) -> Result<Response<peer::AppendReply>, Status> {
        self.check_log(request.metadata())?;
        let request = wire::decode_append(request.into_inner()).map_err(bad)?;
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let reply = self.raft.append_entries(request).await.map_err(stopped)?;
        Ok(Response::new(wire::encode_append_result(&reply.into_stream_result(previous, last))))
    }

    async fn vote(&self, request: Request<peer::VoteRequest>) -> Result<Response<peer::VoteReply>, Status> {
        let request = wire::decode_vote_request(request.into_inner()).map_err(bad)?;
        let reply = self.raft.vote(request).await.map_err(stopped)?;
        Ok(Response::new(wire::encode_vote_reply(&reply)))
    }

    async fn pre_vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteReply>, Status> {
        let request = wire::decode_vote_request(request.into_inner()).map_err(bad)?;
        let reply = self.raft.pre_vote(request).await.map_err(stopped)?;
        Ok(Response::new(wire::encode_vote_reply(&reply)))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderReply>, Status> {
        let request = wire::decode_transfer(request.into_inner()).map_err(bad)?;
        let reply = self.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(Response::new(wire::encode_transfer_reply(&reply)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotChunk>>,
    ) -> Result<Response<peer::SnapshotReply>, Status> {
        let mut chunks = request.into_inner();
        let (vote, meta, files) = header(chunks.message().await?)?;
        let receiver = self.applied.store().receive(files.clone()).map_err(|error| self.broken(&error))?;
        let mut receiving = Receiving { receiver, files, file: 0, offset: 0, hasher: Sha256::new() };
        while let Some(chunk) = chunks.message().await? {
            receiving.take(chunk)?.map_err(|error| self.broken(&error))?;
        }
        let received = receiving.finish()?.map_err(|error| self.broken(&error))?;
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(Arc::new(received)) };
        let reply = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(peer::SnapshotReply { vote: Some(wire::encode_vote(&reply.vote)) }))
    }
}

fn header(message: Option<peer::SnapshotChunk>) -> Result<(Vote, SnapshotMeta, Vec<SnapshotFile>), Status> {
    let Some(peer::snapshot_chunk::Part::Header(header)) = message.and_then(|chunk| chunk.part) else {
        return Err(Status::invalid_argument("a snapshot begins with its header"));
    };
    let meta = SnapshotMeta {
        last_log_id: wire::decode_log_id(header.last_log_id).map_err(bad)?,
        last_membership: wire::decode_stored_membership(header.last_membership).map_err(bad)?,
    };
    let files =
        header.files.into_iter().map(|file| SnapshotFile { name: file.name, size: file.size }).collect();
    Ok((wire::decode_vote(header.vote).map_err(bad)?, meta, files))
}

/// Where receiving a snapshot stands.
struct Receiving {
    receiver: Box<dyn SnapshotReceiver>,
    files: Vec<SnapshotFile>,
    file: usize,
    offset: u64,
    hasher: Sha256,
}

impl Receiving {
    /// The outer error is the sender's fault, the inner one this node's.
    fn take(&mut self, message: peer::SnapshotChunk) -> Result<Result<(), StoreError>, Status> {
        let Some(peer::snapshot_chunk::Part::Chunk(chunk)) = message.part else {
            return Err(Status::invalid_argument("a snapshot has one header"));
        };
        let file = self
            .files
            .get(self.file)
            .ok_or_else(|| Status::invalid_argument("the snapshot has more chunks than its header says"))?;
        if chunk.file as usize != self.file || chunk.offset != self.offset {
            let expected = format!("{}@{}", self.file, self.offset);
            let problem = format!("expected chunk {expected}, got {}@{}", chunk.file, chunk.offset);
            return Err(Status::invalid_argument(problem));
        }
        self.hasher.update(&chunk.data);
        self.offset += chunk.data.len() as u64;
        if let Err(error) = self.receiver.append(self.file, &chunk.data) {
            return Ok(Err(error));
        }
        if self.offset >= file.size {
            let digest = std::mem::take(&mut self.hasher).finalize();
            if chunk.digest != digest.as_slice() {
                return Err(Status::data_loss(format!("{} arrived damaged", file.name)));
            }
            self.file += 1;
            self.offset = 0;
        }
        Ok(Ok(()))
    }

    /// As with `take`.
    fn finish(self) -> Result<Result<Received, StoreError>, Status> {
        if self.file != self.files.len() {
            return Err(Status::aborted("the snapshot ended early"));
        }
        Ok(self.receiver.finish())
    }
}
