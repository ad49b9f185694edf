//! S4, for what is made of the events: what was taken over time, as each node tells it, is what the
//! events say of every scope that they touch.

use std::collections::BTreeMap;

use quorate::client::Client;
use quorate::client::v1::Event;
use quorate::client::v1::GetUsageSeriesRequest;
use quorate::client::v1::UsagePeriod;

use crate::check::Verdict;
use crate::quotas::SCOPES;

const MINUTE_MS: u64 = 60_000;

/// Of a scope and a resource: what was taken, used and held together, after each event that touched it,
/// with its log time.
type Taken<'a> = BTreeMap<(&'a str, &'a str), Vec<(u64, u64)>>;

/// Checks what a node tells of the events.
pub async fn check_usage(events: &[Event], node: &Client) -> Verdict {
    let Some((first, last)) = events.first().zip(events.last()) else {
        return Err("there are no events".to_owned());
    };
    let from = first.log_time_ms / MINUTE_MS * MINUTE_MS;
    for ((scope, resource), taken) in taken(events)? {
        let message = GetUsageSeriesRequest {
            scope: scope.to_owned(),
            resource: resource.to_owned(),
            period: UsagePeriod::Minute.into(),
            from_ms: from,
            to_ms: last.log_time_ms + 1,
            ..Default::default()
        };
        let series = node.get_usage_series(message).await.map_err(|error| error.to_string())?;
        let shown: Vec<_> =
            series.buckets.into_iter().map(|bucket| (bucket.start_ms, bucket.last, bucket.peak)).collect();
        let expected = minutes(&taken, from, last.log_time_ms);
        if shown != expected {
            return Err(format!("the usage of {resource} at {scope} is {shown:?}, it must be {expected:?}"));
        }
    }
    Ok(())
}

fn taken(events: &[Event]) -> Result<Taken<'_>, String> {
    let mut all = Taken::new();
    for event in events {
        // Elsewhere scopes move and vanish.
        let here =
            event.touched.iter().filter(|touched| SCOPES.iter().any(|(path, _)| touched.scope == *path));
        for touched in here {
            let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no whole number"));
            let taken = number(&touched.used)? + number(&touched.held)?;
            all.entry((&touched.scope, &touched.resource)).or_default().push((event.log_time_ms, taken));
        }
    }
    Ok(all)
}

/// Of each minute when it began, what was taken at its end, and the most that was taken.
fn minutes(taken: &[(u64, u64)], from: u64, last: u64) -> Vec<(u64, String, String)> {
    let mut now = 0;
    (from..=last)
        .step_by(usize::try_from(MINUTE_MS).expect("a small number"))
        .map(|start| {
            let mut peak = now;
            for (_, taken) in taken.iter().filter(|(time, _)| time / MINUTE_MS == start / MINUTE_MS) {
                now = *taken;
                peak = peak.max(now);
            }
            (start, now.to_string(), peak.to_string())
        })
        .collect()
}

#[test]
fn minutes_tell_the_last_and_the_most_also_of_those_without_events() {
    let of = |start: u64, last: u64, peak: u64| (start, last.to_string(), peak.to_string());
    let taken = [(60_000, 4), (61_000, 9), (119_999, 2), (240_000, 0)];
    let expected = [of(60_000, 2, 9), of(120_000, 2, 2), of(180_000, 2, 2), of(240_000, 0, 2)];
    assert_eq!(minutes(&taken, 60_000, 250_000), expected);
}
