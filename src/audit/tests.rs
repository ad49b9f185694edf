//! Exports that are whole, and exports with anything changed.

#![allow(clippy::cast_possible_truncation)] // Of small numbers.

use super::AuditError;
use super::export;
use super::export::Form;
use super::replay::Replay;
use super::verify::Report;
use super::verify::verify;
use crate::codec::block;
use crate::codec::command;
use crate::codec::command::Message;
use crate::codec::digest::StateDigest;
use crate::codec::event;
use crate::codec::event::Position;
use crate::codec::event::Recorded;
use crate::codec::merkle;
use crate::codec::merkle::Hash;
use crate::codec::merkle::Nodes;
use crate::codec::note;
use crate::codec::note::Checkpoint;
use crate::codec::note::NoteSigner;
use crate::codec::note::SignedNote;
use crate::ledger;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::State;
use crate::proto::v1;
use crate::proto::v1::export_record::Record;
use prost::Message as _;

const NOW: u64 = 1_767_225_600_000;

fn signer() -> NoteSigner {
    NoteSigner::new(note::signer_name("main", 1), &[7; 32])
}

/// A ledger with its events, and its state after each log entry.
#[derive(Default)]
struct Ledger {
    state: State,
    events: Vec<v1::Event>,
    index: u64,
    /// Revision, log time and digest after each entry.
    states: Vec<(u64, u64, StateDigest)>,
}

impl Ledger {
    fn entry(&mut self, messages: Vec<Message>) {
        let commands = messages.into_iter().map(|message| command::decode(message).expect("a command"));
        self.requests(commands.collect());
    }

    fn requests(&mut self, commands: Vec<ledger::Command>) {
        self.index += 1;
        let time = NOW + self.index * 1_000;
        let request = |(number, command): (usize, ledger::Command)| Request {
            id: RequestId::made_at(time, (u128::from(self.index) << 16) + number as u128),
            fingerprint: crate::codec::batch::fingerprint(&command),
            actor: "alice".into(),
            reason: "a new year".into(),
            command,
        };
        let requests: Vec<_> = commands.into_iter().enumerate().map(request).collect();
        let commands = crate::codec::batch::commands(&requests);
        let applied = ledger::apply(&mut self.state, time, &requests);
        let position = Position { term: 1, index: self.index };
        let block = event::write_entry(&applied.events, &requests, &commands, position);
        self.events.extend(block::decode(&block).expect("what was written"));
        self.states.push((self.state.revision(), self.state.time(), StateDigest::of(&self.state)));
    }

    fn leaves(&self) -> Leaves {
        Leaves(self.events.iter().map(|event| merkle::leaf(&event.encode_to_vec())).collect())
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        let (_, time, state) =
            *self.states.iter().find(|state| state.0 == size).expect("the end of an entry");
        let root = merkle::root(&self.leaves(), size).unwrap();
        Checkpoint { origin: note::origin("main"), size, root, time, state }
    }

    fn note(&self, size: u64) -> SignedNote {
        signer().sign(&self.checkpoint(size).to_string()).parse().expect("a note")
    }

    fn size(&self) -> u64 {
        self.events.len() as u64
    }

    /// The records of an export.
    fn records(&self, from: u64, to: u64) -> Vec<v1::ExportRecord> {
        let leaves = self.leaves();
        let edge = merkle::Edge::of(&leaves, from - 1).unwrap();
        let header = v1::ExportHeader {
            format: 1,
            origin: note::origin("main"),
            from_revision: from,
            edge: edge.nodes().iter().map(|hash| hash.0.to_vec()).collect(),
        };
        let consistency = merkle::consistency(&leaves, to, self.size()).unwrap();
        let trailer = v1::ExportTrailer {
            to_revision: to,
            checkpoint: signer().sign(&self.checkpoint(self.size()).to_string()),
            consistency: consistency.iter().map(|hash| hash.0.to_vec()).collect(),
            verifier_keys: vec![signer().verifier().to_string()],
        };
        let events = &self.events[from as usize - 1..to as usize];
        let record = |record| v1::ExportRecord { record: Some(record), leaf_hash: Vec::new() };
        std::iter::once(record(Record::Header(header)))
            .chain(events.iter().map(|event| exported(event.clone())))
            .chain([record(Record::Trailer(trailer))])
            .collect()
    }
}

/// An event with the hash that it has.
fn exported(event: v1::Event) -> v1::ExportRecord {
    let leaf_hash = merkle::leaf(&event.encode_to_vec()).0.to_vec();
    v1::ExportRecord { record: Some(Record::Event(event)), leaf_hash }
}

