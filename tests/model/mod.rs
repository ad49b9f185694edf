//! A second ledger, as naive as possible: it shares the command types with the real one, and
//! nothing else.
//!
//! Limits are a flat map. There are no counters: use is summed over all holds that ever were, each
//! time it is asked for. Numbers are `i128` in units of 10^-18. Nothing is fast, and nothing is
//! kept that could be computed.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use quorate::ledger::Command;
use quorate::ledger::Request;
use quorate::ledger::ResourceKind;
use quorate::ledger::command::NewLimit;
use rust_decimal::Decimal;

const WINDOW_MS: u64 = 3_600_000;
const AHEAD_MS: u64 = 60_000;
const MAX: i128 = 10i128.pow(36);

/// (path, resource).
pub type Place = (String, String);

/// What the ledger must answer. Texts for people are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Hold(u64),
    Version(u64),
    Done,
    Malformed(String),
    UnknownScopes(Vec<String>),
    UnknownResources(Vec<String>),
    UnknownQuotas(Vec<Place>),
    UnknownHold(u64),
    ScopeExists(String),
    ResourceExists(String),
    HoldClosed { hold: u64, state: Life, revision: u64 },
    Locked(Vec<(Place, String, String)>),
    VersionMismatch(Place, u64, u64),
    SequenceMismatch(Vec<(Place, u64, u64)>),
    LimitConflict(Place, Place),
    Uncountable(Vec<Place>),
    Denied(Vec<Blocked>),
    Reused(u64),
    Expired(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    pub place: Place,
    pub limit: i128,
    pub used: i128,
    pub held: i128,
    pub requested: i128,
    pub shortfall: i128,
    pub waiting_can_help: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Held,
    Committed,
    Released,
}

/// An answer, and the revision that comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub revision: u64,
    pub replayed: bool,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    Amount(i128),
    Unlimited,
    Inherit,
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub ceiling: Ceiling,
    pub version: u64,
    /// Reason and actor.
    pub lock: Option<(String, String)>,
}

#[derive(Debug, Clone)]
struct Kind {
    decimals: u32,
    budget: bool,
}

#[derive(Debug, Clone)]
struct Taking {
    id: u64,
    life: Life,
    committed_once: bool,
    last: u64,
    lines: Vec<(Place, i128)>,
}

#[derive(Debug, Default)]
pub struct Model {
    pub time: u64,
    pub revision: u64,
    /// The time of the last event: what was too old then is forgotten.
    event_time: u64,
    /// In the order of creation.
    pub scopes: Vec<String>,
    /// In the order of registration.
    pub resources: Vec<String>,
    kinds: BTreeMap<String, Kind>,
    pub policies: BTreeMap<Place, Policy>,
    /// How many events touched it.
    pub touches: BTreeMap<Place, u64>,
    takings: Vec<Taking>,
    decided: BTreeMap<[u8; 16], ([u8; 16], u64, Answer)>,
}

impl Model {
    pub fn register(&mut self, name: &str, decimals: u32, budget: bool) {
        self.resources.push(name.into());
        self.kinds.insert(name.into(), Kind { decimals, budget });
    }

    /// Committed and reserved use of a resource at and below a path.
    pub fn use_at(&self, path: &str, resource: &str) -> (i128, i128) {
        let (mut used, mut held) = (0, 0);
        for taking in &self.takings {
            for ((scope, name), amount) in &taking.lines {
                if name != resource || !is_at_or_below(scope, path) {
                    continue;
                }
                match taking.life {
                    Life::Held => held += amount,
                    Life::Committed => used += amount,
                    Life::Released if taking.committed_once && self.kinds[name].budget => used += amount,
                    Life::Released => {}
                }
            }
        }
        (used, held)
    }

    pub fn holds(&self) -> Vec<u64> {
        self.takings.iter().map(|taking| taking.id).collect()
    }

    pub fn version(&self, place: &Place) -> u64 {
        self.policies.get(place).map_or(0, |policy| policy.version)
    }

    pub fn sequence(&self, place: &Place) -> u64 {
        self.touches.get(place).copied().unwrap_or(0)
    }

