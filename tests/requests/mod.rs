//! Requests for tests: ids from a time and a number, fingerprints from the command.

use quorate::ledger::Command;
use quorate::ledger::Request;
use quorate::ledger::RequestId;
use sha2::Digest;
use sha2::Sha256;

/// The UUIDv7 that a client whose clock shows `time_ms` makes; `number` stands for its random bits.
pub fn request_id(time_ms: u64, number: u64) -> RequestId {
    let time = u128::from(time_ms) << 80;
    let version = 7u128 << 76;
    let variant = 0b10u128 << 62;
    let random = u128::from(number) & ((1 << 62) - 1);
    RequestId::from_bytes((time | version | variant | random).to_be_bytes()).expect("a UUIDv7")
}

/// A request as the server makes it: commands that mean the same have the same fingerprint.
pub fn request(id: RequestId, actor: &str, command: Command) -> Request {
    let digest = Sha256::digest(format!("{command:?}"));
    let fingerprint = digest[..16].try_into().expect("16 bytes");
    Request { id, fingerprint, actor: actor.into(), reason: "".into(), command }
}
