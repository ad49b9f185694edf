//! What is going to happen to quotas: overrides, changes to come, transfers that go back.

use quorate::ledger::Grant;
use quorate::ledger::Granted;
use quorate::ledger::Rejection;
use quorate::ledger::command::CancelSchedule;
use quorate::ledger::command::OverrideQuota;
use quorate::ledger::command::TransferQuota;
use quorate::ledger::quota::ClockKind;

use super::malformed;
use super::place::limit_conflict;
use super::policy::place_of;
use super::world::Cap;
use super::world::Happened;
use super::world::Item;
use super::world::Place;
use super::world::Planned;
use super::world::Quota;
use super::world::Transfer;
use super::world::World;
use super::world::parent;
use super::world::quota_name;

/// Most items of the schedule of a quota.
const SLOTS: usize = 32;

/// Something that happens by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    Clock(Place, ClockKind),
    /// An item of a schedule begins or ends.
    Schedule(Place, u64),
    Return(u64),
    Expiry(u64),
}

impl Quota {
    /// An item of the schedule begins, or ends if it had begun.
    pub fn carry_out(&mut self, id: u64) {
        let position = self.schedule.iter().position(|item| item.id == id).expect("it is scheduled");
        match &mut self.schedule[position].plan {
            Planned::Override { active, .. } if !*active => *active = true,
            Planned::Override { .. } => {
                self.schedule.remove(position);
            }
            Planned::Change(policy, fields) => {
                self.policy = self.policy.changed(policy, fields.as_deref());
                self.schedule.remove(position);
            }
        }
    }
}

impl World {
    pub fn check_slots(&self, place: &Place) -> Result<(), Rejection> {
        let is_full = self.quotas.get(place).is_some_and(|quota| quota.schedule.len() >= SLOTS);
        if is_full { Err(schedule_conflict(place)) } else { Ok(()) }
    }

    pub fn override_quota(&mut self, command: &OverrideQuota, actor: &str) -> Result<Grant, Rejection> {
        let place = place_of(&command.scope, &command.resource);
        let cap = match self.kind(&place.1) {
            Some(_) => self.read_limit(command.limit, &place.1, "limit")?,
            None => Cap::Inherit,
        };
        if command.end <= self.now {
            return Err(malformed("end_ms"));
        }
        self.check_known(&place)?;
        self.check_quotas(&[&place])?;
        self.check_version(&place, command.if_version)?;
        let (start, end) = (command.start.unwrap_or(0).max(self.now), command.end);
        self.check_slots(&place)?;
        let overlaps = |item: &Item| match item.plan {
            Planned::Override { end: other, .. } => item.start < end && start < other,
            Planned::Change(..) => false,
        };
        if self.quotas[&place].schedule.iter().any(overlaps) {
            return Err(schedule_conflict(&place));
        }
        let mut overridden = self.clone();
        overridden.quotas.get_mut(&place).expect("known").policy.cap = cap;
        overridden.check_place(&place, true)?;
        let before = self.counters();
        let was = self.effective(&place);
        let active = start <= self.now;
        let plan = Planned::Override { cap, end, active };
        let (reason, actor) = (command.reason.to_string(), actor.to_string());
        let item = Item { id: self.revision + 1, start, plan, reason, actor };
        self.quotas.get_mut(&place).expect("known").schedule.push(item);
        let drains = self.reduce(&place, was, false)?;
        let version = self.raise(&place);
        self.happen(Happened { drains, ..Happened::new("QuotaScheduled") }, &[place], &before);
        Ok(Grant::plain(Granted::Version(version)))
    }

