//! The life of holds: reserved, then committed and released, or released, or left to expire.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::Asker;
use crate::bench::meter::Outcome;
use crate::bench::meter::Outcomes;
use crate::client::ClientError;
use crate::client::v1;

/// How many holds each client has under way before it goes on with the oldest.
const UNDER_WAY: usize = 8;

/// How long a hold lives that is left to expire.
const SHORT_TTL_MS: u64 = 1_000;

/// What comes next for a hold.
#[derive(Debug, Clone, Copy)]
enum Next {
    Commit(u64),
    Release(u64),
}

/// What becomes of the holds, in percent; the rest expires.
const COMMITTED: usize = 50;
const RELEASED: usize = 30;

impl Asker {
    pub(super) async fn mixed(mut self) {
        let template = self.tree.reserve(0);
        let mut holds = VecDeque::new();
        while let Some(due) = self.course.next().await {
            let oldest = if holds.len() < UNDER_WAY { None } else { holds.pop_front() };
            let answer = match oldest {
                Some(next) => self.go_on(due, next, &mut holds).await,
                None => self.begin(due, &template, &mut holds).await,
            };
            let outcome = answer.unwrap_or_else(|error| {
                self.meter.trouble(|| error.to_string());
                Outcome::of_error(&error)
            });
            self.meter.note(due, Outcomes::of_one(outcome));
        }
    }

    async fn begin(
        &mut self,
        due: Instant,
        template: &v1::ReserveRequest,
        holds: &mut VecDeque<Next>,
    ) -> Result<Outcome, ClientError> {
        let mut message = template.clone();
        message.lines[0].scope = self.tree.leaf(self.draw.pick(&mut self.random));
        let fate = self.random.below(100);
        if fate >= COMMITTED + RELEASED {
            message.ttl_ms = Some(SHORT_TTL_MS);
        }
        let response = self.client.reserve(self.ids.next(due), message).await?;
        let hold = response.hold_id;
        match fate {
            _ if fate < COMMITTED => holds.push_back(Next::Commit(hold)),
            _ if fate < COMMITTED + RELEASED => holds.push_back(Next::Release(hold)),
            _ => {}
        }
        Ok(Outcome::of_reserve(&response))
    }

    async fn go_on(
        &mut self,
        due: Instant,
        next: Next,
        holds: &mut VecDeque<Next>,
    ) -> Result<Outcome, ClientError> {
        let id = self.ids.next(due);
        match next {
            Next::Commit(hold_id) => {
                self.client.commit(id, v1::CommitRequest { hold_id, ..Default::default() }).await?;
                holds.push_back(Next::Release(hold_id));
            }
            Next::Release(hold_id) => {
                self.client.release(id, v1::ReleaseRequest { hold_id, ..Default::default() }).await?;
            }
        }
        Ok(Outcome::Done)
    }
}
