//! Tests of the whole module; tables and codes are tested where they are.

mod blocks;
mod kinds;
mod malformed;
mod policy;
mod properties;
mod rfc;
mod vectors;

use super::{Decoder, FieldBlock, HpackError, Limits, NoClassifier};

/// A field as tests write it: name, value, sensitive.
type Plain = (Vec<u8>, Vec<u8>, bool);

fn plain(block: &FieldBlock) -> Vec<Plain> {
    block.iter().map(|field| (field.name.into(), field.value.into(), field.sensitive)).collect()
}

fn fields(pairs: &[(&str, &str)]) -> Vec<Plain> {
    pairs
        .iter()
        .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into(), false))
        .collect()
}

/// Bytes from pairs of hexadecimal digits; white space is ignored.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let parse = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(parse).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Plain>, HpackError> {
    let mut out = FieldBlock::default();
    decoder.decode(block, &mut out, &NoClassifier)?;
    assert!(!out.over_limit());
    Ok(plain(&out))
}

fn decoder(table_bytes_max: u32) -> Decoder {
    Decoder::new(table_bytes_max, LIMITS_WIDE)
}

const LIMITS_WIDE: Limits = Limits { header_list_bytes_max: 1 << 20, fields_max: 1 << 12 };
