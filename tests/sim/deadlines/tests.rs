//! The checks fail when they should.

use quorate::client::v1;
use quorate::client::v1::event::Body;
use quorate::client::v1::scheduled::Plan;
use uuid::Uuid;

use super::due::End;
use super::due::Kind;
use super::*;
use crate::quotas::CLOCKED;
use crate::quotas::RESOURCE;
use crate::quotas::ROOT;
use crate::quotas::amount;
use crate::workload::Asked;
use crate::workload::Told;

const SECOND: u64 = 1_000;

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// A time of the simulation as log time.
fn log_time(time: u64) -> u64 {
    u64::try_from((EPOCH + ms(time)).as_millis()).expect("a time")
}

/// Events, each of an entry of its own, those who asked for them, and one who looks every second.
#[derive(Default)]
struct Run {
    events: Vec<Event>,
    history: Vec<Operation>,
    looks: Vec<Look>,
}

impl Run {
    /// A hold that is reserved at 10 s for 5 s, renewed at 12 s for another 5 s, and expires.
    fn hold() -> Self {
        let mut run = Self::default();
        let asked = Asked::Reserve { scope: ROOT, resource: RESOURCE, amount: 1, ttl_ms: Some(5_000) };
        run.ask(10_000, asked, Body::Reserved(v1::Reserved::default()));
        run.ask(12_000, Asked::Renew { hold: 1, ttl_ms: 5_000 }, Body::Renewed(v1::Renewed::default()));
        run.happen(17_000, Body::Expired(v1::Expired { hold_id: 1, ..Default::default() }));
        run.looked()
    }

    /// All that ends by itself besides holds: an override from 12 s to 14 s, a loan until 13 s, a change
    /// at 15 s, and a grace that is over 1.7 s after 11 s.
    fn everything() -> Self {
        let mut run = Self::default();
        let (start_ms, until_ms) = (log_time(12_000), log_time(14_000));
        let plan = v1::LimitOverride { end_ms: until_ms, active: false, ..Default::default() };
        run.ask(
            10_000,
            Asked::Override { start_ms, until_ms },
            scheduled(start_ms, Plan::LimitOverride(plan)),
        );
        run.ask(
            10_500,
            Asked::Lend { until_ms: log_time(13_000) },
            Body::QuotaTransferred(Default::default()),
        );
        let at_ms = log_time(15_000);
        let change = Plan::Change(v1::Policy { limit: Some(amount(3)), ..Default::default() });
        run.ask(10_700, Asked::Change { limit: 3, at_ms }, scheduled(at_ms, change));
        let grace = CLOCKED[0].resource;
        let asked = Asked::Reserve { scope: ROOT, resource: grace, amount: 5, ttl_ms: None };
        run.ask(11_000, asked, Body::Reserved(v1::Reserved::default()));
        run.touch(grace, 5);
        run.happen(12_000, switched(true));
        run.happen(12_700, clock_ended(v1::ClockKind::Grace));
        run.touch(grace, 5);
        run.happen(
            13_000,
            Body::TransferReturned(v1::TransferReturned { transfer_id: 2, ..Default::default() }),
        );
        run.happen(14_000, switched(false));
        run.happen(15_000, changed(3, 3));
        run.ask(16_000, Asked::Release(4), Body::Released(v1::Released::default()));
        run.touch(grace, 0);
        run.looked()
    }

    fn happen(&mut self, time: u64, body: Body) {
        let revision = self.events.len() as u64 + 1;
        self.events.push(Event {
            revision,
            raft_index: revision,
            log_time_ms: log_time(time),
            body: Some(body),
            ..Default::default()
        });
    }

    fn ask(&mut self, time: u64, asked: Asked, body: Body) {
        self.happen(time, body);
        let event = self.events.last_mut().expect("it has happened");
        let request_id = Uuid::from_u128(u128::from(event.revision));
        event.request_id = request_id.to_string();
        let told = Told::Granted { revision: event.revision, hold: None };
        let (invoked, returned) = (ms(time), ms(time + 100));
        self.history.push(Operation { request_id, actor: "client-1", asked, told, invoked, returned });
    }

    /// The last event left so much taken.
    fn touch(&mut self, resource: &str, held: u64) {
        let event = self.events.last_mut().expect("it has happened");
        event.touched.push(v1::Touched {
            scope: ROOT.to_owned(),
            resource: resource.to_owned(),
            used: "0".to_owned(),
            held: held.to_string(),
            ..Default::default()
        });
    }

