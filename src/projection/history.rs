//! History: which events touched a quota, a hold, or the holds of a job.
//!
//! Revisions lie in runs: what came together between two writes is one record.
//!
//! | key | value |
//! |---|---|
//! | 1; scope, 4 bytes; resource, 4 bytes; first revision, 8 bytes | `Revisions` |
//! | 2; hold, 8 bytes; first revision, 8 bytes | `Revisions`; the one that made it is its number |
//! | 3; job; 0; first revision, 8 bytes | `Revisions` |
//! | 4; hold, 8 bytes | of a hold with a job: the job |

use std::collections::BTreeMap;

use super::About;
use super::Folded;
use super::Projection;
use super::ProjectionError;
use super::views::ViewBatch;
use super::views::Views;
use crate::codec::Corrupt;
use crate::codec::local;
use crate::ledger::HoldId;
use crate::ledger::ResourceId;
use crate::ledger::Revision;
use crate::ledger::ScopeId;
use crate::proto::storage::v1 as storage;
use crate::proto::v1::event::Body;
use crate::store::StateStore;

/// What it is.
pub const ABOUT: About =
    About { name: "history", purpose: "the events of each quota, hold and job", number: 0x12, version: 1 };

const WHAT: &str = "a record of history";

/// What has a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The counters and the policy of a resource at a scope.
    Quota(ScopeId, ResourceId),
    /// A hold.
    Hold(HoldId),
    /// All holds that name a job.
    Job(String),
}

impl Subject {
    fn prefix(&self) -> Vec<u8> {
        match self {
            Self::Quota(scope, resource) => quota_prefix(scope.0, resource.0),
            Self::Hold(hold) => hold_prefix(*hold),
            Self::Job(job) => job_prefix(job.as_bytes()),
        }
    }
}

fn quota_prefix(scope: u32, resource: u32) -> Vec<u8> {
    [&[1], scope.to_be_bytes().as_slice(), &resource.to_be_bytes()].concat()
}

fn hold_prefix(hold: HoldId) -> Vec<u8> {
    [&[2], hold.to_be_bytes().as_slice()].concat()
}

fn job_prefix(job: &[u8]) -> Vec<u8> {
    [&[3], job, &[0]].concat()
}

fn job_of_key(hold: HoldId) -> Vec<u8> {
    [&[4], hold.to_be_bytes().as_slice()].concat()
}

/// The fold.
#[derive(Debug, Default)]
pub struct History {
    /// Revisions that are not written yet, by the prefix of their keys.
    pending: BTreeMap<Vec<u8>, Vec<Revision>>,
    /// Jobs of holds that are not written yet; nothing of those that are closed.
    jobs: BTreeMap<HoldId, Option<String>>,
}

impl History {
    fn note(&mut self, prefix: Vec<u8>, revision: Revision) {
        self.pending.entry(prefix).or_default().push(revision);
    }

    fn note_hold(
        &mut self,
        views: &Views<'_>,
        hold: HoldId,
        revision: Revision,
        is_closed: bool,
    ) -> Result<(), ProjectionError> {
        self.note(hold_prefix(hold), revision);
        let job = match self.jobs.get(&hold) {
            Some(job) => job.clone().map(String::into_bytes),
            None => views.get(&job_of_key(hold))?.map(|job| job.to_vec()),
        };
        if let Some(job) = job {
            self.note(job_prefix(&job), revision);
            if is_closed {
                self.jobs.insert(hold, None);
            }
        }
        Ok(())
    }
}

impl Projection for History {
    fn about(&self) -> About {
        ABOUT
    }

    fn load(&mut self, _: &Views<'_>) -> Result<(), ProjectionError> {
        *self = Self::default();
        Ok(())
    }

