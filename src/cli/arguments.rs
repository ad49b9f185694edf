//! How the words of the command line are written: lines, amounts, limits, labels and request ids.
//!
//! Checks the form only. Whether a scope exists or an amount has too many decimals is for the
//! ledger to say.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::times::span;
use crate::client::v1;

const LINE_FORM: &str = "write SCOPE:RESOURCE=AMOUNT[@SEQUENCE], for example acme/ml:memory_gb=16; \
    with --partial the amount may be LEAST..MOST, for example 8..16";

const HOLD_LINE_FORM: &str = "write SCOPE:RESOURCE=AMOUNT, for example acme/ml:memory_gb=16";

/// A reservation line, `SCOPE:RESOURCE=[LEAST..]AMOUNT[@SEQUENCE]`.
pub(super) fn line(text: &str) -> Result<v1::Line, String> {
    let wrong = |problem: String| format!("{problem}: {LINE_FORM}");
    let (scope, resource, rest) = quota_and_rest(text).map_err(wrong)?;
    let (amounts, sequence) = match rest.split_once('@') {
        Some((amounts, sequence)) => (amounts, Some(sequence)),
        None => (rest, None),
    };
    let (minimum, amount) = match amounts.split_once("..") {
        Some((minimum, amount)) => (amount_of(minimum).map_err(wrong)?, amount),
        None => (String::new(), amounts),
    };
    let amount = amount_of(amount).map_err(wrong)?;
    let if_sequence =
        match sequence {
            None => None,
            Some(digits) => Some(digits.parse::<u64>().map_err(|_| {
                wrong(format!("the sequence {digits:?} after the '@' is not a whole number"))
            })?),
        };
    Ok(v1::Line { scope: scope.to_owned(), resource: resource.to_owned(), amount, if_sequence, minimum })
}

/// An amount of a line of a hold, `SCOPE:RESOURCE=AMOUNT`.
pub(super) fn hold_line(text: &str) -> Result<v1::HoldAmount, String> {
    let wrong = |problem: String| format!("{problem}: {HOLD_LINE_FORM}");
    let (scope, resource, amount) = quota_and_rest(text).map_err(wrong)?;
    let amount = amount_of(amount).map_err(wrong)?;
    Ok(v1::HoldAmount { scope: scope.to_owned(), resource: resource.to_owned(), amount })
}

fn quota_and_rest(text: &str) -> Result<(&str, &str, &str), String> {
    let Some((scope, rest)) = text.split_once(':') else {
        return Err("there is no ':' between scope and resource".to_owned());
    };
    let Some((resource, rest)) = rest.split_once('=') else {
        return Err("there is no '=' between resource and amount".to_owned());
    };
    if scope.is_empty() {
        return Err("the scope is missing before the ':'".to_owned());
    }
    if resource.is_empty() {
        return Err("the resource is missing before the '='".to_owned());
    }
    Ok((scope, resource, rest))
}

fn amount_of(text: &str) -> Result<String, String> {
    if is_decimal(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("the amount {text:?} is not a decimal number such as 16 or 0.25"))
    }
}

/// An amount without a sign.
pub(super) fn amount(text: &str) -> Result<String, String> {
    amount_of(text)
}

/// An amount, or `none` for saying nothing: "" in the protocol.
pub(super) fn amount_or_none(text: &str) -> Result<String, String> {
    match text {
        "none" => Ok(String::new()),
        _ => amount_of(text).map_err(|problem| format!("{problem}; 'none' says nothing of it")),
    }
}

/// A length of time in milliseconds, or `none` for saying nothing: 0 in the protocol.
pub(super) fn span_or_none(text: &str) -> Result<u64, String> {
    match text {
        "none" => Ok(0),
        _ => span(text).map_err(|problem| format!("{problem}; 'none' says nothing of it")),
    }
}

/// A label, `KEY=VALUE`. The value may be empty and may have more '='.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the key is missing before the '=': write KEY=VALUE".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("there is no '=': write KEY=VALUE, for example team=vision".to_owned()),
    }
}

