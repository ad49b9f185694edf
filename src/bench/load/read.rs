//! Reads of the quota of a leaf.

use super::Asker;
use crate::bench::meter::Outcome;
use crate::bench::meter::Outcomes;
use crate::bench::tree::RESOURCE;
use crate::client::Read;

impl Asker {
    pub(super) async fn read(mut self, read: Read) {
        let client = self.client.reading(read);
        while let Some(due) = self.course.next().await {
            let leaf = self.tree.leaf(self.draw.pick(&mut self.random));
            let outcome = match client.get_quota(&leaf, RESOURCE).await {
                Ok(_) => Outcome::Done,
                Err(error) => {
                    self.meter.trouble(|| error.to_string());
                    Outcome::of_error(&error)
                }
            };
            self.meter.note(due, Outcomes::of_one(outcome));
        }
    }
}
