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

use gannet_core::{Metadata, MethodKind, Status};
use gannet_transport::{CallQueue, CallShared, Source, Watcher, feed};

use super::Prepared;
use super::notice::{Around, Notice, Outcome};
use super::request::{Receiver, Request, Start, StreamReceiver};
use super::tracking::Tracking;
use super::watch::{Attempt, Watching};
use crate::Channel;
use crate::channel::{Placed, Shared};
use crate::intercept::Intercepted;
use crate::link::{Link, LinkCommand};

/// A call up to its outcome (unary) or until its stream is open (all others).
pub(crate) struct Exchange<'a> {
    channel: &'a Channel,
    way: Way,
    /// Where somebody follows the call.
    watch: Watching,
}

/// How a call is made.
enum Way {
    Plain(Making),
    Intercepted(Intercepted),
}

/// A call on its way to a connection, and on it.
pub(crate) struct Making {
    state: State,
}

enum State {
    /// Not handed over.
    New(Box<Request>),
    /// The request could not be made.
    Failed(Status),
    /// Waits for a connection.
    Placing(PlaceFuture, Option<Arc<Attempt>>),
    /// The connection has it.
    Started(Started),
    Done,
}

type PlaceFuture = Pin<Box<dyn Future<Output = (Box<Request>, Result<Placed, Status>)> + Send>>;

/// A call that a connection has; dropped before its outcome, it is cancelled.
pub(crate) struct Started {
    link: Arc<Link>,
    notice: Arc<Notice>,
    /// For a stream. Dropping the source cancels it.
    stream: Option<(Arc<CallShared>, Source)>,
    /// For a picker that wants to know.
    tracking: Option<Box<Tracking>>,
}

/// What comes of an exchange.
pub(crate) enum Made {
    /// The outcome of a unary call, which is a response or a failure; and metadata in place of
    /// that which came with it.
    Unary(Arc<Notice>, Option<Box<Around>>),
    /// An open stream: what requests go into, and where responses come from.
    Stream(Arc<CallShared>, Source),
}

impl<'a> Exchange<'a> {
    /// `prepared` is what became of the call's options.
    #[inline]
    pub(crate) fn new(
        channel: &'a Channel,
        prepared: Result<Prepared, Status>,
        send_bytes_max: usize,
    ) -> Exchange<'a> {
        let watch = prepared.as_ref().ok().and_then(|(request, _)| request.watch.clone());
        let way = match prepared {
            Ok((request, None)) if channel.chain().is_none() => Way::Plain(Making::new(request)),
            Ok((request, extra)) => {
                Way::Intercepted(Intercepted::new(channel, request, extra, send_bytes_max))
            }
            Err(status) => Way::Plain(Making { state: State::Failed(status) }),
        };
        Exchange { channel, way, watch }
    }

    /// The application has the outcome.
    #[inline]
    pub(crate) fn end<T>(&self, outcome: &Result<T, Status>) {
        if let Some(watch) = &self.watch {
            watch.end(outcome.as_ref().map(|_| ()));
        }
    }

    /// The application is told that the call has failed.
    #[cold]
    pub(crate) fn failed(&self, status: Status) -> Status {
        if let Some(watch) = &self.watch {
            watch.end(Err(&status));
        }
        status
    }

    /// The application has the stream: the call ends with that.
    #[inline]
    pub(crate) fn end_with(&self, source: &Source) {
        if let Some(watch) = &self.watch {
            let watch = Arc::clone(watch);
            let end = move |outcome: Result<&Metadata, &Status>| watch.end(outcome.map(|_| ()));
            source.shared().observe_end(Box::new(end));
        }
    }

    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Made, Status>> {
        match &mut self.way {
            Way::Plain(making) => making.poll(self.channel.shared(), cx),
            Way::Intercepted(intercepted) => intercepted.poll(cx),
        }
    }
}

