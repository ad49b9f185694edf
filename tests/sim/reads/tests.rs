//! The log witness sees what it should.

use quorate::client::v1::Event;
use quorate::client::v1::EventsCompacted;
use quorate::client::v1::event::Body;
use quorate::codec::event;
use quorate::ledger::Command;
use quorate::ledger::Labels;
use quorate::ledger::Path;
use quorate::ledger::Request;
use quorate::ledger::RequestId;
use quorate::ledger::State;
use quorate::ledger::apply::Stamp;
use quorate::ledger::apply::apply;
use quorate::ledger::command::CreateScope;
use uuid::Uuid;

use super::*;
use crate::workload::Asked;
use crate::workload::Operation;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn id(number: u64) -> Uuid {
    let time = EPOCH.as_millis() + u128::from(number);
    Uuid::from_u128(time << 80 | 7 << 76 | 0b10 << 62)
}

/// Ten scopes, the first made between 100 and 150 ms, the next between 200 and 250, and so on, each at
/// a log time of so many milliseconds since the beginning.
fn run() -> (Vec<Event>, Vec<Operation>) {
    let (mut state, mut events, mut history) = (State::default(), Vec::new(), Vec::new());
    for number in 1..=10 {
        let path = Path::parse(&format!("tree{number}")).expect("a path");
        let command = CreateScope::new(path, None, Labels::default(), None, None).expect("a scope");
        let request = Request {
            id: RequestId::from_bytes(id(number).into_bytes()).expect("a UUIDv7"),
            fingerprint: [0; 16],
            actor: "".into(),
            reason: "".into(),
            command: Command::CreateScope(command),
        };
        let time = u64::try_from(EPOCH.as_millis()).expect("a time") + number * 100;
        let applied = apply(&mut state, Stamp::from(time), &[request]);
        events.extend(applied.events.iter().map(|happened| event::encode(happened, Default::default())));
        history.push(Operation {
            request_id: id(number),
            actor: "client-1",
            asked: Asked::Setup,
            told: Told::Granted { revision: number, hold: None },
            invoked: ms(number * 100),
            returned: ms(number * 100 + 50),
        });
    }
    (events, history)
}

/// Somebody asked at 820 ms, when revision 7 was known and 8 under way.
fn reply(read: Read, answer: Answer) -> Reply {
    Reply { read, began: ms(820), ended: ms(830), answer }
}

fn shows(read: Read, revision: u64) -> Reply {
    reply(read, Answer::Shown { revision, shown: Shown::Holds(Vec::new()) })
}

fn problem(replies: &[Reply]) -> Option<String> {
    let (events, history) = run();
    check_reads(&events, &history, replies).err()
}

fn at_ms(ms: u64) -> Read {
    Read::AtTime(u64::try_from(EPOCH.as_millis()).expect("a time") + ms)
}

#[test]
fn what_is_as_new_as_it_was_asked_for_is_accepted() {
    let replies = [
        shows(Read::Linearizable, 7),
        shows(Read::Linearizable, 8),
        shows(Read::AtLeast(3), 3),
        shows(Read::Stale(ms(200)), 5),
        shows(Read::AtRevision(4), 4),
        shows(at_ms(499), 4),
        shows(at_ms(500), 5),
        reply(Read::Linearizable, Answer::Unavailable),
        reply(Read::AtRevision(9), Answer::NotYet),
        reply(at_ms(900), Answer::NotYet),
    ];
    for reply in replies {
        assert_eq!(problem(std::slice::from_ref(&reply)), None, "{reply:?}");
    }
}

#[test]
fn what_is_older_or_newer_than_it_was_asked_for_is_found() {
    let cases = [
        (shows(Read::Linearizable, 6), "although 7 was known before"),
        (shows(Read::AtLeast(5), 4), "which is less"),
        (shows(Read::Stale(ms(200)), 4), "although 5 was known so long before"),
        (shows(Read::AtRevision(4), 5), "shows 5"),
        (shows(at_ms(499), 5), "4 was the last then"),
        (shows(Read::AtLeast(1), 9), "before anybody asked for it"),
        (shows(Read::AtLeast(1), 11), "11 was shown and is not there"),
        (reply(Read::AtRevision(7), Answer::NotYet), "7 was known before"),
        (reply(Read::Linearizable, Answer::NotYet), "has not happened yet"),
    ];
    for (reply, expected) in cases {
        let problem = problem(std::slice::from_ref(&reply)).unwrap_or_default();
        assert!(problem.contains(expected), "{reply:?}: {problem:?}");
    }
    let long_past = Reply { began: EPOCH, ended: EPOCH, ..reply(at_ms(0), Answer::NotYet) };
    assert!(problem(&[long_past]).expect("a problem").contains("not past"));
}

#[test]
fn what_was_removed_may_be_refused_and_nothing_else() {
    let (mut events, mut history) = run();
    events[5].body = Some(Body::EventsCompacted(EventsCompacted { through_revision: 3, previous: 0 }));
    history[5].asked = Asked::LetGo(3);
    let problem = |reply: Reply| check_reads(&events, &history, &[reply]).err();
    let refused = |read, earliest| reply(read, Answer::Compacted { earliest });
    for right in [refused(Read::AtRevision(2), 3), refused(Read::AtRevision(4), 7), refused(at_ms(350), 3)] {
        assert_eq!(problem(right.clone()), None, "{right:?}");
    }
    let before = |reply| Reply { began: ms(560), ended: ms(570), ..reply };
    let cases = [
        (refused(Read::AtRevision(3), 3), "there is everything from 3 on"),
        (refused(at_ms(400), 4), "there is everything from 4 on"),
        (refused(Read::AtRevision(2), 11), "nothing before 11"),
        (refused(Read::Linearizable, 3), "is told that it is too long ago"),
        (before(refused(Read::AtRevision(2), 3)), "nothing was removed"),
    ];
    for (reply, expected) in cases {
        let problem = problem(reply.clone()).unwrap_or_default();
        assert!(problem.contains(expected), "{reply:?}: {problem:?}");
    }
}

#[test]
fn what_one_reader_saw_the_next_one_sees() {
    let first = Reply { ended: ms(815), ..shows(Read::AtLeast(1), 8) };
    assert_eq!(problem(&[first.clone(), shows(Read::Linearizable, 8)]), None);
    let problem = problem(&[first, shows(Read::Linearizable, 7)]).expect("a problem");
    assert!(problem.contains("8 was known before"), "{problem}");
}

#[test]
fn what_the_events_do_not_make_is_found() {
    let shown = Shown::Quotas(vec![Quota::default()]);
    let reply = reply(Read::AtRevision(3), Answer::Shown { revision: 3, shown });
    assert!(problem(&[reply]).expect("a problem").contains("it must be Quotas([])"));
}

#[test]
fn what_was_not_met_is_missed() {
    let (events, history) = run();
    let replies = [shows(Read::Stale(ms(500)), 5), shows(Read::Linearizable, 7)];
    let met = check_reads(&events, &history, &replies).expect("all is well");
    assert!(!met.missing().contains(&ANSWERS[0]) && !met.missing().contains(&ANSWERS[3]));
    assert_eq!(met.missing().len(), ANSWERS.len() + BASES.len() - 2);
    let mut met = Met::default();
    met.add_trace(
        "  10 readers met an answer as of a time: 2\n  11 x the past is put together from a keyframe\n",
    );
    assert_eq!(met.missing().len(), ANSWERS.len() + BASES.len() - 2);
}
