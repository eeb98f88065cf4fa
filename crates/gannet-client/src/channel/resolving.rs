//! The name resolver of a channel that is not idle. One that panics is told of as one that fails;
//! it is begun again, with pauses as between attempts to connect, and so is one whose last word is
//! an error. What it has told stays true.

use std::any::Any;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use gannet_core::Status;
use tokio::time::sleep_until;

use super::manage::Epoch;
use super::{Config, Shared, now};
use crate::name::{Asks, Listener, Resolution, Updates, Watching, unless_hurried};
use crate::policy::{Backoff, bury, told_by};

/// See the module.
pub(super) struct Resolving {
    config: Arc<Config>,
    asks: Arc<Asks>,
    told: Arc<Told>,
    phase: Phase,
    pauses: Backoff,
    begun: Instant,
    /// What another one has told before still counts.
    goes_on: bool,
}

enum Phase {
    Runs(Watching),
    /// It has panicked; and whether it was waited for in full.
    Rests(Pin<Box<dyn Future<Output = bool> + Send>>),
    Over,
}

impl Resolving {
    /// `moved`, where the channel has moved here: when to begin.
    pub(super) fn new(
        channel: &Arc<Shared>,
        epoch: Epoch,
        asks: Arc<Asks>,
        moved: Option<Instant>,
    ) -> Resolving {
        let config = Arc::clone(channel.config());
        let pauses = Backoff::new(config.backoff.clone());
        let (has_resolved, has_failed) = (AtomicBool::new(false), AtomicBool::new(false));
        let channel = Arc::downgrade(channel);
        let told = Arc::new(Told { channel, epoch, has_resolved, has_failed });
        let (phase, begun, goes_on) = (Phase::Over, now(), moved.is_some());
        let mut resolving = Resolving { config, asks, told, phase, pauses, begun, goes_on };
        match moved.filter(|at| *at > begun) {
            Some(at) => resolving.rest_until(Some(at)),
            None => resolving.begin(),
        }
        resolving
    }

    fn updates(&self) -> Updates {
        let listener = Arc::clone(&self.told) as Arc<dyn Listener>;
        let updates = Updates::new(listener, Arc::clone(&self.asks)).going_on(self.goes_on);
        updates.with_backoff(&self.config.backoff)
    }

    fn begin(&mut self) {
        self.begun = now();
        self.phase = Phase::Runs(Arc::clone(&self.config.resolver).watch(self.updates()));
    }

    /// Lets it run as far as it can.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            match &mut self.phase {
                Phase::Over => return,
                Phase::Runs(watching) => {
                    let polled = AssertUnwindSafe(|| watching.as_mut().poll(cx));
                    match catch_unwind(polled) {
                        Ok(Poll::Pending) => return,
                        Ok(Poll::Ready(())) if self.told.has_failed.load(Ordering::Relaxed) => {
                            self.rest();
                        }
                        Ok(Poll::Ready(())) => self.end(Phase::Over),
                        Err(panic) => self.panicked(panic),
                    }
                }
                Phase::Rests(rest) => match rest.as_mut().poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(in_full) => {
                        if !in_full {
                            self.pauses = Backoff::new(self.config.backoff.clone());
                        }
                        self.begin();
                    }
                },
            }
        }
    }

    /// What it leaves behind is the application's.
    fn end(&mut self, next: Phase) {
        bury(std::mem::replace(&mut self.phase, next));
    }

    #[cold]
    fn panicked(&mut self, panic: Box<dyn Any + Send>) {
        let told = format!("the name resolver panicked: {}", told_by(&*panic));
        bury(panic);
        self.rest();
        self.told.told(Err(Status::unavailable(told)));
    }

    /// Until it is begun again.
    #[cold]
    fn rest(&mut self) {
        if self.told.has_resolved.swap(false, Ordering::Relaxed) {
            self.pauses = Backoff::new(self.config.backoff.clone());
        }
        self.pauses.attempt(self.begun, fastrand::f64());
        let until = self.pauses.failed(now());
        self.rest_until(until);
    }

    /// `None` is for ever.
    fn rest_until(&mut self, until: Option<Instant>) {
        let updates = self.updates();
        updates.forget_hurry();
        let rest = async move {
            let rest = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => pending().await,
                }
            };
            unless_hurried(&updates, rest).await
        };
        self.end(Phase::Rests(Box::pin(rest)));
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        self.end(Phase::Over);
    }
}

/// Takes what the resolver tells to the channel.
struct Told {
    channel: Weak<Shared>,
    epoch: Epoch,
    /// Since it was begun.
    has_resolved: AtomicBool,
    /// The last that it told is an error.
    has_failed: AtomicBool,
}

impl Listener for Told {
    fn told(&self, names: Result<Resolution, Status>) {
        self.has_failed.store(names.is_err(), Ordering::Relaxed);
        if names.is_ok() {
            self.has_resolved.store(true, Ordering::Relaxed);
        }
        if let Some(channel) = self.channel.upgrade() {
            channel.told_names(self.epoch, names);
        }
    }
}
