//! The past, as it is asked for: states of it are put together one at a time, and the last ones are
//! kept. They never change, whatever becomes of the node's own state.
//!
//! Whoever asks waits no longer than to his deadline; the work goes on, so that he finds it done when he
//! asks again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Weak;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::timeout_at;

use super::Error;
use super::ErrorKind;
use super::Node;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::raft::past::PastError;

/// How many states are kept: each takes as much memory as the node's own.
const KEPT: usize = 2;

/// How many may wait for one.
const QUEUE: usize = 1_024;

/// Somebody who waits for a state.
pub(super) struct Wanted {
    revision: Revision,
    reply: oneshot::Sender<Result<Arc<State>, Error>>,
}

/// The states that are there, and where others are asked for.
pub(super) struct Past {
    wanted: mpsc::Sender<Wanted>,
    kept: Kept,
}

impl Past {
    pub(super) fn new() -> (Self, mpsc::Receiver<Wanted>) {
        let (wanted, receiver) = mpsc::channel(QUEUE);
        (Self { wanted, kept: Kept::default() }, receiver)
    }
}

/// The last states, the one that was last asked for first.
#[derive(Default)]
struct Kept(Mutex<VecDeque<Arc<State>>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<State>>> {
        self.0.lock().expect("nothing panics while it holds them")
    }

    fn find(&self, revision: Revision) -> Option<Arc<State>> {
        let mut kept = self.lock();
        let position = kept.iter().position(|state| state.revision() == revision)?;
        let state = kept.remove(position)?;
        kept.push_front(Arc::clone(&state));
        Some(state)
    }

    /// Makes room for one. What was there is given away when a later one can be made of it: when nobody
    /// looks at it.
    fn make_room(&self, revision: Revision) -> Option<State> {
        let mut kept = self.lock();
        let mut oldest = None;
        while kept.len() >= KEPT {
            oldest = kept.pop_back();
        }
        drop(kept);
        Arc::into_inner(oldest?).filter(|state| state.revision() <= revision)
    }

    fn add(&self, state: Arc<State>) {
        self.lock().push_front(state);
    }
}

/// Puts states together until the node is gone.
pub(super) async fn run(node: Weak<Node>, mut wanted: mpsc::Receiver<Wanted>) {
    while let Some(Wanted { revision, reply }) = wanted.recv().await {
        // Whoever asks again finds it sooner when nobody before him waits for nothing.
        if reply.is_closed() {
            continue;
        }
        let Some(node) = node.upgrade() else {
            return;
        };
        // Who asked may have gone meanwhile: it is kept for his next question.
        drop(reply.send(node.put_together(revision).await));
    }
}

impl Node {
    /// The state as it was after a revision, which has been applied.
    pub(super) async fn past(&self, revision: Revision, deadline: Instant) -> Result<Arc<State>, Error> {
        if let Some(state) = self.past.kept.find(revision) {
            return Ok(state);
        }
        let (reply, answer) = oneshot::channel();
        self.past.wanted.try_send(Wanted { revision, reply }).map_err(|_| {
            Error::unavailable(format!(
                "{QUEUE} reads of the past are waiting; try again later, or another node"
            ))
        })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::unavailable("this node is stopping")),
            Err(_) => Err(Error::unavailable(format!(
                "the state at revision {revision} has not been put together in time; that goes on: try again, \
                 with more time"
            ))),
        }
    }

    async fn put_together(&self, revision: Revision) -> Result<Arc<State>, Error> {
        if let Some(state) = self.past.kept.find(revision) {
            return Ok(state);
        }
        let earlier = self.past.kept.make_room(revision);
        let state = self.parts.applied.past(revision, earlier).await.map_err(|error| self.explain(error))?;
        let state = Arc::new(state);
        self.past.kept.add(Arc::clone(&state));
        Ok(state)
    }

    /// Why there is nothing to see. That the store cannot be read is a fault.
    pub(super) fn explain(&self, error: PastError) -> Error {
        match error {
            PastError::Compacted { earliest } => Error::new(ErrorKind::Compacted { earliest }, error),
            PastError::Failed(error) => {
                self.parts.faults.report(format!("read the past: {error}"));
                Error::new(ErrorKind::Fault, format!("this node cannot read its past and stops: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Command;
    use crate::ledger::Request;
    use crate::ledger::RequestId;
    use crate::ledger::apply::Stamp;
    use crate::ledger::apply::apply;
    use crate::ledger::command::Release;

    fn state(revision: Revision) -> Arc<State> {
        let mut state = State::default();
        for number in 1..=revision {
            let id = RequestId::from_bytes((u128::from(number) << 80 | 7 << 76 | 0b10 << 62).to_be_bytes());
            let request = Request {
                id: id.expect("a UUIDv7"),
                fingerprint: [0; 16],
                actor: "".into(),
                reason: "".into(),
                command: Command::Release(Release::all(1)),
            };
            apply(&mut state, Stamp::from(number), &[request]);
        }
        assert_eq!(state.revision(), revision);
        Arc::new(state)
    }

    #[test]
    fn the_states_that_were_last_asked_for_are_kept() {
        let kept = Kept::default();
        for revision in [3, 5] {
            assert!(kept.make_room(revision).is_none());
            kept.add(state(revision));
        }
        assert_eq!(kept.find(3).map(|state| state.revision()), Some(3));
        assert!(kept.find(4).is_none());
        // The other one goes, and serves for what comes after it.
        assert_eq!(kept.make_room(9).map(|state| state.revision()), Some(5));
        kept.add(state(9));
        assert!(kept.find(5).is_none() && kept.find(3).is_some() && kept.find(9).is_some());
    }

    #[test]
    fn a_state_that_somebody_looks_at_stays_as_it_is() {
        let kept = Kept::default();
        kept.add(state(1));
        kept.add(state(2));
        let looked_at = kept.find(1).expect("it is kept");
        assert!(kept.find(2).is_some());
        assert!(kept.make_room(7).is_none());
        assert_eq!(looked_at.revision(), 1);
        // One that is later serves for nothing before it.
        kept.add(state(3));
        assert!(kept.make_room(1).is_none());
    }
}
