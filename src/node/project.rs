//! Keeps the projections up to date, and lets reads wait for them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::ledger::Revision;
use crate::projection;
use crate::projection::About;
use crate::projection::Journal;
use crate::projection::ProjectionError;
use crate::projection::Written;
use crate::projection::runner::Next;
use crate::projection::runner::Progress;
use crate::projection::runner::Runner;
use crate::projection::views::Views;
use crate::raft;
use crate::raft::Applied;
use crate::raft::Faults;
use crate::store::Batch;
use crate::store::StateStore;
use crate::store::StoreError;

/// How long what was folded may wait before it is written, when nobody waits for it: so that what is
/// written often, like the end of the event tree, is not written for every event.
const WRITE_AFTER: Duration = Duration::from_secs(1);

/// How long to let more events come together before they are folded, when nobody waits for it.
const GATHER: Duration = Duration::from_millis(5);

/// How long to wait for somebody else who writes.
const BUSY: Duration = Duration::from_millis(1);

/// Where a node has its projections take their events from.
struct Stored(Arc<Applied>);

impl Journal for Stored {
    fn generation(&self) -> u64 {
        self.0.generation()
    }

    fn head(&self) -> Revision {
        self.0.progress().borrow().revision
    }

    fn let_go(&self) -> Revision {
        self.0.compacted_at()
    }

    fn horizon(&self) -> Result<Revision, StoreError> {
        self.0.removed_through()
    }

    fn blocks(&self, from: Revision, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        self.0.blocks(from, visit)
    }

    fn fresh(&self, from: Revision, bytes: usize) -> Vec<Bytes> {
        self.0.take_fresh(from, bytes).into_iter().map(|entry| entry.block).collect()
    }

    fn write(&self, generation: u64, batch: Batch) -> Result<Written, StoreError> {
        Ok(match self.0.write_views(generation, batch)? {
            raft::Written::Done => Written::Done,
            raft::Written::Busy(batch) => Written::Busy(batch),
            raft::Written::Gone => Written::Gone,
        })
    }

    fn store(&self) -> &Arc<dyn StateStore> {
        self.0.store()
    }
}

/// What the rest of the node sees of its projections.
pub(super) struct Projections {
    progress: watch::Receiver<Vec<Progress>>,
    wanted: watch::Sender<Revision>,
    rebuild: mpsc::Sender<&'static str>,
}

/// The side that works.
pub(super) struct Worker {
    runner: Runner,
    progress: watch::Sender<Vec<Progress>>,
    wanted: watch::Receiver<Revision>,
    rebuild: mpsc::Receiver<&'static str>,
    events: watch::Receiver<raft::state_machine::Progress>,
    faults: Faults,
}

impl Worker {
    /// What all projections show.
    fn least_written(&self) -> Revision {
        self.progress.borrow().iter().map(|progress| progress.revision).min().unwrap_or(0)
    }

    /// Says how far the projections are.
    fn publish(&self) {
        self.progress.send_if_modified(|shown| {
            let progress = self.runner.progress();
            std::mem::replace(shown, progress.clone()) != progress
        });
    }
}

/// Takes up the projections of a node.
pub(super) fn open(
    applied: &Arc<Applied>,
    faults: &Faults,
) -> Result<(Projections, Worker), ProjectionError> {
    let runner = Runner::open(Arc::new(Stored(Arc::clone(applied))), projection::all())?;
    let (progress, shown) = watch::channel(runner.progress());
    let (wanted, asked) = watch::channel(0);
    let (rebuild, to_rebuild) = mpsc::channel(16);
    let projections = Projections { progress: shown, wanted, rebuild };
    let (events, faults) = (applied.progress(), faults.clone());
    Ok((projections, Worker { runner, progress, wanted: asked, rebuild: to_rebuild, events, faults }))
}

/// Lets more events come together, unless somebody begins to wait for them.
async fn gather(wanted: &mut watch::Receiver<Revision>) {
    tokio::select! {
        () = sleep(GATHER) => {}
        // What it says is looked at before anything else.
        _ = wanted.changed() => wanted.mark_changed(),
    }
}

