//! The log witness: every reply says its revision, and by that it is judged. Real-time order must agree
//! with the order of revisions as far as a read promised it, and the events up to the revision must
//! make exactly what was shown.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::client::Read;
use quorate::client::v1::Event;
use quorate::client::v1::Hold;
use quorate::client::v1::Quota;
use quorate::client::v1::event::Body;
use quorate::codec::view;
use quorate::ledger::State;

use super::Answer;
use super::Met;
use super::Reply;
use super::Shown;
use crate::check::Verdict;
use crate::check::fold;
use crate::cluster::EPOCH;
use crate::deadlines::TOLERANCE;
use crate::workload::Asked;
use crate::workload::Operation;
use crate::workload::Told;

/// Checks all replies against all events, and against what was known when. Returns what readers met.
pub fn check_reads(events: &[Event], history: &[Operation], replies: &[Reply]) -> Result<Met, String> {
    let known = Known::new(history, replies);
    let by_id: BTreeMap<String, &Operation> =
        history.iter().map(|operation| (operation.request_id.to_string(), operation)).collect();
    let let_go = LetGo::new(events, history);
    for reply in replies {
        check_order(reply, &known, events, &let_go)
            .and_then(|()| check_not_before(reply, events, &by_id))
            .map_err(|problem| format!("{problem}: {reply}"))?;
    }
    check_content(events, replies)?;
    Ok(Met::count(replies, |time| known.before(time)))
}

/// What somebody was told, by when.
struct Known {
    /// Ascending, also in the revision.
    told: Vec<(Duration, u64)>,
}

impl Known {
    fn new(history: &[Operation], replies: &[Reply]) -> Self {
        let written = history.iter().filter_map(|operation| match operation.told {
            Told::Granted { revision, .. } => Some((operation.returned, revision)),
            _ => None,
        });
        let read = replies.iter().filter_map(|reply| Some((reply.ended, reply.revision()?)));
        let mut told: Vec<_> = written.chain(read).collect();
        told.sort_unstable();
        let mut greatest = 0;
        for (_, revision) in &mut told {
            greatest = greatest.max(*revision);
            *revision = greatest;
        }
        Self { told }
    }

    /// The greatest revision that somebody had been told of before a moment.
    fn before(&self, moment: Duration) -> u64 {
        let count = self.told.partition_point(|(told, _)| *told < moment);
        count.checked_sub(1).map_or(0, |last| self.told[last].1)
    }
}

/// What events were let go of, by when.
struct LetGo {
    /// When it was asked for, and up to where; ascending.
    asked: Vec<(Duration, u64)>,
}

impl LetGo {
    fn new(events: &[Event], history: &[Operation]) -> Self {
        let happened = |through: u64| {
            events.iter().any(|event| {
                matches!(&event.body, Some(Body::EventsCompacted(it)) if it.through_revision == through)
            })
        };
        let asked = history.iter().filter_map(|operation| match operation.asked {
            Asked::LetGo(through) => Some((operation.invoked, through)),
            _ => None,
        });
        let mut asked: Vec<_> = asked.filter(|(_, through)| happened(*through)).collect();
        asked.sort_unstable();
        Self { asked }
    }

    /// Up to where events may have been gone at a moment; 0 when none could be.
    fn before(&self, moment: Duration) -> u64 {
        let count = self.asked.partition_point(|(invoked, _)| *invoked <= moment);
        count.checked_sub(1).map_or(0, |last| self.asked[last].1)
    }
}

/// Whether a node may say that it was too long ago: only what comes before the first revision that it has,
/// which is one that it can have, and none that it would have if nothing had been let go of.
fn check_compacted(reply: &Reply, earliest: u64, events: &[Event], let_go: &LetGo) -> Verdict {
    let horizon = let_go.before(reply.ended);
    let last_at = |time: u64| events.partition_point(|event| event.log_time_ms <= time) as u64;
    let asked_for = match reply.read {
        Read::AtRevision(revision) => revision,
        Read::AtTime(time) => last_at(time),
        _ => return Err("is told that it is too long ago".to_owned()),
    };
    // When the last of those was decided that are gone nobody knows: it may have been the one in question.
    let is_unknown = matches!(reply.read, Read::AtTime(_)) && asked_for <= horizon;
    if horizon == 0 {
        return Err("nothing was removed".to_owned());
    }
    if asked_for >= earliest && !is_unknown {
        return Err(format!("{asked_for} is too long ago, although there is everything from {earliest} on"));
    }
    let now =
        u64::try_from((EPOCH + reply.ended + TOLERANCE).as_millis()).expect("not that far in the future");
    let last = last_at(now);
    if earliest > last {
        return Err(format!("is told that there is nothing before {earliest}, and {last} was the last then"));
    }
    Ok(())
}

