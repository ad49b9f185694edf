//! Makes the kept inputs: sequences that lead to many different things, what they encode to, and a
//! few inputs written by hand. The same every time.

use std::collections::BTreeSet;
use std::fs;

use prost::Message as _;
use quorate::codec::batch;
use quorate::codec::command;
use quorate::codec::command::Message;
use quorate::codec::event;
use quorate::codec::keys::FORMAT;
use quorate::codec::local;
use quorate::codec::verdict;
use quorate::ledger::Command;
use quorate::ledger::RequestId;
use quorate::ledger::State;
use quorate::ledger::export::export;
use quorate::proto::peer::v1 as peer;
use quorate::proto::storage::v1 as storage;
use quorate::proto::v1;
use quorate::raft::identity::Identity;
use quorate::raft::types::LogId;
use quorate::raft::types::Vote;
use quorate::raft::wire;

use super::TARGETS;
use super::drive::folder;
use super::drive::is_new;
use super::harness::seen;
use super::harness::sequence::Sequence;
use super::harness::state::Records;
use super::mutate::Form;
use super::mutate::Mutator;

/// How many sequences are tried.
const TRIED: usize = 60_000;

/// Longer ones are not kept.
const MOST_BYTES: usize = 400;

/// Most bytes of all kept inputs.
const MOST_KEPT: usize = 400_000;

#[test]
#[ignore = "writes the corpus"]
fn the_kept_inputs_are_made_anew() {
    let sequences = sequences();
    let mut kept = 0;
    for target in TARGETS {
        let candidates = match target.name {
            "sequence" => sequences.clone(),
            "log_batch" => each(&sequences, |sequence| sequence.batches.clone()),
            "event_block" => each(&sequences, |sequence| sequence.blocks().to_vec()),
            "export" => [header_and_trailer(), each(&sequences, exported)].concat(),
            "row" => each(&sequences, Sequence::records),
            "state" => each(&sequences, |sequence| vec![state(&sequence.records())]),
            "record" => records(),
            "raft" => messages(&sequences),
            "relay" => relayed(&sequences),
            "command" => commands(&sequences),
            "text" => texts(),
            "document" => documents(),
            name => panic!("nothing is made for {name}"),
        };
        let folder = folder(target.name);
        // What is kept under another name, because it once failed, stays.
        fs::create_dir_all(&folder).expect("make a folder");
        let mut seen = BTreeSet::new();
        let by_hand = ["record", "raft", "text", "document"].contains(&target.name);
        let chosen = candidates.into_iter().filter(|input| {
            (target.harness)(input);
            is_new(&mut seen) || by_hand
        });
        for (position, input) in chosen.enumerate() {
            kept += input.len();
            fs::write(folder.join(format!("{position:03}")), input).expect("write an input");
        }
    }
    assert!(kept < MOST_KEPT, "{kept} bytes are too much to keep");
}

/// Sequences of which each leads to something that those before did not lead to.
fn sequences() -> Vec<Vec<u8>> {
    let mut mutator = Mutator::new(1);
    let mut known: Vec<Vec<u8>> = vec![(0..=255).collect()];
    let mut seen = BTreeSet::new();
    for _ in 0..TRIED {
        let (one, other) = (mutator.below(known.len()), mutator.below(known.len()));
        let mut input = mutator.mutate(Form::Bytes, &known[one], &known[other]);
        input.truncate(MOST_BYTES);
        Sequence::of(&input);
        if is_new(&mut seen) {
            known.push(input);
        }
    }
    // Long ones lead to what several short ones led to.
    known.reverse();
    let mut seen = BTreeSet::new();
    known.retain(|input| {
        Sequence::of(input);
        is_new(&mut seen)
    });
    known
}

fn each(sequences: &[Vec<u8>], of: impl Fn(&Sequence) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let inputs = sequences.iter().flat_map(|input| of(&Sequence::of(input))).collect();
    seen::take();
    inputs
}

fn header_and_trailer() -> Vec<Vec<u8>> {
    let (origin, from_revision) = ("quorate/test".to_owned(), 5);
    let header = v1::ExportHeader { format: 1, origin, from_revision, edge: vec![vec![7; 32]] };
    let trailer = v1::ExportTrailer {
        to_revision: 9,
        checkpoint: "quorate/test\n9\n".to_owned(),
        consistency: vec![vec![7; 32], Vec::new()],
        verifier_keys: vec!["key".to_owned()],
    };
    let records = [v1::export_record::Record::Header(header), v1::export_record::Record::Trailer(trailer)];
    records.map(|record| line(record, Vec::new())).to_vec()
}

