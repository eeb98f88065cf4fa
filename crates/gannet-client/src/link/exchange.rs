//! One call on the connection's task: what it makes of what the server sends.
//!
//! Does not touch the engine: the side opens, credits and forgets its stream.

use std::borrow::Cow;
use std::sync::Arc;

use gannet_core::compression::{Compressor, Packed};
use gannet_core::{Code, Message, MessageReader, Metadata, Origin, Status};
use gannet_http2::StreamKey;
use gannet_http2::hpack::FieldBlock;
use gannet_transport::Spares;

use super::errors::{
    Reset, compressed_unasked, deadline_exceeded, encoding_refused, more_than_one, none_at_all,
};
use super::remote::Remote;
use super::response::{self, ResponseHead};
use crate::call::notice::{Around, Notice, Outcome, Received};
use crate::call::request::{Body, Receiver, Request, StreamReceiver};
use crate::channel::is_health_question;

/// A call, from its arrival on the connection until its stream is forgotten.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Box<Request>,
    pub(super) phase: Phase,
    /// Noted in the side's list of calls to settle.
    pub(super) is_due: bool,
    /// Its deadline is in the side's heap.
    pub(super) is_armed: bool,
    /// Bytes of the application's messages that were given to the engine. Wraps.
    pub(super) given_bytes: usize,
    /// Noted in the side's list of calls with bytes in the engine.
    pub(super) is_sending: bool,
    /// Messages lie in the outbox.
    pub(super) has_outbox: bool,
    /// The end of the request is to be sent behind what lies in the outbox.
    pub(super) is_finishing: bool,
    receiving: Receiving,
    /// The response's head came: the server has seen the call.
    is_committed: bool,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was sent.
    Waiting,
    /// On this stream.
    Open(StreamKey),
    /// The server refused this stream unseen; to be opened once more.
    Refused(StreamKey),
    /// The caller was told how it ended.
    Ended(Option<StreamKey>),
}

#[derive(Debug)]
enum Receiving {
    Unary(UnaryReceiving),
    Stream(Box<StreamReceiver>),
}

struct UnaryReceiving {
    notice: Arc<Notice>,
    reader: MessageReader,
    payload: Option<Vec<u8>>,
    /// Where the response declared an encoding.
    coding: Option<Box<Coding>>,
    /// Where the request asked for them.
    headers: Option<Box<Metadata>>,
    /// Received bytes whose credit was not given back.
    uncredited_bytes: usize,
}

/// How messages of a response may be compressed.
struct Coding {
    compressor: Arc<dyn Compressor>,
    message_bytes_max: usize,
    /// The one message is.
    is_used: bool,
}

impl Call {
    /// A call that lies at `place`.
    pub(super) fn new(request: Box<Request>, receiver: Receiver, place: u32) -> Call {
        receiver.notice().set_place(place);
        let receiving = match receiver {
            Receiver::Unary(notice) => Receiving::Unary(UnaryReceiving {
                notice,
                reader: MessageReader::new(request.receive_bytes_max()),
                payload: None,
                coding: None,
                headers: None,
                uncredited_bytes: 0,
            }),
            Receiver::Stream(stream) => {
                stream.shared.set_place(place);
                Receiving::Stream(stream)
            }
        };
        Call {
            request,
            phase: Phase::Waiting,
            is_due: false,
            is_armed: false,
            given_bytes: 0,
            is_sending: false,
            has_outbox: false,
            is_finishing: false,
            receiving,
            is_committed: false,
        }
    }

    pub(super) fn stream(&self) -> Option<StreamKey> {
        match self.phase {
            Phase::Waiting => None,
            Phase::Open(stream) | Phase::Refused(stream) => Some(stream),
            Phase::Ended(stream) => stream,
        }
    }

