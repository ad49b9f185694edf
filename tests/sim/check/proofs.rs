//! S5 and S7, as an auditor checks them: every decision again from the events alone, the tree over them,
//! and what each node signs of both.

use prost::Message as _;
use quorate::audit::replay::Replay;
use quorate::client::v1::Event;
use quorate::client::v1::GetCheckpointResponse;
use quorate::codec::event::Recorded;
use quorate::codec::merkle;
use quorate::codec::merkle::Edge;

use super::Verdict;

/// Checks what nodes have signed against all events that they have.
pub fn check_proofs(events: &[Event], checkpoints: &[GetCheckpointResponse]) -> Verdict {
    let mut replay = Replay::default();
    let mut edge = Edge::default();
    for event in events {
        let bytes = event.encode_to_vec();
        edge.push(merkle::leaf(&bytes));
        let event = Recorded::new(bytes).map_err(|corrupt| corrupt.to_string())?;
        replay.push(event).map_err(|error| error.to_string())?;
    }
    replay.finish().map_err(|error| error.to_string())?;
    for checkpoint in checkpoints {
        if checkpoint.size != edge.size() || checkpoint.root != edge.root().0 {
            return Err(format!(
                "a node has signed another tree than that of its events: {}",
                checkpoint.note
            ));
        }
        if checkpoint.state_digest != replay.digest().to_string() {
            return Err(format!(
                "the events lead to the state {}, not to {}",
                replay.digest(),
                checkpoint.note
            ));
        }
    }
    Ok(())
}
