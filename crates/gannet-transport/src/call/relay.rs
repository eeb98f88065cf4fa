//! A stream of messages within the process: what its `Outbound` sends comes out of its
//! `Source`. For those who stand between an application and its call, and give either another
//! stream than the connection's.
//!
//! Both ends are those of one [`CallShared`], as on a connection, and bounded as there: a sender
//! waits while 64 KiB are not taken. In place of a connection's task, whoever asks for something
//! sees to it, under a lock; calls that nobody stands between have none.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use gannet_core::{Code, Metadata, Status};

use super::shared::low_bits;
use super::{Asks, CallShared, Feed, Framed, Spares};
use crate::queue::CallQueue;

/// Where a stream leads, which decides what it means that one of its ends is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayKind {
    /// Towards the handler of a call, or from it: as on a server, a sender that is dropped ends
    /// nothing, and what nobody reads is thrown away.
    Server,
    /// From the caller: as on a client, a sender that is dropped unfinished cancels, and so does
    /// who stops reading. Who holds the relay can [wait](Relay::poll_cut) for the first.
    Requests,
    /// To the caller: who stops reading cancels, and who holds the relay can
    /// [wait](Relay::poll_unread) for that. The sender ends nothing: [`Relay::end`] does.
    Responses,
}

/// A stream within the process, by which it is ended.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<CallShared>,
    middle: Arc<Middle>,
}

struct Middle {
    kind: RelayKind,
    state: Mutex<Option<State>>,
}

struct State {
    feed: Feed,
    spares: Spares,
    emptied: Option<Box<Framed>>,
    /// Bytes that the sender gave. Wraps.
    sent_total: usize,
    /// The same, as far as the reader's count goes.
    given: u32,
    /// Nobody reads any more.
    discards: bool,
    /// The sender was dropped unfinished.
    is_cut: bool,
    /// Who waits for either.
    waiting: Option<Waker>,
}

impl Relay {
    /// Makes a stream. Its ends are an [`Outbound`](super::Outbound) and a
    /// [`Source`](super::Source) of the [shared state](Self::shared), one of each.
    pub fn new(kind: RelayKind) -> Relay {
        let middle = Arc::new(Middle { kind, state: Mutex::new(None) });
        let shared = CallShared::new(Arc::clone(&middle) as Arc<dyn CallQueue>, u32::MAX);
        // What is sent was bounded already.
        let feed = Feed::new(&shared, usize::MAX);
        shared.set_send_bytes_max(usize::MAX);
        let (spares, emptied) = (Spares::default(), None);
        *middle.lock() = Some(State {
            feed,
            spares,
            emptied,
            sent_total: 0,
            given: 0,
            discards: false,
            is_cut: false,
            waiting: None,
        });
        Relay { shared, middle }
    }

    /// What both ends share.
    pub fn shared(&self) -> &Arc<CallShared> {
        &self.shared
    }

    /// Passes on which messages are not to be compressed. What is sent into this stream
    /// [`uncompressed`](super::Sending::uncompressed), or is marked so in turn, is so in `to` as
    /// well, where whoever stands between sends what he reads here: what is sent there goes by the
    /// last message that was read here. To be said once, before there are messages.
    pub fn passes_marks_to(&self, to: &CallShared) {
        self.shared.mark_plain_for(to);
    }

    /// Passes on headers, which the reader sees before any message.
    pub fn headers(&self, headers: Metadata) {
        if let Some(state) = &mut *self.middle.lock() {
            state.feed.headers(headers, &self.shared);
            state.feed.flush(&self.shared);
        }
    }

    /// Ready when the sender was dropped before its end. One task may wait, for this or for
    /// [the reader](Self::poll_unread).
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_state(cx, |state| state.is_cut)
    }

    /// Ready when the reader was dropped, before the end or at it. One task may wait.
    pub fn poll_unread(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_state(cx, |state| state.discards)
    }

    fn poll_state(&self, cx: &mut Context<'_>, is_so: impl Fn(&State) -> bool) -> Poll<()> {
        let mut state = self.middle.lock();
        let Some(state) = &mut *state else { return Poll::Pending };
        if is_so(state) {
            return Poll::Ready(());
        }
        match &mut state.waiting {
            Some(waiting) => waiting.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ends the stream behind what was sent. Only the first ending counts.
    pub fn end(&self, outcome: Result<Metadata, Status>) {
        self.middle.push_call(&self.shared);
        let failed = outcome.as_ref().err().cloned();
        if let Some(state) = &mut *self.middle.lock() {
            state.end(outcome, &self.shared);
        }
        match failed {
            Some(status) => self.shared.end_failed(&status),
            None => self.shared.end(Code::Ok),
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Middle {
    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        // Nothing in here is left half changed by a panic that mattered to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallQueue for Middle {
    fn push_call(&self, call: &Arc<CallShared>) {
        let mut state = self.lock();
        let Some(state) = &mut *state else { return };
        loop {
            let asks = call.take_asks();
            if asks.is_empty() {
                return;
            }
            state.serve(self.kind, asks, call);
            if (state.is_cut || state.discards)
                && let Some(waiting) = state.waiting.take()
            {
                waiting.wake();
            }
        }
    }

    fn is_closed(&self) -> bool {
        false
    }
}

impl State {
    fn serve(&mut self, kind: RelayKind, asks: Asks, call: &CallShared) {
        if asks.has(Asks::OUTBOX) || asks.has(Asks::FINISH) || asks.has(Asks::OUTBOUND_DROPPED) {
            self.take_messages(call);
        }
        if asks.has(Asks::INBOUND_DROPPED) {
            self.discards = true;
            self.feed.reader_gone(call);
            if kind != RelayKind::Server {
                call.end(Code::Cancelled);
            }
        }
        if asks.has(Asks::FINISH) && kind != RelayKind::Responses {
            self.end(Ok(Metadata::new()), call);
        } else if asks.has(Asks::OUTBOUND_DROPPED) && kind == RelayKind::Requests {
            self.is_cut = true;
            self.end(Err(Status::cancelled("the sender was dropped before its end")), call);
        }
        let taken = if self.discards { self.given } else { call.taken_bytes() };
        self.sent(taken, call);
    }

    /// Tells the sender how much the reader has taken.
    fn sent(&mut self, taken: u32, call: &CallShared) {
        let queued = self.given.wrapping_sub(taken) as usize;
        call.set_sent_bytes(self.sent_total.wrapping_sub(queued), queued);
    }

    fn take_messages(&mut self, call: &CallShared) {
        let Some(mut messages) = call.take_outbox(self.emptied.take()) else { return };
        self.sent_total = self.sent_total.wrapping_add(messages.0.len());
        self.given = self.given.wrapping_add(low_bits(messages.0.len()));
        if let Err(status) = self.feed.data(&messages.0, call, &mut self.spares) {
            self.end(Err(status), call);
        }
        self.feed.flush(call);
        messages.clear();
        self.emptied = Some(messages);
    }

    fn end(&mut self, outcome: Result<Metadata, Status>, call: &CallShared) {
        if !self.discards {
            // Messages are queued whole: none is torn.
            let _ = self.feed.end(outcome, call);
        }
    }
}
