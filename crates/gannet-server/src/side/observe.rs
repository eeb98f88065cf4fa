//! Telling those who follow calls ([`observe`]) what happens to them.
//!
//! What follows a call lies beside its slot, so that a server without observers has nothing of it
//! but a look at an option. That is all that keeps it: others who tell it something hold a weak
//! reference, so that it goes with the end of the call, and not with what is left of the call.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use gannet_core::{Code, MethodKind, Status};
use gannet_http2::hpack::FieldBlock;
use gannet_transport::observe::{Ended, MessageEvent, ServerCallObserver, ServerCallStart};
use gannet_transport::{Direction, Watcher};

use super::receive::deadline_of;
use super::run::now;
use super::{ServerSide, ended_early};
use crate::head::{Head, method_of, path};
use crate::service::{Handler, Input, Late, Outcome};

/// What follows the calls of a connection, by their slots.
pub(super) type Followed = Vec<Option<Arc<dyn ServerCallObserver>>>;

impl ServerSide {
    /// What follows the call in a slot.
    #[inline]
    pub(super) fn observer(&self, at: usize) -> Option<&Arc<dyn ServerCallObserver>> {
        observer(&self.followed, at)
    }

    /// A request has come. Whether it is a call is read here once more, so that those who do not
    /// follow calls have nothing to keep for it.
    #[cold]
    pub(super) fn follow(&mut self, at: usize, now: Instant, fields: &FieldBlock) {
        let rules = &self.rules;
        let (method, deadline) = match Head::read(fields, &rules.router, &rules.compressors) {
            Ok(head) => {
                let Some(method) = rules.router.method(head.method) else { return };
                (Ok(method.descriptor), deadline_of(&head, method, now).0)
            }
            Err(refusal) if refusal.stranger.is_some() => return,
            Err(_) => {
                let method = method_of(fields).and_then(|id| rules.router.method(id));
                (method.map(|method| method.descriptor).ok_or_else(|| path(fields)), None)
            }
        };
        let start = ServerCallStart::new(method, &self.peer, deadline, now, fields);
        let Some(observer) = rules.observers.server_call(&start) else { return };
        if method.is_ok_and(|method| method.kind != MethodKind::Unary) {
            self.slots[at].shared.watch(Arc::new(Messages(Arc::downgrade(&observer))));
        }
        let followed = self.followed.get_or_insert_default();
        if followed.len() <= at {
            followed.resize_with(at + 1, || None);
        }
        followed[at] = Some(observer);
    }

    /// The one request has come.
    #[cold]
    pub(super) fn tell_request(&mut self, at: usize, input: &Input<'_>) {
        let Some(observer) = observer(&self.followed, at) else { return };
        let bytes = match input {
            Input::Message(message) => message.len(),
            Input::Late(Late::Long(message)) => message.len(),
            // Told when it is decompressed.
            Input::Late(Late::Packed(_)) => {
                if let Some(call) = &mut self.slots[at].call {
                    call.extra_mut().observer = Some(Arc::downgrade(observer));
                }
                return;
            }
            Input::Stream => return,
        };
        observer.message(&MessageEvent::new(Direction::Inbound, 0, bytes, None));
    }

    /// The headers of a stream of responses go out.
    #[cold]
    pub(super) fn tell_headers(&self, at: usize) {
        if let Some(observer) = self.observer(at) {
            observer.headers();
        }
    }

    /// What a handler has returned goes out.
    #[cold]
    pub(super) fn tell_answer(&mut self, at: usize, outcome: &Outcome) {
        let Outcome { call, result } = outcome;
        let headers_sent = self.slots[at].headers_sent;
        if let Some(observer) = self.observer(at)
            && result.is_ok()
            && !call.method().kind.server_streams()
        {
            if !headers_sent {
                observer.headers();
            }
            let (bytes, compressed_bytes) = call.reply_bytes();
            let message = MessageEvent::new(Direction::Outbound, 0, bytes, compressed_bytes);
            observer.message(&message);
        }
        self.tell_ended(at, result.as_ref().copied());
    }

    /// A call ends before its handler has returned.
    #[cold]
    pub(super) fn tell_ended_early(&mut self, at: usize, code: Code) {
        self.tell_ended(at, Err(&ended_early(code)));
    }

    /// A call ends. The first end counts.
    #[cold]
    pub(super) fn tell_ended(&mut self, at: usize, outcome: Result<(), &Status>) {
        let followed = self.followed.as_mut().and_then(|followed| followed.get_mut(at));
        if let Some(observer) = followed.and_then(Option::take) {
            observer.ended(&Ended::sent(outcome, now()));
        }
    }
}

/// What follows the call in a slot.
#[inline]
pub(super) fn observer(
    followed: &Option<Box<Followed>>,
    at: usize,
) -> Option<&Arc<dyn ServerCallObserver>> {
    followed.as_ref()?.get(at)?.as_ref()
}

/// Polls a handler within what its observer sets up for it.
#[cold]
pub(super) fn poll_within(
    observer: &dyn ServerCallObserver,
    handler: &mut Handler,
    cx: &mut Context<'_>,
) -> Poll<Outcome> {
    let mut polled = Poll::Pending;
    observer.scope(&mut || {
        // A second time it would be polled after its end.
        if polled.is_pending() {
            polled = handler.poll(cx);
        }
    });
    polled
}

/// Told of what goes through the streams of a call.
struct Messages(Weak<dyn ServerCallObserver>);

impl Watcher for Messages {
    fn message(&self, message: &MessageEvent) {
        if let Some(observer) = self.0.upgrade() {
            observer.message(message);
        }
    }

    /// A server's call ends when its status goes out.
    fn ended(&self, _: Result<(), &Status>) {}
}
