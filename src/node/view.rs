//! How new the answer of a read must be, and the state that is.
//!
//! What a node may answer without asking anybody it knows by itself: how far it has come (`AtLeast`),
//! and since when its state shows everything there was (`Stale`). That is counted by the monotonic
//! clock of this node alone, so that no clock that is set wrong makes an answer older than it says.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::timeout_at;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::planted::Bug;
use crate::planted::planted;
use crate::raft::state_machine::Progress;
use crate::raft::state_machine::StateGuard;

/// How new an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// At least everything that was acknowledged anywhere before the call.
    Linearizable,
    /// At least this revision.
    AtLeast(Revision),
    /// At least everything that was acknowledged anywhere so long before the call.
    Stale(Duration),
    /// Exactly as it was after this revision.
    AtRevision(Revision),
    /// Exactly as it was at this log time, after all that was decided up to it.
    AtTime(LogTime),
}

/// A state that is as new as was asked for. Nothing may be awaited while it lives.
pub enum View<'a> {
    /// Of now.
    Live(StateGuard<'a>),
    /// Of the past.
    Past(Arc<State>),
}

impl Deref for View<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        match self {
            Self::Live(state) => state,
            Self::Past(state) => state,
        }
    }
}

/// Since when the state of this node is known to show everything that was acknowledged anywhere.
#[derive(Debug, Default)]
pub(super) struct Freshness(Mutex<Option<Instant>>);

impl Freshness {
    /// The state shows everything that was acknowledged before this moment.
    pub(super) fn note(&self, moment: Instant) {
        let mut known = self.0.lock().expect("nothing panics while it holds a moment");
        *known = (*known).max(Some(moment));
    }

    fn known(&self) -> Option<Instant> {
        *self.0.lock().expect("nothing panics while it holds a moment")
    }

    /// Whether the state shows everything that was acknowledged so long before a moment.
    fn reaches(&self, moment: Instant, max_lag: Duration) -> bool {
        self.known().is_some_and(|known| {
            moment.saturating_duration_since(known) <= max_lag || planted(Bug::StaleBoundIgnored)
        })
    }
}

