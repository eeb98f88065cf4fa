//! The read buffer: contiguous, initialised, growing only while reads fill it.

use std::fmt;

/// Bytes read from a socket and not yet parsed.
///
/// The storage starts at 16 KiB, doubles when a read filled it, up to 256 KiB, and can be taken
/// away while the buffer is empty so that idle connections hold none.
#[derive(Default)]
pub struct RecvBuf {
    storage: Vec<u8>,
    start: usize,
    end: usize,
    grow: bool,
}

impl RecvBuf {
    /// Bytes of storage at first.
    pub const BYTES_MIN: usize = 16 << 10;
    /// Bytes of storage at most, unless one frame needs more.
    pub const BYTES_MAX: usize = 256 << 10;

    /// A buffer without storage; the first `spare_mut` allocates.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer that uses `storage`, for instance one from a pool.
    pub fn from_storage(storage: Vec<u8>) -> Self {
        RecvBuf { storage, ..Self::default() }
    }

    /// Takes the storage out, if no unread bytes are in it.
    pub fn take_storage(&mut self) -> Option<Vec<u8>> {
        if !self.is_empty() || self.storage.is_empty() {
            return None;
        }
        (self.start, self.end) = (0, 0);
        Some(std::mem::take(&mut self.storage))
    }

    /// Puts storage in where there is none; otherwise drops it.
    pub fn restore_storage(&mut self, storage: Vec<u8>) {
        if self.storage.is_empty() {
            self.storage = storage;
        }
    }

    /// Whether storage is held.
    pub fn has_storage(&self) -> bool {
        !self.storage.is_empty()
    }

    /// Room to read into, never empty. Moves unread bytes to the front where that helps.
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let grow = std::mem::take(&mut self.grow) && self.storage.len() < Self::BYTES_MAX;
        if grow || self.end == self.storage.len() {
            self.make_room(grow);
        }
        &mut self.storage[self.end..]
    }

    /// Tells that a read put `n` bytes at the front of the last `spare_mut`.
    ///
    /// # Panics
    /// Where `n` is more than that slice had.
    pub fn commit(&mut self, n: usize) {
        let end = self.end + n;
        assert!(end <= self.storage.len(), "commit beyond the spare room");
        self.end = end;
        self.grow = end == self.storage.len();
    }

    /// Copies `bytes` in, for tests and for sources that own their bytes.
    pub fn extend_from_slice(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let spare = self.spare_mut();
            let n = spare.len().min(bytes.len());
            spare[..n].copy_from_slice(&bytes[..n]);
            self.commit(n);
            bytes = &bytes[n..];
        }
    }

    /// The bytes not yet consumed.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// How many bytes are not yet consumed.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether all bytes are consumed.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Consumes `n` bytes; returns where they lie, valid until the next `spare_mut`.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) -> std::ops::Range<usize> {
        debug_assert!(n <= self.len());
        let from = self.start;
        self.start += n;
        from..self.start
    }

    /// Bytes at a place that `consume` returned.
    #[inline]
    pub(crate) fn at(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.storage[range]
    }

    fn make_room(&mut self, grow: bool) {
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let len = self.storage.len();
        if len == 0 {
            self.storage.resize(Self::BYTES_MIN, 0);
        } else if grow || self.end == len {
            // A frame longer than the bound above is refused by its head, so this cannot run away.
            self.storage.resize(len * 2, 0);
        }
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBuf")
            .field("unread_bytes", &self.len())
            .field("storage_bytes", &self.storage.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_only_when_reads_fill_it() {
        let mut buf = RecvBuf::new();
        assert_eq!(buf.spare_mut().len(), RecvBuf::BYTES_MIN);
        buf.commit(10);
        buf.consume(10);
        assert_eq!(buf.spare_mut().len(), RecvBuf::BYTES_MIN);
        buf.commit(RecvBuf::BYTES_MIN);
        buf.consume(RecvBuf::BYTES_MIN);
        assert_eq!(buf.spare_mut().len(), 2 * RecvBuf::BYTES_MIN);
    }

    #[test]
    fn keeps_unread_bytes_when_it_moves_them() {
        let mut buf = RecvBuf::new();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        buf.extend_from_slice(&bytes[..50_000]);
        buf.consume(40_000);
        buf.extend_from_slice(&bytes[50_000..]);
        assert_eq!(buf.unread(), &bytes[40_000..]);
        assert!(buf.take_storage().is_none());
        buf.consume(60_000);
        assert!(buf.take_storage().is_some());
        assert!(!buf.has_storage());
    }
}
