//! How new the answers of a call must be: out of its message.

use std::time::Duration;

use tonic::Request;
use tonic::Status;

use super::Api;
use super::DEFAULT_TIMEOUT;
use super::status;
use crate::ledger::Revision;
use crate::node::Read;
use crate::node::View;
use crate::node::deadline::deadline;
use crate::proto::v1;
use crate::proto::v1::read::Kind;

fn decode(read: Option<v1::Read>) -> Read {
    match read.and_then(|read| read.kind) {
        None | Some(Kind::MaxLagMs(0)) => Read::Linearizable,
        Some(Kind::AtLeast(revision)) => Read::AtLeast(revision),
        Some(Kind::MaxLagMs(ms)) => Read::Stale(Duration::from_millis(ms)),
        Some(Kind::AtRevision(revision)) => Read::AtRevision(revision),
        Some(Kind::AtTimeMs(time)) => Read::AtTime(time),
    }
}

impl Api {
    /// The state that a call is answered from. Nothing may be awaited while it lives.
    pub(super) async fn view<T>(
        &self,
        request: &Request<T>,
        read: Option<v1::Read>,
    ) -> Result<View<'_>, Status> {
        let view = self.node.view(decode(read), deadline(request, DEFAULT_TIMEOUT)).await;
        view.map_err(|error| status::failed(&error))
    }

    /// Waits until this node can answer a call; returns the last revision that is to be in the answer.
    pub(super) async fn reach<T>(
        &self,
        request: &Request<T>,
        read: Option<v1::Read>,
    ) -> Result<Revision, Status> {
        let reached = self.node.reach(decode(read), deadline(request, DEFAULT_TIMEOUT)).await;
        let revision = reached.map_err(|error| status::failed(&error))?;
        Ok(revision.unwrap_or_else(|| self.node.state().revision()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_and_what_allows_no_lag_is_linearizable() {
        let of = |kind| decode(Some(v1::Read { kind }));
        assert_eq!(decode(None), Read::Linearizable);
        assert_eq!(of(None), Read::Linearizable);
        assert_eq!(of(Some(Kind::MaxLagMs(0))), Read::Linearizable);
        assert_eq!(of(Some(Kind::MaxLagMs(1_500))), Read::Stale(Duration::from_millis(1_500)));
        assert_eq!(of(Some(Kind::MaxLagMs(u64::MAX))), Read::Stale(Duration::from_millis(u64::MAX)));
        assert_eq!(of(Some(Kind::AtLeast(0))), Read::AtLeast(0));
        assert_eq!(of(Some(Kind::AtRevision(0))), Read::AtRevision(0));
        assert_eq!(of(Some(Kind::AtTimeMs(7))), Read::AtTime(7));
    }
}