/// How new the answer had to be.
fn check_order(reply: &Reply, known: &Known, events: &[Event], let_go: &LetGo) -> Verdict {
    let is = |right: bool, problem: String| if right { Ok(()) } else { Err(problem) };
    match (reply.read, &reply.answer) {
        (_, Answer::Unavailable) => Ok(()),
        (_, Answer::Compacted { earliest }) => check_compacted(reply, *earliest, events, let_go),
        (Read::Linearizable, Answer::Shown { revision, .. }) => {
            let least = known.before(reply.began);
            is(*revision >= least, format!("shows {revision} although {least} was known before"))
        }
        (Read::AtLeast(least), Answer::Shown { revision, .. }) => {
            is(*revision >= least, format!("shows {revision}, which is less"))
        }
        (Read::Stale(lag), Answer::Shown { revision, .. }) => {
            let least = known.before(reply.began.saturating_sub(lag));
            is(*revision >= least, format!("shows {revision} although {least} was known so long before"))
        }
        (Read::AtRevision(exactly), Answer::Shown { revision, .. }) => {
            is(*revision == exactly, format!("shows {revision}"))
        }
        (Read::AtTime(time), Answer::Shown { revision, .. }) => {
            let exactly = events.partition_point(|event| event.log_time_ms <= time) as u64;
            is(*revision == exactly, format!("shows {revision}, and {exactly} was the last then"))
        }
        (Read::AtRevision(revision), Answer::NotYet) => {
            let last = known.before(reply.began);
            is(revision > last, format!("is told that it has not happened yet, but {last} was known before"))
        }
        (Read::AtTime(time), Answer::NotYet) => {
            let time = Duration::from_millis(time).saturating_sub(EPOCH);
            is(time + TOLERANCE >= reply.began, "is told that it is not past".to_owned())
        }
        (_, Answer::NotYet) => Err("is told that it has not happened yet".to_owned()),
    }
}

/// Nobody sees what nobody has asked for yet.
fn check_not_before(reply: &Reply, events: &[Event], by_id: &BTreeMap<String, &Operation>) -> Verdict {
    let position = reply.revision().and_then(|revision| usize::try_from(revision).ok()?.checked_sub(1));
    let Some(last) = position.and_then(|position| events.get(position)) else {
        return Ok(());
    };
    match by_id.get(&last.request_id) {
        Some(asked) if asked.invoked > reply.ended => {
            Err(format!("shows {} before anybody asked for it", last.revision))
        }
        _ => Ok(()),
    }
}

/// What was shown is what the events up to its revision make.
fn check_content(events: &[Event], replies: &[Reply]) -> Verdict {
    let mut by_revision: BTreeMap<u64, Vec<(&Reply, &Shown)>> = BTreeMap::new();
    for reply in replies {
        if let Answer::Shown { revision, shown } = &reply.answer {
            by_revision.entry(*revision).or_default().push((reply, shown));
        }
    }
    let mut state = State::default();
    let mut left = events.iter();
    for (revision, shown) in by_revision {
        while state.revision() < revision {
            let event =
                left.next().ok_or_else(|| format!("revision {revision} was shown and is not there"))?;
            fold(&mut state, event)?;
        }
        for (reply, shown) in shown {
            let expected = match shown {
                Shown::Quotas(_) => Shown::Quotas(quotas(&state)),
                Shown::Holds(_) => Shown::Holds(holds(&state)),
            };
            if *shown != expected {
                return Err(format!("revision {revision}: {reply} shows {shown:?}, it must be {expected:?}"));
            }
        }
    }
    Ok(())
}

fn quotas(state: &State) -> Vec<Quota> {
    let scopes = state.trees().flat_map(|root| state.subtree(root.id));
    scopes
        .flat_map(|scope| {
            scope.accounts().iter().filter_map(move |account| view::quota(state, scope, account.resource))
        })
        .collect()
}

fn holds(state: &State) -> Vec<Hold> {
    state.holds_from(0).map(|hold| view::hold(state, hold)).collect()
}
