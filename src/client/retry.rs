//! The one loop that every call goes through: ask a node, and on a failure that says nothing of
//! the outcome ask the next one, until the deadline.
//!
//! Knows nothing of what is asked, only whether it may be asked again.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use tonic::ConnectError;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

use super::ACTOR_KEY;
use super::Client;
use super::ClientError;
use super::REASON_KEY;
use super::code_name;
use super::error::is_overloaded;
use super::error::is_told_by_quorate;
use super::rejection_of;
use crate::proto::v1::rejection::Reason;

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What asking twice does, and so what a call that nobody answered means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Repeat {
    /// A read: nothing changes however often it is asked.
    Read,
    /// A command with a retry identity: takes effect once however often it is sent.
    Command(Uuid),
    /// A change of the cluster to a state that it names: the second time changes nothing.
    Change,
    /// Meant for one node: asked of another only while none can have received it.
    Once,
}

/// What one try without an answer says about the call.
enum Failure {
    /// The node was not reached, so the request was not sent.
    NotSent,
    /// The node may have received and even carried out the request.
    Ambiguous,
    /// A node refused without saying that the cluster decided so: true of this try alone.
    Refused,
    /// Not said by Quorate: by something in between, or by this side of the connection about an
    /// answer that it cannot take, which another try would bring again.
    Unclear,
    /// The answer to the call, whichever node gives it.
    Final,
}

