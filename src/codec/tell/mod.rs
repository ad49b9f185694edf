//! A rejection in words for people: what stood in the way, and what to do about it. The one place
//! that says it, for the messages of nodes and for the program.
//!
//! Knows the vocabulary of the ledger. Knows nothing of gRPC, exit codes or where the words go.

mod time;

pub use self::time::distance;
pub use self::time::span_text;
pub use self::time::utc;
use crate::proto::v1;
use crate::proto::v1::rejection::Reason;

/// All of it in one line: "denied: acme/ml  memory_gb  hard limit 20, …".
pub fn sentence(rejection: &v1::Rejection) -> String {
    format!("{}: {}", label(rejection), reasons(rejection).join("; "))
}

/// What kind of refusal it is, in a word or two: "denied", "locked".
pub fn label(rejection: &v1::Rejection) -> &'static str {
    let Some(reason) = &rejection.reason else { return "rejected" };
    match reason {
        Reason::Malformed(_) => "malformed",
        Reason::UnknownScopes(_)
        | Reason::UnknownResources(_)
        | Reason::UnknownQuotas(_)
        | Reason::UnknownHold(_)
        | Reason::UnknownTemplate(_)
        | Reason::UnknownSchedule(_) => "not found",
        Reason::Exists(_) => "exists already",
        Reason::HoldClosed(_) => "closed",
        Reason::HoldTooSmall(_) => "too small",
        Reason::HasChildren(_) => "not empty",
        Reason::InUse(_) => "in use",
        Reason::OnLoan(_) => "on loan",
        Reason::Locked(_) => "locked",
        Reason::VersionMismatch(_) | Reason::TemplateVersionMismatch(_) => "version mismatch",
        Reason::SequenceMismatch(_) => "sequence mismatch",
        Reason::SchemaConflict(_) => "schema conflict",
        Reason::ScheduleConflict(_) => "schedule conflict",
        Reason::TransferNotAllowed(_) => "transfer not allowed",
        Reason::TtlTooLong(_) => "ttl too long",
        Reason::LimitConflict(_) => "limit conflict",
        Reason::BelowUse(_) => "below use",
        Reason::Denied(_) => "denied",
        Reason::Uncountable(_) => "too many digits",
        Reason::RequestIdReused(_) => "request id reused",
        Reason::RequestIdExpired(_) => "request id expired",
        Reason::PartFailed(part) => part.rejection.as_deref().map_or("rejected", label),
    }
}

/// Whether it says that there is no room, or that somebody locked it.
pub fn is_denial(rejection: &v1::Rejection) -> bool {
    match &rejection.reason {
        Some(Reason::Denied(_) | Reason::Locked(_)) => true,
        Some(Reason::PartFailed(part)) => part.rejection.as_deref().is_some_and(is_denial),
        _ => false,
    }
}

/// Each thing that stood in the way, one sentence each.
pub fn reasons(rejection: &v1::Rejection) -> Vec<String> {
    reasons_at(rejection, None)
}

/// As [`reasons`]; a time to come is also said as how far away it is from `now_ms`.
pub fn reasons_at(rejection: &v1::Rejection, now_ms: Option<u64>) -> Vec<String> {
    let mut reasons = listed(rejection, now_ms);
    if rejection.omitted > 0 {
        reasons.push(format!("and {} more; the event has all of them", rejection.omitted));
    }
    reasons
}

