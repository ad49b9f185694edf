//! Reservations, and what becomes of them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use quorate::ledger::Grant;
use quorate::ledger::Granted;
use quorate::ledger::HoldState;
use quorate::ledger::Rejection;
use quorate::ledger::command::Commit;
use quorate::ledger::command::HoldAmount;
use quorate::ledger::command::Mode;
use quorate::ledger::command::Release;
use quorate::ledger::command::Renew;
use quorate::ledger::command::Reserve;
use quorate::ledger::command::Resize;
use quorate::ledger::outcome::Details;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::rejection::Mismatch;
use quorate::ledger::rejection::TooSmall;

use super::policy::place_of;
use super::room::Overruns;
use super::room::warnings;
use super::world::Cap;
use super::world::Happened;
use super::world::Hold;
use super::world::Part;
use super::world::Place;
use super::world::World;
use super::world::places_up;
use super::world::quota_name;

impl World {
    pub fn reserve(&mut self, command: &Reserve, actor: &str) -> Result<Grant, Rejection> {
        let lines: Vec<Place> =
            command.lines().iter().map(|line| place_of(&line.scope, &line.resource)).collect();
        let mut amounts = Vec::new();
        for (position, (line, place)) in command.lines().iter().zip(&lines).enumerate() {
            if self.kind(&place.1).is_none() {
                continue;
            }
            let read = |number, name| self.read(number, &place.1, &format!("lines[{position}].{name}"));
            let amount = read(line.amount, "amount")?;
            let minimum = line.minimum.map(|least| read(least, "minimum")).transpose()?;
            amounts.push((amount, minimum.unwrap_or(amount)));
        }
        self.unknown_scopes(lines.iter().map(|(path, _)| path.as_str()))?;
        self.unknown_resources(lines.iter().map(|(_, resource)| resource.as_str()))?;
        let all: Vec<i128> = amounts.iter().map(|(amount, _)| *amount).collect();
        self.check_limited(&lines)?;
        self.check_locks(lines.iter().flat_map(places_up))?;
        let expected = command.lines().iter().zip(&lines);
        let expected =
            expected.filter_map(|(line, place)| Some((place, line.if_sequence?, self.sequence(place))));
        let stale: Vec<_> = expected
            .filter(|(_, expected, actual)| expected != actual)
            .map(|(place, expected, actual)| Mismatch { quota: quota_name(place), expected, actual })
            .collect();
        if !stale.is_empty() {
            return Err(Rejection::SequenceMismatch(stale));
        }
        let ttl_ms = if command.commit { None } else { self.ttl(&lines, command.ttl_ms)? };
        let granted =
            if command.mode == Mode::Partial { self.what_fits(&lines, &amounts) } else { all.clone() };
        let overruns = self.judge(&growth_of(&lines, &granted), command.mode == Mode::Force, None)?;
        let before = self.counters();
        self.count(&overruns);
        let mut parts: Vec<Part> = Vec::new();
        for (place, amount) in lines.iter().zip(&granted) {
            let (held, used) = if command.commit { (0, *amount) } else { (*amount, 0) };
            match parts.iter_mut().find(|part| part.place == *place) {
                Some(part) => (part.held, part.used) = (part.held + held, part.used + used),
                None => parts.push(Part { place: place.clone(), held, used }),
            }
        }
        let id = self.revision + 1;
        let expires_at = ttl_ms.map(|ttl_ms| self.now.saturating_add(ttl_ms));
        let (created_at, actor, tags) = (self.now, actor.to_string(), command.tags.clone());
        self.holds.insert(id, Hold { parts, created_at, expires_at, revision: id, actor, tags });
        let numbers =
            lines.iter().zip(&granted).map(|((_, resource), amount)| self.number(*amount, resource));
        let details = Details {
            granted: (granted != all).then(|| numbers.collect()),
            warnings: warnings(&overruns),
            parts: Vec::new(),
        };
        self.happen(Happened { overruns, ..Happened::new("Reserved") }, &[], &before);
        Ok(Grant::new(Granted::Hold { hold: id, expires_at: expires_at.and_then(NonZeroU64::new) }, details))
    }

    /// Somebody must have said a limit above each of these lines.
    fn check_limited(&self, lines: &[Place]) -> Result<(), Rejection> {
        let says_nothing =
            |place: &Place| self.quotas.get(place).is_none_or(|quota| quota.hard() == Cap::Inherit);
        let mut silent = Vec::new();
        for line in lines.iter().filter(|line| places_up(line).iter().all(says_nothing)) {
            if !silent.contains(&quota_name(line)) {
                silent.push(quota_name(line));
            }
        }
        if silent.is_empty() { Ok(()) } else { Err(Rejection::UnknownQuotas(silent)) }
    }

