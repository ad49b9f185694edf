//! Puts the reasons of a rejection into words for people.
//!
//! Knows the vocabulary of the ledger. Knows nothing of gRPC, exit codes or where the words go.

use super::output::utc;
use crate::client::v1;
use crate::client::v1::rejection::Reason;

/// What kind of refusal it is, in a word or two: "denied", "locked".
pub(super) fn label(rejection: &v1::Rejection) -> &'static str {
    match &rejection.reason {
        Some(Reason::Malformed(_)) => "malformed",
        Some(
            Reason::UnknownScopes(_)
            | Reason::UnknownResources(_)
            | Reason::UnknownQuotas(_)
            | Reason::UnknownHold(_),
        ) => "not found",
        Some(Reason::Exists(_)) => "exists already",
        Some(Reason::HoldClosed(_)) => "closed",
        Some(Reason::Locked(_)) => "locked",
        Some(Reason::VersionMismatch(_)) => "version mismatch",
        Some(Reason::SequenceMismatch(_)) => "sequence mismatch",
        Some(Reason::Denied(_)) => "denied",
        Some(Reason::LimitConflict(_)) => "limit conflict",
        Some(Reason::Uncountable(_)) => "too many digits",
        Some(Reason::RequestIdReused(_)) => "request id reused",
        Some(Reason::RequestIdExpired(_)) => "request id expired",
        None => "rejected",
    }
}

/// Each thing that stood in the way, one sentence each.
pub(super) fn reasons(rejection: &v1::Rejection) -> Vec<String> {
    let mut reasons = listed(rejection);
    if rejection.omitted > 0 {
        reasons.push(format!("and {} more; `quorate events list` shows all", rejection.omitted));
    }
    reasons
}

fn listed(rejection: &v1::Rejection) -> Vec<String> {
    match &rejection.reason {
        Some(Reason::UnknownScopes(unknown)) => {
            unknown.scopes.iter().map(|scope| format!("there is no scope {scope}")).collect()
        }
        Some(Reason::UnknownResources(unknown)) => {
            unknown.resources.iter().map(|resource| format!("there is no resource {resource}")).collect()
        }
        Some(Reason::UnknownQuotas(unknown)) => {
            let none =
                |quota| format!("{} has no quota: set one with `quorate quota set`", name(Some(quota)));
            unknown.quotas.iter().map(none).collect()
        }
        Some(Reason::Locked(locked)) => locked.locks.iter().map(locked_quota).collect(),
        Some(Reason::SequenceMismatch(mismatch)) => {
            let found = |found: &v1::rejection::SequenceFound| {
                moved("sequence", found.quota.as_ref(), found.expected, found.actual)
            };
            mismatch.found.iter().map(found).collect()
        }
        Some(Reason::Denied(denied)) => denied.blocking.iter().map(blocking).collect(),
        Some(other) => vec![reason(other)],
        None => vec!["for a reason that this program does not know: it is older than the server".to_owned()],
    }
}

/// The reasons of which there is never more than one.
fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Malformed(malformed) => format!("{}: {}", malformed.field, malformed.problem),
        Reason::UnknownHold(unknown) => {
            format!("there is no hold {}; one closed long ago is forgotten", unknown.hold_id)
        }
        Reason::Exists(exists) => format!("{} {} is there already", exists.what, exists.name),
        Reason::HoldClosed(closed) => format!(
            "hold {} was {} at revision {}",
            closed.hold_id,
            hold_state(closed.state()),
            closed.closed_at_revision
        ),
        Reason::Uncountable(uncountable) => {
            let quotas: Vec<String> = uncountable.quotas.iter().map(|quota| name(Some(quota))).collect();
            format!("with this, {} would have more digits than can be counted exactly", quotas.join(", "))
        }
        Reason::VersionMismatch(mismatch) => {
            moved("version", mismatch.quota.as_ref(), mismatch.expected, mismatch.actual)
        }
        Reason::LimitConflict(conflict) => {
            let other = match &conflict.other {
                Some(other) => format!(" (in the way: {})", name(Some(other))),
                None => String::new(),
            };
            format!("{}: {}{other}", name(conflict.quota.as_ref()), conflict.problem)
        }
        Reason::RequestIdReused(reused) => format!(
            "another command had this id, at revision {}: an id repeats its own command only",
            reused.first_revision
        ),
        Reason::RequestIdExpired(expired) => format!(
            "ids from before {} are forgotten, and nothing was done now; \
             `quorate events list` shows whether the command was done at its time",
            utc(expired.oldest_accepted_ms)
        ),
        // Those with a list, which the caller has put into words.
        _ => String::new(),
    }
}

/// What a denial comes down to, in one line.
pub(super) fn denial_headline(denied: &v1::rejection::Denied) -> String {
    match denied.blocking.as_slice() {
        [] => "there is no room; nothing was reserved".to_owned(),
        [one] => {
            format!("{} has no room for {} {}; nothing was reserved", one.scope, one.requested, one.resource)
        }
        many => format!("{} quotas have no room; nothing was reserved", many.len()),
    }
}

fn blocking(blocking: &v1::Blocking) -> String {
    let rule = match blocking.rule() {
        v1::Rule::HardLimit => "hard limit",
        v1::Rule::Unspecified => "limit",
    };
    let waiting = if blocking.waiting_can_help { "waiting can help" } else { "waiting cannot help" };
    format!(
        "{}  {}  {rule} {}, used {}, held {}, requested {}: short by {}; {waiting}",
        blocking.scope,
        blocking.resource,
        blocking.limit,
        blocking.used,
        blocking.held,
        blocking.requested,
        blocking.shortfall
    )
}

