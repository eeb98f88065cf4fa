//! gRFC A72: spans, what they hold, and how they hang together over processes.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::name::{Address, Resolution, Resolver, Updates};
use gannet_client::{BearerToken, Channel};
use gannet_core::compression::{Compressors, Encoding};
use gannet_http2::Reason;
use gannet_otel::{GrpcTraceBin, Tracing};
use gannet_server::Server;
use gannet_transport::pipe;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt as _};
use opentelemetry::trace::{TraceFlags, TraceId, TraceState, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

use crate::peer::{OK, Peers, chat, field, unary};
use crate::service::{Test, serve, settle};

struct Tracers {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
}

impl Tracers {
    fn new() -> Tracers {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        Tracers { exporter, provider }
    }

    fn w3c(&self) -> Tracing {
        Tracing::new(&self.provider).propagator(TraceContextPropagator::new())
    }

    /// All that have ended, by their beginning.
    fn take(&self) -> Vec<SpanData> {
        let mut spans = self.exporter.get_finished_spans().unwrap();
        spans.sort_by_key(|span| span.start_time);
        self.exporter.reset();
        spans
    }
}

/// A channel to a server, both traced.
fn traced(tracing: &Tracing, test: Test) -> Channel {
    serve(
        test,
        |server| server.observe(tracing.clone()),
        |builder| builder.observe(tracing.clone()),
    )
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"))
}

fn attributes(attributes: &[KeyValue]) -> Vec<String> {
    attributes.iter().map(|one| format!("{}={}", one.key, one.value)).collect()
}

fn events(span: &SpanData) -> Vec<String> {
    let shown = |event: &opentelemetry::trace::Event| {
        format!("{} {}", event.name, attributes(&event.attributes).join(" "))
    };
    span.events.iter().map(shown).collect()
}

#[tokio::test]
async fn a_call_has_three_spans_of_one_trace() {
    let tracers = Tracers::new();
    let channel = traced(&tracers.w3c(), Test::default());
    unary(&channel, b"hello").await.unwrap();
    settle().await;
    let spans = tracers.take();
    assert_eq!(spans.len(), 3);
    let sent = named(&spans, "Sent.test.Test.Unary");
    let attempt = named(&spans, "Attempt.test.Test.Unary");
    let recv = named(&spans, "Recv.test.Test.Unary");
    assert_eq!(sent.parent_span_id, SpanId::INVALID);
    assert_eq!(attempt.parent_span_id, sent.span_context.span_id());
    assert_eq!(recv.parent_span_id, attempt.span_context.span_id());
    assert!(recv.parent_span_is_remote);
    for span in [attempt, recv] {
        assert_eq!(span.span_context.trace_id(), sent.span_context.trace_id());
    }
    let kinds = [sent, attempt, recv].map(|span| &span.span_kind);
    assert_eq!(kinds, [&SpanKind::Client, &SpanKind::Internal, &SpanKind::Server]);
    let given = ["previous-rpc-attempts=0", "transparent-retry=false"];
    assert_eq!(attributes(&attempt.attributes), given);
    let out = "Outbound message sequence-number=0 message-size=5";
    let come = "Inbound message sequence-number=0 message-size=5";
    assert_eq!(events(attempt), ["Delayed LB pick complete ", out, come]);
    assert_eq!(events(recv), [come, out]);
    assert!(sent.events.is_empty());
    for span in &spans {
        assert_eq!(span.status, Status::Ok, "{}", span.name);
    }
    unary(&channel, b"again").await.unwrap();
    settle().await;
    assert_eq!(events(named(&tracers.take(), "Attempt.test.Test.Unary")), [out, come]);
}

/// Finds the server after a while.
struct Slow(Address);

impl Resolver for Slow {
    async fn watch(&self, updates: Updates) {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            updates.resolved(Resolution::new([self.0.clone()]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_tells_what_it_waited_for() {
    let tracers = Tracers::new();
    let (connector, listener) = pipe();
    tokio::spawn(Server::new().add(Test::default()).serve(listener).into_future());
    let channel = Channel::builder("slow")
        .resolver(Slow(Address::in_process("server", connector)))
        .observe(tracers.w3c())
        .credentials(BearerToken::new("a-token").unwrap())
        .allow_credentials_without_tls(true)
        .build()
        .unwrap();
    let waited = |spans: &[SpanData]| {
        let names = events(named(spans, "Sent.test.Test.Unary"));
        let picks = events(named(spans, "Attempt.test.Test.Unary"));
        (names, picks.iter().any(|event| event == "Delayed LB pick complete "))
    };
    let names = vec!["Delayed name resolution complete ".to_owned()];
    // As many as wait for the names tell of them.
    let (one, other) = tokio::join!(unary(&channel, b"one"), unary(&channel, b"other"));
    one.and(other).unwrap();
    settle().await;
    let spans = tracers.take();
    assert_eq!(spans.iter().filter(|span| events(span) == names).count(), 2, "{spans:?}");
    assert_eq!(waited(&spans), (names, true));
    // The second time that they came nobody waited for them.
    tokio::time::sleep(Duration::from_millis(40)).await;
    unary(&channel, b"later").await.unwrap();
    settle().await;
    assert_eq!(waited(&tracers.take()), (vec![], false));
}

#[tokio::test]
async fn a_call_that_a_handler_makes_belongs_to_its_span() {
    let tracers = Tracers::new();
    let inner = traced(&tracers.w3c(), Test::default());
    let outer = traced(&tracers.w3c(), Test { channel: Some(inner) });
    let tracer = tracers.provider.tracer("the application");
    let context = Context::new().with_span(tracer.start("main"));
    let call = {
        let _current = context.clone().attach();
        unary(&outer, b"call").into_future()
    };
    call.await.unwrap();
    settle().await;
    context.span().end();
    let spans = tracers.take();
    assert_eq!(spans.len(), 7);
    let mut span = spans.iter().find(|span| {
        let is_parent = |other: &SpanData| other.parent_span_id == span.span_context.span_id();
        !spans.iter().any(is_parent)
    });
    let mut path = Vec::new();
    while let Some(one) = span {
        path.push(one.name.to_string());
        assert_eq!(one.span_context.trace_id(), spans[0].span_context.trace_id());
        span = spans.iter().find(|other| other.span_context.span_id() == one.parent_span_id);
    }
    let three = ["Recv", "Attempt", "Sent"].map(|what| format!("{what}.test.Test.Unary"));
    assert_eq!(path, [&three[..], &three[..], &["main".to_owned()]].concat());
}

#[tokio::test]
async fn failures_are_errors_with_their_code() {
    let tracers = Tracers::new();
    let channel = traced(&tracers.w3c(), Test::default());
    unary(&channel, b"fail").await.unwrap_err();
    settle().await;
    for span in tracers.take() {
        assert_eq!(span.status, Status::error("NOT_FOUND, no such thing"), "{}", span.name);
    }
    let call = unary(&channel, b"wait").into_future();
    tokio::time::timeout(Duration::from_millis(20), call).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let spans = tracers.take();
    assert_eq!(spans.len(), 3, "{spans:?}");
    for span in spans {
        let Status::Error { description } = &span.status else { panic!("{:?}", span.status) };
        assert!(description.starts_with("CANCELLED, "), "{description}");
    }
    let missing = &crate::service::MISSING;
    let call = channel.unary::<gannet_core::codec::Raw, Vec<u8>, Vec<u8>>(missing, vec![]);
    call.await.unwrap_err();
    settle().await;
    named(&tracers.take(), "Recv.test.Test.Missing");
}

#[tokio::test]
async fn messages_of_streams_have_numbers_and_both_sizes() {
    let tracers = Tracers::new();
    let tracing = tracers.w3c();
    let channel = serve(
        Test::default(),
        |server| server.observe(tracing.clone()).compressors(Compressors::built_in()),
        |builder| {
            let builder = builder.observe(tracing.clone()).compressors(Compressors::built_in());
            builder.compress(Encoding::GZIP)
        },
    );
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    for message in [vec![7; 900], vec![1; 3]] {
        tx.send(message).await.unwrap();
        rx.next().await.unwrap();
    }
    tx.finish();
    assert_eq!(rx.next().await.unwrap(), None);
    settle().await;
    let spans = tracers.take();
    let recv = events(named(&spans, "Recv.test.Test.Chat"));
    let come = "Inbound message sequence-number=0 message-size=900 message-size-compressed=";
    assert!(recv[0].starts_with(come), "{recv:?}");
    let rest = [
        "Outbound message sequence-number=0 message-size=900",
        "Inbound message sequence-number=1 message-size=3",
        "Outbound message sequence-number=1 message-size=3",
    ];
    assert_eq!(recv[1..], rest);
    let attempt = events(named(&spans, "Attempt.test.Test.Chat"));
    let out = "Outbound message sequence-number=0 message-size=900 message-size-compressed=";
    assert!(attempt.iter().any(|event| event.starts_with(out)), "{attempt:?}");
}

#[tokio::test]
async fn each_attempt_is_a_span_and_tells_of_itself() {
    let tracers = Tracers::new();
    let tracing = tracers.w3c().propagator(GrpcTraceBin::new());
    let (channel, mut peers) = Peers::with(|builder| builder.observe(tracing));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, first, _) = peer.unary().await;
        peer.reset(key, Reason::REFUSED_STREAM);
        let (key, second, _) = peer.unary().await;
        peer.respond(key, &[b"ok"], OK).await;
        (peer, [first, second])
    });
    let call = unary(&channel, b"").header("traceparent", "what a proxy has passed on");
    call.await.unwrap();
    let (_, requests) = server.await.unwrap();
    let spans = tracers.take();
    let attempts: Vec<_> = spans.iter().filter(|span| span.name.starts_with("Attempt")).collect();
    let attributes: Vec<_> = attempts.iter().map(|span| attributes(&span.attributes)).collect();
    let expected = [
        ["previous-rpc-attempts=0", "transparent-retry=false"],
        ["previous-rpc-attempts=0", "transparent-retry=true"],
    ];
    assert_eq!(attributes, expected);
    for (span, fields) in attempts.iter().zip(&requests) {
        let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
        let parents: Vec<_> = fields.iter().filter(|(key, _)| key == "traceparent").collect();
        assert_eq!(parents.len(), 1, "in place of what was there");
        assert_eq!(parents[0].1, format!("00-{trace}-{id}-01"));
        assert!(field(fields, "grpc-trace-bin").is_some());
        // W3C: an empty one had better not be sent.
        assert_eq!(field(fields, "tracestate"), None);
    }
    let ended = attempts[0].status.clone();
    assert!(matches!(ended, Status::Error { description } if description.starts_with("UNAVAIL")));
    assert_eq!(attempts[1].status, Status::Ok);
}

/// A trace by W3C's header and another by gRPC's own; which of them the server's span belongs to.
async fn read_by(tracing: fn(Tracing) -> Tracing, headers: &[&str]) -> String {
    let tracers = Tracers::new();
    let traced = tracing(Tracing::new(&tracers.provider));
    let channel = serve(Test::default(), |server| server.observe(traced), |builder| builder);
    let mut call = unary(&channel, b"hello");
    for header in headers {
        call = match *header {
            "traceparent" => {
                let (trace, span) = ("a".repeat(32), "b".repeat(16));
                call.header("traceparent", format!("00-{trace}-{span}-01"))
            }
            _ => {
                let fields = [&[0, 0][..], &[0xcc; 16], &[1], &[0xdd; 8], &[2, 1]];
                call.header_bin("grpc-trace-bin", fields.concat())
            }
        };
    }
    call.await.unwrap();
    settle().await;
    let spans = tracers.take();
    let recv = named(&spans, "Recv.test.Test.Unary");
    format!(
        "{:.2} {:.2}",
        recv.span_context.trace_id().to_string(),
        recv.parent_span_id.to_string()
    )
}

#[tokio::test]
async fn of_several_propagators_what_a_later_one_reads_counts() {
    let bin_last =
        |it: Tracing| it.propagator(TraceContextPropagator::new()).propagator(GrpcTraceBin::new());
    let bin_first =
        |it: Tracing| it.propagator(GrpcTraceBin::new()).propagator(TraceContextPropagator::new());
    let both = ["traceparent", "grpc-trace-bin"];
    assert_eq!(read_by(bin_last, &both).await, "cc dd");
    assert_eq!(read_by(bin_first, &both).await, "aa bb");
    // A later one that reads nothing leaves what there was.
    for tracing in [bin_last, bin_first] {
        assert_eq!(read_by(tracing, &both[..1]).await, "aa bb");
        assert_eq!(read_by(tracing, &both[1..]).await, "cc dd");
    }
    assert!(read_by(bin_last, &[]).await.ends_with(" 00"), "a trace of its own");
}

/// Writes and reads a header whose name it has in upper case.
#[derive(Debug)]
struct Shouting([String; 1]);

impl TextMapPropagator for Shouting {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        injector.set("X-TRACE", cx.span().span_context().trace_id().to_string());
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let trace = extractor.get("X-TRACE").and_then(|trace| TraceId::from_hex(trace).ok());
        let all = extractor.get_all("X-Trace").unwrap_or_default();
        let Some(trace) = trace.filter(|_| all.len() == 1) else { return cx.clone() };
        let (span, flags) = (SpanId::from_bytes([1; 8]), TraceFlags::SAMPLED);
        let context = SpanContext::new(trace, span, flags, true, TraceState::default());
        cx.with_remote_span_context(context)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.0)
    }
}

#[tokio::test]
async fn names_of_headers_are_read_as_they_are_written_in_either_case() {
    let tracers = Tracers::new();
    let tracing = Tracing::new(&tracers.provider).propagator(Shouting(["X-TRACE".to_owned()]));
    let channel = traced(&tracing, Test::default());
    unary(&channel, b"hello").await.unwrap();
    settle().await;
    let spans = tracers.take();
    let sent = named(&spans, "Sent.test.Test.Unary").span_context.trace_id();
    assert_eq!(named(&spans, "Recv.test.Test.Unary").span_context.trace_id(), sent);
}

#[tokio::test]
async fn grpc_trace_bin_goes_over_the_wire() {
    let tracers = Tracers::new();
    let tracing = Tracing::new(&tracers.provider).propagator(GrpcTraceBin::new());
    let channel = traced(&tracing, Test::default());
    unary(&channel, b"hello").await.unwrap();
    settle().await;
    let spans = tracers.take();
    let attempt = named(&spans, "Attempt.test.Test.Unary");
    let recv = named(&spans, "Recv.test.Test.Unary");
    assert_eq!(recv.parent_span_id, attempt.span_context.span_id());
    assert_eq!(recv.span_context.trace_id(), attempt.span_context.trace_id());
}
