//! What fields messages have, from the descriptors of the protocol: a message that gets a new one need not
//! be told of here.

use std::collections::BTreeMap;

use prost_reflect::DescriptorPool;
use prost_reflect::FieldDescriptor;
use prost_reflect::MessageDescriptor;

use crate::proto::v1;

/// The number of the message that a schema is of.
pub(super) const ROOT: usize = 0;

/// A message and all that are in it, by numbers of their own.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) messages: Vec<Vec<Field>>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) is_repeated: bool,
    /// Whether it is there also when it is empty or 0.
    pub(super) has_presence: bool,
    /// Where it stands among the fields of its message: a choice of several stands where the first of them
    /// would.
    pub(super) place: u32,
    /// Only one of those with the same can be there.
    pub(super) slot: u32,
    /// Which field of its message is behind it.
    pub(super) next: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    /// A number of 32 bits, as it is.
    Small,
    /// A number of 64 bits, in quotes.
    Whole,
    Bool,
    /// By name.
    Enum(Vec<(String, u32)>),
    Message(usize),
    /// A map from text to text.
    Labels,
    /// Anything that is rare in events.
    Other,
}

impl Schema {
    /// Of a message of the public protocol.
    ///
    /// # Panics
    ///
    /// When there is none of that name: it is in the program, like its name.
    pub(super) fn of(name: &str) -> Self {
        let pool = DescriptorPool::decode(v1::DESCRIPTORS).expect("written by the build");
        let message = pool.get_message_by_name(name).expect("a message of the protocol");
        let (mut schema, mut known) = (Self::default(), BTreeMap::new());
        schema.add(&message, &mut known);
        schema
    }

    fn add(&mut self, message: &MessageDescriptor, known: &mut BTreeMap<String, usize>) -> usize {
        if let Some(number) = known.get(message.full_name()) {
            return *number;
        }
        let number = self.messages.len();
        known.insert(message.full_name().to_owned(), number);
        self.messages.push(Vec::new());
        let descriptors: Vec<_> = message.fields().collect();
        let mut fields = Vec::new();
        for (position, descriptor) in descriptors.iter().enumerate() {
            let kind = self.kind(descriptor, known);
            let choice = descriptor.containing_oneof();
            let first = choice.and_then(|choice| choice.fields().map(|field| field.number()).min());
            let place = first.unwrap_or(descriptor.number());
            let slot = descriptors.iter().position(|field| field.number() == place).expect("one of them");
            assert!(slot < 64, "{} has more fields than bits", message.full_name());
            fields.push(Field {
                name: descriptor.name().to_owned(),
                number: descriptor.number(),
                kind,
                is_repeated: descriptor.is_list(),
                has_presence: descriptor.is_list() || descriptor.supports_presence(),
                place,
                slot: u32::try_from(slot).expect("below 64"),
                next: position + 1,
            });
        }
        self.messages[number] = fields;
        number
    }

    fn kind(&mut self, field: &FieldDescriptor, known: &mut BTreeMap<String, usize>) -> Kind {
        let kind = field.kind();
        if field.is_map() {
            let entry = kind.as_message().expect("a map is a message").clone();
            let is_text = |field: FieldDescriptor| field.kind() == prost_reflect::Kind::String;
            let is_labels = is_text(entry.map_entry_key_field()) && is_text(entry.map_entry_value_field());
            return if is_labels { Kind::Labels } else { Kind::Other };
        }
        match kind {
            prost_reflect::Kind::String => Kind::Text,
            prost_reflect::Kind::Bytes => Kind::Bytes,
            // JSON of a well-known type has a form of its own.
            prost_reflect::Kind::Message(message) if message.package_name() != "quorate.v1" => Kind::Other,
            prost_reflect::Kind::Message(message) => Kind::Message(self.add(&message, known)),
            // Repeated numbers are packed.
            _ if field.is_list() => Kind::Other,
            prost_reflect::Kind::Uint32 => Kind::Small,
            prost_reflect::Kind::Uint64 => Kind::Whole,
            prost_reflect::Kind::Bool => Kind::Bool,
            prost_reflect::Kind::Enum(values) => {
                let value = |value: prost_reflect::EnumValueDescriptor| {
                    Some((value.name().to_owned(), u32::try_from(value.number()).ok()?))
                };
                Kind::Enum(values.values().filter_map(value).collect())
            }
            _ => Kind::Other,
        }
    }
}
