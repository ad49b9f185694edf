//! Verdicts: what was decided about a request.

use std::num::NonZeroU64;

use super::Corrupt;
use super::fields::Writer;
use super::number;
use super::rejection;
use super::required;
use crate::ledger::Grant;
use crate::ledger::Granted;
use crate::ledger::outcome::Details;
use crate::ledger::outcome::Verdict;
use crate::proto::storage::v1 as storage;
use crate::proto::storage::v1::verdict::Verdict as Message;

const WHAT: &str = "a verdict";

/// The message of a verdict.
pub fn encode(verdict: &Verdict) -> storage::Verdict {
    match verdict {
        Ok(grant) => encode_grant(grant),
        Err(rejection) => storage::Verdict {
            verdict: Some(Message::Rejection(rejection::encode(rejection))),
            ..Default::default()
        },
    }
}

/// Writes a verdict into a field.
pub(super) fn write(bytes: &mut Writer<'_>, field: u32, verdict: &Verdict) {
    match verdict {
        // Most of them.
        Ok(grant)
            if grant.is_plain()
                && let Granted::Hold { hold, expires_at } = grant.what =>
        {
            bytes.message(field, |bytes| {
                bytes.chosen(1, hold);
                bytes.number(5, expires_at.map_or(0, NonZeroU64::get));
            });
        }
        verdict => bytes.of(field, &encode(verdict)),
    }
}

/// A verdict from its message.
pub fn decode(message: storage::Verdict) -> Result<Verdict, Corrupt> {
    match message {
        storage::Verdict { verdict: Some(Message::Rejection(rejection)), .. } => {
            Ok(Err(Box::new(rejection::decode(rejection)?)))
        }
        message => decode_grant(message).map(Ok),
    }
}

fn encode_grant(grant: &Grant) -> storage::Verdict {
    let (what, expires_at_ms) = match grant.what {
        Granted::Hold { hold, expires_at } => (Message::HoldId(hold), expires_at.map_or(0, NonZeroU64::get)),
        Granted::Version(version) => (Message::Version(version), 0),
        Granted::Done => (Message::Done(storage::verdict::Done {}), 0),
    };
    let Details { granted, warnings, parts } = grant.details();
    storage::Verdict {
        verdict: Some(what),
        expires_at_ms,
        granted: granted.iter().flatten().map(|amount| number::write(*amount)).collect(),
        warnings: warnings.iter().map(rejection::encode_blocking).collect(),
        parts: parts.iter().map(encode_grant).collect(),
    }
}

fn decode_grant(message: storage::Verdict) -> Result<Grant, Corrupt> {
    let what = match required(message.verdict, WHAT, "the verdict")? {
        Message::HoldId(hold) => Granted::Hold { hold, expires_at: NonZeroU64::new(message.expires_at_ms) },
        Message::Version(version) => Granted::Version(version),
        Message::Done(_) => Granted::Done,
        Message::Rejection(_) => return Err(Corrupt::new(WHAT, "a part of what was granted was not")),
    };
    let details = Details {
        granted: rejection::decode_granted(&message.granted)?,
        warnings: message.warnings.iter().map(rejection::decode_blocking).collect::<Result<_, _>>()?,
        parts: message.parts.into_iter().map(decode_grant).collect::<Result<_, _>>()?,
    };
    Ok(Grant::new(what, details))
}
