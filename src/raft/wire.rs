//! Between the types of the consensus engine and their messages.

use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::raft::AppendEntriesRequest;
use openraft::raft::StreamAppendError;
use openraft::raft::StreamAppendResult;
use openraft::raft::TransferLeaderError;
use openraft::raft::TransferLeaderRequest;
use openraft::raft::TransferLeaderResponse;
use openraft::raft::VoteRequest;
use openraft::raft::VoteResponse;

use super::types::Entry;
use super::types::LogId;
use super::types::Member;
use super::types::Payload;
use super::types::StoredMembership;
use super::types::TypeConfig;
use super::types::Vote;
use crate::codec::Corrupt;
use crate::proto::peer::v1 as peer;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;

type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
type Membership = openraft::Membership<u64, Member>;

const WHAT: &str = "a raft message";

fn missing(field: &'static str) -> Corrupt {
    Corrupt::new(WHAT, format!("{field} is missing"))
}

fn encode_leader(leader: LeaderId) -> storage::LeaderId {
    storage::LeaderId { term: leader.term, node_id: leader.node_id }
}

fn decode_leader(message: Option<storage::LeaderId>) -> Result<LeaderId, Corrupt> {
    let message = message.ok_or_else(|| missing("leader_id"))?;
    Ok(LeaderId { term: message.term, node_id: message.node_id })
}

/// The message of a vote.
pub fn encode_vote(vote: &Vote) -> storage::Vote {
    storage::Vote { leader_id: Some(encode_leader(vote.leader_id)), committed: vote.committed }
}

/// A vote, which must be there.
pub fn decode_vote(message: Option<storage::Vote>) -> Result<Vote, Corrupt> {
    let message = message.ok_or_else(|| missing("vote"))?;
    Ok(Vote { leader_id: decode_leader(message.leader_id)?, committed: message.committed })
}

/// The message of a log id.
pub fn encode_log_id(log_id: LogId) -> storage::LogId {
    storage::LogId { leader_id: Some(encode_leader(log_id.leader_id)), index: log_id.index }
}

/// A log id, if it is there.
pub fn decode_log_id(message: Option<storage::LogId>) -> Result<Option<LogId>, Corrupt> {
    message
        .map(|message| Ok(LogId { leader_id: decode_leader(message.leader_id)?, index: message.index }))
        .transpose()
}

fn required_log_id(message: Option<storage::LogId>) -> Result<LogId, Corrupt> {
    decode_log_id(message)?.ok_or_else(|| missing("log_id"))
}

/// The message of a member.
pub fn encode_member(node_id: u64, member: &Member) -> v1::Member {
    v1::Member {
        node_id,
        client_address: member.client_address.clone(),
        peer_address: member.peer_address.clone(),
        verifier_key: member.verifier_key.clone(),
    }
}

/// A member from its message.
pub fn decode_member(message: v1::Member) -> (u64, Member) {
    let member = Member {
        client_address: message.client_address,
        peer_address: message.peer_address,
        verifier_key: message.verifier_key,
    };
    (message.node_id, member)
}

fn encode_membership(membership: &Membership) -> storage::Membership {
    let configs = membership
        .get_joint_config()
        .iter()
        .map(|voters| storage::VoterSet { node_ids: voters.iter().copied().collect() });
    storage::Membership {
        configs: configs.collect(),
        nodes: membership.nodes().map(|(id, member)| encode_member(*id, member)).collect(),
    }
}

fn decode_membership(message: storage::Membership) -> Result<Membership, Corrupt> {
    let configs = message.configs.into_iter().map(|set| set.node_ids.into_iter().collect()).collect();
    let nodes = message.nodes.into_iter().map(decode_member).collect::<std::collections::BTreeMap<_, _>>();
    Membership::new(configs, nodes).map_err(|error| Corrupt::new(WHAT, error))
}

/// The message of a membership and its place.
pub fn encode_stored_membership(stored: &StoredMembership) -> storage::StoredMembership {
    storage::StoredMembership {
        log_id: (*stored.log_id()).map(encode_log_id),
        membership: Some(encode_membership(stored.membership())),
    }
}

/// A membership and its place; none is the empty one.
pub fn decode_stored_membership(
    message: Option<storage::StoredMembership>,
) -> Result<StoredMembership, Corrupt> {
    let Some(message) = message else {
        return Ok(StoredMembership::default());
    };
    let membership = message.membership.ok_or_else(|| missing("membership"))?;
    if membership.configs.is_empty() {
        return Ok(StoredMembership::default());
    }
    Ok(StoredMembership::new(decode_log_id(message.log_id)?, decode_membership(membership)?))
}

/// The message of a log entry.
pub fn encode_entry(entry: &Entry) -> storage::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => storage::entry::Payload::Blank(storage::Blank {}),
        EntryPayload::Normal(payload) => storage::entry::Payload::Batch(payload.0.clone()),
        EntryPayload::Membership(membership) => {
            storage::entry::Payload::Membership(encode_membership(membership))
        }
    };
    storage::Entry { log_id: Some(encode_log_id(entry.log_id)), payload: Some(payload) }
}

/// A log entry from its message.
pub fn decode_entry(message: storage::Entry) -> Result<Entry, Corrupt> {
    let payload = match message.payload.ok_or_else(|| missing("payload"))? {
        storage::entry::Payload::Blank(_) => EntryPayload::Blank,
        storage::entry::Payload::Batch(bytes) => EntryPayload::Normal(Payload(bytes)),
        storage::entry::Payload::Membership(membership) => {
            EntryPayload::Membership(decode_membership(membership)?)
        }
    };
    Ok(Entry::new(required_log_id(message.log_id)?, payload))
}

