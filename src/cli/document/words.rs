//! What people write for something that is longer in the protocol, and back: `64` or `inherit` for a
//! limit, `warn` for a value of an enumeration, `4h` for milliseconds.

use prost_reflect::EnumDescriptor;
use prost_reflect::FieldDescriptor;
use prost_reflect::MessageDescriptor;

use crate::cli::arguments;
use crate::cli::policy::limit_text;
use crate::client::v1;

/// The end of the name of a field with milliseconds.
const MS: &str = "_ms";

/// Fields that are lengths of time, without that end. Others that have it are points in time.
const SPANS: [&str; 5] = ["grace", "max_burst", "default_ttl", "max_ttl", "ttl"];

/// Fields that are amounts or ratios: in YAML and JSON they may stand without quotes.
const AMOUNTS: [&str; 3] = ["soft", "burst", "overcommit"];

pub(super) fn is_limit(message: &MessageDescriptor) -> bool {
    message.full_name() == "quorate.v1.Limit"
}

pub(super) fn is_labels(message: &MessageDescriptor) -> bool {
    message.full_name() == "quorate.v1.Labels"
}

pub(super) fn is_field_mask(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.protobuf.FieldMask"
}

pub(super) fn is_amount(field: &FieldDescriptor) -> bool {
    AMOUNTS.contains(&field.name())
}

/// How a field is called when its value is a length of time in words; none of other fields.
pub(super) fn span_name(field: &FieldDescriptor) -> Option<&str> {
    field.name().strip_suffix(MS).filter(|name| SPANS.contains(name))
}

/// The field that a document calls by this name, and whether its value is a length of time in words.
pub(super) fn field(message: &MessageDescriptor, name: &str) -> Option<(FieldDescriptor, bool)> {
    if let Some(field) = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name)) {
        return Some((field, false));
    }
    let field = message.get_field_by_name(&format!("{name}{MS}"))?;
    span_name(&field).is_some().then_some((field, true))
}

/// The names of all fields, as a document may write them.
pub(super) fn names(message: &MessageDescriptor) -> String {
    let names: Vec<_> =
        message.fields().map(|field| span_name(&field).unwrap_or(field.name()).to_owned()).collect();
    names.join(", ")
}

/// The number of a value of an enumeration: by its word, by its name in the protocol, or by itself.
pub(super) fn value(of: &EnumDescriptor, text: &str) -> Result<i32, String> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    let by_number = || of.get_value(text.parse().ok()?);
    let found = of
        .get_value_by_name(text)
        .or_else(|| of.get_value_by_name(&format!("{}{name}", prefix(of))))
        .or_else(by_number);
    found.map(|value| value.number()).ok_or_else(|| {
        let words: Vec<_> = of.values().skip(1).filter_map(|value| word(of, value.number())).collect();
        format!("{text:?} is none of {}", words.join(", "))
    })
}

/// The word for a value of an enumeration.
pub(super) fn word(of: &EnumDescriptor, number: i32) -> Option<String> {
    let value = of.get_value(number)?;
    value.name().strip_prefix(&prefix(of)).map(str::to_ascii_lowercase)
}

/// What all names of its values begin with.
fn prefix(of: &EnumDescriptor) -> String {
    of.default_value().name().trim_end_matches("UNSPECIFIED").to_owned()
}

/// A limit as one word; none when no word would be read back as this limit.
pub(super) fn limit(said: &v1::Limit) -> Option<String> {
    let word = limit_text(Some(said));
    (arguments::limit(&word).as_ref() == Ok(said)).then_some(word)
}
