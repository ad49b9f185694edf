//! The two ledgers side by side.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use quorate::ledger::Applied;
use quorate::ledger::Body;
use quorate::ledger::Event;
use quorate::ledger::Outcome;
use quorate::ledger::Rejection;
use quorate::ledger::Request;
use quorate::ledger::Stamp;
use quorate::ledger::State;
use quorate::ledger::apply;
use quorate::ledger::apply::RefusedClock;
use quorate::ledger::command::Command;
use quorate::ledger::preview;
use quorate::ledger::rows::Row;
use quorate::ledger::rows::RowKey;
use quorate::ledger::tree::ChildPolicy;

use crate::encoding;
use crate::model::Happened;
use crate::model::Model;
use crate::model::Reply;
use crate::model::happened_of;
use crate::model::seen;
use crate::model::variant;
use crate::model::verdict_of;
use crate::random::wish;
use crate::requests::request;
use crate::requests::request_id;
use crate::rules;
use crate::wish::At;
use crate::wish::Guess;
use crate::wish::LimitWish;
use crate::wish::PATHS;
use crate::wish::PATHS_AT_FIRST;
use crate::wish::PolicyWish;
use crate::wish::RESOURCES;
use crate::wish::ScopeWish;
use crate::wish::Wish;

const WINDOW_MS: i64 = 3_600_000;
const AHEAD_MS: i64 = 60_000;
/// After how many steps the state is loaded from its rows.
const LOAD_EVERY: u64 = 4;

/// Under which request id.
#[derive(Debug, Clone)]
enum Identity {
    /// New, made this long after (or before) the log time.
    New(i64),
    /// The same request once more, counted from the newest.
    Repeat(usize),
    /// The id of an earlier request with this wish instead.
    Reuse(usize),
}

#[derive(Debug, Clone)]
pub struct Ask {
    identity: Identity,
    wish: Wish,
    actor: &'static str,
}

/// One log entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// To the time of the leader, which may be behind.
    step_ms: i64,
    /// Whether a clock was refused.
    refused: bool,
    /// Whether the request is previewed, if there is one.
    preview: bool,
    asks: Vec<Ask>,
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let edges = [-WINDOW_MS - 1, -WINDOW_MS, -WINDOW_MS / 2, -1, 1, AHEAD_MS, AHEAD_MS + 1];
    let identity = prop_oneof![
        40 => Just(Identity::New(0)),
        2 => select(edges.to_vec()).prop_map(Identity::New),
        2 => (0..30usize).prop_map(Identity::Repeat),
        1 => (0..30usize).prop_map(Identity::Reuse),
    ];
    let ask = (identity, wish(), select(&["", "alice", "bob"][..]))
        .prop_map(|(identity, wish, actor)| Ask { identity, wish, actor })
        .boxed();
    let asks = prop_oneof![
        10 => prop::collection::vec(ask.clone(), 1),
        1 => prop::collection::vec(ask, 0..4),
    ];
    let step_ms = prop_oneof![
        20 => Just(0),
        20 => 1..400i64,
        4 => 400..5000i64,
        1 => select(vec![WINDOW_MS / 20, WINDOW_MS / 2, WINDOW_MS, WINDOW_MS + 1, 30 * WINDOW_MS]),
        1 => -5000..0i64,
    ];
    let refused = prop::bool::weighted(0.02);
    (step_ms, refused, any::<bool>(), asks).prop_map(|(step_ms, refused, preview, asks)| Entry {
        step_ms,
        refused,
        preview,
        asks,
    })
}

/// The two ledgers side by side, with what follows the first one by its events and its rows.
pub struct Pair {
    model: Model,
    ledger: State,
    folded: State,
    rows: BTreeMap<RowKey, Row>,
    /// The time of the leader; the log time is never below its last one.
    leader_ms: u64,
    sent: Vec<Request>,
    pub steps: u64,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
}

