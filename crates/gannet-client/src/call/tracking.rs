//! Tells those who want to know what became of a call: its picker, and those who follow it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use gannet_core::{Code, Status};
use gannet_transport::Source;

use super::notice::{Notice, Outcome};
use super::request::Request;
use super::watch::{Attempt, now};
use crate::link::Link;
use crate::policy::{CallEnd, CallTracker};

/// Who is to be told once what became of a call. Dropped, it was given up, or made on another
/// connection.
pub(crate) struct Untold(Option<Arc<dyn CallTracker>>);

impl Untold {
    pub(crate) fn new(tracker: Arc<dyn CallTracker>) -> Untold {
        Untold(Some(tracker))
    }

    fn made(mut self, outcome: Option<&Outcome>, stream: Option<&Source>) {
        match (outcome, stream) {
            (Some(Outcome::Opened), Some(source)) => {
                let mut untold = self;
                source.shared().observe_end(Box::new(move |end| {
                    untold.tell(match end {
                        Ok(trailers) => CallEnd::new(Code::Ok, Some(trailers)),
                        Err(status) => CallEnd::new(status.code(), Some(status.metadata())),
                    });
                }));
            }
            (Some(Outcome::Failed(status)), _) => {
                self.tell(CallEnd::new(status.code(), Some(status.metadata())));
            }
            // Told by being dropped.
            _ => {}
        }
    }

    fn tell(&mut self, end: CallEnd<'_>) {
        if let Some(tracker) = self.0.take() {
            tracker.ended(&end);
        }
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.tell(CallEnd::new(Code::Cancelled, None));
    }
}

/// A call that somebody tracks, from when a connection has it.
///
/// A unary call that was answered has ended when the application has decoded the response; dropped
/// before that, it has ended well.
pub(crate) struct Tracking {
    /// The picker's.
    tracker: Option<Untold>,
    /// That of those who follow the call.
    attempt: Option<Arc<Attempt>>,
    answered: Option<Answered>,
}

/// The response of a unary call.
struct Answered {
    notice: Arc<Notice>,
    /// When the application came to it; known where somebody follows the call.
    at: Option<Instant>,
}

impl Tracking {
    /// Nothing where nobody tracks it. It goes to that connection.
    #[inline]
    pub(super) fn new(
        tracker: Option<Untold>,
        request: &mut Request,
        link: &Link,
    ) -> Option<Box<Tracking>> {
        match (&tracker, &request.watch) {
            (None, None) => None,
            _ => Self::of_somebody(tracker, request, link),
        }
    }

    #[cold]
    fn of_somebody(
        tracker: Option<Untold>,
        request: &mut Request,
        link: &Link,
    ) -> Option<Box<Tracking>> {
        let attempt = request.attempt().map(Arc::clone);
        if let Some(attempt) = &attempt {
            attempt.picked(link.address());
        }
        // Trackers may look at them.
        request.wants_metadata |= tracker.is_some();
        let is_any = tracker.is_some() || attempt.is_some();
        is_any.then(|| Box::new(Tracking { tracker, attempt, answered: None }))
    }

    /// It ends by no word of its connection's.
    #[cold]
    pub(super) fn failed(mut self, status: &Status) {
        if let Some(attempt) = &self.attempt {
            attempt.end(Err(status));
        }
        if let Some(mut tracker) = self.tracker.take() {
            tracker.tell(CallEnd::new(status.code(), None));
        }
    }

    /// A unary call has come to its outcome, or a stream is open. What the application is told
    /// instead of it, and who waits for what that [makes](Self::settle) of a response.
    #[cold]
    pub(super) fn made(
        mut self: Box<Self>,
        notice: &Arc<Notice>,
        stream: Option<&Source>,
    ) -> (Arc<Notice>, Option<Box<Tracking>>) {
        let notice = match &self.attempt {
            Some(attempt) => attempt.told(notice),
            None => Arc::clone(notice),
        };
        if let Some(Outcome::Response { .. }) = notice.get() {
            let at = self.attempt.is_some().then(now);
            self.answered = Some(Answered { notice: Arc::clone(&notice), at });
            return (notice, Some(self));
        }
        if let Some(tracker) = self.tracker.take() {
            tracker.made(notice.get(), stream);
        }
        (notice, None)
    }

    /// The application has decoded the response, or has failed to.
    #[cold]
    pub(super) fn settle(&mut self, outcome: Result<(), &Status>) {
        let Some(Answered { notice, at }) = self.answered.take() else { return };
        if let (Some(attempt), Some(at)) = (&self.attempt, at) {
            attempt.end_at(outcome, at);
        }
        let code = outcome.map_or_else(Status::code, |()| Code::Ok);
        if let (Some(mut tracker), Some(Outcome::Response { metadata, .. })) =
            (self.tracker.take(), notice.get())
        {
            let trailers = metadata.as_ref().map(|around| &around.trailers);
            tracker.tell(CallEnd::new(code, trailers));
        }
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.settle(Ok(()));
    }
}

impl fmt::Debug for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracking").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
