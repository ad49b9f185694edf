//! Usage over time: of each account the last, the highest and the average amount taken (used and held
//! together) in each minute, hour and day.
//!
//! Only periods in which something happened are kept; what was taken in those between follows from
//! them. Periods lie in segments, and segments of one time lie together, so that what is too old goes in
//! one piece.
//!
//! | key | value |
//! |---|---|
//! | 0; scope, 4 bytes; resource, 4 bytes | `UsageHead`: what was last taken |
//! | period, 1 byte; segment, 8 bytes; scope, 4; resource, 4 | `UsageSegment` |

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rust_decimal::Decimal;

use super::About;
use super::Folded;
use super::Projection;
use super::ProjectionError;
use super::views::ViewBatch;
use super::views::Views;
use crate::codec::Corrupt;
use crate::codec::event::stored;
use crate::codec::number;
use crate::ledger::LogTime;
use crate::ledger::ResourceId;
use crate::ledger::ScopeId;
use crate::planted::Bug;
use crate::planted::planted;
use crate::proto::storage::v1 as storage;
use crate::store::StateStore;

/// What it is.
pub const ABOUT: About = About {
    name: "usage",
    purpose: "what was taken of each quota by minute, hour and day: last, peak, average",
    number: 0x11,
    version: 1,
    needs_all_events: true,
};

const WHAT: &str = "a record of usage";

/// Periods of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// 60 of them lie together; they are kept for two days.
    Minute = 1,
    /// 24 of them lie together; they are kept for 90 days.
    Hour = 2,
    /// 32 of them lie together; they are kept for ever.
    Day = 3,
}

impl Period {
    const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// In milliseconds.
    pub fn length(self) -> u64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    fn per_segment(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 24,
            Self::Day => 32,
        }
    }

    /// How many segments are kept.
    fn kept(self) -> Option<u64> {
        match self {
            Self::Minute => Some(48),
            Self::Hour => Some(90),
            Self::Day => None,
        }
    }

    /// The oldest segment that is kept at a time.
    fn oldest(self, now: LogTime) -> u64 {
        let (segment, _) = self.place(now);
        self.kept().map_or(0, |kept| segment.saturating_sub(kept))
    }

    /// When the first period begins that is known at a time.
    pub fn first(self, now: LogTime) -> LogTime {
        self.start(self.oldest(now), 0)
    }

    /// The segment with a time, and the position of the period in it.
    fn place(self, time: LogTime) -> (u64, u32) {
        let number = time / self.length();
        let index = u32::try_from(number % self.per_segment()).expect("a segment has few periods");
        (number / self.per_segment(), index)
    }

    fn start(self, segment: u64, index: u32) -> LogTime {
        (segment * self.per_segment() + u64::from(index)) * self.length()
    }
}

type Account = (u32, u32);

fn account_key(account: Account) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&account.0.to_be_bytes());
    key[4..].copy_from_slice(&account.1.to_be_bytes());
    key
}

fn head_key(account: Account) -> Vec<u8> {
    [&[0], account_key(account).as_slice()].concat()
}

fn segment_key(period: Period, segment: u64, account: Account) -> Vec<u8> {
    [&[period as u8], segment.to_be_bytes().as_slice(), &account_key(account)].concat()
}

/// What was taken of an account when it was last touched.
#[derive(Debug, Clone, Copy)]
struct Head {
    at: LogTime,
    used: Decimal,
    held: Decimal,
}

impl Head {
    fn taken(&self) -> Decimal {
        self.used.saturating_add(self.held)
    }
}

/// One period with something in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    opening: Decimal,
    peak: Decimal,
    last: Decimal,
    area: Decimal,
    /// Up to when the area goes, from the beginning of the period.
    until: u64,
}

impl Taken {
    /// Goes on with what happened in a minute that begins so long after the period.
    fn go_on(&mut self, minute: u64, piece: &Piece) {
        self.change(minute + piece.from, piece.opening);
        self.area = self.area.saturating_add(piece.taken.area);
        self.until = minute + piece.taken.until;
        self.peak = self.peak.max(piece.taken.peak);
        self.last = piece.taken.last;
    }

    fn change(&mut self, at: u64, taken: Decimal) {
        self.area = add(self.area, self.last, at.saturating_sub(self.until));
        self.until = self.until.max(at);
        self.peak = self.peak.max(taken);
        self.last = taken;
    }
}

/// Sums an amount over time. Of the largest amounts the last decimals are lost: it is for an average.
fn add(area: Decimal, amount: Decimal, time: u64) -> Decimal {
    area.saturating_add(amount.saturating_mul(Decimal::from(time)))
}

