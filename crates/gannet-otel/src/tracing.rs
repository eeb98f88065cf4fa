//! [`Tracing`]: the spans of gRFC A72.
//!
//! | span | kind | what it stands for | what it holds |
//! | --- | --- | --- | --- |
//! | `Sent.pkg.Service.Method` | client | a client's call | an event, status |
//! | `Attempt.pkg.Service.Method` | internal | an attempt, within it | attributes, events, status |
//! | `Recv.pkg.Service.Method` | server | a server's call, within that | events, status |
//!
//! The gRFC leaves the kinds open; these are grpc-go's. So who counts spans of the kind client
//! counts calls. The attributes are `previous-rpc-attempts` and `transparent-retry`.
//! Events are `Outbound message` and `Inbound message`, with `sequence-number`, `message-size` and,
//! for one that was compressed, `message-size-compressed`; `Delayed LB pick complete` where an
//! attempt waited for a connection; and `Delayed name resolution complete` where a call waited for
//! its channel's names: not for the second resolution on, nor for a list of addresses. The status
//! is OK or an error that is described as `UNAVAILABLE, why`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use gannet_core::Metadata;
use gannet_transport::Direction;
use gannet_transport::observe::{
    AttemptStart, CallObserver, ClientAttemptObserver, ClientCallObserver, ClientCallStart, Ended,
    MessageEvent, ServerCallObserver, ServerCallStart,
};
use opentelemetry::global::{BoxedTracer, ObjectSafeTracerProvider};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, SpanRef, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use crate::propagation::{Incoming, Outgoing};

/// Traces calls: see the crate. Cheap to clone.
///
/// A client's call belongs to the span that is current where it is made. A server's belongs to the
/// one that its client tells of, by the [propagators](Self::propagator); while its handler runs,
/// its own span is current, so that what the handler records and calls belongs to it. What the
/// handler spawns does so where that takes the context along.
#[derive(Clone)]
#[must_use = "it traces what it observes"]
pub struct Tracing {
    tracer: Arc<BoxedTracer>,
    propagators: Arc<Vec<Propagator>>,
}

type Propagator = Arc<dyn TextMapPropagator + Send + Sync>;

impl Tracing {
    /// Traces with the tracers of `provider`. Spans stay within the process until there is a
    /// [propagator](Self::propagator).
    pub fn new(provider: &dyn ObjectSafeTracerProvider) -> Tracing {
        let tracer = BoxedTracer::new(provider.boxed_tracer(crate::scope()));
        Tracing { tracer: Arc::new(tracer), propagators: Arc::default() }
    }

    /// Tells servers of the span, and reads what clients tell, by `propagator`: W3C's, which is
    /// `opentelemetry_sdk::propagation::TraceContextPropagator`, or
    /// [`GrpcTraceBin`](crate::GrpcTraceBin), or any other. Of several all write, and what a later
    /// one reads counts before what an earlier one does. Headers that W3C has as lists are read as
    /// one, however many fields they came in; none goes out empty.
    pub fn propagator(
        mut self,
        propagator: impl TextMapPropagator + Send + Sync + 'static,
    ) -> Tracing {
        Arc::make_mut(&mut self.propagators).push(Arc::new(propagator));
        self
    }

    fn start(
        &self,
        name: String,
        kind: SpanKind,
        attributes: Vec<KeyValue>,
        parent: &Context,
    ) -> Context {
        let builder = self.tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        parent.with_span(builder.start_with_context(&*self.tracer, parent))
    }
}

impl CallObserver for Tracing {
    fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        let method = call.method.path;
        let name = span_name("Sent", method);
        let context = self.start(name, SpanKind::Client, Vec::new(), &Context::current());
        Some(Box::new(ClientCall { tracing: self.clone(), method, context }))
    }

    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        let propagators = self.propagators.iter();
        let parent = propagators.fold(Context::new(), |parent, propagator| {
            propagator.extract_with_context(&parent, &Incoming::new(call))
        });
        let name = span_name("Recv", &call.path());
        Some(Arc::new(OneSpan(self.start(name, SpanKind::Server, Vec::new(), &parent))))
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing").field("propagators", &self.propagators).finish_non_exhaustive()
    }
}

struct ClientCall {
    tracing: Tracing,
    method: &'static str,
    context: Context,
}

impl ClientCallObserver for ClientCall {
    fn attempt(
        &self,
        attempt: &AttemptStart,
        metadata: &mut Metadata,
    ) -> Option<Box<dyn ClientAttemptObserver>> {
        let attributes = vec![
            KeyValue::new("previous-rpc-attempts", i64::from(attempt.previous)),
            KeyValue::new("transparent-retry", attempt.is_transparent),
        ];
        let name = span_name("Attempt", self.method);
        let context = self.tracing.start(name, SpanKind::Internal, attributes, &self.context);
        for propagator in self.tracing.propagators.iter() {
            propagator.inject_context(&context, &mut Outgoing(metadata));
        }
        Some(Box::new(OneSpan(context)))
    }

    fn resolved(&self) {
        self.context.span().add_event("Delayed name resolution complete", Vec::new());
    }

    fn ended(&self, end: &Ended<'_>) {
        finish(&self.context.span(), end);
    }
}

/// An attempt, or a server's call; its span is the context's.
struct OneSpan(Context);

impl ClientAttemptObserver for OneSpan {
    fn picked(&self, _: &str, is_delayed: bool) {
        if is_delayed {
            self.0.span().add_event("Delayed LB pick complete", Vec::new());
        }
    }

    fn message(&self, message: &MessageEvent) {
        add_message(&self.0.span(), message);
    }

    fn ended(&self, end: &Ended<'_>) {
        finish(&self.0.span(), end);
    }
}

impl ServerCallObserver for OneSpan {
    fn message(&self, message: &MessageEvent) {
        add_message(&self.0.span(), message);
    }

    fn scope(&self, poll: &mut dyn FnMut()) {
        let _current = self.0.clone().attach();
        poll();
    }

    fn ended(&self, end: &Ended<'_>) {
        finish(&self.0.span(), end);
    }
}

fn add_message(span: &SpanRef<'_>, message: &MessageEvent) {
    if !span.is_recording() {
        return;
    }
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let number = i64::try_from(message.number).unwrap_or(i64::MAX);
    let mut attributes = vec![
        KeyValue::new("sequence-number", number),
        KeyValue::new("message-size", count(message.bytes)),
    ];
    if let Some(bytes) = message.compressed_bytes {
        attributes.push(KeyValue::new("message-size-compressed", count(bytes)));
    }
    let name = match message.direction {
        Direction::Outbound => "Outbound message",
        Direction::Inbound => "Inbound message",
    };
    span.add_event(name, attributes);
}

fn finish(span: &SpanRef<'_>, end: &Ended<'_>) {
    span.set_status(match end.status {
        _ if end.code.is_ok() => Status::Ok,
        Some(status) if !status.message().is_empty() => {
            Status::error(format!("{}, {}", end.code.name(), status.message()))
        }
        _ => Status::Error { description: Cow::Borrowed(end.code.name()) },
    });
    span.end();
}

/// `Sent.pkg.Service.Method` for `/pkg.Service/Method`.
fn span_name(what: &str, path: &str) -> String {
    let mut name = String::with_capacity(what.len() + path.len());
    name.push_str(what);
    for (at, part) in path.split('/').enumerate() {
        // The first slash becomes the dot between.
        if at > 0 {
            name.push('.');
        }
        name.push_str(part);
    }
    name
}
