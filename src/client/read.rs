//! How new the answers of reads must be.
//!
//! Knows nothing of what is read.

use std::time::Duration;

use super::Client;
use super::v1;
use super::v1::read::Kind;

/// How new an answer must be; see `proto/quorate/v1/read.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Read {
    /// At least everything that was acknowledged anywhere before the read was sent.
    #[default]
    Linearizable,
    /// At least this revision: what you wrote, on any node, also without a leader.
    AtLeast(u64),
    /// At least everything that was acknowledged so long before the read. What is below a millisecond
    /// is cut off.
    Stale(Duration),
    /// Exactly as it was after this revision.
    AtRevision(u64),
    /// Exactly as it was at this log time, in milliseconds since the Unix epoch.
    AtTime(u64),
}

impl Read {
    /// Whether it is about the past, which a node may have to put together first.
    pub fn is_past(self) -> bool {
        matches!(self, Self::AtRevision(_) | Self::AtTime(_))
    }
}

impl From<Read> for v1::Read {
    fn from(read: Read) -> Self {
        let kind = match read {
            Read::Linearizable => None,
            Read::AtLeast(revision) => Some(Kind::AtLeast(revision)),
            Read::Stale(lag) => Some(Kind::MaxLagMs(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX))),
            Read::AtRevision(revision) => Some(Kind::AtRevision(revision)),
            Read::AtTime(time_ms) => Some(Kind::AtTimeMs(time_ms)),
        };
        Self { kind }
    }
}

impl Client {
    /// The same client, whose reads are as new as this; a message that says so itself has its own way.
    /// What is about the past may take all the time there is on the first node.
    #[must_use]
    pub fn reading(&self, read: Read) -> Self {
        Self { read, ..self.clone() }
    }

    /// What goes into the message of a read.
    pub(super) fn read(&self) -> Option<v1::Read> {
        (self.read != Read::Linearizable).then(|| self.read.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_travels_in_whole_milliseconds() {
        let kind = |lag| v1::Read::from(Read::Stale(lag)).kind;
        assert_eq!(kind(Duration::from_micros(1_999)), Some(Kind::MaxLagMs(1)));
        // Which is LINEARIZABLE: newer than was asked for.
        assert_eq!(kind(Duration::from_micros(999)), Some(Kind::MaxLagMs(0)));
        assert_eq!(kind(Duration::MAX), Some(Kind::MaxLagMs(u64::MAX)));
    }
}
