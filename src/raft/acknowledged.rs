//! What the others have acknowledged to this node while it leads, and what this node is told that it has
//! acknowledged itself.
//!
//! A node whose disk lost what it had synced has no way to know: its log is whole, only shorter. But its
//! leader counts on what it was told, and is right to: with it entries are committed. So a leader says on
//! every call how far the other has come, and one that has not come so far stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use tonic::Request;
use tonic::metadata::MetadataMap;

use super::types::LogId;
use super::types::NodeId;
use super::types::Vote;

/// The metadata key with the index.
const KEY: &str = "quorate-acknowledged";

/// Clones share what they know.
#[derive(Debug, Clone, Default)]
pub(super) struct Acknowledged(Arc<Mutex<BTreeMap<NodeId, (Vote, LogId)>>>);

impl Acknowledged {
    /// Another node says that its log has this entry, to this node as the leader of a vote. Under another
    /// leader it may have been told since to remove it.
    pub(super) fn note(&self, by: NodeId, vote: &Vote, log_id: Option<LogId>) {
        let Some(log_id) = log_id else { return };
        let mut known = self.0.lock().expect("nothing panics while it holds this");
        match known.get_mut(&by).filter(|(known, _)| known == vote) {
            Some((_, last)) => *last = log_id.max(*last),
            None => {
                known.insert(by, (*vote, log_id));
            }
        }
    }

    /// Tells it what it has acknowledged under the same vote.
    pub(super) fn tell<T>(&self, to: NodeId, vote: &Vote, request: &mut Request<T>) {
        let known = self.0.lock().expect("nothing panics while it holds this");
        if let Some((_, last)) = known.get(&to).filter(|(known, _)| known == vote) {
            request.metadata_mut().insert(KEY, last.index.into());
        }
    }
}

/// The index of the last entry that the caller says this node has acknowledged.
pub(super) fn told(metadata: &MetadataMap) -> Option<u64> {
    metadata.get(KEY)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::super::types::TypeConfig;
    use super::*;

    type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

    fn log_id(index: u64) -> Option<LogId> {
        Some(LogId::new(LeaderId::new(1, 1).to_committed(), index))
    }

    fn tells(known: &Acknowledged, to: NodeId, vote: &Vote) -> Option<u64> {
        let mut request = Request::new(());
        known.tell(to, vote, &mut request);
        told(request.metadata())
    }

    #[test]
    fn a_leader_tells_the_last_that_it_was_told_under_its_vote() {
        let known = Acknowledged::default();
        let (vote, next) = (Vote::new(1, 1), Vote::new(2, 1));
        assert_eq!(tells(&known, 2, &vote), None);
        known.note(2, &vote, None);
        assert_eq!(tells(&known, 2, &vote), None);
        known.note(2, &vote, log_id(7));
        known.note(2, &vote, log_id(5));
        assert_eq!((tells(&known, 2, &vote), tells(&known, 3, &vote)), (Some(7), None));
        // As another leader it knows nothing yet: in between entries may have been replaced.
        assert_eq!(tells(&known, 2, &next), None);
        known.note(2, &next, log_id(3));
        assert_eq!((tells(&known, 2, &next), tells(&known, 2, &vote)), (Some(3), None));
    }
}