fn locked_quota(locked: &v1::rejection::LockedQuota) -> String {
    let quota = name(locked.quota.as_ref());
    match &locked.lock {
        Some(lock) => format!("{quota} is {}", lock_text(lock)),
        None => format!("{quota} is locked"),
    }
}

/// A lock in words: "locked by alice: audit".
pub(super) fn lock_text(lock: &v1::Lock) -> String {
    if lock.actor.is_empty() {
        format!("locked: {}", lock.reason)
    } else {
        format!("locked by {}: {}", lock.actor, lock.reason)
    }
}

fn moved(what: &str, quota: Option<&v1::QuotaName>, expected: u64, actual: u64) -> String {
    format!("{} is at {what} {actual}, not {expected}: read it again and decide anew", name(quota))
}

fn name(quota: Option<&v1::QuotaName>) -> String {
    match quota {
        Some(quota) => format!("{} {}", quota.scope, quota.resource),
        None => "the quota".to_owned(),
    }
}

/// The state of a hold in the words of the ledger.
pub(super) fn hold_state(state: v1::HoldState) -> &'static str {
    match state {
        v1::HoldState::Unspecified => "closed",
        v1::HoldState::Held => "held",
        v1::HoldState::Committed => "committed",
        v1::HoldState::Released => "released",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli) fn rejection(reason: Reason) -> v1::Rejection {
        v1::Rejection { reason: Some(reason), omitted: 0 }
    }

    pub(in crate::cli) fn quota(scope: &str) -> Option<v1::QuotaName> {
        Some(v1::QuotaName { scope: scope.into(), resource: "memory_gb".into() })
    }

    pub(in crate::cli) fn denied() -> v1::Rejection {
        rejection(Reason::Denied(v1::rejection::Denied {
            blocking: vec![v1::Blocking {
                scope: "acme/ml".into(),
                resource: "memory_gb".into(),
                rule: v1::Rule::HardLimit.into(),
                limit: "20".into(),
                used: "0".into(),
                held: "16".into(),
                requested: "16".into(),
                shortfall: "12".into(),
                waiting_can_help: true,
            }],
        }))
    }

    #[test]
    fn a_denial_says_the_limit_the_counters_and_what_is_missing() {
        assert_eq!(
            reasons(&denied()),
            [
                "acme/ml  memory_gb  hard limit 20, used 0, held 16, requested 16: short by 12; waiting can help"
            ]
        );
    }

    #[test]
    fn every_lock_on_the_path_is_named_with_its_reason() {
        let lock = |actor: &str| Some(v1::Lock { reason: "audit".into(), actor: actor.into() });
        let locks = vec![
            v1::rejection::LockedQuota { quota: quota("acme"), lock: lock("alice") },
            v1::rejection::LockedQuota { quota: quota("acme/ml"), lock: lock("") },
        ];
        let locked = rejection(Reason::Locked(v1::rejection::Locked { locks }));
        assert_eq!(
            reasons(&locked),
            ["acme memory_gb is locked by alice: audit", "acme/ml memory_gb is locked: audit"]
        );
    }

    #[test]
    fn a_mismatch_says_what_was_found() {
        let mismatch = v1::rejection::VersionMismatch { quota: quota("acme"), expected: 4, actual: 5 };
        let words = reasons(&rejection(Reason::VersionMismatch(mismatch)));
        assert_eq!(words, ["acme memory_gb is at version 5, not 4: read it again and decide anew"]);
    }

    #[test]
    fn every_reason_has_a_label_and_words() {
        use v1::rejection::*;
        let all = [
            Reason::Malformed(Malformed { field: "lines[0].amount".into(), problem: "is negative".into() }),
            Reason::UnknownScopes(UnknownScopes { scopes: vec!["acme".into()] }),
            Reason::UnknownResources(UnknownResources { resources: vec!["gpu".into()] }),
            Reason::UnknownQuotas(UnknownQuotas { quotas: quota("acme").into_iter().collect() }),
            Reason::UnknownHold(UnknownHold { hold_id: 3 }),
            Reason::Exists(Exists { what: "scope".into(), name: "acme".into() }),
            Reason::HoldClosed(HoldClosed { hold_id: 3, state: 3, closed_at_revision: 9 }),
            Reason::SequenceMismatch(SequenceMismatch {
                found: vec![SequenceFound { quota: quota("acme"), expected: 1, actual: 2 }],
            }),
            Reason::LimitConflict(LimitConflict {
                quota: quota("acme/ml"),
                other: quota("acme"),
                problem: "30 is above the 20 of its parent".into(),
            }),
            Reason::RequestIdReused(RequestIdReused { first_revision: 3 }),
            Reason::RequestIdExpired(RequestIdExpired { oldest_accepted_ms: 0 }),
        ];
        for reason in all {
            let rejection = rejection(reason);
            assert_ne!(label(&rejection), "rejected", "{rejection:?}");
            let words = reasons(&rejection);
            assert!(!words.is_empty() && words.iter().all(|word| !word.is_empty()), "{rejection:?}");
        }
        assert_eq!(label(&v1::Rejection::default()), "rejected");
        assert!(!reasons(&v1::Rejection::default()).is_empty());
    }
}