fn listed(rejection: &v1::Rejection, now_ms: Option<u64>) -> Vec<String> {
    match &rejection.reason {
        Some(Reason::UnknownScopes(unknown)) => {
            unknown.scopes.iter().map(|scope| format!("there is no scope {scope}")).collect()
        }
        Some(Reason::UnknownResources(unknown)) => {
            unknown.resources.iter().map(|resource| format!("there is no resource {resource}")).collect()
        }
        Some(Reason::UnknownQuotas(unknown)) => {
            let none = |quota| {
                let quota = name(Some(quota));
                format!("{quota} has no quota, nor is there one above: set one, unlimited if that is meant")
            };
            unknown.quotas.iter().map(none).collect()
        }
        Some(Reason::HoldTooSmall(small)) => {
            small.lines.iter().map(|line| too_small(small.hold_id, line)).collect()
        }
        Some(Reason::InUse(in_use)) => in_use.taken.iter().map(taken).collect(),
        Some(Reason::OnLoan(loans)) => {
            let loan = |id| format!("transfer {id} has not gone back yet");
            loans.transfer_ids.iter().map(loan).collect()
        }
        Some(Reason::Locked(locked)) => locked.locks.iter().map(locked_quota).collect(),
        Some(Reason::SequenceMismatch(mismatch)) => {
            let found = |found: &v1::rejection::SequenceFound| {
                moved("sequence", &name(found.quota.as_ref()), found.expected, found.actual)
            };
            mismatch.found.iter().map(found).collect()
        }
        Some(Reason::Denied(denied)) => {
            denied.blocking.iter().flat_map(|blocking| blocking_lines(blocking, now_ms)).collect()
        }
        Some(Reason::PartFailed(part)) => {
            let inner = part.rejection.as_deref();
            let reasons = inner.map(|rejection| reasons_at(rejection, now_ms)).unwrap_or_default();
            let command = format!("command {} ({})", part.index, part.command);
            reasons.into_iter().map(|reason| format!("{command}: {reason}")).collect()
        }
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
        Reason::UnknownTemplate(unknown) => {
            format!("there is no template {}", unknown.template)
        }
        Reason::UnknownSchedule(unknown) => format!(
            "nothing of number {} is scheduled for {}; it may have ended",
            unknown.schedule_id,
            name(unknown.quota.as_ref())
        ),
        Reason::Exists(exists) => format!("{} {} is there already", exists.what, exists.name),
        Reason::HoldClosed(closed) => format!(
            "hold {} was {} at revision {}",
            closed.hold_id,
            hold_state(closed.state()),
            closed.closed_at_revision
        ),
        Reason::HasChildren(parent) => format!(
            "there are scopes below {} ({}): delete them first, or all together (recursive)",
            parent.scope, parent.children
        ),
        Reason::Uncountable(uncountable) => {
            let quotas: Vec<String> = uncountable.quotas.iter().map(|quota| name(Some(quota))).collect();
            format!("with this, {} would have more digits than can be counted exactly", quotas.join(", "))
        }
        Reason::VersionMismatch(mismatch) => {
            moved("version", &name(mismatch.quota.as_ref()), mismatch.expected, mismatch.actual)
        }
        Reason::TemplateVersionMismatch(mismatch) => {
            let template = format!("template {}", mismatch.template);
            moved("version", &template, mismatch.expected, mismatch.actual)
        }
        Reason::RequestIdReused(reused) => format!(
            "another command had this id, at revision {}: an id repeats its own command only",
            reused.first_revision
        ),
        Reason::RequestIdExpired(expired) => format!(
            "ids from before {} are forgotten, and nothing was done now; \
             the events show whether the command was done at its time",
            utc(expired.oldest_accepted_ms)
        ),
        other => policy_reason(other),
    }
}

/// The reasons that are rules of a policy.
fn policy_reason(reason: &Reason) -> String {
    match reason {
        Reason::SchemaConflict(conflict) => format!("{}: {}", conflict.scope, conflict.problem),
        Reason::ScheduleConflict(conflict) => {
            format!("{}: {}", name(conflict.quota.as_ref()), conflict.problem)
        }
        Reason::TransferNotAllowed(refused) => {
            let quota = name(refused.quota.as_ref());
            format!(
                "{quota} does not let the scopes below pass limits to each other: set allow_transfer there"
            )
        }
        Reason::TtlTooLong(long) => format!(
            "{} lets a hold live for {} at most, and {} was asked for",
            name(long.quota.as_ref()),
            span_text(long.maximum_ms),
            span_text(long.asked_ms)
        ),
        Reason::LimitConflict(conflict) => {
            let other = match &conflict.other {
                Some(other) if conflict.quota.as_ref() != Some(other) => {
                    format!(" (in the way: {})", name(Some(other)))
                }
                _ => String::new(),
            };
            format!("{}: {}{other}", name(conflict.quota.as_ref()), conflict.problem)
        }
        Reason::BelowUse(below) => format!(
            "{}, which is {} more than a limit of {}",
            below.taken.as_ref().map(taken).unwrap_or_default(),
            below.over_by,
            below.limit
        ),
        // Those with a list, which the caller has put into words.
        _ => String::new(),
    }
}

