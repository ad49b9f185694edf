//! What happened. Events are the only thing that changes state, and they say everything that is
//! needed to fold them without deciding again.

use std::num::NonZeroU64;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::LogTime;
use super::Revision;
use super::amount::Amount;
use super::hold::HoldId;
use super::hold::HoldState;
use super::hold::Tags;
use super::labels::Labels;
use super::name::Name;
use super::name::Path;
use super::outcome::Details;
use super::outcome::Grant;
use super::outcome::Granted;
use super::outcome::Verdict;
use super::quota::ClockKind;
use super::quota::Clocks;
use super::quota::Limit;
use super::quota::Lock;
use super::quota::Policy;
use super::quota::Scheduled;
use super::rejection::Blocking;
use super::rejection::Rejection;
use super::request::Fingerprint;
use super::request::RequestId;
use super::resource::Resource;
use super::resource::ResourceId;
use super::scope::ScopeId;
use super::template::Template;
use super::tree::TreeRules;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position.
    pub revision: Revision,
    /// When it was decided.
    pub time: LogTime,
    /// Who or what it is an answer to.
    pub cause: Cause,
    /// Its place among the events of one request that has several.
    pub part: Option<Part>,
    /// What was decided.
    pub body: Body,
    /// Every (scope, resource) it changed, with the counters after it, from the root down.
    pub touched: Vec<Touched>,
}

/// Who or what an event is an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A client.
    Request {
        /// The request.
        id: RequestId,
        /// Of the command of that request.
        fingerprint: Fingerprint,
        /// Who asked.
        actor: Arc<str>,
    },
    /// Log time: something was due.
    Time,
}

