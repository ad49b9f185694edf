//! Documents: messages of the protocol as YAML or JSON, in files or on standard input.
//!
//! A document has the names of the proto files, and for what is long there the words of the command
//! line: `limit: 64`, `enforcement: warn`, `grace: 4h`. Anything that is not a field of its message is
//! refused with its place, and so is what is said twice or not said to the end: a misspelled limit
//! must not be a limit that nobody set. Amounts are text in the protocol; YAML takes them without
//! quotes too, and they are read digit by digit, never as floating point.
//!
//! | file | subject |
//! |---|---|
//! | `shape` | where a document has groups, lists, text or nothing |
//! | `read` | a message from a document |
//! | `write` | a document from a message |
//! | `words` | what people write for something that is longer in the protocol |
//!
//! Knows nothing of what a document says.

mod read;
mod shape;
#[cfg(test)]
pub(super) mod tests;
mod words;
mod write;

use std::fmt::Display;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde::Deserializer;
use serde::Serialize as _;
use serde::de::DeserializeSeed as _;

use self::read::Plain;
use self::read::Reader;
use self::shape::Shape;
use self::write::Written;
use super::Failure;
use super::output::Described;
use super::output::descriptor;
use super::output::dynamic;
use crate::client::v1;

#[derive(Debug, Args)]
pub(super) struct DocumentArgs {
    /// The document, as YAML or JSON; '-' is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

impl DocumentArgs {
    /// Reads and understands the document.
    pub(super) fn read<M: Described>(&self) -> Result<M, Failure> {
        let text = text_of(&self.file)?;
        parse(&text).map_err(|problem| Failure::Usage(format!("{}: {problem}", self.file.display())))
    }
}

/// The text of a file, or of standard input for `-`.
pub(super) fn text_of(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))
}

/// A plan from a document, as `quorate apply` reads it.
pub fn plan_from_document(text: &str) -> Result<v1::Plan, String> {
    parse(text)
}

/// A plan as a document, as `quorate export` writes it.
pub fn plan_to_document(plan: &v1::Plan) -> io::Result<String> {
    yaml(plan)
}

/// A command from one line of JSON, as `quorate batch` reads it.
pub fn command_from_json(text: &str) -> Result<v1::BatchCommand, String> {
    parse_json(text)
}

/// A message from YAML, of which JSON is a part.
fn parse<M: Described>(text: &str) -> Result<M, String> {
    let shape: Shape = yaml_serde::from_str(text).map_err(in_words)?;
    message(&shape, Plain::ToTheLetter, yaml_serde::Deserializer::from_str(text))
}

/// A message from one JSON value.
pub(super) fn parse_json<M: Described>(text: &str) -> Result<M, String> {
    let shape: Shape = serde_json::from_str(text).map_err(in_words)?;
    message(&shape, Plain::AsNumber, &mut serde_json::Deserializer::from_str(text))
}

fn message<'de, M: Described, D: Deserializer<'de>>(
    shape: &Shape,
    plain: Plain,
    deserializer: D,
) -> Result<M, String> {
    if *shape == Shape::Nothing {
        return Err("there is nothing in it".to_owned());
    }
    let descriptor = descriptor::<M>().map_err(in_words)?;
    let dynamic = Reader::new(&descriptor, shape, plain).deserialize(deserializer).map_err(in_words)?;
    dynamic.transcode_to().map_err(in_words)
}

fn in_words(error: impl Display) -> String {
    error.to_string()
}

/// A message as a YAML document.
pub(super) fn yaml<M: Described>(message: &M) -> io::Result<String> {
    yaml_serde::to_string(&Written(&dynamic(message)?)).map_err(io::Error::other)
}

/// A message as a JSON document, for people too: with line breaks.
pub(super) fn json<M: Described>(message: &M) -> io::Result<String> {
    let mut buffer = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut buffer);
    Written(&dynamic(message)?).serialize(&mut serializer).map_err(io::Error::other)?;
    String::from_utf8(buffer).map(|text| text + "\n").map_err(io::Error::other)
}
