//! What was done, as the response of its method.

use std::num::NonZeroU64;

use prost::Message as _;

use super::call::Done;
use super::call::Failure;
use super::status;
use crate::codec::number;
use crate::codec::rejection;
use crate::ledger::Command;
use crate::ledger::Granted;
use crate::proto::v1;
use crate::proto::v1::batch_result::Result as Answer;

/// Most bytes that the events of a preview take. With as many warnings as there may be, an answer
/// stays below the 4 MiB that clients take.
const MAX_EVENTS: usize = 2 << 20;

/// Keeps the first events that there is room for; returns how many go. None may be kept: that of a
/// large tree that is deleted is larger than an answer.
pub(super) fn cut_events(events: &mut Vec<v1::Event>) -> u32 {
    let mut bytes = 0;
    let fitting = events.iter().take_while(|event| {
        // A tag and a length come before each.
        bytes += event.encoded_len() + 5;
        bytes <= MAX_EVENTS
    });
    let kept = fitting.count();
    let gone = events.len() - kept;
    events.truncate(kept);
    u32::try_from(gone).expect("a request writes fewer than 2^32 events")
}

impl Done {
    fn version(&self) -> u64 {
        match self.grant.what {
            Granted::Version(version) => version,
            Granted::Hold { .. } | Granted::Done => 0,
        }
    }

    /// Of a template that was applied: said by the last part, or by the whole when there was
    /// nothing to do.
    fn template_version(&self) -> u64 {
        match self.grant.details().parts.last().map(|part| part.what) {
            Some(Granted::Version(version)) => version,
            _ => self.version(),
        }
    }

    fn expires_at_ms(&self) -> u64 {
        match self.grant.what {
            Granted::Hold { expires_at, .. } => expires_at.map_or(0, NonZeroU64::get),
            Granted::Version(_) | Granted::Done => 0,
        }
    }

    /// Its warnings, as many as there is room for, and how many more there are.
    fn warnings(&self) -> (Vec<v1::Blocking>, u32) {
        let mut warnings = self.grant.details().warnings.iter().map(rejection::encode_blocking).collect();
        let omitted = rejection::cut_blocking(&mut warnings, self.warning_bytes);
        (warnings, omitted)
    }

    /// How many of its parts made a difference.
    fn changed(&self) -> u32 {
        u32::try_from(self.grant.details().parts.len()).expect("a request has fewer than 2^32 parts")
    }

    /// What it would write, as many events as there is room for, and how many more there are.
    fn would_write(&mut self) -> (Vec<v1::Event>, u32) {
        let mut events =
            self.preview.as_mut().map(|preview| std::mem::take(&mut preview.events)).unwrap_or_default();
        let omitted = cut_events(&mut events);
        (events, omitted)
    }
}

impl From<Done> for v1::ReserveResponse {
    fn from(done: Done) -> Self {
        let granted = done.grant.details().granted.as_deref().unwrap_or_default();
        let outcome = if granted.is_empty() { v1::Outcome::Granted } else { v1::Outcome::Partial };
        let hold_id = match done.grant.what {
            Granted::Hold { hold, .. } if done.preview.is_none() => hold,
            _ => 0,
        };
        let (warnings, warnings_omitted) = done.warnings();
        Self {
            hold_id,
            revision: done.revision,
            replayed: done.replayed,
            outcome: outcome.into(),
            granted: granted.iter().map(|amount| number::write(*amount)).collect(),
            expires_at_ms: done.expires_at_ms(),
            warnings,
            warnings_omitted,
        }
    }
}

impl From<Done> for v1::CommitResponse {
    fn from(mut done: Done) -> Self {
        let (warnings, warnings_omitted) = done.warnings();
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            revision: done.revision,
            replayed: done.replayed,
            warnings,
            warnings_omitted,
            would_write,
            would_write_omitted,
        }
    }
}

impl From<Done> for v1::ReleaseResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self { revision: done.revision, replayed: done.replayed, would_write, would_write_omitted }
    }
}

impl From<Done> for v1::RenewResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            expires_at_ms: done.expires_at_ms(),
            revision: done.revision,
            replayed: done.replayed,
            would_write,
            would_write_omitted,
        }
    }
}

impl From<Done> for v1::ResizeResponse {
    fn from(mut done: Done) -> Self {
        let (warnings, warnings_omitted) = done.warnings();
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            revision: done.revision,
            replayed: done.replayed,
            warnings,
            warnings_omitted,
            would_write,
            would_write_omitted,
        }
    }
}

impl From<Done> for v1::ScopeChangeResponse {
    fn from(mut done: Done) -> Self {
        let (warnings, warnings_omitted) = done.warnings();
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            revision: done.revision,
            replayed: done.replayed,
            warnings,
            warnings_omitted,
            would_write,
            would_write_omitted,
        }
    }
}

