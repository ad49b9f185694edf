//! Projections against what follows from the events directly, whatever was restarted, replaced or made
//! anew in between.

#![allow(clippy::cast_possible_truncation)] // Of small numbers.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rand::Rng as _;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rust_decimal::Decimal;

use super::*;
use crate::codec::block;
use crate::codec::command;
use crate::codec::command::Message;
use crate::codec::event;
use crate::codec::event::Position;
use crate::codec::keys;
use crate::codec::merkle;
use crate::codec::merkle::Edge;
use crate::ledger;
use crate::ledger::Command;
use crate::ledger::HoldId;
use crate::ledger::Path;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::State;
use crate::projection::history::Subject;
use crate::projection::holders::Holder;
use crate::projection::proofs::Tree;
use crate::projection::runner::Next;
use crate::projection::runner::Runner;
use crate::projection::usage::Period;
use crate::proto::v1;
use crate::proto::v1::event::Body;
use crate::store::Space;
use crate::store::Store as _;
use crate::store::simulated::Disk;
use crate::store::simulated::SimulatedStore;

const NOW: u64 = 1_767_225_600_000;

/// A ledger whose events are stored as a node stores them.
struct Source {
    store: Arc<dyn StateStore>,
    generation: AtomicU64,
    state: Mutex<State>,
    events: Mutex<Vec<v1::Event>>,
    index: AtomicU64,
    now: AtomicU64,
    /// How often a write is refused because something else is being written.
    busy: AtomicU64,
}

impl Source {
    fn new() -> Arc<Self> {
        let opened = SimulatedStore::new(Disk::new(1)).open().expect("it opens");
        Arc::new(Self {
            store: opened.state,
            generation: AtomicU64::new(0),
            state: Mutex::default(),
            events: Mutex::default(),
            index: AtomicU64::new(0),
            now: AtomicU64::new(NOW),
            busy: AtomicU64::new(0),
        })
    }

    fn entry(&self, commands: Vec<(&str, Message)>) {
        let index = self.index.fetch_add(1, Ordering::SeqCst) + 1;
        let time = self.now.load(Ordering::SeqCst);
        let request = |(number, (actor, message)): (usize, (&str, Message))| {
            let command: Command = command::decode(message).expect("a command");
            Request {
                id: RequestId::made_at(time, (u128::from(index) << 16) + number as u128),
                fingerprint: crate::codec::batch::fingerprint(&command),
                actor: actor.into(),
                reason: "".into(),
                command,
            }
        };
        let requests: Vec<_> = commands.into_iter().enumerate().map(request).collect();
        let commands = crate::codec::batch::commands(&requests);
        let applied = ledger::apply(&mut self.state.lock().unwrap(), time, &requests);
        let Some(first) = applied.events.first() else { return };
        let position = Position { term: 1, index };
        let block = event::write_entry(&applied.events, &requests, &commands, position);
        self.events.lock().unwrap().extend(block::decode(&block).expect("what was written"));
        let mut batch = Batch::default();
        batch.put(Space::Events, keys::block(first.revision), block);
        self.store.write(batch).expect("written");
    }

    fn events(&self) -> Vec<v1::Event> {
        self.events.lock().unwrap().clone()
    }

    /// Removes events that were let go of, as a node does.
    fn remove_events(&self) {
        let horizon = self.state.lock().unwrap().compacted_at();
        let kept = self.events().into_iter().find(|event| event.revision > horizon).expect("one is kept");
        let first = self.events().iter().find(|event| event.raft_index == kept.raft_index).unwrap().revision;
        let mut batch = Batch::default();
        batch.delete_range(Space::Events, keys::block(0), keys::block(first));
        self.store.write(batch).expect("written");
    }
}

