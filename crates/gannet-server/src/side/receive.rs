//! Requests as they come: heads, bodies, ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use gannet_core::compression::Packed;
use gannet_core::frame::sole_message;
use gannet_core::{MessageReader, Metadata, MethodKind, Status};
use gannet_http2::StreamKey;
use gannet_http2::hpack::FieldBlock;
use gannet_transport::{Asks, Feed};

use super::slot::{Ending, Slot, State};
use super::{ServerSide, place};
use crate::Call;
use crate::head::{Head, Refusal};
use crate::router::Method;
use crate::service::{Input, Late, drop_quietly};

/// A request message of this length is decoded by its handler's first poll.
const LONG_BYTES_MIN: usize = 64 << 10;
/// Slots that are made room for together, at least.
const SLOTS_MORE_MIN: usize = 4;
/// Body bytes of a request that is no gRPC, after which it is answered anyway.
const REFUSED_BODY_BYTES_MAX: u32 = 64 << 10;

impl ServerSide {
    /// A request begins.
    pub(super) fn request(
        &mut self,
        now: Instant,
        key: StreamKey,
        fields: &mut FieldBlock,
        end_stream: bool,
    ) {
        let at = key.index();
        while self.slots.len() <= at {
            if self.slots.len() == self.slots.capacity() {
                // Streams may stay open for long: less to spare than a vector makes by itself.
                self.slots.reserve_exact((self.slots.len() / 4).max(SLOTS_MORE_MIN));
            }
            self.slots.push(Slot::new(key, &self.queue));
        }
        debug_assert!(self.slots[at].is_free(), "the engine reuses an index after forget only");
        self.slots[at].renew(key, &self.queue);
        self.slots[at].shared.set_place(place(at));
        self.live += 1;
        if !self.rules.observers.is_empty() {
            self.follow(at, now, fields);
        }
        match self.heads.read(fields, &self.rules.router, &self.rules.compressors) {
            Ok(head) => self.begin(now, at, &head, fields, end_stream),
            Err(refusal) => self.refuse(at, refusal, end_stream),
        }
    }

    /// Answers a request without a method. A gRPC client is answered at once; others only when they
    /// have said all, within bounds, as plain HTTP clients hardly expect an answer before that.
    fn refuse(&mut self, at: usize, refusal: Box<Refusal>, end_stream: bool) {
        let slot = &mut self.slots[at];
        if refusal.stranger.is_some() && !end_stream {
            slot.state = State::Refusing { body_bytes: 0 };
            slot.ending = Some(Ending::Refused(refusal));
        } else {
            slot.state = State::Gathering;
            self.end(at, Ending::Refused(refusal));
        }
    }

    fn begin(
        &mut self,
        now: Instant,
        at: usize,
        head: &Head,
        fields: &mut FieldBlock,
        end_stream: bool,
    ) {
        let Some(method) = self.rules.router.method(head.method) else { return };
        let descriptor = method.descriptor;
        let (deadline, deadline_is_ours) = deadline_of(head, method, now);
        let is_long = descriptor.kind != MethodKind::Unary;
        let kept = is_long.then(|| self.heads.kept(fields));
        let slot = &mut self.slots[at];
        let call = slot.call.get_or_insert_with(|| {
            Call::new(Arc::clone(&slot.shared), descriptor, Arc::clone(&self.peer))
        });
        match kept {
            Some(kept) => call.begin_long(descriptor, kept, deadline),
            None => call.begin(descriptor, fields, deadline),
        }
        if !self.rules.compressors.is_empty() {
            let chosen = method.compress.filter(|id| head.accepted.has(*id));
            call.begin_coding(&self.rules.compressors, head.accepted, chosen);
            slot.encoding = head.encoding;
        }
        slot.state = State::Gathering;
        slot.method = head.method;
        slot.has_outbox = is_long;
        slot.has_deadline = deadline.is_some();
        slot.deadline_is_ours = deadline_is_ours;
        if let Some(deadline) = deadline {
            self.deadlines.insert(deadline, slot.key);
        }
        let message_bytes_max = method.receive_bytes_max;
        match descriptor.kind {
            MethodKind::Unary | MethodKind::ServerStreaming => {}
            MethodKind::ClientStreaming | MethodKind::BidiStreaming => {
                let compressors = &self.rules.compressors;
                if let Some(compressor) = head.encoding.and_then(|id| compressors.codec(id)) {
                    slot.shared.receive_compressed(Arc::clone(compressor), message_bytes_max);
                }
                slot.feed = Some(Feed::new(&slot.shared, message_bytes_max));
                self.start(at, Input::Stream);
                self.launch(at);
            }
        }
        if end_stream {
            self.request_ended(at);
        }
    }

