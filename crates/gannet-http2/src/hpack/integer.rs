//! Integers with an N-bit prefix (RFC 7541, section 5.1), bounded to 32 bits.

use super::error::HpackError;

/// Reads an integer whose first byte, already taken from `input`, is `first`, with a prefix of
/// `prefix_bits` bits (1 to 8).
///
/// At most five continuation bytes: 32 bits need no more, and a peer could otherwise stretch a
/// zero without end.
#[inline]
pub(super) fn decode(first: u8, prefix_bits: u32, input: &mut &[u8]) -> Result<u32, HpackError> {
    let mask = u8::MAX >> (8 - prefix_bits);
    let prefix = first & mask;
    if prefix < mask {
        return Ok(u32::from(prefix));
    }
    decode_tail(u32::from(mask), input)
}

fn decode_tail(prefix: u32, input: &mut &[u8]) -> Result<u32, HpackError> {
    let mut value = u64::from(prefix);
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = input.split_first().ok_or(HpackError::Truncated)?;
        *input = rest;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| HpackError::IntegerOverflow);
        }
    }
    Err(HpackError::IntegerOverflow)
}

/// Appends `value` with a prefix of `prefix_bits` bits (1 to 8); `pattern` has the bits above it.
#[inline]
pub(super) fn encode(value: usize, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = u8::MAX >> (8 - prefix_bits);
    match u8::try_from(value) {
        Ok(small) if small < mask => out.push(pattern | small),
        _ => encode_tail(value - usize::from(mask), pattern | mask, out),
    }
}

#[cold]
#[allow(clippy::cast_possible_truncation)] // 7 bits
fn encode_tail(mut rest: usize, first: u8, out: &mut Vec<u8>) {
    out.push(first);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}
