//! One call on the connection's task: what it makes of what the server sends.
//!
//! Does not touch the engine: the side opens, credits and forgets its stream.

use std::sync::Arc;

use gannet_core::{Code, Metadata, Origin, Status};
use gannet_http2::StreamKey;
use gannet_http2::hpack::FieldBlock;
use gannet_transport::Spares;

use super::errors::{Reset, deadline_exceeded, encoding_refused};
use super::remote::Remote;
use super::response::{self, ResponseHead};
use super::unary::UnaryReceiving;
use crate::call::notice::{Notice, Outcome};
use crate::call::request::{Body, Receiver, Request, StreamReceiver};
use crate::call::watch::Attempt;
use crate::channel::is_health_question;

/// A call, from its arrival on the connection until its stream is forgotten.
#[derive(Debug)]
pub(super) struct Call {
    /// Goes back to the caller with the outcome of a unary call.
    pub(super) request: Option<Box<Request>>,
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

impl Call {
    /// A call that lies at `place`.
    pub(super) fn new(request: Box<Request>, receiver: Receiver, place: u32) -> Call {
        receiver.notice().set_place(place);
        let receiving = match receiver {
            Receiver::Unary(notice) => {
                Receiving::Unary(UnaryReceiving::new(notice, request.receive_bytes_max()))
            }
            Receiver::Stream(stream) => {
                stream.shared.set_place(place);
                Receiving::Stream(stream)
            }
        };
        Call {
            request: Some(request),
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

    /// How it is tried, where somebody follows that.
    fn attempt(&self) -> Option<&Arc<Attempt>> {
        self.request.as_ref()?.attempt()
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
        self.request.as_ref().is_none_or(|request| !is_health_question(request.method))
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
        if let Some(request) = &self.request
            && let Some(attempt) = request.attempt()
        {
            attempt.sent(request);
        }
    }

    /// Whether a call that the server refused unseen is to be made again by its caller, since
    /// somebody follows that. A stream cannot be, and is made again here.
    pub(super) fn goes_back_refused(&self) -> bool {
        matches!(self.receiving, Receiving::Unary(_)) && self.attempt().is_some()
    }

    /// The server refused it unseen, and it is made again here.
    pub(super) fn tell_refused(&mut self) {
        if let Some(request) = &mut self.request
            && let Some(attempt) = request.attempt().map(Arc::clone)
        {
            attempt.begin_again(request);
        }
    }

    /// Whether this is the call that `notice` belongs to.
    pub(super) fn has_notice(&self, notice: &Arc<Notice>) -> bool {
        matches!(&self.receiving, Receiving::Unary(unary) if unary.has_notice(notice))
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
        let Some(request) = &self.request else { return };
        let head = ResponseHead::read(fields);
        if end_stream {
            let refused = |status| encoding_refused(status, request, fields);
            let outcome = head.outcome(fields).map_err(refused);
            return self.end(outcome, from);
        }
        if let Err(status) = head.check(fields) {
            return self.end(Err(status), from);
        }
        if let Some(name) = head.encoding(fields)
            && let Err(status) = self.receiving.response_encoding(name, request)
        {
            return self.end(Err(status), from);
        }
        if let Some(attempt) = request.attempt() {
            attempt.headers();
        }
        match &mut self.receiving {
            Receiving::Unary(unary) if request.wants_metadata => {
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

    /// DATA came.
    pub(super) fn on_data(&mut self, payload: &[u8], end_stream: bool, spares: &mut Spares) {
        let is_ended = self.is_ended();
        let read = match &mut self.receiving {
            Receiving::Unary(unary) => {
                unary.uncredited_bytes += payload.len();
                match &mut self.request {
                    Some(request) if !is_ended => unary.data(payload, &mut request.body),
                    _ => Ok(()),
                }
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
        let Some(request) = &mut self.request else { return };
        let retries = reset.unprocessed && !self.is_committed && request.refusals == 0;
        let whole = !matches!(request.body, Body::Stream);
        match &self.receiving {
            // The messages of a stream are gone: only whole requests can be made again, and only
            // here, as the caller's halves belong to this connection.
            Receiving::Stream(_) if retries && whole && may_reopen => {
                request.refusals += 1;
                self.phase = Phase::Refused(stream);
            }
            Receiving::Unary(_) if retries => {
                request.refusals += 1;
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
        if let Some(request) = &self.request {
            self.fail(self.deadline_exceeded(request, from));
        }
    }

    /// Says how far the call has come.
    #[cold]
    fn deadline_exceeded(&self, request: &Request, from: &Remote) -> Status {
        let how_far = match self.phase {
            Phase::Waiting | Phase::Refused(_) => "the server has not allowed it a stream yet",
            _ if self.is_committed => "the response has begun and not ended",
            _ => "no response has come",
        };
        let status = deadline_exceeded(request.method, how_far);
        let told = from.tell(status.message());
        status.with_message(told)
    }

    /// Ends the call with its connection. A server that drains may end that with its last call, at
    /// the call's deadline, and without a word about it; our timer may come a moment later.
    #[cold]
    pub(super) fn lose(&mut self, lost: &Status, from: &Remote) {
        let lost = lost.clone();
        self.fail(match &self.request {
            Some(request) if is_late(request) => {
                self.deadline_exceeded(request, from).with_source(lost)
            }
            _ => lost,
        });
    }

    /// Gives the request back to its caller, who makes it on another connection. For a call that
    /// the server has not seen; a stream that was opened cannot be moved and fails.
    pub(super) fn hand_back(self, lost: impl FnOnce() -> Status) {
        let Some(request) = self.request else { return };
        let stream = match self.receiving {
            Receiving::Unary(UnaryReceiving { notice: Some(notice), .. }) => {
                return notice.set_unsent(request);
            }
            Receiving::Unary(_) => return,
            Receiving::Stream(stream) => stream,
        };
        if stream.opened.get().is_none() {
            return stream.opened.set_unsent(request);
        }
        let mut stream = stream;
        end_stream(&mut stream, Err(lost()));
    }

    /// Ends the call with what the server answered, or with what is wrong with that.
    fn end(&mut self, outcome: Result<Metadata, Status>, from: &Remote) {
        let outcome = match (outcome, &self.request) {
            (Err(status), Some(request))
                if status.code() == Code::Cancelled
                    && status.origin() == Origin::Peer
                    && is_late(request) =>
            {
                Err(self.deadline_exceeded(request, from).with_source(status))
            }
            (other, _) => other,
        };
        self.publish(outcome);
    }

    fn publish(&mut self, outcome: Result<Metadata, Status>) {
        self.phase = Phase::Ended(self.stream());
        match &mut self.receiving {
            Receiving::Unary(unary) => unary.publish(outcome, self.request.take()),
            Receiving::Stream(stream) => end_stream(stream, outcome),
        }
    }
}

impl Receiving {
    /// Messages of the response may be compressed.
    ///
    /// # Errors
    /// INTERNAL where the channel does not know how.
    #[cold]
    fn response_encoding(&mut self, name: &[u8], request: &Request) -> Result<(), Status> {
        let compressors = &request.compressors;
        let Some(compressor) = compressors.find(name).and_then(|id| compressors.codec(id)) else {
            let (shown, accepted) = (name.escape_ascii(), compressors.accepted());
            return Err(Status::internal(format!(
                "the response has grpc-encoding {shown}; this client accepts {accepted}"
            )));
        };
        let (compressor, message_bytes_max) = (Arc::clone(compressor), request.receive_bytes_max());
        match self {
            Receiving::Unary(unary) => unary.expect_compressed(compressor, message_bytes_max),
            Receiving::Stream(stream) => {
                stream.shared.receive_compressed(compressor, message_bytes_max);
            }
        }
        Ok(())
    }
}

/// Whether the deadline has passed. The clock is asked: a turn's time is of before the socket was
/// read, and a server's timer may have ended the call since.
#[cold]
fn is_late(request: &Request) -> bool {
    let now = tokio::time::Instant::now().into_std();
    request.deadline.is_some_and(|deadline| deadline <= now)
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
