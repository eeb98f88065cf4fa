//! Messages on the wire: the five bytes before each, and the check of those that come.
//!
//! All messages of one kind are the same, so nothing is put together: whatever comes is compared
//! with what is due, wherever DATA frames cut it.

use std::io;

use crate::frames::unexpected;

/// The message with its prefix: not compressed, and its length.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message is shorter than 4 GiB");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// A protobuf message whose field 1 is these bytes; without the field where there are none.
pub(crate) fn bytes_field(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut out = vec![0x0a];
    varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// A protobuf field of a number: absent where it is 0.
pub(crate) fn number_field(field: u8, number: u64, out: &mut Vec<u8>) {
    if number > 0 {
        out.push(field << 3);
        varint(number, out);
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Where a stream is in the message it receives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader {
    at: usize,
}

impl Reader {
    /// Compares a piece with what is due, again and again the same framed message, and tells how
    /// many messages it completes.
    pub(crate) fn read(&mut self, mut piece: &[u8], due: &[u8]) -> io::Result<u32> {
        if self.at == 0 && piece == due {
            return Ok(1);
        }
        let mut messages = 0;
        while !piece.is_empty() {
            let length = piece.len().min(due.len() - self.at);
            let (now, later) = piece.split_at(length);
            let expected = &due[self.at..self.at + length];
            if now != expected {
                return Err(differs(now, expected, self.at));
            }
            piece = later;
            self.at += length;
            if self.at == due.len() {
                self.at = 0;
                messages += 1;
            }
        }
        Ok(messages)
    }

    /// Whether a message has begun and not ended.
    pub(crate) fn is_inside(self) -> bool {
        self.at > 0
    }
}

fn differs(now: &[u8], expected: &[u8], at: usize) -> io::Error {
    let first = now.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(0);
    let show = |bytes: &[u8]| bytes[first..bytes.len().min(first + 40)].escape_ascii().to_string();
    unexpected(format!(
        "a reply differs from the expected one at byte {} (its prefix counted): \"{}\" came, \
         \"{}\" was due",
        at + first,
        show(now),
        show(expected),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_wherever_they_are_cut() {
        let due = framed(b"hello");
        let stream = due.repeat(3);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let mut reader = Reader::default();
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                let read: u32 = pieces.iter().map(|piece| reader.read(piece, &due).unwrap()).sum();
                assert_eq!((read, reader.is_inside()), (3, false), "cut at {first} and {second}");
            }
        }
        let mut reader = Reader::default();
        assert_eq!(reader.read(&stream[..12], &due).unwrap(), 1);
        assert!(reader.is_inside());
    }

    #[test]
    fn another_reply_is_shown() {
        let mut reader = Reader::default();
        reader.read(b"\0\0\0\0\x05he", &framed(b"hello")).unwrap();
        let error = reader.read(b"lp!", &framed(b"hello")).unwrap_err().to_string();
        assert!(error.contains("at byte 8") && error.contains("\"p!\" came, \"lo\""), "{error}");
    }

    #[test]
    fn empty_messages_are_messages() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(&[0; 10], &framed(b"")).unwrap(), 2);
    }

    #[test]
    fn fields_are_protobufs() {
        assert_eq!(bytes_field(b"abc"), b"\x0a\x03abc");
        assert_eq!(bytes_field(&[b'x'; 300])[..3], [0x0a, 0xac, 0x02]);
        assert_eq!(bytes_field(b""), b"");
        let mut want = Vec::new();
        number_field(1, 1000, &mut want);
        number_field(2, 16, &mut want);
        number_field(3, 0, &mut want);
        assert_eq!(want, [0x08, 0xe8, 0x07, 0x10, 0x10]);
    }
}
