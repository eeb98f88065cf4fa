//! How messages become bytes and back: [`Codec`], its implementations, and its erased forms.
//!
//! A codec is chosen by type where a method is registered or called; from there on a
//! [`MessageCodec`] or [`MethodCodec`], a few function pointers, stands in for it, so that streams
//! of messages need not name it. Compression is not done here.

#[cfg(feature = "buffa")]
mod buffa;
mod error;
mod parts;
#[cfg(feature = "prost")]
mod prost;
mod raw;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

#[cfg(feature = "buffa")]
pub use self::buffa::Buffa;
pub use self::error::{DecodeError, EncodeError};
pub use self::parts::Parts;
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

    /// As [`encode_framed`](Codec::encode_framed), and puts into `parts`, which is empty, what of a
    /// long message need not be copied.
    ///
    /// The provided version copies everything.
    ///
    /// # Errors
    ///
    /// As [`encode`](Codec::encode).
    fn encode_parts(
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
        parts: &mut Parts,
    ) -> Result<(), EncodeError> {
        let _ = parts;
        Self::encode_framed(message, message_bytes_max, out)
    }

    /// Decodes a whole payload, which is no longer than the receive limit.
    ///
    /// # Errors
    ///
    /// Where the bytes are not exactly one message, or would take unreasonable depth or memory.
    fn decode(payload: &[u8]) -> Result<T, DecodeError>;

    /// Decodes a payload of which the message may keep parts by reference. It should do so only
    /// where little else is kept in memory by that.
    ///
    /// The provided version copies everything.
    ///
    /// # Errors
    ///
    /// As [`decode`](Codec::decode).
    fn decode_shared(payload: &Bytes) -> Result<T, DecodeError> {
        Self::decode(payload)
    }
}

/// A [`Codec`] of one message type, erased to function pointers.
pub struct MessageCodec<T> {
    encode: EncodeFn<T>,
    encode_framed: EncodeFn<T>,
    encode_parts: EncodePartsFn<T>,
    decode: DecodeFn<T>,
}

/// Appends a message to a buffer, within a number of bytes.
pub type EncodeFn<T> = fn(&T, usize, &mut Vec<u8>) -> Result<(), EncodeError>;

type EncodePartsFn<T> = fn(&T, usize, &mut Vec<u8>, &mut Parts) -> Result<(), EncodeError>;

/// Makes a message of a whole payload.
pub type DecodeFn<T> = fn(Payload<'_>) -> Result<T, DecodeError>;

/// An encoded message.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// In a buffer that is used for something else next.
    Borrowed(&'a [u8]),
    /// In bytes that can be kept.
    Shared(&'a Bytes),
}

fn decode_payload<C: Codec<T>, T>(payload: Payload<'_>) -> Result<T, DecodeError> {
    match payload {
        Payload::Borrowed(payload) => C::decode(payload),
        Payload::Shared(payload) => C::decode_shared(payload),
    }
}

/// Decodes a message that came in one piece or in several, as
/// [`MessageReader`](crate::MessageReader) has it, and puts its storage to use again.
///
/// # Errors
///
/// As [`Codec::decode`].
pub fn decode_cow<T>(decode: DecodeFn<T>, payload: Cow<'_, [u8]>) -> Result<T, DecodeError> {
    match payload {
        Cow::Owned(long) if storage::is_long(&long) => {
            decode(Payload::Shared(&storage::share(long)))
        }
        short => decode(Payload::Borrowed(&short)),
    }
}

impl<T> MessageCodec<T> {
    /// The erased form of the codec `C`.
    pub const fn new<C: Codec<T>>() -> MessageCodec<T> {
        MessageCodec {
            encode: C::encode,
            encode_framed: C::encode_framed,
            encode_parts: C::encode_parts,
            decode: decode_payload::<C, T>,
        }
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

    /// As [`encode_framed`](Self::encode_framed), with long parts of the message by reference.
    ///
    /// # Errors
    ///
    /// As [`Codec::encode`]; `out` is as before and `parts` empty then.
    pub fn encode_parts(
        &self,
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
        parts: &mut Parts,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        (self.encode_parts)(message, message_bytes_max, out, parts).inspect_err(|_| {
            out.truncate(start);
            parts.clear();
        })
    }

    /// Decodes a whole payload.
    ///
    /// # Errors
    ///
    /// As [`Codec::decode`].
    pub fn decode(&self, payload: &[u8]) -> Result<T, DecodeError> {
        (self.decode)(Payload::Borrowed(payload))
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
