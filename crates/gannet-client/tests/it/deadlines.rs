//! Deadlines: made locally, told to the server, and covering the whole call.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gannet_core::{Code, Origin};
use gannet_http2::Reason;
use tokio::time::Instant;

use crate::peer::{Got, HEAD, OK, Peers, chat, download, field, spawn_unary, unary, upload};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_unary_call_ends_at_its_deadline() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, fields, _) = peer.unary().await;
        let timeout = field(&fields, "grpc-timeout").unwrap().to_owned();
        (timeout, peer.reset_of(key).await)
    });
    let start = Instant::now();
    let status = unary(&channel, b"").timeout(SECOND).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.origin(), Origin::Local);
    assert!(status.message().contains("/test.Test/Unary"), "{status}");
    let took = start.elapsed();
    assert!(took >= SECOND && took < SECOND + Duration::from_millis(5), "{took:?}");
    let (timeout, reason) = server.await.unwrap();
    assert_eq!((&*timeout, reason), ("1000m", Reason::CANCEL));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_timeout_and_deadline_counts_and_none_is_none() {
    let (channel, mut peers) = Peers::new();
    let _server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        while peer.next().await != Got::Closed {}
    });
    for (timeout, deadline) in [(1, 5), (5, 1)] {
        let start = Instant::now();
        let call = unary(&channel, b"")
            .timeout(SECOND * timeout)
            .deadline((start + SECOND * deadline).into_std())
            .deadline(None);
        assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert!(start.elapsed() < SECOND * 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_sends_nothing() {
    let (channel, mut peers) = Peers::new();
    let mut peer = {
        let (reply, peer) = tokio::join!(unary(&channel, b"").into_future(), async {
            let mut peer = peers.accept().await;
            peer.echo().await;
            peer
        });
        reply.unwrap();
        peer
    };
    let past = Instant::now().into_std();
    assert_eq!(
        unary(&channel, b"").deadline(past).await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
    assert_eq!(
        chat(&channel).deadline(past).await.map(|_| ()).unwrap_err().code(),
        Code::DeadlineExceeded
    );
    // The late calls were never sent.
    peer.round_trip(&channel, b"x").await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_timeout_is_none() {
    let (channel, mut peers) = Peers::new();
    let server = async { peers.accept().await.echo().await };
    let call = unary(&channel, b"").timeout(Duration::MAX);
    let (reply, fields) = tokio::join!(call.into_future(), server);
    reply.unwrap();
    assert_eq!(field(&fields, "grpc-timeout"), None);
}

#[tokio::test(start_paused = true)]
async fn streams_end_at_their_deadline() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.begin(key, &[b"1"]).await;
        let first = peer.reset_of(key).await;
        let (key, _) = peer.request().await;
        (first, peer.reset_of(key).await)
    });
    let mut rx = download(&channel, b"").timeout(SECOND).await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
    assert_eq!(rx.next().await.unwrap_err().code(), Code::DeadlineExceeded);
    let (mut tx, reply) = upload(&channel).timeout(SECOND).await.unwrap();
    let status = reply.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let told = "in-process: the deadline of the call to /test.Test/Upload has passed: no response";
    assert!(status.message().starts_with(told), "{status}");
    for _ in 0..2 {
        let late = tx.send(vec![]).await.unwrap_err();
        assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, status.message()));
    }
    assert_eq!(server.await.unwrap(), (Reason::CANCEL, Reason::CANCEL));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cancels_past_the_deadline_is_late() {
    // Trailers and resets that are in the socket when the deadline passes are read before the timer
    // is looked at.
    for by_reset in [false, true] {
        let (channel, mut peers) = Peers::new();
        let start = Instant::now();
        let server = tokio::spawn(async move {
            let mut peer = peers.accept().await;
            let (key, ..) = peer.unary().await;
            tokio::time::sleep_until(start + SECOND).await;
            if by_reset {
                peer.conn.reset(key, Reason::CANCEL);
            } else {
                peer.headers(key, &[HEAD, &[("grpc-status", "1")]].concat(), true);
            }
            peer.flush().await;
            peer
        });
        let status = unary(&channel, b"").deadline((start + SECOND).into_std()).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cancels_before_the_deadline_has_cancelled() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.conn.reset(key, Reason::CANCEL);
        peer.flush().await;
        peer
    });
    let status = unary(&channel, b"").timeout(SECOND).await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_connecting() {
    let (channel, mut peers) = Peers::new();
    // Accepts, and says nothing: no SETTINGS come.
    let server = tokio::spawn(async move {
        let stream = peers.silent().await;
        tokio::time::sleep(SECOND * 10).await;
        drop(stream);
    });
    let start = Instant::now();
    let status = unary(&channel, b"").timeout(SECOND).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("in-process"), "{status}");
    assert!(start.elapsed() < SECOND * 2);
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn in_the_queue_for_a_stream() {
    let (channel, mut peers) = Peers::new();
    peers.config.concurrent_streams_max = 1;
    let seen = Arc::new(tokio::sync::Notify::new());
    let saw = Arc::clone(&seen);
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        seen.notify_one();
        tokio::time::sleep(SECOND * 3).await;
        peer.respond(key, &[b"first"], OK).await;
        let (key, _, message) = peer.unary().await;
        assert_eq!(message, b"third", "the second gave up in the queue");
        peer.respond(key, &[b"third"], OK).await;
        peer
    });
    let first = spawn_unary(&channel, b"first");
    saw.notified().await;
    let second = unary(&channel, b"second").timeout(SECOND).into_future();
    let stream = download(&channel, b"stream").timeout(SECOND).into_future();
    let third = unary(&channel, b"third").into_future();
    let (second, stream, third) = tokio::join!(second, stream, third);
    assert_eq!(first.await.unwrap().unwrap(), b"first");
    assert_eq!(second.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(stream.map(|_| ()).unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(third.unwrap(), b"third");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_at_the_deadline_ends_the_call_by_it() {
    for after in [SECOND - Duration::from_millis(1), SECOND] {
        let (channel, mut peers) = Peers::new();
        let calls = [
            tokio::spawn({
                let channel = channel.clone();
                async move { unary(&channel, b"").timeout(SECOND).await }
            }),
            tokio::spawn({
                let channel = channel.clone();
                async move {
                    let (_tx, mut rx) = chat(&channel).timeout(SECOND).await?;
                    rx.next().await.map(Option::unwrap_or_default)
                }
            }),
        ];
        let mut peer = peers.accept().await;
        let mut begun = 0;
        while begun < calls.len() {
            begun += usize::from(matches!(peer.next().await, Got::Request { .. }));
        }
        // The time has come, and the end of the connection, before the client looks.
        let mut advance = pin!(tokio::time::advance(after));
        poll_fn(|cx| Poll::Ready(advance.as_mut().poll(cx).is_pending())).await;
        drop(peer);
        for call in calls {
            let status = call.await.unwrap().unwrap_err();
            let code = if after < SECOND { Code::Unavailable } else { Code::DeadlineExceeded };
            assert_eq!(status.code(), code, "{status}");
        }
    }
}
