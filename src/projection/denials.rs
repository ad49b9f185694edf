//! Denials: how often commands were not carried out, by hour, reason and quota.
//!
//! | key | value |
//! |---|---|
//! | hour, 8 bytes; path; 0; resource; 0; reason; 0; rule, 1 byte | `DenialCount` |
//!
//! Path and resource are empty when the reason names no quota.

use std::collections::BTreeMap;

use super::About;
use super::Folded;
use super::Projection;
use super::ProjectionError;
use super::views::ViewBatch;
use super::views::Views;
use crate::codec::Corrupt;
use crate::codec::event::stored::Happened;
use crate::codec::local;
use crate::codec::tell;
use crate::ledger::LogTime;
use crate::ledger::Path;
use crate::ledger::Revision;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;
use crate::proto::v1::rejection::Reason;
use crate::store::StateStore;

/// What it is.
pub const ABOUT: About = About {
    name: "denials",
    purpose: "how often commands were not carried out, by hour, reason and quota",
    number: 0x13,
    version: 1,
    needs_all_events: true,
};

const WHAT: &str = "a record of denials";

const HOUR: u64 = 3_600_000;

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// In words: "denied".
    pub reason: String,
    /// The number of the rule; 0 for none.
    pub rule: u8,
    /// The quota; empty for none.
    pub scope: String,
    /// See `scope`.
    pub resource: String,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// So often.
    pub count: u64,
    /// The last event.
    pub last: Revision,
    /// Its log time.
    pub time: LogTime,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        if other.last > self.last {
            (self.last, self.time) = (other.last, other.time);
        }
    }
}

fn hour_key(hour: u64) -> [u8; 8] {
    hour.to_be_bytes()
}

fn key(hour: u64, kind: &Kind) -> Vec<u8> {
    let mut key = hour_key(hour).to_vec();
    for text in [&kind.scope, &kind.resource, &kind.reason] {
        key.extend_from_slice(text.as_bytes());
        key.push(0);
    }
    key.push(kind.rule);
    key
}

fn kind_of(key: &[u8]) -> Option<Kind> {
    let mut parts = key.get(8..)?.splitn(4, |byte| *byte == 0);
    let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
    let (scope, resource, reason) = (text()?, text()?, text()?);
    let [rule] = *parts.next()? else { return None };
    Some(Kind { reason, rule, scope, resource })
}

/// What a rejection is counted as: once for each quota that it names.
fn kinds(rejection: &v1::Rejection) -> Vec<Kind> {
    let reason = tell::label(rejection).to_owned();
    let of = |rule: i32, scope: &str, resource: &str| Kind {
        reason: reason.clone(),
        rule: u8::try_from(rule).unwrap_or(0),
        scope: scope.to_owned(),
        resource: resource.to_owned(),
    };
    let name = |quota: &Option<v1::QuotaName>| match quota {
        Some(quota) => of(0, &quota.scope, &quota.resource),
        None => of(0, "", ""),
    };
    let named: Vec<Kind> = match &rejection.reason {
        Some(Reason::PartFailed(part)) => match &part.rejection {
            Some(inner) => return kinds(inner),
            None => Vec::new(),
        },
        Some(Reason::Denied(denied)) => {
            let quotas = denied.blocking.iter();
            quotas.map(|blocking| of(blocking.rule, &blocking.scope, &blocking.resource)).collect()
        }
        Some(Reason::Locked(locked)) => locked.locks.iter().map(|locked| name(&locked.quota)).collect(),
        _ => Vec::new(),
    };
    if named.is_empty() { vec![of(0, "", "")] } else { named }
}

/// The fold.
#[derive(Debug, Default)]
pub struct Denials {
    counts: BTreeMap<(u64, Kind), Count>,
}

impl Projection for Denials {
    fn about(&self) -> About {
        ABOUT
    }

    fn load(&mut self, _: &Views<'_>) -> Result<(), ProjectionError> {
        *self = Self::default();
        Ok(())
    }

    fn fold(&mut self, _: &Views<'_>, event: &Folded<'_>) -> Result<(), ProjectionError> {
        let Happened::Rejected(rejected) = &event.happened else {
            return Ok(());
        };
        let (last, time) = (event.stored.revision, event.stored.time);
        for kind in rejected.rejection.iter().flat_map(kinds) {
            self.counts.entry((time / HOUR, kind)).or_default().add(Count { count: 1, last, time });
        }
        Ok(())
    }

    fn write(&mut self, views: &Views<'_>, batch: &mut ViewBatch<'_>) -> Result<(), ProjectionError> {
        for ((hour, kind), count) in std::mem::take(&mut self.counts) {
            let key = key(hour, &kind);
            let mut sum = match views.message::<storage::DenialCount>(&key)? {
                Some(before) => decode(&before),
                None => Count::default(),
            };
            sum.add(count);
            let message =
                storage::DenialCount { count: sum.count, last_revision: sum.last, last_ms: sum.time };
            batch.put_message(&key, &message);
        }
        Ok(())
    }
}

fn decode(message: &storage::DenialCount) -> Count {
    Count { count: message.count, last: message.last_revision, time: message.last_ms }
}

/// What was not carried out in the hours that a time touches, at and below a scope or anywhere.
pub fn counts(
    store: &dyn StateStore,
    within: Option<&Path>,
    (from, to): (LogTime, LogTime),
) -> Result<BTreeMap<Kind, Count>, ProjectionError> {
    let views = Views::new(store, ABOUT);
    let mut sums: BTreeMap<Kind, Count> = BTreeMap::new();
    let mut problem = None;
    let (from, to) = (hour_key(from / HOUR), hour_key(to.div_ceil(HOUR)));
    views.scan(&from, &to, &mut |key, value| {
        match (kind_of(key), local::message::<storage::DenialCount>(WHAT, value)) {
            (Some(kind), Ok(count)) => {
                let wanted = within
                    .is_none_or(|within| Path::parse(&kind.scope).is_ok_and(|path| path.is_within(within)));
                if wanted {
                    sums.entry(kind).or_default().add(decode(&count));
                }
            }
            (None, _) => problem = Some(Corrupt::new(WHAT, "its key makes no sense")),
            (_, Err(corrupt)) => problem = Some(corrupt),
        }
        problem.is_none()
    })?;
    problem.map_or(Ok(sums), |corrupt| Err(corrupt.into()))
}
