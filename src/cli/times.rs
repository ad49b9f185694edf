//! Points in time and lengths of time: how they are written on the command line, and how they are
//! read to people.
//!
//! Knows nothing of clocks: what "now" is, the caller says.

use std::str::FromStr;
use std::time::Duration;

pub(super) use crate::client::tell::distance;
pub(super) use crate::client::tell::span_text;
pub(super) use crate::client::tell::utc;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The longest timeout.
const LONGEST_TIMEOUT_MS: u64 = DAY_MS;
/// The longest time that a policy can say: 100 years.
const LONGEST_SPAN_MS: u64 = 36_500 * DAY_MS;

const MOMENT_FORM: &str = "write UTC like 2026-11-21T12:00:00Z, or a time from now like +2h";

/// How long to try: `500ms`, `10s`, `2m` or `1h`; never zero, at most a day.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match span(text)? {
        ms if ms <= LONGEST_TIMEOUT_MS => Ok(Duration::from_millis(ms)),
        _ => Err("longer than a day: give at most 24h".to_owned()),
    }
}

/// A length of time in milliseconds: `500ms`, `10s`, `90m`, `4h` or `30d`; never zero.
pub(super) fn span(text: &str) -> Result<u64, String> {
    let form = "write a whole number with ms, s, m, h or d: 500ms, 10s, 90m, 4h, 30d";
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let count: u64 = digits.parse().map_err(|_| format!("{digits:?} is not a number: {form}"))?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        "" => return Err(format!("the unit is missing: {form}")),
        _ => return Err(format!("{unit:?} is not a unit: {form}")),
    };
    match count.checked_mul(unit_ms) {
        Some(0) => Err("that is no time at all: give at least 1ms".to_owned()),
        Some(ms) if ms <= LONGEST_SPAN_MS => Ok(ms),
        _ => Err("longer than 100 years: give at most 36500d".to_owned()),
    }
}

/// A length of time as [`span`] reads it, in the largest unit that says it exactly; none for what it
/// does not read.
pub(super) fn span_argument(ms: u64) -> Option<String> {
    let units = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s"), (1, "ms")];
    let (unit_ms, unit) = units.into_iter().find(|(unit_ms, _)| ms.is_multiple_of(*unit_ms))?;
    (1..=LONGEST_SPAN_MS).contains(&ms).then(|| format!("{}{unit}", ms / unit_ms))
}

/// A point in time as it is written: on the calendar, or counted from when the command is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    At(u64),
    In(u64),
}

impl Moment {
    /// Milliseconds since the Unix epoch.
    pub(super) fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::In(ms) => now_ms.saturating_add(ms),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('+') {
            Some(rest) => span(rest).map(Self::In),
            None => calendar(text).map(Self::At),
        }
    }
}

/// A point in the past as it is written: on the calendar, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    At(u64),
    Ago(u64),
}

