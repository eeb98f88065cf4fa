//! [`Incoming`]: a call on its way to its handler.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gannet_core::codec::Raw;
use gannet_core::{Codec, MessageCodec, Metadata, Result, Status};
use gannet_transport::{Direction, Inbound, Observed, Outbound, Relay, RelayKind, Source};

use super::extras::{Pump, Pumps};
use super::handled::{Handled, Home, Stash, reply_with};
use crate::Call;
use crate::service::Late;

/// A call that has begun, before its request is decoded and its handler exists.
///
/// It is the [`Call`] that the handler will see, with what only an interceptor may do to it. One
/// that is dropped ends with what the interceptor returns.
pub struct Incoming {
    /// `None` once it has moved on.
    call: Option<Call>,
    pub(super) stash: Arc<Stash>,
    pub(super) request: Request,
    /// Never locked: a call can be shared, and these futures cannot.
    pumps: Mutex<Option<Box<Pumps>>>,
    pub(super) send_bytes_max: usize,
}

/// What the client sends.
pub(super) enum Request {
    /// One message, encoded.
    Message(Vec<u8>),
    /// One that is not decompressed yet, or long.
    Late(Late),
    Stream,
    /// The interceptor has taken it.
    Taken,
}

impl Incoming {
    pub(super) fn new(mut call: Call, request: Request, send_bytes_max: usize) -> Incoming {
        let stash = call.extra_mut().stash.take().unwrap_or_default();
        Incoming { call: Some(call), stash, request, pumps: Mutex::new(None), send_bytes_max }
    }

