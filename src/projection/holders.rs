//! Holders: who takes how much of a resource where, by consumer, or by actor where a hold names no
//! consumer.
//!
//! What a hold takes is counted at the scope of its line alone; what is taken below a scope is the sum
//! over a run of keys. A scope that moves takes its keys along.
//!
//! | key | value |
//! |---|---|
//! | 1; numbers of holds without the last three bits, 8 bytes | `HeldRecord`: up to eight live holds |
//! | 2; resource, 4 bytes; path; 0; 0 and a consumer, or 1 and an actor | `HolderAmounts` |
//! | 3; resource, 4 bytes | 1 byte: whether it is a budget |
//!
//! In paths '/' is written as the byte 1: so the keys of everything below a scope follow its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::sync::Arc;

use rust_decimal::Decimal;
use smallvec::SmallVec;

use super::About;
use super::Folded;
use super::Projection;
use super::ProjectionError;
use super::views::ViewBatch;
use super::views::Views;
use crate::codec::Corrupt;
use crate::codec::batch::again;
use crate::codec::event::stored;
use crate::codec::event::stored::Happened;
use crate::codec::event::stored::Stored;
use crate::codec::keys::HOLD_BITS;
use crate::codec::local;
use crate::codec::number;
use crate::ledger::HoldId;
use crate::ledger::Path;
use crate::ledger::ResourceId;
use crate::ledger::ResourceKind;
use crate::ledger::Revision;
use crate::ledger::State;
use crate::planted::Bug;
use crate::planted::planted;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;
use crate::store::StateStore;

/// What it is.
pub const ABOUT: About = About {
    name: "holders",
    purpose: "who takes how much of each quota",
    number: 0x14,
    version: 2,
    needs_all_events: true,
};

const WHAT: &str = "a record of holders";

/// Somebody who takes something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Named by the hold.
    Consumer(String),
    /// Who reserved it, when it names nobody.
    Actor(String),
}

impl Holder {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, name) = bytes.split_first()?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        match tag {
            0 => Some(Self::Consumer(name)),
            1 => Some(Self::Actor(name)),
            _ => None,
        }
    }
}

/// How much somebody takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Committed.
    pub used: Decimal,
    /// Reserved and not committed.
    pub held: Decimal,
}

impl Amounts {
    /// Both.
    pub fn taken(&self) -> Decimal {
        self.used.saturating_add(self.held)
    }

    fn add(&mut self, other: Self) {
        self.used = self.used.saturating_add(other.used);
        self.held = self.held.saturating_add(other.held);
    }

    fn minus(self, other: Self) -> Self {
        Self { used: self.used.saturating_sub(other.used), held: self.held.saturating_sub(other.held) }
    }

    fn is_nothing(&self) -> bool {
        self.used.is_zero() && self.held.is_zero()
    }
}

fn record_key(record: u64) -> Vec<u8> {
    [&[1], record.to_be_bytes().as_slice()].concat()
}

/// The beginning of the keys of a scope and all below it; the scope's own go on with 0, the others with 1.
fn path_prefix(resource: u32, path: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(5 + path.len());
    push_prefix(resource, path, &mut prefix);
    prefix
}

fn push_prefix(resource: u32, path: &str, into: &mut Vec<u8>) {
    into.push(2);
    into.extend_from_slice(&resource.to_be_bytes());
    into.extend(path.bytes().map(|byte| if byte == b'/' { 1 } else { byte }));
}

/// The key of what a hold of a consumer, or of an actor where that is empty, takes.
fn amounts_key(resource: u32, path: &str, (consumer, actor): (&str, &str)) -> Vec<u8> {
    let (tag, name) = if consumer.is_empty() { (1, actor) } else { (0, consumer) };
    let mut key = Vec::with_capacity(5 + path.len() + 2 + name.len());
    push_prefix(resource, path, &mut key);
    key.extend_from_slice(&[0, tag]);
    key.extend_from_slice(name.as_bytes());
    key
}

