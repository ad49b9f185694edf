//! The one way in: requests in log order become outcomes and events.

use super::LogTime;
use super::decide::decide;
use super::event::Event;
use super::outcome::Outcome;
use super::rejection::Malformed;
use super::rejection::Rejection;
use super::request::AHEAD_MS;
use super::request::Request;
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
    } else if request.id.time_ms() > now.saturating_add(AHEAD_MS) {
        Rejection::Malformed(Malformed::new(
            "request_id",
            format!(
                "was made at {} ms since 1970, over {AHEAD_MS} ms ahead of the ledger; check the clock of the client",
                request.id.time_ms()
            ),
        ))
    } else {
        return None;
    };
    Some(Outcome { revision: state.revision(), replayed: false, verdict: Err(Box::new(rejection)) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::command::Command;
    use super::super::command::CreateScope;
    use super::super::command::Line;
    use super::super::command::NewLimit;
    use super::super::command::Reserve;
    use super::super::command::SetQuota;
    use super::super::hold::CLOSED_HOLDS_KEPT;
    use super::super::name::Name;
    use super::super::name::Path;
    use super::super::outcome::Grant;
    use super::super::request;
    use super::super::request::RequestId;
    use super::super::rows::RowKey;
    use super::*;

    const NOW: LogTime = 1_767_225_600_000;

    /// How many rejections that name nothing are remembered.
    const CAPACITY: usize = request::CAPACITY / 2;

    fn id(time_ms: u64, number: u64) -> RequestId {
        let bits = u128::from(time_ms) << 80 | 7 << 76 | 0b10 << 62 | u128::from(number);
        RequestId::from_bytes(bits.to_be_bytes()).expect("a UUIDv7")
    }

    fn run(state: &mut State, id: RequestId, command: Command) -> Outcome {
        let request = Request { id, fingerprint: [0; 16], actor: "".into(), command };
        apply(state, NOW, &[request]).outcomes.remove(0)
    }

    #[test]
    fn the_oldest_requests_beyond_the_capacity_are_forgotten_and_refused() {
        let mut state = State::default();
        let extra = 10;
        let mut heard = Heard::of(&state);
        for number in 0..(CAPACITY + extra) as u64 {
            run(&mut state, id(NOW, number), Command::Commit(0));
            if number % 1000 == 0 {
                heard.listen(&mut state);
            }
        }
        assert_eq!(state.requests.iter().count(), CAPACITY);
        assert_eq!(state.revision(), (CAPACITY + extra) as u64);
        for number in 0..extra as u64 {
            let refused = run(&mut state, id(NOW, number), Command::Commit(0));
            let expired = Rejection::RequestIdExpired { oldest_accepted_ms: NOW + 1 };
            assert_eq!((refused.replayed, refused.verdict), (false, Err(Box::new(expired))));
        }
        let first_kept = run(&mut state, id(NOW, extra as u64), Command::Commit(0));
        assert!(first_kept.replayed);
        // Never seen, but below what was forgotten: it cannot be told from a forgotten one.
        let older = run(&mut state, id(NOW - 1, 0), Command::Commit(0));
        assert!(older.verdict.is_err());
        assert_eq!(state.revision(), (CAPACITY + extra) as u64);
        heard.check(&mut state);
    }

    #[test]
    fn the_oldest_closed_holds_beyond_the_capacity_are_forgotten() {
        let mut state = State::default();
        let mut number = 0;
        let mut next = |state: &mut State, command| {
            number += 1;
            run(state, id(NOW, number), command)
        };
        let scope = Path::parse("acme").expect("a path");
        let resource = Name::parse("memory_gb").expect("a name");
        let kind = Name::parse("team").expect("a name");
        next(&mut state, Command::CreateScope(CreateScope { path: scope.clone(), kind }));
        let limit = NewLimit::Unlimited;
        let quota = SetQuota { scope: scope.clone(), resource: resource.clone(), limit, if_version: None };
        next(&mut state, Command::SetQuota(quota));
        let line = Line { scope, resource, amount: 1.into(), if_sequence: None };
        let reserve = Command::Reserve(Reserve::new(vec![line]).expect("a reservation"));
        let extra = 10;
        let mut holds = Vec::new();
        for _ in 0..CLOSED_HOLDS_KEPT + extra {
            match next(&mut state, reserve.clone()).verdict {
                Ok(Grant::Hold(hold)) => holds.push(hold),
                other => panic!("no hold was made: {other:?}"),
            }
        }
        // Released from the newest on: what counts is when a hold was closed, not when it was made.
        let mut heard = Heard::of(&state);
        for hold in holds.iter().rev() {
            next(&mut state, Command::Release(*hold));
            if hold % 1000 == 0 {
                heard.listen(&mut state);
            }
        }
        assert_eq!(state.closed.iter().count(), CLOSED_HOLDS_KEPT);
        for (position, hold) in holds.iter().rev().enumerate() {
            assert_eq!(state.closing(*hold).is_some(), position >= extra, "hold {hold}");
        }
        let newest = *holds.last().expect("holds were made");
        let forgotten = next(&mut state, Command::Release(newest)).verdict;
        assert_eq!(forgotten, Err(Box::new(Rejection::UnknownHold(newest))));
        heard.check(&mut state);
    }

    /// The keys of all rows, as one knows them who only hears of changes, now and then.
    struct Heard(BTreeSet<RowKey>);

    impl Heard {
        fn of(state: &State) -> Self {
            Self(state.rows().map(|row| row.key()).collect())
        }

        fn listen(&mut self, state: &mut State) {
            for key in state.take_changed() {
                if state.row(key).is_some() {
                    self.0.insert(key);
                } else {
                    self.0.remove(&key);
                }
            }
        }

        fn check(mut self, state: &mut State) {
            self.listen(state);
            assert!(self.0 == Self::of(state).0, "a row that was forgotten was not told");
        }
    }
}
