//! Groups, entries and what becomes of them, without a node.

use tokio::sync::oneshot;

use super::gather::Gathered;
use super::queue::*;
use super::*;
use crate::ledger::Command;
use crate::ledger::RequestId;

fn request(number: u64, bytes: usize) -> Request {
    let bits = u128::from(number) << 80 | 7 << 76 | 0b10 << 62;
    let id = RequestId::from_bytes(bits.to_be_bytes()).expect("a UUIDv7");
    let command = Command::Release(crate::ledger::command::Release::all(1));
    Request { id, fingerprint: [0; 16], actor: "x".repeat(bytes).into(), reason: "".into(), command }
}

/// Takes so many bytes.
fn prepared(number: u64, bytes: usize) -> Arc<Prepared> {
    Arc::new(Prepared { request: request(number, 1), bytes: vec![0; bytes] })
}

fn outcome(Prepared { request, .. }: &Prepared) -> Outcome {
    let grant = crate::ledger::Grant::plain(crate::ledger::Granted::Done);
    Outcome { revision: request.id.time_ms(), replayed: false, verdict: Ok(grant) }
}

struct Group {
    first: u64,
    commands: u64,
    answer: oneshot::Receiver<Decided>,
}

/// Groups of so many commands of so many bytes each; commands are numbered through.
fn groups(shapes: &[(u64, usize)]) -> (VecDeque<Pending>, Vec<Group>) {
    let mut number = 0;
    let group = |(commands, bytes): &(u64, usize)| {
        let (reply, answer) = oneshot::channel();
        let first = number + 1;
        number += commands;
        let requests = (first..=number).map(|number| prepared(number, *bytes)).collect();
        let deadline = Instant::now() + ATTEMPT;
        let outcomes = Outcomes::default();
        let pending = Pending { requests, outcomes, deadline, stays: false, reply, _room: None };
        (pending, Group { first, commands: *commands, answer })
    };
    shapes.iter().map(group).unzip()
}

/// Carries groups, with the results of `decide`; returns how many commands each entry had.
fn carry(groups: &mut VecDeque<Pending>, mut decide: impl FnMut(&[Arc<Prepared>]) -> Decided) -> Vec<usize> {
    let mut entries = Vec::new();
    while !groups.is_empty() {
        let (entry, counts) = next_entry(groups);
        entries.push(entry.len());
        hand_out(groups, &counts, decide(&entry));
    }
    entries
}

fn decide(requests: &[Arc<Prepared>]) -> Decided {
    requests.iter().map(|prepared| outcome(prepared)).map(Ok).collect::<Vec<_>>().into()
}

fn revisions(decided: &Decided) -> Vec<u64> {
    decided.outcomes.iter().map(|result| result.as_ref().map_or(0, |outcome| outcome.revision)).collect()
}

#[track_caller]
fn assert_decided(group: Group, commands: u64, error: Option<ErrorKind>) {
    let decided = group.answer.blocking_recv().expect("it was answered");
    assert_eq!(revisions(&decided), (group.first..group.first + commands).collect::<Vec<_>>());
    assert_eq!(decided.error.map(|error| error.kind), error);
}

#[test]
fn commands_become_as_few_entries_as_their_number_and_bytes_allow_in_order() {
    for (shapes, entries) in [
        (vec![(1, 10), (3, 10), (2, 10)], vec![6]),
        (vec![(8_192, 10)], vec![8_192]),
        (vec![(8_000, 10), (8_192, 10), (1, 10)], vec![8_192, 8_001]),
        (vec![(3, MAX_BYTES / 2), (1, 10)], vec![2, 2]),
        (vec![(1, 10), (1, MAX_BYTES + 1), (1, 10)], vec![1, 1, 1]),
        (vec![(2, MAX_COMMAND_BYTES)], vec![1, 1]),
        // A tick alone is an entry; with others it is none.
        (vec![(0, 0)], vec![0]),
        (vec![(0, 0), (2, 10), (0, 0)], vec![2]),
        (vec![(0, 0), (1, MAX_BYTES), (1, 10), (0, 0)], vec![1, 1]),
    ] {
        let (mut pending, answers) = groups(&shapes);
        assert_eq!(carry(&mut pending, decide), entries, "{shapes:?}");
        for group in answers {
            let commands = group.commands;
            assert_decided(group, commands, None);
        }
    }
}