/// The place of an event among those of one batch, plan or template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// A (scope, resource) after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The number of the scope.
    pub scope: ScopeId,
    /// Its path at that time.
    pub path: Path,
    /// The number of the resource.
    pub resource: ResourceId,
    /// Its name.
    pub name: Name,
    /// Committed use after the event.
    pub used: Amount,
    /// Reserved use after the event.
    pub held: Amount,
    /// The sequence after the event.
    pub sequence: u64,
    /// By how much `used` changed.
    pub used_change: Decimal,
    /// By how much `held` changed.
    pub held_change: Decimal,
    /// The clocks of its quota after the event.
    pub clocks: Clocks,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A scope was made.
    ScopeCreated {
        /// Its number.
        scope: ScopeId,
        /// Its address.
        path: Path,
        /// What its level is called.
        kind: Name,
        /// Its labels.
        labels: Labels,
        /// Of a root: what holds for its tree.
        rules: Option<TreeRules>,
    },
    /// The labels of a scope or the rules of its tree were changed.
    ScopeUpdated {
        /// Which.
        scope: ScopeId,
        /// Its path.
        path: Path,
        /// Its labels now.
        labels: Labels,
        /// Of a root: what holds for its tree now.
        rules: Option<TreeRules>,
    },
    /// A scope was moved with everything below it.
    ScopeMoved {
        /// Which.
        scope: ScopeId,
        /// Its path before.
        from: Path,
        /// Its path now.
        to: Path,
        /// Whether it was asked for by force.
        forced: bool,
        /// Limits above that it went over for which it was not denied.
        overruns: Vec<Overrun>,
    },
    /// A scope was removed.
    ScopeDeleted {
        /// Which.
        scope: ScopeId,
        /// Its path.
        path: Path,
        /// The scopes below that went with it, parents first.
        below: Vec<ScopeId>,
    },
    /// A resource was added.
    ResourceRegistered {
        /// Its number.
        id: ResourceId,
        /// What it is.
        resource: Resource,
    },
    /// A quota was made or its policy changed.
    QuotaSet {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// The policy now.
        policy: Policy,
        /// The version now.
        version: u64,
        /// The policy before; `None` for a new quota.
        previous: Option<Policy>,
        /// Under DRAIN: how much is to be given back.
        drain: Option<Amount>,
        /// The schedule that this carried out.
        scheduled: Option<Revision>,
    },
    /// A quota was removed.
    QuotaDeleted {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// The version now: it goes on when the quota is made again.
        version: u64,
        /// The policy before.
        previous: Policy,
    },
    /// A quota was locked.
    QuotaLocked {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// Why and by whom.
        lock: Lock,
        /// The version now.
        version: u64,
    },
    /// A lock was ended.
    QuotaUnlocked {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// The version now.
        version: u64,
    },
    /// A change or an override was scheduled. An override that begins at once is active.
    QuotaScheduled {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// What; named by the revision of this event.
        item: Scheduled,
        /// The version now.
        version: u64,
        /// Under DRAIN, of an override that begins at once: how much is to be given back.
        drain: Option<Amount>,
    },
    /// A schedule was taken back by a client.
    ScheduleCancelled {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// What.
        id: Revision,
        /// The version now.
        version: u64,
        /// Under DRAIN, of an active override: how much is to be given back.
        drain: Option<Amount>,
    },
    /// A scheduled change could not be made when its time came.
    ScheduleFailed {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// What.
        id: Revision,
        /// Why.
        rejection: Box<Rejection>,
        /// The version now.
        version: u64,
    },
    /// An override began or ended.
    OverrideSwitched {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// What.
        id: Revision,
        /// Whether it is active now.
        active: bool,
        /// The hard limit now.
        limit: Limit,
        /// The version now.
        version: u64,
        /// Under DRAIN: how much is to be given back.
        drain: Option<Amount>,
    },
    /// The time of a grace or a burst is up.
    ClockEnded {
        /// Where.
        scope: ScopeId,
        /// Of what.
        resource: ResourceId,
        /// Which.
        clock: ClockKind,
    },
    /// A part of a limit was passed to a sibling.
    QuotaTransferred {
        /// Whose limit was lowered.
        from: TransferSide,
        /// Whose limit was raised.
        to: TransferSide,
        /// Of what.
        resource: ResourceId,
        /// By how much.
        amount: Amount,
        /// When it goes back.
        until: Option<LogTime>,
    },
    /// A transfer went back, by time or since a client ended it.
    TransferReturned {
        /// The transfer: the revision that made it.
        id: Revision,
        /// Whose limit was lowered before; `None` when it has none to be raised.
        from: Option<TransferSide>,
        /// Whose limit was raised before; `None` when it has none to be lowered.
        to: Option<TransferSide>,
        /// Of what.
        resource: ResourceId,
        /// How much had been passed on.
        lent: Amount,
        /// How much of it was taken from `to`: what is left of it there, is not promised further and
        /// fits where it came from. Nothing when `to` is absent.
        given: Amount,
        /// How much was added to `from`: the same, or nothing when `from` is absent.
        received: Amount,
        /// The side at which a client ended it; `None` when its time had come.
        asked: Option<ScopeId>,
    },
    /// A template was made or changed.
    TemplatePut {
        /// What it says now.
        template: Arc<Template>,
    },
    /// A template was applied to a scope: comes after what it set.
    TemplateApplied {
        /// Where.
        scope: ScopeId,
        /// Its path.
        path: Path,
        /// Which.
        template: Name,
        /// Its version.
        version: u64,
        /// The versions that its quotas have now; 0 where something else was said.
        quotas: Vec<(ResourceId, u64)>,
    },
    /// A hold was made; it is named by the revision of this event.
    Reserved(Reserved),
    /// Of a hold, held became used.
    Committed {
        /// Which.
        hold: HoldId,
        /// What it is afterwards; `None`: all that was held is used now.
        after: Option<HoldAfter>,
        /// Limits it went over for which it was not denied.
        overruns: Vec<Overrun>,
    },
    /// Of a hold, something was given back.
    Released {
        /// Which.
        hold: HoldId,
        /// What it is afterwards; `None`: nothing is left, the hold is closed.
        after: Option<HoldAfter>,
    },
    /// What was held was given back by time.
    Expired {
        /// Which.
        hold: HoldId,
        /// What it is afterwards; `None`: nothing was committed, the hold is closed.
        after: Option<HoldAfter>,
    },
    /// The end of a hold was moved.
    Renewed {
        /// Which.
        hold: HoldId,
        /// Its end now.
        expires_at: NonZeroU64,
    },
    /// A hold takes another amount now.
    Resized {
        /// Which.
        hold: HoldId,
        /// What it is afterwards.
        after: HoldAfter,
        /// Limits it went over for which it was not denied.
        overruns: Vec<Overrun>,
    },
    /// A leader's clock was not believed: it stood further from log time than is allowed.
    TimeRefused {
        /// What the clock said, in milliseconds since the Unix epoch.
        clock: LogTime,
        /// The node.
        node: u64,
    },
    /// The oldest events were let go of.
    EventsCompacted {
        /// Up to this one.
        through: Revision,
        /// Up to this one they were before.
        previous: Revision,
    },
    /// A command was not carried out.
    Rejected {
        /// The name of the command.
        command: Arc<str>,
        /// Why.
        rejection: Box<Rejection>,
    },
    /// A command asked for what already was. It touches no quota; it is here because its request
    /// id is used up, so that a late repeat cannot undo what came after.
    Unchanged {
        /// The name of the command.
        command: Arc<str>,
        /// The version of the quota; 0 when it is about no single one.
        version: u64,
    },
}

/// A hold as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// What it takes, each (scope, resource) once.
    pub lines: Vec<EventLine>,
    /// Whether it is final at once: its lines are used, not held.
    pub committed: bool,
    /// Whether it was asked for by force.
    pub forced: bool,
    /// When it dies.
    pub expires_at: Option<NonZeroU64>,
    /// What the client attached.
    pub tags: Option<Arc<Tags>>,
    /// Of a partial reservation that did not get everything: what each line of the request got.
    pub granted: Option<Box<[Decimal]>>,
    /// Limits it went over for which it was not denied.
    pub overruns: Vec<Overrun>,
}

