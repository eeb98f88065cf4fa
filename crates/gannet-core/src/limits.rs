//! The named defaults of every bound in this crate, unit last.
//!
//! Nothing here is enforced by being named: each constant says who applies it.

/// Largest message accepted from a peer, payload bytes, after decompression. gRPC's default.
///
/// Applied by [`crate::MessageReader`]; a larger message fails its call with RESOURCE_EXHAUSTED.
pub const MESSAGE_RECEIVE_BYTES_MAX_DEFAULT: usize = 4 * 1024 * 1024;

/// Largest message that is sent, payload bytes: protobuf's own limit, 2 GiB - 1.
///
/// Applied by [`crate::MessageCodec::encode_framed`].
pub const MESSAGE_SEND_BYTES_MAX_DEFAULT: usize = 0x7fff_ffff;

/// First allocation for a message that spans DATA frames, bytes, above twice what has arrived.
///
/// Applied by [`crate::MessageReader`], so that memory follows bytes and not a declared length.
pub const SPANNING_MESSAGE_RESERVE_BYTES: usize = 64 * 1024;

/// Storage of long messages that is kept at most for the next ones, bytes.
///
/// Applied by [`crate::storage`].
pub const STORAGE_KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Storage shorter than this is left to the allocator, bytes.
///
/// Applied by [`crate::storage`].
pub const STORAGE_KEPT_BYTES_MIN: usize = 64 * 1024;

/// Shortest field that is sent by reference instead of being copied, bytes; and that is kept so, of
/// a message whose storage is at least [`STORAGE_KEPT_BYTES_MIN`].
///
/// Applied by [`crate::codec::Buffa`].
pub const SHARED_FIELD_BYTES_MIN: usize = 16 * 1024;

/// Encodings that a server or a channel knows at most.
///
/// Applied by [`crate::compression::Compressors`].
pub const COMPRESSORS_MAX: usize = 16;

/// First allocation for a message that is decompressed, bytes: between these two, by how long it is
/// compressed. Then what is there doubles, up to the receive limit.
///
/// Applied by [`crate::compression::Output`].
pub const INFLATE_FIRST_BYTES_MIN: usize = 512;
/// See [`INFLATE_FIRST_BYTES_MIN`].
pub const INFLATE_FIRST_BYTES_MAX: usize = 64 * 1024;

/// Contexts that a built-in compressor keeps at most for the next messages, for each direction.
///
/// Applied by the compressors of [`crate::compression`].
pub const COMPRESSION_CONTEXTS_KEPT_MAX: usize = 8;

/// A context that holds more than this is not kept, bytes.
///
/// Applied by the compressors of [`crate::compression`].
pub const COMPRESSION_CONTEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest window of a zstd frame whose length is not told, as a power of two: 8 MiB.
///
/// Applied by the compressor `Zstd` of [`crate::compression`].
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Longest `grpc-message` that is sent, bytes once percent-encoded.
///
/// A peer need only accept 8 KiB of trailers in all, and a list over its limit loses the status
/// itself; a longer message is cut at a character's end. Applied by [`crate::trailers::write`].
pub const STATUS_MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// Most bytes of names and values that one [`crate::Metadata`] holds.
///
/// A guard for its 32-bit offsets only: what a peer may send is bounded far below, by the header
/// list limit of the connection.
pub const METADATA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Header list that every gRPC peer is to accept, bytes, with 32 per field (RFC 7541 4.1).
pub const METADATA_ACCEPTED_BYTES_MIN: usize = 8 * 1024;
