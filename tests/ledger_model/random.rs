//! Wishes at random.

use proptest::prelude::*;
use proptest::sample::select;
use quorate::ledger::command::Mode;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::tree::ChildPolicy;

use crate::wish::At;
use crate::wish::Guess;
use crate::wish::HoldLines;
use crate::wish::LimitWish;
use crate::wish::LineWish;
use crate::wish::PATHS;
use crate::wish::Pick;
use crate::wish::PolicyWish;
use crate::wish::RESOURCES;
use crate::wish::ScopeWish;
use crate::wish::Share;
use crate::wish::TEMPLATES;
use crate::wish::Target;
use crate::wish::Which;
use crate::wish::Wish;

const SEGMENTS: [&str; 4] = ["b", "c", "m", "n"];
const KINDS: [&str; 3] = ["team", "user", "scope"];
const SCHEMAS: [&str; 4] = ["free", "organization/team/user", "team/team1/user", "scope/team/scope1/scope2"];
const AMOUNTS: [&str; 14] = [
    "1",
    "2",
    "2.0",
    "3",
    "5",
    "0.5",
    "0.25",
    "7.5",
    "0.125",
    "0.0001",
    "10",
    "40",
    "40000000000",
    "1000000000000000000",
];
const LIMITS: [&str; 14] = [
    "10",
    "5",
    "20",
    "8",
    "1",
    "0",
    "3",
    "12.5",
    "7.25",
    "50",
    "0.0001",
    "79228162514",
    "900",
    "1000000000000000000",
];
const LINES: [&str; 6] = ["2", "1", "4", "0", "6.5", "9"];
const BURSTS: [&str; 5] = ["15", "30", "60", "9", "25.5"];
const RATIOS: [&str; 5] = ["1.5", "2", "1.0001", "1", "1.25"];

fn at() -> impl Strategy<Value = At> {
    prop_oneof![
        20 => (0..6usize).prop_map(At::There),
        4 => (0..14usize).prop_map(At::There),
        1 => select(&PATHS[..]).prop_map(At::Named),
    ]
}

fn resource() -> impl Strategy<Value = &'static str> {
    prop_oneof![40 => select(&RESOURCES[..2]), 12 => select(&RESOURCES[2..5]), 1 => Just(RESOURCES[5])]
}

fn target() -> impl Strategy<Value = Target> {
    (at(), resource())
}

fn guess() -> impl Strategy<Value = Guess> {
    prop_oneof![12 => Just(Guess::None), 3 => Just(Guess::Right), 1 => (0..6u64).prop_map(Guess::Number)]
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![
        20 => (0..8usize).prop_map(Pick::Live),
        2 => (0..8usize).prop_map(Pick::Closed),
        1 => (0..3u64).prop_map(Pick::Next),
        1 => (0..60u64).prop_map(Pick::Revision),
    ]
}

fn amount() -> impl Strategy<Value = &'static str> {
    prop_oneof![40 => select(&AMOUNTS[..5]), 20 => select(&AMOUNTS[..11]), 1 => select(&AMOUNTS[..])]
}

fn limit() -> impl Strategy<Value = LimitWish> {
    let amount = prop_oneof![24 => select(&LIMITS[..5]), 8 => select(&LIMITS[..9]), 2 => select(&LIMITS[..])];
    prop_oneof![
        14 => amount.prop_map(LimitWish::Amount),
        2 => Just(LimitWish::Inherit),
        1 => Just(LimitWish::Unlimited),
    ]
}

fn some<T: Clone + std::fmt::Debug + 'static>(
    weight: f64,
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(weight, of)
}

fn duration() -> impl Strategy<Value = u64> {
    prop_oneof![1..4000u64, select(vec![1, 500, 2000, 10_000])]
}

