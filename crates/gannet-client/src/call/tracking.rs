//! Tells those who want to know what became of a call: its picker, and those who follow it.

use std::sync::Arc;

use gannet_core::{Code, Status};
use gannet_transport::Source;

use super::notice::{Notice, Outcome};
use super::request::Request;
use super::watch::Attempt;
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
            (Some(Outcome::Response { metadata, .. }), _) => {
                let trailers = metadata.as_ref().map(|around| &around.trailers);
                self.tell(CallEnd::new(Code::Ok, trailers));
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
pub(crate) struct Tracking {
    /// The picker's.
    tracker: Option<Untold>,
    /// That of those who follow the call.
    attempt: Option<Arc<Attempt>>,
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
        is_any.then(|| Box::new(Tracking { tracker, attempt }))
    }

    /// It ends by no word of its connection's.
    #[cold]
    pub(super) fn failed(self, status: &Status) {
        if let Some(attempt) = &self.attempt {
            attempt.end(Err(status));
        }
        if let Some(mut tracker) = self.tracker {
            tracker.tell(CallEnd::new(status.code(), None));
        }
    }

    /// A unary call has come to its outcome, or a stream is open. What the application is told
    /// instead of it.
    #[cold]
    pub(super) fn made(self, notice: &Arc<Notice>, stream: Option<&Source>) -> Arc<Notice> {
        let told = match &self.attempt {
            Some(attempt) => attempt.told(notice),
            None => Arc::clone(notice),
        };
        if let Some(tracker) = self.tracker {
            tracker.made(told.get(), stream);
        }
        told
    }
}
