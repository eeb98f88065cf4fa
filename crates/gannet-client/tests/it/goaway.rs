//! GOAWAY and refused streams: new connections, and transparent retries (gRFC A6).

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use gannet_client::ChannelState;
use gannet_core::Code;
use gannet_http2::Reason;

use crate::peer::{Got, OK, Peers, chat, download, framed, spawn_unary, unary};

/// A GOAWAY frame, past the engine's own ideas.
pub(crate) fn goaway(last_stream_id: u32, reason: Reason, debug: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + debug.len()).unwrap();
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[7, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&last_stream_id.to_be_bytes());
    frame.extend_from_slice(&reason.0.to_be_bytes());
    frame.extend_from_slice(debug);
    frame
}

async fn until_idle(channel: &gannet_client::Channel) {
    while channel.state() != ChannelState::Idle {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn old_streams_finish_while_new_calls_take_a_new_connection() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut old = peers.accept().await;
        let (key, _) = old.request().await;
        old.conn.drain(std::time::Instant::now());
        old.flush().await;
        let mut new = peers.accept().await;
        new.echo().await;
        let body = old.body(key).await;
        assert_eq!(body, framed(b"late"));
        old.respond(key, &[b"finished"], OK).await;
        while old.next().await != Got::Closed {}
        new.echo().await;
        new
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    until_idle(&channel).await;
    assert_eq!(unary(&channel, b"new").await.unwrap(), b"new");
    tx.send(b"late".to_vec()).await.unwrap();
    tx.finish();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"finished");
    assert_eq!(rx.next().await.unwrap(), None);
    assert_eq!(unary(&channel, b"new").await.unwrap(), b"new");
    assert_eq!(channel.state(), ChannelState::Ready, "the old connection's end says nothing");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unary_calls_that_goaway_passed_over_are_made_again() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut old = peers.accept().await;
        let (first, _, message) = old.unary().await;
        old.unary().await;
        old.raw(&goaway(1, Reason::NO_ERROR, b"")).await;
        let mut new = peers.accept().await;
        new.echo().await;
        old.respond(first, &[&message], OK).await;
        (old, new)
    });
    let one = unary(&channel, b"one").into_future();
    let two = unary(&channel, b"two").into_future();
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.unwrap(), b"one");
    assert_eq!(two.unwrap(), b"two");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_that_goaway_passed_over_are_unavailable() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut old = peers.accept().await;
        old.request().await;
        old.raw(&goaway(0, Reason::NO_ERROR, b"")).await;
        old
    });
    let (_tx, mut rx) = chat(&channel).await.unwrap();
    let status = rx.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_stream_move_to_the_new_connection() {
    let (channel, mut peers) = Peers::new();
    peers.config.concurrent_streams_max = 1;
    let seen = Arc::new(tokio::sync::Notify::new());
    let saw = Arc::clone(&seen);
    let server = tokio::spawn(async move {
        let mut old = peers.accept().await;
        let (first, ..) = old.unary().await;
        seen.notify_one();
        tokio::time::sleep(Duration::from_millis(1)).await;
        old.conn.drain(std::time::Instant::now());
        old.flush().await;
        let mut new = peers.accept().await;
        new.echo().await;
        new.echo().await;
        old.respond(first, &[b"one"], OK).await;
        (old, new)
    });
    let one = spawn_unary(&channel, b"one");
    saw.notified().await;
    let two = unary(&channel, b"two").into_future();
    let three = async {
        let mut rx = download(&channel, b"three").await?;
        rx.next().await
    };
    let (two, three) = tokio::join!(two, three);
    assert_eq!(two.unwrap(), b"two");
    assert_eq!(three.unwrap().unwrap(), b"three");
    assert_eq!(one.await.unwrap().unwrap(), b"one");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_made_again_once() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _, message) = peer.unary().await;
        assert_eq!(message, b"stubborn");
        peer.reset(key, Reason::REFUSED_STREAM);
        assert_eq!(peer.echo().await.len(), 7);
        for _ in 0..2 {
            let (key, ..) = peer.unary().await;
            peer.reset(key, Reason::REFUSED_STREAM);
        }
        // The stream's request is known whole, so it is made again too.
        let (key, ..) = peer.unary().await;
        peer.reset(key, Reason::REFUSED_STREAM);
        let (key, _, message) = peer.unary().await;
        assert_eq!(message, b"give");
        peer.respond(key, &[b"given"], OK).await;
        // What was sent on this one is gone.
        let (key, _) = peer.request().await;
        peer.reset(key, Reason::REFUSED_STREAM);
        peer.flush().await;
        peer
    });
    assert_eq!(unary(&channel, b"stubborn").await.unwrap(), b"stubborn");
    let status = unary(&channel, b"unlucky").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("REFUSED_STREAM"), "{status}");
    let mut rx = download(&channel, b"give").await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"given");
    assert_eq!(rx.next().await.unwrap(), None);
    let (_tx, mut rx) = chat(&channel).await.unwrap();
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Unavailable);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_goaway_is_told_with_the_loss() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.unary().await;
        peer.raw(&goaway(1, Reason::ENHANCE_YOUR_CALM, b"too_many_pings")).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    });
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("ENHANCE_YOUR_CALM \"too_many_pings\""), "{status}");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_goaway_is_told_with_resets() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (first, _) = peer.request().await;
        peer.request().await;
        peer.raw(&goaway(1, Reason::ENHANCE_YOUR_CALM, b"too_many_\"pings\n")).await;
        // A graceful end that follows does not hide it.
        peer.raw(&goaway(1, Reason::NO_ERROR, b"")).await;
        peer.reset(first, Reason::INTERNAL_ERROR);
        peer.flush().await;
        peer
    });
    let (_tx, mut first) = chat(&channel).await.unwrap();
    let (_tx, mut second) = chat(&channel).await.unwrap();
    let want = "GOAWAY ENHANCE_YOUR_CALM \"too_many_\\\"pings\\n\"";
    for status in [first.next().await.unwrap_err(), second.next().await.unwrap_err()] {
        assert!(status.message().starts_with("in-process: "), "{status}");
        assert!(status.message().contains(want), "{status}");
    }
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_goaway_says_is_bounded() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.request().await;
        peer.raw(&goaway(0, Reason::ENHANCE_YOUR_CALM, &[0xff; 8_000])).await;
        peer
    });
    let (_tx, mut rx) = chat(&channel).await.unwrap();
    let status = rx.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("\\xff\\xff"), "{status}");
    assert!(status.message().ends_with("...\""), "{status}");
    assert!(status.message().len() < 2_000, "{}", status.message().len());
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_with_messages_keeps_them() {
    // Lost connections come after what was received before.
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.begin(key, &[b"1"]).await;
    });
    let mut rx = download(&channel, b"").await.unwrap();
    server.await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Unavailable);
}
