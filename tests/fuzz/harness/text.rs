//! What clients write as text: numbers, names, paths, labels, levels, request ids.

use quorate::codec::command;
use quorate::codec::number;
use quorate::ledger::Amount;
use quorate::ledger::amount::MAX_DECIMALS;
use quorate::ledger::tree::Schema;

use super::kind;
use super::seen;

/// How many kinds there are.
pub const KINDS: usize = 6;

/// Reads one.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = kind(bytes, KINDS) else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    match kind {
        0 => check_number(&text),
        1 => check(command::path("path", &text), &text),
        2 => check(command::name("name", &text), &text),
        3 => check(Schema::parse(&text), &text),
        4 => check_labels(&text),
        _ => check_request_id(&text),
    }
}

/// What is written is what was read.
fn check<T: std::fmt::Display, E: std::fmt::Display>(read: Result<T, E>, text: &str) {
    match read {
        Ok(read) => {
            seen::note(std::any::type_name::<T>().into());
            assert_eq!(read.to_string(), text, "a text is written as another");
        }
        Err(problem) => seen::note(seen::problem(&problem)),
    }
}

fn check_number(text: &str) {
    let read = match number::parse("number", text) {
        Ok(read) => read,
        Err(problem) => return seen::note(seen::problem(&problem)),
    };
    let written = number::write(read);
    assert_eq!(number::parse("number", &written), Ok(read), "{text} is written as {written}");
    assert_eq!(number::write(read), digits(text), "{text} is written as {written}");
    assert_eq!(number::write_change(read).is_empty(), read.is_zero());
    for decimals in 0..=MAX_DECIMALS {
        match Amount::new(read, decimals) {
            Ok(amount) => {
                seen::note(format!("an amount of {decimals} decimals"));
                let again = number::parse("amount", &amount.to_string()).expect("an amount is a number");
                assert_eq!(Amount::new(again, decimals), Ok(amount), "{text} is written as {amount}");
                assert_eq!(amount.number(), read);
                assert_eq!(amount.of_units(amount.units()), Some(amount));
            }
            Err(problem) => seen::note(seen::problem(&problem)),
        }
    }
}

/// A number as it is written without a decimal library: no digit is lost.
fn digits(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    match (whole, fraction) {
        ("", "") => "0".into(),
        (whole, "") => format!("{sign}{whole}"),
        ("", fraction) => format!("{sign}0.{fraction}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

/// Lines of KEY=VALUE.
fn check_labels(text: &str) {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        (key.to_owned(), value.to_owned())
    };
    let message: command::Labelled = text.lines().map(pair).collect();
    match command::labels("labels", message.clone()) {
        Ok(labels) => {
            seen::note(format!("labels {}", message.len()));
            let written = labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(written.collect::<command::Labelled>(), message, "labels are written as others");
            assert!(labels.include(&labels));
        }
        Err(problem) => seen::note(seen::problem(&problem)),
    }
}

fn check_request_id(text: &str) {
    match command::request_id(text) {
        Ok(id) => {
            seen::note("a request id".into());
            assert_eq!(command::request_id(&id.to_string()), Ok(id), "{text} is written as {id}");
        }
        Err(problem) => seen::note(seen::problem(&problem)),
    }
}
