//! Records that never leave the node: bincode behind a format byte. The bincode crate is no
//! longer maintained, so nothing outside this file may name it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Corrupt;
use super::keys::FORMAT;

/// The bytes of a record.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(record, &mut bytes, bincode::config::standard())
        .expect("writing plain data into memory cannot fail");
    bytes
}

/// A record from its bytes; `what` names it in the error.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Corrupt> {
    let payload = payload(what, bytes)?;
    let (record, read) = bincode::serde::decode_from_slice(payload, bincode::config::standard())
        .map_err(|error| Corrupt::new(what, error))?;
    if read != payload.len() {
        return Err(Corrupt::new(what, format!("{} bytes follow its end", payload.len() - read)));
    }
    Ok(record)
}

/// Prefixes a payload with the format byte.
pub fn framed(payload: &impl prost::Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + payload.encoded_len());
    bytes.push(FORMAT);
    payload.encode(&mut bytes).expect("a vector has room");
    bytes
}

/// What follows the format byte.
pub fn payload<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], Corrupt> {
    match bytes.split_first() {
        Some((&FORMAT, payload)) => Ok(payload),
        Some((format, _)) => Err(Corrupt::new(
            what,
            format!("its format is {format}, this program knows {FORMAT}: it was written by a newer version"),
        )),
        None => Err(Corrupt::new(what, "it is empty")),
    }
}

/// Reads a framed protobuf message.
pub fn message<T: prost::Message + Default>(what: &'static str, bytes: &[u8]) -> Result<T, Corrupt> {
    T::decode(payload(what, bytes)?).map_err(|error| Corrupt::new(what, error))
}
