//! The digest of the state, from the rows as they are stored: nobody waits for it meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;

use super::state_machine::Applied;
use crate::codec::Corrupt;
use crate::codec::digest::DigestOfRows;
use crate::codec::digest::StateDigest;
use crate::codec::rows;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::ledger::rows::Row;
use crate::store::Space;

/// How long to wait for somebody else who writes.
const BUSY: Duration = Duration::from_millis(1);

/// The state as it was after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digested {
    /// The event; 0 for none.
    pub revision: Revision,
    /// Its log time.
    pub time: LogTime,
    /// Of the state after it.
    pub digest: StateDigest,
}

/// Rows on their way into a digest.
struct Rows {
    digest: DigestOfRows,
    ledger: Option<(Revision, LogTime)>,
    problem: Option<Corrupt>,
}

impl Rows {
    fn add(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        // The first says which state it is.
        if self.ledger.is_none() {
            let [Row::Ledger { revision, time, .. }] = rows::decode(record, &|_| None)?[..] else {
                return Err(Corrupt::new("the state", "it does not begin with its revision"));
            };
            self.ledger = Some((revision, time));
        }
        self.digest.add(record)
    }
}

impl Applied {
    /// The digest of the state after `least` or a later event, which must have been applied.
    pub async fn digest(&self, least: Revision) -> Result<Digested, io::Error> {
        loop {
            // Rows that changed are written first; when something else is being written, later.
            self.checkpoint()?;
            if self.checkpointed()? >= least {
                let digested = self.digest_of_rows().await?;
                // A snapshot may have come in between.
                if digested.revision >= least {
                    return Ok(digested);
                }
            }
            sleep(BUSY).await;
        }
    }

    async fn digest_of_rows(&self) -> Result<Digested, io::Error> {
        let rows = Rows { digest: StateDigest::begin(), ledger: None, problem: None };
        let rows = Arc::new(Mutex::new(Some(rows)));
        let shown = Arc::clone(&rows);
        let visit = move |_: &[u8], record: &[u8]| {
            let mut shown = shown.lock().expect("nothing panics while it adds a row");
            let rows = shown.as_mut().expect("it is taken at the end");
            if rows.problem.is_none() {
                rows.problem = rows.add(record).err();
            }
        };
        self.store().visit_all(Space::Rows, Box::new(visit)).await?;
        let rows = rows.lock().expect("nothing panics while it adds a row").take();
        let Rows { digest, ledger, problem } = rows.expect("it is taken once");
        match (problem, ledger) {
            (Some(corrupt), _) => Err(corrupt.into()),
            (None, Some((revision, time))) => Ok(Digested { revision, time, digest: digest.finish() }),
            // Nothing was ever written.
            (None, None) => Ok(Digested { revision: 0, time: 0, digest: StateDigest::of(&State::default()) }),
        }
    }
}