impl Bound {
    /// Milliseconds since the Unix epoch.
    pub(super) fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ms) => now_ms.saturating_sub(ms),
        }
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = span(text) {
            return Ok(Self::Ago(ago));
        }
        calendar(text).map(Self::At).map_err(|problem| {
            let problem = problem.split(MOMENT_FORM).next().unwrap_or_default();
            format!("{problem}write UTC like 2026-11-21T12:00:00Z, or how long ago like 2h")
        })
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.fff]Z`, from 1970 to 9999.
fn calendar(text: &str) -> Result<u64, String> {
    let wrong = |problem: &str| format!("{problem}: {MOMENT_FORM}");
    let utc = text.strip_suffix(['Z', 'z']).ok_or_else(|| wrong("it does not end with Z, for UTC"))?;
    let (date, time) =
        utc.split_once(['T', 't']).ok_or_else(|| wrong("there is no T between date and time"))?;
    let (time, millis) = match time.split_once('.') {
        None => (time, 0),
        Some((time, fraction)) if (1..=3).contains(&fraction.len()) => {
            (time, number(&format!("{fraction:0<3}")).ok_or_else(|| wrong("the fraction is no number"))?)
        }
        Some(_) => return Err(wrong("a fraction of a second has 1 to 3 digits")),
    };
    let [year, month, day] =
        numbers(date, '-', [4, 2, 2]).ok_or_else(|| wrong("the date is not YYYY-MM-DD"))?;
    let [hour, minute, second] =
        numbers(time, ':', [2, 2, 2]).ok_or_else(|| wrong("the time is not HH:MM:SS"))?;
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
        return Err(wrong("there is no such day, or it is before 1970"));
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(wrong("there is no such time of day"));
    }
    let seconds = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Ok(seconds * SECOND_MS + millis)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (found, digits) in found.iter_mut().zip(digits) {
        *found = parts.next().filter(|part| part.len() == digits).and_then(number)?;
    }
    parts.next().is_none().then_some(found)
}

fn days_of_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's days_from_civil, for days since 1970: years begin in March, so that the leap
/// day is the last of its year.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A point in time with how far away it is.
pub(super) fn utc_and_distance(ms: u64, now_ms: u64) -> String {
    format!("{} ({})", utc(ms), distance(ms, now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_with_a_unit_and_at_most_a_day() {
        assert_eq!(timeout("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(timeout("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(timeout("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(timeout("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "10", "s", "0s", "1.5s", "-1s", "10y", "99999999999999999999s", "1441m", "2d"] {
            assert!(timeout(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_span_is_at_most_a_hundred_years() {
        assert_eq!(span("4h"), Ok(14_400_000));
        assert_eq!(span("30d"), Ok(2_592_000_000));
        assert_eq!(span("36500d"), Ok(3_153_600_000_000));
        assert!(span("36501d").expect_err("too long").contains("36500d"));
        assert!(span("0d").is_err());
    }

    #[test]
    fn a_span_is_written_as_it_is_read() {
        for text in ["1ms", "1500ms", "90s", "90m", "36h", "30d"] {
            assert_eq!(span(text).ok().and_then(span_argument).as_deref(), Some(text));
        }
        assert_eq!(span_argument(0), None);
        assert_eq!(span_argument(LONGEST_SPAN_MS + 1), None);
    }

    #[test]
    fn a_moment_is_on_the_calendar_or_from_now() {
        assert_eq!("+2h".parse(), Ok(Moment::In(7_200_000)));
        assert_eq!(Moment::In(7_200_000).ms(1_000), 7_201_000);
        assert_eq!("2026-03-01T00:00:00Z".parse(), Ok(Moment::At(1_772_323_200_000)));
        assert_eq!("2000-02-28T23:59:59.999Z".parse(), Ok(Moment::At(951_782_399_999)));
        assert_eq!("1970-01-01T00:00:00.5Z".parse(), Ok(Moment::At(500)));
    }

    #[test]
    fn a_bound_is_on_the_calendar_or_so_long_ago() {
        assert_eq!("2h".parse(), Ok(Bound::Ago(7_200_000)));
        assert_eq!((Bound::Ago(400).ms(1_000), Bound::Ago(4_000).ms(1_000)), (600, 0));
        assert_eq!("2026-03-01T00:00:00Z".parse(), Ok(Bound::At(1_772_323_200_000)));
        let message = "+2h".parse::<Bound>().expect_err("not in the past");
        assert!(message.ends_with(": write UTC like 2026-11-21T12:00:00Z, or how long ago like 2h"));
    }

    #[test]
    fn what_is_written_in_utc_is_read_back() {
        for ms in [0, 951_782_399_999, 951_782_400_000, 1_772_323_200_000, 4_102_444_799_000] {
            assert_eq!(utc(ms).parse(), Ok(Moment::At(ms)), "{ms}");
        }
    }

    #[test]
    fn a_malformed_moment_is_refused_with_the_form() {
        let cases = [
            ("", "Z, for UTC"),
            ("2h", "Z, for UTC"),
            ("2026-11-21T12:00:00+01:00", "Z, for UTC"),
            ("2026-11-21Z", "no T"),
            ("2026-11-21T12:00Z", "HH:MM:SS"),
            ("26-11-21T12:00:00Z", "YYYY-MM-DD"),
            ("2026-02-29T12:00:00Z", "no such day"),
            ("1969-12-31T23:59:59Z", "no such day"),
            ("2026-11-21T24:00:00Z", "no such time"),
            ("2026-11-21T12:00:00.1234Z", "1 to 3 digits"),
        ];
        for (text, problem) in cases {
            let message = text.parse::<Moment>().expect_err(text);
            assert!(message.contains(problem) && message.contains(MOMENT_FORM), "{text}: {message}");
        }
        assert!("+2".parse::<Moment>().is_err());
    }
}
