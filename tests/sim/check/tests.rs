//! The checks fail when they should.

use std::time::Duration;

use quorate::client::v1;
use quorate::client::v1::rejection::Reason;
use uuid::Uuid;

use super::*;
use crate::quotas::CHANGED;
use crate::quotas::CLOCKED;
use crate::quotas::RESOURCE;
use crate::quotas::amount;
use crate::workload::Told;

/// Events as the ledger would make them, and the clients they belong to.
#[derive(Default)]
struct Run {
    events: Vec<Event>,
    history: Vec<Operation>,
}

fn rejected(reason: Reason) -> Body {
    let rejection = Some(v1::Rejection { reason: Some(reason), ..Default::default() });
    Body::Rejected(v1::Rejected { rejection, ..Default::default() })
}

fn denied(scope: &str, rule: v1::Rule, limit: u64) -> Body {
    let (scope, limit) = (scope.to_owned(), limit.to_string());
    let blocking = vec![v1::Blocking { scope, limit, rule: rule.into(), ..Default::default() }];
    rejected(Reason::Denied(v1::rejection::Denied { blocking }))
}

impl Run {
    fn add(&mut self, asked: Asked, told: Told, body: Body, counters: &[(&str, u64, u64)]) {
        let number = self.events.len() as u64 + 1;
        let last = self.events.last().map_or(0, |event| event.log_time_ms);
        let time = Duration::from_millis(number * 10);
        let request_id = Uuid::from_u128(u128::from(number));
        let returned = time + Duration::from_millis(5);
        let actor = "client-1";
        self.history.push(Operation { request_id, actor, asked, told, invoked: time, returned });
        let touched = counters.iter().map(|(scope, used, held)| v1::Touched {
            scope: (*scope).to_owned(),
            resource: RESOURCE.to_owned(),
            used: used.to_string(),
            held: held.to_string(),
            ..Default::default()
        });
        self.events.push(Event {
            revision: number,
            log_time_ms: last.max(number * 100),
            request_id: request_id.to_string(),
            actor: actor.to_owned(),
            touched: touched.collect(),
            body: Some(body),
            ..Default::default()
        });
    }

    fn reserve(&mut self, amount: u64, counters: &[(&str, u64, u64)]) {
        let revision = self.events.len() as u64 + 1;
        let told = Told::Granted { revision, hold: Some(revision) };
        let body = Body::Reserved(v1::Reserved::default());
        let asked = Asked::Reserve { scope: "acme/web", resource: RESOURCE, amount, ttl_ms: None };
        self.add(asked, told, body, counters);
    }

    fn deny(&mut self, amount: u64) {
        let asked = Asked::Reserve { scope: "acme/web", resource: RESOURCE, amount, ttl_ms: None };
        self.add(asked, Told::Denied, denied("acme/web", v1::Rule::HardLimit, 6), &[]);
    }

    /// Something of a resource of which there is a quota at the root alone.
    fn reserve_of(&mut self, resource: &'static str, amount: u64, body: Option<Body>) {
        let revision = self.events.len() as u64 + 1;
        let asked = Asked::Reserve { scope: "acme", resource, amount, ttl_ms: None };
        let told = match body {
            None => Told::Granted { revision, hold: Some(revision) },
            Some(_) => Told::Denied,
        };
        self.add(asked, told, body.unwrap_or_else(|| Body::Reserved(v1::Reserved::default())), &[]);
    }

    /// The last event left so much of it held, at the root.
    fn touch(&mut self, resource: &str, held: u64, grace: Option<v1::Clock>) {
        let event = self.events.last_mut().expect("it was added");
        event.touched.push(v1::Touched {
            scope: "acme".to_owned(),
            resource: resource.to_owned(),
            used: "0".to_owned(),
            held: held.to_string(),
            grace,
            ..Default::default()
        });
    }

    /// What time did, so many milliseconds after the last event.
    fn by_time(&mut self, ms: u64, body: Body) {
        let last = self.events.last().expect("something was before");
        let (revision, log_time_ms) = (last.revision + 1, last.log_time_ms + ms);
        self.events.push(Event { revision, log_time_ms, body: Some(body), ..Default::default() });
    }