    fn looked(mut self) -> Self {
        for second in 1..30 {
            let began = second * SECOND;
            let seen = self.events.iter().filter(|event| event.log_time_ms <= log_time(began)).count() as u64;
            self.looks.push(Look { began: ms(began), ended: ms(began + 100), revision: Some(seen) });
        }
        self
    }

    fn check(&self) -> Result<Vec<Deadline>, String> {
        check_time(&self.events, &self.history, &self.looks)
    }
}

fn scheduled(start_ms: u64, plan: Plan) -> Body {
    let item = v1::Scheduled { start_ms, plan: Some(plan), ..Default::default() };
    Body::QuotaScheduled(v1::QuotaScheduled { item: Some(item), ..Default::default() })
}

fn switched(active: bool) -> Body {
    Body::OverrideSwitched(v1::OverrideSwitched { schedule_id: 1, active, ..Default::default() })
}

fn clock_ended(kind: v1::ClockKind) -> Body {
    Body::ClockEnded(v1::ClockEnded { clock: kind.into(), ..Default::default() })
}

fn changed(schedule_id: u64, limit: u64) -> Body {
    let policy = v1::Policy { limit: Some(amount(limit)), ..Default::default() };
    Body::QuotaSet(v1::QuotaSet { schedule_id, policy: Some(policy), ..Default::default() })
}

#[test]
fn good_runs_pass_and_all_their_deadlines_are_known() {
    let of = |deadline: &Deadline| {
        let End { revision, by_time } = deadline.end.expect("all have ended");
        (deadline.kind, deadline.made, revision, by_time)
    };
    let hold = Run::hold().check().expect("it is a good run");
    let ends: Vec<_> = hold.iter().map(of).collect();
    assert_eq!(ends, [(Kind::Hold, 1, 2, false), (Kind::Hold, 2, 3, true)]);
    let everything = Run::everything().check().expect("it is a good run");
    let ends: Vec<_> = everything.iter().map(of).collect();
    assert_eq!(
        ends,
        [
            (Kind::Begin, 1, 5, true),
            (Kind::Grace, 4, 6, true),
            (Kind::Loan, 2, 7, true),
            (Kind::Override, 1, 8, true),
            (Kind::Change, 3, 9, true),
        ]
    );
}

#[test]
fn a_hold_may_live_on_while_nobody_leads() {
    let mut run = Run::hold();
    for look in &mut run.looks[16..24] {
        look.revision = None;
    }
    run.looks[24].revision = Some(2);
    run.check().expect("nobody could end it");
}

#[track_caller]
fn assert_caught(mut run: Run, spoil: impl FnOnce(&mut Run), problem: &str) {
    spoil(&mut run);
    let verdict = run.check().expect_err("it is caught");
    assert!(verdict.contains(problem), "{verdict}");
}

#[test]
fn what_is_wrong_in_the_time_of_the_simulation_is_caught() {
    let hour = 3_600_000;
    let caught = |spoil: fn(&mut Run), problem| assert_caught(Run::hold(), spoil, problem);
    assert_caught(Run::hold(), |run| run.events[1].log_time_ms += hour, "log time");
    assert_caught(Run::hold(), |run| run.events[1].log_time_ms -= hour, "log time");
    // Ended at its first end, although it was renewed.
    caught(|run| run.looks[14].revision = Some(3), "too early");
    caught(|run| run.history[1].invoked += ms(2 * SECOND), "log time");
    caught(
        |run| run.looks.iter_mut().for_each(|look| look.revision = look.revision.min(Some(2))),
        "never seen",
    );
    caught(
        |run| {
            run.events.truncate(2);
            run.looks.iter_mut().for_each(|look| look.revision = look.revision.min(Some(2)));
        },
        "lasted too long",
    );
    caught(|run| run.looks[16..25].iter_mut().for_each(|look| look.revision = Some(2)), "lasted too long");
    let refusal = |clock_ms| Body::TimeRefused(v1::TimeRefused { clock_ms, node_id: 1 });
    let mut run = Run::default();
    run.happen(10_000, refusal(log_time(10_000) - hour));
    run.happen(10_000, refusal(log_time(10_000) + hour));
    assert_eq!(run.check(), Ok(Vec::new()));
    assert_caught(run, |run| run.happen(10_000, refusal(log_time(10_000) + 900)), "refuses a clock");
    // The times that clients name are those of the simulation, too.
    assert_caught(Run::everything(), |run| run.looks[11].revision = Some(8), "too early");
}

