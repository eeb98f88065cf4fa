//! [`Next`]: the rest of a chain. And running it.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gannet_core::{MethodDescriptor, Result, Status};
use gannet_transport::Direction;

use super::Layer;
use super::extras::Extras;
use super::handled::{Handled, Stash};
use super::incoming::{Incoming, Request};
use crate::service::{Handler, Input, Late, Outcome, Start, drop_quietly, handler_panicked};
use crate::{Call, Service};

/// A request from this length on is decoded by reference, bytes.
const LONG_BYTES_MIN: usize = 64 << 10;

/// The interceptors of a method, and its handler.
pub(crate) struct Chain {
    pub(crate) layers: Vec<Arc<dyn Layer>>,
    pub(crate) service: Arc<dyn Service>,
    /// The method's place in the service's descriptor.
    pub(crate) index: usize,
    pub(crate) method: &'static MethodDescriptor,
    pub(crate) send_bytes_max: usize,
}

/// Puts the outermost interceptor's future into the lent storage.
pub(crate) fn intercept(
    chain: &Arc<Chain>,
    mut call: Call,
    input: Input<'_>,
    storage: &mut Option<Handler>,
) {
    let request = match input {
        Input::Message(message) => {
            let mut kept = std::mem::take(&mut call.extra_mut().request);
            kept.clear();
            kept.extend_from_slice(message);
            Request::Message(kept)
        }
        Input::Late(late) => Request::Late(late),
        Input::Stream => Request::Stream,
    };
    let incoming = Incoming::new(call, request, chain.send_bytes_max);
    let next = Next { chain: Arc::clone(chain), at: 0 };
    // Without interceptors there is no chain.
    drop(next.begin_layer(incoming, storage));
}

/// What follows an interceptor: others, and the handler.
pub struct Next {
    chain: Arc<Chain>,
    /// How many interceptors have begun.
    at: usize,
}

impl Next {
    /// Goes on with the call, up to its end: that of the stream, where it has one.
    ///
    /// # Errors
    /// What the handler, or an interceptor on the way to it, ended the call with: UNKNOWN where it
    /// panicked, INTERNAL where the request cannot be decoded. To return it as it is, is to send
    /// what the handler meant: trailers that it set with
    /// [`trailers_mut`](Call::trailers_mut) are kept, and go out with whatever status is returned
    /// in its place.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler. What was received and sent by then stays so.
    pub fn run(self, call: Incoming) -> impl Future<Output = Result<Handled>> + Send {
        let (stash, send_bytes_max) = (Arc::clone(&call.stash), call.send_bytes_max);
        Run {
            begin: Some((self, call)),
            handler: None,
            request: Vec::new(),
            extras: None,
            is_innermost: false,
            stash,
            send_bytes_max,
        }
    }

    /// Begins the interceptor that follows; gives the call back where none does.
    fn begin_layer(mut self, call: Incoming, storage: &mut Option<Handler>) -> Option<Incoming> {
        let Some(layer) = self.chain.layers.get(self.at) else { return Some(call) };
        let layer = Arc::clone(layer);
        self.at += 1;
        layer.begin(call, self, storage);
        None
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("method", &self.chain.method.path)
            .field("interceptors", &(self.chain.layers.len() - self.at))
            .finish()
    }
}

/// The rest of a chain while it runs.
struct Run {
    begin: Option<(Next, Incoming)>,
    handler: Option<Handler>,
    /// Storage of the request, for the next one.
    request: Vec<u8>,
    extras: Option<Box<Extras>>,
    /// It runs the handler itself.
    is_innermost: bool,
    stash: Arc<Stash>,
    send_bytes_max: usize,
}

impl Run {
    /// Begins the next interceptor, or the handler.
    ///
    /// # Errors
    /// What ended the call before that ran.
    fn begin(&mut self, next: Next, mut call: Incoming) -> Result<()> {
        if !std::ptr::eq(next.chain.method, call.method()) {
            return Err(Status::internal("an interceptor went on with another call"));
        }
        self.extras = Extras::of(&mut call);
        let mut storage = call.extra_mut().storages().pop();
        let chain = Arc::clone(&next.chain);
        let started = match next.begin_layer(call, &mut storage) {
            None => Ok(None),
            Some(call) => self.begin_handler(&chain, call, &mut storage),
        };
        self.handler = storage;
        match started? {
            None => Ok(()),
            Some(Outcome { call, result }) => {
                self.stash.put(call);
                result
            }
        }
    }

