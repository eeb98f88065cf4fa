//! The values of a message that was read, as they are written.

use std::collections::BTreeMap;

use super::scalar;
use super::wire::{self, Record, Value};
use crate::features::{Feature, PRESENCE_IMPLICIT, REPEATED_PACKED};
use crate::link::pool::Pool;
use crate::tree::{Field, Id, Scalar, Type};

/// What a message has so far: by its fields' numbers, values in their order.
pub(super) type Values<'p> = BTreeMap<i32, (&'p Field, Vec<Value>)>;

/// The values as they are written: in the order of numbers, packed where that is so, and without
/// those that say as much as their absence.
pub(super) fn records(values: Values<'_>) -> Vec<Record> {
    let mut out = Vec::new();
    for (number, (field, values)) in values {
        if field.is_packable() && field.features.is(Feature::RepeatedFieldEncoding, REPEATED_PACKED)
        {
            if !values.is_empty() {
                out.push(Record { number, value: Value::Bytes(packed(&values)) });
            }
            continue;
        }
        let implicit = !field.is_repeated()
            && field.message().is_none()
            && field.oneof.is_none()
            && field.extendee.is_none()
            && field.features.is(Feature::FieldPresence, PRESENCE_IMPLICIT);
        let values = values.into_iter().filter(|value| !implicit || !scalar::is_zero(value));
        out.extend(values.map(|value| Record { number, value }));
    }
    out
}

/// A field of a message set, which has its number beside its value.
pub(super) fn set_item(record: Record) -> Record {
    let number = wire::from_i64(record.number.into());
    let fields = vec![
        Record { number: 2, value: Value::Varint(number) },
        Record { number: 3, value: record.value },
    ];
    Record { number: 1, value: Value::Group(fields) }
}

fn packed(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        match value {
            Value::Varint(value) => wire::write_varint(*value, &mut out),
            Value::Fixed32(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Fixed64(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Bytes(_) | Value::Message(_) | Value::Group(_) => {}
        }
    }
    out
}

/// An entry of a map has both, key and value, whether or not they are set.
pub(super) fn whole_entry(pool: &Pool, entry: Id, said: &[Record]) -> Vec<Record> {
    let fields = pool.message(entry).fields.iter();
    let fields = fields.map(|field| {
        let found = said.iter().find(|record| record.number == field.number).cloned();
        found.unwrap_or_else(|| Record { number: field.number, value: zero(pool, field) })
    });
    fields.collect()
}

fn zero(pool: &Pool, field: &Field) -> Value {
    match &field.ty {
        Type::Scalar(Scalar::String | Scalar::Bytes) => Value::Bytes(Vec::new()),
        Type::Scalar(Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32) => Value::Fixed32(0),
        Type::Scalar(Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64) => Value::Fixed64(0),
        Type::Enum(id) => {
            let first = pool.enumeration(*id).values.first().map_or(0, |value| value.number);
            Value::Varint(wire::from_i64(first.into()))
        }
        Type::Scalar(_) => Value::Varint(0),
        _ => Value::Message(Vec::new()),
    }
}
