//! Whether an export is what was decided: every event is the next one and what its hash says, every
//! decision follows from the rules, and tree and state are what was signed.

use std::collections::BTreeMap;
use std::io::BufRead;

use prost::Message as _;

use super::AuditError;
use super::export;
use super::export::Exported;
use super::export::Parsed;
use super::replay;
use super::replay::Replay;
use crate::codec::block;
use crate::codec::digest::StateDigest;
use crate::codec::event::Recorded;
use crate::codec::merkle;
use crate::codec::merkle::Edge;
use crate::codec::merkle::Hash;
use crate::codec::note::Checkpoint;
use crate::codec::note::NoteError;
use crate::codec::note::NoteVerifier;
use crate::codec::note::SignedNote;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::proto::v1;

/// The format of exports that this program writes and reads.
pub const FORMAT: u32 = 1;

/// More events than any ledger has.
const MOST_EVENTS: u64 = 1 << 60;

/// More keys than a cluster has nodes.
const MOST_KEYS: usize = 64;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which ledger it is of.
    pub origin: String,
    /// The first and the last event.
    pub from: Revision,
    /// See `from`.
    pub to: Revision,
    /// The root over all events up to the last.
    pub root: Hash,
    /// The digest of the state after it; `None` when the export does not begin with the first event, so
    /// that nothing could be decided again.
    pub state: Option<StateDigest>,
    /// What was signed, and by whom.
    pub checkpoint: Checkpoint,
    /// See `checkpoint`.
    pub signer: String,
    /// Whether the key of the signer was given, and not only found in the export.
    pub is_trusted: bool,
    /// The sizes of older checkpoints, all of which fit.
    pub older: Vec<u64>,
}

/// Verifies an export. Signatures must be by one of `keys`; if there are none, those in the export are
/// believed. `older` are signed notes from before.
///
/// An export that ends before its checkpoint is refused, unless `is_part`: whoever has the file could have
/// left out what came last.
pub fn verify(
    reader: impl BufRead,
    keys: &[NoteVerifier],
    older: &[SignedNote],
    is_part: bool,
) -> Result<Report, AuditError> {
    replay::beside(|replay| {
        let mut verification = Verification::new(keys, older, is_part, replay)?;
        export::read(reader, |parsed| verification.take(parsed))?;
        verification.finish()
    })
}

struct Begun {
    origin: String,
    from: Revision,
    edge: Edge,
    /// Only of an export from the first event on.
    replay: Option<Replay>,
}

struct Verification<'a> {
    keys: &'a [NoteVerifier],
    is_part: bool,
    notes: &'a [SignedNote],
    older: Vec<Checkpoint>,
    /// Those of which root and state are still to be compared, by size.
    roots: BTreeMap<u64, Vec<Checkpoint>>,
    states: BTreeMap<u64, Vec<Checkpoint>>,
    /// Until it is known where the export begins.
    replay: Option<Replay>,
    begun: Option<Begun>,
    trailer: Option<v1::ExportTrailer>,
}

fn checkpoint_error(error: NoteError) -> AuditError {
    AuditError::Checkpoint(error.to_string())
}

impl<'a> Verification<'a> {
    fn new(
        keys: &'a [NoteVerifier],
        notes: &'a [SignedNote],
        is_part: bool,
        replay: Replay,
    ) -> Result<Self, AuditError> {
        let mut checkpoints = Vec::new();
        let mut by_size: BTreeMap<u64, Vec<Checkpoint>> = BTreeMap::new();
        for note in notes {
            let checkpoint: Checkpoint = note.text().parse().map_err(checkpoint_error)?;
            by_size.entry(checkpoint.size).or_default().push(checkpoint.clone());
            checkpoints.push(checkpoint);
        }
        let states = by_size.clone();
        Ok(Self {
            keys,
            is_part,
            notes,
            older: checkpoints,
            roots: by_size,
            states,
            replay: Some(replay),
            begun: None,
            trailer: None,
        })
    }

    fn take(&mut self, parsed: Parsed) -> Result<(), AuditError> {
        if self.trailer.is_some() {
            return Err(AuditError::Checkpoint("something follows the trailer of the export".to_owned()));
        }
        match parsed {
            Parsed::Header(header) => self.begin(header),
            Parsed::Event(exported) => self.event(*exported),
            Parsed::Trailer(trailer) => {
                self.trailer = Some(trailer);
                Ok(())
            }
        }
    }

