//! The client and the command line against nodes that answer from a script, in this process.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::Stream;
use futures_util::StreamExt;
use prost::Message;
use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::DECODE_LIMIT_BYTES;
use quorate::client::Watcher;
use quorate::client::new_request_id;
use quorate::client::numbered_request_id;
use quorate::client::request_id_of;
use quorate::client::v1::events_server::Events;
use quorate::client::v1::events_server::EventsServer;
use quorate::client::v1::ledger_server::Ledger;
use quorate::client::v1::ledger_server::LedgerServer;
use quorate::client::v1::rejection::Denied;
use quorate::client::v1::rejection::Reason;
use quorate::client::v1::*;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::Streaming;
use tonic_types::pb;

/// What a node takes in one message.
const MESSAGE_BYTES: usize = 100_000;

/// What a node does with one call.
enum Act {
    Grant,
    /// Grants with an answer of so many bytes.
    Large(usize),
    Refuse(Status),
    /// Answers a batch without an outcome for its last command.
    Unknown,
    Silence,
}

/// What a node saw of one call.
struct Seen {
    request_id: String,
    actor: Option<String>,
    has_deadline: bool,
}

/// A node that takes reservations as its script says, and grants when the script is over.
#[derive(Clone)]
struct Node {
    address: String,
    script: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    watches: Arc<Mutex<VecDeque<Said>>>,
    watches_asked: Arc<Mutex<Vec<WatchRequest>>>,
}

/// What is said in one watch, and how it ends.
type Said = (Vec<WatchResponse>, End);

enum End {
    Cut,
    Refusal(Status),
    Silence,
}

impl Node {
    async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let node = Self {
            address: listener.local_addr().expect("bound").to_string(),
            script: Arc::new(Mutex::new(script.into())),
            seen: Arc::default(),
            watches: Arc::default(),
            watches_asked: Arc::default(),
        };
        let server = tonic::transport::Server::builder()
            .add_service(LedgerServer::new(node.clone()))
            .add_service(EventsServer::new(node.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        node
    }

    /// One more watch that it will answer.
    fn will_say(&self, messages: Vec<WatchResponse>, end: End) {
        self.watches.lock().expect("not poisoned").push_back((messages, end));
    }

    /// The revisions with which watches were to begin; 0 is now.
    fn watched_from(&self) -> Vec<u64> {
        let asked = std::mem::take(&mut *self.watches_asked.lock().expect("not poisoned"));
        let from = |request: WatchRequest| match request.start {
            Some(watch_request::Start::FromRevision(from)) => from,
            _ => 0,
        };
        asked.into_iter().map(from).collect()
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("not poisoned"))
    }
}

