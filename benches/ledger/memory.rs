//! What things take in memory, each asked of a process of its own: there is nothing in it that was
//! freed before and could be used again unseen.

use std::process::Command;
use std::sync::Arc;

use quorate::ledger::Amount;
use quorate::ledger::Hold;
use quorate::ledger::Limit;
use quorate::ledger::Name;
use quorate::ledger::Policy;
use quorate::ledger::Quota;
use quorate::ledger::State;
use quorate::ledger::hold::HoldLine;
use quorate::ledger::quota::Terms;
use quorate::ledger::resource::ResourceId;
use quorate::ledger::rows::Row;
use quorate::ledger::scope::Account;
use quorate::ledger::scope::ScopeId;
use quorate::ledger::tree::TreeRules;

use crate::tree::RESOURCE;
use crate::tree::teams_of;

/// Tells this program to answer instead of asking.
pub const FLAG: &str = "--memory";

/// How many bytes a state with so many users and holds takes.
pub fn ask(users: usize, holds: usize) -> usize {
    let program = std::env::current_exe().expect("this program is a file");
    let output = Command::new(program)
        .args([FLAG, &users.to_string(), &holds.to_string()])
        // What is freed goes back at once: otherwise the answer depends on what the allocator happens to keep.
        .env("MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
        .output()
        .expect("this program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of bytes")
}

/// Loads a state, prints what it takes, and ends.
pub fn answer(arguments: &[String]) {
    let [users, holds] = arguments else {
        panic!("{FLAG} USERS HOLDS");
    };
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let (users, holds) = (number(users), number(holds));
    let before = resident();
    let state = State::from_rows(rows(users, holds)).expect("the rows make a state");
    println!("{}", resident().saturating_sub(before));
    assert_eq!(state.holds_from(0).count(), holds as usize);
}

/// The rows of an organization with teams and users, each with a quota, and of holds on users.
/// Every text is one of its own, as it is when rows are read from a disk.
fn rows(users: u32, holds: u32) -> impl Iterator<Item = Row> {
    let teams = u32::try_from(teams_of(users as usize)).expect("there are few teams");
    let scopes = 1 + teams + users;
    let built_in = State::default();
    let resource = built_in.resource_id(&name(RESOURCE)).expect("a resource of the catalogue");
    let decimals = built_in.resource(resource).decimals;
    let amount = move |number: u32| Amount::new(number.into(), decimals).expect("an amount");
    let zero = amount(0);
    let empty = built_in.rows().collect::<Vec<_>>().into_iter().map(move |row| match row {
        Row::Ledger { time, request_floor, .. } => Row::Ledger {
            revision: u64::from(holds),
            time,
            next_scope: ScopeId(scopes),
            request_floor,
            compacted_at: 0,
        },
        row => row,
    });
    let scope = move |id: u32| Row::Scope {
        id: ScopeId(id),
        name: match id {
            0 => "org".into(),
            id if id <= teams => format!("team{}", id - 1),
            id => format!("user{}", id - 1 - teams),
        },
        parent: match id {
            0 => None,
            id if id <= teams => Some(ScopeId(0)),
            id => Some(ScopeId(1 + id % teams)),
        },
        kind: name("node"),
        labels: Default::default(),
        rules: (id == 0).then(TreeRules::default),
        template: None,
    };
    let account = move |id: u32| {
        let policy = Policy::new(Limit::Amount(amount(1_000_000)), Terms::default());
        let quota = Some(Quota::new(policy));
        Row::Account(
            ScopeId(id),
            Account { resource, used: zero, held: zero, sequence: 1, version: 1, quota },
        )
    };
    let hold = move |id: u32| hold(id, ScopeId(1 + teams + id % users), resource, amount(1), zero);
    empty.chain((0..scopes).map(scope)).chain((0..scopes).map(account)).chain((0..holds).map(hold))
}

fn hold(id: u32, scope: ScopeId, resource: ResourceId, held: Amount, used: Amount) -> Row {
    Row::Hold(Hold {
        id: id.into(),
        lines: Box::new([HoldLine { scope, resource, held, used }]),
        created_at: 0,
        expires_at: std::num::NonZeroU64::new(3_600_000 + u64::from(id) / 10),
        revision: id.into(),
        actor: Arc::from("bench"),
        tags: None,
    })
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the numbers of this process");
    let pages: usize =
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * rustix::param::page_size()
}
