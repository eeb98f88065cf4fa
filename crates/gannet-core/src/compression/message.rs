//! Whole messages, compressed and decompressed.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Compressor, Output};
use crate::codec::{DecodeFn, EncodeError, EncodeFn, Payload};
use crate::frame::{self, PREFIX_BYTES};
use crate::{Status, storage};

/// What compression came to: the compressed messages of one direction of a call, added up.
///
/// Messages that travelled uncompressed are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compressed {
    /// How many messages.
    pub messages: u64,
    /// Their bytes on the wire, without the prefixes.
    pub wire_bytes: u64,
    /// Their bytes before they were compressed, or after they were decompressed.
    pub bytes: u64,
}

impl Compressed {
    /// Of one message.
    pub fn one(wire_bytes: usize, bytes: usize) -> Compressed {
        let count = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
        Compressed { messages: 1, wire_bytes: count(wire_bytes), bytes: count(bytes) }
    }
}

/// Appends a length-prefixed message to `out`: compressed, or, where that is not shorter, as it is.
/// What compression came to, in the first case.
///
/// `frame` is a codec's [`encode_framed`](crate::Codec::encode_framed); `message_bytes_max` counts
/// before compression.
///
/// # Errors
///
/// As encoding; INTERNAL where the message cannot be compressed. `out` is as before then.
pub fn encode_compressed<T>(
    frame: EncodeFn<T>,
    message: &T,
    message_bytes_max: usize,
    compressor: &dyn Compressor,
    out: &mut Vec<u8>,
) -> Result<Option<Compressed>, EncodeError> {
    let mut plain = Vec::new();
    frame(message, message_bytes_max, &mut plain)?;
    let start = out.len();
    let told = compress_framed(&plain, compressor, out).inspect_err(|_| out.truncate(start));
    if let Ok(None) = told {
        out.truncate(start);
        storage::reserve(out, plain.len());
        out.extend_from_slice(&plain);
    }
    storage::give(plain);
    told
}

/// Appends a message that has its prefix compressed to `out`; `None` where that is not shorter, and
/// then it is as well not there.
fn compress_framed(
    plain: &[u8],
    compressor: &dyn Compressor,
    out: &mut Vec<u8>,
) -> Result<Option<Compressed>, EncodeError> {
    let payload = plain.get(PREFIX_BYTES..).unwrap_or_default();
    if payload.is_empty() {
        return Ok(None);
    }
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    let compressed = compressor.compress(payload, out);
    compressed.map_err(|error| EncodeError::Codec(Box::new(error)))?;
    let bytes = out.len().saturating_sub(start + PREFIX_BYTES);
    if bytes >= payload.len() {
        return Ok(None);
    }
    let prefix = frame::prefix(true, bytes, usize::MAX)?;
    out[start..start + PREFIX_BYTES].copy_from_slice(&prefix);
    Ok(Some(Compressed::one(bytes, payload.len())))
}

/// Decompresses one message of at most `message_bytes_max` bytes.
///
/// # Errors
///
/// RESOURCE_EXHAUSTED for more than that, INTERNAL for what is not one message in the encoding.
pub fn decompress(
    compressor: &dyn Compressor,
    payload: &[u8],
    message_bytes_max: usize,
) -> Result<Vec<u8>, Status> {
    let mut message = Vec::new();
    match compressor.decompress(payload, &mut Output::new(&mut message, message_bytes_max)) {
        Ok(()) => Ok(message),
        Err(error) => {
            storage::give(message);
            let told = format!("{error} (grpc-encoding {})", compressor.encoding());
            Err(Status::from(error).with_message(told))
        }
    }
}

/// A compressed message, until whoever wants it decodes it.
pub struct Packed {
    compressor: Arc<dyn Compressor>,
    content: Content,
    message_bytes_max: usize,
}

/// No longer than the first of them, as calls carry it wherever they go.
enum Content {
    Compressed(Vec<u8>),
    /// Decompressed already, and what that came to.
    Inflated(Box<(Bytes, Compressed)>),
}

impl Packed {
    /// A message that is to be no longer than `message_bytes_max` decompressed.
    pub fn new(
        compressor: Arc<dyn Compressor>,
        payload: Vec<u8>,
        message_bytes_max: usize,
    ) -> Packed {
        Packed { compressor, content: Content::Compressed(payload), message_bytes_max }
    }

    /// Decompresses and decodes it; what compression came to, besides.
    ///
    /// # Errors
    ///
    /// As [`decompress`], and as decoding.
    pub fn decode<T>(&self, decode: DecodeFn<T>) -> Result<(T, Compressed), Status> {
        let payload = match &self.content {
            Content::Compressed(payload) => payload,
            Content::Inflated(inflated) => {
                let (message, told) = &**inflated;
                return Ok((decode(Payload::Shared(message))?, *told));
            }
        };
        let (message, told) = self.decompress(payload)?;
        let message = if storage::is_long(&message) {
            decode(Payload::Shared(&storage::share(message)))
        } else {
            decode(Payload::Shared(&Bytes::from(message)))
        };
        Ok((message?, told))
    }

    /// The same message, decompressed for those who [decode](Self::decode) it.
    ///
    /// # Errors
    ///
    /// As [`decompress`].
    pub fn inflated(&self) -> Result<Packed, Status> {
        let inflated = match &self.content {
            Content::Compressed(payload) => {
                let (message, told) = self.decompress(payload)?;
                Box::new((message.into(), told))
            }
            Content::Inflated(inflated) => inflated.clone(),
        };
        Ok(Packed {
            compressor: Arc::clone(&self.compressor),
            content: Content::Inflated(inflated),
            message_bytes_max: self.message_bytes_max,
        })
    }

    /// What compression came to, where it [was decompressed](Self::inflated); nothing before.
    pub fn told(&self) -> Compressed {
        match &self.content {
            Content::Compressed(_) => Compressed::default(),
            Content::Inflated(inflated) => inflated.1,
        }
    }

    /// Bytes that are held.
    fn bytes(&self) -> usize {
        match &self.content {
            Content::Compressed(payload) => payload.len(),
            Content::Inflated(inflated) => inflated.0.len(),
        }
    }

    fn decompress(&self, payload: &[u8]) -> Result<(Vec<u8>, Compressed), Status> {
        let message = decompress(&*self.compressor, payload, self.message_bytes_max)?;
        let told = Compressed::one(payload.len(), message.len());
        Ok((message, told))
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        if let Content::Compressed(payload) = &mut self.content {
            storage::give(std::mem::take(payload));
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed")
            .field("encoding", &self.compressor.encoding())
            .field("bytes", &self.bytes())
            .finish()
    }
}
