//! Many commands at once: batches whose commands are decided each on its own or all together, and
//! streams of commands.

use std::pin::Pin;

use futures_util::FutureExt as _;
use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::stream;
use prost::Message;
use tokio::time::Instant;
use tonic::Status;
use tonic::Streaming;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::answer;
use super::call;
use super::call::Caller;
use super::call::Done;
use super::call::Failure;
use super::call::Preview;
use super::status;
use crate::codec::command;
use crate::ledger;
use crate::ledger::Command;
use crate::ledger::Grant;
use crate::ledger::Malformed;
use crate::ledger::Rejection;
use crate::proto::v1;

/// About how many bytes the rejections of one answer may take together. Clients take 4 MiB.
const MAX_REJECTIONS: usize = 2 << 20;

/// Bounds of what one of them may take.
const REJECTION_BYTES: std::ops::RangeInclusive<usize> = 256..=2_048;

/// Of how many denials of one call the largest holders are named, if they are asked for.
const MAX_EXPLAINED: usize = 4;

/// How many commands of a stream are decided together.
const CHUNK: usize = 1_024;

/// How many bytes they take together, about: one that is larger comes alone or last. What a stream
/// has in this node is bounded by it, as there may be thousands of streams.
const CHUNK_BYTES: usize = 1 << 20;

/// How many bytes each of so many results may take.
fn share(results: usize) -> usize {
    (MAX_REJECTIONS / results.max(1)).clamp(*REJECTION_BYTES.start(), *REJECTION_BYTES.end())
}

/// The results of a stream of commands.
pub(super) type Results = Pin<Box<dyn Stream<Item = Result<v1::BatchResult, Status>> + Send>>;

impl Api {
    pub(super) async fn run_batch(
        &self,
        caller: &Caller,
        batch: v1::BatchRequest,
    ) -> Result<v1::BatchResponse, Status> {
        let malformed = |error| status::malformed(&error);
        command::check_batch(batch.commands.len()).map_err(malformed)?;
        if batch.atomic {
            return self.run_atomic(caller, batch).await;
        }
        if batch.validate_only {
            let problem = "is for atomic batches; of this one each command would find another state";
            return Err(malformed(Malformed::new("validate_only", problem)));
        }
        if !batch.request_id.is_empty() {
            let problem = "is for atomic batches; of this one each command has its own";
            return Err(malformed(Malformed::new("request_id", problem)));
        }
        let in_batch = |position: usize| format!("commands[{position}]");
        let results = self.run_each(caller, batch.commands, in_batch).await;
        Ok(v1::BatchResponse { results, ..Default::default() })
    }

    /// Has commands decided each on its own, in order. `prefix` names a command in errors.
    async fn run_each(
        &self,
        caller: &Caller,
        commands: Vec<v1::BatchCommand>,
        prefix: impl Fn(usize) -> String,
    ) -> Vec<v1::BatchResult> {
        struct Read {
            tag: u64,
            holders: usize,
            /// Its command, unless it is malformed.
            command: Result<Command, Malformed>,
        }
        let mut asked = Vec::with_capacity(commands.len());
        let mut requests = Vec::with_capacity(commands.len());
        for (position, v1::BatchCommand { tag, command: message }) in commands.into_iter().enumerate() {
            let holders = message.as_ref().map_or(0, call::holders_asked);
            let command = request(caller, message, &prefix(position)).map(|request| {
                let command = request.command.clone();
                requests.push(request);
                command
            });
            asked.push(Read { tag, holders, command });
        }
        let mut decided = self.node.decide_all(requests, caller.deadline).await.into_iter();
        let bytes = share(asked.len());
        let mut explained = 0;
        let answered = asked.into_iter().map(|Read { tag, holders, command }| {
            let done = command.map_err(Failure::from).and_then(|command| {
                let outcome = decided.next().expect("every request has a result")?;
                let done = call::result(outcome)?;
                Ok((command, done))
            });
            match done {
                Ok((command, done)) => answer::done(tag, &command, done, bytes),
                Err(failure) if holders > 0 && explained < MAX_EXPLAINED => {
                    explained += 1;
                    answer::not_done(tag, &self.explained(failure, holders), bytes)
                }
                Err(failure) => answer::not_done(tag, &failure, bytes),
            }
        });
        answered.collect()
    }

    /// Has commands decided together: all of them take effect, or none.
    async fn run_atomic(
        &self,
        caller: &Caller,
        batch: v1::BatchRequest,
    ) -> Result<v1::BatchResponse, Status> {
        let v1::BatchRequest { request_id, commands, validate_only, .. } = batch;
        let asked: Vec<Asked> = commands.iter().map(Asked::of).collect();
        let done = if validate_only {
            self.look_at_all(caller, &request_id, commands).await
        } else {
            self.decide_together(caller, &request_id, commands).await
        };
        match done {
            Ok((command, done)) => Ok(all_done(&asked, &command, done)),
            Err(failure) => self.none_done(&asked, failure),
        }
    }

