//! From the connection to the application: the application's end.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use gannet_core::{Metadata, Status, frame, storage};

use super::delivery::{Delivery, Whole};
use super::{Asks, CallShared, Direction, Observer};

/// One thing that came for the application.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Response headers; at most once, before any message.
    Headers(&'a Metadata),
    /// One whole message: borrowed from where it lies, or owned where it came in parts or
    /// compressed.
    Message(Cow<'a, [u8]>),
    /// A message that cannot be decompressed, or not within the receive limit: why.
    Undecodable(Status),
    /// Nothing follows; the trailers of a good end. Comes again when asked again.
    End(&'a Result<Metadata, Status>),
}

/// The application's end of what comes from the connection. One task at a time reads it.
///
/// Dropped before the end, it tells the connection so.
pub struct Source {
    shared: Arc<CallShared>,
    at: Option<Box<Delivery>>,
}

/// What is next.
enum Step {
    Headers,
    Whole(Vec<u8>),
    Packed(Range<usize>),
    Undecodable(Status),
    End,
}

impl Source {
    /// The application's end of a call that has a [`Feed`](super::Feed); there is one.
    pub fn new(shared: Arc<CallShared>) -> Source {
        Source { shared, at: None }
    }

    /// The call this belongs to.
    pub fn shared(&self) -> &Arc<CallShared> {
        &self.shared
    }

    /// Shows messages to `observer`, from the next on.
    pub fn observe(&mut self, observer: Observer) {
        self.shared.observe(Direction::Inbound, observer);
        if let Some(at) = &mut self.at {
            at.read.plain_until = 0;
        }
    }

    /// The next message, where it lies here among others: the common case on a busy stream. Receive
    /// credit for it flows back with this.
    #[inline]
    pub(super) fn next_plain(&mut self) -> Option<&[u8]> {
        let payload = self.at.as_mut()?.next_plain()?;
        self.shared.take(frame::PREFIX_BYTES + payload.len());
        Some(payload)
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
            (Step::Undecodable(status), ..) => Piece::Undecodable(status),
            (Step::Headers, Some(headers), _) => Piece::Headers(headers),
            (Step::End, _, Some(outcome)) => Piece::End(outcome),
            _ => unreachable!("a step is made from what it stands for"),
        })
    }

    /// Ready when [`headers`](Self::headers) tells all that there will be: headers came, or
    /// something before which there are none, which stays.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    pub fn poll_headers(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if self.headers().is_some() {
            return Poll::Ready(Ok(()));
        }
        if !self.has_next() {
            self.shared.drained();
            self.shared.wait_inbound(cx);
            if !self.has_next() {
                return Poll::Pending;
            }
        }
        let Some(at) = &self.at else { return Poll::Pending };
        Poll::Ready(match (&at.headers, &at.end) {
            (None, Some(Err(status))) if !at.has_message() => {
                self.shared.meet(status);
                Err(status.clone())
            }
            _ => Ok(()),
        })
    }

    /// Ready when a message is there, or the end: what the call comes to before its first message.
    ///
    /// # Errors
    /// The status the call ended with, where there is no message before that.
    pub fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        loop {
            if let Some(at) = &mut self.at {
                match &at.end {
                    _ if at.has_message() => return Poll::Ready(Ok(())),
                    Some(Err(status)) => {
                        self.shared.meet(status);
                        return Poll::Ready(Err(status.clone()));
                    }
                    Some(Ok(_)) => return Poll::Ready(Ok(())),
                    // They stay, for those who ask for them.
                    None if at.has_headers() => {
                        at.read.headers = true;
                        match (self.shared.is_shown(), &at.headers) {
                            (true, Some(headers)) => self.shared.show_headers(headers),
                            _ => at.find_plain(),
                        }
                    }
                    None => {}
                }
            }
            if self.has_next() {
                continue;
            }
            self.shared.drained();
            self.shared.wait_inbound(cx);
            if !self.has_next() {
                return Poll::Pending;
            }
        }
    }

    /// The response headers, once they have come; without entries where none will.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn wait_headers(&mut self) -> Result<&Metadata, Status> {
        poll_fn(|cx| self.poll_headers(cx)).await?;
        Ok(self.headers().unwrap_or(Metadata::none()))
    }

    /// The response headers, once they have come, and from then on.
    pub fn headers(&self) -> Option<&Metadata> {
        self.at.as_ref()?.headers.as_deref()
    }

    /// How the call ended, once that was reached.
    pub fn outcome(&self) -> Option<&Result<Metadata, Status>> {
        self.at.as_ref().filter(|at| at.read.end)?.end.as_ref()
    }

    /// Whether there is a next piece; takes the next delivery where this one is used up.
    fn has_next(&mut self) -> bool {
        match &self.at {
            Some(at) if at.has_next() => return true,
            // Headers stay, for those who ask for them later.
            Some(at) if at.headers.is_some() => {}
            Some(_) => self.put_away(),
            None => {}
        }
        let Some(mut next) = self.shared.inbox.take() else { return false };
        if let Some(used) = &mut self.at
            && let Some(headers) = used.headers.take()
        {
            next.headers = Some(headers);
            next.read.headers = true;
            self.put_away();
        }
        // Otherwise no message goes the short way.
        if !self.shared.reads_one_by_one() {
            next.find_plain();
        }
        self.at = Some(next);
        true
    }

    /// Lets the connection have a delivery that is used up.
    fn put_away(&mut self) {
        if let Some(mut used) = self.at.take() {
            used.recycle();
            self.shared.put_away(used);
        }
    }

    /// Finds the next piece and accounts for it; `None` where there is none yet.
    fn step(&mut self) -> Option<Step> {
        if !self.has_next() {
            return None;
        }
        let at = self.at.as_mut()?;
        let is_shown = self.shared.is_shown();
        let mut compressed_bytes = None;
        if at.has_headers() {
            at.read.headers = true;
            match (is_shown, &at.headers) {
                (true, Some(headers)) => self.shared.show_headers(headers),
                _ => at.find_plain(),
            }
            return Some(Step::Headers);
        }
        let step = match at.whole.front() {
            Some((position, _)) if *position == at.read.packed_bytes => {
                let (_, Whole { compressed, payload }) = at.whole.pop_front()?;
                if !self.shared.reads_one_by_one() {
                    at.find_plain();
                }
                self.shared.take(frame::PREFIX_BYTES + payload.len());
                if compressed {
                    compressed_bytes = Some(payload.len());
                    whole(&self.shared, payload)
                } else {
                    self.shared.read_unmarked();
                    Step::Whole(payload)
                }
            }
            _ if at.is_coded() => {
                let range = at.next_packed()?;
                self.shared.take(frame::PREFIX_BYTES + range.len());
                compressed_bytes = Some(range.len());
                packed(&self.shared, &at.packed, range)
            }
            _ => match at.next_packed() {
                Some(range) => {
                    self.shared.take(frame::PREFIX_BYTES + range.len());
                    self.shared.read_unmarked();
                    Step::Packed(range)
                }
                None => {
                    at.read.end = true;
                    Step::End
                }
            },
        };
        if is_shown { Some(self.show(step, compressed_bytes)) } else { Some(step) }
    }

    /// Shows a message to the observers, or the end.
    #[cold]
    fn show(&mut self, step: Step, compressed_bytes: Option<usize>) -> Step {
        let Some(at) = &mut self.at else { return step };
        let bytes = match &step {
            Step::Packed(range) => Some(range.len()),
            Step::Whole(message) => Some(message.len()),
            Step::Headers | Step::Undecodable(_) | Step::End => None,
        };
        if let Some(bytes) = bytes {
            self.shared.forget_met();
            self.shared.tell_message(Direction::Inbound, bytes, compressed_bytes);
        }
        let shown = match &step {
            Step::Headers | Step::Undecodable(_) => Ok(()),
            Step::Packed(range) => {
                let payload = &at.packed[range.clone()];
                self.shared.show(Direction::Inbound, payload)
            }
            Step::Whole(message) => self.shared.show(Direction::Inbound, message),
            Step::End => match self.shared.failure() {
                Some(status) => Err(status),
                None => {
                    if let Some(outcome) = &at.end
                        && !self.shared.holds_end()
                    {
                        self.shared.tell_both(outcome.as_ref());
                    }
                    Ok(())
                }
            },
        };
        let Err(status) = shown else { return step };
        if !matches!(step, Step::End) {
            // What still comes is not wanted.
            self.shared.ask(Asks::INBOUND_DROPPED);
        }
        self.shared.tell_both(Err(&status));
        at.fail(status);
        Step::End
    }
}

/// A long message that is marked as compressed.
#[cold]
fn whole(shared: &CallShared, payload: Vec<u8>) -> Step {
    let decoded = match shared.decode_marked(&payload) {
        Ok(Cow::Borrowed(_)) => return Step::Whole(payload),
        Ok(Cow::Owned(message)) => Step::Whole(message),
        Err(status) => Step::Undecodable(status),
    };
    storage::give(payload);
    decoded
}

/// A packed message that is marked as compressed.
#[cold]
fn packed(shared: &CallShared, packed: &[u8], range: Range<usize>) -> Step {
    match shared.decode_marked(&packed[range.clone()]) {
        Ok(Cow::Borrowed(_)) => Step::Packed(range),
        Ok(Cow::Owned(message)) => Step::Whole(message),
        Err(status) => Step::Undecodable(status),
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.outcome().is_none() {
            let left = self.shared.inbox.take();
            if self.shared.is_shown() {
                let mut at = self.at.as_deref().into_iter().chain(left.as_deref());
                self.tell_given_up(at.find_map(|at| at.end.as_ref()));
            }
            self.shared.ask(Asks::INBOUND_DROPPED);
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("shared", &self.shared).finish_non_exhaustive()
    }
}
