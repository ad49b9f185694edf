//! What nodes ask of each other on behalf of clients. A relayed call is answered by the node it
//! reaches or refused; it is never relayed again, so two nodes that take each other for the leader
//! cannot send a command in circles.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Error;
use super::ErrorKind;
use super::Node;
use super::deadline::deadline;
use super::propose::Decided;
use super::propose::Prepared;
use super::read::ReadPoint;
use crate::codec::batch;
use crate::codec::merkle::Hash;
use crate::codec::verdict;
use crate::ledger;
use crate::ledger::LogTime;
use crate::ledger::Outcome;
use crate::planted::Bug;
use crate::planted::planted;
use crate::proto::peer::v1 as peer;
use crate::proto::peer::v1::relay_client::RelayClient;
use crate::proto::peer::v1::relay_server;
use crate::proto::v1;
use crate::raft::Member;
use crate::raft::NodeId;
use crate::raft::peers::MAX_MESSAGE_BYTES;
use crate::raft::peers::PeerChannel;
use crate::raft::peers::Purpose;

/// How long the leader may take to have log time go on.
const PASS_ATTEMPT: Duration = Duration::from_secs(1);

/// How long a relayed call may take when it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

type Client = RelayClient<PeerChannel>;

impl ErrorKind {
    /// How it is told to whoever called, node or client.
    pub fn code(self) -> Code {
        match self {
            Self::Unavailable | Self::Overloaded => Code::Unavailable,
            Self::Refused => Code::FailedPrecondition,
            Self::Invalid => Code::InvalidArgument,
            Self::Compacted { .. } | Self::NotYet => Code::OutOfRange,
            Self::NoRoom { .. } => Code::ResourceExhausted,
            Self::Fault => Code::Internal,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Status::new(error.kind.code(), error.problem)
    }
}

/// What another node answered instead of doing it. Whatever is not an answer to the question
/// leaves it open.
pub(super) fn answer(status: &Status) -> Error {
    let kind = match status.code() {
        Code::FailedPrecondition => ErrorKind::Refused,
        Code::InvalidArgument => ErrorKind::Invalid,
        // Nodes ask each other for nothing of the past.
        Code::OutOfRange => ErrorKind::NotYet,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, status.message())
}

/// A request that gives up at a deadline, and says so to the other side.
pub(super) fn timed<T>(message: T, deadline: Instant) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    request
}

impl Node {
    pub(super) fn relay_client(&self, id: NodeId, member: &Member) -> Result<Client, Error> {
        self.relay_client_on(Purpose::Relay, id, member)
    }