#[tonic::async_trait]
impl Ledger for Node {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let text =
            |key: &str| request.metadata().get(key).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.seen.lock().expect("not poisoned").push(Seen {
            request_id: request.get_ref().request_id.clone(),
            actor: text("quorate-actor"),
            has_deadline: text("grpc-timeout").is_some(),
        });
        let act = self.script.lock().expect("not poisoned").pop_front().unwrap_or(Act::Grant);
        match act {
            Act::Grant => {
                let granted = ReserveResponse { hold_id: 17, revision: 17, ..Default::default() };
                Ok(Response::new(granted))
            }
            Act::Large(bytes) => {
                let granted = vec!["1".repeat(bytes)];
                Ok(Response::new(ReserveResponse { hold_id: 17, granted, ..Default::default() }))
            }
            Act::Refuse(status) => Err(status),
            Act::Unknown => unreachable!("only batches are answered so"),
            Act::Silence => std::future::pending().await,
        }
    }

    async fn batch(&self, request: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        let mut message = request.into_inner();
        if message.encoded_len() > MESSAGE_BYTES {
            return Err(too_large());
        }
        let ids =
            message.commands.iter_mut().map(|command| request_id_of(command).cloned().expect("a command"));
        let ids: Vec<String> = if message.atomic { vec![message.request_id.clone()] } else { ids.collect() };
        for request_id in ids {
            let seen = Seen { request_id, actor: None, has_deadline: true };
            self.seen.lock().expect("not poisoned").push(seen);
        }
        let act = self.script.lock().expect("not poisoned").pop_front().unwrap_or(Act::Grant);
        let results = message.commands.iter().map(|command| match &command.command {
            Some(batch_command::Command::Reserve(_)) => refused(command.tag),
            _ => BatchResult { tag: command.tag, revision: 9, ..Default::default() },
        });
        match act {
            Act::Grant | Act::Large(_) => {
                Ok(Response::new(BatchResponse { results: results.collect(), ..Default::default() }))
            }
            Act::Unknown => {
                let mut results: Vec<_> = results.collect();
                let last = results.last_mut().expect("a batch has commands");
                *last = BatchResult { code: Code::DeadlineExceeded as i32, ..Default::default() };
                Ok(Response::new(BatchResponse { results, ..Default::default() }))
            }
            Act::Refuse(status) => Err(status),
            Act::Silence => std::future::pending().await,
        }
    }

    type SubmitStream = Pin<Box<dyn Stream<Item = Result<BatchResult, Status>> + Send>>;

    /// Answers one command and breaks off.
    async fn submit(
        &self,
        request: Request<Streaming<BatchCommand>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let mut commands = request.into_inner();
        let results = one_and_cut(async move {
            let first = commands.message().await?.ok_or_else(|| Status::invalid_argument("no command"))?;
            Ok(BatchResult { tag: first.tag, ..Default::default() })
        });
        Ok(Response::new(results))
    }

    async fn check(&self, _: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        Err(denial().0)
    }

    async fn commit(&self, _: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        Err(Status::unimplemented("not in this script"))
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        Err(Status::unimplemented("not in this script"))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unimplemented("not in this script"))
    }

    async fn resize(&self, _: Request<ResizeRequest>) -> Result<Response<ResizeResponse>, Status> {
        Err(Status::unimplemented("not in this script"))
    }
}

/// A stream of one result, and then of a connection that is cut.
fn one_and_cut(
    first: impl Future<Output = Result<BatchResult, Status>> + Send + 'static,
) -> Pin<Box<dyn Stream<Item = Result<BatchResult, Status>> + Send>> {
    let cut = futures_util::future::ready(Err(Status::unavailable("going down")));
    Box::pin(futures_util::stream::once(first).chain(futures_util::stream::once(cut)))
}

fn refused(tag: u64) -> BatchResult {
    let (status, rejection) = denial();
    BatchResult {
        tag,
        code: status.code() as i32,
        message: status.message().into(),
        reason: "DENIED".into(),
        result: Some(batch_result::Result::Rejection(rejection)),
        ..Default::default()
    }
}

/// How many events the history of each node has.
const HISTORY: u64 = 50_000;

#[tonic::async_trait]
impl Events for Node {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let ListEventsRequest { from_revision, page_size, .. } = request.into_inner();
        let next_revision = (from_revision + u64::from(page_size)).min(HISTORY + 1);
        let event = |revision| Event { revision, actor: "alice".into(), ..Default::default() };
        let events = (from_revision..next_revision).map(event).collect();
        Ok(Response::new(ListEventsResponse { events, next_revision, revision: HISTORY, compacted_at: 0 }))
    }

    async fn get_checkpoint(
        &self,
        _: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        Err(Status::unimplemented("no tree"))
    }

    async fn get_proof(&self, _: Request<GetProofRequest>) -> Result<Response<GetProofResponse>, Status> {
        Err(Status::unimplemented("no tree"))
    }

    async fn export_events(
        &self,
        _: Request<ExportEventsRequest>,
    ) -> Result<Response<ExportEventsResponse>, Status> {
        Err(Status::unimplemented("no store"))
    }

    async fn compact_events(
        &self,
        _: Request<CompactEventsRequest>,
    ) -> Result<Response<CompactEventsResponse>, Status> {
        Err(Status::unimplemented("no store"))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    /// Says what the script has for the next watch, and then cuts it off or is silent.
    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.watches_asked.lock().expect("not poisoned").push(request.into_inner());
        let Some((messages, end)) = self.watches.lock().expect("not poisoned").pop_front() else {
            return Err(Status::unavailable("nothing left to say"));
        };
        let messages = futures_util::stream::iter(messages.into_iter().map(Ok));
        Ok(Response::new(match end {
            End::Cut => {
                Box::pin(messages.chain(futures_util::stream::iter([Err(Status::unavailable("gone"))])))
            }
            End::Refusal(status) => Box::pin(messages.chain(futures_util::stream::iter([Err(status)]))),
            End::Silence => Box::pin(messages.chain(futures_util::stream::pending())),
        }))
    }
}

