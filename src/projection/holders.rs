//! Holders: who takes how much of a resource where, by consumer, or by actor where a hold names no
//! consumer.
//!
//! What a hold takes is counted at the scope of its line alone; what is taken below a scope is the sum
//! over a run of keys. A scope that moves takes its keys along.
//!
//! | key | value |
//! |---|---|
//! | 1; hold, 8 bytes | `HeldBy`: a live hold |
//! | 2; resource, 4 bytes; path; 0; 0 and a consumer, or 1 and an actor | `HolderAmounts` |
//! | 3; resource, 4 bytes | 1 byte: whether it is a budget |
//!
//! In paths '/' is written as the byte 1: so the keys of everything below a scope follow its own.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::About;
use super::Folded;
use super::Projection;
use super::ProjectionError;
use super::views::ViewBatch;
use super::views::Views;
use crate::codec::Corrupt;
use crate::codec::local;
use crate::codec::number;
use crate::ledger::HoldId;
use crate::ledger::Path;
use crate::ledger::ResourceId;
use crate::ledger::ResourceKind;
use crate::ledger::State;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;
use crate::proto::v1::event::Body;
use crate::store::StateStore;

/// What it is.
pub const ABOUT: About =
    About { name: "holders", purpose: "who takes how much of each quota", number: 0x14, version: 1 };

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

