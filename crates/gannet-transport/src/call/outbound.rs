//! The stream of messages an application sends.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use gannet_core::compression::Compressed;
use gannet_core::{Code, EncodeError, EncodeFn, MessageCodec, Result, Status, frame, storage};

use super::coding::Way;
use super::{CallShared, Direction};

/// Sends messages of one call, in order.
///
/// A client that drops it without [`finish`](Self::finish) cancels the call. For a server dropping
/// means nothing: the call ends when the handler returns.
pub struct Outbound<T> {
    shared: Arc<CallShared>,
    frame: EncodeFn<T>,
}

impl<T> Outbound<T> {
    /// For the two sides: a stream into the call `shared`, which was told
    /// [how long](CallShared::set_send_bytes_max) messages may be.
    pub fn new(shared: Arc<CallShared>, codec: MessageCodec<T>) -> Outbound<T> {
        Outbound { shared, frame: codec.framer() }
    }

    /// Queues one message; waits first while too much of this call is queued or in flight
    /// ([`SEND_QUEUE_BYTES_MAX`](super::SEND_QUEUE_BYTES_MAX)).
    ///
    /// # Errors
    /// Once the call has ended: what it failed with, as far as this end knows, which on a client is
    /// what is told where the responses are read; CANCELLED where it has ended well.
    /// RESOURCE_EXHAUSTED for a message over the send limit and INTERNAL for one that cannot be
    /// encoded: the call goes on without it.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was sent.
    #[inline]
    pub fn send(&mut self, message: T) -> Sending<'_, T> {
        Sending { outbound: self, message: Some(message) }
    }

    /// Queues a message that has room.
    #[inline]
    fn put(&mut self, message: &T) -> Result<()> {
        if self.shared.has_coding() {
            return self.put_coded(message, false);
        }
        self.put_framed(message, false)
    }

    /// As [`put`](Self::put), for one that is not to be compressed.
    fn put_uncompressed(&mut self, message: &T) -> Result<()> {
        if self.shared.has_coding() {
            return self.put_coded(message, true);
        }
        self.put_framed(message, false)
    }

    /// Queues a message as it is, with a mark or without one.
    #[inline]
    fn put_framed(&mut self, message: &T, is_marked: bool) -> Result<()> {
        let bytes_max = self.shared.send_bytes_max();
        if self.shared.is_shown() {
            return self.put_shown(message, is_marked, bytes_max);
        }
        self.shared.put_message(|out| {
            let start = out.len();
            (self.frame)(message, bytes_max, out).inspect_err(|_| out.truncate(start))?;
            mark(out, start, is_marked);
            Ok::<_, EncodeError>(())
        })?;
        Ok(())
    }

    /// Queues a message where some are compressed.
    #[cold]
    fn put_coded(&mut self, message: &T, is_plain: bool) -> Result<()> {
        match self.shared.way(is_plain) {
            Way::Compressed => self.put_compressed(message),
            Way::Plain => self.put_framed(message, false),
            Way::Marked => self.put_framed(message, true),
        }
    }

    /// Queues a message, compressed as was decided for the call.
    fn put_compressed(&mut self, message: &T) -> Result<()> {
        let mut framed = Vec::new();
        if self.shared.is_tapped() {
            // As it was before compression.
            (self.frame)(message, self.shared.send_bytes_max(), &mut framed)?;
            self.show(&framed)?;
            framed.clear();
        }
        let compressed = self.shared.encode_coded(self.frame, message, &mut framed)?;
        let put = self.shared.put_message(|out| -> Result<()> {
            out.extend_from_slice(&framed);
            Ok(())
        });
        if self.shared.is_shown() {
            let wire_bytes = framed.len().saturating_sub(frame::PREFIX_BYTES);
            let plain_bytes = compressed.and_then(|told| usize::try_from(told.bytes).ok());
            let compressed_bytes = plain_bytes.map(|_| wire_bytes);
            self.tell(plain_bytes.unwrap_or(wire_bytes), compressed_bytes);
        }
        storage::give(framed);
        put
    }

    /// As [`put_framed`](Self::put_framed), for a message that observers look at.
    #[cold]
    fn put_shown(&mut self, message: &T, is_marked: bool, bytes_max: usize) -> Result<()> {
        let framed_bytes = Cell::new(0);
        self.shared.put_message(|out| {
            let start = out.len();
            (self.frame)(message, bytes_max, out)
                .map_err(Status::from)
                .and_then(|()| self.show(out.get(start..).unwrap_or_default()))
                .inspect_err(|_| out.truncate(start))?;
            framed_bytes.set(out.len() - start);
            mark(out, start, is_marked);
            Ok::<_, Status>(())
        })?;
        self.tell(framed_bytes.get().saturating_sub(frame::PREFIX_BYTES), None);
        Ok(())
    }

    fn tell(&self, bytes: usize, compressed_bytes: Option<usize>) {
        self.shared.tell_message(Direction::Outbound, bytes, compressed_bytes);
    }

    /// What a sender is told whose call has ended. A good end is told where responses are read.
    #[cold]
    fn over(&self, status: Status) -> Status {
        if self.shared.ended() != Some(Code::Ok) {
            self.shared.meet_sending(&status);
        }
        status
    }

    fn show(&self, framed: &[u8]) -> Result<()> {
        let payload = framed.get(frame::PREFIX_BYTES..).unwrap_or_default();
        let shown = self.shared.show(Direction::Outbound, payload);
        shown.inspect_err(|status| self.shared.fail(status.clone()))
    }

    /// What compression of the messages that were sent came to.
    pub fn compressed(&self) -> Compressed {
        self.shared.sent_compressed()
    }

    /// Sends every message of a stream.
    ///
    /// # Errors
    /// As [`send`](Self::send), for the first message that fails.
    ///
    /// # Cancel safety
    /// Dropped, it loses at most the message that waits for room.
    pub async fn send_all<S>(&mut self, messages: S) -> Result<()>
    where
        S: Stream<Item = T>,
    {
        let mut messages = std::pin::pin!(messages);
        while let Some(message) = poll_fn(|cx| messages.as_mut().poll_next(cx)).await {
            self.send(message).await?;
        }
        Ok(())
    }

    /// Says that no message follows, so that the other side sees a clean end. On a server that is
    /// what returning from the handler does, and this does nothing.
    pub fn finish(self) {
        self.shared.finish();
    }
}