impl From<Done> for v1::RegisterResourceResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self { revision: done.revision, replayed: done.replayed, would_write, would_write_omitted }
    }
}

impl From<Done> for v1::CompactEventsResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self { revision: done.revision, replayed: done.replayed, would_write, would_write_omitted }
    }
}

impl From<Done> for v1::QuotaChangeResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            version: done.version(),
            revision: done.revision,
            replayed: done.replayed,
            would_write,
            would_write_omitted,
            quota: done.preview.and_then(|preview| preview.quota),
        }
    }
}

impl From<Done> for v1::TemplateChangeResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            version: done.version(),
            revision: done.revision,
            replayed: done.replayed,
            would_write,
            would_write_omitted,
        }
    }
}

impl From<Done> for v1::ApplyTemplateResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            template_version: done.template_version(),
            // The last part says that it was applied.
            changed: done.changed().saturating_sub(1),
            revision: done.revision,
            replayed: done.replayed,
            would_write,
            would_write_omitted,
        }
    }
}

impl From<Done> for v1::ApplyPlanResponse {
    fn from(mut done: Done) -> Self {
        let (would_write, would_write_omitted) = done.would_write();
        Self {
            changed: done.changed(),
            revision: done.revision,
            replayed: done.replayed,
            would_write,
            would_write_omitted,
        }
    }
}

/// The result of a command of a batch that was carried out; its warnings take about `bytes`.
pub(super) fn done(tag: u64, command: &Command, mut done: Done, bytes: usize) -> v1::BatchResult {
    let Done { revision, replayed, .. } = done;
    done.warning_bytes = bytes;
    let answer = match command {
        Command::Reserve(_) => Answer::Reserve(done.into()),
        Command::Commit(_) => Answer::Commit(done.into()),
        Command::Release(_) => Answer::Release(done.into()),
        Command::Renew(_) => Answer::Renew(done.into()),
        Command::Resize(_) => Answer::Resize(done.into()),
        Command::CreateScope(_)
        | Command::UpdateScope(_)
        | Command::MoveScope(_)
        | Command::DeleteScope(_) => Answer::Scope(done.into()),
        Command::RegisterResource(_) => Answer::Resource(done.into()),
        Command::SetQuota(_)
        | Command::AdjustQuota(_)
        | Command::DeleteQuota(_)
        | Command::LockQuota(_)
        | Command::UnlockQuota(_)
        | Command::OverrideQuota(_)
        | Command::CancelSchedule(_)
        | Command::TransferQuota(_) => Answer::Quota(done.into()),
        Command::PutTemplate(_) => Answer::Template(done.into()),
        Command::ApplyTemplate(_) => Answer::ApplyTemplate(done.into()),
        Command::ApplyPlan(_) => Answer::ApplyPlan(done.into()),
        Command::CompactEvents(_) => Answer::CompactEvents(done.into()),
        Command::Batch(_) => unreachable!("a batch is no part of a batch"),
    };
    v1::BatchResult { tag, revision, replayed, result: Some(answer), ..Default::default() }
}

/// The result of a command of a batch that was not carried out, in about `bytes`.
pub(super) fn not_done(tag: u64, failure: &Failure, bytes: usize) -> v1::BatchResult {
    let status::Told { code, reason, message } = status::told(failure, bytes / 4);
    let (revision, replayed) = match failure {
        Failure::Rejected { revision, replayed, .. } => (*revision, *replayed),
        Failure::Malformed(_) | Failure::Failed(_) => (0, false),
    };
    let rejection = failure.rejection().map(|mut rejection| {
        rejection::shorten(&mut rejection, bytes);
        Answer::Rejection(rejection)
    });
    v1::BatchResult {
        tag,
        code: code.into(),
        message,
        reason: reason.to_owned(),
        revision,
        replayed,
        result: rejection,
    }
}

/// Whether nobody knows what became of a command: nothing was decided about it, and it was not
/// refused unseen either.
pub(super) fn is_unknown(result: &v1::BatchResult) -> bool {
    let known = [tonic::Code::Ok.into(), tonic::Code::InvalidArgument.into()];
    result.reason.is_empty() && !known.contains(&result.code)
}

/// The result of a command of an atomic batch that failed because of another.
pub(super) fn not_applied(tag: u64, failed: usize, revision: u64, replayed: bool) -> v1::BatchResult {
    v1::BatchResult {
        tag,
        code: tonic::Code::Aborted.into(),
        message: format!("not applied: commands[{failed}] failed"),
        reason: "NOT_APPLIED".to_owned(),
        revision,
        replayed,
        result: None,
    }
}
