//! The verbs of auditors: what the ledger decided, as a file that proves itself.
//!
//! Knows nothing of hashes, signatures or rules.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Write;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use clap::ValueEnum;
use serde_json::json;
use tokio::task::JoinHandle;

use super::Context;
use super::Failure;
use super::event_text::line;
use super::output::Output;
use super::output::fields;
use super::preview::Preview;
use super::preview::Told;
use super::times::utc;
use crate::audit::AuditError;
use crate::audit::export;
use crate::audit::export::Form;
use crate::audit::export::Parsed;
use crate::audit::replay;
use crate::audit::verify;
use crate::audit::verify::Report;
use crate::client::v1;
use crate::client::v1::export_record::Record;
use crate::client::v1::get_proof_request::Of;
use crate::codec::block;
use crate::codec::merkle;
use crate::codec::merkle::Hash;
use crate::codec::note::Checkpoint;
use crate::codec::note::NoteError;
use crate::codec::note::NoteVerifier;
use crate::codec::note::SignedNote;

/// So many pages of an export are put into words while others come.
const PAGES_UNDER_WAY: usize = 2;

/// How much of an export is read at a time.
const READ_BYTES: usize = 1 << 20;

const EXPORT_HELP: &str = "\
The export has all events from --from on, a signed checkpoint, and what connects the two, so that
`quorate verify FILE` needs no node. JSON is that of protobuf: one object a line, 64-bit numbers are
texts, what has its default is left out. It ends with whole log entries: a few events more than --to
may be in it.";

/// Write all events to a file that can be verified
#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub struct ExportEventsArgs {
    /// The first revision [default: the first there is]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    from: u64,
    /// The last revision [default: the last there is]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// What to write
    #[arg(long, value_enum, default_value_t = ExportForm::Jsonl)]
    form: ExportForm,
    /// Where to; it appears when it is complete [default: standard output]
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What an export looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportForm {
    /// One JSON object per line
    Jsonl,
    /// Protobuf messages, a third of the size
    Protobuf,
}

/// Show how far the ledger has come, signed by the node that is asked
#[derive(Debug, Args)]
pub struct CheckpointArgs {}

/// Fetch one event with the proof that it is in the ledger, check it, and show it
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// Its revision
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    revision: u64,
    /// The verifier key of a node whose signature is believed [default: that of the node that is asked]
    #[arg(long, value_name = "KEY")]
    key: Vec<NoteVerifier>,
}

/// Remove the oldest events from all nodes, for good
#[derive(Debug, Args)]
pub struct CompactArgs {
    /// The last event to remove
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    through: u64,
    #[command(flatten)]
    pub(super) preview: Preview,
}

const VERIFY_HELP: &str = "\
Every event must be the next one and what its hash says; every decision must follow from the rules
(of an export that begins with event 1); and the tree and the state must be what was signed. Without
--key the keys in the export are believed: it may then be whole and still be somebody else's. The keys
of the nodes are shown by `quorate cluster status --output json` (verifier_key).

Exit codes: 0 it verifies, 1 it does not: the first event that does not fit is named.";

/// Check an export of events, without any node
#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    /// What `quorate events export` wrote; - for standard input
    file: String,
    /// A file with a checkpoint from before, which must fit; may be given more than once
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The verifier key of a node whose signature is believed; may be given more than once
    #[arg(long, value_name = "KEY")]
    key: Vec<NoteVerifier>,
    /// It may end before its checkpoint: it was exported with --to
    #[arg(long)]
    part: bool,
}

/// Rebuild the state from an export of events, without any node
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// What `quorate events export` wrote; - for standard input
    #[arg(long, value_name = "FILE")]
    from: String,
    /// Stop after this event [default: the last one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    to_revision: Option<u64>,
    /// Show each decision: what was asked, what came of it, and every counter it touched
    #[arg(long)]
    step: bool,
}