    /// Body bytes of a request.
    pub(super) fn data(&mut self, key: StreamKey, payload: &[u8], end_stream: bool) {
        let Some(at) = self.slot_of(key) else {
            self.credit(key, payload.len());
            return;
        };
        let slot = &mut self.slots[at];
        if let Some(feed) = &mut slot.feed {
            if let Err(status) = feed.data(payload, &slot.shared, &mut self.spares) {
                self.fail(at, status);
            }
            self.note_fed(at);
            self.unsettle(at);
        } else {
            match &mut slot.state {
                State::Gathering => self.gather(at, payload),
                State::Refusing { body_bytes } => {
                    let more = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                    *body_bytes = body_bytes.saturating_add(more);
                    if *body_bytes > REFUSED_BODY_BYTES_MAX {
                        self.refused_is_read(at);
                    }
                }
                _ => {}
            }
            if end_stream {
                self.credit_of_ended += payload.len();
            } else {
                self.credit(key, payload.len());
            }
        }
        if end_stream {
            self.request_ended(at);
        }
    }

    /// Has the slot's handler told of what came, once everything that was read is parsed.
    fn note_fed(&mut self, at: usize) {
        if !std::mem::replace(&mut self.slots[at].in_fed, true) {
            self.fed.push(place(at));
        }
    }

    /// Tells handlers of the messages that came.
    pub(super) fn flush_fed(&mut self) {
        while let Some(at) = self.fed.pop() {
            let at = at as usize;
            let Some(slot) = self.slots.get_mut(at) else { continue };
            slot.in_fed = false;
            let Some(feed) = &mut slot.feed else { continue };
            if slot.state != State::Inline {
                feed.flush(&slot.shared);
                continue;
            }
            slot.shared.hush();
            feed.flush(&slot.shared);
            let asks = slot.shared.take_asks();
            if asks.has(Asks::POLL) {
                self.make_ready(at);
            }
            self.note_asks(at, asks);
        }
    }

    /// Body bytes of a request that is one message.
    fn gather(&mut self, at: usize, payload: &[u8]) {
        let slot = &self.slots[at];
        // Mostly that is all of it.
        if slot.reader.is_none()
            && slot.handler.is_none()
            && let Some(message) = sole_message(payload, self.receive_bytes_max(at))
        {
            return self.start(at, Input::Message(message));
        }
        self.gather_part(at, payload);
    }

    /// Of the slot's method.
    fn receive_bytes_max(&self, at: usize) -> usize {
        let method = self.rules.router.method(self.slots[at].method);
        method.map_or(0, |method| method.receive_bytes_max)
    }

