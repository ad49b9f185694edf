//! Requests and their identity: how a command takes effect at most once, for ever, with bounded
//! memory.
//!
//! A request id is a UUIDv7, so it begins with the time at which the client made it. The table of
//! decided requests is ordered by id and therefore by that time. It forgets from the front: what
//! lies before a window of log time, and what exceeds its capacity. The greatest forgotten id is
//! the *floor*, and an id at or below the floor (or older than the window) is refused as expired
//! without looking at it any further. So an id is either remembered, or refused, or new.

use std::fmt;
use std::sync::Arc;

use super::LogTime;
use super::Revision;
use super::command::Command;
use super::outcome::Verdict;
use super::rising::Rising;
use crate::planted::Bug;
use crate::planted::planted;

/// How long a decided request is remembered, in milliseconds of log time.
pub const WINDOW_MS: u64 = 60 * 60 * 1000;

/// How far ahead of the log time an id may lie, in milliseconds: clocks differ. It is short,
/// because what is forgotten first is what was made first by the clocks of the clients: ids from
/// far ahead would push out those of everyone else.
pub const AHEAD_MS: u64 = 60 * 1000;

/// How much is remembered at most: a grant counts 1, a rejection 2, and each 1 for every
/// thing that it names. Some 128 bytes each.
pub const CAPACITY: usize = 2_000_000;

/// First 16 bytes of the SHA-256 of the command.
pub type Fingerprint = [u8; 16];

/// The identity of a command: a UUIDv7, as a number. Ordered by the time in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RequestId(u128);

impl RequestId {
    /// From the 16 bytes of a UUID. Anything but a UUIDv7 is refused, with the reason.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, &'static str> {
        let id = Self(u128::from_be_bytes(bytes));
        if bytes[6] >> 4 != 7 || bytes[8] >> 6 != 0b10 {
            return Err("is not a UUID of version 7");
        }
        Ok(id)
    }

    /// The greatest id with a time before `time_ms`; the floor that lets `time_ms` itself pass.
    pub(super) fn just_before(time_ms: u64) -> Self {
        Self(u128::from(time_ms).saturating_mul(1 << 80).saturating_sub(1))
    }

    /// A UUIDv7 that is made at a time.
    pub fn made_at(time_ms: u64, random: u128) -> Self {
        let time = u128::from(time_ms) & ((1 << 48) - 1);
        let random = random & ((1 << 76) - 1) & !(0b11 << 62);
        Self(time << 80 | 7 << 76 | (random & ((1 << 76) - 1)) | 0b10 << 62)
    }

    /// The 16 bytes of the UUID.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From the bytes of a floor, which need not be a UUID.
    pub fn floor_from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// When the client made it, in milliseconds since the Unix epoch by the client's clock.
    pub fn time_ms(self) -> u64 {
        u64::try_from(self.0 >> 80).expect("48 bits fit")
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl RequestId {
    /// The text of the UUID.
    pub fn text(self) -> [u8; 36] {
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (position, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

/// One command with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Made by the client before it sent.
    pub id: RequestId,
    /// Tells a repeat from another command under the same id.
    pub fingerprint: Fingerprint,
    /// Who asks; "" when nobody said.
    pub actor: Arc<str>,
    /// Why, for people; "" when nobody said. No rule looks at it.
    pub reason: Arc<str>,
    /// What is asked.
    pub command: Command,
}

/// What was decided about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Of the command.
    pub fingerprint: Fingerprint,
    /// Of the event.
    pub revision: Revision,
    /// What the client was told.
    pub verdict: Verdict,
}

impl Decided {
    fn weight(&self) -> usize {
        match &self.verdict {
            Ok(grant) => 1 + grant.items(),
            Err(rejection) => 2 + rejection.items(),
        }
    }
}

/// The decided requests that are remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RequestTable {
    /// Entries are large, and one that comes late or goes first moves those after it in its chunk.
    decided: Rising<RequestId, Decided, 32>,
    weight: usize,
    floor: RequestId,
}

impl RequestTable {
    #[inline]
    pub(super) fn get(&self, id: RequestId) -> Option<&Decided> {
        self.decided.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestId, &Decided)> {
        self.decided.iter()
    }

    pub(super) fn iter_from(&self, id: RequestId) -> impl Iterator<Item = (RequestId, &Decided)> {
        self.decided.iter_from(id)
    }

    pub(super) fn floor(&self) -> RequestId {
        self.floor
    }

    pub(super) fn restore(&mut self, floor: RequestId) {
        self.floor = floor;
    }

    /// Remembers a decision without forgetting others: for restoring.
    pub(super) fn load(&mut self, id: RequestId, decided: Decided) {
        self.weight += decided.weight();
        let before = self.decided.insert(id, decided);
        assert!(before.is_none(), "a request is decided once");
    }

    /// The greatest id that is refused at a log time.
    #[inline]
    pub(super) fn floor_at(&self, now: LogTime) -> RequestId {
        self.floor.max(RequestId::just_before(now.saturating_sub(WINDOW_MS)))
    }

    /// Remembers a decision and forgets what is too old or too much; the forgotten ids are handed
    /// to `forgotten`.
    pub(super) fn insert(
        &mut self,
        id: RequestId,
        decided: Decided,
        now: LogTime,
        mut forgotten: impl FnMut(RequestId),
    ) {
        self.load(id, decided);
        self.floor = self.floor_at(now);
        let is_early = |id| {
            planted(Bug::RequestsForgottenEarly) && id <= RequestId::just_before(now.saturating_sub(500))
        };
        while let Some((oldest, decided)) = self.decided.first() {
            if oldest > self.floor && !is_early(oldest) {
                if self.weight <= CAPACITY {
                    break;
                }
                self.floor = oldest;
            }
            self.weight -= decided.weight();
            self.decided.remove(oldest);
            forgotten(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Name;
    use super::super::rejection::Rejection;
    use super::*;

    #[test]
    fn what_names_much_takes_the_room_of_many() {
        let name = Name::parse("nothing").expect("a name");
        let rejection = Rejection::UnknownResources(vec![name; 62]);
        let verdict: Verdict = Err(Box::new(rejection));
        let mut table = RequestTable::default();
        let mut forgotten = 0;
        let kept = CAPACITY / 64;
        for revision in 1..=kept as u64 + 10 {
            let decided = Decided { fingerprint: [0; 16], revision, verdict: verdict.clone() };
            table.insert(RequestId(u128::from(revision) << 80), decided, 0, |_| forgotten += 1);
        }
        assert_eq!((table.decided.len(), forgotten), (kept, 10));
        assert_eq!(table.weight, kept * 64);
    }
}