    /// Of each line what there is room for after those before it; of one that gets less than it
    /// needs, what it needs, so that it is denied.
    fn what_fits(&self, lines: &[Place], amounts: &[(i128, i128)]) -> Vec<i128> {
        let mut granted: Vec<i128> = Vec::new();
        for (line, (amount, minimum)) in lines.iter().zip(amounts) {
            let so_far = growth_of(lines, &granted);
            let room = |place: &Place| {
                let (limit, _) =
                    self.ceiling(place).filter(|_| self.enforcement(place) == Enforcement::Enforce)?;
                let (used, held) = self.taken(place);
                Some((limit - used - held - so_far.get(place).copied().unwrap_or(0)).max(0))
            };
            let fits = places_up(line).iter().filter_map(room).fold(*amount, i128::min);
            granted.push(fits.max(*minimum));
        }
        granted
    }

    /// How long a hold with these lines may live.
    fn ttl(&self, lines: &[Place], asked: Option<u64>) -> Result<Option<u64>, Rejection> {
        let places = self.in_order(lines.iter().flat_map(places_up));
        let policies = || places.iter().filter_map(|place| Some((place, &self.quotas.get(place)?.policy)));
        let Some(asked_ms) = asked else {
            return Ok(policies()
                .filter_map(|(_, policy)| policy.default_ttl_ms.or(policy.max_ttl_ms))
                .min());
        };
        let maxima = policies().filter_map(|(place, policy)| Some((policy.max_ttl_ms?, place)));
        match maxima.min_by_key(|(maximum_ms, _)| *maximum_ms) {
            Some((maximum_ms, place)) if asked_ms > maximum_ms => {
                Err(Rejection::TtlTooLong { quota: quota_name(place), maximum_ms, asked_ms })
            }
            _ => Ok(asked),
        }
    }

    /// A hold that is not past its end.
    fn live_hold(&self, id: u64) -> Result<&Hold, Rejection> {
        if let Some((state, revision)) = self.closed.get(&id) {
            return Err(Rejection::HoldClosed { hold: id, state: *state, revision: *revision });
        }
        let hold = self.holds.get(&id).ok_or(Rejection::UnknownHold(id))?;
        match hold.expires_at {
            Some(end) if self.now >= end => {
                Err(Rejection::HoldClosed { hold: id, state: HoldState::Expired, revision: hold.revision })
            }
            _ => Ok(hold),
        }
    }

    /// What a client names of a hold, with the position of the part and the amount.
    fn named(
        &self,
        hold: &Hold,
        id: u64,
        lines: &[HoldAmount],
        more: bool,
    ) -> Result<Vec<(usize, i128)>, Rejection> {
        let mut named = Vec::new();
        let mut small = Vec::new();
        for line in lines {
            let place = place_of(&line.scope, &line.resource);
            let position = hold.parts.iter().position(|part| part.place == place);
            let amount = self.read(line.amount, &place.1, "amount")?;
            let live = position.map_or(0, |position| hold.parts[position].live());
            match position {
                Some(position) if more || amount <= live => named.push((position, amount)),
                _ => small.push(TooSmall {
                    quota: quota_name(&place),
                    asked: line.amount,
                    live: self.number(live, &place.1),
                }),
            }
        }
        if small.is_empty() { Ok(named) } else { Err(Rejection::HoldTooSmall { hold: id, lines: small }) }
    }

    fn check_lines(&self, lines: &[HoldAmount]) -> Result<(), Rejection> {
        for (position, line) in lines.iter().enumerate() {
            if self.kind(line.resource.as_str()).is_some() {
                self.read(line.amount, line.resource.as_str(), &format!("lines[{position}].amount"))?;
            }
        }
        self.unknown_scopes(lines.iter().map(|line| line.scope.as_str()))?;
        self.unknown_resources(lines.iter().map(|line| line.resource.as_str()))
    }

    pub fn commit(&mut self, command: &Commit) -> Result<Grant, Rejection> {
        let id = command.hold;
        self.check_lines(&command.lines)?;
        let hold = self.live_hold(id)?;
        if !hold.is_held() {
            let revision = hold.revision;
            return Err(Rejection::HoldClosed { hold: id, state: HoldState::Committed, revision });
        }
        let mut parts = hold.parts.clone();
        if command.lines.is_empty() {
            for part in &mut parts {
                (part.held, part.used) = (0, part.live());
            }
        }
        for (position, amount) in self.named(hold, id, &command.lines, true)? {
            let part = &mut parts[position];
            (part.held, part.used) = ((part.held - amount).max(0), part.used + amount);
        }
        if command.is_final {
            for part in &mut parts {
                part.held = 0;
            }
        }
        let grown: Vec<usize> = self
            .named(hold, id, &command.lines, true)?
            .into_iter()
            .filter(|(position, amount)| *amount > hold.parts[*position].held)
            .map(|(position, _)| position)
            .collect();
        let overruns = self.check_growth(id, &parts, grown)?;
        Ok(self.alter(id, parts, "Committed", overruns, None))
    }

