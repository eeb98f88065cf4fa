//! The write buffer: small frames contiguous, large payloads by reference, one vectored write.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes on their way to a socket.
///
/// Frames are appended to one contiguous vector; a payload handed over as [`Bytes`] is kept by
/// reference between two stretches of it, so that a large message is never copied.
#[derive(Default)]
pub struct SendBuf {
    bytes: Vec<u8>,
    /// How much of `bytes` is sent.
    sent: usize,
    /// Payloads, each after a position in `bytes`, in order.
    shared: VecDeque<Shared>,
    shared_bytes: usize,
}

struct Shared {
    /// The payload follows the first `at` bytes of `bytes`.
    at: usize,
    payload: Bytes,
}

impl SendBuf {
    /// Storage above this many bytes is given back when the buffer runs empty.
    const RETAIN_BYTES_MAX: usize = 64 << 10;

    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Unsent bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.shared_bytes
    }

    /// Whether all is sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `dst` with the unsent bytes in order, as many as fit; returns how many slices it set.
    pub fn slices<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let mut from = self.sent;
        let mut n = 0;
        for shared in &self.shared {
            if shared.at > from {
                let Some(slot) = dst.get_mut(n) else { return n };
                *slot = IoSlice::new(&self.bytes[from..shared.at]);
                from = shared.at;
                n += 1;
            }
            let Some(slot) = dst.get_mut(n) else { return n };
            *slot = IoSlice::new(&shared.payload);
            n += 1;
        }
        if from < self.bytes.len()
            && let Some(slot) = dst.get_mut(n)
        {
            *slot = IoSlice::new(&self.bytes[from..]);
            n += 1;
        }
        n
    }

    /// Whether one slice holds everything that is left.
    #[inline]
    pub fn as_contiguous(&self) -> Option<&[u8]> {
        self.shared.is_empty().then(|| &self.bytes[self.sent..])
    }

    /// Tells that the first `n` unsent bytes were written.
    ///
    /// # Panics
    /// Where `n` is more than [`len`](Self::len).
    #[inline]
    pub fn advance(&mut self, n: usize) {
        if self.shared.is_empty() && n == self.bytes.len() - self.sent {
            self.clear_bytes();
        } else {
            self.advance_partly(n);
        }
    }

    fn advance_partly(&mut self, mut n: usize) {
        assert!(n <= self.len(), "advance beyond the end");
        while let Some(front) = self.shared.front_mut() {
            let plain = front.at - self.sent;
            if n < plain {
                break;
            }
            n -= plain;
            self.sent = front.at;
            let take = n.min(front.payload.len());
            front.payload.advance(take);
            self.shared_bytes -= take;
            n -= take;
            if !front.payload.is_empty() {
                break;
            }
            self.shared.pop_front();
        }
        self.sent += n;
        if self.is_empty() {
            self.clear();
        } else if self.sent >= Self::RETAIN_BYTES_MAX && self.sent >= self.bytes.len() / 2 {
            self.drop_sent();
        }
    }

    /// Moves the unsent bytes to the front: on a saturated connection the buffer never runs empty.
    /// By the condition of its caller each byte is moved once on average.
    fn drop_sent(&mut self) {
        self.bytes.drain(..self.sent);
        for shared in &mut self.shared {
            shared.at -= self.sent;
        }
        self.sent = 0;
    }

    /// Copies all unsent bytes to `dst`, for tests and for record-oriented transports.
    pub fn copy_to(&self, dst: &mut Vec<u8>) {
        let mut from = self.sent;
        for shared in &self.shared {
            dst.extend_from_slice(&self.bytes[from..shared.at]);
            dst.extend_from_slice(&shared.payload);
            from = shared.at;
        }
        dst.extend_from_slice(&self.bytes[from..]);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.clear_bytes();
        self.shared.clear();
        self.shared_bytes = 0;
    }

    #[inline]
    fn clear_bytes(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > Self::RETAIN_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.sent = 0;
    }

    /// Appends what is no frame of a connection's: an answer to a client that speaks no HTTP/2.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Gives the storage of an empty buffer back to the allocator, for idle connections.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// The contiguous tail that frames are written to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a payload by reference.
    pub(crate) fn push_shared(&mut self, payload: Bytes) {
        if !payload.is_empty() {
            self.shared_bytes += payload.len();
            self.shared.push_back(Shared { at: self.bytes.len(), payload });
        }
    }

    /// Moves everything of `other` behind what is here: a swap when this one is empty.
    #[inline]
    pub(crate) fn append(&mut self, other: &mut SendBuf) {
        if self.is_empty() {
            debug_assert!(self.sent == 0 && self.shared.is_empty(), "cleared when it ran empty");
            std::mem::swap(self, other);
            return;
        }
        self.append_behind(other);
    }

    fn append_behind(&mut self, other: &mut SendBuf) {
        debug_assert_eq!(other.sent, 0, "only a sink is ever partly sent");
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        for shared in other.shared.drain(..) {
            self.shared.push_back(Shared { at: base + shared.at, payload: shared.payload });
        }
        self.shared_bytes += other.shared_bytes;
        other.clear();
    }
}

impl fmt::Debug for SendBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBuf")
            .field("bytes", &self.len())
            .field("shared_segments", &self.shared.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (SendBuf, Vec<u8>) {
        let mut buf = SendBuf::new();
        buf.push_shared(Bytes::from_static(b"first"));
        buf.tail().extend_from_slice(b"abc");
        buf.push_shared(Bytes::from_static(b"0123456789"));
        buf.push_shared(Bytes::from_static(b"XY"));
        let mut other = SendBuf::new();
        other.tail().extend_from_slice(b"tail");
        other.push_shared(Bytes::from_static(b"end"));
        buf.append(&mut other);
        assert!(other.is_empty());
        (buf, b"firstabc0123456789XYtailend".to_vec())
    }

    #[test]
    fn every_split_of_writes_sends_the_same_bytes() {
        for step in 1..28 {
            let (mut buf, want) = sample();
            let mut got = Vec::new();
            while !buf.is_empty() {
                let mut slices = [IoSlice::new(&[]); 3];
                let n = buf.slices(&mut slices);
                let all: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
                let k = step.min(all.len());
                got.extend_from_slice(&all[..k]);
                buf.advance(k);
            }
            assert_eq!(got, want, "step {step}");
        }
    }

    /// A saturated connection never empties its buffer.
    #[test]
    fn a_buffer_that_never_runs_empty_stays_small() {
        let mut buf = SendBuf::new();
        let (mut put, mut got) = (Vec::new(), Vec::new());
        for i in 0..20_000_u32 {
            let mut other = SendBuf::new();
            other.tail().extend_from_slice(&i.to_be_bytes().repeat(50));
            other.push_shared(Bytes::copy_from_slice(&i.to_le_bytes()));
            other.copy_to(&mut put);
            buf.append(&mut other);
            if i > 10 {
                let mut all = Vec::new();
                buf.copy_to(&mut all);
                got.extend_from_slice(&all[..204]);
                buf.advance(204);
            }
            assert!(buf.bytes.len() <= 2 * SendBuf::RETAIN_BYTES_MAX, "{}", buf.bytes.len());
        }
        buf.copy_to(&mut got);
        assert!(got == put);
    }

    #[test]
    fn contiguous_only_without_payloads_by_reference() {
        let (buf, want) = sample();
        assert!(buf.as_contiguous().is_none());
        assert_eq!(buf.len(), want.len());
        let mut copy = Vec::new();
        buf.copy_to(&mut copy);
        assert_eq!(copy, want);
    }
}
