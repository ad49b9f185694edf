//! The records of an export: one JSON object a line, or protobuf messages behind their lengths.
//!
//! Reading is what takes the time of an audit, so records are read in chunks on all cores; they come out
//! in order.

use std::io;
use std::io::BufRead;
use std::io::Read as _;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::thread::Scope;

use prost::Message as _;

use super::AuditError;
use crate::codec::Corrupt;
use crate::codec::block;
use crate::codec::event::Recorded;
use crate::codec::json;
use crate::codec::merkle;
use crate::codec::merkle::Hash;
use crate::proto::v1;
use crate::proto::v1::export_record::Record;

/// A chunk has so many bytes, or one record more.
const CHUNK: usize = 1 << 20;

/// How many chunks each who reads them has: one in hand, one for when that is done.
const AHEAD: usize = 2;

/// How an export in protobuf begins.
const MAGIC: &[u8] = b"quorate-export-1";

/// What a record takes besides its bytes.
const OVERHEAD: usize = 64;

/// Longer than any record, whose command has at most 4 MiB: what claims to be longer is damaged.
const LONGEST: usize = 32 << 20;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line, as protobuf defines its JSON.
    Json,
    /// Each message behind its length.
    Protobuf,
}

/// What stands before the first record.
pub fn beginning(form: Form) -> &'static [u8] {
    match form {
        Form::Json => b"",
        Form::Protobuf => MAGIC,
    }
}

/// Adds a record to what is written.
pub fn write(form: Form, record: &v1::ExportRecord, into: &mut Vec<u8>) -> io::Result<()> {
    match form {
        Form::Json => {
            serde_json::to_writer(&mut *into, record)?;
            into.push(b'\n');
        }
        Form::Protobuf => record.encode_length_delimited(into).map_err(io::Error::other)?,
    }
    Ok(())
}

/// Adds an event as it is stored.
pub fn write_event(form: Form, event: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    let leaf_hash = merkle::leaf(event).0.to_vec();
    match form {
        Form::Json => {
            let event = block::event(event).map_err(io::Error::from)?;
            write(form, &v1::ExportRecord { record: Some(Record::Event(event)), leaf_hash }, into)
        }
        Form::Protobuf => EncodedRecord { event: Some(event.to_vec()), leaf_hash }
            .encode_length_delimited(into)
            .map_err(io::Error::other),
    }
}

/// An `ExportRecord` of an event that is left as it is: what is proven of it are its bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct EncodedRecord {
    #[prost(bytes = "vec", optional, tag = "2")]
    event: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "4")]
    leaf_hash: Vec<u8>,
}

/// A record that was read.
#[derive(Debug)]
pub enum Parsed {
    /// The first.
    Header(v1::ExportHeader),
    /// One of those between.
    Event(Box<Exported>),
    /// The last.
    Trailer(v1::ExportTrailer),
}

/// An event that was read.
#[derive(Debug)]
pub struct Exported {
    /// What it is.
    pub event: Recorded,
    /// The hash of its bytes, which need not be the one it claims.
    pub leaf: Hash,
    /// The hash it claims.
    pub claimed: Vec<u8>,
}

type ParsedChunk = (Vec<Parsed>, Option<AuditError>);

/// Some records as they stand in a file.
struct Chunk {
    form: Form,
    /// The number of its first record, from 1.
    first: u64,
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Chunk {
    /// Its records up to the first that cannot be read.
    fn parse(&self) -> ParsedChunk {
        let mut records = Vec::with_capacity(self.ends.len());
        let mut begin = 0;
        for (number, &end) in (self.first..).zip(&self.ends) {
            match parse(self.form, number, &self.bytes[begin..end]) {
                Ok(parsed) => records.push(parsed),
                Err(problem) => return (records, Some(problem)),
            }
            begin = end;
        }
        (records, None)
    }
}

fn unreadable(form: Form, number: u64, problem: impl ToString) -> AuditError {
    let what = match form {
        Form::Json => "line",
        Form::Protobuf => "record",
    };
    AuditError::Unreadable { what, number, problem: problem.to_string() }
}

fn parse(form: Form, number: u64, bytes: &[u8]) -> Result<Parsed, AuditError> {
    let bad = |problem: String| unreadable(form, number, problem);
    match form {
        Form::Json => match json::record(bytes) {
            Some(encoded) => parse_encoded(&encoded).map_err(bad),
            None => {
                let message = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
                parse_message(message).map_err(bad)
            }
        },
        Form::Protobuf => parse_encoded(bytes).map_err(bad),
    }
}

fn parse_encoded(bytes: &[u8]) -> Result<Parsed, String> {
    let record = EncodedRecord::decode(bytes).map_err(|error| error.to_string())?;
    if record.encoded_len() == bytes.len()
        && let Some(event) = record.event
    {
        return exported(event, record.leaf_hash).map_err(|corrupt| corrupt.to_string());
    }
    // A header or a trailer; or an event beside something else, of which others would see another one.
    if record.event.is_some() {
        return Err("there is more in it than one event and its hash".to_owned());
    }
    parse_message(v1::ExportRecord::decode(bytes).map_err(|error| error.to_string())?)
}

fn parse_message(message: v1::ExportRecord) -> Result<Parsed, String> {
    match message.record.ok_or("it is neither header, event nor trailer")? {
        Record::Header(header) => Ok(Parsed::Header(header)),
        Record::Event(event) => {
            exported(event.encode_to_vec(), message.leaf_hash).map_err(|corrupt| corrupt.to_string())
        }
        Record::Trailer(trailer) => Ok(Parsed::Trailer(trailer)),
    }
}

fn exported(bytes: Vec<u8>, claimed: Vec<u8>) -> Result<Parsed, Corrupt> {
    let leaf = merkle::leaf(&bytes);
    Ok(Parsed::Event(Box::new(Exported { event: Recorded::new(bytes)?, leaf, claimed })))
}

/// Cuts a file into chunks. Its form is seen by how it begins.
struct Chunks<R> {
    reader: R,
    form: Form,
    next: u64,
}

impl<R: BufRead> Chunks<R> {
    fn new(mut reader: R) -> Result<Self, AuditError> {
        let problem = |error: io::Error| unreadable(Form::Json, 1, error);
        let start = reader.fill_buf().map_err(problem)?;
        if start.first() == Some(&b'{') {
            return Ok(Self { reader, form: Form::Json, next: 1 });
        }
        let mut magic = Vec::new();
        reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(problem)?;
        if magic != MAGIC {
            return Err(unreadable(Form::Json, 1, "this is no export of events: it begins like none"));
        }
        Ok(Self { reader, form: Form::Protobuf, next: 1 })
    }

