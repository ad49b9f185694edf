//! The adapters of the consensus engine on both stores: the engine's own suite, and what that suite
//! does not ask: what is there after a restart, that damage is refused, and that the past is as it was.

mod latch;
mod log;
mod past;
#[path = "../requests/mod.rs"]
mod requests;
mod snapshot;
mod state;
mod suite;
mod support;