fn line(record: v1::export_record::Record, leaf_hash: Vec<u8>) -> Vec<u8> {
    serde_json::to_vec(&v1::ExportRecord { record: Some(record), leaf_hash }).expect("JSON")
}

/// The events of a sequence, a line of JSON each.
fn exported(sequence: &Sequence) -> Vec<Vec<u8>> {
    let blocks = sequence.blocks().to_vec().into_iter();
    let events = blocks.flat_map(|bytes| {
        local::message::<storage::EventBlock>("an event block", &bytes).expect("a block").events
    });
    events.map(|event| line(v1::export_record::Record::Event(event), vec![0xFB; 4])).collect()
}

fn state(records: &[Vec<u8>]) -> Vec<u8> {
    let mut requests = 0;
    let mut records: Vec<storage::Record> =
        records.iter().map(|record| local::message("rows", record).expect("rows")).collect();
    // Templates are large and stand alone; of requests a few are enough.
    for record in &mut records {
        record.rows.retain(|row| match &row.row {
            Some(storage::row::Row::Template(_)) => false,
            Some(storage::row::Row::Request(_)) => {
                requests += 1;
                requests < 4
            }
            _ => true,
        });
    }
    records.retain(|record| !record.rows.is_empty());
    Records { records }.encode_to_vec()
}

fn of_kind(kind: u8, bytes: Vec<u8>) -> Vec<u8> {
    std::iter::once(kind).chain(bytes).collect()
}

fn leader() -> storage::LeaderId {
    storage::LeaderId { term: 3, node_id: 2 }
}

fn vote() -> storage::Vote {
    storage::Vote { leader_id: Some(leader()), committed: true }
}

fn log_id() -> storage::LogId {
    storage::LogId { leader_id: Some(leader()), index: 7 }
}

fn membership() -> storage::Membership {
    let member = |node_id| v1::Member {
        node_id,
        client_address: format!("10.0.0.{node_id}:7400"),
        peer_address: format!("10.0.0.{node_id}:7401"),
        verifier_key: format!("quorate/test/{node_id}+68fe97ee+AfNTErFt8Vxq2Qwm6pGfBQ2Xh3XoTCnhV0hFLm6eeJFv"),
    };
    storage::Membership {
        configs: vec![
            storage::VoterSet { node_ids: vec![1, 2, 3] },
            storage::VoterSet { node_ids: vec![1, 2, 4] },
        ],
        nodes: [1, 2, 3, 4].map(member).to_vec(),
    }
}

fn stored() -> storage::StoredMembership {
    storage::StoredMembership { log_id: Some(log_id()), membership: Some(membership()) }
}

fn entries() -> Vec<storage::Entry> {
    let payloads = [
        storage::entry::Payload::Blank(storage::Blank {}),
        storage::entry::Payload::Batch(batch::encode(&5.into(), &[]).into()),
        storage::entry::Payload::Membership(membership()),
    ];
    payloads.map(|payload| storage::Entry { log_id: Some(log_id()), payload: Some(payload) }).to_vec()
}

fn records() -> Vec<Vec<u8>> {
    let vote: Vote = wire::decode_vote(Some(vote())).expect("a vote");
    let last: Option<LogId> = wire::decode_log_id(Some(log_id())).expect("a log id");
    let identity = Identity { cluster: "main".into(), node_id: 3 };
    let mut records = vec![
        of_kind(0, local::encode(&vote)),
        of_kind(1, local::encode(&last)),
        of_kind(1, local::encode(&None::<LogId>)),
        of_kind(2, local::encode(&last.expect("a log id"))),
        of_kind(3, local::encode(&identity)),
    ];
    records.extend(entries().iter().map(|entry| of_kind(4, local::framed(entry))));
    let applied =
        storage::Applied { log_id: Some(log_id()), membership: Some(stored()), revision: 9, log_time_ms: 8 };
    records.push(of_kind(5, local::framed(&applied)));
    records.push(of_kind(5, vec![FORMAT]));
    records
}

