//! How answers reach standard output: tables and sentences for people, canonical protobuf JSON
//! for scripts.
//!
//! Knows nothing of what the answers mean.

use std::fmt::Display;
use std::io;
use std::io::Write;
use std::sync::LazyLock;

use clap::ValueEnum;
use comfy_table::Cell;
use comfy_table::CellAlignment;
use comfy_table::Table;
use comfy_table::presets;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_reflect::DynamicMessage;
use prost_reflect::MessageDescriptor;
use prost_reflect::SerializeOptions;

use crate::client::v1;

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences, for people
    Table,
    /// One JSON object per line, for scripts
    Json,
}

/// Standard output, in one of its forms.
pub(super) struct Output {
    format: Format,
    sink: Box<dyn Write + Send>,
    closed: bool,
}

impl Output {
    pub(super) fn new(format: Format, sink: Box<dyn Write + Send>) -> Self {
        Self { format, sink, closed: false }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// True when the reader has gone away (`| head`): more output is of no use to anybody.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Shows an answer: whole as JSON, or as `text` says for people.
    pub(super) fn show<M: Described>(
        &mut self,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> io::Result<()> {
        match self.format {
            Format::Json => {
                let json = json_text(message)?;
                self.line(&json)
            }
            Format::Table => {
                let text = text(message);
                self.line(text.trim_end_matches('\n'))
            }
        }
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.raw(format!("{text}\n").as_bytes())
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        match self.sink.write_all(bytes).and_then(|()| self.sink.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Says on standard error that a list was cut, so that nobody takes a part for the whole:
    /// `cut` is the limit that did it.
    pub(super) fn note_cut(&self, cut: Option<u64>) {
        if let Some(limit) = cut {
            let _ = writeln!(io::stderr(), "there are more than {limit}: raise --limit to see them");
        }
    }
}

/// A message whose description can be found by name.
pub(super) trait Described: Message + Default {
    /// With the package.
    const NAME: &'static str;
}

macro_rules! described {
    ($($name:ident),* $(,)?) => {
        $(impl Described for v1::$name {
            const NAME: &'static str = concat!("quorate.v1.", stringify!($name));
        })*

        #[cfg(test)]
        const DESCRIBED: &[&str] = &[$(<v1::$name as Described>::NAME),*];
    };
}

described!(
    ApplyPlanResponse,
    ApplyTemplateResponse,
    BatchCommand,
    BatchResult,
    ClusterChangeResponse,
    CommitResponse,
    CompactEventsResponse,
    Event,
    ExportPlanResponse,
    GetCheckpointResponse,
    GetConsumerViewResponse,
    GetDenialsResponse,
    GetDriftResponse,
    GetHoldResponse,
    GetQuotaResponse,
    GetScopeResponse,
    GetTemplateResponse,
    GetUsageResponse,
    GetUsageSeriesResponse,
    InitializeResponse,
    ListHoldersResponse,
    ListHoldsResponse,
    ListProjectionsResponse,
    ListQuotasResponse,
    ListResourcesResponse,
    ListScopesResponse,
    ListTemplatesResponse,
    Plan,
    PlannedTemplate,
    Policy,
    QuotaChangeResponse,
    RebuildProjectionResponse,
    RegisterResourceResponse,
    Rejection,
    ReleaseResponse,
    RenewResponse,
    ReserveResponse,
    ResizeResponse,
    ScopeChangeResponse,
    StatusResponse,
    TakeSnapshotResponse,
    TemplateChangeResponse,
);

static POOL: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(v1::DESCRIPTORS).map_err(|error| error.to_string()));

/// Canonical proto3 JSON, but with the names of the proto files, 64-bit integers as numbers and
/// every field that has a value, default or not: so that scripts find what they look for.
const JSON: SerializeOptions = SerializeOptions::new()
    .stringify_64_bit_integers(false)
    .use_proto_field_name(true)
    .skip_default_fields(false);

fn json_text<M: Described>(message: &M) -> io::Result<String> {
    let mut buffer = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut buffer);
    dynamic(message)?.serialize_with_options(&mut serializer, &JSON).map_err(io::Error::other)?;
    String::from_utf8(buffer).map_err(io::Error::other)
}

/// The JSON of a message, to be a part of something larger.
pub(super) fn json_value<M: Described>(message: &M) -> io::Result<serde_json::Value> {
    dynamic(message)?.serialize_with_options(serde_json::value::Serializer, &JSON).map_err(io::Error::other)
}

/// What a message is made of, as the program itself was built with.
pub(super) fn descriptor<M: Described>() -> io::Result<MessageDescriptor> {
    let pool = POOL.as_ref().map_err(|error| io::Error::other(error.as_str()))?;
    pool.get_message_by_name(M::NAME)
        .ok_or_else(|| io::Error::other(format!("no description of {} in this program", M::NAME)))
}

/// A message with its description.
pub(super) fn dynamic<M: Described>(message: &M) -> io::Result<DynamicMessage> {
    DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice()).map_err(io::Error::other)
}

/// Plain columns that line up. Columns whose header begins with '#' hold numbers, and are aligned
/// so.
pub(super) fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let aligned = |column: usize, text: &str| {
        let is_number = headers.get(column).is_some_and(|header| header.starts_with('#'));
        let alignment = if is_number { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(one_line(text)).set_alignment(alignment)
    };
    let titles = headers.iter().enumerate();
    table.set_header(titles.map(|(column, title)| aligned(column, title.trim_start_matches('#'))));
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(column, text)| aligned(column, text)).collect::<Vec<_>>());
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Names and values below each other, for one thing of which there is much to say.
pub(super) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{name:<width$}  {}\n", one_line(value));
    rows.iter().map(line).collect()
}

