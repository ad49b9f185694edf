//! The state of the past: put together from stored rows and the events after them.
//!
//! The rows of the last checkpoint serve for what came after it, and a keyframe (`keyframe`) for what
//! came before. All of it goes in steps, between which others have their turn, and nothing is held
//! that whoever applies entries would wait for: rows are not written anew meanwhile, that is all. When
//! a snapshot replaces the store in the middle, everything begins anew.
//!
//! Knows nothing of who wants to see it, nor of what was put together before.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

use super::events::visit_blocks;
use super::keyframe;
use super::recovery::RecoveryError;
use super::recovery::Rows;
use super::recovery::fold_block;
use super::recovery::revision_of_rows;
use super::state_machine::Applied;
use super::state_machine::Written;
use crate::codec::Corrupt;
use crate::codec::keys;
use crate::codec::local;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::planted::Bug;
use crate::planted::planted;
use crate::proto::storage::v1 as storage;
use crate::store::Batch;
use crate::store::Space;
use crate::store::StateStore;
use crate::store::StoreError;

/// A step ends with the record with which it has read, or written, so many rows.
pub(super) const ROWS_PER_STEP: usize = 1_000;

/// A step ends with the block in which it has folded so many events.
const EVENTS_PER_STEP: u64 = 1_000;

/// So many more events are folded rather than load rows.
const FOLDED_RATHER: u64 = 10_000;

/// What the log says of it.
const MADE: &str = "the past is put together";
const CHANGED: &str = "the store was replaced, or events were removed; beginning anew";

/// How long to wait for whoever writes or replaces the store.
const WAIT: Duration = Duration::from_millis(10);

/// Why a state of the past cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// What it would be made of was removed.
    #[error("the history before revision {earliest} was removed")]
    Compacted {
        /// The first revision that can be had.
        earliest: Revision,
    },
    /// The store failed, or holds what cannot be understood: a fault of this node.
    #[error(transparent)]
    Failed(#[from] RecoveryError),
}

/// Why a step was the last one.
#[derive(Debug)]
pub(super) enum Stop {
    /// The store was replaced, or events were removed: what was read before does not belong to what is read
    /// now.
    Replaced,
    /// It is of no use to begin anew.
    Past(PastError),
}

impl From<RecoveryError> for Stop {
    fn from(error: RecoveryError) -> Self {
        Self::Past(PastError::Failed(error))
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        RecoveryError::from(error).into()
    }
}

impl From<Corrupt> for Stop {
    fn from(error: Corrupt) -> Self {
        RecoveryError::from(error).into()
    }
}

impl Applied {
    /// The state exactly as it was after a revision, which must have been applied. It is made of an
    /// earlier one, when there is one that serves. It is to be read: what was decided about requests
    /// is not in it.
    pub async fn past(&self, revision: Revision, mut earlier: Option<State>) -> Result<State, PastError> {
        assert!(revision <= self.read().revision(), "what is yet to come has not passed");
        loop {
            let steps = Steps::begin(self).await;
            match steps.past(revision, earlier.take()).await {
                Ok(state) => return Ok(state),
                Err(Stop::Replaced) => tracing::debug!(revision, "{CHANGED}"),
                Err(Stop::Past(error)) => return Err(error),
            }
        }
    }

    /// The last revision that was decided at a log time or before it. Log time must have passed it.
    pub async fn revision_at(&self, time: LogTime) -> Result<Revision, PastError> {
        loop {
            let steps = Steps::begin(self).await;
            match steps.revision_at(time).await {
                Ok(revision) => return Ok(revision),
                Err(Stop::Replaced) => tracing::debug!(time, "{CHANGED}"),
                Err(Stop::Past(error)) => return Err(error),
            }
        }
    }
}

/// Steps that belong together, since they see one and the same store.
pub(super) struct Steps<'a> {
    applied: &'a Applied,
    generation: u64,
}

impl<'a> Steps<'a> {
    pub(super) async fn begin(applied: &'a Applied) -> Self {
        loop {
            let generation = applied.generation();
            if generation.is_multiple_of(2) {
                return Self { applied, generation };
            }
            sleep(WAIT).await;
        }
    }

