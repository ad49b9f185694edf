//! The judge on small histories: one that is right, and the same with one thing wrong.

use std::collections::BTreeMap;

use quorate::client::new_request_id;
use quorate::client::request_time_ms;
use quorate::client::v1;
use quorate::codec::batch;
use quorate::codec::batch::fingerprint;
use quorate::codec::block;
use quorate::codec::digest::StateDigest;
use quorate::codec::event;
use quorate::codec::rejection;
use quorate::ledger;
use quorate::ledger::Command;
use quorate::ledger::Granted;
use quorate::ledger::Request;
use quorate::ledger::RequestId;
use quorate::ledger::State;
use uuid::Uuid;

use crate::history::Answer;
use crate::history::Seen;
use crate::history::Told;
use crate::history::create_scope;
use crate::history::line;
use crate::history::release;
use crate::history::reserve;
use crate::history::set_quota;
use crate::witness::Judgement;
use crate::witness::Witness;

/// A history with everything that it is judged by.
#[derive(Clone)]
struct Whole {
    ids: Vec<Uuid>,
    seen: BTreeMap<Uuid, Seen>,
    entries: Vec<Vec<v1::Event>>,
    end: (u64, String),
}

const RESERVED: usize = 2;
const DENIED: usize = 3;
const RELEASED: usize = 4;

/// A scope with a quota of 10; 8 are reserved, 5 more denied, and the 8 released: an entry each.
fn right() -> Whole {
    let commands = [
        create_scope("acme"),
        set_quota("acme", "memory_gb", 10),
        reserve(vec![line("acme", "memory_gb", 8)]),
        reserve(vec![line("acme", "memory_gb", 5)]),
        release(3),
    ];
    let mut state = State::default();
    let (mut ids, mut seen, mut entries) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (command, index) in commands.into_iter().zip(1..) {
        let id = new_request_id();
        let request = request(id, command);
        let time = request_time_ms(id);
        let commands = batch::commands(std::slice::from_ref(&request));
        let mut applied = ledger::apply(&mut state, time, std::slice::from_ref(&request));
        let outcome = applied.outcomes.pop().expect("one outcome");
        let verdict = outcome.verdict.map(|grant| grant.what);
        let verdict = verdict.map_err(|rejection| rejection::encode(&rejection));
        let told = Told { revision: outcome.revision, replayed: false, verdict };
        let after = index - 1;
        let repeat = Answer { after: index, told: Told { replayed: true, ..told.clone() } };
        let answers = vec![Answer { after, told }, repeat];
        seen.insert(id, Seen { fingerprint: request.fingerprint, after, answers });
        ids.push(id);
        let position = event::Position { term: 1, index };
        let block = event::write_entry(&applied.events, &[request], &commands, position);
        entries.push(block::decode(&block).expect("what was written"));
    }
    Whole { ids, seen, entries, end: (state.revision(), StateDigest::of(&state).to_string()) }
}

fn request(id: Uuid, command: Command) -> Request {
    Request {
        id: RequestId::from_bytes(id.into_bytes()).expect("a UUIDv7"),
        fingerprint: fingerprint(&command),
        actor: "".into(),
        reason: "".into(),
        command,
    }
}

impl Whole {
    fn judge(&self) -> Judgement {
        let mut witness = Witness::default();
        self.entries.iter().try_for_each(|entry| witness.entry(entry, &self.seen))?;
        witness.end(&self.end, &self.seen)
    }

    fn seen(&mut self, which: usize) -> &mut Seen {
        self.seen.get_mut(&self.ids[which]).expect("it was sent")
    }
}

/// What the judge says when this one thing is wrong.
#[track_caller]
fn refused(said: &str, tamper: impl FnOnce(&mut Whole)) {
    let mut whole = right();
    whole.judge().expect("all of it is right");
    tamper(&mut whole);
    let problem = whole.judge().expect_err(said);
    assert!(problem.contains(said), "{problem}");
}

#[test]
fn an_acknowledged_command_that_is_lost_is_missed() {
    refused("was acknowledged and is lost", |whole| {
        let lost = whole.seen(RESERVED).clone();
        whole.seen.insert(new_request_id(), lost);
    });
    // One that nobody was told of may have come to nothing.
    let mut whole = right();
    let unknown = Seen { answers: Vec::new(), ..whole.seen(RESERVED).clone() };
    whole.seen.insert(new_request_id(), unknown);
    whole.judge().expect("an unknown outcome is no promise");
}

#[test]
fn events_that_end_early_are_missed() {
    refused("the events end at 4", |whole| drop(whole.entries.pop()));
}

#[test]
fn a_gap_in_the_events_is_seen() {
    refused("revision 5 follows 3", |whole| drop(whole.entries.remove(3)));
}

#[test]
fn a_command_that_took_effect_twice_is_seen() {
    refused("took effect a second time", |whole| {
        let mut again = whole.entries[RESERVED].clone();
        again[0].revision = 6;
        whole.entries.push(again);
    });
}

#[test]
fn a_command_that_nobody_sent_is_seen() {
    refused("nobody sent", |whole| drop(whole.seen.remove(&whole.ids[DENIED].clone())));
}

#[test]
fn a_command_that_is_another_one_than_was_sent_is_seen() {
    refused("is not what was sent", |whole| {
        let other = whole.seen(DENIED).fingerprint;
        whole.seen(RESERVED).fingerprint = other;
    });
}

#[test]
fn a_client_that_was_told_otherwise_is_believed() {
    refused("a client was told", |whole| {
        whole.seen(RELEASED).answers[0].told.revision = 4;
    });
    refused("a client was told", |whole| {
        whole.seen(DENIED).answers[1].told.verdict = Ok(Granted::Hold { hold: 4, expires_at: None });
    });
    refused("a client was told", |whole| {
        whole.seen(RESERVED).answers[0].told.verdict = Ok(Granted::Hold { hold: 1, expires_at: None });
    });
}

#[test]
fn a_second_first_outcome_is_seen() {
    refused("told 2 times that it was new", |whole| {
        whole.seen(RESERVED).answers[1] = whole.seen(RESERVED).answers[0].clone();
    });
}

#[test]
fn a_revision_that_is_older_than_what_was_known_before_is_seen() {
    refused("was sent after 3 was known and decided at 3", |whole| whole.seen(RESERVED).after = 3);
    // The command had been sent before; the call that says it was new had not.
    refused("is new at 3, and 4 was known before", |whole| whole.seen(RESERVED).answers[0].after = 4);
}

#[test]
fn events_that_the_rules_do_not_give_are_seen() {
    refused("the rules give", |whole| whole.entries[RESERVED][0].touched[0].held = "7".to_owned());
    refused("the rules give", |whole| {
        whole.entries[RELEASED][0].log_time_ms -= 1 << 40;
    });
}

#[test]
fn a_state_that_does_not_follow_from_the_events_is_seen() {
    refused("the nodes came to the state", |whole| whole.end.1 = "00".to_owned());
    refused("the nodes at 6", |whole| whole.end.0 = 6);
}
