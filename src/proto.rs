//! The generated protobuf types. Only `codec`, `api`, `client` and `raft` know of them.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

/// The public API and the event stream.
pub mod v1 {
    tonic::include_proto!("quorate.v1");

    /// The metadata key that names who asks.
    pub const ACTOR_KEY: &str = "quorate-actor";

    /// The metadata key that says why something is asked.
    pub const REASON_KEY: &str = "quorate-reason";

    /// The domain of the reasons in `google.rpc.ErrorInfo`.
    pub const ERROR_DOMAIN: &str = "quorate";

    /// Descriptors for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public_descriptors.bin"));
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