impl ExportEventsArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let checkpoint = context.client.checkpoint().await?;
        let to = self.to.unwrap_or(checkpoint.size);
        let problem = if self.from > to {
            format!("--from {} is after the last event to be exported, {to}", self.from)
        } else if to > checkpoint.size {
            format!("there is no event {to}: the last is {}", checkpoint.size)
        } else if checkpoint.size == 0 {
            "there are no events yet".to_owned()
        } else {
            String::new()
        };
        if !problem.is_empty() {
            return Err(Failure::Usage(problem));
        }
        match &self.out {
            None => {
                let stdout = io::stdout();
                self.write(context, &checkpoint, to, stdout).await
            }
            // Under another name until it is whole: nobody takes a part for it.
            Some(path) => {
                let mut part = path.clone().into_os_string();
                part.push(".part");
                let file = File::create(&part).map_err(|error| named(&part, &error))?;
                if let Err(failure) = self.write(context, &checkpoint, to, file).await {
                    // A part is of no use to anybody.
                    std::fs::remove_file(&part).map_err(|error| named(&part, &error))?;
                    return Err(failure);
                }
                std::fs::rename(&part, path).map_err(|error| named(path.as_os_str(), &error))
            }
        }
    }

    async fn write(
        &self,
        context: &mut Context<'_>,
        checkpoint: &v1::GetCheckpointResponse,
        to: u64,
        mut sink: impl Write,
    ) -> Result<(), Failure> {
        let form = match self.form {
            ExportForm::Jsonl => Form::Json,
            ExportForm::Protobuf => Form::Protobuf,
        };
        let mut page = context.client.export_events(self.from, to).await?;
        let (from, end) = (page.first_revision, page.end_revision);
        let mut buffer = export::beginning(form).to_vec();
        export::write(form, &header(context, checkpoint, from).await?, &mut buffer)?;
        sink.write_all(&buffer)?;
        buffer.clear();
        // The next pages come while those before are put into words.
        let mut under_way = VecDeque::new();
        loop {
            under_way.push_back(in_words(form, page.block));
            if under_way.len() > PAGES_UNDER_WAY || page.next_revision == 0 {
                let written = under_way.pop_front().expect("one was added just now");
                sink.write_all(&written.await.map_err(io::Error::other)??)?;
            }
            if page.next_revision == 0 {
                break;
            }
            page = context.client.export_events(page.next_revision, end).await?;
        }
        for written in under_way {
            sink.write_all(&written.await.map_err(io::Error::other)??)?;
        }
        export::write(form, &trailer(context, checkpoint, end).await?, &mut buffer)?;
        sink.write_all(&buffer)?;
        Ok(sink.flush()?)
    }
}

/// Has the records of a page made on another thread.
#[expect(clippy::disallowed_methods, reason = "this is the program of a client: no simulation runs it")]
fn in_words(form: Form, page: Bytes) -> JoinHandle<io::Result<Vec<u8>>> {
    tokio::task::spawn_blocking(move || records(form, &page))
}

/// The records of the events of a page.
fn records(form: Form, page: &[u8]) -> io::Result<Vec<u8>> {
    let mut records = Vec::with_capacity(2 * page.len());
    for event in block::sent(page).map_err(io::Error::from)? {
        export::write_event(form, event, &mut records)?;
    }
    Ok(records)
}

/// What a node says to have signed, if it has.
fn signed_checkpoint(
    answer: &v1::GetCheckpointResponse,
    mut keys: Vec<NoteVerifier>,
) -> Result<Checkpoint, Failure> {
    let refused = |error: NoteError| AuditError::Checkpoint(error.to_string());
    if keys.is_empty() {
        keys.push(answer.verifier_key.parse().map_err(refused)?);
    }
    let note: SignedNote = answer.note.parse().map_err(refused)?;
    note.verify(&keys).map_err(refused)?;
    Ok(note.text().parse().map_err(refused)?)
}

fn named(path: &std::ffi::OsStr, error: &io::Error) -> Failure {
    Failure::Output(io::Error::new(error.kind(), format!("{}: {error}", path.to_string_lossy())))
}

async fn header(
    context: &Context<'_>,
    checkpoint: &v1::GetCheckpointResponse,
    from: u64,
) -> Result<v1::ExportRecord, Failure> {
    let edge = if from > 1 {
        let of = Some(Of::EdgeSize(from - 1));
        context.client.proof(v1::GetProofRequest { of, size: checkpoint.size }).await?.hashes
    } else {
        Vec::new()
    };
    let origin = checkpoint.note.lines().next().unwrap_or_default().to_owned();
    let header = v1::ExportHeader { format: verify::FORMAT, origin, from_revision: from, edge };
    Ok(v1::ExportRecord { record: Some(Record::Header(header)), leaf_hash: Vec::new() })
}

