//! Why a header block cannot be decoded. All of it is COMPRESSION_ERROR on the wire (RFC 9113,
//! section 4.3); the variants exist for the debug data of the GOAWAY frame, for logs and tests.

use core::fmt;

/// A header block that breaks RFC 7541. The decoder must not be used again after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HpackError {
    /// The block ends inside a field.
    Truncated,
    /// An integer has more than five continuation bytes or exceeds 2^32 - 1 (section 5.1).
    IntegerOverflow,
    /// Index 0, or an index beyond the end of both tables (section 2.3.3).
    InvalidIndex,
    /// A dynamic table size update after the first field of a block (section 4.2).
    SizeUpdateNotAtStart,
    /// A dynamic table size update above the limit that we announced (section 6.3).
    SizeUpdateTooLarge,
    /// We reduced the table's limit, the peer acknowledged it, and its next block did not begin
    /// with a conforming size update (RFC 9113, section 4.3.1).
    SizeUpdateMissing,
    /// A Huffman-coded string contains the EOS symbol (section 5.2).
    HuffmanEos,
    /// A Huffman-coded string ends in more than 7 bits of padding, or in padding that is not the
    /// most significant bits of EOS (section 5.2).
    HuffmanPadding,
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "header block ends inside a field",
            Self::IntegerOverflow => "integer exceeds 32 bits",
            Self::InvalidIndex => "index outside the tables",
            Self::SizeUpdateNotAtStart => "table size update after the first field",
            Self::SizeUpdateTooLarge => "table size update above the announced limit",
            Self::SizeUpdateMissing => "table size update missing after the limit was reduced",
            Self::HuffmanEos => "EOS symbol in a Huffman-coded string",
            Self::HuffmanPadding => "invalid padding in a Huffman-coded string",
        })
    }
}

impl core::error::Error for HpackError {}
