//! What a stream wants to send and flow control holds back.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Queued DATA, and what follows it.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Made when a payload has to wait: most streams never have one.
    #[expect(clippy::box_collection, reason = "a word in every stream, instead of four")]
    chunks: Option<Box<VecDeque<Bytes>>>,
    bytes: usize,
    /// What ends the stream when all chunks are gone.
    pub(crate) end: Option<End>,
}

/// How a queued stream ends.
#[derive(Debug)]
pub(crate) enum End {
    /// END_STREAM on the last DATA frame.
    Data,
    /// A trailer section, kept unencoded: HPACK state must follow the order on the wire.
    Trailers(Box<crate::connection::RecordedFields>),
}

impl SendQueue {
    /// Storage for more chunks than this is not kept for the slot's next stream.
    const RETAINED_CHUNKS_MAX: usize = 16;

    /// Queues a payload; an empty one is nothing.
    pub(crate) fn push(&mut self, payload: Bytes) {
        if !payload.is_empty() {
            self.bytes += payload.len();
            self.chunks.get_or_insert_default().push_back(payload);
        }
    }

    /// Queued payload bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.end.is_none()
    }

    /// Nothing is in it, and it has no storage.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_empty() && self.chunks.is_none()
    }

    /// Takes up to `max` bytes from the front as one chunk.
    pub(crate) fn take(&mut self, max: usize) -> Option<Bytes> {
        let chunks = self.chunks.as_mut()?;
        let front = chunks.front_mut()?;
        let taken = if front.len() <= max {
            chunks.pop_front()?
        } else {
            let part = front.slice(..max);
            front.advance(max);
            part
        };
        self.bytes -= taken.len();
        Some(taken)
    }

    /// Drops everything, keeping what storage the slot's next stream will usually need.
    pub(crate) fn clear(&mut self) {
        match &mut self.chunks {
            Some(chunks) if chunks.capacity() <= Self::RETAINED_CHUNKS_MAX => chunks.clear(),
            _ => self.chunks = None,
        }
        self.bytes = 0;
        self.end = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_no_more_storage_than_a_usual_stream_needs() {
        let mut queue = SendQueue::default();
        for _ in 0..10_000 {
            queue.push(Bytes::from_static(b"tiny"));
        }
        while queue.take(1000).is_some() {}
        queue.clear();
        let capacity = |queue: &SendQueue| queue.chunks.as_ref().map_or(0, |c| c.capacity());
        assert!(capacity(&queue) <= SendQueue::RETAINED_CHUNKS_MAX);
        queue.push(Bytes::from_static(b"one"));
        let before = capacity(&queue);
        assert!(before > 0);
        queue.clear();
        assert_eq!(capacity(&queue), before, "kept for the next stream");
    }
}
