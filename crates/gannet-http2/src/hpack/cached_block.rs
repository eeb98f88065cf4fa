//! Runs of registered fields that are written together again and again, such as the head of every
//! response: while the table stays the same, so do their bytes.

use super::CachedField;
use super::dynamic_table::Contents;

/// A run registered with [`Encoder::try_register_block`](super::Encoder::try_register_block). It
/// means nothing to another encoder, unless that is a clone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CachedBlock(pub(super) u8);

/// The most fields of one run.
pub const BLOCK_FIELDS_MAX: usize = 8;
/// The most runs that one encoder keeps.
pub const CACHED_BLOCKS_MAX: usize = 64;
/// Bytes of an encoded run that is remembered: of eight indexes, most take one byte.
pub(crate) const ENCODED_BYTES_MAX: usize = 12;

/// An encoded run, and how many of the bytes it has.
pub(crate) type Encoded<'a> = (&'a [u8; ENCODED_BYTES_MAX], usize);

/// One run, and how it was encoded last.
#[derive(Clone)]
pub(super) struct Run {
    fields: [CachedField; BLOCK_FIELDS_MAX],
    field_count: u8,
    /// 0: nothing is remembered.
    encoded_len: u8,
    encoded: [u8; ENCODED_BYTES_MAX],
    /// Of the table, when it was encoded.
    contents: Contents,
}

impl Run {
    /// `None` for more than [`BLOCK_FIELDS_MAX`] fields.
    pub(super) fn new(fields: &[CachedField]) -> Option<Run> {
        let mut run = Run {
            fields: [CachedField(0); BLOCK_FIELDS_MAX],
            field_count: u8::try_from(fields.len()).ok()?,
            encoded_len: 0,
            encoded: [0; ENCODED_BYTES_MAX],
            contents: Contents::default(),
        };
        run.fields.get_mut(..fields.len())?.copy_from_slice(fields);
        Some(run)
    }

    pub(super) fn fields(&self) -> &[CachedField] {
        &self.fields[..usize::from(self.field_count)]
    }

    /// What it was encoded to with the table as it is now.
    #[inline]
    pub(super) fn recall(&self, contents: Contents) -> Option<&[u8]> {
        let known = self.encoded_len > 0 && self.contents == contents;
        known.then(|| &self.encoded[..usize::from(self.encoded_len)])
    }

    /// As [`recall`](Self::recall): with room behind it, and its length.
    #[inline]
    pub(super) fn recall_padded(&self, contents: Contents) -> Option<Encoded<'_>> {
        let known = self.encoded_len > 0 && self.contents == contents;
        known.then_some((&self.encoded, usize::from(self.encoded_len)))
    }

    /// Remembers an encoding that left the table as it was.
    pub(super) fn remember(&mut self, contents: Contents, encoded: &[u8]) {
        let (Some(place), Ok(len)) =
            (self.encoded.get_mut(..encoded.len()), u8::try_from(encoded.len()))
        else {
            return;
        };
        place.copy_from_slice(encoded);
        self.encoded_len = len;
        self.contents = contents;
    }
}
