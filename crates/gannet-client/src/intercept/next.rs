//! [`Next`]: the rest of a chain. And running it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use gannet_core::{MethodDescriptor, Result, Status};
use tokio::time::{Sleep, sleep_until};

use super::{Answer, Chain, LayerFuture, Outgoing};
use crate::Channel;
use crate::call::Extra;
use crate::call::exchange::{Made, Making};
use crate::call::request::Request;
use crate::credentials::make_authorized;
use crate::link::deadline_exceeded;

/// What follows an interceptor: others, and the connection.
pub struct Next {
    chain: Arc<Chain>,
    /// How many interceptors have begun.
    at: usize,
}

impl Next {
    /// Goes on with the call: up to its end for a unary call, for any other until it is open, which
    /// does not wait for the server.
    ///
    /// It can be called again with a clone of the call, one after the other or at the same time:
    /// each time is a call of its own for the server, and dropping its future or its answer cancels
    /// it.
    ///
    /// # Errors
    /// What the call ended with: the server's status, trailers included, or why it could not be
    /// made. For a call that streams, what comes of it once it is open is told where responses are
    /// read: see [`Answer::first`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub fn run(&self, call: Outgoing) -> impl Future<Output = Result<Answer>> + Send + use<> {
        self.begin_run(call)
    }

    fn begin_run(&self, call: Outgoing) -> Run {
        let Outgoing { request, extra, send_bytes_max } = call;
        Run {
            method: request.method,
            way: self.begin(request, extra, send_bytes_max),
            chain: Arc::clone(&self.chain),
            send_bytes_max,
        }
    }

    fn begin(
        &self,
        mut request: Box<Request>,
        extra: Option<Box<Extra>>,
        send_bytes_max: usize,
    ) -> Way {
        if let Some(layer) = self.chain.layers.get(self.at) {
            let next = Next { chain: Arc::clone(&self.chain), at: self.at + 1 };
            let call = Outgoing { request, extra, send_bytes_max };
            return Way::Layer(Arc::clone(layer).begin(call, next));
        }
        request.wants_metadata = true;
        let own = extra.map(|extra| extra.credentials).filter(|own| !own.is_empty());
        let credentials = match own {
            Some(own) => self.chain.credentials.and(&own),
            None if self.chain.credentials.is_empty() => {
                return Way::Connection(Making::new(request));
            }
            None => self.chain.credentials.clone(),
        };
        let shared = Arc::clone(&self.chain.shared);
        Way::Authorized(Box::pin(make_authorized(shared, request, credentials)))
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("interceptors", &(self.chain.layers.len() - self.at))
            .finish_non_exhaustive()
    }
}

/// The rest of a chain while it runs.
struct Run {
    way: Way,
    chain: Arc<Chain>,
    method: &'static MethodDescriptor,
    send_bytes_max: usize,
}

/// What comes next.
enum Way {
    Layer(LayerFuture),
    Connection(Making),
    Authorized(Pin<Box<dyn Future<Output = Result<Made>> + Send>>),
}

impl Future for Run {
    type Output = Result<Answer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
        let run = self.get_mut();
        let made = match &mut run.way {
            Way::Layer(layer) => return layer.as_mut().poll(cx),
            Way::Connection(making) => making.poll(&run.chain.shared, cx),
            Way::Authorized(making) => making.as_mut().poll(cx),
        };
        if made.is_pending() {
            // It knows the deadline.
            IS_TIMED.set(true);
        }
        let made = ready!(made)?;
        Poll::Ready(Ok(Answer::new(run.method, made, run.send_bytes_max)))
    }
}

thread_local! {
    /// What was polled last waits for something that ends with the call's deadline.
    static IS_TIMED: Cell<bool> = const { Cell::new(false) };
}

/// A call with all that is around it, up to what the application gets.
pub(crate) struct Intercepted {
    /// `None` once it has ended. Not the `Run` itself: it is long, and calls without interceptors
    /// would be moved with room for it.
    run: Option<LayerFuture>,
    method: &'static MethodDescriptor,
    deadline: Option<Instant>,
    /// Made where an interceptor waits for something else than the call.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Intercepted {
    pub(crate) fn new(
        channel: &Channel,
        request: Box<Request>,
        extra: Option<Box<Extra>>,
        send_bytes_max: usize,
    ) -> Intercepted {
        let chain = match channel.chain() {
            Some(chain) => Arc::clone(chain),
            None => Arc::new(Chain::of(channel)),
        };
        let (method, deadline) = (request.method, request.deadline);
        let run = Next { chain, at: 0 }.begin_run(Outgoing { request, extra, send_bytes_max });
        let run = match run.way {
            Way::Layer(layer) => layer,
            _ => Box::pin(run),
        };
        Intercepted { run: Some(run), method, deadline, timer: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Made, Status>> {
        let Some(run) = &mut self.run else { return Poll::Pending };
        // An interceptor may make another such call in here.
        let outer = IS_TIMED.replace(false);
        let polled = run.as_mut().poll(cx);
        let is_timed = IS_TIMED.replace(outer);
        let answer = match polled {
            Poll::Ready(answer) => answer,
            Poll::Pending if is_timed || self.deadline.is_none() => return Poll::Pending,
            Poll::Pending => ready!(self.poll_deadline(cx)),
        };
        self.run = None;
        Poll::Ready(answer.and_then(|answer| answer.into_made(self.method)))
    }

    /// Nobody but this ends an interceptor that waits for something of its own.
    #[cold]
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(deadline_exceeded(self.method)))
    }
}