/// A live hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    id: HoldId,
    /// Whose it is: who consumes it, or who reserved it where that is empty.
    consumer: Arc<str>,
    actor: Arc<str>,
    lines: Lines,
}

type Lines = SmallVec<[HeldLine; 1]>;

/// What a hold takes at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeldLine {
    scope: u32,
    resource: u32,
    amounts: Amounts,
}

impl HeldLine {
    fn is_where(&self, other: &Self) -> bool {
        (self.scope, self.resource) == (other.scope, other.resource)
    }
}

impl From<stored::Line<'_>> for HeldLine {
    fn from(line: stored::Line<'_>) -> Self {
        let amounts = Amounts { used: line.used, held: line.held };
        Self { scope: line.scope, resource: line.resource, amounts }
    }
}

impl Held {
    fn decode(message: storage::HeldBy) -> Result<Self, ProjectionError> {
        let line = |line: &storage::HeldLine| {
            let amounts = Amounts { used: decimal(&line.used)?, held: decimal(&line.held)? };
            Ok(HeldLine { scope: line.scope_id, resource: line.resource_id, amounts })
        };
        let lines = message.lines.iter().map(line).collect::<Result<_, ProjectionError>>()?;
        let (consumer, actor) = (message.consumer.into(), message.actor.into());
        Ok(Self { id: message.hold_id, consumer, actor, lines })
    }

    fn encode(&self) -> storage::HeldBy {
        let line = |line: &HeldLine| storage::HeldLine {
            scope_id: line.scope,
            resource_id: line.resource,
            held: number::write(line.amounts.held),
            used: number::write(line.amounts.used),
        };
        storage::HeldBy {
            consumer: self.consumer.as_ref().into(),
            actor: self.actor.as_ref().into(),
            lines: self.lines.iter().map(line).collect(),
            hold_id: self.id,
        }
    }
}

/// Live holds that lie together, ascending.
#[derive(Debug, Default)]
struct Record {
    holds: Vec<Held>,
    /// Whether something is written of it, and whether it has changed since.
    is_written: bool,
    is_changed: bool,
}

impl Record {
    fn read(views: &Views<'_>, number: u64) -> Result<Self, ProjectionError> {
        let Some(message) = views.message::<storage::HeldRecord>(&record_key(number))? else {
            return Ok(Self::default());
        };
        let holds = message.holds.into_iter().map(Held::decode).collect::<Result<_, _>>()?;
        Ok(Self { holds, is_written: true, is_changed: false })
    }

    fn find(&self, hold: HoldId) -> Option<&Held> {
        self.holds.iter().find(|held| held.id == hold)
    }

    fn take(&mut self, hold: HoldId) -> Option<Held> {
        let at = self.holds.iter().position(|held| held.id == hold)?;
        self.is_changed = true;
        Some(self.holds.remove(at))
    }

    fn put(&mut self, held: Held) {
        let at = self.holds.partition_point(|other| other.id < held.id);
        self.holds.insert(at, held);
        self.is_changed = true;
    }
}

/// The fold.
#[derive(Debug)]
pub struct Holders {
    /// What was looked at since the last write: records of holds, and sums by key.
    records: BTreeMap<u64, Record>,
    sums: BTreeMap<Vec<u8>, Amounts>,
    /// The last event that was folded before the last write: of later holds nothing can be written.
    written: Revision,
    /// The last that was folded.
    folded: Revision,
    /// Whether what is consumed of a resource stays consumed, by its number.
    budgets: BTreeMap<u32, bool>,
    /// The last consumer and the last actor: most often the next is the same.
    names: [Arc<str>; 2],
}

impl Default for Holders {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            sums: BTreeMap::new(),
            written: 0,
            folded: 0,
            budgets: BTreeMap::new(),
            names: ["".into(), "".into()],
        }
    }
}

