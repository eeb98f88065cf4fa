//! Spans of the crate `tracing` for calls: one for each call of a server, one for each of a client.
//!
//! ```
//! use gannet_tracing::Spans;
//!
//! # fn example(server: gannet_server::Server) -> Result<(), gannet_client::TargetError> {
//! let server = server.observe(Spans::new());
//! let channel = gannet_client::Channel::builder("localhost:50051").observe(Spans::new()).build()?;
//! # Ok(()) }
//! ```
//!
//! They are made where the target `gannet` is enabled at the level INFO, and have these fields:
//!
//! | field | what it tells |
//! | --- | --- |
//! | `method` | `/pkg.Service/Method` |
//! | `peer` | who calls; of a client's call, which server it went to last |
//! | `target` | of a client's call: what its channel leads to |
//! | `timeout_ms` | how much time the call had when it began, where it had a deadline |
//! | `status`, `status_message` | how it ended: `OK`, or the code's name and why |
//! | `sent`, `received` | messages |
//! | `sent_bytes`, `received_bytes` | their bytes as they travelled, without frames |
//! | `attempts` | of a client's call, where it was not one |
//!
//! A handler runs within its call's span, and a client's span is within the one that is current
//! where the call is made. Spans close when the call has ended, which is when most subscribers
//! write them: not with the last that is left of it, as when a handler goes on that nobody waits
//! for, or an application keeps its half of a stream.
//!
//! # What is written
//!
//! Subscribers write events; spans only where they are told to. `tracing_subscriber::fmt().init()`
//! has a line for each call that fails through a fault of the system, and for connections, but none
//! for calls that end well. This has one for every call, with all its fields:
//!
//! ```
//! use tracing_subscriber::fmt::format::FmtSpan;
//!
//! tracing_subscriber::fmt().with_span_events(FmtSpan::CLOSE).init();
//! ```
//!
//! Events have the target `gannet`, too:
//!
//! | level | event | fields |
//! | --- | --- | --- |
//! | WARN, DEBUG | a call has failed, on its side | `method`, `status`, `status_message` |
//! | WARN | a channel's attempt to connect has failed | `address`, `target`, `why` |
//! | INFO | a channel has a connection | `address`, `target` |
//! | INFO | one takes no more calls; `why` as gRFC A94 has it | `address`, `target`, `why` |
//! | ERROR | a server has no health service, see below | `peer`, `target`, `service` |
//! | TRACE | a message | `number`, `bytes`, `compressed_bytes` |
//!
//! Calls that fail are at WARN with UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and
//! DATA_LOSS: something is broken, away, or too slow, and it is these that OpenTelemetry's
//! conventions count as a server's errors. Those count UNIMPLEMENTED, too; here it is at DEBUG, as
//! anybody who asks for a method can bring it about, and tools that look for reflection do. So are
//! all others, which tell of the request: what it asks for is not there, not permitted, too much,
//! or was given up. The event is within its call's span. Where the level is WARN there are no
//! spans, and failures are told all the same.
//!
//! Attempts to connect that fail again and again are told as often as they are made, which the
//! channel's backoff bounds: for each address after about 1 s, and then less and less often, up to
//! 2 minutes apart. So a server that is away is seen while others answer the calls.
//!
//! A server whose health a channel is to check, and that has no health service, is told of once for
//! each connection: its calls go on as if it were healthy.
//!
//! Nothing goes to other processes: for that there is `gannet-otel`.

mod connections;
mod failures;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam_utils::atomic::AtomicCell;
use gannet_core::{Code, Metadata, Status};
use gannet_transport::Direction;
use gannet_transport::observe::{
    AttemptStart, CallObserver, ClientAttemptObserver, ClientCallObserver, ClientCallStart,
    ConnectionEvent, Ended, HealthUnchecked, MessageEvent, ServerCallObserver, ServerCallStart,
};
use tracing::field::{Empty, display};
use tracing::{Span, error, info_span, trace};

/// Makes spans: see the crate.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "it makes spans of what it observes"]
pub struct Spans(());

impl Spans {
    /// All calls of what it is given to.
    pub fn new() -> Spans {
        Spans(())
    }
}