fn client(nodes: &[&Node], options: ClientOptions) -> Client {
    let endpoints: Vec<String> = nodes.iter().map(|node| node.address.clone()).collect();
    Client::new(&endpoints, options).expect("well formed endpoints")
}

fn asked() -> ReserveRequest {
    let line = Line {
        scope: "acme/ml".into(),
        resource: "memory_gb".into(),
        amount: "16".into(),
        ..Default::default()
    };
    ReserveRequest { lines: vec![line], ..Default::default() }
}

fn denial() -> (Status, Rejection) {
    let blocking = Blocking {
        scope: "acme/ml".into(),
        resource: "memory_gb".into(),
        rule: Rule::HardLimit.into(),
        limit: "20".into(),
        used: "0".into(),
        held: "16".into(),
        requested: "16".into(),
        shortfall: "12".into(),
        waiting_can_help: true,
        ..Default::default()
    };
    let rejection =
        Rejection { reason: Some(Reason::Denied(Denied { blocking: vec![blocking] })), omitted: 0 };
    let any = |type_name: &str, value: Vec<u8>| prost_types::Any {
        type_url: format!("type.googleapis.com/{type_name}"),
        value,
    };
    let details = pb::Status {
        code: Code::ResourceExhausted as i32,
        message: "denied".into(),
        details: vec![
            any("google.rpc.QuotaFailure", pb::QuotaFailure::default().encode_to_vec()),
            any("quorate.v1.Rejection", rejection.encode_to_vec()),
        ],
    };
    let status =
        Status::with_details(Code::ResourceExhausted, "denied: no room", details.encode_to_vec().into());
    (status, rejection)
}

/// What a node says that does not take a message as large.
fn too_large() -> Status {
    let malformed = rejection::Malformed { field: "message".into(), problem: "takes too much".into() };
    let rejection = Rejection { reason: Some(Reason::Malformed(malformed)), omitted: 0 };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/quorate.v1.Rejection".into(),
        value: rejection.encode_to_vec(),
    };
    let details = pb::Status { details: vec![any], ..Default::default() };
    Status::with_details(Code::InvalidArgument, "message: too much", details.encode_to_vec().into())
}

fn no_leader() -> Act {
    Act::Refuse(Status::unavailable("no leader"))
}

#[tokio::test]
async fn an_unavailable_node_is_left_for_the_next_with_the_same_request_id() {
    let one = Node::start(vec![no_leader()]).await;
    let two = Node::start(vec![]).await;
    let client = client(&[&one, &two], ClientOptions::default());
    let request_id = new_request_id();

    let granted = client.reserve(request_id, asked()).await.expect("the second node grants");

    assert_eq!(granted.hold_id, 17);
    let (at_one, at_two) = (one.seen(), two.seen());
    assert_eq!((at_one.len(), at_two.len()), (1, 1));
    assert_eq!(at_one[0].request_id, request_id.to_string());
    assert_eq!(at_two[0].request_id, request_id.to_string());

    // And the next call begins where the last one ended.
    client.reserve(new_request_id(), asked()).await.expect("granted");
    assert_eq!((one.seen().len(), two.seen().len()), (0, 1));
    assert_eq!(client.endpoint(), two.address);
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_left_for_the_next() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = gone.local_addr().expect("bound").to_string();
    drop(gone);
    let node = Node::start(vec![]).await;
    let client = Client::new(&[nobody, node.address.clone()], ClientOptions::default()).expect("well formed");
    client.reserve(new_request_id(), asked()).await.expect("the second node grants");
    assert_eq!(client.endpoint(), node.address);
}

