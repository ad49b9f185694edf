//! A second ledger, as naive as possible: it shares the types of commands and answers with the real
//! one, and nothing else.
//!
//! Everything is kept under paths and names. There are no counters: use is summed over all holds
//! each time it is asked for. Numbers are `i128`, in the smallest unit that the resource counts.
//! There are no indexes, no undo: what may fail is tried on a copy of everything. Texts for people
//! are left out.
//!
//! | file | subject |
//! |---|---|
//! | `world` | what is kept, and how something happens |
//! | `number` | numbers of clients and numbers of the model |
//! | `tree` | scopes |
//! | `policy` | quotas |
//! | `schedule` | overrides, changes to come, transfers |
//! | `place` | how limits nest |
//! | `room` | whether something fits, and why not |
//! | `hold` | reservations |
//! | `bulk` | several commands as one |
//! | `seen` | the other ledger in the terms of the model |
//! | `time` | what happens by itself |

mod bulk;
mod hold;
mod number;
mod place;
mod policy;
mod room;
mod schedule;
mod seen;
mod time;
mod tree;
mod world;

use std::collections::BTreeMap;

use quorate::ledger::Grant;
use quorate::ledger::Granted;
use quorate::ledger::Malformed;
use quorate::ledger::Rejection;
use quorate::ledger::Request;
use quorate::ledger::command::Command;
use quorate::ledger::outcome::Verdict;

pub use number::digits;
pub use seen::*;
pub use world::*;

const WINDOW_MS: u64 = 3_600_000;
const AHEAD_MS: u64 = 60_000;

/// An answer, and the revision that comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub revision: u64,
    pub replayed: bool,
    pub verdict: Verdict,
}

#[derive(Debug, Default)]
pub struct Model {
    pub world: World,
    /// The time of the last decision: what was too old then is forgotten.
    decided_at: u64,
    decided: BTreeMap<[u8; 16], Decided>,
}

#[derive(Debug)]
struct Decided {
    fingerprint: [u8; 16],
    revision: u64,
    verdict: Verdict,
}

impl Model {
    /// Begins an entry: what its time brings about by itself.
    pub fn begin(&mut self, time_ms: u64, refused: bool) {
        self.world.now = time_ms.max(self.world.time);
        self.world.log.clear();
        if refused {
            let before = self.world.counters();
            self.world.happen(Happened::new("TimeRefused"), &[], &before);
        }
        self.world.sweep();
    }

    /// One request of the entry.
    pub fn step(&mut self, request: &Request) -> Reply {
        let id = request.id.to_bytes();
        let made_ms = request.id.time_ms();
        if let Some(decided) = self.decided.get(&id)
            && made_ms >= self.decided_at.saturating_sub(WINDOW_MS)
        {
            let revision = decided.revision;
            let replayed = decided.fingerprint == request.fingerprint;
            let verdict = if replayed {
                decided.verdict.clone()
            } else {
                Err(Box::new(Rejection::RequestIdReused { first: revision }))
            };
            return Reply { revision, replayed, verdict };
        }
        let unseen = |rejection| Reply {
            revision: self.world.revision,
            replayed: false,
            verdict: Err(Box::new(rejection)),
        };
        let oldest = self.world.now.saturating_sub(WINDOW_MS);
        if made_ms < oldest {
            return unseen(Rejection::RequestIdExpired { oldest_accepted_ms: oldest });
        }
        if made_ms > self.world.now + AHEAD_MS {
            return unseen(malformed("request_id"));
        }
        let verdict = self.world.answer(&request.command, &request.actor).map_err(Box::new);
        let revision = self.world.revision;
        self.decided_at = self.world.now;
        let fingerprint = request.fingerprint;
        self.decided.insert(id, Decided { fingerprint, revision, verdict: verdict.clone() });
        Reply { revision, replayed: false, verdict }
    }
}

impl World {
    /// Carries out a command, or leaves everything as it was but for the event that says why.
    fn answer(&mut self, command: &Command, actor: &str) -> Result<Grant, Rejection> {
        let mut next = self.clone();
        match next.carry_out(command, actor) {
            Ok(grant) => {
                *self = next;
                Ok(grant)
            }
            Err(rejection) => {
                let before = self.counters();
                let refused = Some(rejection.clone());
                self.happen(Happened { refused, ..Happened::new("Rejected") }, &[], &before);
                Err(rejection)
            }
        }
    }

    fn carry_out(&mut self, command: &Command, actor: &str) -> Result<Grant, Rejection> {
        match command {
            Command::CreateScope(command) => self.create_scope(command),
            Command::UpdateScope(command) => self.update_scope(command),
            Command::MoveScope(command) => self.move_scope(command),
            Command::DeleteScope(command) => self.delete_scope(command),
            Command::RegisterResource(resource) => self.register_resource(resource),
            Command::SetQuota(command) => self.set_quota(command, actor),
            Command::AdjustQuota(command) => self.adjust_quota(command),
            Command::DeleteQuota(command) => self.delete_quota(command),
            Command::LockQuota(command) => self.lock_quota(command, actor),
            Command::UnlockQuota(command) => self.unlock_quota(command),
            Command::OverrideQuota(command) => self.override_quota(command, actor),
            Command::CancelSchedule(command) => self.cancel_schedule(command),
            Command::TransferQuota(command) => self.transfer_quota(command),
            Command::PutTemplate(command) => self.put_template(command, ""),
            Command::ApplyTemplate(command) => self.apply_template(command),
            Command::ApplyPlan(plan) => self.apply_plan(plan),
            Command::CompactEvents(through) => self.compact_events(*through),
            Command::Reserve(command) => self.reserve(command, actor),
            Command::Commit(command) => self.commit(command),
            Command::Release(command) => self.release(command),
            Command::Renew(command) => self.renew(command),
            Command::Resize(command) => self.resize(command),
            Command::Batch(batch) => self.batch(batch.commands(), actor),
        }
    }

    fn compact_events(&mut self, through: u64) -> Result<Grant, Rejection> {
        if through > self.revision {
            return Err(malformed("through_revision"));
        }
        if through <= self.compacted_at {
            return Ok(self.unchanged(0));
        }
        self.compacted_at = through;
        let before = self.counters();
        self.happen(Happened::new("EventsCompacted"), &[], &before);
        Ok(Grant::plain(Granted::Done))
    }

    /// Nothing had to be done.
    fn unchanged(&mut self, version: u64) -> Grant {
        let before = self.counters();
        self.happen(Happened::new("Unchanged"), &[], &before);
        Grant::plain(Granted::Version(version))
    }
}

fn malformed(field: impl Into<String>) -> Rejection {
    Rejection::Malformed(Malformed::new(field, ""))
}