async fn trailer(
    context: &Context<'_>,
    checkpoint: &v1::GetCheckpointResponse,
    end: u64,
) -> Result<v1::ExportRecord, Failure> {
    let consistency = if end < checkpoint.size {
        let of = Some(Of::OldSize(end));
        context.client.proof(v1::GetProofRequest { of, size: checkpoint.size }).await?.hashes
    } else {
        Vec::new()
    };
    let trailer = v1::ExportTrailer {
        to_revision: end,
        checkpoint: checkpoint.note.clone(),
        consistency,
        verifier_keys: vec![checkpoint.verifier_key.clone()],
    };
    Ok(v1::ExportRecord { record: Some(Record::Trailer(trailer)), leaf_hash: Vec::new() })
}

impl CheckpointArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let checkpoint = context.client.checkpoint().await?;
        Ok(context.output.show(&checkpoint, |checkpoint| checkpoint.note.clone())?)
    }
}

impl ProveArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { revision, key } = self;
        let answer = context.client.checkpoint().await?;
        let checkpoint = signed_checkpoint(&answer, key)?;
        if revision > checkpoint.size {
            let problem = format!("there is no event {revision}: the last is {}", checkpoint.size);
            return Err(Failure::Usage(problem));
        }
        let page = context.client.export_events(revision, revision).await?;
        let events = block::sent(&page.block).map_err(io::Error::from)?;
        let bytes = events.first().copied().unwrap_or_default();
        let event = block::event(bytes).map_err(io::Error::from)?;
        let of = Some(Of::Revision(revision));
        let proof = context.client.proof(v1::GetProofRequest { of, size: checkpoint.size }).await?;
        let hashes = proof.hashes.iter().map(|hash| hash.as_slice().try_into().map(Hash));
        let hashes: Vec<Hash> = hashes.collect::<Result<_, _>>().map_err(io::Error::other)?;
        let root = checkpoint.root;
        if !merkle::includes(&root, checkpoint.size, revision, bytes, &hashes) {
            let problem = "the proof does not show that it is in the tree that was signed";
            return Err(AuditError::Event { revision, problem: problem.to_owned() }.into());
        }
        if context.output.is_json() {
            let hashes: Vec<_> = hashes.iter().map(ToString::to_string).collect();
            let shown = json!({
                "event": event, "leaf_hash": merkle::leaf(bytes).to_string(), "proof": hashes,
                "size": checkpoint.size, "root": root.to_string(), "checkpoint": answer.note,
            });
            return Ok(context.output.line(&shown.to_string())?);
        }
        let text = format!(
            "{}\nproven: it is one of {} events with the root {root}, as {} hashes show",
            line(&event),
            checkpoint.size,
            hashes.len()
        );
        Ok(context.output.line(&text)?)
    }
}

impl CompactArgs {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let validate_only = self.preview.is_wanted();
        let message =
            v1::CompactEventsRequest { through_revision: self.through, validate_only, ..Default::default() };
        let response = context.client.compact_events(context.request_id, message).await?;
        let unchanged = super::preview::was_unchanged(context, self.preview, response.revision).await;
        let done = format!("removed: the events up to {}", self.through);
        Ok(context.output.show(&response, |response| {
            let told = Told { unchanged, ..Told::from(response) };
            self.preview.sentence(&done, &told)
        })?)
    }
}

fn open(file: &str) -> Result<Box<dyn io::BufRead>, Failure> {
    if file == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file).map_err(|error| Failure::Usage(format!("{file}: {error}")))?;
    Ok(Box::new(BufReader::with_capacity(READ_BYTES, opened)))
}

