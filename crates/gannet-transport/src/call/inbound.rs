//! The stream of messages an application receives.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use gannet_core::codec::{Payload, decode_cow};
use gannet_core::compression::Compressed;
use gannet_core::{DecodeFn, MessageCodec, Metadata, Result, Status};

use super::{Piece, Source};

/// Messages of one call, in order, as they come.
///
/// Dropping it before its end tells the other side that no more are wanted: for a client that
/// cancels the call; a server throws away what still comes.
pub struct Inbound<T> {
    source: Source,
    decode: DecodeFn<T>,
}

impl<T> Inbound<T> {
    /// For the two sides: a stream of what `source` brings.
    pub fn new(source: Source, codec: MessageCodec<T>) -> Inbound<T> {
        Inbound { source, decode: codec.decoder() }
    }

    /// The next message; `Ok(None)` only after a clean end of the stream, and from then on.
    ///
    /// # Errors
    /// The status the call ended with, again on each further call. INTERNAL where a message cannot
    /// be decoded or decompressed, and RESOURCE_EXHAUSTED where it would be over the receive limit
    /// when decompressed; the messages after it can still be read.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it is to be awaited")]
    pub fn next(&mut self) -> impl Future<Output = Result<Option<T>>> {
        Next { inbound: self }
    }

    /// As [`next`](Self::next), for hand-written futures.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    #[inline]
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        if let Some(payload) = self.source.next_plain() {
            let message = (self.decode)(Payload::Borrowed(payload));
            return Poll::Ready(message.map(Some).map_err(|error| self.unread(error.into())));
        }
        self.poll_piece(cx)
    }

    /// As [`poll_next`](Self::poll_next), for whatever is next.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        loop {
            match ready!(self.source.poll_piece(cx)) {
                Piece::Headers(_) => {}
                Piece::Message(payload) => {
                    let message = decode_cow(self.decode, payload);
                    let message = message.map(Some).map_err(|error| self.unread(error.into()));
                    return Poll::Ready(message);
                }
                Piece::Undecodable(status) => return Poll::Ready(Err(self.unread(status))),
                Piece::End(Ok(_)) => return Poll::Ready(Ok(None)),
                Piece::End(Err(status)) => return Poll::Ready(Err(status.clone())),
            }
        }
    }

    /// What the application is told in place of a message.
    #[cold]
    fn unread(&self, status: Status) -> Status {
        self.source.shared().meet(&status);
        status
    }

    /// The response's headers, once they have come: a server may send them long before the first
    /// message. Empty where it sent none, and on a server, whose requests have theirs elsewhere.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn headers(&mut self) -> Result<&Metadata> {
        self.source.wait_headers().await
    }

    /// The trailers of a good end, once [`next`](Self::next) has returned `Ok(None)`. Those of a
    /// failed call are in its status.
    pub fn trailers(&self) -> Option<&Metadata> {
        self.source.outcome()?.as_ref().ok()
    }

    /// What compression of the messages that [`next`](Self::next) has returned came to. It grows by
    /// one message with each that came compressed.
    pub fn compressed(&self) -> Compressed {
        self.source.shared().received_compressed()
    }

    /// The raw pieces, for the two sides.
    pub fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }
}

/// The next message. Not an `async fn`: that costs a busy stream more than decoding does.
struct Next<'a, T> {
    inbound: &'a mut Inbound<T>,
}

impl<T> Future for Next<'_, T> {
    type Output = Result<Option<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        self.get_mut().inbound.poll_next(cx)
    }
}

impl<T> fmt::Debug for Inbound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("source", &self.source).finish_non_exhaustive()
    }
}
