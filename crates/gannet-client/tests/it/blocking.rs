//! Calls without async code.

use std::thread;
use std::time::Duration;

use gannet_client::Channel;
use gannet_core::{Code, Result};
use gannet_http2::Config;
use gannet_transport::Listener;

use crate::peer::{Got, OK, Peer, accept, chat, dead_port, download, framed, unary, upload};

/// Serves one connection on a thread of its own, and leads to it.
fn serve(script: impl AsyncFnOnce(Peer) + Send + 'static) -> (String, thread::JoinHandle<()>) {
    let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = std.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut acceptor = Listener::try_from(std).unwrap().into_acceptor().unwrap();
            let stream = accept(&mut acceptor).await;
            let mut peer = Peer::new(stream, Config::default());
            peer.flush().await;
            script(peer).await;
        });
    });
    (target, thread)
}

#[test]
fn all_four_kinds() {
    let (target, server) = serve(async |mut peer| {
        peer.echo().await;
        let (key, _) = peer.request().await;
        peer.body(key).await;
        peer.respond(key, &[b"uploaded"], OK).await;
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[b"1", b"2"], &[("grpc-status", "0"), ("x-t", "t")]).await;
        let (key, _) = peer.request().await;
        peer.headers(key, crate::peer::HEAD, false);
        assert!(matches!(peer.next().await, Got::Data { .. }));
        peer.data(key, &framed(b"pong"), false);
        assert!(matches!(peer.next().await, Got::Data { end_stream: true, .. }));
        peer.trailers(key, &[("grpc-status", "10")]);
        peer.flush().await;
        // The channel says goodbye when it is dropped.
        assert!(matches!(peer.next().await, Got::GoAway { .. }));
        assert_eq!(peer.next().await, Got::Closed);
    });
    let channel = gannet_client::blocking::channel(target).unwrap();
    assert_eq!(unary(&channel, b"hello").wait().unwrap(), b"hello");

    let (mut tx, reply) = upload(&channel).wait().unwrap();
    tx.send(b"a".to_vec()).unwrap();
    tx.finish();
    assert_eq!(reply.wait().unwrap(), b"uploaded");

    let mut rx = download(&channel, b"").wait().unwrap();
    let all: Result<Vec<_>> = rx.by_ref().collect();
    assert_eq!(all.unwrap(), [b"1", b"2"]);
    assert_eq!(rx.trailers().unwrap().get("x-t"), Some("t"));
    drop(rx);

    let (mut tx, mut rx) = chat(&channel).wait().unwrap();
    tx.send(b"ping".to_vec()).unwrap();
    assert!(rx.headers().unwrap().is_empty());
    assert_eq!(rx.next().unwrap().unwrap(), b"pong");
    tx.finish();
    assert_eq!(rx.next().unwrap().unwrap_err().code(), Code::Aborted);
    assert!(rx.next().is_none(), "an iterator ends after its error");
    drop((rx, channel));
    server.join().unwrap();
}

#[test]
fn metadata_deadlines_and_failures() {
    let (target, server) = serve(async |mut peer| {
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[b"m"], &[("grpc-status", "0"), ("x-t", "t")]).await;
        let (key, _) = peer.request().await;
        peer.reset_of(key).await;
        let (key, _) = peer.request().await;
        peer.body(key).await;
        peer.respond(key, &[b"m"], &[("grpc-status", "0"), ("x-u", "u")]).await;
        while peer.next().await != Got::Closed {}
    });
    let channel = gannet_client::blocking::channel(target).unwrap();
    let (_, metadata) = unary(&channel, b"").with_metadata().wait().unwrap();
    assert_eq!(metadata.trailers.get("x-t"), Some("t"));
    let status = unary(&channel, b"").timeout(Duration::from_millis(20)).wait().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let (tx, reply) = upload(&channel).wait().unwrap();
    tx.finish();
    let (_, metadata) = reply.wait_with_metadata().unwrap();
    assert_eq!(metadata.trailers.get("x-u"), Some("u"));
    drop(channel);
    server.join().unwrap();

    let channel = Channel::builder(format!("127.0.0.1:{}", dead_port())).build_blocking().unwrap();
    assert_eq!(unary(&channel, b"").wait().unwrap_err().code(), Code::Unavailable);
}

#[test]
fn clones_on_many_threads_share_one_connection() {
    let (target, server) = serve(async |peer| peer.echo_all().await);
    let channel = gannet_client::blocking::channel(target).unwrap();
    let threads: Vec<_> = (0..4_u8)
        .map(|n| {
            let channel = channel.clone();
            thread::spawn(move || {
                for round in 0..50 {
                    assert_eq!(unary(&channel, &[n, round]).wait().unwrap(), [n, round]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(channel);
    server.join().unwrap();
}

#[test]
fn a_stream_keeps_its_connection_without_the_channel() {
    let (target, server) = serve(async |mut peer| {
        let (key, ..) = peer.unary().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.respond(key, &[b"late"], OK).await;
        while peer.next().await != Got::Closed {}
    });
    let channel = gannet_client::blocking::channel(target).unwrap();
    let rx = download(&channel, b"").wait().unwrap();
    drop(channel);
    let all: Result<Vec<_>> = rx.collect();
    assert_eq!(all.unwrap(), [b"late"]);
    server.join().unwrap();
}

#[tokio::test]
async fn on_the_thread_of_a_current_thread_runtime_it_says_no() {
    let channel = gannet_client::blocking::channel("127.0.0.1:1").unwrap();
    let status = unary(&channel, b"").wait().unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("await the call"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn on_a_multi_thread_runtime_it_works() {
    // One worker, and the server needs it while the call waits.
    let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = std.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let mut acceptor = Listener::try_from(std).unwrap().into_acceptor().unwrap();
        let stream = accept(&mut acceptor).await;
        let mut peer = Peer::new(stream, Config::default());
        peer.flush().await;
        peer.echo_all().await;
    });
    let channel = gannet_client::blocking::channel(target).unwrap();
    let clone = channel.clone();
    let inside = tokio::spawn(async move { unary(&clone, b"worker").wait() });
    assert_eq!(inside.await.unwrap().unwrap(), b"worker");
    let clone = channel.clone();
    let outside = tokio::task::spawn_blocking(move || unary(&clone, b"blocking").wait());
    assert_eq!(outside.await.unwrap().unwrap(), b"blocking");
    drop(channel);
    server.await.unwrap();
}

#[test]
fn an_ordinary_channel_can_wait_too() {
    let (target, server) = serve(async |peer| peer.echo_all().await);
    let channel = Channel::new(target).unwrap();
    assert_eq!(unary(&channel, b"x").wait().unwrap(), b"x");
    drop(channel);
    server.join().unwrap();
}
