//! From the connection to the application: the application's end.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use gannet_core::{Metadata, Status, frame};

use super::delivery::Delivery;
use super::{Asks, CallShared};

/// One thing that came for the application.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Response headers; at most once, before any message.
    Headers(&'a Metadata),
    /// One whole message: borrowed from where it lies, or owned where it came in parts.
    Message(Cow<'a, [u8]>),
    /// Nothing follows; the trailers of a good end. Comes again when asked again.
    End(&'a Result<Metadata, Status>),
}

/// The application's end of what comes from the connection. One task at a time reads it.
///
/// Dropped before the end, it tells the connection so.
pub struct Source {
    shared: Arc<CallShared>,
    at: Option<Box<Delivery>>,
    /// The headers of `at` were given out.
    headers_given: bool,
    /// How many packed bytes of `at` were.
    given: usize,
    /// Up to here nothing but packed messages is next.
    plain_until: usize,
    /// The end was given out.
    is_over: bool,
    /// Bytes of messages taken in all, prefixes included. Wraps.
    taken: usize,
    unrung: usize,
}

/// What is next.
enum Step {
    Headers,
    Whole(Vec<u8>),
    Packed(Range<usize>),
    End,
}

impl Source {
    pub(super) fn new(shared: Arc<CallShared>) -> Source {
        Source {
            shared,
            at: None,
            headers_given: false,
            given: 0,
            plain_until: 0,
            is_over: false,
            taken: 0,
            unrung: 0,
        }
    }

    /// The call this belongs to.
    pub fn shared(&self) -> &Arc<CallShared> {
        &self.shared
    }

    /// The next message, where it lies here among others: the common case on a busy stream. Receive
    /// credit for it flows back with this.
    #[inline]
    pub(super) fn next_packed(&mut self) -> Option<&[u8]> {
        if self.given >= self.plain_until {
            return None;
        }
        let packed = &self.at.as_ref()?.packed;
        let range = packed_message(packed, self.given)?;
        let bytes = range.end - self.given;
        self.given = range.end;
        self.taken = self.taken.wrapping_add(bytes);
        self.shared.take(bytes, self.taken, &mut self.unrung);
        Some(&packed[range])
    }

    /// The next piece. Receive credit for a message flows back with this.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece<'_>> {
        let step = match self.step() {
            Some(step) => step,
            None => {
                self.shared.drained();
                self.shared.wait_inbound(cx);
                match self.step() {
                    Some(step) => step,
                    None => return Poll::Pending,
                }
            }
        };
        let Some(at) = &self.at else { return Poll::Pending };
        Poll::Ready(match (step, &at.headers, &at.end) {
            (Step::Packed(range), ..) => Piece::Message(Cow::Borrowed(&at.packed[range])),
            (Step::Whole(message), ..) => Piece::Message(Cow::Owned(message)),
            (Step::Headers, Some(headers), _) => Piece::Headers(headers),
            (Step::End, _, Some(outcome)) => Piece::End(outcome),
            _ => unreachable!("a step is made from what it stands for"),
        })
    }

    /// The headers, where they are next; `None` where something else comes first, which stays.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    pub fn poll_headers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Metadata>, Status>> {
        if !self.has_next() {
            self.shared.drained();
            self.shared.wait_inbound(cx);
            if !self.has_next() {
                return Poll::Pending;
            }
        }
        let Some(at) = &self.at else { return Poll::Pending };
        let has_message = at.packed.len() > self.given || !at.whole.is_empty();
        Poll::Ready(match (&at.headers, &at.end) {
            (Some(headers), _) if !self.headers_given => Ok(Some(headers.clone())),
            (_, Some(Err(status))) if !has_message => Err(status.clone()),
            _ => Ok(None),
        })
    }

    /// How the call ended, once that was reached.
    pub fn outcome(&self) -> Option<&Result<Metadata, Status>> {
        self.at.as_ref().filter(|_| self.is_over)?.end.as_ref()
    }

    /// Whether there is a next piece; takes the next delivery where this one is used up.
    fn has_next(&mut self) -> bool {
        if let Some(at) = &self.at {
            let has_headers = at.headers.is_some() && !self.headers_given;
            let has_message = at.packed.len() > self.given || !at.whole.is_empty();
            if has_headers || has_message || at.end.is_some() {
                return true;
            }
        }
        if let Some(mut used) = self.at.take()
            && used.recycle()
        {
            self.shared.spare.store(Some(used));
        }
        self.at = self.shared.inbox.take();
        self.headers_given = false;
        self.given = 0;
        self.find_plain();
        self.at.is_some()
    }

    /// Finds how far nothing but packed messages comes.
    fn find_plain(&mut self) {
        self.plain_until = match &self.at {
            Some(at) if at.headers.is_none() || self.headers_given => {
                at.whole.front().map_or(at.packed.len(), |(position, _)| *position)
            }
            _ => 0,
        };
    }

    /// Finds the next piece and accounts for it; `None` where there is none yet.
    fn step(&mut self) -> Option<Step> {
        if !self.has_next() {
            return None;
        }
        let at = self.at.as_mut()?;
        if at.headers.is_some() && !self.headers_given {
            self.headers_given = true;
            self.find_plain();
            return Some(Step::Headers);
        }
        let (step, bytes) = match at.whole.front() {
            Some((position, _)) if *position == self.given => {
                let (_, message) = at.whole.pop_front()?;
                let bytes = frame::PREFIX_BYTES + message.len();
                self.find_plain();
                (Step::Whole(message), bytes)
            }
            _ => match packed_message(&at.packed, self.given) {
                Some(range) => {
                    let bytes = range.end - self.given;
                    self.given = range.end;
                    (Step::Packed(range), bytes)
                }
                None => {
                    self.is_over = true;
                    return Some(Step::End);
                }
            },
        };
        self.taken = self.taken.wrapping_add(bytes);
        self.shared.take(bytes, self.taken, &mut self.unrung);
        Some(step)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.shared.inbox.take());
            self.shared.ask(Asks::INBOUND_DROPPED);
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Where the payload of the message at `start` lies; `None` at the end of the bytes.
fn packed_message(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = bytes.get(start..)?;
    let &[_, a, b, c, d] = rest.first_chunk::<{ frame::PREFIX_BYTES }>()?;
    let from = start + frame::PREFIX_BYTES;
    let to = from.checked_add(usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?)?;
    (to <= bytes.len()).then_some(from..to)
}
