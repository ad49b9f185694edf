//! The rules alone: what `ledger::apply` takes for reservations, in this process.
//!
//! The requests of an entry are made just before it and outside the measure, as decoding makes them on
//! a node; what is made of them is dropped within it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::BenchError;
use super::Figure;
use super::Observer;
use super::Outcomes;
use super::Plan;
use super::Report;
use super::Usage;
use super::draw::Draw;
use super::draw::Random;
use super::meter::Meter;
use super::meter::Outcome;
use super::tree::Tree;
use crate::client::new_request_id;
use crate::client::numbered_request_id;
use crate::client::request_time_ms;
use crate::ledger::Command;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::Rejection;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::State;
use crate::ledger::apply;
use crate::ledger::command::CreateScope;
use crate::ledger::command::Line;
use crate::ledger::command::Mode;
use crate::ledger::command::NewLimit;
use crate::ledger::command::NewPolicy;
use crate::ledger::command::Reserve;
use crate::ledger::command::SetQuota;

/// One of those that every ledger counts.
const RESOURCE: &str = "concurrent_gpus";

const LIMIT: u64 = 1_000_000_000_000;

/// After so many entries what has changed is forgotten, as a checkpoint does.
const CHECKPOINT: u64 = 100;

struct Rules<'a> {
    state: State,
    tree: &'a Tree,
    actor: Arc<str>,
    resource: Name,
    /// Where the leaves are, parsed once as a node would have to for each command.
    leaves: Vec<Path>,
    base: uuid::Uuid,
    made: u64,
}

pub(super) async fn run(plan: &Plan, size: usize, observer: &dyn Observer) -> Result<Report, BenchError> {
    let tree = Tree::new(plan.shape, 0, plan.ttl);
    let mut rules = Rules::new(&tree)?;
    rules.plant(observer).await?;
    let draw = Draw::new(plan.skew, tree.leaves());
    let mut random = Random::new(plan.seed, 0);
    observer.begins("measuring", milliseconds(plan.warm_up + plan.duration));
    let start = Instant::now();
    let begin = start + plan.warm_up;
    let meter =
        Meter::new(begin, begin + plan.duration, (plan.duration / 100).max(Duration::from_millis(100)));
    let before = Usage::of(std::process::id()).unwrap_or_default();
    let mut deciding = Duration::ZERO;
    let mut entries = 0;
    loop {
        let now = Instant::now();
        let counts = now >= begin;
        if now >= begin + plan.duration || plan.count.is_some_and(|count| counts && entries >= count) {
            break;
        }
        let requests: Vec<Request> = (0..size)
            .map(|_| rules.reservation(draw.pick(&mut random), plan.ttl))
            .collect::<Result<_, _>>()?;
        let due = Instant::now();
        let outcomes = rules.decide(&requests);
        if counts {
            deciding += due.elapsed();
            entries += 1;
        }
        meter.note(due, outcomes);
        if entries % CHECKPOINT == 0 {
            rules.state.take_changed();
            observer.at(milliseconds(start.elapsed()), "");
            // A signal is heard in between.
            tokio::task::yield_now().await;
        }
    }
    let mut measured = meter.finish(plan.count.is_some());
    // Making requests is no part of it.
    measured.length = deciding;
    let per_command = deciding.as_secs_f64() * 1e9 / (entries * size as u64).max(1) as f64;
    let scopes = format!("{} levels, {} leaves", plan.shape.depth, tree.leaves());
    Ok(Report {
        facts: vec![("work", plan.work.words()), ("tree", scopes)],
        measured: measured.length,
        throughput_of: Some("decisions"),
        outcomes: measured.outcomes,
        calls: measured.calls,
        latency_of: "of an entry",
        latency: measured.latency,
        figures: vec![Figure { name: "per decision", value: per_command, unit: "ns" }],
        // Those of the clock, in which requests are made too.
        intervals: Vec::new(),
        nodes: Vec::new(),
        generator: Usage::of(std::process::id()).unwrap_or_default().since(before),
        problem: None,
        notes: vec!["no log, no disk, no network: the rules alone, on one core".to_owned()],
    })
}

/// The rules say that something that is made here is malformed.
fn impossible(problem: impl Display) -> BenchError {
    BenchError::Plan(format!("make a command: {problem}"))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> Rules<'a> {
    fn new(tree: &'a Tree) -> Result<Self, BenchError> {
        let leaves = (0..tree.leaves()).map(|leaf| Path::parse(&tree.leaf(leaf)).map_err(impossible));
        Ok(Self {
            state: State::default(),
            tree,
            actor: Arc::from("bench"),
            resource: Name::parse(RESOURCE).map_err(impossible)?,
            leaves: leaves.collect::<Result<_, _>>()?,
            base: new_request_id(),
            made: 0,
        })
    }

    async fn plant(&mut self, observer: &dyn Observer) -> Result<(), BenchError> {
        let tree = self.tree;
        observer.begins("making the tree", tree.scopes() as u64);
        for (number, path) in (1..).zip(tree.paths()) {
            let scope = Path::parse(&path).map_err(impossible)?;
            let create =
                CreateScope::new(scope.clone(), None, Default::default(), None, None).map_err(impossible)?;
            let quota = SetQuota {
                scope,
                resource: self.resource.clone(),
                policy: NewPolicy { limit: NewLimit::Amount(LIMIT.into()), ..NewPolicy::default() },
                fields: None,
                effective_at: None,
                if_version: None,
            };
            for command in [Command::CreateScope(create), Command::SetQuota(quota)] {
                let request = self.request(command)?;
                if self.decide(&[request]).done == 0 {
                    let problem = "the rules refuse it".to_owned();
                    return Err(BenchError::Tree { path, problem });
                }
            }
            if number % 1_000 == 0 {
                observer.at(number, "");
                tokio::task::yield_now().await;
            }
        }
        self.state.take_changed();
        Ok(())
    }

    fn decide(&mut self, requests: &[Request]) -> Outcomes {
        let now_ms = request_time_ms(self.base);
        let applied = apply(&mut self.state, now_ms, requests);
        let mut outcomes = Outcomes::default();
        for outcome in &applied.outcomes {
            outcomes.count(match outcome.verdict.as_ref().map_err(|rejection| &**rejection) {
                Ok(_) => Outcome::Done,
                Err(Rejection::Denied(_)) => Outcome::Denied,
                Err(_) => Outcome::Refused,
            });
        }
        outcomes
    }

    fn request(&mut self, command: Command) -> Result<Request, BenchError> {
        if self.made.is_multiple_of(1_024) {
            self.base = new_request_id();
        }
        self.made += 1;
        let id = numbered_request_id(self.base, self.made % 1_024).into_bytes();
        let id = RequestId::from_bytes(id).map_err(impossible)?;
        let actor = Arc::clone(&self.actor);
        Ok(Request { id, fingerprint: [0; 16], actor, reason: "".into(), command })
    }

    fn reservation(&mut self, leaf: usize, ttl: Option<Duration>) -> Result<Request, BenchError> {
        let line = Line {
            scope: self.leaves[leaf].clone(),
            resource: self.resource.clone(),
            amount: 1.into(),
            minimum: None,
            if_sequence: None,
        };
        let reserve = Reserve::with(vec![line], Mode::Strict, false, ttl.map(milliseconds), None);
        let reserve = reserve.map_err(impossible)?;
        self.request(Command::Reserve(reserve))
    }
}
