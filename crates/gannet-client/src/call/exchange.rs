//! Making a call: finding a connection, handing the request over, and starting again where it comes
//! back unsent.
//!
//! One future for all kinds of calls, without their message types. In steady state it is two polls:
//! the first hands the request over, the second finds the outcome. A call with interceptors or
//! credentials goes through `intercept` instead, which makes it in the same way at its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use gannet_core::{Metadata, MethodDescriptor, Status};
use gannet_transport::{CallShared, Source};
use tokio::task::coop::{RestoreOnPending, poll_proceed};

use super::Prepared;
use super::request::Request;
use super::started::{Made, Started};
use super::tracking::Tracking;
use super::watch::{Attempt, CallWatch};
use crate::Channel;
use crate::blocking;
use crate::channel::{Placed, Shared};
use crate::intercept::Intercepted;
use crate::link::deadline_exceeded;

/// A call up to its outcome (unary) or until its stream is open (all others).
pub(crate) struct Exchange<'a> {
    channel: &'a Channel,
    way: Way,
}

/// How a call is made.
enum Way {
    Plain(Making),
    Intercepted(Intercepted),
    Followed(Box<Followed>),
}

/// A call that somebody follows.
struct Followed {
    way: Way,
    call: Arc<CallWatch>,
}

/// A call on its way to a connection, and on it.
pub(crate) struct Making {
    state: State,
}

enum State {
    /// Not handed over.
    New(Box<Request>),
    /// It has failed, or could not be made.
    Failed(Status),
    /// Waits for a connection.
    Placing(Placing),
    /// The connection has it.
    Started(Started),
    /// It is over, and the application has a response that it may fail to decode, which somebody
    /// wants to know.
    Answered(Box<Tracking>),
    Done,
}

/// A call that waits for a connection.
pub(crate) struct Placing {
    future: PlaceFuture,
    /// The request's, which is out of reach.
    attempt: Option<Arc<Attempt>>,
}

type PlaceFuture = Pin<Box<dyn Future<Output = (Box<Request>, Result<Placed, Status>)> + Send>>;

impl<'a> Exchange<'a> {
    /// `prepared` is what became of the call's options.
    #[inline]
    pub(crate) fn new(
        channel: &'a Channel,
        prepared: Result<Prepared, Status>,
        send_bytes_max: usize,
    ) -> Exchange<'a> {
        let way = match prepared {
            Ok((request, None)) if request.watch.is_none() && channel.chain().is_none() => {
                Way::Plain(Making::new(request))
            }
            prepared => Way::long(channel, prepared, send_bytes_max),
        };
        Exchange { channel, way }
    }

    /// Where somebody follows the call.
    #[inline]
    fn followed(&self) -> Option<&Arc<CallWatch>> {
        match &self.way {
            Way::Followed(followed) => Some(&followed.call),
            Way::Plain(_) | Way::Intercepted(_) => None,
        }
    }

    /// The application has the outcome.
    #[inline]
    pub(crate) fn end<T>(&mut self, outcome: &Result<T, Status>) {
        // Who is told of nothing looks no further.
        if !matches!(self.way, Way::Plain(Making { state: State::Done })) {
            self.tell_end(outcome.as_ref().map(|_| ()));
        }
    }

    #[cold]
    fn tell_end(&mut self, outcome: Result<(), &Status>) {
        if let Some(mut answered) = self.way.take_answered() {
            answered.settle(outcome);
        }
        if let Some(call) = self.followed() {
            call.end(outcome);
        }
    }

    /// The application is told that the call has failed.
    #[cold]
    pub(crate) fn failed(&self, status: Status) -> Status {
        if let Some(call) = self.followed() {
            call.end(Err(&status));
        }
        status
    }

    /// The application has the streams: the call ends with that of the responses.
    #[inline]
    pub(crate) fn end_with(&self, requests: &Arc<CallShared>, source: &Source) {
        if let Some(call) = self.followed() {
            let call = Arc::clone(call);
            if !Arc::ptr_eq(requests, source.shared()) {
                requests.meets_for(source.shared());
            }
            let end = move |outcome: Result<&Metadata, &Status>| call.end(outcome.map(|_| ()));
            source.shared().observe_end(Box::new(end));
        }
    }

    /// When it is to be over: before it is polled first, or where interceptors may say something
    /// else meanwhile.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.way.deadline()
    }

    /// Ends it, as that has passed and nothing was told: see [`blocking`](crate::blocking).
    #[cold]
    pub(crate) fn overdue(&mut self, method: &MethodDescriptor) -> Status {
        let status = self.way.overdue(method);
        self.failed(status)
    }

    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Made, Status>> {
        match &mut self.way {
            Way::Plain(making) => making.poll(self.channel.shared(), cx),
            way => way.poll_long(self.channel, cx),
        }
    }
}

