//! How new an answer must be, as it is written on the command line.
//!
//! Knows nothing of what is read.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::Context;
use super::times::Moment;
use super::times::span;
use crate::client::Client;
use crate::client::Read;

/// Without any of these an answer shows everything that was acknowledged before.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(multiple = false)]
pub struct ReadArgs {
    /// Show at least this revision, such as that of your last change; needs no leader
    #[arg(long, value_name = "REVISION")]
    at_least: Option<u64>,
    /// Show what may be so old, such as 5s: a node that is new enough asks nobody
    #[arg(long, value_name = "DURATION", value_parser = span)]
    max_lag: Option<u64>,
    /// Show how it was after a revision, or at a time: UTC like 2026-11-21T12:00:00Z, or back from now
    /// like -2h
    #[arg(long, value_name = "REVISION|TIME", allow_hyphen_values = true)]
    at: Option<At>,
}

/// A point in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Revision(u64),
    Time(u64),
    Ago(u64),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Revision).map_err(|error| format!("no revision ({error})"));
        }
        if let Some(ago) = text.strip_prefix('-') {
            return span(ago).map(Self::Ago);
        }
        match text.parse() {
            Ok(Moment::At(ms)) => Ok(Self::Time(ms)),
            Ok(Moment::In(_)) => Err("that is still to come: write -2h for two hours ago".to_owned()),
            Err(problem) => Err(format!("no revision, and no time: {problem}, or back from now like -2h")),
        }
    }
}

impl ReadArgs {
    fn read(self, now_ms: u64) -> Read {
        match self {
            Self { at_least: Some(revision), .. } => Read::AtLeast(revision),
            Self { max_lag: Some(ms), .. } => Read::Stale(Duration::from_millis(ms)),
            Self { at: Some(At::Revision(revision)), .. } => Read::AtRevision(revision),
            Self { at: Some(At::Time(ms)), .. } => Read::AtTime(ms),
            Self { at: Some(At::Ago(ms)), .. } => Read::AtTime(now_ms.saturating_sub(ms)),
            Self { at_least: None, max_lag: None, at: None } => Read::Linearizable,
        }
    }

    /// The client that reads so. Several pages that it reads of the past show the same moment.
    pub(super) fn client(self, context: &Context<'_>) -> Client {
        context.client.reading(self.read(context.now_ms()))
    }

    /// What is shown to people, with the revision when it is not simply what there is now.
    pub(super) fn told(self, text: &str, revision: u64) -> String {
        match self.read(0) {
            Read::Linearizable => text.to_owned(),
            read if read.is_past() => format!("{}\nas it was after revision {revision}", text.trim_end()),
            _ => format!("{}\nat revision {revision}", text.trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_named_by_revision_by_time_or_back_from_now() {
        assert_eq!("17".parse(), Ok(At::Revision(17)));
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(At::Time(1_000)));
        assert_eq!("-2h".parse(), Ok(At::Ago(7_200_000)));
        let at = |at| ReadArgs { at: Some(at), ..ReadArgs::default() }.read(10_000_000);
        assert_eq!(at(At::Ago(7_200_000)), Read::AtTime(2_800_000));
        assert_eq!(at(At::Revision(17)), Read::AtRevision(17));
    }

    #[test]
    fn what_is_no_point_in_the_history_is_refused_with_the_forms() {
        assert!("+2h".parse::<At>().expect_err("the future").contains("-2h"));
        for bad in ["", "-", "-2", "yesterday", "1.5", "99999999999999999999"] {
            assert!(bad.parse::<At>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_revision_is_told_when_something_else_than_the_present_was_asked_for() {
        let table = "scope\nacme\n";
        assert_eq!(ReadArgs::default().told(table, 7), table);
        let lag = ReadArgs { max_lag: Some(5), ..ReadArgs::default() };
        assert_eq!(lag.told(table, 7), "scope\nacme\nat revision 7");
        let past = ReadArgs { at: Some(At::Ago(5)), ..ReadArgs::default() };
        assert_eq!(past.told(table, 7), "scope\nacme\nas it was after revision 7");
    }
}