    fn relay_client_on(&self, purpose: Purpose, id: NodeId, member: &Member) -> Result<Client, Error> {
        let channel = self.parts.peers.channel(id, member, purpose).map_err(|status| answer(&status))?;
        Ok(RelayClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client of the leader, which is another node.
    pub(super) fn leader_client(&self) -> Result<Client, Error> {
        let (leader, member) = self.other_leader()?;
        self.relay_client(leader, &member)
    }

    /// Has commands decided by the leader.
    pub(super) async fn forward(&self, requests: &[Arc<Prepared>], deadline: Instant) -> Decided {
        let ask = async {
            let mut client = self.leader_client()?;
            let requests = requests.iter().map(|prepared| &prepared.request).map(|request| {
                match planted(Bug::ForwardNewRequestId) {
                    true => batch::encode_request(&self.under_new_id(request)),
                    false => batch::encode_request(request),
                }
            });
            let requests = requests.collect();
            let message = timed(peer::ForwardRequest { requests }, deadline);
            client.forward(message).await.map_err(|status| answer(&status))
        };
        match ask.await {
            Ok(reply) => decode_reply(reply.into_inner(), requests.len()).unwrap_or_else(Decided::from),
            Err(error) => error.into(),
        }
    }

    /// The same command, as if it were another one.
    fn under_new_id(&self, request: &ledger::Request) -> ledger::Request {
        let id = ledger::RequestId::made_at(request.id.time_ms(), self.parts.rng.next_u64().into());
        ledger::Request { id, ..request.clone() }
    }

    /// Asks the leader for the read index.
    pub(super) async fn ask_read_index(&self, deadline: Instant) -> Result<ReadPoint, Error> {
        let mut client = self.leader_client()?;
        let asked = Instant::now();
        let request = timed(peer::ReadIndexRequest {}, deadline);
        let reply = client.read_index(request).await.map_err(|status| answer(&status))?;
        let peer::ReadIndexReply { index, time_ms } = reply.into_inner();
        Ok(ReadPoint { index, time: time_ms, asked })
    }

    /// Has the leader see to it that log time passes a time.
    pub(super) async fn ask_to_pass(&self, time: LogTime, deadline: Instant) -> Result<(), Error> {
        let mut client = self.leader_client()?;
        // One that is cut off never answers; then another may.
        let deadline = deadline.min(Instant::now() + PASS_ATTEMPT);
        let request = timed(peer::PassRequest { time_ms: time }, deadline);
        client.pass(request).await.map(drop).map_err(|status| answer(&status))
    }

    /// Asks another node for the root of its event tree: over `size` events, or fewer if it has fewer.
    pub(super) async fn ask_tree_head(
        &self,
        id: NodeId,
        member: &Member,
        size: u64,
        deadline: Instant,
    ) -> Result<(u64, Hash), Error> {
        let mut client = self.relay_client(id, member)?;
        let request = timed(peer::TreeHeadRequest { size }, deadline);
        let reply = client.tree_head(request).await.map_err(|status| answer(&status))?.into_inner();
        let root = reply.root.try_into().map_err(|_| Error::unavailable("a root has 32 bytes"))?;
        Ok((reply.size, Hash(root)))
    }

    /// Asks another node for its clock: milliseconds since the Unix epoch.
    pub(super) async fn ask_clock(
        &self,
        id: NodeId,
        member: &Member,
        deadline: Instant,
    ) -> Result<u64, Error> {
        // The connection over which it has just voted: one that nobody used since a partition may
        // not have noticed yet that it is dead.
        let mut client = self.relay_client_on(Purpose::Replication, id, member)?;
        let request = timed(peer::ClockRequest {}, deadline);
        let reply = client.clock(request).await.map_err(|status| answer(&status))?;
        Ok(reply.into_inner().clock_ms)
    }
}

fn encode_reply(decided: &Decided) -> peer::ForwardReply {
    peer::ForwardReply {
        outcomes: decided.outcomes.iter().map(encode_outcome).collect(),
        undecided: decided
            .error
            .as_ref()
            .map(|error| peer::Undecided { code: error.kind.code().into(), problem: error.problem.clone() }),
    }
}

/// What the leader says of so many commands.
fn decode_reply(reply: peer::ForwardReply, asked: usize) -> Result<Decided, Error> {
    let outcomes: Vec<_> = reply.outcomes.into_iter().map(decode_outcome).collect::<Result<_, _>>()?;
    let error = reply.undecided.map(|said| answer(&Status::new(said.code.into(), said.problem)));
    match (outcomes.len(), &error) {
        (decided, None) if decided == asked => {}
        (decided, Some(_)) if decided < asked => {}
        (decided, _) => {
            let problem = format!("the leader answered {decided} commands when it was asked {asked}");
            return Err(Error::unavailable(problem));
        }
    }
    Ok(Decided { outcomes, error })
}

fn encode_outcome(result: &Result<Outcome, Error>) -> peer::Outcome {
    match result {
        Ok(outcome) => peer::Outcome {
            revision: outcome.revision,
            replayed: outcome.replayed,
            verdict: Some(verdict::encode(&outcome.verdict)),
            no_room: None,
        },
        Err(Error { kind: ErrorKind::NoRoom { node, free_bytes }, problem }) => peer::Outcome {
            no_room: Some(peer::NoRoom { node_id: *node, free_bytes: *free_bytes, problem: problem.clone() }),
            ..Default::default()
        },
        Err(error) => unreachable!("a command of an entry is decided, or refused for lack of room: {error}"),
    }
}

/// The outer error is that of an answer which makes no sense.
fn decode_outcome(message: peer::Outcome) -> Result<Result<Outcome, Error>, Error> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::unavailable(format!("the answer of the leader makes no sense: {error}"))
    };
    if let Some(peer::NoRoom { node_id, free_bytes, problem }) = message.no_room {
        return Ok(Err(Error::new(ErrorKind::NoRoom { node: node_id, free_bytes }, problem)));
    }
    let verdict = message.verdict.ok_or_else(|| unreadable(&"it has no verdict"))?;
    Ok(Ok(Outcome {
        revision: message.revision,
        replayed: message.replayed,
        verdict: verdict::decode(verdict).map_err(|error| unreadable(&error))?,
    }))
}

