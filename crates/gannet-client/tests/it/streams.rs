//! Calls that stream: opening, half-closing, headers and trailers, back-pressure.

use std::task::Poll;
use std::time::Duration;

use gannet_core::{Code, Origin};

use crate::peer::{Got, HEAD, OK, Peers, chat, download, framed, unary, upload};

#[tokio::test(start_paused = true)]
async fn client_stream() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        let body = peer.body(key).await;
        assert_eq!(body, [framed(b"one"), framed(b"two")].concat());
        let head = [HEAD, &[("x-head", "h")]].concat();
        peer.headers(key, &head, false);
        peer.data(key, &framed(b"both"), false);
        peer.trailers(key, &[("grpc-status", "0"), ("x-trail", "t")]);
        peer.flush().await;
        peer
    });
    let (mut tx, reply) = upload(&channel).await.unwrap();
    tx.send(b"one".to_vec()).await.unwrap();
    tx.send(b"two".to_vec()).await.unwrap();
    tx.finish();
    let (reply, metadata) = reply.with_metadata().await.unwrap();
    assert_eq!(reply, b"both");
    assert_eq!(metadata.headers.get("x-head"), Some("h"));
    assert_eq!(metadata.trailers.get("x-trail"), Some("t"));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn client_stream_that_the_server_ends_early() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.headers(key, &[HEAD, &[("grpc-status", "9")]].concat(), true);
        peer.conn.forget(key);
        peer.flush().await;
        peer
    });
    let (mut tx, reply) = upload(&channel).await.unwrap();
    assert_eq!(reply.await.unwrap_err().code(), Code::FailedPrecondition);
    let status = tx.send(b"late".to_vec()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_how_the_call_ended_and_where() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        for status in ["10", "0"] {
            let (key, _) = peer.request().await;
            let words = [("grpc-status", status), ("grpc-message", "words")];
            peer.headers(key, &[HEAD, &words].concat(), true);
            peer.conn.forget(key);
            peer.flush().await;
        }
        peer.request().await;
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    assert_eq!(rx.next().await.unwrap_err().message(), "words");
    let status = tx.send(vec![]).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "words"));
    assert_eq!(status.origin(), Origin::Peer, "it is not to pass for ours");

    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    assert_eq!(rx.next().await.unwrap(), None);
    let status = tx.send(vec![]).await.unwrap_err();
    let told = (status.code(), status.message());
    assert_eq!(told, (Code::Cancelled, "in-process: the call has ended"));

    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    let lost = rx.next().await.unwrap_err();
    assert_eq!(lost.code(), Code::Unavailable);
    assert!(lost.message().starts_with("in-process: the connection "), "{lost}");
    let status = tx.send(vec![]).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, lost.message()));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn server_stream() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _, message) = peer.unary().await;
        assert_eq!(message, b"give");
        peer.respond(key, &[b"one", b"", b"three"], OK).await;
        peer
    });
    let mut rx = download(&channel, b"give").await.unwrap();
    for want in [&b"one"[..], b"", b"three"] {
        assert_eq!(rx.next().await.unwrap().unwrap(), want);
    }
    assert_eq!(rx.next().await.unwrap(), None);
    assert_eq!(rx.next().await.unwrap(), None);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bidi_stream_in_lockstep() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.headers(key, HEAD, false);
        for n in 0..3_u8 {
            let got = peer.next().await;
            assert_eq!(got, Got::Data { key, bytes: framed(&[n]), end_stream: false });
            peer.data(key, &framed(&[n, n]), false);
        }
        assert_eq!(peer.next().await, Got::Data { key, bytes: vec![], end_stream: true });
        peer.trailers(key, OK);
        peer.flush().await;
        peer
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    for n in 0..3_u8 {
        tx.send(vec![n]).await.unwrap();
        assert_eq!(rx.next().await.unwrap().unwrap(), [n, n]);
    }
    tx.finish();
    assert_eq!(rx.next().await.unwrap(), None);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn opening_does_not_wait_for_the_servers_headers() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        // Nothing is said until the client has sent a message.
        assert!(matches!(peer.next().await, Got::Data { .. }));
        peer.respond(key, &[b"now"], OK).await;
        peer
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    tx.send(b"first".to_vec()).await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"now");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn headers_and_trailers_of_a_stream() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.headers(key, &[HEAD, &[("x-head", "h")]].concat(), false);
        peer.flush().await;
        // The client has the headers long before the first message.
        tokio::time::sleep(Duration::from_secs(5)).await;
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, &[("grpc-status", "0"), ("x-trail", "t")]);
        peer.flush().await;
        peer
    });
    let start = tokio::time::Instant::now();
    let mut rx = download(&channel, b"").await.unwrap();
    assert_eq!(rx.headers().await.unwrap().get("x-head"), Some("h"));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(rx.trailers(), None);
    assert_eq!(rx.next().await.unwrap().unwrap(), b"m");
    assert_eq!(rx.headers().await.unwrap().get("x-head"), Some("h"));
    assert_eq!(rx.next().await.unwrap(), None);
    assert_eq!(rx.trailers().unwrap().get("x-trail"), Some("t"));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_stream_that_fails_or_has_none() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        for status in ["7", "0"] {
            let (key, ..) = peer.unary().await;
            let fields = [HEAD, &[("grpc-status", status), ("x-t", "t")]].concat();
            peer.headers(key, &fields, true);
            peer.conn.forget(key);
            peer.flush().await;
        }
        peer
    });
    let mut rx = download(&channel, b"").await.unwrap();
    assert_eq!(rx.headers().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(rx.next().await.unwrap_err().code(), Code::PermissionDenied);
    let mut rx = download(&channel, b"").await.unwrap();
    assert!(rx.headers().await.unwrap().is_empty());
    assert_eq!(rx.next().await.unwrap(), None);
    assert_eq!(rx.trailers().unwrap().get("x-t"), Some("t"));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reply_shows_its_headers_early() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.headers(key, &[HEAD, &[("x-head", "h")]].concat(), false);
        peer.flush().await;
        assert!(matches!(peer.next().await, Got::Data { end_stream: true, .. }));
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, OK);
        peer.flush().await;
        peer
    });
    let (tx, mut reply) = upload(&channel).await.unwrap();
    assert_eq!(reply.headers().await.unwrap().get("x-head"), Some("h"));
    tx.finish();
    assert_eq!(reply.await.unwrap(), b"m");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_status_comes_after_the_messages_before_it() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[b"1", b"2"], &[("grpc-status", "10")]).await;
        peer
    });
    let mut rx = download(&channel, b"").await.unwrap();
    server.await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
    assert_eq!(rx.next().await.unwrap().unwrap(), b"2");
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_while_the_server_does_not_read() {
    let (channel, mut peers) = Peers::new();
    peers.config.stream_window_bytes = 64 << 10;
    let (tx, rx) = tokio::sync::oneshot::channel();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.credits = false;
        let (key, _) = peer.request().await;
        let mut read = 0;
        while read < 64 << 10 {
            let Got::Data { bytes, .. } = peer.next().await else { panic!() };
            read += bytes.len();
        }
        rx.await.unwrap();
        peer.credits = true;
        peer.conn.release(key, read);
        peer.flush().await;
        read += peer.body(key).await.len();
        peer.respond(key, &[b"done"], OK).await;
        read
    });
    let (mut sender, reply) = upload(&channel).await.unwrap();
    let message = vec![7; 8 << 10];
    let mut sent = 0;
    loop {
        let mut send = std::pin::pin!(sender.send(message.clone()));
        let waits = std::future::poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx).is_pending()));
        let mut waits = waits.await;
        if waits {
            // Only what is in flight may free room; nothing else can come.
            waits = tokio::time::timeout(Duration::from_secs(1), send).await.is_err();
        }
        if waits {
            break;
        }
        sent += 1;
        assert!(sent < 100, "nothing held the sender back");
    }
    assert!(sent >= 16, "window and queue take at least 128 KiB, and took {sent} messages");
    tx.send(()).unwrap();
    sender.send(message).await.unwrap();
    sender.finish();
    assert_eq!(reply.await.unwrap(), b"done");
    assert_eq!(server.await.unwrap(), (sent + 1) * (5 + (8 << 10)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_holds_back_only_its_own_stream() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.headers(key, HEAD, false);
        let message = framed(&vec![1; 60_000]);
        for _ in 0..100 {
            peer.data(key, &message, false);
        }
        peer.trailers(key, OK);
        peer.flush().await;
        peer.echo().await;
        loop {
            if peer.next().await == Got::Closed {
                return;
            }
        }
    });
    let mut rx = download(&channel, b"").await.unwrap();
    rx.headers().await.unwrap();
    assert_eq!(unary(&channel, b"still").await.unwrap(), b"still");
    let mut count = 0;
    while let Some(message) = rx.next().await.unwrap() {
        assert_eq!(message.len(), 60_000);
        count += 1;
    }
    assert_eq!(count, 100);
    drop(rx);
    drop(channel);
    server.await.unwrap();
}