fn hold_key(hold: HoldId) -> Vec<u8> {
    [&[1], hold.to_be_bytes().as_slice()].concat()
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

/// The fold.
#[derive(Debug, Default)]
pub struct Holders {
    /// What changed since the last write: live holds (`None` when closed), and sums by key.
    holds: BTreeMap<HoldId, Option<storage::HeldBy>>,
    sums: BTreeMap<Vec<u8>, Amounts>,
    /// Whether what is consumed of a resource stays consumed, by its number.
    budgets: BTreeMap<u32, bool>,
}

impl Holders {
    fn hold(&self, views: &Views<'_>, hold: HoldId) -> Result<Option<storage::HeldBy>, ProjectionError> {
        match self.holds.get(&hold) {
            Some(pending) => Ok(pending.clone()),
            None => views.message(&hold_key(hold)),
        }
    }

    fn sum(&mut self, views: &Views<'_>, key: Vec<u8>) -> Result<&mut Amounts, ProjectionError> {
        Ok(match self.sums.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let written = views.message::<storage::HolderAmounts>(entry.key())?;
                let written = written.as_ref().map(amounts).transpose()?;
                entry.insert(written.unwrap_or_default())
            }
        })
    }

    fn add(
        &mut self,
        views: &Views<'_>,
        event: &v1::Event,
        held: &storage::HeldBy,
        line: &storage::HeldLine,
        more: Amounts,
    ) -> Result<(), ProjectionError> {
        if more.is_nothing() {
            return Ok(());
        }
        let path = path_of(event, line.scope_id);
        let path = path.ok_or_else(|| Corrupt::new(WHAT, "an event does not touch what it takes from"))?;
        let key = amounts_key(line.resource_id, path, (&held.consumer, &held.actor));
        self.sum(views, key)?.add(more);
        Ok(())
    }

    fn reserve(
        &mut self,
        views: &Views<'_>,
        event: &v1::Event,
        body: &v1::Reserved,
    ) -> Result<(), ProjectionError> {
        let held = storage::HeldBy {
            consumer: body.consumer.clone(),
            actor: event.actor.clone(),
            lines: body.lines.iter().map(held_line).collect(),
        };
        for line in &held.lines {
            self.add(views, event, &held, line, line_amounts(line)?)?;
        }
        self.holds.insert(event.revision, Some(held));
        Ok(())
    }

    /// Puts other lines in the place of those of a hold.
    fn replace(
        &mut self,
        views: &Views<'_>,
        event: &v1::Event,
        hold: HoldId,
        lines: Vec<storage::HeldLine>,
    ) -> Result<(), ProjectionError> {
        let held = self.hold(views, hold)?;
        // Made before the events that there are.
        let Some(mut held) = held else {
            return Ok(());
        };
        // Only what changes: the scopes of the other lines are not in the event.
        for line in &held.lines {
            let now = lines.iter().find(|now| same(now, line)).map(line_amounts).transpose()?;
            let mut change = now.unwrap_or_default().minus(line_amounts(line)?);
            // What was consumed of a budget stays so, whatever becomes of the hold.
            if self.budgets.get(&line.resource_id).copied().unwrap_or(false) {
                change.used = change.used.max(Decimal::ZERO);
            }
            self.add(views, event, &held, line, change)?;
        }
        for line in lines.iter().filter(|line| !held.lines.iter().any(|before| same(before, line))) {
            self.add(views, event, &held, line, line_amounts(line)?)?;
        }
        let is_closed = lines.is_empty();
        held.lines = lines;
        self.holds.insert(hold, (!is_closed).then_some(held));
        Ok(())
    }

    fn commit(
        &mut self,
        views: &Views<'_>,
        event: &v1::Event,
        body: &v1::Committed,
    ) -> Result<(), ProjectionError> {
        let lines = match &body.after {
            Some(after) => after.lines.iter().map(held_line).collect(),
            None => {
                let Some(held) = self.hold(views, body.hold_id)? else { return Ok(()) };
                let all_used = held.lines.into_iter().map(|line| {
                    let used = line_amounts(&line)?.taken();
                    Ok(storage::HeldLine { used: number::write(used), held: "0".to_owned(), ..line })
                });
                all_used.collect::<Result<_, ProjectionError>>()?
            }
        };
        self.replace(views, event, body.hold_id, lines)
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
fn path_of(event: &v1::Event, scope: u32) -> Option<&str> {
    let after = match &event.body {
        Some(Body::Committed(body)) => body.after.as_ref(),
        Some(Body::Released(body)) => body.after.as_ref(),
        Some(Body::Expired(body)) => body.after.as_ref(),
        Some(Body::Resized(body)) => body.after.as_ref(),
        _ => None,
    };
    let lines = match &event.body {
        Some(Body::Reserved(body)) => body.lines.as_slice(),
        _ => after.map_or(&[][..], |after| after.lines.as_slice()),
    };
    let touched = event.touched.iter().map(|touched| (touched.scope_id, touched.scope.as_str()));
    let named = lines.iter().map(|line| (line.scope_id, line.scope.as_str()));
    touched.chain(named).find(|(id, _)| *id == scope).map(|(_, path)| path)
}

fn same(one: &storage::HeldLine, other: &storage::HeldLine) -> bool {
    (one.scope_id, one.resource_id) == (other.scope_id, other.resource_id)
}

fn held_line(line: &v1::EventLine) -> storage::HeldLine {
    storage::HeldLine {
        scope_id: line.scope_id,
        resource_id: line.resource_id,
        held: line.held.clone(),
        used: line.used.clone(),
    }
}

fn after_lines(after: Option<&v1::HoldAfter>) -> Vec<storage::HeldLine> {
    after.into_iter().flat_map(|after| &after.lines).map(held_line).collect()
}

fn decimal(text: &str) -> Result<Decimal, ProjectionError> {
    Ok(number::parse("an amount", text).map_err(|error| Corrupt::new(WHAT, error))?)
}

fn line_amounts(line: &storage::HeldLine) -> Result<Amounts, ProjectionError> {
    Ok(Amounts { used: decimal(&line.used)?, held: decimal(&line.held)? })
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
        let message = event.message;
        match &message.body {
            Some(Body::ResourceRegistered(body)) => {
                let kind = body.resource.as_ref().map(v1::Resource::kind);
                self.budgets.insert(body.resource_id, kind == Some(v1::ResourceKind::Budget));
                Ok(())
            }
            Some(Body::ScopeMoved(body)) => self.relocate(views, &body.from, &body.to),
            Some(Body::Reserved(body)) => self.reserve(views, message, body),
            Some(Body::Committed(body)) => self.commit(views, message, body),
            Some(Body::Released(body)) => {
                self.replace(views, message, body.hold_id, after_lines(body.after.as_ref()))
            }
            Some(Body::Expired(body)) => {
                self.replace(views, message, body.hold_id, after_lines(body.after.as_ref()))
            }
            Some(Body::Resized(body)) => {
                self.replace(views, message, body.hold_id, after_lines(body.after.as_ref()))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, _: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError> {
        for (hold, held) in std::mem::take(&mut self.holds) {
            match held {
                Some(held) => batch.put_message(&hold_key(hold), &held),
                None => batch.delete(&hold_key(hold)),
            }
        }
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

/// Those who take most of a resource at and below a scope, the largest first; of equal ones in the order
/// of their names.
pub fn largest(
    store: &dyn StateStore,
    scope: &Path,
    resource: ResourceId,
    count: usize,
) -> Result<Vec<(Holder, Amounts)>, ProjectionError> {
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
    let mut holders: Vec<_> = sums.into_iter().collect();
    holders.sort_by_key(|(_, amounts)| std::cmp::Reverse(amounts.taken()));
    holders.truncate(count);
    Ok(holders)
}
