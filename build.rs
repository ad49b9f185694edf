//! Compiles the protobuf definitions with protox, so that no `protoc` has to be installed.

use std::error::Error;
use std::path::PathBuf;

const PROTOS: [&str; 13] = [
    "quorate/v1/types.proto",
    "quorate/v1/policy.proto",
    "quorate/v1/rejection.proto",
    "quorate/v1/command.proto",
    "quorate/v1/read.proto",
    "quorate/v1/ledger.proto",
    "quorate/v1/quotas.proto",
    "quorate/v1/query.proto",
    "quorate/v1/events.proto",
    "quorate/v1/cluster.proto",
    "quorate/storage/v1/log.proto",
    "quorate/storage/v1/raft.proto",
    "quorate/peer/v1/peer.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    // Reflection shows what clients can call, not how nodes talk to each other.
    let mut public = descriptors.clone();
    public.file.retain(|file| matches!(file.package(), "quorate.v1" | "google.protobuf"));
    std::fs::write(out.join("public_descriptors.bin"), prost::Message::encode_to_vec(&public))?;

    tonic_prost_build::configure()
        // Sorted: equal messages have equal bytes, on every node.
        .btree_map(".")
        // Payloads pass through the log untouched; zero-copy where that pays.
        .bytes(".quorate.storage.v1.Entry.batch")
        .bytes(".quorate.peer.v1.FileChunk.data")
        .compile_fds(descriptors)?;
    Ok(())
}