#[tokio::test]
async fn a_silent_node_is_left_for_the_next_when_its_try_is_over() {
    let one = Node::start(vec![Act::Silence]).await;
    let two = Node::start(vec![]).await;
    let options = ClientOptions { try_timeout: Duration::from_millis(100), ..Default::default() };
    client(&[&one, &two], options).reserve(new_request_id(), asked()).await.expect("the second node grants");
    assert!(one.seen()[0].has_deadline, "the node can stop working when nobody waits any more");
}

#[tokio::test]
async fn a_command_without_an_answer_until_the_deadline_is_of_unknown_outcome() {
    let node = Node::start(vec![Act::Silence]).await;
    let options = ClientOptions { timeout: Duration::from_millis(200), ..Default::default() };
    let request_id = new_request_id();
    let error = client(&[&node], options).reserve(request_id, asked()).await.expect_err("nobody answers");
    assert!(
        matches!(&error, ClientError::Unknown { request_id: Some(id), .. } if *id == request_id),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_node_without_a_leader_is_asked_again_until_the_deadline() {
    let node = Node::start((0..1_000).map(|_| no_leader()).collect()).await;
    let options = ClientOptions { timeout: Duration::from_millis(300), ..Default::default() };
    let error = client(&[&node], options).reserve(new_request_id(), asked()).await.expect_err("no leader");
    assert!(matches!(&error, ClientError::Unknown { last, .. } if last.contains("no leader")), "{error:?}");
    assert!(node.seen().len() > 1);
}

#[tokio::test]
async fn a_command_that_reached_no_node_did_not_happen() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = gone.local_addr().expect("bound").to_string();
    drop(gone);
    let options = ClientOptions { timeout: Duration::from_millis(100), ..Default::default() };
    let client = Client::new(&[nobody], options).expect("well formed");
    let error = client.reserve(new_request_id(), asked()).await.expect_err("nobody there");
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_rejection_is_decoded_and_not_tried_again() {
    let (status, expected) = denial();
    let node = Node::start(vec![Act::Refuse(status)]).await;
    let error = client(&[&node], ClientOptions::default())
        .reserve(new_request_id(), asked())
        .await
        .expect_err("no room");
    let ClientError::Rejected { status, rejection } = error else { panic!("{error:?}") };
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(rejection, Some(Box::new(expected)));
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_of_one_node_is_no_answer_when_another_may_have_carried_out_the_command() {
    let one = Node::start(vec![Act::Refuse(Status::internal("cut off"))]).await;
    let two = Node::start(vec![Act::Refuse(Status::resource_exhausted("too many calls"))]).await;
    let error = client(&[&one, &two], ClientOptions::default())
        .reserve(new_request_id(), asked())
        .await
        .expect_err("no answer");
    assert!(matches!(error, ClientError::Unknown { request_id: Some(_), .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_became_of_a_command_leaves_it_unknown() {
    let acts = [
        Act::Large(DECODE_LIMIT_BYTES + 1),
        Act::Refuse(Status::resource_exhausted("more than this proxy takes")),
        Act::Refuse(Status::permission_denied("not from there")),
        Act::Refuse(Status::invalid_argument("from whom?")),
    ];
    for act in acts {
        let node = Node::start(vec![act]).await;
        let (client, request_id) = (client(&[&node], ClientOptions::default()), new_request_id());
        let error = client.reserve(request_id, asked()).await.expect_err("it cannot be taken");
        let known = matches!(&error, ClientError::Unknown { request_id: Some(id), .. } if *id == request_id);
        assert!(known, "{error:?}");
        assert_eq!(node.seen().len(), 1, "the next try would bring the same");
        let granted = client.reserve(request_id, asked()).await.expect("the truth");
        assert_eq!(granted.hold_id, 17);
    }
}

#[tokio::test]
async fn the_program_tells_the_request_id_when_it_cannot_take_the_answer() {
    let node = Node::start(vec![Act::Large(DECODE_LIMIT_BYTES + 1)]).await;
    let done = quorate(&node, &["reserve", "acme/ml:memory_gb=16", "--output", "json"]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    assert_eq!(json["error"]["code"], "UNKNOWN_OUTCOME", "{json}");
    assert_eq!(json["error"]["request_id"], node.seen()[0].request_id, "{json}");
}

#[tokio::test]
async fn the_actor_goes_with_every_call() {
    let node = Node::start(vec![no_leader()]).await;
    let options = ClientOptions { actor: Some("alice".into()), ..Default::default() };
    client(&[&node], options).reserve(new_request_id(), asked()).await.expect("granted");
    let actors: Vec<_> = node.seen().into_iter().map(|seen| seen.actor).collect();
    assert_eq!(actors, [Some("alice".to_owned()), Some("alice".to_owned())]);
}

fn release() -> BatchCommand {
    let release = ReleaseRequest { hold_id: 3, ..Default::default() };
    BatchCommand { tag: 5, command: Some(batch_command::Command::Release(release)) }
}

#[tokio::test]
async fn a_batch_is_repeated_with_the_ids_that_it_had() {
    let one = Node::start(vec![no_leader()]).await;
    let two = Node::start(vec![]).await;
    let client = client(&[&one, &two], ClientOptions::default());
    let base = new_request_id();
    let message = BatchRequest { commands: vec![release(), release()], ..Default::default() };
    let response = client.batch(base, message.clone()).await.expect("the second node answers");
    assert_eq!(response.results.len(), 2);
    let ids = |node: &Node| node.seen().into_iter().map(|seen| seen.request_id).collect::<Vec<_>>();
    let expected = [0, 1].map(|position| numbered_request_id(base, position).to_string());
    assert_eq!((ids(&one), ids(&two)), (expected.to_vec(), expected.to_vec()));

    client.batch(base, BatchRequest { atomic: true, ..message }).await.expect("answered");
    assert_eq!(ids(&two), [base.to_string()], "all or nothing: one id");
}

#[tokio::test]
async fn a_stream_that_breaks_leaves_the_rest_unknown() {
    let node = Node::start(vec![]).await;
    let client = client(&[&node], ClientOptions::default());
    let mut results = client.submit(futures_util::stream::iter([release(), release()])).await.expect("open");
    assert_eq!(results.next().await.expect("one result").expect("of the first").tag, 5);
    let error = results.next().await.expect_err("cut");
    assert!(matches!(&error, ClientError::Unknown { request_id: None, .. }), "{error:?}");
}

#[tokio::test]
async fn a_check_is_a_read_and_its_denial_is_an_answer() {
    let node = Node::start(vec![]).await;
    let error = client(&[&node], ClientOptions::default()).check(asked()).await.expect_err("no room");
    assert!(matches!(error, ClientError::Rejected { rejection: Some(_), .. }), "{error:?}");
}

/// Runs the program against a node.
async fn quorate(node: &Node, arguments: &[&str]) -> Output {
    finished(command(node, arguments).spawn().expect("the program runs")).await
}

/// What became of the program. Waits aside, since the node answers it from this thread.
async fn finished(child: Child) -> Output {
    #[allow(clippy::disallowed_methods)] // A real process, waited for on a real thread.
    let waited = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
    waited.expect("no panic").expect("the program ends")
}

fn command(node: &Node, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["--endpoints", &node.address]).args(arguments).env("USER", "bob");
    for name in ["QUORATE_ENDPOINTS", "QUORATE_OUTPUT", "QUORATE_ACTOR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn the_program_says_what_was_granted_and_names_its_user() {
    let node = Node::start(vec![]).await;
    let done = quorate(&node, &["reserve", "acme/ml:memory_gb=16"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(text(&done.stdout), "granted: hold 17 at revision 17\n");
    assert_eq!(node.seen()[0].actor.as_deref(), Some("bob"));
}

#[tokio::test]
async fn the_program_explains_a_denial_to_people_and_to_scripts() {
    let node = Node::start(vec![Act::Refuse(denial().0)]).await;
    let done = quorate(&node, &["reserve", "acme/ml:memory_gb=16", "--output", "json"]).await;
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    assert!(text(&done.stderr).contains("used 0, held 16, requested 16: short by 12"), "{done:?}");
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    assert_eq!(json["error"]["rejection"]["denied"]["blocking"][0]["scope"], "acme/ml");
}

#[tokio::test]
async fn the_program_refuses_malformed_lines_without_asking_anybody() {
    let node = Node::start(vec![]).await;
    let done = quorate(&node, &["reserve", "acme/ml=16"]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(text(&done.stderr).contains("SCOPE:RESOURCE=AMOUNT[@SEQUENCE]"), "{done:?}");
    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn the_program_says_how_to_repeat_a_command_of_unknown_outcome() {
    let node = Node::start(vec![Act::Silence]).await;
    let lost = quorate(&node, &["reserve", "acme/ml:memory_gb=16", "--timeout", "500ms"]).await;
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    let first = node.seen().remove(0).request_id;
    let hint = format!("--request-id {first} --endpoints {} reserve", node.address);
    assert!(text(&lost.stderr).contains(&hint), "{lost:?}");

    let again = quorate(&node, &["--request-id", &first, "reserve", "acme/ml:memory_gb=16"]).await;
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(node.seen()[0].request_id, first);
}

#[tokio::test]
async fn the_program_shows_each_result_of_a_batch_and_exits_with_the_worst() {
    let node = Node::start(vec![]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("commands.jsonl");
    let lines = "{\"release\": {\"hold_id\": 3}}\n{\"reserve\": {}}\n";
    std::fs::write(&file, lines).expect("written");
    let file = file.to_str().expect("UTF-8");
    let done = quorate(&node, &["batch", "-f", file]).await;
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    let shown = text(&done.stdout);
    assert!(shown.starts_with("     0  done at revision 9\n     1  denied: acme/ml  memory_gb"), "{done:?}");
    let done = quorate(&node, &["batch", "-f", file, "--output", "json"]).await;
    let objects = text(&done.stdout).lines().map(serde_json::from_str::<serde_json::Value>);
    let objects: Vec<_> = objects.collect::<Result<_, _>>().expect("one JSON object per line");
    assert_eq!(objects.len(), 2, "{done:?}");
    assert_eq!(objects[1]["reason"], "DENIED");
}

#[tokio::test]
async fn the_program_sends_a_batch_in_parts_that_the_server_takes_and_names_a_line_that_it_does_not() {
    let node = Node::start(vec![]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("commands.jsonl");
    let line = |bytes: usize| format!("{{\"reserve\": {{\"job\": \"{}\"}}}}\n", "x".repeat(bytes));
    // Four lines of a quarter of what the node takes each, and one of more.
    let lines = line(MESSAGE_BYTES / 4).repeat(4) + "\n" + &line(MESSAGE_BYTES);
    std::fs::write(&file, lines).expect("written");
    let done = quorate(&node, &["batch", "-f", file.to_str().expect("UTF-8")]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert_eq!(text(&done.stdout).lines().count(), 4, "{done:?}");
    let said = text(&done.stderr);
    assert!(said.contains("line 6: ") && said.contains("the 4 commands before it"), "{done:?}");
    let ids: std::collections::BTreeSet<_> = node.seen().into_iter().map(|seen| seen.request_id).collect();
    assert_eq!(ids.len(), 4, "each under its own id, however often it is sent");
}

#[tokio::test]
async fn the_program_sends_no_more_of_a_batch_when_an_outcome_is_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("commands.jsonl");
    std::fs::write(&file, "{\"release\": {\"hold_id\": 7}}\n".repeat(2_500)).expect("written");
    let arguments = ["batch", "-f", file.to_str().expect("UTF-8"), "--timeout", "2s"];
    let node = Node::start(vec![Act::Unknown]).await;
    let done = quorate(&node, &arguments).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let sent = node.seen().len();
    assert!(sent < 2_500, "all of {sent} were sent");
    let said = text(&done.stderr);
    assert!(said.contains(&format!("{} more were not sent", 2_500 - sent)), "{said}");
    assert!(said.contains("--request-id"), "{said}");
    // A later part that finds no node: what was decided before has an id, too.
    let node = Node::start(vec![Act::Grant, Act::Refuse(Status::invalid_argument("no"))]).await;
    let done = quorate(&node, &arguments).await;
    let said = text(&done.stderr);
    assert!(said.contains("--request-id") && said.contains("the first 1000 commands"), "{said}");
}

#[tokio::test]
async fn the_program_names_the_line_of_a_document_that_it_does_not_understand() {
    let node = Node::start(vec![]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plan.yaml");
    std::fs::write(&file, "scopes:\n  - path: acme\n    knd: team\n").expect("written");
    let done = quorate(&node, &["apply", "-f", file.to_str().expect("UTF-8")]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(text(&done.stderr).contains("knd") && text(&done.stderr).contains("scopes[0]"), "{done:?}");
    let done = quorate(&node, &["apply", "-f", "nowhere.yaml"]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
}

#[tokio::test]
async fn a_request_id_is_refused_where_it_would_say_nothing() {
    let node = Node::start(vec![]).await;
    let id = new_request_id().to_string();
    let done = quorate(&node, &["events", "list", "--request-id", &id]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
}

#[tokio::test]
async fn events_are_one_json_object_per_line() {
    let node = Node::start(vec![]).await;
    let done =
        quorate(&node, &["events", "list", "--from", "7", "--limit", "1500", "--output", "json"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let revisions: Vec<u64> = text(&done.stdout)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("one JSON object"))
        .map(|event| event["revision"].as_u64().expect("a number"))
        .collect();
    assert_eq!(revisions, (7..1507).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_the_program_in_peace() {
    let node = Node::start(vec![]).await;
    let limit = HISTORY.to_string();
    let mut child = command(&node, &["events", "list", "--limit", &limit]).spawn().expect("the program runs");
    // Fifty thousand lines do not fit a pipe: the program must run into the closed end.
    drop(child.stdout.take());
    let done = finished(child).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(text(&done.stderr), "");
}

fn watched(revisions: std::ops::RangeInclusive<u64>) -> WatchResponse {
    let revision = *revisions.end();
    let events = revisions.map(|revision| Event { revision, ..Default::default() }).collect();
    WatchResponse { revision, item: Some(watch_response::Item::Events(WatchedEvents { events })) }
}

fn caught_up(revision: u64) -> WatchResponse {
    WatchResponse { revision, item: Some(watch_response::Item::CaughtUp(CaughtUp::default())) }
}

/// A watch with so many messages in a row that are no failure.
async fn revisions_of(watcher: &mut Watcher, messages: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    for _ in 0..messages {
        revisions.push(watcher.next().await.expect("a message").revision);
    }
    revisions
}

#[tokio::test]
async fn a_watch_that_is_cut_off_goes_on_at_the_next_node_after_what_was_handed_out() {
    let (one, two) = (Node::start(vec![]).await, Node::start(vec![]).await);
    one.will_say(vec![caught_up(4), watched(5..=7)], End::Cut);
    two.will_say(vec![watched(8..=8), caught_up(8)], End::Cut);
    one.will_say(vec![watched(9..=9)], End::Cut);
    let now = WatchRequest { start: Some(watch_request::Start::Now(true)), ..Default::default() };
    let mut watcher = client(&[&one, &two], ClientOptions::default()).watch(now);
    assert_eq!(watcher.revision(), None);
    assert_eq!(revisions_of(&mut watcher, 5).await, [4, 7, 8, 8, 9]);
    assert_eq!(watcher.revision(), Some(9));
    assert_eq!((one.watched_from(), two.watched_from()), (vec![0, 9], vec![8]));
}

#[tokio::test]
async fn a_node_that_is_silent_for_too_long_is_left_for_the_next() {
    let (one, two) = (Node::start(vec![]).await, Node::start(vec![]).await);
    one.will_say(vec![watched(1..=3)], End::Silence);
    two.will_say(vec![watched(4..=4)], End::Silence);
    let start = Some(watch_request::Start::FromRevision(1));
    let request = WatchRequest { start, bookmark_interval_ms: 100, ..Default::default() };
    let mut watcher = client(&[&one, &two], ClientOptions::default()).watch(request);
    assert_eq!(revisions_of(&mut watcher, 2).await, [3, 4]);
}

#[tokio::test]
async fn what_cannot_come_next_is_not_handed_out() {
    let (one, two) = (Node::start(vec![]).await, Node::start(vec![]).await);
    one.will_say(vec![watched(1..=3), watched(3..=4)], End::Silence);
    two.will_say(vec![watched(5..=6)], End::Silence);
    one.will_say(vec![watched(4..=6)], End::Silence);
    let start = Some(watch_request::Start::FromRevision(1));
    let mut watcher =
        client(&[&one, &two], ClientOptions::default()).watch(WatchRequest { start, ..Default::default() });
    assert_eq!(revisions_of(&mut watcher, 2).await, [3, 6]);
    assert_eq!((one.watched_from(), two.watched_from()), (vec![1, 4], vec![4]));
}

#[tokio::test]
async fn a_watch_whose_next_event_was_removed_ends_and_says_so() {
    let node = Node::start(vec![]).await;
    let info = pb::ErrorInfo {
        reason: "EVENTS_COMPACTED".into(),
        domain: "quorate".into(),
        metadata: [("compacted_at".to_owned(), "9".to_owned())].into(),
    };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
        value: info.encode_to_vec(),
    };
    let details = pb::Status { details: vec![any], ..Default::default() }.encode_to_vec();
    let status = Status::with_details(Code::OutOfRange, "removed", details.into());
    node.will_say(vec![watched(1..=3)], End::Refusal(status));
    let start = Some(watch_request::Start::FromRevision(1));
    let mut watcher =
        client(&[&node], ClientOptions::default()).watch(WatchRequest { start, ..Default::default() });
    assert_eq!(revisions_of(&mut watcher, 1).await, [3]);
    let error = watcher.next().await.expect_err("it is removed");
    let ClientError::Rejected { status, .. } = error else { panic!("{error:?}") };
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(node.watched_from(), [1], "another node would say the same");
}

#[tokio::test]
async fn a_watch_without_a_node_says_so_in_time_and_can_be_gone_on_with() {
    let node = Node::start(vec![]).await;
    let options = ClientOptions { timeout: Duration::from_millis(100), ..Default::default() };
    let start = Some(watch_request::Start::FromRevision(4));
    let mut watcher = client(&[&node], options).watch(WatchRequest { start, ..Default::default() });
    let error = watcher.next().await.expect_err("it has nothing to say");
    assert!(
        matches!(&error, ClientError::Unavailable { last } if last.contains("nothing left")),
        "{error:?}"
    );
    node.will_say(vec![watched(4..=4)], End::Silence);
    assert_eq!(revisions_of(&mut watcher, 1).await, [4]);
}

#[tokio::test]
async fn the_program_shows_what_a_watch_brings_until_it_has_caught_up() {
    let node = Node::start(vec![]).await;
    node.will_say(vec![watched(7..=8), watched(9..=9), caught_up(9)], End::Silence);
    let arguments = ["events", "tail", "--from", "7", "--until-caught-up", "--output", "json"];
    let done = quorate(&node, &arguments).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let revisions: Vec<u64> = text(&done.stdout)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("one JSON object"))
        .map(|event| event["revision"].as_u64().expect("a number"))
        .collect();
    assert_eq!(revisions, [7, 8, 9]);
    assert_eq!(node.watched_from(), [7]);
}

#[tokio::test]
async fn the_program_begins_where_the_time_that_was_given_may_be_or_with_what_comes() {
    let node = Node::start(vec![]).await;
    for (words, from) in [(&["--since", "2h"][..], 1), (&["--since-start"][..], 1), (&[][..], 0)] {
        node.will_say(vec![caught_up(0)], End::Silence);
        let done = quorate(&node, &[&["events", "tail", "--until-caught-up"], words].concat()).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert_eq!(node.watched_from(), [from], "{words:?}");
    }
}