    /// The next chunk; nothing at the end. What cannot be read is the end, too, and why.
    fn chunk(&mut self) -> (Option<Chunk>, Option<AuditError>) {
        let bytes = Vec::with_capacity(CHUNK);
        let mut chunk = Chunk { form: self.form, first: self.next, bytes, ends: Vec::new() };
        let mut problem = None;
        while chunk.bytes.len() + chunk.ends.len() * OVERHEAD < CHUNK {
            let read = match self.form {
                Form::Json => self.line(&mut chunk.bytes),
                Form::Protobuf => self.message(&mut chunk.bytes),
            };
            match read {
                Ok(true) => {
                    self.next += 1;
                    chunk.ends.push(chunk.bytes.len());
                }
                Ok(false) => break,
                Err(error) => {
                    problem = Some(unreadable(self.form, self.next, error));
                    break;
                }
            }
        }
        ((!chunk.ends.is_empty()).then_some(chunk), problem)
    }

    /// Adds the next line to `bytes`, if there is one.
    fn line(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        match self.reader.by_ref().take(LONGEST as u64).read_until(b'\n', bytes)? {
            LONGEST => Err(io::Error::other(format!("it is longer than {LONGEST} bytes"))),
            length => Ok(length > 0),
        }
    }

    /// The same of a message.
    fn message(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let mut length: usize = 0;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            match self.reader.read(&mut byte)? {
                0 if shift == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
            length |= usize::from(byte[0] & 0x7F) << shift;
            if shift >= 28 || length > LONGEST {
                return Err(io::Error::other(format!("it is longer than {LONGEST} bytes")));
            }
            if byte[0] < 0x80 {
                break;
            }
        }
        match self.reader.by_ref().take(length as u64).read_to_end(bytes)? {
            read if read < length => Err(io::Error::other("the file ends in the middle of it")),
            _ => Ok(true),
        }
    }
}

/// Somebody who reads chunks, one after the other.
struct Lane {
    chunks: Sender<Chunk>,
    parsed: Receiver<ParsedChunk>,
}

impl Lane {
    /// It ends when nobody has more for it.
    fn open<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        let (sender, chunks) = channel::<Chunk>();
        let (results, parsed) = channel();
        scope.spawn(move || {
            for chunk in chunks {
                if results.send(chunk.parse()).is_err() {
                    break;
                }
            }
        });
        Self { chunks: sender, parsed }
    }
}

/// Reads an export and hands out its records in order, until `take` fails.
pub fn read<R: BufRead>(
    reader: R,
    mut take: impl FnMut(Parsed) -> Result<(), AuditError>,
) -> Result<(), AuditError> {
    let mut chunks = Chunks::new(reader)?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        // Each in turn, so that what comes first is taken first, also when something behind it cannot be read.
        let lanes: Vec<_> = (0..workers).map(|_| Lane::open(scope)).collect();
        let (mut sent, mut taken) = (lanes.iter().cycle(), lanes.iter().cycle());
        let mut waiting = 0;
        let mut last_problem = None;
        let mut is_over = false;
        loop {
            while !is_over && waiting < AHEAD * workers {
                let (chunk, problem) = chunks.chunk();
                is_over = chunk.is_none() || problem.is_some();
                last_problem = problem;
                if let Some(chunk) = chunk {
                    let lane = sent.next().expect("there is one at least");
                    lane.chunks.send(chunk).expect("it is open");
                    waiting += 1;
                }
            }
            if waiting == 0 {
                return last_problem.map_or(Ok(()), Err);
            }
            waiting -= 1;
            let lane = taken.next().expect("there is one at least");
            let (records, problem) = lane.parsed.recv().expect("reading a record does not panic");
            records.into_iter().try_for_each(&mut take)?;
            problem.map_or(Ok(()), Err)?;
        }
    })
}
