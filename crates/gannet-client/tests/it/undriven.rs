//! Threads that wait for calls on a connection whose runtime nobody runs: their deadlines hold.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use gannet_client::name::{Resolver, Updates};
use gannet_client::{BearerToken, Channel, ChannelBuilder, ChannelState, Next, Outgoing};
use gannet_core::{Code, Result, Status};
use tokio::runtime::{Builder, Runtime};

use crate::backends::builder;
use crate::observe::Log;
use crate::peer::{Got, HEAD, Peer, Peers, chat, download, framed, unary, upload};

const SHORT: Duration = Duration::from_millis(30);

/// A connected channel, whose runtime stands still from then on. The streams that `open` opens
/// first are answered with headers and one message.
struct Still<T> {
    channel: Channel,
    open: T,
    _peer: (Runtime, Peers, Peer),
}

fn still(change: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Still<()> {
    still_with(change, |_| Ok(()), 0)
}

fn still_with<T>(
    change: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
    open: impl FnOnce(&Channel) -> Result<T> + Send,
    streams: u32,
) -> Still<T>
where
    T: Send,
{
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (channel, mut peers) = Peers::with(change);
    let mut peer = runtime.block_on(async {
        let server = async {
            let mut peer = peers.accept().await;
            peer.echo().await;
            peer
        };
        let (reply, peer) = tokio::join!(async { unary(&channel, b"").await }, server);
        reply.unwrap();
        peer
    });
    let opening = channel.clone();
    let open = std::thread::scope(|scope| {
        let opening = scope.spawn(move || open(&opening));
        runtime.block_on(async {
            for _ in 0..streams {
                let key = loop {
                    if let Got::Request { key, .. } = peer.next().await {
                        break key;
                    }
                };
                peer.headers(key, HEAD, false);
                peer.data(key, &framed(b"one"), false);
                peer.flush().await;
            }
            while !opening.is_finished() {
                tokio::task::yield_now().await;
            }
            // What was sent comes.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
        opening.join().unwrap().unwrap()
    });
    Still { channel, open, _peer: (runtime, peers, peer) }
}

/// What a call that takes `SHORT` comes to; it must not come to it early, nor much later.
#[track_caller]
fn overdue<T: std::fmt::Debug>(method: &str, wait: impl FnOnce() -> Result<T>) {
    let began = Instant::now();
    let status = wait().unwrap_err();
    let took = began.elapsed();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let told = format!(
        "in-process: the deadline of the call to /test.Test/{method} has passed: nothing was heard \
         of its connection, whose runtime may not be running"
    );
    assert_eq!(status.message(), told);
    assert!(took >= SHORT && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn calls_of_all_kinds_end_at_their_deadlines() {
    let Still { channel, .. } = &still(|builder| builder);
    assert_eq!(channel.state(), ChannelState::Ready);
    overdue("Unary", || unary(channel, b"").timeout(SHORT).wait());
    overdue("Unary", || unary(channel, b"").timeout(SHORT).with_metadata().wait());
    overdue("Unary", || unary(channel, b"").deadline(Instant::now() + SHORT).wait());
    overdue("Download", || download(channel, b"").timeout(SHORT).wait());
    overdue("Upload", || upload(channel).timeout(SHORT).wait());
    overdue("Chat", || chat(channel).timeout(SHORT).wait());
}

#[test]
fn streams_that_are_open_end_at_their_deadlines() {
    type Made<T> = Result<(T, Instant)>;
    // Long enough for all of them to open.
    let timeout = Duration::from_secs(5);
    let late = |at: Instant| at.elapsed() >= timeout;
    let open = |channel: &Channel| -> Made<_> {
        let at = Instant::now();
        let rx = download(channel, b"").timeout(timeout).wait()?;
        let up = upload(channel).timeout(timeout).wait()?;
        let chat = chat(channel).timeout(timeout).wait()?;
        Ok(((rx, up, chat), at))
    };
    let log = Log::default();
    let observe = |builder: ChannelBuilder| builder.observe(log.clone());
    let Still { open, channel: _channel, _peer } = still_with(observe, open, 3);
    log.take();
    let ((mut rx, (_up, reply), (mut tx, mut chat)), at) = open;
    // What had come is there.
    assert_eq!(rx.next().unwrap().unwrap(), b"one");
    overdue("Download", || rx.next().unwrap());
    assert!(late(at) && rx.next().is_none());
    drop(rx);
    told_overdue(&log);
    let status = reply.wait().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("in-process: "), "{status}");
    told_overdue(&log);
    let sent = (0..3).try_for_each(|_| tx.send(vec![0; 64 << 10]));
    assert_eq!(sent.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(chat.headers().unwrap().is_empty());
    assert_eq!(chat.next().unwrap().unwrap(), b"one");
    assert_eq!(chat.next().unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    drop((tx, chat));
    told_overdue(&log);
}

/// Observers were told of one call that it has ended at its deadline.
#[track_caller]
fn told_overdue(log: &Log) {
    for who in ["call: ", "attempt: "] {
        let lines = log.of(who);
        let ends: Vec<_> = lines.iter().filter(|line| line.contains(" after ")).collect();
        assert_eq!(ends.len(), 1, "{who}{ends:?}");
        assert!(ends[0].starts_with("DeadlineExceeded after "), "{who}{ends:?}");
    }
    log.take();
}

/// Keeps the thread that runs it until the test is over.
struct Blocks(Mutex<mpsc::Receiver<()>>);

impl Resolver for Blocks {
    async fn watch(&self, _: Updates) {
        let _ = self.0.lock().unwrap().recv();
        std::future::pending::<()>().await;
    }
}

#[test]
fn one_that_waits_for_a_connection_on_a_thread_that_stands_still() {
    let changes: [fn(ChannelBuilder) -> ChannelBuilder; 3] = [
        |builder| builder,
        |builder| {
            let token = BearerToken::new("t").unwrap();
            builder.credentials(token).allow_credentials_without_tls(true)
        },
        |builder| {
            builder.intercept(|call: Outgoing, next: Next| async move { next.run(call).await })
        },
    ];
    for change in changes {
        let (log, (end, ended)) = (Log::default(), mpsc::channel());
        let builder = builder().resolver(Blocks(Mutex::new(ended))).observe(log.clone());
        let channel = change(builder).build().unwrap();
        let status = unary(&channel, b"").timeout(SHORT).wait().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("no connection yet"), "{status}");
        told_overdue(&log);
        let status = download(&channel, b"").timeout(SHORT).wait().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        told_overdue(&log);
        end.send(()).unwrap();
    }
}

#[test]
fn a_call_on_its_way_to_a_connection_says_so() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (channel, _peers) = Peers::new();
    {
        let _entered = runtime.enter();
        channel.connect().unwrap();
    }
    assert_eq!(channel.state(), ChannelState::Connecting);
    let status = unary(&channel, b"").timeout(SHORT).wait().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("before in-process was connected"), "{status}");
}

#[test]
fn with_credentials() {
    let token = BearerToken::new("t").unwrap();
    let change =
        |builder: ChannelBuilder| builder.credentials(token).allow_credentials_without_tls(true);
    let Still { channel, .. } = &still(change);
    overdue("Unary", || unary(channel, b"").timeout(SHORT).wait());
    overdue("Chat", || chat(channel).timeout(SHORT).wait());
}

#[test]
fn an_interceptor_learns_of_the_attempt_that_it_gave_less_time() {
    let Still { channel, .. } = &still(|builder| builder);
    let attempts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&attempts);
    let channel = channel.intercepted(move |call: Outgoing, next: Next| {
        let count = Arc::clone(&count);
        async move {
            let mut last = Status::internal("no attempt");
            for _ in 0..3 {
                let mut call = call.clone();
                call.shorten_timeout(SHORT);
                match next.run(call).await {
                    Ok(answer) => return Ok(answer),
                    Err(status) => last = status,
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(last)
        }
    });
    overdue("Unary", || unary(&channel, b"").wait());
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
    let long = Duration::from_secs(60);
    overdue("Unary", || unary(&channel, b"").timeout(long).wait());
    assert_eq!(attempts.load(Ordering::Relaxed), 6);
}

#[test]
fn an_interceptor_that_does_not_come_to_an_end_does_not_hold_it_up() {
    let Still { channel, .. } = &still(|builder| builder);
    let channel = channel.intercepted(|call: Outgoing, next: Next| async move {
        let _ = next.run(call).await;
        std::future::pending().await
    });
    let status = unary(&channel, b"").timeout(SHORT).wait().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("an interceptor has not come to an end"), "{status}");
}

#[test]
fn observers_are_told_of_the_deadline() {
    let log = Log::default();
    let Still { channel, .. } = &still(|builder| builder.observe(log.clone()));
    log.take();
    overdue("Unary", || unary(channel, b"").timeout(SHORT).wait());
    assert_eq!(log.of("attempt: ").last().unwrap(), "DeadlineExceeded after 0 s");
    assert_eq!(log.of("call: ").last().unwrap(), "DeadlineExceeded after 0 s");
}
