//! Times that no clock can express: they mean never, and do not panic.

use std::time::Duration;

use gannet_client::ChannelState;
use gannet_client::policy::BackoffConfig;
use gannet_core::Code;

use crate::peer::{Peers, chat, unary};

/// As long as there is, as long as `Instant` may just express, and what rounding may break.
fn forevers() -> Vec<Duration> {
    let now = std::time::Instant::now();
    let mut last = Duration::ZERO;
    for bit in (0..64).rev() {
        let more = last.saturating_add(Duration::from_secs(1 << bit));
        if now.checked_add(more).is_some() {
            last = more;
        }
    }
    vec![Duration::MAX, Duration::MAX / 4, last, last + Duration::from_millis(999)]
}

#[tokio::test(start_paused = true)]
async fn connect_timeouts() {
    for forever in forevers() {
        let (channel, mut peers) = Peers::with(|b| b.connect_timeout(forever));
        let server = tokio::spawn(async move {
            let mut peer = peers.accept().await;
            peer.echo().await;
        });
        assert_eq!(unary(&channel, b"x").await.unwrap(), b"x", "{forever:?}");
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn backoffs() {
    for forever in forevers() {
        let mut config = BackoffConfig::default();
        config.initial = forever;
        config.max = forever;
        config.multiplier = f64::INFINITY;
        let (channel, mut peers) = Peers::with(|b| b.backoff(config));
        let server = tokio::spawn(async move {
            drop(peers.silent().await);
            peers
        });
        let status = unary(&channel, b"").await.unwrap_err();
        assert!(status.message().contains("the connection has ended"), "{status}");
        assert_eq!(channel.state(), ChannelState::TransientFailure);
        // There is no next attempt, and still the channel says what is wrong.
        let waiting = unary(&channel, b"").wait_for_ready(true).timeout(Duration::from_secs(9));
        let status = waiting.await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        let mut peers = server.await.unwrap();
        drop(channel);
        assert!(peers.nobody_left().await);
    }
}

#[tokio::test(start_paused = true)]
async fn call_timeouts() {
    for forever in forevers() {
        let (channel, mut peers) = Peers::new();
        let server = tokio::spawn(async move {
            let mut peer = peers.accept().await;
            peer.echo().await;
            peer.request().await;
            peer
        });
        let reply = unary(&channel, b"x").timeout(forever).await;
        assert_eq!(reply.unwrap(), b"x", "{forever:?}");
        let (_tx, _rx) = chat(&channel).timeout(forever).await.unwrap();
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn call_deadlines() {
    // The very last moment.
    let mut at = std::time::Instant::now();
    let seconds = (0..63).rev().map(|bit| Duration::from_secs(1 << bit));
    for step in seconds.chain((0..30).rev().map(|bit| Duration::from_nanos(1 << bit))) {
        at = at.checked_add(step).unwrap_or(at);
    }
    assert_eq!(at.checked_add(Duration::from_nanos(1)), None);
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move { peers.accept().await.echo().await });
    // Both while it waits for the connection and on it.
    let reply = unary(&channel, b"x").deadline(at).wait_for_ready(true).await;
    assert_eq!(reply.unwrap(), b"x");
    server.await.unwrap();
}
