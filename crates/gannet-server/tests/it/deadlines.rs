//! Deadlines hold for the whole call, whatever it does.

use std::time::Duration;

use gannet_http2::Reason;
use gannet_server::{Dispatch, MethodOptions, Server};
use tokio::time::Instant;

use crate::client::{Reply, connect};
use crate::service::Test;

/// By its status, not by RST_STREAM(CANCEL): the C core takes that for a cancellation where its own
/// deadline is not quite over.
#[track_caller]
fn assert_expired(reply: &Reply) {
    assert_eq!((reply.code(), reply.message()), (4, "the call's deadline has passed"));
    // Of a request that was not at its end.
    assert!(matches!(reply.reset, None | Some(Reason::NO_ERROR)), "{:?}", reply.reset);
}

#[tokio::test(start_paused = true)]
async fn past_its_deadline_a_call_is_told_so_and_its_handler_dropped() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    for dispatch in 1..=3 {
        let key = raw.open("Wait", &[("grpc-timeout", "50m")]);
        let start = Instant::now();
        raw.message(key, b"m", true);
        let reply = raw.finished(key).await;
        assert_expired(&reply);
        let took = start.elapsed().as_millis();
        assert!((50..60).contains(&took), "after {took} ms");
        assert_eq!(world.gone(), dispatch);
    }
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
}

#[tokio::test(start_paused = true)]
async fn streams_have_deadlines_too_and_they_do_not_start_anew() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    let key = raw.open("Chat", &[("grpc-timeout", "1S")]);
    let start = Instant::now();
    for n in 1..=9 {
        raw.message(key, b"tick", false);
        raw.until(|raw| raw.reply(key).data.len() == 9 * n).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!raw.reply(key).ended);
    raw.until(|raw| raw.reply(key).ended).await;
    assert_expired(raw.reply(key));
    assert!((1_000..1_010).contains(&start.elapsed().as_millis()));
    assert_eq!(world.gone(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_completes_has_a_deadline() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let key = raw.open("Echo", &[("grpc-timeout", "2S")]);
    let start = Instant::now();
    assert_expired(&raw.finished(key).await);
    assert!((2_000..2_010).contains(&start.elapsed().as_millis()));
}

// In real time: tokio does not advance paused time while the blocking pool works.
#[tokio::test]
async fn calls_elsewhere_have_deadlines_too() {
    for dispatch in [Dispatch::Spawn, Dispatch::Blocking] {
        let test = Test::new();
        let world = test.world.clone();
        let mut raw = connect(
            Server::new().add(test).method("test.Test", MethodOptions::new().dispatch(dispatch)),
        )
        .await;
        let key = raw.open("Wait", &[("grpc-timeout", "50m")]);
        raw.message(key, b"m", true);
        assert_expired(&raw.finished(key).await);
        while world.gone() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_kept_costs_nothing_later() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for n in 0..500_u32 {
        let timeout = format!("{}m", 100 + n % 7);
        let key = raw.open("Echo", &[("grpc-timeout", &timeout)]);
        raw.message(key, b"m", true);
        assert_eq!(raw.finished(key).await.ok(), b"m");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
    // A timeout too long to be a moment is none.
    let key = raw.open("Echo", &[("grpc-timeout", "99999999H")]);
    raw.message(key, b"m", true);
    assert_eq!(raw.finished(key).await.ok(), b"m");
    // And one that is over before it began is over.
    let key = raw.open("Echo", &[("grpc-timeout", "0n")]);
    raw.message(key, b"m", true);
    assert_expired(&raw.finished(key).await);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_covers_an_answer_that_nobody_reads() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    raw.hold_credit = true;
    let start = Instant::now();
    let key = raw.open("Echo", &[("grpc-timeout", "3S")]);
    // More than the client's window of 1 MiB: the handler has returned long before it has left.
    raw.message(key, &[7; 3 << 20], true);
    let reply = raw.finished(key).await;
    assert_eq!(reply.reset, Some(Reason::CANCEL));
    assert!(reply.data.len() >= 1 << 20, "it had begun to leave");
    assert!((3_000..3_010).contains(&start.elapsed().as_millis()));
    assert_eq!(raw.unary("Echo", b"").await.ok(), b"");
}
