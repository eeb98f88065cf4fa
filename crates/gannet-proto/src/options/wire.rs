//! Fields in the wire format: what options come to, and what descriptors are written with.

use std::collections::BTreeMap;

/// A field with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) number: i32,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Vec<u8>),
    Message(Vec<Record>),
    Group(Vec<Record>),
}

/// The value of a number field, if it is set: the last one counts.
pub(crate) fn find_varint(records: &[Record], number: i32) -> Option<u64> {
    records.iter().rev().filter(|record| record.number == number).find_map(|record| {
        match record.value {
            Value::Varint(value) => Some(value),
            _ => None,
        }
    })
}

/// Whether a switch is on.
pub(crate) fn find_bool(records: &[Record], number: i32) -> bool {
    find_varint(records, number) == Some(1)
}

pub(crate) fn find_message(records: &[Record], number: i32) -> Option<&[Record]> {
    find_messages(records, number).next()
}

pub(crate) fn find_messages(records: &[Record], number: i32) -> impl Iterator<Item = &[Record]> {
    records.iter().filter(move |record| record.number == number).filter_map(|record| match &record
        .value
    {
        Value::Message(fields) | Value::Group(fields) => Some(&fields[..]),
        _ => None,
    })
}

pub(crate) fn find_text(records: &[Record], number: i32) -> Option<&str> {
    records.iter().rev().filter(|record| record.number == number).find_map(|record| {
        match &record.value {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    })
}

/// How a field of an options message is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    No,
    Yes,
    /// A message that there is only one of: what came in pieces is put together.
    Message(crate::tree::Id),
}

/// The order that protoc writes fields in: known ones by their number, then the others in the
/// order in which they came.
pub(crate) fn in_order(
    records: Vec<Record>,
    message: crate::tree::Id,
    known: &dyn Fn(crate::tree::Id, i32) -> Known,
) -> Vec<Record> {
    let mut sorted: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    let mut others = Vec::new();
    for record in records {
        let how = known(message, record.number);
        if how == Known::No {
            others.push(record);
            continue;
        }
        let same = sorted.entry(record.number).or_default();
        match (same.last_mut().map(|last| &mut last.value), record.value) {
            (Some(Value::Message(fields)), Value::Message(more)) if how != Known::Yes => {
                fields.extend(more);
            }
            (_, value) => same.push(Record { number: record.number, value }),
        }
    }
    let mut ordered: Vec<Record> = sorted.into_values().flatten().collect();
    for record in &mut ordered {
        if let (Known::Message(inner), Value::Message(fields)) =
            (known(message, record.number), &mut record.value)
        {
            *fields = in_order(std::mem::take(fields), inner, known);
        }
    }
    ordered.extend(others);
    ordered
}

/// Encodes `records` behind what is in `out`.
pub(crate) fn write(records: &[Record], out: &mut Vec<u8>) {
    for Record { number, value } in records {
        match value {
            Value::Varint(value) => write_varint_field(*number, *value, out),
            Value::Fixed64(value) => {
                write_tag(*number, 1, out);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Fixed32(value) => {
                write_tag(*number, 5, out);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Bytes(bytes) => write_bytes_field(*number, bytes, out),
            Value::Message(fields) => write_message_field(*number, out, |out| write(fields, out)),
            Value::Group(fields) => {
                write_tag(*number, 3, out);
                write(fields, out);
                write_tag(*number, 4, out);
            }
        }
    }
}

pub(crate) fn write_varint_field(number: i32, value: u64, out: &mut Vec<u8>) {
    write_tag(number, 0, out);
    write_varint(value, out);
}

/// An `int32` or an enum: negative numbers take ten bytes.
pub(crate) fn write_int_field(number: i32, value: i32, out: &mut Vec<u8>) {
    write_varint_field(number, from_i64(value.into()), out);
}

pub(crate) fn write_bytes_field(number: i32, bytes: &[u8], out: &mut Vec<u8>) {
    write_tag(number, 2, out);
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(crate) fn write_message_field(number: i32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    body(&mut inner);
    write_bytes_field(number, &inner, out);
}

fn write_tag(number: i32, wire_type: u64, out: &mut Vec<u8>) {
    write_varint((u64::from(number.unsigned_abs()) << 3) | wire_type, out);
}

pub(crate) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// The bits of a signed number.
pub(crate) fn from_i64(value: i64) -> u64 {
    u64::from_le_bytes(value.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_as_they_are_on_the_wire() {
        let inner = vec![Record { number: 1, value: Value::Varint(150) }];
        let records = [
            Record { number: 3, value: Value::Message(inner.clone()) },
            Record { number: 4, value: Value::Group(inner) },
            Record { number: 16, value: Value::Fixed32(1) },
        ];
        let mut out = Vec::new();
        write(&records, &mut out);
        let expected = [0x1a, 3, 8, 0x96, 1, 0x23, 8, 0x96, 1, 0x24, 0x85, 1, 1, 0, 0, 0];
        assert_eq!(out, expected);
        out.clear();
        write_int_field(1, -1, &mut out);
        assert_eq!(out.len(), 11);
    }
}
