//! Keepalive (gRFC A8), and servers that end connections for their age (gRFC A9).

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::{Channel, ChannelBuilder};
use gannet_core::Code;
use gannet_http2::Reason;
use gannet_server::{Dispatch, MethodOptions, Server};
use gannet_transport::pipe;
use tokio::time::{Instant, sleep, timeout};

use crate::goaway::goaway;
use crate::peer::{Peers, chat, download, unary};
use crate::server::Test;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Makes a call to a server that has fallen silent; after how long it failed, and how.
async fn silence(change: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> (f64, String) {
    let (channel, mut peers) = Peers::with(change);
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.echo().await;
        peer.unary().await;
        sleep(s(1_000_000)).await;
    });
    unary(&channel, b"").await.unwrap();
    let start = Instant::now();
    let failed = timeout(s(100_000), unary(&channel, b"").into_future()).await;
    server.abort();
    let Ok(failed) = failed else { return (f64::INFINITY, String::new()) };
    let status = failed.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    (start.elapsed().as_secs_f64().round(), status.message().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_and_the_call_says_why() {
    let (seconds, told) = silence(|builder| builder.keepalive_time(s(60))).await;
    assert!((seconds - 80.0).abs() < 0.1, "{seconds}");
    assert!(told.starts_with("in-process: keepalive: nothing came"), "{told}");
    let sooner = |builder: ChannelBuilder| builder.keepalive_time(s(60)).keepalive_timeout(s(5));
    assert!((silence(sooner).await.0 - 65.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn it_is_off_by_default_and_never_eager() {
    assert_eq!(silence(|builder| builder).await.0, f64::INFINITY);
    assert_eq!(silence(|builder| builder.keepalive_timeout(s(1))).await.0, f64::INFINITY);
    assert_eq!(silence(|builder| builder.keepalive_time(Duration::MAX)).await.0, f64::INFINITY);
    // Less than 10 s is 10 s.
    let (seconds, _) = silence(|builder| builder.keepalive_time(Duration::ZERO)).await;
    assert!((seconds - 30.0).abs() < 0.1, "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_pings_has_all_the_time() {
    let (channel, mut peers) = Peers::with(|builder| builder.keepalive_time(s(10)));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        // Reads, and so answers, what comes.
        let _ = timeout(s(3_600), peer.next()).await;
        peer.respond(key, &[b"late"], crate::peer::OK).await;
    });
    assert_eq!(unary(&channel, b"").await.unwrap(), b"late");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_calls_only_who_is_told_to_asks() {
    for without_calls in [false, true] {
        let (channel, mut peers) = Peers::with(|builder| {
            builder.keepalive_time(s(10)).keepalive_without_calls(without_calls)
        });
        let server = tokio::spawn(async move {
            let mut peer = peers.accept().await;
            peer.echo().await;
            sleep(s(1_000)).await;
            // What lies there was sent while there was no call.
            let closed = timeout(s(1), peer.next()).await;
            (peer, closed.is_ok())
        });
        unary(&channel, b"").await.unwrap();
        let (_peer, closed) = server.await.unwrap();
        assert_eq!(closed, without_calls, "a connection that nobody answers on");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_told_to_calm_down_pings_half_as_often() {
    let (channel, mut peers) = Peers::with(|builder| builder.keepalive_time(s(30)));
    let server = tokio::spawn(async move {
        // Two connections in turn: each doubles what it had itself.
        for _ in 0..2 {
            let mut peer = peers.accept().await;
            let (key, ..) = peer.unary().await;
            peer.raw(&goaway(1, Reason::ENHANCE_YOUR_CALM, b"too_many_pings")).await;
            peer.respond(key, &[b""], crate::peer::OK).await;
        }
        // Other reasons change nothing.
        for (reason, debug) in [
            (Reason::NO_ERROR, &b"too_many_pings"[..]),
            (Reason::ENHANCE_YOUR_CALM, b"too_many_calls"),
        ] {
            let mut peer = peers.accept().await;
            let (key, ..) = peer.unary().await;
            peer.raw(&goaway(1, reason, debug)).await;
            peer.respond(key, &[b""], crate::peer::OK).await;
        }
        let mut peer = peers.accept().await;
        peer.unary().await;
        sleep(s(1_000_000)).await;
    });
    for _ in 0..4 {
        unary(&channel, b"").await.unwrap();
    }
    let start = Instant::now();
    let status = unary(&channel, b"").await.unwrap_err();
    let seconds = start.elapsed().as_secs_f64();
    assert!((seconds - 140.0).abs() < 0.1, "4 × 30 + 20, not {seconds}: {status}");
    server.abort();
}

/// A channel to a server of ours.
fn served(
    change: impl FnOnce(Server) -> Server,
    build: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> Channel {
    let (connector, listener) = pipe();
    // Not on threads for computing: virtual time would pass meanwhile.
    let server = Server::new()
        .add(Test::default())
        .method("test.Test", MethodOptions::new().dispatch(Dispatch::Inline));
    let server = change(server);
    tokio::spawn(async move { server.serve(listener).await });
    build(Channel::builder_with_connector(connector)).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn our_server_ends_the_connection_of_an_eager_client_who_learns() {
    let channel = served(|server| server, |builder| builder.keepalive_time(s(80)));
    let mut took = Vec::new();
    // 80 s, 160 s, and 320 s, which the server permits.
    for _ in 0..2 {
        let (_tx, mut rx) = chat(&channel).await.unwrap();
        let start = Instant::now();
        let status = rx.next().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let told = status.message();
        assert!(told.contains("GOAWAY ENHANCE_YOUR_CALM \"too_many_pings\""), "{told}");
        took.push(start.elapsed().as_secs());
    }
    // The first PING is free, and the third that is too early is one too many.
    assert_eq!(took, [320, 640]);
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    assert!(timeout(s(100_000), rx.next()).await.is_err(), "320 s is rare enough");
    tx.send(b"m".to_vec()).await.unwrap();
    assert!(rx.next().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn no_call_is_lost_where_the_server_ends_connections_for_age_or_idleness() {
    let old = |server: Server| server.max_connection_age(s(10)).max_connection_age_grace(s(5));
    let idle = |server: Server| server.max_connection_idle(s(1));
    for channel in [served(old, |builder| builder), served(idle, |builder| builder)] {
        for pause in (0..2_000).map(|n| Duration::from_millis(n * 7 % 1_300)) {
            sleep(pause).await;
            let (one, two) = tokio::join!(
                unary(&channel, b"a").into_future(),
                download(&channel, b"2").into_future()
            );
            one.unwrap();
            let mut messages = two.unwrap();
            while messages.next().await.unwrap().is_some() {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlives_the_grace_is_told_why() {
    let old = |server: Server| server.max_connection_age(s(10)).max_connection_age_grace(s(5));
    let channel = served(old, |builder| builder);
    let (_tx, mut rx) = chat(&channel).await.unwrap();
    let status = rx.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("GOAWAY NO_ERROR \"max_age\""), "{status}");
}