impl CallObserver for Spans {
    fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        let span = info_span!(
            target: "gannet", "client_call",
            method = call.method.path, target = &**call.target, peer = Empty, timeout_ms = Empty,
            status = Empty, status_message = Empty, sent = Empty, received = Empty,
            sent_bytes = Empty, received_bytes = Empty, attempts = Empty,
        );
        if span.is_disabled() && !failures::are_wanted() {
            return None;
        }
        let call = Followed::new(span, Cow::Borrowed(call.method.path));
        Some(Box::new(ClientCall::new(call)))
    }

    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        let span = info_span!(
            target: "gannet", parent: None, "server_call",
            method = %call.path(), peer = %call.peer, timeout_ms = Empty,
            status = Empty, status_message = Empty, sent = Empty, received = Empty,
            sent_bytes = Empty, received_bytes = Empty,
        );
        if span.is_disabled() && !failures::are_wanted() {
            return None;
        }
        record_timeout(&span, call.deadline, call.at);
        // It is made a text only where no method answers.
        let path = call.method.map_or_else(
            || Cow::Owned(call.path().into_owned()),
            |method| Cow::Borrowed(method.path),
        );
        Some(Arc::new(Followed::new(span, path)))
    }

    fn health_unchecked(&self, server: &HealthUnchecked<'_>) {
        error!(
            target: "gannet", parent: None,
            peer = server.address, target = &**server.target, service = server.service,
            "the server has no health service, and counts as healthy",
        );
    }

    fn connection(&self, event: &ConnectionEvent<'_>) {
        connections::tell(event);
    }
}

/// A call, while it goes on.
struct Followed {
    /// Disabled where only failures are wanted.
    span: Span,
    method: Cow<'static, str>,
    sums: Sums,
    attempts: AtomicU32,
}

/// What went by.
#[derive(Default)]
struct Sums {
    sent: Sum,
    received: Sum,
}

#[derive(Default)]
struct Sum {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Followed {
    fn new(span: Span, method: Cow<'static, str>) -> Followed {
        Followed { span, method, sums: Sums::default(), attempts: AtomicU32::new(0) }
    }

    fn add(&self, message: &MessageEvent) {
        let (sum, way) = match message.direction {
            Direction::Outbound => (&self.sums.sent, "sent"),
            Direction::Inbound => (&self.sums.received, "received"),
        };
        let bytes = u64::try_from(message.wire_bytes()).unwrap_or(u64::MAX);
        sum.messages.fetch_add(1, Ordering::Relaxed);
        sum.bytes.fetch_add(bytes, Ordering::Relaxed);
        let MessageEvent { number, bytes, compressed_bytes, .. } = message;
        trace!(
            target: "gannet", parent: &self.span,
            number, bytes, compressed_bytes, "message {way}",
        );
    }

    fn finish(&self, end: &Ended<'_>) {
        let span = &self.span;
        let why = end.status.map(Status::message);
        if end.code != Code::Ok {
            failures::tell(span, &self.method, end.code, why.unwrap_or_default());
        }
        span.record("status", end.code.name());
        if let Some(why) = why {
            span.record("status_message", why);
        }
        let Sums { sent, received } = &self.sums;
        span.record("sent", sent.messages.load(Ordering::Relaxed));
        span.record("received", received.messages.load(Ordering::Relaxed));
        span.record("sent_bytes", sent.bytes.load(Ordering::Relaxed));
        span.record("received_bytes", received.bytes.load(Ordering::Relaxed));
        let attempts = self.attempts.load(Ordering::Relaxed);
        if attempts > 1 {
            span.record("attempts", attempts);
        }
    }
}

impl ServerCallObserver for Followed {
    fn message(&self, message: &MessageEvent) {
        self.add(message);
    }

    fn scope(&self, poll: &mut dyn FnMut()) {
        self.span.in_scope(poll);
    }

    fn ended(&self, end: &Ended<'_>) {
        self.finish(end);
    }
}

/// Of a stream this may be kept for long after the call has ended, and its attempt with it: as long
/// as the application has a half of it. So it lets the span go by itself.
struct ClientCall {
    /// Until it ends.
    own: AtomicCell<Option<Arc<Followed>>>,
    followed: Weak<Followed>,
}

impl ClientCall {
    fn new(followed: Followed) -> ClientCall {
        let own = Arc::new(followed);
        ClientCall { followed: Arc::downgrade(&own), own: AtomicCell::new(Some(own)) }
    }
}

impl ClientCallObserver for ClientCall {
    fn attempt(
        &self,
        attempt: &AttemptStart,
        _: &mut Metadata,
    ) -> Option<Box<dyn ClientAttemptObserver>> {
        let followed = self.followed.upgrade()?;
        if followed.attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            record_timeout(&followed.span, attempt.deadline, attempt.at);
        }
        Some(Box::new(Attempt(Weak::clone(&self.followed))))
    }

    fn ended(&self, end: &Ended<'_>) {
        if let Some(followed) = self.own.take() {
            followed.finish(end);
        }
    }
}

struct Attempt(Weak<Followed>);

impl ClientAttemptObserver for Attempt {
    fn picked(&self, peer: &str, _: bool) {
        if let Some(followed) = self.0.upgrade() {
            followed.span.record("peer", display(peer));
        }
    }

    fn message(&self, message: &MessageEvent) {
        if let Some(followed) = self.0.upgrade() {
            followed.add(message);
        }
    }
}

fn record_timeout(span: &Span, deadline: Option<Instant>, at: Instant) {
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(at).as_millis();
        span.record("timeout_ms", u64::try_from(left).unwrap_or(u64::MAX));
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").field("span", &self.span).finish_non_exhaustive()
    }
}
