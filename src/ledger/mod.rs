//! The rules: what a command means for the tree of quotas.
//!
//! [`apply`] is the whole interface for commands: it takes the state, a log time and requests in
//! log order, and returns outcomes and events. For each request it *decides* (reads the state,
//! changes nothing, reports every reason at once) and then *evolves* (folds the event into the
//! state). Only events change state, so folding the events from revision 1 gives the state.
//!
//! | file | subject |
//! |---|---|
//! | `amount`, `name`, `labels`, `request` | values: exact amounts, paths and names, request ids |
//! | `resource`, `scope`, `quota`, `hold` | what the state is made of |
//! | `tree`, `template`, `transfer` | what there is once per tree, and between scopes |
//! | `state`, `index`, `rising` | all of it, and how it is looked up |
//! | `holders`, `drift`, `export` | what readers ask of the state |
//! | `rows`, `changed`, `loading` | the state as rows, for checkpoints and digests; a state out of its rows |
//! | `command`, `event`, `rejection`, `outcome` | what goes in and what comes out |
//! | `decide/` | one file per command family |
//! | `giving_back` | what is decided even when there is no room for more |
//! | `promise` | sums of limits, kept |
//! | `warm` | memory is slow |
//! | `evolve` | the one place that changes state |
//!
//! Knows nothing of time but the log time it is given, nothing of disks, threads, protobuf or
//! other nodes. Everything here is deterministic: same state and same requests, same result, on
//! every node and at every replay.

pub mod amount;
pub mod apply;
mod bulk;
mod changed;
pub mod command;
mod decide;
pub mod drift;
pub mod event;
mod evolve;
pub mod export;
mod giving_back;
pub mod hold;
pub mod holders;
mod index;
pub mod labels;
pub mod loading;
pub mod name;
pub mod outcome;
mod promise;
pub mod quota;
pub mod rejection;
pub mod request;
pub mod resource;
mod rising;
pub mod rows;
pub mod scope;
pub mod state;
pub mod template;
pub mod transfer;
pub mod tree;
mod warm;

pub use amount::Amount;
pub use apply::Applied;
pub use apply::Stamp;
pub use apply::apply;
pub use apply::preview;
pub use apply::preview_with;
pub use bulk::as_said;
pub use command::Command;
pub use event::Body;
pub use event::Cause;
pub use event::Event;
pub use hold::Hold;
pub use hold::HoldId;
pub use hold::HoldState;
pub use labels::Labels;
pub use name::Name;
pub use name::Path;
pub use outcome::Grant;
pub use outcome::Granted;
pub use outcome::Outcome;
pub use quota::Limit;
pub use quota::Lock;
pub use quota::Policy;
pub use quota::Quota;
pub use rejection::Malformed;
pub use rejection::Rejection;
pub use request::Fingerprint;
pub use request::Request;
pub use request::RequestId;
pub use resource::Resource;
pub use resource::ResourceId;
pub use resource::ResourceKind;
pub use scope::Scope;
pub use scope::ScopeId;
pub use state::State;

/// Position of an event in the ledger: 1, 2, 3, … with no gap. 0 is "before the first".
pub type Revision = u64;

/// Milliseconds since the Unix epoch as stamped by the leader; never goes back.
pub type LogTime = u64;
