//! The harnesses of `tests/fuzz`, for cargo-fuzz.

#[path = "../tests/fuzz/harness/mod.rs"]
pub mod harness;
