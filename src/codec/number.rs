//! Decimal text. Stricter than the decimal library: digits, at most one point, an optional sign.

use rust_decimal::Decimal;

use crate::ledger::Malformed;

/// Longer text than any number that can be counted exactly.
const MAX_TEXT: usize = 64;

/// So many digits are a number of 64 bits, whatever they are.
const FEW_DIGITS: usize = 18;

/// Reads a number; `field` names it in the error.
pub fn parse(field: &str, text: &str) -> Result<Decimal, Malformed> {
    parse_of(|| field.to_owned(), text)
}

/// Reads a number of a field whose name has to be put together.
pub fn parse_of(field: impl Fn() -> String, text: &str) -> Result<Decimal, Malformed> {
    if text.len() <= FEW_DIGITS
        && !text.is_empty()
        && let Some(whole) = text.bytes().try_fold(0, digit)
    {
        return Ok(Decimal::from(whole));
    }
    parse_any(field, text)
}

/// A number with a digit behind it.
fn digit(number: u64, byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
}

fn parse_any(field: impl Fn() -> String, text: &str) -> Result<Decimal, Malformed> {
    let bad = |problem: String| Malformed::new(field(), problem);
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
    match i64::try_from(number.mantissa()) {
        // Most of them, and much faster.
        Ok(whole) if number.scale() == 0 => whole.to_string(),
        _ => number.normalize().to_string(),
    }
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
    fn short_numbers_are_read_and_written_as_all_others() {
        for text in ["0", "1", "007", "999999999999999999", "1000000000000000000", "10", "-1", "-100"] {
            let number = parse("amount", text).expect("a number");
            assert_eq!(Ok(number), parse_any(String::new, text), "{text}");
            assert_eq!(write(number), number.normalize().to_string(), "{text}");
        }
        let zero = Decimal::from_parts(0, 0, 0, true, 0);
        assert_eq!(write(zero), zero.normalize().to_string());
    }

    #[test]
    fn too_many_digits_are_refused_instead_of_rounded() {
        assert!(parse("amount", "0.00000000000000000000000000001").is_err());
        assert!(parse("amount", "99999999999999999999999999999").is_err());
        assert!(parse("amount", &"9".repeat(65)).is_err());
    }
}
