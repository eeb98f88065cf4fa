//! The percent-encoding of `grpc-message` (PROTOCOL-HTTP2, "Status-Message").
//!
//! UTF-8, with 0x20 to 0x7E except `%` left bare. Not the URL encoding of RFC 3986, which escapes
//! more. Decoding never fails and never drops text: a broken sequence stays as it came.

use std::borrow::Cow;

/// Encodes a message for the wire; borrows where nothing is to be escaped.
///
/// The result is at most `bytes_max` long, cut at the end of a character.
pub fn encode(message: &str, bytes_max: usize) -> Cow<'_, [u8]> {
    let bytes = message.as_bytes();
    let bare = bytes.iter().take_while(|&&byte| is_bare(byte)).count();
    if bare == bytes.len() {
        return Cow::Borrowed(&bytes[..bare.min(bytes_max)]);
    }
    let mut out = Vec::with_capacity(bytes.len().saturating_add(16).min(bytes_max));
    let mut utf8 = [0; 4];
    for character in message.chars() {
        let bytes = character.encode_utf8(&mut utf8).as_bytes();
        let bare = is_bare(bytes[0]);
        let width = if bare { 1 } else { 3 * bytes.len() };
        if out.len() + width > bytes_max {
            break;
        }
        if bare {
            out.push(bytes[0]);
        } else {
            for &byte in bytes {
                out.extend_from_slice(&escape(byte));
            }
        }
    }
    Cow::Owned(out)
}

/// Decodes a message from the wire; borrows where nothing was escaped.
///
/// A `%` without two hexadecimal digits stays as it is. What is not UTF-8 after that shows as
/// U+FFFD.
pub fn decode(value: &[u8]) -> Cow<'_, str> {
    if !value.contains(&b'%') {
        return String::from_utf8_lossy(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(byte);
            rest = after;
        }
    }
    match String::from_utf8(out) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

const fn is_bare(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'%'
}

const fn escape(byte: u8) -> [u8; 3] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    [b'%', HEX[(byte >> 4) as usize], HEX[(byte & 0xf) as usize]]
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodes_the_official_special_message() {
        // The message of the interop case special_status_message.
        let message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
        let want = "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP \
                    %F0%9F%98%88%09%0A";
        assert_eq!(encode(message, usize::MAX), want.as_bytes());
        assert_eq!(decode(want.as_bytes()), message);
    }

    #[test]
    fn decodes_leniently() {
        let table: &[(&[u8], &str)] = &[
            (b"", ""),
            (b"plain", "plain"),
            (b"%41", "A"),
            (b"%e2%98%ba", "\u{263a}"),
            (b"%", "%"),
            (b"%4", "%4"),
            (b"100%", "100%"),
            (b"%zz%41", "%zzA"),
            (b"%%41", "%A"),
            (b"%4%41", "%4A"),
            (b"%ff", "\u{fffd}"),
            (b"\xff", "\u{fffd}"),
            (b"a%E2%98z", "a\u{fffd}z"),
            ("☺".as_bytes(), "☺"),
        ];
        for &(value, want) in table {
            assert_eq!(decode(value), want);
        }
    }

    #[test]
    fn borrows_plain_text() {
        assert!(matches!(encode("a plain message", usize::MAX), Cow::Borrowed(_)));
        assert!(matches!(decode(b"a plain message"), Cow::Borrowed(_)));
    }

    #[test]
    fn cuts_at_a_character() {
        assert_eq!(&*encode("abcdef", 3), b"abc");
        assert_eq!(&*encode("a%b", 3), b"a");
        assert_eq!(&*encode("a☺b", 9), b"a");
        assert_eq!(&*encode("a☺b", 10), b"a%E2%98%BA");
        assert_eq!(&*encode("☺", 0), b"");
    }

    proptest! {
        #[test]
        fn any_text_round_trips(message in any::<String>()) {
            let encoded = encode(&message, usize::MAX);
            prop_assert!(encoded.iter().all(|byte| matches!(byte, 0x20..=0x7e)));
            prop_assert_eq!(&*decode(&encoded), &message);
        }

        #[test]
        fn a_cut_message_is_a_prefix(message in any::<String>(), bytes_max in 0..64_usize) {
            let encoded = encode(&message, bytes_max);
            prop_assert!(encoded.len() <= bytes_max);
            prop_assert!(message.starts_with(&*decode(&encoded)));
        }

        #[test]
        fn any_bytes_decode(value in proptest::collection::vec(
            prop_oneof![Just(b'%'), any::<u8>(), b'0'..=b'9'], 0..64)) {
            let decoded = decode(&value);
            // Each byte in is at most one U+FFFD (3 bytes) out.
            prop_assert!(decoded.len() <= 3 * value.len());
            // What has no valid sequence and is text comes out unchanged.
            let escapes = value.windows(3).any(|part| {
                part[0] == b'%' && part[1].is_ascii_hexdigit() && part[2].is_ascii_hexdigit()
            });
            if let (false, Ok(text)) = (escapes, std::str::from_utf8(&value)) {
                prop_assert_eq!(decoded, text);
            }
        }
    }
}
