//! The scripts are the manual of the ledger, so everything there is occurs in one of them: each kind
//! of command, policy, rejection and event.
//!
//! What occurs is what the runner carried out, not what stands in a script: a command counts when it
//! was granted, a rejection when somebody was told it, an event when it happened. Previews do not
//! count. The compiler sees to it that no kind is missing here.

use std::collections::BTreeSet;

use quorate::ledger::command::Mode;
use quorate::ledger::event::OverrunReason;
use quorate::ledger::event::Reserved;
use quorate::ledger::quota::ClockKind;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::quota::Planned;
use quorate::ledger::rejection::Rule;
use quorate::ledger::tree::ChildPolicy;
use quorate::ledger::*;

use super::SCRIPTS;
use super::script::Script;

/// Something of which there are several kinds.
pub trait Kinds {
    const OF: &str;
    const ALL: &[&str];
    fn kind(&self) -> &'static str;
}

/// Names the kinds of something. A kind that is not named does not compile, and one that is named
/// is looked for.
macro_rules! kinds {
    ($($of:ident: $($kind:ident)*;)*) => {
        $(
            impl Kinds for $of {
                const OF: &str = stringify!($of);
                const ALL: &[&str] = &[$(stringify!($kind)),*];

                fn kind(&self) -> &'static str {
                    match self {
                        $(Self::$kind { .. } => stringify!($kind)),*
                    }
                }
            }
        )*

        /// Everything that must occur.
        fn everything() -> Seen {
            let kinds = [$(($of::OF, $of::ALL)),*];
            Seen(kinds.iter().flat_map(|(of, all)| all.iter().map(move |kind| (*of, *kind))).collect())
        }
    };
}

kinds! {
    Command: CreateScope UpdateScope MoveScope DeleteScope RegisterResource SetQuota AdjustQuota DeleteQuota
        LockQuota UnlockQuota OverrideQuota CancelSchedule TransferQuota PutTemplate ApplyTemplate ApplyPlan
        Reserve Commit Release Renew Resize CompactEvents Batch;
    Mode: Strict Partial Force;
    Enforcement: Enforce Warn Shadow Off;
    OnReduce: Refuse Freeze Drain;
    ChildPolicy: EachWithinParent SumWithinParent Unchecked;
    ResourceKind: Capacity Budget;
    Limit: Amount Unlimited Inherit;
    Rejection: Malformed UnknownScopes UnknownResources UnknownQuotas UnknownHold UnknownTemplate
        UnknownSchedule ScopeExists ResourceExists HoldClosed HoldTooSmall HasChildren InUse OnLoan Locked
        VersionMismatch TemplateVersionMismatch SequenceMismatch SchemaConflict ScheduleConflict
        TransferNotAllowed TtlTooLong LimitConflict BelowUse Denied Uncountable RequestIdReused
        RequestIdExpired PartFailed;
    Rule: HardLimit BurstLimit BurstEnded SoftLimit;
    Body: ScopeCreated ScopeUpdated ScopeMoved ScopeDeleted ResourceRegistered QuotaSet QuotaDeleted
        QuotaLocked QuotaUnlocked QuotaScheduled ScheduleCancelled ScheduleFailed OverrideSwitched ClockEnded
        QuotaTransferred TransferReturned TemplatePut TemplateApplied Reserved Committed Released Expired
        Renewed Resized TimeRefused Rejected Unchanged EventsCompacted;
    ClockKind: Grace Burst;
    Planned: Change Override;
    OverrunReason: Warn Shadow Forced Soft;
}

/// Which kinds occurred.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Seen(BTreeSet<(&'static str, &'static str)>);

impl Seen {
    fn note<T: Kinds>(&mut self, one: &T) {
        self.0.insert((T::OF, one.kind()));
    }

    /// A log entry: what was asked, what clients were told, what happened.
    pub fn entry(&mut self, requests: &[Request], applied: &apply::Applied) {
        for (request, outcome) in requests.iter().zip(&applied.outcomes) {
            match &outcome.verdict {
                // A repeat carries nothing out.
                Ok(_) if outcome.replayed => {}
                Ok(_) => self.command(&request.command),
                Err(rejection) => self.rejection(rejection),
            }
        }
        applied.events.iter().for_each(|event| self.event(&event.body));
    }

    fn command(&mut self, command: &Command) {
        self.note(command);
        match command {
            Command::Reserve(reserve) => self.note(&reserve.mode),
            Command::Batch(batch) => batch.commands().iter().for_each(|command| self.command(command)),
            _ => {}
        }
    }

    fn rejection(&mut self, rejection: &Rejection) {
        self.note(rejection);
        match rejection {
            Rejection::Denied(blocking) => blocking.iter().for_each(|line| self.note(&line.rule)),
            Rejection::PartFailed { rejection, .. } => self.rejection(rejection),
            _ => {}
        }
    }

    fn event(&mut self, body: &Body) {
        self.note(body);
        match body {
            Body::ScopeCreated { rules: Some(rules), .. } | Body::ScopeUpdated { rules: Some(rules), .. } => {
                self.note(&rules.child_policy);
            }
            Body::ResourceRegistered { resource, .. } => self.note(&resource.kind),
            Body::QuotaSet { policy, .. } => {
                self.note(&policy.limit);
                self.note(&policy.terms().enforcement);
                self.note(&policy.terms().on_reduce);
            }
            Body::QuotaScheduled { item, .. } => self.note(&item.plan),
            Body::ClockEnded { clock, .. } => self.note(clock),
            Body::Reserved(Reserved { overruns, .. })
            | Body::Committed { overruns, .. }
            | Body::Resized { overruns, .. }
            | Body::ScopeMoved { overruns, .. } => {
                overruns.iter().for_each(|overrun| self.note(&overrun.reason));
            }
            _ => {}
        }
    }

    /// What did not occur of something.
    fn lacks(&self, expected: &Self) -> Vec<String> {
        expected.0.difference(&self.0).map(|(of, kind)| format!("{of}::{kind}")).collect()
    }
}

/// What occurs in a script.
fn seen_in(text: &str) -> Seen {
    let mut script = Script::default();
    goldenscript::generate(&mut script, text).expect("the script runs");
    script.seen
}

#[test]
fn everything_there_is_occurs_in_a_script() {
    let mut seen = Seen::default();
    for name in SCRIPTS {
        let text =
            std::fs::read_to_string(format!("tests/ledger/{name}.golden")).expect("the script is there");
        seen.0.extend(seen_in(&text).0);
    }
    let missing = seen.lacks(&everything());
    assert!(missing.is_empty(), "no script shows {}", missing.join(", "));
}

#[test]
fn only_what_was_carried_out_has_occurred() {
    let script = "scope acme\npreview lock acme memory_gb reason=audit\nquota acme memory_gb 5\n\
                  reserve acme@memory_gb=9 force id=a\nreserve acme@memory_gb=1 partial\nlock ac me reason=x\n---\n";
    let seen = seen_in(script);
    let occurred: Vec<String> = Seen::default().lacks(&seen);
    assert_eq!(
        occurred,
        [
            "Body::QuotaSet",
            "Body::Rejected",
            "Body::Reserved",
            "Body::ScopeCreated",
            "ChildPolicy::EachWithinParent",
            "Command::CreateScope",
            "Command::Reserve",
            "Command::SetQuota",
            "Enforcement::Enforce",
            "Limit::Amount",
            "Mode::Force",
            "OnReduce::Freeze",
            "OverrunReason::Forced",
            "Rejection::Denied",
            "Rejection::UnknownScopes",
            "Rule::HardLimit",
        ]
    );
}
