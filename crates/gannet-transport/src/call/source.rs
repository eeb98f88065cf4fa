//! From the connection to the application: the application's end.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use gannet_core::{Metadata, Status, frame};

use super::feed::{Item, Node};
use super::{CallCommand, CallShared};

/// One thing that came for the application, borrowed from where it lies.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Response headers; at most once, before any message.
    Headers(&'a Metadata),
    /// One whole message.
    Message(&'a [u8]),
    /// Nothing follows; the trailers of a good end. Comes again when asked again.
    End(&'a Result<Metadata, Status>),
}

/// The application's end of what comes from the connection. One task at a time reads it.
///
/// Dropped before the end, it tells the connection so.
pub struct Source {
    shared: Arc<CallShared>,
    at: Arc<Node>,
    /// How much of `at` was given out, bytes; for items that are not bytes, 1 stands for all of it.
    given: usize,
    unrung: usize,
}

/// What of `at` is next.
enum Step {
    Headers,
    Whole,
    Packed(Range<usize>),
    End,
}

impl Source {
    pub(super) fn new(shared: Arc<CallShared>, start: Arc<Node>) -> Source {
        Source { shared, at: start, given: 0, unrung: 0 }
    }

    /// The call this belongs to.
    pub fn shared(&self) -> &Arc<CallShared> {
        &self.shared
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
        Poll::Ready(match (step, &self.at.item) {
            (Step::Headers, Item::Headers(headers)) => Piece::Headers(headers),
            (Step::Whole, Item::Whole(message)) => Piece::Message(message),
            (Step::Packed(range), Item::Packed(bytes)) => Piece::Message(&bytes[range]),
            (_, Item::End(outcome)) => Piece::End(outcome),
            _ => unreachable!("a step is made from the item it stands for"),
        })
    }

    /// The headers, where they are next; `None` where something else comes first, which stays.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    pub fn poll_headers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Metadata>, Status>> {
        if self.peek().is_none() {
            self.shared.drained();
            self.shared.wait_inbound(cx);
            if self.peek().is_none() {
                return Poll::Pending;
            }
        }
        Poll::Ready(match self.peek() {
            Some(Item::Headers(headers)) => Ok(Some(headers.clone())),
            Some(Item::End(Err(status))) => Err(status.clone()),
            _ => Ok(None),
        })
    }

    /// How the call ended, once that was reached.
    pub fn outcome(&self) -> Option<&Result<Metadata, Status>> {
        match &self.at.item {
            Item::End(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// What comes next, without taking it.
    fn peek(&self) -> Option<&Item> {
        let is_used_up = match &self.at.item {
            Item::Start => true,
            Item::Packed(bytes) => self.given >= bytes.len(),
            Item::Headers(_) | Item::Whole(_) => self.given > 0,
            Item::End(_) => false,
        };
        if is_used_up { self.at.next.get().map(|next| &next.item) } else { Some(&self.at.item) }
    }

    /// Finds the next piece and accounts for it; `None` where there is none yet.
    fn step(&mut self) -> Option<Step> {
        loop {
            let step = match &self.at.item {
                Item::Headers(_) if self.given == 0 => Some((Step::Headers, 0)),
                Item::Whole(message) if self.given == 0 => {
                    Some((Step::Whole, frame::PREFIX_BYTES + message.len()))
                }
                Item::Packed(bytes) => packed_message(bytes, self.given)
                    .map(|range| (Step::Packed(range.clone()), range.end - self.given)),
                Item::End(_) => return Some(Step::End),
                _ => None,
            };
            if let Some((step, bytes)) = step {
                self.given += bytes.max(1);
                if bytes > 0 {
                    self.shared.take(bytes, &mut self.unrung);
                }
                return Some(step);
            }
            let next = self.at.next.get().map(Arc::clone)?;
            self.at = next;
            self.given = 0;
            self.shared.nodes_taken.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if !matches!(self.at.item, Item::End(_)) {
            self.shared.push(CallCommand::InboundDropped);
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
