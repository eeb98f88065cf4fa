//! What observers are told, on both sides, of all kinds of calls and all kinds of ends.

use std::cell::Cell;
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::{Channel, ChannelBuilder, Next, Outgoing};
use gannet_core::compression::{Compressors, Encoding};
use gannet_core::{Code, Metadata, MethodDescriptor, MethodKind, Result, codec::Raw};
use gannet_http2::Reason;
use gannet_server::{Dispatch, Incoming, MethodOptions, Server};
use gannet_transport::Direction;
use gannet_transport::observe::{
    AttemptStart, CallObserver, ClientAttemptObserver, ClientCallObserver, ClientCallStart, Ended,
    MessageEvent, ServerCallObserver, ServerCallStart,
};
use gannet_transport::pipe;
use tokio::time::Instant;

use crate::peer::{
    Bytes, HEAD, OK, Peers, chat, dead_port, download, field, framed, unary, upload,
};
use crate::server::Test;

static MISSING: MethodDescriptor = MethodDescriptor::new("/test.Test/Missing", MethodKind::Unary);

thread_local! {
    /// How many observers' scopes the code that runs is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Writes down what it is told.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// All of it, in order, and empty from here on.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// What begins like this, without that.
    pub(crate) fn of(&self, who: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter_map(|line| line.strip_prefix(who)).map(str::to_owned).collect()
    }

    /// Lets the other side finish.
    async fn settled(&self) -> &Log {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self
    }
}

/// One call or attempt.
struct One {
    log: Log,
    who: &'static str,
    began: Instant,
}

impl One {
    fn new(log: &Log, who: &'static str) -> One {
        One { log: log.clone(), who, began: Instant::now() }
    }

    fn tell(&self, what: impl std::fmt::Display) {
        self.log.add(format!("{}: {what}", self.who));
    }

    fn tell_message(&self, message: &MessageEvent) {
        let MessageEvent { number, bytes, .. } = message;
        let way = if message.direction == Direction::Inbound { "in" } else { "out" };
        match message.compressed_bytes {
            None => self.tell(format_args!("{way} {number} {bytes}")),
            Some(wire_bytes) => {
                assert_eq!(message.wire_bytes(), wire_bytes);
                assert!(wire_bytes < *bytes);
                self.tell(format_args!("{way} {number} {bytes} compressed"));
            }
        }
    }

    fn tell_end(&self, end: &Ended<'_>) {
        assert_eq!(end.status.is_some(), !end.code.is_ok());
        let took = end.at.saturating_duration_since(self.began.into_std());
        self.tell(format_args!("{:?} after {} s", end.code, took.as_secs()));
    }
}

impl CallObserver for Log {
    fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        let one = One::new(self, "call");
        one.tell(format_args!("{} {}", call.method.path, call.target));
        assert!(call.at <= one.began.into_std());
        Some(Box::new(one))
    }

    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        let one = One::new(self, "server");
        let known = if call.method.is_some() { "" } else { " unknown" };
        let trace: Vec<_> = call.header("x-trace").map(String::from_utf8_lossy).collect();
        one.tell(format_args!("{}{known} {} by {}", call.path(), trace.join(","), call.peer));
        assert_eq!(call.metadata().get("x-trace").unwrap_or_default(), trace.join(","));
        Some(Arc::new(one))
    }
}

impl ClientCallObserver for One {
    fn attempt(
        &self,
        attempt: &AttemptStart,
        metadata: &mut Metadata,
    ) -> Option<Box<dyn ClientAttemptObserver>> {
        let one = One::new(&self.log, "attempt");
        let again = if attempt.is_transparent { " again" } else { "" };
        one.tell(format_args!("{}{again}", attempt.previous));
        let attempts = self.log.of("attempt: ").iter().filter(|l| !l.contains(' ')).count();
        metadata.insert("x-trace", format!("{attempts}{again}").trim()).unwrap();
        Some(Box::new(one))
    }

    fn ended(&self, end: &Ended<'_>) {
        self.tell_end(end);
    }
}

impl ClientAttemptObserver for One {
    fn picked(&self, peer: &str, is_delayed: bool) {
        let delayed = if is_delayed { " late" } else { "" };
        self.tell(format_args!("to {peer}{delayed}"));
    }

    fn headers(&self) {
        self.tell("headers");
    }

    fn message(&self, message: &MessageEvent) {
        self.tell_message(message);
    }

    fn ended(&self, end: &Ended<'_>) {
        self.tell_end(end);
    }
}

impl ServerCallObserver for One {
    fn message(&self, message: &MessageEvent) {
        self.tell_message(message);
    }

    fn headers(&self) {
        self.tell("headers");
    }