/// Sets the flag of the message at `start` that otherwise says it is compressed.
#[inline]
fn mark(out: &mut [u8], start: usize, is_marked: bool) {
    if is_marked && let Some(flags) = out.get_mut(start) {
        *flags = 1;
    }
}

impl<T> Drop for Outbound<T> {
    fn drop(&mut self) {
        self.shared.sender_gone();
    }
}

impl<T> fmt::Debug for Outbound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("call", &self.shared).finish_non_exhaustive()
    }
}

/// A message that is being sent: see [`Outbound::send`].
// Not an `async fn`: that would keep the message twice.
#[must_use = "nothing is sent until it is awaited"]
pub struct Sending<'a, T> {
    outbound: &'a mut Outbound<T>,
    /// `None` once it is queued.
    message: Option<T>,
}

/// Messages are never pinned in place.
impl<T> Unpin for Sending<'_, T> {}

impl<'a, T> Sending<'a, T> {
    /// Sends the message uncompressed, whatever the call compresses with: for one that holds a
    /// secret beside what an attacker may choose (CRIME), or that is compressed already.
    pub fn uncompressed(self) -> SendingUncompressed<'a, T> {
        SendingUncompressed(self)
    }

    #[inline]
    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        put: impl FnOnce(&mut Outbound<T>, &T) -> Result<()>,
    ) -> Poll<Result<()>> {
        if let Err(status) = ready!(self.outbound.shared.poll_room(cx)) {
            return Poll::Ready(Err(self.outbound.over(status)));
        }
        let Some(message) = &self.message else { return Poll::Ready(Ok(())) };
        let sent = put(self.outbound, message);
        self.message = None;
        Poll::Ready(sent.inspect_err(|status| self.outbound.shared.meet_sending(status)))
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<()>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_put(cx, Outbound::put)
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("outbound", &self.outbound).finish_non_exhaustive()
    }
}

/// A message that is being sent uncompressed: see [`Sending::uncompressed`].
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct SendingUncompressed<'a, T>(Sending<'a, T>);

impl<T> Future for SendingUncompressed<'_, T> {
    type Output = Result<()>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().0.poll_put(cx, Outbound::put_uncompressed)
    }
}