/// What a denial comes down to, in one line.
pub fn denial_headline(denied: &v1::rejection::Denied) -> String {
    match denied.blocking.as_slice() {
        [] => "there is no room; nothing was done".to_owned(),
        [one] => {
            format!("{} has no room for {} {}; nothing was done", one.scope, one.requested, one.resource)
        }
        many => format!("{} quotas have no room; nothing was done", many.len()),
    }
}

/// A blocking (scope, resource), and below it who takes most there.
fn blocking_lines(blocking: &v1::Blocking, now_ms: Option<u64>) -> Vec<String> {
    let mut lines = vec![blocking_text(blocking, now_ms)];
    lines.extend(blocking.largest_holders.iter().map(|holder| holder_text(holder, now_ms)));
    lines
}

/// One (scope, resource) that was gone over without a denial: nobody has to wait.
pub fn over_text(over: &v1::Blocking) -> String {
    format!("{}: over by {}", numbers(over), over.shortfall)
}

/// One (scope, resource) without room: which rule, the numbers, and whether waiting can help.
pub fn blocking_text(blocking: &v1::Blocking, now_ms: Option<u64>) -> String {
    let waiting = match (blocking.waiting_can_help, blocking.fits_at_ms) {
        (false, _) => "waiting cannot help".to_owned(),
        (true, 0) => "waiting can help".to_owned(),
        (true, at_ms) => format!("fits at {}", at_text(at_ms, now_ms)),
    };
    format!("{}: short by {}; {waiting}", numbers(blocking), blocking.shortfall)
}

fn numbers(blocking: &v1::Blocking) -> String {
    let v1::Blocking { scope, resource, limit, used, held, requested, .. } = blocking;
    let rule = rule_text(blocking.rule());
    format!("{scope}  {resource}  {rule} {limit}, used {used}, held {held}, requested {requested}")
}

fn holder_text(holder: &v1::Holder, now_ms: Option<u64>) -> String {
    let who: Vec<String> = [("actor", &holder.actor), ("job", &holder.job), ("consumer", &holder.consumer)]
        .into_iter()
        .filter(|(_, name)| !name.is_empty())
        .map(|(what, name)| format!("{what} {name}"))
        .collect();
    let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
    let until = match holder.expires_at_ms {
        0 => "until it is released".to_owned(),
        at_ms => format!("until {}", at_text(at_ms, now_ms)),
    };
    format!("  taken by hold {}{who}: held {}, used {}, {until}", holder.hold_id, holder.held, holder.used)
}

fn at_text(at_ms: u64, now_ms: Option<u64>) -> String {
    match now_ms {
        Some(now_ms) => format!("{}, {}", utc(at_ms), distance(at_ms, now_ms)),
        None => utc(at_ms),
    }
}

/// A rule in the words of the ledger.
pub fn rule_text(rule: v1::Rule) -> &'static str {
    match rule {
        v1::Rule::HardLimit => "hard limit",
        v1::Rule::BurstLimit => "burst limit",
        v1::Rule::BurstEnded => "limit after the end of its burst",
        v1::Rule::SoftLimit => "soft limit",
        v1::Rule::Unspecified => "limit",
    }
}

fn too_small(hold_id: u64, line: &v1::rejection::TooSmall) -> String {
    let v1::rejection::TooSmall { quota, asked, live } = line;
    format!("hold {hold_id} has {live} of {}, and {asked} was meant", name(quota.as_ref()))
}

fn taken(taken: &v1::rejection::Taken) -> String {
    let v1::rejection::Taken { quota, used, held } = taken;
    format!("of {} there is used {used} and held {held}", name(quota.as_ref()))
}

fn locked_quota(locked: &v1::rejection::LockedQuota) -> String {
    let quota = name(locked.quota.as_ref());
    match &locked.lock {
        Some(lock) => format!("{quota} is {}", lock_text(lock)),
        None => format!("{quota} is locked"),
    }
}

/// A lock in words: "locked by alice: audit".
pub fn lock_text(lock: &v1::Lock) -> String {
    if lock.actor.is_empty() {
        format!("locked: {}", lock.reason)
    } else {
        format!("locked by {}: {}", lock.actor, lock.reason)
    }
}

fn moved(what: &str, whose: &str, expected: u64, actual: u64) -> String {
    format!("{whose} is at {what} {actual}, not {expected}: read it again and decide anew")
}

