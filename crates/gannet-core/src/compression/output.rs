//! [`Output`]: where a message is decompressed to, and where that ends.

use std::io;

use super::DecompressError;
use crate::limits::{INFLATE_FIRST_BYTES_MAX, INFLATE_FIRST_BYTES_MIN};
use crate::storage;

/// A buffer that grows with what is written to it, up to a limit.
///
/// As [`io::Write`], it refuses what is over the limit with an error that turns into
/// [`DecompressError::TooLarge`] again.
#[derive(Debug)]
pub struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    bytes_max: usize,
}

impl<'a> Output<'a> {
    /// Into an empty `buffer`, `bytes_max` bytes at most.
    pub fn new(buffer: &'a mut Vec<u8>, bytes_max: usize) -> Output<'a> {
        buffer.clear();
        Output { buffer, bytes_max }
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Says how long the message will be in all, where the compressed one tells: room is made for
    /// it at once.
    ///
    /// # Errors
    ///
    /// [`DecompressError::TooLarge`] where that is over the limit.
    pub fn expect(&mut self, bytes: u64) -> Result<(), DecompressError> {
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= self.bytes_max => {
                self.make_room(bytes.saturating_sub(self.buffer.len()));
                Ok(())
            }
            _ => Err(self.too_large()),
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`DecompressError::TooLarge`] where they do not fit; none of them is there then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), DecompressError> {
        if bytes.len() > self.bytes_max - self.buffer.len() {
            return Err(self.too_large());
        }
        if bytes.len() > self.buffer.capacity() - self.buffer.len() {
            let more = bytes.len().max(self.buffer.len()).min(self.bytes_max - self.buffer.len());
            self.make_room(more);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Lets `write` append to the buffer, as far as its capacity goes: there is room for one byte
    /// at least. To be called again as long as the message goes on.
    ///
    /// The first time there is room for some multiple of the `compressed_bytes`, then for as much
    /// as is there already, and never for more than one byte beyond the limit.
    ///
    /// # Errors
    ///
    /// Those of `write`, and [`DecompressError::TooLarge`].
    pub fn step<T>(
        &mut self,
        compressed_bytes: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, DecompressError>,
    ) -> Result<T, DecompressError> {
        let written = self.buffer.len();
        if written == self.buffer.capacity() {
            let first = compressed_bytes.saturating_mul(4);
            let first = first.clamp(INFLATE_FIRST_BYTES_MIN, INFLATE_FIRST_BYTES_MAX);
            let most = (self.bytes_max - written).saturating_add(1);
            self.make_room(written.max(first).min(most));
        }
        let told = write(self.buffer)?;
        if self.buffer.len() > self.bytes_max {
            return Err(self.too_large());
        }
        Ok(told)
    }

    /// What was written after the first `start` bytes.
    pub fn written(&self, start: usize) -> &[u8] {
        self.buffer.get(start..).unwrap_or_default()
    }

    /// Makes room for `more` bytes behind those that are there, and no more if it is made anew.
    fn make_room(&mut self, more: usize) {
        if self.buffer.capacity() - self.buffer.len() >= more {
            return;
        }
        match storage::take(self.buffer.len().saturating_add(more)) {
            Some(mut kept) => {
                kept.extend_from_slice(self.buffer);
                storage::give(std::mem::replace(self.buffer, kept));
            }
            None => self.buffer.reserve_exact(more),
        }
    }

    #[cold]
    fn too_large(&self) -> DecompressError {
        DecompressError::TooLarge { message_bytes_max: self.bytes_max }
    }
}

impl io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
