//! Calls with a stream in one direction or in both.
//!
//! Awaiting such a call opens it: the request's head is sent, and nothing of the server is waited
//! for. What the call comes to is told by what it returns.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use gannet_core::compression::Encoding;
use gannet_core::{Metadata, MethodCodec, Result, Status};
use gannet_transport::{CallShared, Inbound, Outbound, Source};

use super::exchange::Exchange;
use super::started::Made;
use super::{Options, Reply};
use crate::blocking;

/// A call with many requests and one response, being put together; `.await` opens it.
#[must_use = "a call does nothing until it is awaited"]
pub struct ClientStreaming<'a, Req, Resp> {
    options: Options<'a, Req, Resp>,
}

impl<'a, Req, Resp> ClientStreaming<'a, Req, Resp> {
    pub(crate) fn new(options: Options<'a, Req, Resp>) -> Self {
        ClientStreaming { options }
    }

    option_methods!();

    /// Opens the call, blocking the thread until that is done.
    ///
    /// # Errors
    /// As awaiting it; INTERNAL on a thread that must not block: see
    /// [`blocking`](crate::blocking).
    pub fn wait(self) -> Result<(blocking::Outbound<Req>, blocking::Reply<Resp>)> {
        let call = self.options.call();
        let opened = call.open(&mut self.into_future(), |future| &mut future.opening.exchange)?;
        let ((outbound, reply), deadline) = opened;
        let call = blocking::OpenCall::new(call, deadline, reply.shared());
        let outbound = blocking::Outbound::new(call.another(), outbound);
        Ok((outbound, blocking::Reply::new(call, reply)))
    }
}

impl<'a, Req, Resp> IntoFuture for ClientStreaming<'a, Req, Resp> {
    type Output = Result<(Outbound<Req>, Reply<Resp>)>;
    type IntoFuture = ClientStreamingFuture<'a, Req, Resp>;

    fn into_future(self) -> ClientStreamingFuture<'a, Req, Resp> {
        ClientStreamingFuture { opening: Opening::stream(self.options) }
    }
}

/// A client stream that is being opened.
#[must_use = "a call does nothing until it is awaited"]
pub struct ClientStreamingFuture<'a, Req, Resp> {
    opening: Opening<'a, Req, Resp>,
}

impl<Req, Resp> Future for ClientStreamingFuture<'_, Req, Resp> {
    type Output = Result<(Outbound<Req>, Reply<Resp>)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opening = &mut self.get_mut().opening;
        let (shared, source) = ready!(opening.poll(cx))?;
        let reply = Reply::new(source, opening.codec.response);
        Poll::Ready(Ok((opening.outbound(shared), reply)))
    }
}

/// A call with one request and many responses, being put together; `.await` opens it.
#[must_use = "a call does nothing until it is awaited"]
pub struct ServerStreaming<'a, Req, Resp> {
    options: Options<'a, Req, Resp>,
    message: Req,
}

impl<'a, Req, Resp> ServerStreaming<'a, Req, Resp> {
    pub(crate) fn new(options: Options<'a, Req, Resp>, message: Req) -> Self {
        ServerStreaming { options, message }
    }

    option_methods!();

    /// Opens the call, blocking the thread until that is done.
    ///
    /// # Errors
    /// As awaiting it; INTERNAL on a thread that must not block: see
    /// [`blocking`](crate::blocking).
    pub fn wait(self) -> Result<blocking::Inbound<Resp>> {
        let call = self.options.call();
        let opened = call.open(&mut self.into_future(), |future| &mut future.opening.exchange)?;
        let (mut inbound, deadline) = opened;
        let call = blocking::OpenCall::new(call, deadline, inbound.source_mut().shared());
        Ok(blocking::Inbound::new(call, inbound))
    }
}

impl<'a, Req, Resp> IntoFuture for ServerStreaming<'a, Req, Resp> {
    type Output = Result<Inbound<Resp>>;
    type IntoFuture = ServerStreamingFuture<'a, Req, Resp>;

    fn into_future(self) -> ServerStreamingFuture<'a, Req, Resp> {
        ServerStreamingFuture { opening: Opening::message(self.options, &self.message) }
    }
}

/// A server stream that is being opened.
#[must_use = "a call does nothing until it is awaited"]
pub struct ServerStreamingFuture<'a, Req, Resp> {
    opening: Opening<'a, Req, Resp>,
}

impl<Req, Resp> Future for ServerStreamingFuture<'_, Req, Resp> {
    type Output = Result<Inbound<Resp>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opening = &mut self.get_mut().opening;
        let (_, source) = ready!(opening.poll(cx))?;
        Poll::Ready(Ok(Inbound::new(source, opening.codec.response)))
    }
}

