//! The client against gannet-server: all kinds of calls, over the pipe and over TCP.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gannet_client::Channel;
use gannet_core::codec::Raw;
use gannet_core::{Code, MethodDescriptor, MethodKind, Result, ServiceDescriptor, Status};
use gannet_server::{Call, Server, Service, Start, Started};
use gannet_transport::{Inbound, Listener, Outbound, PipeConnector, pipe};
use tokio::sync::oneshot;

use crate::peer::{Bytes, chat, download, spawn_unary, unary, upload};

static TEST: ServiceDescriptor = ServiceDescriptor::new(
    "test.Test",
    &[
        MethodDescriptor::new("/test.Test/Unary", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Upload", MethodKind::ClientStreaming),
        MethodDescriptor::new("/test.Test/Download", MethodKind::ServerStreaming),
        MethodDescriptor::new("/test.Test/Chat", MethodKind::BidiStreaming),
    ],
);
static MISSING: MethodDescriptor = MethodDescriptor::new("/test.Test/Missing", MethodKind::Unary);

#[derive(Clone, Default)]
pub(crate) struct Test {
    /// Handlers whose future is gone.
    pub(crate) gone: Arc<AtomicUsize>,
}

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// `wait` waits for ever, `fail` fails, `panic` panics, `who` tells the peer, anything else is
/// echoed.
async fn answer(call: &mut Call, message: Bytes, gone: Gone) -> Result<Bytes> {
    let _gone = gone;
    if let Some(value) = call.metadata().get("x-in").map(str::to_owned) {
        call.headers_mut().insert("x-head", &value)?;
        call.trailers_mut().insert("x-trail", &value)?;
    }
    match &*message {
        b"wait" => std::future::pending().await,
        b"slow" => tokio::time::sleep(Duration::from_secs(1)).await,
        b"fail" => {
            let mut status = Status::already_exists("50% ä").with_details(vec![8, 6]);
            status.metadata_mut().insert("x-why", "because")?;
            return Err(status);
        }
        b"panic" => panic!("told to"),
        b"who" => return Ok(format!("{:?}", call.peer()).into_bytes()),
        _ => {}
    }
    Ok(message)
}

async fn count(messages: &mut Inbound<Bytes>) -> Result<Bytes> {
    let mut bytes = 0;
    while let Some(message) = messages.next().await? {
        bytes += message.len();
    }
    Ok(bytes.to_string().into_bytes())
}

/// As many messages of 10,000 bytes as the request says.
async fn produce(message: &[u8], replies: &mut Outbound<Bytes>) -> Result<()> {
    let count = std::str::from_utf8(message).unwrap().parse().unwrap();
    for n in 0..count {
        replies.send(vec![n; 10_000]).await?;
    }
    Ok(())
}

async fn talk(messages: &mut Inbound<Bytes>, replies: &mut Outbound<Bytes>) -> Result<()> {
    while let Some(message) = messages.next().await? {
        replies.send(message).await?;
    }
    Ok(())
}

impl Service for Test {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &TEST
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        let gone = Gone(Arc::clone(&self.gone));
        match method {
            0 => start.unary::<Raw, Bytes, Bytes, _, _>(|mut call, message| async move {
                let result = answer(&mut call, message, gone).await;
                (call, result)
            }),
            1 => start.client_streaming::<Raw, Bytes, Bytes, _, _>(|call, ends| async move {
                let mut messages = ends.open(&call);
                let _gone = gone;
                let result = count(&mut messages).await;
                (call, result)
            }),
            2 => start.server_streaming::<Raw, Bytes, Bytes, _, _>(
                |call, message: Bytes, ends| async move {
                    let mut replies = ends.open(&call);
                    let _gone = gone;
                    let result = produce(&message, &mut replies).await;
                    (call, result)
                },
            ),
            3 => start.bidi_streaming::<Raw, Bytes, Bytes, _, _>(|call, ends| async move {
                let (mut messages, mut replies) = ends.open(&call);
                let _gone = gone;
                let result = talk(&mut messages, &mut replies).await;
                (call, result)
            }),
            _ => start.unimplemented(),
        }
    }
}

/// A server on an in-process pipe.
pub(crate) fn serve(test: &Test) -> PipeConnector {
    let (connector, listener) = pipe();
    tokio::spawn(Server::new().add(test.clone()).serve(listener).into_future());
    connector
}

fn connect(test: &Test) -> Channel {
    Channel::builder_with_connector(serve(test)).build().unwrap()
}

