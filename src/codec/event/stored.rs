//! Events as they are stored, looked into without making anything of them: for whoever folds all of them.
//!
//! | type | what it is |
//! |---|---|
//! | `Stored` | an event |
//! | `Happened` | its body, of those that a fold asks for |
//! | `Touched`, `Line` | what it touched, and what a hold takes |

use std::ops::RangeInclusive;

use prost::Message as _;
use rust_decimal::Decimal;

use super::Position;
use super::WHAT;
use crate::codec::Corrupt;
use crate::codec::fields::Fields;
use crate::ledger::HoldId;
use crate::ledger::LogTime;
use crate::ledger::Revision;
use crate::ledger::event::Part;
use crate::proto::v1;

/// An event in its bytes.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    /// Its position.
    pub revision: Revision,
    /// When it was decided.
    pub time: LogTime,
    /// Where its command stands in the Raft log.
    pub position: Position,
    /// The UUID of the request that it answers; "" when nobody asked.
    pub request_id: &'a str,
    /// Of the command.
    pub fingerprint: &'a [u8],
    /// Who asked; "" when nobody said, or nobody did.
    pub actor: &'a str,
    /// Its place among the events of one request that has several.
    pub part: Option<Part>,
    /// Why, for people.
    pub reason: &'a str,
    /// What was asked, a `BatchCommand`; of an atomic batch that took no effect, a `BatchRequest`.
    pub command: Option<&'a [u8]>,
    /// See `command`.
    pub batch: Option<&'a [u8]>,
    /// From the first that it touched on, so that the others need not be looked for among all fields.
    touched: &'a [u8],
    body: (u32, &'a [u8]),
}

/// The fields of an event that are looked into later.
const TOUCHED: u32 = 8;
const BODIES: RangeInclusive<u32> = 16..=43;

impl<'a> Stored<'a> {
    /// An event from its bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut event = Self {
            revision: 0,
            time: 0,
            position: Position::default(),
            request_id: "",
            fingerprint: &[],
            actor: "",
            part: None,
            reason: "",
            command: None,
            batch: None,
            touched: &[],
            body: (0, &[]),
        };
        let mut fields = Fields::new(WHAT, bytes);
        loop {
            let rest = fields.rest();
            match fields.next().transpose()? {
                None => return Ok(event),
                Some((1, value)) => event.revision = fields.number(value)?,
                Some((2, value)) => event.time = fields.number(value)?,
                Some((3, value)) => event.position.term = fields.number(value)?,
                Some((4, value)) => event.position.index = fields.number(value)?,
                Some((5, value)) => event.request_id = fields.text(value)?,
                Some((6, value)) => event.fingerprint = fields.bytes(value)?,
                Some((7, value)) => event.actor = fields.text(value)?,
                Some((TOUCHED, _)) if event.touched.is_empty() => event.touched = rest,
                Some((9, value)) => event.part = Some(part(fields.bytes(value)?)?),
                Some((10, value)) => event.reason = fields.text(value)?,
                Some((11, value)) => event.command = Some(fields.bytes(value)?),
                Some((12, value)) => event.batch = Some(fields.bytes(value)?),
                Some((body, value)) if BODIES.contains(&body) => event.body = (body, fields.bytes(value)?),
                Some(_) => {}
            }
        }
    }

    /// Every account that it touched, from the root down.
    pub fn touched(&self) -> impl Iterator<Item = Result<Touched<'a>, Corrupt>> {
        let mut fields = Fields::new(WHAT, self.touched);
        std::iter::from_fn(move || {
            // They stand together.
            match fields.next()? {
                Ok((TOUCHED, value)) => Some(fields.bytes(value).and_then(Touched::new)),
                Ok(_) => None,
                Err(corrupt) => Some(Err(corrupt)),
            }
        })
    }

    /// What was decided.
    pub fn happened(&self) -> Result<Happened<'a>, Corrupt> {
        let (field, body) = self.body;
        let message = |error: prost::DecodeError| Corrupt::new(WHAT, error);
        Ok(match field {
            18 => Happened::ScopeMoved(v1::ScopeMoved::decode(body).map_err(message)?),
            20 => Happened::ResourceRegistered(v1::ResourceRegistered::decode(body).map_err(message)?),
            34 => Happened::Reserved(Reserved::new(body)?),
            35 => Happened::Committed(Change::new(body)?),
            36 => Happened::Released(Change::new(body)?),
            37 => Happened::Expired(Change::new(body)?),
            38 => Happened::Renewed(hold(body)?),
            39 => Happened::Resized(Change::new(body)?),
            40 => Happened::TimeRefused(v1::TimeRefused::decode(body).map_err(message)?),
            41 => Happened::Rejected(v1::Rejected::decode(body).map_err(message)?),
            _ => Happened::Other,
        })
    }
}

fn part(bytes: &[u8]) -> Result<Part, Corrupt> {
    let mut part = Part { index: 0, of: 0 };
    let mut fields = Fields::new(WHAT, bytes);
    while let Some(field) = fields.next() {
        match field? {
            (1, value) => part.index = fields.small(value)?,
            (2, value) => part.of = fields.small(value)?,
            _ => {}
        }
    }
    Ok(part)
}

/// The hold that a body begins with.
fn hold(body: &[u8]) -> Result<HoldId, Corrupt> {
    let mut fields = Fields::new(WHAT, body);
    match fields.next().transpose()? {
        Some((1, value)) => fields.number(value),
        _ => Err(Corrupt::new(WHAT, "it names no hold")),
    }
}

