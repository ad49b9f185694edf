//! The shape of a document: where it has groups of fields, lists, text or nothing.
//!
//! Some things can be said in two ways (a limit as a word or as a message), and a reader that takes
//! amounts digit by digit has to know which before it looks. So a document is gone through twice.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

#[derive(Debug, PartialEq)]
pub(super) enum Shape {
    /// Nothing is said: `null`, or a name with nothing behind it.
    Nothing,
    /// Text, a number, yes or no.
    Text,
    List(Vec<Shape>),
    /// What is behind each name, in the order of the document.
    Group(Vec<Shape>),
}

impl Shape {
    /// Of the part at a position; of what has no parts, the document is refused anyway.
    pub(super) fn part(&self, position: usize) -> &Self {
        match self {
            Self::List(parts) | Self::Group(parts) => parts.get(position).unwrap_or(&Self::Nothing),
            Self::Nothing | Self::Text => &Self::Nothing,
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text, a list or a group of fields")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    /// A document without anything.
    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        Ok(Shape::List(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut group: A) -> Result<Shape, A::Error> {
        let mut parts = Vec::new();
        while let Some((IgnoredAny, part)) = group.next_entry()? {
            parts.push(part);
        }
        Ok(Shape::Group(parts))
    }
}
