//! Commands on holds.

use std::sync::Arc;

use super::encode_labels;
use super::labels;
use crate::codec::number;
use crate::ledger::Command;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::command::Commit;
use crate::ledger::command::HoldAmount;
use crate::ledger::command::Line;
use crate::ledger::command::Mode;
use crate::ledger::command::Release;
use crate::ledger::command::Renew;
use crate::ledger::command::Reserve;
use crate::ledger::command::Resize;
use crate::ledger::hold::Tags;
use crate::proto::v1;

/// Most holders that a denial names per blocking quota.
const MAX_HOLDERS: u32 = 10;

pub(super) fn reserve(message: v1::ReserveRequest) -> Result<Command, Malformed> {
    if message.largest_holders > MAX_HOLDERS {
        let problem = format!("is {}; at most {MAX_HOLDERS} are named", message.largest_holders);
        return Err(Malformed::new("largest_holders", problem));
    }
    let lines = message.lines.iter().enumerate().map(|(position, line)| {
        let field = |name: &str| format!("lines[{position}].{name}");
        let minimum = match line.minimum.as_str() {
            "" => None,
            text => Some(number::parse_of(|| field("minimum"), text)?),
        };
        Ok(Line {
            scope: Path::parse(&line.scope).map_err(|error| Malformed::new(field("scope"), error))?,
            resource: Name::parse(&line.resource)
                .map_err(|error| Malformed::new(field("resource"), error))?,
            amount: number::parse_of(|| field("amount"), &line.amount)?,
            minimum,
            if_sequence: line.if_sequence,
        })
    });
    let lines = lines.collect::<Result<_, Malformed>>()?;
    let tags = Tags::new(&message.job, &message.consumer, labels("labels", message.labels)?)?;
    let tags = Some(Arc::new(tags));
    Reserve::with(lines, mode(message.mode)?, message.commit, message.ttl_ms, tags).map(Command::Reserve)
}

pub(super) fn encode_reserve(command: &Reserve) -> v1::ReserveRequest {
    let lines = command.lines().iter().map(|line| v1::Line {
        scope: line.scope.as_str().to_owned(),
        resource: line.resource.as_str().to_owned(),
        amount: number::write(line.amount),
        if_sequence: line.if_sequence,
        minimum: line.minimum.map(number::write).unwrap_or_default(),
    });
    let tags = command.tags.as_deref();
    let text = |text: Option<&Arc<str>>| text.map(ToString::to_string).unwrap_or_default();
    v1::ReserveRequest {
        lines: lines.collect(),
        mode: encode_mode(command.mode),
        commit: command.commit,
        ttl_ms: command.ttl_ms,
        job: text(tags.and_then(|tags| tags.job.as_ref())),
        consumer: text(tags.and_then(|tags| tags.consumer.as_ref())),
        labels: tags.map(|tags| encode_labels(&tags.labels)).unwrap_or_default(),
        ..Default::default()
    }
}

pub(super) fn encode_mode(mode: Mode) -> i32 {
    match mode {
        Mode::Strict => v1::Mode::Unspecified,
        Mode::Partial => v1::Mode::Partial,
        Mode::Force => v1::Mode::Force,
    }
    .into()
}

pub(super) fn mode(message: i32) -> Result<Mode, Malformed> {
    match v1::Mode::try_from(message) {
        Ok(v1::Mode::Unspecified | v1::Mode::Strict) => Ok(Mode::Strict),
        Ok(v1::Mode::Partial) => Ok(Mode::Partial),
        Ok(v1::Mode::Force) => Ok(Mode::Force),
        Ok(v1::Mode::Check) => Err(Malformed::new(
            "mode",
            "is CHECK, which is for calls on their own, not for batches and streams",
        )),
        Err(_) => Err(Malformed::new("mode", "is not one of those that are known")),
    }
}

pub(super) fn commit(message: &v1::CommitRequest) -> Result<Command, Malformed> {
    Commit::new(message.hold_id, lines(&message.lines)?, message.r#final.unwrap_or(true)).map(Command::Commit)
}

pub(super) fn encode_commit(command: &Commit) -> v1::CommitRequest {
    v1::CommitRequest {
        request_id: String::new(),
        hold_id: command.hold,
        lines: encode_lines(&command.lines),
        // What is said by default is not said.
        r#final: (!command.is_final).then_some(false),
        validate_only: false,
    }
}

pub(super) fn release(message: &v1::ReleaseRequest) -> Result<Command, Malformed> {
    Release::new(message.hold_id, lines(&message.lines)?).map(Command::Release)
}

pub(super) fn encode_release(command: &Release) -> v1::ReleaseRequest {
    v1::ReleaseRequest {
        request_id: String::new(),
        hold_id: command.hold,
        lines: encode_lines(&command.lines),
        validate_only: false,
    }
}

pub(super) fn renew(message: &v1::RenewRequest) -> Result<Command, Malformed> {
    Renew::new(message.hold_id, message.ttl_ms).map(Command::Renew)
}

pub(super) fn encode_renew(command: &Renew) -> v1::RenewRequest {
    v1::RenewRequest { hold_id: command.hold, ttl_ms: command.ttl_ms, ..Default::default() }
}

pub(super) fn resize(message: &v1::ResizeRequest) -> Result<Command, Malformed> {
    Resize::new(message.hold_id, lines(&message.lines)?).map(Command::Resize)
}

pub(super) fn encode_resize(command: &Resize) -> v1::ResizeRequest {
    v1::ResizeRequest {
        request_id: String::new(),
        hold_id: command.hold,
        lines: encode_lines(&command.lines),
        validate_only: false,
    }
}

fn lines(messages: &[v1::HoldAmount]) -> Result<Vec<HoldAmount>, Malformed> {
    let line = |(position, line): (usize, &v1::HoldAmount)| {
        let field = |name: &str| format!("lines[{position}].{name}");
        Ok(HoldAmount {
            scope: Path::parse(&line.scope).map_err(|error| Malformed::new(field("scope"), error))?,
            resource: Name::parse(&line.resource)
                .map_err(|error| Malformed::new(field("resource"), error))?,
            amount: number::parse_of(|| field("amount"), &line.amount)?,
        })
    };
    messages.iter().enumerate().map(line).collect()
}

fn encode_lines(lines: &[HoldAmount]) -> Vec<v1::HoldAmount> {
    let line = |line: &HoldAmount| v1::HoldAmount {
        scope: line.scope.as_str().to_owned(),
        resource: line.resource.as_str().to_owned(),
        amount: number::write(line.amount),
    };
    lines.iter().map(line).collect()
}
