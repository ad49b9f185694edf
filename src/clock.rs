//! The only reader of wall-clock time. Everything else gets a [`Clock`]; rules see log time only.
//!
//! Sleeps and deadlines are tokio's, which a simulation can take over by itself.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. May jump in both directions.
    fn now_ms(&self) -> u64;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the one place that may ask.
    fn now_ms(&self) -> u64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            // Before 1970: log time never goes back, so the ledger is safe from it.
            Err(_) => 0,
        }
    }
}
