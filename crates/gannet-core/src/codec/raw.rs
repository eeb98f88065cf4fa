//! [`Raw`]: messages that are bytes already. For tests, proxies and benchmarks.

use bytes::Bytes;

use super::{Codec, DecodeError, EncodeError, begin_framed, begin_plain};

/// The codec of [`Bytes`] and `Vec<u8>`: the payload is the message. Long `Bytes` are not copied
/// when they are received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl<T: AsRef<[u8]> + From<Bytes>> Codec<T> for Raw {
    fn encode(message: &T, message_bytes_max: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let payload = message.as_ref();
        begin_plain(payload.len(), message_bytes_max, out)?;
        out.extend_from_slice(payload);
        Ok(())
    }

    fn encode_framed(
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let payload = message.as_ref();
        begin_framed(payload.len(), message_bytes_max, out)?;
        out.extend_from_slice(payload);
        Ok(())
    }

    fn decode(payload: &[u8]) -> Result<T, DecodeError> {
        Ok(T::from(Bytes::copy_from_slice(payload)))
    }

    fn decode_shared(payload: &Bytes) -> Result<T, DecodeError> {
        Ok(T::from(payload.clone()))
    }
}