    /// The request's metadata, to be changed before the handler sees it.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        self.call_mut().request_metadata_mut()
    }

    /// Ends what follows with DEADLINE_EXCEEDED at `deadline`, where the call has none that is
    /// earlier. [`Next::run`](super::Next::run) returns that status, and the client is told.
    pub fn shorten_deadline(&mut self, deadline: Instant) {
        self.call_mut().shorten_deadline(deadline);
    }

    /// As [`shorten_deadline`](Self::shorten_deadline), to `timeout` from now.
    pub fn shorten_timeout(&mut self, timeout: Duration) {
        let now = tokio::time::Instant::now().into_std();
        // One that no clock can express is none.
        if let Some(deadline) = now.checked_add(timeout) {
            self.shorten_deadline(deadline);
        }
    }

    /// The encoded request of a method with one, decompressed; `None` for a stream of requests.
    ///
    /// # Errors
    /// Where it cannot be decompressed, or not within the receive limit.
    pub fn message(&mut self) -> Result<Option<&[u8]>> {
        self.decompress()?;
        match &self.request {
            Request::Message(message) => Ok(Some(message)),
            Request::Late(_) | Request::Stream | Request::Taken => Ok(None),
        }
    }

    /// Replaces the encoded request of a method with one; without effect on a stream of requests.
    pub fn set_message(&mut self, message: impl Into<Vec<u8>>) {
        if matches!(self.request, Request::Message(_) | Request::Late(_)) {
            self.request = Request::Message(message.into());
        }
    }

    /// Makes a request that came compressed a plain one.
    pub(super) fn decompress(&mut self) -> Result<()> {
        self.request = match std::mem::replace(&mut self.request, Request::Taken) {
            Request::Late(Late::Long(message)) => Request::Message(message),
            Request::Late(packed @ Late::Packed(_)) => {
                Request::Message(packed.decode::<Raw, Vec<u8>>(self.call_mut())?)
            }
            other => other,
        };
        Ok(())
    }

    /// Shows each request to `observer` when it comes to be decoded. An error fails the call,
    /// whatever the handler makes of it.
    ///
    /// Cheap: nothing is copied. The number of each message and its bytes are in [`Observed`].
    pub fn observe_requests<F>(&mut self, observer: F)
    where
        F: FnMut(Observed<'_>) -> Result<()> + Send + 'static,
    {
        self.requests_shared().observe(Direction::Inbound, Box::new(observer));
    }

    /// Shows each reply to `observer` when it was encoded, before it is queued. An error fails the
    /// call, whatever the handler makes of it.
    pub fn observe_replies<F>(&mut self, observer: F)
    where
        F: FnMut(Observed<'_>) -> Result<()> + Send + 'static,
    {
        self.replies_shared().observe(Direction::Outbound, Box::new(observer));
    }

    /// Puts `wrap` between the client's stream of requests and the handler: it gets the encoded
    /// messages as they come, and what it sends is what the handler receives. Without effect, and
    /// `false`, for a method with one request.
    ///
    /// It runs beside the handler, where that runs. When it returns, the handler's stream ends;
    /// with an error, the call does. When the handler returns it is dropped.
    ///
    /// ```
    /// # use gannet::{Server, codec::Raw};
    /// # use gannet::server::{Incoming, Next};
    /// # let server =
    /// Server::new().intercept(|mut call: Incoming, next: Next| async move {
    ///     // Leaves empty messages out.
    ///     call.wrap_requests(|mut from, mut to| async move {
    ///         while let Some(message) = from.next().await? {
    ///             if !message.is_empty() {
    ///                 to.send(message).await?;
    ///             }
    ///         }
    ///         Ok(())
    ///     });
    ///     next.run(call).await
    /// });
    /// ```
    pub fn wrap_requests<F, Fut>(&mut self, wrap: F) -> bool
    where
        F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if !matches!(self.request, Request::Stream) {
            return false;
        }
        let relay = Relay::new(RelayKind::Server);
        let codec = MessageCodec::<Bytes>::new::<Raw>();
        let from = Inbound::new(Source::new(Arc::clone(self.requests_shared())), codec);
        let to = Outbound::new(Arc::clone(relay.shared()), codec);
        self.call_mut().extra_mut().requests = Some(Arc::clone(relay.shared()));
        let pump = Pump { future: Box::pin(wrap(from, to)), relay };
        self.pumps().get_or_insert_default().requests.push(pump);
        true
    }

    /// Puts `wrap` between the handler's stream of replies and the client: it gets the encoded
    /// messages that the handler sends, and what it sends is what the client receives. Without
    /// effect, and `false`, for a method with one reply.
    ///
    /// It runs beside the handler, and after that has returned until it has seen all. With an error
    /// it ends the call. While the last message that it has read is one that the handler sent
    /// [`uncompressed`](gannet_transport::Sending::uncompressed), what it sends is so, too.
    pub fn wrap_replies<F, Fut>(&mut self, wrap: F) -> bool
    where
        F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if !self.method().kind.server_streams() {
            return false;
        }
        let relay = Relay::new(RelayKind::Server);
        let codec = MessageCodec::<Bytes>::new::<Raw>();
        let from = Inbound::new(Source::new(Arc::clone(relay.shared())), codec);
        let to = self.replies::<Raw, Bytes>();
        relay.passes_marks_to(self.replies_shared());
        self.call_mut().extra_mut().replies = Some(Arc::clone(relay.shared()));
        let pump = Pump { future: Box::pin(wrap(from, to)), relay };
        self.pumps().get_or_insert_default().replies.push(pump);
        true
    }

    /// Takes the client's stream of requests, to answer without the handler; `None` for a method
    /// with one request, and where it was taken.
    pub fn take_requests<C, T>(&mut self) -> Option<Inbound<T>>
    where
        C: Codec<T>,
    {
        if !matches!(self.request, Request::Stream) {
            return None;
        }
        self.request = Request::Taken;
        let source = Source::new(Arc::clone(self.requests_shared()));
        Some(Inbound::new(source, MessageCodec::new::<C>()))
    }

    /// The way to the client for replies without the handler, of a method that has a stream of
    /// them. Follow it by [`finish`](Self::finish).
    pub fn replies<C, T>(&mut self) -> Outbound<T>
    where
        C: Codec<T>,
    {
        let shared = Arc::clone(self.replies_shared());
        shared.set_send_bytes_max(self.send_bytes_max);
        Outbound::new(shared, MessageCodec::new::<C>())
    }

    /// Answers without the handler, with the one reply of a method that has one.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where it is over the send limit; INTERNAL where it cannot be encoded, and
    /// for a method with a stream of replies.
    pub fn answer<C, T>(mut self, message: &T) -> Result<Handled>
    where
        C: Codec<T>,
    {
        let send_bytes_max = self.send_bytes_max;
        reply_with::<C, T>(self.call_mut(), message, send_bytes_max)?;
        Ok(self.into_handled())
    }

    /// Ends a stream of replies well, without the handler: after what was sent with
    /// [`replies`](Self::replies), or without any.
    ///
    /// # Errors
    /// INTERNAL for a method with one reply.
    pub fn finish(self) -> Result<Handled> {
        if self.method().kind.server_streams() {
            return Ok(self.into_handled());
        }
        let path = self.method().path;
        Err(Status::internal(format!("{path} has one reply, not a stream of them")))
    }

    fn into_handled(mut self) -> Handled {
        Handled::new(self.take_call(), Arc::clone(&self.stash), self.send_bytes_max)
    }

    /// What carries messages between streams.
    pub(super) fn pumps(&mut self) -> &mut Option<Box<Pumps>> {
        self.pumps.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn call_mut(&mut self) -> &mut Call {
        self
    }

    /// It moves on.
    pub(super) fn take_call(&mut self) -> Call {
        self.call.take().expect("it moves on once")
    }

    pub(super) fn home(&self) -> Home {
        Home {
            stash: Arc::clone(&self.stash),
            shared: Arc::clone(self.shared()),
            method: self.method(),
            peer: Arc::clone(self.peer_shared()),
        }
    }
}

impl Deref for Incoming {
    type Target = Call;

    fn deref(&self) -> &Call {
        self.call.as_ref().expect("it moves on with the last use of this")
    }
}

impl DerefMut for Incoming {
    fn deref_mut(&mut self) -> &mut Call {
        self.call.as_mut().expect("it moves on with the last use of this")
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.stash.put(call);
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("call", &self.call).finish_non_exhaustive()
    }
}
