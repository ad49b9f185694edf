//! A ledger with a tree of organization, teams and users, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use quorate::ledger::Applied;
use quorate::ledger::Command;
use quorate::ledger::Granted;
use quorate::ledger::Name;
use quorate::ledger::Path;
use quorate::ledger::Request;
use quorate::ledger::RequestId;
use quorate::ledger::State;
use quorate::ledger::apply;
use quorate::ledger::command::CreateScope;
use quorate::ledger::command::Line;
use quorate::ledger::command::Mode;
use quorate::ledger::command::NewLimit;
use quorate::ledger::command::NewPolicy;
use quorate::ledger::command::Release;
use quorate::ledger::command::Reserve;
use quorate::ledger::command::SetQuota;
use quorate::ledger::request::CAPACITY;
use quorate::ledger::tree::ChildPolicy;
use rustix::time::ClockId;
use rustix::time::clock_gettime;

pub const RESOURCE: &str = "concurrent_gpus";
pub const ENTRY: usize = 1_000;
const BEGIN_MS: u64 = 1_767_225_600_000;

#[derive(Default)]
pub struct Tree {
    state: State,
    users: usize,
    requests: u64,
    random: u64,
}

/// Ten teams at least, of a thousand users.
pub fn teams_of(users: usize) -> usize {
    (users / 1_000).max(10)
}

impl Tree {
    /// An organization with so many users, and a quota on each scope.
    pub fn of_users(users: usize) -> Self {
        let mut tree = Self { users, ..Self::default() };
        tree.add("org", 1_000_000_000, None);
        for team in 0..teams_of(users) {
            tree.add(&format!("org/team{team}"), 100_000_000, None);
        }
        for user in 0..users {
            tree.add(&tree.path_of(user), 10_000_000, None);
        }
        tree
    }

    pub fn users(&self) -> usize {
        self.users
    }

    fn path_of(&self, user: usize) -> String {
        format!("org/team{}/user{user}", user % teams_of(self.users))
    }

    /// Makes a scope with a quota, and tells how long that took.
    pub fn add(&mut self, path: &str, limit: u64, rules: Option<ChildPolicy>) -> Duration {
        let path = Path::parse(path).expect("a path");
        let create = CreateScope::new(path.clone(), None, Default::default(), None, rules).expect("a scope");
        let quota = SetQuota {
            scope: path,
            resource: Name::parse(RESOURCE).expect("a name"),
            policy: NewPolicy { limit: NewLimit::Amount(limit.into()), ..NewPolicy::default() },
            fields: None,
            effective_at: None,
            if_version: None,
        };
        let requests =
            [Command::CreateScope(create), Command::SetQuota(quota)].map(|command| self.request(command));
        let (taken, _) = self.apply(&requests, |applied| {
            assert!(applied.outcomes.iter().all(|outcome| outcome.verdict.is_ok()), "the tree grows");
        });
        taken
    }

    /// Reserves and releases until no more requests can be remembered.
    pub fn fill(&mut self) {
        while self.requests < CAPACITY as u64 {
            let (_, made) = self.reserve(100 * ENTRY);
            self.release(&made);
        }
    }

    /// Reserves for users at random, and tells how long that took and which holds were made.
    pub fn reserve(&mut self, count: usize) -> (Duration, Vec<u64>) {
        let mut taken = Duration::ZERO;
        let mut made = Vec::with_capacity(count);
        for first in (0..count).step_by(ENTRY) {
            let requests: Vec<Request> =
                (first..count.min(first + ENTRY)).map(|_| self.reservation()).collect();
            let (entry, ()) = self.apply(&requests, |applied| {
                made.extend(applied.outcomes.iter().map(|outcome| match outcome.verdict.as_ref() {
                    Ok(grant) => match grant.what {
                        Granted::Hold { hold, .. } => hold,
                        _ => panic!("a reservation makes a hold"),
                    },
                    Err(rejection) => panic!("every reservation fits: {rejection:?}"),
                }));
            });
            taken += entry;
        }
        (taken, made)
    }

    /// Releases holds, and tells how long that took.
    pub fn release(&mut self, holds: &[u64]) -> Duration {
        let mut taken = Duration::ZERO;
        for holds in holds.chunks(ENTRY) {
            let requests: Vec<Request> =
                holds.iter().map(|hold| self.request(Command::Release(Release::all(*hold)))).collect();
            let (entry, ()) = self.apply(&requests, |applied| {
                assert!(applied.outcomes.iter().all(|outcome| outcome.verdict.is_ok()), "it is released");
            });
            taken += entry;
        }
        taken
    }

    /// Applies an entry, looks at what came of it, and tells how long it took without the look.
    fn apply<T>(&mut self, requests: &[Request], look: impl FnOnce(&Applied) -> T) -> (Duration, T) {
        let now = self.now();
        let start = processor_time();
        let applied = apply(&mut self.state, now, requests);
        let deciding = processor_time() - start;
        let seen = look(&applied);
        let start = processor_time();
        drop(applied);
        let dropping = processor_time() - start;
        // A checkpoint takes them every few seconds.
        self.state.take_changed();
        (deciding + dropping, seen)
    }

    fn now(&self) -> u64 {
        // Ten requests in each millisecond of log time: the window of ids stays a window.
        BEGIN_MS + self.requests / 10
    }

    fn request(&mut self, command: Command) -> Request {
        self.requests += 1;
        let random = u128::from(self.random()) & ((1 << 62) - 1);
        let bits = u128::from(self.now()) << 80 | 7 << 76 | 0b10 << 62 | random;
        Request {
            id: RequestId::from_bytes(bits.to_be_bytes()).expect("a UUIDv7"),
            fingerprint: [0; 16],
            actor: Arc::from("bench"),
            reason: "".into(),
            command,
        }
    }

    fn reservation(&mut self) -> Request {
        let user = self.random() as usize % self.users;
        let line = Line {
            scope: Path::parse(&self.path_of(user)).expect("a path"),
            resource: Name::parse(RESOURCE).expect("a name"),
            amount: 1.into(),
            minimum: None,
            if_sequence: None,
        };
        let reserve = Reserve::with(vec![line], Mode::Strict, false, Some(3_600_000), None);
        self.request(Command::Reserve(reserve.expect("a reservation")))
    }

    /// SplitMix64: a known sequence, the same in every run.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// How long this thread has run: other work on the machine does not count.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("time is not negative")
}
