//! The whole system: real processes, real disks, real connections on this machine.
//!
//! | file | subject |
//! |---|---|
//! | `harness` | starts, pauses, kills and reaps nodes; waits for what must come true |
//! | `history` | what clients sent and saw |
//! | `witness` | the replay that must explain all of it |
//! | `load` | clients that go on while something happens to the cluster |
//! | `behind` | how a node comes to need a snapshot |
//! | the others | one subject each |
//!
//! Nothing here sleeps to let something happen: a condition is polled until a deadline that only a
//! broken system reaches. No test measures how long anything takes.

mod bad_input;
mod behind;
mod bulk;
mod command_line;
mod deadlines;
mod disks;
// Shared with tests/chaos, which uses more of them.
#[allow(dead_code)]
mod harness;
#[allow(dead_code)]
mod history;
mod kills;
mod load;
mod membership;
mod misuse;
mod past;
mod process;
mod proofs;
mod race;
mod reads;
mod snapshots;
mod watches;
#[path = "../watching/mod.rs"]
mod watching;
mod witness;