    /// One request of an entry whose time is `self.time`.
    pub fn step(&mut self, request: &Request) -> Reply {
        let id = request.id.to_bytes();
        let made_ms = request.id.time_ms();
        let oldest_remembered = self.event_time.saturating_sub(WINDOW_MS);
        if let Some((fingerprint, revision, answer)) = self.decided.get(&id)
            && made_ms >= oldest_remembered
        {
            let replayed = *fingerprint == request.fingerprint;
            let answer = if replayed { answer.clone() } else { Answer::Reused(*revision) };
            return Reply { revision: *revision, replayed, answer };
        }
        let unseen = |answer| Reply { revision: self.revision, replayed: false, answer };
        let oldest = self.time.saturating_sub(WINDOW_MS);
        if made_ms < oldest {
            return unseen(Answer::Expired(oldest));
        }
        if made_ms > self.time + AHEAD_MS {
            return unseen(Answer::Malformed("request_id".into()));
        }
        self.revision += 1;
        self.event_time = self.time;
        let answer = self.decide(&request.command, &request.actor).unwrap_or_else(|refusal| refusal);
        self.decided.insert(id, (request.fingerprint, self.revision, answer.clone()));
        Reply { revision: self.revision, replayed: false, answer }
    }

    fn decide(&mut self, command: &Command, actor: &str) -> Result<Answer, Answer> {
        match command {
            Command::CreateScope(command) => self.create_scope(command.path.as_str()),
            Command::RegisterResource(resource) => {
                let name = resource.name.as_str();
                if self.kinds.contains_key(name) {
                    return Err(Answer::ResourceExists(name.into()));
                }
                self.register(name, resource.decimals.into(), resource.kind == ResourceKind::Budget);
                Ok(Answer::Done)
            }
            Command::SetQuota(command) => {
                let place = (command.scope.to_string(), command.resource.to_string());
                let ceiling = match command.limit {
                    NewLimit::Amount(number) => {
                        self.check_number(number, &place.1, "limit.amount")?;
                        Ceiling::Amount(units(number))
                    }
                    NewLimit::Unlimited => Ceiling::Unlimited,
                    NewLimit::Inherit => Ceiling::Inherit,
                };
                self.check_known(&place)?;
                self.check_version(&place, command.if_version)?;
                self.set(place, ceiling)
            }
            Command::AdjustQuota(command) => {
                let place = (command.scope.to_string(), command.resource.to_string());
                self.check_number(command.delta.abs(), &place.1, "delta")?;
                self.check_policy(&place, command.if_version)?;
                let conflict = Err(Answer::LimitConflict(place.clone(), place.clone()));
                let Ceiling::Amount(now) = self.policies[&place].ceiling else { return conflict };
                let after = now + units(command.delta);
                if !(0..=MAX).contains(&after) || !self.countable(after, &place.1) {
                    return conflict;
                }
                self.set(place, Ceiling::Amount(after))
            }
            Command::LockQuota(command) => {
                let place = (command.scope.to_string(), command.resource.to_string());
                self.check_policy(&place, command.if_version)?;
                let lock = (command.reason.to_string(), actor.to_string());
                Ok(self.change_lock(place, Some(lock)))
            }
            Command::UnlockQuota(command) => {
                let place = (command.scope.to_string(), command.resource.to_string());
                self.check_policy(&place, command.if_version)?;
                Ok(self.change_lock(place, None))
            }
            Command::Reserve(command) => {
                let lines: Vec<_> = command
                    .lines()
                    .iter()
                    .map(|line| {
                        let place = (line.scope.to_string(), line.resource.to_string());
                        (place, line.amount, line.if_sequence)
                    })
                    .collect();
                self.reserve(&lines)
            }
            Command::Commit(hold) => self.commit(*hold),
            Command::Release(hold) => self.release(*hold),
        }
    }

    fn create_scope(&mut self, path: &str) -> Result<Answer, Answer> {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.has_scope(parent)
        {
            return Err(Answer::UnknownScopes(vec![parent.into()]));
        }
        if self.has_scope(path) {
            return Err(Answer::ScopeExists(path.into()));
        }
        self.scopes.push(path.into());
        Ok(Answer::Done)
    }

    fn set(&mut self, place: Place, ceiling: Ceiling) -> Result<Answer, Answer> {
        let (path, resource) = &place;
        let above = ancestors(path).into_iter().rev().skip(1).find_map(|above| {
            let above = (above, resource.clone());
            match self.policies.get(&above)?.ceiling {
                Ceiling::Amount(limit) => Some((above, limit)),
                _ => None,
            }
        });
        if let Some((above, limit)) = above {
            let fits = match ceiling {
                Ceiling::Amount(amount) => amount <= limit,
                Ceiling::Unlimited => false,
                Ceiling::Inherit => true,
            };
            if !fits {
                return Err(Answer::LimitConflict(place, above));
            }
        }
        if let Ceiling::Amount(amount) = ceiling {
            let mut below: Vec<&String> =
                self.scopes.iter().filter(|scope| *scope != path && is_at_or_below(scope, path)).collect();
            below.sort_by_key(|scope| scope.split('/').collect::<Vec<_>>());
            for scope in below {
                let below = (scope.clone(), resource.clone());
                let fits = match self.policies.get(&below).map(|policy| policy.ceiling) {
                    Some(Ceiling::Amount(limit)) => limit <= amount,
                    Some(Ceiling::Unlimited) => false,
                    Some(Ceiling::Inherit) | None => true,
                };
                if !fits {
                    return Err(Answer::LimitConflict(place, below));
                }
            }
        }
        *self.touches.entry(place.clone()).or_default() += 1;
        let policy = self.policies.entry(place).or_insert(Policy { ceiling, version: 0, lock: None });
        policy.ceiling = ceiling;
        policy.version += 1;
        Ok(Answer::Version(policy.version))
    }

