//! What is written without looking at spans: calls that fail, and a channel's connections.

use std::future::IntoFuture as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::Channel;
use gannet_client::policy::RoundRobin;
use gannet_core::Code;
use gannet_core::codec::Raw;
use gannet_server::Server;
use gannet_tracing::Spans;
use gannet_transport::Listener;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Instrument as _, Level, Subscriber, info_span};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::peer::dead_port;
use crate::service::MISSING;
use crate::{ALONE, Echo, Fields, Seen, call, serve};

/// Events above TRACE: level, span, fields.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn subscriber(&self, level: LevelFilter) -> impl Subscriber + use<> {
        tracing_subscriber::registry().with(self.clone()).with(level)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let meta = event.metadata();
        if meta.target() != "gannet" || *meta.level() == Level::TRACE {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = cx.event_span(event).map(|span| span.name()).unwrap_or_default();
        let text = fields.0.remove("message").unwrap_or_default();
        let fields: Vec<_> = fields.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let line = format!("{} {span}: {text} {}", meta.level(), fields.join(" "));
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_are_an_event_of_each_side() {
    let _alone = ALONE.lock().await;
    let events = Events::default();
    let _default = tracing::subscriber::set_default(events.subscriber(LevelFilter::TRACE));
    let channel = serve();
    call(&channel, b"hello").await.unwrap();
    let opened = "INFO : connected address=in-process target=in-process:///in-process";
    assert_eq!(events.take(), [opened], "nothing of a call that ends well");
    for (message, level, status) in [
        (&b"fail"[..], "WARN", "status=DATA_LOSS status_message=gone"),
        (b"unknown", "WARN", "status=UNKNOWN status_message=as told"),
        (b"internal", "WARN", "status=INTERNAL status_message=as told"),
        (b"unavailable", "WARN", "status=UNAVAILABLE status_message=as told"),
        (b"deadline_exceeded", "WARN", "status=DEADLINE_EXCEEDED status_message=as told"),
        (b"invalid_argument", "DEBUG", "status=INVALID_ARGUMENT status_message=as told"),
        (b"not_found", "DEBUG", "status=NOT_FOUND status_message=as told"),
        (b"resource_exhausted", "DEBUG", "status=RESOURCE_EXHAUSTED status_message=as told"),
        (b"unimplemented", "DEBUG", "status=UNIMPLEMENTED status_message=as told"),
        (b"cancelled", "DEBUG", "status=CANCELLED status_message=as told"),
    ] {
        call(&channel, message).await.unwrap_err();
        let of = |side: &str| format!("{level} {side}: the call failed method=/a.B/C {status}");
        let mut told = events.take();
        told.sort_unstable();
        assert_eq!(told, [of("client_call"), of("server_call")]);
    }
}

#[tokio::test(start_paused = true)]
async fn methods_that_nobody_has_are_an_event_with_their_name() {
    let _alone = ALONE.lock().await;
    let events = Events::default();
    let _default = tracing::subscriber::set_default(events.subscriber(LevelFilter::TRACE));
    let channel = serve();
    let missing = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&MISSING, Vec::new());
    assert_eq!(missing.await.unwrap_err().code(), Code::Unimplemented);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let told = events.take();
    let server =
        "DEBUG server_call: the call failed method=/test.Test/Missing status=UNIMPLEMENTED";
    assert!(told.iter().any(|line| line.starts_with(server)), "{told:#?}");
}

/// Who wants warnings alone has no spans, and yet what fails.
#[tokio::test(start_paused = true)]
async fn failures_are_told_where_spans_are_not_wanted() {
    let _alone = ALONE.lock().await;
    let events = Events::default();
    let _default = tracing::subscriber::set_default(events.subscriber(LevelFilter::WARN));
    let channel = serve();
    call(&channel, b"hello").await.unwrap();
    call(&channel, b"not_found").await.unwrap_err();
    assert_eq!(events.take(), [""; 0]);
    call(&channel, b"fail").await.unwrap_err();
    let line = "WARN : the call failed method=/a.B/C status=DATA_LOSS status_message=gone";
    assert_eq!(events.take(), [line, line]);
    // A client's is within what the application has around it.
    let error = tracing::error_span!("outer");
    call(&channel, b"fail").instrument(error).await.unwrap_err();
    let mut told = events.take();
    told.sort_unstable();
    assert_eq!(told, [line, &line.replacen(":", "outer:", 1)]);
}

