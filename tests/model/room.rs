//! Whether something fits, and why not.

use std::collections::BTreeMap;

use quorate::ledger::Lock;
use quorate::ledger::Rejection;
use quorate::ledger::event::OverrunReason;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::rejection::Blocking;
use quorate::ledger::rejection::Rule;

use super::number::UNCOUNTABLE;
use super::schedule::Due;
use super::world::Clock;
use super::world::Place;
use super::world::World;
use super::world::is_within;
use super::world::quota_name;

/// What a request is granted over, and why nevertheless.
pub type Overruns = Vec<(Blocking, OverrunReason)>;

/// What the client is told of.
pub fn warnings(overruns: &Overruns) -> Vec<Blocking> {
    let told = overruns.iter().filter(|(_, reason)| *reason != OverrunReason::Shadow);
    told.map(|(blocking, _)| blocking.clone()).collect()
}

impl World {
    /// Whether the time of a clock is up.
    fn is_up(&self, clock: Option<Clock>, length_ms: Option<u64>) -> bool {
        let (Some(clock), Some(length_ms)) = (clock, length_ms) else { return false };
        clock.ended || self.now >= clock.since.saturating_add(length_ms)
    }

    /// The most that may be taken at a place now, and the rule that says so.
    pub fn ceiling(&self, place: &Place) -> Option<(i128, Rule)> {
        let quota = self.quotas.get(place)?;
        let policy = &quota.policy;
        if quota.active_override().is_some() {
            return self.effective(place).map(|effective| (effective, Rule::HardLimit));
        }
        let mut ceiling = self.effective(place).map(|effective| match policy.burst {
            Some(burst) if burst > effective => {
                if self.is_up(quota.burst, policy.max_burst_ms) {
                    (effective, Rule::BurstEnded)
                } else {
                    (burst, Rule::BurstLimit)
                }
            }
            _ => (effective, Rule::HardLimit),
        });
        if let Some(soft) = policy.soft
            && self.is_up(quota.grace, policy.grace_ms)
            && ceiling.is_none_or(|(limit, _)| soft < limit)
        {
            ceiling = Some((soft, Rule::SoftLimit));
        }
        ceiling
    }

    pub fn enforcement(&self, place: &Place) -> Enforcement {
        self.quotas.get(place).map_or(Enforcement::Off, |quota| quota.policy.enforcement)
    }

    /// Every lock at these places.
    pub fn check_locks(&self, places: impl IntoIterator<Item = Place>) -> Result<(), Rejection> {
        let mut places = self.in_order(places);
        places.dedup();
        let locked = places.iter().filter_map(|place| {
            let (reason, actor) = self.quotas.get(place)?.lock.as_ref()?;
            Some((quota_name(place), Lock { reason: reason.as_str().into(), actor: actor.as_str().into() }))
        });
        let locked: Vec<_> = locked.collect();
        if locked.is_empty() { Ok(()) } else { Err(Rejection::Locked(locked)) }
    }