    /// Lets the service make the handler; what it ended the call with before it ran.
    fn begin_handler(
        &mut self,
        chain: &Chain,
        mut call: Incoming,
        storage: &mut Option<Handler>,
    ) -> Result<Option<Outcome>> {
        self.is_innermost = true;
        if call.requests_shared().is_tapped() {
            call.decompress()?;
            if let Request::Message(message) = &call.request {
                call.requests_shared().show(Direction::Inbound, message)?;
            }
        }
        let input = match std::mem::replace(&mut call.request, Request::Taken) {
            Request::Message(message) if message.len() >= LONG_BYTES_MIN => {
                Input::Late(Late::Long(message))
            }
            Request::Message(message) => {
                self.request = message;
                Input::Message(&self.request)
            }
            Request::Late(late) => Input::Late(late),
            Request::Stream => Input::Stream,
            Request::Taken => {
                let told = "an interceptor took the requests, and went on to the handler";
                return Err(Status::internal(told));
            }
        };
        let call = call.take_call();
        let start = Start { call, input, storage, message_send_bytes_max: chain.send_bytes_max };
        let started = catch_unwind(AssertUnwindSafe(|| chain.service.call(chain.index, start)));
        match started {
            Ok(started) => Ok(started.outcome),
            Err(_) => Err(handler_panicked()),
        }
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome>> {
        let Some(handler) = &mut self.handler else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| handler.poll(cx)));
        Poll::Ready(match polled {
            Ok(outcome) => Ok(ready!(outcome)),
            Err(_) => Err(handler_panicked()),
        })
    }

    /// As `poll`, with something to do besides.
    #[cold]
    fn poll_with_extras(&mut self, cx: &mut Context<'_>) -> Poll<Result<Handled>> {
        match self.poll_extras(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(outcome)) => Poll::Ready(self.finish(outcome)),
            Poll::Ready(Err(status)) => {
                self.give_up();
                Poll::Ready(Err(status))
            }
        }
    }

    fn poll_extras(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome>> {
        let Some(mut extras) = self.extras.take() else { return Poll::Pending };
        if let Err(status) = extras.check_deadline(cx) {
            self.extras = Some(extras);
            return Poll::Ready(Err(status));
        }
        match self.poll_handler(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(mut outcome)) => {
                self.keep_storage(&mut outcome.call);
                extras.returned(outcome);
            }
            Poll::Ready(Err(status)) => return Poll::Ready(Err(status)),
        }
        let polled = extras.poll(cx);
        self.extras = Some(extras);
        polled
    }

    /// Stops the handler.
    fn give_up(&mut self) {
        if let Some(handler) = self.handler.take() {
            drop_quietly(handler);
        }
        if let Some(Outcome { call, .. }) =
            self.extras.as_mut().and_then(|extras| extras.take_outcome())
        {
            self.stash.put(call);
        }
    }

    /// Keeps the storage of a handler that has returned, for the next call.
    fn keep_storage(&mut self, call: &mut Call) {
        let extra = call.extra_mut();
        extra.storages().extend(self.handler.take());
        extra.keep_request(std::mem::take(&mut self.request));
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Handled> {
        let Outcome { mut call, mut result } = outcome;
        self.keep_storage(&mut call);
        let has_reply = result.is_ok() && !call.method().kind.server_streams();
        if self.is_innermost && has_reply && call.shared().is_tapped() {
            let shared = Arc::clone(call.shared());
            let shown = call.whole_reply();
            result = shown.and_then(|message| shared.show(Direction::Outbound, &message));
        }
        match result {
            Ok(()) => Ok(Handled::new(call, Arc::clone(&self.stash), self.send_bytes_max)),
            Err(status) => {
                self.stash.put(call);
                Err(status)
            }
        }
    }
}

impl Future for Run {
    type Output = Result<Handled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Handled>> {
        let run = self.get_mut();
        if let Some((next, call)) = run.begin.take() {
            run.begin(next, call)?;
        }
        if run.extras.is_some() {
            return run.poll_with_extras(cx);
        }
        match ready!(run.poll_handler(cx)) {
            Ok(outcome) => Poll::Ready(run.finish(outcome)),
            Err(status) => {
                run.give_up();
                Poll::Ready(Err(status))
            }
        }
    }
}
