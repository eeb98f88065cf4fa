//! The client's half of a connection's driver: opens streams for calls, hands them what comes, and
//! tells the channel what becomes of the connection.

mod opening;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Instant;

use gannet_core::{Status, storage};
use gannet_http2::{Client, Event, Reason, StreamKey};
use gannet_transport::observe::Disconnect;
use gannet_transport::{
    Asks, CallShared, CloseReason, Deadlines, Framed, Progress, Side, Spares, Turn,
};
use tokio::sync::oneshot;

use super::calls::{CallKey, Calls};
use super::errors::Reset;
use super::exchange::{Call, Phase};
use super::head::Constants;
use super::remote::Remote;
use super::{Link, LinkCommand};
use crate::channel::Shared;

/// Messages from this length on are sent by reference, bytes.
const LARGE_MESSAGE_BYTES_MIN: usize = 16 << 10;

/// The calls of one connection.
pub(crate) struct ClientSide {
    channel: Weak<Shared>,
    link: Arc<Link>,
    constants: Constants,
    /// Told once, when the server's SETTINGS came or the connection ended before.
    established: Option<oneshot::Sender<Result<(), Status>>>,
    calls: Calls,
    /// The call of each stream, by the stream's index.
    by_stream: Vec<Option<CallKey>>,
    /// Calls that wait until another stream may be opened; the keys of some may be stale.
    waiting: VecDeque<CallKey>,
    /// How many calls have no stream.
    waiting_live: usize,
    deadlines: Deadlines<CallKey>,
    /// Calls with credit to give back, or an end to clear up after.
    due: Vec<CallKey>,
    /// Calls whose messages the engine has not all handed over.
    sending: Vec<CallKey>,
    spares: Spares,
    /// Takes the place of the next messages that are taken out of an outbox.
    emptied: Option<Box<Framed>>,
    remote: Remote,
    /// The channel knows that there are calls.
    is_known_busy: bool,
    /// So does the link: see [`Link::has_served`].
    has_served: bool,
}

impl ClientSide {
    pub(crate) fn new(
        channel: Weak<Shared>,
        link: Arc<Link>,
        constants: Constants,
        established: oneshot::Sender<Result<(), Status>>,
    ) -> ClientSide {
        ClientSide {
            channel,
            remote: Remote::new(Arc::clone(&link)),
            link,
            constants,
            established: Some(established),
            calls: Calls::default(),
            by_stream: Vec::new(),
            waiting: VecDeque::new(),
            waiting_live: 0,
            deadlines: Deadlines::new(),
            due: Vec::new(),
            sending: Vec::new(),
            spares: Spares::default(),
            emptied: None,
            is_known_busy: false,
            has_served: false,
        }
    }

    /// Passes something on to the call on a stream.
    #[inline]
    fn on_stream(&mut self, stream: StreamKey, act: impl FnOnce(&mut Call, &mut Spares, &Remote)) {
        let Some(&Some(key)) = self.by_stream.get(stream.index()) else { return };
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.stream() == Some(stream) {
            act(call, &mut self.spares, &self.remote);
            if !std::mem::replace(&mut call.is_due, true) {
                self.due.push(key);
            }
        }
    }

    fn note_due(&mut self, key: CallKey) {
        if let Some(call) = self.calls.get_mut(key)
            && !call.is_due
        {
            call.is_due = true;
            self.due.push(key);
        }
    }

    fn note_all_due(&mut self) {
        let due = &mut self.due;
        self.calls.each(|key, call| {
            if !std::mem::replace(&mut call.is_due, true) {
                due.push(key);
            }
        });
    }

