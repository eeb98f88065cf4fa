//! [`Reply`]: the one response of a client stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gannet_core::codec::decode_cow;
use gannet_core::{MessageCodec, Metadata, Result, Status};
use gannet_transport::{CallShared, Piece, Source};

use super::ResponseMetadata;

/// The response to a client stream; `.await` waits for it.
///
/// Dropping it before the response came cancels the call.
#[must_use = "dropping the reply cancels the call"]
pub struct Reply<T> {
    source: Source,
    codec: MessageCodec<T>,
    message: Option<T>,
    trailers: Metadata,
}

impl<T> Reply<T> {
    pub(crate) fn new(source: Source, codec: MessageCodec<T>) -> Reply<T> {
        // Whether all is well is known behind it.
        source.hold_end();
        Reply { source, codec, message: None, trailers: Metadata::new() }
    }

    /// The call's.
    pub(crate) fn shared(&self) -> &Arc<CallShared> {
        self.source.shared()
    }

    /// The response's headers, once they have come: a server may send them long before the message.
    /// Empty where it sent none.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn headers(&mut self) -> Result<&Metadata> {
        self.source.wait_headers().await
    }

    /// Returns the response's headers and trailers besides the message.
    pub fn with_metadata(self) -> ReplyWithMetadata<T> {
        ReplyWithMetadata { reply: self }
    }

    /// Ready when the call has ended.
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let reply = ready!(self.poll_outcome(cx));
        self.source.settle(reply.as_ref().err());
        Poll::Ready(reply)
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        loop {
            match ready!(self.source.poll_piece(cx)) {
                Piece::Headers(_) => {}
                Piece::Message(_) if self.message.is_some() => {
                    return Poll::Ready(Err(Status::internal(
                        "the server sent more than one response, where the method has one",
                    )));
                }
                Piece::Message(payload) => match decode_cow(self.codec.decoder(), payload) {
                    Ok(message) => self.message = Some(message),
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
                Piece::Undecodable(status) => return Poll::Ready(Err(status)),
                Piece::End(Err(status)) => return Poll::Ready(Err(status.clone())),
                Piece::End(Ok(trailers)) => {
                    self.trailers = trailers.clone();
                    return Poll::Ready(self.message.take().ok_or_else(|| {
                        Status::internal("the server ended the call well, but sent no response")
                    }));
                }
            }
        }
    }
}

/// Decoded messages are never pinned in place.
impl<T> Unpin for Reply<T> {}

impl<T> Future for Reply<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.get_mut().poll_reply(cx)
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// The response to a client stream with its metadata; `.await` waits for it.
#[must_use = "dropping the reply cancels the call"]
#[derive(Debug)]
pub struct ReplyWithMetadata<T> {
    reply: Reply<T>,
}

impl<T> Future for ReplyWithMetadata<T> {
    type Output = Result<(T, ResponseMetadata)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = &mut self.get_mut().reply;
        let message = ready!(reply.poll_reply(cx))?;
        let headers = reply.source.headers().cloned().unwrap_or_default();
        let trailers = std::mem::take(&mut reply.trailers);
        let compressed = reply.source.shared().received_compressed();
        Poll::Ready(Ok((message, ResponseMetadata { headers, trailers, compressed })))
    }
}
