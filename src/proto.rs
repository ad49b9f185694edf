//! The generated protobuf types. Only `codec`, `api`, `client` and `raft` know of them.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

/// The public API and the event stream.
pub mod v1 {
    tonic::include_proto!("quorate.v1");
    include!(concat!(env!("OUT_DIR"), "/quorate.v1.serde.rs"));

    /// The metadata key that names who asks.
    pub const ACTOR_KEY: &str = "quorate-actor";

    /// The metadata key that says why something is asked.
    pub const REASON_KEY: &str = "quorate-reason";

    /// The domain of the reasons in `google.rpc.ErrorInfo`.
    pub const ERROR_DOMAIN: &str = "quorate";

    /// Descriptors for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public_descriptors.bin"));
}

/// `google.protobuf.FieldMask`, with its JSON form: the paths joined by commas, in lowerCamelCase.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct FieldMask {
    /// Names of fields, as in the proto files.
    #[prost(string, repeated, tag = "1")]
    pub paths: Vec<String>,
}

impl serde::Serialize for FieldMask {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        for (position, path) in self.paths.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            let mut after_underscore = false;
            for letter in path.chars() {
                match letter {
                    '_' => after_underscore = true,
                    letter if std::mem::take(&mut after_underscore) => text.push(letter.to_ascii_uppercase()),
                    letter => text.push(letter),
                }
            }
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> serde::Deserialize<'de> for FieldMask {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let path = |path: &str| {
            path.chars().fold(String::new(), |mut path, letter| {
                if letter.is_ascii_uppercase() {
                    path.push('_');
                }
                path.push(letter.to_ascii_lowercase());
                path
            })
        };
        let paths = text.split(',').filter(|path| !path.is_empty());
        Ok(Self { paths: paths.map(path).collect() })
    }
}

/// A number in JSON: as it is, or as text, which those of 64 bits have to be.
pub struct Number<T>(pub T);

impl<'de, T> serde::Deserialize<'de> for Number<T>
where
    T: TryFrom<u64> + TryFrom<i64> + std::str::FromStr<Err: std::fmt::Display>,
{
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor(std::marker::PhantomData))
    }
}

struct NumberVisitor<T>(std::marker::PhantomData<T>);

impl<T> serde::de::Visitor<'_> for NumberVisitor<T>
where
    T: TryFrom<u64> + TryFrom<i64> + std::str::FromStr<Err: std::fmt::Display>,
{
    type Value = Number<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a whole number, or one as text")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let unexpected = serde::de::Unexpected::Unsigned(number);
        T::try_from(number).map(Number).map_err(|_| E::invalid_value(unexpected, &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        let unexpected = serde::de::Unexpected::Signed(number);
        T::try_from(number).map(Number).map_err(|_| E::invalid_value(unexpected, &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(Number).map_err(E::custom)
    }
}

/// What a node keeps on disk.
pub mod storage {
    pub mod v1 {
        tonic::include_proto!("quorate.storage.v1");
    }
}

/// Between nodes.
pub mod peer {
    pub mod v1 {
        tonic::include_proto!("quorate.peer.v1");
    }
}

#[cfg(test)]
mod tests {
    use super::v1;

    #[test]
    fn numbers_are_read_as_they_are_and_as_text() {
        let read = |json: &str| serde_json::from_str::<v1::Part>(json).map_err(|error| error.to_string());
        let part = v1::Part { index: 7, of: 4_294_967_295 };
        assert_eq!(read(r#"{"index":7,"of":"4294967295"}"#), Ok(part));
        for bad in ["-1", "4294967296", "\"4294967296\"", "\"\"", "\"seven\"", "7.5", "true", "null", "[7]"] {
            assert!(read(&format!(r#"{{"index":{bad}}}"#)).is_err(), "{bad} was read");
        }
    }
}
