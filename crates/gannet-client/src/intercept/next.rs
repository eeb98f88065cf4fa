//! [`Next`]: the rest of a chain. And running it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use gannet_core::{MethodDescriptor, Result, Status};
use tokio::runtime::Handle;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Sleep, sleep_until};

use super::{Answer, Chain, LayerFuture, Outgoing, WITH_INTERCEPTORS};
use crate::Channel;
use crate::call::Extra;
use crate::call::exchange::{Making, turn};
use crate::call::request::Request;
use crate::call::started::{Answered, Made};
use crate::call::tracking::Tracking;
use crate::channel::no_runtime;
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
        let (method, deadline) = (request.method, request.deadline);
        let way = self.begin(request, extra, send_bytes_max);
        Run { way, chain: Arc::clone(&self.chain), method, deadline, send_bytes_max }
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
    deadline: Option<Instant>,
    send_bytes_max: usize,
}

/// What comes next.
enum Way {
    Layer(LayerFuture),
    Connection(Making),
    Authorized(Pin<Box<dyn Future<Output = Result<Answered>> + Send>>),
}

impl Future for Run {
    type Output = Result<Answer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
        let run = self.get_mut();
        let made = match &mut run.way {
            Way::Layer(layer) => return layer.as_mut().poll(cx),
            Way::Connection(making) => {
                let made = making.poll_in_time(&run.chain.shared, (run.method, run.deadline), cx);
                made.map_ok(|made| (made, making.take_answered()))
            }
            Way::Authorized(making) => making.as_mut().poll(cx),
        };
        if made.is_pending() {
            let earliest = AWAITED.get().into_iter().chain(run.deadline).min();
            AWAITED.set(earliest);
        }
        let (made, answered) = ready!(made)?;
        let answer = Answer::new(run.method, run.deadline, made, run.send_bytes_max);
        Poll::Ready(Ok(answer.tracked(answered)))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Nobody waits for its deadline any more. Where it was another's, that is one timer more.
        AWAITED.set(None);
    }
}

thread_local! {
    /// The earliest deadline of what was polled last and waits for something that ends with it.
    static AWAITED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A call with all that is around it, up to what the application gets.
pub(crate) struct Intercepted {
    run: Running,
    method: &'static MethodDescriptor,
    deadline: Option<Instant>,
    /// The deadline of what it waits for, where that is earlier.
    awaited: Option<Instant>,
    /// Made where an interceptor waits for something else than the call.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Not the `Run` itself: it is long, and calls without interceptors would be moved with room for
/// it.
enum Running {
    Runs(LayerFuture),
    /// It has ended; who is to know what becomes of a response.
    Over(Option<Box<Tracking>>),
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
        let run =
            match (Next { chain: Arc::clone(&chain), at: 0 }).begin(request, extra, send_bytes_max)
            {
                Way::Layer(layer) => layer,
                way => Box::pin(Run { way, chain, method, deadline, send_bytes_max }),
            };
        Intercepted { run: Running::Runs(run), method, deadline, awaited: None, timer: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Made, Status>> {
        let Running::Runs(run) = &mut self.run else { return Poll::Pending };
        // Interceptors and credentials may know the outcome without waiting for anything.
        if !has_budget_remaining() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // An interceptor may make another such call in here.
        let outer = AWAITED.replace(None);
        let polled = run.as_mut().poll(cx);
        let awaited = AWAITED.replace(outer);
        self.awaited = awaited;
        let answer = match (polled, self.deadline) {
            (Poll::Ready(answer), _) => answer,
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(deadline)) if awaited.is_some_and(|at| at <= deadline) => {
                return Poll::Pending;
            }
            (Poll::Pending, Some(deadline)) => ready!(self.poll_deadline(deadline, cx)),
        };
        if let Some(turn) = turn(cx) {
            turn.made_progress();
        }
        self.run = Running::Over(None);
        let answer = answer?;
        self.awaited = answer.deadline();
        let (made, answered) = answer.into_made(self.method)?;
        self.run = Running::Over(answered);
        Poll::Ready(Ok(made))
    }

    /// Who is to know what becomes of a response.
    pub(crate) fn take_answered(&mut self) -> Option<Box<Tracking>> {
        match &mut self.run {
            Running::Runs(_) => None,
            Running::Over(answered) => answered.take(),
        }
    }

    /// By when something is to happen: it ends, or has its answer, whose stream does.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.awaited).min()
    }

    /// Ends it, as its deadline has passed for a thread that waits.
    #[cold]
    pub(crate) fn overdue(&mut self) -> Status {
        self.run = Running::Over(None);
        deadline_exceeded(self.method, WITH_INTERCEPTORS)
    }

    /// Nobody but this ends an interceptor that waits for something of its own.
    #[cold]
    fn poll_deadline(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
        if self.timer.is_none() && Handle::try_current().is_err() {
            return Poll::Ready(Err(no_runtime()));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(deadline_exceeded(self.method, WITH_INTERCEPTORS)))
    }
}
