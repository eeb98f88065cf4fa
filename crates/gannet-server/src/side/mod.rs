//! The server's half of a connection: slots, one for each stream, and what happens in them.
//!
//! | file | what it does |
//! | --- | --- |
//! | `slot` | the state of one call, and its recycling |
//! | `receive` | events from the engine: requests begin, go on, end |
//! | `run` | starting and polling handlers |
//! | `finish` | replies, credit, streams that are forgotten |
//! | `away` | handlers that run outside of the connection's task |
//! | `compute` | the threads of those that compute for long |
//! | `observe` | telling those who follow calls |
//! | `watch` | which polls of handlers are timed |
//!
//! A unary call in steady state touches: its slot, the handler's storage, the engine. No lock, no
//! allocation, no channel.

mod away;
mod compute;
mod finish;
mod observe;
mod receive;
mod run;
mod slot;
mod watch;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use gannet_core::compression::Compressors;
use gannet_core::{Code, Status};
use gannet_http2::hpack::{CachedBlock, CachedField};
use gannet_http2::{Connection, Event, Reason, Server, StreamKey};
use gannet_transport::observe::Observers;
use gannet_transport::{
    Asks, CallShared, CloseReason, Deadlines, Framed, Peer, Progress, Queue, Side, Spares, Turn,
};

use crate::head::{KnownHeads, Refusal};
use crate::router::Router;
use crate::server::OnConnectionError;
use crate::service::{Handler, drop_quietly};
pub(crate) use away::Finished;
pub(crate) use compute::Compute;
use observe::Followed;
use slot::{Ending, Slot, State};
use watch::Watch;

/// Handler storage kept for each method of a connection.
const HANDLERS_KEPT_MAX: usize = 256;

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) router: Arc<Router>,
    pub(crate) compressors: Compressors,
    pub(crate) compute: Compute,
    pub(crate) on_connection_error: Option<OnConnectionError>,
    pub(crate) observers: Observers,
    /// For counting: what a round of handlers does depends on no clock.
    pub(crate) rounds_ignore_time: bool,
}

impl Rules {
    /// A connection has ended like this.
    pub(crate) fn tell_end(&self, peer: &Peer, reason: &CloseReason) {
        if let Some(hook) = &self.on_connection_error {
            hook.tell(peer, reason);
        }
    }
}

/// The server's [`Side`].
pub(crate) struct ServerSide {
    rules: Arc<Rules>,
    peer: Arc<Peer>,
    queue: Arc<Queue<Finished>>,
    constants: Constants,
    heads: KnownHeads,
    /// By the index of the stream key.
    slots: Vec<Slot>,
    /// Slots that are not free.
    live: u32,
    /// Slots whose handlers are to be polled.
    ready: VecDeque<u32>,
    /// Slots with messages that their handlers were not told of.
    fed: Vec<u32>,
    /// Slots with credit to give, an outcome to send, or a stream to forget.
    unsettled: Vec<u32>,
    /// Slots with DATA in the engine.
    sending: Vec<u32>,
    /// Credit of unary requests whose ends have not come.
    credits: Vec<(StreamKey, usize)>,
    /// Credit of those that have ended: it concerns the connection only.
    credit_of_ended: usize,
    deadlines: Deadlines<StreamKey>,
    spares: Spares,
    /// Takes the place of the next messages that are taken out of an outbox.
    emptied: Option<Box<Framed>>,
    /// Storage of finished handlers, by method.
    handlers: Vec<Vec<Handler>>,
    /// What follows calls, where any is followed.
    followed: Option<Box<Followed>>,
    /// Notices handlers that keep the connection waiting.
    watch: Watch,
}

/// The header fields that are in every reply, registered so that they cost a byte each.
#[derive(Clone, Copy, Debug)]
struct Constants {
    /// `:status: 200`, the content type, and the encodings that are accepted, if any.
    head: CachedBlock,
    /// `grpc-status: 0`.
    ok: CachedBlock,
}

