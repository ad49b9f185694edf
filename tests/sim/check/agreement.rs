//! S5: nodes that have decided the same have the same state.

use std::collections::BTreeMap;

use quorate::client::v1::NodeStatus;

use super::Verdict;

/// What nodes said of themselves during a run.
#[derive(Default)]
pub struct Observations {
    digests: BTreeMap<u64, (String, u64)>,
}

impl Observations {
    /// S5: equal digests at equal revision; now and ever before.
    pub fn add(&mut self, node: &NodeStatus) -> Verdict {
        if node.digest.is_empty() && !node.problem.is_empty() {
            // It is about to stop.
            return Ok(());
        }
        let id = node.member.as_ref().map_or(0, |member| member.node_id);
        let (digest, other) = self.digests.entry(node.revision).or_insert_with(|| (node.digest.clone(), id));
        if *digest != node.digest {
            let mine = &node.digest;
            return Err(format!("revision {}: node {id} has {mine}, node {other} {digest}", node.revision));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate::client::v1::Member;

    use super::*;

    fn status(node_id: u64, digest: &str, problem: &str) -> NodeStatus {
        NodeStatus {
            member: Some(Member { node_id, ..Default::default() }),
            revision: 4,
            digest: digest.to_owned(),
            problem: problem.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn nodes_that_disagree_are_caught() {
        let mut seen = Observations::default();
        assert_eq!(seen.add(&status(1, "a", "")), Ok(()));
        assert_eq!(seen.add(&status(2, "a", "")), Ok(()));
        assert_eq!(seen.add(&status(2, "", "it stops")), Ok(()));
        assert!(seen.add(&status(2, "", "")).is_err(), "no digest, and no reason for it");
        assert!(seen.add(&status(3, "b", "")).is_err(), "two digests at one revision");
    }
}