    fn fold(&mut self, views: &Views<'_>, event: &Folded<'_>) -> Result<(), ProjectionError> {
        let revision = event.message.revision;
        for touched in &event.message.touched {
            self.note(quota_prefix(touched.scope_id, touched.resource_id), revision);
        }
        match &event.message.body {
            Some(Body::Reserved(reserved)) if !reserved.job.is_empty() => {
                self.jobs.insert(revision, Some(reserved.job.clone()));
                self.note(job_prefix(reserved.job.as_bytes()), revision);
            }
            Some(Body::Committed(body)) => self.note_hold(views, body.hold_id, revision, false)?,
            Some(Body::Released(body)) => {
                self.note_hold(views, body.hold_id, revision, body.after.is_none())?;
            }
            Some(Body::Expired(body)) => {
                self.note_hold(views, body.hold_id, revision, body.after.is_none())?;
            }
            Some(Body::Renewed(body)) => self.note_hold(views, body.hold_id, revision, false)?,
            Some(Body::Resized(body)) => self.note_hold(views, body.hold_id, revision, false)?,
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, _: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError> {
        for (prefix, revisions) in std::mem::take(&mut self.pending) {
            let first = revisions.first().copied().unwrap_or_default();
            let steps = revisions.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let key = [prefix.as_slice(), &first.to_be_bytes()].concat();
            batch.put_message(&key, &storage::Revisions { steps });
        }
        for (hold, job) in std::mem::take(&mut self.jobs) {
            match job {
                Some(job) => batch.put(&job_of_key(hold), job.into_bytes()),
                None => batch.delete(&job_of_key(hold)),
            }
        }
        Ok(())
    }
}

/// The revisions of the events of a subject after one, ascending, or before one, descending: at most
/// `limit`.
pub fn revisions(
    store: &dyn StateStore,
    subject: &Subject,
    newest_first: bool,
    from: Option<Revision>,
    limit: usize,
) -> Result<Vec<Revision>, ProjectionError> {
    let views = Views::new(store, ABOUT);
    let prefix = subject.prefix();
    let made = match subject {
        Subject::Hold(hold) => Some(*hold),
        Subject::Quota(..) | Subject::Job(_) => None,
    };
    let mut found = if newest_first {
        descending(&views, &prefix, from, limit)?
    } else {
        ascending(&views, &prefix, from, limit)?
    };
    // The event that made a hold is not kept: it is its number.
    if let Some(made) = made {
        match newest_first {
            false if from.is_none_or(|from| from < made) => found.insert(0, made),
            true if found.len() < limit && from.is_none_or(|from| from > made) => found.push(made),
            _ => {}
        }
        found.truncate(limit);
    }
    Ok(found)
}

fn key_at(prefix: &[u8], revision: Revision) -> Vec<u8> {
    [prefix, &revision.to_be_bytes()].concat()
}

fn ascending(
    views: &Views<'_>,
    prefix: &[u8],
    after: Option<Revision>,
    limit: usize,
) -> Result<Vec<Revision>, ProjectionError> {
    let after = after.unwrap_or(0);
    // The run with `after` may begin before it.
    let before = views.last(&key_at(prefix, 0), &key_at(prefix, after.saturating_add(1)))?;
    let start = before.map_or_else(|| key_at(prefix, 0), |(key, _)| key.to_vec());
    let mut found = Vec::new();
    let mut problem = None;
    views.scan(&start, &key_at(prefix, Revision::MAX), &mut |key, value| {
        match run(prefix, key, value) {
            Ok(run) => found.extend(run.into_iter().filter(|revision| *revision > after)),
            Err(corrupt) => problem = Some(corrupt),
        }
        problem.is_none() && found.len() < limit
    })?;
    found.truncate(limit);
    problem.map_or(Ok(found), |corrupt| Err(corrupt.into()))
}

fn descending(
    views: &Views<'_>,
    prefix: &[u8],
    before: Option<Revision>,
    limit: usize,
) -> Result<Vec<Revision>, ProjectionError> {
    let before = before.unwrap_or(Revision::MAX);
    let mut found: Vec<Revision> = Vec::new();
    let mut end = key_at(prefix, before);
    while found.len() < limit {
        let Some((key, value)) = views.last(&key_at(prefix, 0), &end)? else {
            break;
        };
        let run = run(prefix, &key, &value)?;
        found.extend(run.into_iter().rev().filter(|revision| *revision < before));
        end = key.to_vec();
    }
    found.truncate(limit);
    Ok(found)
}

/// The revisions of one record.
fn run(prefix: &[u8], key: &[u8], value: &[u8]) -> Result<Vec<Revision>, Corrupt> {
    let first = key.strip_prefix(prefix).and_then(|first| first.try_into().ok()).map(u64::from_be_bytes);
    let first = first.ok_or_else(|| Corrupt::new(WHAT, "its key has no revision"))?;
    let steps = local::message::<storage::Revisions>(WHAT, value)?.steps;
    let mut revisions = vec![first];
    for step in steps {
        let last = revisions.last().copied().unwrap_or_default();
        revisions.push(last.checked_add(step).ok_or_else(|| Corrupt::new(WHAT, "a step is too long"))?);
    }
    Ok(revisions)
}