    fn scope(&self, poll: &mut dyn FnMut()) {
        DEPTH.set(DEPTH.get() + 1);
        poll();
        DEPTH.set(DEPTH.get() - 1);
    }

    fn ended(&self, end: &Ended<'_>) {
        self.tell_end(end);
    }
}

/// A channel to a server, both followed.
fn followed(
    log: &Log,
    server: impl FnOnce(Server) -> Server,
    channel: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> Channel {
    let (connector, listener) = pipe();
    let server = server(Server::new().observe(log.clone())).add(Test::default());
    tokio::spawn(server.serve(listener).into_future());
    let builder = Channel::builder_with_connector(connector).observe(log.clone());
    channel(builder).build().unwrap()
}

fn plain(log: &Log) -> Channel {
    followed(log, |server| server, |builder| builder)
}

#[tokio::test(start_paused = true)]
async fn a_unary_call() {
    let log = Log::default();
    let channel = plain(&log);
    unary(&channel, b"hello").await.unwrap();
    log.settled().await;
    let uri = "in-process:///in-process";
    assert_eq!(log.of("call: "), [&*format!("/test.Test/Unary {uri}"), "Ok after 0 s"]);
    let attempt = ["0", "to in-process late", "out 0 5", "headers", "in 0 5", "Ok after 0 s"];
    assert_eq!(log.of("attempt: "), attempt);
    let server =
        ["/test.Test/Unary 1 by in-process", "in 0 5", "headers", "out 0 5", "Ok after 0 s"];
    assert_eq!(log.of("server: "), server);
    let order: Vec<_> = log.take().into_iter().map(|line| line[..5].to_owned()).collect();
    assert_eq!(order[..4], ["call:", "attem", "attem", "attem"]);
    assert_eq!(order[order.len() - 2..], ["attem", "call:"]);
    unary(&channel, b"slow").await.unwrap();
    assert_eq!(log.of("attempt: ")[1], "to in-process", "there was a connection");
    assert_eq!(log.of("call: ")[1], "Ok after 1 s");
    assert_eq!(log.of("server: ")[4], "Ok after 1 s");
}

#[tokio::test(start_paused = true)]
async fn streams() {
    let log = Log::default();
    let channel = plain(&log);
    unary(&channel, b"").await.unwrap();
    log.settled().await.take();

    let (mut tx, reply) = upload(&channel).await.unwrap();
    for bytes in [1, 10_000, 0] {
        tx.send(vec![0; bytes]).await.unwrap();
    }
    tx.finish();
    assert_eq!(reply.await.unwrap(), b"10001");
    log.settled().await;
    let sent = ["out 0 1", "out 1 10000", "out 2 0", "headers", "in 0 5", "Ok after 0 s"];
    assert_eq!(log.of("attempt: ")[2..], sent);
    let server = ["in 0 1", "in 1 10000", "in 2 0", "headers", "out 0 5", "Ok after 0 s"];
    assert_eq!(log.of("server: ")[1..], server);
    assert_eq!(log.of("call: ")[1..], ["Ok after 0 s"]);
    log.take();

    let mut rx = download(&channel, b"2").await.unwrap();
    while rx.next().await.unwrap().is_some() {}
    log.settled().await;
    let came = ["out 0 1", "headers", "in 0 10000", "in 1 10000", "Ok after 0 s"];
    assert_eq!(log.of("attempt: ")[2..], came);
    let mut served = log.of("server: ");
    served.retain(|line| line != "headers");
    assert_eq!(served[1..], ["in 0 1", "out 0 10000", "out 1 10000", "Ok after 0 s"]);
    log.take();

    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    tx.send(vec![1; 3]).await.unwrap();
    rx.next().await.unwrap();
    tx.finish();
    assert_eq!(rx.next().await.unwrap(), None);
    log.settled().await;
    assert_eq!(log.of("attempt: ")[2..], ["out 0 3", "headers", "in 0 3", "Ok after 0 s"]);
    assert_eq!(log.of("server: ")[1..], ["in 0 3", "out 0 3", "headers", "Ok after 0 s"]);
}

#[tokio::test(start_paused = true)]
async fn failures_and_unknown_methods() {
    let log = Log::default();
    let channel = plain(&log);
    for (message, code) in [("fail", "AlreadyExists"), ("panic", "Unknown")] {
        unary(&channel, message.as_bytes()).await.unwrap_err();
        log.settled().await;
        for who in ["call: ", "attempt: ", "server: "] {
            assert_eq!(log.of(who).last().unwrap(), &format!("{code} after 0 s"), "{who}");
        }
        assert!(!log.of("attempt: ").contains(&"headers".to_owned()), "trailers only");
        log.take();
    }
    channel.unary::<Raw, Bytes, Bytes>(&MISSING, vec![]).await.unwrap_err();
    let server = log.settled().await.of("server: ");
    assert_eq!(server, ["/test.Test/Missing unknown 1 by in-process", "Unimplemented after 0 s"]);
    log.take();
    // It is not even tried.
    let big = unary(&channel, &[0; 100]).max_send_bytes(10).await.unwrap_err();
    assert_eq!(big.code(), Code::ResourceExhausted);
    assert_eq!(log.of("call: ")[1..], ["ResourceExhausted after 0 s"]);
    assert!(log.of("attempt: ").is_empty());
    log.take();
    // Refused by the server before its handler runs.
    let big = unary(&channel, &[0; (4 << 20) + 1]).await.unwrap_err();
    assert_eq!(big.code(), Code::ResourceExhausted);
    assert_eq!(log.settled().await.of("server: ").last().unwrap(), "ResourceExhausted after 0 s");
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up() {
    let log = Log::default();
    let channel = plain(&log);
    unary(&channel, b"wait").timeout(Duration::from_secs(3)).await.unwrap_err();
    log.settled().await;
    for who in ["call: ", "attempt: "] {
        assert_eq!(log.of(who).last().unwrap(), "DeadlineExceeded after 3 s", "{who}");
    }
    // The client resets the stream before the server's own timer is due.
    assert_eq!(log.of("server: ").last().unwrap(), "Cancelled after 3 s");
    log.take();
    let call = unary(&channel, b"wait").into_future();
    tokio::time::timeout(Duration::from_secs(2), call).await.unwrap_err();
    log.settled().await;
    for who in ["call: ", "attempt: ", "server: "] {
        assert_eq!(log.of(who).last().unwrap(), "Cancelled after 2 s", "{who}");
    }
    log.take();
    drop(chat(&channel).await.unwrap());
    log.settled().await;
    for who in ["call: ", "attempt: ", "server: "] {
        assert_eq!(log.of(who).last().unwrap(), "Cancelled after 0 s", "{who}");
    }
    log.take();
    // Its end was there, and nobody read it.
    let mut rx = download(&channel, b"1").await.unwrap();
    rx.next().await.unwrap();
    log.settled().await;
    drop(rx);
    assert_eq!(log.of("attempt: ").last().unwrap(), "Ok after 0 s");
    assert_eq!(log.of("call: ").last().unwrap(), "Cancelled after 0 s");
}

#[tokio::test]
async fn a_call_without_a_connection() {
    let log = Log::default();
    let target = format!("127.0.0.1:{}", dead_port());
    let channel = Channel::builder(&target).observe(log.clone()).build().unwrap();
    unary(&channel, b"").await.unwrap_err();
    assert_eq!(
        log.of("call: "),
        [&*format!("/test.Test/Unary dns:///{target}"), "Unavailable after 0 s"]
    );
    assert_eq!(log.of("attempt: "), ["0", "Unavailable after 0 s"]);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_the_server_refuses() {
    let log = Log::default();
    let (channel, mut peers) = Peers::with(|builder| builder.observe(log.clone()));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let mut traces = Vec::new();
        for refused in [true, false, true, false] {
            let (key, fields, _) = peer.unary().await;
            traces.push(field(&fields, "x-trace").unwrap().to_owned());
            match refused {
                true => peer.reset(key, Reason::REFUSED_STREAM),
                false => peer.respond(key, &[b"given"], OK).await,
            }
        }
        (peer, traces)
    });
    let attempts = |log: &Log| {
        let lines = log.of("attempt: ");
        let of_note = |line: &&String| !line.starts_with("to") && !line.starts_with("out");
        lines.iter().filter(of_note).cloned().collect::<Vec<_>>()
    };
    let told = ["0", "Unavailable after 0 s", "0 again", "headers", "in 0 5", "Ok after 0 s"];
    unary(&channel, b"stubborn").await.unwrap();
    assert_eq!(attempts(&log), told);
    assert_eq!(log.of("call: ").last().unwrap(), "Ok after 0 s");
    log.take();
    let mut rx = download(&channel, b"give").await.unwrap();
    while rx.next().await.unwrap().is_some() {}
    assert_eq!(attempts(&log), told);
    let (_, traces) = server.await.unwrap();
    assert_eq!(traces, ["1", "1 again", "1", "1 again"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_a_connection_hands_back() {
    let log = Log::default();
    let (channel, mut peers) = Peers::with(|builder| builder.observe(log.clone()));
    let server = tokio::spawn(async move {
        let mut first = peers.accept().await;
        let (key, ..) = first.unary().await;
        // It has not seen this one, and takes no more.
        first.conn.goaway(Reason::NO_ERROR, b"");
        first.reset(key, Reason::REFUSED_STREAM);
        first.flush().await;
        let mut second = peers.accept().await;
        let (key, ..) = second.unary().await;
        second.respond(key, &[b"ok"], OK).await;
        (first, second)
    });
    unary(&channel, b"on").await.unwrap();
    let attempts = log.of("attempt: ");
    assert!(attempts.contains(&"0 again".to_owned()), "{attempts:?}");
    assert_eq!(attempts.iter().filter(|line| line.starts_with("to ")).count(), 2);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_interceptors_attempts_are_counted() {
    let log = Log::default();
    let (channel, mut peers) = Peers::with(|builder| {
        let builder = builder.observe(log.clone());
        builder.intercept(|call: Outgoing, next: Next| async move {
            match next.run(call.clone()).await {
                Err(_) => next.run(call).await,
                other => other,
            }
        })
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[], &[("grpc-status", "14")]).await;
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[b"ok"], OK).await;
        peer
    });
    unary(&channel, b"on").await.unwrap();
    let attempts = log.of("attempt: ");
    let ends: Vec<_> = attempts.iter().filter(|line| line.contains("after")).collect();
    assert_eq!(ends, ["Unavailable after 0 s", "Ok after 0 s"]);
    assert!(attempts.contains(&"1".to_owned()), "one was before it: {attempts:?}");
    assert_eq!(log.of("call: ")[1..], ["Ok after 0 s"]);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn compressed_messages() {
    let log = Log::default();
    let channel = followed(
        &log,
        |server| server.compressors(Compressors::built_in()).compress(Encoding::GZIP),
        |builder| builder.compressors(Compressors::built_in()).compress(Encoding::GZIP),
    );
    let (_, metadata) = unary(&channel, &[7; 900]).with_metadata().await.unwrap();
    assert_eq!(metadata.compressed.messages, 1, "it is told to the application, too");
    log.settled().await;
    let client = ["out 0 900 compressed", "headers", "in 0 900 compressed", "Ok after 0 s"];
    assert_eq!(log.of("attempt: ")[2..], client);
    let server = ["in 0 900 compressed", "headers", "out 0 900 compressed", "Ok after 0 s"];
    assert_eq!(log.of("server: ")[1..], server);
    log.take();
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    for message in [vec![7; 800], vec![7; 1]] {
        tx.send(message).await.unwrap();
        rx.next().await.unwrap();
    }
    tx.finish();
    rx.next().await.unwrap();
    log.settled().await;
    let mut attempt = log.of("attempt: ");
    attempt.retain(|line| line.starts_with("in") || line.starts_with("out"));
    let both = ["out 0 800 compressed", "in 0 800 compressed", "out 1 1", "in 1 1"];
    assert_eq!(attempt, both);
    let mut server = log.of("server: ");
    server.retain(|line| line.starts_with("in") || line.starts_with("out"));
    assert_eq!(server, ["in 0 800 compressed", "out 0 800 compressed", "in 1 1", "out 1 1"]);
}

#[tokio::test(start_paused = true)]
async fn several_observers_nest_around_the_handler() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let depths = Arc::clone(&seen);
        let (one, other) = (Log::default(), Log::default());
        let intercept = move |call: Incoming, next: gannet_server::Next| {
            depths.lock().unwrap().push(DEPTH.get());
            next.run(call)
        };
        let channel = followed(
            &one,
            |server| {
                let options = MethodOptions::new().dispatch(dispatch);
                server.observe(other.clone()).intercept(intercept).method("test.Test", options)
            },
            |builder| builder.observe(other.clone()),
        );
        unary(&channel, b"hello").await.unwrap();
        one.settled().await;
        assert_eq!(*seen.lock().unwrap(), [2], "{dispatch:?}");
        for log in [one, other] {
            for who in ["call: ", "attempt: ", "server: "] {
                assert_eq!(log.of(who).last().unwrap(), "Ok after 0 s");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_no_grpc_has_no_headers() -> Result<()> {
    let log = Log::default();
    let (channel, mut peers) = Peers::with(|builder| builder.observe(log.clone()));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.headers(key, &[(":status", "503")], true);
        let (key, ..) = peer.unary().await;
        peer.headers(key, HEAD, false);
        peer.data(key, &framed(b"cut")[..6], true);
        peer.flush().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    unary(&channel, b"").await.unwrap_err();
    assert!(!log.of("attempt: ").contains(&"headers".to_owned()));
    assert_eq!(log.of("attempt: ").last().unwrap(), "Unavailable after 0 s");
    unary(&channel, b"").await.unwrap_err();
    assert!(log.of("attempt: ").contains(&"headers".to_owned()));
    server.await.unwrap();
    Ok(())
}