fn messages(sequences: &[Vec<u8>]) -> Vec<Vec<u8>> {
    use peer::append_reply::Accepted;
    use peer::append_reply::Result as Answer;
    use peer::transfer_leader_reply as refused;
    let (vote, log_id) = (Some(vote()), Some(log_id()));
    let append = |entries| peer::AppendRequest { vote, prev_log_id: log_id, entries, leader_commit: log_id };
    let mut batches = each(&sequences[..2], |sequence| sequence.batches.clone());
    batches.truncate(3);
    let batch = |bytes: Vec<u8>| {
        let payload = Some(storage::entry::Payload::Batch(bytes.into()));
        storage::Entry { log_id, payload }
    };
    let mut messages = vec![
        of_kind(0, append(entries()).encode_to_vec()),
        of_kind(0, append(batches.into_iter().map(batch).collect()).encode_to_vec()),
        of_kind(
            2,
            peer::VoteRequest { vote, last_log_id: log_id, leadership_transfer: true }.encode_to_vec(),
        ),
        of_kind(3, peer::VoteReply { vote, granted: true, last_log_id: log_id }.encode_to_vec()),
        of_kind(
            4,
            peer::TransferLeaderRequest { from_leader: vote, to_node_id: 2, last_log_id: log_id }
                .encode_to_vec(),
        ),
        of_kind(5, Vec::new()),
    ];
    let answers = [
        Answer::Accepted(Accepted { log_id }),
        Answer::Accepted(Accepted { log_id: None }),
        Answer::Conflict(self::log_id()),
        Answer::HigherVote(self::vote()),
    ];
    let answer = |result| of_kind(1, peer::AppendReply { result: Some(result) }.encode_to_vec());
    messages.extend(answers.map(answer));
    let refusals = [
        refused::Refused::VoteChanged(refused::VoteChanged { expected: vote, actual: vote }),
        refused::Refused::LogNotFlushed(refused::LogNotFlushed { expected: log_id, actual: None }),
    ];
    let refusal = |refused| of_kind(5, peer::TransferLeaderReply { refused: Some(refused) }.encode_to_vec());
    messages.extend(refusals.map(refusal));
    let header = peer::SnapshotHeader {
        vote,
        last_log_id: log_id,
        last_membership: Some(stored()),
        files: vec![peer::SnapshotFile { name: "000012.sst".into(), size: 4096 }],
    };
    messages.push(of_kind(6, header.encode_to_vec()));
    messages
}

/// Requests and what was decided about them.
fn relayed(sequences: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for bytes in each(sequences, |sequence| sequence.batches.clone()) {
        let requests = batch::decode(&bytes).expect("a batch").requests;
        let requests = requests.iter().map(batch::encode_request).collect();
        inputs.push(of_kind(0, peer::ForwardRequest { requests }.encode_to_vec()));
    }
    let mut details = Vec::new();
    for bytes in each(sequences, |sequence| sequence.blocks().to_vec()) {
        let block: storage::EventBlock = local::message("an event block", &bytes).expect("a block");
        let outcome = |message: v1::Event| {
            let decimals = |_| Some(18);
            let event = event::decode(message, &decimals).ok()?;
            let verdict = event.verdict();
            Some(peer::Outcome {
                revision: event.revision,
                replayed: false,
                verdict: Some(verdict::encode(&verdict)),
                no_room: None,
            })
        };
        for outcome in block.events.into_iter().filter_map(outcome) {
            if let Some(storage::verdict::Verdict::Rejection(rejection)) =
                outcome.verdict.clone().and_then(|verdict| verdict.verdict)
            {
                details.push(of_kind(2, status(&rejection)));
            }
            inputs.push(of_kind(
                1,
                peer::ForwardReply { outcomes: vec![outcome], undecided: None }.encode_to_vec(),
            ));
        }
    }
    inputs.into_iter().chain(details).collect()
}

/// The details of a status, as `google.rpc.Status` has them.
fn status(rejection: &v1::Rejection) -> Vec<u8> {
    let any = tonic_types::pb::Status {
        code: 9,
        message: "no".into(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/quorate.v1.Rejection".into(),
            value: rejection.encode_to_vec(),
        }],
    };
    any.encode_to_vec()
}

