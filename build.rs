//! Compiles the protobuf definitions with protox, so that no `protoc` has to be installed.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::path::PathBuf;

use prost_types::DescriptorProto;
use prost_types::FileDescriptorSet;

const PROTOS: [&str; 14] = [
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
    "quorate/storage/v1/view.proto",
    "quorate/peer/v1/peer.proto",
];

const FIELD_MASK: &str = ".google.protobuf.FieldMask";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    // Reflection shows what clients can call, not how nodes talk to each other.
    let mut public = descriptors.clone();
    public.file.retain(|file| matches!(file.package(), "quorate.v1" | "google.protobuf"));
    std::fs::write(out.join("public_descriptors.bin"), prost::Message::encode_to_vec(&public))?;

    // JSON as protobuf defines it, with the names of the proto files: for what is exported.
    pbjson_build::Builder::new()
        .register_descriptors(&prost::Message::encode_to_vec(&descriptors))?
        .btree_map(["."])
        .preserve_proto_field_names()
        .extern_path(FIELD_MASK, "crate::proto::FieldMask")
        .build(&reachable(&descriptors, ".quorate.v1.ExportRecord").into_iter().collect::<Vec<_>>())?;
    read_numbers_at_once(&out.join("quorate.v1.serde.rs"))?;

    tonic_prost_build::configure()
        // The one well-known type that needs a JSON form.
        .compile_well_known_types(true)
        .extern_path(FIELD_MASK, "crate::proto::FieldMask")
        // Sorted: equal messages have equal bytes, on every node.
        .btree_map(".")
        // Payloads pass through the log untouched; zero-copy where that pays.
        .bytes(".quorate.storage.v1.Entry.batch")
        .bytes(".quorate.peer.v1.FileChunk.data")
        .bytes(".quorate.v1.ExportEventsResponse.block")
        .compile_fds(descriptors)?;
    Ok(())
}

/// What pbjson reads numbers with tries one form after the other, and makes up an error, with its text, for
/// each that it is not: of an event that takes longer than all else.
fn read_numbers_at_once(generated: &Path) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(generated)?;
    let (theirs, ours) = ("::pbjson::private::NumberDeserialize<", "crate::proto::Number<");
    if !text.contains(theirs) {
        return Err(format!("{} reads numbers in another way", generated.display()).into());
    }
    Ok(std::fs::write(generated, text.replace(theirs, ours))?)
}

/// A message, and all messages and enums that it has fields of, and they in turn.
fn reachable(descriptors: &FileDescriptorSet, message: &str) -> BTreeSet<String> {
    let mut types = BTreeMap::new();
    for file in &descriptors.file {
        let package = format!(".{}", file.package());
        file.message_type.iter().for_each(|message| collect(&package, message, &mut types));
    }
    let mut found = BTreeSet::new();
    let mut next = vec![message.to_owned()];
    while let Some(name) = next.pop() {
        if found.insert(name.clone()) {
            let fields = types.get(&name).into_iter().flat_map(|message| &message.field);
            next.extend(fields.filter_map(|field| field.type_name.clone()));
        }
    }
    found
}

/// The messages in a message, itself included, by their full names.
fn collect<'a>(scope: &str, message: &'a DescriptorProto, types: &mut BTreeMap<String, &'a DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    message.nested_type.iter().for_each(|nested| collect(&name, nested, types));
    types.insert(name, message);
}
