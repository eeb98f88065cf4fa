//! Spans of real calls, as a subscriber gets them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod events;
#[allow(dead_code, reason = "what these tests do not script")]
#[path = "../../../gannet-client/tests/it/peer.rs"]
mod peer;
#[allow(dead_code, reason = "what these tests do not call")]
#[path = "../../../gannet-otel/tests/it/service.rs"]
mod service;
mod streams;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::Channel;
use gannet_core::codec::Raw;
use gannet_core::compression::{Compressors, Encoding};
use gannet_core::{Code, MethodDescriptor, MethodKind, ServiceDescriptor, Status};
use gannet_http2::Reason;
use gannet_server::{Server, Service, Start, Started};
use gannet_tracing::Spans;
use gannet_transport::observe::{
    CallObserver, ClientCallObserver, ClientCallStart, ServerCallObserver, ServerCallStart,
};
use gannet_transport::pipe;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument as _, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

static METHODS: &[MethodDescriptor] = &[MethodDescriptor::new("/a.B/C", MethodKind::Unary)];
static SERVICE: ServiceDescriptor = ServiceDescriptor::new("a.B", METHODS);

/// `fail` fails, as do names of codes in lower case; anything else is echoed.
struct Echo;

impl Service for Echo {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &SERVICE
    }

    fn call(&self, _: usize, start: Start<'_>) -> Started {
        start.unary::<Raw, Vec<u8>, Vec<u8>, _, _>(|call, message| async move {
            tokio::task::yield_now().await;
            info!("in the handler");
            let name = String::from_utf8_lossy(&message).to_ascii_uppercase();
            let result = match (&*message, Code::from_name(&name)) {
                (b"fail", _) => Err(Status::data_loss("gone")),
                (_, Some(code)) => Err(Status::new(code, "as told")),
                _ => Ok(message),
            };
            (call, result)
        })
    }
}

/// Fields of spans and events.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// Spans that have closed, and what happened in them.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn subscriber(&self) -> impl Subscriber + use<> {
        tracing_subscriber::registry().with(self.clone())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        cx.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, cx: Context<'_, S>) {
        let span = cx.span(id).unwrap();
        record.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &tracing::Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = cx.event_span(event).map(|span| span.name()).unwrap_or_default();
        let told: Vec<_> = fields.0.values().cloned().collect();
        self.add(format!("{span}: {}", told.join(" ")));
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        let span = cx.span(&id).unwrap();
        let extensions = span.extensions();
        let fields = &extensions.get::<Fields>().unwrap().0;
        let shown: Vec<_> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let within = span.parent().map(|parent| format!(" within={}", parent.name()));
        let within = within.unwrap_or_default();
        self.add(format!("{} {}{within}", span.name(), shown.join(" ")));
    }
}

/// [`Spans`], and of how many calls it followed.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn count<T>(&self, followed: Option<T>) -> Option<T> {
        self.0.fetch_add(usize::from(followed.is_some()), Ordering::Relaxed);
        followed
    }
}

impl CallObserver for Counted {
    fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        self.count(Spans::new().client_call(call))
    }

    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        self.count(Spans::new().server_call(call))
    }
}

fn serve() -> Channel {
    serve_with(Spans::new())
}

fn serve_with(observer: impl CallObserver + Clone) -> Channel {
    let (connector, listener) = pipe();
    let server = Server::new().add(Echo).compressors(Compressors::built_in());
    tokio::spawn(server.observe(observer.clone()).serve(listener).into_future());
    let builder = Channel::builder_with_connector(connector).compressors(Compressors::built_in());
    builder.observe(observer).build().unwrap()
}

/// The line of the span of this name, once it has closed.
fn span_of<'a>(lines: &'a [String], name: &str) -> &'a str {
    let found: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{name} "))).collect();
    let [line] = &*found else { panic!("not one {name}: {lines:#?}") };
    line
}

async fn call(channel: &Channel, message: &[u8]) -> gannet_core::Result<Vec<u8>> {
    let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&METHODS[0], message.to_vec());
    let result = call.timeout(Duration::from_secs(5)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    result
}

