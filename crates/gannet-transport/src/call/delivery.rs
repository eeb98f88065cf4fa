//! What comes for the application, on its way from the connection's task: one [`Delivery`] after
//! the other.
//!
//! The connection fills a delivery and puts it into the call's inbox; where the one before still
//! lies there, it adds to that. So however far the application falls behind, there is one delivery
//! and memory follows bytes: small messages are packed behind each other.
//!
//! Deliveries that are used up serve again: the connection keeps some for all of its calls
//! ([`Spares`]), so that a stream that waits for a message holds none.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use gannet_core::{Metadata, Status, frame};

/// Storage of used deliveries that a connection keeps for its calls, bytes.
const SPARE_BYTES_MAX: usize = 4 << 10;

/// Several things for the application: headers first, the end last.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Response headers.
    pub(super) headers: Option<Box<Metadata>>,
    /// Messages behind each other, each with its prefix.
    pub(super) packed: Vec<u8>,
    /// Where the first compressed one among these begins.
    pub(super) coded_from: Option<usize>,
    /// Long messages without their prefix, each after a position in `packed`, in order.
    pub(super) whole: VecDeque<(usize, Whole)>,
    /// Nothing follows; the trailers of a good end.
    pub(super) end: Option<Result<Metadata, Status>>,
    /// How far the application is with it.
    pub(super) read: Progress,
}

/// A long message.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) compressed: bool,
    pub(super) payload: Vec<u8>,
}

/// How much of a delivery the application has taken.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many packed bytes.
    pub(super) packed_bytes: usize,
    /// Up to here nothing but packed messages is next, and none is compressed.
    pub(super) plain_until: usize,
    /// The headers were given out.
    pub(super) headers: bool,
    /// The end was.
    pub(super) end: bool,
}

impl Delivery {
    pub(super) fn is_empty(&self) -> bool {
        self.packed.is_empty()
            && self.whole.is_empty()
            && self.headers.is_none()
            && self.end.is_none()
    }

    /// Moves everything of `later` behind what is here.
    pub(super) fn append(&mut self, later: &mut Delivery) {
        let base = self.packed.len();
        let coded_from = later.coded_from.take().map(|at| base + at);
        self.coded_from = self.coded_from.or(coded_from);
        self.packed.append(&mut later.packed);
        self.whole.extend(later.whole.drain(..).map(|(at, message)| (base + at, message)));
        self.headers = self.headers.take().or(later.headers.take());
        self.end = self.end.take().or(later.end.take());
    }

    /// Forgets everything but storage.
    pub(super) fn recycle(&mut self) {
        self.headers = None;
        self.packed.clear();
        self.coded_from = None;
        self.whole = VecDeque::new();
        self.end = None;
        self.read = Progress::default();
    }

    /// Ends it with `status`, in place of what the application has not taken.
    pub(super) fn fail(&mut self, status: Status) {
        self.packed.clear();
        self.whole = VecDeque::new();
        self.end = Some(Err(status));
        self.read = Progress { headers: true, end: true, ..Progress::default() };
    }

    /// Whether the application has not taken all of it. The end is never taken.
    pub(super) fn has_next(&self) -> bool {
        self.has_headers() || self.has_message() || self.end.is_some()
    }

    /// Whether headers are next.
    pub(super) fn has_headers(&self) -> bool {
        self.headers.is_some() && !self.read.headers
    }

    /// Whether there is a message yet.
    pub(super) fn has_message(&self) -> bool {
        self.packed.len() > self.read.packed_bytes || !self.whole.is_empty()
    }

    /// Takes the next message, where it lies packed with nothing else before it.
    #[inline]
    pub(super) fn next_plain(&mut self) -> Option<&[u8]> {
        if self.read.packed_bytes >= self.read.plain_until {
            return None;
        }
        let range = self.next_packed()?;
        Some(&self.packed[range])
    }

    /// Whether the next packed message is compressed.
    pub(super) fn is_coded(&self) -> bool {
        self.coded_from.is_some_and(|from| from <= self.read.packed_bytes)
            && self.packed.get(self.read.packed_bytes).is_some_and(|flags| *flags != 0)
    }

    /// Takes the next packed message.
    #[inline]
    pub(super) fn next_packed(&mut self) -> Option<Range<usize>> {
        let range = packed_message(&self.packed, self.read.packed_bytes)?;
        self.read.packed_bytes = range.end;
        Some(range)
    }

    /// Finds how far nothing but packed messages comes that are not compressed.
    pub(super) fn find_plain(&mut self) {
        self.read.plain_until = match self.has_headers() {
            false => self.whole.front().map_or(self.packed.len(), |(position, _)| *position),
            true => 0,
        };
        if let Some(from) = self.coded_from {
            self.read.plain_until = self.read.plain_until.min(from);
        }
    }
}

/// Where the payload of the message at `start` lies; `None` at the end of the bytes.
#[inline]
fn packed_message(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = bytes.get(start..)?;
    let &[_, a, b, c, d] = rest.first_chunk::<{ frame::PREFIX_BYTES }>()?;
    let from = start + frame::PREFIX_BYTES;
    let to = from.checked_add(usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?)?;
    (to <= bytes.len()).then_some(from..to)
}

/// Deliveries of one connection that were used, for its calls to use again.
#[derive(Default)]
pub struct Spares {
    #[expect(clippy::vec_box, reason = "what changes hands is the box")]
    deliveries: Vec<Box<Delivery>>,
    /// What they hold.
    bytes: usize,
}

impl Spares {
    /// One that is empty.
    pub(super) fn take(&mut self) -> Box<Delivery> {
        let Some(delivery) = self.deliveries.pop() else { return Box::default() };
        self.bytes -= bytes(&delivery);
        delivery
    }

    /// Keeps one that is empty, if there is room for it.
    pub(super) fn give(&mut self, delivery: Box<Delivery>) {
        let more = bytes(&delivery);
        if self.bytes + more <= SPARE_BYTES_MAX {
            self.bytes += more;
            self.deliveries.push(delivery);
        }
    }
}

/// What an empty delivery holds.
fn bytes(delivery: &Delivery) -> usize {
    size_of::<Delivery>() + delivery.packed.capacity()
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares").field("bytes", &self.bytes).finish()
    }
}