    /// Gives back credit, and clears up after a call that ended.
    fn settle_call(&mut self, turn: &mut Turn<'_, Client>, key: CallKey) {
        let Some(call) = self.calls.get_mut(key) else { return };
        call.is_due = false;
        call.flush();
        if let Some(stream) = call.stream() {
            let credit = call.take_credit(turn.conn.held_bytes_min());
            if credit > 0 {
                turn.conn.release(stream, credit);
            }
        }
        match call.phase {
            Phase::Waiting => {}
            Phase::Open(stream) => self.collect(turn, key, stream),
            Phase::Refused(stream) => self.make_again(turn, key, stream),
            Phase::Ended(stream) => {
                match stream {
                    Some(stream) => self.leave_stream(turn, stream),
                    None => self.waiting_live = self.waiting_live.saturating_sub(1),
                }
                if self.calls.discard(key) {
                    self.forget_deadline();
                }
            }
        }
    }

    /// Settles what is due, and what becomes due by that.
    fn settle_calls(&mut self, turn: &mut Turn<'_, Client>) {
        loop {
            while let Some(key) = self.due.pop() {
                self.settle_call(turn, key);
            }
            if turn.conn.recv_pressure_rises() {
                self.note_all_due();
            } else if !self.open_waiting(turn) {
                return;
            }
        }
    }

    /// Makes a call once more that the server refused unseen: here, or by its caller.
    #[cold]
    fn make_again(&mut self, turn: &mut Turn<'_, Client>, key: CallKey, stream: StreamKey) {
        self.leave_stream(turn, stream);
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.goes_back_refused() {
            if let Some(call) = self.remove(key) {
                call.hand_back(|| Status::unavailable(self.remote.tell("it refused the call")));
            }
            return;
        }
        call.phase = Phase::Waiting;
        call.tell_refused();
        self.waiting_live += 1;
        self.waiting.push_front(key);
    }

    /// Done with a stream: where it is not at its end, the engine resets it.
    #[inline(always)]
    fn leave_stream(&mut self, turn: &mut Turn<'_, Client>, stream: StreamKey) {
        turn.conn.forget(stream);
        if let Some(place) = self.by_stream.get_mut(stream.index()) {
            *place = None;
        }
    }

    fn remove(&mut self, key: CallKey) -> Option<Call> {
        let call = self.calls.remove(key)?;
        if call.is_armed {
            self.forget_deadline();
        }
        Some(call)
    }

    /// A call is gone before its deadline.
    #[inline]
    fn forget_deadline(&mut self) {
        let calls = &self.calls;
        self.deadlines.forget(|key| calls.contains(key));
    }

    fn expire(&mut self, key: CallKey) {
        if let Some(call) = self.calls.get_mut(key) {
            call.expire(&self.remote);
            self.note_due(key);
        }
    }

    /// The head of a response came.
    #[cold]
    fn note_answered(&mut self, stream: StreamKey) {
        let mut is_call = false;
        self.on_stream(stream, |call, _, _| is_call = call.is_applications());
        self.note_served(is_call);
    }

    /// The server takes no more calls, and those that it has go on.
    fn note_let_go_on(&mut self) {
        let mut any = false;
        self.calls.each(|_, call| {
            any |= call.is_applications() && call.open_stream().is_some();
        });
        self.note_served(any);
    }

    fn note_served(&mut self, has_served: bool) {
        if has_served && !std::mem::replace(&mut self.has_served, true) {
            self.link.note_served();
        }
    }

    /// New calls go to another connection from here on.
    fn retire(&mut self, why: Status, how: Disconnect) {
        self.link.retire();
        if let Some(channel) = self.channel.upgrade() {
            channel.retire(&self.link, why, how);
        }
    }

    fn on_goaway(&mut self, reason: Reason, debug: &[u8]) {
        self.remote.on_goaway(reason, debug);
        if reason == Reason::ENHANCE_YOUR_CALM
            && debug == b"too_many_pings"
            && let Some(keepalive) = self.link.keepalive()
            && let Some(channel) = self.channel.upgrade()
        {
            channel.calm_keepalive(keepalive);
        }
        let why = Status::unavailable(self.remote.tell("it takes no more calls"));
        self.retire(why, Disconnect::GoAway(reason));
    }

