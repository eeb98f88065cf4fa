//! Tells a picker that wants to know what became of a call.

use std::sync::Arc;

use gannet_core::Code;
use gannet_transport::Source;

use super::notice::Outcome;
use super::request::Request;
use crate::policy::{CallEnd, CallTracker};

/// A call that somebody tracks. Dropped, it was given up, or made on another connection.
pub(crate) struct Tracking {
    tracker: Option<Arc<dyn CallTracker>>,
}

impl Tracking {
    pub(super) fn new(tracker: Arc<dyn CallTracker>, request: &mut Request) -> Box<Tracking> {
        // Trackers may look at them.
        request.wants_metadata = true;
        Box::new(Tracking { tracker: Some(tracker) })
    }

    /// A unary call has come to its outcome, or a stream is open.
    pub(super) fn made(mut self: Box<Self>, outcome: Option<&Outcome>, stream: Option<&Source>) {
        match (outcome, stream) {
            (Some(Outcome::Opened), Some(source)) => {
                let mut tracking = self;
                source.shared().observe_end(Box::new(move |end| {
                    tracking.tell(match end {
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
        if let Some(tracker) = self.tracker.take() {
            tracker.ended(&end);
        }
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.tell(CallEnd::new(Code::Cancelled, None));
    }
}
