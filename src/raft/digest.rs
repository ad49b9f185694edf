//! The digest of the state, from the records of its rows as they are stored: nobody waits for it meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;

use super::state_machine::Applied;
use crate::codec::Corrupt;
use crate::codec::digest::DigestOfRecords;
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

/// Records on their way into a digest.
struct Records {
    digest: DigestOfRecords,
    ledger: Option<(Revision, LogTime)>,
    problem: Option<Corrupt>,
}

impl Records {
    fn add(&mut self, record: &[u8]) {
        // The first says which state it is.
        if self.ledger.is_none() {
            match rows::decode(record, &|_| None).as_deref() {
                Ok([Row::Ledger { revision, time, .. }]) => self.ledger = Some((*revision, *time)),
                Ok(_) => {
                    self.problem = Some(Corrupt::new("the state", "it does not begin with its revision"));
                }
                Err(corrupt) => self.problem = Some(corrupt.clone()),
            }
        }
        self.digest.add(record);
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
        let records = Records { digest: StateDigest::begin(), ledger: None, problem: None };
        let records = Arc::new(Mutex::new(Some(records)));
        let shown = Arc::clone(&records);
        let visit = move |_: &[u8], record: &[u8]| {
            let mut shown = shown.lock().expect("nothing panics while it adds a record");
            shown.as_mut().expect("it is taken at the end").add(record);
        };
        self.store().visit_all(Space::Rows, Box::new(visit)).await?;
        let records = records.lock().expect("nothing panics while it adds a record").take();
        let Records { digest, ledger, problem } = records.expect("it is taken once");
        match (problem, ledger) {
            (Some(corrupt), _) => Err(corrupt.into()),
            (None, Some((revision, time))) => Ok(Digested { revision, time, digest: digest.finish() }),
            // Nothing was ever written.
            (None, None) => Ok(Digested { revision: 0, time: 0, digest: StateDigest::of(&State::default()) }),
        }
    }
}