struct Leaves(Vec<Hash>);

impl Nodes for Leaves {
    type Error = std::convert::Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error> {
        Ok(match level {
            0 => self.0[index as usize],
            _ => merkle::parent(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?),
        })
    }
}

fn scope(path: &str) -> Message {
    Message::CreateScope(v1::CreateScopeRequest { path: path.into(), ..Default::default() })
}

fn quota(scope: &str, amount: &str) -> Message {
    let limit = v1::Limit { limit: Some(v1::limit::Limit::Amount(amount.into())) };
    Message::SetQuota(v1::SetQuotaRequest {
        scope: scope.into(),
        resource: "memory_gb".into(),
        policy: Some(v1::Policy { limit: Some(limit), ..Default::default() }),
        ..Default::default()
    })
}

fn reserve(scope: &str, amount: &str) -> Message {
    let line = v1::Line {
        scope: scope.into(),
        resource: "memory_gb".into(),
        amount: amount.into(),
        ..Default::default()
    };
    Message::Reserve(v1::ReserveRequest { lines: vec![line], ttl_ms: Some(2_500), ..Default::default() })
}

/// Everything that stands differently in events: several commands in an entry, a denial, an expiry, a
/// batch that took effect and one that did not, a template.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.entry(vec![scope("acme"), scope("acme/ml"), quota("acme", "64")]);
    ledger.entry(vec![quota("acme/ml", "20"), reserve("acme/ml", "16"), reserve("acme/ml", "16")]);
    ledger.entry(vec![reserve("acme", "1"), reserve("acme", "1.5")]);
    for amount in ["2", "200"] {
        let commands = [scope(&format!("acme/{amount}")), reserve("acme", amount)];
        let commands = commands.map(|message| command::decode(message).expect("a command"));
        let batch = ledger::command::Batch::new(commands.into()).expect("a batch");
        ledger.requests(vec![ledger::Command::Batch(batch)]);
    }
    let template = v1::ApplyTemplateRequest {
        scope: "acme/ml".into(),
        template: "startup".into(),
        ..Default::default()
    };
    ledger.entry(vec![Message::ApplyTemplate(template)]);
    ledger.entry(vec![]);
    ledger
}

fn written(form: Form, records: &[v1::ExportRecord]) -> Vec<u8> {
    let mut bytes = export::beginning(form).to_vec();
    records.iter().for_each(|record| export::write(form, record, &mut bytes).expect("written"));
    bytes
}

fn check(records: &[v1::ExportRecord]) -> Result<Report, AuditError> {
    verify(written(Form::Json, records).as_slice(), &[signer().verifier()], &[], true)
}

/// What is said of an export that does not verify.
fn problem(records: &[v1::ExportRecord]) -> String {
    check(records).expect_err("it does not verify").to_string()
}

/// The record of an event.
fn event_of(records: &mut [v1::ExportRecord], revision: usize) -> &mut v1::Event {
    match &mut records[revision].record {
        Some(Record::Event(event)) => event,
        other => panic!("{other:?} is no event"),
    }
}

#[test]
fn a_whole_export_verifies_in_both_forms() {
    let ledger = ledger();
    let size = ledger.size();
    assert!(ledger.events.iter().any(|event| event.request_id.is_empty()), "nothing expired");
    for form in [Form::Json, Form::Protobuf] {
        let bytes = written(form, &ledger.records(1, size));
        let report = verify(bytes.as_slice(), &[signer().verifier()], &[], false).expect("it verifies");
        assert_eq!((report.from, report.to, report.is_trusted), (1, size, true));
        assert_eq!(report.checkpoint, ledger.checkpoint(size));
        assert_eq!(report.state, Some(StateDigest::of(&ledger.state)));
        assert_eq!(report.root, merkle::root(&ledger.leaves(), size).unwrap());
    }
}

#[test]
fn without_a_key_that_of_the_export_is_believed_and_that_is_said() {
    let ledger = ledger();
    let bytes = written(Form::Json, &ledger.records(1, ledger.size()));
    let report = verify(bytes.as_slice(), &[], &[], false).expect("it verifies");
    assert!(!report.is_trusted);
    let other = NoteSigner::new(note::signer_name("main", 1), &[8; 32]).verifier();
    assert!(verify(bytes.as_slice(), &[other], &[], false).is_err());
}

