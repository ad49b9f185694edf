//! The one way in: requests in log order become outcomes and events.

use super::LogTime;
use super::decide::decide;
use super::event::Event;
use super::outcome::Outcome;
use super::rejection::Malformed;
use super::rejection::Rejection;
use super::request::Request;
use super::request::WINDOW_MS;
use super::state::State;

/// What the requests of one log entry led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// One per request, in order.
    pub outcomes: Vec<Outcome>,
    /// With consecutive revisions; none for a request that was only repeated.
    pub events: Vec<Event>,
}

/// Decides requests one after the other and folds what happened into the state.
///
/// Deterministic and total: the same state, time and requests give the same result on every node
/// and at every replay, and no input makes it fail. A time before the last one counts as the last
/// one. The caller makes `events` durable before it shows anything of them to anyone.
pub fn apply(state: &mut State, time: LogTime, requests: &[Request]) -> Applied {
    let now = time.max(state.time());
    let mut applied =
        Applied { outcomes: Vec::with_capacity(requests.len()), events: Vec::with_capacity(requests.len()) };
    for request in requests {
        if let Some(outcome) = answer_without_event(state, now, request) {
            applied.outcomes.push(outcome);
            continue;
        }
        let decision = decide(state, request);
        // From here on nothing can fail.
        let event = Event {
            revision: state.revision() + 1,
            time: now,
            request: request.id,
            fingerprint: request.fingerprint,
            actor: request.actor.clone(),
            body: decision.body,
            touched: decision.touched,
        };
        state.evolve(&event);
        applied.outcomes.push(Outcome {
            revision: event.revision,
            replayed: false,
            verdict: event.verdict(),
        });
        applied.events.push(event);
    }
    applied
}

/// First in the order of precedence: a repeat gets the first outcome, and an id that cannot be
/// judged is refused. Neither is a decision, so neither is an event.
fn answer_without_event(state: &State, now: LogTime, request: &Request) -> Option<Outcome> {
    if let Some(decided) = state.requests.get(request.id) {
        let replayed = decided.fingerprint == request.fingerprint;
        let verdict = if replayed {
            decided.verdict.clone()
        } else {
            Err(Box::new(Rejection::RequestIdReused { first: decided.revision }))
        };
        return Some(Outcome { revision: decided.revision, replayed, verdict });
    }
    let floor = state.requests.floor_at(now);
    let rejection = if request.id <= floor {
        Rejection::RequestIdExpired { oldest_accepted_ms: floor.time_ms() + 1 }
    } else if request.id.time_ms() > now.saturating_add(WINDOW_MS) {
        Rejection::Malformed(Malformed::new(
            "request_id",
            format!(
                "was made at {} ms since 1970, over {WINDOW_MS} ms ahead of the ledger; check the clock of the client",
                request.id.time_ms()
            ),
        ))
    } else {
        return None;
    };
    Some(Outcome { revision: state.revision(), replayed: false, verdict: Err(Box::new(rejection)) })
}
