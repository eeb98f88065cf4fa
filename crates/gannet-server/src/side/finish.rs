//! Replies, credit, and streams that are forgotten.

use gannet_core::compression::Encoding;
use gannet_core::{Code, Metadata, MethodKind, Status, names, storage};
use gannet_http2::{FieldWriter, Server, StreamKey};
use gannet_transport::{Turn, fields};

use super::slot::{Ending, State};
use super::{Constants, ServerSide, place};
use crate::Call;
use crate::head::{Refusal, Stranger};
use crate::service::{Outcome, handler_panicked};

/// Messages from this size on are handed to the engine by reference.
const SHARED_BYTES_MIN: usize = 16 << 10;

impl ServerSide {
    /// A handler that ran here has returned. A call without streams has nothing in the queue and
    /// is answered at once; others wait for `settle`.
    pub(super) fn returned(&mut self, turn: &mut Turn<'_, Server>, at: usize, outcome: Outcome) {
        let is_unary = outcome.call.method().kind == MethodKind::Unary;
        if !is_unary || self.slots[at].headers_sent {
            return self.end(at, Ending::Returned(outcome));
        }
        let code = self.answer(turn, at, outcome);
        self.slots[at].shared.end(code);
        self.forget(turn, at);
    }

    /// Sends what a handler returned, and takes the call back.
    fn answer(&mut self, turn: &mut Turn<'_, Server>, at: usize, outcome: Outcome) -> Code {
        if self.followed.is_some() {
            self.tell_answer(at, &outcome);
        }
        let slot = &mut self.slots[at];
        let Outcome { mut call, result } = outcome;
        self.constants.answer(turn, slot.key, slot.headers_sent, &mut call, &result);
        slot.call = Some(call);
        result.as_ref().map_or_else(Status::sent_code, |()| Code::Ok)
    }

    /// Sees to every slot that was noted down.
    #[inline]
    pub(super) fn settle_all(&mut self, turn: &mut Turn<'_, Server>) {
        while let Some((key, bytes)) = self.credits.pop() {
            turn.conn.release(key, bytes);
        }
        turn.conn.release_ended(std::mem::take(&mut self.credit_of_ended));
        if !self.unsettled.is_empty() {
            self.settle_noted(turn);
        }
        if turn.conn.recv_pressure_rises() {
            for at in 0..self.slots.len() {
                if self.slots[at].feed.is_some() {
                    self.unsettle(at);
                }
            }
            self.settle_noted(turn);
        }
    }

    fn settle_noted(&mut self, turn: &mut Turn<'_, Server>) {
        let mut left = std::mem::take(&mut self.unsettled);
        for at in left.drain(..) {
            let at = at as usize;
            let Some(slot) = self.slots.get_mut(at) else { continue };
            slot.in_unsettled = false;
            if let Some(feed) = &mut slot.feed {
                feed.flush(&slot.shared);
                let credit = feed.credit(&slot.shared, turn.conn.held_bytes_min());
                if credit > 0 {
                    turn.conn.release(slot.key, credit);
                }
            }
            if slot.outbox_due || slot.headers_due || slot.has_outbox && slot.ending.is_some() {
                self.collect(turn, at);
            }
            let slot = &self.slots[at];
            match slot.state {
                State::Gone => self.forget(turn, at),
                State::Ended | State::Away if slot.ending.is_some() => self.finish(turn, at),
                _ => {}
            }
        }
        // The list keeps its memory.
        left.append(&mut self.unsettled);
        self.unsettled = left;
    }

    /// Sends what lies in a call's outbox.
    fn collect(&mut self, turn: &mut Turn<'_, Server>, at: usize) {
        let slot = &mut self.slots[at];
        if matches!(slot.state, State::Gone | State::Abandoned) {
            return;
        }
        slot.outbox_due = false;
        let outbox = match &slot.ending {
            None => slot.shared.take_outbox(self.emptied.take()),
            Some(_) => slot.shared.take_last_outbox(),
        };
        if std::mem::take(&mut slot.headers_due) {
            self.send_headers(turn, at);
        }
        if let Some(mut messages) = outbox {
            self.send_messages(turn, at, &mut messages.0);
            messages.clear();
            self.emptied = Some(messages);
        }
    }

