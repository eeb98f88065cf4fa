//! Handlers outside of the connection's task: in a task of their own, on the threads for computing,
//! or on the blocking pool.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use gannet_http2::Server;
use gannet_transport::observe::ServerCallObserver;
use gannet_transport::{CallShared, Command, Queue, Turn};

use super::observe::poll_within;
use super::run::now;
use super::slot::{Ending, State};
use super::{Rules, ServerSide};
use crate::router::Dispatch;
use crate::service::{Handler, Outcome, drop_quietly};

/// A handler outside of the connection's task is done, or gone.
#[derive(Debug)]
pub(crate) struct Finished {
    shared: Arc<CallShared>,
    ending: Option<Ending>,
}

/// Runs a handler until it returns, or its call ends, and always tells the connection when it is
/// gone.
pub(super) struct Away {
    handler: Option<Handler>,
    shared: Arc<CallShared>,
    queue: Arc<Queue<Finished>>,
    rules: Arc<Rules>,
    method: u32,
    observer: Option<Weak<dyn ServerCallObserver>>,
}

impl Away {
    fn tell(&mut self, ending: Option<Ending>) {
        if let Some(handler) = self.handler.take() {
            drop_quietly(handler);
        }
        let shared = Arc::clone(&self.shared);
        self.queue.push(Command::Side(Finished { shared, ending }));
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        if self.shared.poll_ended(cx).is_ready() {
            return Poll::Ready(None);
        }
        let Some(handler) = &mut self.handler else { return Poll::Ready(None) };
        let started = now();
        // Nobody follows a call that has ended.
        let observer = self.observer.as_ref().and_then(Weak::upgrade);
        let polled = catch_unwind(AssertUnwindSafe(|| match &observer {
            None => handler.poll(cx),
            Some(observer) => poll_within(&**observer, handler, cx),
        }));
        if let Some(method) = self.rules.router.method(self.method) {
            method.cost.record(now().saturating_duration_since(started));
        }
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Some(Ending::Returned(outcome))),
            Err(_) => Poll::Ready(Some(Ending::Panicked)),
        }
    }
}

impl Future for Away {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match this.poll_handler(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(ending) => {
                this.tell(ending);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Away {
    /// The runtime shuts down.
    fn drop(&mut self) {
        if self.handler.is_some() {
            self.tell(None);
        }
    }
}

impl ServerSide {
    /// Sends a slot's handler away.
    pub(super) fn send_away(&mut self, at: usize, dispatch: Dispatch) {
        let observer = self.observer(at).map(Arc::downgrade);
        let slot = &mut self.slots[at];
        let Some(handler) = slot.handler.take() else { return };
        slot.state = State::Away;
        let away = Away {
            handler: Some(handler),
            shared: Arc::clone(&slot.shared),
            queue: Arc::clone(&self.queue),
            rules: Arc::clone(&self.rules),
            method: slot.method,
            observer,
        };
        match dispatch {
            Dispatch::Blocking => {
                let runtime = tokio::runtime::Handle::current();
                tokio::task::spawn_blocking(move || runtime.block_on(away));
            }
            Dispatch::Compute => self.rules.compute.spawn(away),
            Dispatch::Inline | Dispatch::Spawn => drop(tokio::spawn(away)),
        }
    }

    /// A handler that was away is done, or gone.
    pub(super) fn handler_is_back(&mut self, turn: &mut Turn<'_, Server>, finished: Finished) {
        let Some(at) = self.place_of(&finished.shared) else { return };
        let slot = &mut self.slots[at];
        match slot.state {
            State::Away => {
                slot.state = State::Ended;
                // A refusal that came meanwhile stays.
                let ending = slot.ending.take().or(finished.ending);
                slot.ending = Some(ending.unwrap_or(Ending::Panicked));
                self.unsettle(at);
            }
            State::Abandoned => {
                if let Some(Ending::Returned(Outcome { call, .. })) = finished.ending {
                    slot.call = Some(call);
                }
                // At once, as its place may be wanted by a request that is to be read.
                self.forget(turn, at);
            }
            _ => {}
        }
    }
}
