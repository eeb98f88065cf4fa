//! Calls with one request and one response.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use gannet_core::compression::Encoding;
use gannet_core::{MessageCodec, Metadata, Result, Status};

use super::exchange::Exchange;
use super::notice::{Around, Outcome, Received};
use super::started::Made;
use super::{Options, ResponseMetadata};

/// A unary call that is being put together; `.await` makes it.
///
/// # Cancel safety
/// Dropping the future cancels the call.
#[must_use = "a call does nothing until it is awaited"]
pub struct Unary<'a, Req, Resp> {
    options: Options<'a, Req, Resp>,
    message: Req,
}

impl<'a, Req, Resp> Unary<'a, Req, Resp> {
    pub(crate) fn new(options: Options<'a, Req, Resp>, message: Req) -> Self {
        Unary { options, message }
    }

    option_methods!();

    /// Returns the response's headers and trailers besides the message.
    pub fn with_metadata(self) -> UnaryWithMetadata<'a, Req, Resp> {
        UnaryWithMetadata { call: self }
    }

    /// Makes the call and blocks the thread until it has ended.
    ///
    /// # Errors
    /// The status the call ended with; INTERNAL on a thread that must not block: see
    /// [`blocking`](crate::blocking).
    pub fn wait(self) -> Result<Resp> {
        let call = self.options.call();
        call.wait(&mut self.into_future(), |future| &mut future.exchange)
    }

    #[inline]
    fn start(self, with_metadata: bool) -> (Exchange<'a>, MessageCodec<Resp>) {
        let Unary { options, message } = self;
        let (channel, codec) = (options.channel, options.codec.response);
        let send_bytes_max = options.send_bytes_max;
        let mut request = options.message_request(&message);
        if let Ok((request, _)) = &mut request {
            request.wants_metadata = with_metadata;
        }
        (Exchange::new(channel, request, send_bytes_max), codec)
    }
}

impl<'a, Req, Resp> IntoFuture for Unary<'a, Req, Resp> {
    type Output = Result<Resp>;
    type IntoFuture = UnaryFuture<'a, Resp>;

    #[inline]
    fn into_future(self) -> UnaryFuture<'a, Resp> {
        let (exchange, codec) = self.start(false);
        UnaryFuture { exchange, codec }
    }
}

/// A unary call under way.
#[must_use = "a call does nothing until it is awaited"]
pub struct UnaryFuture<'a, Resp> {
    exchange: Exchange<'a>,
    codec: MessageCodec<Resp>,
}

impl<Resp> Future for UnaryFuture<'_, Resp> {
    type Output = Result<Resp>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Resp>> {
        let this = self.get_mut();
        let made = match ready!(this.exchange.poll(cx)) {
            Ok(made) => made,
            Err(status) => return Poll::Ready(Err(this.exchange.failed(status))),
        };
        let decoder = this.codec.decoder();
        let outcome = with_response(&made, |payload, _| Ok(payload.decode(decoder)?.0));
        this.exchange.end(&outcome);
        Poll::Ready(outcome)
    }
}

/// A unary call that returns metadata besides the message; `.await` makes it.
#[must_use = "a call does nothing until it is awaited"]
pub struct UnaryWithMetadata<'a, Req, Resp> {
    call: Unary<'a, Req, Resp>,
}

impl<Req, Resp> UnaryWithMetadata<'_, Req, Resp> {
    /// Makes the call and blocks the thread until it has ended.
    ///
    /// # Errors
    /// As [`Unary::wait`].
    pub fn wait(self) -> Result<(Resp, ResponseMetadata)> {
        let call = self.call.options.call();
        call.wait(&mut self.into_future(), |future| &mut future.exchange)
    }
}

impl<'a, Req, Resp> IntoFuture for UnaryWithMetadata<'a, Req, Resp> {
    type Output = Result<(Resp, ResponseMetadata)>;
    type IntoFuture = UnaryWithMetadataFuture<'a, Resp>;

    fn into_future(self) -> UnaryWithMetadataFuture<'a, Resp> {
        let (exchange, codec) = self.call.start(true);
        UnaryWithMetadataFuture { exchange, codec }
    }
}

/// A unary call under way, with metadata.
#[must_use = "a call does nothing until it is awaited"]
pub struct UnaryWithMetadataFuture<'a, Resp> {
    exchange: Exchange<'a>,
    codec: MessageCodec<Resp>,
}

impl<Resp> Future for UnaryWithMetadataFuture<'_, Resp> {
    type Output = Result<(Resp, ResponseMetadata)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let made = match ready!(this.exchange.poll(cx)) {
            Ok(made) => made,
            Err(status) => return Poll::Ready(Err(this.exchange.failed(status))),
        };
        let decoder = this.codec.decoder();
        let outcome = with_response(&made, |payload, around| {
            let (message, compressed) = payload.decode(decoder)?;
            let Around { headers, trailers } = around.cloned().unwrap_or_default();
            Ok((message, ResponseMetadata { headers, trailers, compressed }))
        });
        this.exchange.end(&outcome);
        Poll::Ready(outcome)
    }
}

fn with_response<T>(
    made: &Made,
    read: impl FnOnce(&Received, Option<&Around>) -> Result<T>,
) -> Result<T> {
    if let Made::Unary(notice, changed) = made
        && let Some(Outcome::Response { payload, metadata }) = notice.get()
    {
        return read(payload, changed.as_deref().or(metadata.as_deref()));
    }
    // What the connection tells a unary call is a response or a failure, which came as an error.
    Err(Status::internal("a unary call ended without response and without failure"))
}

impl<Req, Resp> fmt::Debug for Unary<'_, Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unary").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<Req, Resp> fmt::Debug for UnaryWithMetadata<'_, Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryWithMetadata").field("call", &self.call).finish()
    }
}

impl<Resp> fmt::Debug for UnaryFuture<'_, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryFuture").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl<Resp> fmt::Debug for UnaryWithMetadataFuture<'_, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("UnaryWithMetadataFuture");
        shown.field("exchange", &self.exchange).finish_non_exhaustive()
    }
}