/// Layers that write text have no name for a field `message`, nor quotes around it.
#[tokio::test(start_paused = true)]
async fn why_a_call_failed_has_a_name_of_its_own() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let channel = serve();
    call(&channel, b"fail").await.unwrap_err();
    let lines = seen.take();
    let spans: Vec<_> = lines.iter().filter(|line| line.contains("_call method=")).collect();
    assert_eq!(spans.len(), 2, "{lines:#?}");
    for line in spans {
        assert!(line.contains(" status=DATA_LOSS status_message=gone"), "{line}");
        assert!(!line.contains(" message="), "{line}");
    }
}

async fn live_server() -> String {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(Server::new().add(Echo).serve(listener).into_future());
    address
}

#[tokio::test]
async fn two_dead_servers_of_three_are_told_while_calls_go_on() {
    let _alone = ALONE.lock().await;
    let events = Events::default();
    let _default = tracing::subscriber::set_default(events.subscriber(LevelFilter::INFO));
    let good = live_server().await;
    let dead = [dead_port(), dead_port()].map(|port| format!("127.0.0.1:{port}"));
    let target = format!("ipv4:{},{good},{}", dead[0], dead[1]);
    let builder = Channel::builder(&*target).balance(RoundRobin::new).observe(Spans::new());
    let channel = builder.build().unwrap();
    let mut told = Vec::new();
    let all = async {
        while told.len() < 3 {
            call(&channel, b"hello").await.unwrap();
            told.extend(events.take());
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), all).await;
    let of = |address: &str| {
        let (level, what) = match address == good {
            true => ("INFO", "connected"),
            false => ("WARN", "connecting failed"),
        };
        format!("{level} : {what} address={address} ")
    };
    for address in [&good, &dead[0], &dead[1]] {
        let lines: Vec<_> = told.iter().filter(|line| line.starts_with(&of(address))).collect();
        let [line, ..] = &*lines else { panic!("nothing of {address}: {told:#?}") };
        assert!(line.contains(&format!("target={target}")), "{line}");
        assert_eq!(line.contains("onnection refused"), *address != good, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_close_are_told_with_why() {
    let _alone = ALONE.lock().await;
    let events = Events::default();
    let _default = tracing::subscriber::set_default(events.subscriber(LevelFilter::INFO));
    let channel = serve();
    // It is the channel's, not of the call that brought it about.
    call(&channel, b"hello").instrument(info_span!("outer")).await.unwrap();
    drop(channel);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let of = "address=in-process target=in-process:///in-process";
    let opened = format!("INFO : connected {of}");
    let closed = format!("INFO : the connection takes no more calls {of} why=subchannel shutdown");
    assert_eq!(events.take(), [opened, closed]);
}

/// What a layer for text has written.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As the crate's documentation says.
#[tokio::test(start_paused = true)]
async fn text_has_failures_by_default_and_each_call_where_spans_are_written() {
    let _alone = ALONE.lock().await;
    for with_spans in [false, true] {
        let text = Text::default();
        let writer = text.clone();
        let fmt = tracing_subscriber::fmt().with_writer(move || writer.clone()).without_time();
        let spans = if with_spans { FmtSpan::CLOSE } else { FmtSpan::NONE };
        let _default = tracing::subscriber::set_default(fmt.with_span_events(spans).finish());
        let channel = serve();
        call(&channel, b"hello").await.unwrap();
        let told = text.take();
        let closed = told.lines().filter(|line| line.contains(" sent=1 received=1 ")).count();
        assert_eq!(closed, 2 * usize::from(with_spans), "{told}");
        call(&channel, b"not_found").await.unwrap_err();
        let told = text.take();
        assert!(!told.contains("the call failed"), "{told}");
        call(&channel, b"internal").await.unwrap_err();
        let told = text.take();
        let failed = "gannet: the call failed method=\"/a.B/C\" status=\"INTERNAL\" \
                      status_message=\"as told\"";
        for side in ["client_call", "server_call"] {
            let is_it = |line: &&str| {
                line.contains(&format!(" WARN {side}{{method=")) && line.ends_with(failed)
            };
            assert_eq!(told.lines().filter(is_it).count(), 1, "{side}: {told}");
        }
    }
}
