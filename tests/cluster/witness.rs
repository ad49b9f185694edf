//! The judge of a history: what clients saw, against what the cluster says it decided.
//!
//! It is a replay. What was asked is taken out of the events, entry by entry, compared with what was
//! sent, and decided once more by the rules in this process with the stamps of the leaders. That must
//! give every event to the last counter, every outcome that a client was told, and the state whose
//! digest the nodes show. Revisions must agree with real time: what was sent after a client had been
//! told of a revision has a later one. The ceilings are checked once more by hand, from the events
//! alone.
//!
//! Linear in the length of the history, and it keeps no event. Says what is wrong, and panics over
//! nothing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use prost::Message as _;
use quorate::client::v1;
use quorate::client::v1::event::Body;
use quorate::codec::batch;
use quorate::codec::block;
use quorate::codec::digest::StateDigest;
use quorate::codec::event;
use quorate::codec::rejection;
use quorate::ledger;
use quorate::ledger::State;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::history::Seen;

/// What is wrong, in words.
pub type Judgement = Result<(), String>;

#[derive(Default)]
pub struct Witness {
    state: State,
    decided: BTreeSet<Uuid>,
    ceilings: Ceilings,
}

impl Witness {
    /// Looks at all events of the next log entry that has any.
    pub fn entry(&mut self, entry: &[v1::Event], seen: &BTreeMap<Uuid, Seen>) -> Judgement {
        let first = &entry[0];
        if first.revision != self.state.revision() + 1 {
            return Err(format!("revision {} follows {}", first.revision, self.state.revision()));
        }
        let recorded: Result<Vec<_>, _> =
            entry.iter().map(|event| event::Recorded::new(event.encode_to_vec())).collect();
        let asked = recorded.and_then(|mut recorded| event::decode_entry(&mut recorded));
        let (stamp, requests) = asked.map_err(|error| error.to_string())?;
        for request in &requests {
            let id = Uuid::from_bytes(request.id.to_bytes());
            if !self.decided.insert(id) {
                return Err(format!("{id} took effect a second time in the entry of {}", first.revision));
            }
            match seen.get(&id) {
                None => return Err(format!("nobody sent {id}, which is in the entry of {}", first.revision)),
                Some(seen) if seen.fingerprint != request.fingerprint => {
                    return Err(format!("{id} is not what was sent: {:?}", request.command));
                }
                Some(_) => {}
            }
        }
        let applied = ledger::apply(&mut self.state, stamp, &requests);
        let position = event::Position { term: first.raft_term, index: first.raft_index };
        let commands = batch::commands(&requests);
        let block = event::write_entry(&applied.events, &requests, &commands, position);
        let again = block::decode(&block).map_err(|corrupt| corrupt.to_string())?;
        if again != entry {
            return Err(format!("the rules give {again:#?} and the cluster has {entry:#?}"));
        }
        for (request, outcome) in requests.iter().zip(applied.outcomes) {
            let id = Uuid::from_bytes(request.id.to_bytes());
            judge_answers(id, &seen[&id], outcome)?;
        }
        entry.iter().try_for_each(|event| self.ceilings.look(event))
    }

    /// Looks at what is left when there are no more events: the nodes ended at this revision with
    /// this digest.
    pub fn end(&self, (revision, digest): &(u64, String), seen: &BTreeMap<Uuid, Seen>) -> Judgement {
        if self.state.revision() != *revision {
            return Err(format!("the events end at {}, the nodes at {revision}", self.state.revision()));
        }
        let own = StateDigest::of(&self.state).to_string();
        if own != *digest {
            return Err(format!("the nodes came to the state {digest}, the rules to {own}"));
        }
        let lost = |(id, seen): &(&Uuid, &Seen)| !seen.answers.is_empty() && !self.decided.contains(id);
        if let Some((id, _)) = seen.iter().find(lost) {
            return Err(format!("{id} was acknowledged and is lost"));
        }
        if self.ceilings.grants == 0 {
            return Err("nothing was granted: there was nothing to check".to_owned());
        }
        Ok(())
    }
}

/// What clients were told of one command, against what it led to.
fn judge_answers(id: Uuid, seen: &Seen, outcome: ledger::Outcome) -> Judgement {
    let revision = outcome.revision;
    if revision <= seen.after {
        return Err(format!("{id} was sent after {} was known and decided at {revision}", seen.after));
    }
    let verdict = outcome.verdict.map(|grant| grant.what);
    let verdict = verdict.map_err(|rejection| rejection::encode(&rejection));
    let mut new = 0;
    for answer in &seen.answers {
        let told = &answer.told;
        if (told.revision, &told.verdict) != (revision, &verdict) {
            return Err(format!("{id} led to {verdict:?} at {revision}, and a client was told {told:?}"));
        }
        if !told.replayed {
            new += 1;
            // The call itself led to it, and not one before.
            if revision <= answer.after {
                return Err(format!("{id} is new at {revision}, and {} was known before", answer.after));
            }
        }
    }
    if new > 1 {
        return Err(format!("{id} was told {new} times that it was new"));
    }
    Ok(())
}

/// No grant may leave a counter above the limit that applied then. Shares no code with the rules.
#[derive(Default)]
struct Ceilings {
    limits: BTreeMap<(u32, u32), Decimal>,
    grants: u64,
}

impl Ceilings {
    fn look(&mut self, event: &v1::Event) -> Judgement {
        let number = |text: &str| text.parse::<Decimal>().map_err(|error| format!("{text:?}: {error}"));
        match event.body.as_ref() {
            Some(Body::QuotaSet(v1::QuotaSet { scope_id, resource_id, policy: Some(policy), .. })) => {
                let limit = policy.limit.as_ref().and_then(|limit| limit.limit.as_ref());
                if let Some(v1::limit::Limit::Amount(text)) = limit {
                    self.limits.insert((*scope_id, *resource_id), number(text)?);
                } else {
                    self.limits.remove(&(*scope_id, *resource_id));
                }
            }
            Some(Body::Reserved(_)) => {
                self.grants += 1;
                if event.touched.is_empty() {
                    return Err(format!("a hold that takes nothing: {event:?}"));
                }
                for touched in &event.touched {
                    let taken = number(&touched.used)? + number(&touched.held)?;
                    match self.limits.get(&(touched.scope_id, touched.resource_id)) {
                        Some(limit) if taken > *limit => {
                            return Err(format!("{taken} of {limit} after {event:?}"));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
