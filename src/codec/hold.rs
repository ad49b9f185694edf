//! What clients attach to a hold, and where it is in its life.

use std::sync::Arc;

use super::Corrupt;
use super::command::Labelled;
use super::command::encode_labels;
use super::command::labels;
use super::fields::Writer;
use crate::ledger::HoldState;
use crate::ledger::hold::Tags;
use crate::proto::v1;

/// The job, the consumer and the labels of a hold; all are empty when nothing is attached.
pub(super) fn encode_tags(tags: Option<&Tags>) -> (String, String, Labelled) {
    let Some(Tags { job, consumer, labels }) = tags else {
        return Default::default();
    };
    let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    (text(job), text(consumer), encode_labels(labels))
}

/// Writes the job, the consumer and the labels of a hold into three fields.
pub(super) fn write_tags(bytes: &mut Writer<'_>, first_field: u32, tags: Option<&Tags>) {
    let Some(Tags { job, consumer, labels }) = tags else {
        return;
    };
    bytes.text(first_field, job.as_deref().unwrap_or_default());
    bytes.text(first_field + 1, consumer.as_deref().unwrap_or_default());
    for (key, value) in labels.iter() {
        bytes.message(first_field + 2, |bytes| {
            bytes.text(1, key);
            bytes.text(2, value);
        });
    }
}

/// What is attached to a hold; `what` names the message in the error.
pub(super) fn decode_tags(
    what: &'static str,
    job: &str,
    consumer: &str,
    message: Labelled,
) -> Result<Option<Arc<Tags>>, Corrupt> {
    let malformed = Corrupt::from_malformed(what);
    let labels = labels("labels", message).map_err(&malformed)?;
    let tags = Tags::new(job, consumer, labels).map_err(malformed)?;
    Ok((tags != Tags::default()).then(|| Arc::new(tags)))
}

/// The message of a hold's state.
pub(super) fn encode_state(state: HoldState) -> v1::HoldState {
    match state {
        HoldState::Held => v1::HoldState::Held,
        HoldState::Committed => v1::HoldState::Committed,
        HoldState::Released => v1::HoldState::Released,
        HoldState::Expired => v1::HoldState::Expired,
    }
}

/// A hold's state from its message.
pub(super) fn decode_state(state: i32) -> Result<HoldState, Corrupt> {
    match v1::HoldState::try_from(state) {
        Ok(v1::HoldState::Held) => Ok(HoldState::Held),
        Ok(v1::HoldState::Committed) => Ok(HoldState::Committed),
        Ok(v1::HoldState::Released) => Ok(HoldState::Released),
        Ok(v1::HoldState::Expired) => Ok(HoldState::Expired),
        Ok(v1::HoldState::Unspecified) | Err(_) => {
            Err(Corrupt::new("a hold", format!("{state} is no state of a hold")))
        }
    }
}