    /// A hold of 1 that lives for 50 ms, and its end so many milliseconds later.
    fn expire_after(&mut self, ms: u64) {
        let revision = self.events.len() as u64 + 1;
        let told = Told::Granted { revision, hold: Some(revision) };
        let asked = Asked::Reserve { scope: "acme/ml", resource: RESOURCE, amount: 1, ttl_ms: Some(50) };
        let body = Body::Reserved(v1::Reserved::default());
        self.add(asked, told, body, &[("acme/ml", 0, 1), ("acme", 0, 3)]);
        let mut event = self.events.last().expect("it was added").clone();
        event.revision += 1;
        event.log_time_ms += ms;
        event.request_id.clear();
        event.body = Some(Body::Expired(v1::Expired { hold_id: revision, ..Default::default() }));
        event.touched.iter_mut().for_each(|touched| touched.held = "0".to_owned());
        event.touched[1].held = "2".to_owned();
        self.events.push(event);
    }

    fn check(&self) -> Verdict {
        check_history(&self.events, &self.history)
    }

    /// Two holds, of which one is committed and then released, a denial, a third that expires, and
    /// a command that came too late.
    fn good() -> Self {
        let mut run = Self::default();
        let done = |revision| Told::Granted { revision, hold: None };
        run.reserve(4, &[("acme/web", 0, 4), ("acme", 0, 4)]);
        run.reserve(2, &[("acme/web", 0, 6), ("acme", 0, 6)]);
        run.deny(1);
        let committed = Body::Committed(v1::Committed::default());
        run.add(Asked::Commit(1), done(4), committed, &[("acme/web", 4, 2), ("acme", 4, 2)]);
        let released = Body::Released(v1::Released::default());
        run.add(Asked::Release(1), done(5), released, &[("acme/web", 0, 2), ("acme", 0, 2)]);
        run.expire_after(50);
        let closed = rejected(Reason::HoldClosed(v1::rejection::HoldClosed::default()));
        run.add(Asked::Commit(6), Told::Closed, closed, &[]);
        run
    }
}

/// Use goes over a soft limit of 4 at 100 ms, its grace of 1.7 s ends, so that the soft limit is the
/// ceiling, and use goes back.
fn with_grace() -> Run {
    let grace = CLOCKED[0].resource;
    let clock = |ended| Some(v1::Clock { since_ms: 100, ends_at_ms: 0, ended });
    let mut run = Run::default();
    run.reserve_of(grace, 6, None);
    run.touch(grace, 6, clock(false));
    run.reserve_of(grace, 5, Some(denied("acme", v1::Rule::HardLimit, 10)));
    run.by_time(1_600, Body::ClockEnded(v1::ClockEnded::default()));
    run.touch(grace, 6, clock(true));
    run.reserve_of(grace, 1, Some(denied("acme", v1::Rule::SoftLimit, 4)));
    let released = Body::Released(v1::Released::default());
    run.add(Asked::Release(1), Told::Granted { revision: 5, hold: None }, released, &[]);
    run.touch(grace, 0, None);
    run.reserve_of(grace, 10, None);
    let since_ms = run.events.last().expect("it was added").log_time_ms;
    run.touch(grace, 10, Some(v1::Clock { since_ms, ends_at_ms: 0, ended: false }));
    run
}

/// A limit of 6 becomes 9 by a schedule.
fn with_change() -> Run {
    let mut run = Run::default();
    run.reserve_of(CHANGED, 7, Some(denied("acme", v1::Rule::HardLimit, 6)));
    let scheduled = Body::QuotaScheduled(v1::QuotaScheduled::default());
    let told = Told::Granted { revision: 2, hold: None };
    run.add(Asked::Change { limit: 9, at_ms: 250 }, told, scheduled, &[]);
    let policy = Some(v1::Policy { limit: Some(amount(9)), ..Default::default() });
    run.by_time(50, Body::QuotaSet(v1::QuotaSet { schedule_id: 2, policy, ..Default::default() }));
    run.reserve_of(CHANGED, 7, None);
    run.touch(CHANGED, 7, None);
    run.reserve_of(CHANGED, 3, Some(denied("acme", v1::Rule::HardLimit, 9)));
    run
}

#[test]
fn good_runs_pass() {
    assert_eq!(Run::good().check(), Ok(()));
    assert_eq!(with_grace().check(), Ok(()));
    assert_eq!(with_change().check(), Ok(()));
}

#[track_caller]
fn assert_caught(spoil: impl FnOnce(&mut Run), problem: &str) {
    assert_caught_in(Run::good(), spoil, problem);
}

#[track_caller]
fn assert_caught_in(mut run: Run, spoil: impl FnOnce(&mut Run), problem: &str) {
    spoil(&mut run);
    let verdict = run.check().expect_err("it is caught");
    assert!(verdict.contains(problem), "{verdict}");
}