impl Journal for Source {
    fn fresh(&self, from: Revision, _: usize) -> Vec<Bytes> {
        // Sometimes what was made last need not be read.
        if !self.index.load(Ordering::SeqCst).is_multiple_of(3) {
            return Vec::new();
        }
        let events = self.events();
        let entries = events.chunk_by(|one, next| one.raft_index == next.raft_index);
        let rest: Vec<_> = entries.skip_while(|entry| entry[0].revision != from).collect();
        // Only the newest are kept.
        let kept = if rest.len() > 100 { &[] } else { &rest[..] };
        kept.iter().map(|entry| block::encode(entry).into()).collect()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn head(&self) -> Revision {
        self.state.lock().unwrap().revision()
    }

    fn let_go(&self) -> Revision {
        self.state.lock().unwrap().compacted_at()
    }

    fn horizon(&self) -> Result<Revision, StoreError> {
        let mut first = None;
        self.store.scan(Space::Events, &keys::block(0), &keys::block(Revision::MAX), &mut |key, _| {
            first = keys::number(key);
            false
        })?;
        Ok(first.map_or(0, |first| first - 1))
    }

    fn blocks(&self, from: Revision, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        let before = self.store.last(Space::Events, &keys::block(0), &keys::block(from + 1))?;
        let start = before.map_or_else(|| keys::block(0).to_vec(), |(key, _)| key.to_vec());
        self.store.scan(Space::Events, &start, &keys::block(Revision::MAX), &mut |_, value| visit(value))
    }

    fn write(&self, generation: u64, batch: Batch) -> Result<Written, StoreError> {
        if self.busy.load(Ordering::SeqCst) > 0 {
            self.busy.fetch_sub(1, Ordering::SeqCst);
            return Ok(Written::Busy(batch));
        }
        if generation != self.generation() {
            return Ok(Written::Gone);
        }
        self.store.write(batch)?;
        Ok(Written::Done)
    }

    fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }
}

fn runner(source: &Arc<Source>) -> Runner {
    Runner::open(Arc::clone(source) as Arc<dyn Journal>, all()).expect("it opens")
}

/// Goes on until everything is written.
fn run(runner: &mut Runner) {
    while runner.step(Revision::MAX, true).expect("it folds") != Next::Idle {}
}

/// A random story.
struct Story {
    random: SmallRng,
    holds: Vec<HoldId>,
}

const SCOPES: [&str; 7] = ["acme", "acme/a", "acme/a/x", "acme/a/y", "acme/ab", "acme/ab/z", "beta"];
const ACTORS: [&str; 3] = ["", "alice", "bob"];
const CONSUMERS: [&str; 3] = ["", "team", "tea"];

