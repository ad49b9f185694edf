//! The calling side of Raft between nodes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::future::ready;
use futures_util::stream;
use openraft::OptionalSend;
use openraft::RaftNetworkFactory;
use openraft::RaftNetworkV2;
use openraft::base::BoxFuture;
use openraft::base::BoxStream;
use openraft::errors::RPCError;
use openraft::errors::ReplicationClosed;
use openraft::errors::StreamingError;
use openraft::errors::Unreachable;
use openraft::network::RPCOption;
use openraft::network::stream_append_sequential;
use openraft::raft::AppendEntriesRequest;
use openraft::raft::AppendEntriesResponse;
use openraft::raft::SnapshotResponse;
use openraft::raft::StreamAppendResult;
use openraft::raft::TransferLeaderRequest;
use openraft::raft::TransferLeaderResponse;
use openraft::raft::VoteRequest;
use openraft::raft::VoteResponse;
use sha2::Digest as _;
use sha2::Sha256;
use tonic::Status;

use super::acknowledged::Acknowledged;
use super::fault::Faults;
use super::peers::MAX_MESSAGE_BYTES;
use super::peers::PeerChannel;
use super::peers::Peers;
use super::peers::Purpose;
use super::snapshot::SnapshotData;
use super::types::Member;
use super::types::NodeId;
use super::types::SnapshotMeta;
use super::types::TypeConfig;
use super::types::Vote;
use super::wire;
use crate::proto::peer::v1 as peer;
use crate::proto::peer::v1::raft_client::RaftClient;
use crate::store;

/// How long opening an append stream may take. What comes after is guarded by keepalive.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// How much of a snapshot is sent at a time.
const CHUNK_BYTES: usize = 1 << 20;

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;

/// Makes the clients of the consensus engine.
pub struct Factory {
    peers: Arc<Peers>,
    faults: Faults,
    acknowledged: Acknowledged,
}

impl Factory {
    /// On the connections of this node.
    pub fn new(peers: Arc<Peers>, faults: Faults) -> Self {
        Self { peers, faults, acknowledged: Acknowledged::default() }
    }