impl VerifyArgs {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let older = self.checkpoint.iter().map(|path| {
            let bad = |problem: String| Failure::Usage(format!("{}: {problem}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
            text.parse::<SignedNote>().map_err(|error| bad(error.to_string()))
        });
        let older = older.collect::<Result<Vec<_>, _>>()?;
        let report = verify::verify(open(&self.file)?, &self.key, &older, self.part)?;
        if output.is_json() {
            return Ok(output.line(&report_json(&report).to_string())?);
        }
        Ok(output.raw(report_text(&report).as_bytes())?)
    }
}

fn report_json(report: &Report) -> serde_json::Value {
    json!({
        "verifies": true,
        "origin": report.origin,
        "from_revision": report.from,
        "to_revision": report.to,
        "root": report.root.to_string(),
        "state_digest": report.state.map(|state| state.to_string()),
        "signed_by": report.signer,
        "signed_size": report.checkpoint.size,
        "key_was_given": report.is_trusted,
        "older_checkpoints": report.older,
    })
}

fn report_text(report: &Report) -> String {
    let events = format!("{} to {}: none is missing, changed or moved", report.from, report.to);
    let decisions = match report.state {
        Some(_) => "each was decided again by the rules, and came out the same".to_owned(),
        None => "not decided again: that needs all events from the first on".to_owned(),
    };
    let signed = format!(
        "{} over {} events at {}",
        report.signer,
        report.checkpoint.size,
        utc(report.checkpoint.time)
    );
    let key = if report.is_trusted {
        "the one that was given"
    } else {
        "the one in the export: give --key to know who signed"
    };
    let mut rows = vec![
        ("ledger", report.origin.clone()),
        ("events", events),
        ("decisions", decisions),
        ("root", report.root.to_string()),
    ];
    rows.extend(report.state.map(|state| ("state", state.to_string())));
    rows.extend([("signed by", signed), ("key", key.to_owned())]);
    rows.extend(report.older.iter().map(|size| ("older", format!("the checkpoint over {size} events fits"))));
    format!("it verifies\n{}", fields(&rows))
}

impl ReplayArgs {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let export = open(&self.from)?;
        let last = self.to_revision.unwrap_or(u64::MAX);
        let mut shown = Ok(());
        let mut seen = 0;
        let end = replay::beside(|mut replay| {
            export::read(export, |parsed| {
                let event = match parsed {
                    Parsed::Header(header) if header.from_revision > 1 => {
                        let problem =
                            "the export does not begin with event 1, so that nothing can be decided";
                        return Err(AuditError::Event {
                            revision: header.from_revision,
                            problem: problem.to_owned(),
                        });
                    }
                    Parsed::Event(exported) => exported.event,
                    Parsed::Header(_) | Parsed::Trailer(_) => return Ok(()),
                };
                let bad = |revision, problem| Err(AuditError::Event { revision, problem });
                if event.revision != seen + 1 {
                    return bad(seen + 1, format!("event {} stands in its place", event.revision));
                }
                seen = event.revision;
                if self.step && seen <= last && shown.is_ok() {
                    match block::event(&event.bytes) {
                        Ok(event) => shown = step(output, &event),
                        Err(corrupt) => return bad(seen, corrupt.to_string()),
                    }
                }
                // The rest of the log entry is needed to decide it; what comes after is not.
                if seen <= last || replay.is_within_entry_of(&event) { replay.push(event) } else { Ok(()) }
            })?;
            replay.finish_at(last)?;
            Ok((replay.state().revision(), replay.state().time(), replay.digest()))
        });
        let (revision, time, digest) = end?;
        shown?;
        if self.to_revision.is_some_and(|to| to > seen) {
            return Err(Failure::Usage(format!(
                "there is no event {last}: the last in the export is {seen}"
            )));
        }
        if output.is_json() {
            let result = json!({
                "revision": revision, "log_time_ms": time, "state_digest": digest.to_string(),
            });
            return Ok(output.line(&result.to_string())?);
        }
        let rows =
            [("revision", revision.to_string()), ("log time", utc(time)), ("state", digest.to_string())];
        Ok(output.raw(fields(&rows).as_bytes())?)
    }
}

/// One decision: what was asked, what came of it, and what it did to counters.
fn step(output: &mut Output, event: &v1::Event) -> io::Result<()> {
    if output.is_json() {
        return output.line(&serde_json::to_string(event)?);
    }
    let mut text = line(event);
    let asked = match (&event.command, &event.batch) {
        (Some(command), _) => serde_json::to_string(command)?,
        (None, Some(batch)) => serde_json::to_string(batch)?,
        (None, None) => String::new(),
    };
    if !asked.is_empty() {
        text.push_str(&format!("\n          asked: {asked}"));
    }
    if !event.reason.is_empty() {
        text.push_str(&format!("\n          why: {}", event.reason));
    }
    for touched in &event.touched {
        let change = |change: &str| match change {
            "" => String::new(),
            less if less.starts_with('-') => format!(" ({less})"),
            more => format!(" (+{more})"),
        };
        text.push_str(&format!(
            "\n          {} {}: used {}{}, held {}{}, sequence {}",
            touched.scope,
            touched.resource,
            touched.used,
            change(&touched.used_change),
            touched.held,
            change(&touched.held_change),
            touched.sequence
        ));
    }
    output.line(&text)
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::Audit(error)
    }
}
