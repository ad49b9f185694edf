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
use crate::codec::event::stored::Happened;
use crate::codec::local;
use crate::ledger::HoldId;
use crate::ledger::ResourceId;
use crate::ledger::Revision;
use crate::ledger::ScopeId;
use crate::planted::Bug;
use crate::planted::planted;
use crate::proto::storage::v1 as storage;
use crate::store::StateStore;

/// What it is.
pub const ABOUT: About = About {
    name: "history",
    purpose: "the events of each quota, hold and job",
    number: 0x12,
    version: 1,
    needs_all_events: false,
};

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

/// The fold: what is not written yet.
#[derive(Debug, Default)]
pub struct History {
    /// Revisions of quotas, by scope and resource; of holds; and of jobs.
    quotas: BTreeMap<(u32, u32), Vec<Revision>>,
    holds: BTreeMap<HoldId, Vec<Revision>>,
    jobs: BTreeMap<Box<[u8]>, Vec<Revision>>,
    /// Jobs of holds; nothing of those that are closed.
    jobs_of: BTreeMap<HoldId, Option<Box<[u8]>>>,
}

impl History {
    fn note_hold(
        &mut self,
        views: &Views<'_>,
        hold: HoldId,
        revision: Revision,
        is_closed: bool,
    ) -> Result<(), ProjectionError> {
        self.holds.entry(hold).or_default().push(revision);
        let job = match self.jobs_of.get(&hold) {
            Some(job) => job.clone(),
            None => views.get(&job_of_key(hold))?.map(|job| Box::from(&*job)),
        };
        if let Some(job) = job {
            self.jobs.entry(job).or_default().push(revision);
            if is_closed {
                self.jobs_of.insert(hold, None);
            }
        }
        Ok(())
    }
}

fn put(batch: &mut ViewBatch<'_>, prefix: &[u8], revisions: &[Revision]) {
    let first = revisions.first().copied().unwrap_or_default();
    let steps = revisions.windows(2).map(|pair| pair[1] - pair[0]).collect();
    batch.put_message(&key_at(prefix, first), &storage::Revisions { steps });
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
        let revision = event.stored.revision;
        for touched in event.touched {
            self.quotas.entry((touched.scope, touched.resource)).or_default().push(revision);
        }
        match &event.happened {
            Happened::Reserved(reserved) if !reserved.job.is_empty() => {
                let job: Box<[u8]> = reserved.job.as_bytes().into();
                self.jobs.entry(job.clone()).or_default().push(revision);
                self.jobs_of.insert(revision, Some(job));
            }
            Happened::Released(change) | Happened::Expired(change) => {
                self.note_hold(views, change.hold, revision, change.after.is_none())?;
            }
            Happened::Committed(change) | Happened::Resized(change) => {
                self.note_hold(views, change.hold, revision, false)?;
            }
            Happened::Renewed(hold) => self.note_hold(views, *hold, revision, false)?,
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, _: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError> {
        for ((scope, resource), revisions) in std::mem::take(&mut self.quotas) {
            let first = usize::from(planted(Bug::HistoryBeginsLate) && revisions.len() > 1);
            put(batch, &quota_prefix(scope, resource), &revisions[first..]);
        }
        for (hold, revisions) in std::mem::take(&mut self.holds) {
            put(batch, &hold_prefix(hold), &revisions);
        }
        for (job, revisions) in std::mem::take(&mut self.jobs) {
            put(batch, &job_prefix(&job), &revisions);
        }
        for (hold, job) in std::mem::take(&mut self.jobs_of) {
            match job {
                Some(job) => batch.put(&job_of_key(hold), Vec::from(job)),
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
