//! Telling those who follow calls ([`observe`](gannet_transport::observe)) what happens to them.
//!
//! A call that is followed has a [`CallWatch`]; each time it is tried has an [`Attempt`]. Both go
//! with its request as [`Watched`], and the application has them by ways of its own
//! ([`exchange`](super::exchange), [`tracking`](super::tracking)). All that other calls have is the
//! one pointer in the request, which is null.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use gannet_core::compression::Compressed;
use gannet_core::frame::PREFIX_BYTES;
use gannet_core::{MethodDescriptor, Status};
use gannet_transport::observe::{
    AttemptStart, ClientAttemptObserver, ClientCallObserver, ClientCallStart, Ended, MessageEvent,
};
use gannet_transport::{Direction, Watcher};

use super::notice::{Notice, Outcome, Received};
use super::request::{Body, Request};
use crate::channel::Config;

/// A call that is followed.
pub(crate) struct CallWatch {
    observer: Box<dyn ClientCallObserver>,
    /// Attempts that were no transparent retries.
    attempts: AtomicU32,
    /// How long the one request was before it was compressed; that which was compressed last.
    request_bytes: AtomicUsize,
    is_ended: AtomicBool,
}

/// What the request of a call that is followed has of it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) call: Arc<CallWatch>,
    /// How it is tried now; nothing where nobody follows that.
    attempt: Option<Arc<Attempt>>,
}

impl Watched {
    pub(crate) fn new(call: Arc<CallWatch>) -> Box<Watched> {
        Box::new(Watched { call, attempt: None })
    }

    pub(crate) fn attempt(&self) -> Option<&Arc<Attempt>> {
        self.attempt.as_ref()
    }
}

impl CallWatch {
    /// A call is made.
    #[inline]
    pub(crate) fn begin(
        config: &Config,
        method: &'static MethodDescriptor,
    ) -> Option<Arc<CallWatch>> {
        if config.observers.is_empty() {
            return None;
        }
        Self::begin_observed(config, method)
    }

    #[cold]
    fn begin_observed(
        config: &Config,
        method: &'static MethodDescriptor,
    ) -> Option<Arc<CallWatch>> {
        let start = ClientCallStart::new(method, &config.target_uri, now());
        let observer = config.observers.client_call(&start)?;
        Some(Arc::new(CallWatch {
            observer,
            attempts: AtomicU32::new(0),
            request_bytes: AtomicUsize::new(0),
            is_ended: AtomicBool::new(false),
        }))
    }

