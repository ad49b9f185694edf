//! Documents: messages of the protocol as YAML or JSON, in files or on standard input.
//!
//! A document has the names of the proto files, the same as `--output json` shows. Anything that is
//! not a field of its message is refused with its place: a misspelled limit must not be a limit
//! that nobody set. Amounts are text in the protocol; YAML takes them without quotes too, and they
//! are read digit by digit, never as floating point.
//!
//! Knows nothing of what a document says.

use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use prost_reflect::DynamicMessage;
use prost_reflect::SerializeOptions;
use serde::Deserializer;

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

/// How documents are written: only what is said.
const OPTIONS: SerializeOptions =
    SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true);

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

/// A command from one line of JSON, as `quorate batch` and `quorate stream` read it.
pub fn command_from_json(text: &str) -> Result<v1::BatchCommand, String> {
    parse_json(text)
}

/// A message from YAML, of which JSON is a part.
fn parse<M: Described>(text: &str) -> Result<M, String> {
    // A field that is there twice would be read twice without a word, and the last one win.
    yaml_serde::from_str::<yaml_serde::Value>(text).map_err(|error| error.to_string())?;
    message(yaml_serde::Deserializer::from_str(text))
}

/// A message from one JSON value.
pub(super) fn parse_json<M: Described>(text: &str) -> Result<M, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = message(&mut deserializer)?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(message)
}

fn message<'de, M: Described, D: Deserializer<'de>>(deserializer: D) -> Result<M, String> {
    let descriptor = descriptor::<M>().map_err(|error| error.to_string())?;
    let dynamic = DynamicMessage::deserialize(descriptor, deserializer).map_err(|error| error.to_string())?;
    dynamic.transcode_to().map_err(|error| error.to_string())
}

/// A message as a YAML document.
pub(super) fn yaml<M: Described>(message: &M) -> io::Result<String> {
    let mut buffer = Vec::new();
    let mut serializer = yaml_serde::Serializer::new(&mut buffer);
    dynamic(message)?.serialize_with_options(&mut serializer, &OPTIONS).map_err(io::Error::other)?;
    drop(serializer);
    String::from_utf8(buffer).map_err(io::Error::other)
}

/// A message as a JSON document, for people too: with line breaks.
pub(super) fn json<M: Described>(message: &M) -> io::Result<String> {
    let mut buffer = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut buffer);
    dynamic(message)?.serialize_with_options(&mut serializer, &OPTIONS).map_err(io::Error::other)?;
    String::from_utf8(buffer).map(|text| text + "\n").map_err(io::Error::other)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::policy::tests::amount;

    const PLAN: &str = "\
scopes:
  - path: acme
    kind: organization
    child_policy: CHILD_POLICY_SUM_WITHIN_PARENT
    labels:
      labels:
        region: eu
    template: startup
    quotas:
      - resource: memory_gb
        policy:
          limit:
            amount: 0.10
          grace_ms: 14400000
          enforcement: ENFORCEMENT_WARN
";

    pub(in crate::cli) fn plan() -> v1::Plan {
        parse(PLAN).expect("a plan")
    }

    #[test]
    fn a_document_has_the_names_of_the_protocol() {
        let plan = plan();
        let scope = &plan.scopes[0];
        assert_eq!((scope.path.as_str(), scope.template.as_str()), ("acme", "startup"));
        assert_eq!(scope.child_policy(), v1::ChildPolicy::SumWithinParent);
        assert_eq!(scope.labels.as_ref().expect("labels").labels["region"], "eu");
        let policy = scope.quotas[0].policy.as_ref().expect("a policy");
        assert_eq!(policy.limit, amount("0.10"), "read as it is written");
        assert_eq!((policy.grace_ms, policy.enforcement()), (14_400_000, v1::Enforcement::Warn));
    }

    #[test]
    fn amounts_are_read_digit_by_digit() {
        let text = "scopes: [{path: a, quotas: [{resource: r, policy: {limit: {amount: \
                    999999999999.000000000000000001}}}]}]";
        let plan: v1::Plan = parse(text).expect("a plan");
        let limit = plan.scopes[0].quotas[0].policy.as_ref().expect("a policy").limit.clone();
        assert_eq!(limit, amount("999999999999.000000000000000001"));
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let mut plan = plan();
        for value in ["20", "0.10", "1e3", "null", "yes", "", "a: b", "-"] {
            plan.scopes[0].kind = value.into();
            assert_eq!(parse::<v1::Plan>(&yaml(&plan).expect("YAML")), Ok(plan.clone()), "{value}");
            assert_eq!(parse::<v1::Plan>(&json(&plan).expect("JSON")), Ok(plan.clone()), "{value}");
            assert_eq!(parse_json::<v1::Plan>(&json(&plan).expect("JSON")), Ok(plan.clone()), "{value}");
        }
    }

    #[test]
    fn what_is_not_in_the_protocol_is_refused_with_its_place() {
        let misspelled = PLAN.replace("grace_ms", "grace");
        let problem = parse::<v1::Plan>(&misspelled).expect_err("no such field");
        assert!(problem.contains("grace") && problem.contains("line 12"), "{problem}");
        let problem = parse::<v1::Plan>("scopes:\n  - path: [1]\n").expect_err("no text");
        assert!(problem.contains("scopes[0].path") && problem.contains("line 2"), "{problem}");
        let problem = parse::<v1::Plan>("scopes: []\n---\nscopes: []\n").expect_err("two documents");
        assert!(problem.contains("more than one document"), "{problem}");
        let problem =
            parse_json::<v1::BatchCommand>(r#"{"reserve":{},"commit":{}}"#).expect_err("two commands");
        assert!(!problem.is_empty());
        assert!(parse_json::<v1::BatchCommand>(r#"{"tag":1} {"tag":2}"#).is_err());
    }

    #[test]
    fn the_shipped_examples_are_plans() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).expect("examples") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let plan: v1::Plan = DocumentArgs { file: path.clone() }
                    .read()
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert!(!plan.scopes.is_empty(), "{}", path.display());
                count += 1;
            }
        }
        assert!(count > 0);
    }
}