/// The message of an append request.
pub fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> peer::AppendRequest {
    peer::AppendRequest {
        vote: Some(encode_vote(&request.vote)),
        prev_log_id: request.prev_log_id.map(encode_log_id),
        entries: request.entries.iter().map(encode_entry).collect(),
        leader_commit: request.leader_commit.map(encode_log_id),
    }
}

/// An append request from its message.
pub fn decode_append(message: peer::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Corrupt> {
    Ok(AppendEntriesRequest {
        vote: decode_vote(message.vote)?,
        prev_log_id: decode_log_id(message.prev_log_id)?,
        entries: message.entries.into_iter().map(decode_entry).collect::<Result<_, _>>()?,
        leader_commit: decode_log_id(message.leader_commit)?,
    })
}

/// The message of the answer to an append.
pub fn encode_append_result(result: &StreamAppendResult<TypeConfig>) -> peer::AppendReply {
    use peer::append_reply::Result as Message;
    let result = match result {
        Ok(log_id) => {
            Message::Accepted(peer::append_reply::Accepted { log_id: (*log_id).map(encode_log_id) })
        }
        Err(StreamAppendError::Conflict(log_id)) => Message::Conflict(encode_log_id(*log_id)),
        Err(StreamAppendError::HigherVote(vote)) => Message::HigherVote(encode_vote(vote)),
    };
    peer::AppendReply { result: Some(result) }
}

/// The answer to an append from its message.
pub fn decode_append_result(message: peer::AppendReply) -> Result<StreamAppendResult<TypeConfig>, Corrupt> {
    use peer::append_reply::Result as Message;
    Ok(match message.result.ok_or_else(|| missing("result"))? {
        Message::Accepted(accepted) => Ok(decode_log_id(accepted.log_id)?),
        Message::Conflict(log_id) => Err(StreamAppendError::Conflict(required_log_id(Some(log_id))?)),
        Message::HigherVote(vote) => Err(StreamAppendError::HigherVote(decode_vote(Some(vote))?)),
    })
}

/// The message of a vote request.
pub fn encode_vote_request(request: &VoteRequest<TypeConfig>) -> peer::VoteRequest {
    peer::VoteRequest {
        vote: Some(encode_vote(&request.vote)),
        last_log_id: request.last_log_id.map(encode_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

/// A vote request from its message.
pub fn decode_vote_request(message: peer::VoteRequest) -> Result<VoteRequest<TypeConfig>, Corrupt> {
    Ok(VoteRequest {
        vote: decode_vote(message.vote)?,
        last_log_id: decode_log_id(message.last_log_id)?,
        leadership_transfer: message.leadership_transfer,
    })
}

/// The message of the answer to a vote request.
pub fn encode_vote_reply(reply: &VoteResponse<TypeConfig>) -> peer::VoteReply {
    peer::VoteReply {
        vote: Some(encode_vote(&reply.vote)),
        granted: reply.vote_granted,
        last_log_id: reply.last_log_id.map(encode_log_id),
    }
}

/// The answer to a vote request from its message.
pub fn decode_vote_reply(message: peer::VoteReply) -> Result<VoteResponse<TypeConfig>, Corrupt> {
    Ok(VoteResponse {
        vote: decode_vote(message.vote)?,
        vote_granted: message.granted,
        last_log_id: decode_log_id(message.last_log_id)?,
    })
}

/// The message of a transfer of leadership.
pub fn encode_transfer(request: &TransferLeaderRequest<TypeConfig>) -> peer::TransferLeaderRequest {
    peer::TransferLeaderRequest {
        from_leader: Some(encode_vote(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().copied().map(encode_log_id),
    }
}

/// A transfer of leadership from its message.
pub fn decode_transfer(
    message: peer::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Corrupt> {
    let from = decode_vote(message.from_leader)?;
    Ok(TransferLeaderRequest::new(from, message.to_node_id, decode_log_id(message.last_log_id)?))
}

/// The message of the answer to a transfer.
pub fn encode_transfer_reply(reply: &TransferLeaderResponse<TypeConfig>) -> peer::TransferLeaderReply {
    use peer::transfer_leader_reply as message;
    let refused = match reply {
        Ok(()) => None,
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            Some(message::Refused::VoteChanged(message::VoteChanged {
                expected: Some(encode_vote(expected)),
                actual: Some(encode_vote(actual)),
            }))
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            Some(message::Refused::LogNotFlushed(message::LogNotFlushed {
                expected: (*expected).map(encode_log_id),
                actual: (*actual).map(encode_log_id),
            }))
        }
    };
    peer::TransferLeaderReply { refused }
}

/// The answer to a transfer from its message.
pub fn decode_transfer_reply(
    message: peer::TransferLeaderReply,
) -> Result<TransferLeaderResponse<TypeConfig>, Corrupt> {
    use peer::transfer_leader_reply::Refused;
    Ok(match message.refused {
        None => Ok(()),
        Some(Refused::VoteChanged(refused)) => Err(TransferLeaderError::VoteChanged {
            expected: decode_vote(refused.expected)?,
            actual: decode_vote(refused.actual)?,
        }),
        Some(Refused::LogNotFlushed(refused)) => Err(TransferLeaderError::LogNotFlushed {
            expected: decode_log_id(refused.expected)?,
            actual: decode_log_id(refused.actual)?,
        }),
    })
}
