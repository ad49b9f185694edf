//! Follows what is applied, and tells the watchers.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use super::NoEvents;
use crate::ledger::Revision;
use crate::node::Node;
use crate::raft::state_machine::Progress;

/// How long to let more come together before watchers are woken again.
const PAUSE: Duration = Duration::from_millis(2);

/// How many events are read at once.
const PAGE: usize = 1_000;

/// Follows until the node is gone.
pub(in crate::node) async fn run(node: Weak<Node>) {
    let Some(mut progress) = node.upgrade().map(|node| node.progress.clone()) else {
        return;
    };
    loop {
        let now = *progress.borrow_and_update();
        let Some(node) = node.upgrade() else {
            return;
        };
        if let Err(error) = node.follow(now).await {
            // Reported where it was met.
            tracing::error!(%error, "watches end");
            return node.stop_watches();
        }
        drop(node);
        sleep(PAUSE).await;
        if progress.changed().await.is_err() {
            return;
        }
    }
}

impl Node {
    /// Puts what is new into the tail, if somebody waits for it, and then tells of it.
    async fn follow(&self, progress: Progress) -> Result<(), NoEvents> {
        let head = progress.revision;
        let mut wanted = self.watches.tail().wanted(head);
        while let Some(from) = wanted.filter(|from| *from <= head) {
            wanted = self.read_into_tail(from, head).await?;
        }
        self.watches.head.send_if_modified(|told| {
            let is_news = told.revision < head;
            told.revision = told.revision.max(head);
            told.time = told.time.max(progress.time);
            is_news
        });
        Ok(())
    }

    /// Reads one page; returns where the next begins, if it is still wanted.
    async fn read_into_tail(&self, from: Revision, head: Revision) -> Result<Option<Revision>, NoEvents> {
        let read = self.events_from(from, PAGE).await;
        let mut tail = self.watches.tail();
        match read {
            Ok(events) => tail.extend(events),
            // A snapshot came that begins later: who waits for what is not there is told so there.
            Err(NoEvents::Compacted { .. }) => tail.skip(head),
            Err(error) => return Err(error),
        }
        Ok(tail.wanted(head))
    }
}
