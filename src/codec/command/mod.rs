//! Commands: from the messages of clients, into the log, and out of it again.
//!
//! A message of a client has more in it than its command: the request id, `validate_only`, the tag
//! of a batch. Who receives it takes that out first; what is left decodes to a command, and a
//! command encodes to exactly that. Equal commands have equal messages.
//!
//! | file | subject |
//! |---|---|
//! | `tree` | scopes and resources |
//! | `policy` | quotas: limits, locks, schedules, transfers |
//! | `hold` | reservations and what becomes of them |
//! | `plain` | reservations in the log, as most are |
//! | `template` | templates, and whole plans |

mod hold;
mod plain;
mod policy;
mod template;
pub(super) mod tree;

use crate::ledger::Command;
use crate::ledger::Labels;
use crate::ledger::LogTime;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::RequestId;
use crate::ledger::command::Batch;
use crate::ledger::command::MAX_BATCH;
pub(super) use crate::proto::storage::v1::request::Command as Logged;
use crate::proto::v1;
pub use crate::proto::v1::batch_command::Command as Message;
pub(super) use plain::read_plain_reserve;
pub(super) use plain::write_plain_reserve;
pub(super) use template::encode_planned_template;
pub(super) use template::planned_template;
pub(super) use tree::decode_child_policy;
pub(super) use tree::decode_resource;
pub(super) use tree::encode_child_policy;
pub use tree::encode_resource;

/// Reads the request id of a client.
pub fn request_id(text: &str) -> Result<RequestId, Malformed> {
    let uuid = uuid::Uuid::parse_str(text)
        .map_err(|error| Malformed::new("request_id", format!("is not a UUID of version 7: {error}")))?;
    RequestId::from_bytes(uuid.into_bytes()).map_err(|problem| Malformed::new("request_id", problem))
}

/// Reads a path; `field` names it in the error.
pub fn path(field: &str, text: &str) -> Result<Path, Malformed> {
    Path::parse(text).map_err(|error| Malformed::new(field, error))
}

/// Reads a name; `field` names it in the error.
pub fn name(field: &str, text: &str) -> Result<Name, Malformed> {
    Name::parse(text).map_err(|error| Malformed::new(field, error))
}

/// The labels of a message; `field` names them in the error.
pub fn labels(field: &str, message: Labelled) -> Result<Labels, Malformed> {
    Labels::new(field, message)
}

/// Labels as a message has them.
pub type Labelled = std::collections::BTreeMap<String, String>;

