//! The details of a status: any number of messages, each beside its type.
//!
//! They travel in a serialized `google.rpc.Status` (`grpc-status-details-bin`), of which this
//! module knows no more than the wire form: code = 1, message = 2, details = 3, of which each is a
//! `google.protobuf.Any` with type_url = 1 and value = 2. What is not understood there is passed
//! over, never an error: details are a courtesy, the code is what counts.

use std::fmt;

use crate::{Code, DecodeError};

/// A message that can be a detail of a [`Status`](crate::Status).
///
/// Messages generated for buffa are (feature `buffa`), those of `google.rpc` among them (feature
/// `rpc` of the facade). Others go in with
/// [`with_packed_detail`](crate::Status::with_packed_detail).
pub trait Detail: Sized {
    /// Its type, such as `type.googleapis.com/google.rpc.RetryInfo`.
    const TYPE_URL: &'static str;

    /// The message, serialized.
    fn to_bytes(&self) -> Vec<u8>;

    /// The message from its serialized form.
    ///
    /// # Errors
    ///
    /// Where the bytes are no such message.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError>;
}

#[cfg(feature = "buffa")]
impl<T: ::buffa::Message + ::buffa::MessageName> Detail for T {
    const TYPE_URL: &'static str = T::TYPE_URL;

    fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        T::decode_from_slice(bytes).map_err(DecodeError::new)
    }
}

/// One detail as it travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PackedDetail<'a> {
    /// What `value` is: only what follows the last slash says it.
    pub type_url: &'a str,
    /// The serialized message.
    pub value: &'a [u8],
}

impl PackedDetail<'_> {
    /// The message, where it is of this type and can be decoded.
    pub fn unpack<D: Detail>(&self) -> Option<D> {
        (type_name(self.type_url) == type_name(D::TYPE_URL))
            .then(|| D::from_bytes(self.value).ok())?
    }
}

impl fmt::Debug for PackedDetail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.type_url, self.value.len())
    }
}

fn type_name(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}

/// Appends one detail, as a field of `google.rpc.Status`.
pub(crate) fn append(out: &mut Vec<u8>, type_url: &str, value: &[u8]) {
    let mut any = Vec::with_capacity(type_url.len() + value.len() + 2 * LENGTH_BYTES_MAX);
    put_bytes(&mut any, ANY_TYPE_URL, type_url.as_bytes());
    put_bytes(&mut any, ANY_VALUE, value);
    put_bytes(out, STATUS_DETAILS, &any);
}

/// A serialized `google.rpc.Status` of what was [appended](append).
pub(crate) fn whole(code: Code, message: &str, appended: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + appended.len() + 2 * LENGTH_BYTES_MAX);
    put_varint(&mut out, STATUS_CODE << 3);
    put_varint(&mut out, u64::from(code as u8));
    if !message.is_empty() {
        put_bytes(&mut out, STATUS_MESSAGE, message.as_bytes());
    }
    out.extend_from_slice(appended);
    out
}

/// The details in a serialized `google.rpc.Status`, as far as it can be read.
pub(crate) fn iter(status: &[u8]) -> impl Iterator<Item = PackedDetail<'_>> {
    fields(status).filter_map(|(number, value)| match value {
        Some(any) if number == STATUS_DETAILS => unpack(any),
        _ => None,
    })
}

fn unpack(any: &[u8]) -> Option<PackedDetail<'_>> {
    let mut detail = PackedDetail { type_url: "", value: &[] };
    for (number, value) in fields(any) {
        match (number, value) {
            (ANY_TYPE_URL, Some(url)) => detail.type_url = std::str::from_utf8(url).ok()?,
            (ANY_VALUE, Some(value)) => detail.value = value,
            _ => {}
        }
    }
    (!detail.type_url.is_empty()).then_some(detail)
}

/// The fields of a message: their numbers, and the bytes of those that have a length.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
    std::iter::from_fn(move || {
        let key = take_varint(&mut rest)?;
        let value = match key & 7 {
            0 => take_varint(&mut rest).map(|_| None)?,
            1 => take(&mut rest, 8).map(|_| None)?,
            2 => {
                let bytes = usize::try_from(take_varint(&mut rest)?).ok()?;
                Some(take(&mut rest, bytes)?)
            }
            5 => take(&mut rest, 4).map(|_| None)?,
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

const STATUS_CODE: u64 = 1;
const STATUS_MESSAGE: u64 = 2;
const STATUS_DETAILS: u64 = 3;
const ANY_TYPE_URL: u64 = 1;
const ANY_VALUE: u64 = 2;
/// A key and a length.
const LENGTH_BYTES_MAX: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_found_among_what_is_unknown() {
        let mut appended = Vec::new();
        append(&mut appended, "type.googleapis.com/a.B", b"one");
        // Field 9 as a varint, a 64-bit, a 32-bit and a length-delimited value.
        appended.extend_from_slice(&[0x48, 0x80, 0x01]);
        appended.extend_from_slice(&[0x49, 1, 2, 3, 4, 5, 6, 7, 8]);
        appended.extend_from_slice(&[0x4d, 1, 2, 3, 4]);
        appended.extend_from_slice(&[0x4a, 2, 9, 9]);
        append(&mut appended, "a.C", &[7; 300]);
        let status = whole(Code::Aborted, "so it goes", &appended);
        assert_eq!(&status[..4], [0x08, 10, 0x12, 10], "code and message go first");
        let found: Vec<_> = iter(&status).collect();
        assert_eq!(
            found,
            [
                PackedDetail { type_url: "type.googleapis.com/a.B", value: b"one" },
                PackedDetail { type_url: "a.C", value: &[7; 300] },
            ]
        );
        assert_eq!(format!("{:?}", found[1]), "a.C (300 bytes)");
    }

    #[test]
    fn what_is_cut_or_no_message_yields_what_came_before() {
        let mut appended = Vec::new();
        append(&mut appended, "a.B", b"one");
        let one_bytes = appended.len();
        append(&mut appended, "a.C", b"two");
        for cut in 0..appended.len() {
            let whole = usize::from(cut >= one_bytes);
            assert_eq!(iter(&appended[..cut]).count(), whole, "{cut}");
        }
        for garbage in [&[0xff; 20][..], &[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x1b], &[0x1a]] {
            assert_eq!(iter(garbage).count(), 0);
        }
        // An Any without a type, and one whose type is not UTF-8.
        assert_eq!(iter(&[0x1a, 2, 0x12, 0, 0x1a, 3, 0x0a, 1, 0xff]).count(), 0);
    }
}