    /// Has the channel know whether there are calls, where that has changed.
    #[inline]
    fn note_activity(&mut self, now: Instant) {
        let is_busy = self.calls.len() > usize::from(self.link.is_watched());
        if is_busy != self.is_known_busy {
            self.is_known_busy = is_busy;
            self.link.note_activity(is_busy, now);
        }
    }

    /// What the calls of a connection that ended are told.
    #[cold]
    fn lost(&self, reason: &CloseReason) -> Status {
        let status = Status::unavailable(self.remote.tell(reason));
        match reason {
            CloseReason::Io(error) => {
                status.with_source(io::Error::new(error.kind(), error.to_string()))
            }
            CloseReason::Protocol(error) => status.with_source(*error),
            _ => status,
        }
    }

    /// Sends what lies in the outbox of a call that streams, and its end.
    fn collect(&mut self, turn: &mut Turn<'_, Client>, key: CallKey, stream: StreamKey) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if !std::mem::take(&mut call.has_outbox) && !call.is_finishing {
            return;
        }
        let Some(streaming) = call.streaming() else { return };
        let outbox = streaming.shared.take_outbox(self.emptied.take());
        if let Some(mut messages) = outbox {
            let bytes = messages.0.len();
            call.given_bytes = call.given_bytes.wrapping_add(bytes);
            if bytes > 0 && !call.is_sending {
                call.is_sending = true;
                self.sending.push(key);
            }
            // Stale only where the stream is gone, of which an event tells.
            let _ = if bytes < LARGE_MESSAGE_BYTES_MIN {
                turn.conn.send_data(stream, &messages.0, false)
            } else {
                let messages = std::mem::take(&mut messages.0);
                turn.conn.send_data_shared(stream, storage::share(messages), false)
            };
            messages.clear();
            self.emptied = Some(messages);
        }
        if call.is_finishing {
            // Likewise.
            let _ = turn.conn.send_data(stream, b"", true);
            call.is_finishing = false;
        }
    }
}

impl Side for ClientSide {
    type Role = Client;
    type Command = LinkCommand;

    fn command(&mut self, turn: &mut Turn<'_, Client>, command: LinkCommand) {
        match command {
            LinkCommand::Start(start) => {
                if let Some((request, receiver)) = start.take() {
                    self.admit(turn, request, receiver);
                }
            }
            LinkCommand::Cancel(notice) => {
                let found = self.calls.find(notice.place(), |call| call.has_notice(&notice));
                if let Some((key, call)) = found {
                    call.fail(cancelled());
                    self.note_due(key);
                }
            }
            LinkCommand::Close => turn.conn.goaway(Reason::NO_ERROR, b""),
        }
    }

    fn call_asks(&mut self, _turn: &mut Turn<'_, Client>, shared: &Arc<CallShared>) {
        let asks = shared.take_asks();
        let found = self.calls.find(shared.place(), |call| call.has_shared(shared));
        let Some((key, call)) = found else { return };
        call.has_outbox |= asks.has(Asks::OUTBOX);
        call.is_finishing |= asks.has(Asks::FINISH);
        if asks.has(Asks::INBOUND_DROPPED)
            && let Some(stream) = call.streaming()
        {
            stream.feed.reader_gone(shared);
        }
        if asks.has(Asks::INBOUND_DROPPED) || asks.has(Asks::OUTBOUND_DROPPED) {
            call.fail(cancelled());
        }
        self.note_due(key);
    }

