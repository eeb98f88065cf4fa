//! Spans of real calls, as a subscriber gets them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::Channel;
use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, ServiceDescriptor, Status};
use gannet_server::{Server, Service, Start, Started};
use gannet_tracing::Spans;
use gannet_transport::pipe;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, info};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

static METHODS: &[MethodDescriptor] = &[MethodDescriptor::new("/a.B/C", MethodKind::Unary)];
static SERVICE: ServiceDescriptor = ServiceDescriptor::new("a.B", METHODS);

struct Echo;

impl Service for Echo {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &SERVICE
    }

    fn call(&self, _: usize, start: Start<'_>) -> Started {
        start.unary::<Raw, Vec<u8>, Vec<u8>, _, _>(|call, message| async move {
            tokio::task::yield_now().await;
            info!("in the handler");
            let result = match &*message {
                b"fail" => Err(Status::data_loss("gone")),
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
        self.add(format!("{} {}", span.name(), shown.join(" ")));
    }
}

fn serve() -> Channel {
    let (connector, listener) = pipe();
    let server = Server::new().add(Echo).observe(Spans::new());
    tokio::spawn(server.serve(listener).into_future());
    Channel::builder_with_connector(connector).observe(Spans::new()).build().unwrap()
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
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    let _default = tracing::subscriber::set_default(subscriber);
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
    let server = lines.iter().find(|line| line.starts_with("server_call method")).unwrap();
    for field in ["method=/a.B/C peer=in-process", "received_bytes=5", "status=OK", "timeout_ms="] {
        assert!(server.contains(field), "{field}: {server}");
    }
    call(&channel, b"fail").await.unwrap_err();
    let lines = seen.take();
    let failed: Vec<_> = lines.iter().filter(|line| line.contains("status=DATA_LOSS")).collect();
    assert_eq!(failed.len(), 2, "{lines:#?}");
    assert!(failed.iter().all(|line| line.contains("message=gone")), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_subscriber_nothing_follows_calls() {
    let _alone = ALONE.lock().await;
    let channel = serve();
    assert_eq!(call(&channel, b"hello").await.unwrap(), b"hello");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_health_cannot_be_checked_is_an_event() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    let _default = tracing::subscriber::set_default(subscriber);
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
