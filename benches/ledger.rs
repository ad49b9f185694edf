//! What the rules cost: decisions per second on one core, and bytes per thing kept.
//!
//! `cargo bench --bench ledger`. Everything happens in this process, without log, disk or network.
//! Requests are made beforehand: what is measured is `ledger::apply`, with its events and outcomes
//! made and dropped, in entries of 1,000 commands.
//!
//! A second part sets the quotas of as many children of one scope, each of which must fit what its
//! siblings leave of their parent.
//!
//! The tree of the first part has three levels (organization, teams, users) with a quota on each scope, so that each
//! reservation is decided at three quotas, one of them the hot root. Users are picked at random.

use std::sync::Arc;
use std::time::Duration;

use quorate::ledger::Command;
use quorate::ledger::Granted;
use quorate::ledger::Hold;
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
use quorate::ledger::rows::Row;
use quorate::ledger::tree::ChildPolicy;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RESOURCE: &str = "concurrent_gpus";
const ENTRY: usize = 1_000;
const BEGIN_MS: u64 = 1_767_225_600_000;
const HOLDS: usize = 200_000;

fn main() {
    // `cargo test --bench ledger` only looks whether it works: one small round is enough for that.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (small, large, rounds) = if quick { (100, 1_000, 1) } else { (1_000, 1_000_000, 5) };
    println!("reserve through three levels, entries of {ENTRY} commands, one core");
    let holds = if quick { 2_000 } else { HOLDS };
    let few = measure(small, holds, rounds);
    let many = measure(large, holds, rounds);
    println!("{large} scopes against {small}: {:.2} of the speed", many / few);
    println!("children of one scope, all together within it");
    let (few, many) = if quick { (100, 1_000) } else { (1_000, 100_000) };
    let ratio = wide(many) / wide(few);
    println!("{many} children against {few}: {ratio:.2} of the speed");
}

/// Makes a scope with so many children, which together have as much as it has, and tells how many
/// of them get their quota per second.
fn wide(children: usize) -> f64 {
    let mut bench = Bench::default();
    let rules = Some(ChildPolicy::SumWithinParent);
    bench.add_with("wide".into(), children as u64, rules);
    let mut taken = Duration::ZERO;
    for child in 0..children {
        let start = processor_time();
        bench.add(format!("wide/child{child}"), 1);
        taken += processor_time() - start;
    }
    let rate = children as f64 / taken.as_secs_f64();
    println!("{children:>9} children: {rate:>9.0} made with their quota per second");
    rate
}

/// Measures one size of tree and tells; returns decisions per second.
fn measure(users: usize, holds: usize, rounds: usize) -> f64 {
    let mut bench = Bench::default();
    bench.grow(users);
    let per_scope = bench.memory(|row| !matches!(row, Row::Request(..)), bench.users.len());
    let mut best = Duration::MAX;
    let mut per_hold = 0;
    let mut releasing = Duration::MAX;
    for round in 0..rounds {
        let requests = bench.reservations(holds);
        let (taken, made) = bench.run(&requests);
        assert_eq!(made.len(), holds, "every reservation fits");
        best = best.min(taken);
        if round == 0 {
            // The scopes are not there, so that a state of the holds alone is no whole state; what
            // they take is what comes on top of one without them.
            let without = bench.memory(|row| !matches!(row, Row::Request(..) | Row::Hold(_)), 1);
            let with = bench.memory(|row| !matches!(row, Row::Request(..)), 1);
            per_hold = with.saturating_sub(without) / holds;
        }
        drop(requests);
        let requests = bench.releases(&made);
        releasing = releasing.min(bench.run(&requests).0);
    }
    let rate = holds as f64 / best.as_secs_f64();
    println!(
        "{:>9} scopes: {:>9.0} reserves/s, {:>9.0} releases/s; {per_scope} bytes per idle scope with its \
         quota, {per_hold} bytes per live hold",
        bench.users.len(),
        rate,
        holds as f64 / releasing.as_secs_f64(),
    );
    rate
}

#[derive(Default)]
struct Bench {
    state: State,
    users: Vec<Path>,
    requests: u64,
    random: u64,
}

