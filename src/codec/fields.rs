//! Protobuf field by field, for what is read and written so often that a message in between would cost
//! more than what is in it.
//!
//! What is written is what the messages would be encoded to: fields by their numbers, ascending, and none
//! that is empty. What is read may have been written by a newer version: fields that nobody asks for are
//! passed over.

use std::fmt::Display;
use std::io::Write as _;

use prost::Message;
use prost::encoding::WireType;
use prost::encoding::decode_varint;
use prost::encoding::encode_varint;
use prost::encoding::encoded_len_varint;
use rust_decimal::Decimal;

use super::Corrupt;
use super::number;
use crate::ledger::Amount;

/// What a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number, of as many bytes as it needs.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// A number of four or eight bytes: no message here has one.
    Fixed,
}

/// The fields of a message, in the order in which they stand there.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Those of an encoded message; `what` names it in the error.
    pub(super) fn new(what: &'static str, message: &'a [u8]) -> Self {
        Self { what, rest: message }
    }

    /// The number of a field.
    pub(super) fn number(&self, value: Value<'_>) -> Result<u64, Corrupt> {
        match value {
            Value::Number(number) => Ok(number),
            _ => Err(self.corrupt("something else stands where a number should")),
        }
    }

    /// The number of a field of 32 bits.
    pub(super) fn small(&self, value: Value<'_>) -> Result<u32, Corrupt> {
        u32::try_from(self.number(value)?).map_err(|error| self.corrupt(error))
    }

    /// The bytes of a field.
    pub(super) fn bytes(&self, value: Value<'a>) -> Result<&'a [u8], Corrupt> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.corrupt("something else stands where text should")),
        }
    }

    /// The text of a field.
    pub(super) fn text(&self, value: Value<'a>) -> Result<&'a str, Corrupt> {
        std::str::from_utf8(self.bytes(value)?).map_err(|error| self.corrupt(error))
    }

    /// The decimal number of a field; zero when it is empty.
    pub(super) fn decimal(&self, value: Value<'a>) -> Result<Decimal, Corrupt> {
        match self.text(value)? {
            "" => Ok(Decimal::ZERO),
            text => number::parse("an amount", text).map_err(|error| self.corrupt(error)),
        }
    }

    fn corrupt(&self, problem: impl Display) -> Corrupt {
        Corrupt::new(self.what, problem)
    }

    /// What is left to be read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), Corrupt> {
        let key = u32::try_from(self.varint()?).map_err(|error| self.corrupt(error))?;
        let wire_type = WireType::try_from(u64::from(key & 7)).map_err(|error| self.corrupt(error))?;
        let field = key >> 3;
        if field == 0 {
            return Err(self.corrupt("no field has the number 0"));
        }
        let value = match wire_type {
            WireType::Varint => Value::Number(self.varint()?),
            WireType::LengthDelimited => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            WireType::SixtyFourBit => self.take(8).map(|_| Value::Fixed)?,
            WireType::ThirtyTwoBit => self.take(4).map(|_| Value::Fixed)?,
            WireType::StartGroup | WireType::EndGroup => return Err(self.corrupt("it has a group")),
        };
        Ok((field, value))
    }

    /// A number of as many bytes as it needs.
    #[inline]
    fn varint(&mut self) -> Result<u64, Corrupt> {
        match self.rest.split_first() {
            // Most of them.
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => decode_varint(&mut self.rest).map_err(|error| self.corrupt(error)),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Corrupt> {
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = split.ok_or_else(|| self.corrupt("a field is longer than what it stands in"))?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// Adds fields to the bytes of a message.
#[derive(Debug)]
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    /// A number, unless it is 0.
    pub(super) fn number(&mut self, field: u32, number: impl Into<u64>) {
        let number = number.into();
        if number != 0 {
            self.chosen(field, number);
        }
    }

    /// A number that is there also when it is 0, as one of several fields is: which of them is there says
    /// something.
    pub(super) fn chosen(&mut self, field: u32, number: u64) {
        self.key(field, WireType::Varint);
        self.varint(number);
    }

    fn key(&mut self, field: u32, wire_type: WireType) {
        self.varint(u64::from(field) << 3 | wire_type as u64);
    }

    /// A number of as many bytes as it needs: mostly one.
    #[inline]
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7F) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7F) as u8);
    }

    /// Bytes, unless there are none.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.encoded(field, bytes);
        }
    }

    /// A text, unless it is empty.
    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A message that is encoded already, or bytes; it is there also when it is empty.
    pub(super) fn encoded(&mut self, field: u32, message: &[u8]) {
        self.key(field, WireType::LengthDelimited);
        self.varint(message.len() as u64);
        self.0.extend_from_slice(message);
    }

    /// A message of which the fields are written; it is there also when it is empty.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Writer<'_>)) {
        self.key(field, WireType::LengthDelimited);
        let start = self.0.len();
        self.0.push(0);
        write(&mut Writer(self.0));
        let length = self.0.len() - start - 1;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => self.0[start] = short,
            // Moved once: else all lengths had to be known before.
            _ => {
                let (end, more) = (self.0.len(), encoded_len_varint(length as u64) - 1);
                self.0.resize(end + more, 0);
                self.0.copy_within(start + 1..end, start + 1 + more);
                encode_varint(length as u64, &mut &mut self.0[start..=start + more]);
            }
        }
    }

    /// A message.
    pub(super) fn of(&mut self, field: u32, message: &impl Message) {
        prost::encoding::message::encode(field, message, self.0);
    }

    /// All fields of a message, as fields of this one.
    pub(super) fn fields(&mut self, message: &impl Message) {
        message.encode(self.0).expect("a vector has room");
    }

    /// An amount as text, also when it is nothing.
    pub(super) fn amount(&mut self, field: u32, amount: Amount) {
        self.message(field, |text| match u64::try_from(amount.units()) {
            // Most of them, and much faster.
            Ok(whole) if amount.scale() == 0 => text.whole(whole),
            _ => text.shown(amount),
        });
    }

    /// A number as text, without trailing zeros.
    pub(super) fn decimal(&mut self, field: u32, number: Decimal) {
        self.message(field, |text| match i64::try_from(number.mantissa()) {
            Ok(whole) if number.scale() == 0 => text.whole(whole),
            _ => text.shown(number.normalize()),
        });
    }

    /// A change as text, unless it is none.
    pub(super) fn change(&mut self, field: u32, change: Decimal) {
        if !change.is_zero() {
            self.decimal(field, change);
        }
    }

    fn whole(&mut self, number: impl itoa::Integer) {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn shown(&mut self, value: impl Display) {
        write!(self.0, "{value}").expect("a vector has room");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1;

    #[test]
    fn fields_are_written_as_messages_write_them() {
        for length in [0, 1, 126, 127, 128, 129, 300, 20_000] {
            let name = v1::QuotaName { scope: "s".repeat(length), resource: String::new() };
            let message = v1::rejection::LockedQuota { quota: Some(name.clone()), lock: None };
            let mut written = Vec::new();
            Writer(&mut written).message(1, |quota| {
                quota.text(1, &name.scope);
                quota.text(2, &name.resource);
            });
            assert_eq!(written, message.encode_to_vec());
            let mut again = Vec::new();
            Writer(&mut again).of(1, &name);
            assert_eq!(again, written);
            let mut encoded = Vec::new();
            Writer(&mut encoded).encoded(1, &name.encode_to_vec());
            assert_eq!(encoded, written);
        }
    }

    #[test]
    fn what_is_cut_or_of_another_kind_is_corrupt() {
        let mut message = Vec::new();
        Writer(&mut message).text(1, "text");
        Writer(&mut message).number(2, 300u64);
        let read = |bytes| Fields::new("a message", bytes).collect::<Result<Vec<_>, _>>();
        assert_eq!(read(&message), Ok(vec![(1, Value::Bytes(b"text")), (2, Value::Number(300))]));
        for cut in 1..message.len() {
            // Between two fields a cut cannot be seen.
            assert_eq!(read(&message[..cut]).is_ok(), cut == 6, "cut at {cut}");
        }
        let fields = Fields::new("a message", &message);
        assert!(fields.number(Value::Bytes(b"1")).is_err());
        assert!(fields.text(Value::Number(1)).is_err());
        assert!(fields.text(Value::Bytes(&[0xFF])).is_err());
        assert!(fields.decimal(Value::Bytes(b"1e3")).is_err());
        assert!(fields.small(Value::Number(1 << 32)).is_err());
        // Of a wire type that nothing here has.
        let fixed: Vec<u8> = [&[0x1D], b"abcd".as_slice()].concat();
        let fields = Fields::new("a message", &fixed);
        assert_eq!(fields.clone().collect::<Result<Vec<_>, _>>(), Ok(vec![(3, Value::Fixed)]));
        assert!(fields.text(Value::Fixed).is_err() && fields.number(Value::Fixed).is_err());
    }
}