    /// The stream, as long as the call goes on.
    pub(super) fn open_stream(&self) -> Option<StreamKey> {
        match self.phase {
            Phase::Open(stream) => Some(stream),
            _ => None,
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether the application has made it.
    pub(super) fn is_applications(&self) -> bool {
        !is_health_question(self.request.method)
    }

    /// The stream was opened.
    pub(super) fn opened(&mut self, stream: StreamKey) {
        self.phase = Phase::Open(stream);
        if let Receiving::Stream(receiver) = &self.receiving {
            receiver.opened.set(Outcome::Opened);
        }
    }

    /// Its request was given to the engine, as far as it is no stream.
    #[inline]
    pub(super) fn tell_sent(&self) {
        if let Some(attempt) = self.request.attempt() {
            attempt.sent(&self.request);
        }
    }

    /// Whether a call that the server refused unseen is to be made again by its caller, since
    /// somebody follows that. A stream cannot be, and is made again here.
    pub(super) fn goes_back_refused(&self) -> bool {
        matches!(self.receiving, Receiving::Unary(_)) && self.request.attempt().is_some()
    }

    /// The server refused it unseen, and it is made again here.
    pub(super) fn tell_refused(&mut self) {
        if let Some(attempt) = self.request.attempt().map(Arc::clone) {
            attempt.begin_again(&mut self.request);
        }
    }

    /// Whether this is the call that `notice` belongs to.
    pub(super) fn has_notice(&self, notice: &Arc<Notice>) -> bool {
        matches!(&self.receiving, Receiving::Unary(unary) if Arc::ptr_eq(&unary.notice, notice))
    }

    /// The shared state and the feed of a call that streams.
    pub(super) fn streaming(&mut self) -> Option<&mut StreamReceiver> {
        match &mut self.receiving {
            Receiving::Stream(receiver) => Some(receiver),
            Receiving::Unary(_) => None,
        }
    }

    /// Whether this is the call that `shared` belongs to.
    pub(super) fn has_shared(&self, shared: &Arc<gannet_transport::CallShared>) -> bool {
        matches!(&self.receiving, Receiving::Stream(s) if Arc::ptr_eq(&s.shared, shared))
    }

    /// Receive credit to give back to the server now, bytes; `held_bytes_min` as for
    /// [`Feed::credit`](gannet_transport::Feed::credit).
    ///
    /// Of a call that has ended all goes back: what its caller has not read is the caller's.
    pub(super) fn take_credit(&mut self, held_bytes_min: usize) -> usize {
        let is_ended = self.is_ended();
        match &mut self.receiving {
            Receiving::Unary(unary) => std::mem::take(&mut unary.uncredited_bytes),
            Receiving::Stream(stream) if is_ended => stream.feed.last_credit(),
            Receiving::Stream(stream) => stream.feed.credit(&stream.shared, held_bytes_min),
        }
    }

    /// Hands over to the application what came.
    pub(super) fn flush(&mut self) {
        if let Receiving::Stream(stream) = &mut self.receiving {
            stream.feed.flush(&stream.shared);
        }
    }

    /// The response's head came.
    pub(super) fn on_head(&mut self, fields: &FieldBlock, end_stream: bool, from: &Remote) {
        self.is_committed = true;
        if self.is_ended() {
            return;
        }
        let head = ResponseHead::read(fields);
        if end_stream {
            let refused = |status| encoding_refused(status, &self.request, fields);
            let outcome = head.outcome(fields).map_err(refused);
            return self.end(outcome, from);
        }
        if let Err(status) = head.check(fields) {
            return self.end(Err(status), from);
        }
        if let Some(name) = head.encoding(fields)
            && let Err(status) = self.response_encoding(name)
        {
            return self.end(Err(status), from);
        }
        if let Some(attempt) = self.request.attempt() {
            attempt.headers();
        }
        match &mut self.receiving {
            Receiving::Unary(unary) if self.request.wants_metadata => {
                let headers = gannet_transport::fields::read_metadata(fields);
                unary.headers = (!headers.is_empty()).then(|| Box::new(headers));
            }
            Receiving::Unary(_) => {}
            Receiving::Stream(stream) => {
                let headers = gannet_transport::fields::read_metadata(fields);
                stream.feed.headers(headers, &stream.shared);
            }
        }
    }

    /// Messages of the response may be compressed.
    ///
    /// # Errors
    /// INTERNAL where the channel does not know how.
    #[cold]
    fn response_encoding(&mut self, name: &[u8]) -> Result<(), Status> {
        let compressors = &self.request.compressors;
        let Some(compressor) = compressors.find(name).and_then(|id| compressors.codec(id)) else {
            let (shown, accepted) = (name.escape_ascii(), compressors.accepted());
            return Err(Status::internal(format!(
                "the response has grpc-encoding {shown}; this client accepts {accepted}"
            )));
        };
        let compressor = Arc::clone(compressor);
        match &mut self.receiving {
            Receiving::Unary(unary) => {
                let message_bytes_max = self.request.receive_bytes_max();
                let coding = Coding { compressor, message_bytes_max, is_used: false };
                unary.coding = Some(Box::new(coding));
            }
            Receiving::Stream(stream) => {
                stream.shared.receive_compressed(compressor, self.request.receive_bytes_max());
            }
        }
        Ok(())
    }

    /// DATA came.
    pub(super) fn on_data(&mut self, payload: &[u8], end_stream: bool, spares: &mut Spares) {
        let is_ended = self.is_ended();
        let read = match &mut self.receiving {
            Receiving::Unary(unary) => {
                unary.uncredited_bytes += payload.len();
                if is_ended { Ok(()) } else { unary.data(payload, &mut self.request.body) }
            }
            Receiving::Stream(stream) => stream.feed.data(payload, &stream.shared, spares),
        };
        if is_ended {
            return;
        }
        match read {
            Err(status) => self.publish(Err(status)),
            Ok(()) if end_stream => self.publish(Err(Status::from_http_status(200))),
            Ok(()) => {}
        }
    }

    /// The trailers came.
    pub(super) fn on_trailers(&mut self, fields: &FieldBlock, from: &Remote) {
        if !self.is_ended() {
            self.end(response::trailers(fields), from);
        }
    }

    /// The stream was reset, or passed over by GOAWAY. `may_reopen`: this connection takes new
    /// streams.
    pub(super) fn on_reset(&mut self, reset: Reset, from: &Remote, may_reopen: bool) {
        let Phase::Open(stream) = self.phase else { return };
        let retries = reset.unprocessed && !self.is_committed && self.request.refusals == 0;
        let whole = !matches!(self.request.body, Body::Stream);
        match &self.receiving {
            // The messages of a stream are gone: only whole requests can be made again, and only
            // here, as the caller's halves belong to this connection.
            Receiving::Stream(_) if retries && whole && may_reopen => {
                self.request.refusals += 1;
                self.phase = Phase::Refused(stream);
            }
            Receiving::Unary(_) if retries => {
                self.request.refusals += 1;
                self.phase = Phase::Refused(stream);
            }
            _ => self.end(Err(reset.status(from)), from),
        }
    }

    /// Ends the call without an answer from the server.
    pub(super) fn fail(&mut self, status: Status) {
        if !self.is_ended() {
            self.publish(Err(status));
        }
    }

    /// Ends the call at its deadline.
    #[cold]
    pub(super) fn expire(&mut self, from: &Remote) {
        let status = self.deadline_exceeded(from);
        self.fail(status);
    }

    /// Says how far the call has come.
    #[cold]
    fn deadline_exceeded(&self, from: &Remote) -> Status {
        let how_far = match self.phase {
            Phase::Waiting | Phase::Refused(_) => "the server has not allowed it a stream yet",
            _ if self.is_committed => "the response has begun and not ended",
            _ => "no response has come",
        };
        let status = deadline_exceeded(self.request.method, how_far);
        let told = from.tell(status.message());
        status.with_message(told)
    }

    /// Ends the call with its connection. A server that drains may end that with its last call, at
    /// the call's deadline, and without a word about it; our timer may come a moment later.
    #[cold]
    pub(super) fn lose(&mut self, lost: &Status, from: &Remote) {
        let lost = lost.clone();
        self.fail(match self.is_late() {
            true => self.deadline_exceeded(from).with_source(lost),
            false => lost,
        });
    }

    /// Gives the request back to its caller, who makes it on another connection. For a call that
    /// the server has not seen; a stream that was opened cannot be moved and fails.
    pub(super) fn hand_back(self, lost: impl FnOnce() -> Status) {
        let stream = match self.receiving {
            Receiving::Unary(unary) => return unary.notice.set_unsent(self.request),
            Receiving::Stream(stream) => stream,
        };
        if stream.opened.get().is_none() {
            return stream.opened.set_unsent(self.request);
        }
        let mut stream = stream;
        end_stream(&mut stream, Err(lost()));
    }

    /// Ends the call with what the server answered, or with what is wrong with that.
    fn end(&mut self, outcome: Result<Metadata, Status>, from: &Remote) {
        let outcome = match outcome {
            Err(status)
                if status.code() == Code::Cancelled
                    && status.origin() == Origin::Peer
                    && self.is_late() =>
            {
                Err(self.deadline_exceeded(from).with_source(status))
            }
            other => other,
        };
        self.publish(outcome);
    }

    /// Whether the deadline has passed. The clock is asked: a turn's time is of before the socket
    /// was read, and a server's timer may have ended the call since.
    #[cold]
    fn is_late(&self) -> bool {
        let now = tokio::time::Instant::now().into_std();
        self.request.deadline.is_some_and(|deadline| deadline <= now)
    }

    fn publish(&mut self, outcome: Result<Metadata, Status>) {
        self.phase = Phase::Ended(self.stream());
        match &mut self.receiving {
            Receiving::Unary(unary) => unary.publish(outcome),
            Receiving::Stream(stream) => end_stream(stream, outcome),
        }
    }
}

impl std::fmt::Debug for UnaryReceiving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnaryReceiving").field("notice", &self.notice).finish_non_exhaustive()
    }
}

