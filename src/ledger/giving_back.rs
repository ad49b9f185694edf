//! Which commands give back: what a node still decides while it has no room for more.
//!
//! It is no rule: nothing is decided here, and what is said of a hold may be old by the time a command
//! is decided.

use rust_decimal::Decimal;

use super::amount::Amount;
use super::command::Command;
use super::command::HoldAmount;
use super::hold::HoldId;
use super::hold::HoldLine;
use super::state::State;

impl State {
    /// Whether a command gives back, ends or removes something, or leaves as much taken as there is. The
    /// others take or add. Of several commands under one request id each must.
    pub fn gives_back(&self, command: &Command) -> bool {
        match command {
            Command::Release(_)
            | Command::Renew(_)
            | Command::DeleteScope(_)
            | Command::DeleteQuota(_)
            | Command::LockQuota(_)
            | Command::CancelSchedule(_)
            | Command::CompactEvents(_) => true,
            // What is held becomes used; beyond that it takes.
            Command::Commit(commit) => self.has_enough(commit.hold, &commit.lines, |line| line.held),
            Command::Resize(resize) => self.has_enough(resize.hold, &resize.lines, HoldLine::live),
            Command::Batch(batch) => batch.commands().iter().all(|command| self.gives_back(command)),
            Command::CreateScope(_)
            | Command::UpdateScope(_)
            | Command::MoveScope(_)
            | Command::RegisterResource(_)
            | Command::SetQuota(_)
            | Command::AdjustQuota(_)
            | Command::UnlockQuota(_)
            | Command::OverrideQuota(_)
            | Command::TransferQuota(_)
            | Command::PutTemplate(_)
            | Command::ApplyTemplate(_)
            | Command::ApplyPlan(_)
            | Command::Reserve(_) => false,
        }
    }

    /// Whether none of the amounts is more than a hold has. One that is not there has nothing to grow.
    fn has_enough(&self, hold: HoldId, lines: &[HoldAmount], has: impl Fn(&HoldLine) -> Amount) -> bool {
        self.hold(hold).is_none_or(|hold| {
            lines.iter().all(|asked| {
                let scope = self.scope_at(&asked.scope).map(|scope| scope.id);
                let resource = self.resource_id(&asked.resource);
                let line = hold
                    .lines
                    .iter()
                    .find(|line| (Some(line.scope), Some(line.resource)) == (scope, resource));
                line.map_or(Decimal::ZERO, |line| has(line).number()) >= asked.amount
            })
        })
    }
}