    /// Sends messages of a stream of responses; may take their storage.
    pub(super) fn send_messages(
        &mut self,
        turn: &mut Turn<'_, Server>,
        at: usize,
        messages: &mut Vec<u8>,
    ) {
        if messages.is_empty() {
            return;
        }
        self.send_headers(turn, at);
        let slot = &mut self.slots[at];
        slot.accepted_bytes = slot.accepted_bytes.wrapping_add(messages.len());
        let sent = if messages.len() >= SHARED_BYTES_MIN {
            let messages = storage::share(std::mem::take(messages));
            turn.conn.send_data_shared(slot.key, messages, false)
        } else {
            turn.conn.send_data(slot.key, messages, false)
        };
        // A stale stream has an event on its way that ends the call.
        if sent.is_ok() && !std::mem::replace(&mut slot.in_sending, true) {
            self.sending.push(place(at));
        }
    }

    /// Sends the response headers, unless that is done.
    pub(super) fn send_headers(&mut self, turn: &mut Turn<'_, Server>, at: usize) {
        let constants = self.constants;
        let slot = &mut self.slots[at];
        if slot.headers_sent || matches!(slot.state, State::Gone | State::Abandoned) {
            return;
        }
        slot.headers_sent = true;
        if self.followed.is_some() {
            self.tell_headers(at);
        }
        let slot = &self.slots[at];
        // Those that were published before a message was sent are seen after it is.
        let headers = slot.shared.take_headers().unwrap_or_default();
        let encoding = slot.shared.declared_encoding();
        let _ = turn.conn.send_headers(slot.key, false, |w| constants.head(w, encoding, &headers));
    }

    /// Tells senders how much of what they queued has left the engine.
    #[inline]
    pub(super) fn account_sent(&mut self, turn: &mut Turn<'_, Server>) {
        if self.sending.is_empty() {
            return;
        }
        let slots = &mut self.slots;
        self.sending.retain(|&at| {
            let Some(slot) = slots.get_mut(at as usize) else { return false };
            if slot.is_free() {
                slot.in_sending = false;
                return false;
            }
            let queued = turn.conn.queued_bytes(slot.key).unwrap_or(0);
            slot.shared.set_sent_bytes(slot.accepted_bytes.wrapping_sub(queued), queued);
            slot.in_sending = queued > 0;
            slot.in_sending
        });
    }

    /// Sends the call's ending and forgets its stream, at once or when a handler elsewhere is gone.
    fn finish(&mut self, turn: &mut Turn<'_, Server>, at: usize) {
        let slot = &mut self.slots[at];
        let Some(ending) = slot.ending.take() else { return };
        let code = match ending {
            Ending::Returned(outcome) => self.answer(turn, at, outcome),
            Ending::Panicked => self.refused(turn, at, &Refusal::grpc(handler_panicked())),
            Ending::Refused(refusal) => self.refused(turn, at, &refusal),
        };
        let slot = &mut self.slots[at];
        slot.shared.end(code);
        if slot.state == State::Away {
            slot.state = State::Abandoned;
            return;
        }
        self.forget(turn, at);
    }

    /// Answers without a handler's outcome.
    fn refused(&mut self, turn: &mut Turn<'_, Server>, at: usize, refusal: &Refusal) -> Code {
        if self.followed.is_some() {
            self.tell_ended(at, Err(&refusal.status));
        }
        let slot = &self.slots[at];
        self.constants.refuse(turn, slot.key, slot.headers_sent, refusal);
        refusal.status.code()
    }

    /// Gives the stream back to the engine, and frees the slot.
    pub(super) fn forget(&mut self, turn: &mut Turn<'_, Server>, at: usize) {
        let slot = &mut self.slots[at];
        if let Some(feed) = &mut slot.feed {
            feed.cut(Status::cancelled("the call has ended"), &slot.shared);
            turn.conn.release(slot.key, feed.last_credit());
        }
        let call = slot.call.as_ref();
        let deadline = call.filter(|_| slot.has_deadline).and_then(Call::deadline);
        let until = match (deadline, call.and_then(Call::answer_until)) {
            (Some(deadline), Some(until)) => Some(deadline.min(until)),
            (deadline, until) => deadline.or(until),
        };
        match until {
            Some(until) => turn.conn.forget_until(slot.key, until),
            None => turn.conn.forget(slot.key),
        }
        self.free(at);
    }
}