    async fn decide_together(
        &self,
        caller: &Caller,
        id: &str,
        commands: Vec<v1::BatchCommand>,
    ) -> Result<(Command, Done), Failure> {
        let id = command::request_id(id)?;
        let command = command::decode_batch(commands)?;
        let request = call::identified(caller, id, command.clone());
        let outcome = self.node.decide(request, caller.deadline).await?;
        call::result(outcome).map(|done| (command, done))
    }

    async fn look_at_all(
        &self,
        caller: &Caller,
        id: &str,
        commands: Vec<v1::BatchCommand>,
    ) -> Result<(Command, Done), Failure> {
        let id = if id.is_empty() { None } else { Some(command::request_id(id)?) };
        let command = command::decode_batch(commands)?;
        self.look(caller, id, command.clone()).await.map(|done| (command, done))
    }

    /// The answer to a batch of which nothing took effect: which command was in the way, or a status
    /// when it was none of them.
    fn none_done(&self, asked: &[Asked], failure: Failure) -> Result<v1::BatchResponse, Status> {
        let (revision, replayed, index, rejection) = match failure {
            Failure::Rejected { rejection, holders, revision, replayed } => match *rejection {
                Rejection::PartFailed { index, rejection, .. } => (revision, replayed, index, rejection),
                other => {
                    let rejection = Box::new(other);
                    return Err(status::of(&Failure::Rejected { rejection, holders, revision, replayed }));
                }
            },
            failure => return Err(status::of(&failure)),
        };
        let failed = index as usize;
        let failure = Failure::Rejected { rejection, holders: Vec::new(), revision, replayed };
        let failure = self.explained(failure, asked[failed].holders);
        let result = |(position, asked): (usize, &Asked)| {
            if position == failed {
                answer::not_done(asked.tag, &failure, share(1))
            } else {
                answer::not_applied(asked.tag, failed, revision, replayed)
            }
        };
        let results = asked.iter().enumerate().map(result).collect();
        Ok(v1::BatchResponse { results, revision, replayed, ..Default::default() })
    }

    /// The results of a stream of commands, in order. What has come while earlier ones were decided
    /// is decided together.
    pub(super) fn run_stream(&self, caller: Caller, commands: Streaming<v1::BatchCommand>) -> Results {
        let api = self.clone();
        let decide = move |commands| {
            let api = api.clone();
            let caller = Caller { deadline: Instant::now() + DEFAULT_TIMEOUT, ..caller.clone() };
            async move { api.run_each(&caller, commands, |_| String::new()).await }
        };
        Box::pin(until_unknown(chunks(commands), decide))
    }
}

/// The results of parts of a stream, one part after the other. The stream ends after what cannot be
/// read, and after a command of which nobody knows what became of it: those that come later may
/// depend on it.
fn until_unknown<T, F>(
    parts: impl Stream<Item = Vec<Result<T, Status>>>,
    decide: impl Fn(Vec<T>) -> F,
) -> impl Stream<Item = Result<v1::BatchResult, Status>>
where
    F: Future<Output = Vec<v1::BatchResult>>,
{
    let parts = Some(Box::pin(parts));
    let results = stream::unfold((parts, decide), |(parts, decide)| async move {
        let mut parts = parts?;
        let mut commands = Vec::new();
        let mut broken = None;
        for command in parts.next().await? {
            match command {
                Ok(command) => commands.push(command),
                Err(status) => broken = Some(status),
            }
        }
        let results = decide(commands).await;
        if results.iter().any(answer::is_unknown) {
            let problem = "what became of a command is unknown, and those after it were not tried; send \
                           them again in another stream, under the same request ids";
            broken.get_or_insert_with(|| Status::unavailable(problem));
        }
        let go_on = if broken.is_none() { Some(parts) } else { None };
        let results: Vec<_> = results.into_iter().map(Ok).chain(broken.map(Err)).collect();
        Some((stream::iter(results), (go_on, decide)))
    });
    results.flatten()
}

/// What has come of a stream while nobody looked, in parts that are decided together.
fn chunks<T: Message>(
    commands: impl Stream<Item = Result<T, Status>> + Unpin,
) -> impl Stream<Item = Vec<Result<T, Status>>> {
    stream::unfold(commands, |mut commands| async move {
        let mut chunk = vec![commands.next().await?];
        let mut bytes = size(&chunk[0]);
        while chunk.len() < CHUNK
            && bytes < CHUNK_BYTES
            && let Some(Some(command)) = commands.next().now_or_never()
        {
            bytes += size(&command);
            chunk.push(command);
        }
        Some((chunk, commands))
    })
}

