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
