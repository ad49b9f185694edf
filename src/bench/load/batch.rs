//! Many reservations per call.
//!
//! Their messages are made ahead, all but the request ids, which are written into a copy when it is
//! sent: encoding as many commands as a cluster decides would take a good part of a processor from it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use super::Asker;
use crate::bench::draw::Draw;
use crate::bench::draw::Random;
use crate::bench::meter::Outcome;
use crate::bench::meter::Outcomes;
use crate::bench::tree::Tree;
use crate::client::new_request_id;
use crate::client::number_commands;
use crate::client::numbered_request_id;
use crate::client::v1;
use crate::client::v1::batch_command::Command;

/// How many commands are made ahead together, and how many messages at most.
const COMMANDS_AHEAD: usize = 65_536;
const MOST_AHEAD: usize = 1_024;

/// How many characters an id is written with.
const ID_LENGTH: usize = 36;

/// An encoded batch, and where its request ids stand.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    ids: Vec<usize>,
}

/// Batches of reservations at leaves as they are picked.
pub(super) fn templates(size: usize, tree: &Tree, draw: &Draw, seed: u64) -> Arc<[Template]> {
    let mut random = Random::new(seed, u64::MAX);
    let mut reserve = || {
        let reserve = Command::Reserve(tree.reserve(draw.pick(&mut random)));
        v1::BatchCommand { tag: 0, command: Some(reserve) }
    };
    let count = (COMMANDS_AHEAD / size).clamp(4, MOST_AHEAD);
    (0..count).map(|_| Template::new((0..size).map(|_| reserve()).collect())).collect()
}

impl Template {
    fn new(mut commands: Vec<v1::BatchCommand>) -> Self {
        let base = new_request_id();
        number_commands(base, 0, &mut commands);
        let mut template = Self { bytes: Vec::new(), ids: Vec::with_capacity(commands.len()) };
        for (position, command) in (0..).zip(commands) {
            let id = numbered_request_id(base, position).to_string();
            let start = template.bytes.len();
            // The parts of a repeated field, one after the other, are the whole of it.
            let part = v1::BatchRequest { commands: vec![command], ..Default::default() };
            part.encode(&mut template.bytes).expect("a vector takes everything");
            let at = template.bytes[start..].windows(ID_LENGTH).position(|bytes| bytes == id.as_bytes());
            template.ids.push(start + at.expect("the id was encoded"));
        }
        template
    }

    /// The message with other ids, which follow from `base`.
    fn under(&self, base: Uuid) -> Bytes {
        let mut bytes = self.bytes.clone();
        for (position, at) in (0..).zip(&self.ids) {
            let id = &mut bytes[*at..*at + ID_LENGTH];
            numbered_request_id(base, position).hyphenated().encode_lower(id);
        }
        bytes.into()
    }
}

impl Asker {
    pub(super) async fn batch(self, templates: Arc<[Template]>, first: usize) {
        for template in templates.iter().cycle().skip(first) {
            let Some(due) = self.course.next().await else { return };
            let base = new_request_id();
            let mut outcomes = Outcomes::default();
            match self.client.batch_encoded(base, template.under(base)).await {
                Ok(response) => {
                    for result in &response.results {
                        let outcome = Outcome::of_result(result);
                        if !matches!(outcome, Outcome::Done | Outcome::Partial | Outcome::Denied) {
                            self.meter.trouble(|| result.message.clone());
                        }
                        outcomes.count(outcome);
                    }
                    for _ in response.results.len()..template.ids.len() {
                        outcomes.count(Outcome::Unknown);
                    }
                }
                Err(error) => {
                    self.meter.trouble(|| error.to_string());
                    (0..template.ids.len()).for_each(|_| outcomes.count(Outcome::of_error(&error)));
                }
            }
            self.meter.note(due, outcomes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Shape;
    use crate::bench::Skew;

    #[test]
    fn a_template_is_the_message_that_it_was_made_of_under_other_ids() {
        let tree = Tree::new(Shape { depth: 3, leaves: 50 }, 100, None);
        let draw = Draw::new(Skew::Uniform, 50);
        let template = &templates(20, &tree, &draw, 1)[0];
        let base = new_request_id();
        let message = v1::BatchRequest::decode(template.under(base)).expect("a message");
        assert_eq!(message.commands.len(), 20);
        for (position, command) in (0..).zip(message.commands) {
            let Some(Command::Reserve(reserve)) = command.command else { panic!("a reservation") };
            assert_eq!(reserve.request_id, numbered_request_id(base, position).to_string());
            assert!(reserve.lines[0].scope.starts_with(tree.root()) && reserve.labels.len() == 2);
        }
    }
}