    pub fn release(&mut self, command: &Release) -> Result<Grant, Rejection> {
        self.check_lines(&command.lines)?;
        let hold = self.live_hold(command.hold)?;
        let mut parts = hold.parts.clone();
        if command.lines.is_empty() {
            for part in &mut parts {
                (part.held, part.used) = (0, 0);
            }
        }
        for (position, amount) in self.named(hold, command.hold, &command.lines, false)? {
            shrink(&mut parts[position], amount);
        }
        Ok(self.alter(command.hold, parts, "Released", Vec::new(), Some(HoldState::Released)))
    }

    pub fn renew(&mut self, command: &Renew) -> Result<Grant, Rejection> {
        let id = command.hold;
        let hold = self.live_hold(id)?;
        if !hold.is_held() {
            let revision = hold.revision;
            return Err(Rejection::HoldClosed { hold: id, state: HoldState::Committed, revision });
        }
        let lines: Vec<Place> = hold.parts.iter().map(|part| part.place.clone()).collect();
        self.ttl(&lines, Some(command.ttl_ms))?;
        let before = self.counters();
        let expires_at = self.now.saturating_add(command.ttl_ms);
        let revision = self.revision + 1;
        let hold = self.holds.get_mut(&id).expect("it lives");
        (hold.expires_at, hold.revision) = (Some(expires_at), revision);
        self.happen(Happened::new("Renewed"), &[], &before);
        Ok(Grant::plain(Granted::Hold { hold: id, expires_at: NonZeroU64::new(expires_at) }))
    }

    pub fn resize(&mut self, command: &Resize) -> Result<Grant, Rejection> {
        let id = command.hold;
        self.check_lines(&command.lines)?;
        let hold = self.live_hold(id)?;
        let mut parts = hold.parts.clone();
        let mut grown = Vec::new();
        for (position, amount) in self.named(hold, id, &command.lines, true)? {
            let part = &mut parts[position];
            let more = amount - part.live();
            if more > 0 {
                grown.push(position);
                if hold.is_held() {
                    part.held += more;
                } else {
                    part.used += more;
                }
            } else {
                shrink(part, -more);
            }
        }
        if parts == hold.parts {
            return Ok(self.unchanged(0));
        }
        let overruns = self.check_growth(id, &parts, grown)?;
        Ok(self.alter(id, parts, "Resized", overruns, None))
    }

    /// Whether some parts may grow: limits and locks above them, and room for what all parts
    /// together grow by.
    fn check_growth(&self, id: u64, after: &[Part], mut grown: Vec<usize>) -> Result<Overruns, Rejection> {
        grown.sort_unstable();
        let grown: Vec<Place> = grown.iter().map(|position| after[*position].place.clone()).collect();
        self.check_limited(&grown)?;
        let mut growth: BTreeMap<Place, i128> = BTreeMap::new();
        for (before, after) in self.holds[&id].parts.iter().zip(after) {
            let less = before.used - after.used;
            let consumed = if self.is_budget(&after.place.1) { less.max(0) } else { 0 };
            for place in places_up(&after.place) {
                *growth.entry(place).or_default() += after.live() - before.live() + consumed;
            }
        }
        growth.retain(|_, growth| *growth > 0);
        self.check_locks(growth.keys().cloned())?;
        self.judge(&growth, false, Some(id))
    }

    /// A hold has other parts now. What is no longer used of a budget has been consumed.
    fn alter(
        &mut self,
        id: u64,
        after: Vec<Part>,
        kind: &'static str,
        overruns: Overruns,
        closing: Option<HoldState>,
    ) -> Grant {
        let before = self.counters();
        self.count(&overruns);
        let revision = self.revision + 1;
        let mut hold = self.holds.remove(&id).expect("it lives");
        for (before, after) in hold.parts.iter().zip(&after) {
            if before.used > after.used && self.is_budget(&after.place.1) {
                *self.consumed.entry(after.place.clone()).or_default() += before.used - after.used;
            }
        }
        hold.parts = after.into_iter().filter(|part| part.live() > 0).collect();
        hold.revision = revision;
        if !hold.is_held() {
            hold.expires_at = None;
        }
        if hold.parts.is_empty() {
            self.closed.insert(id, (closing.expect("only a release leaves nothing"), revision));
        } else {
            self.holds.insert(id, hold);
        }
        let details = Details { warnings: warnings(&overruns), ..Details::default() };
        self.happen(Happened { overruns, ..Happened::new(kind) }, &[], &before);
        Grant::new(Granted::Done, details)
    }
}

/// First what is held goes, then what is used.
fn shrink(part: &mut Part, amount: i128) {
    let of_held = part.held.min(amount);
    part.held -= of_held;
    part.used -= amount - of_held;
}

/// What lines together ask for at every place.
fn growth_of(lines: &[Place], amounts: &[i128]) -> BTreeMap<Place, i128> {
    let mut growth = BTreeMap::new();
    for (line, amount) in lines.iter().zip(amounts) {
        for place in places_up(line) {
            *growth.entry(place).or_default() += amount;
        }
    }
    growth
}
