//! Starting and polling handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::Instant;

use gannet_http2::Server;
use gannet_transport::{Asks, Attended, Progress, Turn};

use super::observe::{observer, poll_within};
use super::slot::{Ending, State};
use super::watch::Round;
use super::{HANDLERS_KEPT_MAX, ServerSide};
use crate::intercept::intercept;
use crate::router::{Dispatch, Method};
use crate::service::{Handler, Input, Start, drop_quietly};

/// The time by the runtime's clock. While that stands still, as in tests that pause it, no poll
/// takes long, and no handler goes to the threads for computing by itself: a runtime whose time is
/// paused does not see those, and would let deadlines pass while they work.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl ServerSide {
    /// Lets the service make the call's handler, in the slot.
    pub(super) fn start(&mut self, at: usize, input: Input<'_>) {
        if self.followed.is_some() {
            self.tell_request(at, &input);
        }
        let rules = &*self.rules;
        let slot = &mut self.slots[at];
        let (Some(method), Some(call)) = (rules.router.method(slot.method), slot.call.take())
        else {
            return;
        };
        let mut storage = self.handlers.get_mut(slot.method as usize).and_then(Vec::pop);
        if let Some(chain) = &method.chain {
            intercept(chain, call, input, &mut storage);
            slot.handler = storage;
            return;
        }
        let message_send_bytes_max = method.send_bytes_max;
        let start = Start { call, input, storage: &mut storage, message_send_bytes_max };
        let started = catch_unwind(AssertUnwindSafe(|| method.service.call(method.index, start)));
        match started {
            Ok(started) => match started.outcome {
                None => slot.handler = storage,
                Some(outcome) => self.end(at, Ending::Returned(outcome)),
            },
            Err(_) => self.end(at, Ending::Panicked),
        }
    }

    /// Lets the slot's handler run, here or elsewhere.
    #[inline]
    pub(super) fn launch(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.handler.is_none() || slot.state != State::Gathering {
            return;
        }
        let method = self.rules.router.method(slot.method);
        match method.map_or(Dispatch::Inline, |method| method.dispatch()) {
            Dispatch::Inline => {
                slot.state = State::Inline;
                self.make_ready(at);
            }
            dispatch => self.send_away(at, dispatch),
        }
    }

    /// Polls the handlers that are ready, within the budget of one round.
    pub(super) fn poll_ready(&mut self, turn: &mut Turn<'_, Server>) -> Progress {
        self.flush_fed();
        let Some(first) = self.ready.front() else { return Progress::Done };
        if !self.times_round(*first as usize) {
            // Nothing else of this connection waits for a handler that is alone. Other connections
            // of the same worker do, which is why some such rounds are timed.
            if let Some(at) = self.ready.pop_front() {
                self.poll_handler(turn, at as usize);
            }
            return self.progress();
        }
        let mut round = Round::begin(now(), self.rules.rounds_ignore_time);
        while let Some(at) = self.ready.pop_front() {
            let Some(method) = self.poll_handler(turn, at as usize) else { continue };
            if !round.polled(&self.watch) && !self.ready.is_empty() {
                continue;
            }
            let lap = round.lap(now());
            self.watch.saw(lap);
            if lap.polls == 1
                && let Some(method) = self.rules.router.method(method)
            {
                method.cost.record(lap.took);
            }
            if round.is_over() || !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        self.progress()
    }

    fn progress(&self) -> Progress {
        if self.ready.is_empty() { Progress::Done } else { Progress::More }
    }

    /// Whether the round that is to begin with the handler of this slot is timed.
    fn times_round(&mut self, first: usize) -> bool {
        let ready = self.ready.len();
        let id = self.slots.get(first).map(|slot| slot.method);
        let Some(method) = id.and_then(|id| self.rules.router.method(id)) else { return true };
        if ready == 1 && method.is_fixed() {
            return false;
        }
        let cost = &method.cost;
        self.watch.begins_round(ready, cost.is_known())
            && !self.watch.skips_round(ready, cost.is_steady())
    }

    /// Polls one handler, or sends it away where its method has been found to be slow since it
    /// became ready. Returns the method that was polled.
    fn poll_handler(&mut self, turn: &mut Turn<'_, Server>, at: usize) -> Option<u32> {
        let slot = self.slots.get_mut(at)?;
        slot.in_ready = false;
        if slot.state != State::Inline {
            return None;
        }
        let id = slot.method;
        let dispatch = self.rules.router.method(id).map(Method::dispatch);
        if let Some(dispatch) = dispatch.filter(|dispatch| *dispatch != Dispatch::Inline) {
            self.send_away(at, dispatch);
            return None;
        }
        let handler = slot.handler.as_mut()?;
        let mut cx = Context::from_waker(&slot.waker);
        let attended = slot.has_outbox.then(|| slot.shared.attend());
        let polled = match observer(&self.followed, at) {
            None => catch_unwind(AssertUnwindSafe(|| handler.poll(&mut cx))),
            Some(observer) => {
                catch_unwind(AssertUnwindSafe(|| poll_within(&**observer, handler, &mut cx)))
            }
        };
        if let Some(attended) = attended {
            self.hear(turn, at, attended);
        }
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(outcome)) => {
                let handler = self.slots[at].handler.take();
                self.keep_handler(id, handler);
                self.returned(turn, at, outcome);
            }
            Err(_) => {
                let handler = self.slots[at].handler.take();
                drop_quietly(handler);
                self.end(at, Ending::Panicked);
            }
        }
        Some(id)
    }

    /// Sends what a handler sent while it was polled, and sees what it asked for.
    fn hear(&mut self, turn: &mut Turn<'_, Server>, at: usize, attended: Attended) {
        let shared = &self.slots[at].shared;
        let (asks, mut messages) = shared.heed(attended, &mut self.spares);
        if !messages.is_empty() {
            self.send_messages(turn, at, &mut messages);
            Attended::give(messages);
        }
        let shared = &self.slots[at].shared;
        if asks.has(Asks::POLL) {
            // It woke itself: others go first, and what it sent.
            shared.ask(Asks::POLL);
        }
        self.note_asks(at, asks);
    }

    /// Keeps the storage of a handler that has returned, which holds nothing any more.
    fn keep_handler(&mut self, method: u32, handler: Option<Handler>) {
        let Some(handler) = handler else { return };
        if self.handlers.is_empty() {
            self.handlers.resize_with(self.rules.router.len(), Vec::new);
        }
        if let Some(kept) = self.handlers.get_mut(method as usize)
            && kept.len() < HANDLERS_KEPT_MAX
        {
            kept.push(handler);
        }
    }
}
