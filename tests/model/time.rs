//! What happens by itself.

use quorate::ledger::HoldState;
use quorate::ledger::quota::ClockKind;

use super::place::limit_conflict;
use super::schedule::Due;
use super::world::Happened;
use super::world::Place;
use super::world::Planned;
use super::world::World;

impl World {
    /// Everything that is going to happen by itself, soonest first. Of one time: quotas, then
    /// transfers, then holds; older ones first; of a quota its clocks, then its schedule.
    fn deadlines(&self) -> Vec<(u64, Due)> {
        let mut all = Vec::new();
        for place in self.in_order_of_age() {
            let quota = &self.quotas[&place];
            let policy = &quota.policy;
            let clocks = [
                (ClockKind::Grace, quota.grace, policy.grace_ms),
                (ClockKind::Burst, quota.burst, policy.max_burst_ms),
            ];
            for (kind, clock, length_ms) in clocks {
                if let (Some(clock), Some(length_ms)) = (clock.filter(|clock| !clock.ended), length_ms) {
                    let end = clock.since.saturating_add(length_ms);
                    all.push((end, Due::Clock(place.clone(), kind)));
                }
            }
            for item in &quota.schedule {
                match item.plan {
                    Planned::Override { end, active, .. } => {
                        if !active {
                            all.push((item.start, Due::Schedule(place.clone(), item.id)));
                        }
                        all.push((end, Due::Schedule(place.clone(), item.id)));
                    }
                    Planned::Change(..) => all.push((item.start, Due::Schedule(place.clone(), item.id))),
                }
            }
        }
        all.extend(self.transfers.iter().map(|(id, loan)| (loan.until, Due::Return(*id))));
        for (id, hold) in &self.holds {
            if let Some(end) = hold.expires_at.filter(|_| hold.is_held()) {
                all.push((end, Due::Expiry(*id)));
            }
        }
        // The order of one time is that in which they were gathered.
        all.sort_by_key(|(time, _)| *time);
        all
    }

    /// What is due later than now.
    pub fn agenda(&self) -> Vec<(u64, Due)> {
        self.deadlines().into_iter().filter(|(time, _)| *time > self.now).collect()
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines().first().map(|(time, _)| *time)
    }

    fn in_order_of_age(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.quotas.keys().cloned().collect();
        places.sort_by_key(|(path, resource)| (self.scopes[path].number, self.age(resource)));
        places
    }

    /// Everything that is due happens: first to limits, then to holds.
    pub fn sweep(&mut self) {
        for of_holds in [false, true] {
            let now = self.now;
            let is_due = |(time, due): &(u64, Due)| *time <= now && matches!(due, Due::Expiry(_)) == of_holds;
            while let Some((_, due)) = self.deadlines().into_iter().find(is_due) {
                match due {
                    Due::Clock(place, _) => {
                        let before = self.counters();
                        self.happen(Happened::new("ClockEnded"), &[place], &before);
                    }
                    Due::Schedule(place, id) => self.carry_out_schedule(&place, id),
                    Due::Return(id) => self.return_transfer(id),
                    Due::Expiry(id) => self.expire(id),
                }
            }
        }
    }

    fn carry_out_schedule(&mut self, place: &Place, id: u64) {
        let before = self.counters();
        let was = self.effective(place);
        let mut next = self.clone();
        let quota = next.quotas.get_mut(place).expect("it has a schedule");
        let item = quota.schedule.iter().find(|item| item.id == id).expect("it is scheduled");
        let is_change = matches!(item.plan, Planned::Change(..));
        quota.carry_out(id);
        let mut happened = Happened::new(if is_change { "QuotaSet" } else { "OverrideSwitched" });
        let is_sound = next.quotas[place].policy.check("").map_err(|_| limit_conflict(place, place));
        match is_sound.and_then(|()| next.check_place(place, false)) {
            Err(rejection) if is_change => {
                happened = Happened { refused: Some(rejection), ..Happened::new("ScheduleFailed") };
                self.quotas.get_mut(place).expect("known").schedule.retain(|item| item.id != id);
            }
            _ => *self = next,
        }
        happened.drains = self.reduce(place, was, true).expect("time is not refused anything");
        self.raise(place);
        self.happen(happened, std::slice::from_ref(place), &before);
    }

    fn expire(&mut self, id: u64) {
        let before = self.counters();
        let hold = self.holds.get_mut(&id).expect("it lives");
        for part in &mut hold.parts {
            part.held = 0;
        }
        hold.parts.retain(|part| part.live() > 0);
        hold.expires_at = None;
        hold.revision = self.revision + 1;
        if hold.parts.is_empty() {
            self.holds.remove(&id);
            self.closed.insert(id, (HoldState::Expired, self.revision + 1));
        }
        self.happen(Happened::new("Expired"), &[], &before);
    }
}