#[test]
fn one_changed_byte_anywhere_in_the_events_is_found() {
    let ledger = ledger();
    for form in [Form::Json, Form::Protobuf] {
        let records = ledger.records(1, ledger.size());
        let header = written(form, &records[..1]).len();
        let trailer = written(form, &records[records.len() - 1..]).len() - export::beginning(form).len();
        let bytes = written(form, &records);
        for position in header..bytes.len() - trailer {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            let result = verify(changed.as_slice(), &[signer().verifier()], &[], false);
            let text =
                String::from_utf8_lossy(&bytes[position.saturating_sub(20)..position + 1]).into_owned();
            assert!(result.is_err(), "{form:?}: byte {position} was changed, after {text:?}");
        }
    }
}

#[test]
fn what_is_missing_moved_or_there_twice_is_named() {
    let ledger = ledger();
    let records = ledger.records(1, ledger.size());
    let mut missing = records.clone();
    missing.remove(4);
    assert!(problem(&missing).starts_with("event 4: event 5 stands in its place"), "{}", problem(&missing));
    let mut swapped = records.clone();
    swapped.swap(4, 5);
    assert!(problem(&swapped).starts_with("event 4: event 5 stands in its place"));
    let mut twice = records.clone();
    twice.insert(4, records[4].clone());
    assert!(problem(&twice).starts_with("event 5: event 4 stands in its place"));
    let mut cut = records.clone();
    cut.pop();
    assert!(problem(&cut).contains("ends before its trailer"));
    let mut short = records.clone();
    short.remove(records.len() - 2);
    assert!(problem(&short).contains(&format!("event {}: it is missing", ledger.size())));
    let mut more = records.clone();
    more.push(records[4].clone());
    assert!(problem(&more).contains("follows the trailer"));
    let mut headless = records.clone();
    headless.remove(0);
    assert!(problem(&headless).contains("before the header"));
    assert!(problem(&[records[0].clone(), records[0].clone()]).contains("there twice"));
}

#[test]
fn a_decision_that_the_rules_do_not_lead_to_is_named_even_under_its_own_hash() {
    let ledger = ledger();
    let mut records = ledger.records(1, ledger.size());
    let event = event_of(&mut records, 5);
    event.touched[0].held = "15".to_owned();
    let event = event.clone();
    records[5] = exported(event);
    let told = problem(&records);
    assert!(told.starts_with("event 5: touched is") && told.contains("by the rules it is"), "{told}");

    // A grant where there was no room, made from the denial.
    let mut records = ledger.records(1, ledger.size());
    let granted = event_of(&mut records, 5).body.clone();
    let event = event_of(&mut records, 6);
    assert!(matches!(event.body, Some(v1::event::Body::Rejected(_))));
    event.body = granted;
    let event = event.clone();
    records[6] = exported(event);
    assert!(problem(&records).starts_with("event 6: "), "{}", problem(&records));

    // Another command than the one that was fingerprinted.
    let mut records = ledger.records(1, ledger.size());
    let event = event_of(&mut records, 6);
    event.command = Some(v1::BatchCommand { tag: 0, command: Some(reserve("acme/ml", "17")) });
    let event = event.clone();
    records[6] = exported(event);
    assert!(problem(&records).contains("event 6: its fingerprint is not that of its command"));
}

#[test]
fn what_no_rule_looks_at_is_still_under_the_signature() {
    let ledger = ledger();
    let mut records = ledger.records(1, ledger.size());
    let event = event_of(&mut records, 1);
    event.reason = "nobody knows".to_owned();
    let event = event.clone();
    records[1] = exported(event);
    assert!(
        problem(&records).contains("was signed: at least one of them was changed"),
        "{}",
        problem(&records)
    );
}

#[test]
fn what_this_program_does_not_know_is_no_part_of_what_was_decided() {
    let ledger = ledger();
    let size = ledger.size();
    let mut events: Vec<_> = ledger.events.iter().map(prost::Message::encode_to_vec).collect();
    // A field with a number that nobody has given, in an event that was signed with it.
    prost::encoding::uint64::encode(10_000, &1, &mut events[2]);
    let leaves = Leaves(events.iter().map(|event| merkle::leaf(event)).collect());
    let root = merkle::root(&leaves, size).expect("a root");
    let note = signer().sign(&Checkpoint { root, ..ledger.checkpoint(size) }.to_string());
    let records = ledger.records(1, size);
    let mut trailer = records.last().expect("a trailer").clone();
    match &mut trailer.record {
        Some(Record::Trailer(trailer)) => trailer.checkpoint = note,
        other => panic!("{other:?} is no trailer"),
    }
    let mut bytes = written(Form::Protobuf, &records[..1]);
    events.iter().for_each(|event| export::write_event(Form::Protobuf, event, &mut bytes).expect("written"));
    export::write(Form::Protobuf, &trailer, &mut bytes).expect("written");
    let told = verify(bytes.as_slice(), &[signer().verifier()], &[], true).expect_err("it does not verify");
    assert!(told.to_string().starts_with("event 3: "), "{told}");
}

