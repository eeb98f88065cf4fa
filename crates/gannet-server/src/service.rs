//! What generated code implements and calls: [`Service`], [`Start`], [`Started`].
//!
//! A service gets each call once, with its request still encoded, and answers with a future that is
//! built in storage the connection lends and reuses.
//!
//! The future is polled where it lies, and not awaited by another one: that would hold it twice,
//! once as it was captured and once as it is awaited.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gannet_core::compression::Packed;
use gannet_core::{Codec, MessageCodec, Result, ServiceDescriptor, Status, storage};
use gannet_transport::{Inbound, Outbound, Source};
use pin_project_lite::pin_project;

use crate::Call;

/// A service that can be added to a server. Implemented by generated code.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    note = "wrap your implementation in the generated server type, for instance \
            `GreeterServer::new(MyGreeter)`"
)]
pub trait Service: Send + Sync + 'static {
    /// Its name and methods.
    fn descriptor(&self) -> &'static ServiceDescriptor;

    /// Begins a call of the method with index `method` in the descriptor: calls the method of
    /// [`Start`] that fits its kind. Must not block.
    fn call(&self, method: usize, start: Start<'_>) -> Started;

    /// Told once when a server begins to serve: all services of the server, this one among them.
    /// Does nothing unless a service says otherwise. Must not block.
    fn serving(&self, services: &[&'static ServiceDescriptor]) {
        let _ = services;
    }

    /// Told once when a server begins to shut down gracefully, just before connections hear of it.
    /// Does nothing unless a service says otherwise. Must not block.
    fn draining(&self) {}
}

/// A running handler in storage that is reused.
pub(crate) struct Handler(Pin<Box<dyn Reuse>>);

impl Handler {
    /// Polls the handler.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.as_mut().poll(cx)
    }
}

/// What a handler leaves behind. The reply of a method with one response lies encoded in the call.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) call: Call,
    pub(crate) result: Result<()>,
}

/// A call that is about to start.
pub struct Start<'a> {
    pub(crate) call: Call,
    pub(crate) input: Input<'a>,
    pub(crate) storage: &'a mut Option<Handler>,
    pub(crate) message_send_bytes_max: usize,
}

/// What the client sends.
pub(crate) enum Input<'a> {
    /// The one request, encoded.
    Message(&'a [u8]),
    /// The same, to be decoded when the handler is polled first: of many that came together, one
    /// lies here decoded, and the time that it takes counts as the handler's.
    Late(Late),
    /// A stream of requests.
    Stream,
}

/// A request that is not decoded yet.
pub(crate) enum Late {
    /// Long, and come in parts.
    Long(Vec<u8>),
    /// Compressed.
    Packed(Packed),
}

impl Late {
    pub(crate) fn decode<C: Codec<Req>, Req>(self, call: &mut Call) -> Result<Req> {
        match self {
            Late::Long(payload) => Ok(C::decode_shared(&storage::share(payload))?),
            Late::Packed(packed) => {
                let (message, compressed) =
                    packed.decode(MessageCodec::<Req>::new::<C>().decoder())?;
                call.note_request_compressed(compressed);
                Ok(message)
            }
        }
    }
}

/// Proof that a call was started, or refused.
#[derive(Debug)]
#[must_use]
pub struct Started {
    /// Of a call that ended before it ran.
    pub(crate) outcome: Option<Outcome>,
}