    fn change_lock(&mut self, place: Place, lock: Option<(String, String)>) -> Answer {
        let policy = self.policies.get_mut(&place).expect("checked");
        if policy.lock.is_some() != lock.is_some() {
            policy.lock = lock;
            policy.version += 1;
            *self.touches.entry(place).or_default() += 1;
        }
        Answer::Version(policy.version)
    }

    fn reserve(&mut self, lines: &[(Place, Decimal, Option<u64>)]) -> Result<Answer, Answer> {
        for (position, (place, amount, _)) in lines.iter().enumerate() {
            self.check_number(*amount, &place.1, &format!("lines[{position}].amount"))?;
        }
        let mut unknown = Vec::new();
        for ((path, _), _, _) in lines {
            if !self.has_scope(path) && !unknown.contains(path) {
                unknown.push(path.clone());
            }
        }
        if !unknown.is_empty() {
            return Err(Answer::UnknownScopes(unknown));
        }
        for ((_, resource), _, _) in lines {
            if !self.kinds.contains_key(resource) && !unknown.contains(resource) {
                unknown.push(resource.clone());
            }
        }
        if !unknown.is_empty() {
            return Err(Answer::UnknownResources(unknown));
        }
        let lines: Vec<(Place, i128, Option<u64>)> = lines
            .iter()
            .map(|(place, amount, sequence)| (place.clone(), units(*amount), *sequence))
            .collect();
        let places = self.places(lines.iter().map(|(place, _, _)| place));
        let asked = |(path, resource): &Place| -> i128 {
            let here = |line: &&(Place, i128, _)| line.0.1 == *resource && is_at_or_below(&line.0.0, path);
            lines.iter().filter(here).map(|line| line.1).sum()
        };
        if places.iter().any(|place| !self.countable(asked(place), &place.1)) {
            return Err(Answer::Malformed("lines".into()));
        }
        let silent = |place: &Place| {
            !ancestors(&place.0).into_iter().any(|path| {
                let policy = self.policies.get(&(path, place.1.clone()));
                policy.is_some_and(|policy| policy.ceiling != Ceiling::Inherit)
            })
        };
        let silent: Vec<Place> =
            lines.iter().map(|(place, _, _)| place).filter(|place| silent(place)).cloned().collect();
        if !silent.is_empty() {
            return Err(Answer::UnknownQuotas(silent));
        }
        let locked: Vec<_> = places
            .iter()
            .filter_map(|place| {
                let (reason, actor) = self.policies.get(place)?.lock.clone()?;
                Some((place.clone(), reason, actor))
            })
            .collect();
        if !locked.is_empty() {
            return Err(Answer::Locked(locked));
        }
        let stale: Vec<_> = lines
            .iter()
            .filter_map(|(place, _, expected)| Some((place.clone(), (*expected)?, self.sequence(place))))
            .filter(|(_, expected, actual)| expected != actual)
            .collect();
        if !stale.is_empty() {
            return Err(Answer::SequenceMismatch(stale));
        }
        self.check_room(&places, asked)?;
        for place in places {
            *self.touches.entry(place).or_default() += 1;
        }
        self.takings.push(Taking {
            id: self.revision,
            life: Life::Held,
            committed_once: false,
            last: self.revision,
            lines: lines.into_iter().map(|(place, amount, _)| (place, amount)).collect(),
        });
        Ok(Answer::Hold(self.revision))
    }

    fn check_room(&self, places: &[Place], asked: impl Fn(&Place) -> i128) -> Result<(), Answer> {
        let mut blocked = Vec::new();
        let mut uncountable = Vec::new();
        for place in places {
            let (used, held) = self.use_at(&place.0, &place.1);
            let requested = asked(place);
            let after = used + held + requested;
            match self.policies.get(place).map(|policy| policy.ceiling) {
                Some(Ceiling::Amount(limit)) if after > limit => {
                    if !self.countable(after - limit, &place.1) {
                        uncountable.push(place.clone());
                        continue;
                    }
                    let spent = if self.kinds[&place.1].budget { used } else { 0 };
                    blocked.push(Blocked {
                        place: place.clone(),
                        limit,
                        used,
                        held,
                        requested,
                        shortfall: after - limit,
                        waiting_can_help: spent + requested <= limit,
                    });
                }
                _ if !self.countable(after, &place.1) => uncountable.push(place.clone()),
                _ => {}
            }
        }
        if !uncountable.is_empty() {
            return Err(Answer::Uncountable(uncountable));
        }
        if blocked.is_empty() { Ok(()) } else { Err(Answer::Denied(blocked)) }
    }

