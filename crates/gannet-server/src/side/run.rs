//! Starting and polling handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use gannet_http2::Server;
use gannet_transport::{Progress, Turn};

use super::slot::{Ending, State};
use super::{HANDLERS_KEPT_MAX, ServerSide};
use crate::router::Dispatch;
use crate::service::{Handler, Input, Start, drop_quietly};

/// Handlers polled in one round.
const POLLS_PER_ROUND_MAX: usize = 256;
/// Handler time of one round, looked at now and then.
const HANDLER_TIME_PER_ROUND: Duration = Duration::from_micros(500);
/// How many polls pass between two looks at the clock.
const CLOCK_EVERY_POLLS: usize = 32;
/// One poll in this many is timed.
const TIMED_EVERY_POLLS: u32 = 8;

impl ServerSide {
    /// Lets the service make the call's handler, in the slot.
    pub(super) fn start(&mut self, at: usize, input: Input<'_>) {
        let rules = &*self.rules;
        let slot = &mut self.slots[at];
        let (Some(method), Some(call)) = (rules.router.method(slot.method), slot.call.take())
        else {
            return;
        };
        let mut storage = self.handlers.get_mut(slot.method as usize).and_then(Vec::pop);
        let start = Start {
            call,
            input,
            storage: &mut storage,
            message_send_bytes_max: rules.message_send_bytes_max,
        };
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
        let mut started = None;
        for polls in 1..=POLLS_PER_ROUND_MAX {
            let Some(at) = self.ready.pop_front() else { return Progress::Done };
            let took = self.poll_handler(turn, at as usize);
            if took > HANDLER_TIME_PER_ROUND {
                break;
            }
            if polls % CLOCK_EVERY_POLLS == 0 {
                let started = *started.get_or_insert_with(Instant::now);
                if started.elapsed() > HANDLER_TIME_PER_ROUND
                    || !tokio::task::coop::has_budget_remaining()
                {
                    break;
                }
            }
        }
        if self.ready.is_empty() { Progress::Done } else { Progress::More }
    }

    /// Polls one handler; returns how long that took, if it was timed.
    fn poll_handler(&mut self, turn: &mut Turn<'_, Server>, at: usize) -> Duration {
        let Some(slot) = self.slots.get_mut(at) else { return Duration::ZERO };
        slot.in_ready = false;
        if slot.state != State::Inline {
            return Duration::ZERO;
        }
        let Some(handler) = &mut slot.handler else { return Duration::ZERO };
        self.polls = self.polls.wrapping_add(1);
        let timed = (self.polls % TIMED_EVERY_POLLS == 1).then(Instant::now);
        let mut cx = Context::from_waker(&slot.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| handler.poll(&mut cx)));
        let took = timed.map(|started| started.elapsed());
        let id = slot.method;
        if let (Some(took), Some(method)) = (took, self.rules.router.method(id)) {
            method.cost.record(took);
        }
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(outcome)) => {
                let handler = slot.handler.take();
                self.keep_handler(id, handler);
                self.end(at, Ending::Returned(outcome));
                self.answer_at_once(turn, at);
            }
            Err(_) => {
                let handler = slot.handler.take();
                drop_quietly(handler);
                self.end(at, Ending::Panicked);
            }
        }
        took.unwrap_or_default()
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
