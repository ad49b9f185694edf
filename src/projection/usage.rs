//! Usage over time: of each account the last, the highest and the average amount taken (used and held
//! together) in each minute, hour and day.
//!
//! Only periods in which something happened are kept; what was taken in those between follows from
//! them. The last ones lie with what was last taken, so that one record is written when an account is
//! touched. Those that are over lie in segments, and segments of one time lie together, so that what is too
//! old goes in one piece.
//!
//! | key | value |
//! |---|---|
//! | 0; scope, 4 bytes; resource, 4 bytes | `UsageHead`: what was last taken, and the last periods |
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
    version: 2,
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

    /// Its position in [`Period::ALL`].
    fn position(self) -> usize {
        self as usize - 1
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
        self.kept().map_or(0, |kept| self.segment(now).saturating_sub(kept))
    }

    /// When the first period begins that is known at a time.
    pub fn first(self, now: LogTime) -> LogTime {
        self.first_of(self.oldest(now)) * self.length()
    }

    /// The segment with a time.
    fn segment(self, time: LogTime) -> u64 {
        time / self.length() / self.per_segment()
    }

    /// The first period of a segment, counted from the epoch.
    fn first_of(self, segment: u64) -> u64 {
        segment * self.per_segment()
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
        // What one entry decides happens at one time.
        if at > self.until {
            self.area = add(self.area, self.last, at - self.until);
            self.until = at;
        }
        self.peak = self.peak.max(taken);
        self.last = taken;
    }
}

/// Sums an amount over time. Of the largest amounts the last decimals are lost: it is for an average.
fn add(area: Decimal, amount: Decimal, time: u64) -> Decimal {
    area.saturating_add(amount.saturating_mul(Decimal::from(time)))
}

/// Periods of one length, counted from the epoch.
type Periods = BTreeMap<u64, Taken>;

/// The last period of each length in which something happened: those of [`Period::ALL`].
type Open = [Option<(u64, Taken)>; 3];

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
    /// As they are written.
    open: Open,
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
                let (before, open, is_first) = match read_head(views, account)? {
                    Some((before, open)) => (before, open, false),
                    None => {
                        let used = taken.saturating_sub(change);
                        (Head { at: time, used, held: Decimal::ZERO }, Open::default(), true)
                    }
                };
                let mut touched = Touched { head: before, open, pieces: Vec::new() };
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

/// Goes on with what happened in some minutes, and gives the periods that are over with that.
fn go_on(open: &mut Open, pieces: &[Piece]) -> [Vec<(u64, Taken)>; 3] {
    let mut over: [Vec<(u64, Taken)>; 3] = Default::default();
    for ((period, open), over) in Period::ALL.into_iter().zip(open).zip(&mut over) {
        for piece in pieces {
            let number = piece.minute / period.length();
            if open.is_none_or(|(last, _)| last != number) {
                let opening = piece.opening;
                let taken = Taken { opening, peak: opening, last: opening, area: Decimal::ZERO, until: 0 };
                over.extend(open.replace((number, taken)));
            }
            let (_, taken) = open.as_mut().expect("one is open now");
            taken.go_on(piece.minute - number * period.length(), piece);
        }
    }
    over
}

/// Adds periods that are over to what is written of their segments.
fn put_over(
    views: &Views<'_>,
    batch: &mut ViewBatch<'_>,
    account: Account,
    (period, oldest): (Period, u64),
    over: &[(u64, Taken)],
) -> Result<(), ProjectionError> {
    let segment_of = |number: u64| number / period.per_segment();
    for together in over.chunk_by(|(one, _), (next, _)| segment_of(*one) == segment_of(*next)) {
        let segment = segment_of(together[0].0);
        // It would be dropped at once.
        if segment < oldest {
            continue;
        }
        let mut periods = read_segment(views, period, segment, account)?;
        periods.extend(together.iter().copied());
        let first = period.first_of(segment);
        let periods = periods.into_iter().map(|(number, taken)| encode(number - first, taken)).collect();
        batch.put_message(&segment_key(period, segment, account), &storage::UsageSegment { periods });
    }
    Ok(())
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
        for (account, Touched { head, mut open, pieces }) in std::mem::take(&mut self.touched) {
            for (period, over) in Period::ALL.into_iter().zip(go_on(&mut open, &pieces)) {
                put_over(views, batch, account, (period, period.oldest(self.now)), &over)?;
            }
            let [minute, hour, day] = open.map(|open| open.map(|(number, taken)| encode(number, taken)));
            let message = storage::UsageHead {
                at_ms: head.at,
                used: number::write(head.used),
                held: number::write(head.held),
                minute,
                hour,
                day,
            };
            batch.put_message(&head_key(account), &message);
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

fn encode(index: u64, taken: Taken) -> storage::UsagePeriod {
    storage::UsagePeriod {
        index,
        opening: number::write(taken.opening),
        peak: number::write(taken.peak),
        last: number::write(taken.last),
        area: number::write(taken.area),
        last_ms: taken.until,
    }
}

fn decode(period: &storage::UsagePeriod) -> Result<(u64, Taken), ProjectionError> {
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

fn read_head(views: &Views<'_>, account: Account) -> Result<Option<(Head, Open)>, ProjectionError> {
    let Some(head) = views.message::<storage::UsageHead>(&head_key(account))? else {
        return Ok(None);
    };
    let open = |period: &Option<storage::UsagePeriod>| period.as_ref().map(decode).transpose();
    let open = [open(&head.minute)?, open(&head.hour)?, open(&head.day)?];
    Ok(Some((Head { at: head.at_ms, used: decimal(&head.used)?, held: decimal(&head.held)? }, open)))
}

fn read_segment(
    views: &Views<'_>,
    period: Period,
    segment: u64,
    account: Account,
) -> Result<Periods, ProjectionError> {
    let Some(message) = views.message::<storage::UsageSegment>(&segment_key(period, segment, account))?
    else {
        return Ok(Periods::new());
    };
    let first = period.first_of(segment);
    let decode = |period| decode(period).map(|(index, taken)| (first.saturating_add(index), taken));
    message.periods.iter().map(decode).collect()
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
    let open = head.and_then(|(_, open)| open[period.position()]);
    let length = period.length();
    // What is no longer kept is not shown.
    let first = from.max(period.first(now)) / length;
    let end = to.min(now.saturating_add(1)).div_ceil(length);
    if first >= end {
        return Ok(Vec::new());
    }
    let mut kept = Periods::new();
    let (first_segment, last_segment) = (first / period.per_segment(), end / period.per_segment());
    for segment in first_segment..=last_segment {
        kept.extend(read_segment(&views, period, segment, account)?);
    }
    // Unless it is later than all of them: then there may be segments in between.
    kept.extend(open.filter(|(number, _)| number / period.per_segment() <= last_segment));
    // What was taken before the first period: what the first one that is kept began with, or what has
    // been taken since.
    let mut taken = match kept.range(first..).next() {
        Some((_, next)) => next.opening,
        None => opening_after(&views, period, last_segment, account, head, now)?,
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
    head: Option<(Head, Open)>,
    now: LogTime,
) -> Result<Decimal, ProjectionError> {
    let Some((head, open)) = head else {
        return Ok(Decimal::ZERO);
    };
    for later in segment + 1..=period.segment(head.at.min(now)) {
        if let Some((_, taken)) = read_segment(views, period, later, account)?.first_key_value() {
            return Ok(taken.opening);
        }
    }
    match open[period.position()] {
        Some((number, taken)) if number / period.per_segment() > segment => Ok(taken.opening),
        _ => Ok(head.taken()),
    }
}
