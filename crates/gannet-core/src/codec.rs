//! How messages become bytes and back: [`Codec`], its implementations, and its erased forms.
//!
//! A codec is chosen by type where a method is registered or called; from there on a
//! [`MessageCodec`] or [`MethodCodec`], a few function pointers, stands in for it, so that streams
//! of messages need not name it. Compression is not done here.

#[cfg(feature = "buffa")]
mod buffa;
mod error;
#[cfg(feature = "prost")]
mod prost;
mod raw;

use std::fmt;

#[cfg(feature = "buffa")]
pub use self::buffa::Buffa;
pub use self::error::{DecodeError, EncodeError};
#[cfg(feature = "prost")]
pub use self::prost::Prost;
pub use self::raw::Raw;
use crate::frame::{self, PREFIX_BYTES};
use crate::storage;

/// Turns messages of type `T` into bytes and back.
///
/// Static functions: a codec has no state, and its type is its name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot encode and decode `{T}`",
    note = "`codec::Buffa` takes messages generated for buffa, `codec::Prost` those for prost, \
            and `codec::Raw` takes `Bytes` and `Vec<u8>`"
)]
pub trait Codec<T>: 'static {
    /// Appends the encoded message to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLarge`] where that would be more than `message_bytes_max` bytes, and
    /// whatever keeps the message from being encoded. What `out` holds past its old length is
    /// unspecified then.
    fn encode(message: &T, message_bytes_max: usize, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Appends the message as an uncompressed length-prefixed message to `out`.
    ///
    /// The provided version encodes and then fills in the prefix; a codec that knows the length
    /// beforehand does better.
    ///
    /// # Errors
    ///
    /// As [`encode`](Codec::encode).
    fn encode_framed(
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        Self::encode(message, message_bytes_max, out)?;
        let payload_bytes = out.len() - start - PREFIX_BYTES;
        let prefix = frame::prefix(false, payload_bytes, message_bytes_max)?;
        out[start..start + PREFIX_BYTES].copy_from_slice(&prefix);
        Ok(())
    }

    /// Decodes a whole payload, which is no longer than the receive limit.
    ///
    /// # Errors
    ///
    /// Where the bytes are not exactly one message, or would take unreasonable depth or memory.
    fn decode(payload: &[u8]) -> Result<T, DecodeError>;
}

/// Makes a message of a whole payload.
pub type DecodeFn<T> = fn(&[u8]) -> Result<T, DecodeError>;

/// A [`Codec`] of one message type, erased to function pointers.
pub struct MessageCodec<T> {
    encode: EncodeFn<T>,
    encode_framed: EncodeFn<T>,
    decode: DecodeFn<T>,
}

/// Appends a message to a buffer, within a number of bytes.
pub type EncodeFn<T> = fn(&T, usize, &mut Vec<u8>) -> Result<(), EncodeError>;

impl<T> MessageCodec<T> {
    /// The erased form of the codec `C`.
    pub const fn new<C: Codec<T>>() -> MessageCodec<T> {
        MessageCodec { encode: C::encode, encode_framed: C::encode_framed, decode: C::decode }
    }

    /// Appends the encoded message to `out`, without a prefix.
    ///
    /// # Errors
    ///
    /// As [`Codec::encode`]; `out` is as before then.
    pub fn encode(
        &self,
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        (self.encode)(message, message_bytes_max, out).inspect_err(|_| out.truncate(start))
    }

    /// Appends the message as an uncompressed length-prefixed message to `out`.
    ///
    /// # Errors
    ///
    /// As [`Codec::encode`]; `out` is as before then.
    pub fn encode_framed(
        &self,
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        (self.encode_framed)(message, message_bytes_max, out).inspect_err(|_| out.truncate(start))
    }

    /// Decodes a whole payload.
    ///
    /// # Errors
    ///
    /// As [`Codec::decode`].
    pub fn decode(&self, payload: &[u8]) -> Result<T, DecodeError> {
        (self.decode)(payload)
    }

    /// What [`decode`](Self::decode) calls, for those who need no more than that.
    pub fn decoder(&self) -> DecodeFn<T> {
        self.decode
    }

    /// What [`encode_framed`](Self::encode_framed) calls, for those who need no more than that.
    /// After an error, what it appended is to be taken back.
    pub fn framer(&self) -> EncodeFn<T> {
        self.encode_framed
    }
}

impl<T> Clone for MessageCodec<T> {
    fn clone(&self) -> MessageCodec<T> {
        *self
    }
}

impl<T> Copy for MessageCodec<T> {}

impl<T> fmt::Debug for MessageCodec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageCodec<{}>", std::any::type_name::<T>())
    }
}

/// The codecs of a method's requests and responses, erased.
pub struct MethodCodec<Req, Resp> {
    /// The codec of requests.
    pub request: MessageCodec<Req>,
    /// The codec of responses.
    pub response: MessageCodec<Resp>,
}

impl<Req, Resp> MethodCodec<Req, Resp> {
    /// The erased form of the codec `C`.
    pub const fn new<C: Codec<Req> + Codec<Resp>>() -> MethodCodec<Req, Resp> {
        MethodCodec { request: MessageCodec::new::<C>(), response: MessageCodec::new::<C>() }
    }
}

impl<Req, Resp> Clone for MethodCodec<Req, Resp> {
    fn clone(&self) -> MethodCodec<Req, Resp> {
        *self
    }
}

impl<Req, Resp> Copy for MethodCodec<Req, Resp> {}

impl<Req, Resp> fmt::Debug for MethodCodec<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodCodec")
            .field("request", &self.request)
            .field("response", &self.response)
            .finish()
    }
}

/// Makes room for a message whose length is known, and writes its prefix.
///
/// One reservation for both, so that a fresh buffer is allocated once.
fn begin_framed(
    payload_bytes: usize,
    message_bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let prefix = frame::prefix(false, payload_bytes, message_bytes_max)?;
    storage::reserve(out, PREFIX_BYTES + payload_bytes);
    out.extend_from_slice(&prefix);
    Ok(())
}

/// Makes room for a message whose length is known, without a prefix.
fn begin_plain(
    payload_bytes: usize,
    message_bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    frame::prefix(false, payload_bytes, message_bytes_max)?;
    storage::reserve(out, payload_bytes);
    Ok(())
}

#[cfg(test)]
mod tests;
