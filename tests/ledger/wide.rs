//! A scope with very many children: their limits together are exactly its own, every one of them
//! counts, and room that one gives up is room for another.

use quorate::ledger::command::NewLimit;
use quorate::ledger::command::NewPolicy;
use quorate::ledger::rejection::Blocking;
use quorate::ledger::rejection::Rule;
use quorate::ledger::tree::ChildPolicy;
use quorate::ledger::*;
use rust_decimal::Decimal;

use super::print::BEGIN_MS;
use super::requests::request;
use super::requests::request_id;

const CHILDREN: usize = 100_000;

/// The limit of each child.
const EACH: i64 = 3;

const ROOT: &str = "acme";
const RESOURCE: &str = "memory_gb";

/// How many requests stand in one log entry.
const ENTRY: usize = 1_000;

/// The least there is of the resource.
fn least() -> Decimal {
    Decimal::new(1, 3)
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

/// Not of equal length, so that their order is not that of their making.
fn child(number: usize) -> Path {
    path(&format!("{ROOT}/c{number}"))
}

fn resource() -> Name {
    Name::parse(RESOURCE).expect("a name")
}

fn create(path: Path, child_policy: Option<ChildPolicy>) -> Command {
    let create = command::CreateScope::new(path, None, Labels::default(), None, child_policy);
    Command::CreateScope(create.expect("a scope"))
}

fn set(scope: Path, limit: NewLimit) -> Command {
    Command::SetQuota(command::SetQuota {
        scope,
        resource: resource(),
        policy: NewPolicy { limit, ..NewPolicy::default() },
        fields: None,
        effective_at: None,
        if_version: None,
    })
}

fn limit(scope: Path, amount: impl Into<Decimal>) -> Command {
    set(scope, NewLimit::Amount(amount.into()))
}

fn reserve(scope: Path, amount: impl Into<Decimal>) -> Command {
    let line = command::Line {
        scope,
        resource: resource(),
        amount: amount.into(),
        minimum: None,
        if_sequence: None,
    };
    Command::Reserve(command::Reserve::new(vec![line]).expect("a reservation"))
}

fn delete(path: Path) -> Command {
    Command::DeleteScope(command::DeleteScope { path, recursive: false })
}

struct Ledger {
    state: State,
    made: u64,
}

impl Ledger {
    /// Children with quotas that fill their parent.
    fn full() -> Self {
        let mut ledger = Self { state: State::default(), made: 0 };
        let total = EACH * i64::try_from(CHILDREN).expect("a number of children");
        ledger.granted(create(path(ROOT), Some(ChildPolicy::SumWithinParent)));
        ledger.granted(limit(path(ROOT), total));
        ledger.all_granted((0..CHILDREN).map(|number| create(child(number), None)));
        ledger.all_granted((0..CHILDREN).map(|number| limit(child(number), EACH)));
        ledger
    }

    fn enter(&mut self, commands: impl IntoIterator<Item = Command>) -> Vec<Outcome> {
        let requests: Vec<Request> = commands
            .into_iter()
            .map(|command| {
                self.made += 1;
                request(request_id(BEGIN_MS, self.made), "", command)
            })
            .collect();
        apply(&mut self.state, BEGIN_MS, &requests).outcomes
    }

    fn decide(&mut self, command: Command) -> outcome::Verdict {
        self.enter([command]).remove(0).verdict
    }

    #[track_caller]
    fn granted(&mut self, command: Command) -> Granted {
        self.decide(command.clone()).unwrap_or_else(|problem| panic!("{command:?}: {problem:?}")).what
    }

    fn all_granted(&mut self, commands: impl IntoIterator<Item = Command>) {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            for outcome in self.enter(commands.by_ref().take(ENTRY)) {
                assert!(outcome.verdict.is_ok(), "{outcome:?}");
            }
        }
    }

    #[track_caller]
    fn rejected(&mut self, command: Command) -> Rejection {
        match self.decide(command.clone()) {
            Err(rejection) => *rejection,
            Ok(grant) => panic!("{command:?} was granted: {grant:?}"),
        }
    }

    /// A limit that does not fit among the others of its parent.
    #[track_caller]
    fn conflict(&mut self, command: Command, at: Path) {
        match self.rejected(command) {
            Rejection::LimitConflict { quota, .. } => assert_eq!(quota.scope, at),
            other => panic!("it does not fit, and this was said: {other:?}"),
        }
    }

    /// A reservation for which there is no room: where, and under which limit.
    #[track_caller]
    fn denied(&mut self, command: Command) -> Vec<(String, Decimal)> {
        match self.rejected(command) {
            Rejection::Denied(blocking) => blocking
                .into_iter()
                .map(|Blocking { quota, rule, limit, .. }| {
                    assert_eq!(rule, Rule::HardLimit);
                    (quota.scope.to_string(), limit)
                })
                .collect(),
            other => panic!("there is no room, and this was said: {other:?}"),
        }
    }

    fn held(&self, scope: &Path) -> Decimal {
        let scope = self.state.scope_at(scope).expect("it is there");
        let resource = self.state.resource_id(&resource()).expect("it is in the catalogue");
        scope.account(resource).map_or(Decimal::ZERO, |account| account.held.number())
    }

    /// As it is after a restart.
    fn restarted(&self) -> Self {
        let state = State::from_rows(self.state.rows()).expect("the rows of a state make a state");
        Self { state, made: self.made }
    }
}