/// Folds until the node is gone.
pub(super) async fn run(mut worker: Worker) {
    // When what was folded last is to be written, if it is not written yet.
    let mut due: Option<Instant> = None;
    loop {
        while let Ok(name) = worker.rebuild.try_recv() {
            worker.runner.rebuild(name);
        }
        // Before anything of it is cleared.
        worker.publish();
        // Both are marked as seen before they are looked at: what comes later wakes this up.
        worker.events.mark_unchanged();
        let wanted = *worker.wanted.borrow_and_update();
        let is_due = due.is_some_and(|due| due <= Instant::now());
        let next = match worker.runner.step(wanted, is_due) {
            Ok(next) => next,
            Err(error) => {
                worker.faults.report(format!("fold events: {error}"));
                return;
            }
        };
        worker.publish();
        due = if next == Next::Write { due.or(Some(Instant::now() + WRITE_AFTER)) } else { None };
        match next {
            Next::More => tokio::task::yield_now().await,
            Next::Later => sleep(BUSY).await,
            Next::Write | Next::Idle => {
                let write = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                let gone = tokio::select! {
                    changed = worker.events.changed() => {
                        if *worker.wanted.borrow() <= worker.least_written() {
                            gather(&mut worker.wanted).await;
                        }
                        changed.is_err()
                    }
                    changed = worker.wanted.changed() => changed.is_err(),
                    name = worker.rebuild.recv() => {
                        let gone = name.is_none();
                        name.into_iter().for_each(|name| worker.runner.rebuild(name));
                        gone
                    }
                    () = write => false,
                };
                if gone {
                    return;
                }
            }
        }
    }
}

impl Node {
    /// How far the projections of this node are.
    pub fn projections(&self) -> Vec<Progress> {
        self.projections.progress.borrow().clone()
    }

    /// Waits until a projection shows an event. Returns the revision that it shows.
    pub async fn projected(
        &self,
        name: &'static str,
        revision: Revision,
        deadline: Instant,
    ) -> Result<Revision, Error> {
        self.projections.wanted.send_if_modified(|wanted| {
            let more = revision > *wanted;
            *wanted = revision.max(*wanted);
            more
        });
        let mut progress = self.projections.progress.clone();
        let find = |all: &Vec<Progress>| all.iter().find(|progress| progress.about.name == name).copied();
        let reached = |all: &Vec<Progress>| {
            find(all).is_some_and(|progress| progress.revision >= revision && !progress.is_catching_up)
        };
        match timeout_at(deadline, progress.wait_for(reached)).await {
            Ok(Ok(shown)) => Ok(find(&shown).map_or(revision, |progress| progress.revision)),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Fault, "this node is stopping")),
            Err(_) => {
                let at = find(&self.projections.progress.borrow()).map_or(0, |progress| progress.revision);
                let problem = format!(
                    "the projection {name} of this node has come to revision {at} and not yet to {revision}; \
                     ask another node or try again"
                );
                Err(Error::unavailable(problem))
            }
        }
    }

    /// Reads what a projection has written, as of one revision, which is at least this one; returns that,
    /// too. What cannot be read is a fault.
    pub async fn read_views<T>(
        &self,
        about: About,
        least: Revision,
        deadline: Instant,
        read: impl Fn(&dyn StateStore) -> Result<T, ProjectionError>,
    ) -> Result<(T, Revision), Error> {
        loop {
            self.projected(about.name, least, deadline).await?;
            let store = &**self.parts.applied.store();
            let generation = self.parts.applied.generation();
            let written = || Views::new(store, about).revision();
            let seen = written().and_then(|before| Ok((read(store)?, before, written()?)));
            let is_settled = generation.is_multiple_of(2) && generation == self.parts.applied.generation();
            match seen {
                Ok((seen, Some(before), after)) if is_settled && Some(before) == after && before >= least => {
                    return Ok((seen, before));
                }
                Err(error) if is_settled && !self.is_catching_up(about.name) => {
                    return Err(self.broken("read a projection", &error));
                }
                // It was written meanwhile, or everything was replaced.
                _ if Instant::now() < deadline => sleep(BUSY).await,
                _ => {
                    return Err(Error::unavailable(format!(
                        "the projection {} did not rest in time",
                        about.name
                    )));
                }
            }
        }
    }

    /// Whether a projection is being made.
    pub(super) fn is_catching_up(&self, name: &str) -> bool {
        let progress = self.projections.progress.borrow();
        progress.iter().any(|progress| progress.about.name == name && progress.is_catching_up)
    }

    /// Has this node make a projection anew.
    pub async fn rebuild(&self, name: &str) -> Result<(), Error> {
        let all = self.projections();
        let Some(progress) = all.iter().find(|progress| progress.about.name == name) else {
            let names: Vec<_> = all.iter().map(|progress| progress.about.name).collect();
            let problem = format!("there is no projection {name:?}; there are {}", names.join(", "));
            return Err(Error::new(ErrorKind::Invalid, problem));
        };
        let removed = self.state().compacted_at();
        if progress.about.needs_all_events && removed > 0 {
            let problem = format!(
                "the events up to {removed} were removed, and {name} would be wrong if it was made of the others \
                 alone: to have it anew, replace this node, which then takes what another one has"
            );
            return Err(Error::new(ErrorKind::Refused, problem));
        }
        let sent = self.projections.rebuild.send(progress.about.name).await;
        sent.map_err(|_| Error::new(ErrorKind::Fault, "this node is stopping"))
    }
}