/// The message of labels.
pub(super) fn encode_labels(labels: &Labels) -> Labelled {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An error within a part of a message.
pub fn within(prefix: &str, error: Malformed) -> Malformed {
    Malformed { field: format!("{prefix}.{}", error.field), ..error }
}

/// What is said of a time that need not be said.
fn time(milliseconds: u64) -> Option<LogTime> {
    (milliseconds != 0).then_some(milliseconds)
}

/// A command from a log entry.
pub(super) fn decode_logged(message: Logged) -> Result<Command, Malformed> {
    match message {
        Logged::One(v1::BatchCommand { command, .. }) => {
            decode(command.ok_or_else(|| Malformed::new("command", "is missing"))?)
        }
        Logged::Batch(batch) => decode_batch(batch.commands),
    }
}

/// The message of a command in a log entry, canonical: equal commands have equal messages. For ever: what is
/// stored is compared with it, by whoever decides it again.
pub(super) fn encode_logged(command: &Command) -> Logged {
    let one = |command| v1::BatchCommand { tag: 0, command: Some(encode(command)) };
    match command {
        Command::Batch(batch) => Logged::Batch(v1::BatchRequest {
            request_id: String::new(),
            atomic: true,
            commands: batch.commands().iter().map(one).collect(),
            validate_only: false,
        }),
        command => Logged::One(one(command)),
    }
}

/// A batch of which all commands take effect or none; they have no request ids of their own.
pub fn decode_batch(commands: Vec<v1::BatchCommand>) -> Result<Command, Malformed> {
    check_batch(commands.len())?;
    let decode = |(position, command): (usize, v1::BatchCommand)| {
        let missing = || Malformed::new(format!("commands[{position}]"), "says nothing to do");
        let mut message = command.command.ok_or_else(missing)?;
        let prefix = format!("commands[{position}].{}", field(&message));
        if !take_request_id(&mut message).is_empty() {
            let problem = "is for commands on their own; an atomic batch has one for all";
            return Err(Malformed::new(format!("{prefix}.request_id"), problem));
        }
        decode(message).map_err(|error| within(&prefix, error))
    };
    let commands = commands.into_iter().enumerate().map(decode).collect::<Result<_, _>>()?;
    Batch::new(commands).map(Command::Batch)
}

/// Checks how many commands a batch has.
pub fn check_batch(commands: usize) -> Result<(), Malformed> {
    if commands == 0 || commands > MAX_BATCH {
        return Err(Malformed::new("commands", format!("has {commands}; 1 to {MAX_BATCH} are allowed")));
    }
    Ok(())
}

/// A command from its message, from which the request id has been taken.
pub fn decode(mut message: Message) -> Result<Command, Malformed> {
    if take_validate_only(&mut message) {
        return Err(Malformed::new(
            "validate_only",
            "is for calls on their own, not for batches and streams",
        ));
    }
    match message {
        Message::Reserve(message) => hold::reserve(message),
        Message::Commit(message) => hold::commit(&message),
        Message::Release(message) => hold::release(&message),
        Message::Renew(message) => hold::renew(&message),
        Message::Resize(message) => hold::resize(&message),
        Message::CreateScope(message) => tree::create_scope(message),
        Message::UpdateScope(message) => tree::update_scope(message),
        Message::MoveScope(message) => tree::move_scope(&message),
        Message::DeleteScope(message) => tree::delete_scope(&message),
        Message::RegisterResource(message) => tree::register_resource(&message),
        Message::SetQuota(message) => policy::set_quota(&message),
        Message::AdjustQuota(message) => policy::adjust_quota(&message),
        Message::DeleteQuota(message) => policy::delete_quota(&message),
        Message::LockQuota(message) => policy::lock_quota(&message),
        Message::UnlockQuota(message) => policy::unlock_quota(&message),
        Message::OverrideQuota(message) => policy::override_quota(&message),
        Message::CancelSchedule(message) => policy::cancel_schedule(&message),
        Message::TransferQuota(message) => policy::transfer_quota(&message),
        Message::PutTemplate(message) => template::put_template(message),
        Message::ApplyTemplate(message) => template::apply_template(&message),
        Message::ApplyPlan(message) => template::apply_plan(message),
        Message::CompactEvents(message) => Ok(Command::CompactEvents(message.through_revision)),
    }
}

/// The message of a command that is not made of commands itself.
///
/// Panics on a batch: none is a part of another.
pub fn encode(command: &Command) -> Message {
    match command {
        Command::Reserve(command) => Message::Reserve(hold::encode_reserve(command)),
        Command::Commit(command) => Message::Commit(hold::encode_commit(command)),
        Command::Release(command) => Message::Release(hold::encode_release(command)),
        Command::Renew(command) => Message::Renew(hold::encode_renew(command)),
        Command::Resize(command) => Message::Resize(hold::encode_resize(command)),
        Command::CreateScope(command) => Message::CreateScope(tree::encode_create_scope(command)),
        Command::UpdateScope(command) => Message::UpdateScope(tree::encode_update_scope(command)),
        Command::MoveScope(command) => Message::MoveScope(tree::encode_move_scope(command)),
        Command::DeleteScope(command) => Message::DeleteScope(tree::encode_delete_scope(command)),
        Command::RegisterResource(resource) => {
            Message::RegisterResource(tree::encode_register_resource(resource))
        }
        Command::SetQuota(command) => Message::SetQuota(policy::encode_set_quota(command)),
        Command::AdjustQuota(command) => Message::AdjustQuota(policy::encode_adjust_quota(command)),
        Command::DeleteQuota(command) => Message::DeleteQuota(policy::encode_delete_quota(command)),
        Command::LockQuota(command) => Message::LockQuota(policy::encode_lock_quota(command)),
        Command::UnlockQuota(command) => Message::UnlockQuota(policy::encode_unlock_quota(command)),
        Command::OverrideQuota(command) => Message::OverrideQuota(policy::encode_override_quota(command)),
        Command::CancelSchedule(command) => Message::CancelSchedule(policy::encode_cancel_schedule(command)),
        Command::TransferQuota(command) => Message::TransferQuota(policy::encode_transfer_quota(command)),
        Command::PutTemplate(command) => Message::PutTemplate(template::encode_put_template(command)),
        Command::ApplyTemplate(command) => Message::ApplyTemplate(template::encode_apply_template(command)),
        Command::ApplyPlan(plan) => Message::ApplyPlan(template::encode_apply_plan(plan)),
        Command::CompactEvents(through) => Message::CompactEvents(v1::CompactEventsRequest {
            through_revision: *through,
            ..Default::default()
        }),
        Command::Batch(_) => unreachable!("a batch is no part of a batch"),
    }
}

/// An expression for the message of any command.
macro_rules! of_any {
    ($message:expr, $inner:ident => $value:expr) => {
        match $message {
            Message::Reserve($inner) => $value,
            message => of_any!(with_validate_only message, $inner => $value),
        }
    };
    (with_validate_only $message:expr, $inner:ident => $value:expr) => {
        match $message {
            Message::Commit($inner) => $value,
            Message::Release($inner) => $value,
            Message::Renew($inner) => $value,
            Message::Resize($inner) => $value,
            Message::CreateScope($inner) => $value,
            Message::UpdateScope($inner) => $value,
            Message::MoveScope($inner) => $value,
            Message::DeleteScope($inner) => $value,
            Message::RegisterResource($inner) => $value,
            Message::SetQuota($inner) => $value,
            Message::AdjustQuota($inner) => $value,
            Message::DeleteQuota($inner) => $value,
            Message::LockQuota($inner) => $value,
            Message::UnlockQuota($inner) => $value,
            Message::OverrideQuota($inner) => $value,
            Message::CancelSchedule($inner) => $value,
            Message::TransferQuota($inner) => $value,
            Message::PutTemplate($inner) => $value,
            Message::ApplyTemplate($inner) => $value,
            Message::ApplyPlan($inner) => $value,
            Message::CompactEvents($inner) => $value,
            // Check asks what it would do.
            Message::Reserve(_) => Default::default(),
        }
    };
}

/// Takes the request id out of the message of a command; "" when there is none.
pub fn take_request_id(message: &mut Message) -> String {
    of_any!(message, inner => std::mem::take(&mut inner.request_id))
}

/// Takes out of the message of a command whether it is only to be validated.
pub fn take_validate_only(message: &mut Message) -> bool {
    of_any!(with_validate_only message, inner => std::mem::take(&mut inner.validate_only))
}

/// The name of the field of `BatchCommand` that has this message.
pub fn field(message: &Message) -> &'static str {
    match message {
        Message::Reserve(_) => "reserve",
        Message::Commit(_) => "commit",
        Message::Release(_) => "release",
        Message::Renew(_) => "renew",
        Message::Resize(_) => "resize",
        Message::CreateScope(_) => "create_scope",
        Message::UpdateScope(_) => "update_scope",
        Message::MoveScope(_) => "move_scope",
        Message::DeleteScope(_) => "delete_scope",
        Message::RegisterResource(_) => "register_resource",
        Message::SetQuota(_) => "set_quota",
        Message::AdjustQuota(_) => "adjust_quota",
        Message::DeleteQuota(_) => "delete_quota",
        Message::LockQuota(_) => "lock_quota",
        Message::UnlockQuota(_) => "unlock_quota",
        Message::OverrideQuota(_) => "override_quota",
        Message::CancelSchedule(_) => "cancel_schedule",
        Message::TransferQuota(_) => "transfer_quota",
        Message::PutTemplate(_) => "put_template",
        Message::ApplyTemplate(_) => "apply_template",
        Message::ApplyPlan(_) => "apply_plan",
        Message::CompactEvents(_) => "compact_events",
    }
}