#[test]
fn what_follows_a_command_without_an_outcome_is_not_proposed() {
    let (mut pending, mut answers) = groups(&[(1, 10), (3, MAX_BYTES / 2), (1, 10), (0, 0)]);
    let mut attempts = 0;
    let entries = carry(&mut pending, |requests| {
        attempts += 1;
        if attempts == 1 { decide(requests) } else { Error::unavailable("no leader").into() }
    });
    assert_eq!(entries, [2, 2]);
    for (group, decided) in answers.drain(..).zip([1, 1, 0, 0]) {
        let error = (group.first != 1).then_some(ErrorKind::Unavailable);
        assert_decided(group, decided, error);
    }
}

#[test]
fn what_the_leader_has_decided_is_handed_out_though_the_rest_is_not() {
    let (mut pending, mut answers) = groups(&[(1, 10), (3, 10), (1, 10), (0, 0)]);
    let entries = carry(&mut pending, |requests| Decided {
        outcomes: requests[..2].iter().map(|prepared| outcome(prepared)).map(Ok).collect(),
        error: Some(Error::unavailable("the deadline passed")),
    });
    assert_eq!(entries, [5]);
    for (group, decided) in answers.drain(..).zip([1, 1, 0, 0]) {
        let error = (group.first != 1).then_some(ErrorKind::Unavailable);
        assert_decided(group, decided, error);
    }
}

#[test]
fn a_command_without_room_does_not_stand_in_the_way_of_those_around_it() {
    let (mut pending, mut answers) = groups(&[(1, 10), (2, 10), (1, 10)]);
    let no_room = Error::new(ErrorKind::NoRoom { node: 1, free_bytes: 7 }, "nearly full");
    let entries = carry(&mut pending, |requests| {
        let results =
            requests.iter().map(|prepared| outcome(prepared)).map(|outcome| match outcome.revision {
                2 | 4 => Err(no_room.clone()),
                _ => Ok(outcome),
            });
        results.collect::<Vec<_>>().into()
    });
    assert_eq!(entries, [4]);
    for (group, expected) in answers.drain(..).zip([vec![1], vec![0, 3], vec![0]]) {
        let decided = group.answer.blocking_recv().expect("it was answered");
        assert_eq!((revisions(&decided), decided.error), (expected, None));
    }
}

#[tokio::test]
async fn what_is_decided_when_the_deadline_passes_is_told() {
    let (queue, mut waiting) = queue();
    let requests = (1..=3).map(|number| prepared(number, MAX_BYTES * 6 / 10)).collect();
    let asked = queue.propose(requests, Instant::now() + Duration::from_millis(50), false);
    let carry = async {
        let mut groups = VecDeque::from([waiting.recv().await.expect("a group")]);
        let (entry, counts) = next_entry(&mut groups);
        hand_out(&mut groups, &counts, decide(&entry));
        assert_eq!((entry.len(), groups.len()), (1, 1), "the others wait for the next entry");
        groups
    };
    let (decided, _waiting) = tokio::join!(asked, carry);
    assert_eq!(revisions(&decided), [1]);
    assert_eq!(decided.error.map(|error| error.kind), Some(ErrorKind::Unavailable));
}

#[test]
fn what_is_sent_at_once_is_proposed_in_parts_of_bounded_bytes() {
    let requests = |bytes, count| (1..=count).map(|number| prepared(number, bytes)).collect();
    assert_eq!(group_of(&requests(10, 5)), 5);
    assert_eq!(group_of(&requests(10, 10_000)), MAX_COMMANDS);
    assert_eq!(group_of(&requests(MAX_COMMAND_BYTES - 1_000, 5)), 2);
    assert_eq!(group_of(&requests(GROUP_BYTES + 1, 2)), 1);
}

#[test]
fn commands_that_make_no_sense_to_the_leader_do_not_stop_the_others() {
    let (mut pending, mut answers) = groups(&[(1, MAX_BYTES), (1, 10)]);
    let mut attempts = 0;
    carry(&mut pending, |requests| {
        attempts += 1;
        if attempts == 1 { Error::new(ErrorKind::Invalid, "nonsense").into() } else { decide(requests) }
    });
    assert_decided(answers.remove(0), 0, Some(ErrorKind::Invalid));
    assert_decided(answers.remove(0), 1, None);
}

