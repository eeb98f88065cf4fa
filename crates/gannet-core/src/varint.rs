//! Protobuf's variable-width numbers, for those who read a message without its types (protobuf's
//! encoding, "Base 128 Varints").

/// Takes a number of at most 64 bits from the front of `bytes`; `None` where there is none such:
/// bytes that end within it, and numbers of more than 64 bits.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        if value >> shift != bits {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_up_to_64_bits() {
        let table: &[(&[u8], Option<u64>, usize)] = &[
            (b"\0", Some(0), 0),
            (b"\x7fab", Some(127), 2),
            (b"\x96\x01", Some(150), 0),
            // Longer than it need be.
            (b"\x81\x80\x00\x05", Some(1), 1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(u64::MAX), 0),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", None, 0),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", None, 0),
            (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", None, 1),
            (b"", None, 0),
            (b"\x80", None, 0),
        ];
        for (bytes, value, left) in table {
            let mut rest = *bytes;
            assert_eq!(take(&mut rest), *value, "{bytes:02x?}");
            assert_eq!(rest.len(), *left, "{bytes:02x?}");
        }
    }
}
