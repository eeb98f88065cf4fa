//! From the connection to the application: the connection's end.
//!
//! What comes is gathered and handed over once per wake, by one atomic swap: see
//! [`Delivery`](super::delivery::Delivery).
//!
//! Receive credit is given back when the application takes a message. The bytes of a message that
//! is still incomplete are given back at once where the application waits for it, as otherwise a
//! message longer than the window could never arrive.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use gannet_core::{MessageReader, Metadata, Status, frame};

use super::delivery::{Delivery, Spares, Whole};
use super::shared::low_bits;
use super::{CallShared, Source};

/// A message that was reassembled anyway, and is at least this long, is passed on without a copy.
const WHOLE_BYTES_MIN: usize = 4 << 10;
/// What is expected of the next delivery by the last one, at most, bytes.
const EXPECTED_BYTES_MAX: u32 = 4 << 10;

/// Makes both ends for one call. Messages over `message_bytes_max` are refused.
pub fn feed(shared: &Arc<CallShared>, message_bytes_max: usize) -> (Feed, Source) {
    (Feed::new(shared, message_bytes_max), Source::new(Arc::clone(shared)))
}

/// The connection's end of what goes to the application.
///
/// Small, as each open stream has one. The counters wrap: what they differ by is bounded by the
/// stream's window, of 31 bits.
pub struct Feed {
    /// Made with the first message that comes in pieces.
    reader: Option<Box<MessageReader>>,
    message_bytes_max: u32,
    /// What is not handed over yet.
    pending: Option<Box<Delivery>>,
    /// How many packed bytes the last delivery had; room is made for as many.
    expected: u32,
    /// DATA bytes that came.
    received: u32,
    /// Of these, the bytes of messages that are complete.
    completed: u32,
    /// Of these, the bytes whose credit was given back.
    released: u32,
    discards: bool,
    is_ended: bool,
}

impl Feed {
    /// The connection's end alone. Messages over `message_bytes_max` are refused.
    pub fn new(shared: &CallShared, message_bytes_max: usize) -> Feed {
        shared.set_streamed();
        Feed {
            reader: None,
            // A length has four bytes, so this is as good as more.
            message_bytes_max: u32::try_from(message_bytes_max).unwrap_or(u32::MAX),
            pending: None,
            expected: 0,
            received: 0,
            completed: 0,
            released: 0,
            discards: false,
            is_ended: false,
        }
    }

    /// Passes response headers on, with the next [`flush`](Self::flush).
    pub fn headers(&mut self, headers: Metadata, shared: &CallShared) {
        if !self.is_ended {
            self.pending(shared).headers = Some(Box::new(headers));
        }
    }

    /// Takes one DATA payload. Complete messages reach the application with the next
    /// [`flush`](Self::flush), in a delivery from `spares` where there is one.
    ///
    /// # Errors
    /// What ends the call: a message over the limit, or compressed where no encoding was agreed on.
    #[inline]
    pub fn data(
        &mut self,
        mut payload: &[u8],
        shared: &CallShared,
        spares: &mut Spares,
    ) -> Result<(), Status> {
        self.received = self.received.wrapping_add(low_bits(payload.len()));
        if self.discards || self.is_ended {
            return Ok(());
        }
        let whole = match &self.reader {
            None => frame::take_whole(&mut payload, self.message_bytes_max as usize),
            Some(reader) => reader.take_whole(&mut payload),
        };
        if !whole.is_empty() {
            self.completed = self.completed.wrapping_add(low_bits(whole.len()));
            match &mut self.pending {
                Some(pending) => pending.packed.extend_from_slice(whole),
                None => self.begin(whole, shared, spares),
            }
        }
        if payload.is_empty() { Ok(()) } else { self.pieces(payload, shared) }
    }

    /// Begins a delivery.
    fn begin(&mut self, whole: &[u8], shared: &CallShared, spares: &mut Spares) {
        let mut pending = shared.spare.take().unwrap_or_else(|| spares.take());
        let expected = whole.len().max(self.expected as usize);
        if pending.packed.capacity() < expected {
            pending.packed = Vec::with_capacity(expected);
        }
        pending.packed.extend_from_slice(whole);
        self.pending = Some(pending);
    }