fn policy() -> impl Strategy<Value = PolicyWish> {
    let enforcement = prop_oneof![
        12 => Just(Enforcement::Enforce),
        2 => Just(Enforcement::Warn),
        2 => Just(Enforcement::Shadow),
        1 => Just(Enforcement::Off),
    ];
    let on_reduce = select(vec![OnReduce::Freeze, OnReduce::Refuse, OnReduce::Drain]);
    let lines = (
        some(0.3, (select(&LINES[..]), some(0.7, duration()))),
        some(0.02, duration()),
        some(0.25, (select(&BURSTS[..]), duration())),
        prop::bool::weighted(0.02),
        some(0.2, select(&RATIOS[..])),
    );
    let ttl = (some(0.15, duration()), some(0.2, duration()));
    let full = (limit(), lines, enforcement, on_reduce, ttl, prop::bool::weighted(0.6));
    let full = full.prop_map(|(limit, lines, enforcement, on_reduce, ttl, allow_transfer)| {
        let (soft, grace_alone_ms, burst, burst_alone, overcommit) = lines;
        let other = PolicyWish::plain(limit);
        PolicyWish {
            soft,
            grace_alone_ms,
            burst,
            burst_alone,
            overcommit,
            enforcement,
            on_reduce,
            ttl,
            allow_transfer,
            ..other
        }
    });
    let plain = (limit(), prop::bool::weighted(0.6))
        .prop_map(|(limit, allow_transfer)| PolicyWish { allow_transfer, ..PolicyWish::plain(limit) });
    prop_oneof![1 => plain, 2 => full]
}

fn child_policy() -> impl Strategy<Value = ChildPolicy> {
    use ChildPolicy::*;
    prop_oneof![2 => Just(EachWithinParent), 2 => Just(SumWithinParent), 1 => Just(Unchecked)]
}

fn scope() -> impl Strategy<Value = ScopeWish> {
    let quotas = prop::collection::vec((resource(), policy()), 0..3);
    (
        select(&PATHS[..]),
        some(0.3, select(&KINDS[..])),
        some(0.3, 0..3u8),
        some(0.15, select(&SCHEMAS[..])),
        some(0.3, child_policy()),
        some(0.3, select(&TEMPLATES[..3])),
        quotas,
    )
        .prop_map(|(path, kind, labels, schema, child_policy, template, quotas)| ScopeWish {
            path,
            kind,
            labels,
            schema,
            child_policy,
            template,
            quotas,
        })
}

fn hold_lines() -> impl Strategy<Value = HoldLines> {
    let which = prop_oneof![16 => (0..3usize).prop_map(Which::Line), 1 => target().prop_map(Which::Other)];
    let share = prop_oneof![
        3 => Just(Share::Held),
        1 => Just(Share::Live),
        1 => Just(Share::More),
        8 => amount().prop_map(Share::Amount),
    ];
    prop::collection::vec((which, share), 1..3)
}

fn some_hold_lines() -> impl Strategy<Value = HoldLines> {
    prop_oneof![1 => Just(Vec::new()), 2 => hold_lines()]
}

fn reserve() -> impl Strategy<Value = Wish> {
    let amount = prop_oneof![3 => amount(), 1 => select(&["10", "40", "20", "7.5"][..])];
    let minimum = prop_oneof![3 => select(&["0.5", "1", "2"][..]), 1 => select(&AMOUNTS[..11])];
    let line = (target(), amount, some(0.6, minimum), guess());
    let line =
        line.prop_map(|(target, amount, minimum, guess)| LineWish { target, amount, minimum, guess }).boxed();
    let mode = prop_oneof![5 => Just(Mode::Strict), 4 => Just(Mode::Partial), 1 => Just(Mode::Force)];
    let lines =
        prop_oneof![3 => prop::collection::vec(line.clone(), 1), 4 => prop::collection::vec(line, 1..4)];
    let commit = prop::bool::weighted(0.15);
    (lines, mode, commit, some(0.5, duration()), prop::bool::weighted(0.1)).prop_map(
        |(lines, mode, commit, ttl_ms, tagged)| Wish::Reserve {
            lines,
            mode,
            commit,
            ttl_ms: ttl_ms.filter(|_| !commit),
            tagged,
        },
    )
}

fn hold_wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        40 => reserve(),
        9 => (pick(), some_hold_lines(), any::<bool>())
            .prop_map(|(hold, lines, is_final)| Wish::Commit { hold, lines, is_final }),
        9 => (pick(), some_hold_lines()).prop_map(|(hold, lines)| Wish::Release { hold, lines }),
        5 => (pick(), duration()).prop_map(|(hold, ttl_ms)| Wish::Renew { hold, ttl_ms }),
        8 => (pick(), hold_lines()).prop_map(|(hold, lines)| Wish::Resize { hold, lines }),
    ]
}

