//! The state of one call, in storage that serves one call after the other.

use std::sync::Arc;
use std::task::Waker;

use gannet_core::MessageReader;
use gannet_core::compression::CodecId;
use gannet_http2::StreamKey;
use gannet_transport::{CallQueue, CallShared, Feed, Queue};

use super::Finished;
use crate::Call;
use crate::head::Refusal;
use crate::service::{Handler, Outcome};

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No call.
    Free,
    /// Its one request message, or the end of the stream behind it, has not come.
    Gathering,
    /// It is no gRPC: its ending is there, and waits until the request is read.
    Refusing {
        /// Of its body, bytes that came.
        body_bytes: u32,
    },
    /// Its handler is polled here.
    Inline,
    /// Its handler runs in another task.
    Away,
    /// Its ending waits to be sent.
    Ended,
    /// The stream is over, but the handler in another task is still there.
    Abandoned,
    /// All is over: the stream is to be forgotten.
    Gone,
}

/// How a call ends.
#[derive(Debug)]
pub(super) enum Ending {
    Returned(Outcome),
    Panicked,
    Refused(Box<Refusal>),
}

/// One call, or the storage for one.
pub(super) struct Slot {
    pub(super) key: StreamKey,
    pub(super) state: State,
    pub(super) method: u32,
    pub(super) shared: Arc<CallShared>,
    /// Wakes `shared`; made once.
    pub(super) waker: Waker,
    /// The call between calls, and until its handler has it.
    pub(super) call: Option<Call>,
    pub(super) handler: Option<Handler>,
    pub(super) ending: Option<Ending>,
    /// Reassembles the one message of a request that is no stream, while a part of it is here.
    pub(super) reader: Option<Box<MessageReader>>,
    /// With what the messages of the request may be compressed.
    pub(super) encoding: Option<CodecId>,
    /// Leads to the handler of a stream of requests.
    pub(super) feed: Option<Feed>,
    /// Bytes of messages handed to the engine. Wraps.
    pub(super) accepted_bytes: usize,
    pub(super) headers_sent: bool,
    /// The headers are to be sent at once.
    pub(super) headers_due: bool,
    /// Its handler may send before it returns.
    pub(super) has_outbox: bool,
    /// Messages lie in the outbox.
    pub(super) outbox_due: bool,
    /// Messages came that the handler was not told of.
    pub(super) in_fed: bool,
    pub(super) has_deadline: bool,
    /// The deadline is the server's: the client knows a later one, or none.
    pub(super) deadline_is_ours: bool,
    pub(super) in_ready: bool,
    pub(super) in_unsettled: bool,
    pub(super) in_sending: bool,
}

impl Slot {
    pub(super) fn new(key: StreamKey, queue: &Arc<Queue<Finished>>) -> Slot {
        let shared = CallShared::new(call_queue(queue), super::place(key.index()));
        Slot {
            key,
            state: State::Free,
            method: 0,
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            call: None,
            handler: None,
            ending: None,
            reader: None,
            encoding: None,
            feed: None,
            accepted_bytes: 0,
            headers_sent: false,
            headers_due: false,
            has_outbox: false,
            outbox_due: false,
            in_fed: false,
            has_deadline: false,
            deadline_is_ours: false,
            in_ready: false,
            in_unsettled: false,
            in_sending: false,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.state == State::Free
    }

    /// Forgets the call. What is costly to make stays for the next one. Returns whether it was one
    /// with streams.
    pub(super) fn clear(&mut self) -> bool {
        self.state = State::Free;
        self.handler = None;
        self.ending = None;
        self.reader = None;
        self.encoding = None;
        self.accepted_bytes = 0;
        self.headers_sent = false;
        self.headers_due = false;
        self.outbox_due = false;
        self.has_deadline = false;
        if let Some(call) = &mut self.call {
            call.clear();
        }
        // A look is less than what drops the feed.
        let has_streamed = std::mem::take(&mut self.has_outbox);
        if has_streamed {
            self.feed = None;
        }
        has_streamed
    }

    /// Takes the shared state into use for a new call: the old one where nobody else can reach it
    /// any more, otherwise a new one, so that late commands and wakers of the old call find
    /// nothing.
    pub(super) fn renew(&mut self, key: StreamKey, queue: &Arc<Queue<Finished>>) {
        self.key = key;
        // The slot itself, its waker, and the idle call.
        let holders = 2 + usize::from(self.call.is_some());
        if !self.shared.recycle(holders) {
            self.call = None;
            self.shared = CallShared::new(call_queue(queue), super::place(key.index()));
            self.waker = Waker::from(Arc::clone(&self.shared));
        }
    }
}

/// The queue as calls know it.
fn call_queue(queue: &Arc<Queue<Finished>>) -> Arc<dyn CallQueue> {
    Arc::clone(queue) as Arc<dyn CallQueue>
}
