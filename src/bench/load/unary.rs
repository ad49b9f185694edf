//! One reservation per call.

use super::Asker;
use crate::bench::meter::Outcome;
use crate::bench::meter::Outcomes;
use crate::client::v1;

impl Asker {
    pub(super) async fn unary(mut self) {
        let template = self.tree.reserve(0);
        while let Some(due) = self.course.next().await {
            let leaf = self.tree.leaf(self.draw.pick(&mut self.random));
            let id = self.ids.next(due);
            let mut message = v1::ReserveRequest { ..template.clone() };
            message.lines[0].scope = leaf;
            let outcome = match self.client.reserve(id, message).await {
                Ok(response) => Outcome::of_reserve(&response),
                Err(error) => {
                    self.meter.trouble(|| error.to_string());
                    Outcome::of_error(&error)
                }
            };
            self.meter.note(due, Outcomes::of_one(outcome));
        }
    }
}