    pub fn cancel_schedule(&mut self, command: &CancelSchedule) -> Result<Grant, Rejection> {
        let place = place_of(&command.scope, &command.resource);
        self.check_known(&place)?;
        self.check_quotas(&[&place])?;
        let is_side =
            |loan: &Transfer| loan.resource == place.1 && (loan.from == place.0 || loan.to == place.0);
        if self.transfers.get(&command.id).is_some_and(is_side) {
            self.check_version(&place, command.if_version)?;
            self.return_transfer(command.id);
            let is_limited = matches!(self.quotas[&place].policy.cap, Cap::Amount(_));
            let version = if is_limited { self.accounts[&place].version } else { 0 };
            return Ok(Grant::plain(Granted::Version(version)));
        }
        let position = self.quotas[&place].schedule.iter().position(|item| item.id == command.id);
        let Some(position) = position else {
            return Err(Rejection::UnknownSchedule { quota: quota_name(&place), id: command.id });
        };
        self.check_version(&place, command.if_version)?;
        let before = self.counters();
        let was = self.effective(&place);
        self.quotas.get_mut(&place).expect("known").schedule.remove(position);
        let drains = self.reduce(&place, was, false)?;
        let version = self.raise(&place);
        self.happen(Happened { drains, ..Happened::new("ScheduleCancelled") }, &[place], &before);
        Ok(Grant::plain(Granted::Version(version)))
    }

    pub fn transfer_quota(&mut self, command: &TransferQuota) -> Result<Grant, Rejection> {
        let from = place_of(&command.from, &command.resource);
        let to = place_of(&command.to, &command.resource);
        let resource = from.1.clone();
        let amount = match self.kind(&resource) {
            Some(_) => self.read(command.amount, &resource, "amount")?,
            None => 0,
        };
        if command.until.is_some_and(|until| until <= self.now) {
            return Err(malformed("until_ms"));
        }
        self.unknown_scopes([from.0.as_str(), to.0.as_str()])?;
        self.unknown_resources([resource.as_str()])?;
        self.check_quotas(&[&from, &to])?;
        self.check_version(&from, command.if_from_version)?;
        self.check_version(&to, command.if_to_version)?;
        for place in [&from, &to] {
            let is_side =
                |loan: &Transfer| loan.resource == place.1 && (loan.from == place.0 || loan.to == place.0);
            let waiting = self.transfers.values().filter(|loan| is_side(loan)).count();
            if command.until.is_some() && waiting >= SLOTS {
                return Err(schedule_conflict(place));
            }
        }
        let above = (parent(&from.0).expect("siblings have a parent").to_string(), resource.clone());
        if !self.quotas.get(&above).is_some_and(|quota| quota.policy.allow_transfer) {
            return Err(Rejection::TransferNotAllowed(quota_name(&above)));
        }
        let hard = |place: &Place| match self.quotas[place].policy.cap {
            Cap::Amount(limit) => Ok(limit),
            _ => Err(limit_conflict(place, place)),
        };
        let (less, more) = (hard(&from)? - amount, hard(&to)? + amount);
        if less < 0 {
            return Err(limit_conflict(&from, &from));
        }
        if more > self.greatest(&resource) {
            return Err(limit_conflict(&to, &to));
        }
        let before = self.counters();
        self.quotas.get_mut(&from).expect("known").policy.cap = Cap::Amount(less);
        self.quotas.get_mut(&to).expect("known").policy.cap = Cap::Amount(more);
        for place in [&from, &to] {
            self.quotas[place].policy.check("").map_err(|_| limit_conflict(place, place))?;
        }
        self.check_place(&from, false)?;
        self.check_place(&to, false)?;
        let (used, held) = self.taken(&from);
        if let Some(limit) = self.effective(&from).filter(|limit| used + held > *limit) {
            return Err(self.below_use(&from, limit));
        }
        if let Some(until) = command.until {
            let (from, to) = (from.0.clone(), to.0.clone());
            self.transfers.insert(self.revision + 1, Transfer { from, to, resource, amount, until });
        }
        let version = self.raise(&from);
        self.raise(&to);
        self.happen(Happened::new("QuotaTransferred"), &[from, to], &before);
        Ok(Grant::plain(Granted::Version(version)))
    }