fn commands(sequences: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let request = RequestId::default().to_string();
    let mut inputs = Vec::new();
    let mut seen = BTreeSet::new();
    for bytes in each(sequences, |sequence| sequence.batches.clone()) {
        let requests = batch::decode(&bytes).expect("a batch").requests;
        for command in requests.into_iter().map(|request| request.command) {
            if !seen.insert((command.name(), format!("{command:?}").len() / 20)) {
                continue;
            }
            inputs.push(match &command {
                Command::Batch(batch) => {
                    let one = |command| v1::BatchCommand { tag: 0, command: Some(command::encode(command)) };
                    let commands = batch.commands().iter().map(one).collect();
                    let request_id = request.clone();
                    of_kind(
                        1,
                        v1::BatchRequest { request_id, atomic: true, commands, ..Default::default() }
                            .encode_to_vec(),
                    )
                }
                Command::ApplyPlan(plan) => of_kind(2, quorate::codec::plan::encode(plan).encode_to_vec()),
                command => one_command(command::encode(command)),
            });
        }
    }
    let plan = export(&State::default(), None);
    inputs.push(of_kind(2, quorate::codec::plan::encode(&plan).encode_to_vec()));
    // Each kind of command, whatever the harness has seen of it.
    inputs.sort_by_key(Vec::len);
    inputs
}

fn one_command(message: Message) -> Vec<u8> {
    of_kind(0, v1::BatchCommand { tag: 7, command: Some(message) }.encode_to_vec())
}

fn texts() -> Vec<Vec<u8>> {
    let texts: [(u8, &[&str]); 6] = [
        (
            0,
            &[
                "0",
                "-0.0",
                "16",
                "0.25",
                "007.10",
                "-2.5",
                "79228162514264337593543950335",
                "1.000000000000000001",
                "1e3",
                "",
                "x",
            ],
        ),
        (1, &["acme", "acme/ml/alice", "A.b_c-1/2", "", "a//b", "-a", "ä"]),
        (2, &["memory_gb", "Memory", "", "1a", "a-b"]),
        (3, &["free", "organization/team/user", "a/a", "a//b"]),
        (4, &["", "env=prod", "env=prod\na/b=", "=x", "a=\u{7}"]),
        (5, &["018bcfe5-6800-7000-8000-000000000001", "018bcfe5680070008000000000000001", "x"]),
    ];
    let inputs = texts
        .into_iter()
        .flat_map(|(kind, texts)| texts.iter().map(move |text| of_kind(kind, text.as_bytes().to_vec())));
    inputs.collect()
}

fn documents() -> Vec<Vec<u8>> {
    const SMALL: &str = "\
resources:
  - {name: seats, unit: seat, decimals: 0, kind: RESOURCE_KIND_CAPACITY}
templates:
  - name: small
    description: 'for people'
    quotas: [{resource: seats, policy: {limit: {unlimited: {}}}}]
scopes:
  - path: acme
    kind: organization
    child_policy: CHILD_POLICY_SUM_WITHIN_PARENT
    labels: {labels: {region: eu}}
    template: small
    quotas:
      - resource: memory_gb
        policy:
          limit:
            amount: 64.50
          soft: \"48\"
          grace_ms: 14400000
          enforcement: ENFORCEMENT_WARN
          on_reduce: ON_REDUCE_DRAIN
";
    const LARGE: &str = "\
templates:
  - {name: large, if_version: 3, quotas: [{resource: cost_usd, policy: {limit: {amount: '0.50'}}}]}
scopes:
- path: acme/ml
  schema: free
  quotas:
  - resource: cost_usd
    policy: {limit: {inherit: {}}, enforcement: ENFORCEMENT_SHADOW, on_reduce: ON_REDUCE_REFUSE}
  - resource: memory_gb
    policy:
      limit: {amount: 0.125}
      burst: 2
      max_burst_ms: 60000
      overcommit: 1.5
      default_ttl_ms: 1000
      max_ttl_ms: 5000
      allow_transfer: true
      enforcement: ENFORCEMENT_OFF
";
    const JSON: &str =
        r#"{"scopes":[{"path":"acme","quotas":[{"resource":"vcpus","policy":{"limit":{"amount":"4"}}}]}]}"#;
    const LINES: [&str; 4] = [
        r#"{"tag":1,"reserve":{"lines":[{"scope":"acme","resource":"vcpus","amount":"4","minimum":"1"}],"ttl_ms":1000}}"#,
        r#"{"tag":"2","commit":{"hold_id":"7","final":false,"lines":[{"scope":"a","resource":"b","amount":"1"}]}}"#,
        r#"{"set_quota":{"scope":"acme","resource":"vcpus","policy":{"limit":{"inherit":{}}},"update_mask":"limit,soft"}}"#,
        r#"{"create_scope":{"path":"acme","labels":{"a":"b"},"child_policy":2}}"#,
    ];
    let mut inputs = [SMALL, LARGE, JSON].map(|text| of_kind(0, text.into())).to_vec();
    inputs.extend(LINES.map(|line| of_kind(1, line.into())));
    inputs
}