fn tree_wish() -> impl Strategy<Value = Wish> {
    let labels = || some(0.4, 0..3u8);
    let schema = || some(0.3, select(&SCHEMAS[..]));
    prop_oneof![
        4 => scope().prop_map(Wish::Create),
        2 => Just(Wish::Deepen),
        4 => (at(), labels(), schema(), some(0.6, child_policy())).prop_map(
            |(at, labels, schema, child_policy)| Wish::Update { at, labels, schema, child_policy },
        ),
        10 => (at(), prop_oneof![4 => at(), 1 => Just(At::Deepest)], some(0.7, select(&SEGMENTS[..])), any::<bool>())
            .prop_map(|(from, below, name, force)| Wish::Move { from, below, name, force }),
        2 => (at(), any::<bool>()).prop_map(|(at, recursive)| Wish::Delete { at, recursive }),
        1 => (select(&RESOURCES[..5]), any::<bool>()).prop_map(|(name, other)| Wish::Register(name, other)),
        1 => (-2..30i64).prop_map(Wish::Compact),
    ]
}

fn policy_wish() -> impl Strategy<Value = Wish> {
    let quotas = prop::collection::vec((resource(), policy()), 1..3);
    let set = (target(), policy(), some(0.25, any::<u16>()), some(0.4, -3000..9000i64), guess());
    let start = some(0.5, -500..3000i64);
    let until = some(0.8, -200..15_000i64);
    prop_oneof![
        14 => set.prop_map(|(target, policy, mask, at, guess)| Wish::Set { target, policy, mask, at, guess }),
        8 => (target(), amount(), prop::bool::weighted(0.7), guess()).prop_map(
            |(target, amount, negative, guess)| Wish::Adjust { target, amount, negative, guess },
        ),
        4 => (target(), prop::bool::weighted(0.8), guess())
            .prop_map(|(target, lent, guess)| Wish::DeleteQuota { target, lent, guess }),
        1 => (target(), any::<bool>(), guess())
            .prop_map(|(target, audit, guess)| Wish::Lock { target, audit, guess }),
        5 => (target(), guess()).prop_map(|(target, guess)| Wish::Unlock { target, guess }),
        7 => (target(), limit(), start, -100..4000i64, guess()).prop_map(
            |(target, limit, start, length, guess)| Wish::Override { target, limit, start, length, guess },
        ),
        3 => (target(), 0..4usize, guess())
            .prop_map(|(target, which, guess)| Wish::Cancel { target, which, guess }),
        7 => (target(), 0..3usize, amount(), until, (guess(), guess())).prop_map(
            |(from, to, amount, until, guesses)| Wish::Transfer { from, to, amount, until, guesses },
        ),
        2 => (select(&TEMPLATES[1..3]), any::<bool>(), quotas, guess()).prop_map(
            |(name, long, quotas, guess)| Wish::PutTemplate { name, long, quotas, guess },
        ),
        5 => (at(), prop_oneof![9 => select(&TEMPLATES[..3]), 1 => Just(TEMPLATES[3])], guess())
            .prop_map(|(at, name, guess)| Wish::ApplyTemplate { at, name, guess }),
    ]
}

fn plan() -> impl Strategy<Value = Wish> {
    let resource = some(0.3, (select(&RESOURCES[..5]), prop::bool::weighted(0.2)));
    let template = some(0.3, (select(&TEMPLATES[1..3]), policy()));
    let scopes = prop::collection::vec(scope(), 0..4);
    (resource, template, scopes).prop_map(|(resource, template, scopes)| Wish::Plan {
        resource,
        template,
        scopes,
    })
}

pub fn wish() -> impl Strategy<Value = Wish> {
    let single = prop_oneof![12 => hold_wish(), 8 => policy_wish(), 2 => tree_wish()].boxed();
    prop_oneof![
        40 => single.clone(),
        2 => plan(),
        3 => prop::collection::vec(single, 1..5).prop_map(Wish::Batch),
    ]
}
