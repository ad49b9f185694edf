//! What can be asked of the ledger. A command that exists is well-formed: whatever can be checked
//! without the state was checked when it was made.
//!
//! | file | subject |
//! |---|---|
//! | `tree` | scopes, their labels, and what holds for a tree |
//! | `policy` | quotas: limits, locks, schedules, transfers |
//! | `hold` | reservations and what becomes of them |
//! | `template` | policies by the dozen |
//! | `plan` | a whole tree as one document |

pub mod hold;
pub mod plan;
pub mod policy;
pub mod template;
pub mod tree;

use super::Revision;
use super::rejection::Malformed;
use super::resource::Resource;
pub use hold::Commit;
pub use hold::HoldAmount;
pub use hold::Line;
pub use hold::MAX_LINES;
pub use hold::Mode;
pub use hold::Release;
pub use hold::Renew;
pub use hold::Reserve;
pub use hold::Resize;
pub use plan::Plan;
pub use plan::PlannedQuota;
pub use plan::PlannedScope;
pub use policy::AdjustQuota;
pub use policy::CancelSchedule;
pub use policy::DeleteQuota;
pub use policy::LockQuota;
pub use policy::NewLimit;
pub use policy::NewPolicy;
pub use policy::OverrideQuota;
pub use policy::SetQuota;
pub use policy::TransferQuota;
pub use policy::UnlockQuota;
pub use template::ApplyTemplate;
pub use template::PutTemplate;
pub use template::TemplateQuota;
pub use tree::CreateScope;
pub use tree::DeleteScope;
pub use tree::MoveScope;
pub use tree::UpdateScope;

/// Most characters of a reason.
pub const MAX_REASON: usize = 256;

/// Most commands of one batch, and most changes of one plan.
pub const MAX_BATCH: usize = 8192;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a scope.
    CreateScope(CreateScope),
    /// Changes the labels of a scope, or what holds for a tree.
    UpdateScope(UpdateScope),
    /// Moves a scope with everything below it.
    MoveScope(MoveScope),
    /// Removes a scope on which nothing is taken.
    DeleteScope(DeleteScope),
    /// Adds to the catalogue.
    RegisterResource(Resource),
    /// Makes a quota or changes its policy.
    SetQuota(SetQuota),
    /// Adds to or takes from a limit.
    AdjustQuota(AdjustQuota),
    /// Removes a quota; its counters go on.
    DeleteQuota(DeleteQuota),
    /// Admits nothing new until unlocked.
    LockQuota(LockQuota),
    /// Ends a lock.
    UnlockQuota(UnlockQuota),
    /// Replaces a limit for a while.
    OverrideQuota(OverrideQuota),
    /// Takes back what was scheduled.
    CancelSchedule(CancelSchedule),
    /// Passes a part of a limit to a sibling.
    TransferQuota(TransferQuota),
    /// Makes a template or its next version.
    PutTemplate(PutTemplate),
    /// Sets the quotas of a scope as a template says.
    ApplyTemplate(ApplyTemplate),
    /// Makes everything as a document says.
    ApplyPlan(Plan),
    /// Takes all lines or nothing.
    Reserve(Reserve),
    /// Makes a hold final.
    Commit(Commit),
    /// Gives back what is live of a hold.
    Release(Release),
    /// Moves the end of a hold.
    Renew(Renew),
    /// Changes how much a hold takes.
    Resize(Resize),
    /// Removes the oldest events: up to this one.
    CompactEvents(Revision),
    /// All of these, or none.
    Batch(Batch),
}

impl Command {
    /// Its name, as in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateScope(_) => "CreateScope",
            Self::UpdateScope(_) => "UpdateScope",
            Self::MoveScope(_) => "MoveScope",
            Self::DeleteScope(_) => "DeleteScope",
            Self::RegisterResource(_) => "RegisterResource",
            Self::SetQuota(_) => "SetQuota",
            Self::AdjustQuota(_) => "AdjustQuota",
            Self::DeleteQuota(_) => "DeleteQuota",
            Self::LockQuota(_) => "LockQuota",
            Self::UnlockQuota(_) => "UnlockQuota",
            Self::OverrideQuota(_) => "OverrideQuota",
            Self::CancelSchedule(_) => "CancelSchedule",
            Self::TransferQuota(_) => "TransferQuota",
            Self::PutTemplate(_) => "PutTemplate",
            Self::ApplyTemplate(_) => "ApplyTemplate",
            Self::ApplyPlan(_) => "ApplyPlan",
            Self::Reserve(_) => "Reserve",
            Self::Commit(_) => "Commit",
            Self::Release(_) => "Release",
            Self::Renew(_) => "Renew",
            Self::Resize(_) => "Resize",
            Self::CompactEvents(_) => "CompactEvents",
            Self::Batch(_) => "Batch",
        }
    }
}

/// Commands that take effect together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    commands: Vec<Command>,
}

impl Batch {
    /// Checks a batch: 1 to 8,192 commands, none of which is made of commands itself.
    pub fn new(commands: Vec<Command>) -> Result<Self, Malformed> {
        if commands.is_empty() || commands.len() > MAX_BATCH {
            let problem = format!("has {}; 1 to {MAX_BATCH} are allowed", commands.len());
            return Err(Malformed::new("commands", problem));
        }
        let composed = |command: &Command| {
            matches!(command, Command::Batch(_) | Command::ApplyPlan(_) | Command::ApplyTemplate(_))
        };
        if let Some(position) = commands.iter().position(composed) {
            return Err(Malformed::new(
                format!("commands[{position}]"),
                format!(
                    "is a {}, which is made of commands itself; send it on its own",
                    commands[position].name()
                ),
            ));
        }
        Ok(Self { commands })
    }

    /// In the order in which they are decided.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }
}

/// Checks why somebody does something: a text that may have to be there.
fn check_reason(reason: &str, required: bool) -> Result<(), Malformed> {
    let malformed = |problem: String| Err(Malformed::new("reason", problem));
    if required && reason.is_empty() {
        return malformed(format!("is empty; say why, in at most {MAX_REASON} characters"));
    }
    if reason.chars().count() > MAX_REASON {
        return malformed(format!("has more than {MAX_REASON} characters"));
    }
    // They are shown to others: nothing in them may upset a terminal.
    if let Some(bad) = reason.chars().find(|c| c.is_control() && *c != '\n') {
        return malformed(format!("has the control character {bad:?}"));
    }
    Ok(())
}