    #[inline]
    fn event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::Headers { key, fields, end_stream } => {
                if !self.has_served {
                    self.note_answered(key);
                }
                self.on_stream(key, |call, _, from| call.on_head(fields, end_stream, from));
            }
            Event::Data { key, payload, end_stream } => {
                self.on_stream(key, |call, spares, _| {
                    call.on_data(payload, end_stream, spares);
                });
            }
            Event::Trailers { key, fields } => {
                self.on_stream(key, |call, _, from| call.on_trailers(fields, from));
            }
            Event::Reset { key, reason, remote, unprocessed } => {
                let may_reopen = !self.link.is_retired();
                let reset = Reset { reason, remote, unprocessed };
                self.on_stream(key, |call, _, from| call.on_reset(reset, from, may_reopen));
            }
            Event::Settings => {
                if let Some(established) = self.established.take() {
                    // The one who connects may have given up.
                    let _ = established.send(Ok(()));
                }
            }
            Event::GoAway { last_stream_id, reason, debug } => {
                if last_stream_id > 0 {
                    self.note_let_go_on();
                }
                self.on_goaway(reason, debug);
            }
            _ => {}
        }
    }

    fn run(&mut self, _: &mut Turn<'_, Client>) -> Progress {
        Progress::Done
    }

    #[inline]
    fn settle(&mut self, turn: &mut Turn<'_, Client>) {
        let pressure_rises = turn.conn.recv_pressure_rises();
        if pressure_rises {
            self.note_all_due();
        }
        if pressure_rises || !self.due.is_empty() || !self.waiting.is_empty() {
            self.settle_calls(turn);
        }
        self.note_activity(turn.now);
    }

    fn transmitted(&mut self, turn: &mut Turn<'_, Client>) {
        let calls = &mut self.calls;
        self.sending.retain(|key| {
            let Some(call) = calls.get_mut(*key) else { return false };
            let Some(stream) = call.open_stream() else { return false };
            let queued_bytes = turn.conn.queued_bytes(stream).unwrap_or(0);
            let sent_bytes = call.given_bytes.wrapping_sub(queued_bytes);
            call.is_sending = queued_bytes > 0;
            if let Some(streaming) = call.streaming() {
                streaming.shared.set_sent_bytes(sent_bytes, queued_bytes);
            }
            queued_bytes > 0
        });
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn handle_deadlines(&mut self, turn: &mut Turn<'_, Client>) {
        while let Some(key) = self.deadlines.pop_due(turn.now) {
            if let Some(call) = self.calls.get_mut(key) {
                call.is_armed = false;
                self.deadlines.expired();
                self.expire(key);
            }
        }
    }

    fn is_busy(&self) -> bool {
        !self.calls.is_empty()
    }

    fn release(&mut self) {
        if !self.calls.is_empty() {
            return;
        }
        self.calls.release();
        self.by_stream = Vec::new();
        self.due = Vec::new();
        self.sending = Vec::new();
        self.spares = Spares::default();
        self.emptied = None;
        // All of calls that are gone.
        self.waiting = VecDeque::new();
        self.deadlines = Deadlines::new();
    }

    fn closed(&mut self, reason: &CloseReason) {
        let mut lost = self.lost(reason);
        self.retire(lost.clone(), Disconnect::of(reason));
        if let Some(established) = self.established.take() {
            // The one who connects may have given up.
            let _ = established.send(Err(lost.clone()));
        } else if !self.calls.is_empty() {
            let told = format!("{} [attempt {}, READY]", lost.message(), self.link.attempt());
            lost = lost.with_message(told);
        }
        for mut call in self.calls.drain() {
            match call.phase {
                Phase::Ended(_) => {}
                Phase::Waiting | Phase::Refused(_) => call.hand_back(|| lost.clone()),
                Phase::Open(_) => call.lose(&lost, &self.remote),
            }
        }
        // No turn follows that would.
        self.note_activity(tokio::time::Instant::now().into_std());
        self.link.note_ended();
    }
}

impl std::fmt::Debug for ClientSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSide")
            .field("link", &self.link)
            .field("calls", &self.calls.len())
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

#[cold]
fn cancelled() -> Status {
    Status::cancelled("the call was cancelled by its caller")
}