    fn store(&self) -> &dyn StateStore {
        &**self.applied.store()
    }

    /// What came of a step, if it saw the same store as those before it; then others have their turn.
    pub(super) async fn step<T, E: Into<Stop>>(&self, result: Result<T, E>) -> Result<T, Stop> {
        if self.applied.generation() != self.generation {
            return Err(Stop::Replaced);
        }
        let result = result.map_err(Into::into)?;
        yield_now().await;
        Ok(result)
    }

    /// Writes what was made of what the store held.
    pub(super) async fn write(&self, mut batch: Batch) -> Result<(), Stop> {
        loop {
            match self.applied.write_views(self.generation, batch)? {
                Written::Done => return self.step(Ok::<_, Stop>(())).await,
                Written::Gone => return Err(Stop::Replaced),
                Written::Busy(unwritten) => batch = unwritten,
            }
            sleep(WAIT).await;
        }
    }

    async fn past(&self, revision: Revision, earlier: Option<State>) -> Result<State, Stop> {
        let mut state = self.base(revision, earlier).await?;
        while state.revision() < revision {
            let before = state.revision();
            let folded = fold_some(self.store(), &mut state, revision);
            // What lies between may have been removed while it was read: then something later serves.
            if state.revision() == before && self.applied.removed_through()? > before {
                return Err(Stop::Replaced);
            }
            self.step(folded).await?;
            if state.revision() == before {
                let problem = format!("there is nothing after {before}, but it must go on to {revision}");
                return Err(Corrupt::new("the event stream", problem).into());
            }
        }
        Ok(state)
    }

    /// Some state at or before a revision, with all events in between still there.
    async fn base(&self, revision: Revision, earlier: Option<State>) -> Result<State, Stop> {
        // From here on, until everything is loaded, rows stay as they are, and keyframes where they are.
        let _pinned = self.applied.rows.read().await;
        if revision < self.applied.compacted_at() {
            return Err(self.compacted());
        }
        // What was let go of and is still there leads on.
        let removed = self.applied.removed_through()?;
        let serves = |base: Revision| (removed..=revision).contains(&base);
        let rows = revision_of_rows(self.store())?.filter(|rows| serves(*rows));
        let keyframe = match rows {
            Some(_) => None,
            None => keyframe::newest(self.store(), revision)?.filter(|frame| serves(frame.revision)),
        };
        let beginning = serves(0).then_some(0);
        let stored = rows.or(keyframe.as_ref().map(|frame| frame.revision)).or(beginning);
        if let Some(earlier) = earlier.filter(|earlier| serves(earlier.revision()))
            && stored.is_none_or(|stored| earlier.revision().saturating_add(FOLDED_RATHER) >= stored)
        {
            tracing::debug!(base = earlier.revision(), revision, "{MADE} from an earlier state of the past");
            return Ok(earlier);
        }
        match (rows, keyframe, beginning) {
            (Some(base), ..) => {
                tracing::debug!(base, revision, "{MADE} from the rows of the last checkpoint");
                Ok(self.load(Space::Rows, &[], base).await?.0)
            }
            (None, Some(frame), _) => {
                tracing::debug!(base = frame.revision, revision, "{MADE} from a keyframe");
                let prefix = keys::keyframe(frame.revision);
                let (state, rows) = self.load(Space::Views, &prefix, frame.revision).await?;
                if rows != frame.rows {
                    let problem = format!("it says {} rows and has {rows}", frame.rows);
                    return Err(Corrupt::new("a keyframe", problem).into());
                }
                Ok(state)
            }
            (None, None, Some(_)) => {
                tracing::debug!(revision, "{MADE} from the first event on");
                Ok(State::default())
            }
            (None, None, None) => Err(self.compacted()),
        }
    }

