//! A call that a connection has, up to its outcome.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use gannet_core::{MethodDescriptor, MethodKind, Status};
use gannet_transport::{CallQueue, CallShared, Source, Watcher, feed};

use super::notice::{Around, Notice, Outcome};
use super::request::{Receiver, Request, Start, StreamReceiver};
use super::tracking::Tracking;
use crate::blocking;
use crate::channel::Placed;
use crate::link::{Link, LinkCommand};

/// A call that a connection has; dropped before its outcome, it is cancelled.
pub(crate) struct Started {
    link: Arc<Link>,
    pub(super) notice: Arc<Notice>,
    /// For a stream. Dropping the source cancels it.
    stream: Option<(Arc<CallShared>, Source)>,
    /// For a picker that wants to know, and those who follow the call.
    pub(super) tracking: Option<Box<Tracking>>,
}

/// What came of a call, and who is to know what becomes of a response.
pub(crate) type Answered = (Made, Option<Box<Tracking>>);

/// What comes of an exchange.
pub(crate) enum Made {
    /// The outcome of a unary call, which is a response or a failure; and metadata in place of
    /// that which came with it.
    Unary(Arc<Notice>, Option<Box<Around>>),
    /// An open stream: what requests go into, and where responses come from.
    Stream(Arc<CallShared>, Source),
}

impl Started {
    pub(crate) fn new(placed: Placed, mut request: Box<Request>) -> Started {
        let Placed { link, tracker } = placed;
        let notice = Notice::new();
        let tracking = Tracking::new(tracker, &mut request, &link);
        let (receiver, stream) = match request.method.kind {
            MethodKind::Unary => (Receiver::Unary(Arc::clone(&notice)), None),
            _ => {
                let queue = Arc::clone(&link) as Arc<dyn CallQueue>;
                let shared = CallShared::new(queue, u32::MAX);
                let (feed, source) = feed(&shared, request.receive_bytes_max());
                if let Some(compressor) = request.compressor() {
                    shared.choose_compressor(Some(Arc::clone(compressor)));
                }
                if let Some(attempt) = request.attempt() {
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
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answered, Unmade>> {
        let outcome = ready!(self.notice.poll(cx));
        Poll::Ready(match outcome.take_unsent() {
            Some(request) => {
                tell_unsent(&request);
                Err(Unmade::Unsent(request))
            }
            None => self.tracked_outcome().map_err(Unmade::Failed),
        })
    }

    /// As [`poll`](Self::poll), for who ends the call at its deadline where nobody else does.
    pub(crate) fn poll_in_time(
        &mut self,
        (method, deadline): (&MethodDescriptor, Option<Instant>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answered, Unmade>> {
        let made = self.poll(cx);
        if made.is_pending() && blocking::is_overdue(deadline) {
            return Poll::Ready(Err(Unmade::Failed(self.overdue(method))));
        }
        made
    }

    /// Tells who tracks it that it ends without a word from its connection.
    #[cold]
    pub(super) fn overdue(&mut self, method: &MethodDescriptor) -> Status {
        let status = blocking::overdue(Some(self.link.address()), method);
        if let Some(tracking) = self.tracking.take() {
            tracking.failed(&status);
        }
        status
    }

    /// The request, where it came back.
    #[inline]
    pub(super) fn take_unsent(&self) -> Option<Box<Request>> {
        let request = self.notice.get().and_then(Outcome::take_unsent)?;
        tell_unsent(&request);
        Some(request)
    }

    pub(super) fn finish(mut self) -> Result<Made, Status> {
        self.outcome()
    }

    /// As [`outcome`](Self::outcome), which is told to who tracks the call.
    #[cold]
    pub(super) fn tracked_outcome(&mut self) -> Result<Answered, Status> {
        let mut answered = None;
        if let Some(tracking) = self.tracking.take() {
            let source = self.stream.as_ref().map(|(_, source)| source);
            (self.notice, answered) = tracking.made(&self.notice, source);
        }
        Ok((self.outcome()?, answered))
    }

    /// The notice is set, and not with an unsent request.
    #[inline]
    fn outcome(&mut self) -> Result<Made, Status> {
        let stream = self.stream.take();
        match (self.notice.get(), stream) {
            (Some(Outcome::Failed(status)), _) => Err(status.clone()),
            (_, Some((shared, source))) => Ok(Made::Stream(shared, source)),
            (_, None) => Ok(Made::Unary(Arc::clone(&self.notice), None)),
        }
    }
}

#[cold]
fn tell_unsent(request: &Request) {
    if let Some(attempt) = request.attempt() {
        attempt.end_unsent();
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
