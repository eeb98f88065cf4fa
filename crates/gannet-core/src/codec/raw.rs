//! [`Raw`]: messages that are bytes already. For tests, proxies and benchmarks.

use super::{Codec, DecodeError, EncodeError, begin_framed, begin_plain};

/// The codec of [`Bytes`](bytes::Bytes) and `Vec<u8>`: the payload is the message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl<T: AsRef<[u8]> + From<Vec<u8>>> Codec<T> for Raw {
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
        Ok(T::from(payload.to_vec()))
    }
}