/// `tracing` keeps for the whole process whether somebody wants a span: a test without a subscriber
/// beside one that has one could have it keep the wrong answer.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(start_paused = true)]
async fn calls_are_spans_with_what_they_came_to() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let channel = serve();
    call(&channel, b"hello").await.unwrap();
    let lines = seen.take();
    let message = |who: &str, way: &str| format!("{who}: 5 message {way} 0");
    for line in [
        "server_call: in the handler".to_owned(),
        message("client_call", "sent"),
        message("server_call", "received"),
        message("server_call", "sent"),
        message("client_call", "received"),
        "client_call method=/a.B/C peer=in-process received=1 received_bytes=5 sent=1 \
         sent_bytes=5 status=OK target=in-process:///in-process timeout_ms=5000"
            .to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }
    let server = "server_call method=/a.B/C peer=in-process received=1 received_bytes=5 sent=1 \
                  sent_bytes=5 status=OK timeout_ms=";
    let left = span_of(&lines, "server_call").strip_prefix(server);
    // What the client asks for may be rounded up by a hundredth.
    let left: u64 = left.unwrap_or_else(|| panic!("{lines:#?}")).parse().unwrap();
    assert!((5_000..=5_050).contains(&left), "{left} ms are left");
    call(&channel, b"fail").await.unwrap_err();
    let lines = seen.take();
    let failed: Vec<_> = lines.iter().filter(|line| line.contains("status=DATA_LOSS")).collect();
    assert_eq!(failed.len(), 2, "{lines:#?}");
    assert!(failed.iter().all(|line| line.contains(" status_message=gone")), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_subscriber_nothing_follows_calls() {
    let _alone = ALONE.lock().await;
    // What the subscribers of other tests wanted is kept until somebody looks again.
    tracing::callsite::rebuild_interest_cache();
    let counted = Counted::default();
    let channel = serve_with(counted.clone());
    assert_eq!(call(&channel, b"hello").await.unwrap(), b"hello");
    assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry());
    assert_eq!(call(&channel, b"hello").await.unwrap(), b"hello");
    assert_eq!(counted.0.load(Ordering::Relaxed), 2, "the call and its other side");
}

#[tokio::test(start_paused = true)]
async fn a_clients_span_is_within_the_current_one_and_a_servers_is_not() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let channel = serve();
    call(&channel, b"hello").instrument(info_span!("outer")).await.unwrap();
    let lines = seen.take();
    assert!(span_of(&lines, "client_call").ends_with(" within=outer"), "{lines:#?}");
    assert!(!span_of(&lines, "server_call").contains("within"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_those_that_travelled() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let channel = serve();
    let echo = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&METHODS[0], vec![7; 900]);
    echo.compress(Encoding::GZIP).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let lines = seen.take();
    let bytes = |side: &str, field: &str| -> usize {
        let (_, rest) = span_of(&lines, side).split_once(&format!("{field}=")).unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let travelled = bytes("client_call", "sent_bytes");
    assert!((1..100).contains(&travelled), "{travelled} of 900 bytes");
    assert_eq!(bytes("server_call", "received_bytes"), travelled);
    // The server was not told to compress.
    assert_eq!(bytes("server_call", "sent_bytes"), 900);
    assert_eq!(bytes("client_call", "received_bytes"), 900);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_told_where_there_is_more_than_one() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let (channel, mut peers) = peer::Peers::with(|builder| builder.observe(Spans::new()));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.reset(key, Reason::REFUSED_STREAM);
        for _ in 0..2 {
            let (key, ..) = peer.unary().await;
            peer.respond(key, &[b"ok"], peer::OK).await;
        }
        peer
    });
    for attempts in [" attempts=2 ", " status=OK "] {
        peer::unary(&channel, b"hello").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let lines = seen.take();
        let line = span_of(&lines, "client_call");
        assert!(format!("{line} ").contains(attempts), "{line}");
        assert_eq!(line.contains("attempts"), attempts.contains("attempts"), "{line}");
    }
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_health_cannot_be_checked_is_an_event() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let (connector, listener) = pipe();
    tokio::spawn(Server::new().add(Echo).serve(listener).into_future());
    let builder = Channel::builder_with_connector(connector).health_check("mail");
    let channel = builder.observe(Spans::new()).build().unwrap();
    for _ in 0..2 {
        call(&channel, b"hello").await.unwrap();
    }
    let lines = seen.take();
    let told = ": the server has no health service, and counts as healthy in-process mail \
                in-process:///in-process";
    assert_eq!(lines.iter().filter(|line| *line == told).count(), 1, "{lines:#?}");
}
