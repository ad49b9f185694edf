//! One command on its way: out of its message, decided by the node or only looked at, and what
//! came of it.

use std::sync::Arc;

use tokio::time::Instant;
use tonic::Request;
use tonic::Response;
use tonic::Status;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::status;
use crate::codec::batch::fingerprint;
use crate::codec::command;
use crate::codec::command::Message;
use crate::codec::event;
use crate::codec::rejection;
use crate::codec::view;
use crate::ledger;
use crate::ledger::Command;
use crate::ledger::Grant;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Outcome;
use crate::ledger::Path;
use crate::ledger::Rejection;
use crate::ledger::RequestId;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::ledger::holders::Holder;
use crate::node;
use crate::node::deadline::deadline;
use crate::proto::v1;

/// Most characters of an actor.
const MAX_ACTOR: usize = 128;

/// Most characters of a reason.
const MAX_REASON: usize = 256;

/// Who asks, and until when.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub actor: Arc<str>,
    pub reason: Arc<str>,
    pub deadline: Instant,
}

impl Caller {
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        Ok(Self {
            actor: said(request, v1::ACTOR_KEY, MAX_ACTOR)?.into(),
            reason: said(request, v1::REASON_KEY, MAX_REASON)?.into(),
            deadline: deadline(request, DEFAULT_TIMEOUT),
        })
    }
}

/// What came of a command that was carried out, or would be.
#[derive(Debug)]
pub(super) struct Done {
    pub grant: Grant,
    pub revision: Revision,
    pub replayed: bool,
    /// Of a command that was only looked at.
    pub preview: Option<Preview>,
    /// How many bytes its warnings may take.
    pub warning_bytes: usize,
}

impl Done {
    /// What was carried out.
    pub(super) fn new(grant: Grant, revision: Revision, replayed: bool) -> Self {
        Self { grant, revision, replayed, preview: None, warning_bytes: MAX_WARNINGS }
    }
}

/// Most bytes that the warnings of one answer take.
const MAX_WARNINGS: usize = 1 << 20;

/// Of how many blocking quotas a denial names the largest holders: every live hold is looked at.
const MAX_EXPLAINED: usize = 3;

/// What a command would do.
#[derive(Debug, Default)]
pub(super) struct Preview {
    pub events: Vec<v1::Event>,
    /// The quota it is about, as it would be.
    pub quota: Option<v1::Quota>,
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// Bad input, seen here.
    Malformed(Malformed),
    /// The ledger decided against it.
    Rejected {
        rejection: Box<Rejection>,
        /// Of a denial, when they were asked for: per blocking quota.
        holders: Vec<Vec<v1::Holder>>,
        revision: Revision,
        replayed: bool,
    },
    /// Not done, or not known to be.
    Failed(node::Error),
}

impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<node::Error> for Failure {
    fn from(error: node::Error) -> Self {
        Self::Failed(error)
    }
}

impl Failure {
    fn rejected(rejection: Box<Rejection>, revision: Revision, replayed: bool) -> Self {
        Self::Rejected { rejection, holders: Vec::new(), revision, replayed }
    }

    /// The whole message of a rejection; `None` when there is none.
    pub(super) fn rejection(&self) -> Option<v1::Rejection> {
        let (rejection, holders) = match self {
            Self::Malformed(error) => return Some(rejection::encode(&Rejection::Malformed(error.clone()))),
            Self::Rejected { rejection, holders, .. } => (rejection, holders),
            Self::Failed(_) => return None,
        };
        let mut message = rejection::encode(rejection);
        if let Some(v1::rejection::Reason::Denied(denied)) = &mut message.reason {
            for (blocking, holders) in denied.blocking.iter_mut().zip(holders) {
                blocking.largest_holders.clone_from(holders);
            }
        }
        Some(message)
    }
}

/// What an outcome means for its caller.
pub(super) fn result(outcome: Outcome) -> Result<Done, Failure> {
    let Outcome { revision, replayed, verdict } = outcome;
    match verdict {
        Ok(grant) => Ok(Done::new(grant, revision, replayed)),
        Err(rejection) => Err(Failure::rejected(rejection, revision, replayed)),
    }
}

impl Api {
    /// Carries out the command of a call, or only looks at it when the message says so.
    pub(super) async fn run<T, R: From<Done>>(
        &self,
        request: Request<T>,
        message: impl FnOnce(T) -> Message,
    ) -> Result<Response<R>, Status> {
        let caller = Caller::of(&request)?;
        let mut message = message(request.into_inner());
        let done = if command::take_validate_only(&mut message) {
            self.preview(&caller, message).await
        } else {
            self.decide(&caller, message).await
        };
        done.map(|done| Response::new(done.into())).map_err(|failure| status::of(&failure))
    }

    /// Has a command decided.
    async fn decide(&self, caller: &Caller, message: Message) -> Result<Done, Failure> {
        let holders = holders_asked(&message);
        let request = request(caller, message)?;
        let outcome = self.node.decide(request, caller.deadline).await?;
        result(outcome).map_err(|failure| self.explained(failure, holders))
    }

    /// Adds to a denial who takes most, as this node knows it now: so many per blocking quota.
    pub(super) fn explained(&self, failure: Failure, holders: usize) -> Failure {
        if holders == 0 { failure } else { with_holders(&self.node.state(), failure, holders) }
    }