fn name(quota: Option<&v1::QuotaName>) -> String {
    match quota {
        Some(quota) => format!("{} {}", quota.scope, quota.resource),
        None => "the quota".to_owned(),
    }
}

/// The state of a hold in the words of the ledger.
pub fn hold_state(state: v1::HoldState) -> &'static str {
    match state {
        v1::HoldState::Unspecified => "closed",
        v1::HoldState::Held => "held",
        v1::HoldState::Committed => "committed",
        v1::HoldState::Released => "released",
        v1::HoldState::Expired => "expired",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn rejection(reason: Reason) -> v1::Rejection {
        v1::Rejection { reason: Some(reason), omitted: 0 }
    }

    pub(crate) fn quota(scope: &str) -> Option<v1::QuotaName> {
        Some(v1::QuotaName { scope: scope.into(), resource: "memory_gb".into() })
    }

    pub(crate) fn denied() -> v1::Rejection {
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
                ..Default::default()
            }],
        }))
    }

    #[test]
    fn a_denial_says_the_limit_the_counters_and_what_is_missing() {
        assert_eq!(
            reasons(&denied()),
            ["acme/ml  memory_gb  hard limit 20, used 0, held 16, requested 16: short by 12; \
              waiting can help"]
        );
        assert!(sentence(&denied()).starts_with("denied: acme/ml  memory_gb  hard limit 20,"));
    }

    #[test]
    fn a_denial_says_when_it_fits_and_who_takes_most() {
        let Some(Reason::Denied(mut denied)) = denied().reason else { panic!("a denial") };
        denied.blocking[0].fits_at_ms = 240_000;
        denied.blocking[0].largest_holders = vec![v1::Holder {
            hold_id: 17,
            actor: "alice".into(),
            job: "train-7".into(),
            held: "16".into(),
            used: "0".into(),
            expires_at_ms: 240_000,
            ..Default::default()
        }];
        let reasons = reasons_at(&rejection(Reason::Denied(denied)), Some(0));
        assert!(
            reasons[0].ends_with("short by 12; fits at 1970-01-01T00:04:00.000Z, in 4 min"),
            "{reasons:?}"
        );
        assert_eq!(
            reasons[1],
            "  taken by hold 17 (actor alice, job train-7): held 16, used 0, \
             until 1970-01-01T00:04:00.000Z, in 4 min"
        );
    }

    #[test]
    fn a_part_that_failed_says_which_and_has_the_label_of_its_reason() {
        let part = v1::rejection::PartFailed {
            index: 2,
            command: "Reserve".into(),
            rejection: Some(Box::new(denied())),
        };
        let failed = rejection(Reason::PartFailed(Box::new(part)));
        assert_eq!(label(&failed), "denied");
        assert!(reasons(&failed)[0].starts_with("command 2 (Reserve): acme/ml  memory_gb"));
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
            Reason::UnknownTemplate(UnknownTemplate { template: "free".into() }),
            Reason::UnknownSchedule(UnknownSchedule { quota: quota("acme"), schedule_id: 3 }),
            Reason::HoldTooSmall(HoldTooSmall {
                hold_id: 3,
                lines: vec![TooSmall { quota: quota("acme"), asked: "3".into(), live: "2".into() }],
            }),
            Reason::HasChildren(HasChildren { scope: "acme".into(), children: 2 }),
            Reason::InUse(InUse { taken: vec![Taken { quota: quota("acme"), ..Default::default() }] }),
            Reason::OnLoan(OnLoan { transfer_ids: vec![9] }),
            Reason::TemplateVersionMismatch(TemplateVersionMismatch {
                template: "free".into(),
                expected: 1,
                actual: 2,
            }),
            Reason::SchemaConflict(SchemaConflict { scope: "acme".into(), problem: "is too deep".into() }),
            Reason::ScheduleConflict(ScheduleConflict { quota: quota("acme"), problem: "overlaps".into() }),
            Reason::TransferNotAllowed(TransferNotAllowed { quota: quota("acme") }),
            Reason::TtlTooLong(TtlTooLong { quota: quota("acme"), maximum_ms: 1_000, asked_ms: 2_000 }),
            Reason::BelowUse(BelowUse { limit: "3".into(), over_by: "2".into(), ..Default::default() }),
            Reason::PartFailed(Box::new(PartFailed {
                index: 2,
                command: "Reserve".into(),
                rejection: Some(Box::new(denied())),
            })),
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
