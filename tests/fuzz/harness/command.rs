//! Messages of clients.

use prost::Message as _;
use quorate::codec::batch::fingerprint;
use quorate::codec::command;
use quorate::codec::command::Message;
use quorate::codec::plan;
use quorate::ledger::Command;
use quorate::ledger::Malformed;
use quorate::proto::v1;

use super::kind;
use super::seen;

/// How many kinds there are.
pub const KINDS: usize = 3;

/// Decodes one as the server does.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = kind(bytes, KINDS) else {
        return;
    };
    match kind {
        0 => one(bytes),
        1 => batch(bytes),
        _ => document(bytes),
    }
}

fn one(bytes: &[u8]) {
    let Ok(v1::BatchCommand { command: Some(mut message), .. }) = v1::BatchCommand::decode(bytes) else {
        return;
    };
    let id = command::take_request_id(&mut message);
    assert_eq!(command::take_request_id(&mut message), "", "a request id is taken once");
    if let Ok(id) = command::request_id(&id) {
        assert_eq!(command::request_id(&id.to_string()), Ok(id), "a request id is written as another");
    }
    command::take_validate_only(&mut message);
    assert!(!command::field(&message).is_empty());
    if let Some(decoded) = understood(command::decode(message)) {
        check(&decoded);
    }
}

/// A command encodes to what decodes to it, and has one fingerprint.
fn check(command: &Command) {
    let message = command::encode(command);
    let bytes = v1::BatchCommand { tag: 0, command: Some(message.clone()) }.encode_to_vec();
    seen::understood("command", &bytes);
    let again = command::decode(message.clone()).expect("what was encoded can be decoded");
    assert_eq!(again, *command, "a command means something else when it is encoded again");
    assert_eq!(command::encode(&again), message, "equal commands have equal messages");
    assert_eq!(fingerprint(&again), fingerprint(command));
}

fn batch(bytes: &[u8]) {
    let Ok(message) = v1::BatchRequest::decode(bytes) else {
        return;
    };
    if let Some(decoded) = understood(command::decode_batch(message.commands)) {
        let Command::Batch(batch) = &decoded else {
            panic!("a batch is decoded to {}", decoded.name());
        };
        seen::note(format!("a batch of {}", batch.commands().len()));
        batch.commands().iter().for_each(check);
        let one = |command| v1::BatchCommand { tag: 0, command: Some(command::encode(command)) };
        let again = command::decode_batch(batch.commands().iter().map(one).collect());
        assert_eq!(again, Ok(decoded), "a batch means something else when it is encoded again");
    }
}

fn document(bytes: &[u8]) {
    let Ok(message) = v1::Plan::decode(bytes) else {
        return;
    };
    let Some(decoded) = understood(plan::decode(message)) else {
        return;
    };
    let encoded = plan::encode(&decoded);
    seen::understood("plan", &encoded.encode_to_vec());
    let again = plan::decode(encoded).expect("what was encoded can be decoded");
    assert_eq!(again, decoded, "a plan means something else when it is encoded again");
    let message =
        Message::ApplyPlan(v1::ApplyPlanRequest { plan: Some(plan::encode(&decoded)), ..Default::default() });
    assert_eq!(command::decode(message), Ok(Command::ApplyPlan(decoded)));
}

/// Bad input is told by the field it is in.
fn understood<T>(decoded: Result<T, Malformed>) -> Option<T> {
    match decoded {
        Ok(decoded) => Some(decoded),
        Err(malformed) => {
            assert!(!malformed.field.is_empty() && !malformed.problem.is_empty(), "{malformed:?}");
            seen::note(seen::problem(&malformed));
            None
        }
    }
}