impl Holders {
    /// The record with a hold.
    fn record(&mut self, views: &Views<'_>, hold: HoldId) -> Result<&mut Record, ProjectionError> {
        let number = hold >> HOLD_BITS;
        Ok(match self.records.entry(number) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) if number << HOLD_BITS > self.written => {
                entry.insert(Record::default())
            }
            btree_map::Entry::Vacant(entry) => entry.insert(Record::read(views, number)?),
        })
    }

    fn sum(&mut self, views: &Views<'_>, key: Vec<u8>) -> Result<&mut Amounts, ProjectionError> {
        Ok(match self.sums.entry(key) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => {
                let written = views.message::<storage::HolderAmounts>(entry.key())?;
                let written = written.as_ref().map(amounts).transpose()?;
                entry.insert(written.unwrap_or_default())
            }
        })
    }

    fn add(
        &mut self,
        views: &Views<'_>,
        path: &str,
        (consumer, actor): (&str, &str),
        resource: u32,
        more: Amounts,
    ) -> Result<(), ProjectionError> {
        if !more.is_nothing() {
            let key = amounts_key(resource, path, (consumer, actor));
            self.sum(views, key)?.add(more);
        }
        Ok(())
    }

    fn reserve(
        &mut self,
        views: &Views<'_>,
        event: &Stored<'_>,
        reserved: &stored::Reserved<'_>,
    ) -> Result<(), ProjectionError> {
        let mut lines = Lines::new();
        for line in reserved.lines().iter() {
            let line = line?;
            let more = HeldLine::from(line);
            self.add(views, line.path, (reserved.consumer, event.actor), line.resource, more.amounts)?;
            lines.push(more);
        }
        let [consumer, actor] = &mut self.names;
        let (consumer, actor) = (again(consumer, reserved.consumer), again(actor, event.actor));
        let held = Held { id: event.revision, consumer, actor, lines };
        self.record(views, event.revision)?.put(held);
        Ok(())
    }

    /// Puts other lines in the place of those of a hold.
    fn replace<'a>(
        &mut self,
        views: &Views<'_>,
        event: &Folded<'a>,
        change: &stored::Change<'a>,
        lines: Lines,
    ) -> Result<(), ProjectionError> {
        // Made before the events that there are.
        let Some(mut held) = self.record(views, change.hold)?.take(change.hold) else {
            return Ok(());
        };
        // Only what changes: the scopes of the other lines are not in the event.
        let mut changes = Lines::new();
        for line in &held.lines {
            let now = lines.iter().find(|now| now.is_where(line)).map(|now| now.amounts);
            let mut amounts = now.unwrap_or_default().minus(line.amounts);
            // What was consumed of a budget stays so, whatever becomes of the hold.
            if self.budgets.get(&line.resource).copied().unwrap_or(false) {
                amounts.used = amounts.used.max(Decimal::ZERO);
            }
            changes.push(HeldLine { amounts, ..*line });
        }
        changes.extend(lines.iter().filter(|line| !held.lines.iter().any(|old| old.is_where(line))).copied());
        let all = if planted(Bug::HolderKeeps) { &[] } else { &changes[..] };
        for line in all.iter().filter(|line| !line.amounts.is_nothing()) {
            let path = path_of(event, change, line.scope)?;
            let path =
                path.ok_or_else(|| Corrupt::new(WHAT, "an event does not touch what it takes from"))?;
            self.add(views, path, (&held.consumer, &held.actor), line.resource, line.amounts)?;
        }
        if !lines.is_empty() {
            held.lines = lines;
            self.record(views, change.hold)?.put(held);
        }
        Ok(())
    }

    fn commit<'a>(
        &mut self,
        views: &Views<'_>,
        event: &Folded<'a>,
        change: &stored::Change<'a>,
    ) -> Result<(), ProjectionError> {
        let lines = match &change.after {
            Some(_) => after_lines(change)?,
            None => {
                let Some(held) = self.record(views, change.hold)?.find(change.hold) else {
                    return Ok(());
                };
                let used = |line: &HeldLine| {
                    let amounts = Amounts { used: line.amounts.taken(), held: Decimal::ZERO };
                    HeldLine { amounts, ..*line }
                };
                held.lines.iter().map(used).collect()
            }
        };
        self.replace(views, event, change, lines)
    }

    /// Gives everything below a path that has moved its new keys.
    fn relocate(&mut self, views: &Views<'_>, from: &str, to: &str) -> Result<(), ProjectionError> {
        let resources: Vec<u32> = self.budgets.keys().copied().collect();
        for resource in resources {
            let (old, new) = (path_prefix(resource, from), path_prefix(resource, to));
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let end = [old.as_slice(), &[2]].concat();
            views.scan(&old, &end, &mut |key, _| {
                keys.push(key.to_vec());
                true
            })?;
            let pending = self.sums.range(old.clone()..end).map(|(key, _)| key.clone());
            keys.extend(pending.collect::<Vec<_>>());
            keys.sort_unstable();
            keys.dedup();
            // What only begins with the same letters is another scope.
            for key in keys.into_iter().filter(|key| matches!(key.get(old.len()), Some(0 | 1))) {
                let moved = std::mem::take(self.sum(views, key.clone())?);
                let key = [new.as_slice(), &key[old.len()..]].concat();
                self.sum(views, key)?.add(moved);
            }
        }
        Ok(())
    }
}