    fn begin(&mut self, header: v1::ExportHeader) -> Result<(), AuditError> {
        let bad = |problem: String| AuditError::Unreadable {
            what: "line",
            number: 1,
            problem: format!("the header {problem}"),
        };
        if self.begun.is_some() {
            return Err(bad("is there twice".to_owned()));
        }
        if header.format != FORMAT {
            return Err(bad(format!("says format {}; this program knows {FORMAT}", header.format)));
        }
        if header.from_revision > MOST_EVENTS {
            return Err(bad(format!("begins with event {}, which no ledger has", header.from_revision)));
        }
        let hashes = header.edge.into_iter().map(|hash| hash.try_into().map(Hash));
        let before = header.from_revision.checked_sub(1);
        let edge = before
            .zip(hashes.collect::<Result<Vec<_>, _>>().ok())
            .and_then(|(before, hashes)| Edge::new(before, hashes))
            .ok_or_else(|| bad("does not say what the tree before its first event is".to_owned()))?;
        let replay = self.replay.take().filter(|_| header.from_revision == 1);
        let from = header.from_revision;
        self.begun = Some(Begun { origin: header.origin, from, edge, replay });
        self.compare_roots()?;
        self.compare_states()
    }

    fn event(&mut self, exported: Exported) -> Result<(), AuditError> {
        let Exported { event, leaf, claimed } = exported;
        let Some(begun) = self.begun.as_mut() else {
            let problem = "it stands before the header of the export".to_owned();
            return Err(AuditError::event(event.revision, problem));
        };
        let expected = begun.edge.size() + 1;
        if event.revision != expected {
            let problem = format!("event {} stands in its place: it is missing, or moved", event.revision);
            return Err(AuditError::event(expected, problem));
        }
        if leaf.0 != *claimed {
            let problem = match claimed.as_slice().try_into().map(Hash) {
                Ok(claimed) => {
                    format!("it was changed: its hash is {leaf}, and was {claimed} when it was exported")
                }
                Err(_) => "the hash that it had when it was exported is missing".to_owned(),
            };
            return Err(AuditError::event(event.revision, problem));
        }
        begun.edge.push(leaf);
        match &mut begun.replay {
            Some(replay) => replay.push(event)?,
            // Of what is decided again all bytes are compared.
            None => check_known(&event)?,
        }
        self.compare_roots()?;
        self.compare_states()
    }

    /// Compares the tree with the older checkpoints of this size.
    fn compare_roots(&mut self) -> Result<(), AuditError> {
        let Some(begun) = &self.begun else { return Ok(()) };
        for older in self.roots.remove(&begun.edge.size()).into_iter().flatten() {
            compare_root(&begun.origin, &older, &begun.edge.root())?;
        }
        Ok(())
    }