    /// The state that rows make whose keys begin with a prefix, and how many they are.
    async fn load(&self, space: Space, prefix: &[u8], revision: Revision) -> Result<(State, u64), Stop> {
        let mut rows = Rows::default();
        let mut from = [prefix, keys::ROWS.0].concat();
        let to = [prefix, keys::REQUESTS].concat();
        loop {
            let next = load_some(self.store(), space, &from, &to, &mut rows);
            match self.step(next).await? {
                Some(next) => from = next,
                None => break,
            }
        }
        loop {
            let done = rows.finish_some(ROWS_PER_STEP, revision);
            if let Some(state) = self.step(done).await? {
                return Ok((state, rows.count()));
            }
        }
    }

    async fn revision_at(&self, time: LogTime) -> Result<Revision, Stop> {
        let compacted_at = self.applied.compacted_at();
        // What comes after `high` was decided later, what comes up to `low` was not.
        let (mut low, mut high) = (compacted_at, self.applied.read().revision());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let found = time_of(self.store(), middle);
            match self.step(found).await? {
                Some(decided) if decided + u64::from(planted(Bug::AsOfTimeOffByOne)) <= time => low = middle,
                Some(_) => high = middle - 1,
                None if self.applied.compacted_at() >= middle => return Err(self.compacted()),
                None => {
                    let problem = format!("there is no event {middle}");
                    return Err(Corrupt::new("the event stream", problem).into());
                }
            }
        }
        if low > compacted_at || compacted_at == 0 {
            return Ok(low);
        }
        // When the last event was decided that is gone nobody knows any more.
        let found = time_of(self.store(), low);
        match self.step(found).await? {
            Some(decided) if decided <= time => Ok(low),
            _ => Err(self.compacted()),
        }
    }

    fn compacted(&self) -> Stop {
        match self.earliest() {
            Ok(earliest) => Stop::Past(PastError::Compacted { earliest }),
            Err(error) => error.into(),
        }
    }

    /// The first revision that can be had.
    fn earliest(&self) -> Result<Revision, RecoveryError> {
        let compacted_at = self.applied.compacted_at();
        let removed = self.applied.removed_through()?;
        if removed == 0 {
            return Ok(compacted_at);
        }
        let frame = keyframe::first(self.store(), removed)?.map(|frame| frame.revision);
        let rows = revision_of_rows(self.store())?.filter(|rows| *rows >= removed);
        Ok(frame.into_iter().chain(rows).min().unwrap_or(compacted_at).max(compacted_at))
    }
}

/// Loads some rows, and says where the next ones begin; `None` after the last.
fn load_some(
    store: &dyn StateStore,
    space: Space,
    from: &[u8],
    to: &[u8],
    rows: &mut Rows,
) -> Result<Option<Vec<u8>>, RecoveryError> {
    let (mut next, mut problem, mut loaded) = (None, None, 0);
    store.scan(space, from, to, &mut |key, value| {
        if loaded >= ROWS_PER_STEP {
            next = Some(key.to_vec());
            return false;
        }
        match rows.add(value) {
            Ok(added) => loaded += added,
            Err(corrupt) => problem = Some(corrupt),
        }
        problem.is_none()
    })?;
    problem.map_or(Ok(next), |corrupt| Err(corrupt.into()))
}

/// Folds some of the events that follow, up to a revision.
fn fold_some(store: &dyn StateStore, state: &mut State, upto: Revision) -> Result<(), RecoveryError> {
    let first = state.revision() + 1;
    let mut problem = None;
    visit_blocks(store, first, &mut |value| {
        problem = fold_block(state, value, &(first..=upto), State::follow).err();
        let folded = state.revision() + 1 - first;
        problem.is_none() && state.revision() < upto && folded < EVENTS_PER_STEP
    })?;
    problem.map_or(Ok(()), |corrupt| Err(corrupt.into()))
}

/// When an event was decided; `None` when it is not there.
fn time_of(store: &dyn StateStore, revision: Revision) -> Result<Option<LogTime>, RecoveryError> {
    let block = store.last(Space::Events, &keys::block(0), &keys::block(revision + 1))?;
    let Some((_, value)) = block else {
        return Ok(None);
    };
    let block: storage::EventBlock = local::message("an event block", &value)?;
    let event = block.events.iter().find(|event| event.revision == revision);
    Ok(event.map(|event| event.log_time_ms))
}
