//! Fuzzing under plain tests: each harness runs on its kept inputs (`fuzz/corpus`) and then, for a
//! while, on what can be made of them.
//!
//! - `QUORATE_FUZZ_SECONDS`: how long each harness runs; 1 when nobody says.
//! - `QUORATE_FUZZ_SEED`: what the inputs are made by; it is printed, and another one every time.
//! - `QUORATE_FUZZ_REPLAY`: a file with one input, which is run instead.
//!
//! The harnesses are those of cargo-fuzz, too (`fuzz/`), which knows their coverage. Here what an
//! input led to stands for it (`harness::seen`): inputs that led to something new are changed
//! further.
//!
//! `cargo test --release --test fuzz -- --ignored` makes the kept inputs anew (`corpus`).

mod corpus;
mod drive;
mod harness;
mod mutate;

use drive::Target;
use mutate::Form;

/// One test and one target per harness.
macro_rules! targets {
    ($($name:ident: $form:expr, up to $most:literal;)*) => {
        const TARGETS: &[Target] = &[$(
            Target { name: stringify!($name), harness: harness::$name::run, form: $form, most: $most },
        )*];

        $(
            #[test]
            fn $name() {
                let target = TARGETS.iter().find(|target| target.name == stringify!($name));
                drive::fuzz(target.expect("a target of the list"));
            }
        )*
    };
}

targets! {
    log_batch: Form::Message(0), up to 2000;
    event_block: Form::Message(1), up to 4000;
    export: Form::Text, up to 3000;
    row: Form::Message(1), up to 2000;
    state: Form::Message(0), up to 8000;
    record: Form::Message(2), up to 500;
    raft: Form::Message(1), up to 1000;
    relay: Form::Message(1), up to 2000;
    command: Form::Message(1), up to 2000;
    text: Form::Text, up to 200;
    document: Form::Text, up to 1500;
    sequence: Form::Bytes, up to 600;
}

#[test]
fn every_harness_is_a_target_of_cargo_fuzz() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("the manifest");
    for Target { name, .. } in TARGETS {
        let path = format!("targets/{name}.rs");
        assert!(manifest.contains(&format!("path = {path:?}")), "{name} is not in the manifest");
        let target = std::fs::read_to_string(root.join(path)).expect("a target");
        assert!(target.contains(&format!("harness::{name}::run(")), "{name} runs another harness");
    }
}
