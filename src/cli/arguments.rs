//! How the words of the command line are written: reservation lines, amounts, limits, durations
//! and request ids.
//!
//! Checks the form only. Whether a scope exists or an amount has too many decimals is for the
//! ledger to say.

use std::time::Duration;

use uuid::Uuid;

use crate::client::v1;

const LINE_FORM: &str = "write SCOPE:RESOURCE=AMOUNT[@SEQUENCE], for example acme/ml:memory_gb=16";

/// A reservation line, `SCOPE:RESOURCE=AMOUNT[@SEQUENCE]`.
pub(super) fn line(text: &str) -> Result<v1::Line, String> {
    let wrong = |problem: String| format!("{problem}: {LINE_FORM}");
    let Some((scope, rest)) = text.split_once(':') else {
        return Err(wrong("there is no ':' between scope and resource".to_owned()));
    };
    let Some((resource, rest)) = rest.split_once('=') else {
        return Err(wrong("there is no '=' between resource and amount".to_owned()));
    };
    let (amount, sequence) = match rest.split_once('@') {
        Some((amount, sequence)) => (amount, Some(sequence)),
        None => (rest, None),
    };
    if scope.is_empty() {
        return Err(wrong("the scope is missing before the ':'".to_owned()));
    }
    if resource.is_empty() {
        return Err(wrong("the resource is missing before the '='".to_owned()));
    }
    if !is_decimal(amount) {
        return Err(wrong(format!("the amount {amount:?} is not a decimal number such as 16 or 0.25")));
    }
    let if_sequence =
        match sequence {
            None => None,
            Some(digits) => Some(digits.parse::<u64>().map_err(|_| {
                wrong(format!("the sequence {digits:?} after the '@' is not a whole number"))
            })?),
        };
    Ok(v1::Line {
        scope: scope.to_owned(),
        resource: resource.to_owned(),
        amount: amount.to_owned(),
        if_sequence,
    })
}

/// A limit: an amount, `unlimited` or `inherit`.
pub(super) fn limit(text: &str) -> Result<v1::Limit, String> {
    let limit = match text {
        "unlimited" => v1::limit::Limit::Unlimited(v1::Unlimited {}),
        "inherit" => v1::limit::Limit::Inherit(v1::Inherit {}),
        amount if is_decimal(amount) => v1::limit::Limit::Amount(amount.to_owned()),
        _ => return Err("write an amount such as 20 or 0.5, 'unlimited' or 'inherit'".to_owned()),
    };
    Ok(v1::Limit { limit: Some(limit) })
}

/// A signed amount, `5`, `+5` or `-2.5`. Returned as the ledger reads it: without a plus.
pub(super) fn delta(text: &str) -> Result<String, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !is_decimal(unsigned) {
        return Err("write a decimal number, with a minus to take away: 5 or -2.5".to_owned());
    }
    Ok(text.strip_prefix('+').unwrap_or(text).to_owned())
}

/// A duration, `500ms`, `10s` or `2m`; never zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let form = "write a whole number with ms, s or m: 500ms, 10s, 2m";
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let count: u64 = digits.parse().map_err(|_| format!("{digits:?} is not a number: {form}"))?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "" => return Err(format!("the unit is missing: {form}")),
        _ => return Err(format!("{unit:?} is not a unit: {form}")),
    };
    match count.checked_mul(unit_ms) {
        Some(0) => Err("nothing can be done in no time: give at least 1ms".to_owned()),
        Some(ms) if ms <= 24 * 3_600_000 => Ok(Duration::from_millis(ms)),
        _ => Err("longer than a day: give at most 1440m".to_owned()),
    }
}

/// The request id of an earlier command.
pub(super) fn request_id(text: &str) -> Result<Uuid, String> {
    let id = Uuid::try_parse(text).map_err(|error| format!("not a UUID ({error})"))?;
    match id.get_version_num() {
        7 => Ok(id),
        version => Err(format!(
            "a UUID of version {version}; a request id is of version 7 (it begins with its time): \
             give the id of the command to repeat, or leave the option out to have one made"
        )),
    }
}

/// Digits, with a point and more digits if wanted. No sign, no exponent.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_scope_resource_and_amount() {
        let parsed = line("acme/ml:memory_gb=16").expect("well formed");
        assert_eq!(
            (parsed.scope.as_str(), parsed.resource.as_str(), parsed.amount.as_str(), parsed.if_sequence),
            ("acme/ml", "memory_gb", "16", None)
        );
    }

    #[test]
    fn a_line_may_demand_a_sequence() {
        let parsed = line("acme:gpu=0.25@7").expect("well formed");
        assert_eq!((parsed.amount.as_str(), parsed.if_sequence), ("0.25", Some(7)));
    }

    #[test]
    fn a_malformed_line_is_refused_with_the_part_that_is_wrong_and_the_form() {
        let cases = [
            ("acme/ml", "no ':'"),
            ("acme/ml:memory_gb", "no '='"),
            ("acme/ml=16", "no ':'"),
            (":memory_gb=16", "the scope is missing"),
            ("acme:=16", "the resource is missing"),
            ("acme:gpu=", "the amount \"\""),
            ("acme:gpu=-1", "the amount \"-1\""),
            ("acme:gpu=1e3", "the amount \"1e3\""),
            ("acme:gpu=1@", "the sequence \"\""),
            ("acme:gpu=1@x", "the sequence \"x\""),
        ];
        for (text, problem) in cases {
            let message = line(text).expect_err(text);
            assert!(message.contains(problem) && message.contains(LINE_FORM), "{text}: {message}");
        }
    }

    #[test]
    fn a_limit_is_an_amount_or_one_of_two_words() {
        let of = |text| limit(text).expect(text).limit.expect("one of the three");
        assert_eq!(of("0"), v1::limit::Limit::Amount("0".to_owned()));
        assert_eq!(of("2.50"), v1::limit::Limit::Amount("2.50".to_owned()));
        assert_eq!(of("unlimited"), v1::limit::Limit::Unlimited(v1::Unlimited {}));
        assert_eq!(of("inherit"), v1::limit::Limit::Inherit(v1::Inherit {}));
        for bad in ["", "-1", "none", "1.", ".5", "1,5", "∞"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_delta_has_a_sign_if_it_wants() {
        assert_eq!(delta("5").as_deref(), Ok("5"));
        assert_eq!(delta("+5").as_deref(), Ok("5"));
        assert_eq!(delta("-2.5").as_deref(), Ok("-2.5"));
        for bad in ["", "-", "+-5", "--5", "five"] {
            assert!(delta(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "0s", "1.5s", "-1s", "10h", "99999999999999999999s", "1441m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_id_is_a_uuid_of_version_7() {
        let made = crate::client::new_request_id();
        assert_eq!(request_id(&made.to_string()), Ok(made));
        let random = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert!(request_id(random).expect_err("version 4").contains("version 4"));
        assert!(request_id("17").expect_err("not a UUID").contains("not a UUID"));
    }
}