impl Making {
    pub(crate) fn new(request: Box<Request>) -> Making {
        Making { state: State::New(request) }
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
                    let attempt = Attempt::begin(&mut request, false);
                    self.state = match shared.place(&request) {
                        Some(placed) => State::Started(Started::new(placed, request, attempt)),
                        None => wait_for_place(shared, request, attempt),
                    };
                }
                State::Placing(mut placing, attempt) => match placing.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Placing(placing, attempt);
                        return Poll::Pending;
                    }
                    Poll::Ready((request, Ok(placed))) => {
                        if let Some(attempt) = &attempt {
                            attempt.waited();
                        }
                        self.state = State::Started(Started::new(placed, request, attempt));
                    }
                    Poll::Ready((_, Err(status))) => {
                        Attempt::fail(attempt.as_ref(), &status);
                        return Poll::Ready(Err(status));
                    }
                },
                State::Started(started) => match started.take_unsent() {
                    None => return Poll::Ready(started.finish()),
                    // Not to the same connection in a circle: by now it is retired.
                    Some(mut request) => {
                        let attempt = Attempt::begin(&mut request, true);
                        self.state = wait_for_place(shared, request, attempt);
                    }
                },
                State::Failed(status) => return Poll::Ready(Err(status)),
                State::Done => unreachable!("an exchange is not polled after its end"),
            }
        }
    }
}

#[cold]
fn wait_for_place(
    shared: &Arc<Shared>,
    request: Box<Request>,
    attempt: Option<Arc<Attempt>>,
) -> State {
    State::Placing(Box::pin(Arc::clone(shared).wait_for_place(request)), attempt)
}

impl Started {
    pub(crate) fn new(
        placed: Placed,
        mut request: Box<Request>,
        attempt: Option<Arc<Attempt>>,
    ) -> Started {
        let Placed { link, tracker } = placed;
        if let Some(attempt) = &attempt {
            attempt.picked(link.address());
        }
        let notice = Notice::new(attempt);
        let tracking = tracker.map(|tracker| Tracking::new(tracker, &mut request));
        let (receiver, stream) = match request.method.kind {
            MethodKind::Unary => (Receiver::Unary(Arc::clone(&notice)), None),
            _ => {
                let queue = Arc::clone(link.queue()) as Arc<dyn CallQueue>;
                let shared = CallShared::new(queue, u32::MAX);
                let (feed, source) = feed(&shared, request.receive_bytes_max());
                if let Some(compressor) = request.compressor() {
                    shared.choose_compressor(Some(Arc::clone(compressor)));
                }
                if let Some(attempt) = notice.attempt() {
                    shared.watch(Arc::clone(attempt) as Arc<dyn Watcher>);
                }
                let opened = Arc::clone(&notice);
                let receiver = StreamReceiver { opened, shared: Arc::clone(&shared), feed };
                (Receiver::Stream(Box::new(receiver)), Some((shared, source)))
            }
        };
        link.push(LinkCommand::Start(Start::new(request, receiver)));
        Started { link, notice, stream, tracking }
    }

    /// Ready with the request where it came back, else with the outcome.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Made, Unmade>> {
        let outcome = ready!(self.notice.poll(cx));
        Poll::Ready(match outcome.take_unsent() {
            Some(request) => {
                self.tell_unsent();
                Err(Unmade::Unsent(request))
            }
            None => self.outcome().map_err(Unmade::Failed),
        })
    }

    /// The request, where it came back.
    #[inline]
    fn take_unsent(&self) -> Option<Box<Request>> {
        let request = self.notice.get().and_then(Outcome::take_unsent);
        if request.is_some() {
            self.tell_unsent();
        }
        request
    }

    fn tell_unsent(&self) {
        if let Some(attempt) = self.notice.attempt() {
            attempt.end_unsent();
        }
    }

    fn finish(mut self) -> Result<Made, Status> {
        self.outcome()
    }

    /// The notice is set, and not with an unsent request.
    #[inline]
    fn outcome(&mut self) -> Result<Made, Status> {
        if let Some(attempt) = self.notice.attempt() {
            self.notice = attempt.told(&self.notice);
        }
        let stream = self.stream.take();
        if let Some(tracking) = self.tracking.take() {
            tracking.made(self.notice.get(), stream.as_ref().map(|(_, source)| source));
        }
        match (self.notice.get(), stream) {
            (Some(Outcome::Failed(status)), _) => Err(status.clone()),
            (_, Some((shared, source))) => Ok(Made::Stream(shared, source)),
            (_, None) => Ok(Made::Unary(Arc::clone(&self.notice), None)),
        }
    }
}

/// Why nothing came of a call.
pub(crate) enum Unmade {
    /// The server has certainly not seen it.
    Unsent(Box<Request>),
    Failed(Status),
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.stream.is_none() && self.notice.get().is_none() {
            self.link.push(LinkCommand::Cancel(Arc::clone(&self.notice)));
        }
    }
}

impl std::fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("channel", &self.channel).finish_non_exhaustive()
    }
}