#[test]
fn a_group_is_admitted_as_a_whole_or_not_at_all_by_number_and_by_bytes() {
    let (queue, _receiver) = queue();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(Arc::<str>::from);
    let taken = || {
        let taken = queue.taken.lock().expect("not poisoned");
        (taken.commands, taken.bytes)
    };
    let kind = |result: Result<Room, Error>| result.err().map(|error| error.kind);
    let (most, most_bytes) = (QUEUE / SHARE, QUEUE_BYTES / SHARE);
    let first = queue.admit(&alice, most - 10, 1 << 20).expect("there is room");
    let second = queue.admit(&alice, 10, 1 << 20).expect("there is room");
    // One alone does not fill it.
    assert_eq!(kind(queue.admit(&alice, 1, 1)), Some(ErrorKind::Overloaded));
    let third = queue.admit(&bob, most - 5, 1).expect("there is room for others");
    assert_eq!(kind(queue.admit(&carol, 6, 1)), Some(ErrorKind::Overloaded));
    assert_eq!(taken(), (QUEUE - 5, (2 << 20) + 1), "nothing of it was admitted");
    drop(second);
    assert_eq!(kind(queue.admit(&alice, 11, 1)), Some(ErrorKind::Overloaded));
    assert_eq!(kind(queue.admit(&alice, 1, most_bytes)), Some(ErrorKind::Overloaded));
    drop((first, third));
    assert_eq!(taken(), (0, 0), "room is given back");
    assert_eq!(kind(queue.admit(&alice, most, most_bytes)), None);
    assert_eq!(kind(queue.admit(&alice, most + 1, 1)), Some(ErrorKind::Invalid));
    assert_eq!(kind(queue.admit(&alice, 1, most_bytes + 1)), Some(ErrorKind::Invalid));
}

#[test]
fn what_was_not_admitted_was_not_tried_and_is_told_at_once() {
    let overloaded = || Some(Error::new(ErrorKind::Overloaded, "full"));
    let lost = || Some(Error::unavailable("no answer"));
    let kind = |error: Option<Error>| error.map(|error| error.kind);
    let mut attempts = Attempts::default();
    assert_eq!(kind(attempts.after(5, 0, overloaded())), Some(ErrorKind::Overloaded));
    assert_eq!(attempts.count(), 0);
    // Two of five are decided; of the others nobody knows, however full it is afterwards.
    assert_eq!(kind(attempts.after(5, 2, lost())), Some(ErrorKind::Unavailable));
    assert_eq!(attempts.count(), 3);
    assert_eq!(kind(attempts.after(3, 0, overloaded())), Some(ErrorKind::Unavailable));
    assert_eq!(attempts.count(), 3);
    assert_eq!(kind(attempts.after(3, 3, None)), None);
    assert_eq!(kind(attempts.after(4, 0, overloaded())), Some(ErrorKind::Overloaded));
}

/// A group of so many commands of an actor; the first has this number.
fn group_by(actor: &str, first: u64, commands: u64) -> Pending {
    let prepared = |number| {
        let request = Request { actor: actor.into(), ..request(number, 1) };
        Arc::new(Prepared { request, bytes: vec![0; 10] })
    };
    let requests = (first..first + commands).map(prepared).collect();
    let (deadline, outcomes) = (Instant::now() + ATTEMPT, Outcomes::default());
    Pending { requests, outcomes, deadline, stays: false, reply: oneshot::channel().0, _room: None }
}

#[test]
fn who_sends_little_does_not_wait_for_who_sends_much() {
    let firsts = |taken: VecDeque<Pending>| -> Vec<u64> {
        taken.iter().map(|pending| pending.requests[0].request.id.time_ms()).collect()
    };
    let mut gathered = Gathered::default();
    (0..4).for_each(|number| gathered.push(group_by("alice", 1 + 100 * number, 100)));
    assert_eq!(firsts(gathered.next(100)), [1]);
    gathered.push(group_by("bob", 1_001, 2));
    gathered.push(group_by("bob", 1_003, 50));
    // Bob is done before alice goes on, and each stays in order.
    assert_eq!(firsts(gathered.next(150)), [1_001, 1_003, 101]);
    gathered.push(group_by("carol", 2_001, 150));
    gathered.push(group_by("carol", 2_151, 1));
    assert_eq!(firsts(gathered.next(1_000)), [2_001, 201, 2_151, 301]);
    assert!(gathered.next(1_000).is_empty());
    // Nobody pays for what was long ago.
    gathered.push(group_by("alice", 401, 1));
    gathered.push(group_by("dave", 3_001, 1));
    assert_eq!(firsts(gathered.next(10)), [401, 3_001]);
}

#[test]
fn a_command_larger_than_a_log_entry_may_be_is_refused() {
    assert_eq!(check_size(&batch::encoded(&request(1, MAX_COMMAND_BYTES - 1_000))), Ok(()));
    let error = check_size(&batch::encoded(&request(1, MAX_COMMAND_BYTES))).expect_err("it is too large");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.problem.contains("4194304"), "{error}");
}
