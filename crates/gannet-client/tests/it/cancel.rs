//! Who drops a part of a call cancels it, and the server learns.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_core::Code;
use gannet_http2::Reason;
use tokio::task::JoinHandle;

use crate::peer::{Got, OK, Peers, chat, download, unary, upload};

/// Accepts a call, and tells how the client resets it.
fn reset_of_the_next(mut peers: Peers) -> JoinHandle<Reason> {
    tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.reset_of(key).await
    })
}

#[tokio::test(start_paused = true)]
async fn a_unary_future() {
    let (channel, mut peers) = Peers::new();
    let mut call = Box::pin(unary(&channel, b"").into_future());
    let server = async {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        (peer, key)
    };
    let (mut peer, key) = tokio::select! {
        _ = &mut call => panic!("nobody answers"),
        accepted = server => accepted,
    };
    drop(call);
    assert_eq!(peer.reset_of(key).await, Reason::CANCEL);
    // The connection goes on.
    peer.round_trip(&channel, b"x").await;
}

#[tokio::test(start_paused = true)]
async fn a_unary_future_that_waits_for_the_connection() {
    let (channel, mut peers) = Peers::new();
    {
        let call = unary(&channel, b"gone").into_future();
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    }
    // It was never sent.
    peers.accept().await.round_trip(&channel, b"x").await;
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_outbound() {
    let (channel, peers) = Peers::new();
    let server = reset_of_the_next(peers);
    let (tx, mut rx) = chat(&channel).await.unwrap();
    drop(tx);
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Cancelled);
    assert_eq!(server.await.unwrap(), Reason::CANCEL);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_outbound_of_a_client_stream() {
    let (channel, peers) = Peers::new();
    let server = reset_of_the_next(peers);
    let (tx, reply) = upload(&channel).await.unwrap();
    drop(tx);
    assert_eq!(reply.await.unwrap_err().code(), Code::Cancelled);
    assert_eq!(server.await.unwrap(), Reason::CANCEL);
}

#[tokio::test(start_paused = true)]
async fn an_inbound_before_its_end() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.begin(key, &[b"1", b"2"]).await;
        let first = peer.reset_of(key).await;
        let (key, _) = peer.request().await;
        (first, peer.reset_of(key).await)
    });
    let mut rx = download(&channel, b"").await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
    drop(rx);
    let (mut tx, rx) = chat(&channel).await.unwrap();
    drop(rx);
    assert_eq!(server.await.unwrap(), (Reason::CANCEL, Reason::CANCEL));
    assert_eq!(tx.send(vec![]).await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_reply() {
    let (channel, peers) = Peers::new();
    let server = reset_of_the_next(peers);
    let (_tx, reply) = upload(&channel).await.unwrap();
    drop(reply);
    assert_eq!(server.await.unwrap(), Reason::CANCEL);
}

#[tokio::test(start_paused = true)]
async fn a_finished_call_is_not_reset() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.body(key).await;
        peer.respond(key, &[b"m"], OK).await;
        peer.next().await
    });
    let (tx, mut rx) = chat(&channel).await.unwrap();
    tx.finish();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"m");
    assert_eq!(rx.next().await.unwrap(), None);
    drop(rx);
    drop(channel);
    assert!(matches!(server.await.unwrap(), Got::GoAway { reason: Reason::NO_ERROR }));
}
