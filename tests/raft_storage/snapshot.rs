//! Snapshots: from one state machine to another, within the process and over the peer service.

use std::sync::Arc;
use std::time::Duration;

use openraft::storage::RaftSnapshotBuilder as _;
use openraft::storage::RaftStateMachine as _;
use quorate::net::TcpNet;
use quorate::proto::peer::v1 as peer;
use quorate::proto::peer::v1::raft_client::RaftClient;
use quorate::proto::peer::v1::raft_server::RaftServer;
use quorate::raft::Applied;
use quorate::raft::Log;
use quorate::raft::Peers;
use quorate::raft::Settings;
use quorate::raft::StateMachine;
use quorate::raft::service::RaftService;
use quorate::raft::snapshot::SnapshotData;
use quorate::raft::types::SnapshotMeta;
use quorate::raft::types::Vote;
use quorate::raft::wire;
use quorate::store::Snapshot;
use sha2::Digest as _;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::Status;
use tonic::transport::Channel;
use tonic::transport::Server;

use crate::support::*;

on_both_stores! {
    an_installed_snapshot_gives_the_same_state_and_survives_reopening,
    a_snapshot_does_not_change_while_entries_are_applied,
    a_snapshot_is_durable_before_the_log_behind_it_may_be_purged,
    a_snapshot_that_is_not_what_was_announced_is_refused,
    a_snapshot_sent_over_the_peer_service_is_installed,
    a_snapshot_that_arrives_damaged_or_incomplete_is_refused,
}

async fn build(applied: &Arc<Applied>) -> (SnapshotMeta, SnapshotData) {
    let mut builder = StateMachine(Arc::clone(applied)).get_snapshot_builder().await;
    let built = builder.build_snapshot().await.expect("the snapshot is built");
    (built.meta, built.snapshot)
}

/// A state of which a part is in the rows and the rest in the events.
async fn source(subject: &Subject) -> Arc<Applied> {
    let applied = subject.open_state();
    apply(&applied, history(20)).await;
    applied.checkpoint().unwrap();
    apply(&applied, history(40).split_off(20)).await;
    applied
}

async fn an_installed_snapshot_gives_the_same_state_and_survives_reopening(subject: Subject) {
    let source = source(&subject).await;
    let (meta, data) = build(&source).await;
    let target_subject = Subject::same_kind_as(&subject);
    let target = target_subject.open_state();
    // What the target had before is gone, also what a checkpoint has yet to write.
    apply(&target, history(7)).await;
    StateMachine(Arc::clone(&target)).install_snapshot(&meta, data).await.expect("it is installed");
    assert_eq!(summary(&target).await, summary(&source).await);
    assert_eq!(target.progress().borrow().index, Some(39));

    let kept = StateMachine(Arc::clone(&target)).get_current_snapshot().await.unwrap();
    assert_eq!(kept.expect("it can be sent on").meta, meta);
    apply(&target, history(60).split_off(40)).await;
    target.checkpoint().unwrap();
    target.store().flush().await.unwrap();
    drop(target);
    assert_eq!(summary(&target_subject.open_state()).await, summary_after(60).await);
}

async fn a_snapshot_does_not_change_while_entries_are_applied(subject: Subject) {
    let source = source(&subject).await;
    let mut builder = StateMachine(Arc::clone(&source)).get_snapshot_builder().await;
    apply(&source, history(60).split_off(40)).await;
    source.checkpoint().unwrap();
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, Some(log_id(1, 39)));
    let target = Subject::same_kind_as(&subject);
    let target = target.open_state();
    StateMachine(Arc::clone(&target)).install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!(summary(&target).await, summary_after(40).await);
}

async fn a_snapshot_is_durable_before_the_log_behind_it_may_be_purged(subject: Subject) {
    let applied = source(&subject).await;
    drop(build(&applied).await);
    drop(applied);
    let reopened = summary(&subject.open_state()).await;
    assert_eq!(reopened.last_applied, Some(log_id(1, 39)));
    assert_eq!(reopened, summary_after(40).await);
}

async fn a_snapshot_that_is_not_what_was_announced_is_refused(subject: Subject) {
    let (meta, data) = build(&source(&subject).await).await;
    let target = Subject::same_kind_as(&subject);
    let other = SnapshotMeta { last_log_id: Some(log_id(1, 41)), ..meta };
    let result = StateMachine(target.open_state()).install_snapshot(&other, data).await;
    assert!(result.expect_err("it is refused").to_string().contains("was announced at"));
}

/// A node that another one can send snapshots to.
struct Node {
    client: RaftClient<Channel>,
    applied: Arc<Applied>,
    raft: quorate::raft::Raft,
}

impl Node {
    async fn start(subject: &Subject) -> Self {
        let opened = subject.open();
        let applied = Applied::open(opened.state).unwrap();
        let settings = Settings {
            heartbeat_ms: 100,
            election_timeout_min_ms: 300,
            election_timeout_max_ms: 450,
            snapshot_after_entries: 1_000,
            keep_entries: 10,
        };
        let peers = Peers::new(Arc::new(TcpNet), "test", 2);
        let machine = StateMachine(Arc::clone(&applied));
        let log = Log::open(opened.log).unwrap();
        let (faults, _) = quorate::raft::fault::faults();
        let raft = quorate::raft::start(2, "test", &settings, peers, faults.clone(), log.clone(), machine)
            .await
            .unwrap();
        let service = RaftServer::new(RaftService::new(raft.clone(), log, Arc::clone(&applied), faults));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        let client = RaftClient::connect(format!("http://{address}")).await.unwrap();
        Self { client, applied, raft }
    }