impl UnaryReceiving {
    fn data(&mut self, mut payload: &[u8], body: &mut Body) -> Result<(), Status> {
        while let Some(message) = self.reader.next(&mut payload)? {
            let Message { compressed, payload } = message;
            if self.payload.is_some() {
                return Err(more_than_one());
            }
            if compressed {
                self.coding.as_mut().ok_or_else(compressed_unasked)?.is_used = true;
            }
            self.payload = Some(match payload {
                Cow::Owned(payload) => payload,
                // The server has seen the request: its storage is free for the response.
                Cow::Borrowed(payload) => match std::mem::replace(body, Body::Stream) {
                    Body::Small(mut storage) if storage.capacity() >= payload.len() => {
                        storage.clear();
                        storage.extend_from_slice(payload);
                        storage
                    }
                    Body::Small(_) | Body::Large(_) | Body::Stream => payload.to_vec(),
                },
            });
        }
        Ok(())
    }

    fn publish(&mut self, outcome: Result<Metadata, Status>) {
        let outcome = outcome
            .and_then(|trailers| self.reader.finish().map(|()| trailers).map_err(Status::from));
        self.notice.set(match (outcome, self.payload.take()) {
            (Ok(trailers), Some(payload)) => {
                let metadata = match self.headers.take() {
                    None if trailers.is_empty() => None,
                    headers => Some(Around::new(headers, trailers)),
                };
                let payload = match self.coding.take() {
                    Some(coding) if coding.is_used => coding.packed(payload),
                    _ => payload.into(),
                };
                Outcome::Response { payload, metadata }
            }
            (Ok(trailers), None) => Outcome::Failed(none_at_all().with_metadata(trailers)),
            (Err(status), _) => Outcome::Failed(status),
        });
    }
}

impl Coding {
    fn packed(self, payload: Vec<u8>) -> Received {
        Received::Packed(Box::new(Packed::new(self.compressor, payload, self.message_bytes_max)))
    }
}

/// Tells both halves of a stream how the call ended.
fn end_stream(stream: &mut StreamReceiver, outcome: Result<Metadata, Status>) {
    if let Err(status) = &outcome {
        // Whoever still waits for the stream to open learns it there.
        stream.opened.set(Outcome::Failed(status.clone()));
    }
    let failed = outcome.as_ref().err().cloned();
    match stream.feed.end(outcome, &stream.shared).err().or(failed) {
        Some(status) => stream.shared.end_failed(&status),
        None => stream.shared.end(Code::Ok),
    }
}