impl Start<'_> {
    /// Starts a method with one request and one response.
    pub fn unary<C, Req, Resp, F, Fut>(self, handler: F) -> Started
    where
        C: Codec<Req> + Codec<Resp>,
        F: FnOnce(Call, Req) -> Fut + Send + 'static,
        Req: Send + 'static,
        Fut: Future<Output = (Call, Result<Resp>)> + Send + 'static,
    {
        let send_bytes_max = self.message_send_bytes_max;
        if let Input::Late(late) = self.input {
            let mut call = self.call;
            let decoded = async move {
                match late.decode::<C, Req>(&mut call) {
                    Ok(message) => {
                        let (call, result) = handler(call, message).await;
                        let Outcome { call, result } =
                            reply::<C, Resp>(call, result, send_bytes_max);
                        (call, result)
                    }
                    Err(status) => (call, Err(status)),
                }
            };
            let finish = |call, result| Outcome { call, result };
            return install(self.storage, move || decoded, finish);
        }
        let message = match self.message::<C, Req>() {
            Ok(message) => message,
            Err(status) => return self.refuse(status),
        };
        let call = self.call;
        let finish = move |call, result| reply::<C, Resp>(call, result, send_bytes_max);
        install(self.storage, move || handler(call, message), finish)
    }

    /// Starts a method with many requests and one response.
    pub fn client_streaming<C, Req, Resp, F, Fut>(self, handler: F) -> Started
    where
        C: Codec<Req> + Codec<Resp>,
        F: FnOnce(Call, Ends<C, Inbound<Req>>) -> Fut + Send + 'static,
        Req: 'static,
        Fut: Future<Output = (Call, Result<Resp>)> + Send + 'static,
    {
        let Input::Stream = self.input else { return self.mismatch() };
        let (call, send_bytes_max) = (self.call, self.message_send_bytes_max);
        let finish = move |call, result| reply::<C, Resp>(call, result, send_bytes_max);
        install(self.storage, move || handler(call, Ends::new()), finish)
    }

    /// Starts a method with one request and many responses.
    pub fn server_streaming<C, Req, Resp, F, Fut>(self, handler: F) -> Started
    where
        C: Codec<Req> + Codec<Resp>,
        F: FnOnce(Call, Req, Ends<C, Outbound<Resp>>) -> Fut + Send + 'static,
        Req: Send + 'static,
        Resp: 'static,
        Fut: Future<Output = (Call, Result<()>)> + Send + 'static,
    {
        self.limit_replies();
        if let Input::Late(late) = self.input {
            let mut call = self.call;
            let decoded = async move {
                match late.decode::<C, Req>(&mut call) {
                    Ok(message) => handler(call, message, Ends::new()).await,
                    Err(status) => (call, Err(status)),
                }
            };
            let finish = |call, result| Outcome { call, result };
            return install(self.storage, move || decoded, finish);
        }
        let message = match self.message::<C, Req>() {
            Ok(message) => message,
            Err(status) => return self.refuse(status),
        };
        let call = self.call;
        let finish = |call, result| Outcome { call, result };
        install(self.storage, move || handler(call, message, Ends::new()), finish)
    }

    /// Starts a method with many requests and many responses.
    pub fn bidi_streaming<C, Req, Resp, F, Fut>(self, handler: F) -> Started
    where
        C: Codec<Req> + Codec<Resp>,
        F: FnOnce(Call, Ends<C, (Inbound<Req>, Outbound<Resp>)>) -> Fut + Send + 'static,
        Req: 'static,
        Resp: 'static,
        Fut: Future<Output = (Call, Result<()>)> + Send + 'static,
    {
        let Input::Stream = self.input else { return self.mismatch() };
        self.limit_replies();
        let call = self.call;
        let finish = |call, result| Outcome { call, result };
        install(self.storage, move || handler(call, Ends::new()), finish)
    }

    /// Refuses: there is no method with this index.
    pub fn unimplemented(self) -> Started {
        let path = self.call.method().path;
        self.refuse(Status::unimplemented(format!("{path} is not implemented")))
    }

    /// Ends the call with `status` before it ran.
    pub fn refuse(self, status: Status) -> Started {
        Started { outcome: Some(Outcome { call: self.call, result: Err(status) }) }
    }

    fn message<C: Codec<Req>, Req>(&self) -> Result<Req> {
        match &self.input {
            Input::Message(payload) => C::decode(payload).map_err(Status::from),
            Input::Late(_) | Input::Stream => Err(kind_mismatch()),
        }
    }

    /// Tells the call how long replies may be.
    fn limit_replies(&self) {
        self.call.replies_shared().set_send_bytes_max(self.message_send_bytes_max);
    }

    fn mismatch(self) -> Started {
        Started { outcome: Some(Outcome { call: self.call, result: Err(kind_mismatch()) }) }
    }
}

impl fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("call", &self.call).finish_non_exhaustive()
    }
}

/// What a handler [opens](Ends::open) to get at the streams of messages `E` of its call, with the
/// codec `C`.
///
/// A future that captured the streams would hold them twice: as they were captured, and where they
/// are moved to.
pub struct Ends<C, E>(PhantomData<fn() -> (C, E)>);

impl<C, E> Ends<C, E> {
    fn new() -> Ends<C, E> {
        Ends(PhantomData)
    }
}

impl<C: Codec<Req>, Req> Ends<C, Inbound<Req>> {
    /// The requests of `call`, which must be the call that came with this.
    pub fn open(self, call: &Call) -> Inbound<Req> {
        Inbound::new(Source::new(Arc::clone(call.requests_shared())), MessageCodec::new::<C>())
    }
}

impl<C: Codec<Resp>, Resp> Ends<C, Outbound<Resp>> {
    /// The replies of `call`, which must be the call that came with this.
    pub fn open(self, call: &Call) -> Outbound<Resp> {
        Outbound::new(Arc::clone(call.replies_shared()), MessageCodec::new::<C>())
    }
}