/// The periods of a segment, by their positions in it.
type Periods = BTreeMap<u32, Taken>;

/// What happened to an account in one minute since the last write.
#[derive(Debug)]
struct Piece {
    minute: LogTime,
    opening: Decimal,
    /// When it was first touched, from the beginning of the minute.
    from: u64,
    taken: Taken,
}

impl Piece {
    fn new(time: LogTime, opening: Decimal, taken: Decimal) -> Self {
        let from = time % Period::Minute.length();
        let mut all = Taken { opening, peak: opening, last: opening, area: Decimal::ZERO, until: from };
        all.change(from, taken);
        Self { minute: time - from, opening, from, taken: all }
    }
}

/// An account since the last write.
#[derive(Debug)]
struct Touched {
    head: Head,
    pieces: Vec<Piece>,
}

/// The fold. Only minutes are counted event by event; hours and days are made of them when they are
/// written.
#[derive(Debug, Default)]
pub struct Usage {
    touched: BTreeMap<Account, Touched>,
    now: LogTime,
    /// The oldest segments that are kept.
    dropped: BTreeMap<Period, u64>,
}

impl Usage {
    fn touch(
        &mut self,
        views: &Views<'_>,
        time: LogTime,
        now: &stored::Touched<'_>,
    ) -> Result<(), ProjectionError> {
        let account = (now.scope, now.resource);
        let head = Head { at: time, used: now.used, held: now.held };
        let taken = head.taken();
        let touched = match self.touched.entry(account) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // What came before the first event that there is follows from it.
                let change = now.used_change.saturating_add(now.held_change);
                let (before, is_first) = match read_head(views, account)? {
                    Some(before) => (before, false),
                    None => {
                        (Head { at: time, used: taken.saturating_sub(change), held: Decimal::ZERO }, true)
                    }
                };
                let mut touched = Touched { head: before, pieces: Vec::new() };
                if is_first {
                    touched.pieces.push(Piece::new(time, before.taken(), taken));
                }
                entry.insert(touched)
            }
        };
        let opening = touched.head.taken();
        touched.head = head;
        // A policy that changes takes nothing.
        if opening == taken {
            return Ok(());
        }
        match touched.pieces.last_mut() {
            Some(piece) if time - piece.minute < Period::Minute.length() => {
                piece.taken.change(time - piece.minute, taken);
            }
            _ => touched.pieces.push(Piece::new(time, opening, taken)),
        }
        Ok(())
    }
}

/// The segments with what happened in some minutes, as they are written together with them.
fn merged(
    views: &Views<'_>,
    account: Account,
    pieces: &[Piece],
    period: Period,
) -> Result<Vec<(u64, Periods)>, ProjectionError> {
    let mut segments: Vec<(u64, Periods)> = Vec::new();
    for piece in pieces {
        let (segment, index) = period.place(piece.minute);
        if segments.last().is_none_or(|(last, _)| *last != segment) {
            segments.push((segment, read_segment(views, period, segment, account)?));
        }
        let (_, periods) = segments.last_mut().expect("one was added just now");
        let opening = piece.opening;
        let fresh = Taken { opening, peak: opening, last: opening, area: Decimal::ZERO, until: 0 };
        let minute = piece.minute - period.start(segment, index);
        periods.entry(index).or_insert(fresh).go_on(minute, piece);
    }
    Ok(segments)
}

impl Projection for Usage {
    fn about(&self) -> About {
        ABOUT
    }

    fn load(&mut self, _: &Views<'_>) -> Result<(), ProjectionError> {
        *self = Self::default();
        Ok(())
    }

    fn fold(&mut self, views: &Views<'_>, event: &Folded<'_>) -> Result<(), ProjectionError> {
        self.now = event.stored.time;
        let left_out = usize::from(planted(Bug::UsageMissesLevel));
        let mut touched = event.touched.iter().skip(left_out);
        touched.try_for_each(|touched| self.touch(views, self.now, touched))
    }