impl Bench {
    /// An organization with teams of a thousand users (ten teams at least), a quota on each.
    fn grow(&mut self, users: usize) {
        let teams = (users / 1_000).max(10);
        self.add("org".into(), 1_000_000_000);
        for team in 0..teams {
            self.add(format!("org/team{team}"), 100_000_000);
        }
        for user in 0..users {
            let path = self.add(format!("org/team{}/user{user}", user % teams), 10_000_000);
            self.users.push(path);
        }
    }

    fn add(&mut self, path: String, limit: u64) -> Path {
        self.add_with(path, limit, None)
    }

    fn add_with(&mut self, path: String, limit: u64, rules: Option<ChildPolicy>) -> Path {
        let path = Path::parse(&path).expect("a path");
        let create = CreateScope::new(path.clone(), None, Default::default(), None, rules).expect("a scope");
        let quota = SetQuota {
            scope: path.clone(),
            resource: Name::parse(RESOURCE).expect("a name"),
            policy: NewPolicy { limit: NewLimit::Amount(limit.into()), ..NewPolicy::default() },
            fields: None,
            effective_at: None,
            if_version: None,
        };
        let requests =
            [Command::CreateScope(create), Command::SetQuota(quota)].map(|command| self.request(command));
        let now = self.now();
        let applied = apply(&mut self.state, now, &requests);
        assert!(applied.outcomes.iter().all(|outcome| outcome.verdict.is_ok()), "the tree grows");
        path
    }

    /// What a state takes that is loaded from some of the rows, as after a restart, in bytes per
    /// thing. Every text is one of its own, as it is when rows are read from a disk.
    fn memory(&self, rows: impl Fn(&Row) -> bool, things: usize) -> usize {
        let before = resident();
        let rows = self.state.rows().filter(|row| rows(row)).map(|row| match row {
            Row::Hold(hold) => Row::Hold(Hold { actor: Arc::from(&*hold.actor), ..hold }),
            row => row,
        });
        let state = State::from_rows(rows).expect("a state without its requests is one");
        let taken = resident().saturating_sub(before);
        drop(state);
        taken / things
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
            command,
        }
    }

    /// SplitMix64: a known sequence, the same in every run.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn reservations(&mut self, count: usize) -> Vec<Request> {
        let resource = Name::parse(RESOURCE).expect("a name");
        (0..count)
            .map(|_| {
                let user = self.random() as usize % self.users.len();
                // Decoded from bytes, each request has its own path.
                let scope = Path::parse(self.users[user].as_str()).expect("a path");
                let line = Line {
                    scope,
                    resource: resource.clone(),
                    amount: 1.into(),
                    minimum: None,
                    if_sequence: None,
                };
                let reserve = Reserve::with(vec![line], Mode::Strict, false, Some(3_600_000), None);
                self.request(Command::Reserve(reserve.expect("a reservation")))
            })
            .collect()
    }

    fn releases(&mut self, holds: &[u64]) -> Vec<Request> {
        holds.iter().map(|hold| self.request(Command::Release(Release::all(*hold)))).collect()
    }

    /// Applies requests and returns how long that took and which holds were made.
    fn run(&mut self, requests: &[Request]) -> (Duration, Vec<u64>) {
        let now = self.now();
        let mut taken = Duration::ZERO;
        let mut holds = Vec::new();
        for entry in requests.chunks(ENTRY) {
            let start = processor_time();
            let applied = apply(&mut self.state, now, entry);
            taken += processor_time() - start;
            for outcome in &applied.outcomes {
                if let Granted::Hold { hold, .. } = outcome.verdict.as_ref().expect("it fits").what {
                    holds.push(hold);
                }
            }
            let start = processor_time();
            drop(applied);
            taken += processor_time() - start;
            // A checkpoint takes them every few seconds.
            self.state.take_changed();
        }
        (taken, holds)
    }
}

/// How long this thread has run: other work on the machine does not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the numbers of this thread");
    let nanoseconds = text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the numbers of this process");
    let pages: usize =
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
