//! Who is told of the messages of a call that streams, and of its end: for telemetry (see
//! [`observe`](crate::observe)). Told of sizes, not of content, which is for
//! [observers of messages](super::Observed).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gannet_core::Status;

use super::CallShared;
use super::shared::WATCHED;
use super::tap::Direction;
use crate::observe::MessageEvent;

/// See the module. What is sent and what is received may be told by two tasks at once.
pub trait Watcher: Send + Sync {
    /// The application has sent a message, or taken one.
    fn message(&self, message: &MessageEvent);

    /// The application has come to the end of the call, or has given it up: a failure that it was
    /// told of last, what came of the call by then, or CANCELLED. May be told again: the first
    /// counts.
    fn ended(&self, outcome: Result<(), &Status>);
}

/// One, with the numbers of the messages that come next.
pub(super) struct Watch {
    watcher: Arc<dyn Watcher>,
    inbound: AtomicU64,
    outbound: AtomicU64,
}

impl Watch {
    fn message(&self, direction: Direction, bytes: usize, compressed_bytes: Option<usize>) {
        let next = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        // One task at a time for each direction.
        let number = next.load(Ordering::Relaxed);
        next.store(number.wrapping_add(1), Ordering::Relaxed);
        self.watcher.message(&MessageEvent::new(direction, number, bytes, compressed_bytes));
    }
}

impl CallShared {
    /// Tells `watcher` of messages and of the end. To be said once, before the application has the
    /// call. Its state is not used for another call after that.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.set_streamed();
        let (inbound, outbound) = (AtomicU64::new(0), AtomicU64::new(0));
        let _ = self.rare().taps.watch.set(Watch { watcher, inbound, outbound });
        self.shown.fetch_or(WATCHED, Ordering::Relaxed);
    }

    /// Tells of a message.
    #[cold]
    pub(super) fn tell_message(
        &self,
        direction: Direction,
        bytes: usize,
        compressed_bytes: Option<usize>,
    ) {
        if let Some(watch) = self.rare.get().and_then(|rare| rare.taps.watch.get()) {
            watch.message(direction, bytes, compressed_bytes);
        }
    }

    /// Tells of the end.
    #[cold]
    pub(super) fn tell_end(&self, outcome: Result<(), &Status>) {
        if let Some(watch) = self.rare.get().and_then(|rare| rare.taps.watch.get()) {
            watch.watcher.ended(outcome);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