    fn client(&self, target: NodeId, node: &Member, purpose: Purpose) -> Network {
        Network {
            peers: Arc::clone(&self.peers),
            faults: self.faults.clone(),
            acknowledged: self.acknowledged.clone(),
            target,
            member: node.clone(),
            purpose,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Network;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Network {
        self.client(target, node, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Member) -> Network {
        self.client(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Member) -> Network {
        self.client(target, node, Purpose::Snapshot)
    }
}

/// Calls one node.
pub struct Network {
    peers: Arc<Peers>,
    faults: Faults,
    acknowledged: Acknowledged,
    target: NodeId,
    member: Member,
    purpose: Purpose,
}

/// Whatever went wrong, the peer could not be reached: the engine then waits before it tries
/// again.
fn unreachable(status: &Status) -> Unreachable<TypeConfig> {
    Unreachable::from_string(format!("{:?}: {}", status.code(), status.message()))
}

fn nonsense(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("the answer of the node makes no sense: {error}"))
}

impl Network {
    fn client(&self) -> Result<RaftClient<PeerChannel>, Status> {
        let channel = self.peers.channel(self.target, &self.member, self.purpose)?;
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// Bounds a call by the time the engine allows.
    async fn within<T>(
        limit: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> RpcResult<T> {
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(unreachable(&status).into()),
            Err(_) => {
                Err(unreachable(&Status::deadline_exceeded(format!("no answer within {limit:?}"))).into())
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<TypeConfig>> {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let mut message = tonic::Request::new(wire::encode_append(&request));
        self.acknowledged.tell(self.target, &request.vote, &mut message);
        let reply = Self::within(option.soft_ttl(), client.append(message)).await?;
        let result = wire::decode_append_result(reply).map_err(|error| unreachable(&nonsense(error)))?;
        if let Ok(accepted) = &result {
            self.acknowledged.note(self.target, &request.vote, *accepted);
        }
        Ok(match result {
            Ok(accepted) if accepted != last => AppendEntriesResponse::PartialSuccess(accepted),
            result => result.into(),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.purpose == Purpose::Heartbeat {
            // One call per beat instead of one stream per beat.
            return stream_append_sequential(self, input, option);
        }
        let opened = async move {
            // The engine waits before a retry when its requests are pulled: connecting first
            // would spin against a node that is down.
            let Some(first) = input.next().await else {
                let nothing: BoxStream<'s, _> = Box::pin(stream::empty());
                return Ok(nothing);
            };
            let (target, vote, acknowledged) = (self.target, first.vote, self.acknowledged.clone());
            let requests =
                stream::once(ready(first)).chain(input).map(|request| wire::encode_append(&request));
            let mut requests = tonic::Request::new(requests);
            acknowledged.tell(target, &vote, &mut requests);
            let mut client = self.client().map_err(|status| unreachable(&status))?;
            let replies = Self::within(OPEN_TIMEOUT, client.stream_append(requests)).await?;
            let results = replies.map(move |reply| match reply {
                Ok(reply) => {
                    let result = wire::decode_append_result(reply);
                    if let Ok(Ok(accepted)) = &result {
                        acknowledged.note(target, &vote, *accepted);
                    }
                    result.map_err(|error| unreachable(&nonsense(error)).into())
                }
                Err(status) => Err(unreachable(&status).into()),
            });
            let results: BoxStream<'s, _> = Box::pin(results);
            Ok(results)
        };
        opened.boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let reply = Self::within(option.soft_ttl(), client.vote(wire::encode_vote_request(&request))).await?;
        wire::decode_vote_reply(reply).map_err(|error| unreachable(&nonsense(error)).into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let reply =
            Self::within(option.soft_ttl(), client.pre_vote(wire::encode_vote_request(&request))).await?;
        wire::decode_vote_reply(reply).map_err(|error| unreachable(&nonsense(error)).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Made(files) = snapshot.snapshot else {
            let status = Status::internal("a received snapshot is installed, not sent on");
            return Err(unreachable(&status).into());
        };
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let faults = self.faults.clone();
        let call = async {
            // What is damaged here must not become the trouble of another node.
            if let Err(error) = files.verify().await {
                let status = Status::internal(format!("the snapshot is damaged: {error}"));
                faults.report(error);
                return Err(unreachable(&status).into());
            }
            let chunks = chunks(&vote, &snapshot.meta, files, faults);
            Self::within(option.soft_ttl(), client.install_snapshot(chunks)).await
        };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            reply = call => {
                let vote = wire::decode_vote(reply?.vote).map_err(|error| unreachable(&nonsense(error)))?;
                Ok(SnapshotResponse::new(vote))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let reply =
            Self::within(option.soft_ttl(), client.transfer_leader(wire::encode_transfer(&request))).await?;
        wire::decode_transfer_reply(reply).map_err(|error| unreachable(&nonsense(error)).into())
    }
}

/// Where sending a snapshot stands.
struct Sending {
    files: Arc<dyn store::Snapshot>,
    file: usize,
    offset: u64,
    hasher: Sha256,
}

/// A snapshot as messages. A file that cannot be read is a fault of this node; the stream ends
/// early then, and the receiver refuses what it has.
fn chunks(
    vote: &Vote,
    meta: &SnapshotMeta,
    files: Arc<dyn store::Snapshot>,
    faults: Faults,
) -> impl Stream<Item = peer::SnapshotChunk> + Send + 'static {
    let header = peer::SnapshotHeader {
        vote: Some(wire::encode_vote(vote)),
        last_log_id: meta.last_log_id.map(wire::encode_log_id),
        last_membership: Some(wire::encode_stored_membership(&meta.last_membership)),
        files: files
            .files()
            .iter()
            .map(|file| peer::SnapshotFile { name: file.name.clone(), size: file.size })
            .collect(),
    };
    let header = peer::SnapshotChunk { part: Some(peer::snapshot_chunk::Part::Header(header)) };
    let sending = Sending { files, file: 0, offset: 0, hasher: Sha256::new() };
    let contents = stream::unfold((sending, faults), |(mut sending, faults)| async move {
        match sending.next() {
            Ok(chunk) => {
                let part = peer::snapshot_chunk::Part::Chunk(chunk?);
                Some((peer::SnapshotChunk { part: Some(part) }, (sending, faults)))
            }
            Err(error) => {
                faults.report(error);
                None
            }
        }
    });
    stream::once(ready(header)).chain(contents)
}

impl Sending {
    fn next(&mut self) -> Result<Option<peer::FileChunk>, store::StoreError> {
        let Some(file) = self.files.files().get(self.file) else {
            return Ok(None);
        };
        let data = self.files.read(self.file, self.offset, CHUNK_BYTES)?;
        let (position, offset) = (self.file, self.offset);
        self.hasher.update(&data);
        self.offset += data.len() as u64;
        let mut digest = Vec::new();
        if self.offset >= file.size {
            digest = std::mem::take(&mut self.hasher).finalize().to_vec();
            self.file += 1;
            self.offset = 0;
        } else if data.is_empty() {
            return Err(store::StoreError::new("read the snapshot", format!("{} ended early", file.name)));
        }
        let file = u32::try_from(position).expect("fewer than 2^32 files");
        Ok(Some(peer::FileChunk { file, offset, data, digest }))
    }
}
