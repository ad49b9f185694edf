//! Decimal text. Stricter than the decimal library: digits, at most one point, an optional sign.

use rust_decimal::Decimal;

use crate::ledger::Malformed;

/// Longer text than any number that can be counted exactly.
const MAX_TEXT: usize = 64;

/// Reads a number; `field` names it in the error.
pub fn parse(field: &str, text: &str) -> Result<Decimal, Malformed> {
    let bad = |problem: String| Malformed::new(field, problem);
    if text.is_empty() {
        return Err(bad("is empty; a number like \"16\" or \"0.25\" is needed".into()));
    }
    if text.len() > MAX_TEXT {
        return Err(bad(format!("is {} characters long; at most {MAX_TEXT} are allowed", text.len())));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(bad(format!("is {text:?}, not a number like \"16\" or \"0.25\"")));
    }
    Decimal::from_str_exact(text)
        .map_err(|_| bad(format!("is {text:?}, which has more digits than can be counted exactly")))
}

/// Writes a number, without trailing zeros.
pub fn write(number: Decimal) -> String {
    number.normalize().to_string()
}

/// Writes a change: nothing for no change.
pub fn write_change(number: Decimal) -> String {
    if number.is_zero() { String::new() } else { write(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimals_are_numbers() {
        for bad in
            ["", "-", ".", "1.", ".5", "+1", "1e3", "1_000", "NaN", "0x1", " 1", "1 ", "1,5", "--1", "1.2.3"]
        {
            assert!(parse("amount", bad).is_err(), "{bad:?} was accepted");
        }
        for (text, written) in [("16", "16"), ("0.250", "0.25"), ("-2.5", "-2.5"), ("007", "7"), ("-0", "0")]
        {
            assert_eq!(parse("amount", text).map(write).as_deref(), Ok(written));
        }
    }

    #[test]
    fn too_many_digits_are_refused_instead_of_rounded() {
        assert!(parse("amount", "0.00000000000000000000000000001").is_err());
        assert!(parse("amount", "99999999999999999999999999999").is_err());
        assert!(parse("amount", &"9".repeat(65)).is_err());
    }
}
