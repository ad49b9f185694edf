//! Faults: what goes wrong with this node itself. Whoever meets one where it cannot be returned
//! reports it here, and the process ends; nothing is served on top of it.

use tokio::sync::mpsc;

/// Where faults are reported. Clones report to the same place.
#[derive(Debug, Clone)]
pub struct Faults(mpsc::UnboundedSender<String>);

/// Where faults arrive.
#[derive(Debug)]
pub struct Reports(mpsc::UnboundedReceiver<String>);

/// A place for reports.
pub fn faults() -> (Faults, Reports) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Faults(sender), Reports(receiver))
}

impl Faults {
    /// Reports a fault: what was done, and what went wrong.
    pub fn report(&self, fault: impl std::fmt::Display) {
        if self.0.send(fault.to_string()).is_err() {
            // The node is stopping already.
            tracing::error!(%fault, "another fault while stopping");
        }
    }
}

impl Reports {
    /// The first fault; waits for ever when there is none.
    pub async fn first(&mut self) -> String {
        match self.0.recv().await {
            Some(fault) => fault,
            None => std::future::pending().await,
        }
    }
}