impl<C: Codec<Req> + Codec<Resp>, Req, Resp> Ends<C, (Inbound<Req>, Outbound<Resp>)> {
    /// The requests and replies of `call`, which must be the call that came with this.
    pub fn open(self, call: &Call) -> (Inbound<Req>, Outbound<Resp>) {
        (Ends::<C, Inbound<Req>>::new().open(call), Ends::<C, Outbound<Resp>>::new().open(call))
    }
}

impl<C, E> fmt::Debug for Ends<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ends")
    }
}

pin_project! {
    /// A handler that runs, and what is made of what it returns. The handler goes when it has
    /// returned, not when its storage is used again. `G` makes handlers of this kind.
    struct Running<G, Fut, M> {
        #[pin]
        handler: Option<Fut>,
        finish: M,
        kind: PhantomData<fn() -> G>,
    }
}

impl<G, Fut, T, M> Future for Running<G, Fut, M>
where
    Fut: Future<Output = (Call, Result<T>)>,
    M: FnMut(Call, Result<T>) -> Outcome,
{
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut running = self.project();
        let Some(handler) = running.handler.as_mut().as_pin_mut() else {
            unreachable!("a handler is not polled after its end");
        };
        let (call, result) = ready!(handler.poll(cx));
        running.handler.set(None);
        Poll::Ready((running.finish)(call, result))
    }
}

/// A [`Running`], of whatever kind.
trait Reuse: Future<Output = Outcome> + Send {
    /// Runs another handler from here on, in place of one that has returned: takes what makes it
    /// out of `next`, where that is a [`Next`] of the same kind.
    fn renew(self: Pin<&mut Self>, next: &mut dyn Any);
}

impl<G, Fut, T, M> Reuse for Running<G, Fut, M>
where
    G: FnOnce() -> Fut + 'static,
    Fut: Future<Output = (Call, Result<T>)> + Send + 'static,
    M: FnMut(Call, Result<T>) -> Outcome + Copy + Send + 'static,
{
    fn renew(self: Pin<&mut Self>, next: &mut dyn Any) {
        if let Some(next) = next.downcast_mut::<Next<G, M>>()
            && let Some(make) = next.make.take()
        {
            let mut running = self.project();
            running.handler.set(Some(make()));
            *running.finish = next.finish;
        }
    }
}

/// What is to run next. What makes the handler is less to move than the handler would be.
struct Next<G, M> {
    /// `None` once storage was found for it.
    make: Option<G>,
    finish: M,
}

/// Puts a handler into the lent storage; allocates only where that is another method's.
#[inline]
pub(crate) fn install<G, Fut, T, M>(storage: &mut Option<Handler>, make: G, finish: M) -> Started
where
    G: FnOnce() -> Fut + 'static,
    Fut: Future<Output = (Call, Result<T>)> + Send + 'static,
    M: FnMut(Call, Result<T>) -> Outcome + Copy + Send + 'static,
{
    let mut next = Next { make: Some(make), finish };
    if let Some(kept) = storage {
        kept.0.as_mut().renew(&mut next);
    }
    if let Some(make) = next.make {
        let running = Running { handler: Some(make()), finish, kind: PhantomData::<fn() -> G> };
        *storage = Some(Handler(Box::pin(running)));
    }
    Started { outcome: None }
}

fn reply<C: Codec<Resp>, Resp>(
    mut call: Call,
    result: Result<Resp>,
    send_bytes_max: usize,
) -> Outcome {
    let result =
        result.and_then(|message| encode_reply::<C, Resp>(&mut call, &message, send_bytes_max));
    Outcome { call, result }
}

/// Makes `message` the one reply of a call.
#[inline]
pub(crate) fn encode_reply<C: Codec<Resp>, Resp>(
    call: &mut Call,
    message: &Resp,
    send_bytes_max: usize,
) -> Result<()> {
    if call.compresses() {
        return call.compress_reply(C::encode_framed, message, send_bytes_max);
    }
    let (out, parts) = call.reply_mut();
    out.clear();
    parts.clear();
    C::encode_parts(message, send_bytes_max, out, parts).map_err(Status::from)
}

/// What the client of a handler that panicked is told.
#[cold]
pub(crate) fn handler_panicked() -> Status {
    Status::unknown("the handler panicked")
}

#[cold]
fn kind_mismatch() -> Status {
    Status::internal("the service serves this method as another kind than it describes")
}

/// Drops what may run code of the application, which may panic.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}
