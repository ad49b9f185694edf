//! Keyframes: copies of all rows as they were at some revision, so that a state of the past is put
//! together from a bounded number of events.
//!
//! One is due when as many events have come since the last as are worth it: so keyframes take as much
//! of the disk as a part of the events, however large the state is. Its rows are written first and in
//! several batches, and then what says that it is complete: one that is not is none.
//!
//! Requests are left out: nobody reads them, and they are most of the rows.

use super::past::PastError;
use super::past::ROWS_PER_STEP;
use super::past::Steps;
use super::past::Stop;
use super::recovery::RecoveryError;
use super::recovery::revision_of_rows;
use super::state_machine::Applied;
use crate::codec::Corrupt;
use crate::codec::keys;
use crate::codec::local;
use crate::codec::rows;
use crate::ledger::Revision;
use crate::planted::Bug;
use crate::planted::planted;
use crate::store::Batch;
use crate::store::Space;
use crate::store::StateStore;

/// A keyframe is due after so many events for every row of the last one.
const EVENTS_PER_ROW: u64 = 4;

/// A complete keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyframe {
    /// Of its rows.
    pub revision: Revision,
    /// How many they are.
    pub rows: u64,
}

impl Applied {
    /// Makes a keyframe of the rows of the last checkpoint, if one is due: not before there are so many
    /// events since the last one. Says whether it did.
    pub async fn keyframe(&self, events: u64) -> Result<bool, RecoveryError> {
        // Rows stay as they are until all are copied.
        let _pinned = self.rows.read().await;
        match copy_rows(self, events).await {
            Ok(made) => Ok(made),
            // The other store brought keyframes of its own.
            Err(Stop::Replaced) => Ok(false),
            Err(Stop::Past(PastError::Failed(error))) => Err(error),
            Err(Stop::Past(PastError::Compacted { .. })) => unreachable!("no events are read"),
        }
    }

    /// Removes the keyframes of which nothing can be made any more, since the events after them are
    /// gone, but the newest of these.
    pub async fn drop_keyframes(&self) -> Result<(), RecoveryError> {
        // While somebody reads one all of them stay.
        let Ok(_unread) = self.rows.try_write() else {
            return Ok(());
        };
        let compacted_at = self.compacted_at();
        let steps = Steps::begin(self).await;
        let Some(last) = newest(&**self.store(), compacted_at)? else {
            return Ok(());
        };
        if first(&**self.store(), 0)?.is_none_or(|first| first.revision == last.revision) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete_range(Space::Views, keys::KEYFRAMES.0, keys::keyframe(last.revision));
        match steps.write(batch).await {
            Ok(()) | Err(Stop::Replaced) => Ok(()),
            Err(Stop::Past(PastError::Failed(error))) => Err(error),
            Err(Stop::Past(PastError::Compacted { .. })) => unreachable!("no events are read"),
        }
    }
}

async fn copy_rows(applied: &Applied, events: u64) -> Result<bool, Stop> {
    let steps = Steps::begin(applied).await;
    let store = &**applied.store();
    let Some(revision) = revision_of_rows(store)? else {
        return Ok(false);
    };
    let last = newest(store, revision)?.unwrap_or(Keyframe { revision: 0, rows: 0 });
    if revision - last.revision < events.max(last.rows.saturating_mul(EVENTS_PER_ROW)).max(1) {
        return Ok(false);
    }
    let prefix = keys::keyframe(revision + u64::from(planted(Bug::KeyframeOffByOne)));
    // What is left of those that were never completed.
    let mut batch = Batch::default();
    batch.delete_range(Space::Views, keys::keyframe(last.revision + 1), keys::keyframe(revision + 1));
    steps.write(batch).await?;

    let mut rows = 0;
    let mut from = Some(keys::ROWS.0.to_vec());
    while let Some(start) = from {
        let (batch, copied, next) = steps.step(copy_some(store, &start, &prefix)).await?;
        rows += copied as u64;
        steps.write(batch).await?;
        from = next;
    }
    let mut batch = Batch::default();
    let mut header = vec![keys::FORMAT];
    header.extend_from_slice(&rows.to_be_bytes());
    batch.put(Space::Views, prefix, header);
    steps.write(batch).await?;
    tracing::debug!(revision, rows, "made a keyframe");
    Ok(true)
}

/// Some rows, to be written as those of a keyframe, how many they are, and where the next ones begin.
fn copy_some(
    store: &dyn StateStore,
    from: &[u8],
    prefix: &[u8],
) -> Result<(Batch, usize, Option<Vec<u8>>), RecoveryError> {
    let (mut batch, mut copied, mut next, mut problem) = (Batch::default(), 0, None, None);
    store.scan(Space::Rows, from, keys::REQUESTS, &mut |key, record| {
        if copied >= ROWS_PER_STEP {
            next = Some(key.to_vec());
            return false;
        }
        match rows::split(record) {
            Ok(rows) => copied += rows.len(),
            Err(corrupt) => problem = Some(corrupt),
        }
        batch.put(Space::Views, [prefix, key].concat(), record.to_vec());
        problem.is_none()
    })?;
    problem.map_or(Ok((batch, copied, next)), |corrupt| Err(corrupt.into()))
}

/// The newest keyframe at or before a revision.
pub fn newest(store: &dyn StateStore, upto: Revision) -> Result<Option<Keyframe>, RecoveryError> {
    let mut to = keys::keyframe(upto.saturating_add(1));
    while let Some((key, _)) = store.last(Space::Views, keys::KEYFRAMES.0, &to)? {
        let (revision, _) = parse(&key)?;
        if let Some(keyframe) = complete(store, revision)? {
            return Ok(Some(keyframe));
        }
        to = keys::keyframe(revision);
    }
    Ok(None)
}

/// The first keyframe at or after a revision.
pub fn first(store: &dyn StateStore, from: Revision) -> Result<Option<Keyframe>, RecoveryError> {
    let mut from = keys::keyframe(from);
    loop {
        let mut found = None;
        store.scan(Space::Views, &from, keys::KEYFRAMES.1, &mut |key, _| {
            found = Some(key.to_vec());
            false
        })?;
        let Some(key) = found else {
            return Ok(None);
        };
        match parse(&key)? {
            (revision, false) => return complete(store, revision),
            // Its own key would have come first.
            (revision, true) => from = keys::keyframe(revision + 1),
        }
    }
}

fn parse(key: &[u8]) -> Result<(Revision, bool), Corrupt> {
    keys::keyframe_of(key).ok_or_else(|| Corrupt::new("a keyframe", "its key has no revision"))
}

fn complete(store: &dyn StateStore, revision: Revision) -> Result<Option<Keyframe>, RecoveryError> {
    let Some(bytes) = store.get(Space::Views, &keys::keyframe(revision))? else {
        return Ok(None);
    };
    let rows = keys::number(local::payload("a keyframe", &bytes)?)
        .ok_or_else(|| Corrupt::new("a keyframe", "how many rows it has is no number"))?;
    Ok(Some(Keyframe { revision, rows }))
}
