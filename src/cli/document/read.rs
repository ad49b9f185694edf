//! Reading a document: field by field as its message is described, so that every problem is told with
//! its place.
//!
//! A field that is not there, that is said twice or that has nothing behind it is refused: whoever
//! wrote it meant something.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use prost_reflect::DynamicMessage;
use prost_reflect::FieldDescriptor;
use prost_reflect::Kind;
use prost_reflect::MapKey;
use prost_reflect::MessageDescriptor;
use prost_reflect::Value;
use serde::Deserializer;
use serde::de::DeserializeSeed;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use super::shape::Shape;
use super::words;
use crate::cli::arguments;
use crate::cli::times;

const NOTHING: &str = "has nothing behind it: write what it shall be, or leave it out";
const TWICE: &str = "is said twice";

/// How text that stands without quotes is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plain {
    /// As it is written.
    ToTheLetter,
    /// As a number, when it is one: fractions would not be exact.
    AsNumber,
}

/// A part of a document, or the whole: what it shall be, and how it is read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a, T> {
    what: T,
    shape: &'a Shape,
    plain: Plain,
}

impl<'a, T> Reader<'a, T> {
    pub(super) fn new(what: T, shape: &'a Shape, plain: Plain) -> Self {
        Self { what, shape, plain }
    }

    /// The same place, for something else.
    fn of<P>(&self, what: P) -> Reader<'a, P> {
        Reader { what, shape: self.shape, plain: self.plain }
    }

    fn part<P>(&self, what: P, position: usize) -> Reader<'a, P> {
        Reader { what, shape: self.shape.part(position), plain: self.plain }
    }
}

/// A whole message.
impl<'de> DeserializeSeed<'de> for Reader<'_, &MessageDescriptor> {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DynamicMessage, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_, &MessageDescriptor> {
    type Value = DynamicMessage;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the fields of {}", self.what.name())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut group: A) -> Result<DynamicMessage, A::Error> {
        let mut message = DynamicMessage::new(self.what.clone());
        let mut said: Vec<FieldDescriptor> = Vec::new();
        let mut position = 0;
        while let Some(name) = group.next_key::<String>()? {
            let Some((field, in_words)) = words::field(self.what, &name) else {
                let (of, names) = (self.what.name(), words::names(self.what));
                return group
                    .next_value_seed(Refuse::because(format!("is no field of {of}, which has {names}")));
            };
            let same = |other: &&FieldDescriptor| {
                other.number() == field.number()
                    || field.containing_oneof().is_some_and(|one| other.containing_oneof() == Some(one))
            };
            if let Some(other) = said.iter().find(same) {
                let problem = match other.number() == field.number() {
                    true => TWICE.to_owned(),
                    false => format!("stands beside {}: only one of them can be", other.name()),
                };
                return group.next_value_seed(Refuse::because(problem));
            }
            let value = group.next_value_seed(self.part(Field { field: &field, in_words }, position))?;
            message.set_field(&field, value);
            said.push(field);
            position += 1;
        }
        Ok(message)
    }
}

/// A field of a message.
#[derive(Clone, Copy)]
struct Field<'a> {
    field: &'a FieldDescriptor,
    /// A length of time, with its unit.
    in_words: bool,
}

impl<'de> DeserializeSeed<'de> for Reader<'_, Field<'_>> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Field { field, in_words } = self.what;
        let kind = field.kind();
        if *self.shape == Shape::Nothing {
            Refuse::because(NOTHING).deserialize(deserializer)
        } else if in_words {
            Scalar { plain: self.plain, read: |text: &str| times::span(text).map(Value::U64) }
                .deserialize(deserializer)
        } else if field.is_map() {
            let values = kind.as_message().map(MessageDescriptor::map_entry_value_field);
            let values = values.expect("a map is described by its entries").kind();
            deserializer.deserialize_map(self.of(Pairs(&values)))
        } else if field.is_list() {
            deserializer.deserialize_seq(self.of(Items(&kind)))
        } else {
            self.of(&kind).deserialize(deserializer)
        }
    }
}

/// One value.
impl<'de> DeserializeSeed<'de> for Reader<'_, &Kind> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let kind = self.what;
        match (kind, self.shape) {
            (_, Shape::Nothing) => Refuse::because(NOTHING).deserialize(deserializer),
            (Kind::Message(message), Shape::Group(parts)) => {
                let wrapped = matches!(parts.as_slice(), [Shape::Group(_)]);
                let message = if words::is_labels(message) && !wrapped {
                    plain_labels(self.of(message), deserializer)
                } else {
                    self.of(message).deserialize(deserializer)
                };
                message.map(Value::Message)
            }
            (Kind::Message(message), _) if !words::is_limit(message) && !words::is_field_mask(message) => {
                self.of(message).deserialize(deserializer).map(Value::Message)
            }
            _ => {
                Scalar { plain: self.plain, read: |text: &str| scalar(kind, text) }.deserialize(deserializer)
            }
        }
    }
}

