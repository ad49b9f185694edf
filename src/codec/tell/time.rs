//! Points in time and lengths of time as people read them.

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Milliseconds since the Unix epoch as a date and time in UTC, RFC 3339.
pub fn utc(ms: u64) -> String {
    let (seconds, millis) = (ms / 1_000, ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The way back of days_from_civil.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A length of time for people, in its two largest units: "4 h 12 min", "35 s".
pub fn span_text(ms: u64) -> String {
    let units = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s")];
    let Some(first) = units.iter().position(|(unit_ms, _)| ms >= *unit_ms) else {
        return format!("{ms} ms");
    };
    let (unit_ms, unit) = units[first];
    let whole = format!("{} {unit}", ms / unit_ms);
    match units.get(first + 1).map(|(next_ms, next)| (ms % unit_ms / next_ms, next)) {
        Some((count, next)) if count > 0 => format!("{whole} {count} {next}"),
        _ => whole,
    }
}

/// How far away a point in time is: "in 4 min", "10 min ago", "now".
pub fn distance(ms: u64, now_ms: u64) -> String {
    match ms.abs_diff(now_ms) {
        apart if apart < SECOND_MS => "now".to_owned(),
        apart if ms > now_ms => format!("in {}", span_text(apart)),
        apart => format!("{} ago", span_text(apart)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_shown_in_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(4_102_444_799_000), "2099-12-31T23:59:59.000Z");
    }

    #[test]
    fn spans_are_read_in_their_two_largest_units() {
        assert_eq!(span_text(0), "0 ms");
        assert_eq!(span_text(999), "999 ms");
        assert_eq!(span_text(35_900), "35 s");
        assert_eq!(span_text(15_120_000), "4 h 12 min");
        assert_eq!(span_text(3_600_000), "1 h");
        assert_eq!(span_text(90_061_000), "1 d 1 h");
        assert_eq!(span_text(3_601_000), "1 h");
    }

    #[test]
    fn a_distance_says_in_which_direction() {
        assert_eq!(distance(240_000, 0), "in 4 min");
        assert_eq!(distance(0, 600_000), "10 min ago");
        assert_eq!(distance(500, 0), "now");
    }
}
