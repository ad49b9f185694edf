//! The verb that reserves.
//!
//! Knows nothing of policy: a denial is put into words elsewhere.

use clap::Args;

use super::Context;
use super::Failure;
use super::arguments;
use super::output::one_line;
use super::output::replayed;
use super::times::span;
use super::times::utc_and_distance;
use crate::client::tell::over_text;
use crate::client::v1;

const EXAMPLES: &str = "\
Examples:
  quorate reserve acme/ml:memory_gb=16
  quorate reserve acme/ml:concurrent_gpus=8 acme/ml:memory_gb=64 --ttl 10m --job train-7
  quorate reserve acme/ml:concurrent_gpus=8..16 --partial     # 16, or what fits down to 8
  quorate reserve acme/ml:memory_gb=16 --check                # would it fit?
  quorate reserve acme/ml:memory_gb=16 --largest-holders 3    # and if not, who takes most?

All lines are granted together with all scopes above them, or nothing is. Amounts are decimal, in
the unit of the resource; durations have ms, s, m, h or d.
Exit codes: 0 granted, 3 denied or locked, 4 another sequence.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReserveArgs {
    /// SCOPE:RESOURCE=AMOUNT[@SEQUENCE], such as acme/ml:memory_gb=16; with @SEQUENCE only if the
    /// quota is still at that sequence; with --partial also SCOPE:RESOURCE=LEAST..MOST
    #[arg(required = true, value_name = "LINE", value_parser = arguments::line)]
    lines: Vec<v1::Line>,
    /// Take what fits, in the order of the lines, each down to its least; without LEAST.. all of a
    /// line
    #[arg(long, group = "mode")]
    partial: bool,
    /// Only ask what would be answered: nothing is taken and nothing recorded
    #[arg(long, group = "mode")]
    check: bool,
    /// Go over the limits if need be, but not over a lock; it is recorded
    #[arg(long, group = "mode")]
    force: bool,
    /// Make it final at once
    #[arg(long, conflicts_with = "ttl")]
    commit: bool,
    /// How long it is held, such as 10m [default: what the quotas say, or for ever]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    ttl: Option<u64>,
    /// What it is for, to find it by
    #[arg(long, default_value = "", hide_default_value = true)]
    job: String,
    /// Whom it is for, to find it by
    #[arg(long, default_value = "", hide_default_value = true)]
    consumer: String,
    /// To find it by; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    /// How many of the largest holders a denial names for each blocking quota
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10))]
    largest_holders: u32,
}

impl ReserveArgs {
    pub(super) fn has_request_id(&self) -> bool {
        !self.check
    }

    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (check, commit) = (self.check, self.commit);
        let message = self.message().map_err(Failure::Usage)?;
        let lines = message.lines.clone();
        let response = if check {
            context.client.check(message).await?
        } else {
            context.client.reserve(context.request_id, message).await?
        };
        let now_ms = context.now_ms();
        context.output.show(&response, |response| match check {
            true => format!(
                "it fits, as of revision {}{}",
                response.revision,
                warnings(&response.warnings, response.warnings_omitted)
            ),
            false => granted(response, &lines, commit, now_ms),
        })?;
        Ok(())
    }

    fn message(self) -> Result<v1::ReserveRequest, String> {
        if !self.partial && self.lines.iter().any(|line| !line.minimum.is_empty()) {
            return Err("a line with a least amount (LEAST..MOST) needs --partial".to_owned());
        }
        let mode = match (self.partial, self.force) {
            (true, _) => v1::Mode::Partial,
            (_, true) => v1::Mode::Force,
            _ => v1::Mode::Strict,
        };
        Ok(v1::ReserveRequest {
            request_id: String::new(),
            lines: self.lines,
            mode: mode.into(),
            commit: self.commit,
            ttl_ms: self.ttl,
            job: self.job,
            consumer: self.consumer,
            labels: arguments::labels(self.labels)?,
            largest_holders: self.largest_holders,
        })
    }
}