/// One line of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLine {
    /// The number of the scope.
    pub scope: ScopeId,
    /// Its path at that time.
    pub path: Path,
    /// The number of the resource.
    pub resource: ResourceId,
    /// Its name.
    pub name: Name,
    /// Reserved and not committed.
    pub held: Amount,
    /// Committed.
    pub used: Amount,
}

/// A hold after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldAfter {
    /// What it takes; no line is empty.
    pub lines: Vec<EventLine>,
    /// When what is held of it dies.
    pub expires_at: Option<NonZeroU64>,
}

/// A limit that was gone over without a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrun {
    /// Where.
    pub scope: ScopeId,
    /// Of what.
    pub resource: ResourceId,
    /// What would have been said in a denial.
    pub blocking: Blocking,
    /// Why it was granted nevertheless.
    pub reason: OverrunReason,
}

/// Why a request over a limit was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrunReason {
    /// The quota only warns.
    Warn,
    /// The quota only counts; the client is told nothing.
    Shadow,
    /// The client forced it.
    Forced,
    /// It is over the soft limit, and its grace has not ended: a warning.
    Soft,
}

/// One side of a transfer, after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSide {
    /// The number of the scope.
    pub scope: ScopeId,
    /// Its hard limit now.
    pub limit: Amount,
    /// The version of its quota now.
    pub version: u64,
    /// Under DRAIN: how much is to be given back.
    pub drain: Option<Amount>,
}

impl Event {
    /// What the client is told of this event: it follows from the event alone. Of several events
    /// of one request, each says its part.
    pub fn verdict(&self) -> Verdict {
        let what = match &self.body {
            Body::Reserved(Reserved { expires_at, .. }) => {
                Granted::Hold { hold: self.revision, expires_at: *expires_at }
            }
            Body::Renewed { hold, expires_at } => {
                Granted::Hold { hold: *hold, expires_at: Some(*expires_at) }
            }
            Body::QuotaSet { version, .. }
            | Body::QuotaDeleted { version, .. }
            | Body::QuotaLocked { version, .. }
            | Body::QuotaUnlocked { version, .. }
            | Body::QuotaScheduled { version, .. }
            | Body::ScheduleCancelled { version, .. }
            | Body::TemplateApplied { version, .. }
            | Body::Unchanged { version, .. } => Granted::Version(*version),
            Body::QuotaTransferred { from, .. } => Granted::Version(from.version),
            Body::TransferReturned { from, to, asked, .. } => {
                let mut sides = [from, to].into_iter().flatten();
                // A side that is left alone keeps its version, which is not told here.
                let side = sides.find(|side| Some(side.scope) == *asked);
                Granted::Version(side.map_or(0, |side| side.version))
            }
            Body::TemplatePut { template } => Granted::Version(template.version),
            Body::ScopeCreated { .. }
            | Body::ScopeUpdated { .. }
            | Body::ScopeMoved { .. }
            | Body::ScopeDeleted { .. }
            | Body::ResourceRegistered { .. }
            | Body::ScheduleFailed { .. }
            | Body::OverrideSwitched { .. }
            | Body::ClockEnded { .. }
            | Body::Committed { .. }
            | Body::Released { .. }
            | Body::Expired { .. }
            | Body::Resized { .. }
            | Body::EventsCompacted { .. }
            | Body::TimeRefused { .. } => Granted::Done,
            Body::Rejected { rejection, .. } => return Err(rejection.clone()),
        };
        Ok(match self.details() {
            Some(details) => Grant::new(what, details),
            None => Grant::plain(what),
        })
    }

    /// What most events have nothing of to tell.
    fn details(&self) -> Option<Details> {
        let (overruns, granted) = match &self.body {
            Body::Reserved(reserved) => (&reserved.overruns, reserved.granted.clone()),
            Body::Committed { overruns, .. }
            | Body::Resized { overruns, .. }
            | Body::ScopeMoved { overruns, .. } => (overruns, None),
            _ => return None,
        };
        if overruns.is_empty() && granted.is_none() {
            return None;
        }
        let told = overruns.iter().filter(|overrun| overrun.reason != OverrunReason::Shadow);
        let warnings = told.map(|overrun| overrun.blocking.clone()).collect();
        Some(Details { warnings, granted, parts: Vec::new() })
    }

    /// The state that a hold was closed in by this event.
    pub fn closed(&self) -> Option<(HoldId, HoldState)> {
        match &self.body {
            Body::Released { hold, after: None } => Some((*hold, HoldState::Released)),
            Body::Expired { hold, after: None } => Some((*hold, HoldState::Expired)),
            _ => None,
        }
    }
}