    /// Compares the state with the older checkpoints of this size.
    fn compare_states(&mut self) -> Result<(), AuditError> {
        let Some(replay) = self.begun.as_ref().and_then(|begun| begun.replay.as_ref()) else {
            return Ok(());
        };
        for older in self.states.remove(&replay.state().revision()).into_iter().flatten() {
            compare_state(&older, (replay.state().time(), replay.digest()))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Report, AuditError> {
        let cut = || AuditError::Checkpoint("the export ends before its trailer: it was cut".to_owned());
        let trailer = self.trailer.take().ok_or_else(cut)?;
        if let Some(replay) = self.begun.as_mut().and_then(|begun| begun.replay.as_mut()) {
            replay.finish()?;
        }
        self.compare_states()?;
        let begun = self.begun.ok_or_else(cut)?;
        let to = begun.edge.size();
        if to < trailer.to_revision {
            return Err(AuditError::event(to + 1, "it is missing, and all after it"));
        }
        if to > trailer.to_revision {
            return Err(AuditError::event(to, "by the trailer it is not in the export"));
        }
        if let Some(size) = self.roots.keys().next() {
            let problem = format!(
                "the checkpoint over {size} events cannot be compared with an export of the events {} to {}",
                begun.from, to
            );
            return Err(AuditError::Checkpoint(problem));
        }
        if let Some(size) = self.states.keys().next().filter(|_| begun.replay.is_some()) {
            let problem =
                format!("the checkpoint over {size} events is of no state: it ends within a log entry");
            return Err(AuditError::Checkpoint(problem));
        }
        if to < begun.from {
            return Err(AuditError::Checkpoint("the export has no events".to_owned()));
        }
        let keys = believed(&trailer, self.keys)?;
        self.notes.iter().try_for_each(|note| note.verify(&keys).map(drop).map_err(checkpoint_error))?;
        let (checkpoint, signer) = signed(&trailer, &keys)?;
        if to < checkpoint.size && !self.is_part {
            let problem = format!(
                "it ends with event {to} of {} that were signed; --part says that this is meant",
                checkpoint.size
            );
            return Err(AuditError::Checkpoint(problem));
        }
        let root = begun.edge.root();
        let state = begun.replay.as_ref().map(|replay| (replay.state().time(), replay.digest()));
        compare_trailer(&begun, state, &checkpoint, &trailer)?;
        Ok(Report {
            origin: begun.origin,
            from: begun.from,
            to,
            root,
            state: state.map(|(_, digest)| digest),
            checkpoint,
            signer,
            is_trusted: !self.keys.is_empty(),
            older: self.older.iter().map(|older| older.size).collect(),
        })
    }
}

/// Whether an event has nothing in it but what this program knows.
fn check_known(event: &Recorded) -> Result<(), AuditError> {
    let message = block::event(&event.bytes).map_err(|corrupt| AuditError::event(event.revision, corrupt))?;
    if message.encode_to_vec() != event.bytes {
        return Err(AuditError::event(event.revision, replay::UNKNOWN));
    }
    Ok(())
}

fn compare_root(origin: &str, signed: &Checkpoint, root: &Hash) -> Result<(), AuditError> {
    let size = signed.size;
    if signed.origin != origin {
        let problem = format!("the checkpoint is of {}, the export of {origin}", signed.origin);
        return Err(AuditError::Checkpoint(problem));
    }
    if signed.root != *root {
        let problem = format!(
            "the events 1 to {size} have the root {root}, but {} was signed: at least one of them was changed, \
             and its hash with it",
            signed.root
        );
        return Err(AuditError::Checkpoint(problem));
    }
    Ok(())
}

fn compare_state(signed: &Checkpoint, (time, digest): (LogTime, StateDigest)) -> Result<(), AuditError> {
    let size = signed.size;
    if time != signed.time {
        let problem = format!("event {size} has the log time {time}, but {} was signed", signed.time);
        return Err(AuditError::Checkpoint(problem));
    }
    if digest != signed.state {
        let problem = format!("the state after event {size} is {digest}, but {} was signed", signed.state);
        return Err(AuditError::Checkpoint(problem));
    }
    Ok(())
}

/// The keys that are believed: those that were given, or those of the export.
fn believed(trailer: &v1::ExportTrailer, keys: &[NoteVerifier]) -> Result<Vec<NoteVerifier>, AuditError> {
    if !keys.is_empty() {
        return Ok(keys.to_vec());
    }
    if trailer.verifier_keys.len() > MOST_KEYS {
        return Err(AuditError::Checkpoint(format!("the trailer names more than {MOST_KEYS} keys")));
    }
    let keys = trailer.verifier_keys.iter().map(|key| key.parse());
    keys.collect::<Result<_, _>>().map_err(checkpoint_error)
}

/// The checkpoint of a trailer, and who signed it.
fn signed(trailer: &v1::ExportTrailer, keys: &[NoteVerifier]) -> Result<(Checkpoint, String), AuditError> {
    let note: SignedNote = trailer.checkpoint.parse().map_err(checkpoint_error)?;
    let signer = note.verify(keys).map_err(checkpoint_error)?.name().to_owned();
    let checkpoint = note.text().parse().map_err(checkpoint_error)?;
    Ok((checkpoint, signer))
}

fn compare_trailer(
    begun: &Begun,
    state: Option<(LogTime, StateDigest)>,
    checkpoint: &Checkpoint,
    trailer: &v1::ExportTrailer,
) -> Result<(), AuditError> {
    let root = begun.edge.root();
    let to = begun.edge.size();
    if checkpoint.size == to {
        compare_root(&begun.origin, checkpoint, &root)?;
        return state.map_or(Ok(()), |state| compare_state(checkpoint, state));
    }
    if checkpoint.origin != begun.origin {
        return compare_root(&begun.origin, checkpoint, &root);
    }
    let proof = trailer.consistency.iter().map(|hash| hash.as_slice().try_into().map(Hash));
    let shown = proof
        .collect::<Result<Vec<_>, _>>()
        .is_ok_and(|proof| merkle::extends((&root, to), (&checkpoint.root, checkpoint.size), &proof));
    if !shown {
        let problem = format!(
            "nothing shows that the events 1 to {to} with the root {root} are the beginning of the {} that were \
             signed",
            checkpoint.size
        );
        return Err(AuditError::Checkpoint(problem));
    }
    Ok(())
}
