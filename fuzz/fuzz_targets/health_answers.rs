//! Answers of the health service as a client reads them: whatever bytes they are, it reads what the
//! generated message reads, but for groups.
#![no_main]

use arbitrary::Arbitrary;
use buffa::unknown_fields::{UnknownField, UnknownFieldData};
use buffa::{ExtensionSet as _, Message as _};
use gannet_services::health::v1::HealthCheckResponse;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    fields: Vec<Field>,
    rest: Vec<u8>,
    cut: Option<u16>,
}

#[derive(Debug, Arbitrary)]
enum Field {
    Status(u64),
    Varint(u32, u64),
    /// Longer than it has to be.
    Long {
        number: u8,
        bytes: Vec<u8>,
        last: u8,
    },
    Fixed64(u32, [u8; 8]),
    Fixed32(u32, [u8; 4]),
    Bytes {
        number: u32,
        bytes: Vec<u8>,
        length: Option<u64>,
    },
    Group(u32, Vec<u8>),
    Any(Vec<u8>),
}

fuzz_target!(|input: Input| {
    let mut message = Vec::new();
    input.fields.iter().for_each(|field| write(field, &mut message));
    message.extend_from_slice(&input.rest);
    if let Some(cut) = input.cut {
        message.truncate(usize::from(cut) % (message.len() + 1));
    }
    let due = HealthCheckResponse::decode_from_slice(&message).ok();
    // Groups, which proto3 does not have, are none of a health service's.
    let due = due.filter(|due| !due.unknown_fields().iter().any(is_group));
    let due = due.map(|due| due.status.to_i32());
    let read = gannet_client::health_answer(&message);
    assert_eq!(read, due, "{message:02x?}");
});

fn is_group(field: &UnknownField) -> bool {
    matches!(field.data, UnknownFieldData::Group(_))
}

fn write(field: &Field, out: &mut Vec<u8>) {
    let tag =
        |number: u32, kind: u64, out: &mut Vec<u8>| varint(u64::from(number) << 3 | kind, out);
    match field {
        Field::Status(status) => {
            tag(1, 0, out);
            varint(*status, out);
        }
        Field::Varint(number, value) => {
            tag(*number, 0, out);
            varint(*value, out);
        }
        Field::Long { number, bytes, last } => {
            tag(u32::from(*number), 0, out);
            out.extend(bytes.iter().map(|byte| byte | 0x80));
            out.push(last & 0x7f);
        }
        Field::Fixed64(number, bytes) => {
            tag(*number, 1, out);
            out.extend_from_slice(bytes);
        }
        Field::Fixed32(number, bytes) => {
            tag(*number, 5, out);
            out.extend_from_slice(bytes);
        }
        Field::Bytes { number, bytes, length } => {
            tag(*number, 2, out);
            varint(length.unwrap_or(bytes.len() as u64), out);
            out.extend_from_slice(bytes);
        }
        Field::Group(number, bytes) => {
            tag(*number, 3, out);
            out.extend_from_slice(bytes);
            tag(*number, 4, out);
        }
        Field::Any(bytes) => out.extend_from_slice(bytes),
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