/// Free text of somebody else (actors, reasons) without control characters: a line break in it
/// must not look like another row, nor an escape sequence reach a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A value, or a dash where there is none.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    match value {
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}

/// A text, or a dash for none.
pub(super) fn text_or_dash(text: &str) -> String {
    or_dash(Some(text).filter(|text| !text.is_empty()))
}

/// What to say behind an answer that repeats the first one.
pub(super) fn replayed(replayed: bool) -> &'static str {
    if replayed { " (replayed)" } else { "" }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    /// A sink that can be read, or that has no reader.
    #[derive(Clone, Default)]
    struct Sink {
        written: Arc<Mutex<Vec<u8>>>,
        closed: bool,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_message_that_is_shown_is_in_the_descriptors() {
        let pool = POOL.as_ref().expect("descriptors decode");
        for name in DESCRIBED {
            assert!(pool.get_message_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn json_has_proto_names_numbers_and_default_values() {
        let response = v1::RenewResponse { expires_at_ms: 17, revision: 9, ..Default::default() };
        let json = json_text(&response).expect("serializes");
        let rest = r#""replayed":false,"would_write":[],"would_write_omitted":0}"#;
        assert_eq!(json, format!(r#"{{"expires_at_ms":17,"revision":9,{rest}"#));
    }

    #[test]
    fn json_leaves_out_what_is_absent() {
        let counters = v1::Counters { used: "1".into(), ..Default::default() };
        let quota = v1::Quota { counters: Some(counters), ..Default::default() };
        let response = v1::GetQuotaResponse { quota: Some(quota), revision: 3 };
        let json = json_value(&response).expect("serializes");
        assert_eq!(json["quota"]["counters"]["used"], "1");
        assert!(json["quota"]["counters"].get("available").is_none());
        assert!(json["quota"].get("lock").is_none());
        assert_eq!(json["quota"]["version"], 0);
    }

    #[test]
    fn answers_are_shown_as_text_or_as_one_line_of_json() {
        for (format, expected) in
            [(Format::Table, "done\n"), (Format::Json, "{\"node_id\":2,\"snapshot_index\":9}\n")]
        {
            let sink = Sink::default();
            let mut output = Output::new(format, Box::new(sink.clone()));
            let response = v1::TakeSnapshotResponse { node_id: 2, snapshot_index: 9 };
            output.show(&response, |_| "done".to_owned()).expect("written");
            assert_eq!(sink.written.lock().expect("not poisoned").as_slice(), expected.as_bytes());
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let mut output = Output::new(Format::Table, Box::new(Sink { closed: true, ..Sink::default() }));
        output.line("one").expect("no error");
        assert!(output.is_closed());
        output.line("two").expect("no error");
    }

    #[test]
    fn a_table_has_columns_that_line_up_and_nothing_behind_them() {
        let rows = vec![vec!["acme/ml".to_owned(), "5".to_owned()], vec!["b".to_owned(), "1000".to_owned()]];
        let text = table(&["scope", "#used"], rows);
        assert_eq!(text, " scope    used\n acme/ml     5\n b        1000");
    }

    #[test]
    fn fields_stand_below_each_other_with_their_values_in_one_column() {
        let rows = [("limit", "20".to_owned()), ("over by", "a\nb".to_owned())];
        assert_eq!(fields(&rows), "limit    20\nover by  a b\n");
    }
}