#[test]
fn every_kind_of_wrong_is_caught() {
    assert_caught(|run| run.events[2].revision = 7, "stands where 3 should");
    assert_caught(|run| run.events[1].log_time_ms = 9, "log time goes back");
    assert_caught(|run| run.events[1].raft_index = 9, "in the log");
    assert_caught(|run| run.events.truncate(7), "lost");
    assert_caught(|run| run.history.truncate(4), "nobody asked");
    assert_caught(
        |run| {
            let mut again = run.events[4].clone();
            (again.revision, again.log_time_ms) = (9, 900);
            run.events.push(again);
        },
        "took effect twice",
    );
    assert_caught(
        |run| run.history[2].told = Told::Granted { revision: 3, hold: Some(3) },
        "not what happened",
    );
    assert_caught(|run| run.history[0].told = Told::Denied, "not what happened");
    assert_caught(|run| run.history[0].told = Told::Rejected { revision: 1 }, "not what happened");
    assert_caught(|run| run.events[0].actor = "mallory".to_owned(), "it must be client-1's");
    assert_caught(|run| run.history[3].invoked = Duration::from_secs(1), "comes after it");
    assert_caught(|run| run.reserve(5, &[]), "granted over");
    assert_caught(|run| run.deny(4), "there was room");
    assert_caught(|run| run.events[3].touched[0].held = "3".to_owned(), "instead of");
    assert_caught(|run| run.history[3].asked = Asked::Commit(3), "no such hold");
    assert_caught(|run| run.events[6].log_time_ms -= 1, "not its time");
    assert_caught(
        |run| {
            run.events[6].body = Some(Body::Expired(v1::Expired { hold_id: 2, ..Default::default() }));
        },
        "not its time",
    );
    assert_caught(|run| run.events[6].body = run.events[5].body.clone(), "nobody asked");
    assert_caught(|run| run.events[6].touched[0].held = "1".to_owned(), "instead of");
    assert_caught(|run| run.history[6].asked = Asked::Commit(2), "the hold is live");
    assert_caught(|run| run.history[6].told = Told::Denied, "not what happened");
}

#[test]
fn a_wrong_ceiling_or_clock_is_caught() {
    let caught = |spoil: fn(&mut Run), problem| assert_caught_in(with_grace(), spoil, problem);
    let clock = |run: &mut Run, at: usize, change: fn(&mut v1::Clock)| {
        change(run.events[at].touched[0].grace.as_mut().expect("its clock runs"));
    };
    assert_caught_in(with_grace(), |run| clock(run, 0, |clock| clock.since_ms += 1), "the clock is");
    assert_caught_in(with_grace(), |run| clock(run, 2, |clock| clock.since_ms = 1_800), "the clock is");
    assert_caught_in(with_grace(), |run| clock(run, 2, |clock| clock.ended = false), "the clock is");
    caught(|run| run.events[4].touched[0].grace = run.events[0].touched[0].grace, "the clock is");
    // Under the soft limit there is no room while its grace is over, and under the limit before.
    caught(
        |run| {
            run.events[2].touched.clear();
            run.events[2..4].iter_mut().for_each(|event| event.log_time_ms = 1_799);
        },
        "there was room",
    );
    caught(|run| run.events[3].body = Some(denied("acme", v1::Rule::HardLimit, 4)), "denied because of");
    caught(|run| run.events[1].body = Some(denied("acme", v1::Rule::HardLimit, 4)), "denied because of");
    caught(|run| run.reserve_of(CLOCKED[0].resource, 1, None), "granted over");
}

#[test]
fn a_change_that_is_not_made_or_not_the_one_that_was_asked_for_is_caught() {
    let caught = |spoil: fn(&mut Run), problem| assert_caught_in(with_change(), spoil, problem);
    caught(|run| run.events[2].body = Some(Body::TimeRefused(v1::TimeRefused::default())), "granted over");
    caught(
        |run| match &mut run.events[2].body {
            Some(Body::QuotaSet(set)) => set.schedule_id = 0,
            other => panic!("{other:?}"),
        },
        "nobody scheduled",
    );
    caught(
        |run| match &mut run.events[2].body {
            Some(Body::QuotaSet(set)) => set.policy.as_mut().expect("a policy").limit = Some(amount(20)),
            other => panic!("{other:?}"),
        },
        "there was room",
    );
}
