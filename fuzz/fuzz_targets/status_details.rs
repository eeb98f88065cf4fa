//! `google.rpc.Status` as bytes, made, changed or no such message at all: what was put in is read,
//! and of any bytes what a reader that is written apart finds.
#![no_main]

use arbitrary::Arbitrary;
use gannet_core::limits::STATUS_MESSAGE_BYTES_MAX;
use gannet_core::{Code, PackedDetail, Status, trailers};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    code: u8,
    message: String,
    details: Vec<(String, Vec<u8>)>,
    changes: Vec<(u16, u8)>,
    behind: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let code = Code::from(i32::from(input.code % 16) + 1);
    let mut status = Status::new(code, input.message.clone());
    for (type_url, value) in &input.details {
        status = status.with_packed_detail(PackedDetail { type_url, value });
    }
    // One that does not say its type is none.
    let packed: Vec<_> = input.details.iter().filter(|(url, _)| !url.is_empty()).collect();
    let is_same = |status: &Status| {
        let found = status.packed_details().map(|detail| (detail.type_url, detail.value));
        found.eq(packed.iter().map(|(url, value)| (url.as_str(), value.as_slice())))
    };
    assert!(is_same(&status));

    let mut fields = Vec::new();
    trailers::write(Err(&status), status.metadata(), |name, value, _| {
        fields.push((name.to_vec(), value.to_vec()));
    });
    let fields = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice(), false));
    let read = trailers::read(200, fields).expect_err("it is no OK");
    assert_eq!(read.code(), code);
    assert!(input.message.starts_with(read.message()));
    let is_cut = 9 * input.message.len() > STATUS_MESSAGE_BYTES_MAX;
    assert!(is_cut || read.message() == input.message);
    assert!(is_same(&read));

    let mut bytes = read.details().into_owned();
    for (at, change) in &input.changes {
        let length = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(usize::from(*at) % length) {
            *byte ^= change;
        }
    }
    bytes.extend_from_slice(&input.behind);
    let status = Status::aborted("").with_details(bytes.clone());
    let found: Vec<_> = status.packed_details().collect();
    let naive = naive(&bytes);
    assert!(found.iter().map(|detail| (detail.type_url, detail.value)).eq(naive.iter().copied()));
    // What is added goes behind what could be read.
    let more = status.with_packed_detail(PackedDetail { type_url: "t", value: b"v" });
    let found: Vec<_> = more.packed_details().collect();
    assert_eq!(found.len(), naive.len() + 1);
    assert_eq!(found.last(), Some(&PackedDetail { type_url: "t", value: b"v" }));
});

/// Types and values of all details, up to what cannot be read.
fn naive(bytes: &[u8]) -> Vec<(&str, &[u8])> {
    let mut details = Vec::new();
    for (number, any) in lengths(bytes) {
        if number != 3 {
            continue;
        }
        let (mut url, mut value) = (Some(""), &[][..]);
        for (number, bytes) in lengths(any) {
            match number {
                1 => url = url.and_then(|_| std::str::from_utf8(bytes).ok()),
                2 => value = bytes,
                _ => {}
            }
        }
        details.extend(url.filter(|url| !url.is_empty()).map(|url| (url, value)));
    }
    details
}

/// The fields with a length, up to what is no field.
fn lengths(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((key, next)) = varint(bytes, at) {
        let length = match key % 8 {
            0 => match varint(bytes, next) {
                Some((_, end)) => {
                    at = end;
                    continue;
                }
                None => break,
            },
            1 => (8, next),
            5 => (4, next),
            2 => match varint(bytes, next) {
                Some((length, next)) => (length, next),
                None => break,
            },
            _ => break,
        };
        let (length, start) = length;
        let Some(end) = usize::try_from(length).ok().and_then(|length| start.checked_add(length))
        else {
            break;
        };
        let Some(value) = bytes.get(start..end) else { break };
        if key % 8 == 2 {
            found.push((key / 8, value));
        }
        at = end;
    }
    found
}

fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u128;
    for (n, byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        value |= u128::from(byte & 127) << (7 * n);
        if *byte < 128 {
            return Some((value as u64, at + n + 1));
        }
    }
    None
}
