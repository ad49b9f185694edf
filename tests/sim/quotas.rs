//! The quotas that clients use. Each resource is for one subject, so that what may be taken of it at
//! any time is simple enough to be worked out a second time.

use quorate::client::v1::ClockKind;
use quorate::client::v1::Limit;
use quorate::client::v1::Policy;
use quorate::client::v1::SetQuotaRequest;
use quorate::client::v1::limit;

/// What is counted under limits that never change.
pub const RESOURCE: &str = "concurrent_gpus";

/// The tree, with the limit of each scope; the leaves together could use more than the root has.
pub const SCOPES: [(&str, u64); 3] = [("acme", 12), ("acme/ml", 9), ("acme/web", 6)];

/// Where the quotas of `CLOCKED` and `CHANGED` are.
pub const ROOT: &str = SCOPES[0].0;

/// What is lent and replaced for a while: nobody reserves it.
pub const LENT: &str = "vcpus";

/// Between whom it is lent, below the first of `SCOPES`.
pub const LENDERS: [&str; 2] = ["acme/ml", "acme/web"];

/// What has a limit that is changed again and again, always by a schedule.
pub const CHANGED: &str = "volumes";

/// What that limit is at first, and what it may become.
pub const CHANGED_AT_FIRST: u64 = 6;
pub const CHANGED_TO: std::ops::Range<u64> = 2..10;

/// A quota whose ceiling is `above` until use has been over `line` for some time, and then is `line`
/// until use is back at or under it.
#[derive(Debug, PartialEq, Eq)]
pub struct Clocked {
    pub resource: &'static str,
    /// Grace: the line is a soft limit below the limit. Burst: it is the limit, below a burst.
    pub kind: ClockKind,
    pub line: u64,
    pub above: u64,
    pub length_ms: u64,
}

pub const CLOCKED: [Clocked; 4] = [
    Clocked { resource: "memory_gb", kind: ClockKind::Grace, line: 4, above: 10, length_ms: 1_700 },
    Clocked { resource: "storage_gb", kind: ClockKind::Burst, line: 5, above: 9, length_ms: 2_600 },
    Clocked { resource: "instances", kind: ClockKind::Grace, line: 2, above: 8, length_ms: 3_300 },
    Clocked { resource: "backups", kind: ClockKind::Burst, line: 2, above: 7, length_ms: 2_000 },
];

impl Clocked {
    fn policy(&self) -> Policy {
        match self.kind {
            ClockKind::Grace => Policy {
                limit: Some(amount(self.above)),
                soft: self.line.to_string(),
                grace_ms: self.length_ms,
                ..Default::default()
            },
            ClockKind::Burst => Policy {
                limit: Some(amount(self.line)),
                burst: self.above.to_string(),
                max_burst_ms: self.length_ms,
                ..Default::default()
            },
            ClockKind::Unspecified => unreachable!("every clock is of a kind"),
        }
    }
}

/// A limit that is an amount.
pub fn amount(amount: u64) -> Limit {
    Limit { limit: Some(limit::Limit::Amount(amount.to_string())) }
}

/// What makes the quotas of a scope.
pub fn of(scope: &str, limit: u64) -> Vec<SetQuotaRequest> {
    let set = |resource: &str, policy| SetQuotaRequest {
        scope: scope.to_owned(),
        resource: resource.to_owned(),
        policy: Some(policy),
        ..Default::default()
    };
    let fixed = |limit| Policy { limit: Some(amount(limit)), ..Default::default() };
    let mut quotas =
        vec![set(RESOURCE, fixed(limit)), set(LENT, Policy { allow_transfer: true, ..fixed(limit * 100) })];
    if scope == ROOT {
        quotas.push(set(CHANGED, fixed(CHANGED_AT_FIRST)));
        quotas.extend(CLOCKED.iter().map(|clocked| set(clocked.resource, clocked.policy())));
    }
    quotas
}