/// Labels as they were given, one option each.
///
/// # Errors
///
/// When a key is given twice.
pub(super) fn labels(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in given {
        if labels.contains_key(&key) {
            return Err(format!("the label {key} is given twice"));
        }
        labels.insert(key, value);
    }
    Ok(labels)
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

/// The limit of an override: an amount or `unlimited`.
pub(super) fn limit_meanwhile(text: &str) -> Result<v1::Limit, String> {
    match limit(text)?.limit {
        Some(v1::limit::Limit::Inherit(_)) => {
            Err("an override says a limit: write an amount such as 20 or 0.5, or 'unlimited'".to_owned())
        }
        limit => Ok(v1::Limit { limit }),
    }
}

/// A signed amount, `5`, `+5` or `-2.5`. Returned as the ledger reads it: without a plus.
pub(super) fn delta(text: &str) -> Result<String, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !is_decimal(unsigned) {
        return Err("write a decimal number, with a minus to take away: 5 or -2.5".to_owned());
    }
    Ok(text.strip_prefix('+').unwrap_or(text).to_owned())
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
    fn a_line_may_name_the_least_that_is_wanted() {
        let parsed = line("acme:gpu=0.5..2.25@7").expect("well formed");
        assert_eq!(
            (parsed.minimum.as_str(), parsed.amount.as_str(), parsed.if_sequence),
            ("0.5", "2.25", Some(7))
        );
        for bad in ["acme:gpu=..4", "acme:gpu=1..", "acme:gpu=1...2", "acme:gpu=1..2..3"] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_of_a_hold_is_only_an_amount() {
        let parsed = hold_line("acme/ml:gpu=0.5").expect("well formed");
        let names = (parsed.scope.as_str(), parsed.resource.as_str(), parsed.amount.as_str());
        assert_eq!(names, ("acme/ml", "gpu", "0.5"));
        for bad in ["acme/ml:gpu", "acme/ml:gpu=1@3", "acme/ml:gpu=1..2", "gpu=1"] {
            assert!(hold_line(bad).expect_err(bad).contains(HOLD_LINE_FORM), "{bad}");
        }
    }

    #[test]
    fn what_says_nothing_is_said_with_a_word() {
        assert_eq!(amount_or_none("none").as_deref(), Ok(""));
        assert_eq!(amount_or_none("2.5").as_deref(), Ok("2.5"));
        assert_eq!(span_or_none("none"), Ok(0));
        assert_eq!(span_or_none("1h"), Ok(3_600_000));
        assert!(amount_or_none("").is_err() && span_or_none("0s").is_err());
    }

    #[test]
    fn labels_are_pairs_with_each_key_once() {
        assert_eq!(label("team=a=b"), Ok(("team".to_owned(), "a=b".to_owned())));
        assert_eq!(label("team="), Ok(("team".to_owned(), String::new())));
        assert!(label("team").is_err() && label("=x").is_err());
        let pair = |key: &str| (key.to_owned(), "x".to_owned());
        assert_eq!(labels(vec![pair("a"), pair("b")]).expect("two keys").len(), 2);
        assert!(labels(vec![pair("a"), pair("a")]).expect_err("one key").contains("twice"));
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
    fn the_limit_of_an_override_is_no_inheritance() {
        assert_eq!(limit_meanwhile("5"), limit("5"));
        assert_eq!(limit_meanwhile("unlimited"), limit("unlimited"));
        assert!(limit_meanwhile("inherit").expect_err("no limit").contains("'unlimited'"));
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
    fn a_request_id_is_a_uuid_of_version_7() {
        let made = crate::client::new_request_id();
        assert_eq!(request_id(&made.to_string()), Ok(made));
        let random = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert!(request_id(random).expect_err("version 4").contains("version 4"));
        assert!(request_id("17").expect_err("not a UUID").contains("not a UUID"));
    }
}
