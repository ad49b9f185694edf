//! The payload of a log entry.

use prost::Message as _;
use quorate::codec::batch;
use quorate::codec::command;
use quorate::proto::v1;

use super::seen;

/// Decodes it as the state machine does.
pub fn run(bytes: &[u8]) {
    let batch::Decoded { stamp, requests, commands } = match batch::decode(bytes) {
        Ok(decoded) => decoded,
        Err(corrupt) => return seen::note(seen::problem(&corrupt)),
    };
    let encoded = batch::encode(&stamp, &requests);
    let again = batch::decode(&encoded).expect("what was encoded can be decoded");
    assert_eq!(again.stamp, stamp, "a batch means something else when it is encoded again");
    assert_eq!(again.requests, requests, "a batch means something else when it is encoded again");
    assert_eq!(batch::encode(&stamp, &requests), encoded, "equal batches have equal bytes");
    seen::understood("batch", &encoded);
    for (request, command) in requests.iter().zip(commands).filter(|(_, command)| !command.is_empty()) {
        // However it was read.
        let message = v1::BatchCommand::decode(command).expect("a message");
        let command = command::decode(message.command.expect("a command"));
        assert_eq!(command.as_ref(), Ok(&request.command), "a command is read in two ways");
    }
    for request in &requests {
        assert!(batch::encoded(request).len() <= encoded.len(), "a request is larger than its batch");
        let alone = batch::decode_request(batch::encode_request(request)).expect("a request");
        assert_eq!(alone, *request, "a request means something else on its own");
        assert_eq!(batch::fingerprint(&alone.command), batch::fingerprint(&request.command));
    }
}
