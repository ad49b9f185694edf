//! Quotas.

use quorate::ledger::Grant;
use quorate::ledger::Granted;
use quorate::ledger::Rejection;
use quorate::ledger::command::AdjustQuota;
use quorate::ledger::command::DeleteQuota;
use quorate::ledger::command::LockQuota;
use quorate::ledger::command::SetQuota;
use quorate::ledger::command::UnlockQuota;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::quota::PolicyField;
use quorate::ledger::rejection::BelowUse;
use quorate::ledger::rejection::Mismatch;
use rust_decimal::Decimal;

use super::place::limit_conflict;
use super::world::Cap;
use super::world::Happened;
use super::world::Item;
use super::world::Place;
use super::world::Planned;
use super::world::Policy;
use super::world::Quota;
use super::world::World;
use super::world::quota_name;

pub fn place_of(scope: &impl ToString, resource: &impl ToString) -> Place {
    (scope.to_string(), resource.to_string())
}

impl Policy {
    /// With the named fields of another one; with all when none are named.
    pub fn changed(&self, new: &Self, fields: Option<&[PolicyField]>) -> Self {
        let Some(fields) = fields else { return new.clone() };
        let mut policy = self.clone();
        for field in fields {
            match field {
                PolicyField::Limit => policy.cap = new.cap,
                PolicyField::Soft => policy.soft = new.soft,
                PolicyField::Grace => policy.grace_ms = new.grace_ms,
                PolicyField::Burst => policy.burst = new.burst,
                PolicyField::MaxBurst => policy.max_burst_ms = new.max_burst_ms,
                PolicyField::Overcommit => policy.overcommit = new.overcommit,
                PolicyField::Enforcement => policy.enforcement = new.enforcement,
                PolicyField::OnReduce => policy.on_reduce = new.on_reduce,
                PolicyField::DefaultTtl => policy.default_ttl_ms = new.default_ttl_ms,
                PolicyField::MaxTtl => policy.max_ttl_ms = new.max_ttl_ms,
                PolicyField::AllowTransfer => policy.allow_transfer = new.allow_transfer,
            }
        }
        policy
    }
}

impl World {
    pub fn check_known(&self, (path, resource): &Place) -> Result<(), Rejection> {
        self.unknown_scopes([path.as_str()])?;
        self.unknown_resources([resource.as_str()])
    }

    pub fn check_quotas(&self, places: &[&Place]) -> Result<(), Rejection> {
        let unknown = places.iter().filter(|place| !self.quotas.contains_key(**place));
        let unknown: Vec<_> = unknown.map(|place| quota_name(place)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(Rejection::UnknownQuotas(unknown)) }
    }

    /// Whether a quota is there, and has the version that a client expects.
    fn check_quota(&self, place: &Place, if_version: Option<u64>) -> Result<(), Rejection> {
        self.check_known(place)?;
        self.check_quotas(&[place])?;
        self.check_version(place, if_version)
    }

    /// 0 is the version of what is not there.
    pub fn check_version(&self, place: &Place, if_version: Option<u64>) -> Result<(), Rejection> {
        let actual = if self.quotas.contains_key(place) { self.version(place) } else { 0 };
        match if_version {
            Some(expected) if expected != actual => {
                Err(Rejection::VersionMismatch(Mismatch { quota: quota_name(place), expected, actual }))
            }
            _ => Ok(()),
        }
    }

    /// What is to be given back now that the effective limit is not what it `was`. Time is not
    /// refused anything.
    pub fn reduce(&self, place: &Place, was: Option<i128>, by_time: bool) -> Result<Vec<Decimal>, Rejection> {
        let (used, held) = self.taken(place);
        let taken = used + held;
        let Some(limit) = self.effective(place) else { return Ok(Vec::new()) };
        if taken <= limit || was.is_some_and(|was| limit >= was) {
            return Ok(Vec::new());
        }
        match self.quotas[place].policy.on_reduce {
            OnReduce::Refuse if !by_time => Err(self.below_use(place, limit)),
            OnReduce::Refuse | OnReduce::Freeze => Ok(Vec::new()),
            OnReduce::Drain => Ok(vec![self.number(taken - limit, &place.1)]),
        }
    }

    pub fn below_use(&self, place: &Place, limit: i128) -> Rejection {
        let (used, held) = self.taken(place);
        Rejection::BelowUse(BelowUse {
            taken: self.taken_of(place),
            limit: self.number(limit, &place.1),
            over_by: self.number(used + held - limit, &place.1),
        })
    }