#[test]
fn the_limits_of_very_many_children_are_together_what_their_parent_has() {
    let mut ledger = Ledger::full();
    let extra = path("acme/extra");
    ledger.granted(create(extra.clone(), None));
    // The same after a restart, where the sum is counted anew.
    for mut ledger in [ledger.restarted(), ledger] {
        let last = child(CHILDREN - 1);
        ledger.conflict(limit(extra.clone(), least()), extra.clone());
        ledger.conflict(limit(last.clone(), Decimal::from(EACH) + least()), last.clone());
        let total = Decimal::from(EACH) * Decimal::from(CHILDREN);
        ledger.conflict(limit(path(ROOT), total - least()), path(ROOT));
        ledger.granted(limit(extra.clone(), 0));
        // What one gives up another may have, and no more than that.
        ledger.granted(limit(child(7), Decimal::from(EACH) - least()));
        ledger.conflict(limit(extra.clone(), least() + least()), extra.clone());
        ledger.granted(limit(extra.clone(), least()));
        ledger.conflict(limit(child(7), EACH), child(7));
    }
}

#[test]
fn of_very_many_children_the_last_has_the_room_that_it_has() {
    let mut ledger = Ledger::full();
    let last = child(CHILDREN - 1);
    let Granted::Hold { hold, .. } = ledger.granted(reserve(last.clone(), EACH)) else {
        panic!("a reservation makes a hold");
    };
    assert_eq!((ledger.held(&last), ledger.held(&path(ROOT))), (EACH.into(), EACH.into()));
    assert_eq!(ledger.denied(reserve(last.clone(), least())), [(last.to_string(), EACH.into())]);
    ledger.granted(Command::Release(command::Release::all(hold)));
    assert_eq!((ledger.held(&last), ledger.held(&path(ROOT))), (Decimal::ZERO, Decimal::ZERO));
    ledger.granted(reserve(last.clone(), EACH));
    assert_eq!(ledger.held(&path(ROOT)), EACH.into());
}

#[test]
fn room_of_a_deleted_child_is_room_for_another_and_its_path_can_be_used_again() {
    let mut ledger = Ledger::full();
    let (gone, extra) = (child(CHILDREN / 2), path("acme/extra"));
    ledger.granted(create(extra.clone(), None));
    ledger.granted(delete(gone.clone()));
    assert!(ledger.state.scope_at(&gone).is_none());
    ledger.conflict(limit(extra.clone(), Decimal::from(EACH) + least()), extra.clone());
    ledger.granted(limit(extra.clone(), EACH));
    // Made again it has nothing left to be promised, but can use what its parent has.
    ledger.granted(create(gone.clone(), None));
    ledger.conflict(limit(gone.clone(), least()), gone.clone());
    ledger.granted(set(gone.clone(), NewLimit::Inherit));
    let others = (0..CHILDREN).map(child).filter(|path| *path != gone);
    ledger.all_granted(others.map(|path| reserve(path, EACH)));
    let total = Decimal::from(EACH) * Decimal::from(CHILDREN);
    assert_eq!(ledger.held(&path(ROOT)), total - Decimal::from(EACH));
    ledger.granted(reserve(gone.clone(), EACH));
    assert_eq!(ledger.denied(reserve(gone, least())), [(ROOT.to_owned(), total)]);
    let both = [(ROOT.to_owned(), total), (child(0).to_string(), EACH.into())];
    assert_eq!(ledger.denied(reserve(child(0), least())), both);
}

#[test]
fn very_many_children_are_listed_by_name_each_once() {
    let mut ledger = Ledger::full();
    ledger.granted(delete(child(10)));
    let mut expected: Vec<String> =
        (0..CHILDREN).filter(|number| *number != 10).map(|number| child(number).to_string()).collect();
    expected.sort_unstable();
    for ledger in [ledger.restarted(), ledger] {
        let root = ledger.state.scope_at(&path(ROOT)).expect("it is there").id;
        let listed: Vec<String> = ledger.state.subtree(root).map(|scope| scope.path.to_string()).collect();
        assert_eq!(listed[0], ROOT);
        assert!(listed[1..] == expected, "the children are not listed by name, each once");
    }
}