#[test]
fn a_part_of_the_events_with_something_that_this_program_does_not_know_is_refused() {
    let ledger = ledger();
    let size = ledger.size();
    let mut events: Vec<_> = ledger.events.iter().map(prost::Message::encode_to_vec).collect();
    prost::encoding::uint64::encode(10_000, &1, &mut events[4]);
    let leaves = Leaves(events.iter().map(|event| merkle::leaf(event)).collect());
    let note = signer().sign(
        &Checkpoint { root: merkle::root(&leaves, size).expect("a root"), ..ledger.checkpoint(size) }
            .to_string(),
    );
    let records = ledger.records(4, size);
    let mut trailer = records.last().expect("a trailer").clone();
    match &mut trailer.record {
        Some(Record::Trailer(trailer)) => trailer.checkpoint = note,
        other => panic!("{other:?} is no trailer"),
    }
    let mut bytes = written(Form::Protobuf, &records[..1]);
    let part = &events[3..];
    part.iter().for_each(|event| export::write_event(Form::Protobuf, event, &mut bytes).expect("written"));
    export::write(Form::Protobuf, &trailer, &mut bytes).expect("written");
    let told = verify(bytes.as_slice(), &[signer().verifier()], &[], true).expect_err("it does not verify");
    assert!(told.to_string().starts_with("event 5: it has something in it"), "{told}");
}

#[test]
fn a_record_that_others_would_read_differently_is_refused() {
    let ledger = ledger();
    let records = ledger.records(1, ledger.size());
    let event = ledger.events[2].encode_to_vec();
    let leaf = merkle::leaf(&event).0.to_vec();
    let forged = v1::Event { reason: "forged".to_owned(), ..Default::default() };
    let event = [(2, event), (4, leaf)];
    let with = |more: (u32, Vec<u8>)| [event.as_slice(), &[more]].concat();
    let more = [
        ("another event is merged into it", [&[(2, forged.encode_to_vec())], event.as_slice()].concat()),
        ("it becomes a header", with((1, Vec::new()))),
        ("it becomes a trailer", with((3, Vec::new()))),
        ("there is something unknown", with((9, vec![1]))),
    ];
    for (why, fields) in more {
        let mut record = Vec::new();
        for (field, value) in fields {
            prost::encoding::bytes::encode(field, &value, &mut record);
        }
        let mut bytes = written(Form::Protobuf, &records[..3]);
        prost::encoding::encode_varint(record.len() as u64, &mut bytes);
        bytes.extend(record);
        bytes.extend_from_slice(
            &written(Form::Protobuf, &records[4..])[export::beginning(Form::Protobuf).len()..],
        );
        let told = verify(bytes.as_slice(), &[signer().verifier()], &[], false);
        let told = told.expect_err(why).to_string();
        assert!(told.starts_with("record 4: there is more in it"), "{why}: {told}");
    }
}

#[test]
fn a_forged_checkpoint_is_refused() {
    let ledger = ledger();
    let size = ledger.size();
    let with_note = |note: String| {
        let mut records = ledger.records(1, size);
        if let Some(Record::Trailer(trailer)) = &mut records.last_mut().expect("a trailer").record {
            trailer.checkpoint = note;
        }
        problem(&records)
    };
    let right = ledger.checkpoint(size);
    let forger = NoteSigner::new(note::signer_name("main", 1), &[9; 32]);
    assert!(with_note(forger.sign(&right.to_string())).contains("none of the given keys has signed it"));
    let text = signer().sign(&right.to_string()).replace("time 1", "time 2");
    assert!(with_note(text).contains("is not of this text"));
    // Signed, but not of these events.
    let sign = |checkpoint: Checkpoint| with_note(signer().sign(&checkpoint.to_string()));
    assert!(sign(Checkpoint { root: merkle::empty_root(), ..right.clone() }).contains("was signed"));
    assert!(
        sign(Checkpoint { state: ledger.states[0].2, ..right.clone() }).contains("the state after event")
    );
    assert!(sign(Checkpoint { time: 1, ..right.clone() }).contains("the log time"));
    assert!(sign(Checkpoint { origin: note::origin("other"), ..right.clone() }).contains("quorate/other"));
    assert!(sign(Checkpoint { size: size + 1, ..right.clone() }).contains("nothing shows"));
}