impl Node {
    /// A state that is as new as `read` says.
    pub async fn view(&self, read: Read, deadline: Instant) -> Result<View<'_>, Error> {
        let Some(revision) = self.reach(read, deadline).await? else {
            return Ok(View::Live(self.state()));
        };
        {
            let state = self.state();
            if state.revision() == revision {
                return Ok(View::Live(state));
            }
        }
        Ok(View::Past(self.past(revision, deadline).await?))
    }

    /// Waits until this node can answer what is as new as `read` says. Returns the revision when it is
    /// to be answered as it was then; it has been applied.
    pub async fn reach(&self, read: Read, deadline: Instant) -> Result<Option<Revision>, Error> {
        match read {
            Read::Linearizable => drop(self.linearize(deadline).await?),
            Read::AtLeast(revision) => self.reach_revision(revision, deadline).await?,
            Read::Stale(max_lag) => self.reach_freshness(max_lag, deadline).await?,
            Read::AtRevision(revision) => {
                self.reach_exactly(revision, deadline).await?;
                return Ok(Some(revision));
            }
            Read::AtTime(time) => {
                self.pass(time, deadline).await?;
                let revision = self.parts.applied.revision_at(time);
                let Ok(revision) = timeout_at(deadline, revision).await else {
                    return Err(Error::unavailable("which revision was the last then was not found in time"));
                };
                return revision.map(Some).map_err(|error| self.explain(error));
            }
        }
        Ok(None)
    }

    /// Everything as it is now, or newer, and stays so: as of one revision, which is what it says, and
    /// no older than what was acknowledged anywhere before the call.
    pub async fn frozen(&self, deadline: Instant) -> Result<Arc<State>, Error> {
        self.linearize(deadline).await?;
        let revision = self.state().revision();
        self.past(revision, deadline).await
    }

    /// Waits until this node has come so far, with a leader or without.
    async fn reach_revision(&self, revision: Revision, deadline: Instant) -> Result<(), Error> {
        let enough = |progress: &Progress| progress.revision >= revision || planted(Bug::AtLeastIgnored);
        self.wait_for(enough, deadline, |progress| {
            format!(
                "this node has come to revision {} and not to {revision} in time; ask another node or try again",
                progress.revision
            )
        })
        .await
    }

    async fn reach_freshness(&self, max_lag: Duration, deadline: Instant) -> Result<(), Error> {
        let began = Instant::now();
        if self.freshness.reaches(began, max_lag) {
            return Ok(());
        }
        let Err(error) = self.linearize(deadline).await else {
            return Ok(());
        };
        // Somebody else may have had an answer meanwhile.
        if self.freshness.reaches(began, max_lag) {
            return Ok(());
        }
        if error.kind != ErrorKind::Unavailable {
            return Err(error);
        }
        let age = match self.freshness.known() {
            Some(known) => format!("is {} ms old", began.saturating_duration_since(known).as_millis()),
            None => "is of unknown age".to_owned(),
        };
        Err(Error::unavailable(format!(
            "what this node has {age}, and at most {} ms were allowed: {error}",
            max_lag.as_millis()
        )))
    }

    /// Makes sure that there was such a revision.
    async fn reach_exactly(&self, revision: Revision, deadline: Instant) -> Result<(), Error> {
        let last = || self.state().revision();
        if revision <= last() {
            return Ok(());
        }
        self.linearize(deadline).await?;
        match last() {
            last if revision <= last => Ok(()),
            last => {
                let problem = format!("there is no revision {revision} yet, the last one is {last}");
                Err(Error::new(ErrorKind::NotYet, problem))
            }
        }
    }

    /// Makes sure that log time has passed a time on this node: that it has applied all that will ever
    /// have been decided at that time.
    async fn pass(&self, time: LogTime, deadline: Instant) -> Result<(), Error> {
        if self.has_passed(time) {
            return Ok(());
        }
        self.linearize(deadline).await?;
        if self.has_passed(time) {
            return Ok(());
        }
        self.until(deadline, || async {
            if self.parts.raft.is_leader() {
                self.pass_as_leader(time, deadline).await
            } else {
                self.ask_to_pass(time, deadline).await
            }
        })
        .await?;
        self.linearize(deadline).await?;
        self.check_passed(time)
    }

    /// Has log time pass a time, if need be by an entry that does nothing else. It must be past.
    pub(super) async fn pass_as_leader(&self, time: LogTime, deadline: Instant) -> Result<(), Error> {
        let Ok(_turn) = timeout_at(deadline, self.passing.lock()).await else {
            return Err(Error::unavailable("others wait for the same; try again"));
        };
        if self.has_passed(time) {
            return Ok(());
        }
        let now = self.believed_time().await.ok_or_else(|| self.no_leader())?;
        if now <= time {
            let problem = format!("{time} ms is not past yet: log time is {now} ms since 1970");
            return Err(Error::new(ErrorKind::NotYet, problem));
        }
        self.proposals.tick(deadline).await?;
        self.check_passed(time)
    }

    /// That an entry was written says nothing when another leader stamped it.
    fn check_passed(&self, time: LogTime) -> Result<(), Error> {
        match self.has_passed(time) {
            true => Ok(()),
            false => Err(Error::unavailable("the leader changed before log time had passed; try again")),
        }
    }

    fn has_passed(&self, time: LogTime) -> bool {
        self.parts.applied.log_time() > time
    }

    /// Waits until this node has applied enough, or says how far it has come.
    pub(super) async fn wait_for(
        &self,
        enough: impl FnMut(&Progress) -> bool,
        deadline: Instant,
        problem: impl FnOnce(Progress) -> String,
    ) -> Result<(), Error> {
        let mut progress = self.progress.clone();
        // What it comes to lives no longer than this line: the next one looks at the same.
        let reached = timeout_at(deadline, progress.wait_for(enough)).await.map(|reached| reached.is_ok());
        match reached {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(ErrorKind::Fault, "this node is stopping")),
            Err(_) => Err(Error::unavailable(problem(*self.progress.borrow()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_as_old_as_the_last_moment_of_which_everything_is_known() {
        let freshness = Freshness::default();
        let moment = Instant::now();
        let ms = Duration::from_millis;
        assert!(!freshness.reaches(moment, ms(1_000_000)));
        freshness.note(moment + ms(20));
        // An earlier question may be answered later.
        freshness.note(moment + ms(10));
        assert!(freshness.reaches(moment + ms(50), ms(30)));
        assert!(!freshness.reaches(moment + ms(50), ms(29)));
        // It was asked after the call.
        assert!(freshness.reaches(moment, ms(0)));
    }
}