impl Pair {
    /// Scopes are there from the beginning; `furnished`, everything that may be registered and some
    /// quotas, too.
    pub fn new(begin_ms: u64, furnished: Option<ChildPolicy>) -> Self {
        let ledger = State::default();
        let mut model = Model::default();
        model.world.furnish(&ledger);
        let rows = ledger.rows().map(|row| (row.key(), row)).collect();
        let mut pair = Self {
            model,
            folded: ledger.clone(),
            ledger,
            rows,
            leader_ms: begin_ms,
            sent: Vec::new(),
            steps: 0,
            counts: BTreeMap::new(),
        };
        let scope = |path: &'static str| ScopeWish {
            path,
            kind: None,
            labels: None,
            schema: (path == "z").then_some("organization/team/user"),
            child_policy: furnished.filter(|_| path == "a"),
            template: None,
            quotas: Vec::new(),
        };
        let mut wishes: Vec<Wish> =
            PATHS[..PATHS_AT_FIRST].iter().map(|path| Wish::Create(scope(path))).collect();
        if furnished.is_some() {
            wishes.extend([Wish::Register("tokens", false), Wish::Register("dust", false)]);
            let set = |path, resource, limit| {
                let policy = PolicyWish { allow_transfer: true, ..PolicyWish::plain(limit) };
                Wish::Set {
                    target: (At::Named(path), resource),
                    policy,
                    mask: None,
                    at: None,
                    guess: Guess::None,
                }
            };
            wishes.extend(RESOURCES[..4].iter().map(|name| set("a", *name, LimitWish::Amount("20"))));
            wishes.push(set("a", "dust", LimitWish::Unlimited));
            wishes.push(set("z", "memory_gb", LimitWish::Amount("10")));
            wishes.extend(["a/b", "a/e"].map(|path| set(path, "memory_gb", LimitWish::Amount("8"))));
            let policy = PolicyWish::plain(LimitWish::Amount("5"));
            wishes.extend(["small", "large"].map(|name| {
                let quotas = vec![("memory_gb", policy.clone()), ("gpu_hours", policy.clone())];
                Wish::PutTemplate { name, long: false, quotas, guess: Guess::None }
            }));
        }
        for wish in wishes {
            let ask = Ask { identity: Identity::New(0), wish, actor: "" };
            let entry = Entry { step_ms: 0, refused: false, preview: false, asks: vec![ask] };
            pair.run(&entry).expect("nothing is in the way");
        }
        pair
    }

    pub fn run(&mut self, entry: &Entry) -> Result<(), TestCaseError> {
        self.leader_ms = self.leader_ms.saturating_add_signed(entry.step_ms);
        let refused = entry.refused.then_some(RefusedClock { clock: 7, node: 1 });
        let stamp = Stamp { time: self.leader_ms, refused };
        self.model.begin(stamp.time, entry.refused);
        let by_time = self.model.world.log.len();
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        let mut previewed = None;
        for ask in &entry.asks {
            let Some(request) = self.request(ask) else { continue };
            if entry.preview && entry.asks.len() == 1 {
                previewed = Some(self.preview(stamp.time, &request)?);
            }
            expected.push(self.model.step(&request));
            requests.push(request);
        }
        let mut applied = self.apply(stamp, &requests, &expected)?;
        applied.events.drain(..by_time);
        // Without an event it was no new request, and a refused clock is an event of its own.
        if let Some(previewed) = previewed.filter(|_| !applied.events.is_empty() && !entry.refused) {
            self.count("previewed");
            prop_assert_eq!(previewed, applied, "a preview is not what then happened");
        }
        Ok(())
    }

    /// The ledger does what the model has done.
    fn apply(
        &mut self,
        stamp: Stamp,
        requests: &[Request],
        expected: &[Reply],
    ) -> Result<Applied, TestCaseError> {
        encoding::check_requests(stamp, requests)?;
        self.sent.extend_from_slice(requests);
        self.steps += requests.len() as u64;
        let applied = apply(&mut self.ledger, stamp, requests);
        encoding::check_block(requests, &applied.events)?;
        for outcome in &applied.outcomes {
            encoding::check_verdict(&outcome.verdict)?;
        }
        let replies: Vec<Reply> = applied.outcomes.iter().map(reply).collect();
        prop_assert_eq!(&replies, expected, "answers to {:#?}", requests);
        let mut happened = Vec::new();
        for event in &applied.events {
            prop_assert_eq!(event.revision, self.folded.revision() + 1);
            encoding::check_event(&self.folded, event)?;
            rules::check_changes(&self.folded, event)?;
            rules::check_nobody_went_further_over(&self.folded, event)?;
            rules::check_what_went_back(&self.folded, event)?;
            rules::check_split(&self.folded, event)?;
            self.folded.evolve(event);
            happened.push(happened_of(event));
        }
        let of_model =
            |happened: &Happened| (happened.kind.to_string(), Happened { kind: "", ..happened.clone() });
        let log: Vec<_> = self.model.world.log.iter().map(of_model).collect();
        prop_assert_eq!(happened, log, "events of {:#?}", requests);
        for (request, outcome) in requests.iter().zip(&applied.outcomes) {
            self.count_answer(request, outcome);
        }
        for event in &applied.events {
            rules::tell(event, |kind| *self.counts.entry(kind.into()).or_default() += 1);
        }
        let rows: Vec<Row> = self.ledger.rows().collect();
        self.check_agreement(&rows)?;
        let is_refused = |event: &Event| matches!(event.body, Body::Rejected { .. });
        self.check_rows(&rows, applied.events.iter().all(is_refused))?;
        rules::check_use(&self.ledger)?;
        rules::check_limits_are_within(&self.ledger)?;
        Ok(applied)
    }

    fn preview(&mut self, time_ms: u64, request: &Request) -> Result<Applied, TestCaseError> {
        let previewed = preview(&mut self.ledger, time_ms, request);
        prop_assert_eq!(self.ledger.take_changed(), vec![], "a preview says that it changed rows");
        prop_assert!(
            self.rows.values().cloned().eq(self.ledger.rows()),
            "a preview changed rows: {:#?}",
            request
        );
        prop_assert_eq!(self.ledger.next_deadline(), self.folded.next_deadline());
        Ok(previewed)
    }

    fn request(&self, ask: &Ask) -> Option<Request> {
        let earlier =
            |back: usize| self.sent.len().checked_sub(back + 1).map(|position| &self.sent[position]);
        let command = |wish| self.model.world.command(wish);
        match ask.identity {
            Identity::Repeat(back) => earlier(back).cloned(),
            Identity::Reuse(back) => {
                let id = earlier(back)?.id;
                Some(request(id, ask.actor, command(&ask.wish)?))
            }
            Identity::New(offset) => {
                let made = self.model.world.now.saturating_add_signed(offset);
                let id = request_id(made, self.model.world.revision << 8 | self.steps & 0xff);
                Some(request(id, ask.actor, command(&ask.wish)?))
            }
        }
    }

    fn count(&mut self, kind: &str) {
        *self.counts.entry(kind.into()).or_default() += 1;
    }

    fn count_answer(&mut self, request: &Request, outcome: &Outcome) {
        if outcome.replayed {
            return self.count("Replayed");
        }
        match &outcome.verdict {
            Ok(grant) => {
                if grant.details().granted.is_some() {
                    self.count("granted in part");
                }
                match &request.command {
                    Command::Batch(_) | Command::ApplyPlan(_) | Command::ApplyTemplate(_) => {
                        self.count(&format!("of {}", request.command.name()));
                    }
                    Command::Reserve(reserve) => self.count(&format!("mode {:?}", reserve.mode)),
                    _ => {}
                }
            }
            Err(rejection) => {
                self.count(&variant(rejection));
                if let (Command::MoveScope(command), Rejection::SchemaConflict { path, .. }) =
                    (&request.command, &**rejection)
                {
                    let below = path.segments().count() - command.from.segments().count();
                    self.count(if command.has_room_for(below) {
                        "moved to another level"
                    } else {
                        "moved too deep"
                    });
                }
                let mut rejection = &**rejection;
                if let Rejection::PartFailed { rejection: inner, .. } = rejection {
                    rejection = inner;
                    self.count(&variant(rejection));
                }
                let Rejection::Denied(blocking) = rejection else { return };
                for blocking in blocking {
                    self.count(&format!("denied {:?}", blocking.rule));
                    self.count(match (blocking.waiting_can_help, blocking.fits_at) {
                        (false, _) => "denied for ever",
                        (true, None) => "denied for now",
                        (true, Some(_)) => "denied until it fits",
                    });
                }
            }
        }
    }

    /// Everything that is kept is what the model says.
    fn check_agreement(&self, rows: &[Row]) -> Result<(), TestCaseError> {
        let (found, counters) = seen(&self.ledger, rows);
        let expected = self.model.world.visible();
        prop_assert_eq!(counters, self.model.world.counters());
        prop_assert_eq!(self.ledger.next_deadline(), self.model.world.next_deadline());
        // One after the other, to say what is different.
        prop_assert_eq!(&found.scopes, &expected.scopes);
        prop_assert_eq!(&found.accounts, &expected.accounts);
        prop_assert_eq!(&found.quotas, &expected.quotas);
        prop_assert_eq!(&found.holds, &expected.holds);
        prop_assert_eq!(&found.closed, &expected.closed);
        prop_assert_eq!(&found.transfers, &expected.transfers);
        prop_assert_eq!(&found.templates, &expected.templates);
        prop_assert_eq!(found, expected);
        Ok(())
    }

    fn check_rows(&mut self, rows: &[Row], refused: bool) -> Result<(), TestCaseError> {
        let keys: Vec<RowKey> = rows.iter().map(Row::key).collect();
        prop_assert!(keys.is_sorted_by(|a, b| a < b), "rows are out of order: {:?}", keys);
        check_same(&self.folded, &self.ledger, rows, "the events alone make another state")?;
        // It takes long, and what was left out of a row stays away.
        if self.steps.is_multiple_of(LOAD_EVERY) {
            let loaded = State::from_rows(rows.iter().cloned());
            let loaded = loaded.map_err(|error| TestCaseError::fail(error.to_string()))?;
            check_same(&loaded, &self.ledger, rows, "the rows alone make another state")?;
        }
        let changed = self.ledger.take_changed();
        prop_assert!(changed.is_sorted_by(|a, b| a < b), "changes are out of order: {:?}", changed);
        for changed in changed {
            let row = self.ledger.row(changed);
            let may_change = !refused || matches!(changed, RowKey::Ledger | RowKey::Request(_));
            prop_assert!(
                may_change || row.as_ref() == self.rows.get(&changed),
                "a rejection changed {:?}",
                row
            );
            match row {
                Some(row) => {
                    prop_assert_eq!(row.key(), changed);
                    encoding::check_row(&self.ledger, &row)?;
                    self.rows.insert(changed, row)
                }
                None => self.rows.remove(&changed),
            };
        }
        prop_assert!(self.rows.values().eq(rows), "a change was not told");
        prop_assert_eq!(self.ledger.changed_count(), 0);
        Ok(())
    }
}

fn check_same(other: &State, state: &State, rows: &[Row], problem: &str) -> Result<(), TestCaseError> {
    if !other.rows().eq(rows.iter().cloned()) {
        prop_assert_eq!(other.rows().collect::<Vec<_>>(), rows, "{}", problem);
    }
    prop_assert_eq!(other.next_deadline(), state.next_deadline(), "{}", problem);
    Ok(())
}

fn reply(outcome: &Outcome) -> Reply {
    let (revision, replayed) = (outcome.revision, outcome.replayed);
    Reply { revision, replayed, verdict: verdict_of(&outcome.verdict) }
}
