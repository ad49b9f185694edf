//! Documents of the command line: plans as YAML, of which JSON is a part, and commands as lines of
//! JSON.

use prost::Message as _;
use quorate::cli;
use quorate::codec::plan;

use super::kind;
use super::seen;

/// How many kinds there are.
pub const KINDS: usize = 2;

/// Reads one.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = kind(bytes, KINDS) else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    match kind {
        0 => check_plan(&text),
        _ => match cli::command_from_json(&text) {
            Ok(command) => seen::understood("command", &command.encode_to_vec()),
            Err(problem) => seen::note(seen::problem(&problem)),
        },
    }
}

fn check_plan(text: &str) {
    let message = match cli::plan_from_document(text) {
        Ok(message) => message,
        Err(problem) => return seen::note(seen::problem(&problem)),
    };
    let written = cli::plan_to_document(&message).expect("a plan can be written");
    let again = cli::plan_from_document(&written);
    assert_eq!(again.as_ref(), Ok(&message), "a plan is written as another: {written}");
    match plan::decode(message) {
        Ok(plan) => seen::understood("plan", &plan::encode(&plan).encode_to_vec()),
        Err(problem) => seen::note(seen::problem(&problem)),
    }
}