/// Labels without the field of their message: nothing else is in it.
fn plain_labels<'de, D: Deserializer<'de>>(
    reader: Reader<'_, &MessageDescriptor>,
    deserializer: D,
) -> Result<DynamicMessage, D::Error> {
    let pairs = deserializer.deserialize_map(reader.of(Pairs(&Kind::String)))?;
    let mut labels = DynamicMessage::new(reader.what.clone());
    labels.set_field_by_name("labels", pairs);
    Ok(labels)
}

/// A value that is written as text.
fn scalar(kind: &Kind, text: &str) -> Result<Value, String> {
    fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{text:?} is not a whole number, or out of its range"))
    }
    Ok(match kind {
        Kind::String => Value::String(text.to_owned()),
        Kind::Bool => Value::Bool(text.parse().map_err(|_| format!("{text:?} is neither true nor false"))?),
        Kind::Uint64 => Value::U64(number(text)?),
        Kind::Uint32 => Value::U32(number(text)?),
        Kind::Int64 => Value::I64(number(text)?),
        Kind::Int32 => Value::I32(number(text)?),
        Kind::Enum(of) => Value::EnumNumber(words::value(of, text)?),
        Kind::Message(message) if words::is_limit(message) => message_of(message, &arguments::limit(text)?),
        Kind::Message(message) if words::is_field_mask(message) => {
            let paths = text.split(',').map(|path| snake_case(path.trim())).collect();
            message_of(message, &crate::proto::FieldMask { paths })
        }
        other => return Err(format!("is text and should be {other:?}")),
    })
}

/// The names of a mask are written as in JSON too: `graceMs`.
fn snake_case(name: &str) -> String {
    let part = |c: char| match c.is_ascii_uppercase() {
        true => vec!['_', c.to_ascii_lowercase()],
        false => vec![c],
    };
    name.chars().flat_map(part).collect()
}

fn message_of(described: &MessageDescriptor, message: &impl prost::Message) -> Value {
    let mut dynamic = DynamicMessage::new(described.clone());
    dynamic.transcode_from(message).expect("it is the message that is described");
    Value::Message(dynamic)
}

/// The items of a list.
struct Items<'a>(&'a Kind);

impl<'de> Visitor<'de> for Reader<'_, Items<'_>> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.part(self.what.0, items.len()))? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
}

/// Names with a value each.
struct Pairs<'a>(&'a Kind);

impl<'de> Visitor<'de> for Reader<'_, Pairs<'_>> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("names with a value each")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut group: A) -> Result<Value, A::Error> {
        let mut pairs = HashMap::new();
        while let Some(name) = group.next_key::<String>()? {
            let name = MapKey::String(name);
            if pairs.contains_key(&name) {
                return group.next_value_seed(Refuse::because(TWICE));
            }
            let value = group.next_value_seed(self.part(self.what.0, pairs.len()))?;
            pairs.insert(name, value);
        }
        Ok(Value::Map(pairs))
    }
}

/// Something that is written as text or as a number.
struct Scalar<F> {
    plain: Plain,
    read: F,
}

impl<'de, F: FnOnce(&str) -> Result<Value, String>> DeserializeSeed<'de> for Scalar<F> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.plain {
            Plain::ToTheLetter => deserializer.deserialize_str(self),
            Plain::AsNumber => deserializer.deserialize_any(self),
        }
    }
}

impl<'de, F: FnOnce(&str) -> Result<Value, String>> Visitor<'de> for Scalar<F> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        (self.read)(text).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Value, E> {
        self.visit_str(if yes { "true" } else { "false" })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom("a fraction is not read exactly: write it as text, in quotes"))
    }
}

/// Refuses whatever is there, so that its place is told.
struct Refuse<T>(String, PhantomData<T>);

impl<T> Refuse<T> {
    fn because(problem: impl Into<String>) -> Self {
        Self(problem.into(), PhantomData)
    }
}

impl<'de, T> DeserializeSeed<'de> for Refuse<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T> Visitor<'de> for Refuse<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("something else")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Err(E::custom(self.0))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Err(E::custom(self.0))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        Err(E::custom(self.0))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Err(E::custom(self.0))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
        Err(E::custom(self.0))
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Err(E::custom(self.0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(self.0))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(self.0))
    }
}
