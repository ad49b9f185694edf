//! Request ids by the thousand.

use tokio::time::Instant;
use uuid::Uuid;

use crate::client::new_request_id;
use crate::client::numbered_request_id;

/// How many ids follow from one that is made: a new one asks the system for chance and time.
const RUN: u64 = 1_024;

/// How long they follow from it: they are as old as it is.
const AGE: std::time::Duration = std::time::Duration::from_secs(1);

/// Makes request ids, none of them twice.
#[derive(Debug)]
pub(super) struct Ids {
    base: Uuid,
    made: Instant,
    next: u64,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { base: new_request_id(), made: Instant::now(), next: 0 }
    }

    pub(super) fn next(&mut self, now: Instant) -> Uuid {
        if self.next >= RUN || now.saturating_duration_since(self.made) >= AGE {
            *self = Self { base: new_request_id(), made: now, next: 0 };
        }
        self.next += 1;
        numbered_request_id(self.base, self.next)
    }
}
