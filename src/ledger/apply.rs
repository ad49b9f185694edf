//! The one way in: log entries become outcomes and events.

use super::LogTime;
use super::bulk;
use super::decide;
use super::decide::Context;
use super::decide::Decision;
use super::decide::decide;
use super::event::Body;
use super::event::Cause;
use super::event::Event;
use super::evolve::combined;
use super::hold::HoldId;
use super::outcome::Grant;
use super::outcome::Outcome;
use super::outcome::Verdict;
use super::rejection::Malformed;
use super::rejection::Rejection;
use super::request::AHEAD_MS;
use super::request::Request;
use super::state::State;
use super::warm::TOGETHER;
use super::warm::warm;
use crate::planted::Bug;
use crate::planted::planted;

/// How many holds one entry lets expire. The others follow with the next entry, so that no entry
/// takes for ever, however many are due at once; until then they count as held, so that nothing is
/// granted twice, but nobody can commit or renew them.
pub const SWEEP: usize = 8192;

/// What the leader stamped on a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Log time.
    pub time: LogTime,
    /// What the clock of the leader said, when it was not believed.
    pub refused: Option<RefusedClock>,
}

/// A clock that was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedClock {
    /// What it said, in milliseconds since the Unix epoch.
    pub clock: LogTime,
    /// The node whose clock it is.
    pub node: u64,
}

impl From<LogTime> for Stamp {
    fn from(time: LogTime) -> Self {
        Self { time, refused: None }
    }
}

/// What the requests of one log entry led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// One per request, in order.
    pub outcomes: Vec<Outcome>,
    /// With consecutive revisions: first what time did, then what the requests did; none for a
    /// request that was only repeated.
    pub events: Vec<Event>,
}

/// Does what is due, then decides requests one after the other, and folds what happened into the
/// state. An entry without requests is a tick.
///
/// Deterministic and total: the same state, stamp and requests give the same result on every node
/// and at every replay, and no input makes it fail. A time before the last one counts as the last
/// one. The caller makes `events` durable before it shows anything of them to anyone.
pub fn apply(state: &mut State, stamp: impl Into<Stamp>, requests: &[Request]) -> Applied {
    let stamp = stamp.into();
    let now = stamp.time.max(state.time());
    let mut applied =
        Applied { outcomes: Vec::with_capacity(requests.len()), events: Vec::with_capacity(requests.len()) };
    sweep(state, now, stamp.refused, &mut applied.events);
    for (position, request) in requests.iter().enumerate() {
        if position % TOGETHER == 0 {
            warm(state, &requests[position..requests.len().min(position + TOGETHER)]);
        }
        if let Some(outcome) = answer_without_event(state, now, request) {
            applied.outcomes.push(outcome);
            continue;
        }
        let verdict = carry_out(state, now, request, &mut applied.events);
        state.remember(request.id, request.fingerprint, verdict.clone());
        applied.outcomes.push(Outcome { revision: state.revision(), replayed: false, verdict });
    }
    applied
}

/// What a request would do at a time: its events and its outcome, without those of time before it.
/// The state is as before afterwards.
pub fn preview(state: &mut State, time: LogTime, request: &Request) -> Applied {
    preview_with(state, time, request, |_, applied| applied.clone())
}

/// As [`preview`], with a look at the state as it would be.
pub fn preview_with<T>(
    state: &mut State,
    time: LogTime,
    request: &Request,
    look: impl FnOnce(&State, &Applied) -> T,
) -> T {
    let changed = state.changed.len();
    state.undo = Some(Vec::new());
    let now = time.max(state.time());
    // What is due by then has happened before the request is decided.
    sweep(state, now, None, &mut Vec::new());
    let mut applied = Applied::default();
    let verdict = carry_out(state, now, request, &mut applied.events);
    applied.outcomes.push(Outcome { revision: state.revision(), replayed: false, verdict });
    let seen = look(state, &applied);
    state.roll_back();
    state.changed.truncate(changed);
    seen
}

/// Decides a request and folds what happened into the state. What is done in several parts is done
/// in all of them or not at all.
fn carry_out(state: &mut State, now: LogTime, request: &Request, events: &mut Vec<Event>) -> Verdict {
    let cause =
        Cause::Request { id: request.id, fingerprint: request.fingerprint, actor: request.actor.clone() };
    let decision = match bulk::parts(state, now, request, &cause) {
        Some(Ok(parts)) => {
            let grants: Vec<Grant> =
                parts.iter().map(|event| event.verdict().expect("a part was carried out")).collect();
            events.extend(parts);
            return Ok(combined(grants));
        }
        Some(Err(decision)) => *decision,
        None => {
            let cx = Context { state, now, actor: &request.actor, places_later: false };
            decide(cx, &request.command)
                .unwrap_or_else(|rejection| decide::rejected(request.command.name(), rejection))
        }
    };
    // From here on nothing can fail.
    happened(state, now, cause, decision, events).verdict()
}

/// Makes a decision the next event, and folds it into the state.
pub(super) fn happened<'a>(
    state: &mut State,
    now: LogTime,
    cause: Cause,
    decision: Decision,
    events: &'a mut Vec<Event>,
) -> &'a Event {
    // Events are large: each is made where it stays.
    events.push(Event {
        revision: state.revision() + 1,
        time: now,
        cause,
        part: None,
        body: decision.body,
        touched: decision.touched,
    });
    let event = events.last().expect("an event was pushed");
    state.fold(event);
    event
}