/// From many tasks.
pub(crate) async fn all_kinds_at_once(channel: &Channel) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..3 {
                    all_kinds(&channel).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

pub(crate) async fn all_kinds(channel: &Channel) {
    assert_eq!(unary(channel, b"hello").await.unwrap(), b"hello");

    let (mut tx, reply) = upload(channel).await.unwrap();
    for _ in 0..50 {
        tx.send(vec![0; 10_000]).await.unwrap();
    }
    tx.finish();
    assert_eq!(reply.await.unwrap(), b"500000");

    let mut rx = download(channel, b"200").await.unwrap();
    for n in 0..200 {
        assert_eq!(rx.next().await.unwrap().unwrap(), [n; 10_000]);
    }
    assert_eq!(rx.next().await.unwrap(), None);

    let (mut tx, mut rx) = chat(channel).await.unwrap();
    for n in 0..100_u8 {
        tx.send(vec![n]).await.unwrap();
        assert_eq!(rx.next().await.unwrap().unwrap(), [n]);
    }
    tx.finish();
    assert_eq!(rx.next().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn all_kinds_over_the_pipe() {
    all_kinds(&connect(&Test::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_over_tcp_from_many_tasks() {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let target = format!("dns:///localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(Server::new().add(Test::default()).serve(listener).into_future());
    let channel = Channel::new(target).unwrap();
    all_kinds_at_once(&channel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_the_server_takes_at_once() {
    let channel = connect(&Test::default());
    let tasks: Vec<_> = (0..2_000_u32)
        .map(|n| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let message = n.to_le_bytes();
                assert_eq!(unary(&channel, &message).await.unwrap(), message);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn failures() {
    let test = Test::default();
    let channel = connect(&test);
    let status = unary(&channel, b"fail").await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(status.message(), "50% ä");
    assert_eq!(&*status.details(), [8, 6]);
    assert_eq!(status.metadata().get("x-why"), Some("because"));
    assert_eq!(unary(&channel, b"panic").await.unwrap_err().code(), Code::Unknown);
    let missing = channel.unary::<Raw, Bytes, Bytes>(&MISSING, vec![]);
    assert_eq!(missing.await.unwrap_err().code(), Code::Unimplemented);
    let big = vec![0; (4 << 20) + 1];
    assert_eq!(unary(&channel, &big).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(unary(&channel, b"still").await.unwrap(), b"still");
}

#[tokio::test(start_paused = true)]
async fn metadata_both_ways() {
    let channel = connect(&Test::default());
    let call = unary(&channel, b"m").header("x-in", "v").with_metadata();
    let (message, metadata) = call.await.unwrap();
    assert_eq!(message, b"m");
    assert_eq!(metadata.headers.get("x-head"), Some("v"));
    assert_eq!(metadata.trailers.get("x-trail"), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn deadlines_and_cancellation_end_the_handlers() {
    let test = Test::default();
    let channel = connect(&test);
    let call = unary(&channel, b"wait").timeout(Duration::from_secs(1));
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
    let call = unary(&channel, b"wait").into_future();
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    drop(chat(&channel).await.unwrap());
    let mut rx = download(&channel, b"200").await.unwrap();
    rx.next().await.unwrap();
    drop(rx);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(test.gone.load(Ordering::SeqCst), 4);
    assert_eq!(unary(&channel, b"still").await.unwrap(), b"still");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_shuts_down_finishes_its_calls() {
    let (connector, listener) = pipe();
    let (signal, signalled) = oneshot::channel::<()>();
    let serving = Server::new().add(Test::default()).serve(listener);
    let serving = serving.shutdown_on(signalled, Duration::from_secs(30));
    let served = tokio::spawn(serving.into_future());
    let channel = Channel::builder_with_connector(connector).build().unwrap();
    assert_eq!(unary(&channel, b"first").await.unwrap(), b"first");
    let slow = spawn_unary(&channel, b"slow");
    tokio::time::sleep(Duration::from_millis(100)).await;
    signal.send(()).unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), b"slow");
    served.await.unwrap().unwrap();
    let status = unary(&channel, b"late").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[test]
fn blocking_calls() {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let serving = Server::new().add(Test::default()).serve(listener);
            serving.shutdown_on(stopped, Duration::from_secs(1)).await.unwrap();
        });
    });
    let channel = gannet_client::blocking::channel(target).unwrap();
    assert_eq!(unary(&channel, b"x").wait().unwrap(), b"x");
    let (mut tx, mut rx) = chat(&channel).wait().unwrap();
    for n in 0..20_u8 {
        tx.send(vec![n]).unwrap();
        assert_eq!(rx.next().unwrap().unwrap(), [n]);
    }
    tx.finish();
    assert!(rx.next().is_none());
    drop((rx, channel));
    stop.send(()).unwrap();
    server.join().unwrap();
}