/// What a reservation got, in one sentence; below it the lines that got less, and the warnings.
pub(super) fn granted(
    response: &v1::ReserveResponse,
    asked: &[v1::Line],
    committed: bool,
    now_ms: u64,
) -> String {
    let how = match (response.outcome(), committed) {
        (v1::Outcome::Partial, false) => "granted in part",
        (v1::Outcome::Partial, true) => "granted in part and committed",
        (_, false) => "granted",
        (_, true) => "granted and committed",
    };
    let until = match response.expires_at_ms {
        0 => String::new(),
        ms => format!(", until {}", utc_and_distance(ms, now_ms)),
    };
    let v1::ReserveResponse { hold_id, revision, replayed: again, .. } = response;
    let mut text = format!("{how}: hold {hold_id} at revision {revision}{until}{}", replayed(*again));
    for (line, got) in asked.iter().zip(&response.granted) {
        text.push_str(&format!("\n  {}:{}={got} of {}", line.scope, line.resource, line.amount));
    }
    text.push_str(&warnings(&response.warnings, response.warnings_omitted));
    text
}

/// Limits that were gone over, one line each, each begun by a line break.
pub(super) fn warnings(warnings: &[v1::Blocking], omitted: u32) -> String {
    let line = |over| format!("\n  warning: {}", one_line(&over_text(over)));
    let mut text: String = warnings.iter().map(line).collect();
    if omitted > 0 {
        text.push_str(&format!("\n  and {omitted} more warnings"));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        reserve: ReserveArgs,
    }

    fn message(words: &str) -> Result<v1::ReserveRequest, String> {
        let words = std::iter::once("reserve").chain(words.split(' '));
        Line::try_parse_from(words).expect("well formed").reserve.message()
    }

    fn response() -> v1::ReserveResponse {
        v1::ReserveResponse { hold_id: 17, revision: 17, ..Default::default() }
    }

    #[test]
    fn a_grant_is_one_sentence_that_says_when_it_is_a_repeat() {
        assert_eq!(granted(&response(), &[], false, 0), "granted: hold 17 at revision 17");
        let again = v1::ReserveResponse { replayed: true, ..response() };
        assert_eq!(granted(&again, &[], false, 0), "granted: hold 17 at revision 17 (replayed)");
        assert_eq!(granted(&response(), &[], true, 0), "granted and committed: hold 17 at revision 17");
        let ends = v1::ReserveResponse { expires_at_ms: 600_000, ..response() };
        let text = granted(&ends, &[], false, 0);
        assert_eq!(text, "granted: hold 17 at revision 17, until 1970-01-01T00:10:00.000Z (in 10 min)");
    }

    #[test]
    fn a_part_says_what_each_line_got() {
        let asked = message("acme:gpu=8..16 acme:cpu=4 --partial").expect("well formed");
        assert_eq!(asked.mode(), v1::Mode::Partial);
        let part = v1::ReserveResponse {
            outcome: v1::Outcome::Partial.into(),
            granted: vec!["9".into(), "4".into()],
            ..response()
        };
        assert_eq!(
            granted(&part, &asked.lines, false, 0),
            "granted in part: hold 17 at revision 17\n  acme:gpu=9 of 16\n  acme:cpu=4 of 4"
        );
    }

    #[test]
    fn everything_that_is_said_is_in_the_message() {
        let asked =
            message("acme:gpu=8 --force --ttl 10m --job j --consumer c --label a=b --largest-holders 3");
        let asked = asked.expect("well formed");
        assert_eq!(asked.mode(), v1::Mode::Force);
        assert_eq!((asked.ttl_ms, asked.job.as_str(), asked.consumer.as_str()), (Some(600_000), "j", "c"));
        assert_eq!((asked.labels["a"].as_str(), asked.largest_holders), ("b", 3));
    }

    #[test]
    fn a_least_amount_needs_the_mode_that_reads_it() {
        assert!(message("acme:gpu=8..16").expect_err("strict").contains("--partial"));
        assert!(message("acme:gpu=8..16 --force").is_err());
    }

    #[test]
    fn modes_exclude_each_other() {
        for words in ["--partial --force", "--check --force", "--commit --ttl 1m", "--largest-holders 11"] {
            let line = format!("reserve acme:gpu=1 {words}");
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{words}");
        }
    }
}
