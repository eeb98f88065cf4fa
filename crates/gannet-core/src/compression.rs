//! Compression of messages (gRPC's `compression.md`): each message by itself, with the encoding
//! that the call's `grpc-encoding` names.
//!
//! A [`Compressor`] is one encoding, [`Compressors`] those that a server or a channel knows: the
//! built-in ones, or an application's own. Nothing is registered globally, and what travels in
//! headers is decided by the two sides; here are only names, bytes and bounds.
//!
//! What comes from a peer is inflated into an [`Output`], which ends at the receive limit: a
//! message that would be larger fails with RESOURCE_EXHAUSTED as soon as it is, whatever it
//! promised.

mod encoding;
mod error;
#[cfg(feature = "gzip")]
mod gzip;
mod message;
mod output;
#[cfg(any(feature = "gzip", feature = "zstd"))]
mod pool;
mod registry;
#[cfg(feature = "zstd")]
mod zstd;

pub use encoding::Encoding;
pub use error::{CompressError, DecompressError};
#[cfg(feature = "gzip")]
pub use gzip::{Deflate, Gzip};
pub use message::{Compressed, Packed, decompress, encode_compressed};
pub use output::Output;
pub use registry::{CodecId, CodecSet, Compressors};
#[cfg(feature = "zstd")]
pub use zstd::Zstd;

/// One encoding of messages: how they are compressed, and decompressed again.
///
/// Called by many threads at once, with one whole message each time; nothing is kept from one
/// message to the next but storage.
pub trait Compressor: Send + Sync + 'static {
    /// The encoding's name, always the same.
    fn encoding(&self) -> Encoding;

    /// Appends the compressed message to `out`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the message from being compressed: the call fails with INTERNAL.
    fn compress(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError>;

    /// Decompresses one whole message into `out`, which refuses what is over the receive limit.
    ///
    /// All of `payload` must belong to the message, and all of the message be there.
    ///
    /// # Errors
    ///
    /// What `out` refuses with, and [`DecompressError::Corrupt`] for bytes that are not one
    /// message in this encoding.
    fn decompress(&self, payload: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError>;
}

#[cfg(test)]
mod tests;