    async fn send(&mut self, chunks: Vec<peer::SnapshotChunk>) -> Result<(), Status> {
        let reply = self.client.install_snapshot(tokio_stream::iter(chunks)).await?;
        let vote = reply.into_inner().vote.expect("an answer has a vote");
        assert_eq!(vote, wire::encode_vote(&vote_of_the_leader()), "the leader is accepted");
        Ok(())
    }
}

fn vote_of_the_leader() -> Vote {
    Vote { leader_id: log_id(3, 0).leader_id, committed: true }
}

fn part(part: peer::snapshot_chunk::Part) -> peer::SnapshotChunk {
    peer::SnapshotChunk { part: Some(part) }
}

/// A snapshot as the leader sends it, two chunks a file.
fn chunks(meta: &SnapshotMeta, files: &dyn Snapshot) -> Vec<peer::SnapshotChunk> {
    let header = peer::SnapshotHeader {
        vote: Some(wire::encode_vote(&vote_of_the_leader())),
        last_log_id: meta.last_log_id.map(wire::encode_log_id),
        last_membership: Some(wire::encode_stored_membership(&meta.last_membership)),
        files: files
            .files()
            .iter()
            .map(|file| peer::SnapshotFile { name: file.name.clone(), size: file.size })
            .collect(),
    };
    let mut chunks = vec![part(peer::snapshot_chunk::Part::Header(header))];
    for (position, file) in files.files().iter().enumerate() {
        let size = usize::try_from(file.size).unwrap();
        let data = files.read(position, 0, size).unwrap();
        let (first, second) = data.split_at(size / 2);
        for (offset, data) in [(0, first), (first.len(), second)] {
            let ends = offset + data.len() == size;
            if data.is_empty() && !ends {
                continue;
            }
            let digest = if ends {
                Sha256::digest(files.read(position, 0, size).unwrap()).to_vec()
            } else {
                Vec::new()
            };
            let chunk = peer::FileChunk {
                file: u32::try_from(position).unwrap(),
                offset: offset as u64,
                data: bytes::Bytes::copy_from_slice(data),
                digest,
            };
            chunks.push(part(peer::snapshot_chunk::Part::Chunk(chunk)));
            if size == 0 {
                break;
            }
        }
    }
    chunks
}

async fn prepared(subject: &Subject) -> Vec<peer::SnapshotChunk> {
    let (meta, data) = build(&source(subject).await).await;
    let SnapshotData::Made(files) = data else { panic!("a built snapshot is made here") };
    chunks(&meta, &*files)
}

async fn a_snapshot_sent_over_the_peer_service_is_installed(subject: Subject) {
    let chunks = prepared(&subject).await;
    let target = Subject::same_kind_as(&subject);
    let mut node = Node::start(&target).await;
    node.send(chunks).await.expect("it is accepted");
    let mut progress = node.applied.progress();
    let installed = progress.wait_for(|progress| progress.index == Some(39));
    drop(tokio::time::timeout(Duration::from_secs(20), installed).await.expect("it is installed").unwrap());
    assert_eq!(summary(&node.applied).await, summary_after(40).await);
    node.raft.shutdown().await.unwrap();
}

async fn a_snapshot_that_arrives_damaged_or_incomplete_is_refused(subject: Subject) {
    let good = prepared(&subject).await;
    let target = Subject::same_kind_as(&subject);
    let mut node = Node::start(&target).await;
    let last_with_data = good.iter().rposition(|chunk| size_of(chunk) > 0).expect("there is data");

    let mut damaged = good.clone();
    let peer::snapshot_chunk::Part::Chunk(chunk) = damaged[last_with_data].part.as_mut().unwrap() else {
        panic!("the header has no data")
    };
    let mut data = chunk.data.to_vec();
    data[0] ^= 1;
    chunk.data = data.into();
    assert_eq!(node.send(damaged).await.expect_err("one bit is wrong").code(), Code::DataLoss);

    let short = good[..good.len() - 1].to_vec();
    assert_eq!(node.send(short).await.expect_err("a chunk is missing").code(), Code::Aborted);

    let mut swapped = good.clone();
    swapped.swap(last_with_data, last_with_data - 1);
    assert_eq!(node.send(swapped).await.expect_err("chunks are swapped").code(), Code::InvalidArgument);

    let headless = good[1..].to_vec();
    assert_eq!(node.send(headless).await.expect_err("the header is missing").code(), Code::InvalidArgument);

    assert_eq!(summary(&node.applied).await, summary_after(0).await);
    node.raft.shutdown().await.unwrap();
}

fn size_of(chunk: &peer::SnapshotChunk) -> usize {
    match &chunk.part {
        Some(peer::snapshot_chunk::Part::Chunk(chunk)) => chunk.data.len(),
        _ => 0,
    }
}