    /// Whether there is room for this growth of use, of the hold `own` if it is there already.
    pub fn judge(
        &self,
        growth: &BTreeMap<Place, i128>,
        force: bool,
        own: Option<u64>,
    ) -> Result<Overruns, Rejection> {
        let mut denied = Vec::new();
        let mut uncountable = Vec::new();
        let mut overruns = Vec::new();
        for place in self.in_order(growth.keys().cloned()) {
            let requested = growth[&place];
            if requested <= 0 {
                continue;
            }
            let (used, held) = self.taken(&place);
            let after = used + held + requested;
            let enforcement = self.enforcement(&place);
            let blocked = match self.ceiling(&place) {
                Some((limit, rule)) if after > limit && enforcement != Enforcement::Off => {
                    Some((limit, rule))
                }
                _ => None,
            };
            let is_denied = blocked.is_some() && enforcement == Enforcement::Enforce && !force;
            let most = blocked.filter(|_| is_denied).map_or(0, |(limit, _)| limit);
            if requested >= UNCOUNTABLE || after - most >= UNCOUNTABLE {
                uncountable.push(quota_name(&place));
                continue;
            }
            if let Some((limit, rule)) = blocked {
                let fits_at = if is_denied { self.fits_at(&place, rule, requested, own) } else { None };
                let blocking = self.blocking(&place, (limit, rule), requested, own, fits_at);
                match enforcement {
                    Enforcement::Enforce if force => overruns.push((blocking, OverrunReason::Forced)),
                    Enforcement::Enforce => denied.push(blocking),
                    Enforcement::Warn => overruns.push((blocking, OverrunReason::Warn)),
                    Enforcement::Shadow => overruns.push((blocking, OverrunReason::Shadow)),
                    Enforcement::Off => {}
                }
            } else if matches!(enforcement, Enforcement::Enforce | Enforcement::Warn)
                && let Some(soft) = self.quotas[&place].policy.soft.filter(|soft| after > *soft)
            {
                let blocking = self.blocking(&place, (soft, Rule::SoftLimit), requested, own, None);
                overruns.push((blocking, OverrunReason::Soft));
            }
        }
        if !uncountable.is_empty() {
            return Err(Rejection::Uncountable(uncountable));
        }
        if denied.is_empty() { Ok(overruns) } else { Err(Rejection::Denied(denied)) }
    }

    /// Counts what would have been denied.
    pub fn count(&mut self, overruns: &Overruns) {
        for (blocking, reason) in overruns {
            if matches!(reason, OverrunReason::Warn | OverrunReason::Shadow) {
                let place = (blocking.quota.scope.to_string(), blocking.quota.resource.to_string());
                self.quotas.get_mut(&place).expect("it was asked").would_deny += 1;
            }
        }
    }

    /// Why a place has no room, or would have none; `fits_at` is for those who may have to wait.
    fn blocking(
        &self,
        place: &Place,
        (limit, rule): (i128, Rule),
        requested: i128,
        own: Option<u64>,
        fits_at: Option<u64>,
    ) -> Blocking {
        let (used, held) = self.taken(place);
        // What can come back is what others take; a budget does not give back what is used.
        let is_budget = self.is_budget(&place.1);
        let parts = own.iter().flat_map(|own| &self.holds[own].parts);
        let here = parts.filter(|part| part.place.1 == place.1 && is_within(&part.place.0, &place.0));
        let kept: i128 = here.map(|part| if is_budget { part.held } else { part.live() }).sum();
        let left = if is_budget { limit - used - kept } else { limit - kept };
        let number = |digits| self.number(digits, &place.1);
        Blocking {
            quota: quota_name(place),
            rule,
            limit: number(limit),
            used: number(used),
            held: number(held),
            requested: number(requested),
            shortfall: number(used + held + requested - limit),
            waiting_can_help: requested <= left || fits_at.is_some(),
            fits_at,
        }
    }

    /// When it fits if nothing happens but what is due.
    fn fits_at(&self, place: &Place, rule: Rule, requested: i128, own: Option<u64>) -> Option<u64> {
        let (used, held) = self.taken(place);
        let mut taken = used + held;
        let mut quota = self.quotas[place].clone();
        let agenda = self.agenda();
        for (position, (time, due)) in agenda.iter().enumerate() {
            match due {
                Due::Expiry(id) => {
                    let parts = self.holds[id].parts.iter().filter(|_| Some(*id) != own);
                    let here =
                        parts.filter(|part| part.place.1 == place.1 && is_within(&part.place.0, &place.0));
                    taken -= here.map(|part| part.held).sum::<i128>();
                }
                Due::Schedule(at, id) if at == place => quota.carry_out(*id),
                Due::Return(id) => self.return_to(&mut quota, place, *id),
                Due::Schedule(..) | Due::Clock(..) => {}
            }
            if agenda.get(position + 1).is_some_and(|(next, _)| next == time) {
                continue;
            }
            let mut limit = quota.policy.effective_of(quota.hard());
            if rule == Rule::SoftLimit && quota.active_override().is_none() {
                let soft = quota.policy.soft;
                limit = limit.into_iter().chain(soft).min();
            }
            if limit.is_none_or(|limit| taken + requested <= limit) {
                return Some(*time);
            }
        }
        None
    }
}
