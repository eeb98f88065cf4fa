//! What travels in single header fields: timeouts, messages in percent-encoding, metadata with
//! base64, and trailers. Any bytes are read without a panic, as readers that are written apart read
//! them; what is written is read as it was.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use gannet_core::timeout::{self, TimeoutError};
use gannet_core::{Metadata, content_type, percent, trailers};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Field {
    Timeout(Vec<u8>),
    Duration(Duration),
    Escaped(Vec<u8>),
    Message(String, u16),
    Binary(Vec<Vec<u8>>),
    Base64(Vec<u8>),
    Metadata(Vec<(Vec<u8>, Vec<u8>)>),
    Key(String, String),
    Trailers { status: Vec<u8>, message: Vec<u8>, details: Vec<u8>, http_status: u16 },
    ContentType(Vec<u8>),
}

fuzz_target!(|field: Field| match field {
    Field::Timeout(value) => timeouts(&value),
    Field::Duration(duration) => durations(duration),
    Field::Escaped(value) => assert_eq!(percent::decode(&value), unescaped(&value)),
    Field::Message(message, bytes_max) => messages(&message, usize::from(bytes_max)),
    Field::Binary(values) => binary(&values),
    Field::Base64(value) => base64(&value),
    Field::Metadata(fields) => metadata(&fields),
    Field::Key(key, value) => keys(&key, &value),
    Field::Trailers { status, message, details, http_status } => {
        let fields: [(&[u8], &[u8]); 3] = [
            (b"grpc-status", &status),
            (b"grpc-message", &message),
            (b"grpc-status-details-bin", &details),
        ];
        // As it is written, and not with a sign or zeros before it.
        let number = (0..=16_u8).find(|number| number.to_string().as_bytes() == status);
        match trailers::read(http_status, fields.map(|(name, value)| (name, value, false))) {
            Ok(metadata) => assert!(metadata.is_empty() && number == Some(0)),
            Err(read) => {
                assert!(number != Some(0) && read.code() as u8 == number.unwrap_or(2));
                assert!(read.packed_details().count() <= details.len());
            }
        }
    }
    Field::ContentType(value) => {
        let subtype = content_type::grpc_subtype(&value);
        assert!(subtype.is_none_or(|subtype| value.len() >= 16 + subtype.len()));
    }
});