    /// A transfer goes back: of what `to` still has of it and has not promised on as much as `from`
    /// can take. A side that has no amount any more is not looked at.
    pub fn return_transfer(&mut self, id: u64) {
        let before = self.counters();
        let loan = self.transfers.remove(&id).expect("it is on loan");
        let place = |path: &str| (path.to_string(), loan.resource.clone());
        let (from, to) = (place(&loan.from), place(&loan.to));
        let amount = |place: &Place| match self.quotas[place].policy.cap {
            Cap::Amount(limit) => Some(limit),
            Cap::Unlimited | Cap::Inherit => None,
        };
        let (of_from, of_to) = (amount(&from), amount(&to));
        let was = self.effective(&to);
        let wanted = of_to.map_or(loan.amount, |limit| loan.amount.min(limit));
        // Where a ratio cuts off parts of units, whole steps in which it does not.
        let places = |place: &Place| {
            let ratio = self.quotas[place].policy.overcommit.unwrap_or(10_000);
            (0..=4).find(|places| ratio * 10i128.pow(*places) % 10_000 == 0)
        };
        let limited = [of_from.map(|_| &from), of_to.map(|_| &to)];
        let places = limited.into_iter().flatten().filter_map(places).max().unwrap_or(0);
        let back = self.most(wanted, 10i128.pow(places), |trial, back| {
            if let Some(limit) = of_to {
                trial.limit_to(&to, limit - back);
            }
            if let Some(limit) = of_from {
                trial.limit_to(&from, limit + back);
            }
            let gives = of_to.is_none() || trial.is_sound(&to, false);
            let takes = of_from
                .is_none_or(|limit| limit + back <= trial.greatest(&from.1) && trial.is_sound(&from, true));
            gives && takes
        });
        let mut happened = Happened::new("TransferReturned");
        let mut changed = Vec::new();
        if let Some(limit) = of_to {
            self.limit_to(&to, limit - back);
            happened.drains = self.reduce(&to, was, true).expect("time is not refused anything");
            changed.push(to);
        }
        if let Some(limit) = of_from {
            self.limit_to(&from, limit + back);
            changed.push(from);
        }
        for place in &changed {
            self.raise(place);
        }
        self.happen(happened, &changed, &before);
    }

    /// Whether a limit goes with the rest of its policy and with its place.
    fn is_sound(&self, place: &Place, only_above: bool) -> bool {
        self.quotas[place].policy.check("").is_ok() && self.misfit(place, only_above).is_none()
    }

    fn limit_to(&mut self, place: &Place, limit: i128) {
        self.quotas.get_mut(place).expect("known").policy.cap = Cap::Amount(limit);
    }

    fn still_lent(&self, loan: &Transfer) -> i128 {
        match self.quotas[&(loan.to.clone(), loan.resource.clone())].policy.cap {
            Cap::Amount(limit) => loan.amount.min(limit),
            _ => loan.amount,
        }
    }

    /// `wanted` if it fits when it is tried, or the most whole steps of it, by bisection; or 0.
    fn most(&self, wanted: i128, step: i128, fits: impl Fn(&mut Self, i128) -> bool) -> i128 {
        let mut trial = self.clone();
        if fits(&mut trial, wanted) {
            return wanted;
        }
        let (mut good, mut bad) = (0, wanted / step + 1);
        while bad - good > 1 {
            let middle = (good + bad) / 2;
            if fits(&mut trial, middle * step) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        good * step
    }

    /// What the return of a transfer makes of the quota at a place.
    pub fn return_to(&self, quota: &mut Quota, place: &Place, id: u64) {
        let loan = &self.transfers[&id];
        let Cap::Amount(limit) = quota.policy.cap else { return };
        if (&loan.to, &loan.resource) == (&place.0, &place.1) {
            quota.policy.cap = Cap::Amount(limit - loan.amount.min(limit));
        }
        if (&loan.from, &loan.resource) == (&place.0, &place.1) {
            quota.policy.cap = Cap::Amount((limit + self.still_lent(loan)).min(self.greatest(&place.1)));
        }
    }
}

fn schedule_conflict(place: &Place) -> Rejection {
    Rejection::ScheduleConflict { quota: quota_name(place), problem: String::new() }
}
