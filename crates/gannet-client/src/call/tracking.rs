//! Tells a picker that wants to know what became of a call.

use std::sync::Arc;

use gannet_core::Code;
use gannet_transport::Source;

use super::notice::Outcome;
use super::request::Request;
use crate::policy::{CallEnd, CallTracker};

/// Who is to be told once what became of a call. Dropped, it was given up, or made on another
/// connection.
pub(crate) struct Untold(Option<Arc<dyn CallTracker>>);

impl Untold {
    pub(crate) fn new(tracker: Arc<dyn CallTracker>) -> Untold {
        Untold(Some(tracker))
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
    tracker: Untold,
}

impl Tracking {
    pub(super) fn new(tracker: Untold, request: &mut Request) -> Box<Tracking> {
        // Trackers may look at them.
        request.wants_metadata = true;
        Box::new(Tracking { tracker })
    }

    /// A unary call has come to its outcome, or a stream is open.
    pub(super) fn made(mut self: Box<Self>, outcome: Option<&Outcome>, stream: Option<&Source>) {
        match (outcome, stream) {
            (Some(Outcome::Opened), Some(source)) => {
                let mut tracking = self;
                source.shared().observe_end(Box::new(move |end| {
                    tracking.tracker.tell(match end {
                        Ok(trailers) => CallEnd::new(Code::Ok, Some(trailers)),
                        Err(status) => CallEnd::new(status.code(), Some(status.metadata())),
                    });
                }));
            }
            (Some(Outcome::Response { metadata, .. }), _) => {
                let trailers = metadata.as_ref().map(|around| &around.trailers);
                self.tracker.tell(CallEnd::new(Code::Ok, trailers));
            }
            (Some(Outcome::Failed(status)), _) => {
                self.tracker.tell(CallEnd::new(status.code(), Some(status.metadata())));
            }
            // Told by being dropped.
            _ => {}
        }
    }
}
