//! A stream of reservations per client, with so many under way.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Asker;
use crate::bench::meter::Outcome;
use crate::bench::meter::Outcomes;
use crate::client::ClientError;
use crate::client::Submission;
use crate::client::v1;
use crate::client::v1::batch_command::Command;

/// How long a client waits that has lost its stream.
const PAUSE: Duration = Duration::from_millis(50);

/// A stream that is open, and when what is under way on it should have begun.
struct Open {
    commands: mpsc::Sender<v1::BatchCommand>,
    results: Submission,
    under_way: VecDeque<Instant>,
}

impl Asker {
    pub(super) async fn stream(mut self, window: usize) {
        let template = self.tree.reserve(0);
        let mut next = self.course.next().await;
        while let Some(due) = next {
            let mut open = match self.open(window).await {
                Ok(open) => open,
                Err(error) => {
                    // This one was for nothing; the next finds another node.
                    self.lost(&error, std::iter::once(due));
                    tokio::time::sleep(PAUSE).await;
                    next = self.course.next().await;
                    continue;
                }
            };
            next = self.converse(&mut open, due, &template).await;
        }
    }

    async fn open(&self, window: usize) -> Result<Open, ClientError> {
        let (commands, mut taken) = mpsc::channel(window);
        let results = self.client.submit(poll_fn(move |context| taken.poll_recv(context))).await?;
        Ok(Open { commands, results, under_way: VecDeque::with_capacity(window) })
    }

    /// Keeps a stream busy until it breaks, or everything was asked for and answered. Returns when the
    /// call begins that comes after a break.
    async fn converse(
        &mut self,
        open: &mut Open,
        first: Instant,
        template: &v1::ReserveRequest,
    ) -> Option<Instant> {
        let window = open.commands.max_capacity();
        let mut next = Some(first);
        loop {
            while let Some(due) = next.filter(|_| open.under_way.len() < window) {
                open.under_way.push_back(due);
                // It fails when the stream has broken, which its results say.
                if open.commands.send(self.command(due, template)).await.is_err() {
                    break;
                }
                next = self.course.next().await;
            }
            if open.under_way.is_empty() {
                return None;
            }
            match open.results.next().await {
                Ok(Some(result)) => {
                    let outcome = Outcome::of_result(&result);
                    if matches!(outcome, Outcome::Refused | Outcome::Unknown) {
                        self.meter.trouble(|| result.message.clone());
                    }
                    if let Some(due) = open.under_way.pop_front() {
                        self.meter.note(due, Outcomes::of_one(outcome));
                    }
                }
                Ok(None) => {
                    let last = "the stream ended before its results".to_owned();
                    self.lost(&ClientError::Unknown { request_id: None, last }, open.under_way.drain(..));
                    return next;
                }
                Err(error) => {
                    self.lost(&error, open.under_way.drain(..));
                    tokio::time::sleep(PAUSE).await;
                    return next;
                }
            }
        }
    }

    fn command(&mut self, due: Instant, template: &v1::ReserveRequest) -> v1::BatchCommand {
        let mut message = template.clone();
        message.request_id = self.ids.next(due).to_string();
        message.lines[0].scope = self.tree.leaf(self.draw.pick(&mut self.random));
        v1::BatchCommand { tag: 0, command: Some(Command::Reserve(message)) }
    }

    fn lost(&self, error: &ClientError, calls: impl Iterator<Item = Instant>) {
        self.meter.trouble(|| error.to_string());
        for due in calls {
            self.meter.note(due, Outcomes::of_one(Outcome::of_error(error)));
        }
    }
}
