//! Reads protobuf's wire format: fields and their numbers, without types.
//!
//! Descriptors are looked at for names alone; their bytes go to clients as they are. So there is no
//! need for the messages of `descriptor.proto`, which are among the largest that there are.

use gannet_core::varint;

/// Bytes that are not of a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a field holds, as far as it is of interest here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers and groups: no descriptor has any that is read.
    Other,
}

/// The fields of a message, in their order.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.skip(4)?,
            // Groups are in no descriptor.
            _ => return Err(Malformed),
        };
        Ok((tag >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        varint::take(&mut self.rest).ok_or(Malformed)
    }

    fn skip(&mut self, length: usize) -> Result<Value<'a>, Malformed> {
        self.take(length).map(|_| Value::Other)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    /// After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A text field.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_wire_type() {
        let message = b"\x08\x96\x01\x12\x02hi\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0\xfa\x3f\0";
        let read: Vec<_> = fields(message).collect::<Result<_, _>>().unwrap();
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Other),
            (4, Value::Other),
            (1023, Value::Bytes(b"")),
        ];
        assert_eq!(read, expected);
        assert_eq!(fields(b"").count(), 0);
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error_and_the_end() {
        for bad in [
            &b"\x80"[..],
            b"\x08",
            b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            // Ten bytes, and more than 64 bits.
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x82\x80\x80\x80\x80\x80\x80\x80\x80\x7e\x01\x00",
            b"\x12\x03hi",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x19\0\0",
            b"\x25\0",
            b"\x0b\x0c",
            b"\x0e",
        ] {
            let read: Vec<_> = fields(bad).collect();
            assert_eq!(read.last(), Some(&Err(Malformed)), "{bad:02x?}");
            assert_eq!(read.iter().filter(|field| field.is_err()).count(), 1);
        }
    }
}
