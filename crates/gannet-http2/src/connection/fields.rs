//! How the layer above hands over header lists: it writes them, field by field, straight into the
//! encoder, or, where flow control holds the stream back, into a record that is encoded later.

use crate::hpack::{CachedBlock, CachedField, Encoder, Indexing};

/// Receives the fields of one header list, in order, pseudo-headers first.
///
/// Names must be lower-case, as HTTP/2 demands. Keep the whole list under the peer's
/// SETTINGS_MAX_HEADER_LIST_SIZE ([`PeerSettings`](super::PeerSettings)).
pub struct FieldWriter<'a>(Target<'a>);

enum Target<'a> {
    Encode { encoder: &'a mut Encoder, out: &'a mut Vec<u8> },
    Record(&'a mut RecordedFields),
}

impl<'a> FieldWriter<'a> {
    pub(super) fn encode(encoder: &'a mut Encoder, out: &'a mut Vec<u8>) -> Self {
        FieldWriter(Target::Encode { encoder, out })
    }

    pub(super) fn record(record: &'a mut RecordedFields) -> Self {
        FieldWriter(Target::Record(record))
    }

    /// A constant registered with `register_field`: a byte or two once the peer's table has it.
    #[inline]
    pub fn cached(&mut self, field: CachedField) {
        match &mut self.0 {
            Target::Encode { encoder, out } => encoder.cached(out, field),
            Target::Record(record) => record.ops.push(Op::Cached(field)),
        }
    }

    /// Constants registered together with `register_block`: a byte or two each, and hardly any
    /// time.
    #[inline]
    pub fn cached_block(&mut self, block: CachedBlock) {
        match &mut self.0 {
            Target::Encode { encoder, out } => encoder.cached_block(out, block),
            Target::Record(record) => record.ops.push(Op::CachedBlock(block)),
        }
    }

    /// A field that may or may not be repeated: it enters the peer's table at second sight.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        self.write(name, value, Indexing::WhenRepeated);
    }

    /// A field that will not be repeated, such as a timeout; it does not enter the peer's table.
    #[inline]
    pub fn field_once(&mut self, name: &[u8], value: &[u8]) {
        self.write(name, value, Indexing::WithoutIndexing);
    }

    /// A field that later lists will repeat; it enters the peer's table at once, where it fits.
    #[inline]
    pub fn field_indexed(&mut self, name: &[u8], value: &[u8]) {
        self.write(name, value, Indexing::Incremental);
    }

    /// A secret: never indexed, by us or by any proxy (RFC 7541 section 7.1.3).
    #[inline]
    pub fn sensitive(&mut self, name: &[u8], value: &[u8]) {
        self.write(name, value, Indexing::Never);
    }

    fn write(&mut self, name: &[u8], value: &[u8], indexing: Indexing) {
        match &mut self.0 {
            Target::Encode { encoder, out } => encoder.field(out, name, value, indexing),
            Target::Record(record) => {
                record.bytes.extend_from_slice(name);
                record.bytes.extend_from_slice(value);
                record.ops.push(Op::Field {
                    name_bytes: name.len(),
                    value_bytes: value.len(),
                    indexing,
                });
            }
        }
    }
}

impl std::fmt::Debug for FieldWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FieldWriter")
    }
}

/// A header list that waits to be encoded.
#[derive(Debug, Default)]
pub(crate) struct RecordedFields {
    ops: Vec<Op>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Op {
    Cached(CachedField),
    CachedBlock(CachedBlock),
    Field { name_bytes: usize, value_bytes: usize, indexing: Indexing },
}

impl RecordedFields {
    pub(super) fn replay(&self, writer: &mut FieldWriter<'_>) {
        let mut rest = &self.bytes[..];
        for op in &self.ops {
            match *op {
                Op::Cached(field) => writer.cached(field),
                Op::CachedBlock(block) => writer.cached_block(block),
                Op::Field { name_bytes, value_bytes, indexing } => {
                    let (name, after) = rest.split_at(name_bytes);
                    let (value, after) = after.split_at(value_bytes);
                    rest = after;
                    writer.write(name, value, indexing);
                }
            }
        }
    }
}