impl Constants {
    /// The head of a response.
    #[inline]
    fn head(self, w: &mut FieldWriter<'_>, encoding: Option<Encoding>, headers: &Metadata) {
        w.cached_block(self.head);
        if let Some(encoding) = encoding {
            w.field(names::GRPC_ENCODING.as_bytes(), encoding.name().as_bytes());
        }
        if !headers.is_empty() {
            fields::write_metadata(w, headers);
        }
    }

    /// The outcome of a call.
    #[inline]
    fn outcome(self, w: &mut FieldWriter<'_>, result: Result<(), &Status>, trailers: &Metadata) {
        match result {
            Ok(()) => {
                w.cached_block(self.ok);
                if !trailers.is_empty() {
                    fields::write_metadata(w, trailers);
                }
            }
            Err(_) => fields::write_outcome(w, result, trailers),
        }
    }

    /// Sends what a handler returned. Before anything else was sent, an error or an empty stream
    /// goes out trailers-only.
    fn answer(
        self,
        turn: &mut Turn<'_, Server>,
        key: StreamKey,
        headers_sent: bool,
        call: &mut Call,
        result: &Result<(), Status>,
    ) {
        let one_reply = !call.method().kind.server_streams() && result.is_ok();
        if one_reply
            && !headers_sent
            && let Some(reply) = call.plain_reply(SHARED_BYTES_MIN)
        {
            let _ = turn.conn.respond_constant(key, self.head, reply, self.ok);
            return;
        }
        let large = if one_reply { call.take_reply(SHARED_BYTES_MIN) } else { None };
        let encoding = if one_reply { call.declared_encoding() } else { None };
        let (headers, trailers) = call.response_metadata();
        let outcome = result.as_ref().copied();
        let outcome_of = |w: &mut FieldWriter<'_>| self.outcome(w, outcome, trailers);
        let conn = &mut *turn.conn;
        if !headers_sent && one_reply && large.is_none() {
            let head = |w: &mut FieldWriter<'_>| self.head(w, encoding, headers);
            let _ = conn.respond_unary(key, head, call.reply(), outcome_of);
            return;
        }
        if !headers_sent && !one_reply && headers.is_empty() {
            let _ = conn.send_headers(key, true, |w| {
                self.head(w, None, headers);
                outcome_of(w);
            });
            return;
        }
        if !headers_sent {
            let _ = conn.send_headers(key, false, |w| self.head(w, encoding, headers));
        }
        if let Some(pieces) = large {
            for piece in pieces {
                let _ = conn.send_data_shared(key, piece, false);
            }
        } else if one_reply {
            let _ = conn.send_data(key, call.reply(), false);
        }
        let _ = conn.send_trailers(key, outcome_of);
    }

    /// Answers without a handler's outcome.
    pub(super) fn refuse(
        self,
        turn: &mut Turn<'_, Server>,
        key: StreamKey,
        headers_sent: bool,
        refusal: &Refusal,
    ) {
        let none = Metadata::new();
        if headers_sent {
            let _ = turn.conn.send_trailers(key, |w| {
                self.outcome(w, Err(&refusal.status), &none);
            });
            return;
        }
        let text = match refusal.stranger {
            Some(Stranger::Text) => format!("{}\n", refusal.status.message()),
            Some(Stranger::Head) | None => String::new(),
        };
        let _ = turn.conn.send_headers(key, text.is_empty(), |w| {
            if refusal.http_status == 200 {
                self.head(w, None, &none);
            } else {
                let content_type: &[u8] = match refusal.stranger {
                    Some(_) => b"text/plain; charset=utf-8",
                    None => b"application/grpc",
                };
                w.field(b":status", refusal.http_status.to_string().as_bytes());
                w.field(b"content-type", content_type);
            }
            if let Some((name, value)) = refusal.header {
                w.field(name.as_bytes(), value.as_bytes());
            }
            self.outcome(w, Err(&refusal.status), &none);
        });
        if !text.is_empty() {
            let _ = turn.conn.send_data(key, text.as_bytes(), true);
        }
    }
}
