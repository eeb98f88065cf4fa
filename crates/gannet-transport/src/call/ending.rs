//! What a call ended with, for those who are told of that, where it is not the end that came.
//!
//! The application may have come to an end of its own before: a message that cannot be decoded, one
//! that cannot be sent. It can go on after that; where it gives the call up, that was why. And of
//! the one response of a client stream it is known only behind the end whether all is well.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gannet_core::{Metadata, Status};

use super::shared::{HELD, MET};
use super::{CallShared, Source};

impl CallShared {
    /// The application is told of a failure before it has come to the end of the call: given up
    /// then, that is what the call ended with. The first counts, until a message is received.
    #[inline]
    pub fn meet(&self, status: &Status) {
        if self.is_shown() {
            self.note_met(status);
        }
    }

    #[cold]
    fn note_met(&self, status: &Status) {
        let taps = &self.rare().taps;
        // Where two meet with something at the same time, either is the first.
        let first = taps.met.take().unwrap_or_else(|| Box::new(status.clone()));
        taps.met.store(Some(first));
        self.shown.fetch_or(MET, Ordering::Relaxed);
    }

    /// As [`meet`](Self::meet), for who sends.
    #[cold]
    pub(super) fn meet_sending(&self, status: &Status) {
        self.meet(status);
        if let Some(to) = self.rare.get().and_then(|rare| rare.taps.met_to.get()) {
            to.meet(status);
        }
    }

    /// The application goes on all the same.
    pub(super) fn forget_met(&self) {
        if self.shown.load(Ordering::Relaxed) & MET != 0 {
            self.shown.fetch_and(!MET, Ordering::Relaxed);
            drop(self.rare().taps.met.take());
        }
    }

    /// What a sender is told of this stream counts for that of the responses, too, which is another
    /// one where somebody stands between. To be said once.
    pub fn meets_for(&self, responses: &Arc<CallShared>) {
        self.set_streamed();
        let _ = self.rare().taps.met_to.set(Arc::clone(responses));
    }
}

impl Source {
    /// Those who are told of the end are told when the application [says](Self::settle) what it
    /// comes to.
    pub fn hold_end(&self) {
        let shared = self.shared();
        if shared.is_shown() {
            shared.shown.fetch_or(HELD, Ordering::Relaxed);
        }
    }

    /// The application has come to an end: that which was read, or, with `failure`, one of its own.
    /// What is said later does not count.
    #[inline]
    pub fn settle(&self, failure: Option<&Status>) {
        if self.shared().is_shown() {
            self.tell(failure);
        }
    }

    #[cold]
    fn tell(&self, failure: Option<&Status>) {
        match (failure, self.outcome()) {
            (Some(status), _) => self.shared().tell_both(Err(status)),
            (None, Some(outcome)) => self.shared().tell_both(outcome.as_ref()),
            (None, None) => {}
        }
    }

    /// The end was not read. What there is of it came.
    #[cold]
    pub(super) fn tell_given_up(&self, came: Option<&Result<Metadata, Status>>) {
        let shared = self.shared();
        let met = shared.rare().taps.met.take().map(|status| *status);
        if let Some(status) = met.or_else(|| shared.failure()) {
            return shared.tell_both(Err(&status));
        }
        let given_up = Status::cancelled("what came was not read to its end");
        match came {
            Some(outcome) => shared.tell_end(outcome.as_ref().map(|_| ())),
            None => shared.tell_end(Err(&given_up)),
        }
        shared.show_end(Err(&given_up));
    }
}

impl CallShared {
    /// Whether somebody else tells of the end.
    pub(super) fn holds_end(&self) -> bool {
        self.shown.load(Ordering::Relaxed) & HELD != 0
    }

    pub(super) fn tell_both(&self, outcome: Result<&Metadata, &Status>) {
        self.tell_end(outcome.map(|_| ()));
        self.show_end(outcome);
    }
}