impl Client {
    /// Sends `message` with `send` until a node answers. `send` is given a fresh request, the
    /// same but for its deadline, each time.
    pub(super) async fn call<Q, A, S, F>(&self, repeat: Repeat, message: Q, send: S) -> Result<A, ClientError>
    where
        Q: Clone,
        S: Fn(Channel, Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let inner = &*self.inner;
        let deadline = Instant::now() + inner.timeout;
        let mut pause = FIRST_PAUSE;
        let mut maybe_sent = false;
        let mut last = "the deadline passed before the first try".to_owned();
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(gave_up(repeat, maybe_sent, last));
            }
            let node = inner.nodes.current();
            let limit = if self.read.is_past() { rest } else { rest.min(inner.try_timeout) };
            let request = self.request(message.clone(), limit);
            // The channel keeps the deadline of the request too, but not while it waits for a
            // connection.
            let answer = tokio::time::timeout(limit, send(inner.nodes.channel(node), request)).await;
            let status = match answer {
                Ok(Ok(reply)) => return Ok(reply.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {limit:?}")),
            };
            let said = format!("{}: {}", inner.nodes.address(node), words(&status));
            match failure(&status) {
                // An earlier try may have reached a node that was allowed to carry it out.
                Failure::Refused if maybe_sent && !matches!(repeat, Repeat::Read) => {
                    return Err(gave_up(repeat, maybe_sent, said));
                }
                Failure::Unclear if !matches!(repeat, Repeat::Read) => {
                    return Err(gave_up(repeat, true, said));
                }
                Failure::Final | Failure::Refused | Failure::Unclear => {
                    let rejection = rejection_of(&status).map(Box::new);
                    return Err(ClientError::Rejected { status, rejection });
                }
                Failure::Ambiguous => maybe_sent = true,
                Failure::NotSent => {}
            }
            last = said;
            inner.nodes.turn_from(node);
            if maybe_sent && matches!(repeat, Repeat::Once) {
                return Err(gave_up(repeat, maybe_sent, last));
            }
            tokio::time::sleep_until((Instant::now() + inner.jitter.shorten(pause)).min(deadline)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn request<Q>(&self, message: Q, limit: Duration) -> Request<Q> {
        let mut request = self.request_without_deadline(message);
        request.set_timeout(limit);
        request
    }

    /// For a stream, which lives as long as somebody has commands for it.
    pub(super) fn request_without_deadline<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        for (key, value) in [(ACTOR_KEY, &self.inner.actor), (REASON_KEY, &self.inner.reason)] {
            if let Some(value) = value {
                request.metadata_mut().insert(key, value.clone());
            }
        }
        request
    }
}

fn gave_up(repeat: Repeat, maybe_sent: bool, last: String) -> ClientError {
    match repeat {
        Repeat::Read => ClientError::Unavailable { last },
        _ if !maybe_sent => ClientError::Unavailable { last },
        Repeat::Command(request_id) => ClientError::Unknown { request_id: Some(request_id), last },
        Repeat::Change | Repeat::Once => ClientError::Unknown { request_id: None, last },
    }
}

/// Whether what a node said is about the node or the way to it, and not about what it was asked.
pub(super) fn may_go_better_elsewhere(status: &Status) -> bool {
    matches!(failure(status), Failure::NotSent | Failure::Ambiguous)
}

fn failure(status: &Status) -> Failure {
    match status.code() {
        // Or sent in vain: it was not tried.
        _ if was_not_reached(status) || is_overloaded(status) => Failure::NotSent,
        // Besides what a node says on purpose, these are what a connection cut in the middle of
        // a call turns into, and what a node says whose fault stopped it in the middle.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::DataLoss => Failure::Ambiguous,
        _ if !is_told_by_quorate(status) => Failure::Unclear,
        // Malformed for this node: another one may have taken it before.
        Code::InvalidArgument => Failure::Refused,
        // Nothing was done now, but an earlier try may have been, so long ago that it is forgotten.
        _ if is_expired(status) => Failure::Refused,
        _ if rejection_of(status).is_some() => Failure::Final,
        _ => Failure::Refused,
    }
}

fn is_expired(status: &Status) -> bool {
    matches!(rejection_of(status).and_then(|rejection| rejection.reason), Some(Reason::RequestIdExpired(_)))
}

/// What a status says, with what is at the bottom of it: "tcp connect error" alone does not tell a
/// refused connection from an unknown host.
pub(super) fn words(status: &Status) -> String {
    let said = format!("{}: {}", code_name(status.code()), status.message());
    let mut bottom = status.source();
    while let Some(deeper) = bottom.and_then(Error::source) {
        bottom = Some(deeper);
    }
    match bottom.map(ToString::to_string) {
        Some(cause) if !said.contains(&cause) => format!("{said}: {cause}"),
        _ => said,
    }
}

pub(super) fn was_not_reached(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Spreads the pauses of many clients, so that they do not all come back at once. Repeatable
/// from its seed.
#[derive(Debug)]
pub(super) struct Jitter {
    state: AtomicU64,
}

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// Between half of `pause` and all of it.
    pub(super) fn shorten(&self, pause: Duration) -> Duration {
        // splitmix64: a counter and a mix, so calls at the same time need no lock.
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let share = 0.5 + 0.5 * (mixed >> 11) as f64 / (1u64 << 53) as f64;
        pause.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_shortened_to_no_less_than_half() {
        let jitter = Jitter::new(7);
        for _ in 0..1_000 {
            let pause = jitter.shorten(LONGEST_PAUSE);
            assert!(pause >= LONGEST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{pause:?}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_pauses() {
        let (one, two) = (Jitter::new(7), Jitter::new(7));
        for _ in 0..10 {
            assert_eq!(one.shorten(FIRST_PAUSE), two.shorten(FIRST_PAUSE));
        }
    }

    #[test]
    fn a_command_that_no_node_can_have_received_is_not_of_unknown_outcome() {
        let command = Repeat::Command(super::super::new_request_id());
        assert!(matches!(gave_up(command, false, String::new()), ClientError::Unavailable { .. }));
        assert!(matches!(
            gave_up(command, true, String::new()),
            ClientError::Unknown { request_id: Some(_), .. }
        ));
        assert!(matches!(gave_up(Repeat::Read, true, String::new()), ClientError::Unavailable { .. }));
    }
}
