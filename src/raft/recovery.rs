//! From the state store back to the state: the rows of the last checkpoint, and the event blocks
//! since. The Raft log does the rest.

use std::ops::RangeBounds;

use super::types::LogId;
use super::types::StoredMembership;
use super::wire;
use crate::codec::Corrupt;
use crate::codec::event;
use crate::codec::keys;
use crate::codec::local;
use crate::codec::rows;
use crate::ledger::Event;
use crate::ledger::LogTime;
use crate::ledger::Resource;
use crate::ledger::ResourceId;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::ledger::loading::Loading;
use crate::ledger::rows::Row;
use crate::proto::storage::v1 as storage;
use crate::store::Space;
use crate::store::StateStore;
use crate::store::StoreError;

/// What a state store holds.
#[derive(Debug)]
pub struct Recovered {
    /// The ledger.
    pub state: State,
    /// The last log entry that is in it.
    pub last_applied: Option<LogId>,
    /// The last membership that is in it.
    pub membership: StoredMembership,
    /// The log time of the last entry that is in it; never behind that of its last event.
    pub time: LogTime,
}

/// Why the state cannot be recovered: a fault of this node.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The engine failed.
    #[error("recover the state: {0}")]
    Store(#[from] StoreError),
    /// What it holds cannot be understood.
    #[error("recover the state: {0}; this node's data is damaged: replace the node")]
    Corrupt(#[from] Corrupt),
}

/// Loads the rows and folds the events after them.
pub fn recover(store: &dyn StateStore) -> Result<Recovered, RecoveryError> {
    let mut state = load_rows(store)?;
    fold_events(store, &mut state)?;
    let Some(bytes) = store.get(Space::Meta, keys::APPLIED)? else {
        if state.revision() != 0 {
            return Err(Corrupt::new("the state", "it has events but does not say how far it came").into());
        }
        return Ok(Recovered { state, last_applied: None, membership: StoredMembership::default(), time: 0 });
    };
    let applied: storage::Applied = local::message("the applied record", &bytes)?;
    if applied.revision != state.revision() {
        let problem =
            format!("it says revision {}, its events end at {}", applied.revision, state.revision());
        return Err(Corrupt::new("the applied record", problem).into());
    }
    Ok(Recovered {
        time: applied.log_time_ms.max(state.time()),
        state,
        last_applied: wire::decode_log_id(applied.log_id)?,
        membership: wire::decode_stored_membership(applied.membership)?,
    })
}

/// The revision of the rows of the last checkpoint; `None` when there was none yet.
pub(super) fn revision_of_rows(store: &dyn StateStore) -> Result<Option<Revision>, RecoveryError> {
    const WHAT: &str = "the checkpoint";
    let Some(bytes) = store.get(Space::Meta, keys::CHECKPOINT)? else {
        return Ok(None);
    };
    let revision = keys::number(local::payload(WHAT, &bytes)?);
    revision.map(Some).ok_or_else(|| Corrupt::new(WHAT, "it is no number").into())
}

/// Stored rows on their way to a state, in the order of their keys.
#[derive(Default)]
pub(super) struct Rows {
    /// Of the resources, which come before everything that is counted in them.
    decimals: Vec<u8>,
    loading: Loading,
    count: u64,
}

impl Rows {
    /// Adds those of a record, and tells how many there were.
    pub(super) fn add(&mut self, record: &[u8]) -> Result<usize, Corrupt> {
        let rows = rows::decode(record, &|id: ResourceId| self.decimals.get(id.0 as usize).copied())?;
        let added = rows.len();
        self.count += added as u64;
        for row in rows {
            if let Row::Resource(_, Resource { decimals, .. }) = &row {
                self.decimals.push(*decimals);
            }
            self.loading.add(row).map_err(|error| Corrupt::new("the state", error))?;
        }
        Ok(added)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// When all rows are there: goes on with so many scopes. Gives the state when it is done, which must
    /// be at this revision.
    pub(super) fn finish_some(
        &mut self,
        scopes: usize,
        revision: Revision,
    ) -> Result<Option<State>, Corrupt> {
        let state = self.loading.finish_some(scopes).map_err(|error| Corrupt::new("the state", error))?;
        match state {
            Some(state) if state.revision() != revision => {
                let problem = format!("it says revision {revision}, its rows say {}", state.revision());
                Err(Corrupt::new("the checkpoint", problem))
            }
            state => Ok(state),
        }
    }
}

/// The rows of the last checkpoint; the empty ledger when there was none yet.
fn load_rows(store: &dyn StateStore) -> Result<State, RecoveryError> {
    let Some(revision) = revision_of_rows(store)? else {
        return Ok(State::default());
    };
    let mut rows = Rows::default();
    let mut problem = None;
    store.scan(Space::Rows, keys::ROWS.0, keys::ROWS.1, &mut |_, value| {
        problem = rows.add(value).err();
        problem.is_none()
    })?;
    if let Some(corrupt) = problem {
        return Err(corrupt.into());
    }
    let state = rows.finish_some(usize::MAX, revision)?;
    Ok(state.expect("there are not so many scopes"))
}

fn fold_events(store: &dyn StateStore, state: &mut State) -> Result<(), RecoveryError> {
    let mut problem = None;
    let from = keys::block(state.revision() + 1);
    store.scan(Space::Events, &from, &keys::block(Revision::MAX), &mut |_, value| {
        problem = fold_block(state, value, &(..), State::evolve).err();
        problem.is_none()
    })?;
    problem.map_or(Ok(()), |corrupt| Err(corrupt.into()))
}

/// Folds those events of a block that are wanted: the next ones.
pub(super) fn fold_block(
    state: &mut State,
    value: &[u8],
    wanted: &impl RangeBounds<Revision>,
    fold: fn(&mut State, &Event),
) -> Result<(), Corrupt> {
    let block: storage::EventBlock = local::message("an event block", value)?;
    for message in block.events.into_iter().filter(|message| wanted.contains(&message.revision)) {
        let decimals =
            |id: ResourceId| state.resources().get(id.0 as usize).map(|resource| resource.decimals);
        let event = event::decode(message, &decimals)?;
        if event.revision != state.revision() + 1 {
            let problem = format!("{} follows {}", event.revision, state.revision());
            return Err(Corrupt::new("the event stream", problem));
        }
        fold(state, &event);
    }
    Ok(())
}
