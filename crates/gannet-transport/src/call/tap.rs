//! Observers of the messages that a call receives and sends.
//!
//! Where a call has one, its messages leave the short paths: each is shown to the observers when
//! the application takes it, or when it was encoded and before it is queued. Where it has none,
//! that costs a look at a flag.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crossbeam_utils::atomic::AtomicCell;
use gannet_core::{Metadata, Status};

use super::shared::TAPPED;
use super::watch::Watch;
use super::{Asks, CallShared};

/// One message of a call, encoded, as observers are shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observed<'a> {
    /// Which message of its direction it is, from 0.
    pub number: u64,
    /// The encoded message, without the prefix of its frame.
    pub payload: &'a [u8],
}

impl<'a> Observed<'a> {
    /// For those who show a message that no stream carries.
    pub fn new(number: u64, payload: &'a [u8]) -> Observed<'a> {
        Observed { number, payload }
    }
}

/// Looks at each message of one direction. An error fails the call.
pub type Observer = Box<dyn FnMut(Observed<'_>) -> Result<(), Status> + Send>;

/// Looks at the response's headers.
pub type HeadersObserver = Box<dyn FnOnce(&Metadata) + Send>;

/// Looks at how the call ended.
pub type EndObserver = Box<dyn FnOnce(Result<&Metadata, &Status>) + Send>;

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the application.
    Inbound,
    /// From it.
    Outbound,
}

/// All observers of a call.
#[derive(Default)]
pub(super) struct Taps {
    inbound: AtomicCell<Option<Box<Tap>>>,
    outbound: AtomicCell<Option<Box<Tap>>>,
    headers: AtomicCell<Option<Box<Headers>>>,
    end: AtomicCell<Option<Box<Ends>>>,
    /// What an observer failed the call with, until that is taken.
    failure: AtomicCell<Option<Box<Status>>>,
    /// What the application has met with before the end: see [`CallShared::meet`].
    pub(super) met: AtomicCell<Option<Box<Status>>>,
    /// Whose it is besides, where it is a sender that has.
    pub(super) met_to: OnceLock<Arc<CallShared>>,
    /// Who is told of sizes.
    pub(super) watch: OnceLock<Watch>,
}

/// Those of the headers.
#[derive(Default)]
struct Headers {
    observers: Vec<HeadersObserver>,
}

/// Those of the end.
#[derive(Default)]
struct Ends {
    observers: Vec<EndObserver>,
}

/// The observers of one direction.
#[derive(Default)]
struct Tap {
    observers: Vec<Observer>,
    number: u64,
    failed: Option<Status>,
}

impl Taps {
    fn tap(&self, direction: Direction) -> &AtomicCell<Option<Box<Tap>>> {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// Adds an observer. What is received is shown to those first that were added first, what is
    /// sent to those last: who was added first is nearer to the peer.
    pub(super) fn add(&self, direction: Direction, observer: Observer) {
        let place = self.tap(direction);
        let mut tap = place.take().unwrap_or_default();
        match direction {
            Direction::Inbound => tap.observers.push(observer),
            Direction::Outbound => tap.observers.insert(0, observer),
        }
        place.store(Some(tap));
    }

    pub(super) fn add_headers(&self, observer: HeadersObserver) {
        let mut all = self.headers.take().unwrap_or_default();
        all.observers.push(observer);
        self.headers.store(Some(all));
    }

    /// Shows headers; once.
    pub(super) fn show_headers(&self, headers: &Metadata) {
        for observer in self.headers.take().into_iter().flat_map(|all| all.observers) {
            observer(headers);
        }
    }

    pub(super) fn add_end(&self, observer: EndObserver) {
        let mut all = self.end.take().unwrap_or_default();
        all.observers.push(observer);
        self.end.store(Some(all));
    }

    /// Shows a message. One task at a time does so for each direction.
    pub(super) fn show(&self, direction: Direction, payload: &[u8]) -> Result<(), Status> {
        let place = self.tap(direction);
        let Some(mut tap) = place.take() else { return Ok(()) };
        let shown = tap.show(payload);
        place.store(Some(tap));
        shown.inspect_err(|status| self.fail(status.clone()))
    }

    /// Tells how the call ended; once.
    pub(super) fn show_end(&self, outcome: Result<&Metadata, &Status>) {
        for observer in self.end.take().into_iter().flat_map(|all| all.observers) {
            observer(outcome);
        }
    }

    pub(super) fn fail(&self, status: Status) {
        self.failure.store(Some(Box::new(status)));
    }

    /// What [`take_failure`](Self::take_failure) would take.
    pub(super) fn failure(&self) -> Option<Status> {
        let failure = self.failure.take()?;
        let status = Status::clone(&failure);
        self.failure.store(Some(failure));
        Some(status)
    }

    pub(super) fn take_failure(&self) -> Option<Status> {
        self.failure.take().map(|status| *status)
    }

    pub(super) fn clear(&self) {
        drop((self.inbound.take(), self.outbound.take(), self.headers.take()));
        drop((self.end.take(), self.failure.take(), self.met.take()));
    }
}

impl Tap {
    fn show(&mut self, payload: &[u8]) -> Result<(), Status> {
        if let Some(status) = &self.failed {
            return Err(status.clone());
        }
        let message = Observed { number: self.number, payload };
        self.number += 1;
        let shown = self.observers.iter_mut().try_for_each(|observer| observer(message));
        shown.inspect_err(|status| self.failed = Some(status.clone()))
    }
}

impl CallShared {
    /// Shows the messages of one direction to `observer`, from the next on. To be said before the
    /// application sends or receives any.
    pub fn observe(&self, direction: Direction, observer: Observer) {
        self.set_streamed();
        self.rare().taps.add(direction, observer);
        self.shown.fetch_or(TAPPED, Ordering::Relaxed);
    }

