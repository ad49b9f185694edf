//! Quorate: a replicated quota ledger.
//!
//! Many clients at once ask for shares of limited things. Every command is ordered by Raft and
//! decided in that order by one pure function, so two requests that fit alone but not together
//! are never both granted.
//!
//! The way of a command, and the module of each step:
//!
//! ```text
//! client ─▶ api ─▶ node ─▶ raft log (quorum, fsync) ─▶ raft state machine ─▶ ledger::apply
//!    ▲                │                                        │
//!    └── outcome ─────┘◀───────────────────────────────────────┴─▶ event block, one atomic write
//! ```

// Only here and not in Cargo.toml: a test may unwrap, and its helpers are nobody's interface.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]
#![warn(clippy::unwrap_used)]
#![warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

pub mod api;
pub mod audit;
pub mod bench;
pub mod cli;
pub mod client;
pub mod clock;
pub mod codec;
pub mod config;
pub mod ledger;
pub mod net;
pub mod node;
pub mod planted;
pub mod projection;
pub mod proto;
pub mod raft;
pub mod rng;
pub mod server;
pub mod store;
pub mod telemetry;