#[test]
fn checkpoints_from_before_must_fit() {
    let ledger = ledger();
    let bytes = written(Form::Json, &ledger.records(1, ledger.size()));
    let keys = [signer().verifier()];
    let older: Vec<_> = ledger.states.iter().map(|state| ledger.note(state.0)).collect();
    let report = verify(bytes.as_slice(), &keys, &older, false).expect("it verifies");
    assert_eq!(report.older, ledger.states.iter().map(|state| state.0).collect::<Vec<_>>());

    let refused = |checkpoint: Checkpoint| {
        let note: SignedNote = signer().sign(&checkpoint.to_string()).parse().expect("a note");
        verify(bytes.as_slice(), &keys, &[note], false).expect_err("it does not fit").to_string()
    };
    let before = ledger.checkpoint(ledger.states[1].0);
    assert!(
        refused(Checkpoint { root: Hash([1; 32]), ..before.clone() }).contains("events 1 to 6 have the root")
    );
    assert!(
        refused(Checkpoint { state: ledger.states[0].2, ..before.clone() }).contains("state after event 6")
    );
    assert!(refused(Checkpoint { size: 99, ..before.clone() }).contains("99 events cannot be compared"));
    let stranger = NoteSigner::new(note::signer_name("main", 2), &[2; 32]).sign(&before.to_string());
    assert!(verify(bytes.as_slice(), &keys, &[stranger.parse().expect("a note")], false).is_err());
}

#[test]
fn a_part_of_the_events_verifies_without_its_decisions() {
    let ledger = ledger();
    let (from, to) = (4, ledger.states[2].0);
    let bytes = written(Form::Protobuf, &ledger.records(from, to));
    let keys = [signer().verifier()];
    let told = verify(bytes.as_slice(), &keys, &[], false).expect_err("it is a part only").to_string();
    assert!(told.contains(&format!("it ends with event {to} of {}", ledger.size())), "{told}");
    let report = verify(bytes.as_slice(), &keys, &[], true).expect("it verifies");
    assert_eq!((report.from, report.to, report.state), (from, to, None));
    assert_eq!(report.root, merkle::root(&ledger.leaves(), to).unwrap());
    let mut records = ledger.records(from, to);
    let event = event_of(&mut records, 1);
    event.actor = "mallory".to_owned();
    let event = event.clone();
    records[1] = exported(event);
    assert!(problem(&records).contains("nothing shows that"), "{}", problem(&records));
    // Too few hashes of what comes before.
    let mut records = ledger.records(from, to);
    if let Some(Record::Header(header)) = &mut records[0].record {
        header.edge.pop();
    }
    assert!(problem(&records).contains("the tree before its first event"));
}

#[test]
fn a_replay_stops_after_any_event_also_within_an_entry() {
    let ledger = ledger();
    // What folding gives is compared with what deciding gave, at the ends of entries.
    for revision in 1..=ledger.size() {
        let mut replay = Replay::default();
        for event in &ledger.events {
            let event = Recorded::new(event.encode_to_vec()).expect("an event");
            if event.revision <= revision || replay.is_within_entry_of(&event) {
                replay.push(event).expect("it fits");
            }
        }
        replay.finish_at(revision).expect("it fits");
        assert_eq!(replay.state().revision(), revision);
        if let Some((_, time, digest)) = ledger.states.iter().find(|state| state.0 == revision) {
            assert_eq!((replay.state().time(), replay.digest()), (*time, *digest));
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_line_after_all_before_it() {
    let ledger = ledger();
    let records = ledger.records(1, ledger.size());
    let bytes = written(Form::Json, &records);
    let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines[5] = b"{\"event\":{\"revision\":\"5\",\"nonsense\":1}}\n".to_vec();
    let told = verify(lines.concat().as_slice(), &[], &[], false).expect_err("it cannot be read").to_string();
    assert!(told.starts_with("line 6: unknown field `nonsense`"), "{told}");
    // Something is wrong before.
    lines.remove(2);
    let told = verify(lines.concat().as_slice(), &[], &[], false).expect_err("it cannot be read").to_string();
    assert!(told.starts_with("event 2:"), "{told}");
    assert!(verify(b"hello".as_slice(), &[], &[], false).unwrap_err().to_string().contains("no export"));
    assert!(verify(b"".as_slice(), &[], &[], false).is_err());
    let cut = written(Form::Protobuf, &records);
    let told = verify(&cut[..cut.len() - 1], &[], &[], false).expect_err("it is cut").to_string();
    assert!(told.contains("the file ends in the middle of it"), "{told}");
}