    /// Shows the response's headers to `observer` when the application comes to them.
    pub fn observe_headers(&self, observer: HeadersObserver) {
        self.set_streamed();
        self.rare().taps.add_headers(observer);
        self.shown.fetch_or(TAPPED, Ordering::Relaxed);
    }

    /// Tells `observer` how the call ended, when the application comes to that or gives up.
    pub fn observe_end(&self, observer: EndObserver) {
        self.set_streamed();
        self.rare().taps.add_end(observer);
        self.shown.fetch_or(TAPPED, Ordering::Relaxed);
    }

    /// Whether somebody looks at the messages.
    #[inline]
    pub fn is_tapped(&self) -> bool {
        self.shown.load(Ordering::Relaxed) & TAPPED != 0
    }

    /// Whether somebody looks at the messages, or is told of them.
    #[inline]
    pub(super) fn is_shown(&self) -> bool {
        self.shown.load(Ordering::Relaxed) != 0
    }

    /// Shows a message to the observers.
    ///
    /// # Errors
    /// What the first of them that failed it says, now and from then on.
    #[cold]
    pub fn show(&self, direction: Direction, payload: &[u8]) -> Result<(), Status> {
        match self.rare.get() {
            Some(rare) => rare.taps.show(direction, payload),
            None => Ok(()),
        }
    }

    /// Shows headers to their observer.
    #[cold]
    pub(super) fn show_headers(&self, headers: &Metadata) {
        if let Some(rare) = self.rare.get() {
            rare.taps.show_headers(headers);
        }
    }

    /// Tells the observers how the call ended.
    #[cold]
    pub(super) fn show_end(&self, outcome: Result<&Metadata, &Status>) {
        if let Some(rare) = self.rare.get() {
            rare.taps.show_end(outcome);
        }
    }

    /// Fails the call from this side: a client's is cancelled, and the application reads `status`
    /// at its end, however it ends. A server looks for [it](Self::take_failure) by itself.
    #[cold]
    pub fn fail(self: &Arc<Self>, status: Status) {
        self.set_streamed();
        self.rare().taps.fail(status);
        self.shown.fetch_or(TAPPED, Ordering::Relaxed);
        self.ask(Asks::OUTBOUND_DROPPED);
    }

    /// What this side failed the call with.
    #[cold]
    pub(super) fn failure(&self) -> Option<Status> {
        self.rare.get()?.taps.failure()
    }

    /// What an observer failed the call with, since this was asked last.
    #[cold]
    pub fn take_failure(&self) -> Option<Status> {
        self.rare.get()?.taps.take_failure()
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").finish_non_exhaustive()
    }
}