impl Constants {
    fn new(conn: &mut Connection<Server>, compressors: &Compressors) -> Constants {
        let accepted = compressors.accepted().as_bytes();
        let head: &[(&[u8], &[u8])] = &[
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-accept-encoding", accepted),
        ];
        let head = if compressors.is_empty() { &head[..2] } else { head };
        let mut register = |fields: &[(&[u8], &[u8])]| {
            let fields: Option<Vec<CachedField>> =
                fields.iter().map(|(name, value)| conn.register_field(name, value)).collect();
            let block = fields.and_then(|fields| conn.register_block(&fields));
            block.expect("a new connection has room for the constants")
        };
        Constants { head: register(head), ok: register(&[(b"grpc-status", b"0")]) }
    }
}

impl ServerSide {
    pub(crate) fn new(
        rules: Arc<Rules>,
        peer: Peer,
        queue: Arc<Queue<Finished>>,
        conn: &mut Connection<Server>,
    ) -> ServerSide {
        ServerSide {
            constants: Constants::new(conn, &rules.compressors),
            rules,
            peer: Arc::new(peer),
            queue,
            heads: KnownHeads::default(),
            slots: Vec::new(),
            live: 0,
            ready: VecDeque::new(),
            fed: Vec::new(),
            unsettled: Vec::new(),
            sending: Vec::new(),
            credits: Vec::new(),
            credit_of_ended: 0,
            deadlines: Deadlines::new(),
            spares: Spares::default(),
            emptied: None,
            handlers: Vec::new(),
            followed: None,
            watch: Watch::default(),
        }
    }

    /// The connection has ended like this.
    pub(crate) fn tell_end(&self, reason: &CloseReason) {
        self.rules.tell_end(&self.peer, reason);
    }

    /// The slot that holds the call of `shared`, if that call is still there.
    fn place_of(&self, shared: &Arc<CallShared>) -> Option<usize> {
        let at = shared.place() as usize;
        let slot = self.slots.get(at)?;
        (!slot.is_free() && Arc::ptr_eq(&slot.shared, shared)).then_some(at)
    }

    /// The slot of a live stream.
    fn slot_of(&self, key: StreamKey) -> Option<usize> {
        let slot = self.slots.get(key.index())?;
        (!slot.is_free() && slot.key == key).then_some(key.index())
    }

    /// Has the slot's handler polled in this or the next wake.
    fn make_ready(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at)
            && !std::mem::replace(&mut slot.in_ready, true)
        {
            self.ready.push_back(place(at));
        }
    }

    /// Notes what a call asks for besides being polled. Messages in its outbox, and what it has
    /// taken, are seen to when handlers have run.
    fn note_asks(&mut self, at: usize, asks: Asks) {
        let slot = &mut self.slots[at];
        if asks == Asks::NONE || asks == Asks::POLL {
            return;
        }
        slot.outbox_due |= asks.has(Asks::OUTBOX);
        if asks.has(Asks::SEND_HEADERS) {
            slot.headers_due = true;
            slot.has_outbox = true;
        }
        if asks.has(Asks::INBOUND_DROPPED)
            && let Some(feed) = &mut slot.feed
        {
            feed.reader_gone(&slot.shared);
        }
        // A server's call ends when its handler returns: the other asks mean nothing here.
        self.unsettle(at);
    }

    /// Has the slot looked at when handlers have run.
    fn unsettle(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at)
            && !std::mem::replace(&mut slot.in_unsettled, true)
        {
            self.unsettled.push(place(at));
        }
    }

    /// Ends a call that nobody waits for any more. Its stream is forgotten once its handler is
    /// gone.
    fn abandon(&mut self, at: usize, code: Code) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.is_free() || matches!(slot.state, State::Gone | State::Abandoned) {
            return;
        }
        slot.shared.end(code);
        if self.followed.is_some() {
            self.tell_ended_early(at, code);
        }
        let slot = &mut self.slots[at];
        if let Some(feed) = &mut slot.feed {
            let _ = feed.end(Err(ended_early(code)), &slot.shared);
        }
        if let Some(handler) = slot.handler.take() {
            drop_quietly(handler);
        }
        let slot = &mut self.slots[at];
        slot.state = if slot.state == State::Away { State::Abandoned } else { State::Gone };
        if let Some(Ending::Returned(outcome)) = slot.ending.take() {
            slot.call = Some(outcome.call);
        }
        self.unsettle(at);
    }

    /// Ends a call at its deadline. It is told so by its status: a client whose own deadline is not
    /// quite over takes RST_STREAM(CANCEL) for a cancellation, as the C core does. What still waits
    /// for the client to read would hold the status up, so that such a call is reset.
    #[cold]
    fn expire(&mut self, turn: &mut Turn<'_, Server>, at: usize) {
        let Some(&Slot { key, headers_sent, .. }) = self.slots.get(at) else { return };
        if turn.conn.queued_bytes(key) == Some(0) {
            let refusal = Refusal::grpc(ended_early(Code::DeadlineExceeded));
            self.constants.refuse(turn, key, headers_sent, &refusal);
        } else {
            turn.conn.reset(key, Reason::CANCEL);
        }
        self.abandon(at, Code::DeadlineExceeded);
    }

    /// Makes the slot free for another call.
    fn free(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let had_deadline = slot.has_deadline;
        let has_streamed = slot.clear();
        self.live -= 1;
        if has_streamed && self.followed.is_some() {
            // What was told of its messages goes now: the slot may not be used for long.
            slot.renew(slot.key, &self.queue);
        }
        if had_deadline {
            let slots = &self.slots;
            self.deadlines.forget(|key: StreamKey| {
                let slot = slots.get(key.index());
                slot.is_some_and(|slot| !slot.is_free() && slot.key == key)
            });
        }
    }
}

