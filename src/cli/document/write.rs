//! Writing a document: only what is said, in the words that people write.
//!
//! What has no such word (there are amounts that no command takes) is written as in the protocol, so
//! that everything can be read back as what it was.

use prost_reflect::DynamicMessage;
use prost_reflect::FieldDescriptor;
use prost_reflect::Kind;
use prost_reflect::Value;
use serde::Serialize;
use serde::Serializer;
use serde::ser::Error;
use serde::ser::SerializeMap as _;

use super::words;
use crate::cli::times;
use crate::client::v1;

/// A message as a document shows it.
pub(super) struct Written<'a>(pub(super) &'a DynamicMessage);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let described = prost_reflect::ReflectMessage::descriptor(message);
        let mut group = serializer.serialize_map(None)?;
        for field in described.fields().filter(|field| message.has_field(field)) {
            let value = &*message.get_field(&field);
            match words::span_name(&field).zip(value.as_u64().and_then(times::span_argument)) {
                Some((name, span)) => group.serialize_entry(name, &span)?,
                None => group.serialize_entry(field.name(), &Said { field: &field, value })?,
            }
        }
        group.end()
    }
}

/// What is said of a field.
struct Said<'a> {
    field: &'a FieldDescriptor,
    value: &'a Value,
}

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.value, self.field.kind()) {
            (Value::Bool(yes), _) => serializer.serialize_bool(*yes),
            (Value::I32(number), _) => serializer.serialize_i32(*number),
            (Value::I64(number), _) => serializer.serialize_i64(*number),
            (Value::U32(number), _) => serializer.serialize_u32(*number),
            (Value::U64(number), _) => serializer.serialize_u64(*number),
            (Value::String(text), _) if words::is_amount(self.field) => amount(text, serializer),
            (Value::String(text), _) => serializer.serialize_str(text),
            (Value::EnumNumber(number), Kind::Enum(of)) => match words::word(&of, *number) {
                Some(word) => serializer.serialize_str(&word),
                None => serializer.serialize_i32(*number),
            },
            (Value::List(items), _) => {
                serializer.collect_seq(items.iter().map(|value| Said { field: self.field, value }))
            }
            (Value::Message(message), Kind::Message(described)) if words::is_limit(&described) => {
                let limit: v1::Limit = message.transcode_to().map_err(S::Error::custom)?;
                match words::limit(&limit) {
                    Some(word) => amount(&word, serializer),
                    None => Written(message).serialize(serializer),
                }
            }
            (Value::Message(message), Kind::Message(described)) if words::is_labels(&described) => {
                let labels: v1::Labels = message.transcode_to().map_err(S::Error::custom)?;
                serializer.collect_map(labels.labels)
            }
            (Value::Message(message), _) => Written(message).serialize(serializer),
            (other, _) => Err(S::Error::custom(format!("{other:?} has no place in a document"))),
        }
    }
}

/// An amount: without quotes where that is exact everywhere.
fn amount<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match text.parse::<u64>() {
        Ok(number) if number.to_string() == text => serializer.serialize_u64(number),
        _ => serializer.serialize_str(text),
    }
}
