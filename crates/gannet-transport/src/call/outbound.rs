//! The stream of messages an application sends.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use futures_core::Stream;
use gannet_core::{EncodeFn, MessageCodec, Result};

use super::{Asks, CallShared};

/// Sends messages of one call, in order.
///
/// A client that drops it without [`finish`](Self::finish) cancels the call. For a server dropping
/// means nothing: the call ends when the handler returns.
pub struct Outbound<T> {
    shared: Arc<CallShared>,
    frame: EncodeFn<T>,
    message_bytes_max: usize,
    /// Bytes of messages queued in all, prefixes included. Wraps.
    queued: usize,
    finished: bool,
}

impl<T> Outbound<T> {
    /// For the two sides: a stream into the call `shared`.
    pub fn new(
        shared: Arc<CallShared>,
        codec: MessageCodec<T>,
        message_bytes_max: usize,
    ) -> Outbound<T> {
        shared.set_streamed();
        let frame = codec.framer();
        Outbound { shared, frame, message_bytes_max, queued: 0, finished: false }
    }

    /// Queues one message; waits first while too much of this call is queued or in flight
    /// ([`SEND_QUEUE_BYTES_MAX`](super::SEND_QUEUE_BYTES_MAX)).
    ///
    /// # Errors
    /// Once the call has ended, with its code; why it ended is told where the call's outcome is.
    /// RESOURCE_EXHAUSTED for a message over the send limit and INTERNAL for one that cannot be
    /// encoded: the call goes on without it.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was sent.
    pub async fn send(&mut self, message: T) -> Result<()> {
        if !self.shared.room(self.queued)? {
            poll_fn(|cx| self.shared.poll_room(self.queued, cx)).await?;
        }
        if self.queued == 0 {
            self.shared.fix_headers();
        }
        let (frame, bytes_max) = (self.frame, self.message_bytes_max);
        let bytes = self.shared.put_message(|out| {
            let start = out.len();
            frame(&message, bytes_max, out).inspect_err(|_| out.truncate(start))
        })?;
        self.queued = self.queued.wrapping_add(bytes);
        Ok(())
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
    pub fn finish(mut self) {
        self.finished = true;
        self.shared.ask(Asks::FINISH);
    }
}

impl<T> Drop for Outbound<T> {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.ask(Asks::OUTBOUND_DROPPED);
        }
    }
}

impl<T> fmt::Debug for Outbound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("call", &self.shared).finish_non_exhaustive()
    }
}