/// Answers the other nodes.
pub struct RelayService(pub Arc<Node>);

#[tonic::async_trait]
impl relay_server::Relay for RelayService {
    async fn forward(
        &self,
        request: Request<peer::ForwardRequest>,
    ) -> Result<Response<peer::ForwardReply>, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        let requests = request.into_inner().requests.into_iter().map(batch::decode_request);
        let requests = requests
            .collect::<Result<Vec<_>, _>>()
            .map_err(|corrupt| Status::invalid_argument(corrupt.to_string()))?;
        let decided = self.0.decide_relayed(requests, deadline).await;
        // Nothing was decided: that is an answer to the call.
        if let Decided { outcomes, error: Some(error) } = &decided
            && outcomes.is_empty()
        {
            return Err(error.clone().into());
        }
        Ok(Response::new(encode_reply(&decided)))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexReply>, Status> {
        let ReadPoint { index, time, .. } =
            self.0.read_index_relayed(deadline(&request, DEFAULT_TIMEOUT)).await?;
        Ok(Response::new(peer::ReadIndexReply { index, time_ms: time }))
    }

    async fn pass(&self, request: Request<peer::PassRequest>) -> Result<Response<peer::PassReply>, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        self.0.pass_as_leader(request.into_inner().time_ms, deadline).await?;
        Ok(Response::new(peer::PassReply {}))
    }

    async fn clock(&self, _: Request<peer::ClockRequest>) -> Result<Response<peer::ClockReply>, Status> {
        Ok(Response::new(peer::ClockReply { clock_ms: self.0.clock_ms() }))
    }

    async fn tree_head(
        &self,
        request: Request<peer::TreeHeadRequest>,
    ) -> Result<Response<peer::TreeHeadReply>, Status> {
        let (size, root) = self.0.tree_head(request.into_inner().size)?;
        Ok(Response::new(peer::TreeHeadReply { size, root: root.0.to_vec() }))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let status = self.0.own_status(request.into_inner().digest).await;
        Ok(Response::new(v1::StatusResponse { cluster: self.0.cluster().to_owned(), nodes: vec![status] }))
    }

    async fn add_node(
        &self,
        request: Request<v1::AddNodeRequest>,
    ) -> Result<Response<v1::ClusterChangeResponse>, Status> {
        self.0.add_node_as_leader(request.into_inner()).await?;
        Ok(Response::new(v1::ClusterChangeResponse {}))
    }

    async fn promote_node(
        &self,
        request: Request<v1::PromoteNodeRequest>,
    ) -> Result<Response<v1::ClusterChangeResponse>, Status> {
        self.0.promote_node_as_leader(request.into_inner()).await?;
        Ok(Response::new(v1::ClusterChangeResponse {}))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::ClusterChangeResponse>, Status> {
        self.0.remove_node_as_leader(request.into_inner()).await?;
        Ok(Response::new(v1::ClusterChangeResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::ClusterChangeResponse>, Status> {
        let deadline = deadline(&request, DEFAULT_TIMEOUT);
        self.0.transfer_as_leader(request.into_inner(), deadline).await?;
        Ok(Response::new(v1::ClusterChangeResponse {}))
    }
}