impl Story {
    fn begin(source: &Source, seed: u64) -> Self {
        let path = |path: &str| v1::CreateScopeRequest { path: path.into(), ..Default::default() };
        source.entry(SCOPES.iter().map(|scope| ("", Message::CreateScope(path(scope)))).collect());
        for (scope, amount) in [("acme", "40"), ("acme/a", "25"), ("acme/ab", "25"), ("beta", "9")] {
            let limit = v1::Limit { limit: Some(v1::limit::Limit::Amount(amount.into())) };
            let set = |resource: &str| v1::SetQuotaRequest {
                scope: scope.into(),
                resource: resource.into(),
                policy: Some(v1::Policy { limit: Some(limit.clone()), ..Default::default() }),
                ..Default::default()
            };
            source.entry(vec![("root", Message::SetQuota(set("memory_gb")))]);
            let mut budget = set("gpu_hours");
            let limit = v1::Limit { limit: Some(v1::limit::Limit::Amount(format!("{amount}00"))) };
            budget.policy.as_mut().expect("a policy").limit = Some(limit);
            source.entry(vec![("root", Message::SetQuota(budget))]);
        }
        Self { random: SmallRng::seed_from_u64(seed), holds: Vec::new() }
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.random_range(0..from.len())]
    }

    /// One log entry.
    fn go_on(&mut self, source: &Source) {
        let pause: u64 = match self.random.random_range(0..10) {
            0 => self.random.random_range(0..100 * 3_600_000),
            1..=3 => self.random.random_range(0..7_200_000),
            4..=7 => self.random.random_range(0..90_000),
            _ => 0,
        };
        source.now.fetch_add(pause, Ordering::SeqCst);
        let before = source.events().len();
        let commands: Vec<_> = (0..self.random.random_range(1..4)).map(|_| self.command(source)).collect();
        source.entry(commands);
        let made = source.events()[before..].to_vec();
        self.holds.extend(
            made.iter()
                .filter(|event| matches!(event.body, Some(Body::Reserved(_))))
                .map(|event| event.revision),
        );
    }

    fn command(&mut self, source: &Source) -> (&'static str, Message) {
        let actor = self.pick(&ACTORS);
        let hold_id = match self.holds.len() {
            0 => 1,
            count => self.holds[count - 1 - self.random.random_range(0..count.min(6))],
        };
        let message = match self.random.random_range(0..12) {
            0..=4 => {
                let (scope, resource) =
                    (self.pick(&SCOPES[1..]), if self.random.random() { "memory_gb" } else { "gpu_hours" });
                let line = v1::Line {
                    scope: scope.into(),
                    resource: resource.into(),
                    amount: self.random.random_range(1..9).to_string(),
                    ..Default::default()
                };
                let other = match self.random.random_range(0..3) {
                    0 => v1::Line { resource: "memory_gb".into(), ..line.clone() },
                    1 => {
                        v1::Line { scope: scope.split('/').next().unwrap_or_default().into(), ..line.clone() }
                    }
                    _ if scope.starts_with("acme") => v1::Line { scope: "acme/ab".into(), ..line.clone() },
                    _ => line.clone(),
                };
                Message::Reserve(v1::ReserveRequest {
                    lines: if self.random.random() { vec![line] } else { vec![line, other] },
                    ttl_ms: self.random.random::<bool>().then_some(600_000),
                    job: self.pick(&["", "train", "trainer"]).into(),
                    consumer: self.pick(&CONSUMERS).into(),
                    ..Default::default()
                })
            }
            5..=6 => {
                let lines = self.amounts(source, hold_id);
                let r#final = Some(lines.is_empty() || self.random.random());
                Message::Commit(v1::CommitRequest { hold_id, r#final, lines, ..Default::default() })
            }
            7..=8 => Message::Release(v1::ReleaseRequest {
                hold_id,
                lines: self.amounts(source, hold_id),
                ..Default::default()
            }),
            9 => Message::Renew(v1::RenewRequest { hold_id, ttl_ms: 900_000, ..Default::default() }),
            10 => {
                let mut lines = self.amounts(source, hold_id);
                if lines.is_empty() {
                    lines = vec![v1::HoldAmount {
                        scope: "beta".into(),
                        resource: "memory_gb".into(),
                        amount: "1".into(),
                    }];
                }
                Message::Resize(v1::ResizeRequest { hold_id, lines, ..Default::default() })
            }
            _ => {
                let (from, to) = [("acme/a", "acme/ab/a"), ("acme/ab/a", "acme/a"), ("acme/a/x", "acme/x")]
                    [self.random.random_range(0..3)];
                Message::MoveScope(v1::MoveScopeRequest {
                    path: from.into(),
                    to: to.into(),
                    force: self.random.random(),
                    ..Default::default()
                })
            }
        };
        (actor, message)
    }

    /// A part of a hold, or nothing for all of it.
    fn amounts(&mut self, source: &Source, hold: HoldId) -> Vec<v1::HoldAmount> {
        let state = source.state.lock().unwrap();
        let Some(hold) = state.hold(hold).filter(|_| self.random.random()) else {
            return Vec::new();
        };
        let line = hold.lines[self.random.random_range(0..hold.lines.len())];
        vec![v1::HoldAmount {
            scope: state.scope(line.scope).path.to_string(),
            resource: state.resource(line.resource).name.to_string(),
            amount: "1".into(),
        }]
    }
}

/// Everything that projections say, against the events and the state.
fn check(source: &Source) {
    check_proofs(source);
    check_history(source);
    check_usage(source);
    check_holders(source);
    check_denials(source);
}

fn check_proofs(source: &Source) {
    let mut edge = Edge::default();
    let tree = Tree::open(&*source.store).expect("a tree");
    for event in source.events() {
        edge.push(merkle::leaf(&prost::Message::encode_to_vec(&event)));
        if edge.size() % 37 == 0 || edge.size() == source.head() {
            assert_eq!(tree.root(edge.size()).expect("a root"), edge.root(), "size {}", edge.size());
            assert_eq!(tree.edge(edge.size()).expect("an edge"), edge);
        }
    }
    assert_eq!(tree.size(), source.head());
}

fn check_history(source: &Source) {
    let events = source.events();
    let mut quotas: BTreeMap<(u32, u32), Vec<Revision>> = BTreeMap::new();
    let mut holds: BTreeMap<HoldId, Vec<Revision>> = BTreeMap::new();
    let mut jobs: BTreeMap<String, Vec<Revision>> = BTreeMap::new();
    let mut job_of: BTreeMap<HoldId, String> = BTreeMap::new();
    for event in &events {
        for touched in &event.touched {
            quotas.entry((touched.scope_id, touched.resource_id)).or_default().push(event.revision);
        }
        let hold = match event.body.as_ref().expect("a body") {
            Body::Reserved(body) => {
                job_of.insert(event.revision, body.job.clone());
                event.revision
            }
            Body::Committed(body) => body.hold_id,
            Body::Released(body) => body.hold_id,
            Body::Expired(body) => body.hold_id,
            Body::Renewed(body) => body.hold_id,
            Body::Resized(body) => body.hold_id,
            _ => continue,
        };
        holds.entry(hold).or_default().push(event.revision);
        if let Some(job) = job_of.get(&hold).filter(|job| !job.is_empty()) {
            jobs.entry(job.clone()).or_default().push(event.revision);
        }
    }
    let quotas = quotas.into_iter().map(|((scope, resource), revisions)| {
        (Subject::Quota(ledger::ScopeId(scope), ledger::ResourceId(resource)), revisions)
    });
    let holds = holds.into_iter().map(|(hold, revisions)| (Subject::Hold(hold), revisions));
    let jobs = jobs.into_iter().map(|(job, revisions)| (Subject::Job(job), revisions));
    for (subject, expected) in quotas.chain(holds).chain(jobs) {
        for newest_first in [false, true] {
            let mut expected = expected.clone();
            if newest_first {
                expected.reverse();
            }
            // In pages of every size that matters, and all at once.
            for size in [1, 3, 1_000] {
                let (mut found, mut from) = (Vec::<Revision>::new(), None);
                loop {
                    let page = history::revisions(&*source.store, &subject, newest_first, from, size);
                    let page = page.expect("a page");
                    found.extend(&page);
                    from = page.last().copied();
                    if page.len() < size {
                        break;
                    }
                }
                assert_eq!(found, expected, "{subject:?} by {size}, newest first: {newest_first}");
            }
        }
    }
}

fn check_usage(source: &Source) {
    let now = source.state.lock().unwrap().time();
    let mut changes: BTreeMap<(u32, u32), Vec<(u64, Decimal)>> = BTreeMap::new();
    let number = |text: &str| text.parse::<Decimal>().expect("a number");
    for event in source.events() {
        for touched in &event.touched {
            let taken = number(&touched.used) + number(&touched.held);
            changes
                .entry((touched.scope_id, touched.resource_id))
                .or_default()
                .push((event.log_time_ms, taken));
        }
    }
    for (&(scope, resource), changes) in &changes {
        for (period, kept) in [(Period::Minute, 40 * 60), (Period::Hour, 80 * 24), (Period::Day, 400)] {
            let length = period.length();
            let end = (now / length + 1) * length;
            for (from, to) in [
                (end - 60.min(kept) * length, end),
                (end.saturating_sub(kept * length), end.saturating_sub((kept - 50) * length)),
            ] {
                let account = (ledger::ScopeId(scope), ledger::ResourceId(resource));
                let series = usage::series(&*source.store, account, period, (from, to), now);
                let series = series.expect("a series");
                let expected: Vec<_> = (from / length..to / length)
                    .map(|number| bucket(changes, number * length, length, now))
                    .collect();
                assert_eq!(series, expected, "{account:?} {period:?} from {from} to {to}");
            }
        }
    }
}

/// One period, from all changes.
fn bucket(changes: &[(u64, Decimal)], start: u64, length: u64, now: u64) -> usage::Bucket {
    let passed = length.min(now - start + 1);
    let (mut taken, mut area, mut at) = (Decimal::ZERO, Decimal::ZERO, start);
    for (_, amount) in changes.iter().take_while(|(time, _)| *time < start) {
        taken = *amount;
    }
    let mut peak = taken;
    for (time, amount) in changes.iter().filter(|(time, _)| (start..start + length).contains(time)) {
        area += taken * Decimal::from(time - at);
        (taken, at) = (*amount, *time);
        peak = peak.max(taken);
    }
    area += taken * Decimal::from(start + passed - at);
    usage::Bucket { start, last: taken, peak, average: area / Decimal::from(passed) }
}

/// All holders, page by page.
fn all_holders(
    source: &Source,
    scope: &Path,
    resource: ledger::ResourceId,
) -> Vec<(Holder, holders::Amounts)> {
    let mut all: Vec<(Holder, holders::Amounts)> = Vec::new();
    loop {
        let after = all.last().map(|(holder, amounts)| (amounts.taken(), holder.clone()));
        let (page, has_more) =
            holders::largest(&*source.store, scope, resource, after.as_ref(), 3).expect("holders");
        assert!(page.len() == 3 || !has_more);
        all.extend(page);
        if !has_more {
            let names: BTreeSet<_> = all.iter().map(|(holder, _)| holder).collect();
            assert_eq!(names.len(), all.len(), "nobody is on two pages");
            return all;
        }
    }
}

/// Who takes what, from the live holds; and what was consumed of budgets stays with whoever did.
fn check_holders(source: &Source) {
    let state = source.state.lock().unwrap();
    for scope in SCOPES.iter().filter_map(|path| state.scope_at(&Path::parse(path).unwrap())) {
        let resource = state.resource_id(&ledger::Name::parse("memory_gb").unwrap()).unwrap();
        let mut expected: BTreeMap<Holder, (Decimal, Decimal)> = BTreeMap::new();
        for hold in state.holds_from(0) {
            let consumer = hold.tags.as_ref().and_then(|tags| tags.consumer.as_deref());
            let holder = match consumer {
                Some(consumer) => Holder::Consumer(consumer.to_owned()),
                None => Holder::Actor(hold.actor.to_string()),
            };
            for line in hold.lines.iter().filter(|line| line.resource == resource) {
                if state.scope(line.scope).path.is_within(&scope.path) {
                    let sum = expected.entry(holder.clone()).or_default();
                    sum.0 += line.used.number();
                    sum.1 += line.held.number();
                }
            }
        }
        let found = all_holders(source, &scope.path, resource);
        assert!(found.is_sorted_by(|one, other| one.1.taken() >= other.1.taken()));
        let found: BTreeMap<_, _> =
            found.into_iter().map(|(holder, amounts)| (holder, (amounts.used, amounts.held))).collect();
        assert_eq!(found, expected, "{}", scope.path);

        // A budget: whatever anybody has consumed adds up to what is used.
        let budget = state.resource_id(&ledger::Name::parse("gpu_hours").unwrap()).unwrap();
        let found = all_holders(source, &scope.path, budget);
        let sum = |of: fn(&holders::Amounts) -> Decimal| {
            found.iter().map(|(_, amounts)| of(amounts)).sum::<Decimal>()
        };
        let account = scope.account(budget);
        let taken =
            account.map_or_else(Default::default, |account| (account.used.number(), account.held.number()));
        assert_eq!((sum(|amounts| amounts.used), sum(|amounts| amounts.held)), taken, "{}", scope.path);
    }
}

fn check_denials(source: &Source) {
    let counts = denials::counts(&*source.store, None, (0, u64::MAX)).expect("counts");
    let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in source.events() {
        let Some(Body::Rejected(body)) = &event.body else { continue };
        let rejection = body.rejection.as_ref().expect("a rejection");
        match &rejection.reason {
            Some(v1::rejection::Reason::Denied(denied)) => {
                for blocking in &denied.blocking {
                    *expected.entry(("DENIED".into(), blocking.scope.clone())).or_default() += 1;
                }
            }
            _ => {
                let label = crate::codec::tell::label(rejection).to_owned();
                *expected.entry((label, String::new())).or_default() += 1;
            }
        }
    }
    let mut found: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (kind, count) in counts {
        *found.entry((kind.reason.to_uppercase().replace(' ', "_"), kind.scope)).or_default() += count.count;
    }
    let expected: BTreeMap<_, _> = expected
        .into_iter()
        .map(|((reason, scope), count)| ((reason.to_uppercase().replace(' ', "_"), scope), count))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn projections_show_what_happened_whenever_they_were_written_or_restarted() {
    for seed in 0..6 {
        let source = Source::new();
        let mut story = Story::begin(&source, seed);
        let mut runner = self::runner(&source);
        let mut random = SmallRng::seed_from_u64(seed + 100);
        for _ in 0..400 {
            story.go_on(&source);
            match random.random_range(0..20) {
                // Whatever was folded and not written is folded again.
                0 => runner = self::runner(&source),
                1 => run(&mut runner),
                2 => source.busy.store(random.next_u64() % 4, Ordering::SeqCst),
                3 => drop(source.generation.fetch_add(2, Ordering::SeqCst)),
                4 => runner.rebuild(all()[random.random_range(0..all().len())].about().name),
                _ => drop(runner.step(0, random.random_range(0..5) == 0).expect("it folds")),
            }
        }
        run(&mut runner);
        check(&source);
    }
}

#[test]
fn what_changes_in_a_hold_need_not_change_its_scopes() {
    let source = Source::new();
    Story::begin(&source, 1);
    let line = |scope: &str, resource: &str, amount: &str| v1::Line {
        scope: scope.into(),
        resource: resource.into(),
        amount: amount.into(),
        ..Default::default()
    };
    let amount = |scope: &str, resource: &str, amount: &str| v1::HoldAmount {
        scope: scope.into(),
        resource: resource.into(),
        amount: amount.into(),
    };
    let reserve =
        |lines| ("bob", Message::Reserve(v1::ReserveRequest { lines, commit: true, ..Default::default() }));
    let resize =
        |hold_id, lines| ("bob", Message::Resize(v1::ResizeRequest { hold_id, lines, ..Default::default() }));
    // Of a budget nothing is given back.
    source.entry(vec![reserve(vec![line("beta", "gpu_hours", "5")])]);
    source.entry(vec![resize(source.head(), vec![amount("beta", "gpu_hours", "3")])]);
    // One line takes from another.
    source.entry(vec![reserve(vec![line("acme", "memory_gb", "4"), line("acme/a", "memory_gb", "4")])]);
    let lines = vec![amount("acme", "memory_gb", "3"), amount("acme/a", "memory_gb", "5")];
    source.entry(vec![resize(source.head(), lines)]);
    let resized = source.events().iter().filter(|event| matches!(event.body, Some(Body::Resized(_)))).count();
    assert_eq!(resized, 2);
    run(&mut runner(&source));
    check_holders(&source);
}

#[test]
fn what_is_not_waited_for_is_written_when_it_is_due() {
    let source = Source::new();
    Story::begin(&source, 1);
    let mut runner = self::runner(&source);
    while runner.step(0, false).expect("it folds") == Next::More {}
    assert_eq!(runner.step(0, false).expect("it folds"), Next::Write);
    assert!(runner.progress().iter().all(|progress| progress.revision == 0));
    // Somebody waits for the third event: what was folded is written, one projection after the other.
    let written = |runner: &Runner| {
        runner.progress().iter().filter(|progress| progress.revision == source.head()).count()
    };
    for step in 0..=all().len() {
        assert_eq!(written(&runner), step.saturating_sub(1));
        assert_eq!(runner.step(3, false).expect("it folds"), Next::More);
    }
    assert_eq!(written(&runner), all().len());
    assert_eq!(runner.step(3, false).expect("it folds"), Next::Idle);
}

#[test]
fn a_projection_is_made_anew_while_the_others_go_on() {
    let source = Source::new();
    let mut story = Story::begin(&source, 2);
    (0..1_700).for_each(|_| story.go_on(&source));
    let mut runner = self::runner(&source);
    run(&mut runner);
    runner.rebuild("usage");
    runner.step(0, false).expect("it folds");
    let of = |runner: &Runner, name: &str| {
        *runner.progress().iter().find(|progress| progress.about.name == name).expect("it is there")
    };
    assert!(of(&runner, "usage").is_catching_up);
    story.go_on(&source);
    while of(&runner, "history").revision < source.head() {
        runner.step(Revision::MAX, true).expect("it folds");
    }
    assert!(of(&runner, "usage").revision < source.head() && of(&runner, "usage").is_catching_up);
    run(&mut runner);
    assert!(!of(&runner, "usage").is_catching_up);
    check(&source);
}

fn progress_of(runner: &Runner, name: &str) -> super::runner::Progress {
    *runner.progress().iter().find(|progress| progress.about.name == name).expect("it is there")
}

#[test]
fn what_is_to_be_made_anew_is_not_shown_again_before_it_was() {
    let source = Source::new();
    let mut story = Story::begin(&source, 4);
    let mut runner = self::runner(&source);
    run(&mut runner);
    (0..20).for_each(|_| story.go_on(&source));
    let written = || Views::new(&*source.store, proofs::ABOUT).revision().expect("it can be read");
    // All is folded, and about to be written.
    while runner.step(0, false).expect("it folds") != Next::Write {}
    assert_eq!(runner.step(0, true).expect("it folds"), Next::More);
    runner.rebuild("proofs");
    let mut last = written();
    loop {
        assert!(progress_of(&runner, "proofs").is_catching_up);
        runner.step(0, true).expect("it folds");
        if written() < last {
            break;
        }
        last = written();
    }
    run(&mut runner);
    assert!(!progress_of(&runner, "proofs").is_catching_up);
    check(&source);
}

#[test]
fn what_was_made_anew_is_shown_although_events_keep_coming() {
    let source = Source::new();
    let mut story = Story::begin(&source, 5);
    (0..50).for_each(|_| story.go_on(&source));
    let mut runner = self::runner(&source);
    run(&mut runner);
    runner.rebuild("usage");
    let mut steps = 0;
    while progress_of(&runner, "usage").is_catching_up {
        runner.step(Revision::MAX, false).expect("it folds");
        story.go_on(&source);
        steps += 1;
        assert!(steps < 50, "it is still not shown");
    }
}

#[test]
fn what_stands_between_two_projections_that_are_written_is_taken_up_where_each_was() {
    let source = Source::new();
    let mut story = Story::begin(&source, 6);
    for busy in 0..all().len() {
        (0..30).for_each(|_| story.go_on(&source));
        let mut runner = self::runner(&source);
        while runner.step(0, false).expect("it folds") != Next::Write {}
        runner.step(0, true).expect("it folds");
        (0..busy).for_each(|_| assert_eq!(runner.step(0, true).expect("it folds"), Next::More));
        source.busy.store(1, Ordering::SeqCst);
        assert_eq!(runner.step(0, true).expect("it folds"), Next::Later);
        let written = runner.progress().iter().filter(|progress| progress.revision == source.head()).count();
        assert_eq!(written, busy);
        // It ends here, and the next one finds them at different revisions.
    }
    run(&mut self::runner(&source));
    check(&source);
}

/// A story of which everything was folded, and all but the last 200 events or so are gone: up to which one.
fn a_story_without_its_beginning() -> (Arc<Source>, Story, Runner, Revision) {
    let source = Source::new();
    let mut story = Story::begin(&source, 3);
    (0..500).for_each(|_| story.go_on(&source));
    let through_revision = source.head() - 200;
    let compact = v1::CompactEventsRequest { through_revision, ..Default::default() };
    source.entry(vec![("root", Message::CompactEvents(compact))]);
    let mut runner = self::runner(&source);
    run(&mut runner);
    source.remove_events();
    (source, story, runner, through_revision)
}

#[test]
fn when_events_are_gone_the_tree_stays_and_is_not_made_from_less() {
    let (source, mut story, mut runner, through_revision) = a_story_without_its_beginning();
    for _ in 0..2 {
        runner.rebuild("proofs");
        run(&mut runner);
        check_proofs(&source);
        story.go_on(&source);
        run(&mut runner);
        check_proofs(&source);
    }
    // The others begin where the events begin.
    runner.rebuild("history");
    run(&mut runner);
    let first = source.events()[0].touched.first().map(|touched| touched.scope_id);
    assert_eq!(first, None);
    let acme = Subject::Quota(ledger::ScopeId(0), ledger::ResourceId(4));
    let found = history::revisions(&*source.store, &acme, false, None, 10_000).expect("a history");
    assert!(found.iter().all(|revision| *revision > through_revision) && !found.is_empty());

    // A tree that does not reach so far cannot be made any more.
    let mut batch = Batch::default();
    ViewBatch::new(&mut batch, proofs::ABOUT).clear();
    source.store.write(batch).expect("written");
    let mut runner = self::runner(&source);
    let error = loop {
        match runner.step(0, true) {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("up to which events were removed"), "{error}");
}

/// All that is written of all projections.
fn records(source: &Source) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        records.push((key.to_vec(), value.to_vec()));
        true
    };
    source.store.scan(Space::Views, &[], &[u8::MAX], visit).expect("it can be read");
    records
}

#[test]
fn what_needs_events_that_are_gone_stays_as_it_is() {
    let (source, _, mut runner, _) = a_story_without_its_beginning();
    let needy = all().into_iter().map(|projection| projection.about()).filter(|about| about.needs_all_events);
    for About { name, .. } in needy {
        // Whoever asked had seen all events.
        runner.rebuild(name);
        let before = records(&source);
        run(&mut runner);
        assert_eq!(records(&source), before, "{name}");
        assert!(runner.progress().iter().all(|progress| !progress.is_catching_up), "{name}");
    }
}

#[test]
fn a_gap_in_the_events_is_a_fault() {
    let source = Source::new();
    let mut story = Story::begin(&source, 4);
    (0..20).for_each(|_| story.go_on(&source));
    let events = source.events();
    let middle = events[events.len() / 2].raft_index;
    let first = events.iter().find(|event| event.raft_index == middle).expect("an event").revision;
    let mut batch = Batch::default();
    batch.delete(Space::Events, keys::block(first));
    source.store.write(batch).expect("written");
    let mut runner = self::runner(&source);
    let error = (0..10).find_map(|_| runner.step(0, true).err()).expect("a fault").to_string();
    assert!(error.contains(&format!("follows {}", first - 1)), "{error}");
}

#[test]
fn each_projection_has_a_name_and_a_number_of_its_own() {
    let abouts: Vec<_> = all().iter().map(|projection| projection.about()).collect();
    for (position, about) in abouts.iter().enumerate() {
        assert!(about.number >= 0x10, "{} has the place of somebody else", about.name);
        let others = abouts[position + 1..].iter();
        assert!(others.clone().all(|other| other.name != about.name && other.number != about.number));
    }
}