    /// What a command would do now; nothing is done.
    pub(super) async fn preview(&self, caller: &Caller, mut message: Message) -> Result<Done, Failure> {
        let holders = holders_asked(&message);
        // It is not kept, so none is needed.
        let id = match command::take_request_id(&mut message).as_str() {
            "" => None,
            id => Some(command::request_id(id)?),
        };
        let command = command::decode(message)?;
        let seen = self.look(caller, id, command).await;
        seen.map_err(|failure| self.explained(failure, holders))
    }

    /// What a decoded command would do now.
    pub(super) async fn look(
        &self,
        caller: &Caller,
        id: Option<RequestId>,
        command: Command,
    ) -> Result<Done, Failure> {
        let request = ledger::Request {
            id: id.unwrap_or_default(),
            fingerprint: Default::default(),
            actor: Arc::clone(&caller.actor),
            reason: Arc::clone(&caller.reason),
            command,
        };
        let look = |state: &State, applied: &ledger::Applied, before| {
            let verdict = applied.outcomes.first().expect("one request has one outcome").verdict.clone();
            match verdict {
                Ok(grant) => {
                    let preview = preview(state, applied, &request.command, id);
                    Ok(Done { preview: Some(preview), ..Done::new(grant, before, false) })
                }
                Err(rejection) => Err(Failure::rejected(rejection, before, false)),
            }
        };
        self.node.preview_with(&request, caller.deadline, look).await?
    }
}

fn preview(state: &State, applied: &ledger::Applied, command: &Command, id: Option<RequestId>) -> Preview {
    let events = applied.events.iter().map(|happened| {
        let mut message = event::encode(happened, event::Position::default());
        if id.is_none() {
            message.request_id.clear();
        }
        // No command was fingerprinted, since none is kept.
        message.fingerprint.clear();
        message
    });
    let quota = subject(command).and_then(|(scope, resource)| {
        view::quota(state, state.scope_at(scope)?, state.resource_id(resource)?)
    });
    Preview { events: events.collect(), quota }
}

/// The quota that a command is about, if it is about one.
fn subject(command: &Command) -> Option<(&Path, &Name)> {
    match command {
        Command::SetQuota(command) => Some((&command.scope, &command.resource)),
        Command::AdjustQuota(command) => Some((&command.scope, &command.resource)),
        Command::DeleteQuota(command) => Some((&command.scope, &command.resource)),
        Command::LockQuota(command) => Some((&command.scope, &command.resource)),
        Command::UnlockQuota(command) => Some((&command.scope, &command.resource)),
        Command::OverrideQuota(command) => Some((&command.scope, &command.resource)),
        Command::CancelSchedule(command) => Some((&command.scope, &command.resource)),
        Command::TransferQuota(command) => Some((&command.from, &command.resource)),
        _ => None,
    }
}

/// A request of the ledger from the message of a client.
pub(super) fn request(caller: &Caller, mut message: Message) -> Result<ledger::Request, Malformed> {
    let id = command::request_id(&command::take_request_id(&mut message))?;
    let command = command::decode(message)?;
    Ok(identified(caller, id, command))
}

/// A command with its identity.
pub(super) fn identified(caller: &Caller, id: RequestId, command: Command) -> ledger::Request {
    ledger::Request {
        id,
        fingerprint: fingerprint(&command),
        actor: Arc::clone(&caller.actor),
        reason: Arc::clone(&caller.reason),
        command,
    }
}

/// How many holders a command wants to be told of when it is denied.
pub(super) fn holders_asked(message: &Message) -> usize {
    match message {
        Message::Reserve(message) => message.largest_holders as usize,
        _ => 0,
    }
}

fn with_holders(state: &State, failure: Failure, count: usize) -> Failure {
    let Failure::Rejected { rejection, revision, replayed, .. } = failure else {
        return failure;
    };
    let holders = match &*rejection {
        Rejection::Denied(blocking) if count > 0 => {
            let quotas: Vec<_> = blocking
                .iter()
                .take(MAX_EXPLAINED)
                .map_while(|blocking| {
                    let scope = state.scope_at(&blocking.quota.scope)?;
                    Some((scope.id, state.resource_id(&blocking.quota.resource)?))
                })
                .collect();
            let view =
                |holders: Vec<Holder>| holders.iter().map(|holder| view::holder(state, holder)).collect();
            state.largest_holders(&quotas, count).into_iter().map(view).collect()
        }
        _ => Vec::new(),
    };
    Failure::Rejected { rejection, holders, revision, replayed }
}

/// What the metadata of a call says under a key; "" for nothing.
fn said<T>(request: &Request<T>, key: &'static str, longest: usize) -> Result<String, Status> {
    let Some(value) = request.metadata().get(key) else {
        return Ok(String::new());
    };
    // As bytes: metadata takes a tab for printable.
    let printable = value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~'));
    let problem = match value.to_str() {
        Ok(text) if printable && text.len() <= longest => return Ok(text.to_owned()),
        Ok(text) if printable => {
            format!("has {} characters; at most {longest} are allowed", text.len())
        }
        _ => "has characters that are not printable ASCII".to_owned(),
    };
    Err(status::malformed(&Malformed::new(key, problem)))
}