fn timeouts(value: &[u8]) {
    let naive = || {
        let (unit, digits) = value.split_last()?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_count =
            (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let count = digits.parse::<u64>().ok().filter(|_| is_count)?;
        let nanos = match unit {
            b'H' => 3_600_000_000_000,
            b'M' => 60_000_000_000,
            b'S' => 1_000_000_000,
            b'm' => 1_000_000,
            b'u' => 1_000,
            b'n' => 1,
            _ => return None,
        };
        Some(u128::from(count) * nanos)
    };
    let read: Result<Duration, TimeoutError> = timeout::parse(value);
    assert_eq!(read.map(|read| read.as_nanos()).ok(), naive());
    if let Ok(read) = read {
        durations(read);
    }
}

fn durations(duration: Duration) {
    const LONGEST: Duration = Duration::from_secs(99_999_999 * 3_600);
    for (encoded, slack) in [
        (timeout::encode(duration), duration / 99_999),
        (timeout::encode_coarse(duration), duration / 100),
    ] {
        let read = timeout::parse(encoded.as_bytes()).expect("it is one of ours");
        if duration > LONGEST {
            assert_eq!(read, LONGEST);
        } else {
            // A unit is at most 1,000 of those that no longer fit.
            let late = read.checked_sub(duration);
            let is_near = late.is_some_and(|late| late <= slack + Duration::from_nanos(1));
            assert!(is_near, "{duration:?} became {read:?}");
        }
    }
}

/// Percent-decoding, byte by byte.
fn unescaped(value: &[u8]) -> String {
    let mut out = Vec::new();
    let mut at = 0;
    while at < value.len() {
        let digits = value.get(at + 1..at + 3).filter(|_| value[at] == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.map(|digits| {
            let text = std::str::from_utf8(digits).expect("they are ASCII");
            u8::from_str_radix(text, 16).expect("they are hexadecimal")
        });
        out.push(byte.unwrap_or(value[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn messages(message: &str, bytes_max: usize) {
    let whole = percent::encode(message, usize::MAX);
    assert_eq!(percent::decode(&whole), message);
    let cut = percent::encode(message, bytes_max);
    assert!(cut.len() <= bytes_max && whole.starts_with(&cut));
    assert!(cut.iter().all(|byte| (0x20..=0x7e).contains(byte)));
    assert!(message.starts_with(&*percent::decode(&cut)));
    assert!(cut.len() == whole.len() || cut.len() + 12 > bytes_max);
}

fn binary(values: &[Vec<u8>]) {
    let mut metadata = Metadata::new();
    for value in values {
        if metadata.append_bin("k-bin", value).is_err() {
            return;
        }
    }
    let came: Vec<_> =
        metadata.get_all_bin("K-Bin").collect::<Result<_, _>>().expect("all are ours");
    assert_eq!(came, values);
    // As a proxy may join them.
    let texts: Vec<_> = metadata.get_all("k-bin").collect();
    assert!(texts.iter().flat_map(|text| text.iter()).all(|byte| byte.is_ascii_graphic()));
    let joined = texts.join(&b", "[..]);
    let joined = Metadata::from_wire([(&b"k-bin"[..], &joined[..])]);
    if !values.is_empty() && joined.len() == 1 {
        let came: Vec<_> =
            joined.get_all_bin("k-bin").collect::<Result<_, _>>().expect("as before");
        assert_eq!(came, values);
    }
}

/// Base64 that somebody else has written, or that is none.
fn base64(value: &[u8]) {
    let metadata = Metadata::from_wire([(&b"k-bin"[..], value)]);
    let read: Vec<_> = metadata.get_all_bin("k-bin").collect();
    let parts: Vec<_> = value.split(|byte| *byte == b',').map(|part| part.trim_ascii()).collect();
    assert_eq!(read.len(), parts.len());
    for (read, part) in read.iter().zip(parts) {
        assert_eq!(read.as_ref().ok(), unbased(part).as_ref(), "{part:?}");
    }
}

fn unbased(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    // All of the padding that is due, none of it, or a part.
    if digits.len() % 4 == 1 || padding > digits.len().next_multiple_of(4) - digits.len() {
        return None;
    }
    let mut bits = Vec::new();
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    Some(
        bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect(),
    )
}

fn metadata(fields: &[(Vec<u8>, Vec<u8>)]) {
    let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    let metadata = Metadata::from_wire(pairs);
    assert!(metadata.len() <= fields.len());
    for (name, value) in metadata.iter() {
        assert!(fields.iter().any(|(n, v)| n == name.as_bytes() && v == value));
        assert!(metadata.contains(name));
        let _ = (metadata.get(name), metadata.get_bin(name));
    }
    let again = Metadata::from_wire(metadata.wire_pairs());
    assert!(again.iter().eq(again.iter().filter(|(name, _)| metadata.contains(name))));
    let _ = format!("{metadata:?}");
    let mut kept = metadata.clone();
    kept.retain(|name, _| name.len() % 2 == 0);
    assert!(kept.iter().eq(metadata.iter().filter(|(name, _)| name.len() % 2 == 0)));
}

/// What an application writes, it reads, or is told that it cannot be.
fn keys(key: &str, value: &str) {
    let mut metadata = Metadata::new();
    if metadata.append(key, value).is_ok() {
        assert!(
            key.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
        );
        assert!(!key.starts_with("grpc-") && !key.ends_with("-bin"));
        assert!(value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        assert_eq!(metadata.len(), 1);
    } else {
        assert!(metadata.is_empty());
    }
    if metadata.insert_bin(key, value).is_ok() {
        assert!(key.ends_with("-bin"));
        assert_eq!(metadata.get_bin(key).ok().flatten().as_deref(), Some(value.as_bytes()));
    }
}