impl Side for ServerSide {
    type Role = Server;
    type Command = Finished;

    fn command(&mut self, turn: &mut Turn<'_, Server>, finished: Finished) {
        self.handler_is_back(turn, finished);
    }

    fn call_asks(&mut self, _turn: &mut Turn<'_, Server>, call: &Arc<CallShared>) {
        if let Some(at) = self.place_of(call) {
            let asks = call.take_asks();
            if asks.has(Asks::POLL) && self.slots[at].state == State::Inline {
                self.make_ready(at);
            }
            self.note_asks(at, asks);
        }
    }

    #[inline]
    fn event(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Headers { key, fields, end_stream } => {
                self.request(now, key, fields, end_stream);
            }
            Event::Data { key, payload, end_stream } => self.data(key, payload, end_stream),
            Event::Trailers { key, .. } => self.data(key, &[], true),
            Event::Reset { key, .. } => {
                if let Some(at) = self.slot_of(key) {
                    self.abandon(at, Code::Cancelled);
                }
            }
            _ => {}
        }
    }

    fn run(&mut self, turn: &mut Turn<'_, Server>) -> Progress {
        self.poll_ready(turn)
    }

    fn settle(&mut self, turn: &mut Turn<'_, Server>) {
        self.settle_all(turn);
    }

    fn transmitted(&mut self, turn: &mut Turn<'_, Server>) {
        self.account_sent(turn);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn handle_deadlines(&mut self, turn: &mut Turn<'_, Server>) {
        while let Some(key) = self.deadlines.pop_due(turn.now) {
            let Some(at) = self.slot_of(key) else { continue };
            self.slots[at].has_deadline = false;
            self.deadlines.expired();
            if self.slots[at].ending.is_some() {
                continue;
            }
            if self.slots[at].deadline_is_ours {
                let told = "the call took longer than the server lets its method take";
                self.fail(at, Status::deadline_exceeded(told));
            } else {
                self.expire(turn, at);
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.live > 0
    }

    fn release(&mut self) {
        if self.live > 0 {
            return;
        }
        self.heads.release();
        self.slots = Vec::new();
        self.handlers = Vec::new();
        self.ready = VecDeque::new();
        self.fed = Vec::new();
        self.unsettled = Vec::new();
        self.sending = Vec::new();
        self.credits = Vec::new();
        self.followed = None;
        self.spares = Spares::default();
        self.emptied = None;
        // All of calls that are gone.
        self.deadlines = Deadlines::new();
    }

    fn closed(&mut self, _reason: &CloseReason) {
        for at in 0..self.slots.len() {
            self.abandon(at, Code::Cancelled);
        }
        self.slots = Vec::new();
        self.handlers = Vec::new();
    }
}

impl fmt::Debug for ServerSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSide")
            .field("peer", &self.peer)
            .field("live", &self.live)
            .field("slots", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// A slot's index as lists hold it; streams are limited to 2^31 by HTTP/2.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cold]
fn ended_early(code: Code) -> Status {
    match code {
        Code::DeadlineExceeded => Status::deadline_exceeded("the call's deadline has passed"),
        _ => Status::cancelled("the client cancelled the call, or its connection was lost"),
    }
}