    fn commit(&mut self, id: u64) -> Result<Answer, Answer> {
        let position = self.find_hold(id)?;
        let taking = &mut self.takings[position];
        if taking.life != Life::Held {
            return Err(Answer::HoldClosed { hold: id, state: taking.life, revision: taking.last });
        }
        taking.life = Life::Committed;
        taking.committed_once = true;
        taking.last = self.revision;
        let lines = taking.lines.clone();
        for place in self.places(lines.iter().map(|(place, _)| place)) {
            *self.touches.entry(place).or_default() += 1;
        }
        Ok(Answer::Done)
    }

    fn release(&mut self, id: u64) -> Result<Answer, Answer> {
        let position = self.find_hold(id)?;
        let taking = &mut self.takings[position];
        if taking.life == Life::Released {
            return Err(Answer::HoldClosed { hold: id, state: taking.life, revision: taking.last });
        }
        taking.life = Life::Released;
        taking.last = self.revision;
        let (lines, consumed) = (taking.lines.clone(), taking.committed_once);
        for place in self.places(lines.iter().map(|(place, _)| place)) {
            if !(consumed && self.kinds[&place.1].budget) {
                *self.touches.entry(place).or_default() += 1;
            }
        }
        Ok(Answer::Done)
    }

    fn find_hold(&self, id: u64) -> Result<usize, Answer> {
        self.takings.iter().position(|taking| taking.id == id).ok_or(Answer::UnknownHold(id))
    }

    /// Everything that lines touch: from the root down, older scopes and resources first.
    fn places<'a>(&self, lines: impl Iterator<Item = &'a Place>) -> Vec<Place> {
        let touched: BTreeSet<Place> = lines
            .flat_map(|(path, resource)| ancestors(path).into_iter().map(|path| (path, resource.clone())))
            .collect();
        let mut touched: Vec<Place> = touched.into_iter().collect();
        let age = |all: &[String], name: &String| all.iter().position(|other| other == name);
        touched.sort_by_key(|(path, resource)| {
            (path.matches('/').count(), age(&self.scopes, path), age(&self.resources, resource))
        });
        touched
    }

    fn has_scope(&self, path: &str) -> bool {
        self.scopes.iter().any(|scope| scope == path)
    }

    fn check_known(&self, place: &Place) -> Result<(), Answer> {
        if !self.has_scope(&place.0) {
            return Err(Answer::UnknownScopes(vec![place.0.clone()]));
        }
        if !self.kinds.contains_key(&place.1) {
            return Err(Answer::UnknownResources(vec![place.1.clone()]));
        }
        Ok(())
    }

    fn check_policy(&self, place: &Place, if_version: Option<u64>) -> Result<(), Answer> {
        self.check_known(place)?;
        if !self.policies.contains_key(place) {
            return Err(Answer::UnknownQuotas(vec![place.clone()]));
        }
        self.check_version(place, if_version)
    }

    fn check_version(&self, place: &Place, if_version: Option<u64>) -> Result<(), Answer> {
        match if_version {
            Some(expected) if expected != self.version(place) => {
                Err(Answer::VersionMismatch(place.clone(), expected, self.version(place)))
            }
            _ => Ok(()),
        }
    }

    fn check_number(&self, number: Decimal, resource: &str, field: &str) -> Result<(), Answer> {
        let Some(kind) = self.kinds.get(resource) else { return Ok(()) };
        let fits = units(number) % 10i128.pow(18 - kind.decimals) == 0;
        if fits && self.countable(units(number), resource) {
            Ok(())
        } else {
            Err(Answer::Malformed(field.into()))
        }
    }

    /// Whether a number fits the 96 bits of a decimal at the scale of a resource.
    fn countable(&self, units: i128, resource: &str) -> bool {
        units / 10i128.pow(18 - self.kinds[resource].decimals) < 1 << 96
    }
}

/// A number in units of 10^-18; at most 10^18 times a few.
pub fn units(number: Decimal) -> i128 {
    let number = number.normalize();
    number.mantissa() * 10i128.pow(18 - number.scale())
}

pub fn is_at_or_below(path: &str, above: &str) -> bool {
    path == above || path.starts_with(&format!("{above}/"))
}

/// A path and all above it, from the root down.
pub fn ancestors(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(position, _)| position).chain([path.len()]);
    ends.map(|end| path[..end].to_string()).collect()
}