    pub fn set_quota(&mut self, command: &SetQuota, actor: &str) -> Result<Grant, Rejection> {
        let place = place_of(&command.scope, &command.resource);
        let read = match self.kind(&place.1) {
            Some(_) => Some(self.read_policy(&command.policy, &place.1, "policy.")?),
            None => None,
        };
        if let Some(policy) = read.as_ref().filter(|_| command.fields.is_none()) {
            policy.check("policy.")?;
        }
        self.check_known(&place)?;
        let said = read.expect("the resource is known");
        if command.fields.as_ref().is_some_and(|fields| !fields.contains(&PolicyField::Limit)) {
            self.check_quotas(&[&place])?;
        }
        self.check_version(&place, command.if_version)?;
        let before = self.quotas.get(&place).map(|quota| quota.policy.clone()).unwrap_or_default();
        let policy = before.changed(&said, command.fields.as_deref());
        if command.fields.is_some() {
            policy.check("policy.")?;
        }
        match command.effective_at.filter(|start| *start > self.now) {
            None => self.put_policy(&place, policy, "QuotaSet"),
            Some(start) => {
                self.check_slots(&place)?;
                let mut changed = self.clone();
                changed.quotas.entry(place.clone()).or_default().policy = policy.clone();
                changed.check_place(&place, false)?;
                let before = self.counters();
                let (id, actor) = (self.revision + 1, actor.to_string());
                let part = Policy::default().changed(&said, command.fields.as_deref());
                let plan = Planned::Change(part, command.fields.clone());
                let item = Item { id, start, plan, reason: String::new(), actor };
                self.quotas.entry(place.clone()).or_default().schedule.push(item);
                let version = self.raise(&place);
                self.happen(Happened::new("QuotaScheduled"), &[place], &before);
                Ok(Grant::plain(Granted::Version(version)))
            }
        }
    }

    /// Changes a policy if that fits its place and what is taken there.
    pub fn put_policy(
        &mut self,
        place: &Place,
        policy: Policy,
        kind: &'static str,
    ) -> Result<Grant, Rejection> {
        let before = self.counters();
        let was = self.effective(place);
        self.quotas.entry(place.clone()).or_default().policy = policy;
        self.check_place(place, false)?;
        let drains = self.reduce(place, was, false)?;
        let version = self.raise(place);
        self.happen(Happened { drains, ..Happened::new(kind) }, std::slice::from_ref(place), &before);
        Ok(Grant::plain(Granted::Version(version)))
    }

    pub fn adjust_quota(&mut self, command: &AdjustQuota) -> Result<Grant, Rejection> {
        let place = place_of(&command.scope, &command.resource);
        let delta = match self.kind(&place.1) {
            Some(_) => self.read(command.delta, &place.1, "delta")?,
            None => 0,
        };
        self.check_quota(&place, command.if_version)?;
        let mut policy = self.quotas[&place].policy.clone();
        match policy.cap {
            Cap::Amount(limit) if (0..=self.greatest(&place.1)).contains(&(limit + delta)) => {
                policy.cap = Cap::Amount(limit + delta);
            }
            _ => return Err(limit_conflict(&place, &place)),
        }
        policy.check("").map_err(|_| limit_conflict(&place, &place))?;
        self.put_policy(&place, policy, "QuotaSet")
    }

    pub fn delete_quota(&mut self, command: &DeleteQuota) -> Result<Grant, Rejection> {
        let place = place_of(&command.scope, &command.resource);
        self.check_known(&place)?;
        self.check_quotas(&[&place])?;
        let is_named = |id: &u64| {
            let loan = &self.transfers[id];
            loan.resource == place.1 && (loan.from == place.0 || loan.to == place.0)
        };
        let loans: Vec<u64> = self.transfers.keys().copied().filter(is_named).collect();
        if !loans.is_empty() {
            return Err(Rejection::OnLoan(loans));
        }
        self.check_version(&place, command.if_version)?;
        let before = self.counters();
        self.quotas.insert(place.clone(), Quota::default());
        self.check_place(&place, false)?;
        self.quotas.remove(&place);
        let version = self.raise(&place);
        self.happen(Happened::new("QuotaDeleted"), &[place], &before);
        Ok(Grant::plain(Granted::Version(version)))
    }

    pub fn lock_quota(&mut self, command: &LockQuota, actor: &str) -> Result<Grant, Rejection> {
        let place = place_of(&command.scope, &command.resource);
        self.check_quota(&place, command.if_version)?;
        let lock = (command.reason.to_string(), actor.to_string());
        Ok(self.change_lock(&place, Some(lock), "QuotaLocked"))
    }

    pub fn unlock_quota(&mut self, command: &UnlockQuota) -> Result<Grant, Rejection> {
        let place = place_of(&command.scope, &command.resource);
        self.check_quota(&place, command.if_version)?;
        Ok(self.change_lock(&place, None, "QuotaUnlocked"))
    }

    fn change_lock(&mut self, place: &Place, lock: Option<(String, String)>, kind: &'static str) -> Grant {
        let quota: &mut Quota = self.quotas.get_mut(place).expect("known");
        if quota.lock.is_some() == lock.is_some() {
            return self.unchanged(self.version(place));
        }
        quota.lock = lock;
        let before = self.counters();
        let version = self.raise(place);
        self.happen(Happened::new(kind), std::slice::from_ref(place), &before);
        Grant::plain(Granted::Version(version))
    }
}
