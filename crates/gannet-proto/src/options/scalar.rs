//! A number, switch or text of an option as a value on the wire.

use super::wire::{Value, from_i64};
use crate::tree::Scalar;

/// An integer for a field of `scalar`, or the range that it must be in. `None` where the field is
/// not for integers.
pub(super) fn integer(scalar: Scalar, value: i128) -> Option<Result<Value, (i128, i128)>> {
    use Scalar::{Fixed32, Fixed64, Int32, Int64, Sfixed32, Sfixed64, Sint32, Sint64};
    use Scalar::{Uint32, Uint64};
    let range: (i128, i128) = match scalar {
        Int32 | Sint32 | Sfixed32 => (i32::MIN.into(), i32::MAX.into()),
        Int64 | Sint64 | Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
        Uint32 | Fixed32 => (0, u32::MAX.into()),
        Uint64 | Fixed64 => (0, u64::MAX.into()),
        _ => return None,
    };
    if !(range.0..=range.1).contains(&value) {
        return Some(Err(range));
    }
    let signed = i64::try_from(value).unwrap_or_default();
    let small = i32::try_from(value).unwrap_or_default();
    Some(Ok(match scalar {
        Int32 | Int64 => Value::Varint(from_i64(signed)),
        Sint32 | Sint64 => Value::Varint(from_i64(signed << 1) ^ from_i64(signed >> 63)),
        Sfixed32 => Value::Fixed32(u32::from_le_bytes(small.to_le_bytes())),
        Sfixed64 => Value::Fixed64(from_i64(signed)),
        Fixed32 => Value::Fixed32(u32::try_from(value).unwrap_or_default()),
        Fixed64 => Value::Fixed64(u64::try_from(value).unwrap_or_default()),
        _ => Value::Varint(u64::try_from(value).unwrap_or_default()),
    }))
}

/// A number for a field of `scalar`, if the field is for floating-point numbers.
#[allow(clippy::cast_possible_truncation, reason = "to the nearest float")]
pub(super) fn float(scalar: Scalar, value: f64) -> Option<Value> {
    match scalar {
        Scalar::Float => Some(Value::Fixed32((value as f32).to_bits())),
        Scalar::Double => Some(Value::Fixed64(value.to_bits())),
        _ => None,
    }
}

/// Whether a value is the one that its absence means.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Varint(value) | Value::Fixed64(value) => *value == 0,
        Value::Fixed32(value) => *value == 0,
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Message(_) | Value::Group(_) => false,
    }
}