#[test]
fn what_is_wrong_in_log_time_is_caught() {
    let caught = |spoil: fn(&mut Run), problem| assert_caught(Run::everything(), spoil, problem);
    let by_time = [(4, "begin"), (5, "grace"), (6, "loan"), (7, "override"), (8, "change")];
    for (at, of) in by_time {
        let early = |run: &mut Run| run.events[at].log_time_ms -= 1;
        assert_caught(Run::everything(), early, "it is not its time");
        // An entry before was at its time and did not end it.
        let late = |run: &mut Run| {
            run.events[at].log_time_ms += 1;
            run.events[at - 1].log_time_ms = run.events[at].log_time_ms - 1;
        };
        let mut run = Run::everything();
        late(&mut run);
        let verdict = run.check().expect_err(of);
        assert!(verdict.contains("its time"), "{of}: {verdict}");
        let mut run = Run::everything();
        let again = run.events[at].clone();
        run.events.insert(at + 1, Event { touched: Vec::new(), ..again.clone() });
        if of == "begin" {
            assert!(run.check().is_err(), "it begins twice");
        } else {
            run.events[at + 1].touched = again.touched;
            let verdict = run.check().expect_err(of);
            assert!(verdict.contains("ended already"), "{of}: {verdict}");
        }
        let mut run = Run::everything();
        run.events.remove(at);
        assert!(run.check().is_err(), "the {of} never ends, and nobody notices");
    }
    caught(|run| run.events[5].body = Some(clock_ended(v1::ClockKind::Burst)), "another clock");
    caught(|run| run.events[4].body = Some(switched(false)), "other end");
    caught(|run| run.events[8].body = Some(changed(3, 4)), "ended already, or never was");
    caught(
        |run| {
            // Both in one entry, the later first.
            run.events.swap(6, 7);
            let (index, time) = (run.events[7].raft_index, log_time(14_000));
            run.events[6..8].iter_mut().for_each(|event| {
                event.raft_index = index;
                event.log_time_ms = time;
            });
        },
        "something later",
    );
    caught(
        |run| run.history[0].asked = Asked::Override { start_ms: 0, until_ms: log_time(14_000) },
        "asked for",
    );
}

#[test]
fn what_clients_were_told_of_time_is_checked() {
    let too_late = |asked: Asked, reason: v1::rejection::Reason| {
        let mut run = Run::everything();
        let rejection = v1::Rejection { reason: Some(reason), ..Default::default() };
        let rejected = v1::Rejected { rejection: Some(rejection), ..Default::default() };
        run.ask(16_500, asked, Body::Rejected(rejected));
        run.looks.clear();
        run.looked().check()
    };
    use v1::rejection::Reason;
    let malformed = || Reason::Malformed(Default::default());
    let conflict = || Reason::ScheduleConflict(Default::default());
    let replace = |until_ms| Asked::Override { start_ms: 0, until_ms };
    too_late(replace(log_time(16_000)), malformed()).expect("its end was past");
    too_late(replace(log_time(17_000)), malformed()).expect_err("its end was to come");
    too_late(replace(log_time(17_000)), conflict()).expect_err("no override is pending");
    too_late(Asked::Lend { until_ms: log_time(16_000) }, malformed()).expect("its end was past");
    too_late(Asked::Lend { until_ms: log_time(17_000) }, malformed()).expect_err("its end was to come");
    too_late(Asked::Lend { until_ms: log_time(17_000) }, conflict()).expect_err("few loans wait");
    too_late(Asked::Change { limit: 3, at_ms: log_time(17_000) }, conflict()).expect_err("there is room");
}

#[test]
fn a_hold_that_is_used_after_its_end_is_caught() {
    let mut run = Run::hold();
    run.events.truncate(2);
    run.ask(25_000, Asked::Commit(1), Body::Committed(v1::Committed::default()));
    let verdict = run.check().expect_err("it is caught");
    assert!(verdict.contains("should have ended"), "{verdict}");
}