impl Way {
    /// That of a call which is more than a request.
    #[inline(never)]
    fn long(channel: &Channel, prepared: Result<Prepared, Status>, send_bytes_max: usize) -> Way {
        let (request, extra) = match prepared {
            Ok(prepared) => prepared,
            Err(status) => return Way::Plain(Making { state: State::Failed(status) }),
        };
        let call = request.watch.as_ref().map(|watched| Arc::clone(&watched.call));
        let way = match extra {
            None if channel.chain().is_none() => Way::Plain(Making::new(request)),
            extra => Way::Intercepted(Intercepted::new(channel, request, extra, send_bytes_max)),
        };
        match call {
            None => way,
            Some(call) => Way::Followed(Box::new(Followed { way, call })),
        }
    }

    #[inline(never)]
    fn poll_long(&mut self, channel: &Channel, cx: &mut Context<'_>) -> Poll<Result<Made, Status>> {
        match self {
            Way::Plain(making) => making.poll(channel.shared(), cx),
            Way::Intercepted(intercepted) => intercepted.poll(cx),
            Way::Followed(followed) => followed.way.poll_long(channel, cx),
        }
    }

    fn take_answered(&mut self) -> Option<Box<Tracking>> {
        match self {
            Way::Plain(making) => making.take_answered(),
            Way::Intercepted(intercepted) => intercepted.take_answered(),
            Way::Followed(followed) => followed.way.take_answered(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Way::Plain(making) => making.deadline(),
            Way::Intercepted(intercepted) => intercepted.deadline(),
            Way::Followed(followed) => followed.way.deadline(),
        }
    }

    fn overdue(&mut self, method: &MethodDescriptor) -> Status {
        match self {
            Way::Plain(making) => making.overdue(method),
            Way::Intercepted(intercepted) => intercepted.overdue(),
            Way::Followed(followed) => followed.way.overdue(method),
        }
    }
}

impl Making {
    pub(crate) fn new(request: Box<Request>) -> Making {
        Making { state: State::New(request) }
    }

    /// As [`poll`](Self::poll), for who ends the call at its deadline where nobody else does.
    pub(crate) fn poll_in_time(
        &mut self,
        shared: &Arc<Shared>,
        (method, deadline): (&MethodDescriptor, Option<Instant>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Made, Status>> {
        let made = self.poll(shared, cx);
        if made.is_pending() && blocking::is_overdue(deadline) {
            return Poll::Ready(Err(self.overdue(method)));
        }
        made
    }

    /// Who is to know what becomes of a response.
    #[cold]
    pub(crate) fn take_answered(&mut self) -> Option<Box<Tracking>> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Answered(tracking) => Some(tracking),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Before it is polled first.
    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::New(request) => request.deadline,
            _ => None,
        }
    }

    fn overdue(&mut self, method: &MethodDescriptor) -> Status {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Started(mut started) => started.overdue(method),
            State::Placing(placing) => placing.overdue(method),
            State::Failed(status) => status,
            _ => deadline_exceeded(method, NO_CONNECTION),
        }
    }