    /// As `gather`, for what may be a part of the message, or of several.
    fn gather_part(&mut self, at: usize, mut payload: &[u8]) {
        let mut fresh = MessageReader::new(self.receive_bytes_max(at));
        let mut kept = self.slots[at].reader.take();
        let reader = kept.as_deref_mut().unwrap_or(&mut fresh);
        while !payload.is_empty() {
            let message = match reader.next(&mut payload) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => return self.fail(at, error.into()),
            };
            if self.slots[at].handler.is_some() {
                return self.fail(at, Status::internal("more than one request message"));
            }
            match message.payload {
                payload if message.compressed => match self.packed(at, payload) {
                    Some(packed) => self.start(at, Input::Late(Late::Packed(packed))),
                    None => return self.fail(at, compressed_unasked()),
                },
                Cow::Owned(payload) if payload.len() >= LONG_BYTES_MIN => {
                    self.start(at, Input::Late(Late::Long(payload)));
                }
                payload => self.start(at, Input::Message(&payload)),
            }
            if self.slots[at].state != State::Gathering {
                return;
            }
        }
        if reader.is_mid_message() {
            self.slots[at].reader = Some(kept.unwrap_or_else(|| Box::new(fresh)));
        }
    }

    /// A request that came compressed; `None` where the client has not declared how.
    #[cold]
    fn packed(&self, at: usize, payload: Cow<'_, [u8]>) -> Option<Packed> {
        let compressor = self.rules.compressors.codec(self.slots[at].encoding?)?;
        let method = self.rules.router.method(self.slots[at].method)?;
        let message_bytes_max = method.receive_bytes_max;
        Some(Packed::new(Arc::clone(compressor), payload.into_owned(), message_bytes_max))
    }

    /// The client sends no more.
    fn request_ended(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if let Some(feed) = &mut slot.feed {
            if !feed.is_ended()
                && let Err(status) = feed.end(Ok(Metadata::new()), &slot.shared)
            {
                self.fail(at, status);
            }
            return self.unsettle(at);
        }
        match slot.state {
            State::Gathering => {}
            State::Refusing { .. } => return self.refused_is_read(at),
            _ => return,
        }
        if let Some(Err(error)) = slot.reader.as_ref().map(|reader| reader.finish()) {
            return self.fail(at, error.into());
        }
        if slot.handler.is_none() {
            return self.fail(at, Status::internal("the request has no message"));
        }
        self.launch(at);
    }

    /// What was refused has been read: it can be answered.
    fn refused_is_read(&mut self, at: usize) {
        self.slots[at].state = State::Ended;
        self.unsettle(at);
    }

    /// The request breaks gRPC's rules: its handler, if any, is stopped.
    pub(super) fn fail(&mut self, at: usize, status: Status) {
        let slot = &mut self.slots[at];
        if let Some(handler) = slot.handler.take() {
            drop_quietly(handler);
        }
        if let Some(feed) = &mut slot.feed {
            let _ = feed.end(Err(status.clone()), &slot.shared);
        }
        self.end(at, Ending::Refused(Refusal::grpc(status)));
    }

    /// The call has its ending; it goes out when everything the handler sent before has.
    pub(super) fn end(&mut self, at: usize, ending: Ending) {
        let slot = &mut self.slots[at];
        match slot.state {
            State::Gathering | State::Inline => slot.state = State::Ended,
            // The handler elsewhere stops when it sees that the call has ended.
            State::Away => {}
            State::Free
            | State::Refusing { .. }
            | State::Ended
            | State::Abandoned
            | State::Gone => return,
        }
        slot.ending = Some(ending);
        self.unsettle(at);
    }

    /// Credit that needs no reader: the message was taken already.
    fn credit(&mut self, key: StreamKey, bytes: usize) {
        if bytes == 0 {
            return;
        }
        match self.credits.last_mut() {
            Some((last, sum)) if *last == key => *sum += bytes,
            _ => self.credits.push((key, bytes)),
        }
    }
}

#[cold]
fn compressed_unasked() -> Status {
    Status::internal("the request is compressed, but no grpc-encoding was declared")
}

/// When a call ends by itself, and whether the client does not know of that.
#[inline]
pub(super) fn deadline_of(head: &Head, method: &Method, now: Instant) -> (Option<Instant>, bool) {
    let deadline = head.timeout.and_then(|timeout| now.checked_add(timeout));
    match method.timeout {
        Some(max) => shortened(deadline, now.checked_add(max)),
        None => (deadline, false),
    }
}

/// The earlier of the client's deadline and the server's; whether that is the server's.
#[cold]
fn shortened(theirs: Option<Instant>, ours: Option<Instant>) -> (Option<Instant>, bool) {
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs <= ours => (Some(theirs), false),
        (theirs, None) => (theirs, false),
        (_, ours) => (ours, true),
    }
}
