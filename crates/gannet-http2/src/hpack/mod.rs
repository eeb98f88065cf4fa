//! HPACK, the header compression of HTTP/2 (RFC 7541, complete).
//!
//! One [`Decoder`] and one [`Encoder`] per connection. Header lists decode into a reusable arena,
//! the [`FieldBlock`]; there is no map and, in steady state, no allocation. What the layer above
//! makes of a field (a method id, "this is our content-type") is computed once, by its
//! [`FieldClassifier`], when the field enters the dynamic table, and travels with the entry as a
//! [`FieldTag`]; so does the [`FieldKind`], which carries the verdict of the field-level rules of
//! RFC 9113, section 8.2. A repeated header field is therefore one table load.
//!
//! What this module does not do: it knows no frames, and it does not judge header *lists* (order,
//! duplicates and presence of pseudo-header fields); that is the connection's work, from the kinds.
//!
//! Every error of the decoder leaves it out of step with its peer, so each is a connection error
//! of type COMPRESSION_ERROR (RFC 9113, section 4.3). Exceeding [`Limits`] is not an error: the
//! block is decoded to its end, to keep the table in step, and marked as over the limit.

mod cached_block;
mod decoder;
mod dynamic_table;
mod encoder;
mod error;
mod field;
pub mod huffman;
mod integer;
mod kind;
mod lookup;
mod static_table;

pub use cached_block::{BLOCK_FIELDS_MAX, CACHED_BLOCKS_MAX, CachedBlock};
pub(crate) use cached_block::{ENCODED_BYTES_MAX, Encoded};
pub use decoder::{Decoder, Limits};
pub use encoder::{CACHED_FIELDS_MAX, CachedField, Encoder, Indexing};
pub use error::HpackError;
pub use field::{
    FIELD_OVERHEAD_BYTES, Field, FieldBlock, FieldClassifier, FieldTag, NoClassifier,
    RETAINED_BYTES_MAX, RETAINED_FIELDS_MAX,
};
pub use kind::FieldKind;

/// The size, in bytes, that the dynamic table of either direction has until a
/// SETTINGS_HEADER_TABLE_SIZE is acknowledged (RFC 9113, section 6.5.2).
pub const TABLE_BYTES_DEFAULT: u32 = 4_096;

#[cfg(test)]
mod tests;