fn size<T: Message>(command: &Result<T, Status>) -> usize {
    command.as_ref().map_or(0, Message::encoded_len)
}

/// What a command of an atomic batch says besides what is to be done.
struct Asked {
    tag: u64,
    /// How many holders it wants to be told of.
    holders: usize,
}

impl Asked {
    fn of(message: &v1::BatchCommand) -> Self {
        let holders = message.command.as_ref().map_or(0, call::holders_asked);
        Self { tag: message.tag, holders }
    }
}

/// The answer to a batch that took effect, or would.
fn all_done(asked: &[Asked], command: &Command, done: Done) -> v1::BatchResponse {
    let Command::Batch(commands) = command else {
        unreachable!("a batch decodes to a batch");
    };
    let Done { grant, revision, replayed, preview, .. } = done;
    let parts = &grant.details().parts;
    assert_eq!(parts.len(), asked.len(), "every command of a batch is a part");
    let is_preview = preview.is_some();
    let result = |(position, (asked, (command, part))): (usize, (&Asked, (&Command, &Grant)))| {
        // Each part is one event, and the last of them gives the whole its revision. A preview has
        // one for all, at which it was decided.
        let later = if is_preview { 0 } else { (parts.len() - 1 - position) as u64 };
        let mut done = Done::new(part.clone(), revision - later, replayed);
        done.preview = is_preview.then(Preview::default);
        answer::done(asked.tag, command, done, share(parts.len()))
    };
    let each = asked.iter().zip(commands.commands().iter().zip(parts));
    let results = each.enumerate().map(result).collect();
    let mut would_write = preview.map(|preview| preview.events).unwrap_or_default();
    let would_write_omitted = answer::cut_events(&mut would_write);
    v1::BatchResponse { results, revision, replayed, would_write, would_write_omitted }
}

/// A request from a command of a batch or a stream; `prefix` names it in errors.
fn request(
    caller: &Caller,
    message: Option<command::Message>,
    prefix: &str,
) -> Result<ledger::Request, Malformed> {
    let Some(message) = message else {
        let field = if prefix.is_empty() { "command" } else { prefix };
        return Err(Malformed::new(field, "says nothing to do"));
    };
    let field = command::field(&message);
    call::request(caller, message).map_err(|error| {
        let error = command::within(field, error);
        if prefix.is_empty() { error } else { command::within(prefix, error) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(bytes: usize) -> Result<v1::BatchCommand, Status> {
        let reserve = v1::ReserveRequest { job: "x".repeat(bytes), ..Default::default() };
        Ok(v1::BatchCommand { tag: 0, command: Some(command::Message::Reserve(reserve)) })
    }

    async fn lengths(commands: Vec<Result<v1::BatchCommand, Status>>) -> Vec<usize> {
        chunks(stream::iter(commands)).map(|chunk| chunk.len()).collect().await
    }

    #[tokio::test]
    async fn a_stream_is_decided_in_parts_of_bounded_number_and_bytes() {
        let many = |bytes, count| (0..count).map(|_| command(bytes)).collect::<Vec<_>>();
        assert_eq!(lengths(many(10, 2_500)).await, [1_024, 1_024, 452]);
        assert_eq!(lengths(many(CHUNK_BYTES / 2, 5)).await, [2, 2, 1]);
        assert_eq!(lengths(many(CHUNK_BYTES * 4, 3)).await, [1, 1, 1]);
        let mut broken = many(10, 2);
        broken.insert(1, Err(Status::internal("cut")));
        assert_eq!(lengths(broken).await, [3]);
        assert!(lengths(Vec::new()).await.is_empty());
    }

    #[tokio::test]
    async fn a_stream_ends_where_an_outcome_is_unknown() {
        let parts = stream::iter([vec![Ok(1), Ok(2)], vec![Ok(3), Ok(4)], vec![Ok(5)]]);
        let tried = std::sync::Mutex::new(Vec::new());
        let decide = |tags: Vec<u64>| {
            tried.lock().expect("not poisoned").extend(tags.clone());
            let code = |tag| if tag == 4 { tonic::Code::Unavailable } else { tonic::Code::Ok };
            let result = move |tag| v1::BatchResult { tag, code: code(tag).into(), ..Default::default() };
            async move { tags.into_iter().map(result).collect::<Vec<_>>() }
        };
        let results: Vec<_> = until_unknown(parts, decide).collect().await;
        let told: Vec<_> =
            results.iter().map(|result| result.as_ref().map(|result| result.tag).ok()).collect();
        assert_eq!(told, [Some(1), Some(2), Some(3), Some(4), None]);
        assert_eq!(*tried.lock().expect("not poisoned"), [1, 2, 3, 4]);
    }
}
