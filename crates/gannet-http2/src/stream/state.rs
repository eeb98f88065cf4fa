//! The state of one stream (RFC 9113 section 5.1), as its two halves.

use super::SendQueue;

/// What the peer may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvHalf {
    /// A client waits for the final response head.
    Head,
    /// DATA or trailers may come.
    Body,
    /// END_STREAM or RST_STREAM was received, or we reset the stream.
    Ended,
}

/// What we may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendHalf {
    /// A server has not sent its response head.
    Head,
    /// DATA or trailers may be sent.
    Body,
    /// The end is queued behind DATA that flow control holds back.
    Ending,
    /// END_STREAM or RST_STREAM was sent, or the peer reset the stream.
    Ended,
}

/// The body bytes that were declared and have not come; a word, as there is one in each stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentLength(u64);

impl ContentLength {
    /// Nothing was declared. No declared length is as long as this: they have 19 digits at most.
    pub(crate) const UNDECLARED: ContentLength = ContentLength(u64::MAX);

    /// Takes away what came; false where that is more than was declared, or less at the end.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: u32, is_end: bool) -> bool {
        if *self == Self::UNDECLARED {
            return true;
        }
        let Some(left) = self.0.checked_sub(u64::from(bytes)) else { return false };
        self.0 = left;
        left == 0 || !is_end
    }
}

impl From<Option<u64>> for ContentLength {
    fn from(declared: Option<u64>) -> ContentLength {
        declared.map_or(Self::UNDECLARED, ContentLength)
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) recv: RecvHalf,
    pub(crate) send: SendHalf,
    /// The layer above still knows the key.
    pub(crate) held: bool,
    /// It waits in the round robin.
    pub(crate) scheduled: bool,
    /// It has a WINDOW_UPDATE due.
    pub(crate) credit_due: bool,
    /// Its queue was above the low-water mark, so draining is worth a report.
    pub(crate) was_high: bool,
    /// What we may send; below zero after the peer shrank its window (RFC 9113 section 6.9.2).
    pub(crate) send_window: i64,
    /// What the peer may send.
    pub(crate) recv_window: i64,
    /// Bytes released by the layer above and not yet announced.
    pub(crate) released: u32,
    /// What content-length still promises.
    pub(crate) content_length: ContentLength,
    pub(crate) queue: SendQueue,
}

impl Stream {
    pub(crate) fn new(id: u32, recv: RecvHalf, send: SendHalf) -> Self {
        Stream {
            id,
            recv,
            send,
            held: true,
            scheduled: false,
            credit_due: false,
            was_high: false,
            send_window: 0,
            recv_window: 0,
            released: 0,
            content_length: ContentLength::UNDECLARED,
            queue: SendQueue::default(),
        }
    }

    /// Makes a stream that ended a new one; its empty queue keeps its storage.
    #[inline]
    pub(crate) fn restart(&mut self, id: u32, recv: RecvHalf, send: SendHalf) {
        debug_assert!(self.queue.is_empty());
        self.id = id;
        self.recv = recv;
        self.send = send;
        self.held = true;
        self.scheduled = false;
        self.credit_due = false;
        self.was_high = false;
        self.released = 0;
        self.content_length = ContentLength::UNDECLARED;
    }

    /// Both halves ended: nothing more crosses the wire.
    pub(crate) fn is_closed(&self) -> bool {
        self.recv == RecvHalf::Ended && self.send == SendHalf::Ended
    }
}