    pub(crate) fn poll(
        &mut self,
        shared: &Arc<Shared>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Made, Status>> {
        loop {
            // In place, as moving the state in and out costs.
            if let State::Started(started) = &self.state
                && started.notice.poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            match std::mem::replace(&mut self.state, State::Done) {
                State::New(mut request) => {
                    Attempt::begin(&mut request, false);
                    self.state = match shared.place(&request) {
                        Some(placed) => State::Started(Started::new(placed, request)),
                        None => State::Placing(Placing::new(shared, request)),
                    };
                }
                State::Placing(mut placing) => match placing.poll(cx) {
                    Poll::Pending => {
                        self.state = State::Placing(placing);
                        return Poll::Pending;
                    }
                    Poll::Ready((request, Ok(placed))) => {
                        self.state = State::Started(Started::new(placed, request));
                    }
                    Poll::Ready((_, Err(status))) => self.state = State::Failed(status),
                },
                State::Started(started) => match started.take_unsent() {
                    None if started.tracking.is_some() => return Poll::Ready(self.told(started)),
                    None => return Poll::Ready(started.finish()),
                    // Not to the same connection in a circle: by now it is retired.
                    Some(mut request) => {
                        Attempt::begin(&mut request, true);
                        self.state = State::Placing(Placing::new(shared, request));
                    }
                },
                State::Failed(status) => {
                    if let Some(turn) = turn(cx) {
                        turn.made_progress();
                        return Poll::Ready(Err(status));
                    }
                    self.state = State::Failed(status);
                    return Poll::Pending;
                }
                State::Answered(_) | State::Done => {
                    unreachable!("an exchange is not polled after its end")
                }
            }
        }
    }
}

/// What may end at once, without a word from a connection, must not keep others from running who
/// share the thread: `None` where it is their turn, as tokio counts it.
pub(crate) fn turn(cx: &mut Context<'_>) -> Option<RestoreOnPending> {
    match poll_proceed(cx) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

impl Making {
    /// What comes of a call that somebody tracks.
    #[cold]
    fn told(&mut self, mut started: Started) -> Result<Made, Status> {
        let (made, answered) = started.tracked_outcome()?;
        if let Some(answered) = answered {
            self.state = State::Answered(answered);
        }
        Ok(made)
    }
}

impl Placing {
    #[cold]
    pub(crate) fn new(shared: &Arc<Shared>, request: Box<Request>) -> Placing {
        let attempt = request.attempt().map(Arc::clone);
        Placing { future: Box::pin(Arc::clone(shared).wait_for_place(request)), attempt }
    }

    /// Ready with the request, and where it goes.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Box<Request>, Result<Placed, Status>)> {
        let (request, placed) = ready!(self.future.as_mut().poll(cx));
        if let Some(attempt) = &self.attempt {
            match &placed {
                Ok(_) => attempt.waited(),
                Err(status) => attempt.end(Err(status)),
            }
        }
        Poll::Ready((request, placed))
    }

    /// As [`poll`](Self::poll), for who ends the call at its deadline where nobody else does.
    pub(crate) fn poll_in_time(
        &mut self,
        (method, deadline): (&MethodDescriptor, Option<Instant>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Box<Request>, Placed), Status>> {
        match self.poll(cx) {
            Poll::Ready((request, placed)) => Poll::Ready(placed.map(|placed| (request, placed))),
            Poll::Pending if blocking::is_overdue(deadline) => {
                Poll::Ready(Err(self.overdue(method)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Tells who follows the call that it ends without a connection.
    #[cold]
    fn overdue(&self, method: &MethodDescriptor) -> Status {
        let status = deadline_exceeded(method, NO_CONNECTION);
        if let Some(attempt) = &self.attempt {
            attempt.end(Err(&status));
        }
        status
    }
}

/// What a call waits for that ends before it has one.
const NO_CONNECTION: &str = "it has no connection yet";

impl std::fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("channel", &self.channel).finish_non_exhaustive()
    }
}