/// A call with many requests and many responses, being put together; `.await` opens it.
#[must_use = "a call does nothing until it is awaited"]
pub struct BidiStreaming<'a, Req, Resp> {
    options: Options<'a, Req, Resp>,
}

impl<'a, Req, Resp> BidiStreaming<'a, Req, Resp> {
    pub(crate) fn new(options: Options<'a, Req, Resp>) -> Self {
        BidiStreaming { options }
    }

    option_methods!();

    /// Opens the call, blocking the thread until that is done.
    ///
    /// # Errors
    /// As awaiting it; INTERNAL on a thread that must not block: see
    /// [`blocking`](crate::blocking).
    pub fn wait(self) -> Result<(blocking::Outbound<Req>, blocking::Inbound<Resp>)> {
        let call = self.options.call();
        let opened = call.open(&mut self.into_future(), |future| &mut future.opening.exchange)?;
        let ((outbound, mut inbound), deadline) = opened;
        let call = blocking::OpenCall::new(call, deadline, inbound.source_mut().shared());
        let outbound = blocking::Outbound::new(call.another(), outbound);
        Ok((outbound, blocking::Inbound::new(call, inbound)))
    }
}

impl<'a, Req, Resp> IntoFuture for BidiStreaming<'a, Req, Resp> {
    type Output = Result<(Outbound<Req>, Inbound<Resp>)>;
    type IntoFuture = BidiStreamingFuture<'a, Req, Resp>;

    fn into_future(self) -> BidiStreamingFuture<'a, Req, Resp> {
        BidiStreamingFuture { opening: Opening::stream(self.options) }
    }
}

/// A stream in both directions that is being opened.
#[must_use = "a call does nothing until it is awaited"]
pub struct BidiStreamingFuture<'a, Req, Resp> {
    opening: Opening<'a, Req, Resp>,
}

impl<Req, Resp> Future for BidiStreamingFuture<'_, Req, Resp> {
    type Output = Result<(Outbound<Req>, Inbound<Resp>)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opening = &mut self.get_mut().opening;
        let (shared, source) = ready!(opening.poll(cx))?;
        let inbound = Inbound::new(source, opening.codec.response);
        Poll::Ready(Ok((opening.outbound(shared), inbound)))
    }
}

/// What the three have in common.
struct Opening<'a, Req, Resp> {
    exchange: Exchange<'a>,
    codec: MethodCodec<Req, Resp>,
    send_bytes_max: usize,
}

impl<'a, Req, Resp> Opening<'a, Req, Resp> {
    fn stream(options: Options<'a, Req, Resp>) -> Self {
        let (channel, codec) = (options.channel, options.codec);
        let send_bytes_max = options.send_bytes_max;
        let request = options.stream_request();
        let exchange = Exchange::new(channel, request, send_bytes_max);
        Opening { exchange, codec, send_bytes_max }
    }

    fn message(options: Options<'a, Req, Resp>, message: &Req) -> Self {
        let (channel, codec) = (options.channel, options.codec);
        let send_bytes_max = options.send_bytes_max;
        let request = options.message_request(message);
        let exchange = Exchange::new(channel, request, send_bytes_max);
        Opening { exchange, codec, send_bytes_max }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Arc<CallShared>, Source)>> {
        let opened = match ready!(self.exchange.poll(cx)) {
            Ok(Made::Stream(shared, source)) => {
                self.exchange.end_with(&shared, &source);
                return Poll::Ready(Ok((shared, source)));
            }
            Ok(Made::Unary(..)) => {
                Err(Status::internal("the method's descriptor is of another kind"))
            }
            Err(status) => Err(status),
        };
        self.exchange.end(&opened);
        Poll::Ready(opened)
    }

    fn outbound(&self, shared: Arc<CallShared>) -> Outbound<Req> {
        shared.set_send_bytes_max(self.send_bytes_max);
        Outbound::new(shared, self.codec.request)
    }
}

macro_rules! debug_by_options {
    ($($name:ident),*) => {$(
        impl<Req, Resp> fmt::Debug for $name<'_, Req, Resp> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                shown.field("options", &self.options).finish_non_exhaustive()
            }
        }
    )*};
}

debug_by_options!(ClientStreaming, ServerStreaming, BidiStreaming);

macro_rules! debug_by_exchange {
    ($($name:ident),*) => {$(
        impl<Req, Resp> fmt::Debug for $name<'_, Req, Resp> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                shown.field("exchange", &self.opening.exchange).finish_non_exhaustive()
            }
        }
    )*};
}

debug_by_exchange!(ClientStreamingFuture, ServerStreamingFuture, BidiStreamingFuture);