/// What time does by itself: first to quotas and transfers, then to holds.
fn sweep(state: &mut State, now: LogTime, refused: Option<RefusedClock>, events: &mut Vec<Event>) {
    if let Some(RefusedClock { clock, node }) = refused {
        let decision = Decision { body: Body::TimeRefused { clock, node }, touched: Vec::new() };
        happened(state, now, Cause::Time, decision, events);
    }
    let nobody = std::sync::Arc::from("");
    // All of it: commands of this entry must not be decided under limits that have ended. Each was
    // scheduled by a command of its own.
    while let Some((_, due)) = state.policy_deadlines.first().copied().filter(|(time, _)| *time <= now) {
        let decision = decide::due(Context { state, now, actor: &nobody, places_later: false }, due);
        happened(state, now, Cause::Time, decision, events);
    }
    for _ in 0..SWEEP {
        let Some(hold) = next_due(state, now) else {
            break;
        };
        let decision = decide::expire(Context { state, now, actor: &nobody, places_later: false }, hold);
        happened(state, now, Cause::Time, decision, events);
    }
}

/// The hold that expires next, if its time is up.
fn next_due(state: &State, now: LogTime) -> Option<HoldId> {
    let is_due = |time: LogTime| time <= now && !(planted(Bug::ExpiredHoldLives) && now - time < 500);
    if planted(Bug::OrderOfTheNode) && state.changed.len() % 2 == 1 {
        let deadlines = state.hold_deadlines.iter().map(|(key, ())| key);
        return deadlines.take_while(|(time, _)| is_due(*time)).last().map(|(_, hold)| hold);
    }
    let (_, hold) = state.hold_deadlines.first().map(|(key, ())| key).filter(|(time, _)| is_due(*time))?;
    Some(hold)
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
    use super::super::command::Commit;
    use super::super::command::CreateScope;
    use super::super::command::Line;
    use super::super::command::NewLimit;
    use super::super::command::NewPolicy;
    use super::super::command::Release;
    use super::super::command::Reserve;
    use super::super::command::SetQuota;
    use super::super::hold::CLOSED_HOLDS_KEPT;
    use super::super::name::Name;
    use super::super::name::Path;
    use super::super::outcome::Grant;
    use super::super::outcome::Granted;
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
        let request = Request { id, fingerprint: [0; 16], actor: "".into(), reason: "".into(), command };
        apply(state, NOW, &[request]).outcomes.remove(0)
    }

    #[test]
    fn the_oldest_requests_beyond_the_capacity_are_forgotten_and_refused() {
        let mut state = State::default();
        let extra = 10;
        let mut heard = Heard::of(&state);
        for number in 0..(CAPACITY + extra) as u64 {
            run(&mut state, id(NOW, number), Command::Commit(Commit::all(0)));
            if number % 1000 == 0 {
                heard.listen(&mut state);
            }
        }
        assert_eq!(state.requests.iter().count(), CAPACITY);
        assert_eq!(state.revision(), (CAPACITY + extra) as u64);
        for number in 0..extra as u64 {
            let refused = run(&mut state, id(NOW, number), Command::Commit(Commit::all(0)));
            let expired = Rejection::RequestIdExpired { oldest_accepted_ms: NOW + 1 };
            assert_eq!((refused.replayed, refused.verdict), (false, Err(Box::new(expired))));
        }
        let first_kept = run(&mut state, id(NOW, extra as u64), Command::Commit(Commit::all(0)));
        assert!(first_kept.replayed);
        // Never seen, but below what was forgotten: it cannot be told from a forgotten one.
        let older = run(&mut state, id(NOW - 1, 0), Command::Commit(Commit::all(0)));
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
        let create = CreateScope::new(scope.clone(), Some(kind), Default::default(), None, None);
        next(&mut state, Command::CreateScope(create.expect("a scope")));
        let quota = SetQuota {
            scope: scope.clone(),
            resource: resource.clone(),
            policy: NewPolicy { limit: NewLimit::Unlimited, ..NewPolicy::default() },
            fields: None,
            effective_at: None,
            if_version: None,
        };
        next(&mut state, Command::SetQuota(quota));
        let line = Line { scope, resource, amount: 1.into(), minimum: None, if_sequence: None };
        let reserve = Command::Reserve(Reserve::new(vec![line]).expect("a reservation"));
        let extra = 10;
        let mut holds = Vec::new();
        for _ in 0..CLOSED_HOLDS_KEPT + extra {
            match next(&mut state, reserve.clone()).verdict {
                Ok(Grant { what: Granted::Hold { hold, .. }, .. }) => holds.push(hold),
                other => panic!("no hold was made: {other:?}"),
            }
        }
        // Released from the newest on: what counts is when a hold was closed, not when it was made.
        let mut heard = Heard::of(&state);
        for hold in holds.iter().rev() {
            next(&mut state, Command::Release(Release::all(*hold)));
            if hold % 1000 == 0 {
                heard.listen(&mut state);
            }
        }
        assert_eq!(state.closed.iter().count(), CLOSED_HOLDS_KEPT);
        for (position, hold) in holds.iter().rev().enumerate() {
            assert_eq!(state.closing(*hold).is_some(), position >= extra, "hold {hold}");
        }
        let newest = *holds.last().expect("holds were made");
        let forgotten = next(&mut state, Command::Release(Release::all(newest))).verdict;
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
