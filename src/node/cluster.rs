//! Who the nodes are to each other: status, membership, leadership.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::ChangeMembers;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::Instant;
use tokio::time::timeout;
use tonic::Request;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::proto::v1;
use crate::raft::Member;
use crate::raft::NodeId;

/// How long another node may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it may take when it has to read its whole state for that.
const DIGEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long another node may take to become the leader before this one stops.
const HANDING_OVER: Duration = Duration::from_secs(1);

/// How long this node may be without an answer before a poll looks again.
const POLL: Duration = Duration::from_millis(20);

/// A node this many log entries behind, or fewer, counts as caught up: it has the rest in no time.
const CAUGHT_UP: u64 = 1_000;

fn refused(problem: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Refused, problem)
}

fn fault(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Fault, format!("this node is stopping: {error}"))
}

impl Node {
    /// The name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.parts.cluster
    }

    /// Forms the cluster from the configured members.
    pub async fn initialize(&self) -> Result<Vec<v1::Member>, Error> {
        let mut members: BTreeMap<NodeId, Member> = self.parts.members.iter().cloned().collect();
        if !members.contains_key(&self.parts.id) {
            return Err(refused("the configuration of this node names no members to form a cluster with"));
        }
        self.meet(&mut members).await?;
        self.parts
            .raft
            .initialize(members.clone())
            .await
            .map_err(|error| refused(format!("the cluster cannot be formed here: {error}")))?;
        Ok(members.iter().map(|(id, member)| encode_member(*id, member)).collect())
    }

    /// Asks all for their keys. A node whose data was lost must not form a second cluster beside the first.
    async fn meet(&self, members: &mut BTreeMap<NodeId, Member>) -> Result<(), Error> {
        let nodes = join_all(members.iter().map(|(id, member)| self.status_of(*id, member, false))).await;
        for node in nodes {
            let id = node.member.as_ref().map_or(0, |member| member.node_id);
            if node.term > 0 || node.last_log_index > 0 {
                return Err(refused(format!(
                    "the cluster is formed already: node {id} is in term {}",
                    node.term
                )));
            }
            if node.role() == v1::Role::Unreachable {
                let problem = node.problem;
                return Err(refused(format!(
                    "node {id} does not answer ({problem}); start every member before the cluster is formed"
                )));
            }
            if let Some(member) = members.get_mut(&id) {
                member.verifier_key = node.verifier_key;
            }
        }
        Ok(())
    }

    /// Every node this one knows of.
    pub async fn status(&self, digest: bool) -> v1::StatusResponse {
        let mut members: BTreeMap<NodeId, Member> = {
            let metrics = self.parts.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.nodes().map(|(id, member)| (*id, member.clone())).collect()
        };
        if members.is_empty() {
            members = self.parts.members.iter().cloned().collect();
        }
        members.entry(self.parts.id).or_default();
        let nodes = join_all(members.iter().map(|(id, member)| self.status_of(*id, member, digest))).await;
        v1::StatusResponse { cluster: self.parts.cluster.clone(), nodes }
    }

    pub(super) async fn status_of(&self, id: NodeId, member: &Member, digest: bool) -> v1::NodeStatus {
        if id == self.parts.id {
            return self.own_status(digest).await;
        }
        let asked = async {
            let mut client = self.relay_client(id, member)?;
            let request = Request::new(v1::StatusRequest { digest, local: true });
            let reply =
                client.status(request).await.map_err(|status| Error::unavailable(status.message()))?;
            reply.into_inner().nodes.pop().ok_or_else(|| Error::unavailable("it says nothing of itself"))
        };
        let limit = if digest { DIGEST_TIMEOUT } else { STATUS_TIMEOUT };
        let problem = match timeout(limit, asked).await {
            Ok(Ok(status)) => return status,
            Ok(Err(error)) => error.problem,
            Err(_) => format!("no answer within {limit:?}"),
        };
        v1::NodeStatus {
            member: Some(encode_member(id, member)),
            role: v1::Role::Unreachable.into(),
            problem,
            ..Default::default()
        }
    }

    /// This node alone.
    pub async fn own_status(&self, digest: bool) -> v1::NodeStatus {
        let (mut revision, mut time) = {
            let state = self.state();
            (state.revision(), state.time())
        };
        let mut told = String::new();
        let mut unreadable = None;
        if digest {
            match self.parts.applied.digest(revision).await {
                Ok(digested) => {
                    (revision, time) = (digested.revision, digested.time);
                    told = digested.digest.to_string();
                }
                Err(error) => {
                    unreadable = Some(format!("its state cannot be read, it stops: {error}"));
                    self.parts.faults.report(format!("read the state: {error}"));
                }
            }
        }
        let id = self.parts.id;
        let clock_refused = self.refuses_clock().await;
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let fault = metrics.running_state.as_ref().err().map(ToString::to_string);
        let refused = clock_refused.then(|| "its clock is refused: set it right".to_owned());
        let room = self.room.seen();
        let member = metrics
            .membership_config
            .get_node(&id)
            .or_else(|| self.parts.members.iter().find(|(other, _)| *other == id).map(|(_, member)| member));
        let index = |log_id: &Option<crate::raft::types::LogId>| log_id.map_or(0, |log_id| log_id.index);
        v1::NodeStatus {
            member: Some(encode_member(id, &member.cloned().unwrap_or_default())),
            role: role(metrics.state).into(),
            term: metrics.current_term,
            leader_id: metrics.current_leader.unwrap_or(0),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: index(&metrics.last_applied),
            snapshot_index: index(&metrics.snapshot),
            purged_index: index(&metrics.purged),
            revision,
            log_time_ms: time,
            digest: told,
            voter: metrics.membership_config.voter_ids().any(|voter| voter == id),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            problem: [fault, unreadable, room.problem, refused]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
            clock_ms: self.clock_ms(),
            clock_refused,
            verifier_key: self.verifier_key(),
            disk_free_bytes: room.free_bytes,
            disk_nearly_full: room.is_nearly_full,
        }
    }

    /// Adds a node that does not vote.
    pub async fn add_node(&self, request: v1::AddNodeRequest, deadline: Instant) -> Result<(), Error> {
        if self.parts.raft.is_leader() {
            return self.add_node_as_leader(request).await;
        }
        let mut client = self.leader_client()?;
        relayed(client.add_node(super::relay::timed(request, deadline)).await)
    }

    pub(super) async fn add_node_as_leader(&self, request: v1::AddNodeRequest) -> Result<(), Error> {
        let member = request.member.ok_or_else(|| Error::new(ErrorKind::Invalid, "member is missing"))?;
        let (id, mut member) = crate::raft::wire::decode_member(member);
        member.verifier_key.clear();
        if id == 0 {
            return Err(Error::new(ErrorKind::Invalid, "member.node_id is 0; node ids begin at 1"));
        }
        if self.member(id).is_some() {
            return Err(refused(format!("node {id} is a member already")));
        }
        self.check_addresses(&member)?;
        let node = self.status_of(id, &member, false).await;
        if node.role() == v1::Role::Unreachable {
            let problem = node.problem;
            return Err(refused(format!("node {id} does not answer ({problem}); start it first")));
        }
        // From now on it is this node alone: one without its data has another key.
        member.verifier_key = node.verifier_key;
        self.changed(self.parts.raft.add_learner(id, member, false).await).await
    }

    /// Gives a node a vote.
    pub async fn promote_node(
        &self,
        request: v1::PromoteNodeRequest,
        deadline: Instant,
    ) -> Result<(), Error> {
        if self.parts.raft.is_leader() {
            return self.promote_node_as_leader(request).await;
        }
        let mut client = self.leader_client()?;
        relayed(client.promote_node(super::relay::timed(request, deadline)).await)
    }

    pub(super) async fn promote_node_as_leader(&self, request: v1::PromoteNodeRequest) -> Result<(), Error> {
        self.check_caught_up(request.node_id).await?;
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([request.node_id]));
        self.changed(self.parts.raft.change_membership(change, true).await).await
    }

    /// A vote raises the majority at once: given to a node that cannot confirm anything, it can
    /// take the majority away for good.
    async fn check_caught_up(&self, id: NodeId) -> Result<(), Error> {
        let member = self.known(id)?;
        let node = self.status_of(id, &member, false).await;
        if node.role() == v1::Role::Unreachable {
            let problem = node.problem;
            return Err(refused(format!("node {id} does not answer ({problem}); start it first")));
        }
        let behind = self.applied_index().saturating_sub(node.last_log_index);
        if behind > CAUGHT_UP {
            return Err(refused(format!("node {id} is {behind} log entries behind; try again later")));
        }
        Ok(())
    }

    /// Takes a node out.
    pub async fn remove_node(&self, request: v1::RemoveNodeRequest, deadline: Instant) -> Result<(), Error> {
        if self.parts.raft.is_leader() {
            return self.remove_node_as_leader(request).await;
        }
        let mut client = self.leader_client()?;
        relayed(client.remove_node(super::relay::timed(request, deadline)).await)
    }

    pub(super) async fn remove_node_as_leader(&self, request: v1::RemoveNodeRequest) -> Result<(), Error> {
        let id = request.node_id;
        self.known(id)?;
        let voters = self.voters();
        if voters.len() == 1 && voters.contains(&id) {
            return Err(refused(format!("node {id} is the only voter: without it there is no cluster")));
        }
        let set = BTreeSet::from([id]);
        let change = if voters.contains(&id) {
            ChangeMembers::RemoveVoters(set)
        } else {
            ChangeMembers::RemoveNodes(set)
        };
        self.changed(self.parts.raft.change_membership(change, false).await).await
    }

    /// Makes another voter the leader, and waits until it is.
    pub async fn transfer_leadership(
        &self,
        request: v1::TransferLeadershipRequest,
        deadline: Instant,
    ) -> Result<(), Error> {
        if self.parts.raft.is_leader() {
            return self.transfer_as_leader(request, deadline).await;
        }
        let mut client = self.leader_client()?;
        relayed(client.transfer_leadership(super::relay::timed(request, deadline)).await)
    }

    pub(super) async fn transfer_as_leader(
        &self,
        request: v1::TransferLeadershipRequest,
        deadline: Instant,
    ) -> Result<(), Error> {
        let to = request.node_id;
        self.known(to)?;
        if !self.parts.raft.is_leader() {
            return Err(self.no_leader());
        }
        if to == self.parts.id {
            return Ok(());
        }
        // From the trigger on this node proposes nothing more, so it must not be pulled for a node
        // that cannot take over.
        if !self.voters().contains(&to) {
            return Err(refused(format!("node {to} has no vote; promote it first")));
        }
        self.check_caught_up(to).await?;
        self.parts.raft.trigger().transfer_leader(to).await.map_err(fault)?;
        while Instant::now() < deadline {
            if self.leader().is_some_and(|(leader, _)| leader == to) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Error::unavailable(format!("node {to} has not become the leader in time; see `cluster status`")))
    }

    /// How the other voters are, as far as they can be reached.
    pub(super) async fn statuses_of_others(&self) -> Vec<(NodeId, v1::NodeStatus)> {
        let others = self.voters().into_iter().filter(|id| *id != self.parts.id);
        let others: Vec<_> = others.filter_map(|id| Some((id, self.member(id)?))).collect();
        let statuses = join_all(others.iter().map(|(id, member)| self.status_of(*id, member, false))).await;
        let statuses = others.iter().map(|(id, _)| *id).zip(statuses);
        statuses.filter(|(_, status)| status.role() != v1::Role::Unreachable).collect()
    }

    /// Before this node stops: if it leads, another one leads from now on, so that nobody has to wait for an
    /// election. When none can it stops all the same.
    pub async fn hand_over(&self) {
        if !self.parts.raft.is_leader() {
            return;
        }
        let others = self.statuses_of_others().await.into_iter();
        // One whose disk is nearly full would hand over in its turn.
        let fitness = |status: &v1::NodeStatus| (!status.disk_nearly_full, status.last_log_index);
        let Some((to, _)) = others.max_by_key(|(_, status)| fitness(status)) else {
            return;
        };
        let request = v1::TransferLeadershipRequest { node_id: to };
        match self.transfer_as_leader(request, Instant::now() + HANDING_OVER).await {
            Ok(()) => tracing::info!(to, "another node leads: this one stops"),
            Err(error) => tracing::warn!(to, %error, "no other node leads yet, and this one stops"),
        }
    }

    /// Takes a snapshot on this node; returns the log index it stands at.
    pub async fn take_snapshot(&self, deadline: Instant) -> Result<u64, Error> {
        let wanted = self.applied_index();
        if wanted == 0 {
            return Err(refused("this node has applied nothing that a snapshot could hold"));
        }
        self.parts.raft.trigger().snapshot().await.map_err(fault)?;
        while Instant::now() < deadline {
            let taken = {
                let metrics = self.parts.raft.metrics();
                let metrics = metrics.borrow_watched();
                metrics.snapshot.map_or(0, |log_id| log_id.index)
            };
            if taken >= wanted {
                return Ok(taken);
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Error::unavailable("the snapshot was not done in time; see `cluster status`"))
    }

    /// Waits until a change of the members shows in the metrics, which are a step behind: whoever
    /// asks next is told of it.
    async fn changed(&self, change: Result<Change, ChangeError>) -> Result<(), Error> {
        let made = Some(change.map_err(change_error)?.log_id);
        let mut metrics = self.parts.raft.metrics();
        while *metrics.borrow_watched().membership_config.log_id() < made {
            metrics.changed().await.map_err(fault)?;
        }
        Ok(())
    }

    fn applied_index(&self) -> u64 {
        self.progress.borrow().index.unwrap_or(0)
    }

    pub(super) fn member(&self, id: NodeId) -> Option<Member> {
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.get_node(&id).cloned()
    }

    /// A new address is complete, and nobody else's.
    fn check_addresses(&self, member: &Member) -> Result<(), Error> {
        let taken: BTreeSet<String> = {
            let metrics = self.parts.raft.metrics();
            let metrics = metrics.borrow_watched();
            let members = metrics.membership_config.nodes();
            members
                .flat_map(|(_, other)| [other.client_address.clone(), other.peer_address.clone()])
                .collect()
        };
        for (field, address) in
            [("client_address", &member.client_address), ("peer_address", &member.peer_address)]
        {
            let invalid = |problem: &str| {
                Error::new(ErrorKind::Invalid, format!("member.{field} is {address:?}; {problem}"))
            };
            match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
                }
                _ => return Err(invalid("host:port is needed, with a port from 1 to 65535")),
            }
            if taken.contains(address) {
                return Err(invalid("another node has this address"));
            }
        }
        Ok(())
    }

    pub(super) fn voters(&self) -> BTreeSet<NodeId> {
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().collect()
    }

    fn known(&self, id: NodeId) -> Result<Member, Error> {
        self.member(id).ok_or_else(|| refused(format!("node {id} is not a member; see `cluster status`")))
    }
}

type Change = openraft::raft::ClientWriteResponse<crate::raft::TypeConfig>;

type ChangeError = openraft::errors::RaftError<
    crate::raft::TypeConfig,
    openraft::errors::ClientWriteError<crate::raft::TypeConfig>,
>;

fn change_error(error: ChangeError) -> Error {
    use openraft::errors::ClientWriteError;
    use openraft::errors::RaftError;
    match error {
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => refused(error),
        RaftError::APIError(error) => Error::unavailable(format!("the leader changed: {error}")),
        RaftError::Fatal(error) => fault(error),
    }
}

fn relayed<T>(result: Result<T, tonic::Status>) -> Result<(), Error> {
    result.map(drop).map_err(|status| super::relay::answer(&status))
}

fn encode_member(id: NodeId, member: &Member) -> v1::Member {
    crate::raft::wire::encode_member(id, member)
}

fn role(state: ServerState) -> v1::Role {
    match state {
        ServerState::Leader => v1::Role::Leader,
        ServerState::Follower => v1::Role::Follower,
        ServerState::Candidate => v1::Role::Candidate,
        ServerState::Learner | ServerState::Shutdown => v1::Role::Learner,
    }
}
