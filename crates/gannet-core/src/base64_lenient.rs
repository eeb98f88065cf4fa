//! Base64 as gRPC's `-bin` headers use it: padded or not when read, unpadded when written.
//!
//! Non-zero trailing bits are accepted: some encoders leave them, and a header that another
//! implementation reads must not fail a call here. Knows nothing of commas: see
//! [`crate::metadata`].

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Appends the unpadded standard base64 of `bytes` to `out`.
pub(crate) fn encode_into(bytes: &[u8], out: &mut Vec<u8>) {
    // Base64 grows by a third, rounded up to whole quanta of four.
    let room = bytes.len().div_ceil(3).saturating_mul(4);
    let start = out.len();
    out.resize(start.saturating_add(room), 0);
    let written = ENGINE
        .encode_slice(bytes, &mut out[start..])
        .expect("the room above holds the padded form, which is the longer one");
    out.truncate(start + written);
}

/// The bytes that standard base64 text, padded or unpadded, stands for; `None` where it is none.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    ENGINE.decode(text).ok()
}

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_peers_write() {
        let table: &[(&str, Option<&[u8]>)] = &[
            ("", Some(b"")),
            ("q6ur", Some(b"\xab\xab\xab")),
            ("AQ==", Some(b"\x01")),
            ("AQ", Some(b"\x01")),
            ("AR", Some(b"\x01")),
            ("AQI=", Some(b"\x01\x02")),
            ("AQI", Some(b"\x01\x02")),
            ("A", None),
            ("AQ===", None),
            ("A-_", None),
            ("AQ, AQ", None),
        ];
        for &(text, bytes) in table {
            assert_eq!(decode(text.as_bytes()).as_deref(), bytes, "{text:?}");
        }
    }

    #[test]
    fn writes_unpadded_after_what_is_there() {
        let mut out = b"x".to_vec();
        encode_into(b"\x01", &mut out);
        assert_eq!(out, b"xAQ");
    }
}