    /// Takes what is left of a payload: messages that are cut off, or were.
    fn pieces(&mut self, mut payload: &[u8], shared: &CallShared) -> Result<(), Status> {
        while let Some(message) = self.reader().next(&mut payload)? {
            let compressed = message.compressed;
            if compressed && !shared.receives_compressed() {
                return Err(compressed_unasked());
            }
            let framed_bytes = frame::PREFIX_BYTES + message.payload.len();
            self.completed = self.completed.wrapping_add(low_bits(framed_bytes));
            let pending = self.pending(shared);
            let at = pending.packed.len();
            match message.payload {
                Cow::Owned(payload) if payload.len() >= WHOLE_BYTES_MIN => {
                    pending.whole.push_back((at, Whole { compressed, payload }));
                }
                small => {
                    if compressed {
                        pending.coded_from.get_or_insert(at);
                    }
                    let prefix = frame::prefix(compressed, small.len(), usize::MAX)?;
                    pending.packed.extend_from_slice(&prefix);
                    pending.packed.extend_from_slice(&small);
                }
            }
            let whole = self.reader().take_whole(&mut payload);
            if !whole.is_empty() {
                self.completed = self.completed.wrapping_add(low_bits(whole.len()));
                self.pending(shared).packed.extend_from_slice(whole);
            }
        }
        Ok(())
    }

    /// Hands over what is complete, and wakes the application.
    pub fn flush(&mut self, shared: &CallShared) {
        let Some(pending) = self.pending.as_mut().filter(|pending| !pending.is_empty()) else {
            return;
        };
        let bytes = u32::try_from(pending.packed.len()).unwrap_or(u32::MAX);
        self.expected = bytes.min(EXPECTED_BYTES_MAX);
        match shared.inbox.take() {
            Some(mut waiting) => {
                waiting.append(pending);
                shared.inbox.store(Some(waiting));
            }
            None => shared.inbox.store(self.pending.take()),
        }
        shared.wake_inbound();
    }

    /// Ends it: nothing is handed over after this.
    ///
    /// # Errors
    /// Where a good end cuts a message short: the application then sees that as the end.
    pub fn end(
        &mut self,
        outcome: Result<Metadata, Status>,
        shared: &CallShared,
    ) -> Result<(), Status> {
        if self.is_ended {
            return Ok(());
        }
        let torn = match (&outcome, self.discards) {
            (Ok(_), false) => self.reader.as_ref().map_or(Ok(()), |reader| reader.finish()),
            _ => Ok(()),
        };
        let torn = torn.map_err(Status::from);
        let outcome = match &torn {
            Ok(()) => outcome,
            Err(status) => Err(status.clone()),
        };
        self.pending(shared).end = Some(outcome);
        self.flush(shared);
        self.is_ended = true;
        self.pending = None;
        torn
    }

    /// Whether the end was handed over.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Ends it because the call is over, unless it has ended or nobody reads it: an application
    /// that reads outside of its handler, and longer than that runs, must not wait for ever.
    pub fn cut(&mut self, status: Status, shared: &CallShared) {
        if !self.discards {
            let _ = self.end(Err(status), shared);
        }
    }

    /// The application wants no more: what comes is counted, given back and thrown away.
    pub fn discard(&mut self) {
        self.discards = true;
        self.pending = None;
        self.reader = None;
    }

    /// The application has dropped its end: as [`discard`](Self::discard), and what lies there for
    /// it goes too.
    pub fn reader_gone(&mut self, shared: &CallShared) {
        self.discard();
        drop(shared.inbox.take());
    }

    /// How many bytes of receive credit to give back to the peer now. To be called after
    /// [`flush`](Self::flush) when data came, and when the call asks to look.
    ///
    /// From `held_bytes_min` bytes on that are held back, the application is asked to tell when it
    /// has caught up; it tells by itself only now and then.
    pub fn credit(&mut self, shared: &CallShared, held_bytes_min: usize) -> usize {
        let mut target = self.target(shared);
        if target != self.received {
            let is_torn = self.received != self.completed;
            if is_torn || self.received.wrapping_sub(target) as usize >= held_bytes_min {
                shared.set_attention(true);
                target = self.target(shared);
            }
        }
        // Counters wrap; the differences are small.
        let owed = target.wrapping_sub(self.released);
        if owed > u32::MAX / 2 {
            return 0;
        }
        self.released = target;
        owed as usize
    }

    /// All the credit that was not given back, for a call that is over and is not looked at again.
    pub fn last_credit(&mut self) -> usize {
        let owed = self.received.wrapping_sub(self.released);
        self.released = self.received;
        owed as usize
    }

    /// How much credit the application's progress stands for.
    fn target(&self, shared: &CallShared) -> u32 {
        if self.discards {
            return self.received;
        }
        let taken = shared.taken_bytes();
        if taken == self.completed { self.received } else { taken }
    }

    fn reader(&mut self) -> &mut MessageReader {
        let bytes_max = self.message_bytes_max as usize;
        self.reader.get_or_insert_with(|| Box::new(MessageReader::new(bytes_max)))
    }

    fn pending(&mut self, shared: &CallShared) -> &mut Delivery {
        self.pending.get_or_insert_with(|| shared.spare.take().unwrap_or_default())
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("received", &self.received)
            .field("released", &self.released)
            .field("ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}

#[cold]
pub(super) fn compressed_unasked() -> Status {
    Status::internal("a message is compressed, but no grpc-encoding was declared")
}