/// Where a scope is now; it may have moved since a hold was made. What changes in a line need not change
/// its scope, when another line of the hold changes the other way.
fn path_of<'a>(
    event: &Folded<'a>,
    change: &stored::Change<'a>,
    scope: u32,
) -> Result<Option<&'a str>, ProjectionError> {
    if let Some(touched) = event.touched.iter().find(|touched| touched.scope == scope) {
        return Ok(Some(touched.path));
    }
    for line in change.after.iter().flat_map(stored::Lines::iter) {
        let line = line?;
        if line.scope == scope {
            return Ok(Some(line.path));
        }
    }
    Ok(None)
}

fn after_lines(change: &stored::Change<'_>) -> Result<Lines, ProjectionError> {
    let lines = change.after.iter().flat_map(stored::Lines::iter);
    Ok(lines.map(|line| line.map(HeldLine::from)).collect::<Result<_, _>>()?)
}

fn decimal(text: &str) -> Result<Decimal, ProjectionError> {
    Ok(number::parse("an amount", text).map_err(|error| Corrupt::new(WHAT, error))?)
}

fn amounts(message: &storage::HolderAmounts) -> Result<Amounts, ProjectionError> {
    Ok(Amounts { used: decimal(&message.used)?, held: decimal(&message.held)? })
}

impl Projection for Holders {
    fn about(&self) -> About {
        ABOUT
    }

    fn load(&mut self, views: &Views<'_>) -> Result<(), ProjectionError> {
        *self = Self::default();
        self.written = views.revision()?.unwrap_or(0);
        // Those that are there from the beginning, and those that were registered.
        for (number, resource) in (0..).zip(State::default().resources()) {
            self.budgets.insert(number, resource.kind == ResourceKind::Budget);
        }
        let mut problem = None;
        views.scan(&[3], &[4], &mut |key, value| {
            match (key.get(1..).and_then(|key| key.try_into().ok()).map(u32::from_be_bytes), value) {
                (Some(number), [kind]) => drop(self.budgets.insert(number, *kind == 1)),
                _ => problem = Some(Corrupt::new(WHAT, "a kind of resource makes no sense")),
            }
            problem.is_none()
        })?;
        problem.map_or(Ok(()), |corrupt| Err(corrupt.into()))
    }