    /// The one request was compressed.
    pub(crate) fn compressed(&self, told: Option<Compressed>) {
        if let Some(told) = told {
            let bytes = usize::try_from(told.bytes).unwrap_or(usize::MAX);
            self.request_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// Names have come that the call has waited for.
    #[cold]
    pub(crate) fn resolved(&self) {
        self.observer.resolved();
    }

    /// The application has the outcome. The first counts.
    #[cold]
    pub(crate) fn end(&self, outcome: Result<(), &Status>) {
        if !self.is_ended.swap(true, Ordering::Relaxed) {
            self.observer.ended(&Ended::new(outcome, now()));
        }
    }

    /// The call is tried.
    #[cold]
    fn attempt(
        &self,
        request: &mut Request,
        is_transparent: bool,
    ) -> Option<Box<dyn ClientAttemptObserver>> {
        let previous = match is_transparent {
            false => self.attempts.fetch_add(1, Ordering::Relaxed),
            // In place of the one before, which does not count.
            true => self.attempts.load(Ordering::Relaxed).saturating_sub(1),
        };
        let start = AttemptStart::new(previous, is_transparent, request.deadline, now());
        self.observer.attempt(&start, &mut request.metadata)
    }
}

impl Drop for CallWatch {
    fn drop(&mut self) {
        if !*self.is_ended.get_mut() {
            self.end(Err(&given_up()));
        }
    }
}

/// A try of a call that is followed. Dropped before its end, it was given up.
pub(crate) struct Attempt {
    observer: Box<dyn ClientAttemptObserver>,
    /// The same once more on the same connection, where the server refused it unseen: at most once
    /// (gRFC A6).
    again: OnceLock<Option<Box<dyn ClientAttemptObserver>>>,
    has_waited: AtomicBool,
    is_ended: AtomicBool,
    call: Arc<CallWatch>,
}

impl Attempt {
    /// A call is tried: the request has the attempt from now on.
    #[inline]
    pub(crate) fn begin(request: &mut Request, is_transparent: bool) {
        if let Some(watched) = &request.watch {
            let call = Arc::clone(&watched.call);
            Self::begin_watched(call, request, is_transparent);
        }
    }

    #[cold]
    fn begin_watched(call: Arc<CallWatch>, request: &mut Request, is_transparent: bool) {
        let observer = call.attempt(request, is_transparent);
        let attempt = observer.map(|observer| {
            Arc::new(Attempt {
                observer,
                again: OnceLock::new(),
                has_waited: AtomicBool::new(false),
                is_ended: AtomicBool::new(false),
                call,
            })
        });
        if let Some(watched) = &mut request.watch {
            watched.attempt = attempt;
        }
    }

    /// The server refused it unseen, and it goes to the same connection once more.
    #[cold]
    pub(crate) fn begin_again(&self, request: &mut Request) {
        self.observer.ended(&Ended::new(Err(&not_seen()), now()));
        // The server refuses it once at most.
        let _ = self.again.set(self.call.attempt(request, true));
    }

    /// There was no connection at first.
    #[cold]
    pub(crate) fn waited(&self) {
        self.has_waited.store(true, Ordering::Relaxed);
    }

    /// It goes to a connection.
    #[cold]
    pub(crate) fn picked(&self, peer: &str) {
        self.observer.picked(peer, self.has_waited.load(Ordering::Relaxed));
    }

    /// The request's body is sent.
    #[cold]
    pub(crate) fn sent(&self, request: &Request) {
        let (framed_bytes, flags) = match &request.body {
            Body::Stream => return,
            Body::Small(framed) => (framed.len(), framed.first()),
            Body::Large(pieces) => (
                pieces.iter().map(|piece| piece.len()).sum(),
                pieces.first().and_then(|piece| piece.first()),
            ),
        };
        let wire_bytes = framed_bytes.saturating_sub(PREFIX_BYTES);
        let is_compressed = flags.is_some_and(|flags| *flags != 0);
        let plain_bytes = is_compressed.then(|| self.call.request_bytes.load(Ordering::Relaxed));
        let compressed_bytes = plain_bytes.map(|_| wire_bytes);
        let bytes = plain_bytes.unwrap_or(wire_bytes);
        self.tell(Direction::Outbound, bytes, compressed_bytes);
    }

    /// The response's head came.
    #[cold]
    pub(crate) fn headers(&self) {
        if let Some(observer) = self.current() {
            observer.headers();
        }
    }

    /// The application comes to what the connection has told: all of a unary call, which ends when
    /// a response is decoded, or that a stream is open. A response that is compressed is told of
    /// with its length, for which it is decompressed here: what is told instead.
    #[cold]
    pub(crate) fn told(&self, notice: &Arc<Notice>) -> Arc<Notice> {
        let mut notice = Arc::clone(notice);
        match notice.get() {
            Some(Outcome::Response { payload, metadata }) => {
                if let Received::Packed(packed) = payload {
                    // One that cannot be decompressed is none.
                    let Ok(inflated) = packed.inflated() else { return notice };
                    let payload = Received::Packed(Box::new(inflated));
                    let inflated = Notice::new();
                    inflated.set(Outcome::Response { payload, metadata: metadata.clone() });
                    notice = inflated;
                }
                if let Some(Outcome::Response { payload, .. }) = notice.get() {
                    let (bytes, compressed_bytes) = payload.bytes();
                    self.tell(Direction::Inbound, bytes, compressed_bytes);
                }
            }
            Some(Outcome::Failed(status)) => self.end(Err(status)),
            Some(Outcome::Opened | Outcome::Unsent(_)) | None => {}
        }
        notice
    }

    /// It is over: the first end counts.
    #[cold]
    pub(crate) fn end(&self, outcome: Result<(), &Status>) {
        self.end_at(outcome, now());
    }

    /// As [`end`](Self::end), of which this is the moment.
    #[cold]
    pub(crate) fn end_at(&self, outcome: Result<(), &Status>, at: Instant) {
        if !self.is_ended.swap(true, Ordering::Relaxed)
            && let Some(observer) = self.current()
        {
            observer.ended(&Ended::new(outcome, at));
        }
    }

    /// The request could not be made.
    #[cold]
    pub(crate) fn fail(request: &Request, status: &Status) {
        if let Some(attempt) = request.attempt() {
            attempt.end(Err(status));
        }
    }

    /// The request came back.
    #[cold]
    pub(crate) fn end_unsent(&self) {
        self.end(Err(&not_seen()));
    }

    fn tell(&self, direction: Direction, bytes: usize, compressed_bytes: Option<usize>) {
        if let Some(observer) = self.current() {
            observer.message(&MessageEvent::new(direction, 0, bytes, compressed_bytes));
        }
    }

    fn current(&self) -> Option<&dyn ClientAttemptObserver> {
        match self.again.get() {
            None => Some(&*self.observer),
            Some(again) => again.as_deref(),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !*self.is_ended.get_mut() {
            self.end(Err(&given_up()));
        }
    }
}

impl Watcher for Attempt {
    fn message(&self, message: &MessageEvent) {
        if let Some(observer) = self.current() {
            observer.message(message);
        }
    }

    fn ended(&self, outcome: Result<(), &Status>) {
        self.end(outcome);
    }
}

#[cold]
fn given_up() -> Status {
    Status::cancelled("the call was cancelled by its caller")
}

#[cold]
fn not_seen() -> Status {
    Status::unavailable("the server has not seen the call, which is made again")
}

/// The runtime's clock, which tests can pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl fmt::Debug for CallWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallWatch").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("call", &self.call).finish_non_exhaustive()
    }
}
