//! How the options of a measurement are written.

use std::time::Duration;

use super::super::times::span;
use crate::bench::Skew;
use crate::client::Read;

/// Zipf without an exponent: what caches see, by common belief.
const EXPONENT: f64 = 0.99;

/// `uniform`, `zipf`, `zipf=EXPONENT` or `hot`.
pub(super) fn skew(text: &str) -> Result<Skew, String> {
    match (text, text.strip_prefix("zipf=")) {
        ("uniform", _) => Ok(Skew::Uniform),
        ("zipf", _) => Ok(Skew::Zipf(EXPONENT)),
        ("hot", _) => Ok(Skew::Hot),
        (_, Some(exponent)) => match exponent.parse::<f64>() {
            Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(Skew::Zipf(exponent)),
            _ => Err(format!("the exponent {exponent:?} is not a number from 0 to 10")),
        },
        _ => Err("write 'uniform', 'zipf', 'zipf=EXPONENT' or 'hot'".to_owned()),
    }
}

/// `linearizable`, `at-least=REVISION` or `max-lag=DURATION`.
pub(super) fn consistency(text: &str) -> Result<Read, String> {
    if text == "linearizable" {
        return Ok(Read::Linearizable);
    }
    if let Some(revision) = text.strip_prefix("at-least=") {
        let problem = |_| format!("the revision {revision:?} is not a whole number");
        return revision.parse().map(Read::AtLeast).map_err(problem);
    }
    if let Some(lag) = text.strip_prefix("max-lag=") {
        return span(lag).map(|ms| Read::Stale(Duration::from_millis(ms)));
    }
    Err("write 'linearizable', 'at-least=REVISION' or 'max-lag=DURATION'".to_owned())
}

/// Calls per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("write calls per second, from 0.001 to 10000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_a_word_and_perhaps_an_exponent() {
        assert_eq!(skew("uniform"), Ok(Skew::Uniform));
        assert_eq!(skew("hot"), Ok(Skew::Hot));
        assert_eq!(skew("zipf=1.2"), Ok(Skew::Zipf(1.2)));
        assert_eq!(skew("zipf"), skew("zipf=0.99"));
        for bad in ["", "zipf=", "zipf=-1", "zipf=NaN", "zipf=11", "cold"] {
            assert!(skew(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_consistency_is_one_of_those_that_reads_know() {
        assert_eq!(consistency("linearizable"), Ok(Read::Linearizable));
        assert_eq!(consistency("at-least=7"), Ok(Read::AtLeast(7)));
        assert_eq!(consistency("max-lag=2s"), Ok(Read::Stale(Duration::from_secs(2))));
        for bad in ["", "stale", "at-least=x", "max-lag=5", "at-least"] {
            assert!(consistency(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rate_is_a_number_of_calls_above_zero() {
        assert_eq!(rate("2.5"), Ok(2.5));
        for bad in ["0", "-1", "inf", "NaN", "x"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