    fn fold(&mut self, views: &Views<'_>, event: &Folded<'_>) -> Result<(), ProjectionError> {
        self.folded = event.stored.revision;
        match &event.happened {
            Happened::ResourceRegistered(body) => {
                let kind = body.resource.as_ref().map(v1::Resource::kind);
                self.budgets.insert(body.resource_id, kind == Some(v1::ResourceKind::Budget));
                Ok(())
            }
            Happened::ScopeMoved(body) => self.relocate(views, &body.from, &body.to),
            Happened::Reserved(reserved) => self.reserve(views, &event.stored, reserved),
            Happened::Committed(change) => self.commit(views, event, change),
            Happened::Released(change) | Happened::Expired(change) | Happened::Resized(change) => {
                self.replace(views, event, change, after_lines(change)?)
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, _: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError> {
        for (number, record) in std::mem::take(&mut self.records) {
            match record {
                Record { is_changed: false, .. } => {}
                Record { holds, is_written: false, .. } if holds.is_empty() => {}
                Record { holds, .. } if holds.is_empty() => batch.delete(&record_key(number)),
                Record { holds, .. } => {
                    let holds = holds.iter().map(Held::encode).collect();
                    batch.put_message(&record_key(number), &storage::HeldRecord { holds });
                }
            }
        }
        self.written = self.written.max(self.folded);
        for (key, amounts) in std::mem::take(&mut self.sums) {
            if amounts.is_nothing() {
                batch.delete(&key);
            } else {
                let message = storage::HolderAmounts {
                    used: number::write(amounts.used),
                    held: number::write(amounts.held),
                };
                batch.put_message(&key, &message);
            }
        }
        for (number, is_budget) in &self.budgets {
            batch.put(&[&[3], number.to_be_bytes().as_slice()].concat(), vec![u8::from(*is_budget)]);
        }
        Ok(())
    }
}

/// Those who take most of a resource at and below a scope, the largest first; of equal ones consumers
/// before actors, each in the order of their names. Only those behind `after`, which is what somebody took
/// and who that was. Also tells whether there are more.
pub fn largest(
    store: &dyn StateStore,
    scope: &Path,
    resource: ResourceId,
    after: Option<&(Decimal, Holder)>,
    count: usize,
) -> Result<(Vec<(Holder, Amounts)>, bool), ProjectionError> {
    let views = Views::new(store, ABOUT);
    let prefix = path_prefix(resource.0, scope.as_str());
    let mut sums: BTreeMap<Holder, Amounts> = BTreeMap::new();
    let mut problem = None;
    // Its own keys and those below it, but not those of scopes with a longer name.
    views.scan(&[&prefix[..], &[0]].concat(), &[&prefix[..], &[2]].concat(), &mut |key, value| {
        // Behind the path, in which there is no 0.
        let end = key[prefix.len()..].iter().position(|byte| *byte == 0).map(|at| at + prefix.len());
        let holder = end.and_then(|end| Holder::from_bytes(&key[end + 1..]));
        let value = local::message::<storage::HolderAmounts>(WHAT, value);
        match (holder, value) {
            (Some(holder), Ok(message)) => match amounts(&message) {
                Ok(amounts) => sums.entry(holder).or_default().add(amounts),
                Err(error) => problem = Some(error),
            },
            (None, _) => problem = Some(Corrupt::new(WHAT, "its key names nobody").into()),
            (_, Err(corrupt)) => problem = Some(corrupt.into()),
        }
        problem.is_none()
    })?;
    if let Some(error) = problem {
        return Err(error);
    }
    let is_behind = |(holder, amounts): &(Holder, Amounts)| {
        after.is_none_or(|(taken, last)| (Reverse(amounts.taken()), holder) > (Reverse(*taken), last))
    };
    let mut holders: Vec<_> = sums.into_iter().filter(is_behind).collect();
    holders.sort_by_key(|(_, amounts)| Reverse(amounts.taken()));
    let has_more = holders.len() > count;
    holders.truncate(count);
    Ok((holders, has_more))
}
