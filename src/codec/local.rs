//! Records that never leave the node: bincode behind a format byte. The bincode crate is no
//! longer maintained, so nothing outside this file may name it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Corrupt;
use super::keys::FORMAT;

/// More than any record has. Without a limit, a damaged length is room that is asked for.
const MAX_RECORD: usize = 64 << 10;

/// How records are written and read.
fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_RECORD>()
}

/// The bytes of a record.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(record, &mut bytes, config())
        .expect("writing plain data into memory cannot fail");
    bytes
}

/// A record from its bytes; `what` names it in the error.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Corrupt> {
    let payload = payload(what, bytes)?;
    let (record, read) =
        bincode::serde::decode_from_slice(payload, config()).map_err(|error| Corrupt::new(what, error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_length_is_no_room_that_is_asked_for() {
        let mut bytes = encode(&"main".to_owned());
        assert_eq!(decode::<String>("a name", &bytes).as_deref(), Ok("main"));
        bytes.splice(1..2, [253, 255, 255, 255, 255, 255, 255, 255, 127]);
        assert!(decode::<String>("a name", &bytes).is_err());
    }
}