    fn write(&mut self, views: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError> {
        for (account, Touched { head, pieces }) in std::mem::take(&mut self.touched) {
            let message = storage::UsageHead {
                at_ms: head.at,
                used: number::write(head.used),
                held: number::write(head.held),
            };
            batch.put_message(&head_key(account), &message);
            for period in Period::ALL {
                for (segment, periods) in merged(views, account, &pieces, period)? {
                    let periods = periods.into_iter().map(encode).collect();
                    let key = segment_key(period, segment, account);
                    batch.put_message(&key, &storage::UsageSegment { periods });
                }
            }
        }
        for period in Period::ALL {
            let oldest = period.oldest(self.now);
            // Once for each that is dropped: removing a range costs reads that come later.
            if self.dropped.insert(period, oldest) != Some(oldest) && oldest > 0 {
                let from = segment_key(period, 0, (0, 0));
                batch.delete_range(&from, &segment_key(period, oldest, (0, 0)));
            }
        }
        Ok(())
    }
}

fn encode((index, taken): (u32, Taken)) -> storage::UsagePeriod {
    storage::UsagePeriod {
        index,
        opening: number::write(taken.opening),
        peak: number::write(taken.peak),
        last: number::write(taken.last),
        area: number::write(taken.area),
        last_ms: taken.until,
    }
}

fn decode(period: &storage::UsagePeriod) -> Result<(u32, Taken), ProjectionError> {
    let taken = Taken {
        opening: decimal(&period.opening)?,
        peak: decimal(&period.peak)?,
        last: decimal(&period.last)?,
        area: decimal(&period.area)?,
        until: period.last_ms,
    };
    Ok((period.index, taken))
}

fn decimal(text: &str) -> Result<Decimal, ProjectionError> {
    Ok(number::parse("an amount", text).map_err(|error| Corrupt::new(WHAT, error))?)
}

fn read_head(views: &Views<'_>, account: Account) -> Result<Option<Head>, ProjectionError> {
    let Some(head) = views.message::<storage::UsageHead>(&head_key(account))? else {
        return Ok(None);
    };
    Ok(Some(Head { at: head.at_ms, used: decimal(&head.used)?, held: decimal(&head.held)? }))
}

fn read_segment(
    views: &Views<'_>,
    period: Period,
    segment: u64,
    account: Account,
) -> Result<Periods, ProjectionError> {
    let segment = views.message::<storage::UsageSegment>(&segment_key(period, segment, account))?;
    segment.iter().flat_map(|segment| &segment.periods).map(decode).collect()
}

/// What was taken in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When it began.
    pub start: LogTime,
    /// What was taken at its end, or is now.
    pub last: Decimal,
    /// The most that was taken.
    pub peak: Decimal,
    /// Over the time that has passed of it.
    pub average: Decimal,
}

/// What was taken of an account in all periods that begin in a time, without gaps, up to now. `now` is
/// not before the last event.
pub fn series(
    store: &dyn StateStore,
    account: (ScopeId, ResourceId),
    period: Period,
    (from, to): (LogTime, LogTime),
    now: LogTime,
) -> Result<Vec<Bucket>, ProjectionError> {
    let views = Views::new(store, ABOUT);
    let account = (account.0.0, account.1.0);
    let head = read_head(&views, account)?;
    let length = period.length();
    // What is no longer kept is not shown.
    let first = from.max(period.first(now)) / length;
    let end = to.min(now.saturating_add(1)).div_ceil(length);
    let mut kept: BTreeMap<u64, Taken> = BTreeMap::new();
    let per_segment = period.per_segment();
    for segment in first / per_segment..=end / per_segment {
        for (index, taken) in read_segment(&views, period, segment, account)? {
            kept.insert(segment * per_segment + u64::from(index), taken);
        }
    }
    // What was taken before the first period: what the first one that is kept began with, or what has
    // been taken since.
    let mut taken = match kept.range(first..).next() {
        Some((_, next)) => next.opening,
        None => opening_after(&views, period, end / per_segment, account, head, now)?,
    };
    let mut buckets = Vec::new();
    for number in first..end {
        let start = number * length;
        let mut passed = length.min(now.saturating_sub(start).saturating_add(1));
        let (peak, area) = match kept.get(&number) {
            Some(period) => {
                taken = period.last;
                // An event may have come since `now` was looked at.
                passed = passed.max(period.until);
                (period.peak, add(period.area, period.last, passed.saturating_sub(period.until)))
            }
            None => (taken, add(Decimal::ZERO, taken, passed)),
        };
        let average = area.checked_div(Decimal::from(passed)).unwrap_or_default();
        buckets.push(Bucket { start, last: taken, peak, average });
    }
    Ok(buckets)
}

/// What was taken before everything that happened after a segment.
fn opening_after(
    views: &Views<'_>,
    period: Period,
    segment: u64,
    account: Account,
    head: Option<Head>,
    now: LogTime,
) -> Result<Decimal, ProjectionError> {
    let Some(head) = head else {
        return Ok(Decimal::ZERO);
    };
    let (newest, _) = period.place(head.at.min(now));
    for later in segment + 1..=newest {
        if let Some((_, taken)) = read_segment(views, period, later, account)?.first_key_value() {
            return Ok(taken.opening);
        }
    }
    Ok(head.taken())
}