/// What was decided, as far as a fold asks for it.
#[derive(Debug, Clone)]
pub enum Happened<'a> {
    /// A scope was moved with everything below it.
    ScopeMoved(v1::ScopeMoved),
    /// A resource was added.
    ResourceRegistered(v1::ResourceRegistered),
    /// A hold was made.
    Reserved(Reserved<'a>),
    /// Of a hold, held became used; without lines, all of it.
    Committed(Change<'a>),
    /// Of a hold, something was given back; without lines, it is closed.
    Released(Change<'a>),
    /// What was held was given back by time; without lines, it is closed.
    Expired(Change<'a>),
    /// The end of a hold was moved.
    Renewed(HoldId),
    /// A hold takes another amount now.
    Resized(Change<'a>),
    /// A leader's clock was not believed.
    TimeRefused(v1::TimeRefused),
    /// A command was not carried out.
    Rejected(v1::Rejected),
    /// Anything else.
    Other,
}

/// A hold as it was made.
#[derive(Debug, Clone)]
pub struct Reserved<'a> {
    /// The job it is for; "" for none.
    pub job: &'a str,
    /// Who consumes it; "" for nobody who is named.
    pub consumer: &'a str,
    lines: Lines<'a>,
}

impl<'a> Reserved<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut reserved = Self { job: "", consumer: "", lines: Lines { bytes, field: 2 } };
        let mut fields = Fields::new(WHAT, bytes);
        while let Some(field) = fields.next() {
            match field? {
                (6, value) => reserved.job = fields.text(value)?,
                (7, value) => reserved.consumer = fields.text(value)?,
                _ => {}
            }
        }
        Ok(reserved)
    }

    /// What it takes.
    pub fn lines(&self) -> Lines<'a> {
        self.lines
    }
}

/// What became of a hold.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// Which.
    pub hold: HoldId,
    /// What it takes afterwards.
    pub after: Option<Lines<'a>>,
}

impl<'a> Change<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut change = Self { hold: 0, after: None };
        let mut fields = Fields::new(WHAT, bytes);
        while let Some(field) = fields.next() {
            match field? {
                (1, value) => change.hold = fields.number(value)?,
                (2, value) => change.after = Some(Lines { bytes: fields.bytes(value)?, field: 1 }),
                _ => {}
            }
        }
        Ok(change)
    }
}

/// The lines of a hold, in a message that has them in a field.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    field: u32,
}

impl<'a> Lines<'a> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Result<Line<'a>, Corrupt>> {
        let wanted = self.field;
        let mut fields = Fields::new(WHAT, self.bytes);
        std::iter::from_fn(move || {
            loop {
                match fields.next()? {
                    Ok((field, value)) if field == wanted => {
                        return Some(fields.bytes(value).and_then(Line::new));
                    }
                    Ok(_) => {}
                    Err(corrupt) => return Some(Err(corrupt)),
                }
            }
        })
    }
}

/// One line of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The number of the scope.
    pub scope: u32,
    /// Its path at that time.
    pub path: &'a str,
    /// The number of the resource.
    pub resource: u32,
    /// Reserved and not committed.
    pub held: Decimal,
    /// Committed.
    pub used: Decimal,
}

impl<'a> Line<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let (held, used) = (Decimal::ZERO, Decimal::ZERO);
        let mut line = Self { scope: 0, path: "", resource: 0, held, used };
        let mut fields = Fields::new(WHAT, bytes);
        while let Some(field) = fields.next() {
            match field? {
                (1, value) => line.scope = fields.small(value)?,
                (2, value) => line.path = fields.text(value)?,
                (3, value) => line.resource = fields.small(value)?,
                (5, value) => line.held = fields.decimal(value)?,
                (6, value) => line.used = fields.decimal(value)?,
                _ => {}
            }
        }
        Ok(line)
    }
}

/// An account that an event touched, with its counters after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched<'a> {
    /// The number of the scope.
    pub scope: u32,
    /// Its path.
    pub path: &'a str,
    /// The number of the resource.
    pub resource: u32,
    /// Committed use after the event, and how it changed.
    pub used: Decimal,
    /// See `used`.
    pub used_change: Decimal,
    /// Reserved use after the event, and how it changed.
    pub held: Decimal,
    /// See `held`.
    pub held_change: Decimal,
}

impl<'a> Touched<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut touched = Self {
            scope: 0,
            path: "",
            resource: 0,
            used: Decimal::ZERO,
            used_change: Decimal::ZERO,
            held: Decimal::ZERO,
            held_change: Decimal::ZERO,
        };
        let mut fields = Fields::new(WHAT, bytes);
        while let Some(field) = fields.next() {
            match field? {
                (1, value) => touched.scope = fields.small(value)?,
                (2, value) => touched.path = fields.text(value)?,
                (3, value) => touched.resource = fields.small(value)?,
                (5, value) => touched.used = fields.decimal(value)?,
                (6, value) => touched.held = fields.decimal(value)?,
                (8, value) => touched.used_change = fields.decimal(value)?,
                (9, value) => touched.held_change = fields.decimal(value)?,
                _ => {}
            }
        }
        Ok(touched)
    }
}

#[cfg(test)]
pub(in crate::codec) mod tests;
