//! The adapters of the consensus engine on both stores: the engine's own suite, and what that suite
//! does not ask: what is there after a restart, and that damage is refused.

mod latch;
mod log;
#[path = "../requests/mod.rs"]
mod requests;
mod snapshot;
mod state;
mod suite;
mod support;
